//! A key service at a socket: a thread for each of a few connections.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;

use crate::protocol::{self, Answer, MessageFault, Refusal, RefusalKind, Request};
use crate::service::Service;
use crate::transport::{Socket, Stream};

/// Connections at a time; further ones are closed at once.
const MOST_CONNECTIONS: usize = 64;
/// For how long a connection may say nothing, or take for one message.
const PATIENCE: Duration = Duration::from_secs(15);

/// A service that listens.
pub struct Server {
    service: Arc<Service>,
    tls: Option<Arc<ServerConfig>>,
    open: Arc<AtomicUsize>,
}

/// A connection that counts.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Server {
    /// The service behind TLS, if a configuration is given.
    #[must_use]
    pub fn new(service: Arc<Service>, tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            service,
            tls,
            open: Arc::default(),
        }
    }

    /// Serves a unix socket for as long as it can be listened at.
    ///
    /// # Errors
    /// When no connection can be taken any more.
    pub fn serve_unix(&self, listener: &UnixListener) -> io::Result<()> {
        loop {
            let (socket, _) = listener.accept()?;
            self.take(Socket::Unix(socket), false);
        }
    }

    /// Serves a TCP port for as long as it can be listened at.
    ///
    /// # Errors
    /// When no connection can be taken any more.
    pub fn serve_tcp(&self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let (socket, _) = listener.accept()?;
            let _ = socket.set_nodelay(true);
            self.take(Socket::Tcp(socket), true);
        }
    }

    fn take(&self, socket: Socket, tls: bool) {
        if self.open.fetch_add(1, Ordering::AcqRel) >= MOST_CONNECTIONS {
            self.open.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("a connection was closed: {MOST_CONNECTIONS} are open");
            return;
        }
        let counted = Counted(Arc::clone(&self.open));
        let service = Arc::clone(&self.service);
        let tls = self.tls.clone().filter(|_| tls);
        let started = std::thread::Builder::new()
            .name("key service".to_owned())
            .spawn(move || {
                let _counted = counted;
                match Stream::accept(socket, tls.as_ref(), PATIENCE) {
                    Ok(mut stream) => converse(&service, &mut stream),
                    Err(error) => tracing::info!("a connection was not taken: {error}"),
                }
            });
        if let Err(error) = started {
            tracing::warn!("a connection was closed: {error}");
        }
    }
}

fn converse(service: &Service, stream: &mut Stream) {
    loop {
        stream.allow(PATIENCE);
        let answer = match protocol::read::<Request>(stream) {
            Ok(request) => service.answer(request, SystemTime::now()),
            Err(MessageFault::Ended) => return,
            Err(fault) => {
                tracing::info!("a request was not understood: {fault}");
                let refusal = Refusal {
                    kind: RefusalKind::BadRequest,
                    reason: fault.to_string(),
                };
                stream.allow(PATIENCE);
                let _ = protocol::write(stream, &Answer::Refused(refusal));
                return;
            }
        };
        stream.allow(PATIENCE);
        if let Err(fault) = protocol::write(stream, &answer) {
            tracing::info!("an answer did not arrive: {fault}");
            return;
        }
    }
}
