//! Exchanges for programs: one JSON object each, of a schema that only grows (docs/trace.md).

use serde_json::{Value as Json, json};
use tpm_wire::describe::{
    Field, Message, Session, Value, command_name, describe_command, describe_response, pointed_at,
};
use tpm_wire::table::CommandInfo;

use super::record::Record;
use super::text::{Shown, unread_whole};

/// The exchange, taken apart.
pub(crate) fn decoded(number: usize, record: &Record, shown: Shown) -> Json {
    let command = describe_command(&record.command);
    let response = describe_response(&record.response, &record.command);
    let whole = |bytes: &super::record::Bytes| shown.secrets && bytes.is_whole();
    json!({
        "number": number,
        "at": record.at,
        "microseconds": record.us,
        "locality": record.locality,
        "lost_before": record.lost,
        "command": {
            "name": command.info.map(command_name),
            "message": message(&command, &record.command, whole(&record.command)),
        },
        "response": {
            "result": result(&response, command.info),
            "message": message(&response, &record.response, whole(&record.response)),
        },
    })
}

/// What a response code means, in parts.
fn result(response: &Message, info: Option<&CommandInfo>) -> Json {
    let Some(code) = response.response_code() else {
        return Json::Null;
    };
    json!({
        "code": code.number(),
        "name": code.name().map(|name| format!("TPM_RC_{name}")),
        "place": code.place().map(|(kind, number)| json!({ "kind": kind, "number": number })),
        "field": info.and_then(|info| pointed_at(code, info)),
    })
}

fn message(message: &Message, bytes: &[u8], secrets: bool) -> Json {
    json!({
        "tag": message.tag.map(|tag| tag.0),
        "size": message.size,
        "code": message.code,
        "length": bytes.len(),
        "handles": list(&message.handles, secrets),
        "sessions": message.sessions.iter().map(|one| session(one, secrets)).collect::<Vec<_>>(),
        "parameters": list(&message.parameters, secrets),
        "ended": message.ended.map(|ended| json!({ "at": ended.at, "why": ended.why.to_string() })),
        "unread": unread_whole(message, bytes, secrets),
    })
}

fn session(session: &Session, secrets: bool) -> Json {
    json!({
        "kind": session.kind().map(|kind| kind.word()),
        "handle": session.handle.map(|handle| handle.0),
        "fields": list(&session.fields, secrets),
    })
}

fn list(fields: &[Field], secrets: bool) -> Vec<Json> {
    fields.iter().map(|one| field(one, secrets)).collect()
}

fn field(field: &Field, secrets: bool) -> Json {
    let text = field.value.text(secrets);
    let (kind, value) = match &field.value {
        Value::Group => ("group", Json::Null),
        Value::Number(number) => ("number", json!(number)),
        Value::Signed(number) => ("number", json!(number)),
        Value::YesNo(yes) => ("boolean", json!(yes)),
        Value::Named(number, _) => ("named", json!(number)),
        Value::Handle(handle) => ("handle", json!(handle.0)),
        Value::Pcrs(pcrs) => ("pcrs", json!(pcrs)),
        Value::Bytes(bytes) => ("bytes", json!(hex::encode(bytes))),
        Value::Null => ("null", Json::Null),
        Value::Secret(bytes) if secrets || bytes.expose().is_empty() => {
            ("secret", json!(hex::encode(bytes.expose())))
        }
        Value::Secret(_) => ("redacted", Json::Null),
        Value::Encrypted(bytes) => ("encrypted", json!(hex::encode(bytes))),
    };
    let mut out = json!({
        "name": field.name.to_string(),
        "offset": field.at,
        "length": field.length,
        "type": kind,
        "value": value,
    });
    if let Json::Object(object) = &mut out {
        if matches!(field.value, Value::Named(..) | Value::Handle(_)) {
            object.insert("text".to_owned(), json!(text));
        }
        if !field.children.is_empty() {
            object.insert("fields".to_owned(), json!(list(&field.children, secrets)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_holds() {
        let command =
            hex::decode("80020000002000000137400000010180000100000009400000090000000000000161ffff")
                .unwrap();
        let response = hex::decode("80010000000a000002c4").unwrap();
        let record = Record::of_bytes(5, 42, command, response);
        let json = decoded(3, &record, Shown::default());
        let at = |pointer: &str| {
            json.pointer(pointer)
                .unwrap_or_else(|| panic!("{pointer} in {json}"))
        };
        assert_eq!(at("/number"), 3);
        assert_eq!(at("/microseconds"), 42);
        assert_eq!(at("/command/name"), "NV_Write");
        assert_eq!(at("/command/message/handles/0/name"), "auth_handle");
        assert_eq!(at("/command/message/handles/0/text"), "TPM_RH_OWNER");
        assert_eq!(at("/command/message/sessions/0/kind"), "password");
        assert_eq!(at("/command/message/parameters/0/type"), "redacted");
        assert_eq!(at("/command/message/parameters/1/value"), 65535);
        assert_eq!(at("/response/result/name"), "TPM_RC_VALUE");
        assert_eq!(at("/response/result/place/kind"), "parameter");
        assert_eq!(at("/response/result/field"), "offset");
        let open = decoded(3, &record, Shown { secrets: true });
        assert_eq!(
            open.pointer("/command/message/parameters/0/value").unwrap(),
            "61"
        );
    }
}
