//! For the tests of this crate: TPMs that are random bytes, machines that save once, a database that dies when told to.

use crate::engine::{Change, Compare, Engine, EngineError, Entry, Outcome, Redb};
use crate::model::{Endpoint, VmId};
use crate::operation::{
    CloneVm, CreateProvider, CreateVCenter, CreateVm, Machines, Operations, PowerOn, Started,
    TpmBytes, TpmMaker, TpmMakerError,
};
use crate::provisioning::TpmProvisioning;
use crate::task::{Task, TaskStatus};
use crate::{GenerationNote, Inventory, Job, Name, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use vm_store::{Contents, SectionKind, VmFile};

/// A TPM here is a seed, which a copy keeps, and a number, which nobody shares.
pub(crate) struct ByteMaker;

impl TpmMaker for ByteMaker {
    fn new_tpm(&self) -> Result<TpmBytes, TpmMakerError> {
        Ok([Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()]
            .concat()
            .into())
    }

    fn new_tpm_of(&self, profile: &str) -> Result<TpmBytes, TpmMakerError> {
        match profile {
            "default" => self.new_tpm(),
            _ => Err(TpmMakerError(format!("there is no profile '{profile}'"))),
        }
    }

    fn new_tpm_like(&self, _: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        self.new_tpm()
    }

    fn fork(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        let seed = state
            .get(..16)
            .ok_or_else(|| TpmMakerError("too short".into()))?;
        Ok([seed, Uuid::new_v4().as_bytes()].concat().into())
    }

    fn fork_running(
        &self,
        permanent: &[u8],
        volatile: &[u8],
    ) -> Result<(TpmBytes, TpmBytes), TpmMakerError> {
        Ok((self.fork(permanent)?, volatile.to_vec().into()))
    }

    fn ek_name(&self, state: &[u8]) -> Result<String, TpmMakerError> {
        Ok(format!(
            "000b{}",
            Uuid::from_slice(&state[..16]).unwrap().simple()
        ))
    }
}

/// What a running machine has in its TPM's memory.
pub(crate) const VOLATILE: &[u8] = b"volatile";

struct Machine {
    file: VmFile,
    contents: Contents,
    note: GenerationNote,
}

/// Machines that save what they were started with, and nothing else.
#[derive(Default)]
pub(crate) struct StillMachines {
    running: Mutex<BTreeMap<VmId, Machine>>,
}

impl StillMachines {
    /// As a guest would: makes the TPM save.
    pub(crate) fn save(&self, vm: VmId) -> u64 {
        let mut running = self.running.lock().unwrap();
        let machine = running.get_mut(&vm).unwrap();
        let generation = machine.file.save(&machine.contents).unwrap();
        machine.note.note(generation).unwrap();
        generation
    }

    /// As `kill -9` would: nothing is closed.
    pub(crate) fn kill(&self) {
        self.running.lock().unwrap().clear();
    }
}

impl Machines for StillMachines {
    fn power_on(&self, request: PowerOn) -> Result<Started, String> {
        let PowerOn {
            vm,
            mut files,
            contents,
            note,
        } = request;
        let generation = files.save(&contents).map_err(|error| error.to_string())?;
        let machine = Machine {
            file: files,
            contents,
            note,
        };
        self.running.lock().unwrap().insert(vm.id, machine);
        Ok(Started {
            endpoint: endpoint(vm.id),
            generation,
        })
    }

    fn power_off(&self, vm: VmId) -> Result<u64, String> {
        let machine = self
            .running
            .lock()
            .unwrap()
            .remove(&vm)
            .ok_or("not running")?;
        let generation = machine.file.generation();
        machine.file.close().map_err(|error| error.to_string())?;
        Ok(generation)
    }

    fn suspend(&self, vm: VmId) -> Result<u64, String> {
        let mut running = self.running.lock().unwrap();
        let mut machine = running.remove(&vm).ok_or("not running")?;
        machine
            .contents
            .set(SectionKind::TPM_VOLATILE, VOLATILE.to_vec());
        let saved = machine.file.save(&machine.contents);
        let generation = saved.map_err(|error| error.to_string())?;
        machine.file.close().map_err(|error| error.to_string())?;
        Ok(generation)
    }

    fn endpoint(&self, vm: VmId) -> Option<Endpoint> {
        self.running
            .lock()
            .unwrap()
            .contains_key(&vm)
            .then(|| endpoint(vm))
    }

    fn persisted(&self, vm: VmId) -> Option<Contents> {
        self.running
            .lock()
            .unwrap()
            .get(&vm)
            .map(|machine| machine.contents.clone())
    }

    fn capture(&self, vm: VmId) -> Option<Result<(Contents, u64), String>> {
        let running = self.running.lock().unwrap();
        let machine = running.get(&vm)?;
        let mut contents = machine.contents.clone();
        contents.set(SectionKind::TPM_VOLATILE, VOLATILE.to_vec());
        Some(Ok((contents, machine.file.generation())))
    }

    fn with_files(&self, vm: VmId, work: &mut dyn FnMut(&mut VmFile)) -> bool {
        let mut running = self.running.lock().unwrap();
        let machine = running.get_mut(&vm);
        machine.map(|machine| work(&mut machine.file)).is_some()
    }

    fn generations(&self) -> Vec<(VmId, u64)> {
        let running = self.running.lock().unwrap();
        running
            .iter()
            .map(|(id, machine)| (*id, machine.file.generation()))
            .collect()
    }
}

fn endpoint(vm: VmId) -> Endpoint {
    Endpoint {
        tcti: format!("swtpm:path=/{vm}"),
        control: format!("/{vm}.ctrl"),
    }
}

/// A database that works for so many transactions and then not at all, as if the process had been killed.
pub(crate) struct Mortal {
    inner: Arc<dyn Engine>,
    left: AtomicUsize,
    /// Whether the last transaction is carried out without anybody hearing of it.
    last_one_counts: bool,
}

impl Mortal {
    fn dead() -> EngineError {
        EngineError {
            path: "test".into(),
            reason: "killed".into(),
        }
    }
}

impl Engine for Mortal {
    fn get(&self, key: &str) -> Result<Option<Entry>, EngineError> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return Err(Self::dead());
        }
        self.inner.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, EngineError> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return Err(Self::dead());
        }
        self.inner.list(prefix)
    }

    fn list_after(&self, prefix: &str, key: &str, most: usize) -> Result<Vec<Entry>, EngineError> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return Err(Self::dead());
        }
        self.inner.list_after(prefix, key, most)
    }

    fn transact(&self, compares: &[Compare], changes: &[Change]) -> Result<Outcome, EngineError> {
        match self.left.load(Ordering::SeqCst) {
            0 => Err(Self::dead()),
            1 => {
                self.left.store(0, Ordering::SeqCst);
                if self.last_one_counts {
                    self.inner.transact(compares, changes)?;
                }
                Err(Self::dead())
            }
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                self.inner.transact(compares, changes)
            }
        }
    }
}

/// A data folder with a daemon's worth of operations over it.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) operations: Arc<Operations>,
    pub(crate) machines: Arc<StillMachines>,
}

pub(crate) const PASSWORD: &str = "correct horse";

impl World {
    /// An empty data folder.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine: Arc<dyn Engine> =
            Arc::new(Redb::open(&folder.path().join("inventory.redb")).unwrap());
        let machines = Arc::new(StillMachines::default());
        let operations = open(folder.path(), Arc::clone(&engine), &machines);
        Self {
            folder,
            engine,
            operations,
            machines,
        }
    }

    /// With vCenter `vc01` of this version, its provider `kp1` backed up, and a datastore.
    pub(crate) fn with_vcenter(version: &str) -> Self {
        let world = Self::empty();
        world.add_vcenter("vc01", version);
        world
    }

    pub(crate) fn add_vcenter(&self, vcenter: &str, version: &str) {
        let ops = &self.operations;
        ops.create_vcenter(CreateVCenter {
            name: name(vcenter),
            version: version.parse().unwrap(),
        })
        .unwrap();
        ops.create_provider(CreateProvider::native(
            name("kp1"),
            Some(name(vcenter)),
            false,
        ))
        .unwrap();
        ops.back_up_provider(Some(&name(vcenter)), &name("kp1"), PASSWORD)
            .unwrap();
        ops.create_datastore(name(&format!("ds-{vcenter}")), vec![name(vcenter)])
            .unwrap();
    }

    /// The same folder, as the next daemon finds it after this one was killed.
    pub(crate) fn reopen(mut self) -> Self {
        self.machines.kill();
        self.machines = Arc::new(StillMachines::default());
        // The locks of datastores belong to a process; this one has to let go first.
        let folder = self.folder.path().to_path_buf();
        let engine = Arc::clone(&self.engine);
        drop(self.operations);
        self.operations = open(&folder, engine, &self.machines);
        self
    }

    /// Runs `work` on operations whose database dies at transaction number `lives`, then reopens. Says whether it died.
    pub(crate) fn killed_at(
        self,
        lives: usize,
        last_one_counts: bool,
        work: impl FnOnce(&Arc<Operations>) -> Result<Job>,
    ) -> (Self, bool) {
        let Self {
            folder,
            engine,
            operations,
            machines,
        } = self;
        drop(operations);
        // Opening takes transactions of its own, which are not what is tested.
        let mortal = Arc::new(Mortal {
            inner: Arc::clone(&engine),
            left: AtomicUsize::new(usize::MAX),
            last_one_counts,
        });
        let dying: Arc<dyn Engine> = Arc::<Mortal>::clone(&mortal);
        let operations = open(folder.path(), dying, &machines);
        mortal.left.store(lives, Ordering::SeqCst);
        if let Ok(job) = work(&operations) {
            let _ended = job.run();
        }
        let died = mortal.left.load(Ordering::SeqCst) == 0;
        let world = Self {
            folder,
            engine,
            operations,
            machines,
        };
        (world.reopen(), died)
    }

    pub(crate) fn create(&self, vm: &str) -> Task {
        done(self.operations.create_vm(CreateVm {
            tpm: true,
            ..CreateVm::named(name(vm))
        }))
    }

    pub(crate) fn clone_vm(
        &self,
        source: &str,
        target: &str,
        tpm: Option<TpmProvisioning>,
    ) -> Task {
        done(
            self.operations
                .clone_vm(source, &clone_request(target, tpm)),
        )
    }

    /// The seed of a VM's TPM, as its file has it.
    pub(crate) fn seed(&self, vm: &str) -> Vec<u8> {
        let contents = self.operations.contents_for_tests(vm);
        contents.get(SectionKind::TPM_PERMANENT).unwrap()[..16].to_vec()
    }

    /// Every file below the datastores, with its bytes; locks aside.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.folder.path().join("datastores"), &mut files);
        files
    }

    /// The files of one VM.
    pub(crate) fn files_of(&self, vm: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = self.files();
        files.retain(|path, _| path.parent().and_then(Path::file_name) == Some(vm.as_ref()));
        files
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A folder counts even if it is empty: nothing may be left of a VM.
            files.insert(path.clone(), Vec::new());
            collect(&path, files);
        } else if path.extension() != Some("lock".as_ref())
            && path.file_name() != Some(".lock".as_ref())
        {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
}

fn open(folder: &Path, engine: Arc<dyn Engine>, machines: &Arc<StillMachines>) -> Arc<Operations> {
    let machines: Arc<dyn Machines> = Arc::<StillMachines>::clone(machines);
    Operations::open(
        folder,
        Inventory::open(engine).unwrap(),
        Arc::new(ByteMaker),
        machines,
    )
    .unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn clone_request(target: &str, tpm: Option<TpmProvisioning>) -> CloneVm {
    CloneVm {
        name: name(target),
        tpm,
        vcenter: None,
        datastore: None,
        snapshot: None,
    }
}

/// Runs a job that must succeed.
pub(crate) fn done(job: Result<Job>) -> Task {
    let task = job.unwrap().run();
    assert_eq!(task.status, TaskStatus::Success, "{:?}", task.error);
    task
}

/// Runs a job that must fail, and says why.
pub(crate) fn failed(job: Result<Job>) -> String {
    let task = job.unwrap().run();
    assert_eq!(task.status, TaskStatus::Error);
    task.error.unwrap().detail
}
