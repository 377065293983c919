//! Moves to another datastore or vCenter.

use super::Request;
use super::clone::key_of;
use super::create::check_place;
use super::locator;
use super::power::target;
use crate::arguments::Read as _;
use crate::fault::{About, Fault, Outcome, power_word};
use crate::inventory;
use crate::value::Value;
use vm_inventory::Relocate;
use vm_inventory::model::PowerState;

/// To a host or pool: the VM is there already, since there is one of each.
pub(super) fn migrate(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, _) = target(request)?;
    check_place(request, request.world()?)?;
    let wanted = request.args.text_of("state").map(str::trim);
    let is = power_word(vm.power);
    if let Some(wanted) = wanted
        && is != Value::choice("VirtualMachinePowerState", wanted)
    {
        let message = format!("the VM {} is {}", vm.name, vm.power.in_words());
        return Err(Fault::new("InvalidPowerState", message)
            .with(
                "requestedState",
                Value::choice("VirtualMachinePowerState", wanted),
            )
            .with("existingState", is));
    }
    let name = vm.name.as_str();
    let task = request
        .call
        .start("MigrateVM_Task", &request.this, name, |_| Ok(None))?;
    Ok(Some(task))
}

pub(super) fn relocate(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let spec = request.object("spec")?;
    let away = match spec.child("service") {
        Some(service) => Some(locator::other(request, service)?),
        None => None,
    };
    let there = match &away {
        Some(away) => away,
        None => request.world()?,
    };
    locator::check_place(there, spec)?;
    let datastore = locator::datastore(there, spec)?;
    let folder = locator::folder(there, spec)?;
    let to = there.vcenter.name.clone();
    let crossing = to != vm.vcenter;
    if let Some(crypto) = spec.child("cryptoSpec")
        && !matches!(
            crypto.kind.as_deref(),
            None | Some("CryptoSpec" | "CryptoSpecNoOp" | "CryptoSpecRegister")
        )
    {
        return Err(Fault::not_supported(
            "a VM keeps its key when it moves; re-key it before or after",
        ));
    }
    let stays = !crossing && datastore.as_ref().is_none_or(|it| *it == vm.datastore);
    let about = About {
        key: key_of(request, vm),
        wants: Some(PowerState::Off),
        ..about
    };
    let id = vm.id.to_string();
    let moved = inventory::vm(vm.id);
    let task = request.call.start(
        "RelocateVM_Task",
        &request.this,
        vm.name.as_str(),
        move |work| {
            // One that stays is there already: among the host and pool that there are nothing else can be meant.
            if !stays {
                let request = Relocate {
                    vcenter: Some(to),
                    datastore,
                };
                work.run(work.act.relocate_vm(&id, &request), &about)?;
            }
            if let Some(folder) = folder {
                let placed = work.act.place_vm(&id, folder);
                placed.map_err(|error| crate::fault::of(&error, &about))?;
            }
            // On another vCenter the VM is another object, which the caller is told.
            Ok(crossing.then(|| Value::from(moved)))
        },
    )?;
    Ok(Some(task))
}
