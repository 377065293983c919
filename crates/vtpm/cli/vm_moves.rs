//! The verbs of `vtpm vm` that change where a VM belongs, or whether it has a TPM.

use clap::{Args, Subcommand};
use vm_inventory::{EditTpm, Import, LineageNode, MoveVm, Name, VappItem};
use vm_web::api::Items;

use super::client::{Client, component};
use super::operate::{How, TpmChoice, operate};
use super::output;
use super::profile::ProfileOption;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Copy a VM into a vApp
    Copy(Copy),
    /// Move a VM that is off into a vApp; its TPM goes along, snapshots are dropped
    Move(Move),
    /// Import a VM that belongs to no vApp, as a vApp or as a template; it keeps its TPM
    Import(ImportVm),
    /// Give a VM that is off a TPM, or take it away
    Tpm(Tpm),
    /// Where a VM's TPM comes from, and what was made from it
    Lineage(ShowLineage),
}

#[derive(Args, Debug)]
pub(super) struct Copy {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
    /// The vApp
    vapp: String,
    /// Name of the copy [default: that of the VM]
    #[arg(long)]
    name: Option<Name>,
    /// What becomes of the TPM [default: copy]; replacing needs vCenter 8
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct Move {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
    /// The vApp
    vapp: String,
    /// Its name there [default: the one it has]
    #[arg(long)]
    name: Option<Name>,
    /// What becomes of the TPM; a move only ever keeps it
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct ImportVm {
    /// The VM
    vm: String,
    /// Name of the vApp or template
    name: Name,
    /// As a vApp in this virtual data center [default: the only one there is]
    #[arg(long, value_name = "VDC", conflicts_with = "catalog")]
    vdc: Option<String>,
    /// As a template in this catalog
    #[arg(long, value_name = "CATALOG")]
    catalog: Option<String>,
    /// Move the VM instead of copying it
    #[arg(long = "move")]
    moves: bool,
    /// What becomes of the TPM; an import only ever keeps it
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct Tpm {
    #[command(subcommand)]
    verb: TpmVerb,
}

#[derive(Subcommand, Debug)]
enum TpmVerb {
    /// Give the VM a new TPM; its files are encrypted from then on, its disks are not
    Add(AddTpm),
    /// Destroy the TPM and what it holds
    Remove(RemoveTpm),
}

#[derive(Args, Debug)]
struct AddTpm {
    /// The VM
    vm: String,
    /// Key provider that holds its key [default: that of the vCenter]
    #[arg(long, value_name = "NAME")]
    provider: Option<Name>,
    /// What its TPM is like: a profile's name, JSON, or name=|profile=|file=|fd= as swtpm has it
    #[arg(long, value_name = "PROFILE")]
    profile: Option<ProfileOption>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct RemoveTpm {
    /// The VM
    vm: String,
    /// I know that guests whose disks are sealed to this TPM (BitLocker, LUKS) need their recovery key at the next boot
    #[arg(long)]
    confirm: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct ShowLineage {
    /// The VM
    vm: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verb {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Copy(verb) => {
                let item = VappItem {
                    name: verb.name,
                    vm: Some(verb.vm),
                    template: None,
                    new: None,
                    tpm: verb.tpm.map(Into::into),
                };
                let items = Items { items: vec![item] };
                let path = format!("/v1/vapps/{}/vms", component(&verb.vapp));
                operate(client, &path, &items, verb.how, "VM copied into it").await
            }
            Self::Move(verb) => {
                let request = MoveVm {
                    vapp: verb.vapp,
                    name: verb.name,
                    tpm: verb.tpm.map(Into::into),
                };
                let path = format!("/v1/vms/{}/move", component(&verb.vm));
                operate(client, &path, &request, verb.how, "VM moved into it").await
            }
            Self::Import(verb) => {
                let request = Import {
                    vdc: verb.vdc,
                    catalog: verb.catalog,
                    name: verb.name,
                    moves: verb.moves,
                    tpm: verb.tpm.map(Into::into),
                };
                let path = format!("/v1/vms/{}/import", component(&verb.vm));
                operate(client, &path, &request, verb.how, "imported").await
            }
            Self::Tpm(verb) => verb.execute(client).await,
            Self::Lineage(verb) => verb.execute(client).await,
        }
    }
}

impl Tpm {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let (vm, request, how, done) = match self.verb {
            TpmVerb::Add(verb) => {
                let profile = verb.profile.as_ref().map(ProfileOption::text).transpose()?;
                let request = EditTpm {
                    present: true,
                    provider: verb.provider,
                    profile,
                    confirm: false,
                };
                (verb.vm, request, verb.how, "has a TPM")
            }
            TpmVerb::Remove(verb) => {
                let request = EditTpm {
                    present: false,
                    provider: None,
                    profile: None,
                    confirm: verb.confirm,
                };
                (verb.vm, request, verb.how, "has no TPM any more")
            }
        };
        let path = format!("/v1/vms/{}/tpm", component(&vm));
        operate(client, &path, &request, how, done).await
    }
}

impl ShowLineage {
    async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("/v1/vms/{}/lineage", component(&self.vm));
        let tree: Items<LineageNode> = client.get(&path).await?;
        if self.json {
            return output::json(&tree.items);
        }
        if tree.items.is_empty() {
            return Ok(output::line("no TPM, no lineage")?);
        }
        tree.items.iter().try_for_each(print)
    }
}

/// Further generations stand below each other.
const DEEPEST: usize = 40;

fn print(node: &LineageNode) -> anyhow::Result<()> {
    let depth = usize::try_from(node.depth).unwrap_or(DEEPEST).min(DEEPEST);
    let tpm = &node.tpm;
    let action = tpm
        .action
        .map_or_else(|| "-".to_owned(), |action| action.to_string());
    let ended = if tpm.ended.is_some() { ", gone" } else { "" };
    output::line(format!(
        "{}{} ({action} by {}{ended}) {}",
        "  ".repeat(depth),
        tpm.name,
        tpm.operation,
        tpm.vm
    ))?;
    Ok(())
}
