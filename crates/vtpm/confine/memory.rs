//! Secrets stay in memory: no core dump, no look from other processes of the same user, no swap.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Whether the process starts others, which inherit its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    /// It starts none: its limits may be changed.
    None,
    /// It runs a command of its user, whose limits stay what they are.
    OfUser,
}

/// Whether memory may be written to swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Swap {
    /// It may not.
    Never,
    /// The process has no right to forbid it.
    Possible,
}

impl Swap {
    /// A line in the log where secrets could reach the swap: for processes that few would run without that right.
    pub(crate) fn warn(self) {
        if self == Self::Possible {
            tracing::warn!("{SWAP_POSSIBLE}");
        }
    }

    /// The same line at a level that is shown when asked for: for processes that ordinary users start all the time.
    pub(crate) fn tell(self) {
        if self == Self::Possible {
            tracing::info!("{SWAP_POSSIBLE}");
        }
    }
}

const SWAP_POSSIBLE: &str = "keys in memory may be swapped to disk, as this process may not lock its memory; raise its limit (systemd: \
     LimitMEMLOCK=infinity, shell: ulimit -l unlimited), or encrypt the swap";

/// Keeps all memory of the process, now and later, out of the swap. Only where there is no limit to it: with one, an allocation
/// would fail some day.
pub(crate) fn lock(children: Children) -> Swap {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let may = getrlimit(Resource::Memlock).current.is_none()
        || children == Children::None && setrlimit(Resource::Memlock, unlimited).is_ok();
    // Pages are locked when they are touched: memory that is only reserved costs nothing.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if may && mlockall(all).is_ok() {
        Swap::Never
    } else {
        Swap::Possible
    }
}

/// From now on no core dump is written of this process, and no other process of its user reads its memory. A change of user
/// undoes it, so it comes after.
pub(crate) fn forbid_dumps(children: Children) {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user can read the memory of this one");
    }
    if children == Children::None {
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        if let Err(error) = setrlimit(Resource::Core, none) {
            tracing::warn!(%error, "the limit of core dumps could not be set to 0");
        }
    }
}
