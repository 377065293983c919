//! One type for the sockets of either kind.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::gate::Gate;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Takes a descriptor that already listens, such as one that a service manager passed.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(match domain(&descriptor)? {
            Domain::Unix => {
                let listener = std::os::unix::net::UnixListener::from(descriptor);
                listener.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(listener)?)
            }
            Domain::Internet => {
                let listener = std::net::TcpListener::from(descriptor);
                listener.set_nonblocking(true)?;
                Self::Tcp(TcpListener::from_std(listener)?)
            }
        })
    }

    /// Waits for the next client.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Each answer is one small write: waiting for more to send would only delay it.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// A connected socket, or a device.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket; only these can carry descriptors.
    Unix(UnixStream),
    /// A character device that gives a command with each read and takes a response with each write.
    Device(Device),
}

/// A character device, from both its sides. To the runtime these are those of a pipe: read and written, and nothing else.
#[derive(Debug)]
pub struct Device {
    reader: pipe::Receiver,
    writer: pipe::Sender,
}

impl Stream {
    /// Takes an open character device.
    pub fn from_device(device: File) -> io::Result<Self> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        fcntl_setfl(&device, fcntl_getfl(&device)? | OFlags::NONBLOCK)?;
        Ok(Self::Device(Device {
            reader: pipe::Receiver::from_file_unchecked(device.try_clone()?)?,
            writer: pipe::Sender::from_file_unchecked(device)?,
        }))
    }

    /// Takes a connected stream socket that somebody else opened.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(match domain(&descriptor)? {
            Domain::Unix => {
                let stream = std::os::unix::net::UnixStream::from(descriptor);
                stream.set_nonblocking(true)?;
                Self::Unix(UnixStream::from_std(stream)?)
            }
            Domain::Internet => {
                let stream = std::net::TcpStream::from(descriptor);
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Self::Tcp(TcpStream::from_std(stream)?)
            }
        })
    }

    /// Acknowledges what has arrived without the usual delay. A client with Nagle's algorithm that writes a request in two
    /// pieces sends the second one only then.
    pub(crate) fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self {
            // Where the option fails the client waits; nothing else depends on it.
            let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
        }
    }

    /// Reads what has arrived without waiting, asked of the system itself: the runtime may not have noticed yet. `None` if nothing has, and
    /// for a device.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        use rustix::io::Errno;
        use rustix::net::{RecvFlags, recv};
        let outcome = match self {
            Self::Tcp(stream) => recv(stream, buffer, RecvFlags::DONTWAIT),
            Self::Unix(stream) => recv(stream, buffer, RecvFlags::DONTWAIT),
            Self::Device(_) => return Ok(None),
        };
        match outcome {
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends as much as can be sent without waiting, and says how much that is; to a device nothing, as it takes whole answers.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Device(_) => return Ok(0),
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            outcome => outcome,
        }
    }

    /// Reads what has arrived without waiting: `None` if nothing has.
    pub(crate) fn read_arrived(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let outcome = match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
            Self::Device(device) => device.reader.try_read(buffer),
        };
        match outcome {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What to do when `accept` fails: a client that left early is nothing, and a lack of descriptors passes.
pub(crate) async fn after_failed_accept(error: &io::Error, gate: &Gate) {
    let harmless = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !harmless {
        if gate.opens() {
            tracing::error!(%error, "no client can connect at present");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

enum Domain {
    Unix,
    Internet,
}

fn domain(descriptor: &OwnedFd) -> io::Result<Domain> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    if sockopt::socket_type(descriptor)? != SocketType::STREAM {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a stream socket",
        ));
    }
    match sockopt::socket_domain(descriptor)? {
        AddressFamily::UNIX => Ok(Domain::Unix),
        AddressFamily::INET | AddressFamily::INET6 => Ok(Domain::Internet),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("sockets of family {} are not served", other.as_raw()),
        )),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Device(device) => Pin::new(&mut device.reader).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Device(device) => Pin::new(&mut device.writer).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Device(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Device(_) => Poll::Ready(Ok(())),
        }
    }
}
