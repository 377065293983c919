//! `--runas`: the same program once more, as another user.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use rustix::process::{getgid, getuid};

/// Marks a process that has become who it was to be.
const DONE: &str = "VTPM_RUNS_AS";

/// Goes on as this user, or gives nothing back if this process is that user already.
pub(super) fn become_user(user: &str) -> anyhow::Result<Option<ExitCode>> {
    if std::env::var_os(DONE).is_some_and(|done| done == user) {
        return Ok(None);
    }
    let (uid, gid) = numbers(user)?;
    if getuid().as_raw() == uid && getgid().as_raw() == gid {
        return Ok(None);
    }
    if !getuid().is_root() {
        bail!("--runas {user}: only root can become another user");
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // Started anew, as changing users in place needs unsafe code; the other groups of root are dropped on the way.
    let error = Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env(DONE, user)
        .uid(uid)
        .gid(gid)
        .exec();
    Err(error).with_context(|| format!("--runas {user}"))
}

/// Who runs this, for people.
pub(super) fn current_user() -> String {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let name = |table: &str, number: u32| {
        entry(table, |fields| {
            fields.get(2).and_then(|text| text.parse().ok()) == Some(number)
        })
        .and_then(|fields| fields.into_iter().next())
        .unwrap_or_else(|| number.to_string())
    };
    format!(
        "{}:{}",
        name("/etc/passwd", user),
        name("/etc/group", group)
    )
}

fn numbers(user: &str) -> anyhow::Result<(u32, u32)> {
    if let Ok(number) = user.parse() {
        return Ok((number, number));
    }
    let fields = entry("/etc/passwd", |fields| {
        fields.first().is_some_and(|name| name == user)
    });
    let number = |at: usize| {
        let text = fields.as_ref().and_then(|fields| fields.get(at));
        text.and_then(|text| text.parse().ok())
    };
    number(2)
        .zip(number(3))
        .with_context(|| format!("--runas {user}: there is no such user in /etc/passwd"))
}

/// The first line of a table of the system that is wanted, in its fields.
fn entry(table: &str, wanted: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(table).ok()?;
    text.lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| wanted(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_go_by_name_and_number() {
        assert_eq!(numbers("root").unwrap(), (0, 0));
        assert_eq!(numbers("1234").unwrap(), (1234, 1234));
        assert!(numbers("no such user here").is_err());
        assert!(current_user().contains(':'));
    }
}
