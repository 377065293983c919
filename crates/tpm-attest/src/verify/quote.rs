//! The check of a quote (Part 3, 18.4; Part 2, 10.12.12).

use std::collections::BTreeMap;

use subtle::ConstantTimeEq;
use tpm_crypto::hash::{HashAlgorithm, hash};
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSignature};
use tpm_wire::attest::{TpmsAttest, TpmsClockInfo, TpmsQuoteInfo, TpmuAttest};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::constants::{TPM_GENERATED, TpmSt};
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::TpmtPublic;
use tpm_wire::pcr::TpmlPcrSelection;

use super::check::{Rule, Verdict};
use super::signature::{VerifyingKey, verify_tpm_signature};
use crate::algorithm::hash_algorithm;
use crate::credential::object_name;
use crate::event_log::bank_name;

/// PCR values, by bank and number.
pub type PcrValues = BTreeMap<TpmiAlgHash, BTreeMap<u32, Vec<u8>>>;

/// What a quote must be.
#[derive(Clone, Debug)]
pub(super) struct QuoteDemand<'a> {
    /// The key that signs.
    pub key: &'a TpmtPublic,
    /// The qualified names that it can have.
    pub qualified_names: &'a [Vec<u8>],
    /// Whether it has one of these for certain.
    pub is_placed: bool,
    /// The question that the quote answers.
    pub nonce: &'a [u8],
    /// The PCR that come with the quote.
    pub pcrs: &'a PcrValues,
}

/// What a quote that was signed says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The signer's qualified name.
    pub qualified_signer: Vec<u8>,
    /// Clock and counts.
    pub clock: TpmsClockInfo,
    /// The firmware of the TPM.
    pub firmware_version: u64,
    /// What was quoted.
    pub selection: TpmlPcrSelection,
}

/// The qualified name of an object under its parent, or under a hierarchy's handle (Part 1, 16).
///
/// # Errors
/// If the object has no Name.
pub fn qualified_name(parent: &[u8], public: &TpmtPublic) -> Result<Vec<u8>, crate::Error> {
    let name = object_name(public)?;
    let alg = public
        .name_alg
        .ok_or(crate::Error::PublicKey("an object without a Name"))?;
    let mut qualified = alg.to_bytes();
    qualified.extend_from_slice(&hash(hash_algorithm(alg), &[parent, &name]));
    Ok(qualified)
}

/// The qualified names that a key of the endorsement hierarchy can have: as a primary key, and as a child of `ek`.
#[must_use]
pub fn expected_qualified_names(key: &TpmtPublic, ek: Option<&TpmtPublic>) -> Vec<Vec<u8>> {
    let hierarchy = TpmHandle::ENDORSEMENT.to_bytes();
    let primary = qualified_name(&hierarchy, key).ok();
    let child = ek
        .and_then(|ek| qualified_name(&hierarchy, ek).ok())
        .and_then(|parent| qualified_name(&parent, key).ok());
    primary.into_iter().chain(child).collect()
}

/// Checks what an attestation key may do, and how strong it is.
pub(super) fn check_key(verdict: &mut Verdict, key: &TpmtPublic) {
    let needed = [
        (TpmaObject::RESTRICTED, "restricted"),
        (TpmaObject::SIGN, "sign"),
        (TpmaObject::FIXED_TPM, "fixedTPM"),
        (TpmaObject::FIXED_PARENT, "fixedParent"),
        (TpmaObject::SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    ];
    let lacking: Vec<&str> = needed
        .iter()
        .filter(|(attribute, _)| !key.has(*attribute))
        .map(|(_, name)| *name)
        .collect();
    let attributes = if !lacking.is_empty() {
        Err(format!("the key lacks {}", lacking.join(", ")))
    } else if key.has(TpmaObject::DECRYPT) {
        Err("the key can decrypt, too".to_owned())
    } else {
        Ok("restricted, sign, fixedTPM, fixedParent, sensitiveDataOrigin")
    };
    verdict.note(Rule::KeyAttributes, attributes);
    let strength = VerifyingKey::of_tpm(key).and_then(|strong| match strong.weakness() {
        Some(weakness) => Err(format!("the attestation key is {weakness}")),
        None => Ok(strong.words()),
    });
    let strength = match key.name_alg {
        Some(TpmiAlgHash::Sha1) => Err("the Name of the key is made with SHA-1".to_owned()),
        None => Err("the key has no Name".to_owned()),
        _ => strength,
    };
    verdict.note(Rule::KeyStrength, strength);
}

/// Checks a quote; `None` if it is none that was signed, in which case nothing in it counts.
pub(super) fn check_quote(
    verdict: &mut Verdict,
    message: &[u8],
    signature: &[u8],
    demand: &QuoteDemand<'_>,
) -> Option<Quoted> {
    let signed = check_signature(verdict, message, signature, demand.key);
    let (attest, info) = check_form(verdict, message)?;
    let hash_alg = signed?;
    check_signer(verdict, &attest.qualified_signer, demand);
    let same = bool::from(attest.extra_data.ct_eq(demand.nonce));
    verdict.note(
        Rule::QuoteNonce,
        match (same, demand.nonce.is_empty()) {
            (_, true) => Err("there was no question: an empty nonce proves nothing".to_owned()),
            (true, _) => Ok(format!("{} bytes", demand.nonce.len())),
            (false, _) => Err(format!(
                "the quote answers {}, the question was {}",
                shown(&attest.extra_data),
                shown(demand.nonce)
            )),
        },
    );
    let selected = check_selection(&info.pcr_select, demand.pcrs);
    let complete = verdict.note(Rule::QuoteSelection, selected);
    if complete {
        let digest = pcr_digest(hash_alg, &info.pcr_select, demand.pcrs);
        let found = if bool::from(digest.ct_eq(&info.pcr_digest)) {
            Ok(shown(&digest))
        } else {
            Err(format!(
                "the quote has {}, the values make {}",
                shown(&info.pcr_digest),
                shown(&digest)
            ))
        };
        verdict.note(Rule::QuoteDigest, found);
    } else {
        verdict.fail(
            Rule::QuoteDigest,
            "values are missing, or there are more than were quoted",
        );
    }
    Some(Quoted {
        qualified_signer: attest.qualified_signer.to_vec(),
        clock: attest.clock_info,
        firmware_version: attest.firmware_version,
        selection: info.pcr_select,
    })
}

/// The digest that a quote has of these PCR (Part 3, 18.4).
#[must_use]
pub fn pcr_digest(
    hash_alg: HashAlgorithm,
    selection: &TpmlPcrSelection,
    pcrs: &PcrValues,
) -> Vec<u8> {
    let values: Vec<&[u8]> = selection
        .iter()
        .flat_map(|bank| {
            let values = pcrs.get(&bank.hash);
            bank.pcr_select
                .iter()
                .filter_map(move |pcr| values?.get(&pcr))
                .map(Vec::as_slice)
        })
        .collect();
    hash(hash_alg, &values).to_vec()
}

fn check_signature(
    verdict: &mut Verdict,
    message: &[u8],
    signature: &[u8],
    key: &TpmtPublic,
) -> Option<HashAlgorithm> {
    let checked = parse_all::<TpmtSignature>(signature, &Limits::ALL)
        .map_err(|code| format!("the signature cannot be read: {code}"))
        .and_then(|signature| {
            if signature.hash_alg() == TpmiAlgHash::Sha1 {
                return Err("the quote is signed with SHA-1, which anyone can forge by now".into());
            }
            verify_tpm_signature(key, message, &signature)?;
            Ok(signature.hash_alg())
        });
    match checked {
        Ok(alg) => {
            verdict.pass(Rule::QuoteSignature, format!("with {}", bank_name(alg)));
            Some(hash_algorithm(alg))
        }
        Err(fault) => {
            verdict.fail(Rule::QuoteSignature, fault);
            None
        }
    }
}

/// The quote as a value. Magic and type are looked at first, so that what is none has a name of its own.
fn check_form(verdict: &mut Verdict, message: &[u8]) -> Option<(TpmsAttest, TpmsQuoteInfo)> {
    let word = |range: std::ops::Range<usize>| message.get(range).unwrap_or_default();
    let magic = if word(0..4) == TPM_GENERATED.to_be_bytes() {
        Ok("TPM_GENERATED_VALUE")
    } else {
        Err(format!("it begins with {}", shown(word(0..4))))
    };
    if !verdict.note(Rule::QuoteMagic, magic) {
        return None;
    }
    let tag = if word(4..6) == TpmSt::ATTEST_QUOTE.0.to_be_bytes() {
        Ok("TPM_ST_ATTEST_QUOTE")
    } else {
        Err(format!("its type is {}", shown(word(4..6))))
    };
    if !verdict.note(Rule::QuoteType, tag) {
        return None;
    }
    match parse_all::<TpmsAttest>(message, &Limits::ALL) {
        Ok(attest) => {
            let TpmuAttest::Quote(info) = attest.attested.clone() else {
                verdict.fail(Rule::QuoteForm, "it is no quote");
                return None;
            };
            verdict.pass(Rule::QuoteForm, format!("{} bytes", message.len()));
            Some((attest, info))
        }
        Err(code) => {
            verdict.fail(Rule::QuoteForm, format!("it cannot be read: {code}"));
            None
        }
    }
}

fn check_signer(verdict: &mut Verdict, signer: &[u8], demand: &QuoteDemand<'_>) {
    if demand.qualified_names.iter().any(|name| name == signer) {
        verdict.pass(Rule::QuoteSigner, shown(signer));
    } else if demand.is_placed {
        let detail = format!("the quote names {}, which is not the key's", shown(signer));
        verdict.fail(Rule::QuoteSigner, detail);
    } else {
        verdict.skip(Rule::QuoteSigner, "the key's place in its TPM is not known");
    }
}

fn check_selection(selection: &TpmlPcrSelection, pcrs: &PcrValues) -> Result<String, String> {
    let mut words = Vec::new();
    let mut seen = Vec::new();
    for bank in selection {
        let name = bank_name(bank.hash);
        if seen.contains(&bank.hash) {
            return Err(format!("the bank {name} is quoted twice"));
        }
        seen.push(bank.hash);
        let empty = BTreeMap::new();
        let values = pcrs.get(&bank.hash).unwrap_or(&empty);
        for pcr in bank.pcr_select.iter() {
            let value = values
                .get(&pcr)
                .ok_or_else(|| format!("the value of PCR {pcr} of {name} is missing"))?;
            if value.len() != bank.hash.digest_size() {
                return Err(format!("PCR {pcr} of {name} has {} bytes", value.len()));
            }
        }
        if let Some((more, _)) = values
            .iter()
            .find(|(pcr, _)| !bank.pcr_select.contains(**pcr))
        {
            return Err(format!("PCR {more} of {name} was not quoted"));
        }
        words.push(format!("{name}: {} PCR", values.len()));
    }
    if let Some((more, _)) = pcrs.iter().find(|(bank, _)| !seen.contains(bank)) {
        return Err(format!("the bank {} was not quoted", bank_name(*more)));
    }
    if words.is_empty() {
        return Err("no PCR is quoted".to_owned());
    }
    Ok(words.join(", "))
}

/// Bytes as digits, or the first of them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const FIRST: usize = 40;
    match bytes.get(..FIRST) {
        Some(first) if bytes.len() > FIRST => format!("{}...", hex::encode(first)),
        _ if bytes.is_empty() => "nothing".to_owned(),
        _ => hex::encode(bytes),
    }
}
