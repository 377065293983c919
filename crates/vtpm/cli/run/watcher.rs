//! What cleans up when `vtpm run` cannot: a process that waits for its end.
//!
//! Nobody can catch SIGKILL. A second process hears of it by the end of a pipe, ends the command with all that it started, and
//! removes the sockets. If that one is killed as well, the next `vtpm run` removes them.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Args;
use rustix::process::setsid;

use super::family::Family;

/// The verb under which the watcher runs.
pub(super) const VERB: &str = "run-watcher";

/// The watcher as `vtpm run` sees it; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Watcher(Option<Child>);

impl Watcher {
    /// Starts a watcher that removes `folder` after the end of this process.
    pub(super) fn start(folder: &Path) -> Self {
        // The file of this program may have been replaced since.
        let started = Command::new("/proc/self/exe")
            .arg0("vtpm")
            .arg(VERB)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut watcher = match started {
            Ok(child) => Self(Some(child)),
            Err(error) => {
                tracing::warn!(%error, "if this process is killed, its sockets stay until the next run");
                Self(None)
            }
        };
        watcher.tell(folder.as_os_str().as_bytes());
        watcher
    }

    /// Has the process `id` ended as well.
    pub(super) fn watch(&mut self, id: u32) {
        self.tell(id.to_string().as_bytes());
    }

    /// Its process.
    pub(super) fn id(&self) -> Option<u32> {
        self.0.as_ref().map(Child::id)
    }

    fn tell(&mut self, text: &[u8]) {
        let pipe = self.0.as_mut().and_then(|child| child.stdin.as_mut());
        if let Some(Err(error)) = pipe.map(|pipe| pipe.write_all(&[text, b"\0"].concat())) {
            tracing::warn!(%error, "the watcher of this run is gone");
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Everything is cleaned up: it has nothing to do, and must not do it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Cleans up after the `vtpm run` at the other end of its standard input
#[derive(Args, Debug)]
pub(crate) struct WatcherVerb {}

impl WatcherVerb {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "all verbs have the same signature"
    )]
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        // What ends the group of the run must not end this process with it. One that leads its group already is apart.
        let _ = setsid();
        let mut input = io::stdin().lock();
        let folder = next(&mut input);
        let command = next(&mut input).and_then(|text| Family::of_command(&text));
        // Nothing more is said; the end of the pipe is the end of the run.
        let _ = input.read_to_end(&mut Vec::new());
        if let Some(folder) = &folder {
            command.unwrap_or_default().marked(folder).end();
        }
        if let Some(folder) = folder {
            // It may be gone in good order.
            let _ = std::fs::remove_dir_all(OsStr::from_bytes(&folder));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn next(input: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    input.read_until(0, &mut text).ok()?;
    // Half a word is none.
    (text.pop() == Some(0)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_with_zero() {
        let mut input = &b"/a folder\n\x00123\0half"[..];
        assert_eq!(next(&mut input).as_deref(), Some(&b"/a folder\n"[..]));
        assert_eq!(next(&mut input).as_deref(), Some(&b"123"[..]));
        assert_eq!(next(&mut input), None);
    }
}
