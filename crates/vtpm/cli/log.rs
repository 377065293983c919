//! Where log lines and error messages go.

use std::io;
use std::io::Write as _;

use tracing_subscriber::EnvFilter;

/// Logs to standard error at `level`, or as `VTPM_LOG` says.
#[expect(dead_code, reason = "the verbs that run for long use it")]
pub(crate) fn to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("VTPM_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second initialisation in one process (tests) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .try_init();
}

/// Tells the person at the terminal what went wrong, causes included.
pub(crate) fn complain(error: &anyhow::Error) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "vtpm: {error:#}");
}
