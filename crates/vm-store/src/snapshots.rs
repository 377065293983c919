//! Snapshots: the whole state of a VM at one moment, in a file of its own (`docs/vm-file-format.md`, 6).

use crate::{
    backend::Folder,
    contents::{Contents, RecordContext, RecordParts, SectionKind},
    error::StoreError,
    identity::{self, Identity},
    nvram::{self, IfPresent},
    seal::DataKey,
};
use sha2::{Digest, Sha256};
use std::{fmt, path::Path, str::FromStr};
use uuid::Uuid;

/// Longest description of a snapshot, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 4000;

/// Identifies a snapshot, for as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub Uuid);

impl SnapshotId {
    /// A new random identifier.
    pub fn random() -> Result<Self, StoreError> {
        Ok(Self(identity::random_uuid()?))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SnapshotId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(Uuid::try_parse(text)?))
    }
}

/// A snapshot that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Identifies it.
    pub id: SnapshotId,
    /// The snapshot that the VM came from, if any.
    pub parent: Option<SnapshotId>,
    /// Seconds since 1970.
    pub created: u64,
    /// Its name, which stands in the file in clear.
    pub name: String,
    /// What else there is to say about it; in clear too.
    pub description: String,
}

/// What the readable part of a snapshot's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// What was asked for when it was taken.
    pub snapshot: NewSnapshot,
    /// Who the VM was then.
    pub identity: Identity,
    /// The generation of the state that it holds.
    pub generation: u64,
    /// Whether the VM was on, so that the snapshot holds the TPM's volatile state too.
    pub powered_on: bool,
}

/// Checks a name and a description; the error is the rule that is broken.
pub fn check_snapshot_text(name: &str, description: &str) -> Result<(), &'static str> {
    crate::check_name(name)?;
    if description.len() > MAX_DESCRIPTION_BYTES {
        return Err("a description has at most 4000 bytes of UTF-8");
    }
    if description
        .chars()
        .any(|character| character.is_control() && character != '\n')
    {
        return Err("a description contains no control characters but line ends");
    }
    Ok(())
}

/// Name of the file of a snapshot.
pub(crate) fn file_name(id: SnapshotId) -> String {
    format!("{PREFIX}{id}{SUFFIX}")
}

/// The snapshot whose file has this name.
pub(crate) fn id_of_file(name: &str) -> Option<SnapshotId> {
    let id: SnapshotId = name
        .strip_prefix(PREFIX)?
        .strip_suffix(SUFFIX)?
        .parse()
        .ok()?;
    // Only the spelling that we write.
    (file_name(id) == name).then_some(id)
}

/// The bytes of a snapshot's file.
pub(crate) fn seal(
    path: &Path,
    info: &SnapshotInfo,
    contents: &Contents,
    key: &DataKey,
) -> Result<Vec<u8>, StoreError> {
    let snapshot = &info.snapshot;
    let invalid = |rule| StoreError::InvalidName {
        what: "snapshot",
        name: snapshot.name.clone(),
        rule,
    };
    check_snapshot_text(&snapshot.name, &snapshot.description).map_err(invalid)?;
    let too_long = |_| invalid("it is too long");
    let length = HEADER_FIXED + snapshot.name.len() + snapshot.description.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(length).map_err(too_long)?.to_be_bytes());
    bytes.extend_from_slice(info.identity.vm_id.as_bytes());
    bytes.extend_from_slice(info.identity.instance_id.as_bytes());
    bytes.extend_from_slice(snapshot.id.0.as_bytes());
    let parent = snapshot.parent.map_or(Uuid::nil(), |parent| parent.0);
    bytes.extend_from_slice(parent.as_bytes());
    bytes.extend_from_slice(&info.generation.to_be_bytes());
    bytes.extend_from_slice(&snapshot.created.to_be_bytes());
    bytes.push(u8::from(info.powered_on));
    bytes.push(u8::try_from(snapshot.name.len()).map_err(too_long)?);
    let description = u16::try_from(snapshot.description.len()).map_err(too_long)?;
    bytes.extend_from_slice(&description.to_be_bytes());
    bytes.extend_from_slice(snapshot.name.as_bytes());
    bytes.extend_from_slice(snapshot.description.as_bytes());
    let too_large = || StoreError::ContentsTooLarge {
        path: path.to_path_buf(),
        size: contents.record_length(),
        limit: usize::try_from(nvram::MAX_FILE_LENGTH).unwrap_or(usize::MAX),
    };
    let context = info.context(&bytes);
    let record = contents.seal(key, &context)?.ok_or_else(too_large)?;
    bytes.extend_from_slice(&record);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= nvram::MAX_FILE_LENGTH => Ok(bytes),
        _ => Err(too_large()),
    }
}

/// What of a snapshot's file can be read without its key: consistent, but nothing of it proven.
pub(crate) struct Glance<'a> {
    pub(crate) info: SnapshotInfo,
    /// Kinds and lengths of the sections, in order.
    pub(crate) sections: Vec<(SectionKind, usize)>,
    header: &'a [u8],
    record: &'a [u8],
}

/// Reads what needs no key. A file that was cut, or changed by accident, is refused.
pub(crate) fn glance<'a>(path: &Path, bytes: &'a [u8]) -> Result<Glance<'a>, StoreError> {
    let damaged = |reason: &str| StoreError::damaged(path, reason);
    let cut = || damaged("it is cut");
    // The version before all else: what a later one looks like, nobody knows.
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
    let (version, _) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    if magic != MAGIC {
        return Err(damaged("it is no snapshot of ours"));
    }
    let version = u16::from_be_bytes(*version);
    if version != VERSION {
        return Err(StoreError::UnsupportedVersion {
            path: path.to_path_buf(),
            found: version.to_string(),
            supported: VERSION,
        });
    }
    let (covered, digest) = bytes.split_last_chunk::<DIGEST>().ok_or_else(cut)?;
    if Sha256::digest(covered).as_slice() != digest {
        return Err(damaged("its checksum is wrong: it was cut or changed"));
    }
    let parsed = parse_header(covered).ok_or_else(|| damaged("its header makes no sense"))?;
    let (info, header, record) = parsed;
    let snapshot = &info.snapshot;
    check_snapshot_text(&snapshot.name, &snapshot.description).map_err(damaged)?;
    let parts = RecordParts::read(record).map_err(|reason| damaged(&reason))?;
    if !parts.fits() {
        return Err(damaged("its sections do not end where the file does"));
    }
    let first = parts.entries.first().map(|(kind, _)| *kind);
    if first != Some(SectionKind::TPM_PERMANENT) {
        return Err(damaged("it holds no TPM state"));
    }
    Ok(Glance {
        sections: parts.entries,
        info,
        header,
        record,
    })
}

/// Opens the bytes of a snapshot's file.
pub(crate) fn open(
    path: &Path,
    bytes: &[u8],
    key: &DataKey,
    vm: Uuid,
    id: SnapshotId,
) -> Result<(SnapshotInfo, Contents), StoreError> {
    let glance = glance(path, bytes)?;
    let info = glance.info;
    if info.identity.vm_id != vm || info.snapshot.id != id {
        return Err(StoreError::WrongVm {
            path: path.to_path_buf(),
            expected: format!("VM {vm}, snapshot {id}"),
            found: format!("VM {}, snapshot {}", info.identity.vm_id, info.snapshot.id),
        });
    }
    let context = info.context(glance.header);
    let (contents, _) = Contents::open(glance.record, key, &context).map_err(|reason| {
        StoreError::damaged(path, format!("{reason}, or has another data key"))
    })?;
    Ok((info, contents))
}

/// The bytes of a snapshot's file; an error that names it if it is not there.
pub(crate) fn read_file(folder: &dyn Folder, name: &str) -> Result<Vec<u8>, StoreError> {
    let path = folder.path().join(name);
    let file = folder
        .open_read_only(name)
        .map_err(StoreError::io("open the snapshot", &path))?;
    nvram::read_bounded(&*file, &path, nvram::MAX_FILE_LENGTH)
}

/// Puts the file of a new snapshot in place.
pub(crate) fn put(
    folder: &dyn Folder,
    info: &SnapshotInfo,
    contents: &Contents,
    key: &DataKey,
) -> Result<(), StoreError> {
    let name = file_name(info.snapshot.id);
    let bytes = seal(&folder.path().join(&name), info, contents, key)?;
    nvram::put_file(folder, &name, &bytes, IfPresent::Refuse)
}

/// The snapshots that have a file in a VM's folder.
pub(crate) fn ids(folder: &dyn Folder) -> Result<Vec<SnapshotId>, StoreError> {
    let entries = folder
        .entries()
        .map_err(StoreError::io("list", folder.path()))?;
    Ok(entries
        .iter()
        .filter_map(|entry| id_of_file(&entry.name))
        .collect())
}

impl SnapshotInfo {
    fn context(&self, header: &[u8]) -> RecordContext {
        RecordContext::snapshot(
            self.identity.vm_id,
            self.snapshot.id.0,
            self.generation,
            header,
        )
    }
}

fn parse_header(bytes: &[u8]) -> Option<(SnapshotInfo, &[u8], &[u8])> {
    let (_, rest) = bytes.split_at_checked(MAGIC.len() + 2)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (vm, rest) = rest.split_first_chunk::<16>()?;
    let (instance, rest) = rest.split_first_chunk::<16>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (parent, rest) = rest.split_first_chunk::<16>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (created, rest) = rest.split_first_chunk::<8>()?;
    let ([powered_on, name_length], rest) = rest.split_first_chunk::<2>()?;
    let (description_length, rest) = rest.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_length))?;
    let description_length = usize::from(u16::from_be_bytes(*description_length));
    let (description, record) = rest.split_at_checked(description_length)?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let parent = Uuid::from_bytes(*parent);
    let (header, behind) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    if behind.len() != record.len() || *powered_on > 1 {
        return None;
    }
    let info = SnapshotInfo {
        snapshot: NewSnapshot {
            id: SnapshotId(Uuid::from_bytes(*id)),
            parent: (!parent.is_nil()).then_some(SnapshotId(parent)),
            created: u64::from_be_bytes(*created),
            name: text(name)?,
            description: text(description)?,
        },
        identity: Identity {
            vm_id: Uuid::from_bytes(*vm),
            instance_id: Uuid::from_bytes(*instance),
        },
        generation: u64::from_be_bytes(*generation),
        powered_on: *powered_on == 1,
    };
    Some((info, header, record))
}

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".vmsn";
const MAGIC: &[u8; 8] = b"vTPMvmsn";
/// The format version that this code writes.
pub(crate) const VERSION: u16 = 1;
/// Length of the header without the texts at its end.
const HEADER_FIXED: usize = 96;
const DIGEST: usize = 32;
