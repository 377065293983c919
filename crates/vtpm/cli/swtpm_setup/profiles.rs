//! Profiles by name, in files, and those that there are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;
use tpm_engine::Profile;

use super::configuration::Configuration;
use crate::cli::profile::{self, ProfileOption};

/// Where a distribution puts profiles.
const DISTRIBUTION: &str = "/usr/share/swtpm/profiles";

/// The profile that the options choose.
pub(super) fn chosen(
    option: &ProfileOption,
    configuration: &Configuration,
) -> anyhow::Result<Profile> {
    match option {
        ProfileOption::Name(name) => by_name(name, configuration),
        other => other.load(),
    }
}

/// The profile that the configuration names, else the usual one.
pub(super) fn configured(configuration: &Configuration) -> anyhow::Result<Profile> {
    if let Some(path) = configuration.value("profile_file")? {
        return from_file(Path::new(&path));
    }
    match configuration.value("profile")? {
        Some(json) => profile::parse(&json).context("'profile' in the configuration"),
        None => Ok(Profile::default()),
    }
}

/// The names of profiles that can be chosen, as JSON.
pub(super) fn listing(configuration: &Configuration) -> anyhow::Result<String> {
    let local = in_folder(local_folder(configuration)?);
    let distribution = in_folder(Some(DISTRIBUTION.into()));
    let built_in = Profile::NAMES.map(|name| entry(name, None));
    // In swtpm_setup's order, as there are scripts that look for the text.
    Ok(format!(
        r#"{{"local":[{}],"distro":[{}],"builtin":[{}]}}"#,
        local.join(","),
        distribution.join(","),
        built_in.join(",")
    ))
}

/// The profiles in the files of a folder, by their names.
fn in_folder(folder: Option<PathBuf>) -> Vec<String> {
    let files = folder.and_then(|folder| fs::read_dir(folder).ok());
    let mut profiles: Vec<(String, PathBuf)> = files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            Some((name.strip_suffix(".json")?.to_owned(), file.path()))
        })
        .collect();
    profiles.sort();
    let description = |path: &Path| -> Option<String> {
        let profile: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Some(profile.get("Description")?.as_str()?.to_owned())
    };
    profiles
        .into_iter()
        .map(|(name, path)| entry(&name, description(&path)))
        .collect()
}

fn entry(name: &str, description: Option<String>) -> String {
    let name = Value::from(name);
    let description = description.map(|text| format!(r#","Description":{}"#, Value::from(text)));
    format!(r#"{{"Name":{name}{}}}"#, description.unwrap_or_default())
}

fn local_folder(configuration: &Configuration) -> anyhow::Result<Option<PathBuf>> {
    Ok(configuration
        .value("local_profiles_dir")?
        .map(PathBuf::from))
}

/// Looks where swtpm_setup does: local files, those of the distribution, then what is built in; a prefix picks one of them.
fn by_name(text: &str, configuration: &Configuration) -> anyhow::Result<Profile> {
    let (place, name) = match text.split_once(':') {
        Some((place @ ("local" | "distro" | "builtin"), name)) => (Some(place), name),
        _ => (None, text),
    };
    if name.is_empty() || name.contains('/') {
        bail!("'{text}' is no name of a profile");
    }
    let folders = [
        ("local", local_folder(configuration)?),
        ("distro", Some(PathBuf::from(DISTRIBUTION))),
    ];
    for (kind, folder) in folders {
        if place.is_some_and(|place| place != kind) {
            continue;
        }
        let path = folder.map(|folder| folder.join(format!("{name}.json")));
        match path {
            Some(path) if path.exists() => return from_file(&path),
            _ if place.is_some() => bail!("there is no profile '{name}' among the {kind} ones"),
            _ => {}
        }
    }
    profile::parse(name)
}

fn from_file(path: &Path) -> anyhow::Result<Profile> {
    ProfileOption::File(path.to_path_buf()).load()
}
