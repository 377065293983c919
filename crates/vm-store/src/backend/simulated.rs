//! A disk in memory that loses power where a test says so (feature `testing`).
//!
//! What was not synced survives a power cut in part: of each file any set of 512-byte sectors in any of the versions
//! written since the last sync, of each folder any number of its changes, oldest first. A sector is old or new; `reboot_torn` makes
//! one a mixture.
//!
//! One file although long: disk, folders and files share the lock and mean nothing apart.

use super::{Backend, BackendFile, Device, Folder, FolderEntry, NotRegular};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SECTOR: usize = 512;
const ROOT: u64 = 0;

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct SimulatedBackend {
    disk: Arc<Mutex<Disk>>,
}

impl Default for SimulatedBackend {
    fn default() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Folder(FolderNode::default()))]);
        Self {
            disk: Arc::new(Mutex::new(Disk {
                nodes,
                next: ROOT + 1,
                ..Disk::default()
            })),
        }
    }
}

impl SimulatedBackend {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changes (writes, syncs, changes of names) were asked for so far.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Loses power in the middle of the change with this number (the first is 1).
    pub fn cut_power_at(&self, operation: u64) {
        self.disk().cut_at = Some(operation);
    }

    /// From now on keeps the disk as it is in the middle of each change, as if the power went there: what `cut_power_at` does
    /// in a run of its own for each change, this does for all of them in one run.
    pub fn record_power_cuts(&self) {
        self.disk().cuts = Some(Vec::new());
    }

    /// The disks of all power cuts since the recording began, with the numbers of the changes; `reboot` shows what is left.
    pub fn take_power_cuts(&self) -> Vec<(u64, Self)> {
        let mut disk = self.disk();
        let (cuts, next) = (disk.cuts.take().unwrap_or_default(), disk.next);
        drop(disk);
        let disk = |(operation, nodes)| {
            let disk = Disk {
                nodes,
                next,
                ..Disk::default()
            };
            let disk = Arc::new(Mutex::new(disk));
            (operation, Self { disk })
        };
        cuts.into_iter().map(disk).collect()
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.disk().dead
    }

    /// From now on writes fail with this error of the operating system (28: no space, 5: I/O error), or succeed.
    pub fn fail_writes(&self, errno: Option<i32>) {
        self.disk().fail_writes = errno;
    }

    /// From now on syncs of files fail with this error of the operating system, or succeed.
    pub fn fail_syncs(&self, errno: Option<i32>) {
        self.disk().fail_syncs = errno;
    }

    /// From now on syncs of folders fail with this error of the operating system, or succeed.
    pub fn fail_folder_syncs(&self, errno: Option<i32>) {
        self.disk().fail_folder_syncs = errno;
    }

    /// The disk as it is found after the power came back. The seed chooses what of the unsynced data survived.
    pub fn reboot(&self, seed: u64) -> Self {
        let disk = self.disk();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let nodes = disk
            .nodes
            .iter()
            .map(|(number, node)| (*number, node.after_power_cut(&mut random)))
            .collect();
        Self {
            disk: Arc::new(Mutex::new(Disk {
                nodes,
                next: disk.next,
                ..Disk::default()
            })),
        }
    }

    /// The same, on a disk that tears sectors: of one file that was being written, one sector is new up to some byte, or from there on, and
    /// as it was before in the rest; every second seed, all others of that file are new. `None` if nothing was being written.
    pub fn reboot_torn(&self, seed: u64) -> Option<Self> {
        let torn = self.disk().nodes.iter().find_map(|(number, node)| {
            let Node::File(file) = node else {
                return None;
            };
            let count = u64::try_from(file.pending.len()).ok()?;
            let at = usize::try_from(seed.checked_rem(count)?).ok()?;
            let written = file.pending.get(at)?;
            let offset = written.sector * SECTOR;
            let mut before = file.durable.get(offset..).unwrap_or_default().to_vec();
            before.resize(written.bytes.len(), 0);
            let middle = 8 * (1 + usize::try_from(seed / 4 % 63).ok()?);
            let old = before.split_at_checked(middle)?;
            let new = written.bytes.split_at_checked(middle)?;
            let bytes = match seed % 2 {
                0 => [new.0, old.1].concat(),
                _ => [old.0, new.1].concat(),
            };
            Some((*number, file.live.clone(), offset, bytes))
        });
        let (number, live, offset, bytes) = torn?;
        let after = self.reboot(seed);
        if let Some(Node::File(file)) = after.disk().nodes.get_mut(&number) {
            if (seed / 2).is_multiple_of(2) {
                file.live = live;
            }
            put(&mut file.live, offset, &bytes);
            file.durable = file.live.clone();
        }
        Some(after)
    }

    /// What a process that was killed leaves: everything written, locks gone.
    pub fn restart_process(&self) -> Self {
        let disk = self.disk();
        Self {
            disk: Arc::new(Mutex::new(Disk {
                nodes: disk.nodes.clone(),
                next: disk.next,
                ..Disk::default()
            })),
        }
    }

    /// The bytes of a file as a running process sees them.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        let number = disk.walk(path)?;
        match disk.nodes.get(&number) {
            Some(Node::File(file)) => Some(file.live.clone()),
            _ => None,
        }
    }

    /// Puts bytes into a file, durably, behind the back of whoever uses it.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.disk();
        if let Some(number) = disk.walk(path)
            && let Some(Node::File(file)) = disk.nodes.get_mut(&number)
        {
            *file = FileNode {
                durable: bytes.to_vec(),
                live: bytes.to_vec(),
                pending: Vec::new(),
            };
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, number: u64, path: PathBuf) -> Arc<dyn Folder> {
        Arc::new(SimulatedFolder {
            backend: self.clone(),
            number,
            path,
        })
    }
}

impl fmt::Debug for SimulatedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedBackend")
    }
}

impl Backend for SimulatedBackend {
    fn open_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        let disk = self.disk();
        disk.alive()?;
        let number = disk.walk(path).ok_or(io::ErrorKind::NotFound)?;
        disk.folder(number)?;
        drop(disk);
        Ok(self.folder(number, path.to_path_buf()))
    }

    fn ensure_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        let mut at = self.folder(ROOT, PathBuf::from("/"));
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                at = match at.open_folder(name) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let made = at.create_folder(name)?;
                        at.sync()?;
                        made
                    }
                    other => other?,
                };
            }
        }
        Ok(at)
    }
}

#[derive(Default)]
struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    locked: BTreeSet<u64>,
    operations: u64,
    cut_at: Option<u64>,
    dead: bool,
    fail_writes: Option<i32>,
    fail_syncs: Option<i32>,
    fail_folder_syncs: Option<i32>,
    cuts: Option<Vec<(u64, BTreeMap<u64, Node>)>>,
}

#[derive(Clone)]
enum Node {
    File(FileNode),
    Folder(FolderNode),
}

#[derive(Clone, Default)]
struct FileNode {
    durable: Vec<u8>,
    live: Vec<u8>,
    /// Sectors written since the last sync.
    pending: Vec<Written>,
}

/// A sector that was written.
#[derive(Clone)]
struct Written {
    sector: usize,
    /// What it had then.
    bytes: Vec<u8>,
    /// It came as far as the device: any sync brings it to stable storage.
    at_device: bool,
}

impl FileNode {
    /// The device writes out what it has, when another file is synced.
    fn flush(&mut self) {
        let durable = &mut self.durable;
        self.pending.retain(|written| {
            if written.at_device {
                put(durable, written.sector * SECTOR, &written.bytes);
            }
            !written.at_device
        });
    }

    fn write(&mut self, bytes: &[u8], offset: usize, at_device: bool) {
        put(&mut self.live, offset, bytes);
        let end = offset.saturating_add(bytes.len());
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let last = self.live.len().min((sector + 1) * SECTOR);
            if let Some(now) = self.live.get(sector * SECTOR..last) {
                let bytes = now.to_vec();
                self.pending.push(Written {
                    sector,
                    bytes,
                    at_device,
                });
            }
        }
    }
}

#[derive(Clone, Default)]
struct FolderNode {
    durable: BTreeMap<String, u64>,
    live: BTreeMap<String, u64>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Add(String, u64),
    Remove(String),
    Rename(String, String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Add(name, number) => {
                names.insert(name.clone(), *number);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
        }
    }
}

impl Node {
    fn after_power_cut(&self, random: &mut u64) -> Self {
        match self {
            Self::Folder(folder) => {
                let mut names = folder.durable.clone();
                let kept = below(random, folder.pending.len() + 1);
                for change in folder.pending.iter().take(kept) {
                    change.apply(&mut names);
                }
                Self::Folder(FolderNode {
                    durable: names.clone(),
                    live: names,
                    pending: Vec::new(),
                })
            }
            Self::File(file) => {
                let mut versions: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
                for written in &file.pending {
                    let versions = versions.entry(written.sector).or_default();
                    versions.push(&written.bytes);
                }
                let mut bytes = file.durable.clone();
                for (sector, versions) in versions {
                    let choice = below(random, versions.len() + 1);
                    if let Some(version) = choice.checked_sub(1).and_then(|at| versions.get(at)) {
                        put(&mut bytes, sector * SECTOR, version);
                    }
                }
                Self::File(FileNode {
                    durable: bytes.clone(),
                    live: bytes,
                    pending: Vec::new(),
                })
            }
        }
    }
}

impl Disk {
    fn alive(&self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the simulated power is off"));
        }
        Ok(())
    }

    /// Counts a change; true if the power goes in the middle of it.
    fn change(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.operations += 1;
        self.dead = self.cut_at.is_some_and(|cut| self.operations >= cut);
        Ok(self.dead)
    }

    /// Keeps the disk as a power cut in the present change leaves it.
    fn record_cut(&mut self) {
        if let Some(cuts) = &mut self.cuts {
            cuts.push((self.operations, self.nodes.clone()));
        }
    }

    fn walk(&self, path: &Path) -> Option<u64> {
        let mut at = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                at = *self.folder(at).ok()?.live.get(name.to_str()?)?;
            }
        }
        Some(at)
    }

    fn folder(&self, number: u64) -> io::Result<&FolderNode> {
        match self.nodes.get(&number) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn folder_mut(&mut self, number: u64) -> io::Result<&mut FolderNode> {
        match self.nodes.get_mut(&number) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, number: u64) -> io::Result<&FileNode> {
        match self.nodes.get(&number) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(NotRegular("a folder").into()),
        }
    }

    fn file_mut(&mut self, number: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(NotRegular("a folder").into()),
        }
    }

    fn rename_in(&mut self, folder: u64, change: Change) -> io::Result<()> {
        let cut = self.change()?;
        let folder = self.folder_mut(folder)?;
        change.apply(&mut folder.live);
        folder.pending.push(change);
        self.record_cut();
        if cut {
            return self.alive();
        }
        Ok(())
    }

    fn add(&mut self, folder: u64, name: &str, node: Node) -> io::Result<u64> {
        if self.folder(folder)?.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        self.rename_in(folder, Change::Add(name.to_owned(), number))?;
        Ok(number)
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        let failure = match self.nodes.get(&number) {
            Some(Node::Folder(_)) => self.fail_folder_syncs,
            _ => self.fail_syncs,
        };
        if let Some(errno) = failure {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let cut = self.change()?;
        self.record_cut();
        if cut {
            return self.alive();
        }
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => {
                file.durable = file.live.clone();
                file.pending.clear();
                for node in self.nodes.values_mut() {
                    if let Node::File(other) = node {
                        other.flush();
                    }
                }
            }
            Some(Node::Folder(folder)) => {
                folder.durable = folder.live.clone();
                folder.pending.clear();
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFolder {
    backend: SimulatedBackend,
    number: u64,
    path: PathBuf,
}

impl SimulatedFolder {
    fn lookup(&self, name: &str) -> io::Result<u64> {
        let disk = self.backend.disk();
        disk.alive()?;
        let folder = disk.folder(self.number)?;
        Ok(*folder.live.get(name).ok_or(io::ErrorKind::NotFound)?)
    }
}

impl Folder for SimulatedFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        let node = Node::File(FileNode::default());
        let number = self.backend.disk().add(self.number, name, node)?;
        Ok(Box::new(SimulatedFile::new(&self.backend, number)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        let number = self.lookup(name)?;
        self.backend.disk().file(number)?;
        Ok(Box::new(SimulatedFile::new(&self.backend, number)))
    }

    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        self.open(name)
    }

    fn create_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>> {
        let node = Node::Folder(FolderNode::default());
        let number = self.backend.disk().add(self.number, name, node)?;
        Ok(self.backend.folder(number, self.path.join(name)))
    }

    fn open_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>> {
        let number = self.lookup(name)?;
        self.backend.disk().folder(number)?;
        Ok(self.backend.folder(number, self.path.join(name)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lookup(from)?;
        let change = Change::Rename(from.to_owned(), to.to_owned());
        self.backend.disk().rename_in(self.number, change)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match self.lookup(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(from, to),
            Err(error) => Err(error),
        }
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.lookup(name)?;
        let change = Change::Remove(name.to_owned());
        self.backend.disk().rename_in(self.number, change)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        let number = self.lookup(name)?;
        if !self.backend.disk().folder(number)?.live.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.remove_file(name)
    }

    fn entries(&self) -> io::Result<Vec<FolderEntry>> {
        let disk = self.backend.disk();
        disk.alive()?;
        let names = disk.folder(self.number)?.live.iter();
        Ok(names
            .map(|(name, number)| FolderEntry {
                name: name.clone(),
                is_folder: matches!(disk.nodes.get(number), Some(Node::Folder(_))),
            })
            .collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.backend.disk().sync(self.number)
    }
}

#[derive(Debug)]
struct SimulatedFile {
    backend: SimulatedBackend,
    number: u64,
    has_lock: Mutex<bool>,
}

impl SimulatedFile {
    fn new(backend: &SimulatedBackend, number: u64) -> Self {
        Self {
            backend: backend.clone(),
            number,
            has_lock: Mutex::new(false),
        }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if *self.has_lock.lock().unwrap_or_else(PoisonError::into_inner) {
            self.backend.disk().locked.remove(&self.number);
        }
    }
}

impl SimulatedFile {
    fn write(&self, bytes: &[u8], offset: u64, at_device: bool) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let mut disk = self.backend.disk();
        if let Some(errno) = disk.fail_writes {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let cut = disk.change()?;
        disk.file_mut(self.number)?.write(bytes, offset, at_device);
        disk.record_cut();
        if cut {
            return disk.alive();
        }
        Ok(())
    }
}

impl BackendFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        let disk = self.backend.disk();
        disk.alive()?;
        u64::try_from(disk.file(self.number)?.live.len()).map_err(io::Error::other)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.backend.disk();
        disk.alive()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset.saturating_add(buffer.len());
        let bytes = disk.file(self.number)?.live.get(offset..end);
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(bytes, offset, false)
    }

    fn write_to_device(&self, bytes: &[u8], offset: u64) -> io::Result<Option<Device>> {
        self.write(bytes, offset, true)?;
        Ok(Some(Device(0)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.disk().sync(self.number)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut disk = self.backend.disk();
        disk.alive()?;
        let mut has_lock = self.has_lock.lock().unwrap_or_else(PoisonError::into_inner);
        *has_lock = *has_lock || disk.locked.insert(self.number);
        Ok(*has_lock)
    }
}

/// Writes into a vector, which grows as a file does.
fn put(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if target.len() < end {
        target.resize(end, 0);
    }
    if let Some(place) = target.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

fn below(random: &mut u64, bound: usize) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let bound = u64::try_from(bound.max(1)).unwrap_or(1);
    usize::try_from(*random % bound).unwrap_or(0)
}
