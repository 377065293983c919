//! A changed, cut, exchanged or older file is refused or harmless, and left as it was.

use super::*;
use crate::{DataKey, Identity, OpenOptions, StoreError, nvram::Nvram};
use std::path::PathBuf;

const NVRAM: &str = "/data/datastore/vm/vm.nvram";
const VMX: &str = "/data/datastore/vm/vm.vmx";

fn open(backend: &SimulatedBackend, ring: &Ring) -> Result<Contents, StoreError> {
    let opened = datastore(backend).open("vm", ring, &OpenOptions::default());
    opened.map(|(_, contents)| contents)
}

/// A smallest file after this many saves, alone in a folder.
struct Small {
    backend: SimulatedBackend,
    folder: Arc<dyn crate::backend::Folder>,
    key: DataKey,
    identity: Identity,
    newest: Contents,
}

const SMALL: &str = "/small/a.nvram";

impl Small {
    fn after(saves: u64) -> Self {
        let backend = SimulatedBackend::new();
        let folder = backend.ensure_folder(Path::new("/small")).unwrap();
        let key = DataKey::generate().unwrap();
        let identity = Identity::random().unwrap();
        let mut newest = contents(0, 900);
        let mut file =
            Nvram::create_smallest(&folder, "a.nvram", &key, &identity, &newest).unwrap();
        for number in 1..=saves {
            newest = contents(number, 900);
            file.save(&newest).unwrap();
        }
        Self {
            backend,
            folder,
            key,
            identity,
            newest,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.backend.read(Path::new(SMALL)).unwrap()
    }

    fn open_changed(&self, bytes: &[u8]) -> Result<Contents, StoreError> {
        self.backend.overwrite(Path::new(SMALL), bytes);
        let opened = Nvram::open(&self.folder, "a.nvram", &self.key, &self.identity, false);
        assert_eq!(self.bytes(), bytes, "opening changed the file");
        opened.map(|(_, contents, _)| contents)
    }
}

#[test]
fn every_changed_byte_of_nvram_is_refused_or_harmless() {
    for saves in 0..4 {
        let small = Small::after(saves);
        let good = small.bytes();
        let mut refused = 0;
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            match small.open_changed(&bytes) {
                Ok(found) => assert_eq!(
                    found, small.newest,
                    "{saves} saves, byte {at}: another state"
                ),
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains(SMALL), "{error}");
                }
            }
        }
        // The header and the sectors of the newest state, at least.
        assert!(refused >= 4096 + 3 * 512, "{refused}");
    }
}

#[test]
fn every_byte_of_nvram_set_to_zero_or_ones_is_refused_or_harmless() {
    let small = Small::after(2);
    let good = small.bytes();
    for at in 4096..good.len() {
        for value in [0, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(found) = small.open_changed(&bytes) {
                assert_eq!(found, small.newest, "byte {at}");
            }
        }
    }
}

#[test]
fn every_truncation_and_any_extension_of_nvram_is_refused() {
    let small = Small::after(2);
    let good = small.bytes();
    for length in 0..good.len() {
        assert!(small.open_changed(&good[..length]).is_err(), "{length}");
    }
    assert!(
        small
            .open_changed(&[good.clone(), vec![0]].concat())
            .is_err()
    );
    assert_eq!(small.open_changed(&good).unwrap(), small.newest);
}

#[test]
fn destroyed_sectors_and_pages_are_refused_or_harmless() {
    for saves in 1..4 {
        let small = Small::after(saves);
        let good = small.bytes();
        for size in [512, 1024, 4096] {
            for start in (0..good.len()).step_by(512) {
                let mut bytes = good.clone();
                let end = good.len().min(start + size);
                bytes[start..end].fill(0);
                if let Ok(found) = small.open_changed(&bytes) {
                    assert_eq!(found, small.newest, "{saves} saves, {size} at {start}");
                }
            }
        }
    }
}

#[test]
fn exchanged_slots_and_sectors_are_refused() {
    let small = Small::after(2);
    let good = small.bytes();
    let mut bytes = good.clone();
    let (zero, one) = bytes[4096..].split_at_mut(4096);
    zero.swap_with_slice(one);
    assert!(small.open_changed(&bytes).is_err());
    // Generation 2 stands in slot 0: its sectors 0 and 1 exchanged.
    let mut bytes = good;
    let (first, second) = bytes[4096..5120].split_at_mut(512);
    first.swap_with_slice(second);
    assert!(small.open_changed(&bytes).is_err());
}

#[test]
fn a_damaged_newest_state_is_never_replaced_by_the_older_one_unless_told_to() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(1, 100));
    let generation = file.save(&contents(2, 100)).unwrap();
    drop(file);
    let mut bytes = backend.read(Path::new(NVRAM)).unwrap();
    let slot = 4096 + (bytes.len() - 4096) / 2;
    bytes[slot + 40] ^= 1;
    backend.overwrite(Path::new(NVRAM), &bytes);
    let error = open(&backend, &ring).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(backend.read(Path::new(NVRAM)).unwrap(), bytes);
    let rescue = OpenOptions {
        rescue_older_slot: true,
        ..OpenOptions::default()
    };
    let (mut file, found) = datastore(&backend).open("vm", &ring, &rescue).unwrap();
    assert_eq!(found, contents(1, 100));
    assert!(file.report().rescued);
    assert_eq!(file.generation(), generation - 1);
    file.save(&contents(3, 100)).unwrap();
    drop(file);
    assert_eq!(open(&backend, &ring).unwrap(), contents(3, 100));
}

#[test]
fn every_changed_byte_of_vmx_is_refused_or_harmless() {
    let (backend, ring) = simulated();
    let file = create(&backend, &ring, "vm", &contents(1, 100));
    let (identity, binding) = (file.identity(), file.binding().clone());
    drop(file);
    let good = backend.read(Path::new(VMX)).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 7);
        backend.overwrite(Path::new(VMX), &bytes);
        match datastore(&backend).open("vm", &ring, &OpenOptions::default()) {
            Ok((file, found)) => {
                assert_eq!(found, contents(1, 100));
                assert_eq!(
                    (file.identity(), file.binding()),
                    (identity, &binding),
                    "byte {at}"
                );
            }
            Err(error) => assert!(
                error.to_string().contains("vm.vmx") || error.to_string().contains("nvram"),
                "{error}"
            ),
        }
        assert_eq!(backend.read(Path::new(VMX)).unwrap(), bytes);
    }
    for length in 0..good.len() - 1 {
        backend.overwrite(Path::new(VMX), &good[..length]);
        assert!(open(&backend, &ring).is_err(), "{length}");
    }
}

#[test]
fn files_of_another_vm_are_refused() {
    let (backend, ring) = simulated();
    drop(create(&backend, &ring, "vm", &contents(1, 100)));
    drop(create(&backend, &ring, "other", &contents(2, 100)));
    let take = |path: &str| backend.read(Path::new(path)).unwrap();
    let own = take(NVRAM);
    backend.overwrite(Path::new(NVRAM), &take("/data/datastore/other/other.nvram"));
    let error = open(&backend, &ring).unwrap_err();
    assert!(matches!(error, StoreError::WrongVm { .. }), "{error}");
    backend.overwrite(Path::new(NVRAM), &own);
    assert!(open(&backend, &ring).is_ok());
    // The other's wrapped key under this VM's ids.
    let text = String::from_utf8(take(VMX)).unwrap();
    let other = String::from_utf8(take("/data/datastore/other/other.vmx")).unwrap();
    let line = |text: &str, key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .to_owned()
    };
    let mut mixed = text.clone();
    for key in [
        "encryption.data",
        "encryption.keySafe",
        "vtpm.authentication",
    ] {
        mixed = mixed.replace(&line(&text, key), &line(&other, key));
    }
    backend.overwrite(Path::new(VMX), mixed.as_bytes());
    assert!(open(&backend, &ring).is_err());
}

#[test]
fn a_missing_nvram_is_an_error_and_stays_missing() {
    let (backend, ring) = simulated();
    drop(create(&backend, &ring, "vm", &contents(1, 100)));
    let folder = backend
        .open_folder(Path::new(NVRAM).parent().unwrap())
        .unwrap();
    folder.remove_file("vm.nvram").unwrap();
    let error = open(&backend, &ring).unwrap_err();
    assert!(matches!(error, StoreError::MissingNvram { .. }), "{error}");
    assert!(backend.read(Path::new(NVRAM)).is_none());
    folder.create("vm.nvram").unwrap();
    assert!(open(&backend, &ring).is_err());
    folder.remove_file("vm.vmx").unwrap();
    assert!(open(&backend, &ring).is_err());
}

#[test]
fn an_older_nvram_put_back_alone_is_found_by_the_floor() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(1, 100));
    let old = backend.read(Path::new(NVRAM)).unwrap();
    for number in 2..5 {
        file.save(&contents(number, 100)).unwrap();
    }
    file.close().unwrap();
    backend.overwrite(Path::new(NVRAM), &old);
    let error = open(&backend, &ring).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::RolledBack {
                found: 1,
                expected: 4,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("generation 1") && error.to_string().contains("generation 4")
    );
    let accept = OpenOptions {
        accept_rollback: true,
        ..OpenOptions::default()
    };
    let (file, found) = datastore(&backend).open("vm", &ring, &accept).unwrap();
    assert_eq!(found, contents(1, 100));
    drop(file);
    assert_eq!(open(&backend, &ring).unwrap(), contents(1, 100));
}

#[test]
fn both_files_put_back_are_found_by_the_minimum_of_the_inventory() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(1, 100));
    let old =
        [NVRAM, VMX].map(|path| (PathBuf::from(path), backend.read(Path::new(path)).unwrap()));
    let generation = file.save(&contents(2, 100)).unwrap();
    file.close().unwrap();
    for (path, bytes) in &old {
        backend.overwrite(path, bytes);
    }
    assert!(open(&backend, &ring).is_ok());
    let options = OpenOptions {
        minimum_generation: Some(generation),
        ..OpenOptions::default()
    };
    let error = datastore(&backend).open("vm", &ring, &options).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::RolledBack {
                found: 1,
                expected: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("inventory"));
}

#[test]
fn oversized_files_are_not_read() {
    let (backend, ring) = simulated();
    drop(create(&backend, &ring, "vm", &contents(1, 100)));
    let good = backend.read(Path::new(VMX)).unwrap();
    backend.overwrite(Path::new(VMX), &vec![b'#'; (1 << 20) + 1]);
    assert!(matches!(
        open(&backend, &ring),
        Err(StoreError::TooLarge { .. })
    ));
    backend.overwrite(Path::new(VMX), &good);
    backend.overwrite(Path::new(NVRAM), &vec![0; (64 << 20) + 1]);
    assert!(matches!(
        open(&backend, &ring),
        Err(StoreError::TooLarge { .. })
    ));
}

#[test]
fn contents_beyond_the_limit_are_refused_and_the_old_ones_kept() {
    let (backend, ring) = simulated();
    let mut file = create(&backend, &ring, "vm", &contents(1, 100));
    let error = file.save(&contents(2, 33 << 20)).unwrap_err();
    assert!(
        matches!(error, StoreError::ContentsTooLarge { .. }),
        "{error}"
    );
    drop(file);
    assert_eq!(open(&backend, &ring).unwrap(), contents(1, 100));
}

#[test]
fn random_bytes_never_panic() {
    let (backend, ring) = simulated();
    drop(create(&backend, &ring, "vm", &contents(1, 100)));
    let good = backend.read(Path::new(NVRAM)).unwrap();
    let text = backend.read(Path::new(VMX)).unwrap();
    for round in 0..200usize {
        let mut bytes = good.clone();
        let mut settings = text.clone();
        for n in 0..=round % 7 {
            let at = (round * 7919 + n * 104_729) % 60;
            bytes[at] = u8::try_from((round * 31 + n) % 256).unwrap();
            let at = (round * 7907 + n * 1031) % settings.len();
            settings[at] = u8::try_from((round * 37 + n * 11) % 256).unwrap();
        }
        backend.overwrite(Path::new(NVRAM), &bytes);
        backend.overwrite(Path::new(VMX), &text);
        let _ = open(&backend, &ring);
        backend.overwrite(Path::new(VMX), &settings);
        let _ = open(&backend, &ring);
    }
}
