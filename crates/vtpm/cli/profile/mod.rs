//! Choosing what a new TPM is like: `--profile`.

mod json;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use tpm_engine::Profile;
use vm_store::backend::{LARGEST_TEXT, read_named_text};

use json::from_json;

/// What every `--profile` takes: a name, as swtpm does `name=`, `profile=` (JSON), `file=` or `fd=`, or JSON alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProfileOption {
    Name(String),
    Json(String),
    File(PathBuf),
    Descriptor(i32),
}

impl FromStr for ProfileOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('{') {
            return Ok(Self::Json(text.to_owned()));
        }
        if let Some((text, how)) = text.rsplit_once(",remove-disabled=") {
            let option = Self::parse_one(text)?;
            remove_disabled(how, option.is_custom())?;
            return Ok(option);
        }
        Self::parse_one(text)
    }
}

impl ProfileOption {
    fn parse_one(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None => Ok(Self::Name(text.to_owned())),
            Some(("name", name)) => Ok(Self::Name(name.to_owned())),
            Some(("profile", json)) => Ok(Self::Json(json.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("fd", number)) => match number.parse() {
                Ok(number) => Ok(Self::Descriptor(number)),
                Err(_) => Err(format!("'fd={number}' is not the number of a descriptor")),
            },
            Some((key, _)) => Err(format!(
                "'{key}=' is not known: a profile is a name, name=NAME, profile=JSON, file=PATH or fd=NUMBER"
            )),
        }
    }

    /// Whether this may be another than a built-in profile, as far as can be told before it is read.
    pub(crate) fn is_custom(&self) -> bool {
        match self {
            Self::Name(name) => {
                let name = name.strip_prefix("builtin:").unwrap_or(name);
                Profile::by_name(name).is_none()
            }
            Self::Json(json) => {
                let parsed: Option<serde_json::Value> = serde_json::from_str(json).ok();
                let name = parsed
                    .as_ref()
                    .and_then(|profile| profile.get("Name")?.as_str());
                name.is_none_or(is_custom)
            }
            Self::File(_) | Self::Descriptor(_) => true,
        }
    }

    /// The profile, read from where the option says.
    pub(crate) fn load(&self) -> anyhow::Result<Profile> {
        parse(&self.text()?).with_context(|| match self {
            Self::Name(_) | Self::Json(_) => "--profile".to_owned(),
            Self::File(path) => format!("the profile {}", path.display()),
            Self::Descriptor(number) => format!("the profile at descriptor {number}"),
        })
    }

    /// The name or the JSON that the option means.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        Ok(match self {
            Self::Name(text) | Self::Json(text) => text.clone(),
            Self::File(path) => read_named_text(path, LARGEST_TEXT)
                .map(|mut text| std::mem::take(&mut *text))
                .with_context(|| format!("the profile {}", path.display()))?,
            Self::Descriptor(number) => super::process::inherited(*number)
                .and_then(|file| std::io::read_to_string(std::fs::File::from(file)))
                .with_context(|| format!("the profile at descriptor {number}"))?,
        })
    }
}

/// What becomes of the algorithms that this machine's cryptographic policy disables (swtpm's `remove-disabled`). Nothing here asks that
/// policy, so it disables none, and `check` finds nothing to remove. Built-in profiles are left as they are by both words.
///
/// # Errors
/// A profile of one's own that is to have only what a FIPS host would allow: it is not made by itself. Another word.
pub(crate) fn remove_disabled(how: &str, is_custom: bool) -> Result<(), String> {
    match how {
        "check" => Ok(()),
        "fips-host" if !is_custom => Ok(()),
        "fips-host" => Err(
            "'remove-disabled=fips-host' is not supported: name the algorithms that are wanted in a profile of your own (JSON, \"Algorithms\")"
                .into(),
        ),
        other => Err(format!("'remove-disabled={other}' is not known: it is check or fips-host")),
    }
}

/// The profile of a name or of JSON.
pub(crate) fn parse(text: &str) -> anyhow::Result<Profile> {
    if text.trim_start().starts_with('{') {
        from_json(text)
    } else {
        by_name(text.trim())
    }
}

/// The built-in profile of this name. `custom` alone is all that there is, under that name.
fn by_name(name: &str) -> anyhow::Result<Profile> {
    if is_custom(name) {
        return Ok(Profile {
            name: name.to_owned().into(),
            ..Profile::default()
        });
    }
    match Profile::by_name(name) {
        Some(profile) => Ok(profile),
        None => bail!(
            "there is no profile '{name}': the names are {}, and custom or custom:NAME for one with settings of its own",
            Profile::NAMES.join(", ")
        ),
    }
}

/// Whether a profile of this name may have settings of its own.
fn is_custom(name: &str) -> bool {
    name == "custom"
        || name
            .strip_prefix("custom:")
            .is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_profile_is_chosen_as_swtpm_does_or_shorter() {
        let parse = |text: &str| text.parse::<ProfileOption>();
        let json = r#"{"Name":"custom","Algorithms":"rsa,ecc"}"#;
        for (text, option) in [
            ("swtpm-0.7", ProfileOption::Name("swtpm-0.7".into())),
            ("name=custom:a", ProfileOption::Name("custom:a".into())),
            ("file=/a,b=c", ProfileOption::File("/a,b=c".into())),
            ("fd=7", ProfileOption::Descriptor(7)),
            (json, ProfileOption::Json(json.into())),
            (
                "name=custom,remove-disabled=check",
                ProfileOption::Name("custom".into()),
            ),
            (
                "name=default-v1,remove-disabled=fips-host",
                ProfileOption::Name("default-v1".into()),
            ),
            (
                &*format!("profile={json}"),
                ProfileOption::Json(json.into()),
            ),
        ] {
            assert_eq!(parse(text), Ok(option), "{text}");
        }
        for (wrong, word) in [
            ("fd=x", "fd=x"),
            ("colour=red", "colour="),
            ("name=custom,remove-disabled=fips-host", "Algorithms"),
            ("name=custom,remove-disabled=never", "never"),
            ("remove-disabled=check", "remove-disabled="),
        ] {
            assert!(parse(wrong).unwrap_err().contains(word), "{wrong}");
        }
    }

    #[test]
    fn profiles_go_by_their_names() {
        for name in Profile::NAMES {
            assert_eq!(by_name(name).unwrap().name, name);
        }
        assert_eq!(by_name("custom:x").unwrap().name, "custom:x");
        let error = by_name("no such profile").unwrap_err().to_string();
        assert!(error.contains("no such profile") && error.contains("swtpm-0.7"));
        assert!(by_name("custom:").is_err());
    }

    #[test]
    fn json_comes_from_a_file_or_a_descriptor_too() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(br#"{"Name":"pc-client"}"#).unwrap();
        let path = file.path().to_owned();
        let from_file = ProfileOption::File(path.clone()).load().unwrap();
        assert_eq!(from_file.name, "pc-client");
        let open = std::fs::File::open(&path).unwrap();
        let from_descriptor = ProfileOption::Descriptor(open.as_raw_fd()).load().unwrap();
        assert_eq!(from_descriptor.name, "pc-client");
        std::fs::write(&path, "{").unwrap();
        let error = format!(
            "{:#}",
            ProfileOption::File(path.clone()).load().unwrap_err()
        );
        assert!(error.contains(&*path.to_string_lossy()) && error.contains("not JSON"));
        let missing = ProfileOption::File("/no/such/file".into()).load();
        assert!(format!("{:#}", missing.unwrap_err()).contains("/no/such/file"));
    }
}
