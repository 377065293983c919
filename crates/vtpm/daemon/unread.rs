//! Clients that still send when their answer is ready: an answer that nobody can read is none.
//!
//! A socket that is closed while bytes wait in it resets the connection, and the reset can overtake the answer. So a short rest of a
//! request is read before the answer goes, which also keeps the connection; with a long one the answer goes first, and what follows is
//! read and dropped for a while before the connection is closed ("lingering close", RFC 9112, 9.6).

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tower::ServiceExt as _;

/// The rest of a request that is read before its answer goes, in bytes and in time.
const SHORT: usize = 256 * 1024;
const SHORT_TIME: Duration = Duration::from_secs(1);
/// How long a connection that is to be closed is read from: a gigabyte takes about this.
const LINGER: Duration = Duration::from_secs(10);
const CHUNK: usize = 16 * 1024;

/// Answers a request. What of it is left then is read, or noted in `unread`, and the connection ends with the answer.
pub(super) async fn answer(
    router: Router,
    request: Request<Incoming>,
    unread: &AtomicBool,
) -> Result<Response, Infallible> {
    // Such a client sends its body when told to, which the first look at the body does.
    let waits = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let rest = Shared(Arc::new(Mutex::new(Looked { body, at: false })));
    let request = Request::from_parts(head, Body::new(Shared(Arc::clone(&rest.0))));
    let mut response = router.oneshot(request).await?;
    // Somebody may still read it.
    let Some(looked) = Arc::into_inner(rest.0) else {
        return Ok(response);
    };
    let looked = looked.into_inner().unwrap_or_else(PoisonError::into_inner);
    if looked.body.is_end_stream() || (waits && !looked.at) {
        return Ok(response);
    }
    if !timeout(SHORT_TIME, ends_within(looked.body, SHORT))
        .await
        .unwrap_or(false)
    {
        unread.store(true, Ordering::Relaxed);
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Reads a body to its end; false if that is further away than `most` bytes, or the client is gone.
async fn ends_within(mut body: Incoming, most: usize) -> bool {
    let mut left = most;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return false;
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return false,
        }
    }
    true
}

/// The body of a request, which comes back when the request is answered.
struct Shared(Arc<Mutex<Looked>>);

struct Looked {
    body: Incoming,
    /// Whether somebody asked for it.
    at: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Looked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut looked = self.lock();
        looked.at = true;
        Pin::new(&mut looked.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

/// A connection that is read from for a while after its end was sent, if a request was left [unread](answer).
pub(super) struct Lingering<S> {
    stream: S,
    unread: Arc<AtomicBool>,
    ended: bool,
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, unread: Arc<AtomicBool>) -> Self {
        Self {
            stream,
            unread,
            ended: false,
            until: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.ended = true;
        }
        if !self.unread.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let until = this.until.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut chunk = [0; CHUNK];
        loop {
            let mut into = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut into));
            // Whoever is gone has read what it wanted.
            if read.is_err() || into.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::routing::post;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// A client of a server that refuses every request without a look at its body.
    async fn refused() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(|| async { StatusCode::FORBIDDEN }));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let unread = Arc::new(AtomicBool::new(false));
            let stream = TokioIo::new(Lingering::new(stream, Arc::clone(&unread)));
            let service = service_fn(move |request| {
                let (router, unread) = (router.clone(), Arc::clone(&unread));
                async move { answer(router, request, &unread).await }
            });
            http1::Builder::new()
                .serve_connection(stream, service)
                .await
        });
        TcpStream::connect(address).await.unwrap()
    }

    fn head(length: usize, more: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n{more}\r\n")
    }

    /// The head of an answer that has no body.
    async fn answered(client: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_short_body_that_comes_late_does_not_end_the_connection() {
        let mut client = refused().await;
        for _ in 0..3 {
            client.write_all(head(5, "").as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(b"hello").await.unwrap();
            let answer = answered(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_sends_everything_before_it_reads_gets_the_answer() {
        // More than sockets hold, and little enough for the slowest machine to read while the connection lingers.
        const LENGTH: usize = 16 << 20;
        let mut client = refused().await;
        client.write_all(head(LENGTH, "").as_bytes()).await.unwrap();
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..LENGTH / chunk.len() {
            client.write_all(&chunk).await.unwrap();
        }
        let answer = answered(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_waits_to_be_told_to_send_is_not_told() {
        let mut client = refused().await;
        let wait = head(1 << 40, "Expect: 100-continue\r\n");
        client.write_all(wait.as_bytes()).await.unwrap();
        let answer = answered(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
