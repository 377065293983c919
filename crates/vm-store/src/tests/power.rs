//! Nothing acknowledged is lost, wherever the power goes.

use super::*;
use crate::{
    Committer, OpenOptions, SharedVmFile, StateFolder, StateKey, StoreError, nvram::Progress,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// What was asked for and what was acknowledged when the power went.
#[derive(Default)]
struct Log {
    acknowledged: Option<Contents>,
    asked: Option<Contents>,
    generation: u64,
}

/// Creates a VM and saves states of changing size, which makes the file grow twice; edits and closes in between.
fn script(backend: &SimulatedBackend, ring: &Ring, log: &mut Log) -> Result<(), StoreError> {
    let (provider, key_id) = the_key(ring);
    let store = FolderDatastore::open(backend, Path::new(DATASTORE))?;
    let sizes = [100, 3000, 50, 7000, 300, 33_000, 10, 70_000, 2000, 2001];
    let first = contents(0, 100);
    log.asked = Some(first.clone());
    let mut file = store.create(&NewVm::new("vm").unwrap(), &first, &*provider, &key_id)?;
    log.acknowledged = Some(first);
    log.generation = file.generation();
    for (number, size) in (1..).zip(sizes) {
        let next = contents(number, size);
        log.asked = Some(next.clone());
        log.generation = file.save(&next)?;
        log.acknowledged = Some(next);
        match number {
            4 => file.edit(&[("memsize", Some("4096"))])?,
            7 => {
                file.close()?;
                (file, _) = store.open("vm", ring, &OpenOptions::default())?;
            }
            9 => {
                let key_id = provider.new_key().unwrap();
                file.rewrap(&*provider, &key_id)?;
            }
            _ => {}
        }
    }
    file.close()
}

#[test]
fn every_power_cut_leaves_the_state_before_or_after() {
    let (whole, ring) = simulated();
    script(&whole, &ring, &mut Log::default()).unwrap();
    let last = whole.operations();
    assert!(last > 60);
    for cut in 1..=last {
        for seed in 0..3 {
            let (backend, ring) = simulated();
            let before = backend.operations();
            if cut <= before {
                break;
            }
            backend.cut_power_at(cut);
            let mut log = Log::default();
            assert!(script(&backend, &ring, &mut log).is_err());
            let after = backend.reboot(seed * 1000 + cut);
            check(&after, &ring, &log, &format!("cut {cut}, seed {seed}"));
        }
    }
}

#[test]
fn a_sector_that_a_power_cut_tore_never_costs_what_was_acknowledged_nor_needs_a_repair() {
    let (whole, ring) = simulated();
    let began = whole.operations();
    script(&whole, &ring, &mut Log::default()).unwrap();
    let (mut torn, mut mended) = (0, 0);
    for cut in began + 1..=whole.operations() {
        let (backend, ring) = simulated();
        backend.cut_power_at(cut);
        let mut log = Log::default();
        assert!(script(&backend, &ring, &mut log).is_err());
        for seed in 0..20 {
            let Some(after) = backend.reboot_torn(seed * 31 + cut) else {
                continue;
            };
            torn += 1;
            let place = format!("cut {cut}, seed {seed}");
            if let Ok((file, _)) = FolderDatastore::claim(&after, Path::new(DATASTORE))
                .unwrap()
                .open("vm", &ring, &OpenOptions::default())
            {
                mended += u32::from(file.report().mended);
            }
            check(&after.restart_process(), &ring, &log, &place);
        }
    }
    assert!(torn > 100 && mended > 10, "{torn} torn, {mended} mended");
}

fn check(backend: &SimulatedBackend, ring: &Ring, log: &Log, place: &str) {
    let store = FolderDatastore::claim(backend, Path::new(DATASTORE)).unwrap();
    let options = OpenOptions {
        minimum_generation: log.acknowledged.is_some().then_some(log.generation),
        ..OpenOptions::default()
    };
    match store.open("vm", ring, &options) {
        Ok((mut file, found)) => {
            let known = [&log.acknowledged, &log.asked];
            assert!(
                known.contains(&&Some(found)),
                "{place}: neither before nor after"
            );
            // And it goes on.
            let next = contents(1 << 40, 700);
            let generation = file.save(&next).unwrap();
            assert!(generation > log.generation, "{place}");
            file.close().unwrap();
            let (_, found) = store.open("vm", ring, &OpenOptions::default()).unwrap();
            assert_eq!(found, next, "{place}");
        }
        Err(StoreError::NoSuchVm { .. }) => {
            assert!(
                log.acknowledged.is_none(),
                "{place}: an acknowledged VM is gone"
            );
            assert_eq!(store.list().unwrap(), Vec::<String>::new());
        }
        Err(error) => panic!("{place}: {error}"),
    }
    let leftovers: Vec<_> = backend
        .open_folder(Path::new(DATASTORE))
        .unwrap()
        .entries()
        .unwrap()
        .into_iter()
        .filter(|entry| entry.name.starts_with(".new") || entry.name.starts_with(".del"))
        .collect();
    assert_eq!(leftovers, [], "{place}");
}

#[test]
fn two_power_cuts_in_a_row_lose_nothing() {
    for seed in 0..100 {
        let (backend, ring) = simulated();
        let mut file = create(&backend, &ring, "vm", &contents(1, 3000));
        file.save(&contents(2, 2500)).unwrap();
        drop(file);
        let mut backend = backend;
        let mut last = contents(2, 2500);
        for round in 0..3u64 {
            let (mut file, found) = datastore(&backend)
                .open("vm", &ring, &OpenOptions::default())
                .unwrap();
            let next = contents(10 + round, 5000);
            assert!(
                found == last || found == contents(9 + round, 5000),
                "seed {seed}"
            );
            last = found;
            let cut = backend.operations() + 1;
            backend.cut_power_at(cut);
            assert!(file.save(&next).is_err());
            backend = backend.reboot(seed * 7 + round);
        }
    }
}

#[test]
fn deleting_and_adding_survive_every_power_cut() {
    for cut in 1..60 {
        for seed in 0..6 {
            let (backend, ring) = simulated();
            let (provider, key_id) = the_key(&ring);
            let store = datastore(&backend);
            drop(create(&backend, &ring, "doomed", &contents(1, 100)));
            store.create_plain(&NewVm::new("plain").unwrap()).unwrap();
            backend.cut_power_at(backend.operations() + cut);
            let _ = store.delete("doomed");
            let added = store.add_tpm(
                "plain",
                crate::TpmProvisioning::New,
                &contents(2, 100),
                &*provider,
                &key_id,
            );
            let acknowledged = added.is_ok();
            drop(added);
            let removed = acknowledged && store.remove_tpm("plain").is_ok();
            let backend = backend.reboot(seed * 100 + cut);
            let store = FolderDatastore::claim(&backend, Path::new(DATASTORE)).unwrap();
            if store.contains("doomed").unwrap() {
                let (_, found) = store
                    .open("doomed", &ring, &OpenOptions::default())
                    .unwrap();
                assert_eq!(found, contents(1, 100));
            }
            let plain = store.describe("plain").unwrap();
            if removed {
                assert!(plain.binding.is_none());
            }
            if plain.tpm().is_some() {
                let (_, found) = store.open("plain", &ring, &OpenOptions::default()).unwrap();
                assert_eq!(found, contents(2, 100));
            }
        }
    }
}

#[test]
fn a_state_folder_survives_every_power_cut_of_its_first_start() {
    for cut in 1..40 {
        for seed in 0..6 {
            let backend = SimulatedBackend::new();
            backend.cut_power_at(cut);
            let start = |backend: &SimulatedBackend| -> Result<Contents, StoreError> {
                let folder = StateFolder::open(backend, Path::new("/state"), StateKey::Beside)?;
                match folder.load(&OpenOptions::default())? {
                    Some((_, contents)) => Ok(contents),
                    None => {
                        folder.create(&contents(5, 300))?;
                        Ok(contents(5, 300))
                    }
                }
            };
            let _ = start(&backend);
            let again = backend.reboot(seed * 100 + cut);
            assert_eq!(
                start(&again).unwrap(),
                contents(5, 300),
                "cut {cut}, seed {seed}"
            );
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(1, 100));
    file.save(&contents(2, 100)).unwrap();
    let backend = backend.restart_process();
    let (_, found) = datastore(&backend)
        .open("vm", &ring, &OpenOptions::default())
        .unwrap();
    assert_eq!(found, contents(2, 100));
}

#[test]
fn failing_writes_and_syncs_keep_the_old_state_and_go_on_after() {
    for (no_write, no_sync) in [(Some(28), None), (None, Some(5)), (Some(5), Some(5))] {
        for size in [100, 100_000] {
            let (backend, ring) = simulated();
            let mut file = create(&backend, &ring, "vm", &contents(1, 100));
            file.save(&contents(2, 100)).unwrap();
            let generation = file.generation();
            backend.fail_writes(no_write);
            backend.fail_syncs(no_sync);
            for _ in 0..3 {
                let error = file.save(&contents(3, size)).unwrap_err();
                assert_eq!(error.is_out_of_space(), no_write == Some(28), "{error}");
                assert!(error.to_string().contains("vm.nvram"), "{error}");
                assert_eq!(file.generation(), generation);
            }
            backend.fail_writes(None);
            backend.fail_syncs(None);
            let after = backend.reboot(1);
            let (_, found) = datastore(&after)
                .open("vm", &ring, &OpenOptions::default())
                .unwrap();
            assert!(found == contents(2, 100) || found == contents(3, size));
            assert_eq!(file.save(&contents(4, size)).unwrap(), generation + 1);
            let after = backend.reboot(2);
            let (_, found) = datastore(&after)
                .open("vm", &ring, &OpenOptions::default())
                .unwrap();
            assert_eq!(found, contents(4, size));
        }
    }
}

#[test]
fn a_larger_file_whose_name_is_not_durable_acknowledges_nothing() {
    for seed in 0..20 {
        let (backend, ring) = simulated();
        let mut file = create(&backend, &ring, "vm", &contents(1, 100));
        let generation = file.save(&contents(2, 100)).unwrap();
        backend.fail_folder_syncs(Some(5));
        for number in 3..6 {
            assert!(file.save(&contents(number, 50_000)).is_err());
            assert_eq!(file.generation(), generation);
        }
        let options = OpenOptions {
            minimum_generation: Some(generation),
            ..OpenOptions::default()
        };
        let cut = backend.reboot(seed);
        let (_, found) = datastore(&cut).open("vm", &ring, &options).unwrap();
        assert!(found == contents(2, 100) || found == contents(3, 50_000));
        backend.fail_folder_syncs(None);
        file.save(&contents(6, 50_000)).unwrap();
        let cut = backend.reboot(seed);
        let (_, found) = datastore(&cut).open("vm", &ring, &options).unwrap();
        assert_eq!(found, contents(6, 50_000));
    }
}

/// Many VMs, each with the number of the last save that was asked for and of the last that was acknowledged.
struct Shared {
    backend: SimulatedBackend,
    ring: Ring,
    files: Vec<SharedVmFile>,
    asked: Vec<AtomicU64>,
    told: Mutex<Vec<(u64, u64, usize)>>,
}

impl Shared {
    fn new(vms: usize) -> Self {
        let (backend, ring) = simulated();
        let create = |vm| {
            let vm = create(&backend, &ring, &format!("vm{vm}"), &contents(0, 100));
            Arc::new(Mutex::new(vm))
        };
        let files = (0..vms).map(create).collect();
        Self {
            files,
            asked: (0..vms).map(|_| AtomicU64::new(0)).collect(),
            told: Mutex::default(),
            backend,
            ring,
        }
    }

    /// Each VM in a thread of its own saves after its last save, until it is refused or did so often.
    fn save_all(&self, committer: &Committer, saves: u64) {
        std::thread::scope(|scope| {
            for (vm, file) in self.files.iter().enumerate() {
                scope.spawn(move || {
                    for _ in 0..saves {
                        let number = 1 + self.asked[vm].load(Ordering::SeqCst);
                        self.asked[vm].store(number, Ordering::SeqCst);
                        if committer.save(file, numbered(number)).is_err() {
                            return;
                        }
                        let mut told = self.told.lock().unwrap();
                        told.push((self.backend.operations(), number, vm));
                    }
                });
            }
        });
    }

    /// What a VM has on a disk.
    fn stored(&self, disk: &SimulatedBackend, vm: usize) -> Contents {
        let store = FolderDatastore::open(disk, Path::new(DATASTORE)).unwrap();
        let options = OpenOptions::default();
        store
            .open(&format!("vm{vm}"), &self.ring, &options)
            .unwrap()
            .1
    }
}

fn numbered(number: u64) -> Contents {
    contents(number, 100 + 700 * usize::try_from(number % 10).unwrap())
}

/// The number of the save that made these contents.
fn number_of(found: &Contents, at_least: u64, at_most: u64) -> Option<u64> {
    (at_least..=at_most).find(|number| *found == numbered(*number))
}

#[test]
fn a_power_cut_loses_no_save_that_shared_its_sync_with_others() {
    const VMS: usize = 4;
    let shared = Shared::new(VMS);
    let committer = Committer::start(4).unwrap();
    shared.backend.record_power_cuts();
    let before = shared.backend.operations();
    shared.save_all(&committer, 30);
    let cuts = shared.backend.take_power_cuts();
    let told = shared.told.lock().unwrap();
    assert_eq!(told.len(), VMS * 30);
    let operations = shared.backend.operations() - before;
    eprintln!("{} saves, {operations} writes and syncs", told.len());
    for (number, (change, disk)) in cuts.iter().enumerate() {
        for seed in 0..2 {
            let disk = disk.reboot(seed * 7919 + change);
            let vm = (number + usize::try_from(seed).unwrap()) % VMS;
            // What was told before the change began is there.
            let acknowledged = told
                .iter()
                .filter(|(at, _, of)| at < change && *of == vm)
                .map(|(_, number, _)| *number)
                .max()
                .unwrap_or(0);
            let found = shared.stored(&disk, vm);
            let asked = shared.asked[vm].load(Ordering::SeqCst);
            assert!(
                number_of(&found, acknowledged, asked).is_some(),
                "cut at {change}, vm{vm}: acknowledged {acknowledged}"
            );
        }
    }
}

#[test]
fn a_sync_that_fails_fails_every_save_that_shared_it_and_the_next_ones_go_on() {
    let shared = Shared::new(5);
    let committer = Committer::start(3).unwrap();
    for round in 1..20 {
        shared.save_all(&committer, 3);
        let kept = shared
            .files
            .iter()
            .map(|file| file.lock().unwrap().generation());
        let kept: Vec<u64> = kept.collect();
        shared.backend.fail_syncs(Some(5));
        let told = shared.told.lock().unwrap().len();
        shared.save_all(&committer, 1);
        assert_eq!(shared.told.lock().unwrap().len(), told, "round {round}");
        for (file, kept) in shared.files.iter().zip(&kept) {
            assert_eq!(file.lock().unwrap().generation(), *kept);
        }
        shared.backend.fail_syncs(None);
    }
    shared.save_all(&committer, 1);
    drop(committer);
    let disk = shared.backend.reboot(3);
    for vm in 0..5 {
        let asked = shared.asked[vm].load(Ordering::SeqCst);
        let found = shared.stored(&disk, vm);
        assert_eq!(number_of(&found, asked, asked), Some(asked));
    }
}

#[test]
fn one_sync_completes_what_came_to_the_device_and_nothing_that_came_later() {
    let (backend, ring) = simulated();
    let mut files: Vec<VmFile> = (0..3)
        .map(|vm| create(&backend, &ring, &format!("vm{vm}"), &contents(0, 100)))
        .collect();
    let mut begin = |vm: usize| match files[vm].begin_save(&contents(1, 3000)).unwrap() {
        Progress::Unflushed(save) => save,
        other => panic!("{other:?}"),
    };
    let (first, second) = (begin(0), begin(1));
    assert_eq!(first.device, second.device);
    files[0].flush().unwrap();
    let Progress::Unflushed(_) = files[2].begin_save(&contents(1, 3000)).unwrap() else {
        panic!("the simulated disk has a cache");
    };
    assert_eq!(files[0].complete_save(first).unwrap(), 2);
    assert_eq!(files[1].complete_save(second).unwrap(), 2);
    let mut lost = 0;
    for seed in 0..20 {
        let disk = backend.reboot(seed);
        let store = FolderDatastore::open(&disk, Path::new(DATASTORE)).unwrap();
        let found = |vm: usize| {
            let (_, found) = store
                .open(&format!("vm{vm}"), &ring, &OpenOptions::default())
                .unwrap();
            found
        };
        assert_eq!([found(0), found(1)], [contents(1, 3000), contents(1, 3000)]);
        lost += usize::from(found(2) == contents(0, 100));
    }
    assert!(lost > 0, "nothing that was not synced was lost");
}

#[test]
fn a_save_by_hand_completes_the_one_that_waits_for_its_sync() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(1, 100));
    let Progress::Unflushed(first) = file.begin_save(&contents(2, 100)).unwrap() else {
        panic!("the simulated disk has a cache");
    };
    assert_eq!(file.generation(), 1);
    assert_eq!(file.save(&contents(3, 100)).unwrap(), 3);
    assert_eq!(file.complete_save(first).unwrap(), 2);
    assert_eq!(file.generation(), 3);
    // Given up: the state before counts, and the next save takes its place.
    let Progress::Unflushed(second) = file.begin_save(&contents(4, 100)).unwrap() else {
        panic!("the simulated disk has a cache");
    };
    file.abandon_save(second);
    assert!(file.complete_save(second).is_err());
    assert_eq!(file.save(&contents(5, 100)).unwrap(), 4);
    drop(file);
    let store = FolderDatastore::open(&backend.reboot(1), Path::new(DATASTORE)).unwrap();
    let (_, found) = store.open("vm", &ring, &OpenOptions::default()).unwrap();
    assert_eq!(found, contents(5, 100));
}
