//! What bodies say about the VMs of a vApp to be.

use super::{look, replace_tpm};
use crate::call::Call;
use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use vm_inventory::guest::GuestOs;
use vm_inventory::model::Firmware;
use vm_inventory::{Name, NewVappVm, Part, ReconfigureVm, VmView};

/// The name that a sourced item gives its VM.
pub(crate) fn wanted_name(item: &Node) -> Result<Option<Name>, Fault> {
    let name = item
        .child("VmGeneralParams")
        .and_then(|general| general.text("Name"))
        .filter(|name| !name.is_empty());
    Ok(name.map(str::parse::<Name>).transpose()?)
}

/// The parts that a `SourcedItem` stands for.
pub(crate) fn sourced(call: &Call, item: &Node) -> Result<Vec<Part>, Fault> {
    let name = wanted_name(item)?;
    let tpm = replace_tpm(item);
    let moves = item.boolean("sourceDelete") == Some(true);
    let (kind, id) = call.target(item, "Source")?;
    let one = |vm: String, name: Option<Name>| {
        if moves {
            Part::Move { vm, name, tpm }
        } else {
            Part::Copy { vm, name, tpm }
        }
    };
    let template = |template: String, vm: Option<Name>, name: Option<Name>| {
        if moves {
            return Err(Fault::bad_request(
                "Bad request: sourceDelete moves a VM; what is in a catalog is instantiated, not moved",
            ));
        }
        Ok(vec![Part::Template {
            template,
            vm,
            name,
            tpm,
        }])
    };
    match kind {
        Kind::Vm => {
            // A URN does not say which of the two it is.
            match look::vm(call, id) {
                Ok((_, vm)) => Ok(vec![one(vm.id.to_string(), name)]),
                Err(fault) => match look::template_vm(call, id) {
                    Ok((found, vm)) => template(look::template_name(&found), Some(vm.name), name),
                    Err(_) => Err(fault),
                },
            }
        }
        Kind::TemplateVm => {
            let (found, vm) = look::template_vm(call, id)?;
            template(look::template_name(&found), Some(vm.name), name)
        }
        Kind::Template => {
            let found = look::template(call, id)?;
            template(look::template_name(&found), None, name)
        }
        Kind::CatalogItem => {
            let found = look::item(call, id)?;
            template(look::template_name(&found), None, name)
        }
        Kind::Vapp => {
            let view = look::vapp(call, id)?;
            if name.is_some() && view.vms.len() != 1 {
                return Err(Fault::bad_request(format!(
                    "Bad request: the vApp {} has {} VMs, which cannot all have one name; name its VMs as sources",
                    view.vapp.name,
                    view.vms.len()
                )));
            }
            Ok(view
                .vms
                .iter()
                .map(|vm| one(vm.id.to_string(), name.clone()))
                .collect())
        }
        _ => Err(Fault::invalid_reference(
            "the Source of a SourcedItem is a VM, a vApp, a vApp template or a VM of one",
        )),
    }
}

/// What a `VmSpecSection` says, of what there is here.
#[derive(Default)]
struct Settings {
    firmware: Option<Firmware>,
    hardware_version: Option<u16>,
    guest: Option<GuestOs>,
}

fn settings(item: &Node) -> Result<Settings, Fault> {
    let Some(spec) = item.child("VmSpecSection") else {
        return Ok(Settings::default());
    };
    let word = |field: &str| spec.text(field).filter(|word| !word.is_empty());
    let guest = word("OsType")
        .map(str::parse::<GuestOs>)
        .transpose()
        .map_err(Fault::bad_request)?;
    let firmware = match word("Firmware").map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("efi") => Some(Firmware::Efi),
        Some("bios") => Some(Firmware::Bios),
        Some(_) => {
            return Err(Fault::bad_request(
                "Bad request: the Firmware of a VM is efi or bios",
            ));
        }
    };
    let hardware_version = spec
        .child("HardwareVersion")
        .and_then(|version| version.text("value"))
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.strip_prefix("vmx-")
                .unwrap_or(text)
                .parse()
                .map_err(|_| {
                    Fault::bad_request("Bad request: a HardwareVersion is written as vmx-19")
                })
        })
        .transpose()?;
    Ok(Settings {
        firmware,
        hardware_version,
        guest,
    })
}

/// Whether a body says that there is to be a TPM.
fn tpm(item: &Node) -> Option<bool> {
    item.child("TrustedPlatformModule")?.boolean("TpmPresent")
}

/// What a body says of processors and memory.
fn sizes(item: &Node) -> Result<ReconfigureVm, Fault> {
    let spec = item.child("VmSpecSection");
    let number = |number: Option<i64>| {
        number.map(u32::try_from).transpose().map_err(|_| {
            Fault::bad_request("Bad request: a number of the VmSpecSection is out of range")
        })
    };
    let memory = spec.and_then(|spec| spec.child("MemoryResourceMb"));
    let cores = number(spec.and_then(|spec| spec.number("NumCoresPerSocket")))?;
    Ok(ReconfigureVm {
        cpus: number(spec.and_then(|spec| spec.number("NumCpus")))?,
        cores_per_socket: cores.filter(|cores| *cores > 0),
        memory_mb: number(memory.and_then(|memory| memory.number("Configured")))?,
        ..ReconfigureVm::default()
    })
}

/// Processors and memory of a VM to be, if the body says anything of them.
pub(crate) fn size_of(item: &Node) -> Result<Option<ReconfigureVm>, Fault> {
    let change = sizes(item)?;
    Ok((!change.is_empty()).then_some(change))
}

/// The new VM that a `CreateItem` or `CreateVm` stands for.
pub(crate) fn new_vm(item: &Node) -> Result<(Name, NewVappVm), Fault> {
    let name = super::name(item)?;
    let settings = settings(item)?;
    let vm = NewVappVm {
        tpm: tpm(item).unwrap_or(false),
        profile: None,
        firmware: settings.firmware,
        hardware_version: settings.hardware_version,
        guest: settings.guest,
    };
    Ok((name, vm))
}

/// What a body makes of a VM: a body may be the VM's own document with changes in it.
pub(crate) fn change(vm: &VmView, body: &Node) -> Result<ReconfigureVm, Fault> {
    let name = body
        .text("name")
        .filter(|name| !name.is_empty() && *name != vm.name.as_str())
        .map(str::parse::<Name>)
        .transpose()?;
    let settings = settings(body)?;
    Ok(ReconfigureVm {
        name,
        annotation: body.text("Description").map(str::to_owned),
        firmware: settings.firmware,
        hardware_version: settings.hardware_version,
        guest: settings.guest,
        tpm: tpm(body),
        ..sizes(body)?
    })
}

/// The changes that a body asks for of VMs of a vApp.
pub(crate) fn changes(call: &Call, body: &Node) -> Result<Vec<(String, ReconfigureVm)>, Fault> {
    body.children("ReconfigureItem")
        .map(|item| match Call::leads(item)? {
            (Kind::Vm, id) => {
                let (_, vm) = look::vm(call, id)?;
                Ok((vm.id.to_string(), change(&vm, item)?))
            }
            _ => Err(Fault::invalid_reference(
                "a ReconfigureItem is a VM of the vApp, by its href",
            )),
        })
        .collect()
}

/// Processors and memory of the new VMs of a body, by their names.
pub(crate) fn new_sizes(body: &Node) -> Result<Vec<(String, ReconfigureVm)>, Fault> {
    let mut all = Vec::new();
    for item in body.children("CreateItem") {
        if let Some(size) = size_of(item)? {
            all.push((super::name(item)?.to_string(), size));
        }
    }
    Ok(all)
}

/// Every part that a compose or recompose body names.
pub(crate) fn all(call: &Call, body: &Node) -> Result<Vec<Part>, Fault> {
    let mut parts = Vec::new();
    for item in body.children("SourcedItem") {
        parts.extend(sourced(call, item)?);
    }
    for item in body.children("CreateItem") {
        let (name, vm) = new_vm(item)?;
        parts.push(Part::New { name, vm });
    }
    Ok(parts)
}
