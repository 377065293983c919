//! Names that people give to vCenters, providers, datastores and VMs.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// A name that is safe as a part of a path, a key of the inventory and a line of a table.
///
/// The rules are the store's ([`vm_store::check_name`]), since VMs are kept in folders of their name; and no name begins with a dash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Name(String);

/// Why a name is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the name `{shown}` is refused: {rule}")]
pub struct NameError {
    shown: String,
    rule: &'static str,
}

impl Name {
    /// A name of our own, which keeps the rules.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = match vm_store::check_name(text) {
            Err(rule) => rule,
            Ok(()) if text.starts_with('-') => {
                "a name does not begin with a dash, which command lines take for an option"
            }
            Ok(()) => return Ok(Self(text.to_owned())),
        };
        // An over-long or hostile name is not repeated in full.
        let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        if text.chars().count() > 40 {
            shown.push_str("...");
        }
        Err(NameError { shown, rule })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_controls_and_long_names_are_refused_by_rule() {
        for (bad, word) in [
            ("", "at least one"),
            ("../etc", "\"/\""),
            ("a/b", "\"/\""),
            ("a\\b", "\"/\""),
            (".hidden", "dot"),
            ("..", "folders"),
            ("-rf", "dash"),
            ("a\0b", "NUL"),
            ("a\nb", "control"),
            ("a\u{202e}b", "control"),
            (" a", "space"),
            ("a ", "space"),
        ] {
            let error = bad.parse::<Name>().unwrap_err().to_string();
            assert!(error.contains(word), "{bad:?}: {error}");
        }
        let long = "x".repeat(300).parse::<Name>().unwrap_err().to_string();
        assert!(long.contains("at most 80") && long.len() < 200, "{long}");
    }

    #[test]
    fn ordinary_names_pass() {
        for good in ["demo", "web 01", "Büro-PC", "a.b", "x".repeat(80).as_str()] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }
}
