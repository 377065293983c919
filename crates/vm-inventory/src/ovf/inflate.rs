//! Compressed files of packages (gzip), as they go by: counted, and never much of one in memory.

use flate2::write::MultiGzDecoder;
use std::io::{self, Write as _};

/// Compressed bytes at once. Each becomes at most about a thousand.
const BITE: usize = 4096;

/// One compressed file on its way.
pub(super) struct Inflating {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Bytes that may still come of it.
    left: u64,
}

/// Why a compressed file goes no further.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It is no gzip, or damaged.
    Damaged(io::Error),
    /// More comes of it than is allowed.
    TooMuch,
    /// What comes of it is not taken.
    NotTaken(io::Error),
}

/// What takes the bytes.
type Taker<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

impl Inflating {
    /// A file of which at most so many bytes may come.
    pub(super) fn new(most: u64) -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            left: most,
        }
    }

    /// More of the file.
    pub(super) fn push(&mut self, bytes: &[u8], take: Taker<'_>) -> Result<(), Stopped> {
        for bite in bytes.chunks(BITE) {
            self.decoder.write_all(bite).map_err(Stopped::Damaged)?;
            self.hand_on(take)?;
        }
        Ok(())
    }

    /// The end of the file: its length and its checksum are right, or it is damaged.
    pub(super) fn finish(mut self, take: Taker<'_>) -> Result<(), Stopped> {
        self.decoder.try_finish().map_err(Stopped::Damaged)?;
        self.hand_on(take)
    }

    fn hand_on(&mut self, take: Taker<'_>) -> Result<(), Stopped> {
        let out = self.decoder.get_mut();
        self.left = self
            .left
            .checked_sub(out.len() as u64)
            .ok_or(Stopped::TooMuch)?;
        if !out.is_empty() {
            take(out).map_err(Stopped::NotTaken)?;
            out.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflated(bytes: &[u8], most: u64) -> Result<Vec<u8>, Stopped> {
        let mut out = Vec::new();
        let mut take = |part: &[u8]| {
            out.extend_from_slice(part);
            Ok(())
        };
        let mut inflating = Inflating::new(most);
        // In pieces that nobody has chosen.
        for piece in bytes.chunks(7) {
            inflating.push(piece, &mut take)?;
        }
        inflating.finish(&mut take)?;
        Ok(out)
    }

    #[test]
    fn what_was_compressed_comes_out_also_if_it_is_several_members() {
        let text = b"disk".repeat(10_000);
        assert_eq!(inflated(&gzip(&text), 40_000).unwrap(), text);
        let two = [gzip(&text), gzip(b"more")].concat();
        assert_eq!(
            inflated(&two, 50_000).unwrap(),
            [&text[..], b"more"].concat()
        );
    }

    #[test]
    fn a_bomb_stops_and_what_is_cut_or_changed_is_damaged() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(
            inflated(&bomb, (10 << 20) - 1),
            Err(Stopped::TooMuch)
        ));
        let whole = gzip(b"a disk with something on it");
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap();
            assert!(
                matches!(inflated(cut, 1000), Err(Stopped::Damaged(_))),
                "{length}"
            );
        }
        // The checksum and the length at the end.
        for place in whole.len() - 8..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(matches!(inflated(&changed, 1000), Err(Stopped::Damaged(_))));
        }
        let long = [&whole[..], b"something else"].concat();
        assert!(matches!(inflated(&long, 1000), Err(Stopped::Damaged(_))));
    }
}
