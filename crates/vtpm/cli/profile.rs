//! Choosing the profile of a new TPM.

use anyhow::{Context, bail};
use serde_json::Value;
use tpm_engine::Profile;

/// The built-in profile of this name.
pub(crate) fn by_name(name: &str) -> anyhow::Result<Profile> {
    Profile::by_name(name).with_context(|| format!("there is no profile '{name}'"))
}

/// The profile that a JSON text names.
pub(crate) fn from_json(text: &str) -> anyhow::Result<Profile> {
    let value: Value = serde_json::from_str(text.trim()).context("the profile is not JSON")?;
    let Value::Object(fields) = value else {
        bail!("the profile is not a JSON object")
    };
    for key in fields.keys() {
        if key != "Name" && key != "Description" {
            bail!(
                "the profile has '{key}': only profiles of this program, by their Name, are supported"
            );
        }
    }
    by_name(
        fields
            .get("Name")
            .and_then(Value::as_str)
            .context("the profile has no Name")?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_go_by_their_names() {
        assert!(by_name("default").is_ok());
        assert!(by_name("no such profile").is_err());
        assert!(from_json(r#" {"Name":"default","Description":"x"} "#).is_ok());
        for wrong in [
            "",
            "7",
            r#"{"Name":7}"#,
            "{}",
            r#"{"Name":"default","Algorithms":"rsa"}"#,
        ] {
            assert!(from_json(wrong).is_err(), "{wrong}");
        }
    }
}
