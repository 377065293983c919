//! XML as a tree of elements, bounded in size and depth. A document type, and with it every entity of one's own, is refused.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use std::borrow::Cow;

/// Elements below elements; OVF needs about ten.
const MOST_DEPTH: usize = 48;
/// Elements of one document.
const MOST_ELEMENTS: usize = 200_000;
/// Attributes of one element.
const MOST_ATTRIBUTES: usize = 64;

/// The namespaces that OVF descriptors are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Space {
    /// The envelope's own.
    Ovf,
    /// Resource allocation: items of virtual hardware.
    Rasd,
    /// System settings.
    Vssd,
    /// VMware's extensions.
    Vmw,
    /// None; attributes without a prefix have none.
    None,
    /// Any other.
    Other,
}

impl Space {
    fn of(resolved: &ResolveResult<'_>) -> Result<Self, String> {
        let ResolveResult::Bound(space) = resolved else {
            return match resolved {
                ResolveResult::Unknown(prefix) => Err(format!(
                    "the namespace prefix `{}` is not declared",
                    shown(prefix)
                )),
                _ => Ok(Self::None),
            };
        };
        let schema = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_";
        Ok(match space.as_ref() {
            "http://schemas.dmtf.org/ovf/envelope/1" | "http://schemas.dmtf.org/ovf/envelope/2" => {
                Self::Ovf
            }
            "http://www.vmware.com/schema/ovf" => Self::Vmw,
            other => match other.strip_prefix(schema) {
                Some("VirtualSystemSettingData") => Self::Vssd,
                Some(
                    "ResourceAllocationSettingData"
                    | "StorageAllocationSettingData"
                    | "EthernetPortAllocationSettingData",
                ) => Self::Rasd,
                _ => Self::Other,
            },
        })
    }
}

/// One element with everything in it.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) space: Space,
    pub(super) name: String,
    attributes: Vec<(Space, String, String)>,
    pub(super) children: Vec<Self>,
    text: String,
}

impl Element {
    /// An attribute of that namespace, or without one.
    pub(super) fn attribute(&self, space: Space, name: &str) -> Option<&str> {
        let with = |wanted: Space| {
            let mut found = self.attributes.iter();
            found
                .find(|(space, own, _)| *space == wanted && own == name)
                .map(|(_, _, value)| value.as_str())
        };
        with(space).or_else(|| with(Space::None))
    }

    /// The text in it, without spaces around.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    /// Whether it is that element.
    pub(super) fn is(&self, space: Space, name: &str) -> bool {
        self.space == space && self.name == name
    }

    /// The children of that name.
    pub(super) fn all<'a>(
        &'a self,
        space: Space,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Self> + 'a {
        self.children
            .iter()
            .filter(move |child| child.is(space, name))
    }

    /// The first child of that name.
    pub(super) fn child<'a>(&'a self, space: Space, name: &'a str) -> Option<&'a Self> {
        self.all(space, name).next()
    }

    /// The text of the first child of that name, if there is any.
    pub(super) fn text_of<'a>(&'a self, space: Space, name: &'a str) -> Option<&'a str> {
        self.child(space, name)
            .map(Self::text)
            .filter(|text| !text.is_empty())
    }
}

/// Text out of a package, cut and escaped for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// The text of a document, and whether it was UTF-16, which a byte order mark says.
fn text(bytes: &[u8]) -> Result<(Cow<'_, str>, bool), String> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xFE, 0xFF, ..] => u16::from_be_bytes,
        [0xFF, 0xFE, ..] => |[low, high]| u16::from_be_bytes([high, low]),
        _ => {
            let text = std::str::from_utf8(bytes)
                .map_err(|error| format!("it is not UTF-8 after byte {}", error.valid_up_to()))?;
            return Ok((Cow::Borrowed(text), false));
        }
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().copied().map(unit)).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok((Cow::Owned(text), true)),
        _ => Err("it begins like UTF-16, and is not".to_owned()),
    }
}

/// Reads a document; the error says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Element, String> {
    let (text, wide) = text(bytes)?;
    let text = &*text;
    let mut reader = NsReader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut count = 0usize;
    loop {
        let event = reader.read_event().map_err(|error| {
            format!(
                "it is not well-formed XML at byte {}: {error}",
                reader.error_position()
            )
        })?;
        match event {
            Event::Start(tag) => {
                count = counted(count, open.len())?;
                if open.is_empty() && root.is_some() {
                    return Err("it has more than one root element".to_owned());
                }
                open.push(element(&reader, &tag)?);
            }
            Event::Empty(tag) => {
                count = counted(count, open.len())?;
                let made = element(&reader, &tag)?;
                close(made, &mut open, &mut root)?;
            }
            Event::End(_) => {
                // The reader checks that names match.
                if let Some(done) = open.pop() {
                    close(done, &mut open, &mut root)?;
                }
            }
            Event::Text(text) => add_text(&mut open, &text.xml10_content())?,
            Event::CData(text) => add_text(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = reference
                    .resolve_char_ref()
                    .map_err(|error| format!("a character reference makes no sense: {error}"))?;
                match character {
                    Some(character) => add_text(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    None => {
                        let name = reference.xml10_content();
                        let Some(text) = resolve_predefined_entity(&name) else {
                            return Err(unknown_entity(&name));
                        };
                        add_text(&mut open, text)?;
                    }
                }
            }
            Event::Decl(declaration) => {
                let known: &[&str] = if wide {
                    &["utf-16"]
                } else {
                    &["utf-8", "us-ascii"]
                };
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !known
                        .iter()
                        .any(|known| encoding.eq_ignore_ascii_case(known))
                {
                    return Err(format!(
                        "its encoding is said to be {}; UTF-8 is read, and UTF-16 with a byte order mark",
                        shown(&encoding)
                    ));
                }
            }
            Event::DocType(_) => {
                return Err(
                    "it has a document type declaration; those can name other files and grow without bound, and OVF needs none"
                        .to_owned(),
                );
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if let Some(unclosed) = open.pop() {
        return Err(format!(
            "it ends inside the element {}",
            shown(&unclosed.name)
        ));
    }
    root.ok_or_else(|| "it has no element".to_owned())
}

fn unknown_entity(name: &str) -> String {
    format!(
        "it uses the entity `{}`, which XML does not define",
        shown(name)
    )
}

fn counted(count: usize, depth: usize) -> Result<usize, String> {
    if depth >= MOST_DEPTH {
        return Err(format!("its elements are nested deeper than {MOST_DEPTH}"));
    }
    if count >= MOST_ELEMENTS {
        return Err(format!("it has more than {MOST_ELEMENTS} elements"));
    }
    Ok(count + 1)
}

fn close(done: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), String> {
    if let Some(parent) = open.last_mut() {
        parent.children.push(done);
        return Ok(());
    }
    if root.is_some() {
        return Err("it has more than one root element".to_owned());
    }
    *root = Some(done);
    Ok(())
}

fn add_text(open: &mut [Element], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("it has text outside of its root element".to_owned()),
    }
    Ok(())
}

fn element(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>) -> Result<Element, String> {
    let (space, name) = reader.resolver().resolve_element(tag.name());
    let mut made = Element {
        space: Space::of(&space)?,
        name: name.as_ref().to_owned(),
        attributes: Vec::new(),
        children: Vec::new(),
        text: String::new(),
    };
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| {
            format!(
                "an attribute of {} makes no sense: {error}",
                shown(&made.name)
            )
        })?;
        if made.attributes.len() >= MOST_ATTRIBUTES {
            return Err(format!(
                "the element {} has more than {MOST_ATTRIBUTES} attributes",
                shown(&made.name)
            ));
        }
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| {
                format!(
                    "the attribute {} makes no sense: {error}",
                    shown(attribute.key.as_ref())
                )
            })?;
        let (space, name) = reader.resolver().resolve_attribute(attribute.key);
        made.attributes.push((
            Space::of(&space)?,
            name.as_ref().to_owned(),
            value.into_owned(),
        ));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn elements_attributes_and_text_are_read_whatever_their_prefix() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>
            <o:Envelope xmlns:o='http://schemas.dmtf.org/ovf/envelope/1' xmlns:v='http://www.vmware.com/schema/ovf'>
            <o:File o:id='a &amp; b' href='&#x41;'/><v:Config v:key='firmware'>x &lt; <![CDATA[<y>]]> &#66;</v:Config></o:Envelope>";
        let root = read(text.as_bytes()).unwrap();
        assert!(root.is(Space::Ovf, "Envelope"));
        let file = root.child(Space::Ovf, "File").unwrap();
        assert_eq!(file.attribute(Space::Ovf, "id"), Some("a & b"));
        assert_eq!(file.attribute(Space::Ovf, "href"), Some("A"));
        let config = root.child(Space::Vmw, "Config").unwrap();
        assert_eq!(config.attribute(Space::Vmw, "key"), Some("firmware"));
        assert_eq!(config.text(), "x < <y> B");
    }

    #[test]
    fn a_document_type_is_refused_whatever_it_declares() {
        let external = "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>";
        assert!(refusal(external).contains("document type"));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;&b;\">]><a>&c;</a>";
        assert!(refusal(bomb).contains("document type"));
        assert!(
            refusal("<!DOCTYPE a SYSTEM 'http://example/x.dtd'><a/>").contains("document type")
        );
        assert!(refusal("<a>&x;</a>").contains("entity `x`"));
        assert!(refusal("<a b='&x;'/>").contains("attribute b"));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        assert!(refusal(&"<a>".repeat(1_000_000)).contains("nested deeper"));
        let many = format!("<a>{}</a>", "<b/>".repeat(MOST_ELEMENTS + 1));
        assert!(refusal(&many).contains("elements"));
        let attributes: String = (0..100).map(|n| format!(" a{n}=''")).collect();
        assert!(refusal(&format!("<a{attributes}/>")).contains("attributes"));
    }

    #[test]
    fn what_is_not_one_well_formed_document_is_refused() {
        for bad in [
            "",
            "  ",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "<a b='1' b='2'/>",
            "<x:a/>",
            "<a",
            "<a b=1/>",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read(b"<a>\xff</a>").is_err());
        assert!(refusal("<?xml version='1.0' encoding='UTF-16'?><a/>").contains("UTF-8"));
    }
}
