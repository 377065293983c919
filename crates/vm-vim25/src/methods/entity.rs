//! What is done with entities besides making, changing and ending them: names, templates, the guest, the hardware version.

use super::create::name;
use super::power::{one, target};
use super::{Request, folders};
use crate::arguments::Read as _;
use crate::fault::{About, Fault, Outcome};
use crate::inventory;
use crate::server::Call;
use crate::value::{Object, Value};
use vm_inventory::ReconfigureVm;
use vm_inventory::model::PowerState;

pub(super) fn rename(request: &Request<'_>) -> Outcome<Option<Value>> {
    if let Some(folder) = folders::target(request)? {
        return folders::rename(request, folder);
    }
    let text = inventory::decoded(request.text("newName")?);
    let new = name(&text, "newName")?;
    if request.this.kind != "VirtualMachine" {
        let own = request.world()?.name(&request.this).unwrap_or_default();
        return Err(Fault::not_supported(format!(
            "{own} is not renamed through this API"
        )));
    }
    one(request, "Rename_Task", None, move |act, vm| {
        act.rename_vm(vm, &new)
    })
}

pub(super) fn mark_as_template(request: &Request<'_>) -> Outcome<Option<Value>> {
    mark(request, true)
}

pub(super) fn mark_as_vm(request: &Request<'_>) -> Outcome<Option<Value>> {
    super::create::check_place(request, request.world()?)?;
    mark(request, false)
}

fn mark(request: &Request<'_>, template: bool) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let about = About {
        wants: Some(PowerState::Off),
        ..about
    };
    if hardware(request)?.template == template {
        let message = if template {
            "the VM is marked as a template already"
        } else {
            "the VM is no template"
        };
        return Err(Fault::new("InvalidState", message));
    }
    let act = request.call.act()?;
    act.mark_vm(&vm.id.to_string(), template)
        .map_err(|error| crate::fault::of(&error, &about))?;
    Ok(None)
}

/// What is said about the VM of a request.
fn hardware(request: &Request<'_>) -> Outcome<vm_inventory::VmHardware> {
    let (vm, _) = target(request)?;
    request
        .call
        .act()?
        .vm_hardware(&vm.id.to_string())
        .map_err(Call::about(&request.this))
}

/// That the VM is none that the API calls a template, which is not powered on or changed.
pub(super) fn no_template(request: &Request<'_>, what: &str) -> Outcome<()> {
    if hardware(request)?.template {
        return Err(Fault::not_supported(format!(
            "a template cannot be {what}; clone it, or mark it as a virtual machine again"
        )));
    }
    Ok(())
}

/// Nothing in a guest here answers: VMware Tools run in none.
pub(super) fn in_guest(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, _) = target(request)?;
    if vm.power != PowerState::On {
        return Err(crate::fault::invalid_power(
            format!("{} is {}", vm.name, vm.power.in_words()),
            PowerState::On,
            vm.power,
        ));
    }
    Err(Fault::new(
        "ToolsUnavailable",
        "Cannot complete operation because VMware Tools is not running in this virtual machine.",
    ))
}

pub(super) fn upgrade(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, _) = target(request)?;
    let newest = request.call.vcenter.version.newest_hardware();
    let wanted = match request.args.text_of("version").map(str::trim) {
        None | Some("") => newest,
        Some(text) => text
            .strip_prefix("vmx-")
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| {
                Fault::invalid_argument("version", "a hardware version is written as vmx-19")
            })?,
    };
    if wanted <= vm.hardware_version {
        let message = format!("{} has vmx-{} already", vm.name, vm.hardware_version);
        return Err(Fault::new("AlreadyUpgraded", message));
    }
    one(
        request,
        "UpgradeVM_Task",
        Some(PowerState::Off),
        move |act, vm| {
            let change = ReconfigureVm {
                hardware_version: Some(wanted),
                ..ReconfigureVm::default()
            };
            act.reconfigure_vm(vm, change)
        },
    )
}

pub(super) fn unregister(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let about = About {
        wants: Some(PowerState::Off),
        ..about
    };
    let act = request.call.act()?;
    act.unregister_vm(&vm.id.to_string())
        .map_err(|error| crate::fault::of(&error, &about))?;
    Ok(None)
}

pub(super) fn register(request: &Request<'_>) -> Outcome<Option<Value>> {
    let world = request.world()?;
    let into = folders::of_vms(world, &request.this)?;
    super::create::check_place(request, world)?;
    let path = request.text("path")?.trim().to_owned();
    let wrong = || {
        Fault::new(
            "InvalidDatastorePath",
            "a path is [DATASTORE] FOLDER/FILE.vmx",
        )
        .with("datastorePath", path.chars().take(200).collect::<String>())
    };
    let (datastore, file) = path
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .ok_or_else(wrong)?;
    let (folder, _) = file.trim().split_once('/').ok_or_else(wrong)?;
    let found = world
        .datastores
        .iter()
        .find(|it| it.name.as_str() == datastore.trim());
    let datastore = found.ok_or_else(wrong)?.name.clone();
    let folder: vm_inventory::Name = folder.parse().map_err(|_| wrong())?;
    let new = match request.args.text_of("name").map(str::trim) {
        None | Some("") => None,
        Some(text) => Some(name(&inventory::decoded(text), "name")?),
    };
    let template = request.args.flag("asTemplate");
    if template == request.args.child("pool").is_some() {
        return Err(Fault::invalid_argument(
            "pool",
            "a virtual machine is registered with a pool, a template without",
        ));
    }
    let vcenter = request.call.vcenter.name.clone();
    let about = About {
        object: Some(request.this.clone()),
        ..About::default()
    };
    let task = request.call.start(
        "RegisterVM_Task",
        &request.this,
        folder.as_str().to_owned(),
        move |work| {
            let job = work
                .act
                .register_vm(&vcenter, &datastore, &folder, new.as_ref());
            let vm = work.run(job, &about)?.vm;
            if template {
                work.act
                    .mark_vm(&vm.to_string(), true)
                    .map_err(|error| crate::fault::of(&error, &about))?;
            }
            folders::put(work, &vm.to_string(), into, &about)?;
            Ok(Some(inventory::vm(vm).into()))
        },
    )?;
    Ok(Some(task))
}

/// No extension is registered here.
pub(super) fn no_extension(_: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(None)
}

/// Nothing here has performance counters.
pub(super) fn performance_of(request: &Request<'_>) -> Outcome<Option<Value>> {
    let of = request
        .args
        .reference("entity")?
        .ok_or_else(|| Fault::invalid_argument("entity", "entity is missing"))?;
    Ok(Some(
        Object::new("PerfProviderSummary")
            .with("entity", of)
            .with("currentSupported", false)
            .with("summarySupported", false)
            .into(),
    ))
}

/// An answer that is a list of nothing.
pub(super) fn none_of(_: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(Some(Value::refs([])))
}
