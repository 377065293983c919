//! Reads a document of limited size and depth; no document types, no entities of its own, no processing instructions.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// How large a document may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Elements in elements.
    pub(crate) depth: usize,
    /// Elements in all.
    pub(crate) elements: usize,
    /// Attributes of one element.
    pub(crate) attributes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 40,
            elements: 20_000,
            attributes: 16,
        }
    }
}

/// An element with all that is in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Element {
    /// Its name, without prefix.
    pub(crate) name: String,
    /// The namespace of its name.
    pub(crate) namespace: String,
    /// What `xsi:type` says, without prefix.
    pub(crate) kind: Option<String>,
    /// The attribute `type`, which references to managed objects have.
    pub(crate) of: Option<String>,
    /// The text directly in it.
    pub(crate) text: String,
    /// The elements in it.
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The first element of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every element of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Why a document is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    fn because(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Reads a document.
pub(crate) fn read(bytes: &[u8], limits: Limits) -> Result<Element, Malformed> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Malformed::because("the document is not UTF-8"))?;
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0usize;
    loop {
        let event = reader.read_event().map_err(broken)?;
        match event {
            Event::Start(start) => {
                count(&mut elements, limits)?;
                if open.len() >= limits.depth {
                    return Err(Malformed::because("the document is nested too deeply"));
                }
                if root.is_some() {
                    return Err(Malformed::because("there is more than one document"));
                }
                open.push(element(&reader, &start, limits)?);
            }
            Event::Empty(start) => {
                count(&mut elements, limits)?;
                let element = element(&reader, &start, limits)?;
                close(element, &mut open, &mut root)?;
            }
            Event::End(_) => {
                let element = open
                    .pop()
                    .ok_or_else(|| Malformed::because("an element ends that never began"))?;
                close(element, &mut open, &mut root)?;
            }
            Event::Text(text) => say(&mut open, &text.xml10_content())?,
            Event::CData(text) => say(&mut open, &text.xml10_content())?,
            Event::GeneralRef(name) => {
                let character = match name.resolve_char_ref().map_err(broken)? {
                    Some(character) => character,
                    None => match &*name.xml10_content() {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "apos" => '\'',
                        "quot" => '"',
                        _ => {
                            return Err(Malformed::because(
                                "the document uses an entity of its own",
                            ));
                        }
                    },
                };
                say(&mut open, character.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => {
                return Err(Malformed::because("the document has a document type"));
            }
            Event::PI(_) => {
                return Err(Malformed::because(
                    "the document has a processing instruction",
                ));
            }
            Event::Comment(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    if !open.is_empty() {
        return Err(Malformed::because("the document ends in an element"));
    }
    root.ok_or_else(|| Malformed::because("there is no document"))
}

fn broken(error: impl std::fmt::Display) -> Malformed {
    Malformed(format!("the document is not well-formed: {error}"))
}

fn count(elements: &mut usize, limits: Limits) -> Result<(), Malformed> {
    *elements += 1;
    if *elements > limits.elements {
        return Err(Malformed::because("the document has too many elements"));
    }
    Ok(())
}

fn say(open: &mut [Element], text: &str) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(element) => {
            element.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err(Malformed::because("there is text around the document")),
    }
}

fn close(
    element: Element,
    open: &mut [Element],
    root: &mut Option<Element>,
) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_some() => {
            return Err(Malformed::because("there is more than one document"));
        }
        None => *root = Some(element),
    }
    Ok(())
}

fn element(
    reader: &NsReader<&[u8]>,
    start: &BytesStart<'_>,
    limits: Limits,
) -> Result<Element, Malformed> {
    let (namespace, name) = reader.resolver().resolve_element(start.name());
    let mut element = Element {
        name: name.as_ref().to_owned(),
        namespace: uri(&namespace)?,
        ..Element::default()
    };
    for (number, attribute) in start.attributes().enumerate() {
        if number >= limits.attributes {
            return Err(Malformed::because("an element has too many attributes"));
        }
        let attribute = attribute.map_err(broken)?;
        let (namespace, name) = reader.resolver().resolve_attribute(attribute.key);
        if name.as_ref() != "type" {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Explicit1_0)
            .map_err(broken)?
            .into_owned();
        if uri(&namespace)? == XSI {
            let local = value.rsplit(':').next().unwrap_or_default();
            element.kind = Some(local.to_owned());
        } else {
            element.of = Some(value);
        }
    }
    Ok(element)
}

fn uri(namespace: &ResolveResult<'_>) -> Result<String, Malformed> {
    match namespace {
        ResolveResult::Bound(namespace) => Ok(namespace.as_ref().to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err(Malformed::because("a prefix has no namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Element, Malformed> {
        read(text.as_bytes(), Limits::default())
    }

    #[test]
    fn elements_types_and_texts() {
        let root = parse(
            "<?xml version=\"1.0\"?><!-- c --><a:E xmlns:a='urn:a' xmlns='urn:b' xmlns:x='http://www.w3.org/2001/XMLSchema-instance'><_this type=\"Folder\">group&#45;d1</_this><v x:type='a:T'>&lt;&amp;<![CDATA[<]]></v><n/></a:E>",
        )
        .unwrap();
        assert_eq!(
            (root.name.as_str(), root.namespace.as_str()),
            ("E", "urn:a")
        );
        let this = root.child("_this").unwrap();
        assert_eq!(
            (this.of.as_deref(), this.text.as_str()),
            (Some("Folder"), "group-d1")
        );
        let v = root.child("v").unwrap();
        assert_eq!((v.kind.as_deref(), v.text.as_str()), (Some("T"), "<&<"));
        assert_eq!(v.namespace, "urn:b");
        assert_eq!(root.all("n").count(), 1);
    }

    #[test]
    fn what_could_hurt_is_refused_by_name() {
        let deep = "<a>".repeat(50);
        let many = format!("<a>{}</a>", "<b/>".repeat(20_001));
        for (bad, word) in [
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
            (
                "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
                "document type",
            ),
            ("<a>&b;</a>", "entity"),
            ("<a><?php x?></a>", "processing"),
            (deep.as_str(), "deeply"),
            (many.as_str(), "too many"),
            ("<a/><b/>", "more than one"),
            ("<a>", "ends in"),
            ("<a></b>", "well-formed"),
            ("x<a/>", "around"),
            ("", "no document"),
            ("<p:a/>", "prefix"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.0.contains(word), "{word}: {}", error.0);
        }
        let wide: String = (0..17).map(|n| format!(" a{n}='1'")).collect();
        assert!(parse(&format!("<a{wide}/>")).is_err());
        assert!(read(&[0xff, b'<'], Limits::default()).is_err());
    }
}
