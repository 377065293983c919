//! A stream to or from a key service: a unix socket, TCP, or TLS over TCP, with a time by which everything has to be done.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::address::Address;

pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn limit(&self, left: Duration) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket
                .set_read_timeout(Some(left))
                .and_then(|()| socket.set_write_timeout(Some(left))),
            Self::Tcp(socket) => socket
                .set_read_timeout(Some(left))
                .and_then(|()| socket.set_write_timeout(Some(left))),
        }
    }
}

/// A socket on which everything has to be done by a deadline, however slowly it trickles.
pub(crate) struct Timed {
    socket: Socket,
    deadline: Instant,
}

impl Timed {
    pub(crate) fn new(socket: Socket, time: Duration) -> Self {
        Self {
            socket,
            deadline: Instant::now() + time,
        }
    }

    fn before_deadline(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.limit(left)
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.before_deadline()?;
        match &mut self.socket {
            Socket::Unix(socket) => socket.read(buffer),
            Socket::Tcp(socket) => socket.read(buffer),
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.before_deadline()?;
        match &mut self.socket {
            Socket::Unix(socket) => socket.write(bytes),
            Socket::Tcp(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One end of a connection.
pub(crate) enum Stream {
    Plain(Timed),
    Client(Box<StreamOwned<ClientConnection, Timed>>),
    Server(Box<StreamOwned<ServerConnection, Timed>>),
}

impl Stream {
    /// Connects to a key service; `tls` is used for TCP wherever it is given.
    pub(crate) fn connect(
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
        time: Duration,
    ) -> io::Result<Self> {
        let server = match address {
            Address::Unix(path) => {
                let socket = Socket::Unix(UnixStream::connect(path)?);
                return Ok(Self::Plain(Timed::new(socket, time)));
            }
            Address::Tcp(server) => server,
        };
        let deadline = Instant::now() + time;
        let addresses = (server.host.as_str(), server.port).to_socket_addrs()?;
        let mut last = io::Error::other("its name has no address");
        for address in addresses {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    let timed = Timed {
                        socket: Socket::Tcp(socket),
                        deadline,
                    };
                    let Some(tls) = tls else {
                        return Ok(Self::Plain(timed));
                    };
                    let name = ServerName::try_from(server.host.clone())
                        .map_err(|_| io::Error::other("its name is no host name"))?;
                    let connection =
                        ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
                    let stream = StreamOwned::new(connection, timed);
                    return Ok(Self::Client(Box::new(stream)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes a connection that came in.
    pub(crate) fn accept(
        socket: Socket,
        tls: Option<&Arc<ServerConfig>>,
        time: Duration,
    ) -> io::Result<Self> {
        let timed = Timed::new(socket, time);
        let Some(tls) = tls else {
            return Ok(Self::Plain(timed));
        };
        let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
        Ok(Self::Server(Box::new(StreamOwned::new(connection, timed))))
    }

    /// Gives what comes next so much time.
    pub(crate) fn allow(&mut self, time: Duration) {
        let timed = match self {
            Self::Plain(timed) => timed,
            Self::Client(stream) => &mut stream.sock,
            Self::Server(stream) => &mut stream.sock,
        };
        timed.deadline = Instant::now() + time;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let timed = match self {
            Self::Plain(timed) => timed,
            Self::Client(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                &mut stream.sock
            }
            Self::Server(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                &mut stream.sock
            }
        };
        let _ = match &timed.socket {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Client(stream) => stream.read(buffer),
            Self::Server(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Client(stream) => stream.write(bytes),
            Self::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}

/// The TLS side of a key service: its certificate and those above it, and the private key (PEM). Hosts prove themselves by their
/// TPM and need no certificate.
///
/// # Errors
/// Which of the two cannot be used.
pub fn server_config(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate cannot be read ({error})"))?;
    if chain.is_empty() {
        return Err("the certificate is no PEM file with a certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        format!("the key is no PEM file with a private key that is not encrypted ({error})")
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key are refused: {error}"))?;
    Ok(Arc::new(config))
}
