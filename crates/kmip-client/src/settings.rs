//! How a provider is set up.

use std::{fmt, str::FromStr, time::Duration};
use zeroize::Zeroizing;

/// The port of KMIP servers where none is named.
pub const DEFAULT_PORT: u16 = 5696;

/// A provider: its servers, who we are and whom we trust.
#[derive(Clone)]
pub struct Settings {
    /// The provider's name, for messages.
    pub provider: String,
    /// The servers, tried in this order. They hold the same keys.
    pub servers: Vec<ServerAddress>,
    /// The client certificate and those above it (PEM).
    pub client_certificate: Vec<u8>,
    /// The client certificate's private key (PEM).
    pub client_key: Zeroizing<Vec<u8>>,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// Time limits and other bounds.
    pub limits: Limits,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("provider", &self.provider)
            .field("servers", &self.servers)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Whose server certificates are accepted.
#[derive(Clone)]
pub enum Trust {
    /// These very certificates (PEM), whatever name and dates stand in them: the person who set the provider up looked at
    /// them.
    Certificates(Vec<u8>),
    /// Certificates for the server's host that one of these authorities (PEM) signed and that are valid now.
    Authorities(Vec<u8>),
    /// Each of these (PEM) as that very certificate, and those that say to be an authority's as an authority too: for a person
    /// who was given a file and was not told what is in it.
    Either(Vec<u8>),
}

/// Time limits and other bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a connection, its TLS handshake and the agreement on a version, together. Looking a host name up is not counted.
    pub connect: Duration,
    /// For one request and the whole of its reply, however slowly it trickles.
    pub request: Duration,
    /// How many times all servers are tried while their faults may pass.
    pub rounds: u32,
    /// The pause after the first round; each later one is twice as long. Up to half of it is added at random.
    pub pause: Duration,
    /// After how long an unused connection is not used again.
    pub idle: Duration,
    /// For how long a server that could not be reached is tried after the others.
    pub set_aside: Duration,
    /// The longest reply that is read, in bytes.
    pub max_reply: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            rounds: 3,
            pause: Duration::from_millis(200),
            idle: Duration::from_secs(30),
            set_aside: Duration::from_secs(30),
            max_reply: 1 << 20,
        }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A text that is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no server address. Write HOST, HOST:PORT or [ADDRESS]:PORT")]
pub struct NoServerAddress(String);

impl FromStr for ServerAddress {
    type Err = NoServerAddress;

    fn from_str(text: &str) -> Result<Self, NoServerAddress> {
        let fault = || NoServerAddress(text.to_owned());
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(fault)?;
                match port.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if port.is_empty() => (host, None),
                    None => return Err(fault()),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| fault())?,
            None => DEFAULT_PORT,
        };
        let bare = host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control());
        if bare || port == 0 {
            return Err(fault());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("kms.example", "kms.example:5696"),
            ("10.0.0.1:15696", "10.0.0.1:15696"),
            ("[::1]:1", "[::1]:1"),
            ("[fe80::2]", "[fe80::2]:5696"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
        }
    }

    #[test]
    fn other_texts_are_named_and_refused() {
        for text in [
            "", ":1", "a:", "a:0", "a:65536", "::1", "[::1", "[::1]x", "a b",
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
