//! The command of a run and all that it started, whoever of them is still there.
//!
//! A process whose parent is gone comes to the run, or if that is gone too, belongs to nobody. But all of them have inherited a mark in
//! their environment, which names the run's folder; those that took it out are found by their parents.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitpid,
};

use super::watcher;

/// The variable that marks them.
pub(super) const MARK: &str = "VTPM_RUN";

/// From now on, processes that this one's children leave behind become its own.
pub(super) fn adopt() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::warn!(%error, "what the command leaves is found by its environment alone");
    }
}

/// Lets go of adopted processes that have ended; `kept` are the children that others wait for.
pub(super) fn bury(kept: &[u32]) {
    let own = own_id();
    let ended = processes().filter(|process| process.parent == own && process.ended);
    for id in ended.map(|process| process.id) {
        if !kept.iter().any(|kept| i32::try_from(*kept) == Ok(id)) {
            let _ = waitpid(Pid::from_raw(id), WaitOptions::NOHANG);
        }
    }
}

fn own_id() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// Processes that are to end together.
#[derive(Default)]
pub(super) struct Family {
    command: Option<(i32, OwnedFd)>,
    mark: Option<Vec<u8>>,
    adopted: bool,
}

impl Family {
    /// The process with this number, held by a descriptor that cannot come to mean another, and its descendants.
    pub(super) fn of_command(number: &[u8]) -> Option<Self> {
        let id = std::str::from_utf8(number).ok()?.parse().ok()?;
        let descriptor = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
        Some(Self {
            command: Some((id, descriptor)),
            ..Self::default()
        })
    }

    /// And all that carry the mark of the run in this folder, and their descendants.
    pub(super) fn marked(self, folder: &[u8]) -> Self {
        let mark = [MARK.as_bytes(), b"=", folder].concat();
        Self {
            mark: Some(mark),
            ..self
        }
    }

    /// And all children of this process.
    pub(super) fn adopted(self) -> Self {
        Self {
            adopted: true,
            ..self
        }
    }

    /// Ends them: stopped first, so that none slips through by starting others.
    pub(super) fn end(&self) {
        let mut found = BTreeSet::new();
        if let Some((id, descriptor)) = &self.command
            && pidfd_send_signal(descriptor, Signal::STOP).is_ok()
        {
            found.insert(*id);
        }
        let own = own_id();
        let belongs = |process: &Process, found: &BTreeSet<i32>| {
            found.contains(&process.parent)
                || self.adopted && process.parent == own
                || self.marks(process.id)
        };
        loop {
            let more: BTreeSet<i32> = processes()
                .filter(|process| !process.ended && process.id != own)
                .filter(|process| !found.contains(&process.id) && belongs(process, &found))
                // The watcher of a run within this one has to clean up after that one.
                .filter(|process| !is_watcher(process.id))
                .map(|process| process.id)
                .collect();
            if more.is_empty() {
                break;
            }
            for pid in more.iter().filter_map(|id| Pid::from_raw(*id)) {
                let _ = kill_process(pid, Signal::STOP);
            }
            found.extend(more);
        }
        for pid in found.iter().filter_map(|id| Pid::from_raw(*id)) {
            // Those that are gone by now are what was wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn marks(&self, id: i32) -> bool {
        let Some(mark) = &self.mark else {
            return false;
        };
        // That of another user's process cannot be read: it is none of ours.
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == mark)
    }
}

fn is_watcher(id: i32) -> bool {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    words.next() == Some(b"vtpm") && words.next() == Some(watcher::VERB.as_bytes())
}

struct Process {
    id: i32,
    parent: i32,
    /// It is there for its parent to ask what became of it.
    ended: bool,
}

/// All processes.
fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may contain anything.
        let (_, fields) = status.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let ended = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        Some(Process { id, parent, ended })
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn parents_are_known() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = Command::new("sleep").arg("100000").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(processes().any(|process| process.id == id && process.parent == own));
        Family::of_command(id.to_string().as_bytes()).unwrap().end();
        assert!(!child.wait().unwrap().success());
    }

    /// A shell that starts a program, says its number, and goes on as another; its standard output ends when both have.
    fn shell(folder: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 100000 & echo $!; exec sleep 100000"])
            .env(MARK, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        (child, output)
    }

    #[test]
    fn what_a_killed_command_left_is_found_by_its_mark_and_others_are_let_be() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().to_str().unwrap();
        let (mut command, mut output) = shell(ours);
        let (mut other, _output) = shell(&format!("{ours}2"));
        command.kill().unwrap();
        command.wait().unwrap();
        Family::default().marked(ours.as_bytes()).end();
        let mut rest = String::new();
        assert_eq!(output.read_line(&mut rest).unwrap(), 0, "it has ended");
        assert!(other.try_wait().unwrap().is_none());
        let other_folder = format!("{ours}2");
        Family::default().marked(other_folder.as_bytes()).end();
        assert!(!other.wait().unwrap().success());
    }
}
