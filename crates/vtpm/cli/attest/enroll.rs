//! `vtpm attest enroll`: both sides of an enrolment, the TPM's and the verifier's.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tpm_attest::attester::{self, LoadedKey};
use tpm_attest::client::{Client, Transmit};
use tpm_attest::ek::{EkTemplate, KeyAlgorithm};
use tpm_attest::verify::{Base64, Candidate, Endorsement, Enrolments, Rule, Verdict};
use tpm_wire::codec::Marshal as _;

use super::files::{TrustArgs, write};
use super::{KeyArg, connect, report};
use crate::cli::trace::tcti::Tcti;

/// How long a TPM may take over a credential.
const PATIENCE: Duration = Duration::from_secs(120);
/// Endorsement keys in the order in which they are looked for; the first that has a certificate is taken.
const USUAL: [EkTemplate; 8] = [
    EkTemplate::L2,
    EkTemplate::L1,
    EkTemplate::H2,
    EkTemplate::H1,
    EkTemplate::H3,
    EkTemplate::H6,
    EkTemplate::H7,
    EkTemplate::H4,
];

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
        let (ek, endorsement) = endorsement(&mut client, self.ek)?;
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

/// The endorsement key of this algorithm, or the first that has a certificate, and what vouches for it.
pub(super) fn endorsement<T: Transmit>(
    client: &mut Client<T>,
    algorithm: Option<KeyAlgorithm>,
) -> anyhow::Result<(LoadedKey, Endorsement)> {
    let mut found = None;
    for template in USUAL {
        if algorithm.is_some_and(|algorithm| template.algorithm() != algorithm) {
            continue;
        }
        if let Some(certificate) = client.read_certificate(template.indices().certificate)? {
            found = Some((template, Some(Base64(certificate))));
            break;
        }
    }
    let (template, certificate) =
        found.unwrap_or_else(|| (algorithm.map_or(EkTemplate::L2, EkTemplate::usual), None));
    let ek = attester::endorsement_key(client, template)?;
    let endorsement = Endorsement {
        public: Base64(ek.public.to_bytes()),
        certificate,
        chain: Vec::new(),
    };
    Ok((ek, endorsement))
}
