//! How values become bytes and bytes become values: big-endian, refused with a response code.

use crate::constants::TpmAlgId;
use crate::rc::Rc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::slice;
use nom::Parser as _;
use nom::error::{ErrorKind, ParseError};

/// What one TPM implements, as far as parsing depends on it: an algorithm that is switched off is refused like an unknown one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    algorithms: [u64; 4],
    curves: [u64; 2],
    /// Largest RSA key, bits; smaller sizes of 1024, 2048, 3072 and 4096 are bits of the mask below.
    rsa_key_sizes: u8,
    aes_key_sizes: u8,
    camellia_key_sizes: u8,
    tdes_key_sizes: u8,
    /// Slots for transient objects: handles beyond them are refused by their value.
    pub transient_objects: u32,
    /// Active sessions of each kind that have a handle.
    pub active_sessions: u32,
    /// Number of PCR in a bank.
    pub pcr_count: u32,
    /// Number of authenticated countdown timers.
    pub act_count: u32,
}

impl Limits {
    /// Everything that the wire layer knows.
    pub const ALL: Self = Self {
        algorithms: [u64::MAX; 4],
        curves: [u64::MAX; 2],
        rsa_key_sizes: 0xF,
        aes_key_sizes: 0x7,
        camellia_key_sizes: 0x7,
        tdes_key_sizes: 0x3,
        transient_objects: 0x00FF_FFFF,
        active_sessions: 0x00FF_FFFF,
        pcr_count: 24,
        act_count: 16,
    };

    /// Whether the algorithm is implemented.
    #[must_use]
    pub const fn has_algorithm(&self, algorithm: TpmAlgId) -> bool {
        let id = algorithm.0;
        let word = match id >> 6 {
            0 => self.algorithms[0],
            1 => self.algorithms[1],
            2 => self.algorithms[2],
            3 => self.algorithms[3],
            _ => return false,
        };
        word & (1 << (id & 63)) != 0
    }

    /// Switches an algorithm off.
    pub const fn remove_algorithm(&mut self, algorithm: TpmAlgId) {
        let bit = 1 << (algorithm.0 & 63);
        match algorithm.0 >> 6 {
            0 => self.algorithms[0] &= !bit,
            1 => self.algorithms[1] &= !bit,
            2 => self.algorithms[2] &= !bit,
            3 => self.algorithms[3] &= !bit,
            _ => {}
        }
    }

    /// Whether the curve (by its `TPM_ECC_CURVE` number) is implemented.
    #[must_use]
    pub const fn has_curve(&self, curve: u16) -> bool {
        match curve >> 6 {
            0 => self.curves[0] & (1 << (curve & 63)) != 0,
            1 => self.curves[1] & (1 << (curve & 63)) != 0,
            _ => false,
        }
    }

    /// Switches a curve off.
    pub const fn remove_curve(&mut self, curve: u16) {
        let bit = 1 << (curve & 63);
        match curve >> 6 {
            0 => self.curves[0] &= !bit,
            1 => self.curves[1] &= !bit,
            _ => {}
        }
    }

    /// Whether RSA keys of `bits` are implemented.
    #[must_use]
    pub const fn has_rsa_key_size(&self, bits: u16) -> bool {
        match bits {
            1024 => self.rsa_key_sizes & 1 != 0,
            2048 => self.rsa_key_sizes & 2 != 0,
            3072 => self.rsa_key_sizes & 4 != 0,
            4096 => self.rsa_key_sizes & 8 != 0,
            _ => false,
        }
    }

    /// Switches an RSA key size off.
    pub const fn remove_rsa_key_size(&mut self, bits: u16) {
        self.rsa_key_sizes &= match bits {
            1024 => !1,
            2048 => !2,
            3072 => !4,
            4096 => !8,
            _ => !0,
        };
    }

    /// Whether the block cipher takes keys of `bits`.
    #[must_use]
    pub fn has_symmetric_key_size(&self, algorithm: TpmAlgId, bits: u16) -> bool {
        let sizes = match algorithm {
            TpmAlgId::AES => self.aes_key_sizes,
            TpmAlgId::CAMELLIA => self.camellia_key_sizes,
            TpmAlgId::TDES => self.tdes_key_sizes,
            TpmAlgId::SM4 => return bits == 128,
            _ => return false,
        };
        match bits {
            128 => sizes & 1 != 0,
            192 => sizes & 2 != 0,
            256 => sizes & 4 != 0,
            _ => false,
        }
    }

    /// Switches a key size of AES, Camellia or TDES off.
    pub fn remove_symmetric_key_size(&mut self, algorithm: TpmAlgId, bits: u16) {
        let mask = match bits {
            128 => !1,
            192 => !2,
            256 => !4,
            _ => !0,
        };
        match algorithm {
            TpmAlgId::AES => self.aes_key_sizes &= mask,
            TpmAlgId::CAMELLIA => self.camellia_key_sizes &= mask,
            TpmAlgId::TDES => self.tdes_key_sizes &= mask,
            _ => {}
        }
    }
}

/// Bytes that are being parsed, and what the TPM that reads them implements.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    /// What the TPM implements.
    pub limits: &'a Limits,
}

impl<'a> Input<'a> {
    /// Input from bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self { bytes, limits }
    }

    /// The bytes that are left.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The same limits over other bytes.
    #[must_use]
    pub const fn with(&self, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            limits: self.limits,
        }
    }
}

impl<'a> nom::Input for Input<'a> {
    type Item = u8;
    type Iter = core::iter::Copied<slice::Iter<'a, u8>>;
    type IterIndices = core::iter::Enumerate<Self::Iter>;

    fn input_len(&self) -> usize {
        self.bytes.len()
    }

    fn take(&self, index: usize) -> Self {
        self.with(self.bytes.get(..index).unwrap_or_default())
    }

    fn take_from(&self, index: usize) -> Self {
        self.with(self.bytes.get(index..).unwrap_or_default())
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        (self.take_from(index), self.take(index))
    }

    fn position<P: Fn(u8) -> bool>(&self, predicate: P) -> Option<usize> {
        self.bytes.iter().position(|byte| predicate(*byte))
    }

    fn iter_elements(&self) -> Self::Iter {
        self.bytes.iter().copied()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.iter_elements().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, nom::Needed> {
        if count <= self.bytes.len() {
            Ok(count)
        } else {
            Err(nom::Needed::new(count - self.bytes.len()))
        }
    }
}

/// Why bytes were refused: nom's error type is a response code. Bytes that run out are `TPM_RC_INSUFFICIENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection(pub Rc);

impl ParseError<Input<'_>> for Rejection {
    fn from_error_kind(_: Input<'_>, _: ErrorKind) -> Self {
        Self(Rc::INSUFFICIENT)
    }

    fn append(_: Input<'_>, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// What a parser gives: the rest and the value, or a response code.
pub type Parsed<'a, T> = nom::IResult<Input<'a>, T, Rejection>;

/// Refuses with a response code.
///
/// # Errors
/// Always: `rc`.
pub const fn refuse<'a, T>(rc: Rc) -> Parsed<'a, T> {
    Err(nom::Err::Error(Rejection(rc)))
}

/// The response code in a nom error.
#[must_use]
pub fn response_code(error: nom::Err<Rejection>) -> Rc {
    match error {
        nom::Err::Error(rejection) | nom::Err::Failure(rejection) => rejection.0,
        nom::Err::Incomplete(_) => Rc::INSUFFICIENT,
    }
}

/// A value that can be read from bytes.
pub trait Parse: Sized {
    /// Whether the wire form begins with a size of 16 bits: as the first parameter it can be encrypted by a session (Part 1, 21).
    const SIZED: bool = false;

    /// Reads one value from the front of `input`.
    ///
    /// # Errors
    /// The response code that Part 2 gives for what was found.
    fn parse(input: Input<'_>) -> Parsed<'_, Self>;
}

/// A value that can be written as bytes.
pub trait Marshal {
    /// Appends the value to `out`.
    fn marshal(&self, out: &mut Vec<u8>);

    /// The value as bytes of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.marshal(&mut out);
        out
    }
}

/// Parses a value that must use up all the bytes.
///
/// # Errors
/// What the parser refuses, and `TPM_RC_SIZE` for bytes left over.
pub fn parse_all<T: Parse>(bytes: &[u8], limits: &Limits) -> Result<T, Rc> {
    match T::parse(Input::new(bytes, limits)) {
        Ok((rest, value)) if rest.is_empty() => Ok(value),
        Ok(_) => Err(Rc::SIZE),
        Err(error) => Err(response_code(error)),
    }
}

/// Takes `count` bytes.
///
/// # Errors
/// `TPM_RC_INSUFFICIENT`.
pub fn take(input: Input<'_>, count: usize) -> Parsed<'_, &[u8]> {
    let (rest, taken) = nom::bytes::complete::take(count).parse(input)?;
    Ok((rest, taken.bytes()))
}

macro_rules! integers {
    ($($integer:ty => $parser:ident),*) => {$(
        impl Parse for $integer {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                nom::number::complete::$parser(input)
            }
        }
        impl Marshal for $integer {
            fn marshal(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

integers!(u8 => be_u8, u16 => be_u16, u32 => be_u32, u64 => be_u64, i32 => be_i32);

/// `TPMI_YES_NO` (Part 2, 9.2).
impl Parse for bool {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        match u8::parse(input)? {
            (rest, 0) => Ok((rest, false)),
            (rest, 1) => Ok((rest, true)),
            _ => refuse(Rc::VALUE),
        }
    }
}

impl Marshal for bool {
    fn marshal(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// A type whose interface form with a `+` in Part 2 also takes a NULL value: `Option` of it is that form.
pub trait Nullable: Parse + Marshal {
    /// The bytes that mean NULL.
    const NULL: &'static [u8];
}

impl<T: Nullable> Parse for Option<T> {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        match input.bytes().strip_prefix(T::NULL) {
            Some(rest) => Ok((input.with(rest), None)),
            None => T::parse(input).map(|(rest, value)| (rest, Some(value))),
        }
    }
}

impl<T: Nullable> Marshal for Option<T> {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.marshal(out),
            None => out.extend_from_slice(T::NULL),
        }
    }
}

/// The TPML lists: a count of 32 bits, then the elements; more than `MAX` are `TPM_RC_SIZE`, whether they are there or not.
impl<T: Parse, const MAX: usize> Parse for ArrayVec<T, MAX> {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (mut rest, count) = u32::parse(input)?;
        let mut list = Self::new();
        if usize::try_from(count).is_ok_and(|count| count > MAX) {
            return refuse(Rc::SIZE);
        }
        for _ in 0..count {
            let element;
            (rest, element) = T::parse(rest)?;
            if list.try_push(element).is_err() {
                return refuse(Rc::SIZE);
            }
        }
        Ok((rest, list))
    }
}

impl<T: Marshal, const MAX: usize> Marshal for ArrayVec<T, MAX> {
    fn marshal(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).marshal(out);
        for element in self {
            element.marshal(out);
        }
    }
}

/// Declares a structure that Part 2 gives as a sequence of fields, with its codec.
///
/// Nearly all of Part 2 is such sequences; writing the parser and the writer by hand would repeat each field list three times.
macro_rules! structure {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields carry the names and meaning that Part 2 gives them")]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl $crate::codec::Parse for $name {
            fn parse(input: $crate::codec::Input<'_>) -> $crate::codec::Parsed<'_, Self> {
                $(let (input, $field) = <$type as $crate::codec::Parse>::parse(input)?;)*
                Ok((input, Self { $($field),* }))
            }
        }

        impl $crate::codec::Marshal for $name {
            fn marshal(&self, out: &mut alloc::vec::Vec<u8>) {
                $($crate::codec::Marshal::marshal(&self.$field, out);)*
            }
        }

        impl $crate::describe::Describe for $name {
            fn describe(walker: &mut $crate::describe::Walker<'_>) -> Result<$crate::describe::Value, $crate::describe::Stop> {
                $(walker.field::<$type>(stringify!($field))?;)*
                Ok($crate::describe::Value::Group)
            }
        }
    };
}

/// Declares a selector and the union that it selects as one enum: each arm has the algorithm of its selector and the payload.
macro_rules! selected {
    ($(#[$meta:meta])* pub enum $name:ident refuses $rc:ident { $($arm:ident($payload:ty) = $selector:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "an arm is named after its selector")]
        pub enum $name { $($arm($payload)),* }

        impl $name {
            /// The selector.
            #[must_use]
            pub const fn algorithm(&self) -> $crate::constants::TpmAlgId {
                match self { $(Self::$arm(_) => $crate::constants::TpmAlgId::$selector),* }
            }
        }

        impl $crate::codec::Parse for $name {
            fn parse(input: $crate::codec::Input<'_>) -> $crate::codec::Parsed<'_, Self> {
                let (rest, selector) = $crate::constants::TpmAlgId::parse(input)?;
                match selector {
                    $($crate::constants::TpmAlgId::$selector if input.limits.has_algorithm(selector) => {
                        let (rest, payload) = <$payload as $crate::codec::Parse>::parse(rest)?;
                        Ok((rest, Self::$arm(payload)))
                    })*
                    _ => $crate::codec::refuse($crate::rc::Rc::$rc),
                }
            }
        }

        impl $crate::codec::Marshal for $name {
            fn marshal(&self, out: &mut alloc::vec::Vec<u8>) {
                self.algorithm().marshal(out);
                match self { $(Self::$arm(payload) => payload.marshal(out)),* }
            }
        }

        impl $crate::codec::Nullable for $name {
            const NULL: &'static [u8] = &[0x00, 0x10];
        }

        impl $crate::describe::Describe for $name {
            fn describe(walker: &mut $crate::describe::Walker<'_>) -> Result<$crate::describe::Value, $crate::describe::Stop> {
                match $crate::describe::selector(walker, "algorithm")? {
                    $($crate::constants::TpmAlgId::$selector => <$payload as $crate::describe::Describe>::describe(walker),)*
                    other => Err($crate::describe::Stop::Selector(u64::from(other.0))),
                }
            }
        }
    };
}

pub(crate) use {selected, structure};

/// `TPMS_EMPTY`: a union arm without a value.
#[doc(alias = "TPMS_EMPTY")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TpmsEmpty;

impl Parse for TpmsEmpty {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        Ok((input, Self))
    }
}

impl Marshal for TpmsEmpty {
    fn marshal(&self, _: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::{Input, Limits, Parse, response_code};
    use crate::rc::Rc;
    use arrayvec::ArrayVec;

    #[test]
    fn a_list_that_says_it_is_too_long_is_size_before_its_elements_are_looked_at() {
        let limits = Limits::ALL;
        let refused = |bytes: &[u8]| {
            ArrayVec::<u16, 2>::parse(Input::new(bytes, &limits))
                .map(|_| ())
                .map_err(response_code)
        };
        assert_eq!(refused(&[0, 0, 0, 2, 1, 1, 2, 2]), Ok(()));
        assert_eq!(refused(&[0, 0, 0, 2, 1, 1, 2]), Err(Rc::INSUFFICIENT));
        assert_eq!(refused(&[0, 0, 0, 3]), Err(Rc::SIZE));
        assert_eq!(refused(&[0xFF; 4]), Err(Rc::SIZE));
        assert_eq!(refused(&[0, 0, 0]), Err(Rc::INSUFFICIENT));
    }
}
