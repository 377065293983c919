//! Data objects as clients gave them: read by the table, and kept as text until somebody asks.

use crate::arguments;
use crate::schema::{Kind, TypeRef, Version, schema};
use crate::value::{Object, Value, read_time};
use crate::xml::{Element, Limits, Writer, read};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The data object that an element is; `None` if its type is not in the table. The element was checked against the table.
pub(crate) fn object(element: &Element, declared: &str) -> Option<Object> {
    let kind = element.kind.as_deref().unwrap_or(declared);
    let known = schema().get(kind).filter(|it| it.kind == Kind::Data)?;
    let mut made = Object::new(known.name);
    for field in schema().fields(known.name) {
        let mut given = element
            .all(field.name)
            .filter_map(|child| value(child, &field.of));
        if field.of.list {
            let items: Vec<Value> = given.collect();
            if !items.is_empty() {
                let of = if field.of.reference {
                    "ManagedObjectReference"
                } else {
                    field.of.name
                };
                made.set(field.name, Value::List(of, items));
            }
        } else if let Some(value) = given.next() {
            made.set(field.name, value);
        }
    }
    Some(made)
}

fn value(element: &Element, of: &TypeRef) -> Option<Value> {
    if of.reference {
        return arguments::reference(element).ok().map(Value::Ref);
    }
    let text = element.text.trim();
    if of.choice {
        return Some(Value::Choice(of.name, text.to_owned()));
    }
    let name = match of.name {
        "anyType" => element.kind.as_deref().unwrap_or("string"),
        name => name,
    };
    match name {
        "boolean" => Some(matches!(text, "true" | "1").into()),
        "short" => text.parse().ok().map(Value::Short),
        "int" => text.parse().ok().map(Value::Int),
        "long" => text.parse().ok().map(Value::Long),
        "dateTime" => read_time(text).map(Value::Time),
        "base64Binary" => STANDARD.decode(text).ok().map(Value::Bytes),
        name if schema().get(name).is_some() => object(element, name).map(Value::Object),
        name if name.starts_with(|first: char| first.is_ascii_lowercase()) => {
            Some(element.text.as_str().into())
        }
        _ => None,
    }
}

/// An object as text.
pub(crate) fn stored(object: &Object) -> String {
    let mut writer = Writer::default();
    writer.open(
        "kept",
        &[("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")],
    );
    let newest = Version::parse("65535").unwrap_or_default();
    Value::from(object.clone()).write(&mut writer, "object", None, newest);
    writer.close("kept");
    writer.finish()
}

/// The object that such a text is; none of it if there is none.
pub(crate) fn read_back(text: &str, kind: &'static str) -> Object {
    let nothing = || Object::new(kind);
    if text.is_empty() {
        return nothing();
    }
    match read(text.as_bytes(), Limits::default()) {
        Ok(kept) => kept
            .child("object")
            .and_then(|element| object(element, kind))
            .unwrap_or_else(nothing),
        Err(error) => {
            tracing::error!("settings of a VM cannot be read: {}", error.0);
            nothing()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_comes_back_with_its_types() {
        let text = "<o xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='VirtualMachineConfigInfo'><extraConfig><key>a</key><value xsi:type='xsd:int'>7</value></extraConfig><bootOptions><bootOrder xsi:type='VirtualMachineBootOptionsBootableDiskDevice'><deviceKey>2000</deviceKey></bootOrder></bootOptions><nestedHVEnabled>true</nestedHVEnabled></o>";
        let given = object(
            &read(text.as_bytes(), Limits::default()).unwrap(),
            "VirtualMachineConfigInfo",
        )
        .unwrap();
        assert_eq!(given.strangers(), Vec::<String>::new());
        assert_eq!(given.get("nestedHVEnabled"), Some(&true.into()));
        let back = read_back(&stored(&given), "VirtualMachineConfigInfo");
        assert_eq!(back, given);
        let Some(Value::List("OptionValue", options)) = back.get("extraConfig") else {
            panic!("{back:?}");
        };
        let Some(Value::Object(option)) = options.first() else {
            panic!("{options:?}");
        };
        assert_eq!(option.get("value"), Some(&7.into()));
        assert!(read_back("", "VirtualMachineConfigInfo").is_empty());
    }
}
