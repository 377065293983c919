//! OVA archives: tar as it goes by.
//!
//! Headers are those of the crate `tar`; the walk from one to the next is our own, because what a member may be, how long its name
//! is and where the archive ends are questions of safety here.

use super::PackageError;
use super::descriptor::file_name;
use super::xml::shown;
use std::io::{self, Read, Write};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Largest extended header that is read.
const MOST_EXTENSION: u64 = 64 * 1024;
/// Padding after the end that is read over.
const MOST_PADDING: u64 = 8 << 20;

/// A member of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    /// Its name: one component, fit for a file.
    pub(super) name: String,
    /// Its length, as its header says.
    pub(super) size: u64,
}

/// The members of an archive, one after the other.
pub(super) struct Members<'a> {
    reader: &'a mut dyn Read,
    /// Bytes of the present member, padding included, that nobody has read yet.
    left: u64,
    padding: u64,
    within: String,
}

impl<'a> Members<'a> {
    pub(super) fn new(reader: &'a mut dyn Read) -> Self {
        Self {
            reader,
            left: 0,
            padding: 0,
            within: "the first header".to_owned(),
        }
    }

    /// The next member; `None` at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, PackageError> {
        self.skip()?;
        let mut long_name = None;
        let mut extended: Option<u64> = None;
        loop {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            if block.iter().all(|byte| *byte == 0) {
                self.end()?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            let size = self.check(header, &block)?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.extension(size)?;
                    let found = pax(&bytes).map_err(|reason| self.refused(reason))?;
                    long_name = found.0.or(long_name);
                    extended = found.1.or(extended);
                }
                EntryType::GNULongName => {
                    let mut bytes = self.extension(size)?;
                    while bytes.last() == Some(&0) {
                        bytes.pop();
                    }
                    long_name = Some(bytes);
                }
                // Defaults for all members: nothing that counts here.
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                EntryType::Regular | EntryType::Continuous => {
                    let size = extended.unwrap_or(size);
                    let raw = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let name = member_name(&raw)?;
                    self.left = size;
                    self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
                    self.within.clone_from(&name);
                    return Ok(Some(Member { name, size }));
                }
                other => {
                    let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
                    let what = match other {
                        EntryType::Directory => "a folder",
                        EntryType::Symlink => "a symbolic link",
                        EntryType::Link => "a hard link",
                        EntryType::GNUSparse => "a file with holes",
                        _ => "no plain file",
                    };
                    return Err(PackageError::refused(
                        &name,
                        format!("it is {what}; an OVA holds plain files side by side"),
                    ));
                }
            }
        }
    }

    /// Reads more of the present member; nothing at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PackageError> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(part) = buffer.get_mut(..wanted).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        loop {
            match self.reader.read(part) {
                Ok(0) => return Err(self.cut("it ends there")),
                Ok(count) => {
                    self.left -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut(&error.to_string())),
            }
        }
    }

    /// Reads over what is left of the present member.
    fn skip(&mut self) -> Result<(), PackageError> {
        let mut buffer = [0; 8192];
        while self.read(&mut buffer)? > 0 {}
        self.left = std::mem::take(&mut self.padding);
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    fn check(&self, header: &Header, block: &[u8; BLOCK]) -> Result<u64, PackageError> {
        // The field of the checksum itself counts as spaces.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                u32::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(self.refused(
                "what follows it is no header of a tar archive; an OVA is an uncompressed tar archive",
            ));
        }
        header
            .entry_size()
            .map_err(|_| self.refused("the header that follows it names no length"))
    }

    /// The content of an extended header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, PackageError> {
        if size > MOST_EXTENSION {
            return Err(PackageError::TooLarge {
                part: self.within.clone(),
                reason: format!("an extended header of {size} bytes; {MOST_EXTENSION} are allowed"),
            });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.read_exact(&mut bytes)?;
        self.left = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.skip()?;
        Ok(bytes)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), PackageError> {
        self.reader
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.cut("the archive ends without its end mark"),
                _ => self.cut(&error.to_string()),
            })
    }

    /// After the first block of zeros only zeros follow.
    fn end(&mut self) -> Result<(), PackageError> {
        let mut buffer = [0; 8192];
        let mut seen = 0u64;
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    seen += count as u64;
                    let part = buffer.get(..count).unwrap_or_default();
                    if part.iter().any(|byte| *byte != 0) || seen > MOST_PADDING {
                        return Err(self.refused("something follows the end of the archive"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut(&error.to_string())),
            }
        }
    }

    fn refused(&self, reason: &str) -> PackageError {
        PackageError::refused(&self.within, reason)
    }

    fn cut(&self, reason: &str) -> PackageError {
        PackageError::Cut {
            part: shown(&self.within),
            reason: reason.to_owned(),
        }
    }
}

/// A name as one component; `./` before it means nothing.
fn member_name(raw: &[u8]) -> Result<String, PackageError> {
    let text = std::str::from_utf8(raw).map_err(|_| {
        PackageError::refused(
            &String::from_utf8_lossy(raw),
            "its name is not UTF-8; pack it under another name",
        )
    })?;
    let name = text.strip_prefix("./").unwrap_or(text);
    file_name(name).map_err(|rule| PackageError::refused(text, rule))?;
    Ok(name.to_owned())
}

/// Path and size out of an extended header of POSIX: `LENGTH KEY=VALUE` lines.
fn pax(bytes: &[u8]) -> Result<(Option<Vec<u8>>, Option<u64>), &'static str> {
    const WRONG: &str = "the extended header that follows it makes no sense";
    let (mut path, mut size) = (None, None);
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or(WRONG)?;
        let (digits, _) = rest.split_at_checked(space).ok_or(WRONG)?;
        let length: usize = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(WRONG)?;
        let (record, after) = rest.split_at_checked(length).ok_or(WRONG)?;
        let record = record
            .get(space + 1..)
            .and_then(|record| record.strip_suffix(b"\n"))
            .ok_or(WRONG)?;
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(value.to_vec());
        } else if let Some(value) = record.strip_prefix(b"size=") {
            let text = std::str::from_utf8(value).map_err(|_| WRONG)?;
            size = Some(text.parse().map_err(|_| WRONG)?);
        }
        rest = after;
    }
    Ok((path, size))
}

/// Writes an archive as it goes by.
pub(crate) struct Writer<'a> {
    out: &'a mut dyn Write,
    left: u64,
    padding: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            left: 0,
            padding: 0,
        }
    }

    /// Begins a member of that length.
    pub(crate) fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.left = size;
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        self.padding = (BLOCK - over) % BLOCK;
        Ok(())
    }

    /// More of the member.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("a member is longer than it was said to be"))?;
        self.out.write_all(bytes)
    }

    /// Ends the member.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(
                "a member is shorter than it was said to be",
            ));
        }
        let zeros = [0; BLOCK];
        self.out
            .write_all(zeros.get(..self.padding).unwrap_or(&zeros))
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}

/// The length of an archive with members of these lengths.
pub(crate) fn length_of(sizes: impl Iterator<Item = u64>) -> u64 {
    let block = BLOCK as u64;
    sizes
        .map(|size| block + size.div_ceil(block).saturating_mul(block))
        .fold(2 * block, u64::saturating_add)
}
