//! Where things are: the data folder of the daemon and its socket on this machine, or a daemon elsewhere.

use std::env;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tpm_server::linger_for;

use crate::cli::server::ServerArgs;

/// How many microseconds a server that has answered looks for the next command before its thread sleeps; 0: not at all.
const LINGER: &str = "VTPM_LINGER";
/// A core that looks for a millisecond has better things to do.
const MOST_LINGERING: u64 = 1000;

/// Hands what the environment says about [`LINGER`] to the servers of this process.
pub(crate) fn choose_lingering() -> io::Result<()> {
    let Some(given) = env::var_os(LINGER).filter(|given| !given.is_empty()) else {
        return Ok(());
    };
    let moment = given.to_str().and_then(|text| text.parse().ok());
    match moment.filter(|moment| *moment <= MOST_LINGERING) {
        Some(moment) => linger_for(Duration::from_micros(moment)),
        None => {
            return Err(io::Error::other(format!(
                "{LINGER}={}: say a number of microseconds up to {MOST_LINGERING}; 0 turns it off",
                given.display()
            )));
        }
    }
    Ok(())
}

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
