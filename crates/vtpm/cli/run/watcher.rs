//! What cleans up when `vtpm run` cannot: a process that waits for its end.
//!
//! Nobody can catch SIGKILL. A second process hears of it by the end of a pipe, ends the command with all that it started, and
//! removes the sockets. If that one is killed as well, the next `vtpm run` removes them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Args;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal, setsid,
};

/// The verb under which the watcher runs.
const VERB: &str = "run-watcher";

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
        let command = next(&mut input).and_then(|text| Watched::new(&text));
        // Nothing more is said; the end of the pipe is the end of the run.
        let _ = input.read_to_end(&mut Vec::new());
        if let Some(command) = command {
            command.end();
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

/// A process by its number, and by a descriptor that cannot come to mean another.
struct Watched {
    id: i32,
    descriptor: std::os::fd::OwnedFd,
}

impl Watched {
    fn new(text: &[u8]) -> Option<Self> {
        let id = std::str::from_utf8(text).ok()?.parse().ok()?;
        let descriptor = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
        Some(Self { id, descriptor })
    }

    /// Ends the process and its descendants: stopped first, so that none slips through by starting others.
    fn end(&self) {
        if pidfd_send_signal(&self.descriptor, Signal::STOP).is_err() {
            return;
        }
        let mut found = BTreeSet::from([self.id]);
        loop {
            let children: BTreeSet<i32> = processes()
                .filter(|(id, parent)| found.contains(parent) && !found.contains(id))
                .map(|(id, _)| id)
                .collect();
            if children.is_empty() {
                break;
            }
            for pid in children.iter().filter_map(|id| Pid::from_raw(*id)) {
                let _ = kill_process(pid, Signal::STOP);
            }
            found.extend(children);
        }
        for pid in found.iter().filter_map(|id| Pid::from_raw(*id)) {
            // Those that are gone by now are what was wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// All processes with their parents.
fn processes() -> impl Iterator<Item = (i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may contain anything.
        let (_, fields) = status.rsplit_once(')')?;
        Some((id, fields.split_whitespace().nth(1)?.parse().ok()?))
    })
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

    #[test]
    fn parents_are_known() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(processes().any(|process| process == (id, own)));
        Watched::new(id.to_string().as_bytes()).unwrap().end();
        assert!(!child.wait().unwrap().success());
    }
}
