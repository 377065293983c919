//! Keys by which others know a device: an attestation key, and the initial keys of "TPM 2.0 Keys for Device Identity and Attestation".
//!
//! Whoever certifies one of them first lets the TPM show that the key is in it: an attestation key by a credential that only the TPM
//! of the endorsement key opens, the others by what such an attestation key says of their creation, since their policies keep them from
//! being activated by a password.

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq as _;
use tpm_wire::attest::{TpmsAttest, TpmuAttest};
use tpm_wire::buffers::Tpm2bData;
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::commands::{CertifyCreation, CreatePrimaryResponse};
use tpm_wire::handles::{TpmHandle, TpmiDhObject};
use tpm_wire::object::TpmtPublic;
use zeroize::Zeroizing;

use crate::Error;
use crate::attester::{self, AttestationAlgorithm, LoadedKey};
use crate::client::{Client, Transmit};
use crate::credential::{Credential, object_name};
use crate::ek::{IAK_CERTIFICATE, IAK_KEY, IDEVID_CERTIFICATE, IDEVID_KEY, KeyAlgorithm};
use crate::verify::signature::verify_tpm_signature;
use crate::verify::{Base64, Challenge, Endorsement, Hex};

/// Bytes of what a TPM has to open, or to answer.
const PROOF_SIZE: usize = 32;
/// Handle of an attestation key, the one that tpm2-tools' documentation has for it.
const AK_KEY: TpmHandle = TpmHandle(0x8101_0002);
/// Where a cloud's clients look for the certificate of an attestation key; its template is behind it (go-tpm-tools, client).
const AK_CERTIFICATE_RSA: u32 = 0x01C1_0000;
const AK_CERTIFICATE_ECC: u32 = 0x01C1_0002;

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKey {
    /// An attestation key without a policy: what signs quotes.
    Attestation,
    /// The initial attestation key (IAK).
    InitialAttestation,
    /// The initial device identity (IDevID), which signs whatever it is given.
    InitialIdentity,
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attestation => "attestation key",
            Self::InitialAttestation => "initial attestation key",
            Self::InitialIdentity => "initial device identity",
        })
    }
}

impl DeviceKey {
    /// The template; each is a primary key of the endorsement hierarchy.
    ///
    /// # Errors
    /// For an attestation key that is neither RSA 2048 nor P-256.
    pub fn template(self, algorithm: KeyAlgorithm) -> Result<TpmtPublic, Error> {
        Ok(match self {
            Self::InitialAttestation => algorithm.attestation_key(),
            Self::InitialIdentity => algorithm.device_identity(),
            Self::Attestation => match algorithm {
                KeyAlgorithm::Rsa2048 => AttestationAlgorithm::Rsassa2048.template(),
                KeyAlgorithm::EccP256 => AttestationAlgorithm::EcdsaP256.template(),
                _ => {
                    return Err(Error::PublicKey(
                        "an attestation key that is neither rsa2048 nor secp256r1",
                    ));
                }
            },
        })
    }

    /// Where the key is persistent.
    #[must_use]
    pub const fn handle(self) -> TpmHandle {
        match self {
            Self::Attestation => AK_KEY,
            Self::InitialAttestation => IAK_KEY,
            Self::InitialIdentity => IDEVID_KEY,
        }
    }

    /// NV Index of its certificate.
    #[must_use]
    pub const fn certificate_index(self, algorithm: KeyAlgorithm) -> u32 {
        match self {
            Self::Attestation if algorithm.rsa_bits().is_some() => AK_CERTIFICATE_RSA,
            Self::Attestation => AK_CERTIFICATE_ECC,
            Self::InitialAttestation => IAK_CERTIFICATE,
            Self::InitialIdentity => IDEVID_CERTIFICATE,
        }
    }

    /// NV Index of its template, if one is kept.
    #[must_use]
    pub const fn template_index(self, algorithm: KeyAlgorithm) -> Option<u32> {
        match self {
            Self::Attestation => Some(self.certificate_index(algorithm) + 1),
            Self::InitialAttestation | Self::InitialIdentity => None,
        }
    }
}

/// A key that was made and shown to be in the TPM with a certain endorsement key.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The key, which is loaded.
    pub key: LoadedKey,
    /// The endorsement key and its certificate.
    pub endorsement: Endorsement,
}

/// Makes a key and lets the TPM show that the key is in it.
///
/// # Errors
/// What the TPM refuses; or if it has no endorsement certificate, or shows something else.
pub fn make<T: Transmit>(
    client: &mut Client<T>,
    which: DeviceKey,
    algorithm: KeyAlgorithm,
    rng: &mut impl CryptoRng,
) -> Result<Shown, Error> {
    let template = which.template(algorithm)?;
    let (ek, endorsement) = attester::endorsement(client, None)?;
    if endorsement.certificate.is_none() {
        attester::release(client, &ek)?;
        return Err(Error::Certificate(
            "the TPM has no endorsement certificate, by which its other keys are known".to_owned(),
        ));
    }
    let create = |client: &mut Client<T>, template| {
        let created = client.create_primary(TpmHandle::ENDORSEMENT, template)?;
        let key = attester::read_public(client, created.object_handle)?;
        Ok::<_, Error>((created, key))
    };
    let key = if which == DeviceKey::Attestation {
        let (_, key) = create(client, &template)?;
        prove_possession(client, &ek, &key, rng)?;
        attester::release(client, &ek)?;
        key
    } else {
        let ak = attester::attestation_key(client, AttestationAlgorithm::EcdsaP256)?;
        prove_possession(client, &ek, &ak, rng)?;
        attester::release(client, &ek)?;
        let (created, key) = create(client, &template)?;
        prove_creation(client, &ak, &created, &key, rng)?;
        attester::release(client, &ak)?;
        key
    };
    Ok(Shown { key, endorsement })
}

/// Makes a loaded key persistent at its place, unless it is there already, and gives its slot free.
///
/// # Errors
/// What the TPM refuses; or if another key is there.
pub fn keep<T: Transmit>(
    client: &mut Client<T>,
    which: DeviceKey,
    key: &LoadedKey,
) -> Result<(), Error> {
    let place = which.handle();
    match attester::read_public(client, place) {
        Ok(there) if there.public == key.public => attester::release(client, key),
        Ok(_) => Err(Error::Certificate(format!(
            "another key is persistent at {:#010x}; evict it first (tpm2_evictcontrol -c {:#010x})",
            place.0, place.0
        ))),
        Err(Error::Refused { .. }) => client.make_persistent(key.handle, place),
        Err(error) => Err(error),
    }
}

/// Lets a TPM open a credential that is made for an endorsement key and another key: only the one with both can (Part 1, 24).
///
/// # Errors
/// What the TPM refuses, or if it opens something else.
pub fn prove_possession<T: Transmit>(
    client: &mut Client<T>,
    ek: &LoadedKey,
    object: &LoadedKey,
    rng: &mut impl CryptoRng,
) -> Result<(), Error> {
    let mut proof = Zeroizing::new([0; PROOF_SIZE]);
    rng.fill_bytes(&mut *proof);
    let name = object_name(&object.public)?;
    let credential = Credential::make(&ek.public, &name, &*proof, rng)?;
    let challenge = Challenge {
        session: Hex(Vec::new()),
        credential: Base64(credential.blob.to_vec()),
        secret: Base64(credential.secret.to_vec()),
    };
    let opened = Zeroizing::new(attester::activate(client, object, ek, &challenge)?);
    if bool::from(opened.as_slice().ct_eq(&*proof)) {
        Ok(())
    } else {
        Err(Error::Certificate(
            "the TPM did not open the credential for its key".to_owned(),
        ))
    }
}

/// Lets an attestation key say that its TPM made an object (Part 3, 18.3).
fn prove_creation<T: Transmit>(
    client: &mut Client<T>,
    ak: &LoadedKey,
    created: &CreatePrimaryResponse,
    key: &LoadedKey,
    rng: &mut impl CryptoRng,
) -> Result<(), Error> {
    let mut question = [0; PROOF_SIZE];
    rng.fill_bytes(&mut question);
    let answer = client.run(&CertifyCreation {
        sign_handle: Some(TpmiDhObject(ak.handle)),
        object_handle: TpmiDhObject(key.handle),
        qualifying_data: Tpm2bData::new(&question).unwrap_or_default(),
        creation_hash: created.creation_hash.clone(),
        in_scheme: None,
        creation_ticket: created.creation_ticket.clone(),
    })?;
    let fault = |fault| Error::Response {
        command: "CertifyCreation",
        fault,
    };
    let message = answer.certify_info.to_vec();
    let signature = answer.signature.ok_or(fault("it is not signed"))?;
    verify_tpm_signature(&ak.public, &message, &signature)
        .map_err(|_| fault("it is not signed by the attestation key"))?;
    let attest = parse_all::<TpmsAttest>(&message, &Limits::ALL)
        .map_err(|_| fault("what was signed cannot be read"))?;
    let TpmuAttest::Creation(info) = attest.attested else {
        return Err(fault("what was signed is about no creation"));
    };
    let name = object_name(&key.public)?;
    if *attest.extra_data != question || *info.object_name != *name {
        return Err(fault("what was signed is about another key, or older"));
    }
    Ok(())
}

/// The public area as files of tpm2-tools have it.
#[must_use]
pub fn public_file(public: &TpmtPublic) -> Vec<u8> {
    tpm_wire::object::Tpm2bPublic(public.clone()).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{
        Authority, AuthorityAlgorithm, Lifetime, Name, Purpose, Request, TpmIdentity, common_name,
        random_serial, to_der,
    };
    use crate::ek::{EkTemplate, Usage};
    use rand::rng;
    use std::time::SystemTime;
    use tpm_engine::testing::{TestTpm, started};

    fn client(tpm: &mut TestTpm) -> Client<impl Transmit + '_> {
        Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()))
    }

    /// Puts an endorsement certificate into a TPM.
    fn certify(tpm: &mut TestTpm) {
        let now = SystemTime::now();
        let authority = Authority::root(
            common_name("root").unwrap(),
            AuthorityAlgorithm::EcdsaP256,
            now,
            Lifetime::Endless,
            &mut rng(),
        )
        .unwrap();
        let identity = TpmIdentity::read(&mut client(tpm)).unwrap();
        let ek = attester::endorsement_key(&mut client(tpm), EkTemplate::L2).unwrap();
        let request = Request {
            key: &ek.public,
            purpose: Purpose::Endorsement {
                tpm: &identity,
                usage: Usage::Decrypt,
            },
            subject: Name::default(),
            serial: random_serial(&mut rng()),
            start: now,
            lifetime: Lifetime::Endless,
        };
        let certificate = to_der(&authority.issue(&request, &mut rng()).unwrap()).unwrap();
        let index = EkTemplate::L2.indices().certificate;
        client(tpm)
            .replace_certificate(index, &certificate)
            .unwrap();
        attester::release(&mut client(tpm), &ek).unwrap();
    }

    const ALL: [DeviceKey; 3] = [
        DeviceKey::Attestation,
        DeviceKey::InitialAttestation,
        DeviceKey::InitialIdentity,
    ];

    #[test]
    fn each_key_is_shown_to_be_in_the_tpm_and_is_kept_at_its_place() {
        let mut tpm = started();
        certify(&mut tpm);
        for which in ALL {
            for algorithm in [KeyAlgorithm::EccP256, KeyAlgorithm::EccP384] {
                let made = make(&mut client(&mut tpm), which, algorithm, &mut rng());
                if which == DeviceKey::Attestation && algorithm == KeyAlgorithm::EccP384 {
                    assert!(made.unwrap_err().to_string().contains("secp256r1"));
                    continue;
                }
                let made = made.unwrap();
                let kept = keep(&mut client(&mut tpm), which, &made.key);
                if algorithm == KeyAlgorithm::EccP384 {
                    // One place, one key.
                    assert!(kept.unwrap_err().to_string().contains("another key"));
                    attester::release(&mut client(&mut tpm), &made.key).unwrap();
                    continue;
                }
                kept.unwrap();
                let there = attester::read_public(&mut client(&mut tpm), which.handle()).unwrap();
                assert_eq!(there.public, made.key.public, "{which}");
                // Once more: it is the same key, and stays where it is.
                let again = make(&mut client(&mut tpm), which, algorithm, &mut rng()).unwrap();
                assert_eq!(again.key.public, there.public);
                keep(&mut client(&mut tpm), which, &again.key).unwrap();
            }
        }
    }

    #[test]
    fn a_tpm_without_an_endorsement_certificate_gets_none() {
        let mut tpm = started();
        for which in ALL {
            let refused = make(
                &mut client(&mut tpm),
                which,
                KeyAlgorithm::EccP256,
                &mut rng(),
            );
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("no endorsement certificate"), "{said}");
        }
    }

    #[test]
    fn what_another_key_says_of_a_creation_counts_for_nothing() {
        let mut tpm = started();
        let ak = attester::attestation_key(&mut client(&mut tpm), AttestationAlgorithm::EcdsaP256)
            .unwrap();
        let template = KeyAlgorithm::EccP256.device_identity();
        let created = client(&mut tpm)
            .create_primary(TpmHandle::ENDORSEMENT, &template)
            .unwrap();
        let key = attester::read_public(&mut client(&mut tpm), created.object_handle).unwrap();
        prove_creation(&mut client(&mut tpm), &ak, &created, &key, &mut rng()).unwrap();
        // The key that is said to have signed is another one.
        let mut stranger = ak.clone();
        stranger.public = key.public.clone();
        let refused = prove_creation(&mut client(&mut tpm), &stranger, &created, &key, &mut rng());
        assert!(refused.is_err());
        // The key that is to be shown is another one than the TPM speaks of.
        let mut swapped = key.clone();
        swapped.public = ak.public.clone();
        let refused = prove_creation(&mut client(&mut tpm), &ak, &created, &swapped, &mut rng());
        assert!(refused.is_err());
    }
}
