//! What swtpm_setup tells: on the terminal, or in a file that is read when something went wrong.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::cli::{output, process};

/// Where lines go.
#[derive(Debug)]
pub(super) struct Journal(Option<File>);

impl Journal {
    pub(super) fn new(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            process::create_file(path, 0o640, true)
                .with_context(|| format!("the log {}", path.display()))
        };
        Ok(Self(path.map(open).transpose()?))
    }

    pub(super) fn say(&mut self, line: &str) -> anyhow::Result<()> {
        match &mut self.0 {
            Some(file) => writeln!(file, "{line}").context("the log cannot be written")?,
            None => output::line(line)?,
        }
        Ok(())
    }

    /// The error goes to the terminal in any case; whoever has a log looks there first.
    pub(super) fn failed(&mut self, error: &anyhow::Error) {
        if let Some(file) = &mut self.0 {
            // The terminal has the same words.
            let _ = writeln!(
                file,
                "{error:#}\nAn error occurred. Authoring the TPM state failed."
            );
        }
    }
}
