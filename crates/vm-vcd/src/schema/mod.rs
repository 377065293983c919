//! The types of the API, written down once: bodies in XML and in JSON are read and written by them.
//!
//! Names, order and media types are those of the API's XML schema, as far as clients use them. Elements that this server has nothing
//! to do with (networks, sizes, guest customization) stand here too, as loose ones: they are read over.

pub(crate) mod entity;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod section;

use crate::version::ApiVersion;
use std::fmt;

/// The namespaces of elements and attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Namespace {
    /// The API's own; its attributes have no namespace.
    Vcloud,
    /// Its extension for administrators of the system.
    Extension,
    /// OVF envelopes.
    Ovf,
    /// VMware's additions to OVF.
    Vmw,
    /// Settings of a resource: items of virtual hardware.
    Rasd,
    /// Types named where values stand.
    Xsi,
}

impl Namespace {
    /// Every one with the prefix that documents declare for it.
    pub(crate) const ALL: &'static [(Self, &'static str)] = &[
        (Self::Vcloud, ""),
        (Self::Extension, "vmext"),
        (Self::Ovf, "ovf"),
        (Self::Vmw, "vmw"),
        (Self::Rasd, "rasd"),
        (Self::Xsi, "xsi"),
    ];

    /// Its URI.
    pub(crate) fn uri(self) -> &'static str {
        match self {
            Self::Vcloud => "http://www.vmware.com/vcloud/v1.5",
            Self::Extension => "http://www.vmware.com/vcloud/extension/v1.5",
            Self::Ovf => "http://schemas.dmtf.org/ovf/envelope/1",
            Self::Vmw => "http://www.vmware.com/schema/ovf",
            Self::Rasd => {
                "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
            }
            Self::Xsi => "http://www.w3.org/2001/XMLSchema-instance",
        }
    }

    /// The prefix, colon included.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Vcloud => "",
            Self::Extension => "vmext:",
            Self::Ovf => "ovf:",
            Self::Vmw => "vmw:",
            Self::Rasd => "rasd:",
            Self::Xsi => "xsi:",
        }
    }
}

/// Where a field stands in XML, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// An attribute.
    Attribute,
    /// The text of the element itself.
    Content,
    /// An element, once.
    One,
    /// An element, any number of times.
    Many,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// A number.
    Int,
    /// A complex type.
    Node(&'static Type),
    /// Anything: it is read over.
    Loose,
}

/// One field of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    /// Its name in XML; in JSON the first letter is small.
    pub name: &'static str,
    /// Its namespace.
    pub namespace: Namespace,
    /// Where it stands.
    pub shape: Shape,
    /// What it holds.
    pub kind: Kind,
    /// The first version that has it.
    pub since: Option<ApiVersion>,
    /// In JSON it is one of an array of this name, told apart by `_type`.
    pub group: Option<&'static str>,
}

impl Field {
    const fn new(name: &'static str, shape: Shape, kind: Kind) -> Self {
        Self {
            name,
            namespace: Namespace::Vcloud,
            shape,
            kind,
            since: None,
            group: None,
        }
    }

    const fn of(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    const fn since(mut self, version: ApiVersion) -> Self {
        self.since = Some(version);
        self
    }

    const fn section(self) -> Self {
        self.grouped("section")
    }

    const fn grouped(mut self, array: &'static str) -> Self {
        self.group = Some(array);
        self
    }

    /// Whether a version has it.
    pub(crate) fn is_in(&self, version: ApiVersion) -> bool {
        self.since.is_none_or(|since| version >= since)
    }

    /// Its name in JSON.
    pub(crate) fn json_name(&self) -> String {
        if self.shape == Shape::Content {
            return "value".to_owned();
        }
        if self.namespace == Namespace::Xsi {
            return format!("_{}", self.name);
        }
        let mut letters = self.name.chars();
        match letters.next() {
            Some(first) => first.to_lowercase().chain(letters).collect(),
            None => String::new(),
        }
    }
}

const fn attribute(name: &'static str) -> Field {
    Field::new(name, Shape::Attribute, Kind::Text)
}

const fn flag(name: &'static str) -> Field {
    Field::new(name, Shape::Attribute, Kind::Bool)
}

const fn number(name: &'static str) -> Field {
    Field::new(name, Shape::Attribute, Kind::Int)
}

const fn text(name: &'static str) -> Field {
    Field::new(name, Shape::One, Kind::Text)
}

const fn boolean(name: &'static str) -> Field {
    Field::new(name, Shape::One, Kind::Bool)
}

const fn integer(name: &'static str) -> Field {
    Field::new(name, Shape::One, Kind::Int)
}

const fn one(name: &'static str, ty: &'static Type) -> Field {
    Field::new(name, Shape::One, Kind::Node(ty))
}

const fn many(name: &'static str, ty: &'static Type) -> Field {
    Field::new(name, Shape::Many, Kind::Node(ty))
}

const fn loose(name: &'static str) -> Field {
    Field::new(name, Shape::Many, Kind::Loose)
}

const fn content() -> Field {
    Field::new("value", Shape::Content, Kind::Text)
}

/// A complex type: its fields, after those of the type that it extends.
pub(crate) struct Type {
    /// Its name, `Type` included.
    pub name: &'static str,
    /// What it extends.
    pub base: Option<&'static Type>,
    /// Its own fields.
    pub own: &'static [Field],
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Type {}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Type {
    const fn extending(name: &'static str, base: &'static Type, own: &'static [Field]) -> Self {
        Self {
            name,
            base: Some(base),
            own,
        }
    }

    const fn new(name: &'static str, own: &'static [Field]) -> Self {
        Self {
            name,
            base: None,
            own,
        }
    }

    /// Every field, inherited ones first: the order of elements in XML.
    pub(crate) fn fields(&self) -> Box<dyn Iterator<Item = &'static Field>> {
        match self.base {
            Some(base) => Box::new(base.fields().chain(self.own)),
            None => Box::new(self.own.iter()),
        }
    }

    /// A field by its name in XML.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields().find(|field| field.name == name)
    }
}

/// What may stand at the root of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    /// The element.
    pub element: &'static str,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its type.
    pub ty: &'static Type,
    /// Its media type without `+xml` or `+json`.
    pub media: &'static str,
}

impl Root {
    const fn new(element: &'static str, ty: &'static Type, media: &'static str) -> Self {
        Self {
            element,
            namespace: Namespace::Vcloud,
            ty,
            media,
        }
    }

    const fn extension(element: &'static str, ty: &'static Type, media: &'static str) -> Self {
        Self {
            element,
            namespace: Namespace::Extension,
            ty,
            media,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_begin_small() {
        assert_eq!(text("AllEULAsAccepted").json_name(), "allEULAsAccepted");
        assert_eq!(text("VAppParent").json_name(), "vAppParent");
        assert_eq!(attribute("href").json_name(), "href");
    }

    #[test]
    fn no_type_has_a_field_twice() {
        fn check(ty: &'static Type, seen: &mut Vec<&'static str>) {
            if seen.contains(&ty.name) {
                return;
            }
            seen.push(ty.name);
            let mut names: Vec<&str> = ty.fields().map(|field| field.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}", ty.name);
            for field in ty.fields() {
                if let Kind::Node(inner) = field.kind {
                    check(inner, seen);
                }
            }
        }
        let mut seen = Vec::new();
        for root in request::ALL {
            check(root.ty, &mut seen);
        }
        for root in entity::ALL {
            check(root.ty, &mut seen);
        }
        assert!(seen.len() > 40, "{seen:?}");
    }
}
