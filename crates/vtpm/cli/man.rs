//! `vtpm man`: manual pages out of the declared arguments.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory};

/// Write the manual pages, one for each verb
///
/// A folder man1 below a folder of MANPATH makes them known to man: `vtpm man ~/.local/share/man/man1`, then `man vtpm-vapp-copy`.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The folder to write them to; made if it is not there
    folder: PathBuf,
}

impl Man {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let shown = self.folder.display();
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("the folder {shown} cannot be made"))?;
        clap_mangen::generate_to(super::CommandLine::<super::Verb>::command(), &self.folder)
            .with_context(|| format!("the manual pages cannot be written to {shown}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
