//! A plain client of a TPM, named as tpm2-tss names its TCTIs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::trace::What;

/// No command takes longer, the making of an RSA key included.
const PATIENCE: Duration = Duration::from_secs(600);
pub(super) const LARGEST: usize = 65_536;
pub(super) const HEADER: usize = 10;
/// Codes of the simulator's protocol.
const POWER_ON: u32 = 1;
const POWER_OFF: u32 = 2;
const HASH_START: u32 = 5;
const HASH_DATA: u32 = 6;
const HASH_END: u32 = 7;
const SEND_COMMAND: u32 = 8;
const NV_ON: u32 = 11;
const SESSION_END: u32 = 20;
/// A code of swtpm's control channel.
const SET_LOCALITY: u32 = 5;

/// Where a TPM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tcti {
    SwtpmTcp { host: String, port: u16 },
    SwtpmUnix(String),
    Simulator { host: String, port: u16 },
    Device(String),
}

impl FromStr for Tcti {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        if kind == "device" {
            let path = if rest.is_empty() { "/dev/tpm0" } else { rest };
            return Ok(Self::Device(path.to_owned()));
        }
        if kind != "swtpm" && kind != "mssim" {
            return Err(format!(
                "'{kind}' is not a TCTI known here: say swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N or device:PATH"
            ));
        }
        let (mut host, mut port, mut path) = ("127.0.0.1".to_owned(), 2321, None);
        for part in rest.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("host", value)) => value.clone_into(&mut host),
                Some(("port", value)) => {
                    port = value
                        .parse()
                        .map_err(|_| format!("'{value}' is not a TCP port"))?;
                }
                Some(("path", value)) if kind == "swtpm" => path = Some(value.to_owned()),
                _ => return Err(format!("'{part}' is not known in a {kind} TCTI")),
            }
        }
        Ok(match (kind, path) {
            ("mssim", _) => Self::Simulator { host, port },
            (_, Some(path)) => Self::SwtpmUnix(path),
            (_, None) => Self::SwtpmTcp { host, port },
        })
    }
}

pub(crate) trait Channel: Read + Write {}
impl<T: Read + Write> Channel for T {}

/// A connection to a TPM.
pub(crate) struct Connection {
    wire: Wire,
    /// The locality of the commands to come, once it is known.
    locality: Option<u8>,
}

enum Wire {
    /// Frames alone, and the control channel beside them.
    Raw(Box<dyn Channel + Send>, Control),
    /// The simulator's framing, and its platform port.
    Simulator {
        commands: TcpStream,
        platform: TcpStream,
    },
    /// A device file: one read is one response.
    Device(File),
}

/// Where swtpm's control channel is, by tpm2-tss's rule: the next port, or the name with `.ctrl`.
enum Control {
    Tcp { host: String, port: u16 },
    Unix(String),
}

impl Control {
    /// Sends a request and gives its result; each request has a connection of its own, as with tpm2-tss.
    fn ask(&self, code: u32, body: &[u8]) -> anyhow::Result<u32> {
        let mut stream: Box<dyn Channel> = match self {
            Self::Tcp { host, port } => Box::new(tcp(host, *port)?),
            Self::Unix(path) => Box::new(unix(path)?),
        };
        let request = [&code.to_be_bytes()[..], body].concat();
        stream.write_all(&request)?;
        stream.flush()?;
        let mut result = [0; 4];
        stream
            .read_exact(&mut result)
            .context("the control channel does not answer")?;
        Ok(u32::from_be_bytes(result))
    }
}

fn tcp(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect((host, port))
        .with_context(|| format!("no TPM answers at {host}:{port}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn unix(path: &str) -> anyhow::Result<UnixStream> {
    let stream = UnixStream::connect(path)
        .with_context(|| format!("no TPM answers at the socket {path}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Tcti {
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        let wire = match self {
            Self::SwtpmTcp { host, port } => {
                let control = Control::Tcp {
                    host: host.clone(),
                    port: port.checked_add(1).context("there is no port after it")?,
                };
                Wire::Raw(Box::new(tcp(host, *port)?), control)
            }
            Self::SwtpmUnix(path) => {
                let control = Control::Unix(format!("{path}.ctrl"));
                Wire::Raw(Box::new(unix(path)?), control)
            }
            Self::Simulator { host, port } => {
                let next = port.checked_add(1).context("there is no port after it")?;
                let commands = tcp(host, *port)?;
                let mut platform = tcp(host, next)?;
                for code in [POWER_ON, NV_ON] {
                    ask_platform(&mut platform, &code.to_be_bytes())?;
                }
                Wire::Simulator { commands, platform }
            }
            Self::Device(path) => Wire::Device(
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(path)
                    .with_context(|| path.clone())?,
            ),
        };
        Ok(Connection {
            wire,
            locality: None,
        })
    }
}

/// Sends a request that the simulator acknowledges by four zero bytes.
fn ask_platform(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<()> {
    stream.write_all(request)?;
    let mut answer = [0; 4];
    stream
        .read_exact(&mut answer)
        .context("the simulator does not answer")?;
    ensure!(answer == [0; 4], "the simulator refuses");
    Ok(())
}

impl Connection {
    /// Sends a command from a locality and gives the response.
    pub(crate) fn transmit(&mut self, command: &[u8], locality: u8) -> anyhow::Result<Vec<u8>> {
        self.choose(locality)?;
        let answer = match &mut self.wire {
            Wire::Raw(stream, _) => exchange(stream, command),
            Wire::Simulator { commands, .. } => simulated(commands, command, locality),
            Wire::Device(file) => file.write_all(command).and_then(|()| {
                let mut response = vec![0; LARGEST];
                let length = file.read(&mut response)?;
                response.truncate(length);
                Ok(response)
            }),
        };
        match answer {
            Ok(response) if response.len() >= HEADER => Ok(response),
            Ok(response) => bail!("the TPM's answer has only {} bytes", response.len()),
            Err(error) => Err(error).context("the TPM does not answer"),
        }
    }

    /// Chooses the locality where it does not come with the command.
    fn choose(&mut self, locality: u8) -> anyhow::Result<()> {
        // A TPM that nobody told otherwise is at locality zero, and may have no control channel at all.
        if self.locality.unwrap_or(0) == locality {
            return Ok(());
        }
        match &self.wire {
            Wire::Raw(_, control) => {
                let result = control.ask(SET_LOCALITY, &[locality])?;
                ensure!(result == 0, "the TPM refuses locality {locality}");
            }
            Wire::Simulator { .. } => {}
            Wire::Device(_) => bail!("a device gives commands no locality but its own"),
        }
        self.locality = Some(locality);
        Ok(())
    }

    /// Makes the same happen to this TPM; false if that is not possible.
    pub(super) fn signal(&mut self, what: &What) -> anyhow::Result<bool> {
        match &mut self.wire {
            Wire::Raw(_, control) => {
                let (code, body): (u32, Vec<u8>) = match what {
                    What::PowerOn { .. } => (2, vec![0; 4]),
                    What::PowerOff => (14, Vec::new()),
                    What::Suspended => (10, Vec::new()),
                    What::HashStart => (6, Vec::new()),
                    What::HashData { data } => (7, sized(data)),
                    What::HashEnd => (8, Vec::new()),
                    What::EstablishedReset { locality } => (11, vec![*locality]),
                    What::Locality { .. } => return Ok(true),
                    // The server would shut it down in order.
                    What::PowerCut => return Ok(false),
                };
                Ok(control.ask(code, &body)? == 0)
            }
            Wire::Simulator { commands, platform } => {
                match what {
                    What::PowerOn { resumed: false } => {
                        ask_platform(platform, &POWER_ON.to_be_bytes())?;
                        ask_platform(platform, &NV_ON.to_be_bytes())?;
                    }
                    What::PowerOff => ask_platform(platform, &POWER_OFF.to_be_bytes())?,
                    What::HashStart => ask_platform(commands, &HASH_START.to_be_bytes())?,
                    What::HashData { data } => {
                        let request = [&HASH_DATA.to_be_bytes()[..], &sized(data)].concat();
                        ask_platform(commands, &request)?;
                    }
                    What::HashEnd => ask_platform(commands, &HASH_END.to_be_bytes())?,
                    What::Locality { .. } => {}
                    What::PowerOn { resumed: true }
                    | What::PowerCut
                    | What::Suspended
                    | What::EstablishedReset { .. } => return Ok(false),
                }
                Ok(true)
            }
            Wire::Device(_) => Ok(matches!(what, What::Locality { .. })),
        }
    }
}

/// Bytes with their length in front.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Wire::Simulator { commands, platform } = &mut self.wire {
            // The simulator lets the next client in sooner; if it is gone, nothing is lost.
            for stream in [commands, platform] {
                let _ = stream.write_all(&SESSION_END.to_be_bytes());
            }
        }
    }
}

fn exchange(stream: &mut impl Channel, command: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(command)?;
    stream.flush()?;
    let mut response = vec![0; HEADER];
    stream.read_exact(&mut response)?;
    let size = response
        .get(2..6)
        .and_then(|size| <[u8; 4]>::try_from(size).ok())
        .map(u32::from_be_bytes);
    rest_of(stream, response, size.unwrap_or_default())
}

fn rest_of(stream: &mut impl Channel, mut response: Vec<u8>, size: u32) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > LARGEST || size < response.len() {
        return Err(io::Error::other(format!("an answer of {size} bytes")));
    }
    let missing = size.saturating_sub(response.len());
    let read = stream
        .take(u64::try_from(missing).unwrap_or(u64::MAX))
        .read_to_end(&mut response)?;
    if read < missing {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(response)
}

fn simulated(stream: &mut TcpStream, command: &[u8], locality: u8) -> io::Result<Vec<u8>> {
    let mut framed = Vec::from(SEND_COMMAND.to_be_bytes());
    framed.push(locality);
    framed.extend(sized(command));
    stream.write_all(&framed)?;
    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    let response = rest_of(stream, Vec::new(), u32::from_be_bytes(word))?;
    stream.read_exact(&mut word)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcti_is_named_as_tpm2_tss_does() {
        let tcti = |text: &str| text.parse::<Tcti>().unwrap();
        let local = |port| ("127.0.0.1".to_owned(), port);
        let (host, port) = local(2321);
        assert_eq!(tcti("swtpm"), Tcti::SwtpmTcp { host, port });
        let (host, port) = local(7);
        assert_eq!(tcti("mssim:port=7"), Tcti::Simulator { host, port });
        assert_eq!(tcti("swtpm:path=/x"), Tcti::SwtpmUnix("/x".into()));
        assert_eq!(tcti("device"), Tcti::Device("/dev/tpm0".into()));
        for bad in ["tabrmd", "swtpm:port=x", "mssim:path=/x", "swtpm:nonsense"] {
            assert!(bad.parse::<Tcti>().is_err(), "{bad}");
        }
    }
}
