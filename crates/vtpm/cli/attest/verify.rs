//! `vtpm attest verify`: evidence is judged, from one document or from the files of tpm2-tools.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use tpm_attest::certificate;
use tpm_attest::event_log::EventLog;
use tpm_attest::verify::{
    Base64, Demand, Endorsement, Enrolled, Evidence, Policy, QuoteBytes, Rule, Verdict,
    public_area, read_pcr_file, signer_key, verify,
};

use super::files::{TrustArgs, Trusted, read, read_evidence, write};
use super::report;
use super::service::ServiceArgs;

/// A policy and who has signed it, or the rule that it breaks and how.
type SignedPolicy = Result<(Policy, Option<String>), (Rule, String)>;

/// Judges a quote by named checks, each with the clause that it comes from
///
/// With --enrolled, the quote must be of that TPM, and the record keeps what the quote told: two TPMs that are alive under one identity
/// are noticed. Without --nonce, whether the quote is fresh stays open. With --data or --server, a daemon judges, which asked the question and
/// keeps the records.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// The evidence, as `vtpm attest quote` makes it
    #[arg(required_unless_present = "message", conflicts_with = "message")]
    evidence: Option<PathBuf>,
    /// What a quote of tpm2_quote -m says, with --signature, --pcrs and --key
    #[arg(long, value_name = "FILE", requires_all = ["signature", "pcrs", "key", "nonce"])]
    message: Option<PathBuf>,
    /// Its signature, of tpm2_quote -s
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The PCR, of tpm2_quote -o
    #[arg(long, value_name = "FILE")]
    pcrs: Option<PathBuf>,
    /// The attestation key, of tpm2_createak -u
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The endorsement key, of tpm2_createek -u
    #[arg(long, value_name = "FILE", requires = "message")]
    ek: Option<PathBuf>,
    /// Its certificate, of tpm2_getekcertificate
    #[arg(long, value_name = "FILE", requires = "ek")]
    ek_certificate: Option<PathBuf>,
    /// The event log of the firmware
    #[arg(long, value_name = "FILE", requires = "message")]
    event_log: Option<PathBuf>,
    /// The list of the kernel
    #[arg(long, value_name = "FILE", requires = "message")]
    ima: Option<PathBuf>,
    /// The question that was asked, hexadecimal digits
    #[arg(long, value_name = "DIGITS")]
    nonce: Option<String>,
    /// The record of the enrolment
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "server_url"])]
    enrolled: Option<PathBuf>,
    /// What the machine must have measured
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Who must have signed the policy: a certificate or a public key, PEM
    #[arg(long, value_name = "FILE", requires = "policy")]
    policy_signer: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    service: ServiceArgs,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
    /// Print the checks that passed, too
    #[arg(short, long)]
    verbose: bool,
}

impl Verify {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let nonce = self.nonce.as_deref().map(hex::decode).transpose();
        let nonce = nonce.context("the question is no hexadecimal digits")?;
        let trusted = self.trust.read()?;
        let mut enrolled = match &self.enrolled {
            Some(path) => {
                let record = Enrolled::from_json(&read(path)?).map_err(anyhow::Error::msg);
                Some(record.with_context(|| path.display().to_string())?)
            }
            None => None,
        };
        let mut verdict = Verdict::default();
        let policy = match self.read_policy()? {
            Some(Ok((policy, signed))) => {
                if let Some(signed) = signed {
                    verdict.pass(Rule::PolicySignature, signed);
                }
                Some(policy)
            }
            Some(Err((rule, fault))) => {
                verdict.fail(rule, fault);
                return report(&verdict, self.json, self.verbose);
            }
            None => None,
        };
        let evidence = match self.read_evidence(nonce.as_deref())? {
            Ok(evidence) => evidence,
            Err(fault) => {
                verdict.fail(Rule::EvidenceForm, fault);
                return report(&verdict, self.json, self.verbose);
            }
        };
        if let Some(service) = self.service.open()? {
            if nonce.is_some_and(|nonce| nonce != evidence.nonce.0) {
                verdict.fail(Rule::QuoteNonce, "the evidence is about another question");
                return report(&verdict, self.json, self.verbose);
            }
            let judged = service.judge(&evidence, policy.as_ref())?;
            verdict.checks.extend(judged.verdict.checks);
            return report(&verdict, self.json, self.verbose);
        }
        let before = enrolled.clone();
        let mut demand = Demand {
            nonce: nonce.as_deref(),
            asked: None,
            enrolled: enrolled.as_mut(),
            trust: trusted.as_ref().map(Trusted::trust),
            policy: policy.as_ref(),
            now: self.trust.now(),
        };
        verdict.checks.extend(verify(&evidence, &mut demand).checks);
        if let (Some(record), Some(path)) = (&enrolled, &self.enrolled)
            && enrolled != before
        {
            write(path, &record.to_json())?;
        }
        report(&verdict, self.json, self.verbose)
    }

    /// The evidence, or what is wrong with it.
    fn read_evidence(&self, nonce: Option<&[u8]>) -> anyhow::Result<Result<Evidence, String>> {
        let Some(message) = &self.message else {
            let Some(path) = &self.evidence else {
                bail!("name the evidence");
            };
            return Ok(Evidence::from_json(&read_evidence(path)?));
        };
        let file = |path: &Option<PathBuf>| match path {
            Some(path) => read(path),
            None => bail!("--message needs --signature, --pcrs and --key"),
        };
        let optional = |path: &Option<PathBuf>| {
            path.as_deref()
                .map(|path| read(path).map(Base64))
                .transpose()
        };
        let quote = QuoteBytes {
            message: Base64(read(message)?),
            signature: Base64(file(&self.signature)?),
        };
        let read =
            public_area(&file(&self.key)?).map_err(|fault| format!("the attestation key: {fault}"));
        let pcrs = read_pcr_file(&file(&self.pcrs)?);
        let (key, pcrs) = match (read, pcrs) {
            (Ok(key), Ok(pcrs)) => (key, pcrs),
            (Err(fault), _) | (_, Err(fault)) => return Ok(Err(fault)),
        };
        let mut evidence = Evidence::new("", &key, nonce.unwrap_or_default(), quote, &pcrs);
        let log = optional(&self.event_log)?;
        evidence.event_log = log.map(|log| Base64(EventLog::without_padding(log.0)));
        evidence.ima_list = optional(&self.ima)?;
        if let Some(public) = optional(&self.ek)? {
            evidence.endorsement = Some(Endorsement {
                public,
                certificate: optional(&self.ek_certificate)?
                    .map(|it| Base64(certificate::without_padding(it.0))),
                chain: Vec::new(),
            });
        }
        Ok(Ok(evidence))
    }

    /// The policy and who has signed it, or the rule that it breaks.
    fn read_policy(&self) -> anyhow::Result<Option<SignedPolicy>> {
        let Some(path) = &self.policy else {
            return Ok(None);
        };
        let signer = match &self.policy_signer {
            Some(path) => {
                let key = signer_key(&read(path)?).map_err(anyhow::Error::msg);
                Some(key.with_context(|| path.display().to_string())?)
            }
            None => None,
        };
        let policy = Policy::from_json(&read(path)?, signer.as_ref());
        let signed = self
            .policy_signer
            .as_ref()
            .map(|path| format!("by the key in {}", path.display()));
        Ok(Some(policy.map(|policy| (policy, signed))))
    }
}
