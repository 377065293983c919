//! The side that is judged: a TPM shows its keys, opens credentials, and quotes.

use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiEccCurve, TpmiRsaKeyBits, TpmsSchemeHash, TpmtEccScheme, TpmtHa, TpmtRsaScheme,
};
use tpm_wire::attest::{TpmsAttest, TpmuAttest};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Small, Tpm2bData, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bIdObject, Tpm2bNonce,
};
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::commands::{
    ActivateCredential, PcrExtend, PcrRead, PolicySecret, Quote, ReadPublic, StartAuthSession,
};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmiDhEntity, TpmiDhObject, TpmiDhPcr, TpmiShPolicy};
use tpm_wire::object::{TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmuPublicId, TpmuPublicParms};
use tpm_wire::pcr::{TpmlDigestValues, TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};

use crate::Error;
use crate::algorithm::hash_algorithm;
use crate::certificate;
use crate::client::{Client, Transmit};
use crate::ek::{EkTemplate, KeyAlgorithm, Usage};
use crate::event_log::{Event, EventType, PCR_COUNT, bank_from_name};
use crate::verify::{Base64, Challenge, Endorsement, PcrValues, QuoteBytes, pcr_digest};

/// How often PCR that change while they are read are read again.
const ATTEMPTS: usize = 5;

/// Endorsement keys in the order in which they are looked for; the first that has a certificate is taken.
const USUAL: [EkTemplate; 8] = [
    EkTemplate::L2,
    EkTemplate::L1,
    EkTemplate::H2,
    EkTemplate::H1,
    EkTemplate::H3,
    EkTemplate::H6,
    EkTemplate::H7,
    EkTemplate::H4,
];

/// What an attestation key signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttestationAlgorithm {
    /// ECDSA with NIST P-256 and SHA-256.
    #[default]
    EcdsaP256,
    /// RSASSA with 2048 bits and SHA-256.
    Rsassa2048,
    /// RSAPSS with 2048 bits and SHA-256.
    Rsapss2048,
}

/// A key in a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedKey {
    /// Where it is.
    pub handle: TpmHandle,
    /// Its public area.
    pub public: TpmtPublic,
    /// Its qualified name.
    pub qualified_name: Vec<u8>,
}

impl AttestationAlgorithm {
    /// The template of an attestation key that is a primary key: its TPM makes the same again whenever it is asked, so that nobody
    /// has to keep it.
    #[must_use]
    pub fn template(self) -> TpmtPublic {
        let hash_alg = TpmiAlgHash::Sha256;
        let scheme = TpmsSchemeHash { hash_alg };
        let rsa = |scheme| {
            TpmuPublicParms::Rsa(TpmsRsaParms {
                symmetric: None,
                scheme: Some(scheme),
                key_bits: TpmiRsaKeyBits(2048),
                exponent: 0,
            })
        };
        let parameters = match self {
            Self::EcdsaP256 => TpmuPublicParms::Ecc(TpmsEccParms {
                symmetric: None,
                scheme: Some(TpmtEccScheme::Ecdsa(scheme)),
                curve_id: TpmiEccCurve::NistP256,
                kdf: None,
            }),
            Self::Rsassa2048 => rsa(TpmtRsaScheme::Rsassa(scheme)),
            Self::Rsapss2048 => rsa(TpmtRsaScheme::Rsapss(scheme)),
        };
        TpmtPublic {
            name_alg: Some(hash_alg),
            object_attributes: TpmaObject::FIXED_TPM
                .with(TpmaObject::FIXED_PARENT)
                .with(TpmaObject::SENSITIVE_DATA_ORIGIN)
                .with(TpmaObject::USER_WITH_AUTH)
                .with(TpmaObject::NO_DA)
                .with(TpmaObject::RESTRICTED)
                .with(TpmaObject::SIGN),
            auth_policy: Tpm2bDigest::EMPTY,
            unique: TpmuPublicId::empty(parameters.object_type()),
            parameters,
        }
    }
}

/// A selection of PCR as tpm2-tools write it: `sha256:0,1,2+sha1:all`.
///
/// # Errors
/// What is wrong with it.
pub fn selection(text: &str) -> Result<TpmlPcrSelection, String> {
    let mut selection = TpmlPcrSelection::new();
    for part in text.split('+') {
        let (bank, list) = part
            .split_once(':')
            .ok_or_else(|| format!("'{part}' is no bank and PCR, like sha256:0,1,2"))?;
        let hash = bank_from_name(bank).ok_or_else(|| format!("'{bank}' is no bank of PCR"))?;
        let mut pcr_select = TpmsPcrSelect::default();
        let numbers = if list == "all" { None } else { Some(list) };
        for number in numbers.into_iter().flat_map(|list| list.split(',')) {
            let pcr = number
                .trim()
                .parse::<u32>()
                .ok()
                .filter(|pcr| *pcr < PCR_COUNT);
            pcr_select.insert(pcr.ok_or_else(|| format!("'{number}' is no PCR"))?);
        }
        if numbers.is_none() {
            (0..PCR_COUNT).for_each(|pcr| pcr_select.insert(pcr));
        }
        selection
            .try_push(TpmsPcrSelection { hash, pcr_select })
            .map_err(|_| "there are too many banks".to_owned())?;
    }
    Ok(selection)
}

/// The endorsement key of a template: the one that is kept in the TPM, else it is made.
///
/// # Errors
/// As [`Client::run`].
pub fn endorsement_key<T: Transmit>(
    client: &mut Client<T>,
    ek: EkTemplate,
) -> Result<LoadedKey, Error> {
    let template = ek.public(Usage::Decrypt);
    if let Ok(kept) = read_public(client, ek.handle()) {
        let same = kept.public.object_attributes == template.object_attributes
            && kept.public.auth_policy == template.auth_policy
            && kept.public.parameters == template.parameters;
        if same {
            return Ok(kept);
        }
    }
    primary(client, &template)
}

/// The endorsement key of this algorithm, or the first that has a certificate, and what vouches for it.
///
/// # Errors
/// As [`Client::run`].
pub fn endorsement<T: Transmit>(
    client: &mut Client<T>,
    algorithm: Option<KeyAlgorithm>,
) -> Result<(LoadedKey, Endorsement), Error> {
    let mut found = None;
    for template in USUAL {
        if algorithm.is_some_and(|algorithm| template.algorithm() != algorithm) {
            continue;
        }
        if let Some(certificate) = client.read_certificate(template.indices().certificate)? {
            let certificate = certificate::without_padding(certificate);
            found = Some((template, Some(Base64(certificate))));
            break;
        }
    }
    let (template, certificate) =
        found.unwrap_or_else(|| (algorithm.map_or(EkTemplate::L2, EkTemplate::usual), None));
    let ek = endorsement_key(client, template)?;
    let endorsement = Endorsement {
        public: Base64(ek.public.to_bytes()),
        certificate,
        chain: Vec::new(),
    };
    Ok((ek, endorsement))
}

/// An attestation key, made anew.
///
/// # Errors
/// As [`Client::run`].
pub fn attestation_key<T: Transmit>(
    client: &mut Client<T>,
    algorithm: AttestationAlgorithm,
) -> Result<LoadedKey, Error> {
    primary(client, &algorithm.template())
}

fn primary<T: Transmit>(client: &mut Client<T>, template: &TpmtPublic) -> Result<LoadedKey, Error> {
    let created = client.create_primary(TpmHandle::ENDORSEMENT, template)?;
    read_public(client, created.object_handle)
}

/// A key that is loaded or persistent.
///
/// # Errors
/// As [`Client::run`].
pub fn read_public<T: Transmit>(
    client: &mut Client<T>,
    handle: TpmHandle,
) -> Result<LoadedKey, Error> {
    let object_handle = TpmiDhObject(handle);
    let answer = client.run(&ReadPublic { object_handle })?;
    Ok(LoadedKey {
        handle,
        public: answer.out_public.0,
        qualified_name: answer.qualified_name.to_vec(),
    })
}

/// Gives the slot of a key free, if it is not persistent.
///
/// # Errors
/// As [`Client::run`].
pub fn release<T: Transmit>(client: &mut Client<T>, key: &LoadedKey) -> Result<(), Error> {
    if key.handle.0 >> 24 == 0x80 {
        client.flush(key.handle)?;
    }
    Ok(())
}

/// Opens a credential: shows that both keys live in this TPM.
///
/// # Errors
/// What the TPM refuses; that is how a TPM without one of the keys answers.
pub fn activate<T: Transmit>(
    client: &mut Client<T>,
    attestation: &LoadedKey,
    endorsement: &LoadedKey,
    challenge: &Challenge,
) -> Result<Vec<u8>, Error> {
    let too_large = |bytes: &[u8]| Error::TooLarge {
        what: "the credential",
        size: bytes.len(),
    };
    let (blob, secret) = (&challenge.credential.0, &challenge.secret.0);
    let command = ActivateCredential {
        activate_handle: TpmiDhObject(attestation.handle),
        key_handle: TpmiDhObject(endorsement.handle),
        credential_blob: Tpm2bIdObject::new(blob.clone()).ok_or_else(|| too_large(blob))?,
        secret: Tpm2bEncryptedSecret::new(secret.clone()).ok_or_else(|| too_large(secret))?,
    };
    with_endorsement(client, endorsement, |client, session| {
        let answer = match session {
            None => client.run(&command),
            Some(session) => client.run_authorized(&command, &[TpmHandle::PASSWORD, session]),
        };
        answer.map(|answer| answer.cert_info.to_vec())
    })
}

/// Does something with an endorsement key, in a session that its policy allows it if it obeys one.
pub(crate) fn with_endorsement<T: Transmit, R>(
    client: &mut Client<T>,
    endorsement: &LoadedKey,
    work: impl FnOnce(&mut Client<T>, Option<TpmHandle>) -> Result<R, Error>,
) -> Result<R, Error> {
    if endorsement.public.has(TpmaObject::USER_WITH_AUTH) {
        return work(client, None);
    }
    // Keys of the low range obey a policy alone: whoever has the endorsement authorization, here an empty one.
    let session = policy_session(client)?;
    let allowed = client.run(&PolicySecret {
        auth_handle: TpmiDhEntity(TpmHandle::ENDORSEMENT),
        policy_session: TpmiShPolicy(session),
        nonce_tpm: Tpm2bNonce::EMPTY,
        cp_hash_a: Tpm2bDigest::EMPTY,
        policy_ref: Tpm2bNonce::EMPTY,
        expiration: 0,
    });
    let done = allowed.and_then(|_| work(client, Some(session)));
    // A session that was used stays; one that failed does, too.
    let flushed = client.flush(session);
    let done = done?;
    flushed?;
    Ok(done)
}

/// Starts a policy session of SHA-256, without salt.
///
/// # Errors
/// As [`Client::run`].
pub fn policy_session<T: Transmit>(client: &mut Client<T>) -> Result<TpmHandle, Error> {
    let answer = client.run(&StartAuthSession {
        tpm_key: None,
        bind: None,
        // The session neither authenticates nor encrypts anything by its nonces.
        nonce_caller: Tpm2bNonce::new(&[0; 16]).unwrap_or_default(),
        encrypted_salt: Tpm2bEncryptedSecret::EMPTY,
        session_type: TpmSe::Policy,
        symmetric: None,
        auth_hash: TpmiAlgHash::Sha256,
    })?;
    Ok(answer.session_handle.0)
}

/// The values of these PCR.
///
/// # Errors
/// As [`Client::run`], or if the TPM has not all of them.
pub fn read_pcrs<T: Transmit>(
    client: &mut Client<T>,
    selection: &TpmlPcrSelection,
) -> Result<PcrValues, Error> {
    let mut values = PcrValues::new();
    let mut left = selection.clone();
    while left.iter().any(|bank| !bank.pcr_select.is_empty()) {
        let answer = client.run(&PcrRead {
            pcr_selection_in: left.clone(),
        })?;
        let mut digests = answer.pcr_values.iter();
        let before = values.values().map(|bank| bank.len()).sum::<usize>();
        for read in &answer.pcr_selection_out {
            for pcr in read.pcr_select.iter() {
                let Some(digest) = digests.next() else { break };
                values
                    .entry(read.hash)
                    .or_default()
                    .insert(pcr, digest.to_vec());
                for bank in left.iter_mut().filter(|bank| bank.hash == read.hash) {
                    bank.pcr_select.remove(pcr);
                }
            }
        }
        if values.values().map(|bank| bank.len()).sum::<usize>() == before {
            return Err(Error::Response {
                command: "PCR_Read",
                fault: "the TPM has not all of the PCR that were asked for",
            });
        }
    }
    Ok(values)
}

/// Quotes PCR in answer to a question.
///
/// # Errors
/// What the TPM refuses, or if the PCR do not stand still.
pub fn quote<T: Transmit>(
    client: &mut Client<T>,
    key: &LoadedKey,
    nonce: &[u8],
    selection: &TpmlPcrSelection,
) -> Result<(QuoteBytes, PcrValues), Error> {
    let qualifying_data = Tpm2bData::new(nonce).ok_or(Error::TooLarge {
        what: "the question",
        size: nonce.len(),
    })?;
    for _ in 0..ATTEMPTS {
        let pcrs = read_pcrs(client, selection)?;
        let answer = client.run(&Quote {
            sign_handle: Some(TpmiDhObject(key.handle)),
            qualifying_data: qualifying_data.clone(),
            in_scheme: None,
            pcr_select: selection.clone(),
        })?;
        let senseless = |fault| Error::Response {
            command: "Quote",
            fault,
        };
        let signature = answer
            .signature
            .ok_or_else(|| senseless("it is not signed"))?;
        let message = answer.quoted.to_vec();
        let attest = parse_all::<TpmsAttest>(&message, &Limits::ALL)
            .map_err(|_| senseless("what was signed cannot be read"))?;
        let TpmuAttest::Quote(info) = attest.attested else {
            return Err(senseless("what was signed is no quote"));
        };
        let alg = hash_algorithm(signature.hash_alg());
        if pcr_digest(alg, &info.pcr_select, &pcrs) == *info.pcr_digest {
            let bytes = QuoteBytes {
                message: Base64(message),
                signature: Base64(signature.to_bytes()),
            };
            return Ok((bytes, pcrs));
        }
    }
    Err(Error::Response {
        command: "Quote",
        fault: "the PCR change faster than they can be read",
    })
}

/// Extends the PCR of a TPM by an event of a log, in the banks that the TPM has (Part 3, 22.2).
///
/// # Errors
/// As [`Client::run`].
pub fn extend<T: Transmit>(
    client: &mut Client<T>,
    event: &Event,
    banks: &[TpmiAlgHash],
) -> Result<(), Error> {
    if event.kind == EventType::NO_ACTION {
        return Ok(());
    }
    let mut digests = TpmlDigestValues::new();
    for bank in banks {
        let digest = event.digest(*bank).and_then(Small::new);
        if let Some(digest) = digest {
            // There are no more banks than the list holds.
            let _ = digests.try_push(TpmtHa {
                hash_alg: *bank,
                digest,
            });
        }
    }
    let pcr_handle = Some(TpmiDhPcr(TpmHandle(event.pcr)));
    client.run(&PcrExtend {
        pcr_handle,
        digests,
    })?;
    Ok(())
}
