//! Versions of the API: which there are, and which one a request asks for.

use crate::fault::Fault;
use std::fmt;
use std::str::FromStr;

/// A version of the API, such as 37.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The first one with words for TPMs (VCD 10.4.2).
    pub(crate) const TPM: Self = Self::new(37, 2);

    /// The one that a request has that names none: the newest.
    pub(crate) const DEFAULT: Self = Self::new(39, 0);

    /// Every one there is, the oldest first.
    pub(crate) const ALL: &'static [Self] = &[
        Self::new(36, 0),
        Self::new(36, 1),
        Self::new(36, 2),
        Self::new(36, 3),
        Self::new(37, 0),
        Self::new(37, 1),
        Self::TPM,
        Self::new(37, 3),
        Self::new(38, 0),
        Self::new(38, 1),
        Self::DEFAULT,
    ];
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .find(|version| version.to_string() == text)
            .copied()
            .ok_or(())
    }
}

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// XML.
    Xml,
    /// JSON.
    Json,
}

/// What an `Accept` header asks for: how the answer is written, if it says so, and the version.
///
/// # Errors
/// When it asks for a version or a format that there is not.
pub(crate) fn accepted(header: Option<&str>) -> Result<(Option<Format>, ApiVersion), Fault> {
    let mut format = None;
    let mut asked: Option<&str> = None;
    let mut any = header.is_none();
    for range in header.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let found = written(media);
        if found.is_some() || matches!(media, "" | "*/*" | "application/*") {
            any = true;
        }
        if format.is_none() {
            format = found;
        }
        for parameter in parts {
            if let Some(("version", value)) = parameter.split_once('=')
                && asked.is_none()
            {
                asked = Some(value.trim_matches('"'));
            }
        }
    }
    if !any {
        return Err(Fault::not_acceptable(
            "the API answers in XML (application/*+xml) and JSON (application/*+json); the Accept header asks for neither",
        ));
    }
    let version = match asked {
        None => ApiVersion::DEFAULT,
        Some(text) => text.parse().map_err(|()| {
            Fault::not_acceptable(format!(
                "the API version in the Accept header is none that this server has; GET /api/versions lists them ({} to {})",
                ApiVersion::ALL.first().unwrap_or(&ApiVersion::DEFAULT),
                ApiVersion::DEFAULT,
            ))
        })?,
    };
    Ok((format, version))
}

/// How a body of a media type is written.
pub(crate) fn written(media: &str) -> Option<Format> {
    let lower = media.to_ascii_lowercase();
    match lower.as_str() {
        "application/json" | "text/json" => Some(Format::Json),
        "application/xml" | "text/xml" => Some(Format::Xml),
        _ if lower.ends_with("+json") => Some(Format::Json),
        _ if lower.ends_with("+xml") => Some(Format::Xml),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_in_order_and_the_default_is_the_newest() {
        assert!(ApiVersion::ALL.is_sorted());
        assert_eq!(ApiVersion::ALL.last(), Some(&ApiVersion::DEFAULT));
        assert!(ApiVersion::ALL.contains(&ApiVersion::TPM));
    }

    #[test]
    fn a_request_without_a_version_has_the_newest() {
        assert_eq!(accepted(None).unwrap(), (None, ApiVersion::DEFAULT));
        assert_eq!(accepted(Some("*/*")).unwrap(), (None, ApiVersion::DEFAULT));
    }

    #[test]
    fn format_and_version_are_taken_from_the_header() {
        let old = "36.0".parse().unwrap();
        for (header, format) in [
            ("application/*+xml;version=36.0", Format::Xml),
            ("application/*+json; version=36.0", Format::Json),
            ("application/json;version=36.0", Format::Json),
            (
                "application/vnd.vmware.vcloud.task+xml;version=36.0",
                Format::Xml,
            ),
        ] {
            assert_eq!(
                accepted(Some(header)).unwrap(),
                (Some(format), old),
                "{header}"
            );
        }
    }

    #[test]
    fn versions_and_formats_that_there_are_not_are_not_acceptable() {
        for header in [
            "application/*+xml;version=5.5",
            "application/*+xml;version=40.0",
            "application/*+xml;version=37",
            "application/*+xml;version=37.0.0-alpha",
            "application/*+xml;version=",
            "image/png",
        ] {
            assert_eq!(accepted(Some(header)).unwrap_err().status, 406, "{header}");
        }
    }
}
