//! A `.nvram` on a backend: create, open, save, grow (`docs/vm-file-format.md`, 3.4 and 3.5).

use crate::{
    backend::{BackendFile, Device, Folder},
    contents::{Contents, RecordContext},
    error::StoreError,
    format::{self, Header, HeaderFault, Sectors, Slot, Verdict},
    identity::Identity,
    seal::{self, DataKey},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Largest `.nvram` that is read.
pub(crate) const MAX_FILE_LENGTH: u64 = 64 << 20;

/// An open `.nvram`. The caller holds the VM's lock.
#[derive(Debug)]
pub(crate) struct Nvram {
    folder: Arc<dyn Folder>,
    name: String,
    file: Box<dyn BackendFile>,
    header: Header,
    sectors: Sectors,
    key: DataKey,
    slot: Slot,
    /// The newest generation that the file under this name holds.
    generation: u64,
    /// The newest generation that is surely on stable storage: behind `generation` only while `folder_unsynced`.
    acknowledged: u64,
    /// The file was replaced by a larger one and the folder does not know it durably yet.
    folder_unsynced: bool,
    /// A save that came as far as the device.
    unflushed: Option<Unflushed>,
}

/// A save whose bytes the device has, but not yet for sure on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unflushed {
    /// The generation that it will be.
    pub(crate) generation: u64,
    /// A sync of any file there completes it.
    pub(crate) device: Device,
    write_id: [u8; 8],
}

/// How far a save came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// To stable storage.
    Durable(u64),
    /// To the device.
    Unflushed(Unflushed),
}

/// What opening found out beside the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// A save of this generation was interrupted before it was acknowledged; it was dropped.
    pub interrupted: Option<u64>,
    /// Parts of the file that hold nothing of worth any more are damaged; the next save writes them anew.
    pub standby_damage: bool,
    /// One sector of the state, torn by a power cut, was put together from the others; the next save but one writes it anew.
    pub mended: bool,
    /// The older state was taken because the caller asked for it, though a newer one may be lost.
    pub rescued: bool,
}

impl Nvram {
    /// Writes a new file with these contents and syncs it; the folder is the caller's to sync.
    pub(crate) fn create(
        folder: &Arc<dyn Folder>,
        name: &str,
        key: &DataKey,
        identity: &Identity,
        contents: &Contents,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let made = Self::write(folder, name, key, identity, contents, generation)?;
        if let Err(error) = made.sync_new() {
            // Half a file helps nobody; if it cannot be removed, the next owner of the lock does it.
            let _ = folder.remove_file(name);
            return Err(error);
        }
        Ok(made)
    }

    /// The same for a caller that syncs the file, too, with [`Nvram::sync_new`].
    pub(crate) fn write(
        folder: &Arc<dyn Folder>,
        name: &str,
        key: &DataKey,
        identity: &Identity,
        contents: &Contents,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let path = folder.path().join(name);
        let (record, count) = seal_record(&path, key, identity, contents, generation)?;
        let header = Header {
            capacity: format::capacity_for(count),
            identity: *identity,
        };
        Self::lay_out(folder, name, key, header, (&record, count), generation)
    }

    fn lay_out(
        folder: &Arc<dyn Folder>,
        name: &str,
        key: &DataKey,
        header: Header,
        (record, count): (&[u8], u32),
        generation: u64,
    ) -> Result<Self, StoreError> {
        let path = folder.path().join(name);
        let sectors = Sectors::new(key, &header.identity);
        let slot = Slot::Zero;
        let mut bytes = header.encode(key);
        bytes.extend(sectors.write(slot, generation, seal::random()?, record, count));
        bytes.extend(sectors.fillers(slot, count, header.capacity));
        bytes.extend(sectors.fillers(slot.other(), 0, header.capacity));
        let file = folder
            .create(name)
            .map_err(StoreError::io("create", &path))?;
        let written = file
            .write_all_at(&bytes, 0)
            .map_err(StoreError::io("write", &path));
        if let Err(error) = written {
            // Half a file helps nobody; if it cannot be removed, the next owner of the lock does it.
            let _ = folder.remove_file(name);
            return Err(error);
        }
        Ok(Self {
            folder: Arc::clone(folder),
            name: name.to_owned(),
            file,
            header,
            sectors,
            key: key.clone(),
            slot,
            generation,
            acknowledged: generation,
            folder_unsynced: false,
            unflushed: None,
        })
    }

    /// Opens a file and its current contents, which are on stable storage when this returns.
    pub(crate) fn open(
        folder: &Arc<dyn Folder>,
        name: &str,
        key: &DataKey,
        identity: &Identity,
        rescue: bool,
    ) -> Result<(Self, Contents, OpenReport), StoreError> {
        let opened = Self::open_synced(folder, name, key, identity, rescue)?;
        // A killed process may have left its last save in the page cache only.
        opened.0.flush()?;
        Ok(opened)
    }

    /// The same for a file that is known to be on stable storage.
    pub(crate) fn open_synced(
        folder: &Arc<dyn Folder>,
        name: &str,
        key: &DataKey,
        identity: &Identity,
        rescue: bool,
    ) -> Result<(Self, Contents, OpenReport), StoreError> {
        let path = folder.path().join(name);
        let file = folder.open(name).map_err(StoreError::io("open", &path))?;
        let bytes = read_bounded(&*file, &path, MAX_FILE_LENGTH)?;
        let Reading {
            header,
            verdict,
            contents,
            mended,
            rescued,
        } = read_state(&path, &bytes, key, identity, rescue)?;
        let Verdict { slot, write, .. } = verdict;
        let nvram = Self {
            folder: Arc::clone(folder),
            name: name.to_owned(),
            file,
            header,
            sectors: Sectors::new(key, identity),
            key: key.clone(),
            slot,
            generation: write.generation,
            acknowledged: write.generation,
            folder_unsynced: false,
            unflushed: None,
        };
        let report = OpenReport {
            interrupted: verdict.interrupted,
            standby_damage: verdict.standby_damage,
            mended,
            rescued,
        };
        Ok((nvram, contents, report))
    }

    /// Brings a file that was just written to stable storage.
    pub(crate) fn sync_new(&self) -> Result<(), StoreError> {
        self.file
            .sync_all()
            .map_err(StoreError::io("sync", &self.path()))
    }

    /// The file in a folder that was given another name.
    pub(crate) fn moved_to(self, folder: Arc<dyn Folder>) -> Self {
        Self { folder, ..self }
    }

    /// The generation of the last save that was acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The newest generation that the file may hold, acknowledged or not.
    pub(crate) fn newest(&self) -> u64 {
        self.generation
    }

    /// Gives the file another name, replacing what had it; the folder is the caller's to sync.
    pub(crate) fn renamed(mut self, name: &str) -> Result<Self, StoreError> {
        let path = self.folder.path().join(name);
        self.folder
            .rename(&self.name, name)
            .map_err(StoreError::io("replace", &path))?;
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Saves contents durably. On an error the state before stays current, and the next save tries again.
    pub(crate) fn save(&mut self, contents: &Contents) -> Result<u64, StoreError> {
        match self.begin_save(contents)? {
            Progress::Durable(generation) => Ok(generation),
            Progress::Unflushed(save) => {
                self.flush().inspect_err(|_| self.unflushed = None)?;
                self.complete(save)
            }
        }
    }

    /// Saves contents as far as can be done without a sync that others could share. On an error, or if nobody completes it,
    /// the state before stays current.
    pub(crate) fn begin_save(&mut self, contents: &Contents) -> Result<Progress, StoreError> {
        // The slot that is free now is the one that an unfinished save is in.
        if let Some(before) = self.unflushed.take() {
            self.flush()?;
            self.accept(before);
        }
        let path = self.path();
        let generation = self.generation.checked_add(1).ok_or_else(|| {
            StoreError::damaged(&path, "its generation is at the end of its range")
        })?;
        let identity = self.header.identity;
        let (record, count) = seal_record(&path, &self.key, &identity, contents, generation)?;
        if count > self.header.capacity {
            self.grow(contents, generation)?;
            self.acknowledged = generation;
            return Ok(Progress::Durable(generation));
        }
        self.sync_folder()?;
        let slot = self.slot.other();
        let write_id = seal::random()?;
        let bytes = self
            .sectors
            .write(slot, generation, write_id, &record, count);
        let device = self
            .file
            .write_to_device(&bytes, file_offset(self.header.slot_offset(slot)))
            .map_err(StoreError::io("write", &path))?;
        if let Some(device) = device {
            let save = Unflushed {
                generation,
                device,
                write_id,
            };
            self.unflushed = Some(save);
            return Ok(Progress::Unflushed(save));
        }
        self.flush()?;
        self.slot = slot;
        self.generation = generation;
        self.acknowledged = generation;
        Ok(Progress::Durable(generation))
    }

    /// Brings everything to stable storage that this file's device has.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.file
            .sync_data()
            .map_err(StoreError::io("sync", &self.path()))
    }

    /// The device was flushed after this save came to it: it counts.
    pub(crate) fn complete(&mut self, save: Unflushed) -> Result<u64, StoreError> {
        if self.unflushed == Some(save) {
            self.unflushed = None;
            self.accept(save);
        }
        // Completed now, or by the save after it.
        if self.acknowledged >= save.generation {
            return Ok(save.generation);
        }
        let given_up = io::Error::other("a save after it could not be written");
        Err(StoreError::io("save", &self.path())(given_up))
    }

    /// The device could not be flushed: the state before stays current.
    pub(crate) fn abandon(&mut self, save: Unflushed) {
        if self.unflushed == Some(save) {
            self.unflushed = None;
        }
    }

    fn accept(&mut self, save: Unflushed) {
        self.slot = self.slot.other();
        self.generation = save.generation;
        self.acknowledged = save.generation;
    }

    /// A file with slots as small as the format allows, so that a test can try all of its bytes.
    #[cfg(test)]
    pub(crate) fn create_smallest(
        folder: &Arc<dyn Folder>,
        name: &str,
        key: &DataKey,
        identity: &Identity,
        contents: &Contents,
    ) -> Result<Self, StoreError> {
        let (record, count) = seal_record(folder.path(), key, identity, contents, 1)?;
        let header = Header {
            capacity: 8,
            identity: *identity,
        };
        Self::lay_out(folder, name, key, header, (&record, count), 1)
    }

    /// Replaces the file by a larger one that holds these contents.
    fn grow(&mut self, contents: &Contents, generation: u64) -> Result<(), StoreError> {
        let path = self.path();
        let temporary = temporary_name(&self.name)?;
        let identity = self.header.identity;
        let larger = Self::create(
            &self.folder,
            &temporary,
            &self.key,
            &identity,
            contents,
            generation,
        )?;
        if let Err(error) = self.folder.rename(&temporary, &self.name) {
            let _ = self.folder.remove_file(&temporary);
            return Err(StoreError::io("replace", &path)(error));
        }
        // From here on the name means the new file: whatever happens next, later saves must go there,
        // and none may be acknowledged before the folder is synced.
        self.file = larger.file;
        self.header = larger.header;
        self.slot = larger.slot;
        self.generation = larger.generation;
        self.folder_unsynced = true;
        self.sync_folder()
    }

    fn sync_folder(&mut self) -> Result<(), StoreError> {
        if self.folder_unsynced {
            let folder = &self.folder;
            folder
                .sync()
                .map_err(StoreError::io("sync", folder.path()))?;
            self.folder_unsynced = false;
        }
        Ok(())
    }
}

/// What the bytes of a file say.
pub(crate) struct Reading {
    pub(crate) header: Header,
    pub(crate) verdict: Verdict,
    pub(crate) contents: Contents,
    /// A sector that a power cut tore was put together from the others.
    pub(crate) mended: bool,
    /// The older state was taken because the caller asked for it.
    pub(crate) rescued: bool,
}

/// Finds the current state in the bytes of a file, which nothing about is trusted.
pub(crate) fn read_state(
    path: &Path,
    bytes: &[u8],
    key: &DataKey,
    identity: &Identity,
    rescue: bool,
) -> Result<Reading, StoreError> {
    let damaged = |reason: String| StoreError::damaged(path, reason);
    let header = read_header(path, bytes)?;
    if header.identity != *identity {
        return Err(StoreError::WrongVm {
            path: path.to_path_buf(),
            expected: identity.to_string(),
            found: header.identity.to_string(),
        });
    }
    if !Header::is_authentic(bytes, key) {
        return Err(damaged(
            "its header was changed or written under another data key".to_owned(),
        ));
    }
    let sectors = Sectors::new(key, identity);
    let zero = sectors.read(Slot::Zero, header.slot_of(bytes, Slot::Zero));
    let one = sectors.read(Slot::One, header.slot_of(bytes, Slot::One));
    let reading = |verdict: Verdict, bytes: &[u8], mended, rescued| {
        let Verdict { slot, write, .. } = verdict;
        let record = format::record_of(header.slot_of(bytes, slot), write.sectors);
        let context = RecordContext::nvram(identity, write.generation);
        let (contents, _padding) = Contents::open(&record, key, &context).map_err(damaged)?;
        Ok(Reading {
            header,
            verdict,
            contents,
            mended,
            rescued,
        })
    };
    let reason = match format::judge(&zero, &one) {
        Ok(verdict) => return reading(verdict, bytes, false, false),
        Err(reason) => reason,
    };
    let mut whole = bytes.to_vec();
    let mut mended = false;
    for (slot, found) in [(Slot::Zero, &zero), (Slot::One, &one)] {
        let bytes = header.slot_of_mut(&mut whole, slot);
        mended |= sectors.mend(slot, bytes, found);
    }
    if mended {
        let [zero, one] =
            [Slot::Zero, Slot::One].map(|slot| sectors.read(slot, header.slot_of(&whole, slot)));
        let read = format::judge(&zero, &one).map(|verdict| reading(verdict, &whole, true, false));
        if let Ok(Ok(read)) = read {
            return Ok(read);
        }
    }
    match format::best_complete(&zero, &one) {
        Some(best) if rescue => reading(best, bytes, false, true),
        _ => Err(damaged(reason)),
    }
}

/// Reads a whole file unless it is larger than files of its kind may be.
pub(crate) fn read_bounded(
    file: &dyn BackendFile,
    path: &Path,
    limit: u64,
) -> Result<Vec<u8>, StoreError> {
    let size = file.size().map_err(StoreError::io("read", path))?;
    if size > limit {
        return Err(StoreError::TooLarge {
            path: path.to_path_buf(),
            size,
            limit,
        });
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)
        .map_err(StoreError::io("read", path))?;
    Ok(bytes)
}

/// What to do about a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfPresent {
    Replace,
    Refuse,
}

/// Puts a file in place as a whole: new file, sync, rename, sync of the folder.
pub(crate) fn put_file(
    folder: &dyn Folder,
    name: &str,
    bytes: &[u8],
    if_present: IfPresent,
) -> Result<(), StoreError> {
    let file = Unplaced::write(folder, name, bytes)?;
    file.sync()?;
    file.place(if_present)?;
    folder.sync().map_err(StoreError::io("sync", folder.path()))
}

/// A file that was written under a temporary name; removed unless it is put in its place.
#[derive(Debug)]
pub(crate) struct Unplaced<'a> {
    folder: &'a dyn Folder,
    file: Box<dyn BackendFile>,
    temporary: Option<String>,
    name: String,
}

impl<'a> Unplaced<'a> {
    /// Writes a file that is to be called `name`.
    pub(crate) fn write(
        folder: &'a dyn Folder,
        name: &str,
        bytes: &[u8],
    ) -> Result<Self, StoreError> {
        let temporary = temporary_name(name)?;
        let path = folder.path().join(name);
        let file = folder
            .create(&temporary)
            .map_err(StoreError::io("write", &path))?;
        let unplaced = Self {
            folder,
            file,
            temporary: Some(temporary),
            name: name.to_owned(),
        };
        let written = unplaced.file.write_all_at(bytes, 0);
        written.map_err(StoreError::io("write", &path))?;
        Ok(unplaced)
    }

    /// Brings it to stable storage, as has to be done before it gets its name.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file
            .sync_all()
            .map_err(StoreError::io("write", &self.path()))
    }

    /// Gives it its name; the folder is the caller's to sync.
    pub(crate) fn place(mut self, if_present: IfPresent) -> Result<(), StoreError> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        match if_present {
            IfPresent::Replace => self.folder.rename(temporary, &self.name),
            IfPresent::Refuse => self.folder.rename_new(temporary, &self.name),
        }
        .map_err(StoreError::io("write", &self.path()))?;
        self.temporary = None;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }
}

impl Drop for Unplaced<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed now, the next owner of the folder removes.
            let _ = self.folder.remove_file(temporary);
        }
    }
}

/// Name of a file that will replace `name`.
pub(crate) fn temporary_name(name: &str) -> Result<String, StoreError> {
    let random: [u8; 8] = seal::random()?;
    Ok(format!(".{name}{TEMPORARY}{}", hex::encode(random)))
}

/// Whether an interrupted operation left this name behind.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.contains(TEMPORARY) && next_of(name).is_none()
}

/// Name of the file that takes the place of `name` once `.vmx` was switched over to it.
pub(crate) fn next_name(name: &str) -> String {
    format!(".{name}{NEXT}")
}

/// The name whose place a file waits to take.
pub(crate) fn next_of(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(NEXT)
}

pub(crate) fn read_header(path: &Path, bytes: &[u8]) -> Result<Header, StoreError> {
    let header = Header::parse(bytes).map_err(|fault| match fault {
        HeaderFault::Version(found) => StoreError::UnsupportedVersion {
            path: path.to_path_buf(),
            found: found.to_string(),
            supported: format::VERSION,
        },
        HeaderFault::Malformed(reason) => StoreError::damaged(path, reason),
    })?;
    if bytes.len() != header.file_length() {
        return Err(StoreError::damaged(
            path,
            format!(
                "it has {} bytes instead of {}",
                bytes.len(),
                header.file_length()
            ),
        ));
    }
    Ok(header)
}

fn seal_record(
    path: &Path,
    key: &DataKey,
    identity: &Identity,
    contents: &Contents,
    generation: u64,
) -> Result<(Vec<u8>, u32), StoreError> {
    let too_large = || StoreError::ContentsTooLarge {
        path: path.to_path_buf(),
        size: contents.record_length(),
        limit: format::max_record_length(),
    };
    if contents.record_length() > format::max_record_length() {
        return Err(too_large());
    }
    let record = contents
        .seal(key, &RecordContext::nvram(identity, generation))?
        .ok_or_else(too_large)?;
    let count = format::sectors_for(record.len()).ok_or_else(too_large)?;
    Ok((record, count))
}

fn file_offset(offset: usize) -> u64 {
    u64::try_from(offset).unwrap_or(u64::MAX)
}

const TEMPORARY: &str = ".tmp-";
const NEXT: &str = ".next";
