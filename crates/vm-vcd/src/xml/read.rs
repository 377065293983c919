//! Reading XML into nodes, by the types of the schema and within limits.
//!
//! Document types are refused before anything in them is looked at, so there are no entities but the five of XML itself and characters by
//! number: nothing expands and nothing is fetched.

use crate::fault::Fault;
use crate::node::{Node, Value};
use crate::schema::{Field, Kind, Namespace, Root, Shape, Type};
use crate::version::ApiVersion;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// How deep elements may stand in each other.
const DEPTH: usize = 40;
/// How many elements a document may have.
const ELEMENTS: usize = 50_000;
/// How many attributes an element may have.
const ATTRIBUTES: usize = 64;

/// Reads a document that begins with one of `roots`.
///
/// # Errors
/// When it is not well-formed, begins with something else, is larger than the limits, or holds what the version does not have.
pub(crate) fn read(
    text: &str,
    roots: &[&'static Root],
    version: ApiVersion,
) -> Result<Node, Fault> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader {
        inner: NsReader::from_str(text),
        version,
        elements: 0,
        depth: 0,
    };
    reader.inner.config_mut().expand_empty_elements = true;
    let mut found = None;
    loop {
        match reader.next()? {
            Step::Start(start) => {
                if found.is_some() {
                    return Err(malformed("there is more than one root element"));
                }
                let element = reader.element(&start);
                let root = roots.iter().find(|root| {
                    root.element == element.name && fits(element.namespace, root.namespace)
                });
                let Some(root) = root else {
                    let expected: Vec<&str> = roots.iter().map(|root| root.element).collect();
                    return Err(invalid(format!(
                        "the body begins with {}, and this request takes {}",
                        shown(&element.name),
                        expected.join(" or ")
                    )));
                };
                found = Some(reader.node(root.ty, &start)?);
            }
            Step::Text(text) if text.trim().is_empty() => {}
            Step::Text(_) | Step::End => return Err(malformed("there is text outside the root")),
            Step::Eof => break,
        }
    }
    found.ok_or_else(|| invalid("the body is empty"))
}

/// What an element or attribute is called.
struct Named {
    name: String,
    namespace: Found,
}

/// The namespace of something that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    None,
    Known(Namespace),
    Other,
}

fn fits(found: Found, wanted: Namespace) -> bool {
    match found {
        Found::Known(namespace) => {
            namespace == wanted
                // Bodies for the extension are written in both ways.
                || (namespace == Namespace::Vcloud && wanted == Namespace::Extension)
                || (namespace == Namespace::Extension && wanted == Namespace::Vcloud)
        }
        Found::None => matches!(wanted, Namespace::Vcloud | Namespace::Extension),
        Found::Other => false,
    }
}

enum Step<'a> {
    Start(BytesStart<'a>),
    End,
    Text(String),
    Eof,
}

struct Reader<'a> {
    inner: NsReader<&'a [u8]>,
    version: ApiVersion,
    elements: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Step<'a>, Fault> {
        loop {
            let event = self
                .inner
                .read_event()
                .map_err(|error| malformed(&error.to_string()))?;
            return Ok(match event {
                Event::Start(start) => {
                    self.elements += 1;
                    self.depth += 1;
                    if self.elements > ELEMENTS {
                        return Err(invalid(format!(
                            "the body has more than {ELEMENTS} elements"
                        )));
                    }
                    if self.depth > DEPTH {
                        return Err(invalid(format!(
                            "the elements of the body stand more than {DEPTH} deep in each other"
                        )));
                    }
                    Step::Start(start)
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Step::End
                }
                Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => Step::Text(Self::resolve(&reference)?),
                Event::DocType(_) => {
                    return Err(invalid(
                        "the body has a document type; bodies have neither types nor entities of their own",
                    ));
                }
                Event::Empty(_) => return Err(malformed("an element was read in a wrong way")),
                Event::Eof => Step::Eof,
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => continue,
            });
        }
    }

    fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<String, Fault> {
        if let Some(letter) = reference
            .resolve_char_ref()
            .map_err(|error| malformed(&error.to_string()))?
        {
            return Ok(letter.to_string());
        }
        let name = reference.xml10_content();
        quick_xml::escape::resolve_predefined_entity(&name)
            .map(str::to_owned)
            .ok_or_else(|| {
                invalid(format!(
                    "the entity {} is not one of XML itself; bodies have no entities of their own",
                    shown(&name)
                ))
            })
    }

    fn element(&self, start: &BytesStart<'_>) -> Named {
        let (namespace, local) = self.inner.resolver().resolve_element(start.name());
        Named {
            name: local.as_ref().to_owned(),
            namespace: known(&namespace),
        }
    }

    /// The rest of an element of a type.
    fn node(&mut self, ty: &'static Type, start: &BytesStart<'_>) -> Result<Node, Fault> {
        let mut node = Node::of(ty);
        self.attributes(&mut node, start)?;
        let mut text = String::new();
        loop {
            match self.next()? {
                Step::End => break,
                Step::Eof => return Err(malformed("the body ends in the middle of an element")),
                Step::Text(more) => text.push_str(&more),
                Step::Start(inner) => self.field(&mut node, ty, &inner)?,
            }
        }
        if let Some(field) = ty.fields().find(|field| field.shape == Shape::Content) {
            node.push(field.name, text.trim());
        } else if !text.trim().is_empty() {
            return Err(invalid(format!("there is text in {}", ty.name)));
        }
        Ok(node)
    }

    fn attributes(&self, node: &mut Node, start: &BytesStart<'_>) -> Result<(), Fault> {
        for (count, attribute) in start.attributes().enumerate() {
            if count >= ATTRIBUTES {
                return Err(invalid("an element has too many attributes"));
            }
            let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (namespace, local) = self.inner.resolver().resolve_attribute(attribute.key);
            let name = local.as_ref().to_owned();
            let namespace = known(&namespace);
            let wanted = node.ty().fields().find(|field| {
                field.shape == Shape::Attribute
                    && field.name == name
                    && (fits(namespace, field.namespace)
                        || (namespace == Found::None && field.namespace == Namespace::Vcloud))
                    && field.is_in(self.version)
            });
            match wanted {
                Some(field) => {
                    let value = attribute
                        .normalized_value(XmlVersion::Implicit1_0)
                        .map_err(|error| malformed(&error.to_string()))?;
                    let value = parsed(field, &value)?;
                    node.push(field.name, value);
                }
                // Attributes of other namespaces may stand anywhere.
                None if namespace != Found::None => {}
                None => {
                    return Err(invalid(format!(
                        "cvc-complex-type.3.2.2: Attribute {} is not allowed to appear in {}",
                        shown(&name),
                        node.ty().name
                    )));
                }
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        node: &mut Node,
        ty: &'static Type,
        start: &BytesStart<'_>,
    ) -> Result<(), Fault> {
        let element = self.element(start);
        let field = ty.fields().find(|field| {
            matches!(field.shape, Shape::One | Shape::Many)
                && field.name == element.name
                && fits(element.namespace, field.namespace)
        });
        let field = match field {
            Some(field) if field.is_in(self.version) => field,
            None if matches!(
                element.namespace,
                Found::Other | Found::Known(Namespace::Ovf | Namespace::Vmw | Namespace::Rasd)
            ) =>
            {
                return self.read_over();
            }
            unknown => {
                let later = unknown
                    .and_then(|field| field.since)
                    .map_or_else(String::new, |since| {
                        format!("; the API has it from version {since} on")
                    });
                return Err(invalid(format!(
                    "cvc-complex-type.2.4.a: Invalid content was found starting with element {} in {}{later}",
                    shown(&element.name),
                    ty.name
                )));
            }
        };
        if node.is_full(field) {
            return Err(invalid(format!(
                "{} has {} more than once",
                ty.name, field.name
            )));
        }
        match field.kind {
            Kind::Loose => self.read_over(),
            Kind::Node(inner) => {
                let value = self.node(inner, start)?;
                node.push(field.name, value);
                Ok(())
            }
            Kind::Text | Kind::Bool | Kind::Int => {
                let text = self.simple(field)?;
                let value = parsed(field, &text)?;
                node.push(field.name, value);
                Ok(())
            }
        }
    }

    /// The text of an element that holds nothing else.
    fn simple(&mut self, field: &Field) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Step::Text(more) => text.push_str(&more),
                Step::End => return Ok(text),
                Step::Start(_) => {
                    return Err(invalid(format!("{} holds text alone", field.name)));
                }
                Step::Eof => return Err(malformed("the body ends in the middle of an element")),
            }
        }
    }

    /// To the end of the present element, whatever is in it.
    fn read_over(&mut self) -> Result<(), Fault> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next()? {
                Step::Start(_) => open += 1,
                Step::End => open -= 1,
                Step::Text(_) => {}
                Step::Eof => return Err(malformed("the body ends in the middle of an element")),
            }
        }
        Ok(())
    }
}

fn known(namespace: &ResolveResult<'_>) -> Found {
    match namespace {
        ResolveResult::Unbound => Found::None,
        ResolveResult::Bound(uri) => Namespace::ALL
            .iter()
            .find(|(known, _)| known.uri() == uri.0)
            .map_or(Found::Other, |(known, _)| Found::Known(*known)),
        ResolveResult::Unknown(_) => Found::Other,
    }
}

/// A value of a field out of text.
pub(crate) fn parsed(field: &Field, text: &str) -> Result<Value, Fault> {
    let wrong = |what: &str| {
        invalid(format!(
            "cvc-datatype-valid.1.2.1: {} is not {what} in {}",
            shown(text),
            field.name
        ))
    };
    Ok(match field.kind {
        Kind::Bool => match text.trim() {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => return Err(wrong("true or false")),
        },
        Kind::Int => Value::Int(text.trim().parse().map_err(|_| wrong("a number"))?),
        Kind::Text | Kind::Loose | Kind::Node(_) => Value::Text(text.to_owned()),
    })
}

/// What a client sent, short and harmless.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 {
        format!("'{short}...'")
    } else {
        format!("'{short}'")
    }
}

fn malformed(reason: &str) -> Fault {
    Fault::bad_request(format!(
        "Bad request: the body is not well-formed XML: {reason}"
    ))
}

/// A body that breaks the schema.
pub(crate) fn invalid(reason: impl std::fmt::Display) -> Fault {
    Fault::bad_request(format!("Bad request: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::request::{CAPTURE_ROOT, CLONE_ROOT, RECOMPOSE_ROOT};
    use crate::xml::write;

    const NEW: ApiVersion = ApiVersion::DEFAULT;

    fn recompose(inner: &str) -> String {
        format!(
            "<RecomposeVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\">{inner}</RecomposeVAppParams>"
        )
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = recompose(
            "<SourcedItem sourceDelete=\"true\"><Source href=\"a&amp;b\" name=\"&#x41;\"/><ReplaceTpm>false</ReplaceTpm></SourcedItem><AllEULAsAccepted>true</AllEULAsAccepted>",
        );
        let node = read(&text, &[&RECOMPOSE_ROOT], NEW).unwrap();
        let item = node.child("SourcedItem").unwrap();
        assert_eq!(item.boolean("ReplaceTpm"), Some(false));
        assert_eq!(item.child("Source").unwrap().text("href"), Some("a&b"));
        assert_eq!(item.child("Source").unwrap().text("name"), Some("A"));
        let again = write(&RECOMPOSE_ROOT, &node, NEW);
        assert_eq!(read(&again, &[&RECOMPOSE_ROOT], NEW).unwrap(), node);
    }

    #[test]
    fn loose_elements_and_those_of_other_namespaces_are_read_over() {
        let text = recompose(
            "<InstantiationParams><NetworkConfigSection><x:Info xmlns:x=\"http://schemas.dmtf.org/ovf/envelope/1\">n</x:Info></NetworkConfigSection></InstantiationParams><y:z xmlns:y=\"urn:other\"><q/></y:z><DeleteItem href=\"h\"/>",
        );
        let node = read(&text, &[&RECOMPOSE_ROOT], NEW).unwrap();
        assert_eq!(node.children("DeleteItem").count(), 1);
    }

    #[test]
    fn words_for_tpms_are_unknown_before_their_version() {
        let text = recompose(
            "<SourcedItem><Source href=\"h\"/><ReplaceTpm>true</ReplaceTpm></SourcedItem>",
        );
        let fault = read(&text, &[&RECOMPOSE_ROOT], ApiVersion::new(37, 1)).unwrap_err();
        assert_eq!((fault.status, fault.code), (400, "BAD_REQUEST"));
        assert!(
            fault.message.contains("ReplaceTpm") && fault.message.contains("37.2"),
            "{fault}"
        );
        let text = "<CaptureVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\" name=\"t\"><CopyTpmOnInstantiate>true</CopyTpmOnInstantiate></CaptureVAppParams>";
        assert!(read(text, &[&CAPTURE_ROOT], ApiVersion::new(36, 0)).is_err());
        assert!(read(text, &[&CAPTURE_ROOT], ApiVersion::TPM).is_ok());
    }

    #[test]
    fn document_types_and_entities_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><CloneVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\" name=\"x\"><Description>&b;</Description></CloneVAppParams>";
        let external = "<!DOCTYPE a [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><CloneVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\"><Description>&a;</Description></CloneVAppParams>";
        let bare = "<CloneVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\"><Description>&a;</Description></CloneVAppParams>";
        let named = "<CloneVAppParams xmlns=\"http://www.vmware.com/vcloud/v1.5\" name=\"&a;\"/>";
        for text in [bomb, external, bare, named] {
            let fault = read(text, &[&CLONE_ROOT], NEW).unwrap_err();
            assert_eq!(fault.status, 400, "{fault}");
            assert!(!fault.message.contains("root:"), "{fault}");
        }
    }

    #[test]
    fn depth_and_count_have_limits() {
        let deep = format!("{}{}", "<a>".repeat(2000), "</a>".repeat(2000));
        let deep = recompose(&format!(
            "<InstantiationParams>{deep}</InstantiationParams>"
        ));
        assert!(
            read(&deep, &[&RECOMPOSE_ROOT], NEW)
                .unwrap_err()
                .message
                .contains("deep")
        );
        let wide = recompose(&"<DeleteItem href=\"h\"/>".repeat(60_000));
        assert!(
            read(&wide, &[&RECOMPOSE_ROOT], NEW)
                .unwrap_err()
                .message
                .contains("elements")
        );
    }

    #[test]
    fn what_is_not_well_formed_or_not_asked_for_is_a_bad_request() {
        for text in [
            "",
            "   ",
            "{}",
            "<",
            "<a",
            "<RecomposeVAppParams>",
            "<RecomposeVAppParams></a>",
            "<RecomposeVAppParams/><RecomposeVAppParams/>",
            "<CloneVAppParams/>",
            "<RecomposeVAppParams xmlns=\"urn:other\"/>",
            "<RecomposeVAppParams deploy=\"maybe\"/>",
            "<RecomposeVAppParams deploy=\"true\" deploy=\"true\"/>",
            "<RecomposeVAppParams replaceTpm=\"true\"/>",
            "<RecomposeVAppParams><Nothing/></RecomposeVAppParams>",
            "<RecomposeVAppParams>text</RecomposeVAppParams>",
            "<RecomposeVAppParams><Description>a</Description><Description>b</Description></RecomposeVAppParams>",
            "\0",
        ] {
            let fault = read(text, &[&RECOMPOSE_ROOT], NEW).unwrap_err();
            assert_eq!(fault.status, 400, "{text:?}: {fault}");
        }
    }
}
