//! Nothing that is secret stands in the state folder: not raw, not as hexadecimal digits, not as base64. Nor is it left in the memory
//! of the daemon once a VM is off, and that memory is nobody else's to read, to dump or to swap.

#![cfg(test)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use support::{
    Client, Daemon, Process, Protocol, TpmServer, VTPM, files_below, folder, only_for_vtpm,
    wait_for,
};
use vm_store::key_provider::ProviderFolder;
use vm_store::{
    Datastore as _, FolderDatastore, KeyProvider, LinuxBackend, OpenOptions, SectionKind,
};

/// Recognisable, and long enough that no encoding of it comes about by chance.
const SECRETS: &[&str] = &[
    "sealed-Zaubertrank-4711",
    "password-Kaninchen-0815",
    "ownerauth-Regenbogen-42",
    "nv-Geheimnis-im-Index-7",
    "nvauth-Fledermaus-12345",
];

/// Every form in which someone might look for the bytes.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    forms.push(hex::encode(secret).into_bytes());
    forms.push(hex::encode_upper(secret).into_bytes());
    forms.push(secret.iter().rev().copied().collect());
    // In base64 a secret looks different at each of three positions; the ends depend on the neighbours.
    for position in 0..3_usize {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let mut padded = vec![0; position];
            padded.extend(secret);
            let text = engine.encode(padded).into_bytes();
            let inner = &text[(position * 8).div_ceil(6)..text.len() - 2];
            forms.push(inner.to_vec());
        }
    }
    // UTF-16, as some formats keep text.
    forms.push(secret.iter().flat_map(|&byte| [byte, 0]).collect());
    forms
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn assert_no_secret_in(folder: &Path, secrets: &[Vec<u8>]) {
    let files = files_below(folder);
    assert!(
        !files.is_empty(),
        "nothing to search in {}",
        folder.display()
    );
    for file in files {
        let text = fs::read(&file).expect("a readable file");
        for secret in secrets {
            for form in forms(secret) {
                assert!(
                    !contains(&text, &form),
                    "{} contains {:?}",
                    file.display(),
                    String::from_utf8_lossy(secret)
                );
            }
        }
    }
}

fn secrets() -> Vec<Vec<u8>> {
    SECRETS
        .iter()
        .map(|secret| secret.as_bytes().to_vec())
        .collect()
}

/// Puts each secret where a TPM keeps such things.
fn confide(client: &Client) {
    let [sealed, password, owner, content, nv] = SECRETS else {
        unreachable!("five secrets");
    };
    client.sh(&format!(
        "tpm2_createprimary -C o -G ecc -c primary.ctx
         printf '{sealed}' > secret
         tpm2_create -C primary.ctx -i secret -p '{password}' -u seal.pub -r seal.priv
         tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
         tpm2_evictcontrol -C o -c seal.ctx 0x81000010
         tpm2_nvdefine 0x1500011 -C o -s {} -p '{nv}' -a 'authread|authwrite'
         printf '{content}' | tpm2_nvwrite 0x1500011 -C 0x1500011 -P '{nv}' -i -
         tpm2_changeauth -c o '{owner}'
         rm secret seal.pub seal.priv seal.ctx primary.ctx",
        content.len()
    ));
}

/// They are still there, and still not in the files.
fn recall(client: &Client) {
    let [sealed, password, _, content, nv] = SECRETS else {
        unreachable!("five secrets");
    };
    let opened = client.sh(&format!("tpm2_unseal -c 0x81000010 -p '{password}'"));
    assert_eq!(&opened, sealed);
    let read = client.sh(&format!("tpm2_nvread 0x1500011 -C 0x1500011 -P '{nv}'"));
    assert_eq!(&read, content);
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let secret = SECRETS[0].as_bytes();
    for prefix in ["", "a", "ab"] {
        let text =
            base64::engine::general_purpose::STANDARD.encode(format!("{prefix}{}xyz", SECRETS[0]));
        assert!(
            forms(secret)
                .iter()
                .any(|form| contains(text.as_bytes(), form))
        );
    }
    assert!(
        forms(secret)
            .iter()
            .any(|form| contains(hex::encode(secret).as_bytes(), form))
    );
}

#[test]
fn the_state_folder_of_a_server_holds_no_secret() {
    if only_for_vtpm("it keeps its state in the clear unless told otherwise") {
        return;
    }
    for protocol in [Protocol::Swtpm, Protocol::Mssim] {
        let home = folder();
        let work = folder();
        let mut server = TpmServer::start(protocol, home.path());
        let client = Client::new(server.tcti(), work.path());
        confide(&client);
        assert_no_secret_in(&server.state(), &secrets());
        server.restart();
        recall(&client);
        assert_no_secret_in(&server.state(), &secrets());
        // Nor do the logs tell.
        assert_no_secret_in(home.path(), &secrets());
    }
}

#[test]
fn the_data_folder_of_the_daemon_holds_no_secret() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let home = folder();
    let work = folder();
    let data = home.path().join("data");
    let mut daemon = Daemon::start(&data);
    let client = daemon.client("demo", work.path());
    confide(&client);
    recall(&client);
    assert_no_secret_in(&data, &secrets());
    daemon.stop();
    // All of it, the daemon's output included, but for the password of the backup, which it prints once.
    assert_no_secret_in(home.path(), &secrets());
}

#[test]
fn files_and_folders_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    if only_for_vtpm("its modes are its own") {
        return;
    }
    let home = folder();
    let data = home.path().join("data");
    let _daemon = Daemon::start(&data);
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        let mode = fs::metadata(&folder)
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", folder.display());
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let entry = entry.expect("an entry");
            let metadata = entry.path().symlink_metadata().expect("metadata");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                let mode = metadata.permissions().mode();
                assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
            }
        }
    }
}

/// Something to look for in memory.
struct Needle {
    what: String,
    bytes: Vec<u8>,
}

impl Needle {
    fn new(what: &str, bytes: &[u8]) -> Self {
        Needle {
            what: what.to_owned(),
            bytes: bytes.to_vec(),
        }
    }
}

/// What of it is in the writable memory of a process; `None` if the system does not let this user look.
fn found_in_memory(process: u32, needles: &[Needle]) -> Option<BTreeSet<String>> {
    const PIECE: usize = 1 << 20;
    let longest = needles.iter().map(|needle| needle.bytes.len()).max();
    let overlap = longest.expect("something to look for");
    let finders: Vec<_> = needles
        .iter()
        .map(|needle| (memchr::memmem::Finder::new(&needle.bytes), &needle.what))
        .collect();
    let memory = match File::open(format!("/proc/{process}/mem")) {
        Ok(memory) => memory,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            return None;
        }
    };
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("the map of memory");
    let mut found = BTreeSet::new();
    let mut searched = 0;
    for map in maps.lines().filter(|line| line.contains(" rw")) {
        let range = map
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let (start, end) = range.expect("a range");
        let address = |digits| u64::from_str_radix(digits, 16).expect("an address");
        let (mut at, end) = (address(start), address(end));
        while at < end {
            let length = usize::try_from(end - at)
                .expect("fits")
                .min(PIECE + overlap);
            let mut piece = vec![0; length];
            let step = u64::try_from(PIECE).expect("fits");
            if memory.read_exact_at(&mut piece, at).is_err() {
                // Memory of a device, or gone meanwhile.
                at += step;
                continue;
            }
            at += step;
            searched += length;
            let here = finders
                .iter()
                .filter(|(finder, _)| finder.find(&piece).is_some());
            // Where: a stack, the heap, or what else is mapped there.
            found.extend(here.map(|(_, what)| format!("{what}, in {map}")));
        }
    }
    assert!(searched > 1 << 20, "only {searched} bytes of memory");
    Some(found)
}

/// Pieces of a TPM's state that look random: seeds, proofs, keys, digests. Nobody has asked this TPM for the few that are public.
fn random_looking(state: &[u8]) -> Vec<Needle> {
    let mut needles = Vec::new();
    let mut at = 0;
    while let Some(piece) = state.get(at..at + 24) {
        let distinct = piece.iter().collect::<BTreeSet<_>>().len();
        if distinct >= 20 {
            needles.push(Needle::new(&format!("the TPM's state at {at}"), piece));
            at += 24;
        } else {
            at += 1;
        }
    }
    needles
}

#[test]
fn memory_holds_no_key_and_no_secret_of_a_vm_that_is_off() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let home = folder();
    let work = folder();
    let data = home.path().join("data");
    let mut daemon = Daemon::start(&data);
    let client = daemon.client("demo", work.path());
    confide(&client);
    recall(&client);

    // The keys, by the way that a restored backup goes: the provider's key opens the VM's, that one its state.
    let providers = ProviderFolder::open(&LinuxBackend, &data.join("providers/vc01")).unwrap();
    let provider = providers.load("vc01-nkp").unwrap();
    let datastore =
        FolderDatastore::open(&LinuxBackend, &data.join("datastores/datastore1")).unwrap();
    let binding = datastore.describe("demo").unwrap().binding.unwrap();
    let key = provider
        .unwrap(&binding.locator.key_id, &binding.wrapped)
        .unwrap();
    let mut needles: Vec<Needle> = SECRETS
        .iter()
        .map(|secret| Needle::new(secret, secret.as_bytes()))
        .collect();
    needles.push(Needle::new("the data key", key.expose()));
    let text = fs::read(data.join("providers/vc01/vc01-nkp.provider.json")).unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let digits = stored["key"].as_str().unwrap();
    needles.push(Needle::new(
        "the provider's key in digits",
        digits.as_bytes(),
    ));
    needles.push(Needle::new(
        "the provider's key",
        &hex::decode(digits).unwrap(),
    ));

    let process = daemon.process().id();
    let Some(while_on) = found_in_memory(process, &needles) else {
        // The daemon forbids this to its own user, which is what it should do: the search takes root with the right to trace.
        eprintln!(
            "not searched: this user may not read the daemon's memory (in a container: --cap-add SYS_PTRACE)"
        );
        return;
    };
    for expected in ["the data key", SECRETS[2], SECRETS[3]] {
        assert!(
            while_on.iter().any(|found| found.starts_with(expected)),
            "the search finds nothing: {while_on:?}"
        );
    }

    daemon.ok(["vm", "stop", "demo"]);
    let ring = std::collections::BTreeMap::from([(
        provider.name().to_owned(),
        std::sync::Arc::new(provider) as std::sync::Arc<dyn KeyProvider>,
    )]);
    let (file, contents) = datastore
        .open("demo", &ring, &OpenOptions::default())
        .unwrap();
    let state = random_looking(contents.get(SectionKind::TPM_PERMANENT).unwrap());
    assert!(state.len() > 10, "seeds and proofs: {}", state.len());
    drop(file);
    needles.extend(state);
    let left = found_in_memory(process, &needles).expect("it could be read before");
    assert!(left.is_empty(), "left in memory: {left:#?}");
}

/// A fact that the kernel tells of a process, such as `VmLck`.
fn status(process: u32, fact: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(fact)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {fact} in {text}"))
        .trim()
        .to_owned()
}

#[test]
fn every_server_forbids_dumps_of_its_memory() {
    if only_for_vtpm("it may be dumped") {
        return;
    }
    let home = folder();
    let data = home.path().join("data");
    let mut daemon = Daemon::start(&data);
    let mut swtpm = TpmServer::start(Protocol::Swtpm, &home.path().join("one"));
    let mut simulator = TpmServer::start(Protocol::Mssim, &home.path().join("two"));
    let may_lock = rustix::process::getrlimit(rustix::process::Resource::Memlock)
        .maximum
        .is_none()
        || rustix::process::setrlimit(
            rustix::process::Resource::Memlock,
            rustix::process::Rlimit {
                current: None,
                maximum: None,
            },
        )
        .is_ok();
    for process in [
        daemon.process().id(),
        swtpm.process().id(),
        simulator.process().id(),
    ] {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("its limits");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let core: Vec<&str> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "{core:?}");
        let locked = status(process, "VmLck");
        assert_eq!(locked == "0 kB", !may_lock, "{locked}");
    }
    if !may_lock {
        assert!(
            daemon.output().contains("may be swapped"),
            "{}",
            daemon.output()
        );
    }
}

/// What a process forbids to other processes of its user shows in the owner of its files in /proc: root, not that user.
#[test]
fn no_other_process_of_its_user_reads_the_memory_of_a_server() {
    use std::os::unix::process::CommandExt as _;
    if only_for_vtpm("it may be read") {
        return;
    }
    const NOBODY: u32 = 65534;
    let home = folder();
    let socket = home.path().join("tpm");
    let mut command = Command::new(VTPM);
    command
        .args(["swtpm", "socket", "--tpm2", "--flags", "not-need-init"])
        .arg("--tpmstate")
        .arg(format!("dir={}", home.path().join("state").display()))
        .arg("--server")
        .arg(format!("type=unixio,path={}", socket.display()))
        .stdin(Stdio::null());
    let user = if rustix::process::geteuid().is_root() {
        // Root may do anything, so this has to be somebody else; who runs a copy, as the folders above may be closed to him.
        let program = home.path().join("vtpm");
        // By another process: one that another thread is just starting would have our file open for writing, and then nobody can execute it.
        let copied = Command::new("cp").arg(VTPM).arg(&program).status();
        assert!(copied.expect("cp starts").success());
        std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .uid(NOBODY)
            .gid(NOBODY);
        NOBODY
    } else {
        rustix::process::geteuid().as_raw()
    };
    let server = Process::start(&mut command);
    wait_for("the socket", || UnixStream::connect(&socket).ok());
    let facts = fs::metadata(format!("/proc/{}/mem", server.id())).expect("it runs");
    assert_eq!(facts.uid(), 0, "user {user} may read it");
}

#[test]
fn the_daemon_cannot_leave_its_folders() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let home = folder();
    let outside = folder();
    let data = home.path().join("data");
    let mut daemon = Daemon::start(&data);
    let process = daemon.process().id();
    assert_eq!(status(process, "NoNewPrivs"), "1");
    assert_eq!(status(process, "Seccomp"), "2", "a filter of system calls");

    // A way out of the data folder, as somebody could lay it who may write there.
    fs::remove_dir_all(data.join("backups")).expect("the backups of the first run");
    std::os::unix::fs::symlink(outside.path(), data.join("backups")).expect("a link");
    let is_allowed = |daemon: &Daemon| {
        let mut command = daemon.command(["provider", "backup", "vc01-nkp"]);
        command.env("VTPM_BACKUP_PASSWORD", "correct horse battery staple");
        let output = command.output().expect("vtpm starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (allowed, said) = is_allowed(&daemon);
    assert!(!allowed && said.contains("ermission denied"), "{said}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    // The same without the sandbox, and with that folder in it.
    let allow = outside.path().to_str().expect("UTF-8");
    for options in [vec!["--no-sandbox"], vec!["--allow", allow]] {
        daemon.stop();
        daemon.start_again_with(&options);
        let (allowed, said) = is_allowed(&daemon);
        assert!(allowed, "{options:?}: {said}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
}
