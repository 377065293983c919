//! What swtpm's two client tools share: options with one dash or two, and how a server is reached.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

/// The port that both tools use unless told otherwise.
const DEFAULT_PORT: u16 = 6545;

/// An option of a tool: its name, and how many values follow it.
pub(crate) type Declared = (&'static str, usize);

/// An option that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<String>,
}

/// Reads options as swtpm's tools do: `-name` and `--name` mean the same, `=` may stand before a value, and a name may be cut
/// short as long as it is clear which one is meant. The second list holds what is no option.
pub(crate) fn read_options(
    arguments: &[String],
    declared: &[Declared],
) -> anyhow::Result<(Vec<Given>, Vec<String>)> {
    let (mut given, mut others) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            others.extend(rest.by_ref().cloned());
            break;
        }
        let Some(text) = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
            .filter(|text| !text.is_empty())
        else {
            others.push(argument.clone());
            continue;
        };
        let (text, attached) = match text.split_once('=') {
            Some((text, value)) => (text, Some(value.to_owned())),
            None => (text, None),
        };
        let (name, count) = find(text, declared)?;
        if count == 0 && attached.is_some() {
            bail!("option '{argument}' takes no value");
        }
        let mut values: Vec<String> = attached.into_iter().collect();
        while values.len() < count {
            let value = rest
                .next()
                .ok_or_else(|| anyhow!("a value is missing after option '{argument}'"))?;
            values.push(value.clone());
        }
        given.push(Given { name, values });
    }
    Ok((given, others))
}

fn find(text: &str, declared: &[Declared]) -> anyhow::Result<Declared> {
    if let Some(exact) = declared.iter().find(|(name, _)| *name == text) {
        return Ok(*exact);
    }
    let mut candidates = declared.iter().filter(|(name, _)| name.starts_with(text));
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Ok(*only),
        (Some((one, _)), Some((another, _))) => {
            bail!("option '{text}' could be '{one}' or '{another}'")
        }
        (None, _) => bail!("there is no option '{text}'; --help names those that there are"),
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
    Device(PathBuf),
}

impl Address {
    /// Reads `host:port`, `host`, `:port` or `:`.
    pub(crate) fn tcp(text: &str) -> anyhow::Result<Self> {
        let (host, port) = match text.rsplit_once(':') {
            None => (text, ""),
            Some(parts) => parts,
        };
        let port = if port.is_empty() {
            DEFAULT_PORT
        } else {
            port.parse()
                .ok()
                .filter(|port| *port != 0)
                .with_context(|| format!("'{port}' is not a TCP port"))?
        };
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        // An IPv6 address stands in brackets, so that its colons are not taken for that of the port.
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Ok(Self::Tcp {
            host: host.into(),
            port,
        })
    }

    /// The address in an option that says where the server is; `None` for any other option.
    pub(crate) fn in_option(given: &Given) -> anyhow::Result<Option<Self>> {
        let value = given.values.first().map_or("", String::as_str);
        Ok(match given.name {
            "tcp" => Some(Self::tcp(value)?),
            "unix" => Some(Self::Unix(value.into())),
            "tpm-device" => Some(Self::Device(value.into())),
            _ => None,
        })
    }

    /// Connects; nothing on this connection takes longer than `patience`.
    pub(crate) fn connect(&self, patience: Duration) -> anyhow::Result<Connection> {
        Ok(match self {
            Self::Tcp { host, port } => {
                let what = || format!("{host} cannot be reached at TCP port {port}");
                let stream = connect_tcp(host, *port, patience).with_context(what)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                // Each request is one small write: waiting for more to send would only delay it.
                stream.set_nodelay(true)?;
                Connection::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).with_context(|| {
                    format!("no server answers on the socket {}", path.display())
                })?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Connection::Unix(stream)
            }
            Self::Device(path) => Connection::Device(open_device(path)?),
        })
    }
}

fn connect_tcp(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_device(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("the device {} cannot be opened", path.display()))
}

/// A connection to a server or a TPM device.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
    Device(File),
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Device(file) => file.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Device(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: [Declared; 5] = [("s", 0), ("stop", 0), ("save", 2), ("tcp", 1), ("h", 1)];

    fn read(arguments: &[&str]) -> anyhow::Result<(Vec<Given>, Vec<String>)> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        read_options(&arguments, &DECLARED)
    }

    fn given(name: &'static str, values: &[&str]) -> Given {
        Given {
            name,
            values: values.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn one_dash_and_two_mean_the_same() {
        for arguments in [
            &["--tcp", ":7", "-s"][..],
            &["-tcp=:7", "--s"],
            &["--tc=:7", "-s"],
        ] {
            let (options, others) = read(arguments).unwrap();
            assert_eq!(options, [given("tcp", &[":7"]), given("s", &[])]);
            assert!(others.is_empty());
        }
        let (options, others) = read(&["--save", "volatile", "/x", "/dev/tpm", "-h", "-"]).unwrap();
        assert_eq!(
            options,
            [given("save", &["volatile", "/x"]), given("h", &["-"])]
        );
        assert_eq!(others, ["/dev/tpm"]);
    }

    #[test]
    fn what_is_unclear_or_missing_is_refused() {
        for (arguments, word) in [
            (&["--st=1"][..], "takes no value"),
            (&["--save", "volatile"], "missing"),
            (&["--color"], "no option 'color'"),
            (&["--sa", "a"], "missing"),
        ] {
            assert!(
                read(arguments).unwrap_err().to_string().contains(word),
                "{arguments:?}"
            );
        }
        let declared = [("save", 2), ("sane", 0)];
        assert!(read_options(&["--sa".to_owned()], &declared).is_err());
    }

    #[test]
    fn addresses_have_defaults() {
        let tcp = |text| match Address::tcp(text) {
            Ok(Address::Tcp { host, port }) => Some((host, port)),
            _ => None,
        };
        let expected = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(tcp(":"), expected("127.0.0.1", 6545));
        assert_eq!(tcp(":2322"), expected("127.0.0.1", 2322));
        assert_eq!(tcp("host"), expected("host", 6545));
        assert_eq!(tcp("host:1"), expected("host", 1));
        assert_eq!(tcp("[::1]:8"), expected("::1", 8));
        assert_eq!(tcp(":0"), None);
        assert_eq!(tcp(":70000"), None);
    }
}
