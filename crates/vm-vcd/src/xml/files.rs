//! The files that an OVF descriptor names: nothing more is read of it here.

use super::{invalid, shown};
use crate::fault::Fault;
use crate::schema::Namespace;
use percent_encoding::percent_decode_str;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// How many files a descriptor may name.
const FILES: usize = 1000;

/// A file of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct File {
    /// Its name, as the descriptor writes it.
    pub(crate) href: String,
    /// Its length.
    pub(crate) size: u64,
}

impl File {
    /// Its name in the package; the descriptor writes it as an address.
    pub(crate) fn name(&self) -> String {
        percent_decode_str(&self.href)
            .decode_utf8_lossy()
            .into_owned()
    }
}

/// The files of a descriptor, in their order.
///
/// # Errors
/// When it is not well-formed, has a document type, or does not say how long a file is.
pub(crate) fn list(text: &str) -> Result<Vec<File>, Fault> {
    let wrong = |reason: &str| invalid(format!("the descriptor is not well-formed: {reason}"));
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let mut files = Vec::new();
    loop {
        let event = reader
            .read_event()
            .map_err(|error| wrong(&error.to_string()))?;
        let start = match event {
            Event::Start(start) | Event::Empty(start) => start,
            Event::DocType(_) => return Err(invalid("the descriptor has a document type")),
            Event::Eof => return Ok(files),
            _ => continue,
        };
        let (namespace, local) = reader.resolver().resolve_element(start.name());
        let ovf = matches!(namespace, ResolveResult::Bound(uri) if uri.0 == Namespace::Ovf.uri());
        if !ovf || local.as_ref() != "File" {
            continue;
        }
        let (mut href, mut size) = (None, None);
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| wrong(&error.to_string()))?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| wrong(&error.to_string()))?;
            match attribute.key.local_name().as_ref() {
                "href" => href = Some(value.into_owned()),
                "size" => size = value.parse().ok(),
                _ => {}
            }
        }
        let href = href.ok_or_else(|| invalid("a File of the descriptor has no ovf:href"))?;
        let size = size.ok_or_else(|| {
            invalid(format!(
                "the File {} of the descriptor has no ovf:size, which an upload needs",
                shown(&href)
            ))
        })?;
        files.push(File { href, size });
        if files.len() > FILES {
            return Err(invalid(format!(
                "the descriptor names more than {FILES} files"
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str =
        "<ovf:Envelope xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"><ovf:References>";

    #[test]
    fn files_are_listed_in_their_order() {
        let text = format!(
            "{BEGIN}<ovf:File ovf:href=\"b.vmdk\" ovf:id=\"f\" ovf:size=\"7\"/><ovf:File ovf:href=\"a.nvram\" ovf:size=\"0\"></ovf:File></ovf:References></ovf:Envelope>"
        );
        let files = list(&text).unwrap();
        let names: Vec<(&str, u64)> = files
            .iter()
            .map(|file| (file.href.as_str(), file.size))
            .collect();
        assert_eq!(names, [("b.vmdk", 7), ("a.nvram", 0)]);
    }

    #[test]
    fn descriptors_without_sizes_and_with_types_are_refused() {
        for text in [
            format!("{BEGIN}<ovf:File ovf:href=\"b\"/></ovf:References></ovf:Envelope>"),
            format!("{BEGIN}<ovf:File ovf:size=\"1\"/></ovf:References></ovf:Envelope>"),
            format!(
                "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{BEGIN}</ovf:References></ovf:Envelope>"
            ),
            format!("{BEGIN}</ovf:Envelope>"),
        ] {
            assert!(list(&text).is_err(), "{text}");
        }
    }
}
