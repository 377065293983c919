//! vApps: built, changed, copied, moved, instantiated, deleted.

use super::{coming_vapp, look, name, parts, powered, replace_tpm};
use crate::call::{Answer, Call};
use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use std::collections::BTreeMap;
use vm_inventory::model::Vapp;
use vm_inventory::provisioning::{Operation, TpmProvisioning};
use vm_inventory::{Compose, CopyVapp, Instantiate, MoveVapp, Name, Part};

/// `POST /api/vdc/{id}/action/composeVApp`.
pub(crate) fn compose(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc(call, call.id())?;
    let request = Compose {
        name: name(body)?,
        vdc: look::vdc_name(&vdc),
        operation: Operation::BuildVapp,
        source: None,
        parts: parts::all(call, body)?,
        standalone: false,
    };
    let sizes = parts::new_sizes(body)?;
    let job = call.operations.compose(&request)?;
    coming_vapp(call, powered(body, job).then_reconfigure(sizes))
}

/// `POST /api/vApp/vapp-{id}/action/recomposeVApp`.
pub(crate) fn recompose(call: &Call) -> Answer {
    let body = call.body()?;
    let vapp = look::vapp(call, call.id())?.vapp;
    let name = new_name(body, &vapp)?;
    let changes = parts::changes(call, body)?;
    let sizes = parts::new_sizes(body)?;
    let parts = parts::all(call, body)?;
    let mut removed = Vec::new();
    for item in body.children("DeleteItem") {
        match Call::leads(item)? {
            (Kind::Vm, id) => removed.push(look::vm(call, id)?.1.id.to_string()),
            _ => {
                return Err(Fault::invalid_reference(
                    "a DeleteItem leads to a VM of the vApp",
                ));
            }
        }
    }
    let id = vapp.id.to_string();
    let mut job = match (parts.is_empty() && removed.is_empty(), &name) {
        (false, _) => call
            .operations
            .and_reconfigure(call.operations.recompose(&id, &parts, &removed)?, &changes)?
            .then_reconfigure(sizes),
        (true, Some(name)) if changes.is_empty() => {
            return call.accept(powered(body, call.operations.rename_vapp(&id, name)?));
        }
        (true, _) => call.operations.reconfigure_vapp(&id, &changes)?,
    };
    job = powered(body, job);
    if let Some(name) = name {
        job = job.then_rename_vapp(name);
    }
    call.accept(job)
}

/// The name that a body gives a vApp, if it is another one.
fn new_name(body: &Node, vapp: &Vapp) -> Result<Option<Name>, Fault> {
    let name = body
        .text("name")
        .filter(|name| !name.is_empty() && *name != vapp.name.as_str());
    Ok(name.map(str::parse::<Name>).transpose()?)
}

/// `PUT /api/vApp/vapp-{id}`: of a vApp's own document the name is taken.
pub(crate) fn rename(call: &Call) -> Answer {
    let vapp = look::vapp(call, call.id())?.vapp;
    let name = new_name(call.body()?, &vapp)?.unwrap_or_else(|| vapp.name.clone());
    call.accept(call.operations.rename_vapp(&vapp.id.to_string(), &name)?)
}

/// What the items of a body ask for by the VM that each is about.
struct Choices {
    names: BTreeMap<Name, Name>,
    tpms: BTreeMap<Name, TpmProvisioning>,
}

impl Choices {
    /// Reads the items; each is about one of the VMs that `own` knows by their identifiers.
    fn read(call: &Call, body: &Node, own: &BTreeMap<uuid::Uuid, Name>) -> Result<Self, Fault> {
        let mut choices = Self {
            names: BTreeMap::new(),
            tpms: BTreeMap::new(),
        };
        for item in body.children("SourcedItem") {
            let (_, id) = call.target(item, "Source")?;
            let vm = own.get(&id).ok_or_else(|| {
                Fault::invalid_reference(
                    "the Source of a SourcedItem is a VM of what this request is about",
                )
            })?;
            if let Some(name) = parts::wanted_name(item)?
                && name != *vm
            {
                choices.names.insert(vm.clone(), name);
            }
            if let Some(tpm) = replace_tpm(item) {
                choices.tpms.insert(vm.clone(), tpm);
            }
        }
        Ok(choices)
    }

    /// The one word that a move has for all its VMs. It takes copy only, so replace is the one to be refused.
    fn of_all(&self) -> Option<TpmProvisioning> {
        let replaces = |tpm: &&TpmProvisioning| **tpm == TpmProvisioning::Replace;
        self.tpms
            .values()
            .find(replaces)
            .or_else(|| self.tpms.values().next())
            .copied()
    }
}

/// `POST /api/vdc/{id}/action/cloneVApp`.
pub(crate) fn clone(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc_name(&look::vdc(call, call.id())?);
    let source = look::vapp(call, call.target_of(body, "Source", Kind::Vapp)?)?;
    let own = source
        .vms
        .iter()
        .map(|vm| (vm.id.0, vm.name.clone()))
        .collect();
    let choices = Choices::read(call, body, &own)?;
    let reference = source.vapp.id.to_string();
    if body.boolean("IsSourceDelete") == Some(true) {
        if body
            .text("name")
            .is_some_and(|name| name != source.vapp.name.as_str())
        {
            return Err(Fault::unsupported(
                "a vApp that moves keeps its name on this server; give it that name",
            ));
        }
        let request = MoveVapp {
            vdc,
            tpm: choices.of_all(),
            api: false,
        };
        let job = call.operations.move_vapp(&reference, &request)?;
        return coming_vapp(call, powered(body, job));
    }
    let name = name(body)?;
    let job = if choices.names.is_empty() {
        let request = CopyVapp {
            name,
            vdc: Some(vdc),
            tpm: None,
            vms: choices.tpms,
        };
        call.operations.copy_vapp(&reference, &request)?
    } else {
        let parts = source.vms.iter().map(|vm| Part::Copy {
            vm: vm.id.to_string(),
            name: choices.names.get(&vm.name).cloned(),
            tpm: choices.tpms.get(&vm.name).copied(),
        });
        call.operations.compose(&Compose {
            name,
            vdc,
            operation: Operation::CopyVapp,
            parts: parts.collect(),
            source: Some(reference),
            standalone: false,
        })?
    };
    coming_vapp(call, powered(body, job))
}

/// `POST /api/vdc/{id}/action/moveVApp`.
pub(crate) fn move_vapp(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc_name(&look::vdc(call, call.id())?);
    let source = look::vapp(call, call.target_of(body, "Source", Kind::Vapp)?)?;
    let own = source
        .vms
        .iter()
        .map(|vm| (vm.id.0, vm.name.clone()))
        .collect();
    let choices = Choices::read(call, body, &own)?;
    if !choices.names.is_empty() {
        return Err(Fault::unsupported(
            "VMs of a vApp that moves keep their names on this server",
        ));
    }
    let request = MoveVapp {
        vdc,
        tpm: choices.of_all(),
        api: true,
    };
    let job = call
        .operations
        .move_vapp(&source.vapp.id.to_string(), &request)?;
    call.accept(job)
}

/// `POST /api/vdc/{id}/action/instantiateVAppTemplate`.
pub(crate) fn instantiate(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc_name(&look::vdc(call, call.id())?);
    let template = match call.target(body, "Source")? {
        (Kind::CatalogItem, id) => look::item(call, id)?,
        (Kind::Template, id) => look::template(call, id)?,
        _ => {
            return Err(Fault::invalid_reference(
                "the Source of an instance is a vApp template",
            ));
        }
    };
    if body.boolean("IsSourceDelete") == Some(true) {
        return Err(Fault::unsupported(
            "this server does not delete a template while it is instantiated; delete it afterwards",
        ));
    }
    let own = template
        .vms
        .iter()
        .map(|vm| (vm.id.0, vm.name.clone()))
        .collect();
    let choices = Choices::read(call, body, &own)?;
    let name = name(body)?;
    let reference = look::template_name(&template);
    let job = if choices.names.is_empty() && choices.tpms.is_empty() {
        let request = Instantiate {
            name,
            vdc: Some(vdc),
            organization: None,
            tpm: None,
            standalone: false,
            vm: None,
            count: None,
        };
        call.operations.instantiate(&reference, &request)?
    } else {
        let parts = template.vms.iter().map(|vm| Part::Template {
            template: reference.clone(),
            vm: Some(vm.name.clone()),
            name: choices.names.get(&vm.name).cloned(),
            tpm: choices.tpms.get(&vm.name).copied(),
        });
        call.operations.compose(&Compose {
            name,
            vdc,
            operation: Operation::InstantiateVappTemplate,
            source: None,
            parts: parts.collect(),
            standalone: false,
        })?
    };
    coming_vapp(call, powered(body, job))
}

/// `DELETE /api/vApp/vapp-{id}`.
pub(crate) fn delete(call: &Call) -> Answer {
    let vapp = look::vapp(call, call.id())?.vapp;
    let id = vapp.id.to_string();
    let force = call.parameter("force");
    call.accept(if force.is_some_and(|it| it.eq_ignore_ascii_case("true")) {
        call.operations.delete_running_vapp(&id)?
    } else {
        call.operations.delete_vapp(&id)?
    })
}
