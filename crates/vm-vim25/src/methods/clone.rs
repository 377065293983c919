//! Clones: the TPM is copied or replaced.

use super::Request;
use super::create::{Hardware, change_hardware, name, or_undone};
use super::power::target;
use super::reconfigure::{Spec, Steps};
use super::{folders, locator};
use crate::arguments::Read as _;
use crate::fault::{About, Fault, Outcome};
use crate::inventory;
use crate::server::{Call, Work};
use crate::value::Value;
use crate::xml::Element;
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{CloneVm, VmView};

/// What the clone becomes besides a clone.
struct Then {
    /// What is said about the source's hardware.
    hardware: Hardware,
    config: Option<Spec>,
    power_on: bool,
    template: bool,
}

pub(super) fn clone(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let world = request.world()?;
    let name = name(request.text("name")?, "name")?;
    let spec = request.object("spec")?;
    let folder = request
        .args
        .reference("folder")?
        .ok_or_else(|| Fault::invalid_argument("folder", "folder is missing"))?;
    if spec.child("customization").is_some() {
        return Err(Fault::new(
            "UncustomizableGuest",
            "guests have no tools here, so nothing can customize them; leave the customization out",
        )
        .with("uncustomizableGuestOS", vm.guest.as_str()));
    }
    let snapshot = match spec.reference("snapshot")? {
        Some(named) => {
            let (of, _) = crate::properties::of_snapshot(request.call, Some(world), &named)?;
            if of.id != vm.id {
                return Err(Fault::invalid_argument(
                    "spec.snapshot",
                    "the snapshot is of another VM",
                ));
            }
            inventory::snapshot_id(&named)
        }
        None => None,
    };
    if spec.flag("template") && spec.flag("powerOn") {
        return Err(Fault::invalid_argument(
            "spec.powerOn",
            "a template is not powered on",
        ));
    }
    let tpm = match policy(spec)? {
        Some(policy) => Some(policy),
        // The policy of the vCenter; of a VM without a TPM there is nothing to say.
        None => super::options::clone_policy(request.call)?,
    };
    let location = spec
        .child("location")
        .ok_or_else(|| Fault::invalid_argument("spec.location", "it is missing"))?;
    let away = match location.child("service") {
        Some(service) => Some(locator::other(request, service)?),
        None => None,
    };
    let there = away.as_ref().unwrap_or(world);
    if !there.has(&folder) {
        return Err(Fault::object_not_found(&folder));
    }
    let folder = folders::of_vms(there, &folder)?;
    locator::check_place(there, location)?;
    let folder = locator::folder(there, location)?.unwrap_or(folder);
    let clone = CloneVm {
        name: name.clone(),
        // vSphere's callers may say it of every VM.
        tpm: tpm.filter(|_| vm.tpm.present),
        vcenter: None,
        datastore: locator::datastore(there, location)?,
        snapshot,
    };
    let to = there.vcenter.name.clone();
    let crossing = to != request.call.vcenter.name;
    let own = request
        .call
        .act()?
        .vm_hardware(&vm.id.to_string())
        .map_err(Call::about(&request.this))?;
    let then = Then {
        hardware: Hardware {
            cpus: Some(own.cpus),
            cores_per_socket: Some(own.cores_per_socket),
            memory_mb: Some(own.memory_mb),
            annotation: Some(own.annotation),
        },
        config: match spec.child("config") {
            // The clone has the name that the method gives it.
            Some(config) => Some(Spec {
                name: None,
                ..Spec::read(config)?
            }),
            None => None,
        },
        power_on: spec.flag("powerOn"),
        template: spec.flag("template"),
    };
    if let Some(config) = &then.config {
        Steps::of(vm, config.clone())?.settle(vm, config)?;
    }
    let about = About {
        key: key_of(request, vm).or(about.key),
        ..about
    };
    let id = vm.id.to_string();
    let task = request.call.start(
        "CloneVM_Task",
        &request.this,
        vm.name.as_str(),
        move |work| {
            // Clones of one VM that are asked for at once are made one after another.
            let job = work.when_free(|act| {
                if crossing {
                    act.clone_vm_to(&id, &to, &clone)
                } else {
                    act.clone_vm(&id, &clone)
                }
            });
            let made = work.run(job, &about)?.vm;
            let id = made.to_string();
            or_undone(work, &id, folders::put(work, &id, folder, &about))?;
            finish(work, &id, then, &about)?;
            Ok(Some(inventory::vm(made).into()))
        },
    )?;
    Ok(Some(task))
}

/// The provider and key that a VM is under.
pub(super) fn key_of(request: &Request<'_>, vm: &VmView) -> Option<(String, String)> {
    let full = request.call.act().ok()?.vm(&vm.id.to_string()).ok()?;
    Some((full.provider?.to_string(), full.key_id?))
}

fn policy(spec: &Element) -> Outcome<Option<TpmProvisioning>> {
    match spec.text_of("tpmProvisionPolicy").map(str::trim) {
        None | Some("") => Ok(None),
        Some("copy") => Ok(Some(TpmProvisioning::Copy)),
        Some("replace") => Ok(Some(TpmProvisioning::Replace)),
        Some(_) => Err(Fault::invalid_argument(
            "spec.tpmProvisionPolicy",
            "the policy for the TPM is copy or replace",
        )),
    }
}

fn finish(work: &Work, vm: &str, then: Then, about: &About) -> Outcome<()> {
    let told = change_hardware(work, vm, then.hardware.change(), about);
    or_undone(work, vm, told)?;
    if let Some(config) = then.config {
        let configured = work
            .act
            .vm(vm)
            .map_err(|error| crate::fault::of(&error, about))
            .and_then(|view| {
                let mut steps = Steps::of(&view, config.clone())?;
                steps.settle(&view, &config)?;
                Ok(steps)
            })
            .and_then(|steps| steps.take(work, vm, about));
        or_undone(work, vm, configured)?;
    }
    if then.template {
        let marked = work
            .act
            .mark_vm(vm, true)
            .map_err(|error| crate::fault::of(&error, about));
        or_undone(work, vm, marked)?;
    }
    if then.power_on {
        work.run(work.act.power_on(vm, false), about)?;
    }
    Ok(())
}
