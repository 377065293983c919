//! Arguments of a request: checked against the table, then read by name.

use crate::fault::{Fault, Outcome};
use crate::schema::{Field, Kind, Method, Version, schema};
use crate::value::MoRef;
use crate::xml::Element;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Checks the arguments of a method call: each has a name that the method knows in this version, and the shape of its type.
pub(crate) fn check(call: &Element, method: &Method, version: Version) -> Outcome<()> {
    for child in &call.children {
        if child.name == "_this" {
            continue;
        }
        let parameter = method
            .parameters
            .iter()
            .find(|parameter| parameter.name == child.name && parameter.since <= version)
            .ok_or_else(|| unexpected(&child.name, method.name))?;
        check_value(child, parameter, version)?;
    }
    for parameter in &method.parameters {
        let given = call.all(parameter.name).count();
        if given == 0 && !parameter.optional {
            return Err(Fault::invalid_request(format!(
                "Error parsing SOAP: the required parameter {} of {} is missing",
                parameter.name, method.name
            )));
        }
        if given > 1 && !parameter.of.list {
            return Err(unexpected(parameter.name, method.name));
        }
    }
    Ok(())
}

fn unexpected(name: &str, within: &str) -> Box<Fault> {
    let name: String = name.chars().take(80).collect();
    Fault::invalid_request(format!(
        "Error parsing SOAP: unexpected element tag \"{name}\" seen in {within}"
    ))
}

fn check_value(element: &Element, field: &Field, version: Version) -> Outcome<()> {
    let of = &field.of;
    if of.reference {
        return reference(element).map(|_| ());
    }
    let text = element.text.trim();
    let bad = || {
        Err(Fault::invalid_request(format!(
            "Error parsing SOAP: the value of \"{}\" is not a {}",
            element.name, of.name
        )))
    };
    if of.choice {
        return match schema().choices(of.name) {
            Some(words) if !words.contains(&text) => bad(),
            _ => Ok(()),
        };
    }
    let fits = match of.name {
        "boolean" => matches!(text, "true" | "false" | "1" | "0"),
        "int" => text.parse::<i32>().is_ok(),
        "long" => text.parse::<i64>().is_ok(),
        "short" => text.parse::<i16>().is_ok(),
        "base64Binary" => STANDARD.decode(without_space(text)).is_ok(),
        _ => true,
    };
    if !fits {
        return bad();
    }
    // An xsi:type may name a narrower type of the table. One that is not in the table is a thing that is not read.
    let kind = match &element.kind {
        Some(kind) if schema().get(kind).is_some() => {
            if schema().get(of.name).is_some() && !schema().is(kind, of.name) {
                return bad();
            }
            kind.as_str()
        }
        Some(_) => return Ok(()),
        None => of.name,
    };
    match schema().get(kind) {
        Some(known) if known.kind == Kind::Data => check_object(element, kind, version),
        _ => Ok(()),
    }
}

fn check_object(element: &Element, kind: &str, version: Version) -> Outcome<()> {
    for child in &element.children {
        let field = schema()
            .field(kind, &child.name)
            .filter(|field| field.since <= version)
            .ok_or_else(|| unexpected(&child.name, kind))?;
        check_value(child, field, version)?;
        if !field.of.list && element.all(&child.name).count() > 1 {
            return Err(unexpected(&child.name, kind));
        }
    }
    Ok(())
}

fn without_space(text: &str) -> String {
    text.split_ascii_whitespace().collect()
}

/// A reference as it was sent. Its type has to be one of the table, otherwise no such object can be here.
pub(crate) fn reference(element: &Element) -> Outcome<MoRef> {
    let id = element.text.trim().to_owned();
    let named = element.of.as_deref().unwrap_or_default();
    let kind = schema()
        .get(named)
        .filter(|it| it.kind == Kind::Managed)
        .map(|it| it.name);
    kind.map(|kind| MoRef::new(kind, id)).ok_or_else(|| {
        let named: String = named.chars().take(80).collect();
        Fault::invalid_request(format!(
            "Error parsing SOAP: \"{named}\" is not the type of a managed object that is known here"
        ))
    })
}

/// Reading arguments that were checked.
pub(crate) trait Read {
    /// The text of a field.
    fn text_of(&self, name: &str) -> Option<&str>;
    /// A field that is true or false; false if it is not there.
    fn flag(&self, name: &str) -> bool;
    /// A number.
    fn number(&self, name: &str) -> Option<i64>;
    /// Bytes of each field of that name.
    fn bytes(&self, name: &str) -> Vec<Vec<u8>>;
    /// A reference.
    fn reference(&self, name: &str) -> Outcome<Option<MoRef>>;
    /// References.
    fn references(&self, name: &str) -> Outcome<Vec<MoRef>>;
}

impl Read for Element {
    fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.text_of(name).map(str::trim), Some("true" | "1"))
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text_of(name)?.trim().parse().ok()
    }

    fn bytes(&self, name: &str) -> Vec<Vec<u8>> {
        self.all(name)
            .filter_map(|child| STANDARD.decode(without_space(&child.text)).ok())
            .collect()
    }

    fn reference(&self, name: &str) -> Outcome<Option<MoRef>> {
        self.child(name).map(reference).transpose()
    }

    fn references(&self, name: &str) -> Outcome<Vec<MoRef>> {
        self.all(name).map(reference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, read};

    fn check_clone(spec: &str, version: &str) -> Outcome<()> {
        let body = format!(
            "<CloneVM_Task xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><_this type='VirtualMachine'>vm-1</_this><folder type='Folder'>group-v3</folder><name>n</name><spec>{spec}</spec></CloneVM_Task>"
        );
        let call = read(body.as_bytes(), Limits::default()).unwrap();
        let method = schema().method("VirtualMachine", "CloneVM_Task").unwrap();
        check(&call, method, Version::parse(version).unwrap())
    }

    #[test]
    fn a_field_of_a_later_version_is_unexpected() {
        let spec = "<location/><template>false</template><powerOn>0</powerOn><tpmProvisionPolicy>replace</tpmProvisionPolicy>";
        assert!(check_clone(spec, "8.0.3.0").is_ok());
        let fault = check_clone(spec, "7.0.3.0").unwrap_err();
        assert_eq!(fault.kind(), "InvalidRequest");
        assert!(fault.message.contains("tpmProvisionPolicy"));
    }

    #[test]
    fn names_and_shapes_are_checked_all_the_way_down() {
        for (spec, fine) in [
            (
                "<location><datastore type='Datastore'>d</datastore></location><powerOn>true</powerOn>",
                true,
            ),
            ("<location><nonsense/></location>", false),
            ("<powerOn>maybe</powerOn>", false),
            ("<location/><location/>", false),
            (
                "<location><datastore type='Nonsense'>d</datastore></location>",
                false,
            ),
            (
                "<location><cryptoSpec xsi:type='CryptoSpecDecrypt'/></location>",
                true,
            ),
            (
                "<location><cryptoSpec xsi:type='CloneSpec'/></location>",
                true,
            ),
            (
                "<location><cryptoSpec xsi:type='KeyProviderId'/></location>",
                false,
            ),
            ("<location><transform>round</transform></location>", false),
            ("<config><numCPUs>two</numCPUs></config>", false),
        ] {
            assert_eq!(check_clone(spec, "8.0.3.0").is_ok(), fine, "{spec}");
        }
    }
}
