//! Bodies in JSON, by the same types as in XML.

use crate::fault::Fault;
use crate::node::{Node, Value};
use crate::schema::{Field, Kind, Shape, Type};
use crate::version::ApiVersion;
use crate::xml::{invalid, parsed, shown};
use serde_json::{Map, Value as Json};

/// A document. Fields that the version does not have are left out.
pub(crate) fn write(node: &Node, version: ApiVersion) -> String {
    Json::Object(object(node, version)).to_string()
}

fn object(node: &Node, version: ApiVersion) -> Map<String, Json> {
    let mut map = Map::new();
    for (field, values) in node.present() {
        if !field.is_in(version) {
            continue;
        }
        let mut written: Vec<Json> = values.iter().map(|value| json(value, version)).collect();
        if field.name == "type" {
            for value in &mut written {
                // Whoever follows a link in a document in JSON goes on in JSON.
                if let Some(media) = value.as_str().and_then(|text| text.strip_suffix("+xml")) {
                    *value = Json::from(format!("{media}+json"));
                }
            }
        }
        if let Some(group) = field.group {
            if let Kind::Node(ty) = field.kind {
                for value in &mut written {
                    if let Json::Object(inner) = value {
                        inner.insert("_type".to_owned(), Json::from(ty.name));
                    }
                }
            }
            let array = map
                .entry(group.to_owned())
                .or_insert_with(|| Json::Array(Vec::new()));
            if let Json::Array(array) = array {
                array.extend(written);
            }
        } else if field.shape == Shape::Many {
            map.insert(field.json_name(), Json::Array(written));
        } else if let Some(value) = written.pop() {
            map.insert(field.json_name(), value);
        }
    }
    map
}

fn json(value: &Value, version: ApiVersion) -> Json {
    match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Node(node) => Json::Object(object(node, version)),
    }
}

/// Reads a document of a type. Nesting has the limit of the parser, 128.
///
/// # Errors
/// When it is not JSON, or holds what the version does not have.
pub(crate) fn read(text: &[u8], ty: &'static Type, version: ApiVersion) -> Result<Node, Fault> {
    let json: Json = serde_json::from_slice(text)
        .map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
    node(&json, ty, version)
}

/// What objects may hold that nobody looks at.
const READ_OVER: &[&str] = &[
    "_type",
    "otherAttributes",
    "any",
    "vCloudExtension",
    "section",
];

fn node(json: &Json, ty: &'static Type, version: ApiVersion) -> Result<Node, Fault> {
    let Json::Object(map) = json else {
        return Err(invalid(format!("{} is an object", ty.name)));
    };
    let mut node = Node::of(ty);
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        let field = ty
            .fields()
            .find(|field| field.group.is_none() && field.json_name() == *key);
        match field {
            Some(field) if field.is_in(version) => add(&mut node, field, value, version)?,
            None if key == "section" => sections(&mut node, ty, value, version)?,
            None if READ_OVER.contains(&key.as_str()) => {}
            unknown => {
                let later = unknown
                    .and_then(|field| field.since)
                    .map_or_else(String::new, |since| {
                        format!("; the API has it from version {since} on")
                    });
                return Err(invalid(format!(
                    "Unrecognized field {} in {}{later}",
                    shown(key),
                    ty.name
                )));
            }
        }
    }
    Ok(node)
}

fn sections(
    node: &mut Node,
    ty: &'static Type,
    value: &Json,
    version: ApiVersion,
) -> Result<(), Fault> {
    let Json::Array(all) = value else {
        return Err(invalid("section is an array"));
    };
    for one in all {
        let name = one.get("_type").and_then(Json::as_str).unwrap_or_default();
        let field = ty.fields().find(|field| {
            field.group.is_some()
                && field.is_in(version)
                && matches!(field.kind, Kind::Node(inner) if inner.name == name)
        });
        if let Some(field) = field {
            add(node, field, one, version)?;
        }
    }
    Ok(())
}

fn add(
    node: &mut Node,
    field: &'static Field,
    json: &Json,
    version: ApiVersion,
) -> Result<(), Fault> {
    if field.kind == Kind::Loose {
        return Ok(());
    }
    match json {
        Json::Array(all) if field.shape == Shape::Many => {
            for one in all {
                let value = value(field, one, version)?;
                node.push(field.name, value);
            }
        }
        other => {
            if node.is_full(field) {
                return Err(invalid(format!("{} is there more than once", field.name)));
            }
            let value = value(field, other, version)?;
            node.push(field.name, value);
        }
    }
    Ok(())
}

fn value(field: &'static Field, json: &Json, version: ApiVersion) -> Result<Value, Fault> {
    match (field.kind, json) {
        (Kind::Node(ty), json) => Ok(Value::Node(self::node(json, ty, version)?)),
        (Kind::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Kind::Int, Json::Number(number)) => number
            .as_i64()
            .map(Value::Int)
            .ok_or_else(|| invalid(format!("{} is a whole number", field.json_name()))),
        (_, Json::String(text)) => parsed(field, text),
        _ => Err(invalid(format!(
            "{} has a value of the wrong kind",
            field.json_name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{entity, request};

    #[test]
    fn json_and_xml_hold_the_same() {
        let xml = "<ComposeVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\" name=\"a\" deploy=\"false\"><Description>d</Description><SourcedItem><Source href=\"h\"/><ReplaceTpm>true</ReplaceTpm></SourcedItem><CreateItem name=\"n\"><VmSpecSection><OsType>ubuntu64Guest</OsType><HardwareVersion>vmx-19</HardwareVersion></VmSpecSection><TrustedPlatformModule><TpmPresent>true</TpmPresent></TrustedPlatformModule></CreateItem></ComposeVAppParams>";
        let json = r#"{"name":"a","deploy":false,"description":"d","otherAttributes":{},"sourcedItem":[{"source":{"href":"h"},"replaceTpm":true}],
            "createItem":[{"name":"n","section":[{"_type":"VmSpecSectionType","osType":"ubuntu64Guest","hardwareVersion":{"value":"vmx-19"}},{"_type":"GuestCustomizationSectionType"}],
            "trustedPlatformModule":{"tpmPresent":true}}],"instantiationParams":null}"#;
        let version = ApiVersion::DEFAULT;
        let from_xml = crate::xml::read(xml, &[&request::COMPOSE_ROOT], version).unwrap();
        let from_json = read(json.as_bytes(), request::COMPOSE_ROOT.ty, version).unwrap();
        let again = write(&from_json, version);
        let again = read(again.as_bytes(), request::COMPOSE_ROOT.ty, version).unwrap();
        assert_eq!(again.text("name"), Some("a"));
        assert_eq!(
            crate::xml::write(&request::COMPOSE_ROOT, &from_xml, version),
            crate::xml::write(&request::COMPOSE_ROOT, &from_json, version)
        );
        assert_eq!(
            crate::xml::write(&request::COMPOSE_ROOT, &again, version),
            crate::xml::write(&request::COMPOSE_ROOT, &from_json, version)
        );
    }

    #[test]
    fn unknown_fields_and_wrong_kinds_are_refused() {
        for text in [
            "",
            "[]",
            "3",
            r#"{"tpmPresent":"maybe"}"#,
            r#"{"tpmPresent":1}"#,
            r#"{"tpmPresnt":true}"#,
            r#"{"tpmPresent":true"#,
        ] {
            assert_eq!(
                read(text.as_bytes(), &entity::TPM, ApiVersion::DEFAULT)
                    .unwrap_err()
                    .status,
                400,
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes(), &entity::TPM, ApiVersion::DEFAULT).is_err());
    }

    #[test]
    fn words_for_tpms_are_unknown_before_their_version() {
        let text = br#"{"name":"t","copyTpmOnInstantiate":true}"#;
        let ty = request::CAPTURE_ROOT.ty;
        assert!(read(text, ty, ApiVersion::TPM).is_ok());
        let fault = read(text, ty, ApiVersion::new(37, 1)).unwrap_err();
        assert!(fault.message.contains("37.2"), "{fault}");
    }
}
