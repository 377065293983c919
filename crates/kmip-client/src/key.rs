//! The bytes of a key, and what an id may look like.

use std::fmt;
use zeroize::Zeroizing;

/// How many bytes a key-encryption key has.
pub const KEY_LENGTH: usize = 32;

/// The bytes of an AES-256 key. Wiped when dropped, in one place in memory, never shown.
pub struct KeyBytes(Box<Zeroizing<[u8; KEY_LENGTH]>>);

impl KeyBytes {
    /// Copies a key; `None` if it has another length.
    pub fn copy_of(bytes: &[u8]) -> Option<Self> {
        let mut key = Box::new(Zeroizing::new([0; KEY_LENGTH]));
        if bytes.len() != KEY_LENGTH {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(..)")
    }
}

/// Whether a text can be a key's id: 1 to 200 bytes without control characters.
pub fn is_key_id(text: &str) -> bool {
    (1..=200).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_bytes_and_shows_none() {
        for length in [0, 16, 31, 33, 64] {
            assert!(KeyBytes::copy_of(&vec![7; length]).is_none());
        }
        let key = KeyBytes::copy_of(&[0xa7; 32]).unwrap();
        assert_eq!(key.expose(), &[0xa7; 32]);
        assert_eq!(format!("{key:?}"), "KeyBytes(..)");
    }

    #[test]
    fn ids_are_short_and_printable() {
        for id in ["1", "b4faee10-aa2a-4446-8ad4-0881f3422959", "ключ"] {
            assert!(is_key_id(id));
        }
        for id in [String::new(), "a\nb".to_owned(), "x".repeat(201)] {
            assert!(!is_key_id(&id));
        }
    }
}
