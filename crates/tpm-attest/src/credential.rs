//! Credentials: a secret that only the TPM with one key can open, and only for an object that it has (Part 1, 24).
//!
//! An endorsement key cannot sign, so this is how a TPM proves that it has the key whose certificate someone asks for. It is made
//! here without a TPM, from public areas alone; `TPM2_ActivateCredential` opens it.

use rand_core::CryptoRng;
use tpm_crypto::ecc;
use tpm_crypto::hash::{hash, hmac};
use tpm_crypto::kdf::{kdfa, kdfe};
use tpm_crypto::rsa::{DEFAULT_EXPONENT, PublicKey, oaep};
use tpm_crypto::symmetric::{BlockCipher, cfb_encrypt};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgSymObject, TpmsEccPoint, TpmtRsaScheme};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Tpm2bDigest, Tpm2bEccParameter, Tpm2bEncryptedSecret, Tpm2bIdObject, Tpm2bName,
};
use tpm_wire::codec::Marshal;
use tpm_wire::object::{TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmuPublicId, TpmuPublicParms};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::algorithm::{hash_algorithm, nist_curve};

/// What the seed of a credential is sent for, with the zero that ends it (Part 1, 24.4).
const IDENTITY: &[u8] = b"IDENTITY\0";

/// What `TPM2_ActivateCredential` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The credential, encrypted and protected against change.
    pub blob: Tpm2bIdObject,
    /// The seed of that protection, encrypted to the key.
    pub secret: Tpm2bEncryptedSecret,
}

/// The Name of an object with this public area (Part 1, 16).
///
/// # Errors
/// If it has no Name algorithm.
pub fn object_name(public: &TpmtPublic) -> Result<Tpm2bName, Error> {
    let alg = name_alg(public)?;
    let mut name = alg.to_bytes();
    name.extend_from_slice(&hash(hash_algorithm(alg), &[&public.to_bytes()]));
    Tpm2bName::new(&name).ok_or(Error::PublicKey("an object with so long a Name"))
}

impl Credential {
    /// Protects `value` so that only the TPM with the decryption key `key` can open it, and only while it has the object whose Name
    /// is `object`.
    ///
    /// # Errors
    /// If the key is no restricted decryption key with AES, or the value is longer than a digest of the key's Name algorithm.
    pub fn make(
        key: &TpmtPublic,
        object: &Tpm2bName,
        value: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let alg = name_alg(key)?;
        let value = Some(value)
            .filter(|value| value.len() <= alg.digest_size())
            .and_then(Tpm2bDigest::new)
            .ok_or(Error::TooLarge {
                what: "the credential",
                size: value.len(),
            })?;
        let inside = Zeroizing::new(value.to_bytes());
        let (blob, secret) = protect(key, IDENTITY, object, inside, rng)?;
        let size = blob.len();
        let blob = Tpm2bIdObject::new(blob).ok_or(Error::TooLarge {
            what: "the credential",
            size,
        })?;
        Ok(Self { blob, secret })
    }
}

/// Encrypts what is `inside` to a storage key of a TPM, bound to the Name of an object (Part 1, 22.5 and 24.4). `label` is what the
/// seed is sent for, with the zero that ends it.
pub(crate) fn protect(
    key: &TpmtPublic,
    label: &[u8],
    object: &Tpm2bName,
    inside: Zeroizing<Vec<u8>>,
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Tpm2bEncryptedSecret), Error> {
    let alg = name_alg(key)?;
    if !key.has(TpmaObject::RESTRICTED.with(TpmaObject::DECRYPT)) {
        return Err(Error::PublicKey(
            "a key that is not restricted to decrypting",
        ));
    }
    let (key_bits, seed, secret) = match (&key.parameters, &key.unique) {
        (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) => {
            let bits = aes_bits(parameters.symmetric)?;
            let (seed, secret) = rsa_seed(parameters, modulus, (alg, label), rng)?;
            (bits, seed, secret)
        }
        (TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(point)) => {
            let bits = aes_bits(parameters.symmetric)?;
            let (seed, secret) = ecc_seed(parameters, point, (alg, label), rng)?;
            (bits, seed, secret)
        }
        _ => return Err(Error::PublicKey("a key that is neither RSA nor ECC")),
    };
    let algorithm = hash_algorithm(alg);
    let mut encrypted = inside;
    let cipher_key = kdfa(algorithm, &seed, b"STORAGE", object, &[], key_bits);
    cfb_encrypt(BlockCipher::Aes, &cipher_key, &[0; 16], &mut encrypted)
        .map_err(|error| Error::Encoding(error.to_string()))?;
    let mac_key = kdfa(algorithm, &seed, b"INTEGRITY", &[], &[], bits_of(alg));
    let mac = hmac(algorithm, &mac_key, &[&encrypted, object]);
    let mut blob = Tpm2bDigest::new(&mac).unwrap_or_default().to_bytes();
    blob.extend_from_slice(&encrypted);
    Ok((blob, secret))
}

type Seed = Zeroizing<Vec<u8>>;

/// A seed, sent by RSA-OAEP (Part 1, B.10.4).
fn rsa_seed(
    parameters: &TpmsRsaParms,
    modulus: &[u8],
    (alg, label): (TpmiAlgHash, &[u8]),
    rng: &mut impl CryptoRng,
) -> Result<(Seed, Tpm2bEncryptedSecret), Error> {
    let exponent = match parameters.exponent {
        0 => DEFAULT_EXPONENT,
        other => other,
    };
    let hash = match &parameters.scheme {
        Some(TpmtRsaScheme::Oaep(scheme)) => scheme.hash_alg,
        _ => alg,
    };
    let key = PublicKey::new(modulus, exponent)?;
    let mut seed = Zeroizing::new(vec![0; alg.digest_size()]);
    rng.fill_bytes(&mut seed);
    let sent = oaep::encrypt(&key, hash_algorithm(hash), label, &seed, rng)?;
    Ok((seed, encrypted_secret(sent)?))
}

/// A seed, agreed by ECDH with a key for this once (Part 1, C.6.3).
fn ecc_seed(
    parameters: &TpmsEccParms,
    point: &TpmsEccPoint,
    (alg, label): (TpmiAlgHash, &[u8]),
    rng: &mut impl CryptoRng,
) -> Result<(Seed, Tpm2bEncryptedSecret), Error> {
    let curve = nist_curve(parameters.curve_id).ok_or(Error::PublicKey("a key of this curve"))?;
    let peer = ecc::on_curve(curve, &point.x, &point.y)
        .ok_or(Error::PublicKey("a point that is not on its curve"))?;
    let (private, public) = ecc::generate(curve, rng);
    let mut shared = ecc::multiply(curve, private.as_bytes(), &peer)?;
    let label = label.strip_suffix(&[0]).unwrap_or(label);
    let seed = kdfe(
        hash_algorithm(alg),
        shared.x(),
        label,
        public.x(),
        &point.x,
        bits_of(alg),
    );
    shared.zeroize();
    let coordinate = |bytes| Tpm2bEccParameter::new(bytes).unwrap_or_default();
    let sent = TpmsEccPoint {
        x: coordinate(public.x()),
        y: coordinate(public.y()),
    };
    Ok((seed, encrypted_secret(sent.to_bytes())?))
}

fn encrypted_secret(bytes: Vec<u8>) -> Result<Tpm2bEncryptedSecret, Error> {
    let size = bytes.len();
    Tpm2bEncryptedSecret::new(bytes).ok_or(Error::TooLarge {
        what: "the encrypted seed",
        size,
    })
}

fn name_alg(public: &TpmtPublic) -> Result<TpmiAlgHash, Error> {
    public
        .name_alg
        .ok_or(Error::PublicKey("an object without a Name"))
}

fn aes_bits(symmetric: Option<tpm_wire::algorithm::TpmtSymDefObject>) -> Result<u32, Error> {
    symmetric
        .filter(|cipher| cipher.algorithm == TpmiAlgSymObject::Aes)
        .map(|cipher| u32::from(cipher.key_bits))
        .ok_or(Error::PublicKey("a key whose children are not under AES"))
}

fn bits_of(alg: TpmiAlgHash) -> u32 {
    u32::try_from(alg.digest_size() * 8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::ek::{EkTemplate, KeyAlgorithm, Usage};
    use tpm_engine::testing::started;
    use tpm_wire::commands::ActivateCredential;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject};

    /// The high range's keys can be used by their authorization value, which is empty.
    #[test]
    fn a_tpm_opens_what_is_made_for_it_and_nothing_else() {
        let mut tpm = started();
        let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
        let mut template = KeyAlgorithm::EccP256.attestation_key();
        template.object_attributes = template
            .object_attributes
            .without(TpmaObject::ADMIN_WITH_POLICY);
        let object = client.create_primary(TpmHandle::OWNER, &template).unwrap();
        let name = object_name(&object.out_public.0).unwrap();
        assert_eq!(name, object.name);
        for ek in [
            EkTemplate::H1,
            EkTemplate::H2,
            EkTemplate::H3,
            EkTemplate::H4,
        ] {
            let template = ek.public(Usage::Decrypt);
            let key = client
                .create_primary(TpmHandle::ENDORSEMENT, &template)
                .unwrap();
            let public = &key.out_public.0;
            let mut open = |credential: Credential| {
                client.run(&ActivateCredential {
                    activate_handle: TpmiDhObject(object.object_handle),
                    key_handle: TpmiDhObject(key.object_handle),
                    credential_blob: credential.blob,
                    secret: credential.secret,
                })
            };
            let made = Credential::make(public, &name, b"a secret", &mut rand::rng()).unwrap();
            assert_eq!(
                &*open(made.clone()).unwrap().cert_info,
                b"a secret",
                "{ek:?}"
            );
            let other = Tpm2bName::new(&[7; 34]).unwrap();
            let foreign = Credential::make(public, &other, b"a secret", &mut rand::rng());
            assert!(open(foreign.unwrap()).is_err());
            let mut altered = made;
            if let Some(last) = altered.blob.as_mut_slice().last_mut() {
                *last ^= 1;
            }
            assert!(open(altered).is_err());
            client.flush(key.object_handle).unwrap();
        }
    }

    #[test]
    fn keys_that_cannot_open_credentials_and_long_secrets_are_refused() {
        let signing = EkTemplate::H2.public(Usage::Sign);
        let name = object_name(&signing).unwrap();
        let refused = |key: &TpmtPublic, value: &[u8]| {
            Credential::make(key, &name, value, &mut rand::rng())
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&signing, b"x").contains("restricted"));
        let empty = EkTemplate::H2.public(Usage::Decrypt);
        assert!(refused(&empty, b"x").contains("not on its curve"));
        let mut tpm = started();
        let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
        let key = client
            .create_primary(TpmHandle::ENDORSEMENT, &empty)
            .unwrap();
        assert!(refused(&key.out_public.0, &[0; 33]).contains("33 bytes"));
    }
}
