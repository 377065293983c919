//! Any bytes as a package: what fuzz targets call.

use super::descriptor::Descriptor;
use super::manifest::Manifest;
use super::{Limits, Shelf, receive};
use std::collections::BTreeSet;
use std::io;

/// Keeps names and counts bytes.
#[derive(Default)]
struct Counting {
    names: BTreeSet<String>,
    bytes: u64,
}

impl Shelf for Counting {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        assert!(
            !name.contains(['/', '\0']) && name != ".." && !name.starts_with('.'),
            "{name:?} leaves the folder"
        );
        assert!(self.names.insert(name.to_owned()), "{name:?} comes twice");
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Any bytes as an archive, a descriptor or a manifest: they are taken or refused for a reason. The first byte says as which.
///
/// # Panics
/// If a rule is broken.
pub fn package(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        0 => {
            let limits = Limits {
                total: 1 << 20,
                ..Limits::default()
            };
            let mut shelf = Counting::default();
            let mut reader = data;
            let taken = receive(&mut reader, &limits, &mut shelf, &mut |_| Ok(()));
            if let Ok(taken) = taken {
                assert!(shelf.bytes <= limits.total, "more than is allowed");
                let uses = taken.descriptor.uses();
                assert!(
                    uses.keys().all(|file| shelf.names.contains(*file)),
                    "a drive without its file"
                );
            }
        }
        1 => drop(Descriptor::read(data)),
        _ => drop(Manifest::read(data)),
    }
}
