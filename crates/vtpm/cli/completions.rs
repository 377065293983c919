//! `vtpm completions`: what a shell needs to complete our arguments.

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// Prints the completion script of a shell
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell to print it for
    shell: Shell,
}

impl Completions {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        generate(
            self.shell,
            &mut super::CommandLine::<super::Verb>::command(),
            "vtpm",
            &mut script,
        );
        io::Write::write_all(&mut io::stdout(), &script)?;
        Ok(ExitCode::SUCCESS)
    }
}
