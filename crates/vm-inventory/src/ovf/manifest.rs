//! Manifests: a hash for each file of a package (DSP0243, clause 5.1).

use super::xml::shown;
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The hashes that manifests are made with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    fn parse(word: &str) -> Option<Self> {
        match word {
            "SHA1" | "SHA-1" => Some(Self::Sha1),
            "SHA256" | "SHA-256" => Some(Self::Sha256),
            "SHA512" | "SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// What a manifest says about each file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manifest(pub(crate) BTreeMap<String, (Algorithm, String)>);

impl Manifest {
    /// Reads a manifest; the error says what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut entries = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (name, algorithm, hash) = parse_line(line).ok_or_else(|| {
                format!(
                    "line {} is not of the form SHA256(file)= digits",
                    number + 1
                )
            })?;
            if hash.len() != algorithm.digits() || !hash.bytes().all(|it| it.is_ascii_hexdigit()) {
                return Err(format!(
                    "line {}: the hash of {} has not {} hexadecimal digits",
                    number + 1,
                    shown(name),
                    algorithm.digits()
                ));
            }
            let value = (algorithm, hash.to_ascii_lowercase());
            if entries.insert(name.to_owned(), value).is_some() {
                return Err(format!("{} stands in it twice", shown(name)));
            }
        }
        Ok(Self(entries))
    }

    /// The hash that is to be computed of a file, if this says so.
    pub(crate) fn algorithm_of(&self, file: &str) -> Option<Algorithm> {
        self.0.get(file).map(|(algorithm, _)| *algorithm)
    }
}

/// The parts of a line: file, algorithm, and what stands behind the equals sign.
pub(super) fn parse_line(line: &str) -> Option<(&str, Algorithm, &str)> {
    let (algorithm, rest) = line.split_once('(')?;
    let (name, hash) = rest.rsplit_once(')')?;
    let hash = hash.trim().strip_prefix('=')?.trim();
    Some((name.trim(), Algorithm::parse(algorithm.trim())?, hash))
}

/// Hashes of a file as it goes by: one, or all where nobody knows yet which will be asked for.
#[derive(Default)]
pub(crate) struct Hashing {
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl Hashing {
    /// One hash, or all three.
    pub(crate) fn of(algorithm: Option<Algorithm>) -> Self {
        let wanted = |it| algorithm.is_none_or(|algorithm| algorithm == it);
        Self {
            sha1: wanted(Algorithm::Sha1).then(Sha1::new),
            sha256: wanted(Algorithm::Sha256).then(Sha256::new),
            sha512: wanted(Algorithm::Sha512).then(Sha512::new),
        }
    }

    /// SHA-256 alone, which is what is written.
    pub(crate) fn to_write() -> Self {
        Self::of(Some(Algorithm::Sha256))
    }

    /// More of the file.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.sha1 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha512 {
            hash.update(bytes);
        }
    }

    /// The hashes, as hexadecimal digits.
    pub(crate) fn finish(self) -> BTreeMap<Algorithm, String> {
        let [one, two, three] = Algorithm::ALL;
        let hashes = [
            (one, self.sha1.map(|hash| hex(&hash.finalize()))),
            (two, self.sha256.map(|hash| hex(&hash.finalize()))),
            (three, self.sha512.map(|hash| hex(&hash.finalize()))),
        ];
        hashes
            .into_iter()
            .filter_map(|(algorithm, hash)| Some((algorithm, hash?)))
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A line for a file whose SHA-256 was computed.
pub(crate) fn line(file: &str, hashing: Hashing) -> String {
    let hashes = hashing.finish();
    let hash = hashes.get(&Algorithm::Sha256);
    format!("SHA256({file})= {}\n", hash.map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_programs_write_are_read() {
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        let text = format!(
            "SHA1(a b.ovf)= {sha1}\r\n\nSHA1 (x(1).vmdk) = {}\n",
            sha1.to_uppercase()
        );
        let manifest = Manifest::read(text.as_bytes()).unwrap();
        let mut hashing = Hashing::of(manifest.algorithm_of("a b.ovf"));
        hashing.update(b"abc");
        let found = hashing.finish();
        for file in ["a b.ovf", "x(1).vmdk"] {
            let (algorithm, hash) = &manifest.0[file];
            assert_eq!(found.get(algorithm), Some(hash));
        }
        assert_eq!(found.len(), 1, "only what is asked for");
        assert_eq!(Hashing::of(None).finish().len(), 3);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut hashing = Hashing::to_write();
        hashing.update(b"abc");
        let text = line("a.ovf", hashing);
        let manifest = Manifest::read(text.as_bytes()).unwrap();
        assert!(manifest.0["a.ovf"].1.starts_with("ba7816bf"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "MD5(a)= 00",
            "SHA1(a)= 00",
            "SHA1(a= 00",
            "hello",
            "SHA1(a)= zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(Manifest::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let twice = "SHA1(a)= a9993e364706816aba3e25717850c26c9cd0d89d\n".repeat(2);
        assert!(
            Manifest::read(twice.as_bytes())
                .unwrap_err()
                .contains("twice")
        );
    }
}
