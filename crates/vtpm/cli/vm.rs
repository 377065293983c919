//! `vtpm vm`: virtual machines and their TPMs.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::{CloneVm, CreateVm, Name, Task, VmView};
use vm_web::api::{Accepted, ChangePower, PowerAction};

use super::client::{Client, component, talk};
use super::list::{List, Row, or_dash};
use super::operate::{How, TpmChoice, delete, each, foresee};
use super::output;
use super::profile::ProfileOption;
use super::provider::{Decrypt, Encrypt, RekeyVm, Unlock};
use super::snapshot;
use super::vm_settings::VmSettings;
use crate::config::Daemon;

/// Create, look at, start, stop, clone, snapshot and delete VMs
#[derive(Args, Debug)]
pub(crate) struct Vm {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a VM; it is off at first
    Create(Create),
    /// List all VMs
    List(List),
    /// Show one VM: its TPM, and where that is reached while the VM is on
    Show(Show),
    /// Power VMs on
    ///
    /// The TPM answers on its sockets when this returns. Unless the VM was created with --no-startup, TPM2_Startup(CLEAR) has been
    /// sent, as the firmware of a guest would do.
    Start(Start),
    /// Power VMs off, after an orderly TPM2_Shutdown
    Stop(Stop),
    /// Suspend VMs: their TPMs go on from there when they are started again
    Suspend(Stop),
    /// Clone a VM, on or off; the clone is off
    Clone(Clone),
    /// Put a VM's data key under a new key of its provider, or of another one
    Rekey(RekeyVm),
    /// Encrypt a VM that has no TPM; it stays encrypted if it gets a TPM and loses it again
    Encrypt(Encrypt),
    /// End the encryption of a VM that has no TPM
    Decrypt(Decrypt),
    /// Unlock VMs whose key is back at its provider
    Unlock(Unlock),
    /// Delete VMs; what their TPMs hold is lost for good
    Delete(Delete),
    /// Take a snapshot of a VM's TPM, on or off
    Snapshot(snapshot::Take),
    /// Go back to a snapshot; what the TPM did since is given up
    ///
    /// The VM is on afterwards if it was on when the snapshot was taken, with the TPM as it was in that moment. Keys, seeds and NV indices come
    /// back as they were, counters too; random numbers do not, and sessions are void.
    Revert(snapshot::Revert),
    /// Remove a snapshot; what followed it stays
    Forget(snapshot::Forget),
    /// Show the snapshots of a VM as a tree
    Snapshots(snapshot::Show),
    /// The endorsement keys of a VM's TPM and their certificates
    Ek(super::vm_ek::Ek),
    /// Keys by which others know a VM's TPM: attestation key, IAK and IDevID, made on request
    Identity(super::vm_identity::Identity),
    #[command(flatten)]
    Moves(super::vm_moves::Verb),
}

#[derive(Args, Debug)]
struct Create {
    /// Name of the new VM
    name: Name,
    /// Give it a TPM
    #[arg(long)]
    tpm: bool,
    /// What its TPM is like: a profile's name, JSON, or name=|profile=|file=|fd= as swtpm has it
    #[arg(long, value_name = "PROFILE", requires = "tpm")]
    profile: Option<ProfileOption>,
    #[command(flatten)]
    settings: VmSettings,
    /// Power it on as well
    #[arg(long, requires = "tpm")]
    start: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Show {
    /// Name or id
    vm: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Start {
    /// Names or ids
    #[arg(required = true)]
    vms: Vec<String>,
    /// Take files that are older than they were known to be
    ///
    /// Monotonic counters and failed authorizations since then are forgotten.
    #[arg(long)]
    accept_rollback: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Stop {
    /// Names or ids
    #[arg(required = true)]
    vms: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Clone {
    /// Name or id of the source
    source: String,
    /// Name of the clone
    name: Name,
    /// What becomes of the TPM [default: copy]
    ///
    /// copy: the clone keeps every secret of the source's TPM, the endorsement key included. replace: the clone gets a new TPM; what was
    /// sealed in the source does not open there. Replacing needs vCenter 8.
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    /// vCenter of the clone [default: that of the source]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Datastore for the clone's files [default: that of the source, if the vCenter sees it]
    #[arg(long, value_name = "NAME")]
    datastore: Option<Name>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Delete {
    /// Names or ids
    #[arg(required = true)]
    vms: Vec<String>,
    #[command(flatten)]
    how: How,
}

impl Vm {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        talk(&self.daemon, |client| async move {
            match verb {
                Verb::Create(verb) => verb.execute(&client).await,
                Verb::List(list) => list.of::<VmView, _>(&client, "/v1/vms").await,
                Verb::Show(verb) => verb.execute(&client).await,
                Verb::Start(verb) => verb.execute(&client).await,
                Verb::Stop(verb) => verb.execute(&client, PowerAction::Off, "powered off").await,
                Verb::Suspend(verb) => {
                    verb.execute(&client, PowerAction::Suspend, "suspended")
                        .await
                }
                Verb::Clone(verb) => verb.execute(&client).await,
                Verb::Rekey(verb) => verb.execute(&client).await,
                Verb::Encrypt(verb) => verb.execute(&client).await,
                Verb::Decrypt(verb) => verb.execute(&client).await,
                Verb::Unlock(verb) => verb.execute(&client).await,
                Verb::Delete(verb) => verb.execute(&client).await,
                Verb::Snapshot(verb) => verb.execute(&client).await,
                Verb::Revert(verb) => verb.execute(&client).await,
                Verb::Forget(verb) => verb.execute(&client).await,
                Verb::Snapshots(verb) => verb.execute(&client).await,
                Verb::Ek(verb) => verb.execute(&client).await,
                Verb::Identity(verb) => verb.execute(&client).await,
                Verb::Moves(verb) => verb.execute(&client).await,
            }
        })
    }
}

impl Create {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = CreateVm {
            tpm: self.tpm,
            profile: self.profile.as_ref().map(ProfileOption::text).transpose()?,
            ..self.settings.request(self.name)
        };
        if self.how.preview {
            return foresee(client, "/v1/vms", &request, self.how).await;
        }
        let task = client.wait(client.post("/v1/vms", &request).await?).await?;
        if self.start {
            let path = power_path(&task.vm.to_string());
            let accepted = client.post(&path, &power(PowerAction::On, false)).await?;
            client.wait(accepted).await?;
        }
        report(client, task, self.how.json, "created").await
    }
}

impl Row<6> for VmView {
    const HEADINGS: [&'static str; 6] = ["NAME", "VCENTER", "POWER", "TPM", "EK NAME", "ID"];

    fn row(&self) -> [String; 6] {
        [
            self.name.to_string(),
            self.vcenter.to_string(),
            power_of(self),
            or_dash(self.tpm.origin),
            or_dash(self.tpm.ek_name.as_deref().map(short)),
            self.id.to_string(),
        ]
    }
}

impl Show {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let vm = view(client, &self.vm).await?;
        if self.json {
            return output::json(&vm);
        }
        Ok(output::line(describe(&vm).trim_end())?)
    }
}

impl Start {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = power(PowerAction::On, self.accept_rollback);
        turn(client, &self.vms, request, self.how, "powered on").await
    }
}

impl Stop {
    async fn execute(self, client: &Client, action: PowerAction, done: &str) -> anyhow::Result<()> {
        turn(client, &self.vms, power(action, false), self.how, done).await
    }
}

/// Powers VMs one after another.
async fn turn(
    client: &Client,
    vms: &[String],
    request: ChangePower,
    how: How,
    done: &str,
) -> anyhow::Result<()> {
    each(vms, async |vm| {
        let path = power_path(vm);
        if how.preview {
            return foresee(client, &path, &request, how).await;
        }
        let accepted: Accepted = client.post(&path, &request).await?;
        let task = client.wait(accepted).await?;
        report(client, task, how.json, done).await
    })
    .await
}

impl Clone {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = CloneVm {
            name: self.name,
            tpm: self.tpm.map(Into::into),
            vcenter: self.vcenter,
            datastore: self.datastore,
            snapshot: None,
        };
        let path = format!("/v1/vms/{}/clone", component(&self.source));
        if self.how.preview {
            return foresee(client, &path, &request, self.how).await;
        }
        let task = client.wait(client.post(&path, &request).await?).await?;
        report(client, task, self.how.json, "cloned").await
    }
}

impl Delete {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        each(&self.vms, async |vm| {
            delete(client, &format!("/v1/vms/{}", component(vm)), self.how).await
        })
        .await
    }
}

fn power(action: PowerAction, accept_rollback: bool) -> ChangePower {
    ChangePower {
        action,
        accept_rollback,
    }
}

fn power_path(vm: &str) -> String {
    format!("/v1/vms/{}/power", component(vm))
}

async fn view(client: &Client, vm: &str) -> anyhow::Result<VmView> {
    client.get(&format!("/v1/vms/{}", component(vm))).await
}

/// Says what became of a VM: its view as JSON, or lines.
pub(super) async fn report(
    client: &Client,
    task: Task,
    json: bool,
    done: &str,
) -> anyhow::Result<()> {
    let vm = view(client, &task.vm.to_string()).await?;
    if json {
        return output::json(&vm);
    }
    output::line(format!("{}: {done}", vm.name))?;
    for note in &task.notes {
        output::line(format!("  {note}"))?;
    }
    if let Some(tcti) = &vm.tpm.tcti {
        output::line(format!("  export TPM2TOOLS_TCTI={}", quoted(tcti)))?;
    }
    Ok(())
}

fn describe(vm: &VmView) -> String {
    let mut text = String::new();
    let mut put = |label: &str, value: &str| {
        text.push_str(&format!("{label:<18}{value}\n"));
    };
    put("name", vm.name.as_str());
    put("id", &vm.id.to_string());
    put("instance id", &vm.instance_id.to_string());
    put("vCenter", vm.vcenter.as_str());
    if let Some(vapp) = &vm.vapp {
        put("vApp", &vapp.to_string());
    }
    put("files", &format!("[{}] {}", vm.datastore, vm.folder));
    put("power", &power_of(vm));
    if let Some(locked) = &vm.locked {
        put(
            "locked",
            &format!(
                "needs key {} of key provider {}: {}",
                locked.key_id, locked.provider, locked.reason
            ),
        );
    }
    put("firmware", vm.firmware.as_str());
    put("hardware version", &vm.hardware_version.to_string());
    put("guest", vm.guest.as_str());
    if let Some(provider) = &vm.provider {
        put("key provider", provider.as_str());
    }
    if let Some(key_id) = &vm.key_id {
        put("key id", key_id);
    }
    if vm.encrypted {
        put("encrypted", "for itself, with or without a TPM");
    }
    if vm.snapshot_count > 0 {
        put("snapshots", &vm.snapshot_count.to_string());
    }
    if let Some(revert) = vm.reverts.last() {
        let when = output::date(revert.at.0);
        put(
            "reverted",
            &format!("{when}, to the snapshot {}", revert.name),
        );
    }
    let Some(origin) = vm.tpm.origin else {
        put("TPM", "none");
        return text;
    };
    match &vm.tpm.source {
        Some(source) => put(
            "TPM",
            &format!("{origin}, from {} ({})", source.name, source.id),
        ),
        None => put("TPM", &origin.to_string()),
    }
    if let Some(ek_name) = &vm.tpm.ek_name {
        put("EK name", ek_name);
    }
    for certificate in &vm.tpm.certificates {
        put(
            "certificate",
            &format!(
                "{} at {:#010x}, of {}, SHA-256 {}",
                certificate.key,
                certificate.nv_index,
                certificate.facts.issuer,
                short_digest(&certificate.facts.fingerprint)
            ),
        );
    }
    if let Some(tcti) = &vm.tpm.tcti {
        put("TCTI", tcti);
    }
    if let Some(control) = &vm.tpm.control {
        put("control", control);
    }
    text
}

fn short_digest(digest: &str) -> String {
    digest.chars().take(16).collect::<String>() + ".."
}

fn power_of(vm: &VmView) -> String {
    match vm.locked {
        Some(_) => format!("{}, locked", vm.power),
        None => vm.power.to_string(),
    }
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    if !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c))
    {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The first digits of an EK's name, after the two bytes that say SHA-256 for all of them.
fn short(ek_name: &str) -> String {
    let digits: String = ek_name.chars().skip(4).take(16).collect();
    format!("{digits}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_a_shell() {
        assert_eq!(quoted("swtpm:path=/a/b"), "swtpm:path=/a/b");
        assert_eq!(quoted("swtpm:path=/a b/it's"), r"'swtpm:path=/a b/it'\''s'");
    }
}
