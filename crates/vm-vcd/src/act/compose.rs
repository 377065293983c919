//! vApps: built, changed, copied, moved, instantiated, deleted.

use super::{coming_vapp, look, name, parts, powered, replace_tpm};
use crate::call::{Answer, Call};
use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use std::collections::BTreeMap;
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
    let job = call.operations.compose(&request)?;
    coming_vapp(call, powered(body, job))
}

/// `POST /api/vApp/vapp-{id}/action/recomposeVApp`.
pub(crate) fn recompose(call: &Call) -> Answer {
    let body = call.body()?;
    let vapp = look::vapp(call, call.id())?.vapp;
    if body
        .text("name")
        .is_some_and(|name| !name.is_empty() && name != vapp.name.as_str())
    {
        return Err(Fault::unsupported(
            "this server does not rename vApps; leave the name out",
        ));
    }
    if body.children("ReconfigureItem").next().is_some() {
        return Err(Fault::unsupported(
            "VMs are not changed while their vApp is recomposed; use editTrustedPlatformModule of the VM",
        ));
    }
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
    let job = call
        .operations
        .recompose(&vapp.id.to_string(), &parts, &removed)?;
    call.accept(powered(body, job))
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
    call.accept(call.operations.delete_vapp(&vapp.id.to_string())?)
}
