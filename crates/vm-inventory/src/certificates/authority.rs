//! The certificate authority of a vCenter, as the inventory has it.

use super::{CertificateFacts, Der, EkAlgorithm};
use crate::model::{Record, Timestamp};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vm_store::key_provider::KeyLocator;
use vm_store::{Envelope, WrappedKey};

/// A private key, sealed under a data key that a key provider wraps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SealedKey {
    /// Which key of which provider opens it, as in the files of VMs.
    pub(crate) key: String,
    /// The wrapped data key.
    pub(crate) wrapped: Der,
    /// What is sealed.
    pub(crate) sealed: Der,
}

impl SealedKey {
    pub(crate) fn new(envelope: Envelope) -> Self {
        Self {
            key: envelope.locator.to_string(),
            wrapped: Der(envelope.wrapped.as_bytes().to_vec()),
            sealed: Der(envelope.sealed),
        }
    }

    pub(crate) fn envelope(&self, vcenter: &Name) -> Result<Envelope> {
        let locator = KeyLocator::parse(&self.key).ok_or_else(|| Error::Record {
            key: AuthorityRecord::key_of(vcenter.as_str()),
            reason: "it names no key".to_owned(),
        })?;
        Ok(Envelope {
            locator,
            wrapped: WrappedKey::from_bytes(self.wrapped.0.clone()),
            sealed: self.sealed.0.clone(),
        })
    }
}

/// Where an authority comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthorityOrigin {
    /// It was made here, root and all.
    Own,
    /// Another authority signed its request.
    Given,
}

/// The authority that signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct StoredAuthority {
    pub(crate) origin: AuthorityOrigin,
    /// The issuer's certificate, then those above it.
    pub(crate) chain: Vec<Der>,
    pub(crate) issuer_key: SealedKey,
    /// The key of the root, if that is our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_key: Option<SealedKey>,
    pub(crate) since: Timestamp,
}

/// A request to another authority that was not answered yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PendingAuthority {
    pub(crate) key: SealedKey,
    pub(crate) request: Der,
}

/// The authority of one vCenter, and how it is used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AuthorityRecord {
    pub(crate) vcenter: Name,
    /// Whether new TPMs get certificates.
    pub(crate) issue: bool,
    /// The keys that they get certificates for.
    pub(crate) keys: Vec<EkAlgorithm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<StoredAuthority>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<PendingAuthority>,
    /// The URL below which others find what belongs to the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published: Option<String>,
    /// The chains of authorities that signed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<Vec<Der>>,
    /// The authorities that signed before: they sign lists of what they issued that was revoked, and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired: Vec<StoredAuthority>,
}

impl AuthorityRecord {
    pub(crate) fn new(vcenter: Name) -> Self {
        Self {
            vcenter,
            issue: true,
            keys: EkAlgorithm::USUAL.to_vec(),
            authority: None,
            pending: None,
            published: None,
            former: Vec::new(),
            retired: Vec::new(),
        }
    }

    pub(crate) fn key_of(vcenter: &str) -> String {
        format!("{}{vcenter}", Self::PREFIX)
    }

    /// The authority that signs, and those that did, the latest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &StoredAuthority> {
        self.authority.iter().chain(self.retired.iter().rev())
    }
}

impl Record for AuthorityRecord {
    const PREFIX: &'static str = "authority/";
    fn key(&self) -> String {
        Self::key_of(self.vcenter.as_str())
    }
}

/// A certificate that was revoked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// Whose authority had signed it.
    pub vcenter: Name,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Since when.
    pub since: Timestamp,
    /// The VM that had it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Name>,
}

impl Revoked {
    pub(crate) fn key_of(vcenter: &str, serial: &str) -> String {
        format!("{}{vcenter}/{serial}", Self::PREFIX)
    }
}

impl Record for Revoked {
    const PREFIX: &'static str = "revoked/";
    fn key(&self) -> String {
        Self::key_of(self.vcenter.as_str(), &self.serial)
    }
}

/// A change of how the authority of a vCenter is used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorityChange {
    /// Whether new TPMs get certificates; as it is if left out.
    #[serde(default)]
    pub issue: Option<bool>,
    /// The keys that they get certificates for; as they are if left out.
    #[serde(default)]
    pub keys: Option<Vec<EkAlgorithm>>,
    /// The URL below which others find the authority's certificate and its list of revoked ones, such as `https://pki.example.com:8443`:
    /// certificates say it from now on, and the daemon serves both without a token. An empty text is none.
    #[serde(default)]
    pub published: Option<String>,
}

/// The authority of a vCenter as people and programs see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuthorityView {
    /// The vCenter.
    pub vcenter: Name,
    /// Whether new TPMs get certificates.
    pub issue: bool,
    /// The keys that they get certificates for.
    pub keys: Vec<EkAlgorithm>,
    /// Where the authority comes from; left out if there is none yet: it is made with the first TPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<AuthorityOrigin>,
    /// The key provider under which its key is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The issuer's certificate, then those above it (PEM).
    pub chain: String,
    /// What they say, in the same order.
    pub certificates: Vec<CertificateFacts>,
    /// Certificates of authorities that signed before (PEM).
    pub former: String,
    /// The URL below which its certificate and its list of revoked ones are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// Whether a request to another authority waits for its answer.
    pub pending: bool,
    /// How many certificates were revoked.
    pub revoked: usize,
}
