//! What is measured: one function for each operation, which prepares it and returns one step of it.

use std::time::{Duration, Instant};

use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiEccCurve, TpmsEccPoint, TpmtHa, TpmtRsaDecrypt, TpmtSignature,
};
use tpm_wire::buffers::{
    Small, Tpm2b, Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bEncryptedSecret, Tpm2bIv,
    Tpm2bMaxBuffer, Tpm2bMaxNvBuffer, Tpm2bNonce, Tpm2bPublicKeyRsa, Tpm2bSensitiveData,
};
use tpm_wire::codec::Marshal as _;
use tpm_wire::commands::{
    ActivateCredential, Commit, ContextLoad, ContextSave, Create, CreatePrimary, EcdhKeyGen,
    EcdhZGen, EncryptDecrypt2, EvictControl, FlushContext, GetCapability, GetRandom, Hash, Load,
    MakeCredential, NvIncrement, NvRead, NvWrite, PcrExtend, PcrRead, Quote, ReadPublic,
    RsaDecrypt, RsaEncrypt, Sign, StartAuthSession, Unseal, VerifySignature,
};
use tpm_wire::constants::{TpmCap, TpmSe, TpmSt};
use tpm_wire::handles::{
    TpmHandle, TpmiDhContext, TpmiDhEntity, TpmiDhObject, TpmiDhPcr, TpmiDhPersistent,
    TpmiRhNvAuth, TpmiRhNvIndex, TpmiRhProvision,
};
use tpm_wire::nv::TpmNt;
use tpm_wire::object::Tpm2bPublic;
use tpm_wire::table;
use tpm_wire::ticket::TpmtTkHashcheck;

use crate::server::{Server, bytes};
use crate::templates::{self, COUNTER, DATA, Use};

/// Does the operation once and says how long that took; what has to be cleaned up after it is not counted.
pub(crate) type Step = Box<dyn FnMut(&mut Server) -> anyhow::Result<Duration>>;
type Prepare = fn(&mut Server) -> anyhow::Result<Step>;

const P256: TpmiEccCurve = TpmiEccCurve::NistP256;
const P384: TpmiEccCurve = TpmiEccCurve::NistP384;
const DIGEST: [u8; 32] = [7; 32];

/// Every operation, by name.
pub(crate) const OPERATIONS: &[(&str, Prepare)] = &[
    ("GetRandom 32", |_| {
        same::<GetRandom>(&GetRandom {
            bytes_requested: 32,
        })
    }),
    ("PCR_Read 8", |_| {
        same(&PcrRead {
            pcr_selection_in: templates::pcrs(&[0, 1, 2, 3, 4, 5, 6, 7]),
        })
    }),
    ("PCR_Extend", |_| pcr_extend()),
    ("Hash 1 KiB", |_| hash()),
    ("GetCapability 64 properties", |_| {
        same(&GetCapability {
            capability: TpmCap::TPM_PROPERTIES,
            property: 0x100,
            property_count: 64,
        })
    }),
    ("StartAuthSession", |_| session(start_session(None, &[]))),
    ("StartAuthSession salted ECC", salted_session),
    ("CreatePrimary ECC P-256", |_| {
        created_primary(templates::ecc(P256, Use::Sign))
    }),
    ("CreatePrimary RSA-2048", |_| {
        created_primary(templates::rsa(Use::Sign))
    }),
    ("Create ECC P-256", |server| {
        created(server, templates::ecc(P256, Use::Sign))
    }),
    ("Create RSA-2048", |server| {
        created(server, templates::rsa(Use::Sign))
    }),
    ("Load ECC P-256", |server| {
        loaded(server, templates::ecc(P256, Use::Sign))
    }),
    ("Load RSA-2048", |server| {
        loaded(server, templates::rsa(Use::Sign))
    }),
    ("Sign ECDSA P-256", |server| {
        sign(server, templates::ecc(P256, Use::Sign))
    }),
    ("Sign ECDSA P-384", |server| {
        sign(server, templates::ecc(P384, Use::Sign))
    }),
    ("Sign RSASSA-2048", |server| {
        sign(server, templates::rsa(Use::Sign))
    }),
    ("Quote ECC P-256", |server| {
        quote(server, templates::ecc(P256, Use::Sign))
    }),
    ("Quote RSA-2048", |server| {
        quote(server, templates::rsa(Use::Sign))
    }),
    ("VerifySignature ECC P-256", |server| {
        verify(server, templates::ecc(P256, Use::Sign))
    }),
    ("VerifySignature RSA-2048", |server| {
        verify(server, templates::rsa(Use::Sign))
    }),
    ("Seal 32", |server| {
        let parent = make(server, templates::ecc(P256, Use::Parent))?;
        same(&templates::child(parent, templates::sealed(), &DIGEST))
    }),
    ("Unseal 32", unseal),
    ("NV_Write 64", nv_write),
    ("NV_Increment", |server| {
        server.run(&templates::define(COUNTER, TpmNt::Counter, 8))?;
        same(&NvIncrement {
            auth_handle: TpmiRhNvAuth(COUNTER),
            nv_index: TpmiRhNvIndex(COUNTER),
        })
    }),
    ("NV_Read 64", |server| {
        nv_write(server)?(server)?;
        same(&NvRead {
            auth_handle: TpmiRhNvAuth(DATA),
            nv_index: TpmiRhNvIndex(DATA),
            size: 64,
            offset: 0,
        })
    }),
    ("EvictControl persist", evict),
    ("ContextSave ECC", |server| {
        let key = make(server, templates::ecc(P256, Use::Sign))?;
        same(&ContextSave {
            save_handle: TpmiDhContext(key),
        })
    }),
    ("ContextLoad ECC", context_load),
    ("EncryptDecrypt2 1 KiB", encrypt),
    ("RSA_Decrypt OAEP-2048", rsa_decrypt),
    ("ECDH_KeyGen P-256", |server| {
        let key = make(server, templates::ecc(P256, Use::Decrypt))?;
        same(&EcdhKeyGen {
            key_handle: TpmiDhObject(key),
        })
    }),
    ("ECDH_ZGen P-256", |server| {
        let key_handle = TpmiDhObject(make(server, templates::ecc(P256, Use::Decrypt))?);
        let in_point = server.run(&EcdhKeyGen { key_handle })?.pub_point;
        same(&EcdhZGen {
            key_handle,
            in_point,
        })
    }),
    ("MakeCredential ECC", |server| {
        let (_, command) = credential(server, templates::ecc(P256, Use::Parent))?;
        same(&command)
    }),
    ("ActivateCredential ECC", |server| {
        activate(server, templates::ecc(P256, Use::Parent))
    }),
    ("ActivateCredential RSA", |server| {
        activate(server, templates::rsa(Use::Parent))
    }),
    ("Commit P-256", |server| commit(server, P256)),
    ("Commit BN-P256", |server| {
        commit(server, TpmiEccCurve::BnP256)
    }),
];

/// The same bytes each time, and nothing to clean up.
fn same<C: table::Command>(command: &C) -> anyhow::Result<Step> {
    let command = bytes(command);
    Ok(Box::new(move |server| {
        let (elapsed, _) = timed::<C>(server, &command)?;
        Ok(elapsed)
    }))
}

fn timed<C: table::Command>(
    server: &mut Server,
    command: &[u8],
) -> anyhow::Result<(Duration, C::Response)> {
    let began = Instant::now();
    let response = server.transmit(command)?;
    let elapsed = began.elapsed();
    let response = tpm_engine::testing::decode::<C>(&response)
        .map_err(|code| anyhow::anyhow!("{} was answered with {code}", C::INFO.name))?;
    Ok((elapsed, response))
}

fn flush(server: &mut Server, handle: TpmHandle) -> anyhow::Result<()> {
    let flush_handle = TpmiDhContext(handle);
    server.run(&FlushContext { flush_handle })?;
    Ok(())
}

fn make(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<TpmHandle> {
    Ok(server.run(&templates::primary(public))?.object_handle)
}

fn fitting<T>(buffer: Option<T>) -> anyhow::Result<T> {
    buffer.ok_or_else(|| anyhow::anyhow!("a buffer of the bench is too large"))
}

fn pcr_extend() -> anyhow::Result<Step> {
    let digest = TpmtHa {
        hash_alg: TpmiAlgHash::Sha256,
        digest: fitting(Small::new(&DIGEST))?,
    };
    same(&PcrExtend {
        pcr_handle: Some(TpmiDhPcr(TpmHandle(16))),
        digests: [digest].into_iter().collect(),
    })
}

fn hash() -> anyhow::Result<Step> {
    same(&Hash {
        data: fitting(Tpm2bMaxBuffer::new(vec![7; 1024]))?,
        hash_alg: TpmiAlgHash::Sha256,
        hierarchy: None,
    })
}

fn start_session(salt_key: Option<TpmHandle>, salt: &[u8]) -> StartAuthSession {
    StartAuthSession {
        tpm_key: salt_key.map(TpmiDhObject),
        bind: None::<TpmiDhEntity>,
        nonce_caller: Tpm2bNonce::zeros(16),
        encrypted_salt: Tpm2bEncryptedSecret::new(salt.to_vec())
            .unwrap_or(Tpm2bEncryptedSecret::EMPTY),
        session_type: TpmSe::Hmac,
        symmetric: None,
        auth_hash: TpmiAlgHash::Sha256,
    }
}

fn session(command: StartAuthSession) -> anyhow::Result<Step> {
    let command = bytes(&command);
    Ok(Box::new(move |server| {
        let (elapsed, session) = timed::<StartAuthSession>(server, &command)?;
        flush(server, session.session_handle.0)?;
        Ok(elapsed)
    }))
}

/// The point of an ephemeral key is what encrypts a salt; the session is never used, so nobody needs to know the salt.
fn salted_session(server: &mut Server) -> anyhow::Result<Step> {
    let helper = make(server, templates::ecc(P256, Use::Decrypt))?;
    let key_handle = TpmiDhObject(helper);
    let point = server.run(&EcdhKeyGen { key_handle })?.pub_point;
    let mut salt = Vec::new();
    point.0.marshal(&mut salt);
    session(start_session(Some(helper), &salt))
}

fn created_primary(public: Tpm2bPublic) -> anyhow::Result<Step> {
    let command = bytes(&templates::primary(public));
    Ok(Box::new(move |server| {
        let (elapsed, created) = timed::<CreatePrimary>(server, &command)?;
        flush(server, created.object_handle)?;
        Ok(elapsed)
    }))
}

fn created(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<Step> {
    let parent = make(server, templates::ecc(P256, Use::Parent))?;
    same::<Create>(&templates::child(parent, public, &[]))
}

fn loaded(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<Step> {
    let parent = make(server, templates::ecc(P256, Use::Parent))?;
    let created = server.run(&templates::child(parent, public, &[]))?;
    let command = bytes(&Load {
        parent_handle: TpmiDhObject(parent),
        in_private: created.out_private,
        in_public: Tpm2bPublic(created.out_public.0),
    });
    Ok(Box::new(move |server| {
        let (elapsed, object) = timed::<Load>(server, &command)?;
        flush(server, object.object_handle)?;
        Ok(elapsed)
    }))
}

fn sign_command(key: TpmHandle) -> anyhow::Result<Sign> {
    Ok(Sign {
        key_handle: TpmiDhObject(key),
        digest: fitting(Tpm2bDigest::new(&DIGEST))?,
        in_scheme: None,
        validation: TpmtTkHashcheck {
            tag: TpmSt::HASHCHECK,
            hierarchy: None,
            digest: Tpm2bDigest::EMPTY,
        },
    })
}

fn sign(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<Step> {
    let key = make(server, public)?;
    same(&sign_command(key)?)
}

fn quote(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<Step> {
    let key = make(server, public)?;
    same::<Quote>(&Quote {
        sign_handle: Some(TpmiDhObject(key)),
        qualifying_data: fitting(Tpm2bData::new(b"nonce"))?,
        in_scheme: None,
        pcr_select: templates::pcrs(&[0, 1, 2, 3]),
    })
}

fn verify(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<Step> {
    let key = make(server, public)?;
    let signature: TpmtSignature = server.run(&sign_command(key)?)?.signature;
    same(&VerifySignature {
        key_handle: TpmiDhObject(key),
        digest: fitting(Tpm2bDigest::new(&DIGEST))?,
        signature,
    })
}

fn load(
    server: &mut Server,
    parent: TpmHandle,
    public: Tpm2bPublic,
    data: &[u8],
) -> anyhow::Result<TpmHandle> {
    let created = server.run(&templates::child(parent, public, data))?;
    let load = Load {
        parent_handle: TpmiDhObject(parent),
        in_private: created.out_private,
        in_public: Tpm2bPublic(created.out_public.0),
    };
    Ok(server.run(&load)?.object_handle)
}

fn unseal(server: &mut Server) -> anyhow::Result<Step> {
    let parent = make(server, templates::ecc(P256, Use::Parent))?;
    let item = load(server, parent, templates::sealed(), &DIGEST)?;
    same(&Unseal {
        item_handle: TpmiDhObject(item),
    })
}

/// Other contents each time: the same ones need not be written.
fn nv_write(server: &mut Server) -> anyhow::Result<Step> {
    server.run(&templates::define(DATA, TpmNt::Ordinary, 64))?;
    let write = |byte: u8| -> anyhow::Result<Vec<u8>> {
        Ok(bytes(&NvWrite {
            auth_handle: TpmiRhNvAuth(DATA),
            nv_index: TpmiRhNvIndex(DATA),
            data: fitting(Tpm2bMaxNvBuffer::new(vec![byte; 64]))?,
            offset: 0,
        }))
    };
    let mut writes = [write(1)?, write(2)?];
    Ok(Box::new(move |server| {
        writes.swap(0, 1);
        let (elapsed, _) = timed::<NvWrite>(server, &writes[0])?;
        Ok(elapsed)
    }))
}

fn evict(server: &mut Server) -> anyhow::Result<Step> {
    const PERSISTENT: TpmHandle = TpmHandle(0x8100_0001);
    let object = make(server, templates::ecc(P256, Use::Sign))?;
    let control = |object| {
        bytes(&EvictControl {
            auth: TpmiRhProvision(TpmHandle::OWNER),
            object_handle: TpmiDhObject(object),
            persistent_handle: TpmiDhPersistent(PERSISTENT),
        })
    };
    let (persist, remove) = (control(object), control(PERSISTENT));
    Ok(Box::new(move |server| {
        let (elapsed, _) = timed::<EvictControl>(server, &persist)?;
        server.accept::<EvictControl>(&remove)?;
        Ok(elapsed)
    }))
}

fn context_load(server: &mut Server) -> anyhow::Result<Step> {
    let key = make(server, templates::ecc(P256, Use::Sign))?;
    let context = server
        .run(&ContextSave {
            save_handle: TpmiDhContext(key),
        })?
        .context;
    flush(server, key)?;
    let command = bytes(&ContextLoad { context });
    Ok(Box::new(move |server| {
        let (elapsed, object) = timed::<ContextLoad>(server, &command)?;
        flush(server, object.loaded_handle.0)?;
        Ok(elapsed)
    }))
}

fn encrypt(server: &mut Server) -> anyhow::Result<Step> {
    let parent = make(server, templates::ecc(P256, Use::Parent))?;
    let key = load(server, parent, templates::aes(), &[])?;
    same(&EncryptDecrypt2 {
        key_handle: TpmiDhObject(key),
        in_data: fitting(Tpm2bMaxBuffer::new(vec![7; 1024]))?,
        decrypt: false,
        mode: None,
        iv_in: Tpm2bIv::zeros(16),
    })
}

fn rsa_decrypt(server: &mut Server) -> anyhow::Result<Step> {
    let key_handle = TpmiDhObject(make(server, templates::rsa(Use::Decrypt))?);
    let in_scheme: Option<TpmtRsaDecrypt> = None;
    let encrypted = server.run(&RsaEncrypt {
        key_handle,
        message: fitting(Tpm2bPublicKeyRsa::new(DIGEST.to_vec()))?,
        in_scheme: in_scheme.clone(),
        label: Tpm2bData::EMPTY,
    })?;
    same(&RsaDecrypt {
        key_handle,
        cipher_text: encrypted.out_data,
        in_scheme,
        label: Tpm2bData::EMPTY,
    })
}

/// The command that makes a credential for a key, protected by that key.
fn credential(
    server: &mut Server,
    public: Tpm2bPublic,
) -> anyhow::Result<(TpmiDhObject, MakeCredential)> {
    let handle = TpmiDhObject(make(server, public)?);
    let object_name = server
        .run(&ReadPublic {
            object_handle: handle,
        })?
        .name;
    let credential = fitting(Tpm2bDigest::new(&DIGEST))?;
    Ok((
        handle,
        MakeCredential {
            handle,
            credential,
            object_name,
        },
    ))
}

fn activate(server: &mut Server, public: Tpm2bPublic) -> anyhow::Result<Step> {
    let (key, command) = credential(server, public)?;
    let made = server.run(&command)?;
    same(&ActivateCredential {
        activate_handle: key,
        key_handle: key,
        credential_blob: made.credential_blob,
        secret: made.secret,
    })
}

fn commit(server: &mut Server, curve: TpmiEccCurve) -> anyhow::Result<Step> {
    let key = make(server, templates::ecdaa(curve))?;
    same(&Commit {
        sign_handle: TpmiDhObject(key),
        p1: Tpm2b(TpmsEccPoint {
            x: Tpm2bEccParameter::EMPTY,
            y: Tpm2bEccParameter::EMPTY,
        }),
        s2: Tpm2bSensitiveData::EMPTY,
        y2: Tpm2bEccParameter::EMPTY,
    })
}
