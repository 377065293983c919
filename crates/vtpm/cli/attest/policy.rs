//! `vtpm attest policy` and `vtpm attest keylime`: documents that are made of evidence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use tpm_attest::attester;
use tpm_attest::certificate::SigningKey;
use tpm_attest::event_log::{EventLog, bank_from_name};
use tpm_attest::verify::{Evidence, Policy, keylime_request};
use tpm_wire::pcr::TpmlPcrSelection;

use super::files::{read, read_evidence, write};
use crate::cli::output;

/// Takes the PCR and the events of evidence for golden: of a machine that is known to be in order
///
/// The evidence itself is not judged here; `vtpm attest verify` does.
#[derive(Args, Debug)]
pub(super) struct MakePolicy {
    /// The evidence
    evidence: PathBuf,
    /// What people call the policy
    #[arg(long, default_value = "golden")]
    name: String,
    /// The PCR that it is about [default: all that were quoted]
    #[arg(long, value_name = "SELECTION", value_parser = attester::selection)]
    pcrs: Option<TpmlPcrSelection>,
    /// Sign it with this key, PEM
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// Where it goes [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl MakePolicy {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let evidence = evidence(&self.evidence)?;
        let mut pcrs = evidence.pcr_values().map_err(anyhow::Error::msg)?;
        if let Some(selection) = &self.pcrs {
            for bank in selection {
                for pcr in bank.pcr_select.iter() {
                    if pcrs
                        .get(&bank.hash)
                        .is_none_or(|values| !values.contains_key(&pcr))
                    {
                        bail!("the evidence has no PCR {pcr} of {:?}", bank.hash);
                    }
                }
            }
            pcrs.retain(|bank, values| {
                let wanted = selection.iter().find(|one| one.hash == *bank);
                values.retain(|pcr, _| wanted.is_some_and(|one| one.pcr_select.contains(*pcr)));
                !values.is_empty()
            });
        }
        let log = match &evidence.event_log {
            Some(bytes) => Some(EventLog::parse(&bytes.0)?),
            None => None,
        };
        let policy = Policy::golden(&self.name, &pcrs, log.as_ref());
        let text = match &self.sign {
            Some(path) => {
                let key = SigningKey::from_pem(&read(path)?, None)
                    .with_context(|| path.display().to_string())?;
                policy.to_signed_json(&key, &mut rand::rng())?
            }
            None => policy.to_json(),
        };
        emit(self.output.as_ref(), &text)
    }
}

/// Writes what keylime's verifier takes without an agent: the quote, the keys, and the policy as golden values
#[derive(Args, Debug)]
pub(super) struct Keylime {
    /// The evidence, whose quote is of one bank
    evidence: PathBuf,
    /// The policy; its signature is not looked at
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Where it goes [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Keylime {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let evidence = evidence(&self.evidence)?;
        let policy = Policy::from_json(&read(&self.policy)?, None)
            .map_err(|(rule, fault)| anyhow::anyhow!("{rule}: {fault}"))?;
        let mut golden = BTreeMap::new();
        for (bank, values) in &policy.pcrs {
            if bank_from_name(bank).is_none() || !evidence.pcrs.contains_key(bank) {
                continue;
            }
            for (pcr, allowed) in values {
                let allowed = allowed.iter().map(|value| hex::encode(&value.0)).collect();
                golden.insert(*pcr, allowed);
            }
        }
        let request = keylime_request(&evidence, &golden).map_err(anyhow::Error::msg)?;
        emit(
            self.output.as_ref(),
            &serde_json::to_string_pretty(&request)?,
        )
    }
}

fn evidence(path: &Path) -> anyhow::Result<Evidence> {
    Evidence::from_json(&read_evidence(path)?)
        .map_err(anyhow::Error::msg)
        .with_context(|| path.display().to_string())
}

fn emit(path: Option<&PathBuf>, text: &str) -> anyhow::Result<ExitCode> {
    match path {
        Some(path) => write(path, text)?,
        None => output::line(text)?,
    }
    Ok(ExitCode::SUCCESS)
}
