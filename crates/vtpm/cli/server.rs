//! A daemon that is reached over TLS, by its URL, as a user.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::client::{Client, Refusal};

/// The user that every daemon with a listener has.
const ADMINISTRATOR: &str = "administrator@vsphere.local";
/// No token and no password is longer.
const LONGEST_SECRET: u64 = 4096;

/// Names a daemon elsewhere and who asks; flattened into each verb that talks to a daemon.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerArgs {
    /// A daemon elsewhere (https://HOST:PORT) instead of the one on this machine's private socket; also in VTPM_SERVER
    #[arg(id = "server_url", long = "server", value_name = "URL", global = true)]
    url: Option<String>,
    /// The certificate of the daemon elsewhere, or that of the authority that signed it (PEM): what `vtpm serve --listen` names when it starts
    #[arg(
        id = "server_authority",
        long = "server-ca",
        env = "VTPM_SERVER_CA",
        value_name = "FILE",
        global = true
    )]
    authority: Option<PathBuf>,
    /// A file with the token of a session (POST /v1/sessions); a token may stand in VTPM_TOKEN, too
    #[arg(
        id = "server_token_file",
        long = "token-file",
        env = "VTPM_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    token_file: Option<PathBuf>,
    /// Who logs in.
    #[arg(
        id = "server_user",
        long = "user",
        env = "VTPM_USER",
        value_name = "USER@ORGANIZATION",
        global = true,
        help = "Without a token: who logs in, with the password in VTPM_PASSWORD [default: administrator@vsphere.local]"
    )]
    user: Option<String>,
}

/// A session at a daemon elsewhere.
pub(crate) struct Visit {
    client: Client,
    /// Whether the session is ours to end.
    logged_in: bool,
}

impl ServerArgs {
    /// The URL of a daemon elsewhere, if the command line names one.
    pub(crate) fn named(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The same, or the one that the environment names.
    pub(crate) fn named_or_usual(&self) -> Option<String> {
        let usual = || env::var("VTPM_SERVER").ok().filter(|url| !url.is_empty());
        self.url.clone().or_else(usual)
    }

    /// Goes there, as whoever the arguments and the environment say.
    pub(crate) async fn visit(&self, url: &str) -> anyhow::Result<Visit> {
        let Some(authority) = &self.authority else {
            let missing = "name the daemon's certificate with --server-ca FILE: `vtpm serve --listen` says where it is";
            return Err(Refusal::Usage(missing.to_owned()).into());
        };
        let certificates = fs::read(authority)
            .with_context(|| format!("the certificate {}", authority.display()))?;
        let server = || Server::new(url, &certificates);
        if let Some(token) = self.token()? {
            return Ok(Visit {
                client: Client::of_server(server()?.with_token(&token)),
                logged_in: false,
            });
        }
        let Ok(password) = env::var("VTPM_PASSWORD").map(Zeroizing::new) else {
            let missing = "nobody is logged in: name a file with a token by --token-file, put the token into VTPM_TOKEN, or the user's password into VTPM_PASSWORD";
            return Err(Refusal::Usage(missing.to_owned()).into());
        };
        let user = self.user.as_deref().unwrap_or(ADMINISTRATOR);
        let asking = Client::of_server(server()?.with_password(user, &password));
        let token = asking.log_in().await?;
        Ok(Visit {
            client: Client::of_server(server()?.with_token(token.expose())),
            logged_in: true,
        })
    }

    /// The token of a session, if there is one.
    fn token(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        match &self.token_file {
            Some(path) => secret_in(path).map(Some),
            None => Ok(env::var("VTPM_TOKEN").ok().map(Zeroizing::new)),
        }
    }
}

/// The only line of a file.
fn secret_in(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let name = || format!("the token in {}", path.display());
    let mut text = Zeroizing::new(String::new());
    let file = fs::File::open(path).with_context(name)?;
    let mut file = file.take(LONGEST_SECRET);
    file.read_to_string(&mut text).with_context(name)?;
    let token = text.trim();
    let one_word = !token.is_empty() && !token.contains(char::is_whitespace);
    ensure!(one_word, "{}: a token is one word", path.display());
    Ok(Zeroizing::new(token.to_owned()))
}

impl Visit {
    /// A client that asks there.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Ends the session if it was opened for this visit.
    pub(crate) async fn end(self) {
        if self.logged_in {
            // A session that is not ended ends by itself.
            let _ = self.client.log_out().await;
        }
    }
}

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
            .map_err(|error| Refusal::NoDaemon(format!("{self} cannot be reached: {error}")))?;
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

    #[test]
    fn a_file_with_a_token_has_one_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (text, token) in [
            ("abc\n", Some("abc")),
            ("abc", Some("abc")),
            ("", None),
            ("\n", None),
            ("a b", None),
        ] {
            fs::write(&path, text).unwrap();
            let read = secret_in(&path).ok();
            assert_eq!(read.as_deref().map(String::as_str), token, "{text:?}");
        }
    }
}
