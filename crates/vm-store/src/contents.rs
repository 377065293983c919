//! What a `.nvram` holds: sections, and how they become one sealed record (`docs/vm-file-format.md`, 3.3).

use crate::{
    error::EntropyFailure,
    identity::Identity,
    seal::{self, DataKey, Key, TAG_LENGTH},
};
use std::{collections::BTreeMap, fmt};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Which part of the state a section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionKind(pub u16);

impl SectionKind {
    /// What the TPM keeps without power.
    pub const TPM_PERMANENT: Self = Self(1);
    /// What the TPM of a suspended VM has in RAM.
    pub const TPM_VOLATILE: Self = Self(2);
    /// The firmware's variables, opaque to us.
    pub const UEFI_VARIABLES: Self = Self(3);
}

/// The whole contents of a `.nvram`: plain bytes by section, wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contents {
    sections: BTreeMap<SectionKind, Zeroizing<Vec<u8>>>,
}

impl Contents {
    /// No sections.
    pub fn new() -> Self {
        Self::default()
    }

    /// A TPM's permanent state and nothing else.
    pub fn of_tpm(permanent: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        let mut contents = Self::new();
        contents.set(SectionKind::TPM_PERMANENT, permanent);
        contents
    }

    /// The bytes of a section.
    pub fn get(&self, kind: SectionKind) -> Option<&[u8]> {
        self.sections.get(&kind).map(|bytes| bytes.as_slice())
    }

    /// Puts a section, replacing what was there.
    pub fn set(&mut self, kind: SectionKind, bytes: impl Into<Zeroizing<Vec<u8>>>) {
        self.sections.insert(kind, bytes.into());
    }

    /// Takes a section out.
    pub fn remove(&mut self, kind: SectionKind) -> Option<Zeroizing<Vec<u8>>> {
        self.sections.remove(&kind)
    }

    /// The kinds and lengths of all sections, in order.
    pub fn sections(&self) -> impl Iterator<Item = (SectionKind, usize)> + '_ {
        self.sections
            .iter()
            .map(|(kind, bytes)| (*kind, bytes.len()))
    }

    /// Length of the record that these contents become.
    pub(crate) fn record_length(&self) -> usize {
        self.sections
            .values()
            .map(|bytes| DIRECTORY_ENTRY + bytes.len() + TAG_LENGTH)
            .fold(SALT_LENGTH + 2, usize::saturating_add)
    }

    /// Seals the contents as a record. `None` if a length does not fit its field.
    pub(crate) fn seal(
        &self,
        key: &DataKey,
        context: &RecordContext,
    ) -> Result<Option<Vec<u8>>, EntropyFailure> {
        let salt: [u8; SALT_LENGTH] = seal::random()?;
        let Some(directory) = self.directory() else {
            return Ok(None);
        };
        let record_key = context.record_key(key, &salt);
        // The exact capacity: a reallocation would leave plaintext behind.
        let mut record = Vec::with_capacity(self.record_length());
        record.extend_from_slice(&salt);
        record.extend_from_slice(&directory);
        for (kind, bytes) in &self.sections {
            let start = record.len();
            record.extend_from_slice(bytes);
            let aad = context.associated_data(&directory, *kind);
            if let Some(section) = record.get_mut(start..) {
                let tag = seal::seal_in_place(&record_key, nonce(*kind), &aad, section);
                record.extend_from_slice(&tag);
            }
        }
        drop(record_key);
        seal::wipe_stack();
        Ok(Some(record))
    }

    /// Opens a record and gives what stands behind it; the error says which part of it is wrong.
    pub(crate) fn open<'a>(
        record: &'a [u8],
        key: &DataKey,
        context: &RecordContext,
    ) -> Result<(Self, &'a [u8]), String> {
        let short = || "the record is cut".to_owned();
        let RecordParts {
            salt,
            directory,
            entries,
            mut rest,
        } = RecordParts::read(record)?;
        let record_key = context.record_key(key, salt);
        let mut sections = BTreeMap::new();
        for (kind, length) in entries {
            let (sealed, after) = rest.split_at_checked(length).ok_or_else(short)?;
            let (tag, after) = after.split_first_chunk::<TAG_LENGTH>().ok_or_else(short)?;
            rest = after;
            let mut bytes = Zeroizing::new(sealed.to_vec());
            let aad = context.associated_data(directory, kind);
            if !seal::open_in_place(&record_key, nonce(kind), &aad, &mut bytes, *tag) {
                return Err(format!("section {} does not authenticate", kind.0));
            }
            sections.insert(kind, bytes);
        }
        drop(record_key);
        seal::wipe_stack();
        Ok((Self { sections }, rest))
    }

    fn directory(&self) -> Option<Vec<u8>> {
        let count = u16::try_from(self.sections.len()).ok()?;
        let mut directory = count.to_be_bytes().to_vec();
        for (kind, bytes) in &self.sections {
            directory.extend_from_slice(&kind.0.to_be_bytes());
            directory.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
        }
        Some(directory)
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.sections().map(|(kind, length)| (kind.0, length));
        f.debug_map().entries(lengths).finish()
    }
}

/// The readable parts of a record, which need no key and prove nothing.
pub(crate) struct RecordParts<'a> {
    salt: &'a [u8; SALT_LENGTH],
    directory: &'a [u8],
    /// Kinds and lengths of the sections, in order.
    pub(crate) entries: Vec<(SectionKind, usize)>,
    /// The sealed sections, and whatever follows them.
    rest: &'a [u8],
}

impl<'a> RecordParts<'a> {
    /// Reads them; the error says which part is wrong.
    pub(crate) fn read(record: &'a [u8]) -> Result<Self, String> {
        let short = || "the record is cut".to_owned();
        let (salt, rest) = record
            .split_first_chunk::<SALT_LENGTH>()
            .ok_or_else(short)?;
        let (count, _) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let length = 2 + usize::from(u16::from_be_bytes(*count)) * DIRECTORY_ENTRY;
        let (directory, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let mut entries: Vec<(SectionKind, usize)> = Vec::new();
        for entry in directory
            .get(2..)
            .unwrap_or_default()
            .chunks_exact(DIRECTORY_ENTRY)
        {
            let (kind, length) = read_entry(entry).ok_or_else(short)?;
            if entries.last().is_some_and(|(last, _)| *last >= kind) {
                return Err("the sections are not in order".to_owned());
            }
            entries.push((kind, length));
        }
        Ok(Self {
            salt,
            directory,
            entries,
            rest,
        })
    }

    /// Whether the sections end exactly where the record does.
    pub(crate) fn fits(&self) -> bool {
        let sections = self.entries.iter().fold(0usize, |sum, (_, length)| {
            sum.saturating_add(*length).saturating_add(TAG_LENGTH)
        });
        sections == self.rest.len()
    }
}

/// What a record is bound to: its key is derived from it, and each section is authenticated with it.
pub(crate) struct RecordContext {
    key_info: Vec<u8>,
    associated: Vec<u8>,
}

impl RecordContext {
    /// A record of one generation in a `.nvram`.
    pub(crate) fn nvram(identity: &Identity, generation: u64) -> Self {
        let place = [
            identity.vm_id.as_bytes().as_slice(),
            identity.instance_id.as_bytes(),
            &generation.to_be_bytes(),
        ]
        .concat();
        Self {
            key_info: [b"vtpm.nvram.record.v1", place.as_slice()].concat(),
            associated: [b"vtpm.nvram.v1", place.as_slice()].concat(),
        }
    }

    /// The record of a snapshot, with all of its readable header. The header's length stands in front of it.
    pub(crate) fn snapshot(vm: Uuid, snapshot: Uuid, generation: u64, header: &[u8]) -> Self {
        let length = u16::try_from(header.len()).unwrap_or(u16::MAX);
        Self {
            key_info: [
                b"vtpm.snapshot.record.v1".as_slice(),
                vm.as_bytes(),
                snapshot.as_bytes(),
                &generation.to_be_bytes(),
            ]
            .concat(),
            associated: [
                b"vtpm.snapshot.v1".as_slice(),
                &length.to_be_bytes(),
                header,
            ]
            .concat(),
        }
    }

    fn record_key(&self, key: &DataKey, salt: &[u8]) -> Key {
        seal::derive(key.expose(), Some(salt), &[&self.key_info])
    }

    fn associated_data(&self, directory: &[u8], kind: SectionKind) -> Vec<u8> {
        [self.associated.as_slice(), directory, &kind.0.to_be_bytes()].concat()
    }
}

fn read_entry(entry: &[u8]) -> Option<(SectionKind, usize)> {
    let (kind, rest) = entry.split_first_chunk::<2>()?;
    let length = u32::from_be_bytes(*rest.first_chunk::<4>()?);
    Some((
        SectionKind(u16::from_be_bytes(*kind)),
        usize::try_from(length).ok()?,
    ))
}

fn nonce(kind: SectionKind) -> [u8; 12] {
    let [high, low] = kind.0.to_be_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low]
}

const SALT_LENGTH: usize = 32;
const DIRECTORY_ENTRY: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Contents, DataKey, Identity) {
        let mut contents = Contents::of_tpm(vec![1; 100]);
        contents.set(SectionKind::UEFI_VARIABLES, vec![2; 50]);
        contents.set(SectionKind(9), vec![]);
        (
            contents,
            DataKey::generate().unwrap(),
            Identity::random().unwrap(),
        )
    }

    fn of(identity: &Identity, generation: u64) -> RecordContext {
        RecordContext::nvram(identity, generation)
    }

    #[test]
    fn a_record_opens_to_what_was_sealed() {
        let (contents, key, identity) = sample();
        let record = contents.seal(&key, &of(&identity, 7)).unwrap().unwrap();
        assert_eq!(record.len(), contents.record_length());
        assert_eq!(
            Contents::open(&record, &key, &of(&identity, 7)).unwrap(),
            (contents, [].as_slice())
        );
    }

    #[test]
    fn two_records_of_the_same_contents_share_no_key() {
        let (contents, key, identity) = sample();
        let one = contents.seal(&key, &of(&identity, 7)).unwrap().unwrap();
        let two = contents.seal(&key, &of(&identity, 7)).unwrap().unwrap();
        assert_ne!(one[60..], two[60..]);
    }

    #[test]
    fn a_record_is_bound_to_key_identity_and_generation() {
        let (contents, key, identity) = sample();
        let record = contents.seal(&key, &of(&identity, 7)).unwrap().unwrap();
        let other_key = DataKey::generate().unwrap();
        let other = Identity::random().unwrap();
        let instance = Identity {
            instance_id: other.instance_id,
            ..identity
        };
        assert!(Contents::open(&record, &other_key, &of(&identity, 7)).is_err());
        assert!(Contents::open(&record, &key, &of(&other, 7)).is_err());
        assert!(Contents::open(&record, &key, &of(&instance, 7)).is_err());
        assert!(Contents::open(&record, &key, &of(&identity, 8)).is_err());
    }

    #[test]
    fn every_changed_or_missing_byte_is_refused() {
        let (contents, key, identity) = sample();
        let record = contents.seal(&key, &of(&identity, 7)).unwrap().unwrap();
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(
                Contents::open(&changed, &key, &of(&identity, 7)).is_err(),
                "{at}"
            );
            assert!(
                Contents::open(&record[..at], &key, &of(&identity, 7)).is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn debug_shows_lengths_only() {
        let (contents, ..) = sample();
        assert_eq!(format!("{contents:?}"), "{1: 100, 3: 50, 9: 0}");
    }
}
