//! A TPM server process, and a connection to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tpm_engine::testing::{Auth, decode, encode};
use tpm_wire::rc::Rc;
use tpm_wire::table;

/// How long a server may take to accept.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a command is sent again.
const RETRIES: u32 = 100;

/// How a client reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
    /// Not by commands.
    None,
}

impl Transport {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::None => "-",
        }
    }
}

/// How a server is started: the words before `socket`.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stream: Stream,
    folder: PathBuf,
    _scratch: Option<TempDir>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    /// Starts one with a state folder of its own.
    pub(crate) fn start(program: &Program, transport: Transport) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let mut server = Self::start_in(program, transport, scratch.path())?;
        server._scratch = Some(scratch);
        Ok(server)
    }

    /// Starts one on a state folder and connects; its TPM is started.
    pub(crate) fn start_in(
        program: &Program,
        transport: Transport,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let (port, socket) = (free_ports()?, folder.join("s"));
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", folder.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        match transport {
            Transport::Tcp => command
                .args(["--server", &format!("type=tcp,port={port}")])
                .args(["--ctrl", &format!("type=tcp,port={}", port + 1)]),
            Transport::Unix | Transport::None => command
                .args([
                    "--server",
                    &format!("type=unixio,path={}", socket.display()),
                ])
                .args([
                    "--ctrl",
                    &format!("type=unixio,path={}.ctrl", socket.display()),
                ]),
        };
        let mut child = command.spawn()?;
        let began = Instant::now();
        let stream = loop {
            let connected = match transport {
                Transport::Tcp => TcpStream::connect(("127.0.0.1", port)).map(Stream::Tcp),
                Transport::Unix | Transport::None => UnixStream::connect(&socket).map(Stream::Unix),
            };
            match connected {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < PATIENCE && child.try_wait()?.is_none() => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => {
                    let _ = child.kill();
                    anyhow::bail!("{} does not accept: {error}", program.path.display())
                }
            }
        };
        if let Stream::Tcp(stream) = &stream {
            stream.set_nodelay(true)?;
        }
        Ok(Self {
            child,
            stream,
            folder: folder.to_path_buf(),
            _scratch: None,
        })
    }

    /// Sends a command and reads its response, as often as the TPM wants it again (`TPM_RC_RETRY`).
    pub(crate) fn transmit(&mut self, command: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut response = vec![0; 8192];
        for _ in 0..RETRIES {
            let length = match &mut self.stream {
                Stream::Tcp(stream) => exchange(stream, command, &mut response),
                Stream::Unix(stream) => exchange(stream, command, &mut response),
            }?;
            if response.get(6..10) != Some(&Rc::RETRY.number().to_be_bytes()) {
                response.truncate(length);
                return Ok(response);
            }
        }
        anyhow::bail!("the TPM answers TPM_RC_RETRY for ever")
    }

    /// Runs a command with empty passwords.
    pub(crate) fn run<C: table::Command>(&mut self, command: &C) -> anyhow::Result<C::Response> {
        self.accept::<C>(&bytes(command))
    }

    /// Runs the bytes of a command that must succeed.
    pub(crate) fn accept<C: table::Command>(
        &mut self,
        command: &[u8],
    ) -> anyhow::Result<C::Response> {
        decode::<C>(&self.transmit(command)?)
            .map_err(|code| anyhow::anyhow!("{} was answered with {code}", C::INFO.name))
    }

    /// CPU time of all its threads, in nanoseconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let spent: u64 = text
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            total += spent;
        }
        Ok(total)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.folder.join("s"));
        let _ = fs::remove_file(self.folder.join("s.ctrl"));
    }
}

/// The bytes of a command with empty passwords.
pub(crate) fn bytes<C: table::Command>(command: &C) -> Vec<u8> {
    encode(
        command,
        &vec![Auth::password(&[]); C::INFO.authorizations()],
    )
}

fn exchange(
    stream: &mut (impl Read + Write),
    command: &[u8],
    response: &mut [u8],
) -> anyhow::Result<usize> {
    stream.write_all(command)?;
    let mut length = 0;
    loop {
        let rest = response.get_mut(length..).unwrap_or_default();
        let read = stream.read(rest)?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        length += read;
        let announced = response.get(2..6).and_then(|size| size.try_into().ok());
        if let Some(size) = announced.map(u32::from_be_bytes)
            && length >= 6
            && usize::try_from(size)? <= length
        {
            return Ok(length);
        }
    }
}

/// A port whose successor is free too, below the range of outgoing connections.
fn free_ports() -> anyhow::Result<u16> {
    let start = u16::try_from(std::process::id() % 4000)? * 2 + 20_000;
    let mut port = start;
    while port < 32_000 {
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port + 1)).is_ok()
        {
            return Ok(port);
        }
        port += 2;
    }
    anyhow::bail!("no free pair of ports")
}
