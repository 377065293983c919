//! Files written by every format version that was ever released: they open for ever.
//!
//! A new fixture is written only when VM_STORE_WRITE_FIXTURE names the folder for it, which must not exist; that of a snapshot when
//! VM_STORE_WRITE_SNAPSHOT_FIXTURE does, one of version 2 when VM_STORE_WRITE_FIXTURE_2 does.

use super::*;
use crate::{
    Datastore, Encryption, LinuxBackend, NewSnapshot, OpenOptions, StoreError, TpmProvisioning,
    nvram::Nvram,
    seal::{self, DataKey},
    snapshots, vm_file,
};
use std::{fs, path::PathBuf};

/// What the fixtures hold, after three saves, of which the last was interrupted.
fn expected() -> Contents {
    let mut contents = contents(2, 600);
    contents.set(SectionKind::TPM_VOLATILE, b"volatile".to_vec());
    contents
}

fn open(folder: &Path) -> Result<(VmFile, Contents), StoreError> {
    let provider = ProviderFolder::open(&LinuxBackend, folder)
        .unwrap()
        .load("kp1")
        .unwrap();
    let store = FolderDatastore::open(&LinuxBackend, folder).unwrap();
    store.open("vm", &ring(provider), &OpenOptions::default())
}

/// The snapshot of the fixture, of a VM that was on.
fn snapshot() -> NewSnapshot {
    NewSnapshot {
        id: "5f1e7a2c-0d3b-4c59-9a54-6d1c52f2a001".parse().unwrap(),
        parent: Some("5f1e7a2c-0d3b-4c59-9a54-6d1c52f2a000".parse().unwrap()),
        created: 1_700_000_000,
        name: "läuft".to_owned(),
        description: "before the\nupdate".to_owned(),
    }
}

/// A copy: opening takes a lock and syncs, and the next save must not touch what is stored.
fn copy_of_v1() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let stored = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/data/v1");
    fs::create_dir(scratch.path().join("vm")).unwrap();
    for name in ["kp1.provider.json", "vm/vm.vmx", "vm/vm.nvram"] {
        fs::copy(stored.join(name), scratch.path().join(name)).unwrap();
    }
    let name = format!("vm/{}", snapshots::file_name(snapshot().id));
    if stored.join(&name).exists() {
        fs::copy(stored.join(&name), scratch.path().join(&name)).unwrap();
    }
    scratch
}

#[test]
fn a_snapshot_of_version_1_opens() {
    let scratch = copy_of_v1();
    let (file, _) = open(scratch.path()).unwrap();
    let (info, found) = file.snapshot(snapshot().id).unwrap();
    assert_eq!(info.snapshot, snapshot());
    assert_eq!((info.generation, info.powered_on), (2, true));
    assert_eq!(info.identity, file.identity());
    assert_eq!(found, expected());
}

#[test]
fn a_fixture_of_a_snapshot_is_written_when_asked_for() {
    let Some(target) = std::env::var_os("VM_STORE_WRITE_SNAPSHOT_FIXTURE") else {
        return;
    };
    let scratch = copy_of_v1();
    let (file, contents) = open(scratch.path()).unwrap();
    file.take_snapshot(snapshot(), &contents, 2).unwrap();
    let name = snapshots::file_name(snapshot().id);
    let written = scratch.path().join("vm").join(&name);
    fs::copy(written, PathBuf::from(target).join(&name)).unwrap();
}

#[test]
fn files_of_version_1_open() {
    let scratch = copy_of_v1();
    let (mut file, found) = open(scratch.path()).unwrap();
    assert_eq!(found, expected());
    assert_eq!(file.generation(), 2);
    assert_eq!(file.report().interrupted, Some(3));
    assert_eq!(file.binding().provisioning, TpmProvisioning::Copy);
    assert_eq!(
        file.settings().get("displayName"),
        Some("A \"fixture\" | one")
    );
    assert_eq!(file.settings().get("unknown.key"), Some("kept"));
    file.save(&contents(9, 5000)).unwrap();
    file.close().unwrap();
    let (file, found) = open(scratch.path()).unwrap();
    assert_eq!((file.generation(), found), (3, contents(9, 5000)));
}

/// Files of version 2: a VM that is encrypted for itself and has no TPM.
#[test]
fn files_of_version_2_open() {
    let scratch = tempfile::tempdir().unwrap();
    let stored = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/data/v2");
    fs::create_dir(scratch.path().join("vm")).unwrap();
    for name in ["kp1.provider.json", "vm/vm.vmx", "vm/vm.nvram"] {
        fs::copy(stored.join(name), scratch.path().join(name)).unwrap();
    }
    let (file, found) = open(scratch.path()).unwrap();
    assert_eq!(file.binding().encryption, Encryption::OfVm { tpm: false });
    assert_eq!(file.settings().get("vtpm.format"), Some("2"));
    assert_eq!(found, Contents::new());
}

/// The provider of a fixture that is being written.
fn new_provider_at(target: &Path) -> Ring {
    fs::create_dir_all(target).unwrap();
    let provider = ProviderFolder::open(&LinuxBackend, target)
        .unwrap()
        .create("kp1", Flavour::Native)
        .unwrap();
    provider.mark_backed_up().unwrap();
    ring(provider)
}

#[test]
fn a_fixture_of_version_2_is_written_when_asked_for() {
    let Some(target) = std::env::var_os("VM_STORE_WRITE_FIXTURE_2") else {
        return;
    };
    let target = PathBuf::from(target);
    let ring = new_provider_at(&target);
    let (provider, key_id) = the_key(&ring);
    let store = FolderDatastore::open(&LinuxBackend, &target).unwrap();
    store.create_plain(&NewVm::new("vm").unwrap()).unwrap();
    store.encrypt("vm", &*provider, &key_id).unwrap();
    let folder = LinuxBackend.open_folder(&target.join("vm")).unwrap();
    folder.remove_file(vm_file::LOCK_NAME).unwrap();
}

#[test]
fn a_fixture_is_written_when_asked_for() {
    let Some(target) = std::env::var_os("VM_STORE_WRITE_FIXTURE") else {
        return;
    };
    let target = PathBuf::from(target);
    let ring = new_provider_at(&target);
    let (provider, key_id) = the_key(&ring);
    let vm = NewVm::new("vm")
        .unwrap()
        .with("unknown.key", "kept")
        .and_then(|vm| vm.with("displayName", "A \"fixture\" | one"))
        .unwrap()
        .provisioned_by(TpmProvisioning::Copy);
    let store = FolderDatastore::open(&LinuxBackend, &target).unwrap();
    let file = store
        .create(&vm, &contents(1, 100), &*provider, &key_id)
        .unwrap();
    let binding = file.binding().clone();
    drop(file);
    // The same VM with the smallest slots: 12 KiB instead of 68.
    let key: DataKey = provider
        .unwrap(&binding.locator.key_id, &binding.wrapped)
        .unwrap();
    let folder = LinuxBackend.open_folder(&target.join("vm")).unwrap();
    folder.remove_file("vm.nvram").unwrap();
    let mut nvram = Nvram::create_smallest(
        &folder,
        "vm.nvram",
        &key,
        &binding.identity,
        &contents(1, 100),
    )
    .unwrap();
    nvram.save(&expected()).unwrap();
    // Of the third save only the second sector arrives.
    let before = fs::read(target.join("vm/vm.nvram")).unwrap();
    nvram.save(&contents(3, 900)).unwrap();
    drop(nvram);
    let mut bytes = before;
    let after = fs::read(target.join("vm/vm.nvram")).unwrap();
    bytes[4608..5120].copy_from_slice(&after[4608..5120]);
    fs::write(target.join("vm/vm.nvram"), bytes).unwrap();
    folder.remove_file(vm_file::LOCK_NAME).unwrap();
    assert_eq!(seal::WRAPPED_KEY_LENGTH, binding.wrapped.as_bytes().len());
}
