//! What is said on a connection: a request, an answer, and again; each a length of four bytes and a JSON document.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tpm_attest::sealed::SealedData;
use tpm_attest::verify::{Base64, Challenge, Endorsement, Evidence, Hex};

/// Most bytes of a message, without its length.
pub const MAX_MESSAGE: u32 = 128 * 1024;

/// What a host asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What the service is.
    Describe,
    /// To be enrolled; answered by a challenge.
    Enrol(Box<Enrolment>),
    /// The secret that the TPM found in the challenge.
    Prove {
        /// The challenge's session.
        session: Hex,
        /// The secret.
        secret: Hex,
    },
    /// A question to quote for, so that the service does this afterwards.
    Ask {
        /// The host, by the Name of its attestation key.
        host: String,
        /// What the quote is for.
        want: Want,
    },
    /// The quote. What was wanted follows from its question.
    Answer(Box<Evidence>),
}

/// Who wants to be enrolled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// A name for people.
    pub name: String,
    /// The attestation key, `TPMT_PUBLIC`.
    pub attestation_key: Base64,
    /// The qualified name that its TPM gives it.
    pub qualified_name: Hex,
    /// The endorsement key and its certificate.
    pub endorsement: Endorsement,
}

/// What a host wants to get for its quote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Want {
    /// A key that is made now.
    NewKey,
    /// A key that is there.
    Key {
        /// Its id.
        key_id: String,
        /// What for.
        purpose: Purpose,
    },
    /// Nothing but to hear that it would get a key.
    Nothing,
}

/// What a key is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To protect something new: only an active key does.
    Wrap,
    /// To open what it protects.
    Unwrap,
}

/// What the service answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// What it is.
    Description(Description),
    /// Open this to be enrolled.
    Challenge(Challenge),
    /// The host is enrolled under this Name.
    Enrolled {
        /// The host.
        host: String,
    },
    /// Quote these PCR for this question.
    Question {
        /// The question.
        nonce: Hex,
        /// The PCR, as `tpm_attest::attester::selection` reads them.
        pcrs: String,
    },
    /// A key was made.
    NewKey {
        /// Its id.
        key_id: String,
    },
    /// A key.
    Key {
        /// Its id.
        key_id: String,
        /// Its bytes, for this TPM in this state.
        sealed: SealedData,
    },
    /// The quote is good enough for a key.
    Good,
    /// No.
    Refused(Refusal),
}

/// What a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The name of its policy.
    pub policy: String,
    /// The PCR that are quoted.
    pub pcrs: String,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// In one word.
    pub kind: RefusalKind,
    /// For people.
    pub reason: String,
}

/// Why not, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The host is not enrolled.
    UnknownHost,
    /// The host was shut out.
    Blocked,
    /// A check failed.
    NotTrusted,
    /// There is no such key.
    NoSuchKey,
    /// The key's state does not allow it.
    KeyState,
    /// The request makes no sense here.
    BadRequest,
    /// The service cannot do it now.
    Failed,
}

/// Why no message came or went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageFault {
    /// The connection ended between two messages.
    #[error("the connection ended")]
    Ended,
    /// It ended within one.
    #[error("the connection ended before the message was whole")]
    Cut,
    /// It is too long.
    #[error("the message says it has {0} bytes; at most {MAX_MESSAGE} are taken")]
    TooLarge(u64),
    /// It is none.
    #[error("the message cannot be read: {0}")]
    Senseless(String),
    /// Its time is over.
    #[error("its time was over before the message was whole")]
    TimedOut,
    /// The connection failed.
    #[error("{0}")]
    Io(io::Error),
}

/// Writes one message.
pub(crate) fn write(stream: &mut impl Write, message: &impl Serialize) -> Result<(), MessageFault> {
    let text = serde_json::to_vec(message).map_err(|e| MessageFault::Senseless(e.to_string()))?;
    let length = u32::try_from(text.len())
        .ok()
        .filter(|length| *length <= MAX_MESSAGE)
        .ok_or(MessageFault::TooLarge(
            u64::try_from(text.len()).unwrap_or(u64::MAX),
        ))?;
    let mut framed = Vec::with_capacity(text.len().saturating_add(4));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&text);
    stream
        .write_all(&framed)
        .and_then(|()| stream.flush())
        .map_err(fault)
}

/// Reads one message. Its length is looked at before memory is taken for it.
pub(crate) fn read<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, MessageFault> {
    let mut length = [0; 4];
    match stream.read(&mut length).map_err(fault)? {
        0 => return Err(MessageFault::Ended),
        read => {
            let rest = length.get_mut(read..).unwrap_or_default();
            stream.read_exact(rest).map_err(fault)?;
        }
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE {
        return Err(MessageFault::TooLarge(length.into()));
    }
    let size = usize::try_from(length).map_err(|_| MessageFault::TooLarge(length.into()))?;
    let mut text = vec![0; size];
    stream.read_exact(&mut text).map_err(fault)?;
    serde_json::from_slice(&text).map_err(|error| MessageFault::Senseless(error.to_string()))
}

fn fault(error: io::Error) -> MessageFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => MessageFault::Cut,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => MessageFault::TimedOut,
        _ => MessageFault::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_what_is_none_is_told_apart() {
        let mut bytes = Vec::new();
        let want = Want::Key {
            key_id: "k".to_owned(),
            purpose: Purpose::Unwrap,
        };
        write(&mut bytes, &want).unwrap();
        assert_eq!(read::<Want>(&mut bytes.as_slice()).unwrap(), want);
        let ended = read::<Want>(&mut [].as_slice());
        assert!(matches!(ended, Err(MessageFault::Ended)));
        for cut in 1..bytes.len() {
            let cut = read::<Want>(&mut bytes.get(..cut).unwrap());
            assert!(matches!(cut, Err(MessageFault::Cut)), "{cut:?}");
        }
        let large = read::<Want>(&mut [0xff, 0, 0, 0, 1].as_slice());
        assert!(matches!(large, Err(MessageFault::TooLarge(_))));
        let other = read::<Answer>(&mut bytes.as_slice());
        assert!(matches!(other, Err(MessageFault::Senseless(_))));
        let long = "x".repeat(usize::try_from(MAX_MESSAGE).unwrap());
        assert!(matches!(
            write(&mut Vec::new(), &long),
            Err(MessageFault::TooLarge(_))
        ));
    }
}
