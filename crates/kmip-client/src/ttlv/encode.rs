//! Items to bytes.

use super::{Item, Value};

/// Writes an item. `None` if it is longer than a 32-bit length can say.
///
/// Requests of this client hold no secret, so the bytes are plain ones.
pub fn encode(item: &Item<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    write(item, &mut bytes)?;
    Some(bytes)
}

fn write(item: &Item<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut body = Vec::new();
    match &item.value {
        Value::Structure(items) => {
            for inner in items {
                write(inner, &mut body)?;
            }
        }
        Value::Integer(value) => body.extend(value.to_be_bytes()),
        Value::LongInteger(value) | Value::DateTime(value) => body.extend(value.to_be_bytes()),
        Value::Enumeration(value) | Value::Interval(value) => body.extend(value.to_be_bytes()),
        Value::Boolean(value) => body.extend(u64::from(*value).to_be_bytes()),
        Value::TextString(text) => body.extend(text.as_bytes()),
        Value::BigInteger(bytes) | Value::ByteString(bytes) => body.extend(*bytes),
    }
    let [_, tag @ ..] = item.tag.0.to_be_bytes();
    out.extend(tag);
    out.push(item.value.type_code());
    out.extend(u32::try_from(body.len()).ok()?.to_be_bytes());
    let padded = body.len().next_multiple_of(8);
    body.resize(padded, 0);
    out.append(&mut body);
    Some(())
}
