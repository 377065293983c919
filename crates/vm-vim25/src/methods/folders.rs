//! Folders of VMs: made, renamed, moved, removed.

use super::Request;
use super::create::name;
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory::{self, World};
use crate::server::Work;
use crate::value::{MoRef, Value};
use uuid::Uuid;
use vm_inventory::Error;
use vm_inventory::model::PowerState;

/// The folder that VMs go into: `None` for that of all VMs. What is in the folder of a vApp, its organization decides.
pub(super) fn of_vms(world: &World, folder: &MoRef) -> Outcome<Option<Uuid>> {
    if *folder == inventory::vm_folder() {
        return Ok(None);
    }
    if let Some(id) = world.own_folder(folder) {
        return Ok(Some(id));
    }
    let fault = Fault::new(
        "InvalidFolder",
        "VMs are in the folder vm of the datacenter and the folders that were made in it; those of vApps are the organizations'",
    );
    Err(fault.with("target", folder.clone()))
}

/// Puts a VM that was just made where it was asked for.
pub(super) fn put(work: &Work, vm: &str, folder: Option<Uuid>, about: &About) -> Outcome<()> {
    if folder.is_none() {
        return Ok(());
    }
    let placed = work.act.place_vm(vm, folder);
    placed.map_err(|error| fault::of(&error, about))
}

fn failed(of: &MoRef) -> impl Fn(Error) -> Box<Fault> {
    let about = About {
        object: Some(of.clone()),
        ..About::default()
    };
    move |error| fault::of(&error, &about)
}

/// Nothing of that name is in the folder.
fn free(world: &World, folder: &MoRef, name: &str) -> Outcome<()> {
    let Some(other) = world.child(folder, name) else {
        return Ok(());
    };
    let message = format!("the folder has something called {name} already");
    let fault = Fault::new("DuplicateName", message);
    Err(fault.with("name", name).with("object", other))
}

pub(super) fn create(request: &Request<'_>) -> Outcome<Option<Value>> {
    let world = request.world()?;
    let parent = of_vms(world, &request.this).map_err(|_| {
        Fault::not_supported("folders are made among VMs; there is one datacenter with one cluster")
    })?;
    let name = name(&inventory::decoded(request.text("name")?), "name")?;
    free(world, &request.this, name.as_str())?;
    let act = request.call.act()?;
    let made = act
        .create_vm_folder(&request.call.vcenter.name, parent, &name)
        .map_err(failed(&request.this))?;
    Ok(Some(inventory::own_folder(made.id).into()))
}

/// The folder of a request that names one, if it was made through this API.
pub(super) fn target(request: &Request<'_>) -> Outcome<Option<Uuid>> {
    Ok(request.world()?.own_folder(&request.this))
}

pub(super) fn rename(request: &Request<'_>, id: Uuid) -> Outcome<Option<Value>> {
    let world = request.world()?;
    let new = name(&inventory::decoded(request.text("newName")?), "newName")?;
    let own = world.name(&request.this).unwrap_or_default();
    if own != new.as_str()
        && let Some(parent) = world.parent(&request.this)
    {
        free(world, &parent, new.as_str())?;
    }
    let this = request.this.clone();
    let vcenter = request.call.vcenter.name.clone();
    let task = request
        .call
        .start("Rename_Task", &request.this, own, move |work| {
            work.act
                .change_vm_folder(&vcenter, id, |it| it.name = new)
                .map_err(failed(&this))?;
            Ok(None)
        })?;
    Ok(Some(task))
}

/// The folders of a tree, each after the one that it is in, and the VMs in them.
fn below(world: &World, top: &MoRef) -> (Vec<Uuid>, Vec<MoRef>) {
    let (mut folders, mut vms) = (Vec::new(), Vec::new());
    let mut waiting = vec![top.clone()];
    while let Some(it) = waiting.pop() {
        match world.own_folder(&it) {
            Some(id) => {
                folders.push(id);
                waiting.extend(world.children(&it));
            }
            None => vms.push(it),
        }
    }
    (folders, vms)
}

/// A folder goes with all that is in it, as on vSphere: VMs that run stand in the way, before anything is done.
pub(super) fn destroy(request: &Request<'_>) -> Outcome<Option<Value>> {
    let this = request.this.clone();
    let world = request.world()?;
    let own = world.name(&this).unwrap_or_default();
    let (folders, vms) = below(world, &this);
    for of in &vms {
        let vm = world.vm(of)?;
        if vm.power != PowerState::Off {
            return Err(fault::invalid_power(
                format!(
                    "{} is {}; what is in {own} goes with it, so power it off first",
                    vm.name,
                    vm.power.in_words()
                ),
                PowerState::Off,
                vm.power,
            ));
        }
    }
    let vcenter = request.call.vcenter.name.clone();
    let task = request
        .call
        .start("Destroy_Task", &request.this, own, move |work| {
            for of in vms {
                let Some(id) = inventory::vm_id(&of) else {
                    continue;
                };
                let about = About {
                    object: Some(of),
                    wants: Some(PowerState::Off),
                    ..About::default()
                };
                work.run(work.act.delete_vm(&id.to_string()), &about)?;
            }
            for id in folders.into_iter().rev() {
                work.act
                    .remove_vm_folder(&vcenter, id)
                    .map_err(failed(&this))?;
            }
            Ok(None)
        })?;
    Ok(Some(task))
}

pub(super) fn move_into(request: &Request<'_>) -> Outcome<Option<Value>> {
    let world = request.world()?;
    let to = of_vms(world, &request.this)?;
    let mut what = Vec::new();
    for it in request.args.references("list")? {
        let Some(called) = world.name(&it) else {
            return Err(Fault::object_not_found(&it));
        };
        let vm = inventory::vm_id(&it);
        let folder = world.own_folder(&it);
        if vm.is_none() && folder.is_none() {
            let message = format!("{called} does not move into a folder of VMs");
            return Err(Fault::new("InvalidFolder", message).with("target", it));
        }
        if world.parent(&it).as_ref() != Some(&request.this) {
            free(world, &request.this, &called)?;
            what.push((it, vm, folder));
        }
    }
    let vcenter = request.call.vcenter.name.clone();
    let own = world.name(&request.this).unwrap_or_default();
    let task = request
        .call
        .start("MoveIntoFolder_Task", &request.this, own, move |work| {
            for (it, vm, folder) in what {
                let moved = match (vm, folder) {
                    (Some(vm), _) => work.act.place_vm(&vm.to_string(), to),
                    (None, Some(folder)) => work
                        .act
                        .change_vm_folder(&vcenter, folder, |it| it.parent = to),
                    (None, None) => Ok(()),
                };
                moved.map_err(failed(&it))?;
            }
            Ok(None)
        })?;
    Ok(Some(task))
}
