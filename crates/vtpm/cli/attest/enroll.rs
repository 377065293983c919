//! `vtpm attest enroll`: both sides of an enrolment, the TPM's and the verifier's.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tpm_attest::attester;
use tpm_attest::ek::KeyAlgorithm;
use tpm_attest::verify::{Candidate, Enrolments, Rule, Verdict};

use super::files::{TrustArgs, write};
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
    /// Where the record goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
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
            source: self.name,
            attestation_key: ak.public.clone(),
            qualified_name: ak.qualified_name.clone(),
            endorsement,
        };
        let now = self.trust.now();
        let mut enrolments = Enrolments::new(PATIENCE, 1);
        let mut verdict = Verdict::default();
        let trust = trusted.as_ref().map(super::files::Trusted::trust);
        let challenge = enrolments.begin(
            &mut verdict,
            &candidate,
            trust.as_ref(),
            now,
            &mut rand::rng(),
        );
        if let Some(challenge) = challenge {
            match attester::activate(&mut client, &ak, &ek, &challenge) {
                Ok(secret) => {
                    let session = &challenge.session.0;
                    if let Some(record) = enrolments.finish(&mut verdict, session, &secret, now) {
                        write(&self.output, &record.to_json())?;
                    }
                }
                Err(error) => verdict.fail(Rule::KeyEnrolled, error.to_string()),
            }
        }
        attester::release(&mut client, &ak)?;
        attester::release(&mut client, &ek)?;
        report(&verdict, self.json, self.verbose)
    }
}
