//! Evidence: all that a verifier needs of one quote, in one JSON document (docs/attestation.md).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::object::{Tpm2bPublic, TpmtPublic};

use super::quote::PcrValues;
use crate::certificate;
use crate::event_log::{bank_from_name, bank_name};

/// Most bytes of a document of evidence.
pub const MAX_EVIDENCE: usize = 16 * 1024 * 1024;
/// What a document of evidence calls itself.
const FORMAT: &str = "vtpm-evidence";
const VERSION: u32 = 1;

/// Bytes that stand in JSON as base64.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(de::Error::custom)
    }
}

/// Bytes that stand in JSON as hexadecimal digits.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex(pub Vec<u8>);

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(de::Error::custom)
    }
}

/// A map whose document has each name once: of two, nobody could say which counts.
struct NamedOnce<K, V>(BTreeMap<K, V>);

impl<'de, K, V> Deserialize<'de> for NamedOnce<K, V>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<K, V>(PhantomData<(K, V)>);

        impl<'de, K, V> de::Visitor<'de> for Members<K, V>
        where
            K: Deserialize<'de> + Ord + fmt::Display,
            V: Deserialize<'de>,
        {
            type Value = BTreeMap<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<K, V>()? {
                    if members.contains_key(&name) {
                        return Err(de::Error::custom(format!("duplicate member `{name}`")));
                    }
                    members.insert(name, value);
                }
                Ok(members)
            }
        }

        let members = deserializer.deserialize_map(Members(PhantomData))?;
        Ok(Self(members))
    }
}

/// A map of maps, each of which has each name once.
pub(super) fn named_once_in_two<'de, D, V>(
    deserializer: D,
) -> Result<BTreeMap<String, BTreeMap<u32, V>>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    let outer = NamedOnce::<String, NamedOnce<u32, V>>::deserialize(deserializer)?;
    let inner = outer
        .0
        .into_iter()
        .map(|(name, NamedOnce(map))| (name, map));
    Ok(inner.collect())
}

/// A map that has each name once.
pub(super) fn named_once<'de, D, V>(deserializer: D) -> Result<BTreeMap<u32, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    NamedOnce::deserialize(deserializer).map(|NamedOnce(map)| map)
}

/// A quote and its signature, as the TPM made them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteBytes {
    /// `TPMS_ATTEST`.
    pub message: Base64,
    /// `TPMT_SIGNATURE`.
    pub signature: Base64,
}

/// An endorsement key and what vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// `TPMT_PUBLIC` or `TPM2B_PUBLIC`.
    pub public: Base64,
    /// Its certificate, DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Base64>,
    /// Certificates between it and a trusted authority, DER.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Base64>,
}

/// Most certificates that come with an endorsement key.
const MOST_CERTIFICATES: usize = 8;

impl Endorsement {
    /// Whether the certificates are that and nothing more: bytes behind one, and certificates that nobody would look at, are vouched for by
    /// nobody. What is no certificate at all, the check of the chain tells.
    pub(super) fn is_exact(&self) -> Result<(), String> {
        if self.chain.len() > MOST_CERTIFICATES {
            return Err(format!(
                "{} certificates come with the endorsement key, more than {MOST_CERTIFICATES}",
                self.chain.len()
            ));
        }
        for bytes in self.certificate.iter().chain(&self.chain) {
            let exact = certificate::read(&bytes.0).and_then(|it| certificate::to_der(&it));
            if exact.is_ok_and(|exact| exact != bytes.0) {
                return Err("a certificate is not in DER, or something stands behind it".to_owned());
            }
        }
        Ok(())
    }
}

/// All that a verifier needs of one quote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    format: String,
    version: u32,
    /// Who sends it: a name for people, which proves nothing.
    #[serde(default)]
    pub source: String,
    /// The key that signed, `TPMT_PUBLIC` or `TPM2B_PUBLIC`.
    pub attestation_key: Base64,
    /// The question that was answered.
    pub nonce: Hex,
    /// The answer.
    pub quote: QuoteBytes,
    /// The PCR, by bank and number.
    #[serde(deserialize_with = "named_once_in_two")]
    pub pcrs: BTreeMap<String, BTreeMap<u32, Hex>>,
    /// The log of the firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log: Option<Base64>,
    /// The list of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ima_list: Option<Base64>,
    /// The endorsement key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<Endorsement>,
}

impl Evidence {
    /// Evidence of a quote, without a log.
    #[must_use]
    pub fn new(
        source: &str,
        key: &TpmtPublic,
        nonce: &[u8],
        quote: QuoteBytes,
        pcrs: &PcrValues,
    ) -> Self {
        let values = |values: &BTreeMap<u32, Vec<u8>>| {
            values
                .iter()
                .map(|(pcr, value)| (*pcr, Hex(value.clone())))
                .collect()
        };
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            source: source.to_owned(),
            attestation_key: Base64(key.to_bytes()),
            nonce: Hex(nonce.to_vec()),
            quote,
            pcrs: pcrs
                .iter()
                .map(|(bank, list)| (bank_name(*bank).to_owned(), values(list)))
                .collect(),
            event_log: None,
            ima_list: None,
            endorsement: None,
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_EVIDENCE {
            return Err(format!(
                "the evidence has {} bytes, more than {MAX_EVIDENCE}",
                bytes.len()
            ));
        }
        let evidence: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("the evidence is no document of its kind: {error}"))?;
        evidence.check_format()?;
        Ok(evidence)
    }

    /// Whether the document is one of this kind and version, for whoever read it otherwise than by [`Evidence::from_json`].
    ///
    /// # Errors
    /// What it is instead.
    pub fn check_format(&self) -> Result<(), String> {
        if self.format == FORMAT && self.version == VERSION {
            return Ok(());
        }
        Err(format!(
            "the document is '{}', version {}, not '{FORMAT}', version {VERSION}",
            self.format, self.version
        ))
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The PCR by bank and number.
    ///
    /// # Errors
    /// For a bank that nobody knows.
    pub fn pcr_values(&self) -> Result<PcrValues, String> {
        let mut banks = PcrValues::new();
        for (name, values) in &self.pcrs {
            let bank = bank_from_name(name)
                .ok_or_else(|| format!("'{name}' is no bank of PCR known here"))?;
            let values = values
                .iter()
                .map(|(pcr, value)| (*pcr, value.0.clone()))
                .collect();
            banks.insert(bank, values);
        }
        Ok(banks)
    }
}

/// A public area: `TPMT_PUBLIC`, or `TPM2B_PUBLIC` as tpm2-tools write it.
///
/// # Errors
/// If it is neither.
pub fn public_area(bytes: &[u8]) -> Result<TpmtPublic, String> {
    parse_all::<Tpm2bPublic>(bytes, &Limits::ALL)
        .map(|public| public.0)
        .or_else(|_| parse_all::<TpmtPublic>(bytes, &Limits::ALL))
        .map_err(|code| format!("it is no public area of a TPM's key: {code}"))
}
