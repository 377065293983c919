//! Data for one TPM and one state of its PCR: an object that only the TPM with a certain storage key can import, and that it unseals
//! only while its PCR have certain values (Part 1, 23; Part 3, 13.3, 12.7 and 23.7).
//!
//! It is made here without a TPM, like a [credential](crate::credential). What travels is worthless to anybody else, and to this TPM
//! too once its PCR are others.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use tpm_crypto::hash::{HashAlgorithm, hash};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bPrivate, Tpm2bSeed,
    Tpm2bSensitiveData,
};
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::commands::{Import, Load, PolicyPcr, Unseal};
use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiShPolicy};
use tpm_wire::object::{
    Tpm2bPublic, Tpm2bSensitive, TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuPublicParms,
    TpmuSensitiveComposite,
};
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::table::Command;
use zeroize::Zeroizing;

use crate::Error;
use crate::attester::{LoadedKey, policy_session, with_endorsement};
use crate::client::{Client, Transmit};
use crate::credential::{object_name, protect};
use crate::verify::{Base64, PcrValues, pcr_digest};

/// What the seed of a duplicate is sent for, with the zero that ends it (Part 1, 23.3).
const DUPLICATE: &[u8] = b"DUPLICATE\0";
/// Most bytes that can be sealed.
pub const MOST: usize = 128;

/// Sealed data on its way to a TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedData {
    /// `TPMT_PUBLIC` of the object.
    pub public: Base64,
    /// `TPM2B_PRIVATE` without its size: the object, encrypted.
    pub duplicate: Base64,
    /// `TPM2B_ENCRYPTED_SECRET` without its size: the seed of that protection.
    pub seed: Base64,
    /// `TPML_PCR_SELECTION`: the PCR that must not have changed.
    pub pcrs: Base64,
}

impl SealedData {
    /// Seals `data` for the TPM with the storage key `parent`, and for the values that these PCR have.
    ///
    /// # Errors
    /// If the key is no restricted decryption key with AES, or the data is too long.
    pub fn make(
        parent: &TpmtPublic,
        selection: &TpmlPcrSelection,
        pcrs: &PcrValues,
        data: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let too_large = || Error::TooLarge {
            what: "sealed data",
            size: data.len(),
        };
        let bits = Some(data)
            .filter(|data| data.len() <= MOST)
            .and_then(|data| Tpm2bSensitiveData::new(data.to_vec()))
            .ok_or_else(too_large)?;
        let mut obfuscation = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *obfuscation);
        let unique = hash(HashAlgorithm::Sha256, &[&*obfuscation, data]);
        let public = TpmtPublic {
            name_alg: Some(TpmiAlgHash::Sha256),
            // Nothing but the policy unseals it, and nobody can try values at it.
            object_attributes: TpmaObject::NO_DA,
            auth_policy: digest(&policy(selection, pcrs)),
            parameters: TpmuPublicParms::KeyedHash(None),
            unique: TpmuPublicId::KeyedHash(digest(&unique)),
        };
        let name = object_name(&public)?;
        let sensitive = Tpm2bSensitive(Some(TpmtSensitive {
            auth_value: Tpm2bAuth::EMPTY,
            seed_value: Tpm2bSeed::new(&*obfuscation).unwrap_or_default(),
            sensitive: TpmuSensitiveComposite::Bits(bits),
        }));
        let inside = Zeroizing::new(sensitive.to_bytes());
        let (duplicate, seed) = protect(parent, DUPLICATE, &name, inside, rng)?;
        Ok(Self {
            public: Base64(public.to_bytes()),
            duplicate: Base64(duplicate),
            seed: Base64(seed.to_vec()),
            pcrs: Base64(selection.to_bytes()),
        })
    }

    /// Has the TPM with the key `parent` open it.
    ///
    /// # Errors
    /// What the TPM refuses: that is how one with another key, or with other PCR, answers.
    pub fn open<T: Transmit>(
        &self,
        client: &mut Client<T>,
        parent: &LoadedKey,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let senseless = |what: &str| Error::Encoding(format!("{what} of the sealed data"));
        let public: TpmtPublic = parse_all(&self.public.0, &Limits::ALL)
            .map_err(|_| senseless("the public area cannot be read"))?;
        let pcrs: TpmlPcrSelection = parse_all(&self.pcrs.0, &Limits::ALL)
            .map_err(|_| senseless("the selection of PCR cannot be read"))?;
        let import = Import {
            parent_handle: TpmiDhObject(parent.handle),
            encryption_key: Tpm2bData::EMPTY,
            object_public: Tpm2bPublic(public.clone()),
            duplicate: Tpm2bPrivate::new(self.duplicate.0.clone())
                .ok_or_else(|| senseless("too long is the private area"))?,
            in_sym_seed: Tpm2bEncryptedSecret::new(self.seed.0.clone())
                .ok_or_else(|| senseless("too long is the seed"))?,
            symmetric_alg: None,
        };
        let imported = with_key(client, parent, &import)?;
        let load = Load {
            parent_handle: TpmiDhObject(parent.handle),
            in_private: imported.out_private,
            in_public: Tpm2bPublic(public),
        };
        let object = with_key(client, parent, &load)?.object_handle;
        let unsealed = unseal(client, object, &pcrs);
        let flushed = client.flush(object);
        let unsealed = unsealed?;
        flushed?;
        Ok(unsealed)
    }
}

fn with_key<T: Transmit, C: Command>(
    client: &mut Client<T>,
    key: &LoadedKey,
    command: &C,
) -> Result<C::Response, Error> {
    with_endorsement(client, key, |client, session| match session {
        None => client.run(command),
        Some(session) => client.run_authorized(command, &[session]),
    })
}

fn unseal<T: Transmit>(
    client: &mut Client<T>,
    object: TpmHandle,
    pcrs: &TpmlPcrSelection,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let session = policy_session(client)?;
    let shown = client.run(&PolicyPcr {
        policy_session: TpmiShPolicy(session),
        pcr_digest: Tpm2bDigest::EMPTY,
        pcrs: pcrs.clone(),
    });
    let unseal = Unseal {
        item_handle: TpmiDhObject(object),
    };
    let unsealed = shown.and_then(|_| client.run_authorized(&unseal, &[session]));
    let flushed = client.flush(session);
    let unsealed = unsealed?;
    flushed?;
    Ok(Zeroizing::new(unsealed.out_data.to_vec()))
}

/// The digest of a policy that demands these PCR (Part 3, 23.7).
fn policy(selection: &TpmlPcrSelection, pcrs: &PcrValues) -> Vec<u8> {
    let alg = HashAlgorithm::Sha256;
    let code = PolicyPcr::INFO.code.to_be_bytes();
    let values = pcr_digest(alg, selection, pcrs);
    hash(alg, &[&[0; 32], &code, &selection.to_bytes(), &values]).to_vec()
}

fn digest(bytes: &[u8]) -> Tpm2bDigest {
    Tpm2bDigest::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attester::{endorsement_key, read_pcrs, release, selection};
    use crate::ek::EkTemplate;
    use tpm_engine::testing::started;
    use tpm_wire::algorithm::TpmtHa;
    use tpm_wire::commands::PcrExtend;
    use tpm_wire::handles::TpmiDhPcr;
    use tpm_wire::pcr::TpmlDigestValues;

    #[test]
    fn a_tpm_opens_what_is_sealed_for_it_until_its_pcr_change() {
        let mut tpm = started();
        let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
        let pcrs = selection("sha256:0,7+sha1:1").unwrap();
        let values = read_pcrs(&mut client, &pcrs).unwrap();
        let mut last = None;
        for template in [EkTemplate::L1, EkTemplate::L2, EkTemplate::H2] {
            let ek = endorsement_key(&mut client, template).unwrap();
            let sealed =
                SealedData::make(&ek.public, &pcrs, &values, &[9; 32], &mut rand::rng()).unwrap();
            assert_eq!(
                *sealed.open(&mut client, &ek).unwrap(),
                [9; 32],
                "{template:?}"
            );
            let mut altered = sealed.clone();
            *altered.duplicate.0.last_mut().unwrap() ^= 1;
            assert!(altered.open(&mut client, &ek).is_err());
            release(&mut client, &ek).unwrap();
            last = Some(sealed);
        }
        let mut digests = TpmlDigestValues::new();
        digests
            .try_push(TpmtHa {
                hash_alg: TpmiAlgHash::Sha256,
                digest: tpm_wire::buffers::Small::new(&[1; 32]).unwrap(),
            })
            .unwrap();
        let pcr_handle = Some(TpmiDhPcr(TpmHandle(7)));
        client
            .run(&PcrExtend {
                pcr_handle,
                digests,
            })
            .unwrap();
        let ek = endorsement_key(&mut client, EkTemplate::H2).unwrap();
        let refused = last.unwrap().open(&mut client, &ek).unwrap_err();
        assert!(refused.to_string().contains("Unseal"), "{refused}");
    }

    #[test]
    fn another_tpm_cannot_import_it() {
        let mut tpm = started();
        let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
        let ek = endorsement_key(&mut client, EkTemplate::L2).unwrap();
        let mut foreign = ek.public.clone();
        let (_, point) =
            tpm_crypto::ecc::generate(tpm_crypto::ecc::Curve::NistP256, &mut rand::rng());
        let coordinate = |bytes| tpm_wire::buffers::Tpm2bEccParameter::new(bytes).unwrap();
        foreign.unique = TpmuPublicId::Ecc(tpm_wire::algorithm::TpmsEccPoint {
            x: coordinate(point.x()),
            y: coordinate(point.y()),
        });
        let pcrs = selection("sha256:0").unwrap();
        let values = read_pcrs(&mut client, &pcrs).unwrap();
        let sealed = SealedData::make(&foreign, &pcrs, &values, b"data", &mut rand::rng()).unwrap();
        let refused = sealed.open(&mut client, &ek).unwrap_err();
        assert!(refused.to_string().contains("Import"), "{refused}");
        let long = SealedData::make(&foreign, &pcrs, &values, &[0; 129], &mut rand::rng());
        assert!(long.is_err());
    }
}
