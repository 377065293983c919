//! Where a key service listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use kmip_client::ServerAddress;

/// A unix socket, or a TCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `HOST:PORT`
    Tcp(ServerAddress),
}

impl Address {
    /// Whether what is sent there leaves this machine, so that it needs TLS.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Tcp(server) => match server.host.parse::<std::net::IpAddr>() {
                Ok(address) => !address.is_loopback(),
                Err(_) => server.host != "localhost",
            },
        }
    }
}

/// A text that is no address of a key service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a key service. Write unix:PATH or HOST:PORT")]
pub struct NoAddress(String);

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let fault = || NoAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(fault())
            };
        }
        // The port is never left out: there is no usual one.
        let after = text.rsplit_once(':').ok_or_else(fault)?.1;
        after.parse::<u16>().map_err(|_| fault())?;
        text.parse().map(Self::Tcp).map_err(|_| fault())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(server) => server.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_leaves_the_machine_is_known() {
        for (text, remote) in [
            ("unix:/run/keys.sock", false),
            ("127.0.0.1:7000", false),
            ("[::1]:7000", false),
            ("localhost:7000", false),
            ("10.0.0.1:7000", true),
            ("keys.example:7000", true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_remote(), remote, "{text}");
        }
        for text in ["", "unix:", "unix:relative", "host", ":1", "host:x", "h:0"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
