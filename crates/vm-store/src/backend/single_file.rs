//! Folders and files that live in one file: for callers who want the state of a TPM to be one file, or a block device.
//!
//! The file holds two heads of one block each and behind them, each where the other is not, the two newest images of everything. An
//! image is written whole to the place that the newest one does not use, with its head, and then synchronised once: whatever a loss of
//! power leaves of that, one of the heads fits its image. What is inside is what a folder would hold, encrypted and authenticated as
//! there; the digests here find only what a write left half done. The format is in `docs/vm-file-format.md`.

use super::{Backend, BackendFile, Folder, FolderEntry, NotRegular};
use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags, SeekFrom},
    io::Errno,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use zeroize::Zeroizing;

use super::linux::LinuxFile;

const MAGIC: &[u8; 8] = b"vtpm-one";
const VERSION: u32 = 1;
/// What is written at once by every disk.
const BLOCK: u64 = 4096;
/// Where the first image may begin: behind the two heads.
const FIRST_IMAGE: u64 = 2 * BLOCK;
const DIGEST: usize = 32;
/// A state is never larger than this.
const LARGEST: u64 = 64 << 20;
const ROOT: u64 = 0;

/// Folders that are files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleFileBackend;

impl Backend for SingleFileBackend {
    fn open_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        Image::open(path, OFlags::empty())
    }

    fn ensure_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        Image::open(path, OFlags::CREATE)
    }
}

/// Everything that is in the file.
struct Image {
    file: LinuxFile,
    /// Another process has the file: it is not read, and nothing can be changed.
    foreign: bool,
    inner: Mutex<Inner>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    locked: BTreeSet<u64>,
    /// The newest head and its place, if anything was ever written.
    newest: Option<(Head, u64)>,
    changed: bool,
}

#[derive(Clone)]
enum Node {
    File(Zeroizing<Vec<u8>>),
    Folder(BTreeMap<String, u64>),
}

/// Which image, where, and its digest.
#[derive(Clone, Copy)]
struct Head {
    generation: u64,
    offset: u64,
    length: u64,
    digest: [u8; DIGEST],
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        for number in [self.generation, self.offset, self.length] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.digest);
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    /// `None` for bytes that are no head of a version that is known here.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take(MAGIC.len())? != MAGIC || reader.array().map(u32::from_be_bytes)? != VERSION
        {
            return None;
        }
        let head = Self {
            generation: u64::from_be_bytes(reader.array()?),
            offset: u64::from_be_bytes(reader.array()?),
            length: u64::from_be_bytes(reader.array()?),
            digest: reader.array()?,
        };
        let is_whole = head.encode().starts_with(bytes.get(..ENCODED_HEAD)?);
        let is_possible = head.offset >= FIRST_IMAGE && head.length <= LARGEST;
        (is_whole && is_possible).then_some(head)
    }
}

/// Bytes of a head.
const ENCODED_HEAD: usize = MAGIC.len() + 4 + 3 * 8 + 2 * DIGEST;

/// Takes bytes off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).ok()?)
    }
}

impl Image {
    fn open(path: &Path, more: OFlags) -> io::Result<Arc<dyn Folder>> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | more;
        let mode = Mode::RUSR | Mode::WUSR;
        let is_new = !more.is_empty() && matches!(rustix::fs::stat(path), Err(Errno::NOENT));
        let descriptor = rustix::fs::open(path, flags, mode)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => {}
            _ => return Err(NotRegular("a folder, a character device or a FIFO").into()),
        }
        if is_new && let Some(parent) = path.parent() {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::fsync(rustix::fs::open(parent, flags, Mode::empty())?)?;
        }
        let foreign = match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive)
        {
            Ok(()) => false,
            Err(Errno::WOULDBLOCK) => true,
            Err(error) => return Err(error.into()),
        };
        let size = size_of(&descriptor)?;
        let file = LinuxFile::new(descriptor);
        let inner = if foreign {
            Inner::empty()
        } else {
            Inner::read(&file, size)?
        };
        Ok(Arc::new(OneFolder {
            image: Arc::new(Self {
                file,
                foreign,
                inner: Mutex::new(inner),
            }),
            number: ROOT,
            path: path.to_path_buf(),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tree in memory.
    fn change<T>(&self, action: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner();
        let done = action(&mut inner)?;
        inner.changed = true;
        Ok(done)
    }

    /// Writes the tree, if it has changed, and brings it to stable storage.
    fn commit(&self) -> io::Result<()> {
        let mut inner = self.inner();
        if !inner.changed {
            return Ok(());
        }
        if self.foreign {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let bytes = inner.encode()?;
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let (generation, offset, place) = match &inner.newest {
            None => (1, FIRST_IMAGE, 0),
            Some((newest, place)) => {
                let behind = newest
                    .offset
                    .saturating_add(newest.length)
                    .next_multiple_of(BLOCK);
                let fits_before = FIRST_IMAGE.saturating_add(length) <= newest.offset;
                let offset = if fits_before { FIRST_IMAGE } else { behind };
                let generation = newest.generation.checked_add(1);
                (
                    generation.ok_or(io::ErrorKind::InvalidData)?,
                    offset,
                    if *place == 0 { BLOCK } else { 0 },
                )
            }
        };
        let head = Head {
            generation,
            offset,
            length,
            digest: Sha256::digest(&bytes).into(),
        };
        self.file.write_all_at(&bytes, offset)?;
        self.file.write_all_at(&head.encode(), place)?;
        self.file.sync_data()?;
        inner.newest = Some((head, place));
        inner.changed = false;
        Ok(())
    }
}

/// The size of a file, or of a block device.
fn size_of(descriptor: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::seek(descriptor, SeekFrom::End(0))?)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Inner {
    fn empty() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Folder(BTreeMap::new()))]),
            next: ROOT + 1,
            ..Self::default()
        }
    }

    fn read(file: &LinuxFile, size: u64) -> io::Result<Self> {
        if size == 0 {
            return Ok(Self::empty());
        }
        let mut found: Vec<(Head, u64)> = Vec::new();
        let mut is_blank = true;
        for place in [0, BLOCK] {
            let length = size.saturating_sub(place).min(BLOCK);
            let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut block, place)?;
            is_blank &= block.iter().all(|byte| *byte == 0);
            found.extend(Head::decode(&block).map(|head| (head, place)));
        }
        found.sort_by_key(|(head, _)| std::cmp::Reverse(head.generation));
        for (head, place) in found {
            // Behind the end there is nothing: that image was never written.
            let end = head.offset.saturating_add(head.length);
            if end > size {
                continue;
            }
            let length = usize::try_from(head.length).map_err(io::Error::other)?;
            let mut bytes = Zeroizing::new(vec![0; length]);
            file.read_exact_at(&mut bytes, head.offset)?;
            if Sha256::digest(&bytes).as_slice() != head.digest {
                continue;
            }
            let mut inner = Self::decode(&bytes)
                .ok_or_else(|| damaged("what it holds is not what this program wrote"))?;
            inner.newest = Some((head, place));
            return Ok(inner);
        }
        // A new block device, or one that was wiped.
        if is_blank {
            return Ok(Self::empty());
        }
        Err(damaged(
            "it holds no state of this program, or one that is damaged; it is left as it is",
        ))
    }

    /// All folders and files: kind, path and bytes, folders before what is in them.
    fn encode(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        fn put(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            out.extend(length.to_be_bytes());
            out.extend_from_slice(bytes);
            Ok(())
        }
        let mut out = Zeroizing::new(Vec::new());
        let mut waiting = vec![(ROOT, String::new())];
        while let Some((number, path)) = waiting.pop() {
            let Some(Node::Folder(names)) = self.nodes.get(&number) else {
                continue;
            };
            for (name, number) in names {
                let path = format!("{path}/{name}");
                match self.nodes.get(number) {
                    Some(Node::File(bytes)) => {
                        out.push(1);
                        put(&mut out, path.as_bytes())?;
                        put(&mut out, bytes)?;
                    }
                    Some(Node::Folder(_)) => {
                        out.push(0);
                        put(&mut out, path.as_bytes())?;
                        waiting.push((*number, path));
                    }
                    None => {}
                }
            }
        }
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut inner = Self::empty();
        let mut reader = Reader(bytes);
        while let Some([kind]) = reader.array() {
            let path = std::str::from_utf8(reader.sized()?).ok()?;
            let node = match kind {
                0 => Node::Folder(BTreeMap::new()),
                1 => Node::File(Zeroizing::new(reader.sized()?.to_vec())),
                _ => return None,
            };
            let (parent, name) = path.strip_prefix('/')?.rsplit_once('/').unwrap_or_default();
            let name = if name.is_empty() {
                path.strip_prefix('/')?
            } else {
                name
            };
            let mut number = ROOT;
            for part in parent.split('/').filter(|part| !part.is_empty()) {
                number = inner.find(number, part).ok()?;
            }
            inner.add(number, name, node).ok()?;
        }
        Some(inner)
    }

    fn names(&mut self, folder: u64) -> io::Result<&mut BTreeMap<String, u64>> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder(names)) => Ok(names),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn find(&mut self, folder: u64, name: &str) -> io::Result<u64> {
        let found = self.names(folder)?.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn add(&mut self, folder: u64, name: &str, node: Node) -> io::Result<u64> {
        let number = self.next;
        let names = self.names(folder)?;
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.insert(name.to_owned(), number);
        self.nodes.insert(number, node);
        self.next = number.checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
        Ok(number)
    }

    fn rename(&mut self, folder: u64, from: &str, to: &str, replace: bool) -> io::Result<()> {
        let number = self.find(folder, from)?;
        let names = self.names(folder)?;
        if from == to {
            return Ok(());
        }
        if !replace && names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.remove(from);
        // Who has what had the name open keeps reading it; it goes with the process.
        names.insert(to.to_owned(), number);
        Ok(())
    }

    fn is_folder(&self, number: u64) -> bool {
        matches!(self.nodes.get(&number), Some(Node::Folder(_)))
    }

    fn file(&mut self, number: u64) -> io::Result<&mut Zeroizing<Vec<u8>>> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(bytes)) => Ok(bytes),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A folder in the image.
#[derive(Debug)]
struct OneFolder {
    image: Arc<Image>,
    number: u64,
    path: PathBuf,
}

impl OneFolder {
    fn file(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        let mut inner = self.image.inner();
        let number = inner.find(self.number, name)?;
        if inner.is_folder(number) {
            return Err(NotRegular("a folder").into());
        }
        Ok(self.opened(number))
    }

    fn opened(&self, number: u64) -> Box<dyn BackendFile> {
        Box::new(OneFile {
            image: Arc::clone(&self.image),
            number,
            holds_lock: Mutex::new(false),
        })
    }

    fn child(&self, number: u64, name: &str) -> Arc<dyn Folder> {
        Arc::new(Self {
            image: Arc::clone(&self.image),
            number,
            path: self.path.join(name),
        })
    }

    fn remove(&self, name: &str, folder: bool) -> io::Result<()> {
        self.image.change(|inner| {
            let number = inner.find(self.number, name)?;
            match inner.nodes.get(&number) {
                Some(Node::Folder(names)) if folder && !names.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                Some(Node::Folder(_)) if !folder => return Err(NotRegular("a folder").into()),
                Some(Node::File(_)) if folder => return Err(io::ErrorKind::NotADirectory.into()),
                _ => {}
            }
            inner.names(self.number)?.remove(name);
            Ok(())
        })
    }
}

impl Folder for OneFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        let node = Node::File(Zeroizing::default());
        let number = self
            .image
            .change(|inner| inner.add(self.number, name, node))?;
        Ok(self.opened(number))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        self.file(name)
    }

    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        self.file(name)
    }

    fn create_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>> {
        let node = Node::Folder(BTreeMap::new());
        let number = self
            .image
            .change(|inner| inner.add(self.number, name, node))?;
        Ok(self.child(number, name))
    }

    fn open_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>> {
        let mut inner = self.image.inner();
        let number = inner.find(self.number, name)?;
        if !inner.is_folder(number) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(self.child(number, name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.image
            .change(|inner| inner.rename(self.number, from, to, true))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.image
            .change(|inner| inner.rename(self.number, from, to, false))
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.remove(name, false)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.remove(name, true)
    }

    fn entries(&self) -> io::Result<Vec<FolderEntry>> {
        let mut inner = self.image.inner();
        let names = inner.names(self.number)?.clone();
        let entries = names.into_iter().map(|(name, number)| FolderEntry {
            name,
            is_folder: inner.is_folder(number),
        });
        Ok(entries.collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.image.commit()
    }
}

/// A file in the image.
#[derive(Debug)]
struct OneFile {
    image: Arc<Image>,
    number: u64,
    holds_lock: Mutex<bool>,
}

impl Drop for OneFile {
    fn drop(&mut self) {
        let holds = *self
            .holds_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if holds {
            self.image.inner().locked.remove(&self.number);
        }
    }
}

impl BackendFile for OneFile {
    fn size(&self) -> io::Result<u64> {
        u64::try_from(self.image.inner().file(self.number)?.len()).map_err(io::Error::other)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut inner = self.image.inner();
        let bytes = inner.file(self.number)?;
        let from = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get(offset..)?.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        self.image.change(|inner| {
            let bytes = inner.file(self.number)?;
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let end = start.checked_add(new.len());
            let end = end.filter(|end| u64::try_from(*end).is_ok_and(|end| end <= LARGEST));
            let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            let place = bytes.get_mut(start..end);
            place
                .ok_or(io::ErrorKind::InvalidData)?
                .copy_from_slice(new);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.image.commit()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.image.commit()
    }

    /// The file that holds everything is locked as long as it is open; within it, each file is.
    fn try_lock(&self) -> io::Result<bool> {
        if self.image.foreign {
            return Ok(false);
        }
        let mut holds = self
            .holds_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *holds = *holds || self.image.inner().locked.insert(self.number);
        Ok(*holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folder: &Arc<dyn Folder>) -> Vec<(String, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        for entry in folder.entries().unwrap() {
            if entry.is_folder {
                let inside = folder.open_folder(&entry.name).unwrap();
                found.push((entry.name.clone(), None));
                let inside = tree(&inside);
                found.extend(
                    inside
                        .into_iter()
                        .map(|(name, bytes)| (format!("{}/{name}", entry.name), bytes)),
                );
            } else {
                let file = folder.open_read_only(&entry.name).unwrap();
                let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
                file.read_exact_at(&mut bytes, 0).unwrap();
                found.push((entry.name, Some(bytes)));
            }
        }
        found
    }

    /// Fills a file in several commits and gives the tree after each.
    fn history(path: &Path) -> Vec<Vec<(String, Option<Vec<u8>>)>> {
        let root = SingleFileBackend.ensure_folder(path).unwrap();
        let mut states = vec![tree(&root)];
        let made = root.create_folder(".new").unwrap();
        let file = made.create("a").unwrap();
        file.write_all_at(&[1; 9000], 0).unwrap();
        file.sync_all().unwrap();
        states.push(tree(&root));
        root.rename_new(".new", "tpm").unwrap();
        root.sync().unwrap();
        states.push(tree(&root));
        for (byte, size) in [(2, 30_000), (3, 100), (4, 9000)] {
            // It was opened before its folder had its name.
            file.write_all_at(&vec![byte; size], 5).unwrap();
            file.sync_data().unwrap();
            states.push(tree(&root));
        }
        made.create("b").unwrap();
        made.rename("b", "a").unwrap();
        made.sync().unwrap();
        states.push(tree(&root));
        states
    }

    #[test]
    fn what_was_synchronised_is_there_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let last = history(&path).pop().unwrap();
        let root = SingleFileBackend.ensure_folder(&path).unwrap();
        assert_eq!(tree(&root), last);
        assert_eq!(
            last,
            [
                ("tpm".to_owned(), None),
                ("tpm/a".to_owned(), Some(Vec::new()))
            ]
        );
        root.create("c").unwrap();
        drop(root);
        let root = SingleFileBackend.open_folder(&path).unwrap();
        assert_eq!(tree(&root), last, "it was not synchronised");
    }

    #[test]
    fn the_file_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let root = SingleFileBackend.ensure_folder(&path).unwrap();
        let lock = root.create(".lock").unwrap();
        assert!(lock.try_lock().unwrap());
        assert!(!root.open(".lock").unwrap().try_lock().unwrap());
        let other = SingleFileBackend.ensure_folder(&path).unwrap();
        assert!(!other.create(".lock").unwrap().try_lock().unwrap());
        assert!(other.sync().is_err());
        drop((root, lock));
        let root = SingleFileBackend.ensure_folder(&path).unwrap();
        assert!(root.create(".lock").unwrap().try_lock().unwrap());
    }

    #[test]
    fn a_write_that_was_cut_anywhere_leaves_what_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let root = SingleFileBackend.ensure_folder(&path).unwrap();
        let file = root.create("a").unwrap();
        for byte in 1..6_u8 {
            file.write_all_at(&[byte; 700], 0).unwrap();
            file.sync_data().unwrap();
            let before = std::fs::read(&path).unwrap();
            let expected = tree(&root);
            file.write_all_at(&[byte + 100; 800], 0).unwrap();
            file.sync_data().unwrap();
            let after = std::fs::read(&path).unwrap();
            let then = tree(&root);
            // Any block of the write may have come to the disk, or not.
            let blocks = after.len().div_ceil(512);
            let mut old = before.clone();
            old.resize(after.len(), 0);
            let changed: Vec<usize> = (0..blocks)
                .filter(|block| {
                    let end = (block * 512 + 512).min(after.len());
                    old[block * 512..end] != after[block * 512..end]
                })
                .collect();
            assert!((2..10).contains(&changed.len()), "{changed:?}");
            for set in 0..1_u32 << changed.len() {
                let mut torn = old.clone();
                for (bit, block) in changed.iter().enumerate() {
                    if set >> bit & 1 == 1 {
                        let end = (block * 512 + 512).min(after.len());
                        torn[block * 512..end].copy_from_slice(&after[block * 512..end]);
                    }
                }
                let copy = folder.path().join("torn");
                std::fs::write(&copy, torn).unwrap();
                let found = tree(&SingleFileBackend.open_folder(&copy).unwrap());
                assert!(found == expected || found == then, "{byte} {set:b}");
                if set + 1 == 1 << changed.len() {
                    assert_eq!(found, then);
                }
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        std::fs::write(&path, vec![7; 10_000]).unwrap();
        let error = SingleFileBackend.ensure_folder(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 10_000]);
        assert!(SingleFileBackend.ensure_folder(folder.path()).is_err());
        // A new block device is blank.
        std::fs::write(&path, vec![0; 100_000]).unwrap();
        assert_eq!(
            tree(&SingleFileBackend.ensure_folder(&path).unwrap()),
            Vec::new()
        );
        let mut both = history(&path);
        let whole = std::fs::read(&path).unwrap();
        let last = both.pop().unwrap();
        // Without the newest head the one before counts; without both there is nothing to go by.
        let newest = if whole[12..20] > whole[4096 + 12..4096 + 20] {
            0
        } else {
            4096
        };
        let mut bytes = whole.clone();
        bytes[newest + 40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let found = tree(&SingleFileBackend.open_folder(&path).unwrap());
        assert_ne!(found, last);
        assert!(both.contains(&found));
        bytes[4096 - newest + 40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(SingleFileBackend.open_folder(&path).is_err());
    }
}
