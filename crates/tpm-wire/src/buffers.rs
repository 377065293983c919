//! Sized buffers, the TPM2B types (Part 2, 10.4 and the clauses of what they hold).

use crate::codec::{Input, Limits, Marshal, Parse, Parsed, refuse, response_code, take};
use crate::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;
use zeroize::Zeroize;

/// A sized buffer of at most `MAX` bytes that lives where it is declared, without allocation.
///
/// The bytes are wiped on drop. With `SECRET` the text form shows the length alone.
pub struct Small<const MAX: usize, const SECRET: bool = false> {
    length: u16,
    bytes: [u8; MAX],
}

/// A sized buffer of at most `MAX` bytes on the heap, wiped on drop. With `SECRET` the text form shows the length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Large<const MAX: usize, const SECRET: bool = false>(Vec<u8>);

impl<const MAX: usize, const SECRET: bool> Small<MAX, SECRET> {
    /// The empty buffer.
    pub const EMPTY: Self = Self {
        length: 0,
        bytes: [0; MAX],
    };

    /// A buffer holding `bytes`; `None` if they are too many.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut buffer = Self::EMPTY;
        buffer.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        buffer.length = u16::try_from(bytes.len()).ok()?;
        Some(buffer)
    }

    /// A buffer of `length` zero bytes, at most `MAX`.
    #[must_use]
    pub fn zeros(length: usize) -> Self {
        let mut buffer = Self::EMPTY;
        buffer.length = u16::try_from(length.min(MAX)).unwrap_or(u16::MAX);
        buffer
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Shortens the buffer to `length` bytes and wipes the rest.
    pub fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.as_mut_slice().get_mut(length..) {
            rest.zeroize();
            self.length = u16::try_from(length).unwrap_or(self.length);
        }
    }

    /// The bytes without trailing zero bytes, as authorization values are compared (Part 1, 19.6.4.3).
    #[must_use]
    pub fn without_trailing_zeros(&self) -> &[u8] {
        let end = self
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        self.get(..end).unwrap_or_default()
    }
}

impl<const MAX: usize, const SECRET: bool> Deref for Small<MAX, SECRET> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

impl<const MAX: usize, const SECRET: bool> Default for Small<MAX, SECRET> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const MAX: usize, const SECRET: bool> Clone for Small<MAX, SECRET> {
    fn clone(&self) -> Self {
        Self {
            length: self.length,
            bytes: self.bytes,
        }
    }
}

impl<const MAX: usize, const SECRET: bool> PartialEq for Small<MAX, SECRET> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<const MAX: usize, const SECRET: bool> Eq for Small<MAX, SECRET> {}

impl<const MAX: usize, const SECRET: bool> Drop for Small<MAX, SECRET> {
    fn drop(&mut self) {
        self.as_mut_slice().zeroize();
    }
}

impl<const MAX: usize, const SECRET: bool> Zeroize for Small<MAX, SECRET> {
    fn zeroize(&mut self) {
        self.as_mut_slice().zeroize();
        self.length = 0;
    }
}

impl<const MAX: usize, const SECRET: bool> Parse for Small<MAX, SECRET> {
    const SIZED: bool = true;

    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, length) = u16::parse(input)?;
        if usize::from(length) > MAX {
            return refuse(Rc::SIZE);
        }
        let (rest, bytes) = take(rest, usize::from(length))?;
        match Self::new(bytes) {
            Some(buffer) => Ok((rest, buffer)),
            None => refuse(Rc::SIZE),
        }
    }
}

impl<const MAX: usize, const SECRET: bool> Large<MAX, SECRET> {
    /// A buffer holding `bytes`; `None` if they are too many.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX).then_some(Self(bytes))
    }

    /// The empty buffer.
    pub const EMPTY: Self = Self(Vec::new());

    /// The most bytes the type can hold.
    pub const MAX: usize = MAX;

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const MAX: usize, const SECRET: bool> Deref for Large<MAX, SECRET> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize, const SECRET: bool> Default for Large<MAX, SECRET> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const MAX: usize, const SECRET: bool> Drop for Large<MAX, SECRET> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const MAX: usize, const SECRET: bool> Parse for Large<MAX, SECRET> {
    const SIZED: bool = true;

    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, length) = u16::parse(input)?;
        if usize::from(length) > MAX {
            return refuse(Rc::SIZE);
        }
        let (rest, bytes) = take(rest, usize::from(length))?;
        Ok((rest, Self(bytes.to_vec())))
    }
}

macro_rules! both_buffers {
    ($($buffer:ident),*) => {$(
        impl<const MAX: usize, const SECRET: bool> AsRef<[u8]> for $buffer<MAX, SECRET> {
            fn as_ref(&self) -> &[u8] { self }
        }

        impl<const MAX: usize, const SECRET: bool> fmt::Debug for $buffer<MAX, SECRET> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { debug(self, SECRET, f) }
        }

        impl<const MAX: usize, const SECRET: bool> Marshal for $buffer<MAX, SECRET> {
            fn marshal(&self, out: &mut Vec<u8>) { marshal_sized(self, out); }
        }
    )*};
}

both_buffers!(Small, Large);

fn debug(bytes: &[u8], secret: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if secret {
        return write!(f, "[{} bytes]", bytes.len());
    }
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn marshal_sized(bytes: &[u8], out: &mut Vec<u8>) {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).marshal(out);
    out.extend_from_slice(bytes);
}

/// A TPM2B around a structure: its size, then the structure, which must fill it exactly.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tpm2b<T>(pub T);

impl<T> Deref for Tpm2b<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Parse> Parse for Tpm2b<T> {
    const SIZED: bool = true;

    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, value) = parse_sized(input)?;
        Ok((rest, Self(value)))
    }
}

impl<T: Marshal> Marshal for Tpm2b<T> {
    fn marshal(&self, out: &mut Vec<u8>) {
        marshal_with_size(out, |out| self.0.marshal(out));
    }
}

/// Parses a size of 16 bits and the structure that fills it; a structure that leaves or lacks bytes is `TPM_RC_SIZE`.
///
/// # Errors
/// What the structure's parser refuses.
pub fn parse_sized<T: Parse>(input: Input<'_>) -> Parsed<'_, T> {
    let (rest, size) = u16::parse(input)?;
    if size == 0 {
        return refuse(Rc::SIZE);
    }
    // The structure is parsed from all that follows, so that its own refusals come before a wrong size is noticed.
    let before = rest.bytes().len();
    let (after, value) = T::parse(rest)?;
    if before - after.bytes().len() != usize::from(size) {
        return refuse(Rc::SIZE);
    }
    Ok((after, value))
}

/// Writes a size of 16 bits and then what `body` writes.
pub fn marshal_with_size(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    0u16.marshal(out);
    body(out);
    let size = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&size.to_be_bytes());
    }
}

impl<const MAX: usize, const SECRET: bool> Large<MAX, SECRET> {
    /// Parses what the buffer holds; it must be used up.
    ///
    /// # Errors
    /// What the parser refuses, and `TPM_RC_SIZE` for bytes left over.
    pub fn parse_content<T: Parse>(&self, limits: &Limits) -> Result<T, Rc> {
        let (rest, value) = T::parse(Input::new(self, limits)).map_err(response_code)?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(Rc::SIZE)
        }
    }
}

/// Largest digest, bytes.
pub const MAX_DIGEST: usize = 64;
/// Largest `TPM2B_MAX_BUFFER`, bytes (`TPM_PT_INPUT_BUFFER`).
pub const MAX_BUFFER: usize = 1024;
/// Largest piece of an NV Index in one command, bytes (`TPM_PT_NV_BUFFER_MAX`).
pub const MAX_NV_BUFFER: usize = 2048;
/// Largest data that an object can seal, bytes.
pub const MAX_SYM_DATA: usize = 128;
/// Largest RSA modulus, bytes.
pub const MAX_RSA: usize = 512;
/// Largest coordinate of a curve, bytes.
pub const MAX_ECC: usize = 80;

/// A digest, nonce or operand.
#[doc(alias = "TPM2B_DIGEST")]
pub type Tpm2bDigest = Small<MAX_DIGEST>;
/// A nonce.
#[doc(alias = "TPM2B_NONCE")]
pub type Tpm2bNonce = Tpm2bDigest;
/// An operand of a comparison.
#[doc(alias = "TPM2B_OPERAND")]
pub type Tpm2bOperand = Tpm2bDigest;
/// An authorization value.
#[doc(alias = "TPM2B_AUTH")]
pub type Tpm2bAuth = Small<MAX_DIGEST, true>;
/// A seed or an obfuscation value of an object.
pub type Tpm2bSeed = Small<MAX_DIGEST, true>;
/// Qualifying data and the like: at most a `TPMT_HA`.
#[doc(alias = "TPM2B_DATA")]
pub type Tpm2bData = Small<66>;
/// The Name of an entity: a handle, or a hash algorithm and a digest.
#[doc(alias = "TPM2B_NAME")]
pub type Tpm2bName = Small<66>;
/// An initialization vector.
#[doc(alias = "TPM2B_IV")]
pub type Tpm2bIv = Small<16>;
/// The moment at which a ticket expires, in this TPM's own coding.
#[doc(alias = "TPM2B_TIMEOUT")]
pub type Tpm2bTimeout = Small<8>;
/// A coordinate or an integer of a curve.
#[doc(alias = "TPM2B_ECC_PARAMETER")]
pub type Tpm2bEccParameter = Small<MAX_ECC>;
/// A private scalar of a curve.
pub type Tpm2bEccPrivate = Small<MAX_ECC, true>;
/// A symmetric key.
#[doc(alias = "TPM2B_SYM_KEY")]
pub type Tpm2bSymKey = Small<32, true>;
/// Label or context of a derived key.
#[doc(alias = "TPM2B_LABEL")]
pub type Tpm2bLabel = Small<32>;
/// Data to hash, sign, encrypt.
#[doc(alias = "TPM2B_MAX_BUFFER")]
pub type Tpm2bMaxBuffer = Large<MAX_BUFFER>;
/// A piece of an NV Index.
#[doc(alias = "TPM2B_MAX_NV_BUFFER")]
pub type Tpm2bMaxNvBuffer = Large<MAX_NV_BUFFER>;
/// Data of an event to measure.
#[doc(alias = "TPM2B_EVENT")]
pub type Tpm2bEvent = Large<1024>;
/// Data to seal, or a seed given for a key.
#[doc(alias = "TPM2B_SENSITIVE_DATA")]
pub type Tpm2bSensitiveData = Large<MAX_SYM_DATA, true>;
/// An RSA modulus, message or ciphertext.
#[doc(alias = "TPM2B_PUBLIC_KEY_RSA")]
pub type Tpm2bPublicKeyRsa = Large<MAX_RSA>;
/// A prime factor of an RSA modulus.
#[doc(alias = "TPM2B_PRIVATE_KEY_RSA")]
pub type Tpm2bPrivateKeyRsa = Large<{ MAX_RSA / 2 }, true>;
/// A secret encrypted to an asymmetric key.
#[doc(alias = "TPM2B_ENCRYPTED_SECRET")]
pub type Tpm2bEncryptedSecret = Large<MAX_RSA>;
/// The protected sensitive area of an object.
#[doc(alias = "TPM2B_PRIVATE")]
pub type Tpm2bPrivate = Large<2048>;
/// A protected credential.
#[doc(alias = "TPM2B_ID_OBJECT")]
pub type Tpm2bIdObject = Large<132>;
/// An attestation structure as it is signed.
#[doc(alias = "TPM2B_ATTEST")]
pub type Tpm2bAttest = Large<4096>;
/// A template that the command itself parses.
#[doc(alias = "TPM2B_TEMPLATE")]
pub type Tpm2bTemplate = Large<1024>;
/// A protected context.
#[doc(alias = "TPM2B_CONTEXT_DATA")]
pub type Tpm2bContextData = Large<8064>;
/// Data that `TPM2_SetCapability` sets.
#[doc(alias = "TPM2B_SET_CAPABILITY_DATA")]
pub type Tpm2bSetCapabilityData = Large<1024>;

/// From an array that is known to fit when the program is built.
impl<const N: usize, const MAX: usize, const SECRET: bool> From<&[u8; N]> for Small<MAX, SECRET> {
    fn from(bytes: &[u8; N]) -> Self {
        const { assert!(N <= MAX, "the array is longer than the buffer") };
        Self::new(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Tpm2bDigest, Tpm2bMaxBuffer};
    use crate::codec::{Limits, Marshal, parse_all};
    use crate::rc::Rc;
    use alloc::vec;

    #[test]
    fn a_size_beyond_the_type_is_size_and_bytes_that_lack_are_insufficient() {
        assert_eq!(
            parse_all::<Tpm2bDigest>(&[0, 65], &Limits::ALL),
            Err(Rc::SIZE)
        );
        assert_eq!(
            parse_all::<Tpm2bDigest>(&[0, 2, 1], &Limits::ALL),
            Err(Rc::INSUFFICIENT)
        );
        assert_eq!(
            parse_all::<Tpm2bMaxBuffer>(&[4, 1], &Limits::ALL),
            Err(Rc::SIZE)
        );
    }

    #[test]
    fn bytes_survive_the_round_trip() {
        let digest = Tpm2bDigest::new(&[1, 2, 3]).unwrap();
        assert_eq!(digest.to_bytes(), vec![0, 3, 1, 2, 3]);
        assert_eq!(
            parse_all::<Tpm2bDigest>(&[0, 3, 1, 2, 3], &Limits::ALL),
            Ok(digest)
        );
    }
}
