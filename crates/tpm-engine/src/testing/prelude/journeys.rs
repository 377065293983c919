//! Commands whose values must match, each done once so that it succeeds: generated commands go on from them.

use super::keys::{
    AGREES, BITS, CIPHER, CMAC, COUNTER, DERIVES, EXTENDED, LOCKED, Made, NEW_PARENT, OF_PLATFORM,
    ORDINARY, PARENT, POLICY, RSA, SECRET, SIGNER, child,
};
use super::{SHA256, SYMMETRIC};
use crate::algorithms::hash;
use crate::testing::Auth;
use crate::testing::fields::ROWS;
use crate::testing::send::Parts;
use crate::testing::sequence::Runner;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use tpm_wire::algorithm::{TpmiAlgHash, TpmtKdfScheme};
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{Tpm2bData, Tpm2bDigest, Tpm2bMaxBuffer, Tpm2bName, Tpm2bNonce};
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{
    self, ActivateCredential, CertifyCreation, Duplicate, EccDecrypt, EccEncrypt, EcdhKeyGen,
    EcdhZGen, Import, MakeCredential, PolicySecret, PolicySigned, PolicyTicket, ReadPublic, Rewrap,
    RsaDecrypt, RsaEncrypt, Sign, VerifySignature,
};
use tpm_wire::constants::{TpmSe, TpmSt};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::object::Tpm2bPublic;
use tpm_wire::table::Command;
use tpm_wire::ticket::TpmtTkHashcheck;

const OWNER: TpmHandle = TpmHandle::OWNER;
const PLATFORM: TpmHandle = TpmHandle::PLATFORM;
const NULL: TpmHandle = TpmHandle::NULL;
const EMPTY: &[u8] = &[0, 0];
const NO_SCHEME: &[u8] = &[0, 0x10];
const ECDSA: &[u8] = &[0, 0x18, 0, 11];
/// How long the tickets of the start are good, seconds.
const LONG: i32 = -1_000_000_000;

impl Runner {
    /// Sends a command whose parameters are given as they stand on the wire.
    fn raw<C: Command>(&mut self, handles: &[TpmHandle], values: &[&[u8]]) -> bool {
        let Some(row) = ROWS.iter().find(|row| row.info.code == C::INFO.code) else {
            return false;
        };
        let auths = self.plain_authorizations(&C::INFO, handles);
        self.send_parts(Parts {
            row,
            handles: handles.to_vec(),
            values: values.iter().map(|value| value.to_vec()).collect(),
            auths,
        })
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    Tpm2bMaxBuffer::new(bytes.to_vec())
        .unwrap_or_default()
        .to_bytes()
}

/// A hash check that nobody did.
const UNCHECKED: TpmtTkHashcheck = TpmtTkHashcheck {
    tag: TpmSt::HASHCHECK,
    hierarchy: None,
    digest: Tpm2bDigest::EMPTY,
};

/// Sessions of every kind, used and gone.
pub(super) fn sessions(runner: &mut Runner) {
    for (kind, symmetric, key, bind) in [
        (TpmSe::Hmac, SYMMETRIC[0], RSA, SECRET),
        (TpmSe::Hmac, SYMMETRIC[1], PARENT, OWNER),
        (TpmSe::Policy, SYMMETRIC[2], AGREES, NULL),
        (TpmSe::Trial, SYMMETRIC[3], NULL, NULL),
    ] {
        let Some(session) = runner.start_session(kind, symmetric, key, bind) else {
            continue;
        };
        if kind == TpmSe::Hmac {
            // Authorizes, encrypts the answer and audits it.
            let mut auth = Auth::session(session);
            auth.attributes = auth
                .attributes
                .with(TpmaSession::ENCRYPT)
                .with(TpmaSession::AUDIT);
            let item_handle = SECRET.into();
            runner.send_command_as(&commands::Unseal { item_handle }, &[auth]);
        }
        runner.raw::<commands::FlushContext>(&[], &[&session.0.to_be_bytes()]);
    }
    let saved = runner.start_session(TpmSe::Hmac, None, NULL, NULL);
    if let Some(saved) = saved {
        let save_handle = saved.into();
        if let Some(saved) = runner.send_command(&commands::ContextSave { save_handle }) {
            let context = saved.context;
            runner.send_command(&commands::ContextLoad { context });
        }
        runner.raw::<commands::FlushContext>(&[], &[&saved.0.to_be_bytes()]);
    }
}

fn policy_signed(runner: &mut Runner, policy_session: TpmHandle, expiration: i32) {
    let digest = hash(TpmiAlgHash::Sha256, &[&expiration.to_be_bytes()]);
    let signed = runner.send_command(&Sign {
        key_handle: SIGNER.into(),
        digest: Tpm2bDigest::new(&digest).unwrap_or_default(),
        in_scheme: Some(tpm_wire::algorithm::TpmtSigScheme::Ecdsa(SHA256)),
        validation: UNCHECKED,
    });
    let Some(signed) = signed else { return };
    let given = runner.send_command(&PolicySigned {
        auth_object: SIGNER.into(),
        policy_session: policy_session.into(),
        nonce_tpm: Tpm2bNonce::EMPTY,
        cp_hash_a: Tpm2bDigest::EMPTY,
        policy_ref: Tpm2bNonce::EMPTY,
        expiration,
        auth: signed.signature,
    });
    if let Some(given) = given.filter(|_| expiration < 0) {
        let auth_name = runner.tpm.entity_name(SIGNER);
        ticket(
            runner,
            policy_session,
            given.timeout,
            auth_name,
            given.policy_ticket,
        );
    }
}

fn ticket(
    runner: &mut Runner,
    policy_session: TpmHandle,
    timeout: tpm_wire::buffers::Tpm2bTimeout,
    auth_name: Tpm2bName,
    ticket: tpm_wire::ticket::TpmtTkAuth,
) {
    runner.send_command(&PolicyTicket {
        policy_session: policy_session.into(),
        timeout,
        cp_hash_a: Tpm2bDigest::EMPTY,
        policy_ref: Tpm2bNonce::EMPTY,
        auth_name,
        ticket,
    });
}

/// Every policy command.
pub(super) fn policies(runner: &mut Runner, session: TpmHandle) {
    for expiration in [0, LONG] {
        policy_signed(runner, session, expiration);
        let given = runner.send_command(&PolicySecret {
            auth_handle: OWNER.into(),
            policy_session: session.into(),
            nonce_tpm: Tpm2bNonce::EMPTY,
            cp_hash_a: Tpm2bDigest::EMPTY,
            policy_ref: Tpm2bNonce::EMPTY,
            expiration,
        });
        if let Some(given) = given.filter(|_| expiration < 0) {
            let auth_name = runner.tpm.entity_name(OWNER);
            ticket(
                runner,
                session,
                given.timeout,
                auth_name,
                given.policy_ticket,
            );
        }
    }
    let digest = sized(&[5; 32]);
    let name = sized(&runner.tpm.entity_name(SIGNER));
    let sha256_pcrs: &[u8] = &[0, 0, 0, 1, 0, 11, 3, 0xFF, 0, 0];
    let at_least: &[u8] = &[0, 7];
    runner.raw::<commands::PolicyPcr>(&[session], &[EMPTY, sha256_pcrs]);
    runner.raw::<commands::PolicyLocality>(&[session], &[&[0x1F]]);
    let operand = sized(&[0; 8]);
    let number = |number: u16| number.to_be_bytes();
    let handles = [OWNER, ORDINARY, session];
    runner.raw::<commands::PolicyNv>(&handles, &[&operand, &number(0), at_least]);
    runner.raw::<commands::PolicyCounterTimer>(&[session], &[&operand, &number(0), at_least]);
    runner.raw::<commands::PolicyAuthValue>(&[session], &[]);
    runner.raw::<commands::PolicyPassword>(&[session], &[]);
    runner.raw::<commands::PolicyNvWritten>(&[session], &[&[1]]);
    let properties: &[u8] = &[0, 0, 0, 6];
    let first: &[u8] = &0x100u32.to_be_bytes();
    let values: [&[u8]; 5] = [&operand, &number(0), at_least, properties, first];
    runner.raw::<commands::PolicyCapability>(&[session], &values);
    runner.raw::<commands::PolicyPhysicalPresence>(&[session], &[]);
    runner.raw::<commands::PolicyTransportSpdm>(&[session], &[&name, &name]);
    // What binds excludes what else binds.
    let restart = |runner: &mut Runner| {
        runner.raw::<commands::PolicyRestart>(&[session], &[]);
    };
    restart(runner);
    runner.raw::<commands::PolicyCpHash>(&[session], &[&digest]);
    restart(runner);
    runner.raw::<commands::PolicyNameHash>(&[session], &[&digest]);
    restart(runner);
    runner.raw::<commands::PolicyTemplate>(&[session], &[&digest]);
    restart(runner);
    runner.raw::<commands::PolicyParameters>(&[session], &[&digest]);
    restart(runner);
    runner.raw::<commands::PolicyDuplicationSelect>(&[session], &[&name, &name, &[1]]);
    restart(runner);
    runner.raw::<commands::PolicyAcSendSelect>(&[session], &[&name, &name, &name, &[1]]);
    restart(runner);
    runner.raw::<commands::PolicyAuthorizeNv>(&[OWNER, POLICY, session], &[]);
    restart(runner);
}

/// A credential, made and opened.
pub(super) fn credentials(runner: &mut Runner, made: &Made) {
    let object_name = made.signer.name.clone();
    for key in [PARENT, NEW_PARENT] {
        let sealed = runner.send_command(&MakeCredential {
            handle: key.into(),
            credential: Tpm2bDigest::new(b"credential").unwrap_or_default(),
            object_name: object_name.clone(),
        });
        if let Some(sealed) = sealed {
            runner.send_command(&ActivateCredential {
                activate_handle: SIGNER.into(),
                key_handle: key.into(),
                credential_blob: sealed.credential_blob,
                secret: sealed.secret,
            });
        }
    }
}

/// An object that leaves its parent in each way, is wrapped anew, and comes back.
pub(super) fn duplicates(runner: &mut Runner, policy: &Tpm2bDigest) -> Option<()> {
    let object = child(runner, policy)?;
    let object_handle = object.into();
    let public = runner.send_command(&ReadPublic { object_handle })?;
    let inner = Some(super::AES);
    for (new_parent, symmetric_alg) in [
        (NULL, None),
        (NULL, inner),
        (NEW_PARENT, inner),
        (PARENT, None),
    ] {
        let duplicate = runner.send_command(&Duplicate {
            object_handle,
            new_parent_handle: (new_parent != NULL).then(|| new_parent.into()),
            encryption_key_in: Tpm2bData::EMPTY,
            symmetric_alg,
        })?;
        let parent = if new_parent == NULL {
            PARENT
        } else {
            new_parent
        };
        runner.send_command(&Import {
            parent_handle: parent.into(),
            encryption_key: duplicate.encryption_key_out,
            object_public: Tpm2bPublic(public.out_public.0.clone()),
            duplicate: duplicate.duplicate.clone(),
            in_sym_seed: duplicate.out_sym_seed.clone(),
            symmetric_alg,
        });
        if new_parent == PARENT {
            runner.send_command(&Rewrap {
                old_parent: Some(PARENT.into()),
                new_parent: Some(NEW_PARENT.into()),
                in_duplicate: duplicate.duplicate,
                name: public.name.clone(),
                in_sym_seed: duplicate.out_sym_seed,
            });
        }
    }
    let auth = sized(b"secret");
    runner.raw::<commands::ObjectChangeAuth>(&[object, PARENT], &[&auth]);
    let context = runner.send_command(&commands::ContextSave {
        save_handle: object.into(),
    })?;
    runner.raw::<commands::FlushContext>(&[], &[&object.0.to_be_bytes()]);
    let context = context.context;
    let loaded = runner.send_command(&commands::ContextLoad { context })?;
    let kept: &[u8] = &0x8100_0010u32.to_be_bytes();
    let loaded = TpmHandle::from(loaded.loaded_handle);
    runner.raw::<commands::EvictControl>(&[OWNER, loaded], &[kept]);
    runner.raw::<commands::EvictControl>(&[OWNER, TpmHandle(0x8100_0010)], &[kept]);
    // The public part alone, a derived key, and a key below each parent.
    let public = public.out_public.0.to_bytes();
    let external = sized(&public);
    runner.raw::<commands::LoadExternal>(&[], &[EMPTY, &external, &NULL.0.to_be_bytes()]);
    let empty_sensitive: &[u8] = &[0, 4, 0, 0, 0, 0];
    for parent in [OWNER, PARENT, DERIVES] {
        runner.raw::<commands::CreateLoaded>(&[parent], &[empty_sensitive, &external]);
    }
    // A derived key is asymmetric or not at all one that its parent made.
    let derived: &[u8] = &[
        0, 8, 0, 11, 0, 4, 4, 0x40, 0, 0, 0, 5, 0, 11, 0, 0, 0, 0, 0, 0,
    ];
    runner.raw::<commands::CreateLoaded>(&[DERIVES], &[empty_sensitive, &sized(derived)]);
    runner.forget_transient(object);
    Some(())
}

impl Runner {
    /// Flushes transient objects but one.
    fn forget_transient(&mut self, but: TpmHandle) {
        let loaded: Vec<TpmHandle> = self.tpm.objects.transient().collect();
        for handle in loaded.into_iter().filter(|handle| *handle != but) {
            self.raw::<commands::FlushContext>(&[], &[&handle.0.to_be_bytes()]);
        }
    }
}

/// Signatures by every kind of key, and their verification.
pub(super) fn signatures(runner: &mut Runner) {
    let digest = Tpm2bDigest::new(&[9; 32]).unwrap_or_default();
    for (key, scheme) in [
        (SIGNER, ECDSA),
        (SIGNER, &[0, 0x1C, 0, 11][..]),
        (RSA, &[0, 0x14, 0, 11]),
        (RSA, &[0, 0x16, 0, 11]),
        (TpmHandle(0x8180_0001), NO_SCHEME),
        (super::APPROVER, NO_SCHEME),
    ] {
        let unchecked = UNCHECKED.to_bytes();
        if !runner.raw::<Sign>(&[key], &[&digest.to_bytes(), scheme, &unchecked]) {
            continue;
        }
        if let Ok(signed) = crate::testing::decode::<Sign>(&runner.plain_response) {
            runner.send_command(&VerifySignature {
                key_handle: key.into(),
                digest: digest.clone(),
                signature: signed.signature,
            });
        }
    }
}

/// Encryption by every kind of key, and back.
pub(super) fn encryption(runner: &mut Runner) {
    let text = || Tpm2bMaxBuffer::new(b"sixteen bytes of".to_vec()).unwrap_or_default();
    for scheme in [
        TpmtKdfScheme::Kdf2(SHA256),
        TpmtKdfScheme::Mgf1(SHA256),
        TpmtKdfScheme::Kdf1Sp80056a(SHA256),
    ] {
        let in_scheme = Some(scheme);
        let hidden = runner.send_command(&EccEncrypt {
            key_handle: AGREES.into(),
            plain_text: text(),
            in_scheme: in_scheme.clone(),
        });
        if let Some(hidden) = hidden {
            runner.send_command(&EccDecrypt {
                key_handle: AGREES.into(),
                c1: hidden.c1,
                c2: hidden.c2,
                c3: hidden.c3,
                in_scheme,
            });
        }
    }
    let agreed = runner.send_command(&EcdhKeyGen {
        key_handle: AGREES.into(),
    });
    if let Some(agreed) = agreed {
        runner.send_command(&EcdhZGen {
            key_handle: AGREES.into(),
            in_point: agreed.pub_point,
        });
    }
    for scheme in [&[0, 0x15][..], &[0, 0x17, 0, 11], &[0, 0x17, 0, 4]] {
        let values: [&[u8]; 3] = [&text().to_bytes(), scheme, EMPTY];
        if !runner.raw::<RsaEncrypt>(&[RSA], &values) {
            continue;
        }
        if let Ok(hidden) = crate::testing::decode::<RsaEncrypt>(&runner.plain_response) {
            let hidden = hidden.out_data.to_bytes();
            runner.raw::<RsaDecrypt>(&[RSA], &[&hidden, scheme, EMPTY]);
        }
    }
    let text = text().to_bytes();
    let iv = sized(&[3; 16]);
    for mode in 0x40..=0x44u8 {
        let iv: &[u8] = if mode == 0x44 { EMPTY } else { &iv };
        for decrypt in [[0], [1]] {
            let values: [&[u8]; 4] = [&decrypt, &[0, mode], iv, &text];
            runner.raw::<commands::EncryptDecrypt>(&[CIPHER], &values);
            let values: [&[u8]; 4] = [&text, &decrypt, &[0, mode], iv];
            runner.raw::<commands::EncryptDecrypt2>(&[CIPHER], &values);
        }
    }
    for key in [super::APPROVER, CMAC] {
        runner.raw::<commands::Mac>(&[key], &[&text, NO_SCHEME]);
    }
    for hash in [[0, 4], [0, 11], [0, 12], [0, 13], [0, 0x27]] {
        runner.raw::<commands::Hash>(&[], &[&text, &hash, &OWNER.0.to_be_bytes()]);
    }
}

/// Everything that is signed about the TPM.
pub(super) fn attestation(runner: &mut Runner, made: &Made) {
    let pcrs: &[u8] = &[0, 0, 0, 1, 0, 11, 3, 0xFF, 0, 0];
    let nonce = sized(b"nonce");
    let endorsement = TpmHandle::ENDORSEMENT;
    runner.raw::<commands::Certify>(&[SIGNER, SIGNER], &[&nonce, ECDSA]);
    runner.raw::<commands::Quote>(&[SIGNER], &[&nonce, ECDSA, pcrs]);
    runner.raw::<commands::GetTime>(&[endorsement, SIGNER], &[&nonce, ECDSA]);
    let sha256: &[u8] = &[0, 11];
    let codes: &[u8] = &[0, 0, 0, 1, 0, 0, 1, 0x7B];
    let none: &[u8] = &[0; 4];
    runner.raw::<commands::SetCommandCodeAuditStatus>(&[OWNER], &[sha256, none, none]);
    runner.raw::<commands::SetCommandCodeAuditStatus>(&[OWNER], &[NO_SCHEME, codes, none]);
    runner.raw::<commands::GetRandom>(&[], &[&[0, 8]]);
    runner.raw::<commands::GetCommandAuditDigest>(&[endorsement, SIGNER], &[&nonce, ECDSA]);
    runner.raw::<commands::SetCommandCodeAuditStatus>(&[OWNER], &[NO_SCHEME, none, codes]);
    let handles = [SIGNER, OWNER, ORDINARY];
    let values: [&[u8]; 4] = [&nonce, ECDSA, &[0, 8], &[0, 0]];
    runner.raw::<commands::NvCertify>(&handles, &values);
    let values: [&[u8]; 4] = [&nonce, ECDSA, &[0, 0], &[0, 0]];
    runner.raw::<commands::NvCertify>(&handles, &values);
    runner.send_command(&CertifyCreation {
        sign_handle: Some(SIGNER.into()),
        object_handle: SIGNER.into(),
        qualifying_data: Tpm2bData::EMPTY,
        creation_hash: made.signer.creation_hash.clone(),
        in_scheme: Some(tpm_wire::algorithm::TpmtSigScheme::Ecdsa(SHA256)),
        creation_ticket: made.signer.creation_ticket.clone(),
    });
    let certificate = sized(&partial_certificate());
    runner.raw::<commands::CertifyX509>(&[SIGNER, SIGNER], &[EMPTY, ECDSA, &certificate]);
    runner.raw::<commands::CertifyX509>(&[RSA, SIGNER], &[EMPTY, ECDSA, &certificate]);
    for made in [
        runner.session_audit_digest(),
        runner.ecdaa_signature(),
        runner.two_phases(),
    ] {
        let Some((row, handles, values)) = made else {
            continue;
        };
        let auths = runner.plain_authorizations(row.info, &handles);
        runner.send_parts(Parts {
            row,
            handles,
            values,
            auths,
        });
    }
}

/// The parts of a certificate that its issuer gives (RFC 5280, 4.1): names, validity and a key usage of signatures.
fn partial_certificate() -> Vec<u8> {
    let der = |tag: u8, parts: &[&[u8]]| -> Vec<u8> {
        let body = parts.concat();
        let mut out = vec![tag];
        match u8::try_from(body.len()) {
            Ok(size @ 0..0x80) => out.push(size),
            Ok(size) => out.extend([0x81, size]),
            Err(_) => out.extend([0x82, 0, 0]),
        }
        out.extend(body);
        out
    };
    let name = |text: &[u8]| {
        let value = der(0x0C, &[text]);
        let attribute = der(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03], &value]);
        der(0x30, &[&der(0x31, &[&attribute])])
    };
    let time = |text: &[u8]| der(0x17, &[text]);
    let validity = der(0x30, &[&time(b"250101000000Z"), &time(b"450101000000Z")]);
    let bits = der(0x03, &[&[7, 0x80]]);
    let usage = [0x06, 0x03, 0x55, 0x1D, 0x0F];
    let extension = der(0x30, &[&usage, &[0x01, 0x01, 0xFF], &der(0x04, &[&bits])]);
    let extensions = der(0xA3, &[&der(0x30, &[&extension])]);
    der(
        0x30,
        &[&name(b"issuer"), &validity, &name(b"subject"), &extensions],
    )
}

/// What is done with NV Indices.
pub(super) fn memory(runner: &mut Runner, policy: &Tpm2bDigest) {
    let eight = sized(&[1; 8]);
    runner.raw::<commands::NvIncrement>(&[OWNER, COUNTER], &[]);
    runner.raw::<commands::NvSetBits>(&[OWNER, BITS], &[&3u64.to_be_bytes()]);
    runner.raw::<commands::NvExtend>(&[OWNER, EXTENDED], &[&eight]);
    runner.raw::<commands::NvWrite>(&[ORDINARY, ORDINARY], &[&eight, &[0, 4]]);
    for index in [ORDINARY, COUNTER, BITS] {
        runner.raw::<commands::NvRead>(&[OWNER, index], &[&[0, 8], &[0, 0]]);
    }
    for index in [COUNTER, ORDINARY] {
        let counts: [&[u8]; 3] = [&sized(&[0; 8]), &[0, 0], &[0, 7]];
        let session = runner.policy_session();
        runner.raw::<commands::PolicyNv>(&[index, index, session], &counts);
    }
    runner.raw::<commands::NvReadPublic>(&[ORDINARY], &[]);
    runner.raw::<commands::NvReadPublic2>(&[ORDINARY], &[]);
    runner.raw::<commands::NvWriteLock>(&[OWNER, LOCKED], &[]);
    runner.raw::<commands::NvReadLock>(&[OWNER, LOCKED], &[]);
    runner.raw::<commands::NvGlobalWriteLock>(&[OWNER], &[]);
    // New Indices, with a secret that then changes, and one whose attributes are wider.
    let public = |handle: TpmHandle, attributes: &[u8]| {
        let mut area = handle.0.to_be_bytes().to_vec();
        area.extend([0, 11]);
        area.extend(attributes);
        policy.marshal(&mut area);
        area.extend([0, 8]);
        area
    };
    let index = TpmHt::NvIndex.handle(0x50_0020);
    let open: &[u8] = &[0x02, 0x0E, 0x00, 0x0E];
    let secret = sized(b"secret");
    let area = sized(&public(index, open));
    runner.raw::<commands::NvDefineSpace>(&[OWNER], &[&secret, &area]);
    runner.raw::<commands::NvChangeAuth>(&[index], &[EMPTY]);
    runner.raw::<commands::NvUndefineSpace>(&[OWNER, index], &[]);
    let area = sized(&[&[1][..], &public(index, open)].concat());
    runner.raw::<commands::NvDefineSpace2>(&[OWNER], &[EMPTY, &area]);
    let wide = TpmHt::ExternalNv.handle(7);
    let attributes = [&[0; 4], open].concat();
    let area = sized(&[&[0x11][..], &public(wide, &attributes)].concat());
    runner.raw::<commands::NvDefineSpace2>(&[OWNER], &[EMPTY, &area]);
    runner.raw::<commands::NvReadPublic2>(&[wide], &[]);
    runner.raw::<commands::NvUndefineSpace>(&[OWNER, wide], &[]);
    runner.raw::<commands::NvUndefineSpaceSpecial>(&[OF_PLATFORM, PLATFORM], &[]);
    super::keys::indices(runner, policy);
}

/// What only the platform and the lockout authority do.
pub(super) fn platform(runner: &mut Runner) {
    let script = alloc::sync::Arc::clone(&runner.tpm.script);
    script.presence.store(true, Ordering::Relaxed);
    let code: &[u8] = &[0, 0, 0, 1, 0, 0, 1, 0x2C];
    runner.raw::<commands::PpCommands>(&[PLATFORM], &[code, &[0; 4]]);
    runner.raw::<commands::PpCommands>(&[PLATFORM], &[&[0; 4], code]);
    script.presence.store(false, Ordering::Relaxed);
    let lockout = TpmHandle::LOCKOUT;
    let number = |number: u32| number.to_be_bytes();
    let values: [&[u8]; 3] = [&number(20), &number(7200), &number(7200)];
    runner.raw::<commands::DictionaryAttackParameters>(&[lockout], &values);
    runner.raw::<commands::DictionaryAttackLockReset>(&[lockout], &[]);
    runner.raw::<commands::ClockSet>(&[OWNER], &[&5000u64.to_be_bytes()]);
    runner.raw::<commands::ClockRateAdjust>(&[OWNER], &[&[1]]);
    runner.raw::<commands::ActSetTimeout>(&[TpmHandle::ACT_0], &[&number(30)]);
    runner.raw::<commands::SetPrimaryPolicy>(&[OWNER], &[EMPTY, NO_SCHEME]);
    runner.raw::<commands::PcrSetAuthValue>(&[TpmHandle(20)], &[EMPTY]);
    let pcr: &[u8] = &number(20);
    runner.raw::<commands::PcrSetAuthPolicy>(&[PLATFORM], &[EMPTY, NO_SCHEME, pcr]);
    let banks: &[u8] = &[0, 0, 0, 1, 0, 11, 3, 0xFF, 0xFF, 0xFF];
    runner.raw::<commands::PcrAllocate>(&[PLATFORM], &[banks]);
    runner.raw::<commands::PcrReset>(&[TpmHandle(16)], &[]);
    runner.raw::<commands::PcrRead>(&[], &[banks]);
    let digest = [&[0, 0, 0, 1, 0, 11][..], &[7; 32]].concat();
    runner.raw::<commands::PcrExtend>(&[TpmHandle(16)], &[&digest]);
    runner.raw::<commands::PcrEvent>(&[TpmHandle(7)], &[&sized(b"event")]);
    runner.raw::<commands::SetAlgorithmSet>(&[PLATFORM], &[&number(0)]);
    runner.raw::<commands::HierarchyChangeAuth>(&[OWNER], &[EMPTY]);
    runner.raw::<commands::ClearControl>(&[PLATFORM], &[&[0]]);
    runner.raw::<commands::ReadOnlyControl>(&[PLATFORM], &[&[0]]);
    runner.raw::<commands::HierarchyControl>(&[PLATFORM], &[&OWNER.0.to_be_bytes(), &[1]]);
    runner.raw::<commands::SelfTest>(&[], &[&[1]]);
    runner.raw::<commands::IncrementalSelfTest>(&[], &[&[0, 0, 0, 1, 0, 11]]);
    runner.raw::<commands::GetTestResult>(&[], &[]);
    runner.raw::<commands::StirRandom>(&[], &[&sized(b"stir")]);
    runner.raw::<commands::ReadClock>(&[], &[]);
    runner.raw::<commands::EccParameters>(&[], &[&[0, 3]]);
    runner.raw::<commands::TestParms>(&[], &[&[0, 8, 0, 0x10]]);
    for capability in 0..=11u32 {
        let values: [&[u8]; 3] = [&number(capability), &number(0), &number(64)];
        runner.raw::<commands::GetCapability>(&[], &values);
    }
    // New banks come with the next reset; until then there is no orderly shutdown that keeps the state.
    runner.raw::<commands::Shutdown>(&[], &[&[0, 0]]);
    runner.tpm.init();
    runner.raw::<commands::Startup>(&[], &[&[0, 0]]);
}

/// Hash, event and MAC sequences, from start to end; one of each stays.
pub(super) fn sequences(runner: &mut Runner) {
    let data = sized(b"some data");
    for stays in [false, true] {
        let mut started: Vec<TpmHandle> = Vec::new();
        for hash in [&[0, 11][..], NO_SCHEME] {
            runner.raw::<commands::HashSequenceStart>(&[], &[EMPTY, hash]);
            started.extend(runner.given());
        }
        for key in [super::APPROVER, CMAC] {
            if runner.raw::<commands::MacStart>(&[key], &[EMPTY, NO_SCHEME]) {
                started.extend(runner.given());
            }
        }
        for (place, sequence) in started.into_iter().enumerate() {
            runner.raw::<commands::SequenceUpdate>(&[sequence], &[&data]);
            if stays {
                continue;
            }
            if place == 1 {
                // An event sequence ends with the events of every bank.
                let handles = [TpmHandle(16), sequence];
                runner.raw::<commands::EventSequenceComplete>(&handles, &[&data]);
            } else {
                let hierarchy = OWNER.0.to_be_bytes();
                runner.raw::<commands::SequenceComplete>(&[sequence], &[&data, &hierarchy]);
            }
        }
    }
}

impl Runner {
    /// The handle that the last response gave.
    fn given(&self) -> Option<TpmHandle> {
        let handle = self.plain_response.get(10..14)?.first_chunk::<4>()?;
        Some(TpmHandle(u32::from_be_bytes(*handle)))
    }
}
