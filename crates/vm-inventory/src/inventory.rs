//! The records, typed, over the engine.

use crate::commits::{Commits, Raise};
use crate::engine::{Change, Compare, Engine, EngineError, Entry, Outcome, Revision};
use crate::index::Index;
use crate::model::{
    Datastore, GenerationFloor, Milestone, NameHolder, Provider, Record, Reservation, Timestamp,
    VCenter, Vapp, VappMember, Vm, VmId,
};
use crate::once::Answer;
use crate::task::Task;
use crate::{Error, Name, Result, acting, model};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

const FORMAT_KEY: &str = "format";
const FORMAT: &[u8] = b"1";

/// Every record of one data folder.
#[derive(Clone)]
pub struct Inventory {
    engine: Arc<dyn Engine>,
    index: Arc<RwLock<Index>>,
    commits: Arc<Commits>,
    /// Who wants to know of changes of tasks.
    listeners: Arc<Mutex<Vec<Listener>>>,
}

/// Is called when tasks have changed.
pub(crate) type Listener = Box<dyn Fn() + Send + Sync>;

/// A record as it was read, with its revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored<T> {
    /// The record.
    pub record: T,
    revision: Revision,
}

impl<T: Record> Stored<T> {
    /// That the record is as it was read.
    pub(crate) fn compare(&self) -> Compare {
        Compare::Unchanged(self.record.key(), self.revision)
    }
}

/// Changes that happen together or not at all.
#[derive(Clone, Default)]
pub(crate) struct Transaction {
    pub(crate) compares: Vec<Compare>,
    pub(crate) changes: Vec<Change>,
    pub(crate) raises: Vec<Raise>,
}

impl Transaction {
    /// A record that must not exist yet.
    pub(crate) fn insert<T: Record>(&mut self, record: &T) -> Result<()> {
        self.compares.push(Compare::Absent(record.key()));
        self.put(record)
    }

    /// A record whatever was there before.
    pub(crate) fn put<T: Record>(&mut self, record: &T) -> Result<()> {
        let key = record.key();
        let value = serde_json::to_vec(record).map_err(|error| Error::Record {
            key: key.clone(),
            reason: error.to_string(),
        })?;
        self.changes.push(Change::Put(key, value));
        Ok(())
    }

    /// A new value for a record that must be as it was read.
    pub(crate) fn update<T: Record>(&mut self, old: &Stored<T>, new: &T) -> Result<()> {
        self.unchanged(old);
        self.put(new)
    }

    /// Nothing is done unless the record is as it was read.
    pub(crate) fn unchanged<T: Record>(&mut self, old: &Stored<T>) {
        self.compares.push(old.compare());
    }

    /// The record goes; it must be as it was read.
    pub(crate) fn remove<T: Record>(&mut self, old: &Stored<T>) {
        self.unchanged(old);
        self.changes.push(Change::Delete(old.record.key()));
    }

    /// Nothing is done if `key` has a value.
    pub(crate) fn absent(&mut self, key: String) {
        self.compares.push(Compare::Absent(key));
    }

    /// The files of a VM are known to be of this generation; a floor that is as high stays.
    pub(crate) fn raise_floor(&mut self, vm: VmId, generation: u64) {
        self.raises.push((vm, generation));
    }

    /// The value of `key` goes, if there is one.
    pub(crate) fn remove_key(&mut self, key: String) {
        self.changes.push(Change::Delete(key));
    }
}

impl Inventory {
    /// The inventory kept by `engine`.
    ///
    /// # Errors
    /// When the engine fails, or keeps a format that this version does not know.
    pub fn open(engine: Arc<dyn Engine>) -> Result<Self> {
        match engine.get(FORMAT_KEY)? {
            None => {
                let absent = [Compare::Absent(FORMAT_KEY.to_owned())];
                let format = [Change::Put(FORMAT_KEY.to_owned(), FORMAT.to_vec())];
                engine.transact(&absent, &format)?;
            }
            Some(entry) if entry.value == FORMAT => {}
            Some(entry) => {
                return Err(Error::Format {
                    found: String::from_utf8_lossy(&entry.value)
                        .escape_debug()
                        .to_string(),
                });
            }
        }
        Ok(Self {
            index: Arc::new(RwLock::new(Index::read(&*engine)?)),
            engine,
            commits: Arc::default(),
            listeners: Arc::default(),
        })
    }

    /// Whether the first run has made what a newcomer needs.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn is_set_up(&self) -> Result<bool> {
        let key = format!("{}{}", Milestone::PREFIX, Milestone::SET_UP);
        Ok(self.find::<Milestone>(&key)?.is_some())
    }

    /// Records that the first run has made what a newcomer needs.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn set_up(&self) -> Result<()> {
        let mut transaction = Transaction::default();
        transaction.put(&Milestone {
            name: Milestone::SET_UP.to_owned(),
            reached: Timestamp::now(),
        })?;
        self.commit(transaction)
    }

    pub(crate) fn find<T: Record>(&self, key: &str) -> Result<Option<Stored<T>>> {
        self.engine.get(key)?.map(read).transpose()
    }

    pub(crate) fn all<T: Record>(&self) -> Result<Vec<Stored<T>>> {
        self.within(T::PREFIX)
    }

    /// The records whose keys begin with `T`'s prefix and come after `key`, so many at most.
    pub(crate) fn after<T: Record>(&self, key: &str, most: usize) -> Result<Vec<Stored<T>>> {
        self.some_within(T::PREFIX, key, most)
    }

    /// The records whose keys begin with `prefix` and come after `key`, so many at most.
    pub(crate) fn some_within<T: Record>(
        &self,
        prefix: &str,
        key: &str,
        most: usize,
    ) -> Result<Vec<Stored<T>>> {
        let entries = self.engine.list_after(prefix, key, most)?;
        entries.into_iter().map(read).collect()
    }

    /// Shows every record of a kind, a few at a time: a large inventory is never in memory as a whole.
    pub(crate) fn in_parts<T: Record>(
        &self,
        mut look: impl FnMut(Vec<Stored<T>>) -> Result<()>,
    ) -> Result<()> {
        const AT_ONCE: usize = 500;
        let mut last = String::new();
        loop {
            let part = self.after::<T>(&last, AT_ONCE)?;
            let more = part.len() == AT_ONCE;
            if let Some(stored) = part.last() {
                last = stored.record.key();
            }
            look(part)?;
            if !more {
                return Ok(());
            }
        }
    }

    pub(crate) fn within<T: Record>(&self, prefix: &str) -> Result<Vec<Stored<T>>> {
        self.engine.list(prefix)?.into_iter().map(read).collect()
    }

    /// Carries out a transaction, and writes what it ends into the audit log; a conflict is an error that names the record. If a
    /// request expects something, that holds for its first transaction, or nothing is done.
    pub(crate) fn commit(&self, mut transaction: Transaction) -> Result<()> {
        if let Some(request) = acting::take_unanswered() {
            transaction.put(&Answer::missing(request))?;
        }
        let expectation = acting::take_expectation();
        self.commits.commit(self, transaction, expectation)
    }

    /// Carries out changes as they are. Only whoever has the turn calls it.
    pub(crate) fn transact(
        &self,
        compares: &[Compare],
        changes: &[Change],
    ) -> Result<Outcome, EngineError> {
        let outcome = self.engine.transact(compares, changes)?;
        if matches!(outcome, Outcome::Committed(_)) {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = index.apply(changes) {
                tracing::error!("a record that was just written cannot be found any more: {error}");
            }
        }
        Ok(outcome)
    }

    /// What records are found by.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The VMs whose TPMs have this endorsement key.
    pub(crate) fn with_ek(&self, ek_name: &str) -> Vec<VmId> {
        self.index().vms_with_ek(ek_name).collect()
    }

    /// When the value of a key was written.
    pub(crate) fn revision(&self, key: &str) -> Result<Option<Revision>> {
        Ok(self.engine.get(key)?.map(|entry| entry.revision))
    }

    pub(crate) fn on_tasks(&self, listener: Listener) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(listener);
    }

    pub(crate) fn tell_of_tasks(&self) {
        let listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            listener();
        }
    }

    pub(crate) fn vcenter(&self, name: &str) -> Result<Stored<VCenter>> {
        self.find(&VCenter::key_of(name))?
            .ok_or_else(|| Error::NotFound {
                what: "vCenter",
                name: shown(name),
                hint: "`vtpm vm list` shows where VMs are",
            })
    }

    /// The vCenter of that name; without a name the only one there is.
    pub(crate) fn vcenter_or_only(&self, name: Option<&Name>) -> Result<Stored<VCenter>> {
        if let Some(name) = name {
            return self.vcenter(name.as_str());
        }
        let mut all = self.all::<VCenter>()?;
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Error::NotFound {
                what: "vCenter",
                name: "any".to_owned(),
                hint: "register one first: POST /v1/vcenters",
            }),
            (Some(_), false) => Err(Error::ChoiceNeeded {
                what: "vCenter",
                option: "--vcenter",
            }),
        }
    }

    pub(crate) fn provider(&self, vcenter: &str, name: &str) -> Result<Stored<Provider>> {
        self.find(&Provider::key_of(vcenter, name))?
            .ok_or_else(|| Error::NoProvider {
                name: shown(name),
                vcenter: vcenter.to_owned(),
            })
    }

    pub(crate) fn datastore(&self, name: &str) -> Result<Stored<Datastore>> {
        self.find(&Datastore::key_of(name))?
            .ok_or_else(|| Error::NotFound {
                what: "datastore",
                name: shown(name),
                hint: "name one that exists, or leave the choice out",
            })
    }

    /// The datastore of that name if the vCenter sees it; without a name the first one that it sees.
    pub(crate) fn datastore_on(
        &self,
        vcenter: &Name,
        name: Option<&Name>,
    ) -> Result<Stored<Datastore>> {
        if let Some(name) = name {
            let found = self.datastore(name.as_str())?;
            if !found.record.vcenters.contains(vcenter) {
                return Err(Error::DatastoreNotSeen {
                    datastore: name.clone(),
                    vcenter: vcenter.clone(),
                });
            }
            return Ok(found);
        }
        self.all::<Datastore>()?
            .into_iter()
            .find(|stored| stored.record.vcenters.contains(vcenter))
            .ok_or_else(|| Error::NotFound {
                what: "datastore seen by vCenter",
                name: vcenter.to_string(),
                hint: "add a datastore to this vCenter",
            })
    }

    /// A VM by its identifier, by its name if that is unambiguous, or by `VAPP/NAME`.
    pub(crate) fn vm(&self, reference: &str) -> Result<Stored<Vm>> {
        let missing = || no_vm(reference);
        if let Some(id) = model::id_in(reference) {
            return self.find(&Vm::key_of(VmId(id)))?.ok_or_else(missing);
        }
        if let Some((vapp, name)) = reference.rsplit_once('/') {
            return self.vm_in_vapp(vapp, name)?.ok_or_else(missing);
        }
        let ids = {
            let index = self.index();
            let (standalone, members): (Vec<_>, Vec<_>) = index
                .vms_called(reference)
                .partition(|(_, vm)| vm.vapp.is_none());
            // A bare name means the VM outside vApps, if there is one.
            let chosen = if standalone.is_empty() {
                members
            } else {
                standalone
            };
            chosen.into_iter().map(|(id, _)| id).collect()
        };
        self.only_vm(reference, ids)?.ok_or_else(missing)
    }

    /// The one VM of those that a name may mean.
    pub(crate) fn only_vm(&self, name: &str, ids: Vec<VmId>) -> Result<Option<Stored<Vm>>> {
        match *ids {
            [] => Ok(None),
            [id] => self.find(&Vm::key_of(id)),
            _ => Err(Error::Ambiguous {
                name: shown(name),
                ids,
            }),
        }
    }

    /// A VM by `VAPP/NAME` or `ORGANIZATION/VAPP/NAME`.
    fn vm_in_vapp(&self, vapp: &str, name: &str) -> Result<Option<Stored<Vm>>> {
        let ids = {
            let index = self.index();
            let in_such = |vm: &Option<model::VappRef>| {
                vm.as_ref()
                    .is_some_and(|it| is_called(&it.organization, &it.name, vapp))
            };
            let members = index.vms_called(name).filter(|(_, vm)| in_such(&vm.vapp));
            members.map(|(id, _)| id).collect()
        };
        self.only_vm(name, ids)
    }

    /// The vApps of that name, of every organization.
    pub(crate) fn vapps_called(&self, name: &str) -> Result<Vec<Stored<Vapp>>> {
        let keys = self.index().vapps_called(name);
        let found = keys.iter().map(|key| self.find::<Vapp>(key));
        Ok(found
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// A vApp by its id.
    pub(crate) fn vapp_by_id(&self, id: uuid::Uuid) -> Result<Option<Stored<Vapp>>> {
        let key = self.index().vapp_key(id);
        key.map_or(Ok(None), |key| self.find(&key))
    }

    /// Whether something is being made that will have this key.
    pub(crate) fn is_reserved(&self, key: &str) -> Result<bool> {
        let reservation = Reservation { of: key.to_owned() };
        Ok(self.find::<Reservation>(&reservation.key())?.is_some())
    }

    /// The VM that has a name: that of a vApp, or that of a vCenter.
    pub(crate) fn holder(&self, name_key: &str) -> Result<Option<VmId>> {
        if name_key.starts_with(VappMember::PREFIX) {
            let member = self.find::<VappMember>(name_key)?;
            return Ok(member.map(|member| member.record.vm));
        }
        let holder = self.find::<NameHolder>(name_key)?;
        Ok(holder.map(|holder| holder.record.vm))
    }

    pub(crate) fn generation_floor(&self, vm: VmId) -> Result<u64> {
        let floor = self.find::<GenerationFloor>(&GenerationFloor::key_of(vm))?;
        Ok(floor.map_or(0, |stored| stored.record.generation))
    }

    /// Raises the floors of several VMs in one transaction; never lowers one. Call it only with generations that are on
    /// stable storage.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn raise_floors(&self, generations: &[(VmId, u64)]) -> Result<()> {
        let mut transaction = Transaction::default();
        for (vm, generation) in generations {
            // Most have not moved: the rest is looked at again when the transaction is carried out.
            if *generation > self.generation_floor(*vm)? {
                transaction.raise_floor(*vm, *generation);
            }
        }
        if transaction.raises.is_empty() {
            return Ok(());
        }
        self.commit(transaction)
    }

    /// Sets the floor to what a person accepted, which may be lower than what was known.
    pub(crate) fn accept_floor(&self, vm: VmId, generation: u64) -> Result<()> {
        let mut transaction = Transaction::default();
        transaction.put(&GenerationFloor { vm, generation })?;
        self.commit(transaction)
    }
}

/// That there is no such VM, or none that may be known of.
pub(crate) fn no_vm(reference: &str) -> Error {
    Error::NotFound {
        what: "VM",
        name: shown(reference),
        hint: "`vtpm vm list` shows all",
    }
}

/// Whether a reference, `NAME` or `ORGANIZATION/NAME`, means the thing of that name.
pub(crate) fn is_called(organization: &Name, name: &Name, reference: &str) -> bool {
    match reference.split_once('/') {
        Some((wanted, rest)) => organization.as_str() == wanted && name.as_str() == rest,
        None => name.as_str() == reference,
    }
}

/// A name out of a request, cut and escaped for an error message.
pub(crate) fn shown(name: &str) -> String {
    name.chars()
        .take(vm_store::MAX_NAME_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect()
}

pub(crate) fn is_of_task(change: &Change) -> bool {
    match change {
        Change::Put(key, _) | Change::Delete(key) => key.starts_with(Task::PREFIX),
    }
}

fn read<T: Record>(entry: Entry) -> Result<Stored<T>> {
    let record = serde_json::from_slice(&entry.value).map_err(|error| Error::Record {
        key: entry.key,
        reason: error.to_string(),
    })?;
    Ok(Stored {
        record,
        revision: entry.revision,
    })
}
