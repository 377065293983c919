//! The older of the two states in an `.nvram` whose newer one is damaged, put back when somebody says so.

use super::{Place, hold};
use crate::{
    backend::Backend,
    error::StoreError,
    key_provider::KeyProviderLookup,
    nvram::{self, IfPresent, Nvram},
    vm_file::{self, Parts},
};
use std::io;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// The generation of the state that is current now.
    pub generation: u64,
    /// The generation that it had to have at least, by `.vmx`.
    pub floor: u64,
    /// Name of the copy of the damaged file; `None` if nothing was damaged and so nothing was done.
    pub kept: Option<String>,
}

/// Makes the best complete state of a damaged `.nvram` the current one. The damaged file is kept beside it. Whatever happened
/// after that state is lost: for the TPM's user it is a rollback.
pub fn use_older_slot(
    backend: &dyn Backend,
    place: &Place,
    providers: &dyn KeyProviderLookup,
) -> Result<Rescue, StoreError> {
    let name = place.vm()?;
    let folder = &place.folder;
    // The daemon that owns the datastore keeps account of what is in it.
    let _datastore = match place.path().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            let parent = backend
                .open_folder(parent)
                .map_err(StoreError::io("open", parent))?;
            Some(hold(
                &*parent,
                crate::directory::DATASTORE_LOCK,
                parent.path(),
            )?)
        }
        _ => None,
    };
    let Parts {
        lock: _lock,
        mut settings,
        mut binding,
        key,
    } = Parts::unlock(&**folder, name, providers)?;
    let path = folder.path().join(&binding.nvram);
    let file = folder
        .open_read_only(&binding.nvram)
        .map_err(StoreError::io("open", &path))?;
    let bytes = nvram::read_bounded(&*file, &path, nvram::MAX_FILE_LENGTH)?;
    let reading = nvram::read_state(&path, &bytes, &key, &binding.identity, true)?;
    let generation = reading.verdict.write.generation;
    let floor = binding.generation_floor;
    if !reading.rescued && generation >= floor {
        return Ok(Rescue {
            generation,
            floor,
            kept: None,
        });
    }
    let kept = keep_copy(place, &binding.nvram, &bytes)?;
    // The floor first: cut short here, the next try finds everything as it was but for the floor.
    if generation < floor {
        binding.generation_floor = generation;
        binding.write(&mut settings, &key);
        vm_file::write_settings(&**folder, name, &settings)?;
    }
    let temporary = nvram::temporary_name(&binding.nvram)?;
    let put = Nvram::create(
        folder,
        &temporary,
        &key,
        &binding.identity,
        &reading.contents,
        generation,
    )
    .and_then(|nvram| nvram.renamed(&binding.nvram));
    if let Err(error) = put {
        // If it cannot be removed now, whoever opens the VM does it.
        let _ = folder.remove_file(&temporary);
        return Err(error);
    }
    folder
        .sync()
        .map_err(StoreError::io("sync", folder.path()))?;
    Ok(Rescue {
        generation,
        floor,
        kept: Some(kept),
    })
}

fn keep_copy(place: &Place, nvram: &str, bytes: &[u8]) -> Result<String, StoreError> {
    let mut number = 1u32;
    loop {
        let name = kept_name(nvram, number);
        match nvram::put_file(&*place.folder, &name, bytes, IfPresent::Refuse) {
            Ok(()) => return Ok(name),
            Err(StoreError::Io { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists && number < u32::MAX =>
            {
                number += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Name of a damaged file that is kept: of the same kind, so that nobody takes it for a disk.
fn kept_name(nvram: &str, number: u32) -> String {
    let stem = nvram.strip_suffix(SUFFIX).unwrap_or(nvram);
    format!("{stem}{KEPT}{number}{SUFFIX}")
}

/// Whether a file is such a copy.
pub(crate) fn is_kept_copy(nvram: &str, file: &str) -> bool {
    let number = || {
        let stem = nvram.strip_suffix(SUFFIX)?;
        let number = file.strip_prefix(stem)?.strip_prefix(KEPT)?;
        number.strip_suffix(SUFFIX)?.parse().ok()
    };
    number().is_some_and(|number| kept_name(nvram, number) == file)
}

const KEPT: &str = ".damaged-";
const SUFFIX: &str = ".nvram";
