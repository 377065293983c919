//! The frame of a reply, and typed access to what is in it.

use super::{Operation, ProtocolVersion};
use crate::{
    error::{Fault, Refusal, ResultReason},
    ttlv::{Item, Tag, Value, decode},
};

/// Reads a reply of one batch item and hands its payload on. A server's refusal is [`Fault::Refused`].
pub(crate) fn read_reply<T>(
    bytes: &[u8],
    version: ProtocolVersion,
    operation: Operation,
    read: impl FnOnce(&Item<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let message = decode(bytes)?;
    if message.tag != Tag::RESPONSE_MESSAGE {
        return Err(wrong(format!("it is a {}", message.tag)));
    }
    let header = message.require(Tag::RESPONSE_HEADER)?;
    let found = read_version(header.require(Tag::PROTOCOL_VERSION)?)?;
    if found != version {
        return Err(Fault::OtherVersion {
            asked: version,
            found,
        });
    }
    let mut batch = message.items().iter().filter(|i| i.tag == Tag::BATCH_ITEM);
    let (Some(item), None) = (batch.next(), batch.next()) else {
        return Err(wrong("it does not hold one batch item".to_owned()));
    };
    // A refusal may leave out which operation it is about.
    if let Some(code) = item.child(Tag::OPERATION) {
        let code = code.as_enumeration()?;
        if code != operation.code() {
            return Err(wrong(format!(
                "it is about operation 0x{code:x}, not {operation}"
            )));
        }
    }
    match item.require(Tag::RESULT_STATUS)?.as_enumeration()? {
        0 => read(item.require(Tag::RESPONSE_PAYLOAD)?),
        1 => Err(Fault::Refused(Refusal {
            reason: match item.child(Tag::RESULT_REASON) {
                Some(reason) => ResultReason(reason.as_enumeration()?),
                None => ResultReason::GENERAL_FAILURE,
            },
            message: match item.child(Tag::RESULT_MESSAGE) {
                Some(message) => message.as_text()?.to_owned(),
                None => String::new(),
            },
        })),
        status => Err(wrong(format!(
            "its result status is {status}, not success or failure"
        ))),
    }
}

pub(super) fn read_version(item: &Item<'_>) -> Result<ProtocolVersion, Fault> {
    Ok(ProtocolVersion {
        major: item.require(Tag::PROTOCOL_VERSION_MAJOR)?.as_integer()?,
        minor: item.require(Tag::PROTOCOL_VERSION_MINOR)?.as_integer()?,
    })
}

pub(super) fn wrong(reason: String) -> Fault {
    Fault::WrongReply(reason)
}

impl<'a> Item<'a> {
    /// The first item inside with that tag; a reply without it does not fit.
    pub(super) fn require(&self, tag: Tag) -> Result<&Self, Fault> {
        if !matches!(self.value, Value::Structure(_)) {
            return Err(self.other_type("structure"));
        }
        self.child(tag)
            .ok_or_else(|| wrong(format!("its {} has no {tag}", self.tag)))
    }

    pub(super) fn as_enumeration(&self) -> Result<u32, Fault> {
        match self.value {
            Value::Enumeration(value) => Ok(value),
            _ => Err(self.other_type("enumeration")),
        }
    }

    pub(super) fn as_integer(&self) -> Result<i32, Fault> {
        match self.value {
            Value::Integer(value) => Ok(value),
            _ => Err(self.other_type("integer")),
        }
    }

    pub(super) fn as_text(&self) -> Result<&'a str, Fault> {
        match self.value {
            Value::TextString(text) => Ok(text),
            _ => Err(self.other_type("text string")),
        }
    }

    pub(super) fn as_bytes(&self) -> Result<&'a [u8], Fault> {
        match self.value {
            Value::ByteString(bytes) => Ok(bytes),
            _ => Err(self.other_type("byte string")),
        }
    }

    fn other_type(&self, wanted: &str) -> Fault {
        wrong(format!(
            "its {} is of type {}, not {wanted}",
            self.tag,
            self.value.type_name()
        ))
    }
}
