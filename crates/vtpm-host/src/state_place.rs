//! Where the state of a TPM is kept, by swtpm's words.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use vm_store::backend::Backend;
use vm_store::{LinuxBackend, SingleFileBackend, StateFolder, StateKey, StoreError};

/// A folder, or one file that holds what a folder would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePlace {
    path: PathBuf,
    is_one_file: bool,
}

impl StatePlace {
    /// A folder.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_one_file: false,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a file or a block device, not a folder.
    pub fn is_one_file(&self) -> bool {
        self.is_one_file
    }

    /// Takes it for this process alone; it is made if it is not there.
    pub fn open(&self, key: StateKey) -> Result<StateFolder, StoreError> {
        StateFolder::open(&*self.backend(), &self.path, key)
    }

    /// The backend that reads and writes it.
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        if self.is_one_file {
            Arc::new(SingleFileBackend)
        } else {
            Arc::new(LinuxBackend)
        }
    }
}

impl FromStr for StatePlace {
    type Err = String;

    /// `dir://FOLDER`, `file://FILE`, or the name of a folder.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, is_one_file) = match text.strip_prefix("file://") {
            Some(path) => (path, true),
            None => (text.strip_prefix("dir://").unwrap_or(text), false),
        };
        if path.is_empty() {
            return Err("the name of the state folder or file is empty".into());
        }
        if let Some((scheme, _)) = path.split_once("://") {
            return Err(format!(
                "state is not kept at {scheme}://; say dir://FOLDER or file://FILE"
            ));
        }
        Ok(Self {
            path: path.into(),
            is_one_file,
        })
    }
}

impl fmt::Display for StatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_are_named_as_swtpm_does() {
        for text in ["/a b", "dir:///a b"] {
            let place: StatePlace = text.parse().unwrap();
            assert_eq!(place, StatePlace::folder("/a b"));
            assert_eq!(place.to_string(), "/a b");
        }
        let place: StatePlace = "file://a/b".parse().unwrap();
        assert!(place.is_one_file() && place.path() == Path::new("a/b"));
        for text in ["", "dir://", "file://", "ftp://a/b", "dir://file://a"] {
            assert!(text.parse::<StatePlace>().is_err(), "{text}");
        }
    }
}
