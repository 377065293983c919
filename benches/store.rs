//! What it costs to store a TPM's state durably: one save beside a bare `pwrite` and `fdatasync` and beside what swtpm does, and many
//! VMs at once beside what the disk can do.
//!
//! usage: `cargo bench --bench store [-- [--threads LIST] [FOLDER]]`; FOLDER lies on the disk to be measured, the target folder unless
//! said. LIST are the numbers of committer threads to be tried, with commas between: 8,16,32 unless said; the daemon has 16. All contenders
//! take turns, so that what else the machine does befalls all of them.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vm_store::key_provider::{Flavour, ProviderFolder};
use vm_store::{
    Committer, Contents, Datastore as _, FolderDatastore, KeyProvider as _, LinuxBackend, NewVm,
    SharedVmFile, VmFile,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of one update.
const UPDATE: usize = 4096;
/// What swtpm keeps of a TPM in use.
const SWTPM_STATE: usize = 5000;
const SINGLE_ROUNDS: usize = 400;
const VMS: usize = 64;
const COMMITTER_THREADS: &str = "8,16,32";
const LOAD_ROUNDS: usize = 5;
const LOAD: Duration = Duration::from_millis(800);

fn main() -> Outcome<()> {
    let mut folder = parent(&std::env::current_exe()?);
    let mut threads = COMMITTER_THREADS.to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => threads = arguments.next().ok_or("--threads needs a list")?,
            // Cargo says it.
            "--bench" => {}
            other if other.starts_with('-') => Err(format!("there is no option {other}"))?,
            path => folder = path.into(),
        }
    }
    let threads: Vec<usize> = threads
        .split(',')
        .map(|number| match number.parse() {
            Ok(number @ 1..=256) => Ok(number),
            _ => Err(format!("--threads: {number} is no number from 1 to 256")),
        })
        .collect::<Result<_, _>>()?;
    let scratch = tempfile::Builder::new()
        .prefix("bench-store-")
        .tempdir_in(folder)?;
    let store = Store::new(scratch.path())?;
    single(&store, scratch.path())?;
    many(&store, scratch.path(), &threads)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}

struct Store {
    datastore: FolderDatastore,
    provider: vm_store::key_provider::NativeKeyProvider,
}

impl Store {
    fn new(folder: &Path) -> Outcome<Self> {
        let providers = ProviderFolder::open(&LinuxBackend, &folder.join("providers"))?;
        Ok(Self {
            datastore: FolderDatastore::open(&LinuxBackend, &folder.join("datastore"))?,
            provider: providers.create("bench", Flavour::Local)?,
        })
    }

    fn vm(&self, name: &str) -> Outcome<VmFile> {
        let key = self.provider.new_key()?;
        let vm = NewVm::new(name)?;
        Ok(self
            .datastore
            .create(&vm, &contents(0), &self.provider, &key)?)
    }
}

fn contents(number: u64) -> Contents {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(UPDATE, 0x5a);
    Contents::of_tpm(bytes)
}

/// One update after the other.
fn single(store: &Store, folder: &Path) -> Outcome<()> {
    let bare = preallocated(&folder.join("bare"))?;
    let mut vm = store.vm("single")?;
    let block = [0xa5; UPDATE];
    let mut bares = Vec::new();
    let mut saves = Vec::new();
    let mut renames = Vec::new();
    for round in 0..SINGLE_ROUNDS {
        let slot = u64::try_from(round % 2 * UPDATE)?;
        bares.push(timed(|| {
            bare.write_all_at(&block, slot)?;
            Ok(bare.sync_data()?)
        })?);
        let state = contents(u64::try_from(round)?);
        saves.push(timed(|| {
            vm.save(&state)?;
            Ok(())
        })?);
        renames.push(timed(|| rewrite_as_swtpm(folder))?);
    }
    println!("one update of {UPDATE} bytes, median of {SINGLE_ROUNDS} in turns");
    let bare = median(bares);
    let save = median(saves);
    let rename = median(renames);
    println!("  bare pwrite + fdatasync        {bare:8.1} µs");
    println!(
        "  a VM's state, sealed, durable  {save:8.1} µs   {:.2} of bare",
        save / bare
    );
    println!(
        "  swtpm's rewrite, not durable   {rename:8.1} µs   {:.2} of bare",
        rename / bare
    );
    Ok(())
}

/// 64 VMs at once.
fn many(store: &Store, folder: &Path, committers: &[usize]) -> Outcome<()> {
    let vms: Vec<SharedVmFile> = (0..VMS)
        .map(|number| Ok(Arc::new(Mutex::new(store.vm(&format!("vm{number}"))?))))
        .collect::<Outcome<_>>()?;
    let files: Vec<File> = (0..VMS)
        .map(|number| preallocated(&folder.join(format!("bare{number}"))))
        .collect::<Outcome<_>>()?;
    let mut bare = Vec::new();
    let mut committed = vec![Vec::new(); committers.len()];
    let mut renamed = Vec::new();
    for _ in 0..LOAD_ROUNDS {
        bare.push(rate(VMS, |number, turn| {
            let file = files.get(number).ok_or("no file")?;
            let slot = turn % 2 * u64::try_from(UPDATE)?;
            file.write_all_at(&[0xa5; UPDATE], slot)?;
            Ok(file.sync_data()?)
        }));
        for (threads, rates) in committers.iter().zip(&mut committed) {
            let committer = Committer::start(*threads)?;
            rates.push(rate(VMS, |number, turn| {
                let vm = vms.get(number).ok_or("no VM")?;
                committer.save(vm, contents(turn))?;
                Ok(())
            }));
        }
        let folders: Vec<PathBuf> = (0..VMS)
            .map(|number| folder.join(format!("swtpm{number}")))
            .collect();
        for folder in &folders {
            fs::create_dir_all(folder)?;
        }
        renamed.push(rate(VMS, |number, _| {
            rewrite_as_swtpm(folders.get(number).ok_or("no folder")?)
        }));
    }
    println!("\n{VMS} VMs at once, updates a second, median of {LOAD_ROUNDS} rounds in turns");
    let bare = median(bare);
    println!("  {VMS} threads, bare pwrite + fdatasync    {bare:8.0}");
    for (threads, rates) in committers.iter().zip(committed) {
        let rate = median(rates);
        println!(
            "  {VMS} VMs, durable, {threads:2} committer threads  {rate:8.0}   {:.2} of bare",
            rate / bare
        );
    }
    println!(
        "  {VMS} threads, swtpm's rewrite, not durable {:6.0}",
        median(renamed)
    );
    Ok(())
}

/// How often a second `update` is done by that many threads, each after its own last.
fn rate(threads: usize, update: impl Fn(usize, u64) -> Outcome<()> + Sync) -> f64 {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..threads {
            let (stop, count, update) = (&stop, &count, &update);
            scope.spawn(move || {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = update(number, turn) {
                        eprintln!("an update failed: {error}");
                        return;
                    }
                    turn += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(LOAD);
        stop.store(true, Ordering::Relaxed);
    });
    let count = u32::try_from(count.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// A file whose blocks are there already, as those of a VM's file.
fn preallocated(path: &Path) -> Outcome<File> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)?;
    file.write_all(&[0; 2 * UPDATE])?;
    file.sync_all()?;
    Ok(file)
}

/// The whole state into a new file, and its name: no sync.
fn rewrite_as_swtpm(folder: &Path) -> Outcome<()> {
    let temporary = folder.join("TMP2-00.permall");
    fs::write(&temporary, [0x33; SWTPM_STATE])?;
    Ok(fs::rename(&temporary, folder.join("tpm2-00.permall"))?)
}

/// Microseconds.
fn timed(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
