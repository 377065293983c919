//! One TLS connection to one server, with a time limit on everything that is read and written.

use crate::{
    error::{Fault, Phase},
    key::KeyBytes,
    message::{
        self, KeyAttributes, Operation, ProtocolVersion, RevocationReason, ServerDescription,
    },
    settings::{Limits, ServerAddress},
    ttlv::Item,
};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName,
};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// The tag and type that every reply starts with: a Response Message, which is a structure.
const REPLY_STARTS: [u8; 4] = [0x42, 0x00, 0x7b, 0x01];

/// A connection, its handshake done and its version agreed on.
pub(crate) struct Connection {
    tls: StreamOwned<ClientConnection, TimedStream>,
    version: ProtocolVersion,
    request_limit: Duration,
    max_reply: u32,
    last_used: Instant,
}

impl Connection {
    /// Connects, checks who answers, and agrees on a version.
    pub(crate) fn open(
        server: &ServerAddress,
        tls: &Arc<ClientConfig>,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let deadline = Instant::now() + limits.connect;
        let name = ServerName::try_from(server.host.clone())
            .map_err(|_| Fault::Unreachable("its name is no host name".to_owned()))?;
        let socket = connect(server, deadline)?;
        let connection = ClientConnection::new(Arc::clone(tls), name)
            .map_err(|error| Fault::Untrusted(error.to_string()))?;
        let mut tls = StreamOwned::new(connection, TimedStream { socket, deadline });
        while tls.conn.is_handshaking() {
            if let Err(error) = tls.conn.complete_io(&mut tls.sock) {
                return Err(fault_of(&last_words(&mut tls, error), Phase::Connect));
            }
        }
        let mut connection = Self {
            tls,
            version: ProtocolVersion::FIRST,
            request_limit: limits.request,
            max_reply: limits.max_reply,
            last_used: Instant::now(),
        };
        connection.version = connection.agree_on_version(deadline)?;
        Ok(connection)
    }

    /// When the connection was last used.
    pub(crate) fn last_used(&self) -> Instant {
        self.last_used
    }

    pub(crate) fn create(&mut self, name: Option<&str>) -> Result<String, Fault> {
        self.ask(Operation::Create, message::create(name), message::created)
    }

    pub(crate) fn activate(&mut self, key_id: &str) -> Result<(), Fault> {
        let payload = vec![message::unique_identifier(key_id)];
        self.ask(Operation::Activate, payload, |answer| {
            message::same_key(answer, key_id)
        })
    }

    pub(crate) fn get(&mut self, key_id: &str) -> Result<KeyBytes, Fault> {
        let payload = vec![message::unique_identifier(key_id)];
        self.ask(Operation::Get, payload, |answer| {
            message::object(answer, key_id)
        })
    }

    pub(crate) fn attributes(&mut self, key_id: &str) -> Result<KeyAttributes, Fault> {
        self.ask(
            Operation::GetAttributes,
            message::attributes(key_id),
            |answer| KeyAttributes::read(answer, key_id),
        )
    }

    pub(crate) fn locate(
        &mut self,
        name: Option<&str>,
        at_most: i32,
    ) -> Result<Vec<String>, Fault> {
        let payload = message::locate(name, at_most);
        self.ask(Operation::Locate, payload, message::located)
    }

    pub(crate) fn query(&mut self) -> Result<ServerDescription, Fault> {
        let version = self.version;
        self.ask(Operation::Query, message::query(), |answer| {
            message::query_answer(answer, version)
        })
    }

    pub(crate) fn revoke(&mut self, key_id: &str, reason: RevocationReason) -> Result<(), Fault> {
        let mut payload = vec![message::unique_identifier(key_id)];
        payload.extend(message::reason_of(reason));
        self.ask(Operation::Revoke, payload, |answer| {
            message::same_key(answer, key_id)
        })
    }

    pub(crate) fn destroy(&mut self, key_id: &str) -> Result<(), Fault> {
        let payload = vec![message::unique_identifier(key_id)];
        self.ask(Operation::Destroy, payload, |answer| {
            message::same_key(answer, key_id)
        })
    }

    /// The best version that both sides speak.
    fn agree_on_version(&mut self, deadline: Instant) -> Result<ProtocolVersion, Fault> {
        self.tls.sock.deadline = deadline;
        let named = self.exchange(
            Operation::DiscoverVersions,
            message::versions(),
            Phase::Connect,
            message::version_list,
        )?;
        let spoken = ProtocolVersion::SPOKEN.into_iter();
        spoken
            .filter(|version| named.contains(version))
            .max()
            .ok_or_else(|| {
                let names: Vec<_> = named.iter().take(10).map(ToString::to_string).collect();
                Fault::NoVersion(if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                })
            })
    }

    fn ask<T>(
        &mut self,
        operation: Operation,
        payload: Vec<Item<'_>>,
        read: impl FnOnce(&Item<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.tls.sock.deadline = Instant::now() + self.request_limit;
        self.exchange(operation, payload, Phase::Request, read)
    }

    fn exchange<T>(
        &mut self,
        operation: Operation,
        payload: Vec<Item<'_>>,
        phase: Phase,
        read: impl FnOnce(&Item<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let request = message::request(self.version, self.max_reply, operation, payload)
            .ok_or_else(|| Fault::WrongReply("its request is too long to be sent".to_owned()))?;
        if let Err(error) = self.tls.write_all(&request).and_then(|()| self.tls.flush()) {
            return Err(fault_of(&last_words(&mut self.tls, error), phase));
        }
        let reply = self.read_message(phase)?;
        self.last_used = Instant::now();
        message::read_reply(&reply, self.version, operation, read)
    }

    /// Reads one message. Its length is looked at before memory is taken for it.
    fn read_message(&mut self, phase: Phase) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let fault = |error: io::Error| fault_of(&error, phase);
        let mut head = [0; 8];
        self.tls.read_exact(&mut head).map_err(fault)?;
        let [a, b, c, d, length @ ..] = head;
        if [a, b, c, d] != REPLY_STARTS {
            return Err(Fault::WrongReply(
                "its first bytes are not those of a KMIP reply".to_owned(),
            ));
        }
        let length = u32::from_be_bytes(length);
        let limit = self.max_reply;
        let whole = length.checked_add(8).filter(|whole| *whole <= limit);
        let size = whole
            .and_then(|whole| usize::try_from(whole).ok())
            .ok_or(Fault::TooLarge { length, limit })?;
        // Its final size at once: a buffer that grows leaves copies behind.
        let mut message = Zeroizing::new(vec![0; size]);
        let (start, rest) = message
            .split_first_chunk_mut::<8>()
            .ok_or(Fault::TooLarge { length, limit })?;
        *start = head;
        self.tls.read_exact(rest).map_err(fault)?;
        Ok(message)
    }
}

pub(crate) fn connect(server: &ServerAddress, deadline: Instant) -> Result<TcpStream, Fault> {
    let unreachable = |error: io::Error| Fault::Unreachable(error.to_string());
    let addresses = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(unreachable)?;
    let mut last = Fault::Unreachable("its name has no address".to_owned());
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::TimedOut(Phase::Connect));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                // Requests are small and wait for their reply.
                socket.set_nodelay(true).map_err(unreachable)?;
                return Ok(socket);
            }
            Err(error) if is_timeout(&error) => last = Fault::TimedOut(Phase::Connect),
            Err(error) => last = unreachable(error),
        }
    }
    Err(last)
}

/// Why a server hung up, if it said so before: what it sent can still be read when nothing can be written any more.
fn last_words(tls: &mut StreamOwned<ClientConnection, TimedStream>, error: io::Error) -> io::Error {
    if !matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    ) {
        return error;
    }
    while matches!(tls.conn.read_tls(&mut tls.sock), Ok(1..)) {
        if let Err(reason) = tls.conn.process_new_packets() {
            return io::Error::new(io::ErrorKind::InvalidData, reason);
        }
    }
    error
}

/// What an error of the connection means.
fn fault_of(error: &io::Error, phase: Phase) -> Fault {
    if is_timeout(error) {
        return Fault::TimedOut(phase);
    }
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => Fault::ClientRefused(format!("{alert:?}")),
            _ => Fault::Untrusted(format!(
                "it ended TLS with the alert {alert:?}; it may want other cipher suites or versions of TLS"
            )),
        },
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            Fault::Untrusted(other.0.to_string())
        }
        Some(error) => Fault::Untrusted(error.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Fault::Cut,
        None => Fault::Connection(error.to_string()),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    // A socket's time limit shows as WouldBlock on Linux.
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// A socket on which everything ends at a deadline, not each read for itself: a reply that trickles is late too.
pub(crate) struct TimedStream {
    pub(crate) socket: TcpStream,
    pub(crate) deadline: Instant,
}

impl TimedStream {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for TimedStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
