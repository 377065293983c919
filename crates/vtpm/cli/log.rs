//! Where log lines and error messages go.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

/// Logs to standard error at `level`, or as `VTPM_LOG` says.
pub(crate) fn to_stderr(level: &str) {
    // A second initialisation in one process (tests) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false)
        .try_init();
}

/// Logs to a file at `level`, or as `VTPM_LOG` says; each line begins with `prefix`.
pub(crate) fn to_file(file: File, level: &str, prefix: String) {
    let lines = Lines {
        file: Arc::new(Mutex::new(file)),
        prefix,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_target(false)
        .with_ansi(false);
    let _ = subscriber.with_writer(move || lines.clone()).try_init();
}

/// Tells the person at the terminal what went wrong, causes included.
pub(crate) fn complain(error: &anyhow::Error) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "vtpm: {error:#}");
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_env("VTPM_LOG").unwrap_or_else(|_| EnvFilter::new(level))
}

/// Writes whole lines, each in one piece.
#[derive(Clone)]
struct Lines {
    file: Arc<Mutex<File>>,
    prefix: String,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let whole = [self.prefix.as_bytes(), line].concat();
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&whole)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
