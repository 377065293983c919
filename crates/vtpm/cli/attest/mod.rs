//! `vtpm attest`: TPMs are enrolled, quoted and judged, each on its own and without a server.

mod demo;
mod enroll;
pub(crate) mod files;
mod policy;
mod quote;
mod service;
mod verify;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use tpm_attest::Error;
use tpm_attest::attester::AttestationAlgorithm;
use tpm_attest::client::{Client, Transmit};
use tpm_attest::verify::{Outcome, Verdict};
use tpm_wire::Rc;
use tpm_wire::commands::Startup;
use tpm_wire::constants::TpmSu;

use super::client;
use super::output;
use super::trace::tcti::Tcti;

/// The exit code of evidence that was judged and refused; 1 is for whatever kept it from being judged.
const REFUSED: u8 = 4;

/// Prove what a TPM is and what its machine has measured, and judge such proofs
///
/// With --data or --server, a daemon judges: it keeps the enrolments, asks the questions, and trusts the authorities of its vCenters.
/// Exit codes: 0 if everything is in order, 4 if evidence was judged and refused, 1 if it could not be judged, 2 for wrong arguments,
/// 3 if there is no daemon.
#[derive(Args, Debug)]
pub(crate) struct Attest {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the whole story in one go: a VM that is trusted, its copy, its replacement, a tampered kernel, tampered files
    Demo(demo::Demo),
    /// Learn which attestation key lives in a TPM, and keep that in a record
    Enroll(enroll::Enroll),
    /// Make a question for a quote: 32 random bytes
    Nonce,
    /// Quote PCR of a TPM in answer to a question
    Quote(quote::Quote),
    /// Judge evidence; no TPM and no network is needed
    Verify(Box<verify::Verify>),
    /// Make the policy that a machine stays as its evidence shows it
    Policy(policy::MakePolicy),
    /// Write evidence as the request of keylime's POST /v2.4/verify/evidence
    Keylime(policy::Keylime),
}

impl Attest {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        self.done().or_else(client::refusal_code)
    }

    fn done(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Demo(verb) => verb.execute(),
            Verb::Enroll(verb) => verb.execute(),
            Verb::Nonce => {
                output::line(hex::encode(rand::random::<[u8; 32]>()))?;
                Ok(ExitCode::SUCCESS)
            }
            Verb::Quote(verb) => verb.execute(),
            Verb::Verify(verb) => verb.execute(),
            Verb::Policy(verb) => verb.execute(),
            Verb::Keylime(verb) => verb.execute(),
        }
    }
}

/// What the attestation key signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum KeyArg {
    /// ECDSA, NIST P-256, SHA-256
    #[default]
    Ecdsa,
    /// RSASSA, 2048 bits, SHA-256
    Rsassa,
    /// RSAPSS, 2048 bits, SHA-256
    Rsapss,
}

impl KeyArg {
    const fn algorithm(self) -> AttestationAlgorithm {
        match self {
            Self::Ecdsa => AttestationAlgorithm::EcdsaP256,
            Self::Rsassa => AttestationAlgorithm::Rsassa2048,
            Self::Rsapss => AttestationAlgorithm::Rsapss2048,
        }
    }
}

/// A TPM that has had its `TPM2_Startup`: one without is given it, as firmware would.
pub(crate) fn connect(tcti: &Tcti) -> anyhow::Result<Client<impl Transmit + use<>>> {
    let mut connection = tcti.connect()?;
    let mut tpm = Client::new(move |command: &[u8]| {
        connection
            .transmit(command, 0)
            .map_err(|error| std::io::Error::other(format!("{error:#}")))
    });
    if !matches!(tcti, Tcti::Device(_)) {
        let startup_type = TpmSu::Clear;
        match tpm.run(&Startup { startup_type }) {
            Ok(_) => {}
            Err(Error::Refused { code, .. }) if code == Rc::INITIALIZE => {}
            Err(error) => return Err(error).context("the TPM does not start"),
        }
    }
    Ok(tpm)
}

/// Prints a verdict, and gives its exit code.
fn report(verdict: &Verdict, json: bool, all: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(verdict)?;
    } else {
        for check in &verdict.checks {
            let mark = match check.outcome {
                Outcome::Pass if all => "ok     ",
                Outcome::Pass => continue,
                Outcome::Fail => "REFUSED",
                Outcome::Skipped => "open   ",
            };
            let (rule, says, source) = (check.rule, check.rule.says(), check.rule.source());
            output::line(format!("{mark} {rule:<22} {says} ({source})"))?;
            if !check.detail.is_empty() {
                output::line(format!("        {}", check.detail))?;
            }
        }
        let passed = verdict
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Pass);
        let open = match verdict.open_names() {
            open if open.is_empty() => String::new(),
            open => format!("; open: {}", open.join(", ")),
        };
        output::line(if verdict.is_trusted() {
            format!("trusted: {} checks passed{open}", passed.count())
        } else {
            format!("refused: {}{open}", verdict.failed_names().join(", "))
        })?;
    }
    Ok(if verdict.is_trusted() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    })
}
