//! A package as it arrives: descriptor, manifest, certificate and files, in the order of DSP0243, clause 5.3.

use super::archive::Members;
use super::descriptor::Portion;
use super::inflate::{Inflating, Stopped};
use super::manifest::{Hashing, Manifest};
use super::signature::{Signature, SignatureCheck};
use super::xml::shown;
use super::{Descriptor, PackageError};
use crate::model::Timestamp;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

/// What is read of a member at once.
const CHUNK: usize = 256 * 1024;

/// How large a package may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Its descriptor.
    pub(crate) descriptor: u64,
    /// Its manifest, and its certificate.
    pub(crate) manifest: u64,
    /// Its members.
    pub(crate) members: usize,
    /// All its files together: as announced, as they come, and as they are kept.
    pub(crate) total: u64,
    /// What may come of a compressed file of which nothing says how large it is.
    pub(crate) unannounced: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            descriptor: 8 << 20,
            manifest: 4 << 20,
            members: 20_000,
            total: 64 << 30,
            unannounced: 16 << 30,
        }
    }
}

/// Where the files that are kept go.
pub(crate) trait Shelf {
    /// Begins a file of that name.
    fn begin(&mut self, name: &str) -> io::Result<()>;
    /// More of it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file is whole: brings it to stable storage.
    fn end(&mut self) -> io::Result<()>;
}

/// What arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// What the package describes.
    pub(crate) descriptor: Descriptor,
    /// What is worth knowing about it.
    pub(crate) notes: Vec<String>,
}

/// The descriptor of a package; nothing behind it is read.
pub(crate) fn descriptor_of(
    reader: &mut dyn Read,
    limits: &Limits,
) -> Result<Descriptor, PackageError> {
    let mut members = Members::new(reader);
    Ok(read_descriptor(&mut members, limits)?.descriptor)
}

/// Takes a package off a stream. `look` sees the descriptor before any file is taken, and may refuse it; `check` sees a signature.
pub(crate) fn receive(
    reader: &mut dyn Read,
    limits: &Limits,
    shelf: &mut dyn Shelf,
    check: SignatureCheck<'_>,
    look: &mut dyn FnMut(&Descriptor) -> Result<()>,
) -> Result<Arrived> {
    let mut members = Members::new(reader);
    let head = read_descriptor(&mut members, limits)?;
    look(&head.descriptor)?;
    let mut arrival = Arrival {
        limits,
        uses: head
            .descriptor
            .uses()
            .into_keys()
            .map(str::to_owned)
            .collect(),
        portions: head
            .descriptor
            .portions()
            .map_err(|reason| PackageError::refused(&head.name, reason))?,
        open: None,
        seen: BTreeSet::from([head.name.clone()]),
        total: 0,
        hashes: BTreeMap::from([(head.name.clone(), head.hashes)]),
        manifest: None,
        check,
        signature: None,
        notes: Vec::new(),
        stem: head.stem,
        descriptor: head.descriptor,
    };
    while let Some(member) = members.next()? {
        arrival.member(&mut members, &member.name, member.size, shelf)?;
    }
    arrival.finish()
}

fn storing(name: &str, error: &io::Error) -> Error {
    Error::File {
        path: format!("the file {name} of the package"),
        reason: error.to_string(),
    }
}

struct Head {
    name: String,
    stem: String,
    hashes: BTreeMap<super::manifest::Algorithm, String>,
    descriptor: Descriptor,
}

fn read_descriptor(members: &mut Members<'_>, limits: &Limits) -> Result<Head, PackageError> {
    let refused = PackageError::refused;
    let member = members
        .next()?
        .ok_or_else(|| refused("the archive", "it is empty"))?;
    let name = member.name;
    let stem = name
        .len()
        .checked_sub(4)
        .and_then(|end| name.split_at_checked(end))
        .filter(|(_, ending)| ending.eq_ignore_ascii_case(".ovf"))
        .map(|(stem, _)| stem.to_owned())
        .ok_or_else(|| refused(&name, "the first file of an OVA is its descriptor, *.ovf"))?;
    let bytes = whole(members, &name, member.size, limits.descriptor)?;
    let mut hashing = Hashing::of(None);
    hashing.update(&bytes);
    let descriptor =
        Descriptor::read(&bytes).map_err(|reason| PackageError::refused(&name, reason))?;
    let mut total = 0u64;
    for file in descriptor.files.values() {
        total = total.saturating_add(file.size.unwrap_or(0));
    }
    if total > limits.total {
        return Err(PackageError::TooLarge {
            part: name,
            reason: format!(
                "it announces files of {total} bytes; a package has at most {}",
                limits.total
            ),
        });
    }
    Ok(Head {
        name,
        stem,
        hashes: hashing.finish(),
        descriptor,
    })
}

/// A small member, whole.
fn whole(
    members: &mut Members<'_>,
    name: &str,
    size: u64,
    most: u64,
) -> Result<Vec<u8>, PackageError> {
    if size > most {
        return Err(PackageError::TooLarge {
            part: name.to_owned(),
            reason: format!("it has {size} bytes; at most {most} are read"),
        });
    }
    let mut bytes = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = members.read(&mut buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// A file on its way.
struct Open {
    /// Its identifier in the descriptor.
    file: String,
    /// The chunk that is next.
    next: u64,
    inflating: Option<Inflating>,
}

struct Arrival<'a> {
    limits: &'a Limits,
    descriptor: Descriptor,
    stem: String,
    /// The files that drives have.
    uses: BTreeSet<String>,
    /// The files of the archive that the descriptor lists.
    portions: BTreeMap<String, Portion>,
    /// The file of which chunks have come, but not all.
    open: Option<Open>,
    seen: BTreeSet<String>,
    total: u64,
    hashes: BTreeMap<String, BTreeMap<super::manifest::Algorithm, String>>,
    manifest: Option<Listed>,
    check: SignatureCheck<'a>,
    /// The certificate file, and what it says.
    signature: Option<(String, Signature)>,
    notes: Vec<String>,
}

/// A manifest that has come.
struct Listed {
    name: String,
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl Arrival<'_> {
    fn member(
        &mut self,
        members: &mut Members<'_>,
        name: &str,
        size: u64,
        shelf: &mut dyn Shelf,
    ) -> Result<()> {
        let refused = |reason: String| Error::from(PackageError::refused(name, reason));
        if !self.seen.insert(name.to_owned()) {
            return Err(refused("the archive has two files of that name".to_owned()));
        }
        if self.seen.len() > self.limits.members {
            let most = self.limits.members;
            return Err(refused(format!("the archive has more than {most} files")));
        }
        let ending = name.strip_prefix(&self.stem).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some(".mf") => {
                let bytes = whole(members, name, size, self.limits.manifest)?;
                let manifest = Manifest::read(&bytes).map_err(refused)?;
                self.manifest = Some(Listed {
                    name: name.to_owned(),
                    bytes,
                    manifest,
                });
                return Ok(self.check_signature()?);
            }
            Some(".cert") => {
                let bytes = whole(members, name, size, self.limits.manifest)?;
                let signature = Signature::read(&bytes).map_err(refused)?;
                self.signature = Some((name.to_owned(), signature));
                return Ok(self.check_signature()?);
            }
            _ => {}
        }
        let portion = self.portions.get(name).cloned();
        if let Some(announced) = portion.as_ref().and_then(|portion| portion.size)
            && announced != size
        {
            return Err(refused(format!(
                "it has {size} bytes, the descriptor says {announced}"
            )));
        }
        self.grow(name, size)?;
        let algorithm = self
            .manifest
            .as_ref()
            .and_then(|listed| listed.manifest.algorithm_of(name));
        let mut hashing = Hashing::of(algorithm);
        let kept = match portion {
            Some(portion) => self.begin(name, portion, shelf)?,
            None => None,
        };
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = members.read(&mut buffer)?;
            let part = buffer.get(..count).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            hashing.update(part);
            if kept.is_some() {
                self.keep(name, Some(part), shelf)?;
            }
        }
        match kept {
            Some(Portion { last: true, .. }) => {
                self.keep(name, None, shelf)?;
                self.open = None;
                shelf.end().map_err(|error| storing(name, &error))?;
            }
            Some(_) => {}
            None if self.descriptor.is_nvram(name) => self.notes.push(format!(
                "{name} was read over: no TPM state is taken from a package"
            )),
            None => self
                .notes
                .push(format!("{name} was left out: no drive of a VM has it")),
        }
        self.hashes.insert(name.to_owned(), hashing.finish());
        Ok(())
    }

    /// So many bytes more, as they come or as they are kept.
    fn grow(&mut self, name: &str, bytes: u64) -> Result<(), PackageError> {
        self.total = self.total.saturating_add(bytes);
        if self.total > self.limits.total {
            return Err(PackageError::TooLarge {
                part: name.to_owned(),
                reason: format!(
                    "the files have more than {} bytes together",
                    self.limits.total
                ),
            });
        }
        Ok(())
    }

    /// Begins a file, or its next chunk, if a drive has it.
    fn begin(
        &mut self,
        name: &str,
        portion: Portion,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<Portion>> {
        let refused = |reason: &str| Err(PackageError::refused(name, reason).into());
        let next = match &self.open {
            Some(open) if open.file != portion.file => {
                return refused("it comes in the middle of the chunks of another file");
            }
            Some(open) => open.next,
            None => 0,
        };
        let Some(file) = self.descriptor.files.get(&portion.file) else {
            return Ok(None);
        };
        if !self.uses.contains(&file.kept) {
            return Ok(None);
        }
        if portion.number != next {
            return refused("the chunks of a file follow each other, from the first to the last");
        }
        if self.descriptor.is_nvram(&file.href) || self.descriptor.is_nvram(&file.kept) {
            return refused("it is the nvram of a VM and cannot be a drive");
        }
        match &mut self.open {
            Some(open) => open.next += 1,
            None => {
                let most = match self.descriptor.capacity_of(&portion.file) {
                    // Formats of disks have tables besides.
                    Some(capacity) => capacity
                        .saturating_add(capacity / 32)
                        .saturating_add(64 << 20),
                    None => self.limits.unannounced,
                };
                let most = most.min(self.limits.total.saturating_sub(self.total));
                shelf
                    .begin(&file.kept)
                    .map_err(|error| storing(name, &error))?;
                self.open = Some(Open {
                    inflating: file.compressed.then(|| Inflating::new(most)),
                    file: portion.file.clone(),
                    next: 1,
                });
            }
        }
        Ok(Some(portion))
    }

    /// More of the file that has begun, or its end.
    fn keep(&mut self, name: &str, part: Option<&[u8]>, shelf: &mut dyn Shelf) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let mut written = 0u64;
        let mut take = |bytes: &[u8]| {
            written = written.saturating_add(bytes.len() as u64);
            shelf.write(bytes)
        };
        let outcome = match (&mut open.inflating, part) {
            (None, Some(part)) => {
                return shelf.write(part).map_err(|error| storing(name, &error));
            }
            (None, None) => return Ok(()),
            (Some(inflating), Some(part)) => inflating.push(part, &mut take),
            (Some(_), None) => match open.inflating.take() {
                Some(inflating) => inflating.finish(&mut take),
                None => Ok(()),
            },
        };
        match outcome {
            Ok(()) => Ok(self.grow(name, written)?),
            Err(Stopped::NotTaken(error)) => Err(storing(name, &error)),
            Err(Stopped::Damaged(error)) => Err(PackageError::refused(
                name,
                format!("it is said to be compressed with gzip, and is not or is damaged: {error}"),
            )
            .into()),
            Err(Stopped::TooMuch) => Err(PackageError::TooLarge {
                part: name.to_owned(),
                reason: "decompressed it has more bytes than the disk that it is said to be, or than a package may have".to_owned(),
            }
            .into()),
        }
    }

    fn finish(mut self) -> Result<Arrived> {
        for file in self.portions.keys() {
            if !self.seen.contains(file) {
                return Err(PackageError::Cut {
                    part: shown(file),
                    reason: "the descriptor lists it, and the archive does not have it".to_owned(),
                }
                .into());
            }
        }
        match (self.manifest.take(), &self.signature) {
            (None, None) => self
                .notes
                .push("the package has no manifest, so its files were not checked".to_owned()),
            (None, Some((name, _))) => {
                return Err(PackageError::refused(
                    name,
                    "it signs a manifest, and the package has none",
                )
                .into());
            }
            (Some(listed), _) => self.check_hashes(&listed.name, &listed.manifest)?,
        }
        Ok(Arrived {
            descriptor: self.descriptor,
            notes: self.notes,
        })
    }

    /// The signature is that of the manifest, once both have come. Files come after them, as a rule: none of a forged package is taken.
    fn check_signature(&mut self) -> Result<(), PackageError> {
        let (Some(listed), Some((name, signature))) = (&self.manifest, &self.signature) else {
            return Ok(());
        };
        if signature.manifest != listed.name {
            return Err(PackageError::refused(
                name,
                format!(
                    "it signs {}, and the manifest is {}",
                    shown(&signature.manifest),
                    listed.name
                ),
            ));
        }
        let said = match (self.check)(signature, &listed.bytes) {
            None => "the signature of the manifest was not checked".to_owned(),
            Some(Ok(facts)) => signature.words(&facts, Timestamp::now()),
            Some(Err(reason)) => return Err(PackageError::refused(name, reason)),
        };
        self.notes.push(format!("{name}: {said}"));
        Ok(())
    }

    /// Every file is in the manifest, and has the hash that stands there.
    fn check_hashes(&self, name: &str, manifest: &Manifest) -> Result<(), PackageError> {
        for (file, (algorithm, wanted)) in &manifest.0 {
            let Some(hashes) = self.hashes.get(file) else {
                return Err(PackageError::refused(
                    name,
                    format!("it lists {}, which the archive does not have", shown(file)),
                ));
            };
            if hashes.get(algorithm) != Some(wanted) {
                return Err(PackageError::refused(
                    file,
                    format!("its hash is not the one in {name}; the file was changed or damaged"),
                ));
            }
        }
        for file in self.hashes.keys() {
            let listed = self.portions.contains_key(file) || file.starts_with(&self.stem);
            if listed && !manifest.0.contains_key(file) {
                return Err(PackageError::refused(
                    name,
                    format!("it does not list {file}; every file of the package stands in it"),
                ));
            }
        }
        Ok(())
    }
}
