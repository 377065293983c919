//! A secret that a TPM gives out only while its PCR are as they were (Part 3, 12.7 and 23.7).

use tpm_attest::Error;
use tpm_attest::attester::policy_session;
use tpm_attest::client::{Client, Transmit};
use tpm_attest::ek::KeyAlgorithm;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgPublic};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bPrivate, Tpm2bSensitiveData,
};
use tpm_wire::commands::{Create, Load, PolicyGetDigest, PolicyPcr, Unseal};
use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiShPolicy};
use tpm_wire::object::{
    Tpm2bPublic, TpmsSensitiveCreate, TpmtPublic, TpmuPublicId, TpmuPublicParms,
};
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};

/// What lies on the disk: useless without its TPM, and without its PCR.
pub(super) struct Sealed {
    private: Tpm2bPrivate,
    public: Tpm2bPublic,
}

/// The PCR that guard it: boot loaders, Secure Boot, and the kernel, which each way to boot measures into another one.
const GUARDS: [u32; 4] = [4, 7, 9, 11];

impl Sealed {
    /// Seals a secret to the PCR as they are.
    pub(super) fn new<T: Transmit>(client: &mut Client<T>, secret: &[u8]) -> Result<Self, Error> {
        let session = guarded_session(client)?;
        let digest = client.run(&PolicyGetDigest {
            policy_session: TpmiShPolicy(session),
        })?;
        client.flush(session)?;
        let parent = storage_key(client)?;
        let template = TpmtPublic {
            name_alg: Some(TpmiAlgHash::Sha256),
            object_attributes: TpmaObject::FIXED_TPM.with(TpmaObject::FIXED_PARENT),
            auth_policy: digest.policy_digest,
            parameters: TpmuPublicParms::KeyedHash(None),
            unique: TpmuPublicId::empty(TpmiAlgPublic::KeyedHash),
        };
        let created = client.run(&Create {
            parent_handle: TpmiDhObject(parent),
            in_sensitive: Tpm2b(TpmsSensitiveCreate {
                user_auth: Tpm2bAuth::EMPTY,
                data: Tpm2bSensitiveData::new(secret.to_vec()).unwrap_or_default(),
            }),
            in_public: Tpm2bPublic(template.clone()),
            outside_info: Tpm2bData::EMPTY,
            creation_pcr: TpmlPcrSelection::new(),
        })?;
        client.flush(parent)?;
        Ok(Self {
            private: created.out_private,
            public: Tpm2bPublic(created.out_public.0),
        })
    }

    /// Asks the TPM for the secret.
    pub(super) fn open<T: Transmit>(&self, client: &mut Client<T>) -> Result<Vec<u8>, Error> {
        let parent = storage_key(client)?;
        let loaded = client.run(&Load {
            parent_handle: TpmiDhObject(parent),
            in_private: self.private.clone(),
            in_public: self.public.clone(),
        });
        client.flush(parent)?;
        let item = loaded?.object_handle;
        let session = guarded_session(client)?;
        let command = Unseal {
            item_handle: TpmiDhObject(item),
        };
        let opened = client.run_authorized(&command, &[session]);
        client.flush(session)?;
        client.flush(item)?;
        opened.map(|answer| answer.out_data.to_vec())
    }
}

fn storage_key<T: Transmit>(client: &mut Client<T>) -> Result<TpmHandle, Error> {
    let template = KeyAlgorithm::EccP256.storage_key();
    let created = client.create_primary(TpmHandle::OWNER, &template)?;
    Ok(created.object_handle)
}

/// A policy session in which the PCR are as they are now.
fn guarded_session<T: Transmit>(client: &mut Client<T>) -> Result<TpmHandle, Error> {
    let session = policy_session(client)?;
    let mut pcrs = TpmlPcrSelection::new();
    pcrs.push(TpmsPcrSelection {
        hash: TpmiAlgHash::Sha256,
        pcr_select: TpmsPcrSelect::of(&GUARDS),
    });
    client.run(&PolicyPcr {
        policy_session: TpmiShPolicy(session),
        pcr_digest: Tpm2bDigest::EMPTY,
        pcrs,
    })?;
    Ok(session)
}
