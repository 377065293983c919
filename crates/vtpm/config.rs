//! Where things are: the data folder of the daemon and its socket on this machine, or a daemon elsewhere.

use std::env;
use std::path::PathBuf;

use clap::Args;

use crate::cli::server::ServerArgs;

/// Names the folder that holds everything the daemon keeps; flattened into each verb that needs it.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataFolder {
    /// Folder of the daemon: inventory, key providers, datastores, sockets
    #[arg(long = "data", env = "VTPM_DATA", value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl DataFolder {
    /// The folder itself: as given, else `$XDG_DATA_HOME/vtpm`, else `~/.local/share/vtpm`, else `/var/lib/vtpm`.
    pub(crate) fn path(&self) -> PathBuf {
        if let Some(path) = &self.data {
            return path.clone();
        }
        let absolute = |name: &str| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        if let Some(base) = absolute("XDG_DATA_HOME") {
            return base.join("vtpm");
        }
        match absolute("HOME") {
            Some(home) => home.join(".local/share/vtpm"),
            None => PathBuf::from("/var/lib/vtpm"),
        }
    }

    /// The unix socket of the daemon's HTTP API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("vtpm.sock")
    }
}

/// Says which daemon a verb talks to: the one of a data folder on this machine, or one elsewhere.
#[derive(Args, Clone, Debug)]
pub(crate) struct Daemon {
    #[command(flatten)]
    pub(crate) data: DataFolder,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
