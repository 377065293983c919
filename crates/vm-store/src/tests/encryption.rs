//! VMs that are encrypted for themselves, with a TPM and without.

use super::*;
use crate::{Encryption, OpenOptions, StoreError, TpmProvisioning};

const WITHOUT: Encryption = Encryption::OfVm { tpm: false };

fn plain(backend: &dyn Backend, name: &str) {
    datastore(backend)
        .create_plain(&NewVm::new(name).unwrap())
        .unwrap();
}

fn encrypted(backend: &dyn Backend, ring: &Ring) {
    plain(backend, "vm");
    let (provider, key_id) = the_key(ring);
    datastore(backend)
        .encrypt("vm", &*provider, &key_id)
        .unwrap();
}

fn open(backend: &dyn Backend, ring: &Ring) -> (VmFile, Contents) {
    datastore(backend)
        .open("vm", ring, &OpenOptions::default())
        .unwrap()
}

fn state(contents: &Contents) -> zeroize::Zeroizing<Vec<u8>> {
    let state = contents.get(SectionKind::TPM_PERMANENT).unwrap();
    zeroize::Zeroizing::new(state.to_vec())
}

#[test]
fn a_vm_is_encrypted_and_decrypted_without_a_tpm() {
    let (backend, ring) = simulated();
    encrypted(&backend, &ring);
    let description = datastore(&backend).describe("vm").unwrap();
    assert!(description.tpm().is_none());
    assert_eq!(description.binding.unwrap().encryption, WITHOUT);
    let (file, found) = open(&backend, &ring);
    assert_eq!(found, Contents::new());
    drop(file);
    let (provider, key_id) = the_key(&ring);
    let again = datastore(&backend).encrypt("vm", &*provider, &key_id);
    assert!(matches!(again, Err(StoreError::HasTpm { .. })), "{again:?}");
    let wrong = datastore(&backend).remove_tpm("vm");
    assert!(matches!(wrong, Err(StoreError::NoTpm { .. })), "{wrong:?}");
    datastore(&backend).decrypt("vm").unwrap();
    assert!(
        datastore(&backend)
            .describe("vm")
            .unwrap()
            .binding
            .is_none()
    );
    let again = datastore(&backend).decrypt("vm");
    assert!(matches!(again, Err(StoreError::NoTpm { .. })), "{again:?}");
}

#[test]
fn the_keys_of_a_vm_without_a_tpm_are_changed_like_those_of_another() {
    let (backend, ring) = simulated();
    encrypted(&backend, &ring);
    let (provider, first) = the_key(&ring);
    let (mut file, _) = open(&backend, &ring);
    let before = file.binding().wrapped.clone();
    file.rewrap(&*provider, &first).unwrap();
    assert_eq!(file.binding().locator.key_id, first);
    let (_, second) = the_key(&ring);
    let file = file.reseal(&*provider, &second).unwrap();
    assert_ne!(file.binding().wrapped, before);
    drop(file);
    let (file, found) = open(&backend, &ring);
    assert_eq!(file.binding().locator.key_id, second);
    assert_eq!(file.binding().encryption, WITHOUT);
    assert_eq!(found, Contents::new());
}

#[test]
fn a_tpm_comes_and_goes_and_the_vm_stays_encrypted() {
    let (backend, ring) = simulated();
    encrypted(&backend, &ring);
    let (provider, _) = the_key(&ring);
    let (file, _) = open(&backend, &ring);
    let key_id = file.binding().locator.key_id.clone();
    let given = state(&contents(7, 300));
    let file = file
        .change_tpm(Some((TpmProvisioning::Copy, given.clone())), &*provider)
        .unwrap();
    assert_eq!(file.binding().encryption, Encryption::OfVm { tpm: true });
    drop(file);
    let (mut file, found) = open(&backend, &ring);
    assert_eq!(found, Contents::of_tpm(given));
    assert_eq!(file.binding().provisioning, TpmProvisioning::Copy);
    let mut more = found;
    more.set(SectionKind::UEFI_VARIABLES, vec![9; 20]);
    file.save(&more).unwrap();
    let generation = file.generation();
    let file = file.change_tpm(None, &*provider).unwrap();
    assert_eq!(file.binding().locator.key_id, key_id);
    assert!(file.generation() > generation);
    drop(file);
    let (file, found) = open(&backend, &ring);
    assert_eq!(file.binding().encryption, WITHOUT);
    assert_eq!(found.get(SectionKind::TPM_PERMANENT), None);
    assert_eq!(found.get(SectionKind::UEFI_VARIABLES), Some(&[9; 20][..]));
}

#[test]
fn a_vm_that_is_encrypted_for_its_tpm_does_not_change_it_this_way() {
    let (backend, ring) = simulated();
    let file = create(&backend, &ring, "vm", &contents(1, 100));
    let (provider, _) = the_key(&ring);
    let error = file.change_tpm(None, &*provider).unwrap_err();
    assert!(matches!(error, StoreError::NoTpm { .. }), "{error}");
    assert_eq!(open(&backend, &ring).1, contents(1, 100));
}

#[test]
fn files_are_made_encrypted_at_once() {
    let (backend, ring) = simulated();
    let (provider, key_id) = the_key(&ring);
    for (name, tpm, kept) in [
        ("with", true, contents(3, 90)),
        ("none", false, Contents::new()),
    ] {
        let vm = NewVm::new(name)
            .unwrap()
            .encrypted(Encryption::OfVm { tpm });
        let made = datastore(&backend).create(&vm, &kept, &*provider, &key_id);
        drop(made.unwrap());
        let opened = datastore(&backend).open(name, &ring, &OpenOptions::default());
        let (file, found) = opened.unwrap();
        assert_eq!(file.binding().encryption, Encryption::OfVm { tpm });
        assert_eq!(found, kept);
    }
}

#[test]
fn a_power_cut_leaves_a_tpm_there_or_not() {
    for cut in 1..40 {
        for seed in 0..4 {
            let (backend, ring) = simulated();
            encrypted(&backend, &ring);
            let (provider, key_id) = the_key(&ring);
            plain(&backend, "other");
            let given = state(&contents(7, 300));
            let (file, _) = open(&backend, &ring);
            backend.cut_power_at(backend.operations() + cut);
            let changed = file.change_tpm(Some((TpmProvisioning::New, given.clone())), &*provider);
            let removed = changed.and_then(|file| file.change_tpm(None, &*provider));
            let gone = removed.is_ok();
            drop(removed);
            let done = datastore_of(&backend)
                .and_then(|store| store.encrypt("other", &*provider, &key_id));
            let backend = backend.reboot(seed * 100 + cut);
            let (file, found) = open(&backend, &ring);
            let has = file.binding().encryption.has_tpm();
            assert_eq!(found.get(SectionKind::TPM_PERMANENT).is_some(), has);
            if has {
                assert_eq!(found, Contents::of_tpm(given));
            }
            assert!(!(gone && has), "cut {cut}");
            let other = datastore(&backend).describe("other").unwrap();
            assert!(other.binding.is_some() || done.is_err(), "cut {cut}");
            if other.binding.is_some() {
                let opened = datastore(&backend).open("other", &ring, &OpenOptions::default());
                assert_eq!(opened.unwrap().1, Contents::new());
            }
        }
    }
}

fn datastore_of(backend: &dyn Backend) -> Result<FolderDatastore, StoreError> {
    FolderDatastore::open(backend, Path::new(DATASTORE))
}
