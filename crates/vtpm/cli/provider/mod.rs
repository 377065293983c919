//! `vtpm provider`: key providers of vCenters.

mod key_server;
mod keys;

use std::env;
use std::fs::OpenOptions;
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use vm_inventory::{CreateProvider, Name, ProviderView};
use vm_store::backend::read_named;
use vm_web::api::{BackUp, BackedUp, Password, Restore as RestoreRequest};
use zeroize::Zeroizing;

pub(crate) use keys::{Decrypt, Encrypt, RekeyVm, Unlock};

use super::client::{Client, Refusal, component, set_up};
use super::list::{List, Row, yes_or_no};
use super::output;
use crate::config::Daemon;

const PASSWORD_VARIABLE: &str = "VTPM_BACKUP_PASSWORD";
const LONGEST_PASSWORD: u64 = 1024;
const LARGEST_BACKUP: u64 = 1024 * 1024;

/// Register, back up, restore and look at key providers, and change keys
#[derive(Args, Debug)]
// --server is where a provider's keys are, so the daemon has another word here.
#[command(mut_arg("server_url", |url| url.long("daemon")))]
pub(crate) struct Provider {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a native key provider; it holds keys once it has been backed up
    Create(Create),
    /// Back a native key provider up to a password-protected PKCS#12 file
    Backup(Backup),
    /// Restore a native key provider from its backup, under the name it had
    Restore(Restore),
    /// Register a key provider of any kind
    ///
    /// A standard provider's keys are at KMIP key servers. With --client-cert and --client-key it can be used at once; without them
    /// `vtpm provider csr` makes a key and the request for its certificate. A trusted provider's keys are at key services
    /// (`vtpm key-service`), which give them to a host whose TPM attests: --host-tcti names that TPM.
    Add(key_server::Add),
    /// Make a key for a provider's client, and print the request for its certificate
    Csr(key_server::Csr),
    /// Take the client certificate that the request was answered with
    SetCertificate(key_server::SetCertificate),
    /// List all key providers
    List(List),
    /// Show one key provider, without asking its servers
    Show(key_server::Show),
    /// Ask the servers of a provider, and look which of its VMs are locked
    ///
    /// The exit code is 1 if no server can be used or a VM is locked.
    Status(key_server::Status),
    /// Make a provider the default of its vCenter: new TPMs get keys of it
    Default(keys::MakeDefault),
    /// Remove a provider that no VM needs; the key of a native one goes too, and only a backup brings it back
    Remove(keys::Remove),
    /// List the keys of a provider with the VMs that need them
    Keys(keys::Keys),
    /// Wipe the keys of a provider that are kept in memory
    ForgetKeys(keys::ForgetKeys),
    /// Put the data keys of a provider's VMs under a new key
    ///
    /// Goes on after a crash. Without --deep the VMs may run, and nothing of their TPMs changes.
    Rekey(keys::RekeyProvider),
}

#[derive(Args, Debug)]
struct Create {
    /// Name of the new provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Make it the default for new VMs
    #[arg(long)]
    default: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Backup {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Write a copy of the backup here as well; the file must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Read the password from the first line of standard input [default: the variable VTPM_BACKUP_PASSWORD]
    #[arg(long)]
    password_stdin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Restore {
    /// The backup
    file: PathBuf,
    /// Name of the provider, as in the backup
    #[arg(long)]
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Make it the default for new VMs
    #[arg(long)]
    default: bool,
    /// Read the password from the first line of standard input [default: the variable VTPM_BACKUP_PASSWORD]
    #[arg(long)]
    password_stdin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Provider {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            match verb {
                Verb::Create(verb) => verb.execute(&client).await,
                Verb::Backup(verb) => verb.execute(&client).await,
                Verb::Restore(verb) => verb.execute(&client).await,
                Verb::Add(verb) => verb.execute(&client).await,
                Verb::Csr(verb) => verb.execute(&client).await,
                Verb::SetCertificate(verb) => verb.execute(&client).await,
                Verb::List(list) => list.of::<ProviderView, _>(&client, "/v1/providers").await,
                Verb::Show(verb) => verb.execute(&client).await,
                Verb::Status(verb) => verb.execute(&client).await,
                Verb::Default(verb) => verb.execute(&client).await,
                Verb::Remove(verb) => verb.execute(&client).await,
                Verb::Keys(verb) => verb.execute(&client).await,
                Verb::ForgetKeys(verb) => verb.execute(&client).await,
                Verb::Rekey(verb) => verb.execute(&client).await,
            }
        })
    }
}

impl Create {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = CreateProvider::native(self.name, self.vcenter, self.default);
        let made: ProviderView = client.post("/v1/providers", &request).await?;
        say_created(&made, self.json)
    }
}

/// Says what became of a new native provider.
fn say_created(made: &ProviderView, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(made);
    }
    output::line(format!(
        "{}: created on vCenter {}",
        made.name, made.vcenter
    ))?;
    output::line(format!(
        "  it holds keys once it is backed up: vtpm provider backup {} --vcenter {}",
        super::vm::quoted(made.name.as_str()),
        super::vm::quoted(made.vcenter.as_str())
    ))?;
    Ok(())
}

impl Backup {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = BackUp {
            vcenter: self.vcenter,
            password: password(self.password_stdin)?,
        };
        let path = format!("/v1/providers/{}/backup", component(self.name.as_str()));
        let made: BackedUp = client.post(&path, &request).await?;
        if let Some(out) = &self.out {
            let bytes = STANDARD
                .decode(&made.backup)
                .context("the daemon's answer holds no backup")?;
            write_new(out, &bytes).with_context(|| {
                format!(
                    "the backup is in {}, but not in {}",
                    made.path.display(),
                    out.display()
                )
            })?;
        }
        if self.json {
            return output::json(&made);
        }
        let copy = self
            .out
            .map_or_else(String::new, |out| format!(" and {}", out.display()));
        output::line(format!(
            "{}: backed up to {}{copy}",
            self.name,
            made.path.display()
        ))?;
        output::line("  keep a copy of the file elsewhere, and the password apart from it")?;
        Ok(())
    }
}

impl Restore {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = RestoreRequest {
            name: self.name,
            vcenter: self.vcenter,
            default: self.default,
            backup: STANDARD.encode(read_backup(&self.file)?),
            password: password(self.password_stdin)?,
        };
        let restored: ProviderView = client.post("/v1/providers/restore", &request).await?;
        if self.json {
            return output::json(&restored);
        }
        output::line(format!(
            "{}: restored on vCenter {}",
            restored.name, restored.vcenter
        ))?;
        Ok(())
    }
}

impl Row<5> for ProviderView {
    const HEADINGS: [&'static str; 5] = ["NAME", "VCENTER", "KIND", "DEFAULT", "STATUS"];

    fn row(&self) -> [String; 5] {
        [
            self.name.to_string(),
            self.vcenter.to_string(),
            self.kind.to_string(),
            yes_or_no(self.default),
            self.status.clone(),
        ]
    }
}

/// The password of a backup; never an argument, which every process could read.
pub(super) fn password(from_stdin: bool) -> anyhow::Result<Password> {
    let mut text = Zeroizing::new(String::new());
    if from_stdin {
        std::io::stdin()
            .lock()
            .take(LONGEST_PASSWORD)
            .read_line(&mut text)
            .context("the password on standard input")?;
        let length = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(length);
    } else if let Some(value) = env::var_os(PASSWORD_VARIABLE) {
        let value = value.into_string().map_err(|_| {
            Refusal::Usage(format!("the password in {PASSWORD_VARIABLE} is not UTF-8"))
        })?;
        *text = value;
    }
    if text.is_empty() {
        return Err(Refusal::Usage(format!(
            "no password given; use --password-stdin, or set {PASSWORD_VARIABLE}"
        ))
        .into());
    }
    Ok(Password::new(text))
}

pub(super) fn read_backup(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_named(path, LARGEST_BACKUP)
        .map(|bytes| bytes.to_vec())
        .with_context(|| format!("the backup {} cannot be read", path.display()))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
