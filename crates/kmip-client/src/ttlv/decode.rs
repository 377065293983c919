//! Bytes to items. Strict: lengths that do not fit, padding that is not zero and bytes left over are refused.

use super::{Item, Tag, Value};
use nom::{
    IResult,
    bytes::complete::take,
    error::{ErrorKind, ParseError},
    number::complete::{be_i32, be_i64, be_u8, be_u24, be_u32, be_u64},
};
use std::str;

/// How deep structures may lie in each other. A key in a reply lies seven deep.
pub const MAX_DEPTH: usize = 16;

/// How many items a message may hold: what bounds the memory that decoding takes.
pub const MAX_ITEMS: usize = 8192;

/// Why bytes are no TTLV item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TtlvError {
    /// Fewer bytes than lengths promise.
    #[error("it ends before its lengths say so")]
    Cut,
    /// Bytes after the item.
    #[error("bytes follow after its end")]
    LeftOver,
    /// A type that the specification does not know.
    #[error("type {0} does not exist")]
    UnknownType(u8),
    /// A length that the type cannot have.
    #[error("length {length} does not fit its type {kind}")]
    Length {
        /// The code of the type.
        kind: u8,
        /// The length that stands there.
        length: u32,
    },
    /// Padding that is not zero.
    #[error("its padding is not zero")]
    Padding,
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    /// Text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Structures too deep in each other.
    #[error("its structures lie more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Too many items.
    #[error("it holds more than {MAX_ITEMS} items")]
    TooMany,
}

impl ParseError<&[u8]> for TtlvError {
    /// The parsers used here fail for want of bytes only; the other faults are found by hand.
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self::Cut
    }

    fn append(_: &[u8], _: ErrorKind, first: Self) -> Self {
        first
    }
}

/// Reads one item that fills `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Item<'_>, TtlvError> {
    let mut budget = MAX_ITEMS;
    match item(bytes, MAX_DEPTH, &mut budget) {
        Ok(([], item)) => Ok(item),
        Ok(_) => Err(TtlvError::LeftOver),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(error),
        Err(nom::Err::Incomplete(_)) => Err(TtlvError::Cut),
    }
}

type Parsed<'a, T> = IResult<&'a [u8], T, TtlvError>;

fn item<'a>(input: &'a [u8], depth: usize, budget: &mut usize) -> Parsed<'a, Item<'a>> {
    let left = depth
        .checked_sub(1)
        .ok_or_else(|| fail(TtlvError::TooDeep))?;
    *budget = budget
        .checked_sub(1)
        .ok_or_else(|| fail(TtlvError::TooMany))?;
    let (input, tag) = be_u24(input)?;
    let (input, kind) = be_u8(input)?;
    let (input, length) = be_u32(input)?;
    let (input, body) = take(length)(input)?;
    let (input, padding) = take(length.wrapping_neg() % 8)(input)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(fail(TtlvError::Padding));
    }
    let value = match (kind, length) {
        (1, _) => Value::Structure(items(body, left, budget)?),
        (2, 4) => Value::Integer(be_i32(body)?.1),
        (3, 8) => Value::LongInteger(be_i64(body)?.1),
        (4, length) if length > 0 && length % 8 == 0 => Value::BigInteger(body),
        (5, 4) => Value::Enumeration(be_u32(body)?.1),
        (6, 8) => match be_u64(body)?.1 {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            _ => return Err(fail(TtlvError::Boolean)),
        },
        (7, _) => Value::TextString(str::from_utf8(body).map_err(|_| fail(TtlvError::Text))?),
        (8, _) => Value::ByteString(body),
        (9, 8) => Value::DateTime(be_i64(body)?.1),
        (10, 4) => Value::Interval(be_u32(body)?.1),
        (2..=6 | 9 | 10, length) => return Err(fail(TtlvError::Length { kind, length })),
        (kind, _) => return Err(fail(TtlvError::UnknownType(kind))),
    };
    Ok((input, Item::new(Tag(tag), value)))
}

fn items<'a>(
    mut input: &'a [u8],
    depth: usize,
    budget: &mut usize,
) -> Result<Vec<Item<'a>>, nom::Err<TtlvError>> {
    let mut items = Vec::new();
    while !input.is_empty() {
        let (after, next) = item(input, depth, budget)?;
        items.push(next);
        input = after;
    }
    Ok(items)
}

fn fail(error: TtlvError) -> nom::Err<TtlvError> {
    nom::Err::Failure(error)
}
