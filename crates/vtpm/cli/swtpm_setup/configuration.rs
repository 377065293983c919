//! swtpm's configuration files: `key = value` lines, `#` for comments, `${NAME}` for the environment.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use vm_store::backend::{LARGEST_TEXT, open_named, read_named_text};

/// The file of swtpm_setup.
const NAME: &str = "swtpm_setup.conf";

/// A configuration file that was read, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Configuration {
    path: Option<PathBuf>,
    text: String,
}

impl Configuration {
    /// The file that was named, else the user's, else that of the machine; without any of them the values are the usual ones.
    pub(super) fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        match given.map(PathBuf::from).or_else(|| search(NAME)) {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut text = read_named_text(path, LARGEST_TEXT)
            .with_context(|| format!("the configuration {}", path.display()))?;
        Ok(Self {
            path: Some(path.to_owned()),
            text: std::mem::take(&mut *text),
        })
    }

    /// Whether there is a file.
    pub(super) const fn is_there(&self) -> bool {
        self.path.is_some()
    }

    /// The first value of a key; empty ones do not count.
    pub(super) fn value(&self, key: &str) -> anyhow::Result<Option<String>> {
        for line in self.text.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            if name.trim_end() != key {
                continue;
            }
            let value = value.split('#').next().unwrap_or_default().trim();
            if !value.is_empty() {
                return resolve(value).map(Some).with_context(|| self.about(key));
            }
        }
        Ok(None)
    }

    /// A value that must be there.
    pub(super) fn need(&self, key: &str) -> anyhow::Result<String> {
        self.value(key)?
            .with_context(|| format!("{} is missing", self.about(key)))
    }

    /// A value in its type.
    pub(super) fn parsed<T: FromStr>(&self, key: &str) -> anyhow::Result<Option<T>>
    where
        T::Err: Display,
    {
        let Some(text) = self.value(key)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error: T::Err| anyhow!("{error}"))
            .with_context(|| self.about(key))
    }

    fn about(&self, key: &str) -> String {
        match &self.path {
            Some(path) => format!("'{key}' in {}", path.display()),
            None => format!("'{key}'"),
        }
    }
}

/// The folder of a user's configuration.
pub(super) fn user_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
}

/// A configuration file that can be read: the user's, else that of the machine.
pub(super) fn search(name: &str) -> Option<PathBuf> {
    user_folder()
        .into_iter()
        .chain([PathBuf::from("/etc")])
        .map(|folder| folder.join(name))
        .find(|path| open_named(path).is_ok())
}

/// Puts the environment's values into a text.
fn resolve(text: &str) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after
            .split_once('}')
            .with_context(|| format!("'{text}' has a brace that is not closed"))?;
        out.push_str(before);
        let value = env::var(name).with_context(|| format!("the environment's {name}"))?;
        out.push_str(&value);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        Configuration {
            path: Some("/x.conf".into()),
            text: text.into(),
        }
    }

    #[test]
    fn values_are_found_and_comments_are_not() {
        let file = configuration("# a = 1\na=2 # two\nab = 3\n b = 4\nempty =\nb = 5\n");
        assert_eq!(file.value("a").unwrap().as_deref(), Some("2"));
        assert_eq!(file.value("ab").unwrap().as_deref(), Some("3"));
        assert_eq!(file.value("b").unwrap().as_deref(), Some("5"));
        assert_eq!(file.value("empty").unwrap(), None);
        assert_eq!(file.parsed::<u8>("a").unwrap(), Some(2));
        let error = file.need("c").unwrap_err().to_string();
        assert!(
            error.contains("'c'") && error.contains("/x.conf"),
            "{error}"
        );
        assert!(configuration("a = x").parsed::<u8>("a").is_err());
    }

    #[test]
    fn the_environment_is_resolved() {
        let home = env::var("PATH").unwrap();
        let file = configuration("a = x${PATH}y${PATH}\nb = ${NO_SUCH_NAME_HERE}\nc = ${PATH");
        assert_eq!(file.value("a").unwrap(), Some(format!("x{home}y{home}")));
        assert!(file.value("b").is_err());
        assert!(file.value("c").is_err());
    }
}
