//! Which key of which provider: what stands in a VM's file.

use crate::seal::{self, Key};
use std::fmt;
use uuid::Uuid;

/// The id of a key at its provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Takes an id: 1 to 200 bytes without control characters.
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        let fits = (1..=200).contains(&id.len()) && !id.chars().any(char::is_control);
        fits.then_some(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for KeyId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.to_string())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Equal for equal key bytes; tells nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyCheckValue([u8; 8]);

impl KeyCheckValue {
    /// The check value of a key-encryption key.
    pub(crate) fn of_kek(kek: &Key) -> Self {
        Self::first_of(seal::mac(kek, &[b"vtpm.kek.check.v1"]))
    }

    /// The check value of a provider's key-derivation key, bound to the provider's name.
    pub(crate) fn of_provider(key: &Key, name: &str) -> Self {
        Self::first_of(seal::mac(key, &[b"vtpm.kdk.check.v1", name.as_bytes()]))
    }

    /// Reads 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The check value as a KMIP or other provider computes it from its KEK's bytes.
    pub fn from_kek_bytes(kek: &[u8; 32]) -> Self {
        Self::of_kek(&Key::new(*kek))
    }

    fn first_of(mac: [u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = mac;
        Self([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for KeyCheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyCheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key by its provider's name, its id and its check value (`encryption.keySafe` in a `.vmx`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLocator {
    /// The provider's name.
    pub provider: String,
    /// The key's id.
    pub key_id: KeyId,
    /// The key's check value.
    pub check: KeyCheckValue,
}

impl KeyLocator {
    /// Reads the text of `encryption.keySafe`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('/');
        let locator = Self {
            provider: percent_decode(parts.next()?)?,
            key_id: KeyId::new(percent_decode(parts.next()?)?)?,
            check: KeyCheckValue::parse(parts.next()?)?,
        };
        (parts.next().is_none() && !locator.provider.is_empty()).then_some(locator)
    }
}

impl fmt::Display for KeyLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = percent_encode(&self.provider);
        let key_id = percent_encode(self.key_id.as_str());
        write!(f, "{PREFIX}{provider}/{key_id}/{}", self.check)
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.extend(hex::decode(digits).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

const PREFIX: &str = "vtpm:key/v1/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_reads_back() {
        for (provider, id) in [("kp1", "k"), ("a b/%ü", "id/with%slash"), ("仮", "1")] {
            let locator = KeyLocator {
                provider: provider.to_owned(),
                key_id: KeyId::new(id).unwrap(),
                check: KeyCheckValue([7; 8]),
            };
            let text = locator.to_string();
            assert!(text.is_ascii());
            assert_eq!(KeyLocator::parse(&text), Some(locator));
        }
    }

    #[test]
    fn malformed_locators_are_refused() {
        for text in [
            "",
            "vtpm:key/v1/",
            "vtpm:key/v1/p/k",
            "vtpm:key/v1//k/0102030405060708",
            "vtpm:key/v1/p//0102030405060708",
            "vtpm:key/v1/p/k/01",
            "vtpm:key/v1/p/k/0102030405060708/x",
            "vtpm:key/v1/p%/k/0102030405060708",
            "vtpm:key/v1/p%zz/k/0102030405060708",
            "vtpm:key/v2/p/k/0102030405060708",
        ] {
            assert_eq!(KeyLocator::parse(text), None, "{text}");
        }
    }
}
