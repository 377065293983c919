//! The command that `vtpm run` runs: its start, the signals that are meant for it, its end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::family;
use super::watcher::Watcher;
use crate::cli::log;

/// What a shell answers for a command that cannot be run, or is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What a shell adds to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// Whether no folder of the search path has a command. Of a folder among them that this user may not search, the kernel says that
/// permission is denied, whatever is looked for.
fn is_nowhere(name: &OsStr) -> bool {
    let is_path = name.as_encoded_bytes().contains(&b'/');
    let search = std::env::var_os("PATH").filter(|_| !is_path);
    search.is_some_and(|search| {
        std::env::split_paths(&search).all(|folder| !folder.join(name).is_file())
    })
}

/// Runs a command to its end.
pub(super) async fn run(
    command: &[OsString],
    environment: &[(String, OsString)],
    watcher: &mut Watcher,
) -> anyhow::Result<ExitCode> {
    let (name, arguments) = command.split_first().context("no command")?;
    // Listening begins before there is a child that a signal could be meant for.
    let mut forwarding = Forwarding::new()?;
    let spawned = Command::new(name)
        .args(arguments)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let (code, what) = if error.kind() == io::ErrorKind::NotFound || is_nowhere(name) {
                (NOT_FOUND, "there is no such command")
            } else {
                (CANNOT_RUN, "it cannot be run")
            };
            let told = format!("{}: {what}", name.to_string_lossy());
            log::complain(&anyhow::Error::from(error).context(told));
            return Ok(ExitCode::from(code));
        }
    };
    if let Some(id) = child.id() {
        watcher.watch(id);
    }
    Ok(exit_code(forwarding.wait(&mut child, watcher.id()).await?))
}

/// As a shell tells it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let number = status.code().or_else(|| {
        status
            .signal()
            .map(|signal| BY_SIGNAL.saturating_add(signal))
    });
    ExitCode::from(
        number
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(u8::MAX),
    )
}

/// Signals that are passed on to the command, which decides what becomes of it.
struct Forwarding {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    user_1: tokio::signal::unix::Signal,
    user_2: tokio::signal::unix::Signal,
    /// Not passed on: the command or what it left has ended.
    child: tokio::signal::unix::Signal,
}

impl Forwarding {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            child: signal(SignalKind::child())?,
        })
    }

    async fn wait(&mut self, child: &mut Child, watcher: Option<u32>) -> io::Result<ExitStatus> {
        let kept: Vec<u32> = child.id().into_iter().chain(watcher).collect();
        loop {
            let received = tokio::select! {
                status = child.wait() => return status,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.quit.recv() => Signal::QUIT,
                _ = self.hang_up.recv() => Signal::HUP,
                _ = self.user_1.recv() => Signal::USR1,
                _ = self.user_2.recv() => Signal::USR2,
                _ = self.child.recv() => {
                    family::bury(&kept);
                    continue;
                }
            };
            // What the keyboard sends, the terminal has sent to the command as well.
            let from_keyboard = matches!(received, Signal::INT | Signal::QUIT) && in_foreground();
            if let (false, Some(pid)) = (
                from_keyboard,
                child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            ) {
                // A command that is gone already needs no signal.
                let _ = kill_process(pid, received);
            }
        }
    }
}

fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), ExitCode::from(7));
        assert_eq!(exit_code(ExitStatus::from_raw(15)), ExitCode::from(143));
    }
}
