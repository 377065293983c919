//! The payloads of each operation (KMIP 1.4, 4), written and read.

use super::{
    KeyAttributes, KeyState, ProtocolVersion, RevocationReason, ServerDescription,
    reply::{read_version, wrong},
};
use crate::{
    error::Fault,
    key::{KEY_LENGTH, KeyBytes, is_key_id},
    ttlv::{Item, Tag, Value},
};

const ALGORITHM: &str = "Cryptographic Algorithm";
const LENGTH: &str = "Cryptographic Length";
const USAGE: &str = "Cryptographic Usage Mask";
const NAME: &str = "Name";
const STATE: &str = "State";

const SYMMETRIC_KEY: u32 = 2;
const AES: u32 = 3;
const RAW: u32 = 1;
const BITS: i32 = 256;
/// Encrypt and decrypt (KMIP 1.4, 9.1.3.3.1): what key servers let such a key do, and what it is for here.
const ENCRYPT_AND_DECRYPT: i32 = 4 | 8;
const UNINTERPRETED_TEXT: u32 = 1;
/// Query Operations and Query Server Information (KMIP 1.4, 9.1.3.2.24).
const QUERY_OPERATIONS: u32 = 1;
const QUERY_SERVER: u32 = 3;

/// Asks for a new AES-256 key.
pub(crate) fn create<'a>(name: Option<&'a str>) -> Vec<Item<'a>> {
    let mut template = vec![
        attribute(ALGORITHM, Value::Enumeration(AES)),
        attribute(LENGTH, Value::Integer(BITS)),
        attribute(USAGE, Value::Integer(ENCRYPT_AND_DECRYPT)),
    ];
    template.extend(name.map(name_attribute));
    vec![
        Item::enumeration(Tag::OBJECT_TYPE, SYMMETRIC_KEY),
        Item::structure(Tag::TEMPLATE_ATTRIBUTE, template),
    ]
}

/// The id of a key just made.
pub(crate) fn created(payload: &Item<'_>) -> Result<String, Fault> {
    let kind = payload.require(Tag::OBJECT_TYPE)?.as_enumeration()?;
    if kind != SYMMETRIC_KEY {
        return Err(wrong(format!("it made an object of type {kind}, no key")));
    }
    id_of(payload.require(Tag::UNIQUE_IDENTIFIER)?)
}

/// Asks for the keys of a name, or for all symmetric keys.
pub(crate) fn locate<'a>(name: Option<&'a str>, at_most: i32) -> Vec<Item<'a>> {
    let mut payload = vec![
        Item::integer(Tag::MAXIMUM_ITEMS, at_most),
        attribute("Object Type", Value::Enumeration(SYMMETRIC_KEY)),
    ];
    payload.extend(name.map(name_attribute));
    payload
}

/// The ids that were found.
pub(crate) fn located(payload: &Item<'_>) -> Result<Vec<String>, Fault> {
    let ids = payload.items().iter();
    ids.filter(|item| item.tag == Tag::UNIQUE_IDENTIFIER)
        .map(id_of)
        .collect()
}

/// Says which object is meant.
pub(crate) fn unique_identifier(key_id: &str) -> Item<'_> {
    Item::text(Tag::UNIQUE_IDENTIFIER, key_id)
}

/// Says why a key's use ends.
pub(crate) fn reason_of(reason: RevocationReason) -> Vec<Item<'static>> {
    let code = match reason {
        RevocationReason::Unspecified => 1,
        RevocationReason::KeyCompromise { .. } => 2,
        RevocationReason::Superseded => 5,
    };
    let mut items = vec![Item::structure(
        Tag::REVOCATION_REASON,
        vec![Item::enumeration(Tag::REVOCATION_REASON_CODE, code)],
    )];
    if let RevocationReason::KeyCompromise { since } = reason {
        items.push(Item::new(
            Tag::COMPROMISE_OCCURRENCE_DATE,
            Value::DateTime(since),
        ));
    }
    items
}

/// Checks that a reply is about the key that was asked for.
pub(crate) fn same_key(payload: &Item<'_>, key_id: &str) -> Result<(), Fault> {
    let found = payload.require(Tag::UNIQUE_IDENTIFIER)?.as_text()?;
    if found == key_id {
        return Ok(());
    }
    let found: String = found.chars().take(200).collect();
    Err(wrong(format!(
        "it is about key {found:?}, asked for was {key_id:?}"
    )))
}

/// The bytes of a key, which have to be those of an AES-256 key in the clear.
pub(crate) fn object(payload: &Item<'_>, key_id: &str) -> Result<KeyBytes, Fault> {
    same_key(payload, key_id)?;
    let shape = |reason: String| Fault::KeyShape(reason);
    let kind = payload.require(Tag::OBJECT_TYPE)?.as_enumeration()?;
    if kind != SYMMETRIC_KEY {
        return Err(shape(format!("it is an object of type {kind}")));
    }
    let block = payload
        .require(Tag::SYMMETRIC_KEY)?
        .require(Tag::KEY_BLOCK)?;
    if block.child(Tag::KEY_WRAPPING_DATA).is_some() {
        return Err(shape("the server hands it out wrapped only".to_owned()));
    }
    let format = block.require(Tag::KEY_FORMAT_TYPE)?.as_enumeration()?;
    if format != RAW {
        return Err(shape(format!("its key format type is {format}, not raw")));
    }
    // Algorithm and length may be left out where the server does not know them; the number of bytes decides then.
    if let Some(algorithm) = block.child(Tag::CRYPTOGRAPHIC_ALGORITHM) {
        let algorithm = algorithm.as_enumeration()?;
        if algorithm != AES {
            return Err(shape(format!("its algorithm is {algorithm}, not AES")));
        }
    }
    if let Some(bits) = block.child(Tag::CRYPTOGRAPHIC_LENGTH) {
        let bits = bits.as_integer()?;
        if bits != BITS {
            return Err(shape(format!("it has {bits} bits")));
        }
    }
    let material = block
        .require(Tag::KEY_VALUE)?
        .require(Tag::KEY_MATERIAL)?
        .as_bytes()?;
    KeyBytes::copy_of(material)
        .ok_or_else(|| shape(format!("it has {} bytes, not {KEY_LENGTH}", material.len())))
}

/// Asks for the attributes of a key.
pub(crate) fn attributes(key_id: &str) -> Vec<Item<'_>> {
    let mut payload = vec![unique_identifier(key_id)];
    payload.extend([STATE, ALGORITHM, LENGTH, NAME].map(|n| Item::text(Tag::ATTRIBUTE_NAME, n)));
    payload
}

impl KeyAttributes {
    pub(crate) fn read(payload: &Item<'_>, key_id: &str) -> Result<Self, Fault> {
        same_key(payload, key_id)?;
        let mut attributes = Self::default();
        for item in payload.items().iter().filter(|i| i.tag == Tag::ATTRIBUTE) {
            let name = item.require(Tag::ATTRIBUTE_NAME)?.as_text()?;
            let value = item.require(Tag::ATTRIBUTE_VALUE)?;
            match name {
                STATE => {
                    let code = value.as_enumeration()?;
                    let state = KeyState::from_code(code)
                        .ok_or_else(|| wrong(format!("key state {code} does not exist")))?;
                    attributes.state = Some(state);
                }
                ALGORITHM => attributes.is_aes = Some(value.as_enumeration()? == AES),
                LENGTH => attributes.bits = Some(value.as_integer()?),
                NAME => {
                    let name = value.require(Tag::NAME_VALUE)?.as_text()?;
                    attributes.names.push(name.to_owned());
                }
                _ => {}
            }
        }
        Ok(attributes)
    }
}

/// Asks what the server does and who made it.
pub(crate) fn query() -> Vec<Item<'static>> {
    [QUERY_OPERATIONS, QUERY_SERVER]
        .map(|function| Item::enumeration(Tag::QUERY_FUNCTION, function))
        .to_vec()
}

/// What the server does and who made it.
pub(crate) fn query_answer(
    payload: &Item<'_>,
    version: ProtocolVersion,
) -> Result<ServerDescription, Fault> {
    let vendor = match payload.child(Tag::VENDOR_IDENTIFICATION) {
        Some(vendor) => vendor.as_text()?,
        None => "",
    };
    let operations = payload.items().iter().filter(|i| i.tag == Tag::OPERATION);
    Ok(ServerDescription {
        version,
        vendor: vendor
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
        operations: operations
            .map(Item::as_enumeration)
            .collect::<Result<_, _>>()?,
    })
}

/// Names the versions that this client speaks.
pub(crate) fn versions() -> Vec<Item<'static>> {
    ProtocolVersion::SPOKEN.map(ProtocolVersion::item).to_vec()
}

/// The versions that a server names.
pub(crate) fn version_list(payload: &Item<'_>) -> Result<Vec<ProtocolVersion>, Fault> {
    let items = payload.items().iter();
    items
        .filter(|item| item.tag == Tag::PROTOCOL_VERSION)
        .map(read_version)
        .collect()
}

fn id_of(item: &Item<'_>) -> Result<String, Fault> {
    let id = item.as_text()?;
    if is_key_id(id) {
        return Ok(id.to_owned());
    }
    Err(wrong(
        "a key id is empty, longer than 200 bytes or holds control characters".to_owned(),
    ))
}

fn name_attribute(name: &str) -> Item<'_> {
    attribute(
        NAME,
        Value::Structure(vec![
            Item::text(Tag::NAME_VALUE, name),
            Item::enumeration(Tag::NAME_TYPE, UNINTERPRETED_TEXT),
        ]),
    )
}

fn attribute<'a>(name: &'static str, value: Value<'a>) -> Item<'a> {
    Item::structure(
        Tag::ATTRIBUTE,
        vec![
            Item::text(Tag::ATTRIBUTE_NAME, name),
            Item::new(Tag::ATTRIBUTE_VALUE, value),
        ],
    )
}
