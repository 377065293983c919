//! `vtpm vapp`: VMs that are handled as one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::guest::GuestOs;
use vm_inventory::model::Firmware;
use vm_inventory::{Capture, CopyVapp, CreateVapp, MoveVapp, Name, NewVappVm, VappItem, VappView};
use vm_web::api::{ChangePower, Items, PowerAction};

use super::client::{Client, Refusal, component, talk};
use super::list::{List, Row, table};
use super::operate::{How, TpmChoice, delete, operate};
use super::output;
use super::package::{self, Destination};
use crate::config::Daemon;

/// Build, copy, move, power, save and delete vApps
#[derive(Args, Debug)]
pub(crate) struct Vapp {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Build a vApp of new VMs, copies of VMs, and templates
    Create(Create),
    /// Add VMs to a vApp
    Add(Add),
    /// Copy a vApp; every TPM is copied unless --tpm says otherwise
    Copy(Copy),
    /// Move a vApp that is off to another virtual data center; its TPMs go along, snapshots are dropped
    Move(Move),
    /// Save a vApp as a template
    Capture(Save),
    /// Power every VM of a vApp on
    Start(Whole),
    /// Power every VM of a vApp off
    Stop(Whole),
    /// Suspend the VMs of a vApp that run
    Suspend(Whole),
    /// Delete a vApp with its VMs and their disks
    Delete(Whole),
    /// Make a vApp, or a standalone VM, of a package (OVF or OVA); its TPMs are new ones
    ImportOvf(ImportOvf),
    /// Write a vApp as a package; of its TPMs it only says that they are there
    Export(Export),
    /// List all vApps
    List(List),
    /// Show one vApp
    Show(Show),
}

#[derive(Args, Debug)]
struct VmOptions {
    /// A new VM without a TPM (repeatable)
    #[arg(long = "vm", value_name = "NAME")]
    plain: Vec<Name>,
    /// A new VM with a TPM (repeatable)
    #[arg(long = "tpm-vm", value_name = "NAME")]
    with_tpm: Vec<Name>,
    /// A copy of this VM (repeatable)
    #[arg(long = "copy", value_name = "VM")]
    copies: Vec<String>,
    /// The VMs of this template (repeatable)
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
    /// What becomes of the TPMs of VMs that are copied [default: copy]
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    /// Guest of new VMs, by vSphere's identifier [default: ubuntu64Guest]
    #[arg(long, value_name = "ID")]
    guest: Option<GuestOs>,
    /// New VMs have BIOS in the place of EFI, and so no TPM
    #[arg(long)]
    bios: bool,
    /// Hardware version of new VMs [default: the newest of the vCenter]
    #[arg(long, value_name = "N")]
    hardware: Option<u16>,
}

#[derive(Args, Debug)]
struct Create {
    /// Name of the vApp
    name: Name,
    /// Virtual data center, as VDC or ORGANIZATION/VDC [default: the only one there is]
    #[arg(long, value_name = "VDC")]
    vdc: Option<String>,
    #[command(flatten)]
    vms: VmOptions,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Add {
    /// The vApp
    vapp: String,
    #[command(flatten)]
    vms: VmOptions,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Copy {
    /// The vApp
    vapp: String,
    /// Name of the copy
    name: Name,
    /// Virtual data center of the copy [default: that of the source]
    #[arg(long, value_name = "VDC")]
    vdc: Option<String>,
    /// What becomes of every TPM [default: copy]; replacing needs vCenter 8
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    /// What becomes of one VM's TPM, as NAME=copy or NAME=replace (repeatable)
    #[arg(long, value_name = "NAME=CHOICE")]
    vm_tpm: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Move {
    /// The vApp
    vapp: String,
    /// The virtual data center
    vdc: String,
    /// What becomes of every TPM; a move only ever keeps it
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    /// By the API call moveVApp, which needs no shared storage between vCenters
    #[arg(long)]
    api: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Save {
    /// The vApp
    vapp: String,
    /// The catalog, as CATALOG or ORGANIZATION/CATALOG
    catalog: String,
    /// Name of the template
    name: Name,
    /// What instances get: each TPM as it is now, or a new one [default: copy]
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Whole {
    /// The vApp
    vapp: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Show {
    /// The vApp, as NAME, ORGANIZATION/NAME or id
    vapp: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ImportOvf {
    /// The package: an OVA, or an OVF descriptor with its files beside it
    file: PathBuf,
    /// Name of the vApp or VM [default: that of the package]
    name: Option<Name>,
    /// Virtual data center [default: the only one there is]
    #[arg(long, value_name = "VDC")]
    vdc: Option<String>,
    /// Make a standalone VM of the package's only one
    #[arg(long)]
    standalone: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Export {
    /// The vApp
    #[arg(required_unless_present = "vm")]
    vapp: Option<String>,
    /// This VM instead of a vApp
    #[arg(long, value_name = "VM", conflicts_with = "vapp")]
    vm: Option<String>,
    #[command(flatten)]
    to: Destination,
}

impl Vapp {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        talk(
            &self.daemon,
            |client| async move { verb.run(&client).await },
        )
    }
}

impl Verb {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Create(verb) => {
                let request = CreateVapp {
                    name: verb.name,
                    organization: None,
                    vdc: verb.vdc,
                    vms: verb.vms.items(),
                };
                operate(client, "/v1/vapps", &request, verb.how, "created").await
            }
            Self::Add(verb) => {
                let items = Items {
                    items: verb.vms.items(),
                };
                let path = format!("/v1/vapps/{}/vms", component(&verb.vapp));
                operate(client, &path, &items, verb.how, "VMs added").await
            }
            Self::Copy(verb) => {
                let request = CopyVapp {
                    name: verb.name,
                    vdc: verb.vdc,
                    tpm: verb.tpm.map(Into::into),
                    vms: choices(&verb.vm_tpm)?,
                };
                let path = format!("/v1/vapps/{}/copy", component(&verb.vapp));
                operate(client, &path, &request, verb.how, "copied").await
            }
            Self::Move(verb) => {
                let request = MoveVapp {
                    vdc: verb.vdc,
                    tpm: verb.tpm.map(Into::into),
                    api: verb.api,
                };
                let path = format!("/v1/vapps/{}/move", component(&verb.vapp));
                operate(client, &path, &request, verb.how, "moved").await
            }
            Self::Capture(verb) => {
                let request = Capture {
                    vapp: Some(verb.vapp),
                    vm: None,
                    catalog: verb.catalog,
                    name: verb.name,
                    tpm: verb.tpm.map(Into::into),
                };
                operate(client, "/v1/templates", &request, verb.how, "saved").await
            }
            Self::Start(verb) => power(client, &verb, PowerAction::On).await,
            Self::Stop(verb) => power(client, &verb, PowerAction::Off).await,
            Self::Suspend(verb) => power(client, &verb, PowerAction::Suspend).await,
            Self::Delete(verb) => {
                let path = format!("/v1/vapps/{}", component(&verb.vapp));
                delete(client, &path, verb.how).await
            }
            Self::ImportOvf(verb) => {
                let query = [
                    ("name", verb.name.map(|name| name.to_string())),
                    ("vdc", verb.vdc),
                    ("standalone", verb.standalone.then(|| "true".to_owned())),
                ];
                package::upload(client, &verb.file, query, verb.how).await
            }
            Self::Export(verb) => {
                let path = match (verb.vapp, verb.vm) {
                    (Some(vapp), _) => format!("/v1/vapps/{}/package", component(&vapp)),
                    (None, vm) => {
                        format!("/v1/vms/{}/package", component(&vm.unwrap_or_default()))
                    }
                };
                package::download(client, &path, verb.to).await
            }
            Self::List(list) => list.of::<VappView, _>(client, "/v1/vapps").await,
            Self::Show(verb) => show(client, &verb.vapp, verb.json).await,
        }
    }
}

impl VmOptions {
    fn items(&self) -> Vec<VappItem> {
        let new = |name: &Name, tpm: bool| VappItem {
            name: Some(name.clone()),
            vm: None,
            template: None,
            new: Some(NewVappVm {
                tpm,
                profile: None,
                firmware: self.bios.then_some(Firmware::Bios),
                hardware_version: self.hardware,
                guest: self.guest.clone(),
            }),
            tpm: None,
        };
        let from = |vm: Option<&String>, template: Option<&String>| VappItem {
            name: None,
            vm: vm.cloned(),
            template: template.cloned(),
            new: None,
            tpm: self.tpm.map(Into::into),
        };
        let plain = self.plain.iter().map(|name| new(name, false));
        let with_tpm = self.with_tpm.iter().map(|name| new(name, true));
        let copies = self.copies.iter().map(|vm| from(Some(vm), None));
        let templates = self.templates.iter().map(|it| from(None, Some(it)));
        plain
            .chain(with_tpm)
            .chain(copies)
            .chain(templates)
            .collect()
    }
}

async fn power(client: &Client, verb: &Whole, action: PowerAction) -> anyhow::Result<()> {
    let request = ChangePower {
        action,
        accept_rollback: false,
    };
    let path = format!("/v1/vapps/{}/power", component(&verb.vapp));
    let done = match action {
        PowerAction::On => "powered on",
        PowerAction::Off => "powered off",
        PowerAction::Suspend => "suspended",
    };
    operate(client, &path, &request, verb.how, done).await
}

fn choices(
    given: &[String],
) -> anyhow::Result<BTreeMap<Name, vm_inventory::provisioning::TpmProvisioning>> {
    let mut choices = BTreeMap::new();
    for text in given {
        let parsed = text.rsplit_once('=').and_then(|(name, choice)| {
            let choice = <TpmChoice as clap::ValueEnum>::from_str(choice, false).ok()?;
            Some((name.parse::<Name>().ok()?, choice.into()))
        });
        let Some((name, choice)) = parsed else {
            return Err(
                Refusal::Usage(format!("`{text}` is not NAME=copy or NAME=replace")).into(),
            );
        };
        choices.insert(name, choice);
    }
    Ok(choices)
}

impl Row<5> for VappView {
    const HEADINGS: [&'static str; 5] = ["ORGANIZATION", "VAPP", "VDC", "VMS", "TPMS"];

    fn row(&self) -> [String; 5] {
        let tpms = self.vms.iter().filter(|vm| vm.tpm.present).count();
        [
            self.vapp.organization.to_string(),
            self.vapp.name.to_string(),
            self.vapp.vdc.to_string(),
            self.vms.len().to_string(),
            tpms.to_string(),
        ]
    }
}

async fn show(client: &Client, vapp: &str, json: bool) -> anyhow::Result<()> {
    let view: VappView = client
        .get(&format!("/v1/vapps/{}", component(vapp)))
        .await?;
    if json {
        return output::json(&view);
    }
    output::line(format!(
        "{}/{} in {}, id {}",
        view.vapp.organization, view.vapp.name, view.vapp.vdc, view.vapp.id
    ))?;
    table(&view.vms)
}
