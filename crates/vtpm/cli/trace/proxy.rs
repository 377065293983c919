//! `vtpm trace proxy`: stands between clients and any TPM, and shows what passes.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::ControlFlow;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use clap::Args;
use tpm_server::{Event, Exchange, Recorder};
use zeroize::Zeroizing;

use super::tcti::{Channel, Connection, HEADER, LARGEST, Tcti};
use super::{How, Printer, TraceOptions};
use crate::cli::process::EndSignals;
use crate::cli::sockets::{SocketFile, listen_unix};
use crate::cli::{Threads, log, runtime};
use crate::trace::{Entry, Occurrence, Record};

/// Requests of swtpm's control channel that are answered, and two of its results.
const GET_CAPABILITY: u32 = 1;
const INIT: u32 = 2;
const SET_LOCALITY: u32 = 5;
const STOP: u32 = 14;
/// INIT, SET_LOCALITY and STOP.
const CAPABILITIES: u32 = 0x409;
const FAILED: u32 = 9;
const NOT_HERE: u32 = 0x0a;
/// Who stays away for so long after a listener failed, lets descriptors become free.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Stand between clients and a TPM, and show what passes
///
/// Clients reach the TPM at the new socket as they would reach swtpm: TPM2TOOLS_TCTI=swtpm:path=SOCKET or swtpm:port=N. Of swtpm's
/// control channel, which is beside it (SOCKET.ctrl or port N+1), what clients need is there: localities, INIT and STOP.
#[derive(Args, Debug)]
pub(super) struct Proxy {
    /// Where clients come: a unix socket, or a TCP port of this machine
    #[arg(long, value_name = "SOCKET|PORT")]
    listen: Place,
    /// The TPM: swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N, device:PATH
    #[arg(long, value_name = "TCTI", env = "TPM2TOOLS_TCTI")]
    tcti: Tcti,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    record: TraceOptions,
}

/// Where clients come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Tcp(u16),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u16>() {
            Ok(0 | u16::MAX) => Err("a port and the next one are needed".to_owned()),
            Ok(port) => Ok(Self::Tcp(port)),
            Err(_) if text.is_empty() => Err("the name of the socket is empty".to_owned()),
            Err(_) => Ok(Self::Unix(text.into())),
        }
    }
}

impl Proxy {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        log::to_stderr("info");
        let mut recorders = self.record.open()?;
        recorders.push(Box::new(Screen {
            printer: Printer::new(self.how, None),
            secrets: self.how.secrets,
        }));
        let tpm = Arc::new(Mutex::new(Tpm {
            connection: self.tcti.connect()?,
            locality: 0,
            recorders,
        }));
        let runtime = runtime(Threads::One)?;
        let mut end = EndSignals::catch_in(&runtime)?;
        let _files = self.serve(&tpm)?;
        tracing::info!("ready");
        runtime.block_on(end.asked());
        Ok(ExitCode::SUCCESS)
    }

    /// Serves both channels until the end of the process.
    fn serve(&self, tpm: &Arc<Mutex<Tpm>>) -> anyhow::Result<Vec<SocketFile>> {
        let serve = |listener: Listener, client: Client| {
            let tpm = Arc::clone(tpm);
            thread::spawn(move || listener.serve(&tpm, client));
        };
        Ok(match &self.listen {
            Place::Tcp(port) => {
                for (port, client) in [(*port, data as Client), (port.saturating_add(1), control)] {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
                    let listener = listener.with_context(|| format!("TCP port {port}"))?;
                    serve(Listener::Tcp(listener), client);
                }
                Vec::new()
            }
            Place::Unix(path) => {
                let mut beside = path.clone();
                beside.as_mut_os_string().push(".ctrl");
                let mut files = Vec::new();
                for (path, client) in [(path, data as Client), (&beside, control)] {
                    let what = || format!("the socket {}", path.display());
                    let (listener, file) = listen_unix(path, 0o600).with_context(what)?;
                    listener.set_nonblocking(false).with_context(what)?;
                    serve(Listener::Unix(listener), client);
                    files.push(file);
                }
                files
            }
        })
    }
}

/// What serves a connection.
type Client = fn(&Mutex<Tpm>, &mut dyn Channel) -> io::Result<()>;

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn serve(&self, tpm: &Arc<Mutex<Tpm>>, client: Client) {
        loop {
            let accepted: io::Result<Box<dyn Channel + Send>> = match self {
                Self::Tcp(listener) => listener.accept().map(|(stream, _)| {
                    // Without it answers only come a little later.
                    let _ = stream.set_nodelay(true);
                    Box::new(stream) as _
                }),
                Self::Unix(listener) => {
                    let accepted = listener.accept();
                    accepted.map(|(stream, _)| Box::new(stream) as _)
                }
            };
            match accepted {
                Ok(mut stream) => {
                    let tpm = Arc::clone(tpm);
                    thread::spawn(move || {
                        if let Err(error) = client(&tpm, stream.as_mut()) {
                            tracing::debug!(%error, "a connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection was accepted");
                    thread::sleep(AFTER_FAILURE);
                }
            }
        }
    }
}

/// The TPM, and who is told of what it does.
struct Tpm {
    connection: Connection,
    locality: u8,
    recorders: Vec<Box<dyn Recorder>>,
}

fn lock(tpm: &Mutex<Tpm>) -> MutexGuard<'_, Tpm> {
    tpm.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tpm {
    fn transmit(&mut self, command: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (begun, clock) = (SystemTime::now(), Instant::now());
        let response = self.connection.transmit(command, self.locality)?;
        let exchange = Exchange {
            begun,
            took: clock.elapsed(),
            locality: self.locality,
            command: Zeroizing::new(command.to_vec()),
            response: Zeroizing::new(response.clone()),
        };
        self.recorders
            .retain_mut(|recorder| recorder.record(&exchange).is_continue());
        Ok(response)
    }

    /// Makes something happen to the TPM; false if that is not possible.
    fn signal(&mut self, event: &Event) -> bool {
        let happened = Occurrence::new(SystemTime::now(), event);
        let done = self.connection.signal(&happened.what).unwrap_or(false);
        if done {
            let at = SystemTime::now();
            self.recorders
                .retain_mut(|recorder| recorder.happened(at, event).is_continue());
        }
        done
    }
}

/// A data connection: commands and responses.
fn data(tpm: &Mutex<Tpm>, stream: &mut dyn Channel) -> io::Result<()> {
    loop {
        let mut command = Zeroizing::new(vec![0; HEADER]);
        match stream.read_exact(&mut command) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            outcome => outcome?,
        }
        let size = command.get(2..6).and_then(|size| size.try_into().ok());
        let size = size
            .map(u32::from_be_bytes)
            .and_then(|size| usize::try_from(size).ok());
        let size = size
            .filter(|size| (HEADER..=LARGEST).contains(size))
            .ok_or_else(|| io::Error::other("a command announces a size that none has"))?;
        command.resize(size, 0);
        stream.read_exact(command.get_mut(HEADER..).unwrap_or_default())?;
        let answer = lock(tpm).transmit(&command);
        let response = answer.map_err(|error| {
            tracing::error!("{error:#}");
            io::Error::other("the TPM does not answer")
        })?;
        stream.write_all(&response)?;
        stream.flush()?;
    }
}

/// A control connection: what clients of a TPM ask there.
fn control(tpm: &Mutex<Tpm>, stream: &mut dyn Channel) -> io::Result<()> {
    loop {
        // A request comes in one piece; of SET_LOCALITY there are two lengths.
        let mut request = [0; 16];
        let length = stream.read(&mut request)?;
        if length == 0 {
            return Ok(());
        }
        let mut answer = Vec::new();
        let code = request.first_chunk().map(|code| u32::from_be_bytes(*code));
        let result = match code.filter(|_| length >= 4) {
            Some(GET_CAPABILITY) => {
                answer.extend(CAPABILITIES.to_be_bytes());
                0
            }
            Some(SET_LOCALITY) if length > 4 => {
                let [_, _, _, _, locality, ..] = request;
                let mut tpm = lock(tpm);
                if tpm.locality != locality {
                    tpm.locality = locality;
                    tpm.signal(&Event::Locality(locality));
                }
                0
            }
            Some(INIT) => result_of(lock(tpm).signal(&Event::PowerOn { resumed: false })),
            Some(STOP) => result_of(lock(tpm).signal(&Event::PowerOff)),
            _ => NOT_HERE,
        };
        let mut out = result.to_be_bytes().to_vec();
        if result == 0 {
            out.extend(answer);
        }
        stream.write_all(&out)?;
        stream.flush()?;
        if result == NOT_HERE {
            return Ok(());
        }
    }
}

const fn result_of(done: bool) -> u32 {
    if done { 0 } else { FAILED }
}

/// Prints what passes.
struct Screen {
    printer: Printer,
    secrets: bool,
}

impl Screen {
    fn show(&mut self, entry: &Entry) -> ControlFlow<()> {
        match self.printer.print(entry) {
            Ok(true) => ControlFlow::Continue(()),
            // Who looked at it has gone; clients and recordings go on.
            Ok(false) | Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Recorder for Screen {
    fn happened(&mut self, at: SystemTime, event: &Event) -> ControlFlow<()> {
        self.show(&Entry::Event(Occurrence::new(at, event)))
    }

    fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        let record = Record::new(exchange, self.secrets);
        self.show(&Entry::Exchange(Box::new(record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_port_or_a_socket() {
        assert_eq!("2321".parse(), Ok(Place::Tcp(2321)));
        assert_eq!("./2321".parse(), Ok(Place::Unix("./2321".into())));
        for bad in ["", "0", "65535"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
