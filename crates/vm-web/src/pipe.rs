//! Bytes between a thread that may block and a connection that must not: bodies of any length, a few pieces in memory.

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces on their way at a time.
const PIECES: usize = 8;
/// Largest piece of what is written.
const PIECE: usize = 256 * 1024;

type Piece = io::Result<Bytes>;

/// A writer that blocks, and the body that it fills, of that length.
#[must_use]
pub fn into_body(length: u64) -> (PipeWriter, PipeBody) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let body = PipeBody {
        receiver,
        left: length,
    };
    (PipeWriter { sender }, body)
}

/// A sender of pieces, and the reader that blocks for them.
#[must_use]
pub fn from_body() -> (mpsc::Sender<Piece>, PipeReader) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let reader = PipeReader {
        receiver,
        piece: Bytes::new(),
    };
    (sender, reader)
}

/// Fills a body from a thread that may block.
pub struct PipeWriter {
    sender: mpsc::Sender<Piece>,
}

impl PipeWriter {
    /// Breaks the body off: who receives it sees that it is not whole.
    pub fn fail(self, error: io::Error) {
        // Nobody listens any more: then there is nobody to tell.
        let _ = self.sender.blocking_send(Err(error));
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        let sent = Bytes::copy_from_slice(piece);
        match self.sender.blocking_send(Ok(sent)) {
            Ok(()) => Ok(piece.len()),
            Err(_gone) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that a thread fills.
pub struct PipeBody {
    receiver: mpsc::Receiver<Piece>,
    left: u64,
}

impl HttpBody for PipeBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(piece) = self.receiver.poll_recv(context) else {
            return Poll::Pending;
        };
        Poll::Ready(match piece {
            Some(Ok(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => Some(Err(error)),
            None if self.left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads what a connection receives, on a thread that may block.
pub struct PipeReader {
    receiver: mpsc::Receiver<Piece>,
    piece: Bytes,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        let part = self.piece.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&part);
        }
        Ok(count)
    }
}
