//! A daemon that is reached over TLS, by its URL, as a user.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// Where the daemon is, whom to take for it, and who asks.
pub(crate) struct Server {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
    /// What goes with each request: a secret.
    authorization: Zeroizing<String>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

impl Server {
    /// The daemon at this URL, which shows one of these certificates, or one that an authority among them signed (PEM).
    pub(crate) fn new(url: &str, certificates: &[u8]) -> anyhow::Result<Self> {
        let Some(place) = url.strip_prefix("https://") else {
            bail!("'{url}' is no URL like https://HOST:PORT");
        };
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse();
                (host, port.with_context(|| format!("'{url}' has no port"))?)
            }
            _ => (place, 443),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ensure!(
            !host.is_empty() && !host.contains('/'),
            "'{url}' is no URL like https://HOST:PORT"
        );
        Ok(Self {
            host: host.to_owned(),
            port,
            tls: kmip_client::trusting(certificates).map_err(anyhow::Error::msg)?,
            authorization: Zeroizing::default(),
        })
    }

    /// From now on requests are those of this session.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.authorization = Zeroizing::new(format!("Bearer {token}"));
        self
    }

    /// From now on requests carry this user's password, as only the one that logs in may.
    pub(crate) fn with_password(mut self, user: &str, password: &str) -> Self {
        let both = Zeroizing::new(format!("{user}:{password}"));
        let encoded = Zeroizing::new(STANDARD.encode(both.as_bytes()));
        self.authorization = Zeroizing::new(format!("Basic {}", encoded.as_str()));
        self
    }

    /// What goes with each request.
    pub(crate) fn authorization(&self) -> &str {
        &self.authorization
    }

    /// Name and port, as requests say them.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone())
            .with_context(|| format!("'{}' is no name of a server", self.host))?;
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .with_context(|| format!("{self} cannot be reached"))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let connected = connector.connect(name, stream).await;
        connected.with_context(|| {
            format!("{self} does not show a certificate that --server-ca names or signed")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_what_is_none_is_refused() {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pem = pair.cert.pem();
        let server = |url: &str| Server::new(url, pem.as_bytes());
        for (url, authority) in [
            ("https://vtpm.example.com:8443", "vtpm.example.com:8443"),
            ("https://vtpm.example.com/", "vtpm.example.com:443"),
            ("https://[::1]:8443", "[::1]:8443"),
            ("https://[::1]", "[::1]:443"),
        ] {
            assert_eq!(server(url).unwrap().authority(), authority);
        }
        for url in [
            "http://a:1",
            "a:1",
            "https://",
            "https://a:x",
            "https://a/b",
        ] {
            assert!(server(url).is_err(), "{url}");
        }
        assert!(Server::new("https://a:1", b"no certificate").is_err());
    }
}
