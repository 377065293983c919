//! Bytes that are read from their beginning; every length is checked against what is there.

use tpm_wire::codec::{Input, Limits, Parse};

use super::ImportError;

/// What is left of a state.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The part of the state that is being read, for errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// What is read from now on is called so.
    pub(super) fn enter(&mut self, what: &'static str) {
        self.what = what;
    }

    /// The error for bytes that make no sense.
    pub(super) fn damaged(&self) -> ImportError {
        ImportError::Damaged(self.what)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ImportError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| self.damaged())?;
        self.bytes = rest;
        Ok(taken)
    }

    /// What is left, without taking it.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.damaged())
    }

    pub(super) fn byte(&mut self) -> Result<u8, ImportError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn flag(&mut self) -> Result<bool, ImportError> {
        self.byte().map(|byte| byte != 0)
    }

    pub(super) fn short(&mut self) -> Result<u16, ImportError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn word(&mut self) -> Result<u32, ImportError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, ImportError> {
        self.array().map(u64::from_be_bytes)
    }

    /// As many bytes as a length of 16 bits in front of them says.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], ImportError> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    /// A structure of the TPM library.
    pub(super) fn parse<T: Parse>(&mut self) -> Result<T, ImportError> {
        let (rest, value) =
            T::parse(Input::new(self.bytes, &Limits::ALL)).map_err(|_| self.damaged())?;
        let left = rest.bytes().len();
        let used = self
            .bytes
            .len()
            .checked_sub(left)
            .ok_or_else(|| self.damaged())?;
        self.take(used)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpm_wire::buffers::Tpm2bDigest;

    #[test]
    fn numbers_are_big_endian_and_nothing_is_read_past_the_end() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 0, 2, 8, 9, 0, 1, 7, 5], "part");
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.short(), Ok(2));
        assert_eq!(reader.word(), Ok(3));
        assert_eq!(reader.sized(), Ok(&[8, 9][..]));
        assert_eq!(
            reader.parse::<Tpm2bDigest>().map(|digest| digest.to_vec()),
            Ok(vec![7])
        );
        assert_eq!(reader.long(), Err(ImportError::Damaged("part")));
        assert_eq!(reader.rest(), [5]);
        assert_eq!(reader.byte(), Ok(5));
        assert!(reader.is_empty());
    }
}
