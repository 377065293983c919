//! Providers whose keys are at key servers: how they are set up, and the ones that are in use.

mod attested;
mod kmip;
mod registry;

pub use attested::{AttestedKeys, Servers};
pub(crate) use registry::{KeyServers, OpenProvider};

use crate::{Error, Result};
use kmip_client::{ServerAddress, check_certificates};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// For how long a fetched key is kept in memory if nobody says otherwise: a working day's outage of the key server stops no VM.
pub const KEEP_KEYS: u64 = 24 * 60 * 60;

/// A power-on waits for so long for each of the servers, at most.
const LONGEST_TIME_LIMIT: u64 = 600;

/// A provider at key servers, as the inventory has it. Nothing in it is secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyServer {
    /// Each server, tried in this order: `HOST:PORT`, and for a trusted provider `unix:PATH` too.
    pub servers: Vec<String>,
    /// The TPM by which this host attests, as tpm2-tools name it, for a trusted provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_tpm: Option<String>,
    /// Our certificate and those above it (PEM); `None` until a request for one is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// Whose server certificates are accepted (PEM): each as itself, and an authority's as an authority too.
    pub server_certificates: String,
    /// For how many seconds a fetched key is kept in memory.
    pub keep_keys: u64,
    /// How many seconds a server may take for a connection, and for an answer, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<u64>,
    /// What people call the servers, by `HOST:PORT`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// The request for our certificate (PEM) that was not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl KeyServer {
    /// The `HOST:PORT` of the server that is called so, or has that address.
    #[must_use]
    pub fn address_of(&self, name: &str) -> Option<String> {
        self.servers
            .iter()
            .find(|address| {
                self.names
                    .get(*address)
                    .map_or(address.as_str(), String::as_str)
                    == name
            })
            .cloned()
    }
}

/// A request to register key servers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyServerRequest {
    /// Each server, tried in this order: `HOST:PORT`, and for a trusted provider `unix:PATH` too.
    pub servers: Vec<String>,
    /// The TPM by which this host attests, as tpm2-tools name it, for a trusted provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_tpm: Option<String>,
    /// Our certificate (PEM). Left out together with the key, a key is made here and a certificate is asked for.
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// The certificate's private key (PEM).
    #[serde(default)]
    pub client_key: Option<Secret>,
    /// Whose server certificates are accepted (PEM); a trusted provider on this machine needs none.
    #[serde(default)]
    pub server_certificates: String,
    /// For how many seconds a fetched key is kept in memory; a day if left out.
    #[serde(default)]
    pub keep_keys: Option<u64>,
    /// How many seconds a server may take for a connection, and for an answer, 1 to 600; 5 and 10 if left out.
    #[serde(default)]
    pub time_limit: Option<u64>,
}

impl KeyServerRequest {
    /// Checks what can be checked without asking a server.
    pub(crate) fn checked(&self) -> Result<KeyServer> {
        if self.servers.is_empty() {
            return Err(Error::BadValue(
                "a standard key provider needs a server; name each with --server HOST:PORT"
                    .to_owned(),
            ));
        }
        let mut servers = Vec::new();
        for server in &self.servers {
            let address: ServerAddress =
                server
                    .parse()
                    .map_err(|error: kmip_client::NoServerAddress| {
                        Error::BadValue(error.to_string())
                    })?;
            servers.push(address.to_string());
        }
        if self.host_tpm.is_some() {
            return Err(Error::BadValue(
                "the servers of a standard key provider do not ask for the host's TPM; leave it out, or ask for a trusted one".to_owned(),
            ));
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return Err(Error::BadValue(
                "give the client certificate together with its key, or neither to have a key made here".to_owned(),
            ));
        }
        check_certificates(
            self.server_certificates.as_bytes(),
            "the server certificate",
        )
        .map_err(Error::BadValue)?;
        Ok(KeyServer {
            servers,
            host_tpm: None,
            client_certificate: self.client_certificate.clone(),
            server_certificates: self.server_certificates.clone(),
            keep_keys: self.keep_keys.unwrap_or(KEEP_KEYS),
            time_limit: self.checked_time_limit()?,
            names: BTreeMap::new(),
            request: None,
        })
    }
}

impl KeyServerRequest {
    fn checked_time_limit(&self) -> Result<Option<u64>> {
        match self.time_limit {
            Some(seconds) if !(1..=LONGEST_TIME_LIMIT).contains(&seconds) => {
                Err(Error::BadValue(format!(
                    "a time limit for key servers is 1 to {LONGEST_TIME_LIMIT} seconds, not {seconds}"
                )))
            }
            limit => Ok(limit),
        }
    }

    /// Checks what can be checked of a trusted provider without asking its servers.
    pub(crate) fn checked_trusted(&self) -> Result<KeyServer> {
        let bad = |text: &str| Err(Error::BadValue(text.to_owned()));
        if self.servers.is_empty() {
            return bad(
                "a trusted key provider needs a key service; name each with --server unix:PATH or --server HOST:PORT",
            );
        }
        if self.client_certificate.is_some() || self.client_key.is_some() {
            return bad(
                "a trusted key provider has no client certificate: the host proves itself by its TPM",
            );
        }
        let Some(host_tpm) = self.host_tpm.clone().filter(|tpm| !tpm.is_empty()) else {
            return bad(
                "a trusted key provider needs the host's TPM; name it with --host-tcti, as tpm2-tools do",
            );
        };
        Ok(KeyServer {
            servers: self.servers.clone(),
            host_tpm: Some(host_tpm),
            client_certificate: None,
            server_certificates: self.server_certificates.clone(),
            keep_keys: self.keep_keys.unwrap_or(KEEP_KEYS),
            time_limit: self.checked_time_limit()?,
            names: BTreeMap::new(),
            request: None,
        })
    }
}

/// A text that is wiped when dropped and never shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether one server of a provider can be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServerStatus {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// Whether it answered as it should.
    pub usable: bool,
    /// What it says of itself, or what is wrong.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> KeyServerRequest {
        KeyServerRequest {
            servers: vec!["kms.example".to_owned()],
            host_tpm: None,
            client_certificate: None,
            client_key: None,
            server_certificates: String::new(),
            keep_keys: None,
            time_limit: None,
        }
    }

    #[test]
    fn a_time_limit_is_a_while_and_not_for_ever() {
        for (limit, good) in [(0, false), (1, true), (600, true), (601, false)] {
            let mut request = request();
            request.time_limit = Some(limit);
            request.host_tpm = Some("device:/dev/tpmrm0".to_owned());
            match request.checked_trusted() {
                Ok(setup) => assert!(good && setup.time_limit == Some(limit)),
                Err(error) => assert!(!good && error.to_string().contains("1 to 600"), "{error}"),
            }
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let refused = |request: KeyServerRequest| request.checked().unwrap_err().to_string();
        let mut none = request();
        none.servers.clear();
        assert!(refused(none).contains("--server"));
        let mut wrong = request();
        wrong.servers.push("a:0".to_owned());
        assert!(refused(wrong).contains("\"a:0\""));
        let mut half = request();
        half.client_certificate = Some("x".to_owned());
        assert!(refused(half).contains("together"));
        assert!(refused(request()).contains("server certificate"));
    }

    #[test]
    fn a_trusted_provider_needs_a_service_and_a_tpm_and_no_certificate() {
        let trusted = KeyServerRequest {
            servers: vec!["unix:/run/keys.sock".to_owned()],
            host_tpm: Some("device:/dev/tpmrm0".to_owned()),
            ..request()
        };
        assert_eq!(trusted.checked_trusted().unwrap().keep_keys, KEEP_KEYS);
        assert!(trusted.checked().is_err(), "no standard one has a TPM");
        let refused =
            |request: KeyServerRequest| request.checked_trusted().unwrap_err().to_string();
        let mut without = trusted.clone();
        without.servers.clear();
        assert!(refused(without).contains("--server"));
        let mut without = trusted.clone();
        without.host_tpm = None;
        assert!(refused(without).contains("--host-tcti"));
        let mut with = trusted;
        with.client_certificate = Some("x".to_owned());
        assert!(refused(with).contains("no client certificate"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(Zeroizing::new("hidden".to_owned()));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
