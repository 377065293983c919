//! Looking at files offline: damage is found and named, the older state is rescued when told to.

use super::*;
use crate::{
    NewSnapshot, OpenOptions, SnapshotId, StoreError,
    offline::{Place, Severity, examine, use_older_slot},
};

const FOLDER: &str = "/data/datastore/vm";
const NVRAM: &str = "/data/datastore/vm/vm.nvram";
const VMX: &str = "/data/datastore/vm/vm.vmx";

/// A VM at generation 3 with a snapshot; gives the name of the snapshot's file.
fn settled() -> (SimulatedBackend, Ring, String) {
    let (backend, ring) = simulated();
    let mut vm = create(&backend, &ring, "vm", &contents(1, 100));
    let id = SnapshotId::random().unwrap();
    let snapshot = NewSnapshot {
        id,
        parent: None,
        created: 5,
        name: "s".to_owned(),
        description: String::new(),
    };
    vm.take_snapshot(snapshot, &contents(1, 100), 1).unwrap();
    vm.save(&contents(2, 100)).unwrap();
    vm.save(&contents(3, 100)).unwrap();
    drop(vm);
    (backend, ring, format!("snapshot-{id}.vmsn"))
}

fn damaged(backend: &SimulatedBackend, ring: Option<&Ring>) -> Vec<(String, String)> {
    let place = Place::find(backend, Path::new(FOLDER)).unwrap();
    let found = examine(&place, ring.map(|ring| ring as _)).unwrap();
    assert_eq!(
        found.authenticated,
        ring.is_some() && found.without_key.is_none()
    );
    found
        .findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Damage)
        .map(|finding| (finding.file, finding.text))
        .collect()
}

#[test]
fn whole_files_are_described_with_and_without_the_key() {
    let (backend, ring, snapshot) = settled();
    for ring in [None, Some(&ring)] {
        for path in [FOLDER, VMX] {
            let place = Place::find(&backend, Path::new(path)).unwrap();
            let found = examine(&place, ring.map(|ring| ring as _)).unwrap();
            assert!(!found.is_damaged(), "{:?}", found.findings);
            assert_eq!(found.authenticated, ring.is_some());
            assert_eq!(found.name.as_deref(), Some("vm"));
            let nvram = found.nvram.unwrap();
            assert_eq!(nvram.generation, Some(3));
            let slots: Vec<_> = nvram
                .slots
                .iter()
                .map(|slot| (slot.generation, slot.current))
                .collect();
            assert_eq!(slots, [(Some(3), true), (Some(2), false)]);
            let sections: Vec<_> = nvram
                .sections
                .iter()
                .map(|section| (section.kind, section.length))
                .collect();
            assert_eq!(sections, [(1, 100), (3, 8)]);
            assert_eq!(found.tpm.unwrap().provider, "kp1");
            assert_eq!(found.snapshots.len(), 1);
            assert_eq!(found.snapshots[0].file, snapshot);
            assert_eq!(found.snapshots[0].generation, 1);
        }
    }
}

#[test]
fn a_changed_byte_is_named_with_its_file() {
    let (backend, ring, snapshot) = settled();
    let snapshot = format!("{FOLDER}/{snapshot}");
    // Generation 3 stands in slot 0.
    for (path, at) in [(NVRAM, 4096 + 100), (NVRAM, 20), (&*snapshot, 110)] {
        let good = backend.read(Path::new(path)).unwrap();
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        backend.overwrite(Path::new(path), &bytes);
        let found = damaged(&backend, Some(&ring));
        assert_eq!(found.len(), 1, "{path} {at}: {found:?}");
        assert!(path.ends_with(&found[0].0), "{found:?}");
        assert_eq!(backend.read(Path::new(path)).unwrap(), bytes, "changed");
        backend.overwrite(Path::new(path), &good);
    }
    // Without the key: a snapshot by its checksum, another VM's file by its ids, a cut file by its length.
    let good = backend.read(Path::new(&snapshot)).unwrap();
    let mut bytes = good.clone();
    bytes[150] ^= 1;
    backend.overwrite(Path::new(&snapshot), &bytes);
    assert_eq!(damaged(&backend, None).len(), 1);
    backend.overwrite(Path::new(&snapshot), &good);
    let good = backend.read(Path::new(NVRAM)).unwrap();
    backend.overwrite(Path::new(NVRAM), &good[..good.len() - 1]);
    assert!(damaged(&backend, None)[0].1.contains("bytes instead of"));
    let mut bytes = good.clone();
    bytes[17] ^= 1;
    backend.overwrite(Path::new(NVRAM), &bytes);
    assert!(damaged(&backend, None)[0].1.contains("another VM"));
    // A sector that is not where it says: seen without the key too.
    let mut bytes = good;
    bytes[4096 + 19] ^= 1;
    backend.overwrite(Path::new(NVRAM), &bytes);
    assert_eq!(damaged(&backend, None).len(), 1);
}

#[test]
fn an_authenticated_setting_that_was_changed_is_damage() {
    let (backend, ring, _) = settled();
    let text = String::from_utf8(backend.read(Path::new(VMX)).unwrap()).unwrap();
    let changed = text.replace(
        "vtpm.provisioning = \"new\"",
        "vtpm.provisioning = \"copy\"",
    );
    assert_ne!(changed, text);
    backend.overwrite(Path::new(VMX), changed.as_bytes());
    assert_eq!(damaged(&backend, Some(&ring))[0].0, "vm.vmx");
    assert_eq!(damaged(&backend, None), []);
}

#[test]
fn the_older_state_is_rescued_only_when_told_to_and_the_damaged_file_is_kept() {
    let (backend, ring, _) = settled();
    let place = Place::find(&backend, Path::new(FOLDER)).unwrap();
    let whole = backend.read(Path::new(NVRAM)).unwrap();
    let done = use_older_slot(&backend, &place, &ring).unwrap();
    assert_eq!((done.generation, done.kept), (3, None));
    assert_eq!(backend.read(Path::new(NVRAM)).unwrap(), whole);

    let mut bytes = whole;
    bytes[4096 + 100] ^= 1;
    backend.overwrite(Path::new(NVRAM), &bytes);
    let store = datastore(&backend);
    assert!(store.open("vm", &ring, &OpenOptions::default()).is_err());
    let done = use_older_slot(&backend, &place, &ring).unwrap();
    let kept = done.kept.unwrap();
    assert_eq!((done.generation, &*kept), (2, "vm.damaged-1.nvram"));
    let kept_path = Path::new(FOLDER).join(&kept);
    assert_eq!(backend.read(&kept_path).unwrap(), bytes);
    assert_eq!(damaged(&backend, Some(&ring)), []);
    let (vm, found) = store.open("vm", &ring, &OpenOptions::default()).unwrap();
    assert_eq!((vm.generation(), found), (2, contents(2, 100)));
    // It is a rollback, and whoever kept account sees one.
    drop(vm);
    let options = OpenOptions {
        minimum_generation: Some(3),
        ..OpenOptions::default()
    };
    assert!(matches!(
        store.open("vm", &ring, &options),
        Err(StoreError::RolledBack { found: 2, .. })
    ));
    store.delete("vm").unwrap();
    assert!(backend.read(&kept_path).is_none());
}

#[test]
fn a_rescue_survives_every_power_cut() {
    let prepared = || {
        let (backend, ring, _) = settled();
        let (vm, _) = datastore(&backend)
            .open("vm", &ring, &OpenOptions::default())
            .unwrap();
        // The floor is that of the state which is lost.
        vm.close().unwrap();
        let mut bytes = backend.read(Path::new(NVRAM)).unwrap();
        bytes[4096 + 100] ^= 1;
        backend.overwrite(Path::new(NVRAM), &bytes);
        (backend, ring)
    };
    for cut in 1.. {
        let (backend, ring) = prepared();
        backend.cut_power_at(backend.operations() + cut);
        let place = Place::find(&backend, Path::new(FOLDER)).unwrap();
        let done = use_older_slot(&backend, &place, &ring);
        let after = backend.reboot(cut);
        let place = Place::find(&after, Path::new(FOLDER)).unwrap();
        let again = use_older_slot(&after, &place, &ring).unwrap();
        assert_eq!(again.generation, 2, "cut {cut}");
        let (_, found) = datastore(&after)
            .open("vm", &ring, &OpenOptions::default())
            .unwrap();
        assert_eq!(found, contents(2, 100), "cut {cut}");
        if done.is_ok() {
            assert!(cut > 10);
            return;
        }
    }
}

#[test]
fn nothing_is_repaired_under_a_daemon_or_an_open_vm() {
    let (backend, ring, _) = settled();
    let place = Place::find(&backend, Path::new(FOLDER)).unwrap();
    let daemon = FolderDatastore::claim(&backend, Path::new(DATASTORE)).unwrap();
    let error = use_older_slot(&backend, &place, &ring).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(daemon);
    let vm = datastore(&backend)
        .open("vm", &ring, &OpenOptions::default())
        .unwrap();
    assert!(matches!(place.hold(), Err(StoreError::Locked { .. })));
    let error = use_older_slot(&backend, &place, &ring).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(vm);
    assert!(place.hold().is_ok());
}

#[test]
fn what_is_no_vm_is_said_so() {
    let (backend, _, _) = settled();
    for path in [DATASTORE, "/data/providers/kp1.provider.json", "/nowhere"] {
        let error = Place::find(&backend, Path::new(path)).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}
