//! Where two exchanges differ.

use serde::Serialize;
use tpm_wire::commands::{CertifyX509, EccEncrypt, RsaEncrypt};
use tpm_wire::describe::{Field, Message, Value, describe_command, describe_response};
use tpm_wire::table::Command as _;

use super::record::{Bytes, Record};
use super::text::outcome;

/// How strict a comparison is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Of what a TPM makes up or counts, sizes are compared; of all else, values.
    IgnoreRandom,
    /// Every value.
    Exact,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Which: `response.parameters.data`.
    pub(crate) field: String,
    /// The value in the first recording.
    pub(crate) before: String,
    /// The value in the second one.
    pub(crate) after: String,
}

/// Fields that hold what a TPM makes up anew each time, what follows from its keys, or what time makes of them.
const UNPREDICTABLE: &[&str] = &[
    "clock",
    "context_blob",
    "creation_hash",
    "creation_ticket",
    "credential_blob",
    "duplicate",
    "encryption_key_out",
    "hmac",
    "name",
    "nonce",
    "nonce_tpm",
    "nv_name",
    "object_name",
    "out_duplicate",
    "out_private",
    "out_sym_seed",
    "parent_name",
    "parent_qualified_name",
    "policy_ticket",
    "qualified_name",
    "qualified_signer",
    "random_bytes",
    "reset_count",
    "restart_count",
    "secret",
    "sequence",
    "sig",
    "signature_r",
    "signature_s",
    "time",
    "timeout",
    "unique",
    "validation",
    "x",
    "y",
];
/// The same, whatever the fields are called.
const UNPREDICTABLE_COMMANDS: &[u32] = &[
    RsaEncrypt::INFO.code,
    EccEncrypt::INFO.code,
    CertifyX509::INFO.code,
];

/// Compares the responses of two exchanges, and their commands unless those are known to be alike.
pub(crate) fn differences(
    before: &Record,
    after: &Record,
    strictness: Strictness,
    with_commands: bool,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let commands = [before, after].map(|record| describe_command(&record.command));
    if with_commands {
        let [a, b] = &commands;
        let sides = [(a, &before.command), (b, &after.command)];
        Comparison::new("command", sides, strictness).run(&mut found);
    }
    let responses =
        [before, after].map(|record| describe_response(&record.response, &record.command));
    let [a, b] = &responses;
    let info = commands.first().and_then(|command| command.info);
    if a.code != b.code {
        found.push(Difference {
            field: "response.code".to_owned(),
            before: outcome(a, info),
            after: outcome(b, info),
        });
        return found;
    }
    let sides = [(a, &before.response), (b, &after.response)];
    Comparison::new("response", sides, strictness).run(&mut found);
    found
}

struct Comparison<'a> {
    what: &'static str,
    sides: [(&'a Message, &'a Bytes); 2],
    exact: bool,
    /// Whether neither side has secrets blotted out.
    whole: bool,
    wild: bool,
}

impl<'a> Comparison<'a> {
    fn new(
        what: &'static str,
        sides: [(&'a Message, &'a Bytes); 2],
        strictness: Strictness,
    ) -> Self {
        let wild = |(message, _): &(&Message, &Bytes)| {
            let code = message.info.map(|info| info.code);
            code.is_some_and(|code| UNPREDICTABLE_COMMANDS.contains(&code))
        };
        Self {
            what,
            exact: strictness == Strictness::Exact,
            whole: sides.iter().all(|(_, bytes)| bytes.is_whole()),
            wild: what == "response" && sides.iter().any(wild),
            sides,
        }
    }

    fn run(&self, found: &mut Vec<Difference>) {
        let [(a, a_bytes), (b, b_bytes)] = self.sides;
        self.lists("handles", &a.handles, &b.handles, found);
        for index in 0..a.sessions.len().max(b.sessions.len()) {
            let [a, b] = [a, b].map(|message| {
                let session = message.sessions.get(index);
                session.map_or(&[][..], |session| &session.fields)
            });
            self.lists(&format!("sessions[{index}]"), a, b, found);
        }
        self.lists("parameters", &a.parameters, &b.parameters, found);
        let unread = |message: &Message, bytes: &Bytes| {
            bytes
                .get(message.unread.clone())
                .unwrap_or_default()
                .to_vec()
        };
        let (a, b) = (unread(a, a_bytes), unread(b, b_bytes));
        if a.len() != b.len() || (self.whole && a != b) {
            found.push(Difference {
                field: format!("{}.unread", self.what),
                before: format!("{} bytes", a.len()),
                after: format!("{} bytes", b.len()),
            });
        }
    }

    fn lists(&self, path: &str, a: &[Field], b: &[Field], found: &mut Vec<Difference>) {
        let path = format!("{}.{path}", self.what);
        self.fields(&path, a, b, self.wild, found);
    }

    fn fields(
        &self,
        path: &str,
        a: &[Field],
        b: &[Field],
        wild: bool,
        found: &mut Vec<Difference>,
    ) {
        for index in 0..a.len().max(b.len()) {
            match (a.get(index), b.get(index)) {
                (Some(a), Some(b)) => {
                    let path = format!("{path}.{}", a.name);
                    let name = a.name.to_string();
                    let wild = wild || UNPREDICTABLE.contains(&name.as_str());
                    if !self.same(&a.value, &b.value, wild) || a.name != b.name {
                        found.push(Difference {
                            field: path,
                            before: self.shown(a),
                            after: self.shown(b),
                        });
                    } else {
                        self.fields(&path, &a.children, &b.children, wild, found);
                    }
                }
                (one, other) => {
                    let text = |field: Option<&Field>| {
                        field.map_or_else(|| "nothing".to_owned(), |field| self.shown(field))
                    };
                    let name = one.or(other).map(|field| field.name.to_string());
                    found.push(Difference {
                        field: format!("{path}.{}", name.unwrap_or_default()),
                        before: text(one),
                        after: text(other),
                    });
                }
            }
        }
    }

    /// Secrets are told apart, never shown.
    fn shown(&self, field: &Field) -> String {
        match &field.value {
            Value::Bytes(bytes) => hex::encode(bytes),
            Value::Group => super::text::inline(field, false),
            value => value.text(false),
        }
    }

    fn same(&self, a: &Value, b: &Value, wild: bool) -> bool {
        let by_size = wild && !self.exact;
        match (a, b) {
            (Value::Secret(a), Value::Secret(b)) if by_size || !self.whole => {
                a.expose().len() == b.expose().len()
            }
            (Value::Bytes(a), Value::Bytes(b)) if by_size => a.len() == b.len(),
            (Value::Encrypted(a), Value::Encrypted(b)) if !self.exact => a.len() == b.len(),
            (Value::Number(_), Value::Number(_)) if by_size => true,
            (a, b) => a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(command: &str, response: &str) -> Record {
        let bytes = |digits: &str| hex::decode(digits.replace(' ', "")).unwrap();
        Record::of_bytes(0, 0, bytes(command), bytes(response))
    }

    const GET_RANDOM: &str = "8001 0000000c 0000017b 0004";
    const PCR_READ: &str = "8001 00000014 0000017e 00000001 000b 03 010000";

    fn found(a: &Record, b: &Record, strictness: Strictness) -> Vec<String> {
        let found = differences(a, b, strictness, true);
        found
            .into_iter()
            .map(|difference| difference.field)
            .collect()
    }

    #[test]
    fn random_bytes_differ_only_in_size_unless_compared_exactly() {
        let a = exchange(GET_RANDOM, "8001 00000010 00000000 0004 01020304");
        let b = exchange(GET_RANDOM, "8001 00000010 00000000 0004 05060708");
        let c = exchange(GET_RANDOM, "8001 0000000e 00000000 0002 0506");
        assert!(found(&a, &b, Strictness::IgnoreRandom).is_empty());
        assert_eq!(
            found(&a, &b, Strictness::Exact),
            ["response.parameters.random_bytes"]
        );
        assert_eq!(
            found(&a, &c, Strictness::IgnoreRandom),
            ["response.parameters.random_bytes"]
        );
    }

    #[test]
    fn values_and_codes_differ_by_name() {
        let value = |byte: &str| {
            format!(
                "8001 00000022 00000000 00000007 00000001 000b 03 010000 00000001 0004 {byte}aabbcc"
            )
        };
        let a = exchange(PCR_READ, &value("00"));
        let b = exchange(PCR_READ, &value("01"));
        assert_eq!(
            found(&a, &b, Strictness::IgnoreRandom),
            ["response.parameters.pcr_values.[0]"]
        );
        let refused = exchange(PCR_READ, "8001 0000000a 00000100");
        let found = differences(&a, &refused, Strictness::IgnoreRandom, true);
        assert_eq!(found[0].field, "response.code");
        assert_eq!(found[0].after, "TPM_RC_INITIALIZE [0x100]");
    }
}
