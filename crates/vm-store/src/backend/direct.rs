//! Writes that come as far as the device before they return (`O_DIRECT`), so that one flush serves many files.
//!
//! After such a write nothing of it is left in memory but, at most, in the cache of the device; any `fdatasync` on the same device
//! has that cache written out. This needs a file system that overwrites blocks where they are: only ext4 is known to, and of
//! it only files for which it says that direct writes are possible (not those whose data goes through its journal). Elsewhere each
//! file is synced by itself.

use super::Device;
use rustix::{
    fs::{AtFlags, OFlags, StatxFlags},
    io::Errno,
};
use std::{io, os::fd::OwnedFd};

/// What is known about direct writes to an open file.
#[derive(Debug, Default)]
pub(super) enum Direct {
    #[default]
    Unknown,
    Impossible,
    Possible {
        device: Device,
        /// Whether the descriptor is in that mode now.
        on: bool,
    },
}

impl Direct {
    /// Writes all of `bytes` to the device; `None` if nothing of that kind is possible, and the bytes are still to be written.
    pub(super) fn write(
        &mut self,
        file: &OwnedFd,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<Option<Device>> {
        if matches!(self, Self::Unknown) {
            *self = device_of(file).map_or(Self::Impossible, |device| Self::Possible {
                device,
                on: false,
            });
        }
        let Self::Possible { device, on } = self else {
            return Ok(None);
        };
        if !*on {
            let flags = rustix::fs::fcntl_getfl(file)?;
            if rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
                *self = Self::Impossible;
                return Ok(None);
            }
            *on = true;
        }
        let device = *device;
        // The device takes the bytes from where they are, which must suit it.
        let mut buffer = vec![0; bytes.len().saturating_add(ALIGNMENT)];
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let aligned = buffer
            .get_mut(start..)
            .and_then(|rest| rest.get_mut(..bytes.len()))
            .ok_or(io::ErrorKind::InvalidInput)?;
        aligned.copy_from_slice(bytes);
        loop {
            match rustix::io::pwrite(file, aligned, offset) {
                Ok(count) if count == bytes.len() => return Ok(Some(device)),
                Err(Errno::INTR) => {}
                // Not whole, or not possible after all: it is written once more, through memory.
                Ok(_) | Err(Errno::INVAL) => {
                    self.leave(file)?;
                    *self = Self::Impossible;
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes the descriptor fit for reads and writes of any place and length.
    pub(super) fn leave(&mut self, file: &OwnedFd) -> io::Result<()> {
        if let Self::Possible { on, .. } = self
            && *on
        {
            let flags = rustix::fs::fcntl_getfl(file)?;
            rustix::fs::fcntl_setfl(file, flags.difference(OFlags::DIRECT))?;
            *on = false;
        }
        Ok(())
    }
}

/// The device of a file that overwrites its blocks where they are and takes writes of single sectors.
fn device_of(file: &OwnedFd) -> Option<Device> {
    let file_system = rustix::fs::fstatfs(file).ok()?.f_type;
    if u64::try_from(file_system) != Ok(EXT4) {
        return None;
    }
    let status = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let says = StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::DIOALIGN);
    let fits = |alignment: u32, limit: u32| (1..=limit).contains(&alignment);
    let possible = says
        && fits(status.stx_dio_offset_align, SECTOR)
        && fits(status.stx_dio_mem_align, u32::try_from(ALIGNMENT).ok()?);
    let number = u64::from(status.stx_dev_major) << 32 | u64::from(status.stx_dev_minor);
    possible.then_some(Device(number))
}

/// The magic number of ext4 (and of ext2 and ext3, which the same driver serves).
const EXT4: u64 = 0xEF53;
const SECTOR: u32 = 512;
const ALIGNMENT: usize = 4096;

#[cfg(test)]
mod tests {
    use crate::backend::{Backend as _, LinuxBackend};

    #[test]
    fn direct_writes_and_others_to_one_file_take_turns() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = LinuxBackend.open_folder(scratch.path()).unwrap();
        let file = folder.create("file").unwrap();
        file.write_all_at(&[1; 16384], 0).unwrap();
        file.sync_all().unwrap();
        let mut expected = vec![1; 16384];
        for round in 2..6_u8 {
            let at = usize::from(round) * 512;
            let device = file
                .write_to_device(&vec![round; 1024 + 512 * usize::from(round)], at as u64)
                .unwrap();
            if device.is_none() {
                eprintln!("direct writes are not possible here");
            }
            expected[at..at + 1024 + 512 * usize::from(round)].fill(round);
            // Neither place nor length suits a device.
            let mut found = vec![0; 16383];
            file.read_exact_at(&mut found, 1).unwrap();
            assert!(found == expected[1..], "round {round}");
            file.write_all_at(&[round; 3], 5).unwrap();
            expected[5..8].fill(round);
            file.sync_data().unwrap();
            assert!(std::fs::read(scratch.path().join("file")).unwrap() == expected);
        }
        // What cannot be written directly is written all the same.
        assert_eq!(file.write_to_device(&[9; 7], 3).unwrap(), None);
        expected[3..10].fill(9);
        assert!(std::fs::read(scratch.path().join("file")).unwrap() == expected);
    }
}
