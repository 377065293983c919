//! `vtpm key-service`: keys for hosts that attested.

mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use key_service::{KeyState, Service};

use super::output;

/// Hold keys for trusted key providers, and hand them to hosts whose TPM attests
///
/// A host is enrolled by itself when its endorsement key has a certificate of an authority that the service trusts. Each time it
/// wants a key it quotes its PCR for a fresh question; if they are those of the policy, the key comes sealed to that TPM and those
/// PCR. A policy is what `vtpm attest policy` makes of the evidence of a host in order. All verbs but serve work on the folder
/// directly, while the service runs too.
#[derive(Args, Debug)]
pub(crate) struct KeyService {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Set a service up in a folder: its policy, and whose endorsement keys it trusts
    Init(Init),
    /// Serve hosts
    Serve(serve::Serve),
    /// Put another policy in the place of the one there is; it counts from the next question on
    Policy(Policy),
    /// List the hosts that are enrolled
    Hosts(Place),
    /// Shut a host out
    BlockHost(One),
    /// Let a host in again that was shut out
    AllowHost(One),
    /// Forget a host and the history of its quotes; it may enrol anew
    ForgetHost(One),
    /// List the keys and their states
    Keys(Place),
    /// Have a key open what it protects, and protect nothing new
    DeactivateKey(One),
    /// Take a deactivated key into use again
    ActivateKey(One),
    /// Destroy the bytes of a key: what it protects is lost, unless it is re-keyed by hosts that keep the key in memory
    DestroyKey(One),
}

#[derive(Args, Debug)]
struct Init {
    /// Folder of the service
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The policy, as `vtpm attest policy` writes it
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Certificates of authorities whose endorsement keys are trusted (PEM or DER); several times if need be
    #[arg(long = "ca", value_name = "FILE", required = true)]
    authorities: Vec<PathBuf>,
}

#[derive(Args, Debug)]
struct Policy {
    /// Folder of the service
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The policy
    policy: PathBuf,
}

/// A service's folder and the key that its secrets are under.
#[derive(Args, Debug)]
struct Place {
    /// Folder of the service
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file with the key under which everything in the folder is sealed; made if it is not there [default: service.key in the
    /// folder]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct One {
    #[command(flatten)]
    place: Place,
    /// The id
    id: String,
}

impl KeyService {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        match self.verb {
            Verb::Init(verb) => verb.execute()?,
            Verb::Serve(verb) => return verb.execute(),
            Verb::Policy(verb) => Service::set_policy(&verb.data, &read(&verb.policy)?)?,
            Verb::Hosts(place) => place.hosts()?,
            Verb::BlockHost(one) => one.place.open()?.block_host(&one.id, true)?,
            Verb::AllowHost(one) => one.place.open()?.block_host(&one.id, false)?,
            Verb::ForgetHost(one) => one.place.open()?.forget_host(&one.id)?,
            Verb::Keys(place) => place.keys()?,
            Verb::DeactivateKey(one) => one.set(KeyState::Deactivated)?,
            Verb::ActivateKey(one) => one.set(KeyState::Active)?,
            Verb::DestroyKey(one) => one.set(KeyState::Destroyed)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Init {
    fn execute(self) -> anyhow::Result<()> {
        let mut authorities = String::new();
        for path in &self.authorities {
            for certificate in super::attest::files::certificates(path)? {
                authorities.push_str(&tpm_attest::certificate::to_pem(&certificate)?);
            }
        }
        let policy = read(&self.policy)?;
        Service::set_up(&self.data, &policy, authorities.as_bytes())?;
        output::line(format!(
            "{}: set up; serve it: vtpm key-service serve --data {0} --listen unix:PATH",
            self.data.display()
        ))?;
        Ok(())
    }
}

impl Place {
    fn open(&self) -> anyhow::Result<Service> {
        Ok(Service::open(&self.data, self.key_file.as_deref())?)
    }

    fn hosts(&self) -> anyhow::Result<()> {
        let rows: Vec<[String; 4]> = self
            .open()?
            .hosts()?
            .into_iter()
            .map(|host| {
                let state = if host.blocked { "shut out" } else { "enrolled" };
                [
                    host.id,
                    host.name,
                    state.to_owned(),
                    host.enrolled_at.to_string(),
                ]
            })
            .collect();
        Ok(output::table(
            ["ID", "NAME", "STATE", "ENROLLED (UNIX TIME)"],
            &rows,
        )?)
    }

    fn keys(&self) -> anyhow::Result<()> {
        let keys = self.open()?.keys()?.into_iter();
        let rows: Vec<[String; 2]> = keys.map(|(id, state)| [id, state.to_string()]).collect();
        Ok(output::table(["KEY ID", "STATE"], &rows)?)
    }
}

impl One {
    fn set(&self, state: KeyState) -> anyhow::Result<()> {
        Ok(self.place.open()?.set_key_state(&self.id, state)?)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    super::attest::files::read(path)
}
