//! Storage that fails or loses power under a TPM: nothing acknowledged is lost, nothing half done is kept, and it goes on after.

#![cfg(test)]

mod support;

use std::io::BufRead as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use support::raw::{self, Bytes, NvKind, OWNER, RawTpm, authorized, nv_read, nv_write};
use support::{Process, VTPM, folder, only_for_vtpm, wait_for};
use tpm_server::{Device, SaveFuture, Settings, StateStore, StoreError, Stored};
use vm_store::StateKey;
use vm_store::backend::simulated::SimulatedBackend;
use vtpm_host::{FolderStore, platform};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;
const SUCCESS: u32 = 0;
const INITIALIZE: u32 = 0x100;
const NV_UNAVAILABLE: u32 = 0x923;
/// TPM_RC_AUTH_FAIL at session 1.
const AUTH_FAIL: u32 = 0x98e;

const LOCKOUT: u32 = 0x4000_000a;
const ENDORSEMENT: u32 = 0x4000_000b;
const PLATFORM: u32 = 0x4000_000c;

/// A save, as the store under the TPM saw it.
struct Save {
    /// How many changes the disk had had when it began.
    begun: u64,
    state: Stored,
}

/// The store that `vtpm swtpm` uses, on a simulated disk, with a note of every save.
struct Noted {
    store: FolderStore,
    backend: SimulatedBackend,
    saves: Arc<Mutex<Vec<Save>>>,
}

impl StateStore for Noted {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        self.store.load()
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        self.saves.lock().unwrap().push(Save {
            begun: self.backend.operations(),
            state: state.clone(),
        });
        self.store.save(state)
    }

    fn release(&mut self) {
        self.store.release();
    }
}

fn store(backend: &SimulatedBackend) -> FolderStore {
    let path = PathBuf::from("/state");
    FolderStore::on(Arc::new(backend.clone()), path, StateKey::Beside)
}

/// A TPM on a simulated disk.
struct World {
    backend: SimulatedBackend,
    saves: Arc<Mutex<Vec<Save>>>,
    device: Device,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        Self::on(SimulatedBackend::new())
    }

    fn on(backend: SimulatedBackend) -> Self {
        let saves = Arc::default();
        let noted = Noted {
            store: store(&backend),
            backend: backend.clone(),
            saves: Arc::clone(&saves),
        };
        let settings = Settings {
            profile: None,
            platform: platform::real(),
            auto_shutdown: false,
            incoming: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        Self {
            backend,
            saves,
            device: Device::new(Box::new(noted), settings),
            runtime,
        }
    }

    fn power_on(&self) {
        self.runtime.block_on(self.device.power_on()).unwrap();
    }

    /// The response code.
    fn send(&self, command: &[u8]) -> u32 {
        let mut response = Vec::new();
        let executed = self.device.execute(command, None, &mut response);
        self.runtime.block_on(executed);
        raw::Response(response).code()
    }

    fn saves(&self) -> usize {
        self.saves.lock().unwrap().len()
    }

    /// The state of the latest save.
    fn latest(&self) -> Stored {
        self.saves.lock().unwrap().last().unwrap().state.clone()
    }

    fn perform(&self, step: &Step) -> u32 {
        match step {
            Step::PowerCycle => {
                self.power_on();
                SUCCESS
            }
            Step::Command(command, _) => self.send(command),
        }
    }
}

/// One thing that happens to a TPM, and the answer that it must get.
enum Step {
    Command(Vec<u8>, u32),
    PowerCycle,
}

fn good(command: Vec<u8>) -> Step {
    Step::Command(command, SUCCESS)
}

fn nv_kind(index: u32, kind: u32, more: u32, size: u16) -> Vec<u8> {
    // Read and written by the owner and with the index's own password; wrong passwords count only where `more` says so.
    let attributes = 0x0006_0006 | kind << 4 | more;
    let public = Bytes::new().u32(index).u16(0x000b).u32(attributes);
    let public = public.sized(b"").u16(size);
    let parameters = Bytes::new().sized(b"pw").sized(&public.0);
    authorized(raw::NV_DEFINE_SPACE, &[OWNER], &[b""], &parameters)
}

const NO_DA: u32 = 1 << 25;
const WRITE_STCLEAR: u32 = 1 << 14;
const READ_STCLEAR: u32 = 1 << 31;

fn by_owner(code: u32, parameters: Bytes) -> Vec<u8> {
    authorized(code, &[OWNER], &[b""], &parameters)
}

fn on_index(code: u32, index: u32, parameters: Bytes) -> Vec<u8> {
    authorized(code, &[index, index], &[b"pw"], &parameters)
}

fn change_auth(hierarchy: u32, old: &[u8], new: &[u8]) -> Vec<u8> {
    authorized(0x129, &[hierarchy], &[old], &Bytes::new().sized(new))
}

/// An ECC P-256 storage key under the owner.
fn create_primary() -> Vec<u8> {
    let public = Bytes::new().u16(0x0023).u16(0x000b).u32(0x0003_0472);
    let public = public.sized(b"").u16(6).u16(128).u16(0x43);
    let public = public.u16(0x10).u16(3).u16(0x10).sized(b"").sized(b"");
    let parameters = Bytes::new().sized(&[0; 4]).sized(&public.0);
    let parameters = parameters.sized(b"").u32(0);
    by_owner(raw::CREATE_PRIMARY, parameters)
}

fn evict(object: u32, persistent: u32) -> Vec<u8> {
    let parameters = Bytes::new().u32(persistent);
    authorized(0x120, &[OWNER, object], &[b""], &parameters)
}

/// One round of everything that has a non-volatile effect and leaves room for the next round.
fn round(number: u8) -> Vec<Step> {
    let index = |n: u32| 0x0150_0000 + u32::from(number) * 16 + n;
    let persistent = 0x8100_0000 + u32::from(number);
    let text = [number; 32];
    let bits = Bytes::new().raw(&(1u64 << number).to_be_bytes());
    let auth = [b'a' + number];
    let policy = |digest: &[u8]| {
        let parameters = Bytes::new().sized(digest);
        let algorithm = if digest.is_empty() { 0x10 } else { 0x0b };
        authorized(0x12e, &[ENDORSEMENT], &[b""], &parameters.u16(algorithm))
    };
    let audit = |on: bool| {
        let (set, clear) = if on { (1, 0) } else { (0, 1) };
        let list = |body: Bytes, count| match count {
            1 => body.u32(1).u32(0x17b),
            _ => body.u32(0),
        };
        by_owner(0x140, list(list(Bytes::new().u16(0x10), set), clear))
    };
    let mut steps = vec![
        good(nv_kind(
            index(0),
            0,
            NO_DA | WRITE_STCLEAR | READ_STCLEAR,
            32,
        )),
        good(nv_write(index(0), b"pw", &text)),
        good(nv_kind(index(1), 1, NO_DA, 8)),
        good(raw::nv_increment(index(1), b"pw")),
        good(raw::nv_increment(index(1), b"pw")),
        good(nv_kind(index(2), 2, NO_DA, 8)),
        good(on_index(0x135, index(2), bits)),
        good(nv_kind(index(3), 4, NO_DA, 32)),
        good(on_index(0x136, index(3), Bytes::new().sized(b"more"))),
        good(on_index(0x138, index(0), Bytes::new())),
        good(on_index(0x14f, index(0), Bytes::new())),
        good(raw::nv_define(index(4), NvKind::Ordinary, 700, b"pw")),
        good(nv_write(index(4), b"pw", &[number; 700])),
        good(create_primary()),
        good(evict(0x8000_0000, persistent)),
        good(raw::command(0x165, &Bytes::new().u32(0x8000_0000))),
        good(change_auth(ENDORSEMENT, b"", &auth)),
        good(change_auth(ENDORSEMENT, &auth, b"")),
        good(policy(&[number; 32])),
        good(policy(b"")),
        good(audit(true)),
        good(audit(false)),
        good(authorized(
            0x13a,
            &[LOCKOUT],
            &[b""],
            &Bytes::new().u32(32).u32(600 + u32::from(number)).u32(1000),
        )),
        // A password that is wrong where that counts.
        good(nv_kind(index(5), 0, 0, 8)),
        Step::Command(nv_write(index(5), b"wrong", b"x"), AUTH_FAIL),
        Step::Command(nv_write(index(5), b"wrong", b"x"), AUTH_FAIL),
        good(authorized(0x139, &[LOCKOUT], &[b""], &Bytes::new())),
        good(authorized(0x127, &[PLATFORM], &[b""], &Bytes::new().u8(1))),
        good(authorized(0x127, &[PLATFORM], &[b""], &Bytes::new().u8(0))),
        good(raw::nv_undefine(index(4))),
        good(raw::nv_undefine(index(3))),
    ];
    if number.is_multiple_of(2) {
        // With and without an orderly end.
        let kind = u16::from(number.is_multiple_of(4));
        steps.push(good(raw::command(0x145, &Bytes::new().u16(kind))));
    }
    steps.extend([
        Step::PowerCycle,
        good(raw::startup()),
        good(evict(persistent, persistent)),
    ]);
    steps
}

/// More than 200 commands with a non-volatile effect.
fn script() -> Vec<Step> {
    let mut steps = vec![Step::PowerCycle, good(raw::startup())];
    steps.extend((1..=7).flat_map(round));
    // All or nothing: new seeds, and everything of the owner gone.
    steps.push(good(authorized(0x124, &[PLATFORM], &[b""], &Bytes::new())));
    steps.push(good(authorized(0x126, &[LOCKOUT], &[b""], &Bytes::new())));
    steps
}

#[test]
fn a_power_cut_at_any_write_or_sync_of_200_commands_leaves_the_state_before_or_after() {
    let world = World::new();
    world.backend.record_power_cuts();
    let mut effective = 0;
    // For each step: the changes that the disk had had at its end, and the saves that were acknowledged by then.
    let mut answered = Vec::new();
    for (number, step) in script().iter().enumerate() {
        let before = world.saves();
        let code = world.perform(step);
        if let Step::Command(command, expected) = step {
            assert_eq!(
                code, *expected,
                "step {number}: {code:#x} to {command:02x?}"
            );
            effective += u32::from(world.saves() > before);
        }
        answered.push((world.backend.operations(), world.saves()));
    }
    assert!(
        effective >= 200,
        "only {effective} commands stored anything"
    );
    let saves = world.saves.lock().unwrap();
    let cuts = world.backend.take_power_cuts();
    assert!(cuts.len() > 450, "only {} power cuts", cuts.len());
    let mut outcomes = [0_u32; 2];
    let mut torn = 0;
    for (number, (change, disk)) in cuts.iter().enumerate() {
        let acknowledged = answered
            .iter()
            .take_while(|(last, _)| last < change)
            .map(|(_, saves)| *saves)
            .last()
            .unwrap_or(0);
        let asked = saves.iter().filter(|save| save.begun < *change).count();
        for seed in 0..7 {
            let place = format!("cut {number} (change {change}), seed {seed}");
            // Any part of what was not synced may have arrived, or all of it, or one sector of it half.
            let disk = match seed {
                0..3 => disk.reboot(seed * 10_000 + change),
                3 => disk.restart_process(),
                _ => match disk.reboot_torn(seed * 13 + change) {
                    Some(disk) => {
                        torn += 1;
                        disk
                    }
                    // Nothing was being written.
                    None => continue,
                },
            };
            let found = store(&disk)
                .load()
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            match found {
                None => assert_eq!(acknowledged, 0, "{place}: the TPM is gone"),
                Some(found) => {
                    let first = acknowledged.saturating_sub(1);
                    let at = (first..asked).find(|at| saves[*at].state == found);
                    let at = at.unwrap_or_else(|| panic!("{place}: neither before nor after"));
                    outcomes[usize::from(at + 1 > acknowledged)] += 1;
                }
            }
            // Now and then: the TPM comes up from it and stores anew.
            if (number + usize::try_from(seed).unwrap()) % 7 == 0 {
                let again = World::on(disk);
                again.power_on();
                assert_eq!(again.send(&raw::startup()), SUCCESS, "{place}");
                let define = raw::nv_define(0x0180_0000, NvKind::Counter, 8, b"");
                assert_eq!(again.send(&define), SUCCESS, "{place}");
            }
        }
    }
    assert!(
        outcomes.iter().all(|count| *count > 100),
        "before, after: {outcomes:?}"
    );
    assert!(torn > 300, "only {torn} sectors were torn");
}

#[test]
fn storage_that_fails_at_any_command_takes_it_back_and_goes_on_when_it_is_mended() {
    let faults: [fn(&SimulatedBackend, bool); 4] = [
        |disk, on| disk.fail_writes(on.then_some(ENOSPC)),
        |disk, on| disk.fail_writes(on.then_some(EROFS)),
        |disk, on| disk.fail_writes(on.then_some(EIO)),
        |disk, on| disk.fail_syncs(on.then_some(EIO)),
    ];
    for fault in faults {
        let world = World::new();
        world.power_on();
        assert_eq!(world.send(&raw::startup()), SUCCESS);
        let mut refused = 0;
        for step in round(1).iter().chain(&round(2)) {
            let Step::Command(command, expected) = step else {
                world.power_on();
                continue;
            };
            let kept = world.latest();
            fault(&world.backend, true);
            let code = world.send(command);
            if code == NV_UNAVAILABLE {
                refused += 1;
                // As often as one likes, and what needs no storage is served.
                assert_eq!(world.send(command), NV_UNAVAILABLE, "{command:02x?}");
                // A TPM whose Startup was refused waits for it.
                let served = match *command == raw::startup() {
                    true => INITIALIZE,
                    false => SUCCESS,
                };
                assert_eq!(world.send(&raw::get_random(8)), served);
                // What a reader of the disk finds is what was there before, or whole what was asked for.
                let found = store(&world.backend.restart_process())
                    .load()
                    .unwrap()
                    .unwrap();
                let saves = world.saves.lock().unwrap();
                let asked = saves.iter().rev().take(2).any(|save| save.state == found);
                assert!(found == kept || asked, "{command:02x?}");
                drop(saves);
                fault(&world.backend, false);
                let code = world.send(command);
                assert_eq!(code, *expected, "{code:#x} to {command:02x?}");
            } else {
                // It needed no storage.
                assert_eq!(code, *expected, "{code:#x} to {command:02x?}");
                assert_eq!(
                    world.latest(),
                    kept,
                    "answered without being stored: {command:02x?}"
                );
                fault(&world.backend, false);
            }
            let found = store(&world.backend.reboot(7)).load().unwrap().unwrap();
            assert_eq!(found, world.latest(), "after {command:02x?}");
        }
        assert!(refused >= 50, "only {refused} commands needed storage");
    }
}

/// A server whose log is read line by line.
struct LoudServer {
    process: Process,
    lines: mpsc::Receiver<String>,
    socket: PathBuf,
}

impl LoudServer {
    fn start(home: &Path) -> Self {
        let socket = home.join("tpm");
        let _ = std::fs::remove_file(&socket);
        let mut process = Process::start(
            Command::new(VTPM)
                .args([
                    "swtpm",
                    "socket",
                    "--tpm2",
                    "--flags",
                    "not-need-init,startup-clear",
                ])
                .arg("--tpmstate")
                .arg(format!("dir={}", home.join("state").display()))
                .arg("--server")
                .arg(format!("type=unixio,path={}", socket.display()))
                .stdin(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let errors = process.stderr();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        wait_for("the socket", || UnixStream::connect(&socket).ok());
        Self {
            process,
            lines,
            socket,
        }
    }

    fn connect(&self) -> RawTpm<UnixStream> {
        RawTpm::connect_unix(&self.socket)
    }

    /// How large a file may become that the server writes, from now on.
    fn limit_files(&self, limit: Option<u64>) {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        let limits = Rlimit {
            current: limit.or(getrlimit(Resource::Fsize).current),
            maximum: getrlimit(Resource::Fsize).maximum,
        };
        prlimit(Some(id), Resource::Fsize, limits).expect("the limit of a process of our own");
    }
}

/// The one fault of a file system that every user can make without help of others: files that may not be written.
#[test]
fn a_server_that_cannot_write_says_so_once_refuses_what_needs_it_and_goes_on() {
    if only_for_vtpm("it answers before anything is stored") {
        return;
    }
    const INDEX: u32 = 0x0150_0300;
    let home = folder();
    let server = LoudServer::start(home.path());
    let mut tpm = server.connect();
    tpm.ok(&raw::nv_define(INDEX, NvKind::Ordinary, 16, b"x"));
    tpm.ok(&nv_write(INDEX, b"x", &[1; 16]));
    server.limit_files(Some(0));
    for _ in 0..20 {
        assert_eq!(
            tpm.execute(&nv_write(INDEX, b"x", &[2; 16])).code(),
            NV_UNAVAILABLE
        );
        // The old value, not the one that was taken back.
        assert_eq!(tpm.ok(&nv_read(INDEX, b"x", 16)).first_buffer(), [1; 16]);
        assert_eq!(tpm.ok(&raw::get_random(8)).first_buffer().len(), 8);
    }
    server.limit_files(None);
    tpm.ok(&nv_write(INDEX, b"x", &[3; 16]));
    // Larger than the file has room for, so that a new one is written, which fails the same way.
    server.limit_files(Some(32 << 10));
    let large = |n: u32| raw::nv_define(INDEX + n, NvKind::Ordinary, 2048, b"x");
    let fill = |n: u32| nv_write(INDEX + n, b"x", &[7; 1024]);
    let mut written = Vec::new();
    let mut stopped = false;
    for n in 1..30 {
        let code = tpm.execute(&large(n)).code();
        stopped = code == NV_UNAVAILABLE;
        if stopped {
            break;
        }
        assert_eq!(code, SUCCESS);
        if tpm.execute(&fill(n)).code() == SUCCESS {
            written.push(n);
        }
    }
    assert!(stopped, "the files never had to grow");
    server.limit_files(None);
    tpm.ok(&large(30));
    tpm.ok(&fill(30));
    written.push(30);
    drop(tpm);

    // What was answered is there after a kill, the value that was taken back is not.
    let LoudServer {
        mut process, lines, ..
    } = server;
    process.kill();
    let told: Vec<String> = lines.iter().collect();
    let failures: Vec<&String> = told
        .iter()
        .filter(|line| line.contains("nothing can be stored"))
        .collect();
    assert_eq!(failures.len(), 2, "once for each time: {told:#?}");
    for line in failures {
        assert!(
            line.contains("tpm.nvram") && line.contains("ulimit -f"),
            "{line}"
        );
    }
    assert_eq!(
        told.iter()
            .filter(|line| line.contains("can be stored again"))
            .count(),
        2,
        "{told:#?}"
    );
    let server = LoudServer::start(home.path());
    let mut tpm = server.connect();
    assert_eq!(tpm.ok(&nv_read(INDEX, b"x", 16)).first_buffer(), [3; 16]);
    for n in written {
        assert_eq!(
            tpm.ok(&nv_read(INDEX + n, b"x", 1024)).first_buffer(),
            [7; 1024]
        );
    }
}
