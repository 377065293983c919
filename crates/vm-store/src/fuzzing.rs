//! Any bytes as the files of a VM: what fuzz targets call.
//!
//! The start is a VM that version 1 of the format wrote. The first byte says how the rest becomes files: as they are, as
//! changes of that VM's files, or with our own authentication codes, so that they are read to their end.

use crate::{
    Contents, Datastore, FolderDatastore, KeyProvider, OpenOptions, SectionKind, StoreError,
    VmFile, Vmx,
    backend::{Backend, simulated::SimulatedBackend},
    binding::TpmBinding,
    format::{self, Header, Sectors, Slot},
    key_provider::ProviderFolder,
    nvram::{IfPresent, put_file},
    offline::{self, Place},
    seal::DataKey,
    snapshots, vm_file,
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::Path, sync::Arc};

const PROVIDER: &[u8] = include_bytes!("tests/data/v1/kp1.provider.json");
const VMX: &[u8] = include_bytes!("tests/data/v1/vm/vm.vmx");
const NVRAM: &[u8] = include_bytes!("tests/data/v1/vm/vm.nvram");
const FOLDER: &str = "/data";
/// Sectors of a slot of the VM that the start is.
const SECTORS: u32 = 8;

/// Any bytes as `.vmx` and `.nvram`: they open or are refused for a reason; what opens can be saved, closed and opened again.
///
/// # Panics
/// If a rule is broken.
pub fn vm_file(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            let (vmx, nvram) = cut(data);
            try_to_open(vmx, nvram);
        }
        1 => {
            let [vmx, nvram] = changed(data);
            try_to_open(&vmx, &nvram);
        }
        2 => {
            let Some(vmx) = authenticated_settings(data) else {
                return;
            };
            try_to_open(&vmx, NVRAM);
        }
        _ => try_to_open(VMX, &authenticated_slots(data)),
    }
    settings(data);
    snapshot(data);
}

/// Any bytes as a snapshot, with a checksum that is right so that they are read to their end: nothing opens that was not sealed.
fn snapshot(data: &[u8]) {
    let mut bytes = b"vTPMvmsn\0\x01".to_vec();
    bytes.extend_from_slice(data);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    let path = Path::new("snapshot");
    if let Ok(glance) = snapshots::glance(path, &bytes) {
        let (vm, id) = (glance.info.identity.vm_id, glance.info.snapshot.id);
        let key = DataKey::from_bytes(zeroize::Zeroizing::new([7; 32]));
        assert!(
            snapshots::open(path, &bytes, &key, vm, id).is_err(),
            "a snapshot opens that nobody sealed"
        );
    }
}

/// What is read as settings is written as it was, and keeps what is set.
fn settings(data: &[u8]) {
    let Ok(mut vmx) = Vmx::parse(data) else {
        return;
    };
    let text = vmx.to_text();
    let again = Vmx::parse(text.as_bytes()).map(|vmx| vmx.to_text());
    assert!(
        again.is_ok_and(|again| again == text),
        "settings are written otherwise than they are read"
    );
    let value = String::from_utf8_lossy(data);
    if vmx.set("a.key", &value) {
        let text = vmx.to_text();
        let kept = Vmx::parse(text.as_bytes());
        let kept = kept
            .ok()
            .and_then(|vmx| vmx.get("a.key").map(str::to_owned));
        assert!(
            kept.as_deref() == Some(&*value),
            "a setting comes back as {kept:?} and was {value:?}"
        );
    }
}

/// Two files: the length of the first is in front.
fn cut(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return (data, &[]);
    };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    rest.split_at(length)
}

/// The files of the start with changes: which file, where, and a new byte; or a new end.
fn changed(data: &[u8]) -> [Vec<u8>; 2] {
    let mut files = [VMX.to_vec(), NVRAM.to_vec()];
    let (changes, _) = data.as_chunks::<4>();
    for [kind, high, low, value] in changes {
        let place = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(file) = files.get_mut(usize::from(kind & 1)) else {
            continue;
        };
        match kind >> 1 {
            0 => file.truncate(place),
            1 => file.insert(place.min(file.len()), *value),
            _ => {
                let length = file.len().max(1);
                if let Some(byte) = file.get_mut(place % length) {
                    *byte = *value;
                }
            }
        }
    }
    files
}

fn provider(backend: &SimulatedBackend) -> Arc<dyn KeyProvider> {
    let folder = backend
        .ensure_folder(Path::new(FOLDER))
        .and_then(|folder| folder.create("kp1.provider.json"))
        .and_then(|file| file.write_all_at(PROVIDER, 0));
    assert!(folder.is_ok(), "a file is written");
    let provider = ProviderFolder::open(backend, Path::new(FOLDER)).and_then(|it| it.load("kp1"));
    match provider {
        Ok(provider) => Arc::new(provider),
        Err(error) => unreachable!("the key provider of version 1 opens: {error}"),
    }
}

/// The data key and the authenticated settings of the start.
fn key(provider: &dyn KeyProvider) -> Option<(DataKey, TpmBinding)> {
    let vmx = Vmx::parse(VMX).ok()?;
    let binding = TpmBinding::read(&vmx, Path::new("vm.vmx")).ok()??;
    let key = provider
        .unwrap(&binding.locator.key_id, &binding.wrapped)
        .ok()?;
    Some((key, binding))
}

/// Any settings, with the keys of a TPM that authenticate.
fn authenticated_settings(data: &[u8]) -> Option<Vec<u8>> {
    let mut vmx = Vmx::parse(data).ok()?;
    let (key, binding) = key(&*provider(&SimulatedBackend::new()))?;
    binding.write(&mut vmx, &key);
    Some(vmx.to_text().into_bytes())
}

/// Slots of any contents and generations, whose sectors authenticate; one may end early.
fn authenticated_slots(data: &[u8]) -> Vec<u8> {
    let Some((key, binding)) = key(&*provider(&SimulatedBackend::new())) else {
        return Vec::new();
    };
    let header = Header {
        capacity: SECTORS,
        identity: binding.identity,
    };
    let mut bytes = header.encode(&key);
    let sectors = Sectors::new(&key, &binding.identity);
    let (first, second) = cut(data);
    for (slot, data) in [(Slot::Zero, first), (Slot::One, second)] {
        let (generation, data) = data.split_first().unwrap_or((&0, &[]));
        let (written, data) = data.split_first().unwrap_or((&0, &[]));
        let count = format::sectors_for(data.len())
            .unwrap_or(SECTORS)
            .min(SECTORS);
        let generation = u64::from(*generation);
        let mut made = sectors.write(slot, generation, [*written; 8], data, count);
        made.extend(sectors.fillers(slot, count, SECTORS));
        if *written & 0x80 != 0 {
            let before = sectors.fillers(slot, 0, SECTORS);
            let from = usize::from(written & 0x0F) * format::SECTOR_LENGTH;
            made.truncate(from.min(made.len()));
            made.extend(before.get(made.len()..).unwrap_or_default());
        }
        bytes.extend(made);
    }
    bytes
}

fn open(
    backend: &SimulatedBackend,
    provider: &Arc<dyn KeyProvider>,
    options: &OpenOptions,
) -> Result<(VmFile, Contents), StoreError> {
    let ring = BTreeMap::from([("kp1".to_owned(), Arc::clone(provider))]);
    FolderDatastore::open(backend, Path::new(FOLDER))?.open("vm", &ring, options)
}

#[expect(
    clippy::expect_used,
    reason = "a file that cannot be written is a failed test"
)]
fn try_to_open(vmx: &[u8], nvram: &[u8]) {
    let backend = SimulatedBackend::new();
    let provider = provider(&backend);
    let folder = backend
        .ensure_folder(&Path::new(FOLDER).join("vm"))
        .expect("a folder");
    for (name, bytes) in [("vm.vmx", vmx), ("vm.nvram", nvram)] {
        put_file(&*folder, name, bytes, IfPresent::Replace).expect("a file");
    }
    let ring = BTreeMap::from([("kp1".to_owned(), Arc::clone(&provider))]);
    let place = Place::find(&backend, folder.path()).expect("a .vmx");
    let found = offline::examine(&place, Some(&ring)).expect("a folder");
    let opens = open(&backend, &provider, &OpenOptions::default()).is_ok();
    assert!(
        opens == (found.authenticated && !found.is_damaged()),
        "what opens is whole, and nothing else: {:?}",
        found.findings
    );
    for options in [
        OpenOptions::default(),
        OpenOptions {
            accept_rollback: true,
            rescue_older_slot: true,
            ..OpenOptions::default()
        },
    ] {
        match open(&backend, &provider, &options) {
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains(FOLDER),
                    "a refusal says nothing of the file: {text}"
                );
            }
            Ok((mut file, mut contents)) => {
                contents.set(SectionKind::UEFI_VARIABLES, vmx.to_vec());
                let before = file.generation();
                let after = file.save(&contents).expect("what opens can be saved");
                assert!(after > before, "generations rise");
                file.close().expect("what opens can be closed");
                let again = open(&backend, &provider, &OpenOptions::default());
                let (file, found) = again.expect("what was saved opens");
                assert!(
                    found == contents && file.generation() == after,
                    "another state was opened than was saved"
                );
            }
        }
    }
    // The lock is given back, and nothing else stays behind.
    let entries = folder.entries().expect("the entries");
    let known = ["vm.vmx", "vm.nvram", vm_file::LOCK_NAME];
    let is_known = |name: &str| known.contains(&name);
    assert!(
        entries.iter().all(|entry| is_known(&entry.name)),
        "files were left behind: {entries:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_open_or_are_refused_for_a_reason() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for kind in 0..200_u8 {
            let mut data = vec![kind];
            for _ in 0..60 {
                state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                data.push(u8::try_from(state >> 56).unwrap());
            }
            vm_file(&data);
        }
        // What opens, opens: the files as they are, and with their own authentication codes.
        vm_file(&[1]);
        vm_file(&[&[2], VMX].concat());
    }

    #[test]
    fn the_files_of_the_start_are_those_of_version_1() {
        assert_eq!(changed(&[]), [VMX.to_vec(), NVRAM.to_vec()]);
        let backend = SimulatedBackend::new();
        let provider = provider(&backend);
        let folder = backend
            .ensure_folder(&Path::new(FOLDER).join("vm"))
            .unwrap();
        for (name, bytes) in [("vm.vmx", VMX), ("vm.nvram", NVRAM)] {
            put_file(&*folder, name, bytes, IfPresent::Replace).unwrap();
        }
        assert!(open(&backend, &provider, &OpenOptions::default()).is_ok());
    }
}
