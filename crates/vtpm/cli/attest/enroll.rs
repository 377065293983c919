//! `vtpm attest enroll`: both sides of an enrolment, the TPM's and the verifier's.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tpm_attest::attester;
use tpm_attest::ek::KeyAlgorithm;
use tpm_attest::verify::{Candidate, Challenge, Enrolments, Rule, Verdict};

use super::files::{TrustArgs, Trusted, write};
use super::service::{Service, ServiceArgs};
use super::{KeyArg, connect, report};
use crate::cli::trace::tcti::Tcti;

/// How long a TPM may take over a credential.
const PATIENCE: Duration = Duration::from_secs(120);
/// Shows a TPM a credential that only it can open, with the two keys that it is enrolled by, and keeps both keys in a record
///
/// The attestation key is a primary key of the endorsement hierarchy: the TPM makes the same one again for every quote.
#[derive(Args, Debug)]
pub(super) struct Enroll {
    /// The TPM: swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N, device:PATH
    #[arg(long, value_name = "TCTI", env = "TPM2TOOLS_TCTI")]
    tcti: Tcti,
    /// Endorsement key: rsa2048, secp256r1, secp384r1 and others [default: the first with a certificate]
    #[arg(long, value_name = "ALGORITHM")]
    ek: Option<KeyAlgorithm>,
    /// What the attestation key signs with
    #[arg(long, value_enum, default_value_t)]
    ak: KeyArg,
    /// What the TPM is called in the record
    #[arg(long, default_value = "tpm")]
    name: String,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    service: ServiceArgs,
    /// Where the record goes; a daemon keeps its own
    #[arg(
        short,
        long,
        value_name = "FILE",
        required_unless_present_any = ["data", "server_url"],
        conflicts_with_all = ["data", "server_url"]
    )]
    output: Option<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
    /// Print the checks that passed, too
    #[arg(short, long)]
    verbose: bool,
}

impl Enroll {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let trusted = self.trust.read()?;
        let mut client = connect(&self.tcti)?;
        let (ek, endorsement) = attester::endorsement(&mut client, self.ek)?;
        let ak = attester::attestation_key(&mut client, self.ak.algorithm())?;
        let candidate = Candidate {
            source: self.name.clone(),
            attestation_key: ak.public.clone(),
            qualified_name: ak.qualified_name.clone(),
            endorsement,
        };
        let verdict = {
            let open = |challenge: &Challenge| {
                let opened = attester::activate(&mut client, &ak, &ek, challenge);
                opened.map_err(|error| error.to_string())
            };
            match self.service.open()? {
                Some(service) => enroll_there(&service, &candidate, open)?,
                None => self.enroll_here(&candidate, trusted.as_ref(), open)?,
            }
        };
        attester::release(&mut client, &ak)?;
        attester::release(&mut client, &ek)?;
        report(&verdict, self.json, self.verbose)
    }

    /// Plays the verifier's side, too.
    fn enroll_here(
        &self,
        candidate: &Candidate,
        trusted: Option<&Trusted>,
        open: impl FnOnce(&Challenge) -> Result<Vec<u8>, String>,
    ) -> anyhow::Result<Verdict> {
        let now = self.trust.now();
        let mut enrolments = Enrolments::new(PATIENCE, 1);
        let mut verdict = Verdict::default();
        let trust = trusted.map(Trusted::trust);
        let rng = &mut rand::rng();
        let challenge = enrolments.begin(&mut verdict, candidate, trust.as_ref(), now, rng);
        if let Some(challenge) = challenge {
            match open(&challenge) {
                Ok(secret) => {
                    let session = &challenge.session.0;
                    let record = enrolments.finish(&mut verdict, session, &secret, now);
                    if let (Some(record), Some(path)) = (record, &self.output) {
                        write(path, &record.to_json())?;
                    }
                }
                Err(fault) => verdict.fail(Rule::KeyEnrolled, fault),
            }
        }
        Ok(verdict)
    }
}

/// Lets a daemon play the verifier's side.
fn enroll_there(
    service: &Service,
    candidate: &Candidate,
    open: impl FnOnce(&Challenge) -> Result<Vec<u8>, String>,
) -> anyhow::Result<Verdict> {
    let begun = service.begin(candidate)?;
    let mut verdict = begun.verdict;
    if let Some(challenge) = begun.challenge {
        match open(&challenge) {
            Ok(secret) => {
                let judged = service.finish(&challenge.session, secret)?;
                verdict.checks.extend(judged.verdict.checks);
            }
            Err(fault) => verdict.fail(Rule::KeyEnrolled, fault),
        }
    }
    Ok(verdict)
}
