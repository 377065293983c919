//! `vtpm attest quote`: a TPM answers a question.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use tpm_attest::attester;
use tpm_attest::ek::KeyAlgorithm;
use tpm_attest::event_log::EventLog;
use tpm_attest::verify::{Base64, Evidence, write_pcr_file};
use tpm_wire::codec::Marshal as _;
use tpm_wire::object::Tpm2bPublic;
use tpm_wire::pcr::TpmlPcrSelection;

use super::files::{read, write};
use super::service::ServiceArgs;
use super::{KeyArg, connect};
use crate::cli::output;
use crate::cli::trace::tcti::Tcti;

/// Makes evidence: a quote, the PCR, the logs and the endorsement key, in one JSON document
#[derive(Args, Debug)]
pub(super) struct Quote {
    /// The TPM: swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N, device:PATH
    #[arg(long, value_name = "TCTI", env = "TPM2TOOLS_TCTI")]
    tcti: Tcti,
    /// The question: hexadecimal digits of at most 32 bytes, as `vtpm attest nonce` makes them
    ///
    /// With --data or --server, the daemon asks: `vtpm attest verify` with the same sends it the answer.
    #[arg(
        long,
        value_name = "DIGITS",
        required_unless_present_any = ["data", "server_url"],
        conflicts_with_all = ["data", "server_url"]
    )]
    nonce: Option<String>,
    #[command(flatten)]
    service: ServiceArgs,
    /// The PCR, as tpm2-tools write them
    #[arg(long, value_name = "SELECTION", default_value = "sha256:0,1,2,3,4,5,6,7,8,9,11,14", value_parser = attester::selection)]
    pcrs: TpmlPcrSelection,
    /// What the attestation key signs with: what it was enrolled with
    #[arg(long, value_enum, default_value_t)]
    ak: KeyArg,
    /// Endorsement key to show: rsa2048, secp256r1, secp384r1 and others [default: the first with a certificate]
    #[arg(long, value_name = "ALGORITHM")]
    ek: Option<KeyAlgorithm>,
    /// The event log of the firmware: /sys/kernel/security/tpm0/binary_bios_measurements, or what `vtpm boot` wrote
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// The list of the kernel: /sys/kernel/security/ima/binary_runtime_measurements
    #[arg(long, value_name = "FILE")]
    ima: Option<PathBuf>,
    /// What the machine is called in the evidence; the verifier's clone alarm names it
    #[arg(long, default_value = "")]
    name: String,
    /// Where the evidence goes [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write what tpm2_checkquote takes to this folder, too: ak.pub, quote.msg, quote.sig, quote.pcrs
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

impl Quote {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let nonce = match (self.service.open()?, &self.nonce) {
            (Some(service), _) => service.question()?,
            (None, Some(digits)) => {
                hex::decode(digits).context("the question is no hexadecimal digits")?
            }
            (None, None) => bail!("say what the question is, with --nonce"),
        };
        ensure!(
            (1..=32).contains(&nonce.len()),
            "the question has {} bytes, not 1 to 32",
            nonce.len()
        );
        let mut client = connect(&self.tcti)?;
        let (ek, endorsement) = attester::endorsement(&mut client, self.ek)?;
        attester::release(&mut client, &ek)?;
        let ak = attester::attestation_key(&mut client, self.ak.algorithm())?;
        let (quote, pcrs) = attester::quote(&mut client, &ak, &nonce, &self.pcrs)?;
        attester::release(&mut client, &ak)?;
        let mut evidence = Evidence::new(&self.name, &ak.public, &nonce, quote, &pcrs);
        let attached = |path: &Option<PathBuf>| {
            path.as_deref()
                .map(|path| read(path).map(Base64))
                .transpose()
        };
        let log = attached(&self.event_log)?;
        evidence.event_log = log.map(|log| Base64(EventLog::without_padding(log.0)));
        evidence.ima_list = attached(&self.ima)?;
        evidence.endorsement = Some(endorsement);
        if let Some(folder) = &self.files {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            for (name, bytes) in [
                ("ak.pub", &Tpm2bPublic(ak.public.clone()).to_bytes()),
                ("quote.msg", &evidence.quote.message.0),
                ("quote.sig", &evidence.quote.signature.0),
                ("quote.pcrs", &write_pcr_file(&self.pcrs, &pcrs)),
            ] {
                let path = folder.join(name);
                fs::write(&path, bytes).with_context(|| path.display().to_string())?;
            }
        }
        match &self.output {
            Some(path) => write(path, &evidence.to_json())?,
            None => output::line(evidence.to_json())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
