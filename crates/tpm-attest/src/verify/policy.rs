//! Policies: what a machine must have measured to be trusted (docs/attestation.md).

use std::collections::BTreeMap;

use der::Decode;
use der::asn1::ObjectIdentifier;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use tpm_crypto::hash::hash;
use tpm_wire::algorithm::TpmiAlgHash;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::check::{Rule, Verdict};
use super::evidence::{Base64, Hex, named_once, named_once_in_two};
use super::quote::{PcrValues, Quoted};
use super::signature::VerifyingKey;
use crate::Error;
use crate::algorithm::hash_algorithm;
use crate::certificate::{self, SigningKey};
use crate::event_log::data::Guid;
use crate::event_log::{Detail, Event, EventLog, EventType, bank_from_name, bank_name};

/// Where firmware measures whether Secure Boot is on (PC Client Platform Firmware Profile, 3.3.4.8).
const SECURE_BOOT_PCR: u32 = 7;
/// Most bytes of a policy.
const MAX_POLICY: usize = 16 * 1024 * 1024;
const FORMAT: &str = "vtpm-policy";
const SIGNED_FORMAT: &str = "vtpm-signed-policy";
const VERSION: u32 = 1;

/// An event that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedEvent {
    /// Its type, by its name.
    pub kind: String,
    /// What it measured, in the bank of the policy.
    pub digest: Hex,
    /// What it says, as people read it; any text, if it is empty.
    #[serde(default)]
    pub note: String,
}

/// What a machine must have measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    format: String,
    version: u32,
    /// What people call it.
    pub name: String,
    /// The values that each PCR may have, by bank and number.
    #[serde(default, deserialize_with = "named_once_in_two")]
    pub pcrs: BTreeMap<String, BTreeMap<u32, Vec<Hex>>>,
    /// The bank that `events` is about.
    #[serde(default = "usual_bank")]
    pub event_bank: String,
    /// The events that may be in a PCR, by its number; other PCR may have any.
    #[serde(default, deserialize_with = "named_once")]
    pub events: BTreeMap<u32, Vec<AllowedEvent>>,
    /// Whether Secure Boot must be on.
    #[serde(default)]
    pub secure_boot: bool,
    /// The firmware versions that the TPM may have, sixteen digits each; any, if there is none.
    #[serde(default)]
    pub firmware_versions: Vec<Hex>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedPolicy {
    format: String,
    version: u32,
    policy: Base64,
    algorithm: String,
    signature: Base64,
}

fn usual_bank() -> String {
    "sha256".to_owned()
}

impl Policy {
    /// A policy that demands nothing yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: name.to_owned(),
            pcrs: BTreeMap::new(),
            event_bank: usual_bank(),
            events: BTreeMap::new(),
            secure_boot: false,
            firmware_versions: Vec::new(),
        }
    }

    /// The policy that a machine stays as it is: these PCR, and in them the events of this log.
    #[must_use]
    pub fn golden(name: &str, pcrs: &PcrValues, log: Option<&EventLog>) -> Self {
        let mut policy = Self::new(name);
        for (bank, values) in pcrs {
            let values = values
                .iter()
                .map(|(pcr, value)| (*pcr, vec![Hex(value.clone())]))
                .collect();
            policy.pcrs.insert(bank_name(*bank).to_owned(), values);
        }
        let Some(log) = log else {
            return policy;
        };
        let sealed = pcrs
            .values()
            .any(|values| values.contains_key(&SECURE_BOOT_PCR));
        policy.secure_boot = sealed && secure_boot(log) == Some(true);
        let banks = pcrs.keys().rev().copied();
        let Some(bank) = banks
            .into_iter()
            .find(|bank| log.replayable().contains(bank))
        else {
            return policy;
        };
        policy.event_bank = bank_name(bank).to_owned();
        for event in &log.events {
            // What extends nothing is told beside the PCR, whichever it names.
            let covered = event.kind == EventType::NO_ACTION
                || pcrs
                    .get(&bank)
                    .is_some_and(|values| values.contains_key(&event.pcr));
            if let Some(digest) = identified(event, bank).filter(|_| covered) {
                let allowed = AllowedEvent {
                    kind: event.kind.to_string(),
                    digest: Hex(digest),
                    note: event.detail().to_string(),
                };
                let list = policy.events.entry(event.pcr).or_default();
                if !list.contains(&allowed) {
                    list.push(allowed);
                }
            }
        }
        policy
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The document in a signed one.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn to_signed_json(
        &self,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<String, Error> {
        let text = self.to_json().into_bytes();
        let signature = key.sign(&text, rng)?;
        let signed = SignedPolicy {
            format: SIGNED_FORMAT.to_owned(),
            version: VERSION,
            algorithm: key.signature_algorithm().oid.to_string(),
            signature: Base64(signature.raw_bytes().to_vec()),
            policy: Base64(text),
        };
        serde_json::to_string_pretty(&signed).map_err(|error| Error::Encoding(error.to_string()))
    }

    /// Reads a policy, signed or not. With `signer`, only what that key has signed is taken.
    ///
    /// # Errors
    /// The rule that it breaks, and what is wrong.
    pub fn from_json(
        bytes: &[u8],
        signer: Option<&SubjectPublicKeyInfoOwned>,
    ) -> Result<Self, (Rule, String)> {
        let form = |fault: String| (Rule::EvidenceForm, format!("the policy: {fault}"));
        let unsigned = |fault: String| (Rule::PolicySignature, fault);
        if bytes.len() > MAX_POLICY {
            return Err(form(format!(
                "it has {} bytes, more than {MAX_POLICY}",
                bytes.len()
            )));
        }
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| form(error.to_string()))?;
        let is_signed = value.get("format").and_then(|f| f.as_str()) == Some(SIGNED_FORMAT);
        let policy: Self = match (is_signed, signer) {
            (false, None) => {
                serde_json::from_slice(bytes).map_err(|error| form(error.to_string()))?
            }
            (false, Some(_)) => {
                return Err(unsigned(
                    "the policy is not signed, but a signer is demanded".into(),
                ));
            }
            (true, signer) => {
                let signed: SignedPolicy =
                    serde_json::from_slice(bytes).map_err(|error| form(error.to_string()))?;
                if let Some(signer) = signer {
                    let algorithm = ObjectIdentifier::new(&signed.algorithm)
                        .map_err(|error| unsigned(error.to_string()))?;
                    VerifyingKey::of_certificate(signer)
                        .and_then(|key| {
                            key.verify(algorithm, &signed.policy.0, &signed.signature.0)
                        })
                        .map_err(|fault| unsigned(format!("the policy's signature: {fault}")))?;
                }
                serde_json::from_slice(&signed.policy.0).map_err(|error| form(error.to_string()))?
            }
        };
        if policy.format != FORMAT || policy.version != VERSION {
            return Err(form(format!(
                "'{}', version {}",
                policy.format, policy.version
            )));
        }
        Ok(policy)
    }

    /// Checks PCR and firmware that were quoted, and a log that was replayed.
    pub fn check(
        &self,
        verdict: &mut Verdict,
        quoted: &Quoted,
        pcrs: &PcrValues,
        log: Option<&EventLog>,
    ) {
        self.check_banks(verdict, pcrs);
        let values = self.pcr_fault(pcrs);
        verdict.note(Rule::PolicyPcr, values.map_or(Ok(self.about_pcrs()), Err));
        if !self.events.is_empty() || self.secure_boot {
            match log {
                Some(log) => self.check_log(verdict, pcrs, log),
                None => verdict.fail(
                    Rule::PolicyEvents,
                    "the policy is about events, and the evidence has no log that was replayed",
                ),
            }
        }
        if !self.firmware_versions.is_empty() {
            let version = quoted.firmware_version.to_be_bytes();
            let known = self
                .firmware_versions
                .iter()
                .any(|allowed| allowed.0 == version);
            let shown = hex::encode(version);
            verdict.note(
                Rule::PolicyFirmware,
                if known {
                    Ok(shown)
                } else {
                    Err(format!("{shown} is not allowed"))
                },
            );
        }
    }

    fn about_pcrs(&self) -> String {
        let words: Vec<String> = self
            .pcrs
            .iter()
            .map(|(bank, values)| {
                let numbers: Vec<String> = values.keys().map(u32::to_string).collect();
                format!("{bank}: {}", numbers.join(", "))
            })
            .collect();
        format!("'{}' allows {}", self.name, words.join("; "))
    }

    fn check_banks(&self, verdict: &mut Verdict, pcrs: &PcrValues) {
        let missing = self.pcrs.iter().find_map(|(name, values)| {
            let Some(bank) = bank_from_name(name) else {
                return Some(format!("'{name}' is no bank of PCR"));
            };
            let quoted = pcrs.get(&bank);
            values
                .keys()
                .find(|pcr| quoted.is_none_or(|quoted| !quoted.contains_key(*pcr)))
                .map(|pcr| format!("PCR {pcr} of {name} was not quoted"))
        });
        let empty = self.pcrs.values().all(BTreeMap::is_empty);
        verdict.note(
            Rule::PolicyBank,
            match missing {
                Some(missing) => Err(missing),
                None if empty => Err("the policy is about no PCR at all".to_owned()),
                None => Ok("all were quoted".to_owned()),
            },
        );
    }

    fn pcr_fault(&self, pcrs: &PcrValues) -> Option<String> {
        let mut faults = Vec::new();
        for (name, allowed) in &self.pcrs {
            let quoted = bank_from_name(name).and_then(|bank| pcrs.get(&bank));
            for (pcr, allowed) in allowed {
                let value = quoted.and_then(|values| values.get(pcr));
                if let Some(value) = value.filter(|value| !allowed.contains(&Hex((*value).clone())))
                {
                    let allowed: Vec<String> =
                        allowed.iter().map(|one| hex::encode(&one.0)).collect();
                    faults.push(format!(
                        "PCR {pcr} of {name} is {}, the policy allows {}",
                        hex::encode(value),
                        allowed.join(" or ")
                    ));
                }
            }
        }
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    fn check_log(&self, verdict: &mut Verdict, pcrs: &PcrValues, log: &EventLog) {
        let Some(bank) = bank_from_name(&self.event_bank) else {
            let detail = format!("'{}' is no bank of PCR", self.event_bank);
            return verdict.fail(Rule::PolicyEvents, detail);
        };
        // Only what was quoted makes events true.
        let quoted = |pcr| pcrs.get(&bank).is_some_and(|it| it.contains_key(&pcr));
        let silent = EventType::NO_ACTION.to_string();
        // A list of silent events alone says nothing of those that extend; an empty one allows none.
        let of_extending = |allowed: &[AllowedEvent]| {
            allowed.is_empty() || allowed.iter().any(|one| one.kind != silent)
        };
        let named = self.events.iter();
        let mut named = named.filter_map(|(pcr, list)| of_extending(list).then_some(*pcr));
        if let Some(pcr) = named.find(|pcr| !quoted(*pcr)) {
            let detail = format!(
                "the policy is about events in PCR {pcr} of {}, which was not quoted",
                self.event_bank
            );
            verdict.fail(Rule::PolicyEvents, detail);
        }
        let mut faults = Vec::new();
        let mut unused: BTreeMap<u32, Vec<&AllowedEvent>> = self
            .events
            .iter()
            .map(|(pcr, allowed)| (*pcr, allowed.iter().collect()))
            .collect();
        // What extends nothing is vouched for by nobody; a policy that lists such events allows no others.
        let mut all = self.events.values().flatten();
        let lists_silent = all.any(|one| one.kind == silent);
        let mut foreign = Vec::new();
        for event in &log.events {
            let is_silent = event.kind == EventType::NO_ACTION;
            let allowed = match self.events.get(&event.pcr) {
                _ if is_silent && !lists_silent => continue,
                Some(allowed) if is_silent || of_extending(allowed) => allowed.as_slice(),
                None if is_silent => &[],
                _ => continue,
            };
            let digest = identified(event, bank).unwrap_or_default();
            let kind = event.kind.to_string();
            let note = event.detail().to_string();
            // The same bytes under another name are another event, where the policy has a name.
            let matches = |allowed: &AllowedEvent| {
                allowed.kind == kind
                    && allowed.digest.0 == digest
                    && (allowed.note.is_empty() || allowed.note == note)
            };
            if allowed.iter().any(matches) {
                if let Some(list) = unused.get_mut(&event.pcr) {
                    list.retain(|allowed| !matches(allowed));
                }
            } else {
                foreign.push((event, kind, hex::encode(digest)));
            }
        }
        for (event, kind, digest) in foreign {
            // What should have been there instead: of the same type, and seen nowhere in this log.
            let instead = unused.get(&event.pcr).and_then(|list| {
                let note = event.detail().to_string();
                let same = |one: &&&AllowedEvent| one.kind == kind;
                list.iter()
                    .filter(same)
                    .find(|one| one.note == note)
                    .or_else(|| list.iter().find(same))
            });
            let mut fault = format!(
                "event {}, at byte {} ({kind} in PCR {}: {}) measured {digest}",
                event.number,
                event.offset,
                event.pcr,
                event.detail()
            );
            if let Some(instead) = instead {
                fault.push_str(&format!(
                    ", where the policy has {} ({})",
                    hex::encode(&instead.digest.0),
                    instead.note
                ));
            }
            faults.push(fault);
        }
        verdict.note(
            Rule::PolicyEvents,
            if faults.is_empty() {
                Ok(format!(
                    "{} PCR have only events that are allowed",
                    self.events.len()
                ))
            } else {
                Err(faults.join("; "))
            },
        );
        if self.secure_boot && !quoted(SECURE_BOOT_PCR) {
            let detail = format!(
                "PCR {SECURE_BOOT_PCR} of {} was not quoted, so that nothing shows it",
                self.event_bank
            );
            verdict.fail(Rule::PolicySecureBoot, detail);
        } else if self.secure_boot {
            verdict.note(
                Rule::PolicySecureBoot,
                match secure_boot(log) {
                    Some(true) => Ok("SecureBoot is 1"),
                    Some(false) => Err("SecureBoot is off".to_owned()),
                    None => Err("the log does not say".to_owned()),
                },
            );
        }
    }
}

/// What an event is known by in a policy: what it measured, or for one that extends nothing the digest of its data.
fn identified(event: &Event, bank: TpmiAlgHash) -> Option<Vec<u8>> {
    if event.kind == EventType::NO_ACTION {
        return Some(hash(hash_algorithm(bank), &[&event.data]).to_vec());
    }
    event.digest(bank).map(<[u8]>::to_vec)
}

/// Whether Secure Boot was on, by the first event of PCR 7, whose data is what it measured. Firmware begins with it; what comes later may
/// be anybody's, since the types of events are not measured.
#[must_use]
pub fn secure_boot(log: &EventLog) -> Option<bool> {
    let mut extending = log
        .events
        .iter()
        .filter(|event| event.pcr == SECURE_BOOT_PCR && event.kind != EventType::NO_ACTION);
    let first = extending.next()?;
    match first.detail() {
        Detail::Variable {
            vendor,
            name,
            size,
            enabled,
        } if first.kind == EventType::EFI_VARIABLE_DRIVER_CONFIG
            && name == "SecureBoot"
            && vendor == Guid::GLOBAL_VARIABLE.to_string() =>
        {
            Some(size == 1 && enabled == Some(true))
        }
        _ => None,
    }
}

/// The key of somebody who signs policies: from a certificate or from a public key, as text.
///
/// # Errors
/// If there is none.
pub fn signer_key(text: &[u8]) -> Result<SubjectPublicKeyInfoOwned, String> {
    if let Ok(certificate) = certificate::read(text) {
        return Ok(certificate
            .tbs_certificate()
            .subject_public_key_info()
            .clone());
    }
    let (label, bytes) = der::pem::decode_vec(text).map_err(|error| error.to_string())?;
    if label != "PUBLIC KEY" {
        return Err(format!(
            "'{label}' is neither a certificate nor a public key"
        ));
    }
    SubjectPublicKeyInfoOwned::from_der(&bytes).map_err(|error| error.to_string())
}
