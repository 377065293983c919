//! `--key` and `--migration-key`: keys and passphrases in files and descriptors, as swtpm takes them.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};
use vm_store::backend::open_named;
use vm_store::key_provider::{KeyFileFormat, KeyFileMode, KeyFileProvider};
use zeroize::Zeroizing;

use super::options::Values;
use crate::cli::process::inherited;

/// The most that is read of a key or passphrase.
const LONGEST: u64 = 4096;
/// What swtpm salts its derivation with, and how often it iterates.
const SALT: &[u8] = b"swtpm";
const ITERATIONS: u32 = 1000;

/// One of the two options.
#[derive(Clone, Debug)]
pub(crate) struct KeyOption {
    source: Source,
    secret: Secret,
    mode: KeyFileMode,
    remove: bool,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Descriptor(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secret {
    Key(KeyFileFormat),
    Passphrase(Derivation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Derivation {
    Sha512,
    Pbkdf2,
}

impl std::str::FromStr for KeyOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let format = match values.take("format")?.as_deref() {
            None | Some("hex") => KeyFileFormat::Hex,
            Some("binary") => KeyFileFormat::Binary,
            Some(other) => return Err(format!("'format={other}' is neither hex nor binary")),
        };
        let derivation = match values.take("kdf")?.as_deref() {
            None | Some("pbkdf2") => Derivation::Pbkdf2,
            Some("sha512") => Derivation::Sha512,
            Some(other) => return Err(format!("'kdf={other}' is neither pbkdf2 nor sha512")),
        };
        let mode = values.take("mode")?.unwrap_or_else(|| "aes-cbc".into());
        let mode = KeyFileMode::parse(&mode)
            .ok_or_else(|| format!("'mode={mode}' is neither aes-cbc nor aes-256-cbc"))?;
        let remove = values.take_flag("remove")?.unwrap_or(false);
        let key = Secret::Key(format);
        let passphrase = Secret::Passphrase(derivation);
        let (source, secret) = match (
            values.take("file")?,
            values.take_parsed("fd")?,
            values.take("pwdfile")?,
            values.take_parsed("pwdfd")?,
        ) {
            (Some(file), None, None, None) => (Source::File(file.into()), key),
            (None, Some(descriptor), None, None) => (Source::Descriptor(descriptor), key),
            (None, None, Some(file), None) => (Source::File(file.into()), passphrase),
            (None, None, None, Some(descriptor)) => (Source::Descriptor(descriptor), passphrase),
            _ => return Err("one of 'file=', 'fd=', 'pwdfile=' and 'pwdfd=' is needed".into()),
        };
        values.finish()?;
        Ok(Self {
            source,
            secret,
            mode,
            remove,
        })
    }
}

/// A key that was read.
pub(crate) struct LoadedKey {
    /// Where it came from, for messages.
    name: String,
    bytes: Zeroizing<Vec<u8>>,
    mode: KeyFileMode,
}

impl LoadedKey {
    /// The key as a provider that the state is kept under.
    pub(crate) fn provider(&self) -> anyhow::Result<KeyFileProvider> {
        Ok(KeyFileProvider::from_file_bytes(
            &self.name,
            &self.bytes,
            KeyFileFormat::Binary,
            self.mode,
        )?)
    }

    /// The key itself.
    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

impl KeyOption {
    /// Reads the key, and removes its file if that was asked for.
    pub(crate) fn load(&self) -> anyhow::Result<LoadedKey> {
        let (name, file) = match &self.source {
            Source::File(path) => (path.display().to_string(), open_named(path)),
            Source::Descriptor(number) => (
                format!("descriptor {number}"),
                inherited(*number).map(File::from),
            ),
        };
        let file = file.with_context(|| format!("the key in {name} cannot be opened"))?;
        let mut text = Zeroizing::new(Vec::with_capacity(
            usize::try_from(LONGEST).unwrap_or_default(),
        ));
        let count = file
            .take(LONGEST)
            .read_to_end(&mut text)
            .with_context(|| format!("the key in {name} cannot be read"))?;
        if u64::try_from(count).is_ok_and(|count| count >= LONGEST) {
            bail!("{name} holds {LONGEST} bytes or more, which is no key");
        }
        let length = match self.mode {
            KeyFileMode::Aes128 => 16,
            KeyFileMode::Aes256 => 32,
        };
        let mut bytes = match self.secret {
            Secret::Key(KeyFileFormat::Binary) => text,
            Secret::Key(KeyFileFormat::Hex) => parse_hex(&text)
                .with_context(|| format!("{name} does not hold hexadecimal digits"))?,
            Secret::Passphrase(derivation) => derive(&text, derivation, length)
                .with_context(|| format!("the passphrase in {name}"))?,
        };
        if bytes.len() < length {
            bail!(
                "{name} holds {} bytes of key, the mode needs {length}",
                bytes.len()
            );
        }
        bytes.truncate(length);
        if let (true, Source::File(path)) = (self.remove, &self.source) {
            std::fs::remove_file(path)
                .with_context(|| format!("{name} was to be removed once it was read"))?;
        }
        Ok(LoadedKey {
            name,
            bytes,
            mode: self.mode,
        })
    }
}

fn parse_hex(text: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let digits = text
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    Ok(Zeroizing::new(hex::decode(digits)?))
}

/// The whole of the file is the passphrase, also the end of its line: so it is for swtpm.
fn derive(
    passphrase: &[u8],
    derivation: Derivation,
    length: usize,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if passphrase.is_empty() {
        bail!("is empty");
    }
    let mut key = match derivation {
        Derivation::Sha512 => Zeroizing::new(Sha512::digest(passphrase).to_vec()),
        Derivation::Pbkdf2 => pbkdf2_sha512(passphrase)?,
    };
    key.truncate(length);
    Ok(key)
}

/// The first block of PBKDF2 with HMAC-SHA-512, which is longer than any key here (RFC 8018, 5.2).
fn pbkdf2_sha512(passphrase: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let keyed = Hmac::<Sha512>::new_from_slice(passphrase)
        .map_err(|_| anyhow::anyhow!("cannot be a key"))?;
    let mut round = keyed
        .clone()
        .chain_update(SALT)
        .chain_update(1_u32.to_be_bytes())
        .finalize()
        .into_bytes();
    let mut key = Zeroizing::new(round.to_vec());
    for _ in 1..ITERATIONS {
        round = keyed.clone().chain_update(round).finalize().into_bytes();
        for (to, from) in key.iter_mut().zip(round) {
            *to ^= from;
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(option: &str, contents: &[u8]) -> anyhow::Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, contents).unwrap();
        let option: KeyOption = option
            .replace("PATH", path.to_str().unwrap())
            .parse()
            .unwrap();
        let key = option.load()?;
        assert_eq!(path.exists(), !option.remove);
        key.provider()?;
        Ok(key.into_bytes().to_vec())
    }

    #[test]
    fn keys_in_both_formats_and_lengths() {
        let key: Vec<u8> = (0..32).collect();
        let digits = hex::encode(&key);
        assert_eq!(
            load("file=PATH,mode=aes-256-cbc", digits.as_bytes()).unwrap(),
            key
        );
        assert_eq!(
            load(
                "file=PATH,mode=aes-256-cbc,format=hex,remove=true",
                format!("0x{digits}\n").as_bytes()
            )
            .unwrap(),
            key
        );
        assert_eq!(load("file=PATH,format=binary", &key).unwrap(), key[..16]);
        assert!(load("file=PATH,mode=aes-256-cbc", &digits.as_bytes()[..32]).is_err());
        assert!(load("file=PATH", b"secret").is_err());
    }

    /// Values from Python's hashlib.
    #[test]
    fn keys_from_passphrases_are_those_of_swtpm() {
        let pbkdf2 = load("pwdfile=PATH,mode=aes-256-cbc", b"mypassword").unwrap();
        assert_eq!(
            hex::encode(pbkdf2),
            "cb9eea7ed94a94b283eb372f4fac80141cda0e4762892d278f1872ace021152d"
        );
        let sha512 = load("pwdfile=PATH,mode=aes-256-cbc,kdf=sha512", b"mypassword").unwrap();
        assert_eq!(
            hex::encode(sha512),
            "a336f671080fbf4f2a230f313560ddf0d0c12dfcf1741e49e8722a234673037d"
        );
        assert!(load("pwdfile=PATH", b"").is_err());
        assert!(
            load("pwdfile=PATH", &[b'x'; 5000]).is_err(),
            "never part of a passphrase"
        );
    }

    #[test]
    fn exactly_one_source_and_known_words_only() {
        for option in [
            "mode=aes-cbc",
            "file=a,fd=3",
            "file=a,mode=rot13",
            "file=a,format=base64",
            "pwdfile=a,kdf=md5",
            "file=a,x=1",
        ] {
            assert!(option.parse::<KeyOption>().is_err(), "{option}");
        }
    }
}
