//! What records are found by besides their keys. It is kept in memory, read once when the inventory is opened, and changed with
//! every transaction: so what an operation on one VM costs does not depend on how many VMs there are.

use crate::engine::{Change, Engine, Entry};
use crate::lineage::Lineage;
use crate::model::{Record, Template, Timestamp, Vapp, VappRef, Vm, VmId};
use crate::once::{Answer, RequestKey};
use crate::operation::VmHardware;
use crate::task::{Task, TaskId, TaskStatus};
use crate::{Error, Name, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use uuid::Uuid;

/// Where a VM stands in lists: by vCenter and name.
type Place = (Name, Name, VmId);

/// Finds records by what they hold.
#[derive(Default)]
pub(crate) struct Index {
    vms: BTreeMap<VmId, VmFacts>,
    listed: BTreeSet<Place>,
    of_organization: BTreeMap<Name, BTreeSet<Place>>,
    called: Groups<Name, VmId>,
    with_ek: Groups<String, VmId>,
    vapps: BTreeMap<Uuid, VappFacts>,
    vapps_called: Groups<Name, Uuid>,
    templates: BTreeMap<Uuid, TemplateFacts>,
    /// The ids of vApps and templates, by their keys.
    ids: BTreeMap<String, Uuid>,
    /// The VMs of templates, and whose they are.
    on_shelves: BTreeMap<VmId, Name>,
    tasks: BTreeMap<TaskId, TaskFacts>,
    newest: BTreeSet<(Reverse<Timestamp>, TaskId)>,
    requests: BTreeMap<String, TaskId>,
    answers: BTreeMap<String, Timestamp>,
    oldest_answers: BTreeSet<(Timestamp, String)>,
    /// What TPMs were made from each.
    made_from: Groups<VmId, VmId>,
    /// The folders that VMs were put into.
    folders: BTreeMap<VmId, Uuid>,
}

/// Several things for each key.
struct Groups<K, V>(BTreeMap<K, BTreeSet<V>>);

impl<K, V> Default for Groups<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V: Ord + Copy> Groups<K, V> {
    fn insert(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    fn remove(&mut self, key: &K, value: V) {
        if let Some(group) = self.0.get_mut(key) {
            group.remove(&value);
            if group.is_empty() {
                self.0.remove(key);
            }
        }
    }
}

/// What is known of a VM here.
#[derive(Clone, Deserialize)]
pub(crate) struct VmFacts {
    id: VmId,
    name: Name,
    vcenter: Name,
    /// The vApp that it belongs to.
    #[serde(default)]
    pub(crate) vapp: Option<VappRef>,
    tpm: Option<TpmFacts>,
}

#[derive(Clone, Deserialize)]
struct TpmFacts {
    ek_name: String,
}

impl VmFacts {
    fn place(&self) -> Place {
        (self.vcenter.clone(), self.name.clone(), self.id)
    }
}

#[derive(Deserialize)]
struct VappFacts {
    id: Uuid,
    organization: Name,
    name: Name,
}

#[derive(Deserialize)]
struct TemplateFacts {
    id: Uuid,
    organization: Name,
    catalog: Name,
    name: Name,
    vms: Vec<OnShelf>,
}

#[derive(Deserialize)]
struct OnShelf {
    id: VmId,
}

#[derive(Deserialize)]
struct TaskFacts {
    id: TaskId,
    created: Timestamp,
    status: TaskStatus,
    #[serde(default)]
    organization: Option<Name>,
    #[serde(default)]
    request: Option<RequestKey>,
}

#[derive(Deserialize)]
struct LineageFacts {
    vm: VmId,
    source: Option<OnShelf>,
}

#[derive(Deserialize)]
struct HardwareFacts {
    vm: VmId,
    #[serde(default)]
    folder: Option<Uuid>,
}

#[derive(Deserialize)]
struct AnswerFacts {
    key: String,
    at: Timestamp,
}

impl Index {
    /// Reads what the engine holds.
    pub(crate) fn read(engine: &dyn Engine) -> Result<Self> {
        let mut index = Self::default();
        for prefix in [
            Vm::PREFIX,
            Vapp::PREFIX,
            Template::PREFIX,
            Task::PREFIX,
            Answer::PREFIX,
            Lineage::PREFIX,
            VmHardware::PREFIX,
        ] {
            // In parts, so that a large inventory is not in memory twice.
            let mut last = String::new();
            loop {
                const AT_ONCE: usize = 500;
                let entries = engine.list_after(prefix, &last, AT_ONCE)?;
                let whole = entries.len() < AT_ONCE;
                for Entry { key, value, .. } in entries {
                    index.put(&key, &value)?;
                    last = key;
                }
                if whole {
                    break;
                }
            }
        }
        Ok(index)
    }

    /// Takes over what a transaction has changed.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<()> {
        for change in changes {
            match change {
                Change::Put(key, value) => self.put(key, value)?,
                Change::Delete(key) => self.delete(key),
            }
        }
        Ok(())
    }

    /// The folders that VMs were put into, as far as they are among `known`.
    pub(crate) fn in_folders(&self, known: &BTreeSet<Uuid>) -> BTreeMap<VmId, Uuid> {
        let placed = self.folders.iter();
        placed
            .filter(|(_, folder)| known.contains(folder))
            .map(|(vm, folder)| (*vm, *folder))
            .collect()
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        if key.starts_with(Vm::PREFIX) {
            self.put_vm(facts(key, value)?);
        } else if key.starts_with(Vapp::PREFIX) {
            self.delete(key);
            let vapp: VappFacts = facts(key, value)?;
            self.ids.insert(key.to_owned(), vapp.id);
            self.vapps_called.insert(vapp.name.clone(), vapp.id);
            self.vapps.insert(vapp.id, vapp);
        } else if key.starts_with(Template::PREFIX) {
            // One of the same name may be another one.
            self.delete(key);
            let template: TemplateFacts = facts(key, value)?;
            self.ids.insert(key.to_owned(), template.id);
            for vm in &template.vms {
                self.on_shelves.insert(vm.id, template.organization.clone());
            }
            self.templates.insert(template.id, template);
        } else if key.starts_with(Task::PREFIX) {
            let task: TaskFacts = facts(key, value)?;
            self.newest.insert((Reverse(task.created), task.id));
            if let Some(request) = &task.request {
                self.requests.insert(request.key.clone(), task.id);
            }
            self.tasks.insert(task.id, task);
        } else if key.starts_with(VmHardware::PREFIX) {
            let hardware: HardwareFacts = facts(key, value)?;
            match hardware.folder {
                Some(folder) => self.folders.insert(hardware.vm, folder),
                None => self.folders.remove(&hardware.vm),
            };
        } else if key.starts_with(Answer::PREFIX) {
            let answer: AnswerFacts = facts(key, value)?;
            self.forget_answer(&answer.key);
            self.oldest_answers.insert((answer.at, answer.key.clone()));
            self.answers.insert(answer.key, answer.at);
        } else if key.starts_with(Lineage::PREFIX) {
            // Lineages stay for ever, so none is taken out.
            let lineage: LineageFacts = facts(key, value)?;
            if let Some(source) = lineage.source {
                self.made_from.insert(source.id, lineage.vm);
            }
        }
        Ok(())
    }

    fn put_vm(&mut self, vm: VmFacts) {
        self.forget_vm(vm.id);
        self.listed.insert(vm.place());
        if let Some(vapp) = &vm.vapp {
            let places = self.of_organization.entry(vapp.organization.clone());
            places.or_default().insert(vm.place());
        }
        self.called.insert(vm.name.clone(), vm.id);
        if let Some(tpm) = &vm.tpm {
            self.with_ek.insert(tpm.ek_name.clone(), vm.id);
        }
        self.vms.insert(vm.id, vm);
    }

    fn forget_vm(&mut self, id: VmId) {
        let Some(vm) = self.vms.remove(&id) else {
            return;
        };
        let place = vm.place();
        self.listed.remove(&place);
        if let Some(vapp) = &vm.vapp
            && let Some(places) = self.of_organization.get_mut(&vapp.organization)
        {
            places.remove(&place);
        }
        self.called.remove(&vm.name, id);
        if let Some(tpm) = &vm.tpm {
            self.with_ek.remove(&tpm.ek_name, id);
        }
    }

    fn forget_answer(&mut self, key: &str) {
        if let Some(at) = self.answers.remove(key) {
            self.oldest_answers.remove(&(at, key.to_owned()));
        }
    }

    fn delete(&mut self, key: &str) {
        if let Some(id) = after(key, Vm::PREFIX) {
            self.forget_vm(VmId(id));
        } else if let Some(id) = after(key, VmHardware::PREFIX) {
            self.folders.remove(&VmId(id));
        } else if let Some(id) = after(key, Task::PREFIX) {
            if let Some(task) = self.tasks.remove(&TaskId(id)) {
                self.newest.remove(&(Reverse(task.created), task.id));
                if let Some(request) = task.request
                    && self.requests.get(&request.key) == Some(&task.id)
                {
                    self.requests.remove(&request.key);
                }
            }
        } else if key.starts_with(Vapp::PREFIX) {
            if let Some(id) = self.ids.remove(key)
                && let Some(vapp) = self.vapps.remove(&id)
            {
                self.vapps_called.remove(&vapp.name, id);
            }
        } else if key.starts_with(Template::PREFIX) {
            if let Some(id) = self.ids.remove(key)
                && let Some(template) = self.templates.remove(&id)
            {
                for vm in template.vms {
                    self.on_shelves.remove(&vm.id);
                }
            }
        } else if let Some(answer) = key.strip_prefix(Answer::PREFIX) {
            self.forget_answer(answer);
        }
    }

    /// The VMs of that name, wherever they are.
    pub(crate) fn vms_called<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (VmId, &'a VmFacts)> {
        let group = self.called.0.get(name);
        let ids = group.into_iter().flatten();
        ids.filter_map(|id| self.vms.get(id).map(|vm| (*id, vm)))
    }

    /// The VMs whose TPMs have this endorsement key.
    pub(crate) fn vms_with_ek<'a>(&'a self, ek_name: &str) -> impl Iterator<Item = VmId> + 'a {
        self.with_ek.0.get(ek_name).into_iter().flatten().copied()
    }

    /// The VMs whose TPMs were made from that of `vm`.
    pub(crate) fn made_from(&self, vm: VmId) -> Vec<VmId> {
        let group = self.made_from.0.get(&vm);
        group.into_iter().flatten().copied().collect()
    }

    /// Whether a VM is an organization's, or in a template of it.
    pub(crate) fn is_of(&self, vm: VmId, organization: &Name) -> bool {
        let vapp = self.vms.get(&vm).and_then(|vm| vm.vapp.as_ref());
        vapp.is_some_and(|vapp| vapp.organization == *organization)
            || self.on_shelves.get(&vm) == Some(organization)
    }

    /// At most so many VMs in the order of lists, after one of them; those of an organization, or all. `None` if that one is not
    /// among them.
    pub(crate) fn page_of_vms(
        &self,
        organization: Option<&Name>,
        after: Option<VmId>,
        most: usize,
    ) -> Option<Vec<VmId>> {
        let empty = BTreeSet::new();
        let places = match organization {
            Some(organization) => self.of_organization.get(organization).unwrap_or(&empty),
            None => &self.listed,
        };
        let from = match after {
            Some(id) => {
                let place = self.vms.get(&id)?.place();
                if !places.contains(&place) {
                    return None;
                }
                Bound::Excluded(place)
            }
            None => Bound::Unbounded,
        };
        let found = places.range((from, Bound::Unbounded)).take(most);
        Some(found.map(|(_, _, id)| *id).collect())
    }

    /// The key of a vApp.
    pub(crate) fn vapp_key(&self, id: Uuid) -> Option<String> {
        self.vapps.get(&id).map(VappFacts::key)
    }

    /// The keys of the vApps of that name, of every organization.
    pub(crate) fn vapps_called(&self, name: &str) -> Vec<String> {
        let ids = self.vapps_called.0.get(name).into_iter().flatten();
        ids.filter_map(|id| self.vapp_key(*id)).collect()
    }

    /// The key of a template.
    pub(crate) fn template_key(&self, id: Uuid) -> Option<String> {
        self.templates.get(&id).map(TemplateFacts::key)
    }

    /// At most so many tasks, the newest first, after one of them; those of an organization, or all. `None` if that one is not among
    /// them.
    pub(crate) fn page_of_tasks(
        &self,
        organization: Option<&Name>,
        after: Option<TaskId>,
        most: usize,
    ) -> Option<Vec<TaskId>> {
        let is_seen =
            |task: &TaskFacts| organization.is_none() || task.organization.as_ref() == organization;
        let from = match after {
            Some(id) => {
                let task = self.tasks.get(&id).filter(|task| is_seen(task))?;
                Bound::Excluded((Reverse(task.created), id))
            }
            None => Bound::Unbounded,
        };
        let found = self.newest.range((from, Bound::Unbounded));
        let seen = found.filter(|(_, id)| self.tasks.get(id).is_some_and(is_seen));
        Some(seen.take(most).map(|(_, id)| *id).collect())
    }

    /// The tasks that have ended and are older than the newest so many of those.
    pub(crate) fn old_tasks(&self, kept: usize) -> Vec<TaskId> {
        let ended = self.newest.iter().filter(|(_, id)| {
            let status = self.tasks.get(id).map(|task| task.status);
            status.is_some_and(|status| !matches!(status, TaskStatus::Queued | TaskStatus::Running))
        });
        ended.skip(kept).map(|(_, id)| *id).collect()
    }

    /// The task that a request started.
    pub(crate) fn task_of(&self, request: &str) -> Option<TaskId> {
        self.requests.get(request).copied()
    }

    /// The requests whose answers are older than the newest so many.
    pub(crate) fn old_answers(&self, kept: usize) -> Vec<String> {
        let surplus = self.oldest_answers.len().saturating_sub(kept);
        let old = self.oldest_answers.iter().take(surplus);
        old.map(|(_, key)| key.clone()).collect()
    }
}

impl VappFacts {
    fn key(&self) -> String {
        Vapp::key_of(self.organization.as_str(), self.name.as_str())
    }
}

impl TemplateFacts {
    fn key(&self) -> String {
        Template::key_of(
            self.organization.as_str(),
            self.catalog.as_str(),
            self.name.as_str(),
        )
    }
}

/// The identifier in a key.
fn after(key: &str, prefix: &str) -> Option<Uuid> {
    Uuid::try_parse(key.strip_prefix(prefix)?).ok()
}

fn facts<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| Error::Record {
        key: key.to_owned(),
        reason: error.to_string(),
    })
}
