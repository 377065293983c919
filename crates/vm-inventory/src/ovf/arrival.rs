//! A package as it arrives: descriptor, manifest, certificate and files, in the order of DSP0243, clause 5.3.

use super::archive::Members;
use super::manifest::{Hashing, Manifest};
use super::xml::shown;
use super::{Descriptor, PackageError};
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
    /// All its files together: as announced, and as they come.
    pub(crate) total: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            descriptor: 8 << 20,
            manifest: 4 << 20,
            members: 20_000,
            total: 64 << 30,
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

/// Takes a package off a stream. `look` sees the descriptor before any file is taken, and may refuse it.
pub(crate) fn receive(
    reader: &mut dyn Read,
    limits: &Limits,
    shelf: &mut dyn Shelf,
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
        sizes: head
            .descriptor
            .files
            .values()
            .map(|file| (file.href.clone(), file.size))
            .collect(),
        seen: BTreeSet::from([head.name.clone()]),
        total: 0,
        hashes: BTreeMap::from([(head.name.clone(), head.hashes)]),
        manifest: None,
        notes: Vec::new(),
        stem: head.stem,
        descriptor: head.descriptor,
    };
    while let Some(member) = members.next()? {
        arrival.member(&mut members, &member.name, member.size, shelf)?;
    }
    arrival.finish()
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

struct Arrival<'a> {
    limits: &'a Limits,
    descriptor: Descriptor,
    stem: String,
    /// The files that drives have.
    uses: BTreeSet<String>,
    /// The files that the descriptor lists, and how long it says they are.
    sizes: BTreeMap<String, Option<u64>>,
    seen: BTreeSet<String>,
    total: u64,
    hashes: BTreeMap<String, BTreeMap<super::manifest::Algorithm, String>>,
    manifest: Option<(String, Manifest)>,
    notes: Vec<String>,
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
                self.manifest = Some((name.to_owned(), manifest));
                return Ok(());
            }
            Some(".cert") => {
                whole(members, name, size, self.limits.manifest)?;
                self.notes.push(format!(
                    "{name}: the signature of the package was not checked"
                ));
                return Ok(());
            }
            _ => {}
        }
        if let Some(Some(announced)) = self.sizes.get(name)
            && *announced != size
        {
            return Err(refused(format!(
                "it has {size} bytes, the descriptor says {announced}"
            )));
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total {
            return Err(PackageError::TooLarge {
                part: name.to_owned(),
                reason: format!(
                    "the files have more than {} bytes together",
                    self.limits.total
                ),
            }
            .into());
        }
        let kept = self.uses.contains(name);
        if kept && self.descriptor.is_nvram(name) {
            return Err(refused(
                "it is the nvram of a VM and cannot be a drive".to_owned(),
            ));
        }
        let algorithm = self
            .manifest
            .as_ref()
            .and_then(|(_, manifest)| manifest.algorithm_of(name));
        let mut hashing = Hashing::of(algorithm);
        let storing = |error: io::Error| Error::File {
            path: format!("the file {name} of the package"),
            reason: error.to_string(),
        };
        if kept {
            shelf.begin(name).map_err(storing)?;
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = members.read(&mut buffer)?;
            let part = buffer.get(..count).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            hashing.update(part);
            if kept {
                shelf.write(part).map_err(storing)?;
            }
        }
        if kept {
            shelf.end().map_err(storing)?;
        } else if self.descriptor.is_nvram(name) {
            self.notes.push(format!(
                "{name} was read over: no TPM state is taken from a package"
            ));
        } else {
            self.notes
                .push(format!("{name} was left out: no drive of a VM has it"));
        }
        self.hashes.insert(name.to_owned(), hashing.finish());
        Ok(())
    }

    fn finish(mut self) -> Result<Arrived> {
        for file in self.sizes.keys() {
            if !self.seen.contains(file) {
                return Err(PackageError::Cut {
                    part: shown(file),
                    reason: "the descriptor lists it, and the archive does not have it".to_owned(),
                }
                .into());
            }
        }
        match self.manifest.take() {
            None => self
                .notes
                .push("the package has no manifest, so its files were not checked".to_owned()),
            Some((name, manifest)) => self.check(&name, &manifest)?,
        }
        Ok(Arrived {
            descriptor: self.descriptor,
            notes: self.notes,
        })
    }

    /// Every file is in the manifest, and has the hash that stands there.
    fn check(&self, name: &str, manifest: &Manifest) -> Result<(), PackageError> {
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
            let listed = self.sizes.contains_key(file) || file.starts_with(&self.stem);
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
