//! Receiving descriptors over a unix socket (`SCM_RIGHTS`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncReadExt, Interest};

use crate::stream::Stream;

/// How many descriptors one message may bring; the kernel drops what does not fit.
const MOST: usize = 4;

/// Reads into `buffer`, and appends to `descriptors` those that came with the bytes. None stays open unless it is kept there.
pub(crate) async fn read_with_descriptors(
    stream: &mut Stream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let stream = match stream {
        Stream::Unix(stream) => stream,
        other => return other.read(buffer).await,
    };
    stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let message = loop {
                let outcome = recvmsg(
                    &*stream,
                    &mut [io::IoSliceMut::new(buffer)],
                    &mut ancillary,
                    RecvFlags::CMSG_CLOEXEC,
                );
                match outcome {
                    Err(Errno::INTR) => {}
                    other => break other?,
                }
            };
            for received in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = received {
                    let room = MOST.saturating_sub(descriptors.len());
                    descriptors.extend(received.take(room));
                }
            }
            Ok(message.bytes)
        })
        .await
}
