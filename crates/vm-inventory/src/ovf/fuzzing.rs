//! Any bytes as a package: what fuzz targets call.

use super::descriptor::Descriptor;
use super::manifest::Manifest;
use super::signature::Signature;
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

/// Any bytes as an archive, a descriptor, a manifest or a certificate file: they are taken or refused for a reason. The first byte says as which.
///
/// # Panics
/// If a rule is broken.
pub fn package(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            let limits = Limits {
                total: 1 << 20,
                unannounced: 1 << 18,
                ..Limits::default()
            };
            let mut shelf = Counting::default();
            let mut reader = data;
            let taken = receive(&mut reader, &limits, &mut shelf, &|_, _| None, &mut |_| {
                Ok(())
            });
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
        3 => drop(Signature::read(data)),
        _ => drop(Manifest::read(data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn changed_seeds_are_taken_or_refused_and_never_break_a_rule() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/ovf");
        let mut seeds: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        seeds.sort();
        let rounds = std::env::var("VTPM_FUZZ_ROUNDS").map_or(200, |it| it.parse().unwrap());
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut roll = |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 16).unwrap() % sides.max(1)
        };
        for seed in seeds {
            let seed = std::fs::read(seed).unwrap();
            for _ in 0..rounds {
                let mut bytes = seed.clone();
                for _ in 0..=roll(4) {
                    let at = roll(bytes.len());
                    match roll(4) {
                        0 => bytes[at] = u8::try_from(roll(256)).unwrap(),
                        1 => bytes.truncate(at.max(1)),
                        2 => {
                            let end = (at + roll(600)).min(bytes.len());
                            let part = bytes[at..end].to_vec();
                            let to = roll(bytes.len());
                            bytes.splice(to..to, part);
                        }
                        _ => bytes.insert(at, b"<>&\"/.=\0"[roll(8)]),
                    }
                }
                package(&bytes);
            }
        }
    }
}
