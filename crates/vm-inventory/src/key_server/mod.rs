//! Providers whose keys are at key servers: how they are set up, and the ones that are in use.

mod kmip;
mod registry;

pub(crate) use registry::{KeyServers, OpenProvider};

use crate::{Error, Result};
use kmip_client::{ServerAddress, check_certificates};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// For how long a fetched key is kept in memory if nobody says otherwise: a working day's outage of the key server stops no VM.
pub const KEEP_KEYS: u64 = 24 * 60 * 60;

/// A provider at key servers, as the inventory has it. Nothing in it is secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyServer {
    /// `HOST:PORT` of each server, tried in this order.
    pub servers: Vec<String>,
    /// Our certificate and those above it (PEM); `None` until a request for one is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// Whose server certificates are accepted (PEM): each as itself, and an authority's as an authority too.
    pub server_certificates: String,
    /// For how many seconds a fetched key is kept in memory.
    pub keep_keys: u64,
}

/// A request to register key servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyServerRequest {
    /// `HOST:PORT` of each server, tried in this order.
    pub servers: Vec<String>,
    /// Our certificate (PEM). Left out together with the key, a key is made here and a certificate is asked for.
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// The certificate's private key (PEM).
    #[serde(default)]
    pub client_key: Option<Secret>,
    /// Whose server certificates are accepted (PEM).
    pub server_certificates: String,
    /// For how many seconds a fetched key is kept in memory; a day if left out.
    #[serde(default)]
    pub keep_keys: Option<u64>,
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
            client_certificate: self.client_certificate.clone(),
            server_certificates: self.server_certificates.clone(),
            keep_keys: self.keep_keys.unwrap_or(KEEP_KEYS),
        })
    }
}

/// A text that is wiped when dropped and never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
            client_certificate: None,
            client_key: None,
            server_certificates: String::new(),
            keep_keys: None,
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
    fn a_secret_is_not_shown() {
        let secret = Secret::new(Zeroizing::new("hidden".to_owned()));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
