//! A client's side of sessions, written from Part 1, 18 to 21, on the primitives alone.

use crate::algorithms::{hash_algorithm, small};
use crate::commands::policy::build::hmac_object;
use crate::testing::{Auth, TestTpm, decode, encode};
use alloc::vec::Vec;
use tpm_crypto::ecc::{Curve, Point, PrivateKey, multiply};
use tpm_crypto::hash::{hash, hmac};
use tpm_crypto::kdf::{kdfa, kdfe};
use tpm_crypto::symmetric::{BlockCipher, cfb_decrypt, cfb_encrypt};
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmsEccPoint, TpmtSymDef,
    TpmtSymDefObject,
};
use tpm_wire::attributes::{TpmaObject, TpmaSession};
use tpm_wire::buffers::Tpm2bEncryptedSecret;
use tpm_wire::codec::{Input, Limits, Marshal, Parse};
use tpm_wire::commands::StartAuthSession;
use tpm_wire::constants::TpmSe;
use tpm_wire::frame::TpmsAuthResponse;
use tpm_wire::handles::{TpmHandle, TpmHt, TpmiDhEntity, TpmiDhObject};
use tpm_wire::object::{TpmsEccParms, TpmuPublicId, TpmuPublicParms, TpmuSensitiveComposite};
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, Response};

pub(super) const CONTINUE: TpmaSession = TpmaSession::CONTINUE_SESSION;

/// AES of 128 bits in CFB mode.
pub(super) const AES: Option<TpmtSymDef> = Some(TpmtSymDef::Block(TpmtSymDefObject {
    algorithm: TpmiAlgSymObject::Aes,
    key_bits: 128,
    mode: Some(TpmiAlgSymMode::Cfb),
}));

/// How a session starts.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) kind: TpmSe,
    pub(super) hash: TpmiAlgHash,
    pub(super) symmetric: Option<TpmtSymDef>,
    pub(super) bind: Option<(TpmHandle, &'a [u8])>,
    pub(super) salted: bool,
}

/// An HMAC session of SHA-256, neither bound nor salted, that encrypts nothing.
pub(super) const HMAC: Start<'static> = Start {
    kind: TpmSe::Hmac,
    hash: TpmiAlgHash::Sha256,
    symmetric: None,
    bind: None,
    salted: false,
};

/// What a client knows of a session.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) handle: TpmHandle,
    hash: TpmiAlgHash,
    symmetric: Option<TpmtSymDef>,
    key: Vec<u8>,
    nonce_caller: Vec<u8>,
    pub(super) nonce_tpm: Vec<u8>,
}

impl Start<'_> {
    /// Starts the session on both sides.
    pub(super) fn start(&self, tpm: &mut TestTpm) -> Client {
        let nonce_caller = alloc::vec![0x3C; 16];
        let (tpm_key, salt, encrypted_salt) = if self.salted {
            let (key, salt, sent) = salt(tpm);
            (Some(TpmiDhObject(key)), salt, sent)
        } else {
            (None, Vec::new(), Tpm2bEncryptedSecret::EMPTY)
        };
        let started = tpm
            .run(StartAuthSession {
                tpm_key,
                bind: self.bind.map(|(entity, _)| TpmiDhEntity(entity)),
                nonce_caller: small(&nonce_caller),
                encrypted_salt,
                session_type: self.kind,
                symmetric: self.symmetric,
                auth_hash: self.hash,
            })
            .unwrap();
        if let Some(TpmiDhObject(key)) = tpm_key {
            tpm.objects.flush(key);
        }
        let nonce_tpm = started.nonce_tpm.to_vec();
        let key = if self.bind.is_none() && salt.is_empty() {
            Vec::new()
        } else {
            let secret = [self.bind.map_or(&[][..], |(_, auth)| auth), &salt].concat();
            let bits = u32::try_from(self.hash.digest_size() * 8).unwrap();
            let hash = hash_algorithm(self.hash);
            kdfa(hash, &secret, b"ATH", &nonce_tpm, &nonce_caller, bits).to_vec()
        };
        Client {
            handle: started.session_handle.0,
            hash: self.hash,
            symmetric: self.symmetric,
            key,
            nonce_caller,
            nonce_tpm,
        }
    }
}

/// A loaded key of P-256, a salt agreed with it by a one-time key, and what is sent to it (Part 1, C.6.1).
fn salt(tpm: &mut TestTpm) -> (TpmHandle, Vec<u8>, Tpm2bEncryptedSecret) {
    let private = |byte| PrivateKey::new(Curve::NistP256, &[byte; 32]).unwrap();
    let (own, once) = (private(7).public(), private(9).public());
    let point = |point: &Point| TpmsEccPoint {
        x: small(point.x()),
        y: small(point.y()),
    };
    let mut object = hmac_object();
    object.public.object_attributes =
        TpmaObject::DECRYPT | TpmaObject::RESTRICTED | TpmaObject::NO_DA;
    object.public.parameters = TpmuPublicParms::Ecc(TpmsEccParms {
        symmetric: None,
        scheme: None,
        curve_id: TpmiEccCurve::NistP256,
        kdf: None,
    });
    object.public.unique = TpmuPublicId::Ecc(point(&own));
    object.sensitive.as_mut().unwrap().sensitive = TpmuSensitiveComposite::Ecc(small(&[7; 32]));
    let key = tpm.objects.load(object).unwrap();
    let shared = multiply(Curve::NistP256, &[9; 32], &own).unwrap();
    let hash = hash_algorithm(TpmiAlgHash::Sha256);
    let salt = kdfe(hash, shared.x(), b"SECRET", once.x(), own.x(), 256);
    let sent = Tpm2bEncryptedSecret::new(point(&once).to_bytes()).unwrap();
    (key, salt.to_vec(), sent)
}

/// How a client uses a session in one command.
pub(super) struct By<'a> {
    session: Option<&'a mut Client>,
    attributes: TpmaSession,
    /// The authorization value that goes into the HMAC key.
    in_hmac: &'a [u8],
    /// The same for the answer.
    in_answer: &'a [u8],
    /// The authorization value that goes into the key of parameter encryption.
    in_cipher: &'a [u8],
    /// What stands in place of the HMAC.
    instead: Option<&'a [u8]>,
}

impl<'a> By<'a> {
    pub(super) const fn password(value: &'a [u8]) -> Self {
        Self {
            session: None,
            attributes: CONTINUE,
            in_hmac: &[],
            in_answer: &[],
            in_cipher: &[],
            instead: Some(value),
        }
    }

    /// A session that goes on, with the authorization value of its entity in the HMAC key and in that of encryption.
    pub(super) const fn session(session: &'a mut Client, auth: &'a [u8]) -> Self {
        Self {
            session: Some(session),
            attributes: CONTINUE,
            in_hmac: auth,
            in_answer: auth,
            in_cipher: auth,
            instead: None,
        }
    }

    pub(super) const fn with(mut self, attributes: TpmaSession) -> Self {
        self.attributes = self.attributes.with(attributes);
        self
    }

    pub(super) const fn without(mut self, attributes: TpmaSession) -> Self {
        self.attributes = self.attributes.without(attributes);
        self
    }

    /// The authorization value does not go into the HMAC key.
    pub(super) const fn without_auth_in_hmac(mut self) -> Self {
        self.in_hmac = &[];
        self.in_answer = &[];
        self
    }

    /// The command changes the authorization value, or removes what has it.
    pub(super) const fn with_auth_in_answer(mut self, auth: &'a [u8]) -> Self {
        self.in_answer = auth;
        self
    }

    /// Another authorization value goes into the key of parameter encryption.
    pub(super) const fn with_cipher_auth(mut self, auth: &'a [u8]) -> Self {
        self.in_cipher = auth;
        self
    }

    /// These bytes stand in place of the HMAC.
    pub(super) const fn instead(mut self, bytes: &'a [u8]) -> Self {
        self.instead = Some(bytes);
        self
    }

    fn has(&self, attribute: TpmaSession) -> bool {
        self.attributes.contains(attribute)
    }
}

/// What came back.
pub(super) struct Answer<R> {
    pub(super) response: R,
    pub(super) sessions: Vec<TpmsAuthResponse>,
}

/// What a command and its answer contribute to an audit.
pub(super) struct Audited {
    pub(super) cp_hash: Vec<u8>,
    pub(super) rp_hash: Vec<u8>,
}

/// Sends a command, checks what the TPM acknowledges, and decrypts the answer.
pub(super) fn send<C: Command>(
    tpm: &mut TestTpm,
    command: &C,
    by: &mut [By<'_>],
) -> Result<Answer<C::Response>, Rc> {
    send_audited(tpm, command, by, TpmiAlgHash::Sha256).map(|(answer, _)| answer)
}

/// The same, with what an audit by `audit_hash` would see.
pub(super) fn send_audited<C: Command>(
    tpm: &mut TestTpm,
    command: &C,
    by: &mut [By<'_>],
    audit_hash: TpmiAlgHash,
) -> Result<(Answer<C::Response>, Audited), Rc> {
    let names = names(tpm, command);
    for client in by.iter_mut().filter_map(|by| by.session.as_mut()) {
        // A new nonce for each use.
        for byte in &mut client.nonce_caller {
            *byte = byte.wrapping_add(1);
        }
    }
    let mut parameters = Vec::new();
    command.marshal_parameters(&mut parameters);
    encrypt(by, &mut parameters);
    let code = C::INFO.code.to_be_bytes();
    let cp_hash = |alg| {
        let parts: [&[u8]; 3] = [&code, &names, &parameters];
        hash(hash_algorithm(alg), &parts).to_vec()
    };
    let authorizations: Vec<Auth> = (0..by.len())
        .map(|index| authorization(by, index, &cp_hash))
        .collect();
    let plain = encode(command, &authorizations);
    let bytes = with_parameters(plain, &parameters);
    let answer = tpm.execute(&bytes).to_vec();
    if answer[6..10] != [0; 4] {
        return Err(decode::<C>(&answer).err().unwrap());
    }
    let (handle, mut parameters, sessions) = take_apart::<C>(&answer);
    let rp_hash = |alg| {
        let parts: [&[u8]; 3] = [&[0; 4], &code, &parameters];
        hash(hash_algorithm(alg), &parts).to_vec()
    };
    assert_eq!(sessions.len(), by.len());
    for (by, session) in by.iter_mut().zip(&sessions) {
        acknowledge(by, session, &rp_hash);
    }
    let audited = Audited {
        cp_hash: cp_hash(audit_hash),
        rp_hash: rp_hash(audit_hash),
    };
    if let Some(by) = by.iter().find(|by| by.has(TpmaSession::ENCRYPT)) {
        let client = by.session.as_ref().unwrap();
        let (newer, older) = (&client.nonce_tpm, &client.nonce_caller);
        crypt(client, by.in_cipher, newer, older, false, &mut parameters);
    }
    let response = C::Response::parse(handle, &parameters, &Limits::ALL).unwrap();
    Ok((Answer { response, sessions }, audited))
}

/// The Names of a command's handles: the handle itself for what has no public area.
fn names<C: Command>(tpm: &TestTpm, command: &C) -> Vec<u8> {
    let name = |handle: &TpmHandle| match handle.kind() {
        Some(TpmHt::Transient | TpmHt::Persistent | TpmHt::NvIndex) => {
            tpm.entity_name(*handle).to_vec()
        }
        _ => handle.0.to_be_bytes().to_vec(),
    };
    command.handles().iter().flat_map(name).collect()
}

fn encrypt(by: &[By<'_>], parameters: &mut [u8]) {
    if let Some(by) = by.iter().find(|by| by.has(TpmaSession::DECRYPT)) {
        let Some(client) = by.session.as_ref() else {
            return;
        };
        let (newer, older) = (&client.nonce_caller, &client.nonce_tpm);
        crypt(client, by.in_cipher, newer, older, true, parameters);
    }
}

fn authorization(by: &[By<'_>], index: usize, cp_hash: &dyn Fn(TpmiAlgHash) -> Vec<u8>) -> Auth {
    let this = &by[index];
    let Some(client) = &this.session else {
        return Auth {
            attributes: this.attributes,
            ..Auth::password(this.instead.unwrap())
        };
    };
    let mut data = cp_hash(client.hash);
    data.extend(&client.nonce_caller);
    data.extend(&client.nonce_tpm);
    if index == 0 {
        let of = |attribute| by.iter().position(|by| by.has(attribute));
        let (decrypt, encrypt) = (of(TpmaSession::DECRYPT), of(TpmaSession::ENCRYPT));
        let nonce = |index: usize| &by[index].session.as_ref().unwrap().nonce_tpm;
        if let Some(decrypt) = decrypt.filter(|index| *index != 0) {
            data.extend(nonce(decrypt));
        }
        if let Some(encrypt) = encrypt.filter(|index| *index != 0 && Some(*index) != decrypt) {
            data.extend(nonce(encrypt));
        }
    }
    data.push(this.attributes.0);
    let key = [&client.key, this.in_hmac].concat();
    let computed = hmac(hash_algorithm(client.hash), &key, &[&data]).to_vec();
    Auth {
        session: client.handle,
        nonce: client.nonce_caller.clone(),
        attributes: this.attributes,
        hmac: this.instead.map_or(computed, <[u8]>::to_vec),
    }
}

/// Puts other parameters in place of those at the end of a command.
fn with_parameters(mut bytes: Vec<u8>, parameters: &[u8]) -> Vec<u8> {
    let start = bytes.len() - parameters.len();
    bytes.splice(start.., parameters.iter().copied());
    bytes
}

type Parts = (Option<TpmHandle>, Vec<u8>, Vec<TpmsAuthResponse>);

fn take_apart<C: Command>(answer: &[u8]) -> Parts {
    let word = |at: usize| u32::from_be_bytes(answer[at..at + 4].try_into().unwrap());
    let has_handle = C::INFO.has_response_handle;
    let start = if has_handle { 14 } else { 10 };
    let end = start + 4 + usize::try_from(word(start)).unwrap();
    let mut rest = Input::new(&answer[end..], &Limits::ALL);
    let mut sessions = Vec::new();
    while !rest.is_empty() {
        let session;
        (rest, session) = TpmsAuthResponse::parse(rest).unwrap();
        sessions.push(session);
    }
    let handle = has_handle.then(|| TpmHandle(word(10)));
    (handle, answer[start + 4..end].to_vec(), sessions)
}

/// Checks the acknowledgement of one session, and takes its new nonce over.
fn acknowledge(
    by: &mut By<'_>,
    session: &TpmsAuthResponse,
    rp_hash: &dyn Fn(TpmiAlgHash) -> Vec<u8>,
) {
    let Some(client) = by.session.as_mut() else {
        assert!(session.nonce.is_empty() && session.hmac.is_empty());
        assert_eq!(session.session_attributes, CONTINUE);
        return;
    };
    assert_eq!(session.nonce.len(), client.nonce_tpm.len());
    assert_ne!(*session.nonce, *client.nonce_tpm, "the nonce rolls");
    client.nonce_tpm = session.nonce.to_vec();
    if by.instead.is_some() {
        assert!(session.hmac.is_empty(), "no HMAC is answered by none");
        return;
    }
    let mut data = rp_hash(client.hash);
    data.extend(&client.nonce_tpm);
    data.extend(&client.nonce_caller);
    data.push(session.session_attributes.0);
    let key = [&client.key, by.in_answer].concat();
    let expected = hmac(hash_algorithm(client.hash), &key, &[&data]);
    assert_eq!(*session.hmac, *expected, "the HMAC of the answer");
}

/// Encrypts or decrypts the contents of the sized buffer in front.
fn crypt(
    client: &Client,
    auth: &[u8],
    newer: &[u8],
    older: &[u8],
    encrypts: bool,
    parameters: &mut [u8],
) {
    let size = usize::from(u16::from_be_bytes([parameters[0], parameters[1]]));
    let Some(data) = parameters.get_mut(2..2 + size) else {
        // No sized buffer: the test sends what the TPM is to refuse.
        return;
    };
    let key = [&client.key, auth].concat();
    let hash = hash_algorithm(client.hash);
    let derive = |label: &[u8], bytes: usize| {
        kdfa(
            hash,
            &key,
            label,
            newer,
            older,
            u32::try_from(bytes * 8).unwrap(),
        )
    };
    match client.symmetric {
        // The test sends what the TPM is to refuse.
        None => {}
        Some(TpmtSymDef::Xor(_)) => {
            let mask = derive(b"XOR", size);
            for (byte, mask) in data.iter_mut().zip(mask.iter()) {
                *byte ^= mask;
            }
        }
        Some(TpmtSymDef::Block(block)) => {
            let key_size = usize::from(block.key_bits) / 8;
            let material = derive(b"CFB", key_size + 16);
            let (key, iv) = material.split_at(key_size);
            let (key, iv) = (key.to_vec(), &mut iv.to_vec());
            let cipher = BlockCipher::Aes;
            if encrypts {
                cfb_encrypt(cipher, &key, iv, data).unwrap();
            } else {
                cfb_decrypt(cipher, &key, iv, data).unwrap();
            }
        }
    }
}
