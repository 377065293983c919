//! `--create-config-files`: configuration of one user, with an authority of the user's own.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, bail};

use super::authority::AuthorityFiles;
use super::{USUAL_BANKS, configuration};
use crate::cli::output;

/// What to do about files that are there, and whether root may have any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigFilesOption {
    overwrite: bool,
    root: bool,
    skip_if_exist: bool,
}

impl FromStr for ConfigFilesOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut option = Self::default();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word {
                "overwrite" => option.overwrite = true,
                "root" => option.root = true,
                "skip-if-exist" => option.skip_if_exist = true,
                _ => return Err(format!("'{word}' is not known here")),
            }
        }
        if option.overwrite && option.skip_if_exist {
            return Err("'overwrite' and 'skip-if-exist' exclude each other".into());
        }
        Ok(option)
    }
}

pub(super) fn create(option: &ConfigFilesOption) -> anyhow::Result<ExitCode> {
    if rustix::process::getuid().is_root() && !option.root {
        bail!("files of root would hide those in /etc: say 'root' if that is meant");
    }
    let folder = configuration::user_folder()
        .context("where are the files to be put? Neither XDG_CONFIG_HOME nor HOME is set")?;
    let authority = AuthorityFiles::in_folder(folder.join("var/lib/swtpm-localca"));
    let file = |name: &str| folder.join(name);
    let (settings, options) = (file("swtpm-localca.conf"), file("swtpm-localca.options"));
    let (system, version) = (kernel("ostype"), kernel("version"));
    let files = [
        (
            file("swtpm_setup.conf"),
            format!(
                "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n\
                 # Comma-separated list (no spaces) of PCR banks to activate by default\nactive_pcr_banks = {USUAL_BANKS}\n",
                settings.display(),
                options.display()
            ),
        ),
        (settings, authority.to_configuration()),
        (
            options,
            format!(
                "--platform-manufacturer {system}\n--platform-version {version}\n--platform-model {system}\n"
            ),
        ),
    ];
    if !option.overwrite
        && let Some((there, _)) = files.iter().find(|(path, _)| path.exists())
    {
        if option.skip_if_exist {
            return Ok(ExitCode::SUCCESS);
        }
        bail!("{} exists already and is not overwritten", there.display());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o775)
        .create(authority.folder())
        .with_context(|| format!("the folder {}", authority.folder().display()))?;
    for (path, text) in &files {
        output::line(format!("Writing {}.", path.display()))?;
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the kernel says of itself, as one word.
fn kernel(name: &str) -> String {
    let path = Path::new("/proc/sys/kernel").join(name);
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.trim() {
        "" => "unknown".to_owned(),
        text => text.replace(' ', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_words_with_commas_or_spaces() {
        let option: ConfigFilesOption = "overwrite,root".parse().unwrap();
        assert!(option.overwrite && option.root && !option.skip_if_exist);
        assert_eq!("".parse(), Ok(ConfigFilesOption::default()));
        assert!("root skip-if-exist".parse::<ConfigFilesOption>().is_ok());
        for wrong in ["overwrite,skip-if-exist", "roots"] {
            assert!(wrong.parse::<ConfigFilesOption>().is_err(), "{wrong}");
        }
    }
}
