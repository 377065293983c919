//! Other names for what there is: VMs, vApps, templates, catalogs. Folders and files keep the names they were made with, as on vSphere.

use super::plan::as_busy;
use super::{Busy, Job, Operations, Remarks};
use crate::inventory::{Stored, Transaction};
use crate::model::{
    Catalog, NameHolder, PowerState, Record, Subscription, Template, Vapp, VappMember, Vm,
};
use crate::task::{TargetKind, Task};
use crate::{Error, Name, Result};
use std::sync::Arc;

const DOING: &str = "being renamed";

impl Operations {
    /// Checks that a VM (a name or an id) may have another name, on or off, and records the task.
    ///
    /// # Errors
    /// When there is no such VM, it is busy, or the name is taken where it is.
    pub fn rename_vm(self: &Arc<Self>, reference: &str, name: &Name) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, DOING)?;
        let mut renamed = vm.record.clone();
        renamed.name = name.clone();
        let same = renamed.name == vm.record.name;
        if !same {
            self.check_vm_name(&vm.record, name)?;
        }
        let mut task = Task::of("rename_vm", &renamed);
        task.notes
            .push(format!("{} is called {name} now", vm.record.name));
        let task = self.record(task, &vm)?;
        Ok(self.job(task, vec![busy], move |this, task| {
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            if !same {
                transaction.update(&vm, &renamed)?;
                transaction.remove_key(vm.record.name_key());
                match &renamed.vapp {
                    Some(vapp) => transaction.insert(&VappMember {
                        vapp: vapp.id,
                        name: renamed.name.clone(),
                        vm: renamed.id,
                    })?,
                    None => transaction.insert(&NameHolder {
                        vcenter: renamed.vcenter.clone(),
                        name: renamed.name.clone(),
                        vm: renamed.id,
                    })?,
                }
            }
            transaction.put(&task)?;
            let key = renamed.name_key();
            this.inventory
                .commit(transaction)
                .map_err(|error| match error {
                    Error::Conflict { key: at } if at == key => taken_by_vm(&renamed),
                    other => other,
                })?;
            this.tell_files(&renamed);
            Ok(task)
        }))
    }

    /// That a VM may have another name where it is.
    pub(super) fn check_vm_name(&self, vm: &Vm, name: &Name) -> Result<()> {
        let renamed = Vm {
            name: name.clone(),
            ..vm.clone()
        };
        match self.inventory.holder(&renamed.name_key())? {
            Some(_) => Err(taken_by_vm(&renamed)),
            None => Ok(()),
        }
    }

    /// Writes the VM's name into its settings, where it is for people: what is there instead stops nobody.
    pub(super) fn tell_files(&self, vm: &Vm) {
        let changes = [("displayName", Some(vm.name.as_str()))];
        let mut told = None;
        self.machines.with_files(vm.id, &mut |files| {
            told = Some(files.edit(&changes).map_err(Error::from));
        });
        let told = told.unwrap_or_else(|| {
            let datastore = self.datastore_of(vm)?;
            self.files.edit(vm, &datastore, &changes)
        });
        if let Err(error) = told {
            tracing::warn!(vm = %vm.name, "its settings still have its old name: {error}");
        }
    }

    /// Checks that a vApp may have another name and records the task. Its VMs keep theirs.
    ///
    /// # Errors
    /// When there is no such vApp, it or one of its VMs is busy, or the organization has one of that name.
    pub fn rename_vapp(self: &Arc<Self>, reference: &str, name: &Name) -> Result<Job> {
        let found = self.find_vapp(reference)?;
        let id = as_busy(found.record.id);
        let mut busy = vec![self.occupy(id, &found.record.name, DOING)?];
        let vapp = self.find_vapp(&found.record.id.to_string())?;
        for vm in self.members(&vapp.record)? {
            busy.push(self.occupy(vm.record.id, &vm.record.name, DOING)?);
        }
        let mut renamed = vapp.record.clone();
        renamed.name = name.clone();
        let same = renamed.name == vapp.record.name;
        let (key, old) = (renamed.key(), vapp.record.name.clone());
        if !same
            && (self.inventory.find::<Vapp>(&key)?.is_some() || self.inventory.is_reserved(&key)?)
        {
            return Err(taken_by(
                "vApp",
                name,
                format!("the organization {}", renamed.organization),
            ));
        }
        // Read again: what was true before they were ours may have changed.
        let members = self.members(&vapp.record)?;
        let mut task = Task::new("rename_vapp", id, name);
        task.target = TargetKind::Vapp;
        task.organization = Some(renamed.organization.clone());
        task.notes.push(format!("{old} is called {name} now"));
        let task = self.record(task, &vapp)?;
        Ok(self.renaming(task, busy, move |transaction| {
            if same {
                return Ok(());
            }
            transaction.remove(&vapp);
            transaction.insert(&renamed)?;
            for vm in &members {
                let mut changed = vm.record.clone();
                changed.vapp = Some(renamed.reference());
                transaction.update(vm, &changed)?;
            }
            Ok(())
        }))
    }

    /// Checks that a template may have another name and records the task.
    ///
    /// # Errors
    /// When there is no such template, it is busy, follows a published one, or the catalog has one of that name.
    pub fn rename_template(self: &Arc<Self>, reference: &str, name: &Name) -> Result<Job> {
        let found = self.find_template(reference)?;
        let id = as_busy(found.record.id);
        let busy = self.occupy(id, &found.record.name, DOING)?;
        let template = self.find_template(&found.record.id.to_string())?;
        if template.record.synced_from.is_some() {
            return Err(Error::BadValue(format!(
                "the template {} follows one of a published catalog, whose name it has; rename that one",
                template.record.name
            )));
        }
        let mut renamed = template.record.clone();
        renamed.name = name.clone();
        let same = renamed.name == template.record.name;
        let key = renamed.key();
        if !same
            && (self.inventory.find::<Template>(&key)?.is_some()
                || self.inventory.is_reserved(&key)?)
        {
            return Err(taken_by(
                "template",
                name,
                format!("the catalog {}", renamed.catalog),
            ));
        }
        let mut task = Task::new("rename_template", id, name);
        task.target = TargetKind::Template;
        task.organization = Some(renamed.organization.clone());
        let old = &template.record.name;
        task.notes.push(format!("{old} is called {name} now"));
        let task = self.record(task, &template)?;
        Ok(self.renaming(task, vec![busy], move |transaction| {
            if same {
                return Ok(());
            }
            transaction.remove(&template);
            transaction.insert(&renamed)
        }))
    }

    /// Gives a catalog another name. Its templates and those that follow it keep to it.
    ///
    /// # Errors
    /// When there is no such catalog, one of its templates is busy, or the organization has one of that name.
    pub fn rename_catalog(self: &Arc<Self>, reference: &str, name: &Name) -> Result<Catalog> {
        let catalog = self.find_catalog(reference)?;
        let old = &catalog.record;
        let mut renamed = old.clone();
        renamed.name = name.clone();
        if renamed.name == old.name {
            return Ok(renamed);
        }
        let prefix = Template::key_of(old.organization.as_str(), old.name.as_str(), "");
        let templates = self.inventory.within::<Template>(&prefix)?;
        let mut busy = Vec::new();
        for template in &templates {
            let it = &template.record;
            busy.push(self.occupy(as_busy(it.id), &it.name, DOING)?);
        }
        let mut transaction = Transaction::default();
        transaction.remove(&catalog);
        transaction.insert(&renamed)?;
        let said = Remarks::of_catalog(&old.organization, &old.name);
        if let Some(said) = self.inventory.find::<Remarks>(&Remarks::key_of(&said))? {
            transaction.remove(&said);
            transaction.put(&said.record.of_catalog_called(&renamed))?;
        }
        for template in &templates {
            let mut moved = template.record.clone();
            moved.catalog = name.clone();
            transaction.remove(template);
            transaction.insert(&moved)?;
        }
        for follower in self.inventory.all::<Catalog>()? {
            let follows =
                |it: &Subscription| it.organization == old.organization && it.catalog == old.name;
            let Some(subscription) = follower
                .record
                .subscription
                .as_ref()
                .filter(|it| follows(it))
            else {
                continue;
            };
            let mut changed = follower.record.clone();
            changed.subscription = Some(Subscription {
                catalog: name.clone(),
                ..subscription.clone()
            });
            transaction.update(&follower, &changed)?;
        }
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                Error::Conflict { key } if key == renamed.key() => taken_by(
                    "catalog",
                    name,
                    format!("the organization {}", renamed.organization),
                ),
                other => other,
            })?;
        Ok(renamed)
    }

    /// Removes a catalog that holds nothing.
    ///
    /// # Errors
    /// When there is no such catalog, or it holds templates.
    pub fn delete_catalog(&self, reference: &str) -> Result<()> {
        let catalog = self.find_catalog(reference)?;
        let it = &catalog.record;
        let prefix = Template::key_of(it.organization.as_str(), it.name.as_str(), "");
        if !self.inventory.within::<Template>(&prefix)?.is_empty() {
            return Err(Error::BadValue(format!(
                "the catalog {} holds templates; delete them first",
                it.name
            )));
        }
        let mut transaction = Transaction::default();
        transaction.remove(&catalog);
        let said = Remarks::of_catalog(&it.organization, &it.name);
        transaction.remove_key(Remarks::key_of(&said));
        self.inventory.commit(transaction)
    }

    /// Marks a VM as a vSphere template, or as a VM again. A template is not powered on; VMs are cloned from it.
    ///
    /// # Errors
    /// When there is no such VM, it runs, or it is what it is to be.
    pub fn mark_vm(self: &Arc<Self>, reference: &str, template: bool) -> Result<()> {
        let (vm, _busy) = self.occupy_vm(reference, "being marked")?;
        if vm.record.power != PowerState::Off {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: vm.record.power,
                hint: "only a VM that is off becomes a template",
            });
        }
        if self.vm_hardware(reference)?.template == template {
            return Err(Error::BadValue(format!(
                "{} is {} already",
                vm.record.name,
                if template { "a template" } else { "a VM" }
            )));
        }
        self.change_vm_hardware(&vm.record.id.to_string(), |hardware| {
            hardware.template = template;
        })?;
        Ok(())
    }

    /// Records a task, if what it is about is as it was read.
    fn record<T: Record>(&self, task: Task, about: &Stored<T>) -> Result<Task> {
        let mut transaction = Transaction::default();
        transaction.unchanged(about);
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// The job of a task that only changes records, all at once.
    fn renaming(
        self: &Arc<Self>,
        task: Task,
        busy: Vec<Busy>,
        change: impl FnOnce(&mut Transaction) -> Result<()> + Send + 'static,
    ) -> Job {
        self.job(task, busy, move |this, task| {
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            change(&mut transaction)?;
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        })
    }
}

fn taken_by(what: &'static str, name: &Name, place: String) -> Error {
    Error::Exists {
        what,
        name: name.clone(),
        place,
    }
}

fn taken_by_vm(vm: &Vm) -> Error {
    let place = match &vm.vapp {
        Some(vapp) => format!("the vApp {vapp}"),
        None => format!("vCenter {}", vm.vcenter),
    };
    taken_by("VM", &vm.name, place)
}
