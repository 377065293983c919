//! The records, typed, over the engine.

use crate::engine::{Change, Compare, Engine, Entry, Outcome, Revision};
use crate::model::{
    Datastore, GenerationFloor, Milestone, NameHolder, Organization, Provider, Record, Reservation,
    Timestamp, VCenter, Vapp, VappMember, Vm, VmId,
};
use crate::task::Task;
use crate::{Error, Name, Result, audit, model};
use std::sync::{Arc, Mutex, PoisonError};

const FORMAT_KEY: &str = "format";
const FORMAT: &[u8] = b"1";

/// Every record of one data folder.
#[derive(Clone)]
pub struct Inventory {
    engine: Arc<dyn Engine>,
    /// Raising floors reads and writes; one at a time, so that none is lowered.
    floors: Arc<Mutex<()>>,
    /// The audit log has one end.
    audit: Arc<Mutex<()>>,
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
    compares: Vec<Compare>,
    changes: Vec<Change>,
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
            engine,
            floors: Arc::new(Mutex::new(())),
            audit: Arc::new(Mutex::new(())),
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
        let entries = self.engine.list_after(T::PREFIX, key, most)?;
        entries.into_iter().map(read).collect()
    }

    pub(crate) fn within<T: Record>(&self, prefix: &str) -> Result<Vec<Stored<T>>> {
        self.engine.list(prefix)?.into_iter().map(read).collect()
    }

    /// Carries out a transaction, and writes what it ends into the audit log; a conflict is an error that names the record.
    pub(crate) fn commit(&self, mut transaction: Transaction) -> Result<()> {
        let _one_at_a_time = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let (compares, changes) = audit::entries_for(self, &transaction.changes)?;
        transaction.compares.extend(compares);
        transaction.changes.extend(changes);
        match self
            .engine
            .transact(&transaction.compares, &transaction.changes)?
        {
            Outcome::Committed(_) => {
                if transaction.changes.iter().any(is_of_task) {
                    self.tell_of_tasks();
                }
                Ok(())
            }
            Outcome::Conflict(key) => Err(Error::Conflict { key }),
        }
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
        let mut matches: Vec<Stored<Vm>> = Vec::new();
        for vcenter in self.all::<VCenter>()? {
            let key = NameHolder::key_of(vcenter.record.name.as_str(), reference);
            if let Some(holder) = self.find::<NameHolder>(&key)? {
                matches.extend(self.find::<Vm>(&Vm::key_of(holder.record.vm))?);
            }
        }
        // A bare name means the VM outside vApps, if there is one.
        if matches.is_empty() {
            for vapp in self.all::<Vapp>()? {
                matches.extend(self.member(&vapp.record, reference)?);
            }
        }
        if matches.len() > 1 {
            return Err(Error::Ambiguous {
                name: shown(reference),
                ids: matches.iter().map(|vm| vm.record.id).collect(),
            });
        }
        matches.pop().ok_or_else(missing)
    }

    /// A VM by `VAPP/NAME` or `ORGANIZATION/VAPP/NAME`.
    fn vm_in_vapp(&self, vapp: &str, name: &str) -> Result<Option<Stored<Vm>>> {
        let vapps = match vapp.split_once('/') {
            Some((organization, vapp)) => {
                let found = self.find::<Vapp>(&Vapp::key_of(organization, vapp))?;
                found.into_iter().collect()
            }
            None => self.vapps_called(vapp)?,
        };
        let mut matches = Vec::new();
        for vapp in vapps {
            matches.extend(self.member(&vapp.record, name)?);
        }
        if matches.len() > 1 {
            return Err(Error::Ambiguous {
                name: shown(name),
                ids: matches.iter().map(|vm: &Stored<Vm>| vm.record.id).collect(),
            });
        }
        Ok(matches.pop())
    }

    /// The vApps of that name, of every organization: as many are read as there are organizations, however many vApps there are.
    pub(crate) fn vapps_called(&self, name: &str) -> Result<Vec<Stored<Vapp>>> {
        let mut found = Vec::new();
        for organization in self.all::<Organization>()? {
            let key = Vapp::key_of(organization.record.name.as_str(), name);
            found.extend(self.find::<Vapp>(&key)?);
        }
        Ok(found)
    }

    /// The VM of that name in a vApp.
    fn member(&self, vapp: &Vapp, name: &str) -> Result<Option<Stored<Vm>>> {
        let member = self.find::<VappMember>(&VappMember::key_of(vapp.id, name))?;
        match member {
            Some(member) => self.find(&Vm::key_of(member.record.vm)),
            None => Ok(None),
        }
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
        let _one_at_a_time = self.floors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = Transaction::default();
        for (vm, generation) in generations {
            if *generation <= self.generation_floor(*vm)?
                || self.find::<Vm>(&Vm::key_of(*vm))?.is_none()
            {
                continue;
            }
            transaction.put(&GenerationFloor {
                vm: *vm,
                generation: *generation,
            })?;
        }
        if transaction.changes.is_empty() {
            return Ok(());
        }
        self.commit(transaction)
    }

    /// Sets the floor to what a person accepted, which may be lower than what was known.
    pub(crate) fn accept_floor(&self, vm: VmId, generation: u64) -> Result<()> {
        let _one_at_a_time = self.floors.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A name out of a request, cut and escaped for an error message.
pub(crate) fn shown(name: &str) -> String {
    name.chars()
        .take(vm_store::MAX_NAME_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect()
}

fn is_of_task(change: &Change) -> bool {
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
