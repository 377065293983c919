//! The operations: checks first, then the intent, then the files, then the outcome.
//!
//! Every operation on a VM is a [`Job`]: making one has carried out all checks and recorded the task, running it does the
//! work. Nothing here is asynchronous; whoever serves requests runs jobs where blocking is allowed.

mod adopt;
mod batch;
mod catalog_sync;
mod certificate;
mod clone;
mod cloud;
mod compose;
mod create;
mod crypto_state;
mod delete;
mod device_keys;
mod edit_tpm;
mod encrypt;
mod folders;
mod foresee;
mod hardware;
mod ovf_export;
mod ovf_import;
mod own;
mod pace;
mod plan;
mod power;
mod preview;
mod provider;
mod provider_change;
mod published;
mod recover;
mod register;
mod rekey;
mod relocate;
mod remarks;
mod rename;
mod settings;
mod snapshot;
mod suspend;
mod template;
mod together;
mod unlock;
mod vapp;
mod vcenter_options;
mod view;
mod whole;

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;

pub use adopt::AdoptTpm;
pub use clone::CloneVm;
pub use cloud::{CreateCatalog, CreateVdc, UserView, VdcView};
pub use compose::{Compose, Part};
pub use create::CreateVm;
pub use edit_tpm::EditTpm;
pub use encrypt::EncryptVm;
pub use folders::{StoredFile, VmFolder};
pub use hardware::VmHardware;
pub use ovf_export::{Export, ExportPackage};
pub use ovf_import::ImportPackage;
pub use preview::{Effects, Fate, Preview, VmPreview};
pub use provider::{
    BackupFile, CreateProvider, KeyServerView, KeyUse, ProviderStatus, ProviderView,
    RestoreProvider,
};
pub use provider_change::KeyState;
pub use rekey::{Rekey, RekeyAll};
pub use relocate::Relocate;
pub use remarks::{Lease, MetadataEntry, Remarked, Remarks, Sharing};
pub use snapshot::TakeSnapshot;
pub(crate) use template::Captured;
pub use template::{Capture, Import, Instantiate, Offer};
pub use vapp::{CopyVapp, CreateVapp, MoveVapp, MoveVm, NewVappVm, VappItem, VappView};
pub use vcenter_options::VCenterOptions;
pub use view::{TpmView, VmView};
pub use whole::ReconfigureVm;

use crate::certificates::Certifier;
use crate::files::Files;
use crate::generations::{GenerationNote, GenerationNotes};
use crate::inventory::{Inventory, Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::key_server::AttestedKeys;
use crate::lineage::Lineage;
use crate::model::{Datastore, Endpoint, NameHolder, Timestamp, VCenter, Vm, VmId};
use crate::requirements::{self, Candidate, ProviderState};
use crate::task::{self, Task, TaskId, TaskStatus};
use crate::{Error, Name, Result, VcVersion, acting, once};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use utoipa::ToSchema;
use vm_store::{Contents, VmFile};
use zeroize::Zeroizing;

/// The permanent state of a TPM, as sealed into a VM's file.
pub type TpmBytes = Zeroizing<Vec<u8>>;

/// Why a TPM's bytes could not be made or read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TpmMakerError(pub String);

/// Makes TPMs, as bytes.
pub trait TpmMaker: Send + Sync {
    /// A TPM just manufactured.
    ///
    /// # Errors
    /// When it cannot be made.
    fn new_tpm(&self) -> Result<TpmBytes, TpmMakerError>;

    /// The same, as a profile describes it: its name, or JSON.
    ///
    /// # Errors
    /// When there is no such profile, or the TPM cannot be made.
    fn new_tpm_of(&self, profile: &str) -> Result<TpmBytes, TpmMakerError>;

    /// The same, with the profile of another TPM.
    ///
    /// # Errors
    /// When `state` is not the state of a TPM, or the new one cannot be made.
    fn new_tpm_like(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError>;

    /// A copy of a TPM that keeps its secrets and repeats none of its randomness.
    ///
    /// # Errors
    /// When `state` is not the state of a TPM.
    fn fork(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError>;

    /// The same for a TPM that runs, with its volatile state: what the memory of its machine relies on stays. Gives both states.
    ///
    /// # Errors
    /// When these are not the states of a TPM.
    fn fork_running(
        &self,
        permanent: &[u8],
        volatile: &[u8],
    ) -> Result<(TpmBytes, TpmBytes), TpmMakerError>;

    /// Name of the RSA-2048 endorsement key of the default template, in hexadecimal.
    ///
    /// # Errors
    /// When `state` is not the state of a TPM, or it lets nobody make that key.
    fn ek_name(&self, state: &[u8]) -> Result<String, TpmMakerError>;

    /// Who makes certificates for the TPMs; without one they get none.
    fn certifier(&self) -> Option<&dyn Certifier> {
        None
    }
}

/// What powering a VM on takes.
pub struct PowerOn {
    /// The VM.
    pub vm: Vm,
    /// Its open files, locked until they are dropped.
    pub files: VmFile,
    /// What they hold.
    pub contents: Contents,
    /// Where to note each generation that reaches stable storage, before anybody is told.
    pub note: GenerationNote,
}

/// A VM that was powered on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// Where its TPM is reached.
    pub endpoint: Endpoint,
    /// The generation of its state that is on stable storage now.
    pub generation: u64,
}

/// Runs the VMs that are powered on.
pub trait Machines: Send + Sync {
    /// Powers a VM on: its TPM answers on its sockets when this returns.
    ///
    /// # Errors
    /// Why it does not run, in words.
    fn power_on(&self, request: PowerOn) -> Result<Started, String>;

    /// Shuts a VM's TPM down in good order, saves it, closes its sockets and files. Returns the generation on stable storage.
    ///
    /// # Errors
    /// Why it could not be saved, in words; it does not run any more even then.
    fn power_off(&self, vm: VmId) -> Result<u64, String>;

    /// Stops a VM so that its TPM goes on from here when it is powered on again, and closes its sockets and files. Returns the
    /// generation on stable storage.
    ///
    /// # Errors
    /// Why that could not be saved, in words; it does not run any more even then.
    fn suspend(&self, vm: VmId) -> Result<u64, String>;

    /// Where the TPM of a running VM is reached; `None` if the VM does not run.
    fn endpoint(&self, vm: VmId) -> Option<Endpoint>;

    /// What a running VM has on stable storage; `None` if it does not run.
    fn persisted(&self, vm: VmId) -> Option<Contents>;

    /// The whole state of a running VM at this moment, with its volatile part; what of it is permanent is on stable storage as this
    /// generation. `None` if the VM does not run.
    fn capture(&self, vm: VmId) -> Option<Result<(Contents, u64), String>>;

    /// Lets `work` use the open files of a running VM; false if it does not run.
    fn with_files(&self, vm: VmId, work: &mut dyn FnMut(&mut VmFile)) -> bool;

    /// The generations that running VMs have on stable storage.
    fn generations(&self) -> Vec<(VmId, u64)>;
}

/// A request to register a vCenter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVCenter {
    /// Its name.
    pub name: Name,
    /// Its version, such as 8.0.3.
    pub version: VcVersion,
}

/// The way in: one data folder with everything in it.
pub struct Operations {
    inventory: Inventory,
    files: Files,
    maker: Arc<dyn TpmMaker>,
    machines: Arc<dyn Machines>,
    notes: GenerationNotes,
    busy: Mutex<BTreeMap<VmId, Hold>>,
    /// How many operations read each template; held together with `busy`, which is locked first.
    read: Mutex<BTreeMap<VmId, usize>>,
    progress: Mutex<BTreeMap<TaskId, (u8, Cow<'static, str>)>>,
    /// The tasks that can still be canceled, and whether somebody asked for it.
    cancels: Mutex<BTreeMap<TaskId, bool>>,
    /// Held while the files of a VM that is off are read.
    reading: Mutex<()>,
    /// Held while the authority of a vCenter is made: two first TPMs at once get certificates of one.
    authorities: Mutex<()>,
}

/// The work of a job: gets the task as accepted, records the outcome, returns the task as it ended.
type Work = Box<dyn FnOnce(&Operations, Task) -> Result<Task> + Send>;

/// An accepted operation: all checks have passed, the task is recorded.
pub struct Job {
    task: Task,
    work: Work,
    operations: Arc<Operations>,
    busy: Vec<Busy>,
    /// What comes after it, as a part of the same task.
    then: Option<Then>,
}

/// Work that goes on when the VMs of a job are free again: gets the task as it ended.
type Then = Box<dyn FnOnce(&Arc<Operations>, &Task) -> Result<()> + Send>;

impl Job {
    /// The task as accepted.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Does the work, and returns the task as it ended. Blocks.
    #[must_use]
    pub fn run(self) -> Task {
        let Self {
            task,
            work,
            operations,
            busy,
            then,
        } = self;
        // Until its VMs are free again the job counts as running, whatever its record says:
        // who waits for its end may go on at once.
        operations.report(&task, 0, "started");
        let attempt = catch_unwind(AssertUnwindSafe(|| work(&operations, task.clone())));
        let mut ended = match attempt {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => operations.give_up(task, &error),
            Err(payload) => {
                let text = payload
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| payload.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "a defect without a message".to_owned());
                operations.give_up(task, &Error::Internal(text))
            }
        };
        drop(busy);
        if let Some(then) = then
            && ended.status == TaskStatus::Success
        {
            ended = operations.go_on(ended, then);
        }
        lock(&operations.cancels).remove(&ended.id);
        lock(&operations.progress).remove(&ended.id);
        operations.inventory.tell_of_tasks();
        ended
    }
}

/// What a template is in of which instances are made.
const BEING_READ: &str = "being instantiated";

/// An operation that has something for itself.
#[derive(Clone, Copy)]
struct Hold {
    /// What others are told.
    doing: &'static str,
    /// The files go, or make room for others.
    removes: bool,
}

/// Keeps other operations away from a VM until it is dropped.
struct Busy {
    operations: Arc<Operations>,
    /// `None` for who only looks.
    vm: Option<VmId>,
    /// What is kept is the right to read it, together with others.
    reads: bool,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(vm) = &self.vm else {
            return;
        };
        let mut busy = lock(&self.operations.busy);
        if !self.reads {
            busy.remove(vm);
            return;
        }
        let mut read = lock(&self.operations.read);
        if let Some(readers) = read.get_mut(vm) {
            *readers = readers.saturating_sub(1);
            if *readers == 0 {
                read.remove(vm);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Operations {
    /// Everything in the data folder `data`, which this process owns, with the inventory already open. Operations that an
    /// earlier process left unfinished are undone or finished first.
    ///
    /// # Errors
    /// When the inventory or a datastore cannot be opened.
    pub fn open(
        data: &Path,
        inventory: Inventory,
        maker: Arc<dyn TpmMaker>,
        machines: Arc<dyn Machines>,
    ) -> Result<Arc<Self>> {
        Self::open_attesting(data, inventory, maker, machines, None)
    }

    /// The same with a way to attest, by which trusted key providers give keys.
    ///
    /// # Errors
    /// As [`Operations::open`].
    pub fn open_attesting(
        data: &Path,
        inventory: Inventory,
        maker: Arc<dyn TpmMaker>,
        machines: Arc<dyn Machines>,
        attested: Option<Arc<dyn AttestedKeys>>,
    ) -> Result<Arc<Self>> {
        let files = Files::new(data, inventory.clone(), attested);
        for stored in inventory.all::<Datastore>()? {
            files.add_datastore(&stored.record)?;
        }
        let notes = noted_generations(&data.join("generations"), &inventory)?;
        let this = Arc::new(Self {
            inventory,
            files,
            maker,
            machines,
            notes,
            busy: Mutex::new(BTreeMap::new()),
            read: Mutex::new(BTreeMap::new()),
            progress: Mutex::new(BTreeMap::new()),
            cancels: Mutex::new(BTreeMap::new()),
            reading: Mutex::new(()),
            authorities: Mutex::new(()),
        });
        this.recover()?;
        Ok(this)
    }

    /// The records.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Every vCenter.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vcenters(&self) -> Result<Vec<VCenter>> {
        Ok(records(self.inventory.all()?))
    }

    /// Registers a vCenter.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn create_vcenter(&self, request: CreateVCenter) -> Result<VCenter> {
        let vcenter = VCenter {
            name: request.name,
            version: request.version,
            default_provider: None,
            trusts: Vec::new(),
        };
        let mut transaction = Transaction::default();
        transaction.insert(&vcenter)?;
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                Error::Conflict { .. } => Error::Exists {
                    what: "vCenter",
                    name: vcenter.name.clone(),
                    place: "the inventory".to_owned(),
                },
                other => other,
            })?;
        Ok(vcenter)
    }

    /// Every datastore.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn datastores(&self) -> Result<Vec<Datastore>> {
        Ok(records(self.inventory.all()?))
    }

    /// Adds a datastore folder, seen by the vCenters named. The name of one that only others see means the same storage, which these
    /// see from now on too.
    ///
    /// # Errors
    /// When they all see a datastore of that name, a vCenter does not exist, or the folder cannot be made.
    pub fn create_datastore(&self, name: Name, vcenters: Vec<Name>) -> Result<Datastore> {
        let taken = |name: &Name| Error::Exists {
            what: "datastore",
            name: name.clone(),
            place: "the inventory".to_owned(),
        };
        if let Some(known) = self
            .inventory
            .find::<Datastore>(&Datastore::key_of(name.as_str()))?
        {
            let mut shared = None;
            for vcenter in vcenters {
                if !known.record.vcenters.contains(&vcenter) {
                    shared = Some(self.share_datastore(&name, &vcenter)?);
                }
            }
            return shared.ok_or_else(|| taken(&name));
        }
        let folder: PathBuf = ["datastores", name.as_str()].iter().collect();
        let mut transaction = Transaction::default();
        for vcenter in &vcenters {
            transaction.unchanged(&self.inventory.vcenter(vcenter.as_str())?);
        }
        let datastore = Datastore {
            name,
            vcenters,
            folder,
        };
        transaction.insert(&datastore)?;
        self.files.add_datastore(&datastore)?;
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                Error::Conflict { key } if key == Datastore::key_of(datastore.name.as_str()) => {
                    taken(&datastore.name)
                }
                other => other,
            })?;
        Ok(datastore)
    }

    /// Every task that is kept, the newest first.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn tasks(&self) -> Result<Vec<Task>> {
        let mut tasks: Vec<Task> = records(self.inventory.all()?);
        tasks.sort_by_key(|task| std::cmp::Reverse(task.created));
        Ok(tasks
            .into_iter()
            .map(|task| self.with_progress(task))
            .collect())
    }

    /// Calls `listener` whenever a task has begun, got on or ended, on whatever thread that was: it must not block.
    pub fn on_tasks(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.inventory.on_tasks(Box::new(listener));
    }

    /// One task.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn task(&self, id: TaskId) -> Result<Task> {
        let stored = self
            .inventory
            .find::<Task>(&Task::key_of(id))?
            .ok_or_else(|| task::no_task(id))?;
        Ok(self.with_progress(stored.record))
    }

    /// Raises the recorded generations of all running VMs and forgets the oldest tasks. Call it every now and then.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn keep_house(&self) -> Result<()> {
        self.files.key_servers.forget_expired();
        self.inventory.raise_floors(&self.machines.generations())?;
        once::prune(&self.inventory)?;
        task::prune(&self.inventory)
    }

    /// The task as it is now: one whose job has not let its VMs go yet is still running.
    fn with_progress(&self, mut task: Task) -> Task {
        if let Some((percent, step)) = lock(&self.progress).get(&task.id) {
            task.status = TaskStatus::Running;
            task.progress = *percent;
            task.step = step.clone().into_owned();
            task.error = None;
            task.finished = None;
        }
        task
    }

    fn report(&self, task: &Task, percent: u8, step: impl Into<Cow<'static, str>>) {
        lock(&self.progress).insert(task.id, (percent, step.into()));
        self.inventory.tell_of_tasks();
    }

    fn occupy(self: &Arc<Self>, vm: VmId, name: &Name, doing: &'static str) -> Result<Busy> {
        let removes = false;
        self.hold(vm, name, Hold { doing, removes })
    }

    fn hold(self: &Arc<Self>, vm: VmId, name: &Name, hold: Hold) -> Result<Busy> {
        let mut busy = lock(&self.busy);
        let read = hold.removes && lock(&self.read).contains_key(&vm);
        let other = busy.get(&vm).map(|other| other.doing);
        if let Some(doing) = other.or(read.then_some(BEING_READ)) {
            return Err(Error::Busy {
                vm: name.clone(),
                doing,
            });
        }
        // Who only looks is in nobody's way.
        let vm = (!acting::looks()).then(|| {
            busy.insert(vm, hold);
            vm
        });
        Ok(Busy {
            operations: Arc::clone(self),
            vm,
            reads: false,
        })
    }

    /// Keeps what is read from being removed. Others may read it, too, and whatever leaves its files may happen to it meanwhile.
    fn keep_to_read(self: &Arc<Self>, id: VmId, name: &Name) -> Result<Busy> {
        let busy = lock(&self.busy);
        if let Some(hold) = busy.get(&id).filter(|hold| hold.removes) {
            return Err(Error::Busy {
                vm: name.clone(),
                doing: hold.doing,
            });
        }
        let vm = (!acting::looks()).then(|| {
            *lock(&self.read).entry(id).or_default() += 1;
            id
        });
        Ok(Busy {
            operations: Arc::clone(self),
            vm,
            reads: true,
        })
    }

    /// Finds a VM and keeps other operations away from it.
    fn occupy_vm(
        self: &Arc<Self>,
        reference: &str,
        doing: &'static str,
    ) -> Result<(Stored<Vm>, Busy)> {
        let found = self.inventory.vm(reference)?;
        let busy = self.occupy(found.record.id, &found.record.name, doing)?;
        // Read again: what was true before the VM was ours may have changed.
        let stored = self.inventory.vm(&found.record.id.to_string())?;
        Ok((stored, busy))
    }

    fn job(
        self: &Arc<Self>,
        task: Task,
        busy: Vec<Busy>,
        work: impl FnOnce(&Self, Task) -> Result<Task> + Send + 'static,
    ) -> Job {
        Job {
            task,
            work: Box::new(work),
            operations: Arc::clone(self),
            busy,
            then: None,
        }
    }

    /// Checks the rules for a VM that is to get or to carry a TPM.
    fn require(&self, vm: &Vm, vcenter: &VCenter) -> Result<()> {
        self.require_some(vm, vcenter, |_| true)
    }

    /// Checks those of these rules that hold for any encrypted VM.
    fn require_key(&self, vm: &Vm, vcenter: &VCenter) -> Result<()> {
        self.require_some(vm, vcenter, requirements::Rule::is_about_keys)
    }

    fn require_some(
        &self,
        vm: &Vm,
        vcenter: &VCenter,
        applies: impl Fn(requirements::Rule) -> bool,
    ) -> Result<()> {
        let provider = match &vm.provider {
            Some(name) => Some(
                self.inventory
                    .provider(vcenter.name.as_str(), name.as_str())?
                    .record,
            ),
            None => None,
        };
        let state = match &provider {
            Some(provider) => Some(ProviderState {
                name: &provider.name,
                kind: provider.kind,
                backed_up: self.files.provider(provider)?.is_active(),
            }),
            None => None,
        };
        let mut failures = requirements::check(&Candidate {
            firmware: vm.firmware,
            hardware_version: vm.hardware_version,
            guest: &vm.guest,
            vcenter: &vcenter.name,
            version: vcenter.version,
            provider: state,
        });
        failures.retain(|failure| applies(failure.rule));
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::Requirements {
                vm: vm.name.clone(),
                failures,
            })
        }
    }

    /// A folder of the datastore that nobody has, called like the VM if possible.
    fn free_folder(&self, datastore: &Datastore, name: &Name) -> Result<Name> {
        let mut candidates = vec![name.clone()];
        candidates.extend((1..100).filter_map(|n| format!("{name}_{n}").parse::<Name>().ok()));
        for candidate in candidates {
            if !self.files.is_taken(datastore, &candidate)? {
                return Ok(candidate);
            }
        }
        Err(Error::FolderTaken {
            datastore: datastore.name.clone(),
            name: name.clone(),
        })
    }

    /// Records that files are about to be made for `vm`, and takes its name.
    fn record_creation(&self, task: &Task, vm: &Vm, mut transaction: Transaction) -> Result<()> {
        transaction.insert(&NameHolder {
            vcenter: vm.vcenter.clone(),
            name: vm.name.clone(),
            vm: vm.id,
        })?;
        transaction.insert(&JournalEntry {
            task: task.id,
            intent: Intent::Create {
                vm: Box::new(vm.clone()),
            },
        })?;
        transaction.insert(task)?;
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                Error::Conflict { key } if key.starts_with("vm-name/") => Error::Exists {
                    what: "VM",
                    name: vm.name.clone(),
                    place: format!("vCenter {}", vm.vcenter),
                },
                other => other,
            })
    }

    /// Records that the files of `vm` are made.
    fn record_created(&self, task: Task, vm: &Vm) -> Result<Task> {
        let task = task.succeeded();
        let mut transaction = Transaction::default();
        if let Some(entry) = self.journal_entry(task.id)? {
            transaction.remove(&entry);
        }
        transaction.insert(vm)?;
        Lineage::begin(
            &mut transaction,
            vm,
            task.organization.as_ref(),
            &task.operation,
            Timestamp::now(),
        )?;
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    fn journal_entry(&self, task: TaskId) -> Result<Option<Stored<JournalEntry>>> {
        self.inventory.find(&format!("journal/{task}"))
    }
}

/// What requests and defaults say about the VM to be made; shared by create and clone.
fn planned(name: Name, vcenter: &VCenter, datastore: &Datastore, folder: Name, like: Like) -> Vm {
    let Like {
        firmware,
        hardware_version,
        guest,
        provider,
        encrypted,
        socket,
        startup,
    } = like;
    Vm {
        id: VmId::random(),
        instance_id: VmId::random().0,
        name,
        vcenter: vcenter.name.clone(),
        vapp: None,
        datastore: datastore.name.clone(),
        folder,
        firmware,
        hardware_version,
        guest,
        power: crate::model::PowerState::Off,
        provider,
        encrypted,
        tpm: None,
        socket,
        startup,
        created: Timestamp::now(),
        locked: None,
    }
}

/// The settings that a VM is made with.
struct Like {
    firmware: crate::model::Firmware,
    hardware_version: u16,
    guest: crate::guest::GuestOs,
    provider: Option<Name>,
    encrypted: bool,
    socket: crate::model::SocketKind,
    startup: bool,
}

fn records<T>(stored: Vec<Stored<T>>) -> Vec<T> {
    stored.into_iter().map(|stored| stored.record).collect()
}

/// Raises the floors by what a daemon that was killed had noted.
fn noted_generations(path: &Path, inventory: &Inventory) -> Result<GenerationNotes> {
    let failed = |error: io::Error| Error::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let (notes, noted) = GenerationNotes::open(path).map_err(failed)?;
    inventory.raise_floors(&noted)?;
    notes.forget().map_err(failed)?;
    Ok(notes)
}
