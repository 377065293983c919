//! Secrets of the host that belong to no VM, such as the key of a vCenter's certificate authority: sealed under a data key of their
//! own, which a key provider wraps, exactly as with the files of a VM.

use crate::error::KeyProviderError;
use crate::key_provider::{KeyLocator, unwrap_located, wrap_located};
use crate::seal::{self, DataKey, TAG_LENGTH, WrappedKey};
use crate::{KeyId, KeyProvider};
use zeroize::Zeroizing;

const LABEL: &[u8] = b"vtpm.envelope.v1";
const VERSION: u8 = 1;

/// A sealed secret, and the wrapped key that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which key of which provider opens it.
    pub locator: KeyLocator,
    /// The data key, wrapped by that key.
    pub wrapped: WrappedKey,
    /// The secret, sealed under the data key.
    pub sealed: Vec<u8>,
}

impl Envelope {
    /// Seals a secret under a new data key, which this key of the provider wraps. `purpose` says what the secret is: sealed for one
    /// purpose, it does not open for another.
    ///
    /// # Errors
    /// When the provider cannot be used.
    pub fn seal(
        provider: &dyn KeyProvider,
        key_id: &KeyId,
        purpose: &str,
        secret: &[u8],
    ) -> Result<Self, KeyProviderError> {
        let data_key = DataKey::generate()?;
        let (locator, wrapped) = wrap_located(provider, key_id, &data_key)?;
        let salt: [u8; 32] = seal::random()?;
        let key = seal::derive(data_key.expose(), Some(&salt), &[LABEL]);
        let mut inside = Zeroizing::new(secret.to_vec());
        let tag = seal::seal_in_place(&key, [0; 12], &associated(purpose), &mut inside);
        let mut sealed = Vec::with_capacity(1 + salt.len() + inside.len() + TAG_LENGTH);
        sealed.push(VERSION);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&inside);
        sealed.extend_from_slice(&tag);
        drop(key);
        seal::wipe_stack();
        Ok(Self {
            locator,
            wrapped,
            sealed,
        })
    }

    /// The secret; `None` if what was sealed is damaged, or was sealed for another purpose.
    ///
    /// # Errors
    /// When the provider cannot be used, or has another key under that id.
    pub fn open(
        &self,
        provider: &dyn KeyProvider,
        purpose: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KeyProviderError> {
        let data_key = unwrap_located(provider, &self.locator, &self.wrapped)?;
        let opened = self.open_under(&data_key, purpose);
        drop(data_key);
        seal::wipe_stack();
        Ok(opened)
    }

    /// The same secret with its data key wrapped by another key, of the same provider or another.
    ///
    /// # Errors
    /// When one of the two keys cannot be used.
    pub fn rewrap(
        &self,
        from: &dyn KeyProvider,
        to: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<Self, KeyProviderError> {
        let data_key = unwrap_located(from, &self.locator, &self.wrapped)?;
        let (locator, wrapped) = wrap_located(to, key_id, &data_key)?;
        Ok(Self {
            locator,
            wrapped,
            sealed: self.sealed.clone(),
        })
    }

    fn open_under(&self, data_key: &DataKey, purpose: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (version, rest) = self.sealed.split_first()?;
        let (salt, rest) = rest.split_first_chunk::<32>()?;
        let (inside, tag) = rest.split_last_chunk::<TAG_LENGTH>()?;
        if *version != VERSION {
            return None;
        }
        let key = seal::derive(data_key.expose(), Some(salt), &[LABEL]);
        let mut inside = Zeroizing::new(inside.to_vec());
        seal::open_in_place(&key, [0; 12], &associated(purpose), &mut inside, *tag)
            .then_some(inside)
    }
}

fn associated(purpose: &str) -> Vec<u8> {
    [LABEL, purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LinuxBackend;
    use crate::key_provider::{Flavour, ProviderFolder};

    #[test]
    fn a_secret_opens_for_its_purpose_under_its_key_and_otherwise_not() {
        let folder = tempfile::tempdir().unwrap();
        let providers = ProviderFolder::open(&LinuxBackend, folder.path()).unwrap();
        let one = providers.create("one", Flavour::Local).unwrap();
        let two = providers.create("two", Flavour::Local).unwrap();
        let key = one.new_key().unwrap();
        let envelope = Envelope::seal(&one, &key, "ca of vc01", b"a private key").unwrap();
        assert!(!envelope.sealed.windows(7).any(|part| part == b"private"));
        let opened = envelope.open(&one, "ca of vc01").unwrap().unwrap();
        assert_eq!(opened.as_slice(), b"a private key");
        assert!(envelope.open(&one, "ca of vc02").unwrap().is_none());
        assert!(envelope.open(&two, "ca of vc01").is_err());
        for at in 0..envelope.sealed.len() {
            let mut changed = envelope.clone();
            changed.sealed[at] ^= 1;
            assert!(changed.open(&one, "ca of vc01").unwrap().is_none());
            changed.sealed.truncate(at);
            assert!(changed.open(&one, "ca of vc01").unwrap().is_none());
        }
        let moved = envelope
            .rewrap(&one, &two, &two.new_key().unwrap())
            .unwrap();
        assert_eq!(moved.locator.provider, "two");
        let opened = moved.open(&two, "ca of vc01").unwrap().unwrap();
        assert_eq!(opened.as_slice(), b"a private key");
    }
}
