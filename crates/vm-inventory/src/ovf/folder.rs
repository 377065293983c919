//! Packages on this machine: an OVA file, or a descriptor with its files beside it, as one archive; and the way back.

use super::archive::{Members, Writer, length_of};
use super::descriptor::Descriptor;
use super::{Limits, PackageError};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use vm_store::backend::{open_named, read_named};

/// What is read of a file at once.
const CHUNK: usize = 256 * 1024;

/// A package to be sent.
#[derive(Debug)]
pub struct Pack {
    /// The files of the archive; none if the package is an archive already.
    members: Vec<(String, u64)>,
    path: PathBuf,
    length: u64,
}

impl Pack {
    /// Finds a package: an archive, or a descriptor (`.ovf`) with the files that it lists, its manifest and certificate beside it.
    ///
    /// # Errors
    /// When a file is missing, or the descriptor makes no sense.
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let shown = path.display().to_string();
        let failed = |part: &str, error: io::Error| PackageError::Refused {
            part: part.to_owned(),
            reason: error.to_string(),
        };
        let metadata = size_of(path).map_err(|error| failed(&shown, error))?;
        let is_descriptor = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("ovf"));
        if !is_descriptor {
            return Ok(Self {
                members: Vec::new(),
                path: path.to_owned(),
                length: metadata,
            });
        }
        if metadata > Limits::default().descriptor {
            return Err(PackageError::TooLarge {
                part: shown,
                reason: format!("it has {metadata} bytes"),
            });
        }
        let bytes = read_named(path, Limits::default().descriptor)
            .map_err(|error| failed(&shown, error))?;
        let descriptor =
            Descriptor::read(&bytes).map_err(|reason| PackageError::refused(&shown, reason))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut members = Vec::new();
        let mut add = |name: String, needed: bool| match size_of(&folder.join(&name)) {
            Ok(found) => {
                members.push((name, found));
                Ok(())
            }
            Err(error) if !needed && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&name, error)),
        };
        let name = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.map(str::to_owned).unwrap_or_default()
        };
        add(name(path), true)?;
        for ending in ["mf", "cert"] {
            add(name(&path.with_extension(ending)), false)?;
        }
        let portions = descriptor.portions();
        for file in portions
            .map_err(|reason| PackageError::refused(&shown, reason))?
            .into_keys()
        {
            add(file, true)?;
        }
        Ok(Self {
            length: length_of(members.iter().map(|(_, size)| *size)),
            members,
            path: path.to_owned(),
        })
    }

    /// How many bytes will be written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The archive up to the end of its descriptor: what a preview needs.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some((name, size)) = self.members.first() {
            let mut writer = Writer::new(&mut bytes);
            copy(&mut writer, &self.path, name, *size)?;
            return Ok(bytes);
        }
        let most = Limits::default().descriptor + (1 << 20);
        let mut archive = open_named(&self.path)?.take(most);
        let mut members = Members::new(&mut archive);
        if let Ok(Some(member)) = members.next() {
            let mut content = vec![0; usize::try_from(member.size.min(most)).unwrap_or_default()];
            let mut filled = 0;
            while let Some(rest) = content.get_mut(filled..)
                && let Ok(count) = members.read(rest)
                && count > 0
            {
                filled += count;
            }
            content.truncate(filled);
            let mut writer = Writer::new(&mut bytes);
            writer.begin(&member.name, content.len() as u64)?;
            writer.write(&content)?;
            writer.end()?;
        }
        Ok(bytes)
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// When a file cannot be read, or the writer takes no more.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.members.is_empty() {
            io::copy(&mut open_named(&self.path)?, out)?;
            return out.flush();
        }
        let mut writer = Writer::new(out);
        let folder = self.path.parent().unwrap_or(Path::new(""));
        for (name, size) in &self.members {
            copy(&mut writer, &folder.join(name), name, *size)?;
        }
        writer.finish()
    }
}

/// How many bytes a file has, if it is a regular one.
fn size_of(path: &Path) -> io::Result<u64> {
    Ok(open_named(path)?.metadata()?.len())
}

fn copy(writer: &mut Writer<'_>, path: &Path, name: &str, size: u64) -> io::Result<()> {
    let mut file = open_named(path)?;
    let mut buffer = vec![0; CHUNK];
    writer.begin(name, size)?;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return writer.end();
        }
        writer.write(buffer.get(..count).unwrap_or_default())?;
    }
}

/// Writes the files of an archive side by side into a folder; none of them may be there yet. After a failure none is left.
///
/// # Errors
/// When the archive breaks a rule, or a file cannot be written.
pub fn unpack(archive: &mut dyn Read, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let outcome = unpack_into(archive, folder, &mut written);
    if outcome.is_err() {
        for path in &written {
            // What cannot be removed is no worse than the failure itself.
            let _ = fs::remove_file(path);
        }
    }
    outcome.map(|()| written)
}

fn unpack_into(
    archive: &mut dyn Read,
    folder: &Path,
    written: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let mut members = Members::new(archive);
    let mut buffer = vec![0; CHUNK];
    while let Some(member) = members.next().map_err(io::Error::other)? {
        let path = folder.join(&member.name);
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        written.push(path);
        loop {
            let count = members.read(&mut buffer).map_err(io::Error::other)?;
            if count == 0 {
                break;
            }
            file.write_all(buffer.get(..count).unwrap_or_default())?;
        }
        file.sync_all()?;
    }
    Ok(())
}
