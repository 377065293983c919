//! A key that the user keeps in a file: `--key file=...[,format=hex|binary][,mode=aes-cbc|aes-256-cbc]`.
//!
//! The options are swtpm's. The mode says how long the key is and nothing else: state is always sealed with AES-256-GCM
//! under keys derived from it.

use super::{KeyCheckValue, KeyId, KeyProvider, KeyProviderKind, KeyProviderStatus};
use crate::{
    error::KeyProviderError,
    identity,
    seal::{self, DataKey, Key, WrappedKey},
};
use std::fmt;
use zeroize::Zeroizing;

/// How the bytes of a key file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyFileFormat {
    /// Hexadecimal digits, `0x` in front allowed.
    #[default]
    Hex,
    /// The key itself.
    Binary,
}

/// Which key length the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyFileMode {
    /// `aes-cbc` or `aes-128-cbc`: 16 bytes.
    #[default]
    Aes128,
    /// `aes-256-cbc`: 32 bytes.
    Aes256,
}

impl KeyFileMode {
    /// Reads the option's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "aes-cbc" | "aes-128-cbc" => Some(Self::Aes128),
            "aes-256-cbc" => Some(Self::Aes256),
            _ => None,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

/// A provider with the one key that the user gave.
pub struct KeyFileProvider {
    key: Zeroizing<Vec<u8>>,
}

impl KeyFileProvider {
    /// The name that stands in files sealed under such a key.
    pub const NAME: &'static str = "file";

    /// Takes the contents of a key file; `file` names it in messages.
    pub fn from_file_bytes(
        file: &str,
        bytes: &[u8],
        format: KeyFileFormat,
        mode: KeyFileMode,
    ) -> Result<Self, KeyProviderError> {
        let fault = |reason: String| KeyProviderError::KeyFile {
            file: file.to_owned(),
            reason,
        };
        let mut key = match format {
            KeyFileFormat::Binary => Zeroizing::new(bytes.to_vec()),
            KeyFileFormat::Hex => {
                let digits = bytes.trim_ascii();
                let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
                Zeroizing::new(hex::decode(digits).map_err(|_| {
                    fault(
                        "it does not hold hexadecimal digits. Write them, or say format=binary"
                            .to_owned(),
                    )
                })?)
            }
        };
        let length = mode.length();
        if key.len() < length {
            return Err(fault(format!(
                "it holds {} bytes of key, the mode needs {length}",
                key.len()
            )));
        }
        key.truncate(length);
        Ok(Self { key })
    }

    fn kek(&self, key_id: &KeyId) -> Key {
        seal::derive(
            &self.key,
            None,
            &[super::native::KEK, key_id.as_str().as_bytes()],
        )
    }
}

impl fmt::Debug for KeyFileProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFileProvider(..)")
    }
}

impl KeyProvider for KeyFileProvider {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn kind(&self) -> KeyProviderKind {
        KeyProviderKind::KeyFile
    }

    fn status(&self) -> KeyProviderStatus {
        KeyProviderStatus::Active
    }

    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        Ok(KeyId::from(identity::random_uuid()?))
    }

    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError> {
        Ok(KeyCheckValue::of_kek(&self.kek(key_id)))
    }

    fn wrap(&self, key_id: &KeyId, data_key: &DataKey) -> Result<WrappedKey, KeyProviderError> {
        Ok(seal::wrap(&self.kek(key_id), key_id.as_str(), data_key)?)
    }

    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError> {
        seal::unwrap(&self.kek(key_id), key_id.as_str(), wrapped).ok_or_else(|| {
            KeyProviderError::DoesNotUnwrap {
                provider: Self::NAME.to_owned(),
                key_id: key_id.clone(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_and_lengths_are_read() {
        let hex = b"0x000102030405060708090a0b0c0d0e0f\n";
        let raw: Vec<u8> = (0..16).collect();
        let take = |bytes: &[u8], format| {
            KeyFileProvider::from_file_bytes("k", bytes, format, KeyFileMode::Aes128).unwrap()
        };
        let id = KeyId::new("x").unwrap();
        let a = take(hex, KeyFileFormat::Hex).check_value(&id).unwrap();
        let b = take(&raw, KeyFileFormat::Binary).check_value(&id).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn a_key_too_short_for_its_mode_or_no_hex_is_refused() {
        for (bytes, format, mode) in [
            (b"0011".as_slice(), KeyFileFormat::Hex, KeyFileMode::Aes128),
            (&[0; 31], KeyFileFormat::Binary, KeyFileMode::Aes256),
            (b"zz", KeyFileFormat::Hex, KeyFileMode::Aes128),
            (b"", KeyFileFormat::Binary, KeyFileMode::Aes128),
        ] {
            let error = KeyFileProvider::from_file_bytes("key.txt", bytes, format, mode);
            assert!(error.unwrap_err().to_string().contains("key.txt"));
        }
    }
}
