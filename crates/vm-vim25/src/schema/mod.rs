//! The part of the vSphere API that this crate knows: data objects, faults, managed objects with their properties and methods,
//! each with the API version that it came with.
//!
//! `vim25.txt` is the table, one line per name, and `devices.txt` the part about hardware. Requests are checked against it, property paths are looked up in it, answers are
//! written in its order. What a managed object of the table can really do is what [`crate::methods`] has a function for.

use std::collections::BTreeMap;
use std::sync::OnceLock;

const TABLES: [&str; 2] = [include_str!("vim25.txt"), include_str!("devices.txt")];

/// What a name of the table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A data object.
    Data,
    /// A fault, which is a data object that can be thrown.
    Fault,
    /// A managed object.
    Managed,
}

/// The type of a field, parameter or result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TypeRef {
    /// Its name, that of the items for a list.
    pub(crate) name: &'static str,
    /// A reference to a managed object of that type.
    pub(crate) reference: bool,
    /// One of a few words.
    pub(crate) choice: bool,
    /// Any number of them.
    pub(crate) list: bool,
}

/// A field of a data object, a property of a managed object or a parameter of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) of: TypeRef,
    pub(crate) optional: bool,
    pub(crate) since: Version,
}

/// A method of a managed object.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) parameters: Vec<Field>,
    /// `None` if it answers nothing.
    pub(crate) result: Option<TypeRef>,
    pub(crate) since: Version,
}

/// A type of the table.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    base: Option<&'static str>,
    fields: Vec<Field>,
    methods: Vec<Method>,
}

/// A version of the API: four numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Version([u16; 4]);

impl Version {
    /// Reads `8.0.0.1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = [0u16; 4];
        let mut given = text.split('.');
        for part in &mut parts {
            match given.next() {
                Some(number) => *part = number.parse().ok()?,
                None => break,
            }
        }
        given.next().is_none().then_some(Self(parts))
    }
}

/// The whole table.
pub(crate) struct Schema {
    types: BTreeMap<&'static str, Type>,
    enums: BTreeMap<&'static str, Vec<&'static str>>,
}

/// The table, read once.
pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::read(&TABLES))
}

impl Schema {
    fn read(tables: &[&'static str]) -> Self {
        let mut types: BTreeMap<&'static str, Type> = BTreeMap::new();
        let mut enums = BTreeMap::new();
        let mut open: Option<Type> = None;
        for line in tables.iter().flat_map(|table| table.lines()) {
            if let Some(member) = line.strip_prefix("  ") {
                if let Some(of) = &mut open {
                    match member.split_once('(') {
                        Some((name, rest)) => of.methods.extend(method(name, rest)),
                        None => of.fields.extend(field(member)),
                    }
                }
                continue;
            }
            let mut words = line.split(' ');
            let kind = match words.next() {
                Some("data") => Kind::Data,
                Some("fault") => Kind::Fault,
                Some("managed") => Kind::Managed,
                Some("enum") => {
                    if let Some(name) = words.next() {
                        enums.insert(name, words.collect());
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(done) = open.take() {
                types.insert(done.name, done);
            }
            let name = words.next().unwrap_or_default();
            let base = words.next().map(|word| versioned(word).0);
            open = Some(Type {
                name,
                kind,
                base: base.filter(|base| !matches!(*base, "-" | "DynamicData")),
                fields: Vec::new(),
                methods: Vec::new(),
            });
        }
        if let Some(done) = open {
            types.insert(done.name, done);
        }
        Self { types, enums }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Type> {
        self.types.get(name)
    }

    /// The words of an enumeration.
    pub(crate) fn choices(&self, name: &str) -> Option<&[&'static str]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    #[cfg(test)]
    pub(crate) fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.values()
    }

    /// The type and those above it, itself first.
    pub(crate) fn line(&self, name: &str) -> impl Iterator<Item = &Type> {
        let mut at = self.types.get(name);
        std::iter::from_fn(move || {
            let here = at?;
            at = here.base.and_then(|base| self.types.get(base));
            Some(here)
        })
    }

    /// Whether `name` is `above` or comes from it.
    pub(crate) fn is(&self, name: &str, above: &str) -> bool {
        name == above
            || matches!(above, "DynamicData" | "anyType")
            || (above == "ManagedObject"
                && self.get(name).is_some_and(|it| it.kind == Kind::Managed))
            || self.line(name).any(|it| it.name == above)
    }

    /// Every field, those of the types above first.
    pub(crate) fn fields(&self, name: &str) -> Vec<&Field> {
        let line: Vec<&Type> = self.line(name).collect();
        line.iter().rev().flat_map(|it| &it.fields).collect()
    }

    pub(crate) fn field(&self, of: &str, name: &str) -> Option<&Field> {
        self.line(of)
            .flat_map(|it| &it.fields)
            .find(|field| field.name == name)
    }

    pub(crate) fn method(&self, of: &str, name: &str) -> Option<&Method> {
        self.line(of)
            .flat_map(|it| &it.methods)
            .find(|method| method.name == name)
    }
}

fn versioned(text: &'static str) -> (&'static str, Version) {
    match text.split_once('@') {
        Some((rest, version)) => (rest, Version::parse(version).unwrap_or_default()),
        None => (text, Version::default()),
    }
}

fn type_ref(text: &'static str) -> TypeRef {
    let (text, list) = match text.strip_suffix("[]") {
        Some(item) => (item, true),
        None => (text, false),
    };
    let reference = text.starts_with('&');
    let choice = text.starts_with('%');
    TypeRef {
        name: text.trim_start_matches(['&', '%']),
        reference,
        choice,
        list,
    }
}

fn field(text: &'static str) -> Option<Field> {
    let (name, rest) = text.split_once(' ')?;
    let (of, since) = versioned(rest);
    let (of, optional) = match of.strip_suffix('?') {
        Some(of) => (of, true),
        None => (of, false),
    };
    Some(Field {
        name,
        of: type_ref(of),
        optional,
        since,
    })
}

fn method(name: &'static str, rest: &'static str) -> Option<Method> {
    let (parameters, result) = rest.rsplit_once(") ")?;
    let (result, since) = versioned(result);
    Some(Method {
        name,
        parameters: parameters.split(", ").filter_map(field).collect(),
        result: (result != "-").then(|| type_ref(result)),
        since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let schema = schema();
        let members: usize = schema
            .types()
            .map(|it| it.fields.len() + it.methods.len())
            .sum();
        let all = || TABLES.iter().flat_map(|table| table.lines());
        let lines = all().filter(|line| line.starts_with("  ")).count();
        assert_eq!(members, lines);
        let heads = all().count() - lines;
        assert_eq!(schema.types.len() + schema.enums.len(), heads);
        for it in schema.types() {
            assert!(
                it.base.is_none_or(|base| schema.get(base).is_some()),
                "{}",
                it.name
            );
        }
    }

    #[test]
    fn fields_methods_and_versions_are_found() {
        let schema = schema();
        let policy = schema
            .field("VirtualMachineCloneSpec", "tpmProvisionPolicy")
            .unwrap();
        assert!(policy.optional && policy.since == Version([8, 0, 0, 1]));
        assert!(policy.since > Version::parse("7.0.3.0").unwrap());
        let clone = schema.method("VirtualMachine", "CloneVM_Task").unwrap();
        let names: Vec<&str> = clone.parameters.iter().map(|it| it.name).collect();
        assert_eq!(names, ["folder", "name", "spec"]);
        assert!(schema.method("VirtualMachine", "Destroy_Task").is_some());
        assert!(schema.is("NotAuthenticated", "MethodFault"));
        assert!(schema.is("VirtualTPM", "VirtualDevice"));
        assert!(!schema.is("VirtualDevice", "VirtualTPM"));
        assert_eq!(schema.fields("VirtualTPM")[0].name, "key");
        let off = schema.choices("VirtualMachinePowerState").unwrap();
        assert!(off.contains(&"poweredOff"));
    }
}
