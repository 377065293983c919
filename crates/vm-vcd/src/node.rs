//! Values of the types of [`crate::schema`]: what bodies are made of, however they are written.

use crate::schema::{Field, Shape, Type};

/// A value of a complex type.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    ty: &'static Type,
    values: Vec<(&'static str, Value)>,
}

/// What a field of a node holds.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    /// Text, times and URIs included.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A node of its own.
    Node(Node),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<Node> for Value {
    fn from(node: Node) -> Self {
        Self::Node(node)
    }
}

impl Value {
    /// The value as text; nothing for a node.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Node(_) => None,
        }
    }
}

impl Node {
    /// An empty value of a type.
    pub(crate) fn of(ty: &'static Type) -> Self {
        Self {
            ty,
            values: Vec::new(),
        }
    }

    /// Its type.
    pub(crate) fn ty(&self) -> &'static Type {
        self.ty
    }

    /// Adds a value to a field that the type has.
    pub(crate) fn push(&mut self, name: &'static str, value: impl Into<Value>) {
        debug_assert!(
            self.ty.field(name).is_some(),
            "{} has no field {name}",
            self.ty.name
        );
        self.values.push((name, value.into()));
    }

    /// The same with a value more.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.push(name, value);
        self
    }

    /// The same with a value more, if there is one.
    #[must_use]
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The same with several values of one field.
    #[must_use]
    pub(crate) fn with_all(
        mut self,
        name: &'static str,
        values: impl IntoIterator<Item = Node>,
    ) -> Self {
        for value in values {
            self.push(name, value);
        }
        self
    }

    /// Every value of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.values
            .iter()
            .filter(move |(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// Whether a field has a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The text of a field.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(field, _)| *field == name)
            .and_then(|(_, value)| match value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            })
    }

    /// A field that is true or false.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.all(name).find_map(|value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        match self.all(name).next()? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The node in a field.
    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.values
            .iter()
            .find(|(field, _)| *field == name)
            .and_then(|(_, value)| match value {
                Value::Node(node) => Some(node),
                _ => None,
            })
    }

    /// The nodes in a field.
    pub(crate) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.all(name).filter_map(|value| match value {
            Value::Node(node) => Some(node),
            _ => None,
        })
    }

    /// Takes a field's values away.
    pub(crate) fn remove(&mut self, name: &str) {
        self.values.retain(|(field, _)| *field != name);
    }

    /// The fields that have values, in the order of the type.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&'static Field, Vec<&Value>)> {
        self.ty.fields().filter_map(|field| {
            let values: Vec<&Value> = self
                .values
                .iter()
                .filter(|(name, _)| *name == field.name)
                .map(|(_, value)| value)
                .collect();
            (!values.is_empty()).then_some((field, values))
        })
    }

    /// Whether a field that takes one value has one already.
    pub(crate) fn is_full(&self, field: &Field) -> bool {
        field.shape != Shape::Many && self.has(field.name)
    }
}
