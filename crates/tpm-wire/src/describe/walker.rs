//! Walking over bytes by the types that they should have, as far as they go.

use super::confidential::{self, Area};
use crate::handles::TpmHandle;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use zeroize::Zeroizing;

/// A type of the wire that can say what bytes of it mean.
///
/// Unlike a parser it does not refuse: values that a TPM would not take are shown as they stand, and what was read before the
/// bytes stop making sense is kept.
pub trait Describe {
    /// Reads one value from the walker: leaves become the result, parts become fields of the walker.
    ///
    /// # Errors
    /// Why the bytes make no sense from here on.
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop>;
}

/// Why bytes make no sense any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end before the value does.
    Short,
    /// A selector that no specification names, so the size of what follows is unknown.
    Selector(u64),
    /// A list is longer than one can be.
    TooMany(u64),
    /// A sized structure does not fill its size.
    Unfilled(usize),
    /// Bytes are left over after the last value.
    LeftOver(usize),
    /// A size field disagrees with the bytes there are.
    Size(u64),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the bytes end too early"),
            Self::Selector(number) => write!(f, "the selector {number:#x} is not known"),
            Self::TooMany(count) => write!(f, "{count} elements are more than the list can have"),
            Self::Unfilled(left) => {
                write!(f, "the structure leaves {left} bytes of its size unused")
            }
            Self::LeftOver(left) => write!(f, "{left} bytes are left over"),
            Self::Size(size) => {
                write!(f, "the size {size} is not that of the bytes that are there")
            }
        }
    }
}

/// Bytes that are shown only to whoever asks for secrets; wiped on drop, never in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The fields below it say it.
    Group,
    /// A number.
    Number(u64),
    /// A number with a sign.
    Signed(i64),
    /// `TPMI_YES_NO`.
    YesNo(bool),
    /// A number that has a name.
    Named(u64, String),
    /// A handle.
    Handle(TpmHandle),
    /// A set of PCR, ascending.
    Pcrs(Vec<u32>),
    /// Bytes without an inner structure.
    Bytes(Vec<u8>),
    /// The NULL value of an optional field.
    Null,
    /// Bytes or a number that should stay unseen.
    Secret(SecretBytes),
    /// A parameter that a session has encrypted.
    Encrypted(Vec<u8>),
}

impl Value {
    /// The value in a few words; empty for a group. Secrets show their length alone unless `secrets`.
    #[must_use]
    pub fn text(&self, secrets: bool) -> String {
        match self {
            Self::Group => String::new(),
            Self::Number(number) => format!("{number}"),
            Self::Signed(number) => format!("{number}"),
            Self::YesNo(true) => "YES".to_owned(),
            Self::YesNo(false) => "NO".to_owned(),
            Self::Named(_, name) => name.clone(),
            Self::Handle(handle) => super::handle_name(*handle),
            Self::Pcrs(pcrs) => {
                let list: Vec<String> = pcrs.iter().map(|pcr| format!("{pcr}")).collect();
                format!("{{{}}}", list.join(","))
            }
            Self::Bytes(bytes) => hex(bytes),
            Self::Null => "NULL".to_owned(),
            Self::Secret(bytes) if secrets || bytes.0.is_empty() => hex(&bytes.0),
            Self::Secret(bytes) => format!("[redacted, {} bytes]", bytes.0.len()),
            Self::Encrypted(bytes) if secrets => format!("[encrypted] {}", hex(bytes)),
            Self::Encrypted(bytes) => format!("[encrypted, {} bytes]", bytes.len()),
        }
    }
}

/// Lower-case hexadecimal; nothing is `""`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The name of a field: that of the table or of Part 2, or a place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A field of a structure.
    Field(&'static str),
    /// An element of a list.
    Element(usize),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Element(index) => write!(f, "[{index}]"),
        }
    }
}

/// One field with its place in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Where it begins, bytes from the start of the message.
    pub at: usize,
    /// How many bytes it has, its own size field included.
    pub length: usize,
    /// What it holds.
    pub value: Value,
    /// Its parts.
    pub children: Vec<Field>,
}

impl Field {
    /// The places of secret bytes, of this field and those below it.
    pub(super) fn secret_places(&self, places: &mut Vec<core::ops::Range<usize>>) {
        if let Value::Secret(bytes) = &self.value
            && !bytes.0.is_empty()
        {
            let end = self.at.saturating_add(self.length);
            places.push(end.saturating_sub(bytes.0.len())..end);
        }
        for child in &self.children {
            child.secret_places(places);
        }
    }
}

/// A place in a message, and the fields found so far.
#[derive(Debug)]
pub struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    pub(super) fields: Vec<Field>,
    secret: bool,
    /// The command code and direction, by which confidential parameters are known.
    pub(super) area: Area,
    pub(super) encrypted: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn new(bytes: &'a [u8], area: Area) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
            fields: Vec::new(),
            secret: false,
            area,
            encrypted: false,
        }
    }

    /// Where the walker stands, bytes from the start of the message.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes between here and the end of the innermost structure.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`Stop::Short`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let taken = self.rest().get(..count).ok_or(Stop::Short)?;
        self.at = self.at.saturating_add(count);
        Ok(taken)
    }

    /// Takes a big-endian number of `count` bytes, at most eight.
    ///
    /// # Errors
    /// [`Stop::Short`].
    pub fn number(&mut self, count: usize) -> Result<u64, Stop> {
        let bytes = self.take(count)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Takes a size of 16 bits and that many bytes.
    ///
    /// # Errors
    /// [`Stop::Short`].
    pub fn sized(&mut self) -> Result<&'a [u8], Stop> {
        let size = self.number(2)?;
        self.take(usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// Runs `inside` on the next `size` bytes only.
    ///
    /// # Errors
    /// Those of `inside`, and [`Stop::Short`].
    pub fn within<T>(
        &mut self,
        size: usize,
        inside: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let end = self.at.saturating_add(size);
        if end > self.end {
            return Err(Stop::Short);
        }
        let outer = core::mem::replace(&mut self.end, end);
        let outcome = inside(self);
        self.end = outer;
        outcome
    }

    /// Describes a field of a structure.
    ///
    /// # Errors
    /// Why it could not be read whole; what could is kept.
    pub fn field<T: Describe>(&mut self, name: &'static str) -> Result<(), Stop> {
        self.described(Name::Field(name), T::describe)
    }

    /// Describes an element of a list.
    ///
    /// # Errors
    /// As [`Walker::field`].
    pub fn element<T: Describe>(&mut self, index: usize) -> Result<(), Stop> {
        self.described(Name::Element(index), T::describe)
    }

    /// Describes a parameter of the command or response: the first may be encrypted, and some are confidential.
    ///
    /// # Errors
    /// As [`Walker::field`].
    pub fn parameter<T: Describe>(&mut self, name: &'static str) -> Result<(), Stop> {
        if core::mem::take(&mut self.encrypted) {
            return self.described(Name::Field(name), |walker| {
                Ok(Value::Encrypted(walker.sized()?.to_vec()))
            });
        }
        self.secret = confidential::is_confidential(self.area, name);
        let outcome = self.described(Name::Field(name), |walker| {
            super::types::template(walker, name).map_or_else(|| T::describe(walker), Ok)
        });
        self.secret = false;
        self.relate();
        outcome
    }

    /// Describes a field by a function.
    ///
    /// # Errors
    /// As [`Walker::field`].
    pub fn described(
        &mut self,
        name: Name,
        describe: impl FnOnce(&mut Self) -> Result<Value, Stop>,
    ) -> Result<(), Stop> {
        let at = self.at;
        let outer = core::mem::take(&mut self.fields);
        let confidential = !self.secret && name == Name::Field("nv_contents");
        self.secret |= confidential;
        let outcome = describe(self);
        let hidden = self.secret;
        if confidential {
            self.secret = false;
        }
        let children = core::mem::replace(&mut self.fields, outer);
        let length = self.at.saturating_sub(at);
        let (value, outcome) = match outcome {
            Ok(value) if hidden => (self.hide(value, length), Ok(())),
            Ok(value) => (value, Ok(())),
            Err(stop) if children.is_empty() => return Err(stop),
            Err(stop) => (Value::Group, Err(stop)),
        };
        self.fields.push(Field {
            name,
            at,
            length,
            value,
            children,
        });
        outcome
    }

    /// A confidential value: whatever it is, only its length shows.
    fn hide(&self, value: Value, length: usize) -> Value {
        match value {
            Value::Bytes(bytes) => Self::secret(&bytes),
            Value::Number(_) | Value::Signed(_) => {
                let start = self.at.saturating_sub(length);
                Self::secret(self.bytes.get(start..self.at).unwrap_or_default())
            }
            other => other,
        }
    }

    /// A walker at the same place, to try something.
    pub(super) fn fork(&self) -> Self {
        Self {
            bytes: self.bytes,
            at: self.at,
            end: self.end,
            fields: Vec::new(),
            secret: self.secret,
            area: self.area,
            encrypted: self.encrypted,
        }
    }

    /// Takes over what a fork found.
    pub(super) fn join(&mut self, fork: Self) {
        self.at = fork.at;
        self.fields.extend(fork.fields);
    }

    /// A secret value.
    #[must_use]
    pub fn secret(bytes: &[u8]) -> Value {
        Value::Secret(SecretBytes(Zeroizing::new(bytes.to_vec())))
    }

    /// Gives numbers a name whose meaning another parameter decides.
    fn relate(&mut self) {
        let Some((last, before)) = self.fields.split_last_mut() else {
            return;
        };
        if let Value::Number(number) = last.value
            && let Some(value) = super::names::related(last.name, number, before)
        {
            last.value = value;
        }
    }
}
