//! State on its way between hosts: what GET_STATEBLOB gives and SET_STATEBLOB takes.
//!
//! A blob is the magic `vtpm-blb`, a version byte, the kind, the flags, the state, and SHA-256 over all of these; with a key, what
//! follows the header is what [`BlobKey::seal`] made of it. Sealing with the file key happens inside, sealing with the migration
//! key outside. The digest finds accidents; only a key finds malice.

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"vtpm-blb";
const VERSION: u8 = 1;
const FLAG_FILE_KEY: u8 = 1;
const FLAG_MIGRATION_KEY: u8 = 2;
const DIGEST: usize = 32;
const SALT: usize = 32;
const TAG: usize = 16;

/// A key that blobs are sealed with.
pub struct BlobKey(Zeroizing<Vec<u8>>);

impl BlobKey {
    /// A key from the bytes that the user gave, of any length.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Encrypts and authenticates `plain`, bound to `context`, by AES-256-GCM under a key of its own: derived with a random salt,
    /// which stands in front. The nonce may therefore be zero.
    fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        SysRng.try_fill_bytes(&mut salt).ok()?;
        let mut sealed = Vec::with_capacity(SALT + plain.len() + TAG);
        sealed.extend(salt);
        sealed.extend(plain);
        let (_, body) = sealed.split_at_mut_checked(SALT)?;
        let tag = self
            .cipher(&salt)?
            .encrypt_inout_detached(&Nonce::default(), context, body.into())
            .ok()?;
        sealed.extend(tag);
        Some(sealed)
    }

    /// Undoes [`BlobKey::seal`]; `None` if the bytes are not what it made with this key and context.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (salt, rest) = sealed.split_at_checked(SALT)?;
        let (body, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let tag = Tag::try_from(tag).ok()?;
        self.cipher(salt)?
            .decrypt_inout_detached(
                &Nonce::default(),
                context,
                plain.as_mut_slice().into(),
                &tag,
            )
            .ok()?;
        Some(plain)
    }

    fn cipher(&self, salt: &[u8]) -> Option<Aes256Gcm> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), &self.0)
            .expand(b"vtpm.blob.v1", key.as_mut_slice())
            .ok()?;
        Some(Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)))
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BlobKey(..)")
    }
}

/// What is in a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Permanent,
    Volatile,
    SaveState,
}

impl Kind {
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Permanent,
            2 => Self::Volatile,
            3 => Self::SaveState,
            _ => return None,
        })
    }

    fn code(self) -> u8 {
        match self {
            Self::Permanent => 1,
            Self::Volatile => 2,
            Self::SaveState => 3,
        }
    }
}

/// Why a blob was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("it is not a state blob of this program")]
    Foreign,
    #[error("it holds another kind of state")]
    OtherKind,
    #[error("it is sealed with a {0} key and none was given")]
    NoKey(&'static str),
    #[error("it does not open with the given {0} key: wrong key, cut or altered")]
    Closed(&'static str),
    #[error("it was cut or altered")]
    Altered,
    #[error("sealing it failed")]
    Seal,
}

/// The keys at hand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Keys<'a> {
    pub(crate) file: Option<&'a BlobKey>,
    pub(crate) migration: Option<&'a BlobKey>,
}

/// Packs `state`, sealed with every key in `keys`.
pub(crate) fn pack(
    kind: Kind,
    state: &[u8],
    keys: Keys<'_>,
) -> Result<Zeroizing<Vec<u8>>, BlobError> {
    let mut flags = 0;
    if keys.file.is_some() {
        flags |= FLAG_FILE_KEY;
    }
    if keys.migration.is_some() {
        flags |= FLAG_MIGRATION_KEY;
    }
    let mut blob = MAGIC.to_vec();
    blob.extend([VERSION, kind.code(), flags]);
    let mut body = Zeroizing::new(state.to_vec());
    body.extend(digest(&blob, state));
    for key in [keys.file, keys.migration].into_iter().flatten() {
        body = Zeroizing::new(key.seal(&blob, &body).ok_or(BlobError::Seal)?);
    }
    blob.extend(body.iter());
    Ok(Zeroizing::new(blob))
}

/// Takes the state out of a blob.
pub(crate) fn unpack(
    kind: Kind,
    blob: &[u8],
    keys: Keys<'_>,
) -> Result<Zeroizing<Vec<u8>>, BlobError> {
    let (header, body) = blob
        .split_at_checked(MAGIC.len() + 3)
        .ok_or(BlobError::Foreign)?;
    let (magic, fields) = header
        .split_at_checked(MAGIC.len())
        .ok_or(BlobError::Foreign)?;
    let [VERSION, found, flags] = *fields else {
        return Err(BlobError::Foreign);
    };
    if magic != MAGIC || flags & !(FLAG_FILE_KEY | FLAG_MIGRATION_KEY) != 0 {
        return Err(BlobError::Foreign);
    }
    if found != kind.code() {
        return Err(BlobError::OtherKind);
    }
    let mut body = Zeroizing::new(body.to_vec());
    for (flag, key, name) in [
        (FLAG_MIGRATION_KEY, keys.migration, "migration"),
        (FLAG_FILE_KEY, keys.file, "state"),
    ] {
        if flags & flag != 0 {
            body = key
                .ok_or(BlobError::NoKey(name))?
                .open(header, &body)
                .ok_or(BlobError::Closed(name))?;
        }
    }
    let length = body.len().checked_sub(DIGEST).ok_or(BlobError::Altered)?;
    let (state, found) = body.split_at_checked(length).ok_or(BlobError::Altered)?;
    if digest(header, state) != found {
        return Err(BlobError::Altered);
    }
    body.truncate(length);
    Ok(body)
}

fn digest(header: &[u8], state: &[u8]) -> [u8; DIGEST] {
    Sha256::new()
        .chain_update(header)
        .chain_update(state)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> BlobKey {
        BlobKey::new(Zeroizing::new(vec![byte; 16]))
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let (file, migration) = (key(1), key(2));
        for keys in [
            Keys::default(),
            Keys {
                file: Some(&file),
                migration: None,
            },
            Keys {
                file: None,
                migration: Some(&migration),
            },
            Keys {
                file: Some(&file),
                migration: Some(&migration),
            },
        ] {
            let blob = pack(Kind::Permanent, b"state", keys).unwrap();
            assert_eq!(
                unpack(Kind::Permanent, &blob, keys).unwrap().as_slice(),
                b"state"
            );
            assert_eq!(
                unpack(Kind::Volatile, &blob, keys),
                Err(BlobError::OtherKind)
            );
        }
    }

    #[test]
    fn a_sealed_blob_needs_its_key() {
        let migration = key(2);
        let blob = pack(
            Kind::Volatile,
            b"state",
            Keys {
                file: None,
                migration: Some(&migration),
            },
        )
        .unwrap();
        assert_eq!(
            unpack(Kind::Volatile, &blob, Keys::default()),
            Err(BlobError::NoKey("migration"))
        );
        let other = key(9);
        assert_eq!(
            unpack(
                Kind::Volatile,
                &blob,
                Keys {
                    file: None,
                    migration: Some(&other)
                }
            ),
            Err(BlobError::Closed("migration"))
        );
    }

    #[test]
    fn foreign_and_cut_headers_are_refused() {
        let blob = pack(Kind::Permanent, b"state", Keys::default()).unwrap();
        for length in 0..11 {
            assert_eq!(
                unpack(Kind::Permanent, &blob[..length], Keys::default()),
                Err(BlobError::Foreign)
            );
        }
        for at in [0, 7, 8, 10] {
            let mut altered = blob.to_vec();
            altered[at] ^= 0x80;
            assert_eq!(
                unpack(Kind::Permanent, &altered, Keys::default()),
                Err(BlobError::Foreign)
            );
        }
    }

    #[test]
    fn a_sealed_blob_hides_the_state_and_is_never_the_same_twice() {
        let migration = key(2);
        let keys = Keys {
            file: None,
            migration: Some(&migration),
        };
        let (one, two) = (
            pack(Kind::Permanent, b"state", keys).unwrap(),
            pack(Kind::Permanent, b"state", keys).unwrap(),
        );
        assert_ne!(one, two);
        assert!(!one.windows(5).any(|window| window == b"state"));
        for at in 11..one.len() {
            let mut altered = one.to_vec();
            altered[at] ^= 1;
            assert_eq!(
                unpack(Kind::Permanent, &altered, keys),
                Err(BlobError::Closed("migration"))
            );
            assert!(unpack(Kind::Permanent, &one[..at], keys).is_err());
        }
    }

    #[test]
    fn no_altered_or_cut_blob_is_taken() {
        let blob = pack(Kind::Permanent, b"state", Keys::default()).unwrap();
        for at in 0..blob.len() {
            assert!(
                unpack(Kind::Permanent, &blob[..at], Keys::default()).is_err(),
                "cut at {at}"
            );
            for bit in 0..8 {
                let mut altered = blob.to_vec();
                altered[at] ^= 1 << bit;
                assert!(
                    unpack(Kind::Permanent, &altered, Keys::default()).is_err(),
                    "bit {bit} of byte {at}"
                );
            }
        }
    }
}
