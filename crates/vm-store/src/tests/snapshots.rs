//! Snapshots: whole or absent, bound to their VM, and gone back to without a state in between.

use super::*;
use crate::{
    Identity, NewSnapshot, OpenOptions, SnapshotId, SnapshotInfo, StoreError, snapshots as format,
};
use uuid::Uuid;

const FOLDER: &str = "/data/datastore/vm";

fn new(name: &str) -> NewSnapshot {
    NewSnapshot {
        id: SnapshotId::random().unwrap(),
        parent: Some(SnapshotId::random().unwrap()),
        created: 1_700_000_000,
        name: name.to_owned(),
        description: "before the\nüpdate".to_owned(),
    }
}

fn open(backend: &SimulatedBackend, ring: &Ring) -> Result<(VmFile, Contents), StoreError> {
    datastore(backend).open("vm", ring, &OpenOptions::default())
}

fn file(id: SnapshotId) -> std::path::PathBuf {
    Path::new(FOLDER).join(format::file_name(id))
}

#[test]
fn a_snapshot_gives_back_what_was_put_in_and_says_what_it_is() {
    let (backend, ring) = simulated();
    let mut vm = create(&backend, &ring, "vm", &contents(1, 100));
    vm.save(&contents(2, 100)).unwrap();
    let mut running = contents(2, 100);
    running.set(SectionKind::TPM_VOLATILE, b"volatile".to_vec());
    let (off, on) = (new("off"), new("läuft 1"));
    vm.take_snapshot(off.clone(), &contents(2, 100), 1).unwrap();
    let taken = vm.take_snapshot(on.clone(), &running, 2).unwrap();
    assert!(taken.powered_on && taken.generation == 2 && taken.identity == vm.identity());
    vm.save(&contents(3, 5000)).unwrap();
    vm.close().unwrap();
    let (vm, found) = open(&backend, &ring).unwrap();
    assert_eq!(found, contents(3, 5000));
    let (info, found) = vm.snapshot(on.id).unwrap();
    assert_eq!((&info, found), (&taken, running));
    assert_eq!(info.snapshot, on);
    let (info, found) = vm.snapshot(off.id).unwrap();
    assert!(!info.powered_on);
    assert_eq!((info.snapshot, found), (off.clone(), contents(2, 100)));
    // Listed without the key; removed while the VM is open.
    let store = datastore(&backend);
    let mut ids: Vec<_> = store.snapshots("vm").unwrap();
    ids.sort_by_key(|info| info.snapshot.name.clone());
    assert_eq!(ids[0], taken);
    assert!(store.remove_snapshot("vm", off.id).unwrap());
    assert!(!store.remove_snapshot("vm", off.id).unwrap());
    assert!(vm.snapshot(off.id).is_err());
}

#[test]
fn every_changed_byte_and_every_truncation_of_a_snapshot_is_refused() {
    let (backend, ring) = simulated();
    let vm = create(&backend, &ring, "vm", &contents(1, 100));
    let snapshot = new("s");
    vm.take_snapshot(snapshot.clone(), &contents(1, 100), 1)
        .unwrap();
    let path = file(snapshot.id);
    let good = backend.read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        backend.overwrite(&path, bytes);
        let error = vm.snapshot(snapshot.id).err();
        let error = error.unwrap_or_else(|| panic!("{what} was not noticed"));
        let text = error.to_string();
        assert!(text.contains(&format::file_name(snapshot.id)), "{text}");
    };
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, &format!("byte {at}"));
        // With the checksum made right again, as an attacker would.
        if at < good.len() - 32 {
            let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes[..good.len() - 32]);
            bytes[good.len() - 32..].copy_from_slice(&digest);
            refused(&bytes, &format!("byte {at} with a checksum"));
        }
        refused(&good[..at], &format!("a length of {at}"));
        if at >= 32 {
            let digest = <sha2::Sha256 as sha2::Digest>::digest(&good[..at - 32]);
            let bytes = [&good[..at - 32], digest.as_slice()].concat();
            refused(&bytes, &format!("a length of {at} with a checksum"));
        }
    }
    for extra in [0, 1, 0xff] {
        refused(&[good.clone(), vec![extra]].concat(), "an extension");
    }
    let mut longer = [&good[..good.len() - 32], [0; 9].as_slice()].concat();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&longer);
    longer.extend_from_slice(&digest);
    refused(&longer, "an extension with a checksum");
    backend.overwrite(&path, &good);
    assert_eq!(vm.snapshot(snapshot.id).unwrap().1, contents(1, 100));
}

#[test]
fn a_snapshot_of_another_vm_or_under_another_name_is_refused() {
    let (backend, ring) = simulated();
    let vm = create(&backend, &ring, "vm", &contents(1, 100));
    let other = create(&backend, &ring, "other", &contents(2, 100));
    let (mine, twin, foreign) = (new("mine"), new("twin"), new("foreign"));
    vm.take_snapshot(mine.clone(), &contents(1, 100), 1)
        .unwrap();
    vm.take_snapshot(twin.clone(), &contents(3, 100), 1)
        .unwrap();
    other
        .take_snapshot(foreign.clone(), &contents(2, 100), 1)
        .unwrap();
    let twin_bytes = backend.read(&file(twin.id)).unwrap();
    let foreign_path = Path::new("/data/datastore/other").join(format::file_name(foreign.id));
    for bytes in [twin_bytes, backend.read(&foreign_path).unwrap()] {
        backend.overwrite(&file(mine.id), &bytes);
        let error = vm.snapshot(mine.id).unwrap_err();
        assert!(matches!(error, StoreError::WrongVm { .. }), "{error}");
    }
}

#[test]
fn texts_that_break_a_rule_are_refused_and_nothing_is_written() {
    let (backend, ring) = simulated();
    let vm = create(&backend, &ring, "vm", &contents(1, 100));
    for (name, description) in [
        ("", ""),
        ("../x", ""),
        ("a\0", ""),
        (&*"x".repeat(300), ""),
        ("ok", "a\u{1b}[31m"),
        ("ok", &"x".repeat(4001)),
    ] {
        let snapshot = NewSnapshot {
            description: description.to_owned(),
            ..new(name)
        };
        let error = vm.take_snapshot(snapshot, &contents(1, 10), 1).unwrap_err();
        assert!(matches!(error, StoreError::InvalidName { .. }), "{error}");
    }
    assert_eq!(datastore(&backend).snapshots("vm").unwrap(), []);
}

#[test]
fn a_revert_is_another_instance_with_a_higher_generation() {
    let (backend, ring) = simulated();
    let mut vm = create(&backend, &ring, "vm", &contents(1, 100));
    let snapshot = new("s");
    vm.take_snapshot(snapshot.clone(), &contents(1, 100), 1)
        .unwrap();
    let generation = vm.save(&contents(2, 100)).unwrap();
    let (before, old) = (
        vm.identity(),
        backend.read(Path::new("/data/datastore/vm/vm.nvram")),
    );
    let instance = Uuid::from_u128(7);
    let (_, found) = vm.snapshot(snapshot.id).unwrap();
    let vm = vm.revert(&found, instance).unwrap();
    assert_eq!(vm.generation(), generation + 1);
    assert_eq!(vm.binding().generation_floor, generation + 1);
    vm.close().unwrap();
    let (mut vm, found) = open(&backend, &ring).unwrap();
    assert_eq!(found, contents(1, 100));
    assert_eq!(vm.identity().vm_id, before.vm_id);
    assert_eq!(vm.identity().instance_id, instance);
    assert_eq!(vm.binding().nvram, "vm.nvram");
    // It goes on, the snapshot is there, and the state before does not come back by its file.
    assert_eq!(vm.save(&contents(9, 9000)).unwrap(), generation + 2);
    assert_eq!(vm.snapshot(snapshot.id).unwrap().1, contents(1, 100));
    drop(vm);
    backend.overwrite(Path::new("/data/datastore/vm/vm.nvram"), &old.unwrap());
    assert!(matches!(
        open(&backend, &ring),
        Err(StoreError::WrongVm { .. })
    ));
}

#[test]
fn a_deep_rekey_takes_the_snapshots_along_and_a_shallow_one_leaves_them_alone() {
    let (backend, ring) = simulated();
    let (provider, other_key) = the_key(&ring);
    let mut vm = create(&backend, &ring, "vm", &contents(1, 100));
    let (one, two) = (new("one"), new("two"));
    vm.take_snapshot(one.clone(), &contents(1, 100), 1).unwrap();
    vm.take_snapshot(two.clone(), &contents(2, 5000), 1)
        .unwrap();
    let bytes = [one.id, two.id].map(|id| backend.read(&file(id)).unwrap());
    vm.rewrap(&*provider, &other_key).unwrap();
    assert_eq!(
        [one.id, two.id].map(|id| backend.read(&file(id)).unwrap()),
        bytes
    );
    let third_key = provider.new_key().unwrap();
    let vm = vm.reseal(&*provider, &third_key).unwrap();
    assert_eq!(vm.binding().locator.key_id, third_key);
    for (id, before) in [one.id, two.id].into_iter().zip(bytes) {
        let after = backend.read(&file(id)).unwrap();
        assert_ne!(after, before);
        // What the old data key opened is worth nothing any more.
        backend.overwrite(&file(id), &before);
        assert!(vm.snapshot(id).is_err());
        backend.overwrite(&file(id), &after);
    }
    vm.close().unwrap();
    let (vm, found) = open(&backend, &ring).unwrap();
    assert_eq!(found, contents(1, 100));
    let (info, found) = vm.snapshot(two.id).unwrap();
    assert_eq!((info.snapshot, found), (two, contents(2, 5000)));
}

/// What one run of the script had reached when the power went.
#[derive(Default)]
struct Reached {
    first: Option<SnapshotId>,
    taken: bool,
    reverting: bool,
    reverted: bool,
    resealed: bool,
}

const INSTANCE: Uuid = Uuid::from_u128(7);

fn script(
    backend: &SimulatedBackend,
    ring: &Ring,
    identity: &Identity,
    reached: &mut Reached,
) -> Result<(), StoreError> {
    let (provider, key_id) = the_key(ring);
    let store = FolderDatastore::open(backend, Path::new(DATASTORE))?;
    let (mut vm, _) = store.open("vm", ring, &OpenOptions::default())?;
    assert_eq!(vm.identity(), *identity);
    let snapshot = new("s");
    reached.first = Some(snapshot.id);
    vm.take_snapshot(snapshot.clone(), &contents(1, 3000), 1)?;
    reached.taken = true;
    vm.save(&contents(2, 100))?;
    reached.reverting = true;
    let (_, found) = vm.snapshot(snapshot.id)?;
    let vm = vm.revert(&found, INSTANCE)?;
    reached.reverted = true;
    let vm = vm.reseal(&*provider, &key_id)?;
    reached.resealed = true;
    vm.close()
}

#[test]
fn every_power_cut_leaves_the_state_before_or_that_of_the_snapshot() {
    let prepared = || {
        let (backend, ring) = simulated();
        let vm = create(&backend, &ring, "vm", &contents(1, 3000));
        let identity = vm.identity();
        drop(vm);
        (backend, ring, identity)
    };
    let (whole, ring, identity) = prepared();
    let start = whole.operations();
    script(&whole, &ring, &identity, &mut Reached::default()).unwrap();
    let length = whole.operations() - start;
    assert!(length > 30, "{length}");
    for cut in 1..=length {
        for seed in 0..4 {
            let (backend, ring, identity) = prepared();
            backend.cut_power_at(backend.operations() + cut);
            let mut reached = Reached::default();
            assert!(script(&backend, &ring, &identity, &mut reached).is_err());
            let place = format!("cut {cut}, seed {seed}");
            let backend = backend.reboot(seed * 1000 + cut);
            check(&backend, &ring, &identity, &reached, &place);
        }
    }
}

fn check(
    backend: &SimulatedBackend,
    ring: &Ring,
    identity: &Identity,
    reached: &Reached,
    place: &str,
) {
    let (mut vm, found) = open(backend, ring).unwrap_or_else(|error| panic!("{place}: {error}"));
    let reverted = vm.identity().instance_id == INSTANCE;
    assert!(reverted || vm.identity() == *identity, "{place}");
    assert!(reverted || !reached.reverted, "{place}: a revert is lost");
    assert!(!reverted || reached.reverting, "{place}: too early");
    let expected: &[u64] = match (reverted, reached.reverting) {
        (true, _) => &[1],
        // The save before the revert was acknowledged.
        (false, true) => &[2],
        (false, false) => &[1, 2],
    };
    let known: Vec<Contents> = expected
        .iter()
        .map(|number| contents(*number, if *number == 1 { 3000 } else { 100 }))
        .collect();
    assert!(known.contains(&found), "{place}: another state");
    // Of the snapshot all is there, or nothing.
    if let Some(id) = reached.first {
        match vm.snapshot(id) {
            Ok((_, found)) => assert_eq!(found, contents(1, 3000), "{place}"),
            Err(error) => assert!(!reached.taken, "{place}: the snapshot is lost: {error}"),
        }
    }
    // And it goes on; nothing lies about.
    vm.save(&contents(50, 700)).unwrap();
    vm.close().unwrap();
    assert_eq!(open(backend, ring).unwrap().1, contents(50, 700), "{place}");
    let folder = backend.open_folder(Path::new(FOLDER)).unwrap();
    for entry in folder.entries().unwrap() {
        assert!(!entry.name.starts_with('.'), "{place}: {}", entry.name);
    }
}

#[test]
fn a_snapshot_blocks_adding_and_removing_a_tpm_and_goes_with_its_vm() {
    let (backend, ring) = simulated();
    let vm = create(&backend, &ring, "vm", &contents(1, 100));
    let snapshot = new("s");
    vm.take_snapshot(snapshot.clone(), &contents(1, 100), 1)
        .unwrap();
    drop(vm);
    let store = datastore(&backend);
    let error = store.remove_tpm("vm").unwrap_err();
    assert!(
        matches!(error, StoreError::HasSnapshots { count: 1, .. }),
        "{error}"
    );
    store.delete("vm").unwrap();
    assert!(backend.open_folder(Path::new(FOLDER)).is_err());
    assert!(backend.read(&file(snapshot.id)).is_none());
}

#[test]
fn what_a_switch_over_left_is_never_taken_from_elsewhere() {
    let (backend, ring) = simulated();
    let mut vm = create(&backend, &ring, "vm", &contents(1, 100));
    let old = backend
        .read(Path::new("/data/datastore/vm/vm.nvram"))
        .unwrap();
    vm.save(&contents(2, 100)).unwrap();
    vm.close().unwrap();
    // An older file of the same instance, put where a switch-over would leave one.
    let folder = backend.open_folder(Path::new(FOLDER)).unwrap();
    let next = folder.create(".vm.nvram.next").unwrap();
    next.write_all_at(&old, 0).unwrap();
    drop(next);
    assert_eq!(open(&backend, &ring).unwrap().1, contents(2, 100));
    assert!(folder.open(".vm.nvram.next").is_err());
}

#[test]
fn a_header_reads_back_as_it_was_written() {
    let key = crate::DataKey::generate().unwrap();
    let info = SnapshotInfo {
        snapshot: NewSnapshot {
            parent: None,
            ..new(&"ü".repeat(80))
        },
        identity: Identity::random().unwrap(),
        generation: u64::MAX,
        powered_on: true,
    };
    let path = Path::new("x");
    let bytes = format::seal(path, &info, &contents(1, 0), &key).unwrap();
    let glance = format::glance(path, &bytes).unwrap();
    assert_eq!(glance.info, info);
    assert_eq!(glance.sections.len(), 2);
    let mut later = bytes;
    later[9] = 2;
    assert!(matches!(
        format::glance(path, &later),
        Err(StoreError::UnsupportedVersion { .. })
    ));
}
