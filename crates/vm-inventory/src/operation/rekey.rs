//! Re-keying: the data key of a VM goes under another key of a provider (shallow), or is made anew as well (deep).
//!
//! What counts is the VM's file, which changes in one step. So a VM is done when its file names the new key, and whoever goes on
//! after a crash asks the files. The journal has which key that is.

use super::crypto_state::CryptoChange;
use super::foresee::unchanged;
use super::plan::as_busy;
use super::power::side_by_side;
use super::provider::under;
use super::{Job, Operations, Preview, lock};
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::model::{Provider, Template, Vm, VmId};
use crate::requirements::{self, Failure, ProviderState};
use crate::task::Task;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use utoipa::ToSchema;
use vm_store::{KeyId, KeyProvider};

/// A request to put the data key of one VM under a new key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rekey {
    /// Whose new key; the VM's own provider if left out.
    #[serde(default)]
    pub provider: Option<Name>,
    /// Make the data key anew too, which needs the VM to be off.
    #[serde(default)]
    pub deep: bool,
}

/// A request to do the same for every VM of a provider.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RekeyAll {
    /// The provider's vCenter; the only one there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Whose new key; the same provider's if left out.
    #[serde(default)]
    pub to: Option<Name>,
    /// Make the data keys anew too, which needs the VMs to be off.
    #[serde(default)]
    pub deep: bool,
}

const REKEY_VM: &str = "rekey_vm";
const REKEY_PROVIDER: &str = "rekey_provider";

/// How many VMs are re-keyed at once: mostly they wait for the disk.
const AT_ONCE: usize = 8;

/// The new key, at hand.
struct NewKey {
    provider: Provider,
    key_id: KeyId,
    held: Arc<dyn KeyProvider>,
    deep: bool,
}

impl Operations {
    /// Checks that the VM (a name or an id) may be re-keyed and records the task.
    ///
    /// # Errors
    /// When there is no such VM or provider, the provider may hold no keys, or a deep re-key is asked for a VM that runs.
    pub fn rekey_vm(self: &Arc<Self>, reference: &str, request: Rekey) -> Result<Job> {
        self.rekey_vm_under(reference, request, None)
    }

    /// The same with a key that the provider has already, if one is named.
    ///
    /// # Errors
    /// The same, and when the key is none.
    pub fn rekey_vm_under(
        self: &Arc<Self>,
        reference: &str,
        request: Rekey,
        key_id: Option<&str>,
    ) -> Result<Job> {
        let named = match key_id {
            Some(key_id) => Some(KeyId::new(key_id).ok_or_else(|| {
                Error::BadValue("the id of the key is empty or too long".to_owned())
            })?),
            None => None,
        };
        let (vm, busy) = self.occupy_vm(reference, "being re-keyed")?;
        if !vm.record.is_encrypted() {
            return Err(Error::NoTpm {
                vm: vm.record.name.clone(),
            });
        }
        let change = CryptoChange::rekey(request.deep);
        self.check_state(REKEY_VM, &vm.record, change)?;
        let mut changed = vm.record.clone();
        changed.provider = request.provider.or(changed.provider);
        let vcenter = self.inventory.vcenter(vm.record.vcenter.as_str())?.record;
        if changed.tpm.is_some() {
            self.require(&changed, &vcenter)?;
        } else {
            self.require_key(&changed, &vcenter)?;
        }
        let to = changed.provider.ok_or_else(|| Error::Tpm {
            vm: vm.record.name.clone(),
            reason: "the inventory names no key provider for it".to_owned(),
        })?;
        let to = self
            .inventory
            .provider(vcenter.name.as_str(), to.as_str())?;
        let task = self.record_task(REKEY_VM, &vm)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.report(&task, 10, "making the key");
            let provider = this.files.provider(&to.record)?;
            let key_id = match named {
                Some(key_id) => key_id,
                None => provider.new_key()?,
            };
            let new = NewKey {
                held: provider.hold(&key_id)?,
                provider: to.record,
                key_id,
                deep: request.deep,
            };
            let mut transaction = Transaction::default();
            transaction.insert(&JournalEntry {
                task: task.id,
                intent: Intent::Rekey {
                    vm: vm.record.id,
                    provider: new.provider.name.clone(),
                    key_id: new.key_id.as_str().to_owned(),
                },
            })?;
            this.inventory.commit(transaction)?;
            this.report(&task, 50, "changing the key");
            this.rekey_files(&vm.record, &new)?;
            task.notes.push(format!(
                "{} is under key {} of key provider {}{}",
                vm.record.name,
                new.key_id,
                new.provider.name,
                if request.deep {
                    "; its data key is new too"
                } else {
                    "; its TPM state was not touched"
                }
            ));
            this.record_rekeyed(&vm, &new.provider.name)?;
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            if let Some(entry) = this.journal_entry(task.id)? {
                transaction.remove(&entry);
            }
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        }))
    }

    /// Makes one new key for all VMs of a provider and records the task that puts them under it. It goes on after a crash.
    ///
    /// # Errors
    /// When there is no such provider, or no key can be made.
    pub fn rekey_provider(self: &Arc<Self>, name: &Name, request: RekeyAll) -> Result<Job> {
        let (from, to) = self.providers_of(name, &request)?;
        let failures = self.against_keys_of(&to)?;
        if !failures.is_empty() {
            return Err(Error::Rules {
                operation: REKEY_PROVIDER,
                failures,
            });
        }
        let key_id = self.files.provider(&to)?.new_key()?;
        let mut task = Task::new(REKEY_PROVIDER, VmId(uuid::Uuid::nil()), &from.name);
        task.vm = VmId(task.id.0);
        let mut transaction = Transaction::default();
        transaction.insert(&JournalEntry {
            task: task.id,
            intent: Intent::RekeyAll {
                vcenter: from.vcenter.clone(),
                from: from.name.clone(),
                provider: to.name.clone(),
                key_id: key_id.as_str().to_owned(),
                deep: request.deep,
            },
        })?;
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(self.rekey_job(task, from, to, key_id, request.deep))
    }

    /// Whose keys are given up, and whose come.
    fn providers_of(&self, name: &Name, request: &RekeyAll) -> Result<(Provider, Provider)> {
        let from = self.registered(request.vcenter.as_ref(), name)?.record;
        let to = match &request.to {
            Some(to) => {
                let to = self
                    .inventory
                    .provider(from.vcenter.as_str(), to.as_str())?;
                to.record
            }
            None => from.clone(),
        };
        Ok((from, to))
    }

    /// The rules that speak against putting VMs under keys of a provider.
    fn against_keys_of(&self, provider: &Provider) -> Result<Vec<Failure>> {
        let vcenter = self.inventory.vcenter(provider.vcenter.as_str())?.record;
        let state = ProviderState {
            name: &provider.name,
            kind: provider.kind,
            backed_up: self.files.provider(provider)?.is_active(),
        };
        Ok(requirements::check_keys(
            &vcenter.name,
            vcenter.version,
            Some(state),
        ))
    }

    /// What [`Self::rekey_provider`] would do: each VM that it is about, and those that it could not re-key as they are.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn preview_rekey_provider(&self, name: &Name, request: &RekeyAll) -> Result<Preview> {
        let (from, to) = self.providers_of(name, request)?;
        let mut preview = Preview::nothing(REKEY_PROVIDER);
        preview.failures = self.against_keys_of(&to)?;
        let mut vms = self.vms_of(&from)?;
        for vm in &vms {
            let failures = self.against_state(vm, CryptoChange::rekey(request.deep))?;
            preview.failures.extend(failures);
        }
        for template in self.templates_under(&from)? {
            vms.extend(under(&template.record, &from).cloned());
        }
        preview.possible = preview.failures.is_empty();
        preview.vms = vms
            .into_iter()
            .map(|mut vm| {
                vm.provider = Some(to.name.clone());
                unchanged(vm)
            })
            .collect();
        Ok(preview)
    }

    /// The re-keyings of providers that a crash cut short, to be run.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn resume_rekeyings(self: &Arc<Self>) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for entry in self.inventory.all::<JournalEntry>()? {
            let Intent::RekeyAll {
                vcenter,
                from,
                provider,
                key_id,
                deep,
            } = &entry.record.intent
            else {
                continue;
            };
            let task = self
                .inventory
                .find::<Task>(&Task::key_of(entry.record.task))?;
            let (Some(task), Some(key_id)) = (task, KeyId::new(key_id.as_str())) else {
                continue;
            };
            let from = self.inventory.provider(vcenter.as_str(), from.as_str())?;
            let to = self
                .inventory
                .provider(vcenter.as_str(), provider.as_str())?;
            tracing::info!(provider = %from.record.name, "going on with the re-keying of its VMs");
            jobs.push(self.rekey_job(task.record, from.record, to.record, key_id, *deep));
        }
        Ok(jobs)
    }

    fn rekey_job(
        self: &Arc<Self>,
        task: Task,
        from: Provider,
        to: Provider,
        key_id: KeyId,
        deep: bool,
    ) -> Job {
        let operations = Arc::clone(self);
        self.job(task, Vec::new(), move |this, mut task| {
            let held = this.files.provider(&to)?.hold(&key_id)?;
            let new = NewKey {
                provider: to,
                key_id,
                held,
                deep,
            };
            let vms = this.vms_of(&from)?;
            let templates = this.templates_under(&from)?;
            let of_template = |template: &Template| under(template, &from).count();
            let in_templates: usize = templates.iter().map(|it| of_template(&it.record)).sum();
            let total = vms.len() + in_templates;
            let (ended, already) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let count = |vms: usize, before: usize| {
                already.fetch_add(before, Ordering::Relaxed);
                let ended = vms + ended.fetch_add(vms, Ordering::Relaxed);
                let percent = u8::try_from(ended * 100 / total.max(1)).unwrap_or(99);
                this.report(&task, percent.min(99), "changing the keys of VMs");
            };
            let outcomes = side_by_side(AT_ONCE, vms, |vm| {
                let outcome = operations.rekey_one(&vm, &new);
                count(1, usize::from(matches!(outcome, Ok(false))));
                outcome.err().map(|error| format!("{}: {error}", vm.name))
            });
            let mut failed: Vec<String> = outcomes.into_iter().flatten().collect();
            let outcomes = side_by_side(AT_ONCE, templates, |template| {
                let name = format!("{}/{}", template.record.catalog, template.record.name);
                let vms = of_template(&template.record);
                let outcome = operations.rekey_template(&template.record, &from, &new);
                count(vms, outcome.as_ref().map_or(0, |before| *before));
                outcome
                    .err()
                    .map(|error| format!("the template {name}: {error}"))
            });
            failed.extend(outcomes.into_iter().flatten());
            failed.sort();
            match this.rewrap_authority(&from, &*new.held, &new.key_id) {
                Ok(true) => task
                    .notes
                    .push("the certificate authority of the vCenter is under it, too".to_owned()),
                Ok(false) => {}
                Err(error) => failed.push(error.to_string()),
            }
            if !failed.is_empty() {
                return Err(Error::Rekey {
                    provider: from.name.clone(),
                    failed,
                    total,
                });
            }
            let already = already.into_inner();
            task.notes.push(format!(
                "{total} VMs{} are under key {} of key provider {}{}",
                match in_templates {
                    0 => String::new(),
                    count => format!(", {count} of them in templates,"),
                },
                new.key_id,
                new.provider.name,
                match already {
                    0 => String::new(),
                    done => format!("; {done} of them were before this run"),
                }
            ));
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            if let Some(entry) = this.journal_entry(task.id)? {
                transaction.remove(&entry);
            }
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        })
    }

    /// Re-keys one of many; false if that was done before.
    fn rekey_one(self: &Arc<Self>, vm: &Vm, new: &NewKey) -> Result<bool> {
        let (stored, _busy) = self.occupy_vm(&vm.id.to_string(), "being re-keyed")?;
        let vm = &stored.record;
        if self.is_under(vm, &new.provider.name, new.key_id.as_str())? {
            self.record_rekeyed(&stored, &new.provider.name)?;
            return Ok(false);
        }
        self.check_state(REKEY_VM, vm, CryptoChange::rekey(new.deep))?;
        self.rekey_files(vm, new)?;
        self.record_rekeyed(&stored, &new.provider.name)?;
        Ok(true)
    }

    /// Re-keys the VMs of a template, and says how many were under the new key before.
    fn rekey_template(
        self: &Arc<Self>,
        template: &Template,
        from: &Provider,
        new: &NewKey,
    ) -> Result<usize> {
        // Keeps its deletion away. Instances may be made of it meanwhile: reading its files and changing them take turns.
        let _busy = self.occupy(as_busy(template.id), &template.name, "being re-keyed")?;
        let template = self.find_template(&template.id.to_string())?.record;
        let mut already = 0;
        for vm in under(&template, from) {
            if self.is_under(vm, &new.provider.name, new.key_id.as_str())? {
                already += 1;
                continue;
            }
            let _one_at_a_time = lock(&self.reading);
            self.rekey_files(vm, new)?;
        }
        self.record_rekeyed_template(&template, &new.provider.name, new.key_id.as_str())?;
        Ok(already)
    }

    /// Records whose key the VMs of a template are under: of those whose files name this one.
    fn record_rekeyed_template(
        &self,
        template: &Template,
        provider: &Name,
        key_id: &str,
    ) -> Result<()> {
        let stored = self.find_template(&template.id.to_string())?;
        let mut changed = stored.record.clone();
        for vm in changed.vms.iter_mut().filter(|vm| vm.is_encrypted()) {
            if self.is_under(vm, provider, key_id)? {
                vm.provider = Some(provider.clone());
            }
        }
        if changed == stored.record {
            return Ok(());
        }
        let mut transaction = Transaction::default();
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)
    }

    fn rekey_files(&self, vm: &Vm, new: &NewKey) -> Result<()> {
        if !new.deep {
            // Between two saves; the key is at hand, so that no save waits for a key server.
            let mut outcome = Ok(());
            let runs = self.machines.with_files(vm.id, &mut |file| {
                outcome = file.rewrap(&*new.held, &new.key_id);
            });
            if runs {
                return Ok(outcome?);
            }
        }
        let floor = self.inventory.generation_floor(vm.id)?;
        let (mut file, _contents) = self
            .files
            .open(vm, &self.datastore_of(vm)?, Some(floor))
            .inspect_err(|error| {
                self.note_lock(vm.id, error);
            })?;
        if new.deep {
            file.reseal(&*new.held, &new.key_id)?;
            return Ok(());
        }
        Ok(file.rewrap(&*new.held, &new.key_id)?)
    }

    /// Whether the VM's file names this key.
    fn is_under(&self, vm: &Vm, provider: &Name, key_id: &str) -> Result<bool> {
        let binding = self.files.binding(vm, &self.datastore_of(vm)?)?;
        Ok(binding.is_some_and(|binding| {
            binding.locator.provider == provider.as_str()
                && binding.locator.key_id.as_str() == key_id
        }))
    }

    /// Records whose key a VM is under, if that has changed.
    fn record_rekeyed(&self, vm: &Stored<Vm>, provider: &Name) -> Result<()> {
        // Read again: the VM may have been recorded as locked, or not any more.
        let vm = self.inventory.vm(&vm.record.id.to_string())?;
        if vm.record.provider.as_ref() == Some(provider) && vm.record.locked.is_none() {
            return Ok(());
        }
        let mut changed = vm.record.clone();
        changed.provider = Some(provider.clone());
        changed.locked = None;
        let mut transaction = Transaction::default();
        transaction.update(&vm, &changed)?;
        self.inventory.commit(transaction)
    }

    /// After a crash or a failure: the record follows the file. Says whether the VM is under the new key.
    pub(super) fn settle_rekey(&self, vm: VmId, provider: &Name, key_id: &str) -> Result<bool> {
        let Some(stored) = self.inventory.find::<Vm>(&Vm::key_of(vm))? else {
            return Ok(false);
        };
        let done = self.is_under(&stored.record, provider, key_id)?;
        if done {
            self.record_rekeyed(&stored, provider)?;
        }
        Ok(done)
    }

    /// The same for every VM of a provider.
    pub(super) fn settle_rekey_all(
        &self,
        vcenter: &Name,
        from: &Name,
        provider: &Name,
        key_id: &str,
    ) -> Result<()> {
        if from == provider {
            return Ok(());
        }
        let from = self.inventory.provider(vcenter.as_str(), from.as_str())?;
        for vm in self.vms_of(&from.record)? {
            self.settle_rekey(vm.id, provider, key_id)?;
        }
        for template in self.templates_under(&from.record)? {
            self.record_rekeyed_template(&template.record, provider, key_id)?;
        }
        Ok(())
    }
}
