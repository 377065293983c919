//! Commands and responses for people: every field with its name, its place and its meaning, read off the command table.
//!
//! [`describe_command`] and [`describe_response`] take any bytes whatsoever. What they can tell, they tell; where the bytes stop
//! making sense, [`Ended`] says where and why. Secrets are marked ([`Value::Secret`]), so that a caller shows them only when
//! asked, and [`Message::secret_places`] says which bytes to blot out of a recording.

mod confidential;
mod names;
#[cfg(test)]
mod tests;
mod types;
mod walker;

use crate::attributes::TpmaSession;
use crate::buffers::{Tpm2bDigest, Tpm2bNonce};
use crate::constants::TpmSt;
use crate::frame::HEADER_SIZE;
use crate::handles::TpmHandle;
use crate::rc::Rc;
use crate::table::{CommandInfo, find};
use alloc::string::String;
use alloc::vec::Vec;
use confidential::Area;
use core::ops::Range;

pub(crate) use names::attribute_text;
pub use names::{command_name, handle_name};
pub(crate) use types::{constant, selector};
pub use walker::{Describe, Field, Name, SecretBytes, Stop, Value, Walker, hex};

/// Where bytes stopped making sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Bytes from the start of the message.
    pub at: usize,
    /// Why.
    pub why: Stop,
}

/// What a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// `TPM_RS_PW`: the value itself.
    Password,
    /// An HMAC session.
    Hmac,
    /// A policy or trial session.
    Policy,
    /// A handle that no session has.
    Unknown,
}

impl SessionKind {
    const fn of(handle: TpmHandle) -> Self {
        match handle.0 {
            0x4000_0009 => Self::Password,
            0x0200_0000..=0x02FF_FFFF => Self::Hmac,
            0x0300_0000..=0x03FF_FFFF => Self::Policy,
            _ => Self::Unknown,
        }
    }

    /// The kind in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Hmac => "hmac",
            Self::Policy => "policy",
            Self::Unknown => "session",
        }
    }
}

/// One authorization of a command, or its acknowledgement in the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its handle; a response does not repeat it.
    pub handle: Option<TpmHandle>,
    /// Its attributes.
    pub attributes: TpmaSession,
    /// Its fields.
    pub fields: Vec<Field>,
}

impl Session {
    /// What kind of session it is, as far as the message tells.
    #[must_use]
    pub const fn kind(&self) -> Option<SessionKind> {
        match self.handle {
            Some(handle) => Some(SessionKind::of(handle)),
            None => None,
        }
    }
}

/// A command or a response, taken apart.
#[derive(Clone, Debug)]
pub struct Message {
    /// The tag, as far as there is one.
    pub tag: Option<TpmSt>,
    /// The size that the header says.
    pub size: Option<u32>,
    /// The command code, or the response code.
    pub code: Option<u32>,
    /// The row of the command; `None` for one that the table does not have.
    pub info: Option<&'static CommandInfo>,
    /// The handle area.
    pub handles: Vec<Field>,
    /// The session area.
    pub sessions: Vec<Session>,
    /// The parameter area.
    pub parameters: Vec<Field>,
    /// Where the bytes stopped making sense; `None` if all were read.
    pub ended: Option<Ended>,
    /// The bytes that were not read: of an unknown command, or from where it ended.
    pub unread: Range<usize>,
}

impl Message {
    /// The places of bytes that should stay unseen. What was not read of a command that may carry secrets counts as secret.
    #[must_use]
    pub fn secret_places(&self) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        let sessions = self.sessions.iter().flat_map(|session| &session.fields);
        for field in self.handles.iter().chain(sessions).chain(&self.parameters) {
            field.secret_places(&mut places);
        }
        if self.unread_may_be_secret() {
            places.push(self.unread.clone());
        }
        places
    }

    /// Whether the bytes that were not read could hold a secret: those of a known command, and the sessions of an unknown one.
    #[must_use]
    pub fn unread_may_be_secret(&self) -> bool {
        !self.unread.is_empty() && (self.info.is_some() || self.tag == Some(TpmSt::SESSIONS))
    }

    /// The response code of a response.
    #[must_use]
    pub fn response_code(&self) -> Option<Rc> {
        self.code.map(Rc::from_number)
    }
}

/// Blots out the secrets of a message and says where they were.
pub fn redact(bytes: &mut [u8], message: &Message) -> Vec<Range<usize>> {
    let places = message.secret_places();
    for place in &places {
        if let Some(secret) = bytes.get_mut(place.clone()) {
            secret.fill(0);
        }
    }
    places
}

/// Takes a command apart.
#[must_use]
pub fn describe_command(bytes: &[u8]) -> Message {
    let code = code_of(bytes);
    let mut reader = Reader::new(bytes, Area::Command(code.unwrap_or_default()));
    reader.message.info = code.and_then(find);
    let outcome = reader.command();
    reader.finish(outcome)
}

/// Takes a response apart; `command` is what it answers.
#[must_use]
pub fn describe_response(bytes: &[u8], command: &[u8]) -> Message {
    let asked = code_of(command);
    let mut reader = Reader::new(bytes, Area::Response(asked.unwrap_or_default()));
    reader.message.info = asked.and_then(find);
    let outcome = reader.response();
    reader.finish(outcome)
}

fn code_of(bytes: &[u8]) -> Option<u32> {
    let code = bytes.get(6..HEADER_SIZE)?;
    code.try_into().ok().map(u32::from_be_bytes)
}

struct Reader<'a> {
    walker: Walker<'a>,
    message: Message,
    length: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], area: Area) -> Self {
        Self {
            walker: Walker::new(bytes, area),
            message: Message {
                tag: None,
                size: None,
                code: None,
                info: None,
                handles: Vec::new(),
                sessions: Vec::new(),
                parameters: Vec::new(),
                ended: None,
                unread: 0..0,
            },
            length: bytes.len(),
        }
    }

    fn finish(mut self, outcome: Result<(), Stop>) -> Message {
        let at = self.walker.at();
        if let Err(why) = outcome {
            self.message.ended = Some(Ended { at, why });
        }
        self.message.unread = at..self.length;
        self.message
    }

    fn header(&mut self) -> Result<(), Stop> {
        let tag = self.walker.number(2)?;
        self.message.tag = u16::try_from(tag).ok().map(TpmSt);
        let size = self.walker.number(4)?;
        self.message.size = Some(types::narrow(size));
        self.message.code = Some(types::narrow(self.walker.number(4)?));
        Ok(())
    }

    /// Runs a part of the table's row and gives its fields to an area of the message.
    fn area(
        &mut self,
        describe: fn(&mut Walker<'_>) -> Result<(), Stop>,
    ) -> (Vec<Field>, Result<(), Stop>) {
        let outcome = describe(&mut self.walker);
        (core::mem::take(&mut self.walker.fields), outcome)
    }

    fn command(&mut self) -> Result<(), Stop> {
        self.header()?;
        let Some(info) = self.message.info else {
            return Ok(());
        };
        let handles = info.handles.iter().try_for_each(|handle| {
            self.walker
                .described(Name::Field(handle.name), <TpmHandle as Describe>::describe)
        });
        self.message.handles = core::mem::take(&mut self.walker.fields);
        handles?;
        if self.message.tag == Some(TpmSt::SESSIONS) {
            let size = self.walker.number(4)?;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let mut sessions = Vec::new();
            let outcome = self.walker.within(size, |walker| {
                while !walker.rest().is_empty() {
                    sessions.push(session(walker, true)?);
                }
                Ok(())
            });
            self.message.sessions = sessions;
            outcome?;
        }
        let decrypts = |session: &Session| session.attributes.contains(TpmaSession::DECRYPT);
        self.walker.encrypted =
            info.decrypts_parameter && self.message.sessions.iter().any(decrypts);
        let outcome;
        (self.message.parameters, outcome) = self.area(info.describe_parameters);
        outcome?;
        self.end()
    }

    fn response(&mut self) -> Result<(), Stop> {
        self.header()?;
        let Some(info) = self.message.info else {
            return Ok(());
        };
        if self.message.code != Some(Rc::SUCCESS.number()) {
            return self.end();
        }
        let outcome;
        (self.message.handles, outcome) = self.area(info.describe_response_handle);
        outcome?;
        if self.message.tag != Some(TpmSt::SESSIONS) {
            let outcome;
            (self.message.parameters, outcome) = self.area(info.describe_response);
            outcome?;
            return self.end();
        }
        let size = usize::try_from(self.walker.number(4)?).unwrap_or(usize::MAX);
        // Whether the first parameter is encrypted, only the sessions behind the parameters say.
        let mut ahead = self.walker.fork();
        let mut sessions = Vec::new();
        if ahead.take(size).is_ok() {
            while !ahead.rest().is_empty() {
                match session(&mut ahead, false) {
                    Ok(session) => sessions.push(session),
                    Err(_) => break,
                }
            }
        }
        let encrypts = |session: &Session| session.attributes.contains(TpmaSession::ENCRYPT);
        self.walker.encrypted = info.encrypts_response && sessions.iter().any(encrypts);
        let parameters = self.walker.within(size, |walker| {
            (info.describe_response)(walker)?;
            match walker.rest().len() {
                0 => Ok(()),
                left => Err(Stop::Unfilled(left)),
            }
        });
        self.message.parameters = core::mem::take(&mut self.walker.fields);
        parameters?;
        while !self.walker.rest().is_empty() {
            let session = session(&mut self.walker, false)?;
            self.message.sessions.push(session);
        }
        self.end()
    }

    /// All is read: nothing may be left, and the header must have told the truth.
    fn end(&mut self) -> Result<(), Stop> {
        let left = self.walker.rest().len();
        if left != 0 {
            return Err(Stop::LeftOver(left));
        }
        match self.message.size {
            Some(size) if usize::try_from(size) != Ok(self.length) => {
                Err(Stop::Size(u64::from(size)))
            }
            _ => Ok(()),
        }
    }
}

/// Reads one authorization, or its acknowledgement, which has no handle.
fn session(walker: &mut Walker<'_>, of_command: bool) -> Result<Session, Stop> {
    let outer = core::mem::take(&mut walker.fields);
    let outcome = session_fields(walker, of_command);
    let fields = core::mem::replace(&mut walker.fields, outer);
    outcome.map(|(handle, attributes)| Session {
        handle,
        attributes,
        fields,
    })
}

fn session_fields(
    walker: &mut Walker<'_>,
    of_command: bool,
) -> Result<(Option<TpmHandle>, TpmaSession), Stop> {
    let mut handle = None;
    if of_command {
        let number = walker.rest().first_chunk::<4>().copied();
        walker.field::<TpmHandle>("session_handle")?;
        handle = number.map(|bytes| TpmHandle(u32::from_be_bytes(bytes)));
    }
    walker.field::<Tpm2bNonce>("nonce")?;
    let attributes = TpmaSession(walker.rest().first().copied().unwrap_or_default());
    walker.field::<TpmaSession>("session_attributes")?;
    // The HMAC of a session proves something and tells nothing; a password is in the clear, also in a policy session.
    if handle.is_none_or(|handle| SessionKind::of(handle) == SessionKind::Hmac) {
        walker.field::<Tpm2bDigest>("hmac")?;
    } else {
        walker.field::<crate::buffers::Tpm2bAuth>("hmac")?;
    }
    Ok((handle, attributes))
}

/// What a response code points at in a command, by name: `offset` for parameter 2 of `NV_Write`.
#[must_use]
pub fn pointed_at(code: Rc, info: &CommandInfo) -> Option<String> {
    let (kind, number) = match code.place() {
        Some(place) => place,
        None => ("handle", reference_number(code)?),
    };
    let index = usize::from(number).checked_sub(1)?;
    let name = match kind {
        "handle" => info.handles.get(index).map(|handle| handle.name),
        "parameter" => info.parameters.get(index).copied(),
        _ => None,
    };
    name.map(Into::into)
}

/// `TPM_RC_REFERENCE_H0` and following point at a handle by their own number.
fn reference_number(code: Rc) -> Option<u8> {
    let first = Rc::REFERENCE_H0.number();
    let index = code.number().checked_sub(first)?;
    (code.number() <= Rc::REFERENCE_H6.number())
        .then(|| u8::try_from(index).ok()?.checked_add(1))
        .flatten()
}
