//! Answers that go on as long as there is something to say.

use axum::body::Bytes;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::Receiver;

/// A body of texts that are sent as they come.
pub struct Texts {
    head: Option<String>,
    texts: Receiver<String>,
}

impl Texts {
    /// First `head`, then what is received; it ends when nobody can send any more.
    #[must_use]
    pub fn new(head: Option<String>, texts: Receiver<String>) -> Self {
        Self { head, texts }
    }
}

impl hyper::body::Body for Texts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = match self.head.take() {
            Some(head) => Poll::Ready(Some(head)),
            None => self.texts.poll_recv(context),
        };
        text.map(|text| text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}
