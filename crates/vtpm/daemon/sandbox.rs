//! What the daemon can still do once it runs, whoever takes it over.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::RulesetStatus;

use crate::confine::system_calls::Offence;
use crate::confine::{files, system_calls};

/// Leaves the daemon its data folder and the folders in `more` (datastores on other disks), and takes from it other programs,
/// other processes and the rest of the machine. There must be no second thread yet: the rules go from a thread to those that it
/// starts. A kernel that cannot do it is no reason not to run, but is told of.
pub(crate) fn enter(data: &Path, more: &[PathBuf]) -> anyhow::Result<()> {
    let mut folders = vec![data.to_owned()];
    for folder in more {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("--allow {}: the folder must exist", folder.display()))?;
        folders.push(folder);
    }
    match files::restrict_to(&folders) {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::info!(
                "the sandbox has gaps: this kernel knows a part of Landlock's rules only"
            );
        }
        Ok(RulesetStatus::NotEnforced) => tracing::warn!(
            "no sandbox for files: this kernel has no Landlock (Linux 5.13 or later, with landlock in its lsm= list)"
        ),
        Err(error) => tracing::warn!("no sandbox for files: {error:#}"),
    }
    if let Err(error) = system_calls::forbid(Offence::Refuse) {
        tracing::warn!("no sandbox for system calls: {error:#}");
    }
    Ok(())
}
