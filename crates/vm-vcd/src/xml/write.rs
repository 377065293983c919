//! Writing nodes as XML.

use crate::node::{Node, Value};
use crate::schema::{Field, Namespace, Root, Shape};
use crate::version::ApiVersion;
use quick_xml::escape::escape;

/// A document. Fields that the version does not have are left out.
pub(crate) fn write(root: &Root, node: &Node, version: ApiVersion) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tag = format!("{}{}", root.namespace.prefix(), root.element);
    out.push('<');
    out.push_str(&tag);
    for (namespace, prefix) in Namespace::ALL {
        out.push_str(if prefix.is_empty() {
            " xmlns"
        } else {
            " xmlns:"
        });
        out.push_str(prefix);
        out.push_str("=\"");
        out.push_str(namespace.uri());
        out.push('"');
    }
    finish(&mut out, &tag, node, version);
    out
}

/// Attributes, content and end of an element whose beginning is written.
fn finish(out: &mut String, tag: &str, node: &Node, version: ApiVersion) {
    let present: Vec<(&Field, Vec<&Value>)> = node
        .present()
        .filter(|(field, _)| field.is_in(version))
        .collect();
    for (field, values) in &present {
        if field.shape == Shape::Attribute {
            for text in values.iter().filter_map(|value| value.as_text()) {
                out.push(' ');
                out.push_str(field.namespace.prefix());
                out.push_str(field.name);
                out.push_str("=\"");
                out.push_str(&clean(&text));
                out.push('"');
            }
        }
    }
    if present
        .iter()
        .all(|(field, _)| field.shape == Shape::Attribute)
    {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for (field, values) in &present {
        match field.shape {
            Shape::Attribute => {}
            Shape::Content => {
                for text in values.iter().filter_map(|value| value.as_text()) {
                    out.push_str(&clean(&text));
                }
            }
            Shape::One | Shape::Many => {
                for value in values {
                    element(out, field, value, version);
                }
            }
        }
    }
    out.push_str("</");
    out.push_str(tag);
    out.push('>');
}

fn element(out: &mut String, field: &Field, value: &Value, version: ApiVersion) {
    let tag = format!("{}{}", field.namespace.prefix(), field.name);
    out.push('<');
    out.push_str(&tag);
    match value {
        Value::Node(node) => finish(out, &tag, node, version),
        other => {
            out.push('>');
            if let Some(text) = other.as_text() {
                out.push_str(&clean(&text));
            }
            out.push_str("</");
            out.push_str(&tag);
            out.push('>');
        }
    }
}

/// Text without what XML cannot hold, and with what it must not hold written otherwise.
fn clean(text: &str) -> String {
    let possible: String = text
        .chars()
        .filter(|letter| {
            matches!(letter, '\t' | '\n' | '\r')
                || (*letter >= ' ' && !matches!(letter, '\u{fffe}' | '\u{ffff}'))
        })
        .collect();
    escape(possible.as_str()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::entity;

    #[test]
    fn elements_stand_in_the_order_of_the_schema_whatever_the_order_of_making() {
        let task = Node::of(&entity::TASK)
            .with("Progress", 5_i64)
            .with("Owner", Node::of(&entity::REFERENCE).with("href", "h"))
            .with("status", "running")
            .with("Description", "<&\">\u{1}");
        let text = write(&entity::TASK_ROOT, &task, ApiVersion::DEFAULT);
        assert!(
            text.ends_with(
                "status=\"running\"><Description>&lt;&amp;&quot;&gt;</Description><Owner href=\"h\"/><Progress>5</Progress></Task>"
            ),
            "{text}"
        );
    }

    #[test]
    fn words_for_tpms_are_not_shown_before_their_version() {
        let vm = Node::of(&entity::VM).with(
            "TrustedPlatformModule",
            Node::of(&entity::TPM).with("TpmPresent", true),
        );
        let old = write(&entity::VM_ROOT, &vm, ApiVersion::new(37, 1));
        assert!(!old.contains("Tpm"), "{old}");
        let new = write(&entity::VM_ROOT, &vm, ApiVersion::TPM);
        assert!(new.contains("<TrustedPlatformModule><TpmPresent>true</TpmPresent>"));
    }
}
