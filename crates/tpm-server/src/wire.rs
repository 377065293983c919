//! One connection: what arrived and is not used up, when to give up waiting, and whole answers.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connections::Ticket;
use crate::descriptor::read_with_descriptors;
use crate::frame::Inbox;
use crate::linger::Linger;
use crate::stream::Stream;

/// The longest command of any profile.
const LONGEST: usize = 8192;
/// How long a request that has begun may stall, and how long a client may take to read an answer.
const STALL: Duration = Duration::from_secs(10);

/// A connection to a client.
pub(crate) struct Wire {
    stream: Stream,
    inbox: Inbox,
    ticket: Option<Ticket>,
    stop: watch::Receiver<bool>,
    stall: Duration,
    linger: Linger,
}

impl Wire {
    /// A connection that lasts until either end closes it, `stop` turns true, or `ticket` says that it has to make room.
    pub(crate) fn new(stream: Stream, ticket: Option<Ticket>, stop: watch::Receiver<bool>) -> Self {
        Self {
            stream,
            inbox: Inbox::new(LONGEST),
            ticket,
            stop,
            stall: STALL,
            linger: Linger::default(),
        }
    }

    /// What has arrived and is not used up.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.inbox.waiting()
    }

    /// Uses up `count` bytes.
    pub(crate) fn take(&mut self, count: usize) {
        self.inbox.take(count);
    }

    /// Forgets everything that has arrived.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.inbox.clear(&self.stream)
    }

    /// Waits for more bytes. `false` means that the connection is over, without an error; in the middle of a request that is one,
    /// and so is a request that stalls.
    pub(crate) async fn more(&mut self) -> io::Result<bool> {
        let begun = !self.inbox.waiting().is_empty();
        if begun {
            self.stream.acknowledge_at_once();
        }
        let Self {
            stream,
            inbox,
            ticket,
            stop,
            stall,
            linger,
        } = self;
        if !begun {
            if linger.owes_a_turn() {
                let turn = async {
                    tokio::task::yield_now().await;
                    Ok(0)
                };
                if unless_over(turn, ticket.as_ref(), stop).await?.is_none() {
                    return Ok(false);
                }
            }
            if let Some(count) = linger.look(stream, inbox.room()) {
                return self.arrived(Some(count?), begun);
            }
        }
        let reading = async {
            let reading = stream.read(inbox.room());
            if begun {
                timeout(*stall, reading).await?
            } else {
                reading.await
            }
        };
        let count = unless_over(reading, ticket.as_ref(), stop).await?;
        linger.arrived();
        self.arrived(count, begun)
    }

    /// As [`Wire::more`], with the descriptors that come along; it is the caller who watches the time.
    pub(crate) async fn more_with_descriptors(
        &mut self,
        descriptors: &mut Vec<OwnedFd>,
    ) -> io::Result<bool> {
        let begun = !self.inbox.waiting().is_empty();
        let Self {
            stream,
            inbox,
            ticket,
            stop,
            ..
        } = self;
        let reading = read_with_descriptors(stream, inbox.room(), descriptors);
        let count = unless_over(reading, ticket.as_ref(), stop).await?;
        self.arrived(count, begun)
    }

    fn arrived(&mut self, count: Option<usize>, begun: bool) -> io::Result<bool> {
        match count {
            Some(0) if begun => Err(io::ErrorKind::UnexpectedEof.into()),
            None | Some(0) => Ok(false),
            Some(count) => {
                self.inbox.arrived(count);
                if let Some(ticket) = &self.ticket {
                    ticket.touch();
                }
                Ok(true)
            }
        }
    }

    /// Sends a whole answer; in one piece, unless the client does not read.
    pub(crate) async fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        self.send_before((), answer).await
    }

    /// The same, and drops `after` as soon as the client has its answer or has to be waited for: what that takes, it need not wait for.
    pub(crate) async fn send_before<A>(&mut self, after: A, answer: &[u8]) -> io::Result<()> {
        let sent = self.stream.send_now(answer);
        drop(after);
        let rest = answer.get(sent?..).unwrap_or_default();
        if !rest.is_empty() {
            timeout(STALL, self.stream.write_all(rest)).await??;
        }
        self.linger.answered();
        Ok(())
    }

    /// Tells the peer that nothing more will come, even if another process still holds the socket.
    pub(crate) async fn close(mut self) {
        // A peer that is gone already needs no telling.
        let _ = timeout(STALL, self.stream.shutdown()).await;
    }
}

/// What `reading` gives, or `None` if the connection has to end before.
async fn unless_over(
    reading: impl Future<Output = io::Result<usize>>,
    ticket: Option<&Ticket>,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<Option<usize>> {
    let evicted = async {
        match ticket {
            Some(ticket) => ticket.evicted().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stopped(stop) => Ok(None),
        () = evicted => Ok(None),
        outcome = reading => outcome.map(Some),
    }
}

/// Ready once `stop` is true, or nobody is left who could make it so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
