//! Values of the API: what properties and answers hold.

use crate::fault::Fault;
use crate::schema::{TypeRef, Version, schema};
use crate::xml::Writer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vm_inventory::model::Timestamp;

/// A reference to a managed object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct MoRef {
    /// Its type.
    pub(crate) kind: &'static str,
    /// Its identifier, unique for one vCenter.
    pub(crate) id: String,
}

impl MoRef {
    pub(crate) fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Short(i16),
    Int(i32),
    Long(i64),
    Text(String),
    /// A word of an enumeration.
    Choice(&'static str, String),
    Time(Timestamp),
    Bytes(Vec<u8>),
    Ref(MoRef),
    Object(Object),
    Fault(Box<Fault>),
    /// Values of one type, whose name is that of its items.
    List(&'static str, Vec<Value>),
}

/// A data object. Fields that are not set are not there.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Object {
    pub(crate) kind: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Object {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            fields: Vec::new(),
        }
    }

    /// The same with a field set.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same with a field set if there is something to set it to.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The same with a field not set.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| *field != name);
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// Sets a field, whatever it was.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(field, _)| *field == name) {
            Some((_, own)) => *own = value,
            None => self.fields.push((name, value)),
        }
    }

    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.fields.iter().position(|(field, _)| *field == name)?;
        Some(self.fields.remove(at).1)
    }

    /// Whether no field is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Sets every field that `over` has; objects of one kind are laid over each other in turn.
    pub(crate) fn overlay(&mut self, over: Self) {
        for (name, value) in over.fields {
            let own = self.fields.iter_mut().find(|(field, _)| *field == name);
            match (own, value) {
                (Some((_, Value::Object(own))), Value::Object(over)) if own.kind == over.kind => {
                    own.overlay(over);
                }
                (Some((_, own)), value) => *own = value,
                (None, value) => self.fields.push((name, value)),
            }
        }
    }

    /// A number among the fields.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Short(number) => Some(i64::from(*number)),
            Value::Int(number) => Some(i64::from(*number)),
            Value::Long(number) => Some(*number),
            _ => None,
        }
    }

    /// A text among the fields.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Names of fields that the table does not have.
    #[cfg(test)]
    pub(crate) fn strangers(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .fields
            .iter()
            .filter(|(name, _)| schema().field(self.kind, name).is_none())
            .map(|(name, _)| format!("{}.{name}", self.kind))
            .collect();
        for (_, value) in &self.fields {
            found.extend(value.strangers());
        }
        found
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident,)*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool,
    i16 => Short,
    i32 => Int,
    i64 => Long,
    String => Text,
    &str => Text,
    Timestamp => Time,
    Vec<u8> => Bytes,
    MoRef => Ref,
    Object => Object,
    Box<Fault> => Fault,
}

impl Value {
    /// A word of an enumeration.
    pub(crate) fn choice(kind: &'static str, word: &str) -> Self {
        Self::Choice(kind, word.to_owned())
    }

    /// References as one value.
    pub(crate) fn refs(refs: impl IntoIterator<Item = MoRef>) -> Self {
        Self::List(
            "ManagedObjectReference",
            refs.into_iter().map(Value::Ref).collect(),
        )
    }

    /// Data objects of one type as one value.
    pub(crate) fn objects(kind: &'static str, objects: impl IntoIterator<Item = Object>) -> Self {
        Self::List(kind, objects.into_iter().map(Value::Object).collect())
    }

    /// What `xsi:type` says of it.
    fn type_name(&self) -> String {
        match self {
            Self::Bool(_) => "xsd:boolean".to_owned(),
            Self::Short(_) => "xsd:short".to_owned(),
            Self::Int(_) => "xsd:int".to_owned(),
            Self::Long(_) => "xsd:long".to_owned(),
            Self::Text(_) => "xsd:string".to_owned(),
            Self::Choice(kind, _) => (*kind).to_owned(),
            Self::Time(_) => "xsd:dateTime".to_owned(),
            Self::Bytes(_) => "xsd:base64Binary".to_owned(),
            Self::Ref(_) => "ManagedObjectReference".to_owned(),
            Self::Object(object) => object.kind.to_owned(),
            Self::Fault(_) => "LocalizedMethodFault".to_owned(),
            Self::List(of, _) => {
                let mut name = (*of).to_owned();
                if let Some(first) = name.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                format!("ArrayOf{name}")
            }
        }
    }

    /// Writes the value as the element `name`, of which a reader expects `declared`; one element per item for a list that is expected.
    pub(crate) fn write(
        &self,
        writer: &mut Writer,
        name: &str,
        declared: Option<&TypeRef>,
        version: Version,
    ) {
        let open = declared.is_none_or(|declared| declared.name == "anyType");
        if let Self::List(of, items) = self {
            if declared.is_some_and(|declared| declared.list) {
                for item in items {
                    item.write(writer, name, declared, version);
                }
                return;
            }
            writer.open(name, &[("xsi:type", &self.type_name())]);
            let item_type = TypeRef {
                name: of,
                reference: *of == "ManagedObjectReference",
                choice: false,
                list: false,
            };
            for item in items {
                item.write(writer, of, Some(&item_type), version);
            }
            writer.close(name);
            return;
        }
        let type_name = self.type_name();
        let mut attributes: Vec<(&str, &str)> = Vec::new();
        if open || matches!(self, Self::Object(_)) {
            attributes.push(("xsi:type", &type_name));
        }
        match self {
            Self::Object(object) => {
                writer.open(name, &attributes);
                object.write_fields(writer, version);
                writer.close(name);
            }
            Self::Fault(fault) => {
                writer.open(name, &attributes);
                fault.write(writer, "fault", version);
                writer.leaf("localizedMessage", &[], &fault.message);
                writer.close(name);
            }
            Self::Ref(reference) => {
                attributes.push(("type", reference.kind));
                writer.leaf(name, &attributes, &reference.id);
            }
            other => writer.leaf(name, &attributes, &other.text()),
        }
    }

    /// The text of a plain value.
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Text(value) | Self::Choice(_, value) => value.clone(),
            Self::Time(value) => date_time(*value),
            Self::Bytes(value) => STANDARD.encode(value),
            Self::Ref(_) | Self::Object(_) | Self::Fault(_) | Self::List(..) => String::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn strangers(&self) -> Vec<String> {
        match self {
            Self::Object(object) => object.strangers(),
            Self::List(_, items) => items.iter().flat_map(Self::strangers).collect(),
            _ => Vec::new(),
        }
    }
}

impl Object {
    /// Writes the fields in the order of the table, without those that came later than `version`.
    pub(crate) fn write_fields(&self, writer: &mut Writer, version: Version) {
        for field in schema().fields(self.kind) {
            if field.since <= version
                && let Some(value) = self.get(field.name)
            {
                value.write(writer, field.name, Some(&field.of), version);
            }
        }
    }
}

/// A time as clients write it, with or without fractions of seconds and an offset.
pub(crate) fn read_time(text: &str) -> Option<Timestamp> {
    let (moment, rest) = text.split_at_checked(19)?;
    let moment: der::DateTime = format!("{moment}Z").parse().ok()?;
    let seconds = moment.unix_duration().as_secs();
    let offset = rest.trim_start_matches(|it: char| it == '.' || it.is_ascii_digit());
    if matches!(offset, "" | "Z") {
        return Some(Timestamp(seconds));
    }
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let ahead = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60;
    match offset.get(..1)? {
        "+" => seconds.checked_sub(ahead).map(Timestamp),
        "-" => Some(Timestamp(seconds + ahead)),
        _ => None,
    }
}

/// Seconds as a date and time in UTC.
pub(crate) fn date_time(at: Timestamp) -> String {
    let moment = der::DateTime::from_unix_duration(std::time::Duration::from_secs(at.0));
    moment.map_or_else(
        |_| "9999-12-31T23:59:59Z".to_owned(),
        |moment| moment.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value, declared: Option<&TypeRef>) -> String {
        let mut writer = Writer::default();
        let version = Version::parse("7.0.3.0").unwrap();
        value.write(&mut writer, "val", declared, version);
        writer.finish()
    }

    #[test]
    fn values_of_any_type_say_which() {
        assert_eq!(
            written(&Value::from("a<b"), None),
            "<val xsi:type=\"xsd:string\">a&lt;b</val>"
        );
        assert_eq!(
            written(&Value::from(Timestamp(0)), None),
            "<val xsi:type=\"xsd:dateTime\">1970-01-01T00:00:00Z</val>"
        );
        assert_eq!(
            written(&Value::refs([MoRef::new("Folder", "group-d1")]), None),
            "<val xsi:type=\"ArrayOfManagedObjectReference\"><ManagedObjectReference type=\"Folder\">group-d1</ManagedObjectReference></val>"
        );
        assert_eq!(
            written(&Value::List("string", vec!["a".into()]), None),
            "<val xsi:type=\"ArrayOfString\"><string>a</string></val>"
        );
    }

    #[test]
    fn fields_stand_in_the_order_of_the_table_and_later_ones_are_left_out() {
        let hardware = Object::new("VirtualHardware")
            .with("motherboardLayout", "i440bxHostBridge")
            .with("memoryMB", 4)
            .with("numCPU", 1);
        assert_eq!(
            written(&hardware.into(), None),
            "<val xsi:type=\"VirtualHardware\"><numCPU>1</numCPU><memoryMB>4</memoryMB></val>"
        );
    }
}
