//! Cutting TPM commands out of a byte stream, and the answers that need no TPM.

use std::io;

use zeroize::Zeroizing;

use crate::stream::Stream;

/// Tag, size and code: the least that a command or response can be.
const HEADER: usize = 10;
/// The optional header of the TCG protocol in front of a command: code, locality, size.
const PREFIX: usize = 9;
/// The code in that header.
const SEND_COMMAND: u32 = 8;
const TAG_NO_SESSIONS: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;

/// Response codes that the server itself gives.
pub(crate) mod rc {
    pub(crate) const SUCCESS: u32 = 0;
    pub(crate) const FAILURE: u32 = 0x101;
    pub(crate) const COMMAND_SIZE: u32 = 0x142;
    pub(crate) const INSUFFICIENT: u32 = 0x9a;
    pub(crate) const LOCALITY: u32 = 0x907;
    pub(crate) const NV_UNAVAILABLE: u32 = 0x923;
    pub(crate) const INITIALIZE: u32 = 0x100;
}

/// A response that consists of its header.
pub(crate) fn bare_response(code: u32) -> [u8; HEADER] {
    let mut response = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0];
    for (to, from) in response.iter_mut().skip(6).zip(code.to_be_bytes()) {
        *to = from;
    }
    response
}

/// The response code in a response.
pub(crate) fn response_code(response: &[u8]) -> Option<u32> {
    word(response, 6)
}

/// The command code in a command.
pub(crate) fn command_code(command: &[u8]) -> Option<u32> {
    word(command, 6)
}

/// The big-endian word at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    bytes.get(at..end)?.try_into().ok().map(u32::from_be_bytes)
}

/// What stands at the start of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A whole command; `taken` bytes of the stream belong to it.
    Command {
        command: &'a [u8],
        locality: Option<u8>,
        taken: usize,
    },
    /// A size that no command can have: where the next command starts cannot be known.
    Broken { size: u32 },
}

/// Cuts the first command off `bytes`; none is longer than `longest`.
pub(crate) fn cut(bytes: &[u8], longest: usize) -> Cut<'_> {
    let Some(first) = word(bytes, 0) else {
        return Cut::Incomplete;
    };
    let is_command = [TAG_NO_SESSIONS, TAG_SESSIONS]
        .iter()
        .any(|tag| u32::from(*tag) == first >> 16);
    if !is_command && first == SEND_COMMAND {
        return cut_prefixed(bytes, longest);
    }
    let Some(size) = word(bytes, 2) else {
        return Cut::Incomplete;
    };
    match usize::try_from(size) {
        Ok(taken) if (HEADER..=longest).contains(&taken) => match bytes.get(..taken) {
            Some(command) => Cut::Command {
                command,
                locality: None,
                taken,
            },
            None => Cut::Incomplete,
        },
        _ => Cut::Broken { size },
    }
}

fn cut_prefixed(bytes: &[u8], longest: usize) -> Cut<'_> {
    let (Some(locality), Some(size)) = (bytes.get(4), word(bytes, 5)) else {
        return Cut::Incomplete;
    };
    match usize::try_from(size) {
        Ok(length) if length <= longest => {
            let taken = PREFIX.saturating_add(length);
            match bytes.get(PREFIX..taken) {
                Some(command) => Cut::Command {
                    command,
                    locality: Some(*locality),
                    taken,
                },
                None => Cut::Incomplete,
            }
        }
        _ => Cut::Broken { size },
    }
}

/// The bytes that arrived on one connection and are not used up yet. Their number is bounded.
pub(crate) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// An inbox for commands of up to `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            bytes: Zeroizing::new(vec![0; longest.saturating_add(PREFIX)]),
            start: 0,
            end: 0,
        }
    }

    /// What has arrived and is not used up.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Uses up `count` bytes.
    pub(crate) fn take(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Forgets all that has arrived, also what the socket still holds.
    pub(crate) fn clear(&mut self, stream: &Stream) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        while let Some(1..) = stream.read_arrived(&mut self.bytes)? {}
        Ok(())
    }

    /// Room for more bytes, of which [`Inbox::arrived`] says how many were written.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that `count` bytes were written to the room.
    pub(crate) fn arrived(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];

    #[test]
    fn a_whole_command_is_cut_and_the_rest_stays() {
        let mut bytes = GET_RANDOM.to_vec();
        bytes.extend(GET_RANDOM);
        assert_eq!(
            cut(&bytes, 4096),
            Cut::Command {
                command: &GET_RANDOM,
                locality: None,
                taken: 12
            }
        );
    }

    #[test]
    fn every_proper_prefix_is_incomplete() {
        for length in 0..GET_RANDOM.len() {
            assert_eq!(
                cut(&GET_RANDOM[..length], 4096),
                Cut::Incomplete,
                "{length}"
            );
        }
    }

    #[test]
    fn sizes_that_no_command_has_break_the_stream() {
        for size in [0_u32, 5, 9, 4097, 0x8000_0000, u32::MAX] {
            let mut bytes = GET_RANDOM;
            bytes[2..6].copy_from_slice(&size.to_be_bytes());
            assert_eq!(cut(&bytes, 4096), Cut::Broken { size });
            assert_eq!(
                cut(&bytes[..6], 4096),
                Cut::Broken { size },
                "known as soon as the size is"
            );
        }
    }

    #[test]
    fn a_foreign_tag_is_left_to_the_tpm() {
        let bytes = [0, 0xc1, 0, 0, 0, 10, 0, 0, 0, 0x50];
        assert_eq!(
            cut(&bytes, 4096),
            Cut::Command {
                command: &bytes,
                locality: None,
                taken: 10
            }
        );
    }

    #[test]
    fn the_tcg_header_gives_locality_and_size() {
        let mut bytes = vec![0, 0, 0, 8, 3, 0, 0, 0, 12];
        bytes.extend(GET_RANDOM);
        assert_eq!(
            cut(&bytes, 4096),
            Cut::Command {
                command: &GET_RANDOM,
                locality: Some(3),
                taken: 21
            }
        );
        for length in 0..bytes.len() {
            assert_eq!(cut(&bytes[..length], 4096), Cut::Incomplete, "{length}");
        }
        bytes[5..9].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(cut(&bytes, 4096), Cut::Broken { size: u32::MAX });
    }

    #[test]
    fn bare_responses_are_well_formed() {
        assert_eq!(
            bare_response(rc::FAILURE),
            [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]
        );
        assert_eq!(
            response_code(&bare_response(rc::NV_UNAVAILABLE)),
            Some(rc::NV_UNAVAILABLE)
        );
    }
}
