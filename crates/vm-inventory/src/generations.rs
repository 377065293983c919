//! The generations of running VMs, noted at every save without waiting for the disk.
//!
//! The inventory's floors tell older files from the right ones, but raising a floor costs a transaction with a sync, too much
//! for every save. So each save also overwrites 32 bytes of a plain file: the operating system keeps them when the daemon is
//! killed, and the next daemon raises the floors by them. Only a loss of power takes what was noted since the floors were
//! last raised.
//!
//! A record: VM id (16 bytes), generation (8, big-endian), its bitwise complement (8), which tells a torn or empty record.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::model::VmId;

const RECORD: usize = 32;

/// The file, and which record is whose.
#[derive(Debug)]
pub(crate) struct GenerationNotes {
    file: Arc<File>,
    records: Mutex<BTreeMap<VmId, u64>>,
}

impl GenerationNotes {
    /// Opens the file and reads what an earlier daemon noted. It stays there until [`Self::forget`].
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<(VmId, u64)>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let noted = bytes.chunks_exact(RECORD).filter_map(read).collect();
        let notes = Self {
            file: Arc::new(file),
            records: Mutex::default(),
        };
        Ok((notes, noted))
    }

    /// Forgets what an earlier daemon noted, once the floors are raised.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// The record of a VM, its own for as long as the daemon lives: one that another VM took over would be lost with the VM
    /// that was just powered off.
    pub(crate) fn of(&self, vm: VmId) -> GenerationNote {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u64::try_from(records.len()).unwrap_or(u64::MAX);
        GenerationNote {
            file: Arc::clone(&self.file),
            offset: records
                .entry(vm)
                .or_insert(next)
                .saturating_mul(RECORD as u64),
            vm,
        }
    }
}

/// Where the generations of one running VM are noted.
#[derive(Clone, Debug)]
pub struct GenerationNote {
    file: Arc<File>,
    offset: u64,
    vm: VmId,
}

impl GenerationNote {
    /// Notes that this generation is on stable storage. Call it before anybody is told so.
    ///
    /// # Errors
    /// When the file cannot be written. The floor is raised later then, as after a loss of power.
    pub fn note(&self, generation: u64) -> io::Result<()> {
        let mut record = [0; RECORD];
        let fields = [
            self.vm.0.as_bytes().as_slice(),
            &generation.to_be_bytes(),
            &(!generation).to_be_bytes(),
        ];
        for (place, byte) in record.iter_mut().zip(fields.into_iter().flatten()) {
            *place = *byte;
        }
        self.file.write_all_at(&record, self.offset)
    }
}

fn read(record: &[u8]) -> Option<(VmId, u64)> {
    let (id, rest) = record.split_first_chunk::<16>()?;
    let (generation, complement) = rest.split_first_chunk::<8>()?;
    let generation = u64::from_be_bytes(*generation);
    (complement == (!generation).to_be_bytes()).then(|| (VmId(Uuid::from_bytes(*id)), generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_daemon_reads_the_last_note_of_each_vm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generations");
        let (one, two) = (VmId::random(), VmId::random());
        let (notes, noted) = GenerationNotes::open(&path).unwrap();
        assert_eq!(noted, []);
        notes.of(one).note(7).unwrap();
        notes.of(two).note(1).unwrap();
        notes.of(one).note(8).unwrap();
        let (again, noted) = GenerationNotes::open(&path).unwrap();
        assert_eq!(noted, [(one, 8), (two, 1)]);
        again.forget().unwrap();
        assert_eq!(GenerationNotes::open(&path).unwrap().1, []);
    }

    #[test]
    fn a_torn_record_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generations");
        let (notes, _) = GenerationNotes::open(&path).unwrap();
        notes.of(VmId::random()).note(3).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(GenerationNotes::open(&path).unwrap().1, [], "{length}");
        }
        std::fs::write(&path, [0; RECORD]).unwrap();
        assert_eq!(GenerationNotes::open(&path).unwrap().1, []);
    }
}
