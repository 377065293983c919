//! HTTP for everybody, over TLS but for what is public: how many connections there are, and how long they may take. And for the
//! owner, at a private socket.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::unread::{Lingering, answer};

/// Connections at once. One more takes the place of the one that was idle longest; if none is idle, it is closed.
const CONNECTIONS: usize = 512;
/// TLS handshake, and the first request after it: whoever is slower is not there to ask anything.
const FIRST: Duration = Duration::from_secs(15);
/// Clients of vCenter keep a connection for 15 minutes before they take it for closed.
const IDLE: Duration = Duration::from_secs(16 * 60);
/// The head of a request.
const LARGEST_HEAD: usize = 64 * 1024;

/// Serves `router` until `stop` says so; then ends every connection after the request that it is at. Without an acceptor everybody on the
/// way reads along: for what is signed and meant for all.
pub(crate) async fn serve_http(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let seats = Seats::default();
    let ending = stop.clone();
    let serve = |stream| {
        let Some(seat) = seats.take() else {
            tracing::warn!("{CONNECTIONS} connections are at work; another one was closed");
            return None;
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        Some(serve_one(stream, acceptor, router, seat, ending.clone()))
    };
    serve_each(listener, serve, stop).await;
}

/// Serves the owner at a private socket until `stop` says so; then ends every connection after the request that it is at.
pub(crate) async fn serve_owner(
    listener: UnixListener,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let ending = stop.clone();
    let serve = |stream| Some(serve_stream(stream, router.clone(), None, ending.clone()));
    serve_each(listener, serve, stop).await;
}

/// Lets `serve` have every connection until `stop` says so; then waits for those that are still there.
async fn serve_each<L: Listener, F>(
    mut listener: L,
    mut serve: impl FnMut(L::Io) -> Option<F>,
    mut stop: watch::Receiver<bool>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // Errors of the operating system, such as too many open files, are logged there, and waited out.
        let (stream, _peer) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        // Those that have ended.
        while connections.try_join_next().is_some() {}
        if let Some(connection) = serve(stream) {
            connections.spawn(connection);
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_one(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    seat: Seat,
    stop: watch::Receiver<bool>,
) {
    // Answers are written whole.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return serve_stream(stream, router, Some(seat), stop).await;
    };
    match timeout(FIRST, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve_stream(stream, router, Some(seat), stop).await,
        _ => tracing::debug!("a client did not complete its handshake"),
    }
}

/// Serves one connection. One without a seat, which is the owner's, keeps its place for as long as it likes.
async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    seat: Option<Seat>,
    mut stop: watch::Receiver<bool>,
) {
    let place = match &seat {
        Some(seat) => Arc::clone(&seat.place),
        None => Arc::default(),
    };
    let unread = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (place, unread) = (Arc::clone(&place), Arc::clone(&unread));
        move |request: Request<Incoming>| {
            place.begin();
            let (place, unread) = (Arc::clone(&place), Arc::clone(&unread));
            let router = router.clone();
            async move {
                let answer = answer(router, request, &unread).await;
                place.end();
                answer
            }
        }
    });
    let stream = TokioIo::new(Lingering::new(stream, unread));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LARGEST_HEAD);
    if seat.is_some() {
        builder.timer(TokioTimer::new()).header_read_timeout(IDLE);
    }
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut first = pin!(sleep(FIRST));
    let (mut waiting, mut stopping) = (seat.is_some(), false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("a connection broke off: {error}");
                }
                return;
            }
            () = place.evicted.notified() => return,
            () = first.as_mut(), if waiting => {
                waiting = false;
                if !place.asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The connections that there are.
#[derive(Clone, Default)]
struct Seats(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    next: u64,
    places: BTreeMap<u64, Arc<Place>>,
}

/// One connection.
#[derive(Default)]
struct Place {
    /// Since when it has been idle; `None` while it is at a request.
    idle: Mutex<Option<Instant>>,
    /// Whether there was a request.
    asked: AtomicBool,
    /// It has to make room.
    evicted: Notify,
}

impl Place {
    fn begin(&self) {
        self.asked.store(true, Ordering::Relaxed);
        *lock(&self.idle) = None;
    }

    fn end(&self) {
        *lock(&self.idle) = Some(Instant::now());
    }
}

/// A connection's place, free again when dropped.
struct Seat {
    seats: Seats,
    number: u64,
    place: Arc<Place>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats.0).places.remove(&self.number);
    }
}

impl Seats {
    /// A place for one more, which may be that of the connection that was idle longest.
    fn take(&self) -> Option<Seat> {
        let mut taken = lock(&self.0);
        if taken.places.len() >= CONNECTIONS {
            let idle = taken
                .places
                .iter()
                .filter_map(|(number, place)| Some(((*lock(&place.idle))?, *number)))
                .min();
            let (_, number) = idle?;
            if let Some(place) = taken.places.remove(&number) {
                place.evicted.notify_one();
            }
        }
        taken.next += 1;
        let number = taken.next;
        let place = Arc::new(Place {
            idle: Mutex::new(Some(Instant::now())),
            ..Place::default()
        });
        taken.places.insert(number, Arc::clone(&place));
        Some(Seat {
            seats: self.clone(),
            number,
            place,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn the_owner_who_sends_everything_before_reading_gets_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let refuse = axum::routing::post(|| async { axum::http::StatusCode::FORBIDDEN });
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(serve_owner(
            listener,
            Router::new().route("/", refuse),
            stopping,
        ));
        let mut client = UnixStream::connect(&socket).await.unwrap();
        let body = vec![b'x'; 4 << 20];
        let head = format!(
            "POST / HTTP/1.1\r\nHost: vtpm\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        drop(client);
        stop.send(true).unwrap();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn one_connection_too_many_takes_the_place_of_the_one_that_was_idle_longest() {
        let seats = Seats::default();
        let all: Vec<Seat> = (0..CONNECTIONS).map(|_| seats.take().unwrap()).collect();
        all[0].place.begin();
        let more = seats.take().unwrap();
        // The first is at a request, so the second had to go.
        all[1].place.evicted.notified().await;
        drop(all);
        assert_eq!(lock(&seats.0).places.len(), 1);
        drop(more);
        assert!(lock(&seats.0).places.is_empty());

        let all: Vec<Seat> = (0..CONNECTIONS).map(|_| seats.take().unwrap()).collect();
        for seat in &all {
            seat.place.begin();
        }
        assert!(seats.take().is_none());
        all[7].place.end();
        assert!(seats.take().is_some());
    }
}
