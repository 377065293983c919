//! The HMAC of a session over the command (Part 1, 18.7 and 19.6).

use super::{Authorizing, Tpm};
use crate::algorithms::{hash_algorithm, hmac};
use alloc::vec::Vec;
use subtle::ConstantTimeEq;
use tpm_crypto::hash::{Digest, Hasher};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::Tpm2bNonce;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Tpm {
    /// cpHash: over the command code, the Names of the handles and the parameters (Part 1, 18.7).
    pub(super) fn cp_hash(&self, hash_alg: TpmiAlgHash, parameters: &[u8]) -> Digest {
        let mut hasher = Hasher::new(hash_algorithm(hash_alg));
        hasher.update(&self.running.code().to_be_bytes());
        for handle in &self.running.handles {
            hasher.update(&self.entity_name(*handle));
        }
        hasher.update(parameters);
        hasher.finish()
    }

    /// The HMAC key of a session: session key, then the entity's authorization value where it is included.
    pub(super) fn hmac_key(&self, session: &Authorizing) -> Result<Zeroizing<Vec<u8>>, Rc> {
        let mut key = Zeroizing::new(Vec::with_capacity(128));
        key.extend_from_slice(&self.loaded(session.handle)?.key);
        if let (true, Some(entity)) = (session.include_auth, session.entity) {
            key.extend_from_slice(&self.auth_value(entity));
        }
        Ok(key)
    }

    /// Checks the HMAC of a session over the command (Part 1, 19.6.5).
    pub(super) fn check_hmac(
        &mut self,
        index: usize,
        session: &Authorizing,
        parameters: &[u8],
    ) -> Result<(), Rc> {
        let session = self
            .running
            .sessions
            .get(index)
            .cloned()
            .unwrap_or_else(|| session.clone());
        let key = self.hmac_key(&session)?;
        if key.is_empty() && session.hmac.is_empty() {
            return Ok(());
        }
        let loaded = self.loaded(session.handle)?;
        let cp_hash = self.cp_hash(loaded.auth_hash, parameters);
        let (mut nonce_decrypt, mut nonce_encrypt) = (Tpm2bNonce::EMPTY, Tpm2bNonce::EMPTY);
        // The nonces of separate encryption sessions bind them to the first authorization, so that they cannot be taken off.
        if index == 0 && session.entity.is_some() {
            let decrypt = self.running.session_with(TpmaSession::DECRYPT);
            let encrypt = self.running.session_with(TpmaSession::ENCRYPT);
            let nonce_of = |other: usize| {
                let handle = self.running.sessions.get(other).map(|other| other.handle);
                handle
                    .and_then(|handle| self.sessions.get(handle))
                    .map(|other| other.nonce_tpm.clone())
                    .unwrap_or_default()
            };
            if let Some(other) = decrypt.filter(|other| *other != 0) {
                nonce_decrypt = nonce_of(other);
            }
            if let Some(other) = encrypt.filter(|other| *other != 0 && encrypt != decrypt) {
                nonce_encrypt = nonce_of(other);
            }
        }
        let parts: [&[u8]; 6] = [
            &cp_hash,
            &session.nonce_caller,
            &loaded.nonce_tpm,
            &nonce_decrypt,
            &nonce_encrypt,
            &[session.attributes.0],
        ];
        let expected = hmac(loaded.auth_hash, &key, &parts);
        if bool::from(session.hmac.ct_eq(&expected)) {
            Ok(())
        } else {
            self.failed(index)
        }
    }
}
