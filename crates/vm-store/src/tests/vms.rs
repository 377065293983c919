//! The life of VMs: create, open, copy, edit, add and remove a TPM, delete, locks, the committer.

use super::*;
use crate::{Committer, Identity, LinuxBackend, OpenOptions, StoreError, TpmProvisioning};
use std::{
    fs,
    process::{Command, Stdio},
    sync::{Mutex, mpsc},
};

struct Real {
    scratch: tempfile::TempDir,
    ring: Ring,
    store: FolderDatastore,
}

fn real() -> Real {
    let scratch = tempfile::tempdir().unwrap();
    let folder = ProviderFolder::open(&LinuxBackend, &scratch.path().join("providers")).unwrap();
    let provider = folder.create("kp1", Flavour::Native).unwrap();
    provider.mark_backed_up().unwrap();
    let store = FolderDatastore::open(&LinuxBackend, &scratch.path().join("ds")).unwrap();
    Real {
        scratch,
        ring: ring(provider),
        store,
    }
}

impl Real {
    fn create(&self, name: &str, contents: &Contents) -> VmFile {
        let (provider, key_id) = the_key(&self.ring);
        let vm = NewVm::new(name).unwrap();
        self.store
            .create(&vm, contents, &*provider, &key_id)
            .unwrap()
    }

    fn open(&self, name: &str) -> Result<(VmFile, Contents), StoreError> {
        self.store.open(name, &self.ring, &OpenOptions::default())
    }
}

#[test]
fn a_vm_lives_through_saves_growth_and_reopening() {
    let real = real();
    let mut file = real.create("web01", &contents(0, 100));
    assert_eq!(file.generation(), 1);
    for (number, size) in (1..).zip([200, 3000, 100_000, 10, 400_000, 10]) {
        assert_eq!(file.save(&contents(number, size)).unwrap(), number + 1);
        drop(file);
        let found;
        (file, found) = real.open("web01").unwrap();
        assert_eq!(found, contents(number, size));
        assert_eq!(file.generation(), number + 1);
        assert_eq!(file.report(), crate::OpenReport::default());
    }
    assert_eq!(real.store.list().unwrap(), ["web01"]);
}

#[test]
fn a_young_tpm_costs_one_write_of_at_most_8_kib() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(0, 4000));
    let before = backend.operations();
    file.save(&contents(1, 6900)).unwrap();
    // One write, one sync.
    assert_eq!(backend.operations() - before, 2);
    let sectors = crate::format::sectors_for(contents(1, 6900).record_length()).unwrap();
    assert!(sectors * 512 <= 8192, "{sectors}");
}

#[test]
fn a_copy_has_everything_but_ids_and_keys() {
    let real = real();
    let mut source = real.create("a", &contents(7, 500));
    source.edit(&[("guestOS", Some("windows9-64"))]).unwrap();
    let settings = source.settings().clone();
    let from = source.binding().clone();
    source.close().unwrap();
    let vm = NewVm::like("b", &settings)
        .unwrap()
        .provisioned_by(TpmProvisioning::Copy);
    let copy = real
        .store
        .copy("a", &vm, &real.ring, &OpenOptions::default())
        .unwrap();
    let to = copy.binding().clone();
    assert_ne!(to.identity.vm_id, from.identity.vm_id);
    assert_ne!(to.identity.instance_id, from.identity.instance_id);
    assert_eq!(
        (to.locator, to.provisioning),
        (from.locator, TpmProvisioning::Copy)
    );
    assert_ne!(to.wrapped, from.wrapped);
    assert_eq!(copy.settings().get("guestOS"), Some("windows9-64"));
    assert_eq!(copy.settings().get("displayName"), Some("b"));
    drop(copy);
    let (_, a) = real.open("a").unwrap();
    let (_, b) = real.open("b").unwrap();
    assert_eq!(a, b);
    // Other record keys: the same contents do not look alike anywhere.
    let bytes =
        |name: &str| fs::read(real.scratch.path().join(format!("ds/{name}/{name}.nvram"))).unwrap();
    let (a, b) = (bytes("a"), bytes("b"));
    let pieces: std::collections::BTreeSet<&[u8]> = a[4096..].chunks(16).collect();
    let shared = b[4096..]
        .chunks(16)
        .filter(|piece| {
            pieces.contains(piece) && piece.iter().filter(|byte| **byte != 0).count() > 8
        })
        .count();
    assert_eq!(shared, 0);
}

#[test]
fn names_that_break_a_rule_are_refused_with_the_rule() {
    let real = real();
    for name in ["", "..", "../x", "a/b", "a\0b", ".hidden", &"x".repeat(300)] {
        let error = real
            .store
            .create_plain(&NewVm::new(name).unwrap())
            .unwrap_err();
        assert!(matches!(error, StoreError::InvalidName { .. }), "{error}");
        assert!(real.open(name).is_err());
        assert!(real.store.delete(name).is_err());
    }
    real.store
        .create_plain(&NewVm::new("仮想 VM").unwrap())
        .unwrap();
    assert_eq!(real.store.list().unwrap(), ["仮想 VM"]);
}

#[test]
fn the_longest_names_live_through_everything() {
    let real = real();
    for name in ["x".repeat(80), "ü".repeat(80), "仮".repeat(66)] {
        let mut file = real.create(&name, &contents(1, 100));
        file.save(&contents(2, 200_000)).unwrap();
        file.close().unwrap();
        let (file, found) = real.open(&name).unwrap();
        assert_eq!(found, contents(2, 200_000));
        let file = file.revert(&contents(3, 10), uuid::Uuid::from_u128(1));
        file.unwrap().close().unwrap();
        real.store.remove_tpm(&name).unwrap();
        real.store.delete(&name).unwrap();
    }
}

#[test]
fn a_name_is_taken_once_and_nothing_is_left_of_the_second_try() {
    let real = real();
    let file = real.create("a", &contents(1, 100));
    let (provider, key_id) = the_key(&real.ring);
    let error = real
        .store
        .create(
            &NewVm::new("a").unwrap(),
            &contents(2, 100),
            &*provider,
            &key_id,
        )
        .unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    drop(file);
    assert_eq!(real.open("a").unwrap().1, contents(1, 100));
    assert_eq!(
        fs::read_dir(real.scratch.path().join("ds"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn an_open_vm_is_locked_for_everybody_else() {
    let real = real();
    let file = real.create("a", &contents(1, 100));
    let second = FolderDatastore::open(&LinuxBackend, &real.scratch.path().join("ds")).unwrap();
    let is_locked = |result: Result<(), StoreError>| match result {
        Err(error @ StoreError::Locked { .. }) => {
            assert!(error.to_string().contains("another process"))
        }
        other => panic!("{other:?}"),
    };
    is_locked(
        second
            .open("a", &real.ring, &OpenOptions::default())
            .map(drop),
    );
    is_locked(second.delete("a").map(drop));
    is_locked(second.edit("a", &[("x", Some("y"))]));
    is_locked(second.remove_tpm("a"));
    // Reading what it is needs no lock.
    assert!(second.describe("a").unwrap().tpm().is_some());
    drop(file);
    assert!(
        second
            .open("a", &real.ring, &OpenOptions::default())
            .is_ok()
    );
}

#[test]
fn the_lock_holds_against_another_process() {
    let real = real();
    let file = real.create("a", &contents(1, 100));
    let lock = real.scratch.path().join("ds/a/vm.lock");
    let try_lock = || {
        Command::new("flock")
            .arg("--nonblock")
            .arg(&lock)
            .arg("true")
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(!try_lock());
    drop(file);
    assert!(try_lock());
    // And the other way round.
    let mut other = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sh", "-c", "echo locked; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = other.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert!(matches!(real.open("a"), Err(StoreError::Locked { .. })));
    drop(other.stdin.take());
    other.wait().unwrap();
    assert!(real.open("a").is_ok());
}

#[test]
fn a_claimed_datastore_is_refused_to_a_second_daemon_and_swept() {
    let real = real();
    let path = real.scratch.path().join("ds");
    fs::create_dir(path.join(".new-1")).unwrap();
    fs::write(path.join(".new-1/x.nvram"), b"half").unwrap();
    let claimed = FolderDatastore::claim(&LinuxBackend, &path).unwrap();
    assert!(claimed.is_claimed());
    assert!(!path.join(".new-1").exists());
    let error = FolderDatastore::claim(&LinuxBackend, &path).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(claimed);
    assert!(FolderDatastore::claim(&LinuxBackend, &path).is_ok());
}

#[test]
fn ordinary_settings_are_edited_and_others_edits_kept() {
    let real = real();
    let mut file = real.create("a", &contents(1, 100));
    let path = real.scratch.path().join("ds/a/a.vmx");
    let mut text = fs::read_to_string(&path).unwrap();
    text.insert_str(0, "# by hand\nmine.key = \"kept\"\n");
    fs::write(&path, &text).unwrap();
    file.edit(&[("displayName", Some("A \"B\"")), ("firmware", None)])
        .unwrap();
    for key in [
        "uuid.bios",
        "NVRAM",
        "encryption.data",
        "vtpm.generation",
        "vtpm.authentication",
    ] {
        let error = file.edit(&[(key, Some("x"))]).unwrap_err();
        assert!(matches!(error, StoreError::Setting { .. }), "{error}");
    }
    assert!(file.edit(&[("bad key", Some("x"))]).is_err());
    drop(file);
    let after = fs::read_to_string(&path).unwrap();
    assert!(after.starts_with("# by hand\nmine.key = \"kept\"\n"));
    real.store.edit("a", &[("memsize", Some("2048"))]).unwrap();
    let (file, _) = real.open("a").unwrap();
    assert_eq!(file.settings().get("displayName"), Some("A \"B\""));
    assert_eq!(file.settings().get("memsize"), Some("2048"));
    assert_eq!(file.settings().get("firmware"), None);
}

#[test]
fn a_tpm_is_added_removed_and_added_anew() {
    let real = real();
    let (provider, key_id) = the_key(&real.ring);
    let vm = NewVm::new("a").unwrap().with("memsize", "1024").unwrap();
    real.store.create_plain(&vm).unwrap();
    assert!(matches!(real.open("a"), Err(StoreError::NoTpm { .. })));
    let add = |n| {
        real.store.add_tpm(
            "a",
            TpmProvisioning::New,
            &contents(n, 50),
            &*provider,
            &key_id,
        )
    };
    let file = add(1).unwrap();
    assert_eq!(file.identity(), vm.identity);
    drop(file);
    assert!(matches!(add(2), Err(StoreError::HasTpm { .. })));
    real.store.remove_tpm("a").unwrap();
    assert!(matches!(
        real.store.remove_tpm("a"),
        Err(StoreError::NoTpm { .. })
    ));
    let folder = real.scratch.path().join("ds/a");
    assert!(!folder.join("a.nvram").exists());
    // A file of that name that nobody names is not written over.
    fs::write(folder.join("a.nvram"), b"somebody's").unwrap();
    drop(add(3).unwrap());
    assert_eq!(fs::read(folder.join("a.nvram")).unwrap(), b"somebody's");
    let (file, found) = real.open("a").unwrap();
    assert_eq!(found, contents(3, 50));
    assert_eq!(file.binding().nvram, "a-1.nvram");
    assert_eq!(file.settings().get("memsize"), Some("1024"));
}

#[test]
fn deleting_spares_the_disks() {
    let real = real();
    drop(real.create("a", &contents(1, 100)));
    drop(real.create("b", &contents(1, 100)));
    let disk = real.scratch.path().join("ds/b/disk.qcow2");
    fs::write(&disk, b"data").unwrap();
    assert_eq!(real.store.delete("a").unwrap().left, Vec::<String>::new());
    assert_eq!(real.store.delete("b").unwrap().left, ["disk.qcow2"]);
    assert!(disk.exists());
    assert_eq!(
        fs::read_dir(real.scratch.path().join("ds/b"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(real.store.list().unwrap(), Vec::<String>::new());
    assert!(matches!(
        real.store.delete("a"),
        Err(StoreError::NoSuchVm { .. })
    ));
}

#[test]
fn a_damaged_vm_can_still_be_deleted() {
    let real = real();
    drop(real.create("a", &contents(1, 100)));
    fs::write(real.scratch.path().join("ds/a/a.vmx"), b"\xff\xff").unwrap();
    assert!(real.open("a").is_err());
    real.store.delete("a").unwrap();
    assert!(!real.store.contains("a").unwrap());
}

#[test]
fn links_and_folders_in_place_of_files_are_refused() {
    let real = real();
    drop(real.create("a", &contents(1, 100)));
    let folder = real.scratch.path().join("ds/a");
    for name in ["a.nvram", "a.vmx"] {
        let kept = real.scratch.path().join("kept");
        fs::rename(folder.join(name), &kept).unwrap();
        std::os::unix::fs::symlink(&kept, folder.join(name)).unwrap();
        let error = real.open("a").unwrap_err();
        assert!(matches!(error, StoreError::NotRegular { .. }), "{error}");
        assert!(error.to_string().contains("symbolic link"));
        fs::remove_file(folder.join(name)).unwrap();
        fs::create_dir(folder.join(name)).unwrap();
        assert!(matches!(real.open("a"), Err(StoreError::NotRegular { .. })));
        fs::remove_dir(folder.join(name)).unwrap();
        fs::rename(&kept, folder.join(name)).unwrap();
    }
    assert!(real.open("a").is_ok());
}

#[test]
fn shallow_rekey_keeps_the_state_and_changes_the_wrapping_only() {
    let real = real();
    let mut file = real.create("a", &contents(1, 100));
    let before = file.binding().clone();
    let nvram = || fs::read(real.scratch.path().join("ds/a/a.nvram")).unwrap();
    let bytes = nvram();
    let (provider, key_id) = the_key(&real.ring);
    file.rewrap(&*provider, &key_id).unwrap();
    assert_eq!(file.binding().locator.key_id, key_id);
    assert_ne!(file.binding().wrapped, before.wrapped);
    assert_eq!(nvram(), bytes);
    drop(file);
    assert_eq!(real.open("a").unwrap().1, contents(1, 100));
}

#[test]
fn the_committer_answers_after_the_save_and_in_order() {
    let real = real();
    let committer = Committer::start(3).unwrap();
    let files: Vec<_> = (0..8)
        .map(|n| {
            Arc::new(Mutex::new(
                real.create(&format!("vm{n}"), &contents(0, 100)),
            ))
        })
        .collect();
    let (sender, receiver) = mpsc::channel();
    for number in 1..=20 {
        for (index, file) in files.iter().enumerate() {
            let sender = sender.clone();
            committer.submit(file, contents(number, 300), move |result| {
                sender.send((index, number, result.unwrap())).unwrap();
            });
        }
    }
    drop(sender);
    let mut last = [(0, 0); 8];
    for (index, number, generation) in receiver {
        let (last_number, last_generation) = last[index];
        assert_eq!(number, last_number + 1);
        assert!(generation >= last_generation);
        last[index] = (number, generation);
    }
    assert_eq!(last.map(|(number, _)| number), [20; 8]);
    assert!(committer.save(&files[0], contents(99, 40)).is_ok());
    drop(committer);
    drop(files);
    assert_eq!(real.open("vm0").unwrap().1, contents(99, 40));
    assert_eq!(real.open("vm7").unwrap().1, contents(20, 300));
}

#[test]
fn the_committer_reports_a_failed_save_and_goes_on() {
    let (backend, ring) = simulated();
    let file = Arc::new(Mutex::new(create(&backend, &ring, "vm", &contents(1, 100))));
    let committer = Committer::start(1).unwrap();
    backend.fail_writes(Some(28));
    let error = committer.save(&file, contents(2, 100)).unwrap_err();
    assert!(error.is_out_of_space());
    backend.fail_writes(None);
    assert_eq!(committer.save(&file, contents(3, 100)).unwrap(), 2);
}

#[test]
fn a_vm_in_trouble_is_listed() {
    let real = real();
    drop(real.create("a", &contents(1, 100)));
    let settings = real.scratch.path().join("ds/a/a.vmx");
    fs::remove_file(&settings).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &settings).unwrap();
    let store: &dyn Datastore = &real.store;
    assert_eq!(store.list().unwrap(), ["a"]);
    assert!(matches!(
        store.describe("a"),
        Err(StoreError::NotRegular { .. })
    ));
}

#[test]
fn identities_are_never_equal() {
    let one = Identity::random().unwrap();
    let two = Identity::random().unwrap();
    assert_ne!(one.vm_id, two.vm_id);
    assert_ne!(one.vm_id, one.instance_id);
}
