//! The caller's side of sessions: keys, nonces, HMACs and parameter encryption as a client computes them.

use super::Auth;
use super::sequence::Runner;
use crate::algorithms::{block_cipher, hash, hash_algorithm, hmac};
use crate::secret_exchange::SECRET;
use alloc::vec;
use alloc::vec::Vec;
use tpm_crypto::kdf::{kdfa, xor_obfuscation};
use tpm_crypto::symmetric::{cfb_decrypt, cfb_encrypt};
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSymDef};
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{Tpm2bEncryptedSecret, Tpm2bNonce};
use tpm_wire::codec::{Limits, parse_all};
use tpm_wire::commands::StartAuthSession;
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

/// A session as its caller knows it.
#[derive(Clone)]
pub(super) struct ClientSession {
    hash_alg: TpmiAlgHash,
    symmetric: Option<TpmtSymDef>,
    key: Vec<u8>,
    nonce_tpm: Vec<u8>,
    /// Name and authorization value of the bind entity.
    bind: Option<(Vec<u8>, Vec<u8>)>,
}

/// What the caller can say of the acknowledgement of one session before it comes.
pub(super) struct Expected {
    handle: TpmHandle,
    entity: Option<TpmHandle>,
    nonce_caller: Vec<u8>,
    /// The authorization value that encrypts.
    auth: Vec<u8>,
    /// The HMAC key of the command.
    key: Vec<u8>,
    /// Nothing was keyed: neither is the acknowledgement.
    unkeyed: bool,
}

impl ClientSession {
    fn crypt(&self, auth: &[u8], newer: &[u8], older: &[u8], encrypt: bool, data: &mut [u8]) {
        let key = [&*self.key, auth].concat();
        let hash = hash_algorithm(self.hash_alg);
        match self.symmetric {
            None => {}
            Some(TpmtSymDef::Xor(_)) => xor_obfuscation(hash, &key, newer, older, data),
            Some(TpmtSymDef::Block(block)) => {
                let cipher = block_cipher(block.algorithm);
                let key_size = usize::from(block.key_bits) / 8;
                let size = key_size + cipher.block_size();
                let bits = u32::try_from(size * 8).unwrap_or_default();
                let mut material = kdfa(hash, &key, b"CFB", newer, older, bits);
                let (key, iv) = material.split_at_mut(key_size);
                let done = if encrypt {
                    cfb_encrypt(cipher, key, iv, data)
                } else {
                    cfb_decrypt(cipher, key, iv, data)
                };
                assert!(done.is_ok(), "a session encrypts with a cipher of the TPM");
            }
        }
    }
}

/// The contents of the sized buffer that a parameter area begins with.
fn first_buffer(parameters: &mut [u8]) -> Option<&mut [u8]> {
    let (size, rest) = parameters.split_first_chunk_mut::<2>()?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*size)))
}

impl Runner {
    /// Takes note of a session that the TPM started for these handles and parameters.
    pub(super) fn opened(
        &mut self,
        session: TpmHandle,
        nonce_tpm: &[u8],
        handles: &[TpmHandle],
        values: &[Vec<u8>],
    ) {
        self.known.sessions.remove(&session);
        let parsed = (|| {
            let nonce: Tpm2bNonce = parse_all(values.first()?, &Limits::ALL).ok()?;
            let symmetric: Option<TpmtSymDef> = parse_all(values.get(3)?, &Limits::ALL).ok()?;
            let hash_alg: TpmiAlgHash = parse_all(values.get(4)?, &Limits::ALL).ok()?;
            let salt = match handles.first() {
                Some(&TpmHandle::NULL) => Vec::new(),
                _ => self.known.pool.salts.get(values.get(1)?)?.clone(),
            };
            Some((nonce, symmetric, hash_alg, salt))
        })();
        let Some((nonce, symmetric, hash_alg, salt)) = parsed else {
            return;
        };
        let bind = handles.get(1).filter(|bind| **bind != TpmHandle::NULL);
        let bind = bind.map(|bind| {
            (
                self.tpm.entity_name(*bind).to_vec(),
                self.tpm.auth_value(*bind).to_vec(),
            )
        });
        let mut key = Vec::new();
        if bind.is_some() || !salt.is_empty() {
            let auth = bind.as_ref().map_or(&[][..], |(_, auth)| auth);
            let bits = u32::try_from(hash_alg.digest_size() * 8).unwrap_or_default();
            let secret = [auth, &salt].concat();
            key = kdfa(
                hash_algorithm(hash_alg),
                &secret,
                b"ATH",
                nonce_tpm,
                &nonce,
                bits,
            )
            .to_vec();
        }
        let client = ClientSession {
            hash_alg,
            symmetric,
            key,
            nonce_tpm: nonce_tpm.to_vec(),
            bind,
        };
        self.known.sessions.insert(session, client);
    }

    /// Starts a session; salted for a key, bound to an entity.
    pub(super) fn start_session(
        &mut self,
        session_type: TpmSe,
        symmetric: Option<TpmtSymDef>,
        tpm_key: TpmHandle,
        bind: TpmHandle,
    ) -> Option<TpmHandle> {
        let mut encrypted_salt = Tpm2bEncryptedSecret::default();
        if tpm_key != TpmHandle::NULL {
            let (salt, secret) = self.tpm.encrypt_secret(tpm_key, SECRET).ok()?;
            let sent = tpm_wire::codec::Marshal::to_bytes(&secret);
            self.known.pool.salts.insert(sent, salt.to_vec());
            encrypted_salt = secret;
        }
        let present = |handle: TpmHandle| (handle != TpmHandle::NULL).then_some(handle);
        let started = self.send_command(&StartAuthSession {
            tpm_key: present(tpm_key).map(Into::into),
            bind: present(bind).map(Into::into),
            nonce_caller: Tpm2bNonce::new(&[7; 16]).unwrap_or_default(),
            encrypted_salt,
            session_type,
            symmetric,
            auth_hash: TpmiAlgHash::Sha256,
        })?;
        Some(started.session_handle.0)
    }

    /// Encrypts the first parameter and authenticates the command, for the sessions whose keys are known; the
    /// authorization values come from the TPM itself. What was given for a password or as HMAC of an unknown session stays.
    pub(super) fn authenticate(
        &mut self,
        code: u32,
        handles: &[TpmHandle],
        entities: usize,
        parameters: &mut [u8],
        auths: &mut [Auth],
    ) -> Vec<Option<Expected>> {
        let entity = |index: usize| handles.get(index).copied().filter(|_| index < entities);
        let known = |runner: &Self, auth: &Auth| -> Option<ClientSession> {
            runner.known.sessions.get(&auth.session).cloned()
        };
        let auth_value = |runner: &Self, index: usize| {
            entity(index).map_or(Vec::new(), |entity| runner.tpm.auth_value(entity).to_vec())
        };
        for auth in auths.iter_mut() {
            if self.known.sessions.contains_key(&auth.session) {
                self.known.nonces += 1;
                auth.nonce = [[0; 8], self.known.nonces.to_be_bytes()].concat();
            }
        }
        let with = |auths: &[Auth], attribute| {
            auths
                .iter()
                .position(|auth| auth.attributes.contains(attribute))
        };
        let (decrypts, encrypts) = (
            with(auths, TpmaSession::DECRYPT),
            with(auths, TpmaSession::ENCRYPT),
        );
        if let Some((index, auth)) = decrypts.and_then(|at| Some((at, auths.get(at)?)))
            && let Some(session) = known(self, auth)
            && let Some(data) = first_buffer(parameters)
        {
            let value = auth_value(self, index);
            session.crypt(&value, &auth.nonce, &session.nonce_tpm, true, data);
        }
        let nonce_of = |runner: &Self, auths: &[Auth], other: Option<usize>| {
            let session = other.and_then(|other| known(runner, auths.get(other)?));
            session.map_or(Vec::new(), |session| session.nonce_tpm)
        };
        let mut expected = Vec::new();
        for index in 0..auths.len() {
            let (mut nonce_decrypt, mut nonce_encrypt) = (Vec::new(), Vec::new());
            if index == 0 && entity(0).is_some() {
                let other = decrypts.filter(|other| *other != 0);
                nonce_decrypt = nonce_of(self, auths, other);
                let other = encrypts.filter(|other| *other != 0 && encrypts != decrypts);
                nonce_encrypt = nonce_of(self, auths, other);
            }
            let Some(auth) = auths.get_mut(index) else {
                continue;
            };
            let Some(session) = known(self, auth) else {
                expected.push(None);
                continue;
            };
            let value = auth_value(self, index);
            let mut key = session.key.clone();
            let in_tpm = self.tpm.sessions.get(auth.session);
            let password = in_tpm.is_some_and(|it| it.is_policy() && it.policy.password_needed);
            if entity(index).is_some_and(|entity| self.includes_auth(auth.session, entity)) {
                key.extend_from_slice(&value);
            }
            let unkeyed = password && entity(index).is_some() || key.is_empty();
            if password && entity(index).is_some() {
                auth.hmac = value.clone();
            } else if key.is_empty() {
                auth.hmac = Vec::new();
            } else {
                let names: Vec<_> = handles
                    .iter()
                    .map(|handle| self.tpm.entity_name(*handle))
                    .collect();
                let code = code.to_be_bytes();
                let mut parts: Vec<&[u8]> = vec![&code];
                parts.extend(names.iter().map(|name| &**name));
                parts.push(parameters);
                let cp_hash = hash(session.hash_alg, &parts);
                let parts: [&[u8]; 6] = [
                    &cp_hash,
                    &auth.nonce,
                    &session.nonce_tpm,
                    &nonce_decrypt,
                    &nonce_encrypt,
                    &[auth.attributes.0],
                ];
                auth.hmac = hmac(session.hash_alg, &key, &parts).to_vec();
            }
            expected.push(Some(Expected {
                handle: auth.session,
                entity: entity(index),
                nonce_caller: auth.nonce.clone(),
                auth: value,
                key,
                unkeyed,
            }));
        }
        expected
    }

    /// Whether the HMAC key of a session has the authorization value of the entity in it.
    fn includes_auth(&self, session: TpmHandle, entity: TpmHandle) -> bool {
        let Some(in_tpm) = self.tpm.sessions.get(session) else {
            return true;
        };
        if in_tpm.is_policy() {
            return in_tpm.policy.auth_value_needed;
        }
        // A session that has audited is no longer bound.
        let bind = self
            .known
            .sessions
            .get(&session)
            .and_then(|client| client.bind.as_ref());
        let is_bound = in_tpm.bound_entity.is_some()
            && bind.is_some_and(|(name, auth)| {
                **name == *self.tpm.entity_name(entity) && **auth == *self.tpm.auth_value(entity)
            });
        !is_bound
    }

    /// Checks the acknowledgements of a response, decrypts its first parameter in place, and takes note of the new nonces.
    ///
    /// # Panics
    /// If an acknowledgement is not what the protocol says.
    #[expect(clippy::expect_used, reason = "a malformed response is a failed test")]
    pub(super) fn acknowledged(
        &mut self,
        code: u32,
        parameters: &mut [u8],
        area: &[u8],
        expected: &[Option<Expected>],
        name: &str,
    ) {
        let mut rest = area;
        let mut sized = |fixed: usize| -> (Vec<u8>, Vec<u8>) {
            let (size, after) = rest.split_first_chunk::<2>().expect("a size");
            let size = usize::from(u16::from_be_bytes(*size));
            let buffer = after.get(..size).expect("a buffer").to_vec();
            let plain = after.get(size..size + fixed).expect("what follows it");
            rest = after.get(size + fixed..).expect("the rest");
            (buffer, plain.to_vec())
        };
        let sent = parameters.to_vec();
        for expected in expected {
            let (nonce_tpm, attributes) = sized(1);
            let (found, _) = sized(0);
            let attributes = TpmaSession(attributes.first().copied().unwrap_or_default());
            let Some(expected) = expected else { continue };
            let Some(session) = self.known.sessions.get_mut(&expected.handle) else {
                continue;
            };
            session.nonce_tpm.clone_from(&nonce_tpm);
            let session = session.clone();
            // A command without a key may have given the entity a value, which then keys the acknowledgement.
            if found.is_empty() {
                assert!(
                    expected.unkeyed,
                    "{name}: an acknowledgement has no HMAC though there is a key"
                );
            } else {
                let new_auth = expected
                    .entity
                    .map_or(Vec::new(), |entity| self.tpm.auth_value(entity).to_vec());
                let rp_hash = hash(
                    session.hash_alg,
                    &[
                        &Rc::SUCCESS.number().to_be_bytes(),
                        &code.to_be_bytes(),
                        &sent,
                    ],
                );
                // The value may be another after the command, or its entity gone.
                let keys = [
                    expected.key.clone(),
                    [&*session.key, &new_auth].concat(),
                    session.key.clone(),
                ];
                let is_right = keys.iter().any(|key| {
                    let parts: [&[u8]; 4] = [
                        &rp_hash,
                        &nonce_tpm,
                        &expected.nonce_caller,
                        &[attributes.0],
                    ];
                    *hmac(session.hash_alg, key, &parts) == *found
                });
                assert!(is_right, "{name}: an acknowledgement has a wrong HMAC");
            }
            if attributes.contains(TpmaSession::ENCRYPT)
                && let Some(data) = first_buffer(parameters)
            {
                let caller = &expected.nonce_caller;
                session.crypt(&expected.auth, &nonce_tpm, caller, false, data);
            }
            if !attributes.contains(TpmaSession::CONTINUE_SESSION) {
                self.known.sessions.remove(&expected.handle);
            }
        }
        assert!(
            rest.is_empty(),
            "{name}: bytes after the last acknowledgement"
        );
    }
}
