//! The part of the file system that a process still sees, enforced by the kernel (Landlock).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
    Scope, path_beneath_rules,
};

/// What any process reads: libraries and settings of the system, names of hosts, facts about itself.
const READABLE: [&str; 7] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
];

/// The devices that it uses.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/tty",
    "/dev/urandom",
    "/dev/tpm0",
    "/dev/tpmrm0",
];

/// Restricts this thread and all that it starts, for good: programs are executed no more; below `writable` everything else is
/// allowed; a few folders of the system can be read, and no signal reaches a process outside. What the kernel is too old for
/// stays possible, which the outcome says.
pub(crate) fn restrict_to(writable: &[PathBuf]) -> anyhow::Result<RulesetStatus> {
    // The newest rules that this program knows; the crate leaves out those that the kernel does not.
    let all = AccessFs::from_all(ABI::V6);
    // Where the names of hosts are looked up may be a link to anywhere.
    let resolver = Path::new("/etc/resolv.conf").canonicalize().ok();
    let readable = READABLE.iter().map(PathBuf::from).chain(resolver);
    let status = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(
            readable,
            AccessFs::ReadFile | AccessFs::ReadDir,
        ))?
        .add_rules(path_beneath_rules(
            DEVICES,
            AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        ))?
        .add_rules(path_beneath_rules(writable, all & !AccessFs::Execute))?
        .restrict_self()
        .context("the kernel refused the rules")?;
    Ok(status.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    /// The rules bind a thread, so a test can give up its own.
    #[test]
    fn outside_of_its_folders_nothing_is_written_listed_or_executed() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "x").unwrap();
        let (within, without) = (inside.path().to_owned(), outside.path().to_owned());
        let denied = std::thread::spawn(move || {
            let status = restrict_to(std::slice::from_ref(&within)).unwrap();
            if status == RulesetStatus::NotEnforced {
                return None;
            }
            fs::write(within.join("file"), "x").unwrap();
            fs::rename(within.join("file"), within.join("other")).unwrap();
            fs::remove_file(within.join("other")).unwrap();
            fs::read("/etc/passwd").unwrap();
            std::os::unix::fs::symlink(&without, within.join("way-out")).unwrap();
            Some(
                [
                    fs::write(without.join("file"), "x").err(),
                    fs::write(within.join("way-out/file"), "x").err(),
                    fs::read(without.join("secret")).err(),
                    fs::read_dir(&without).err(),
                    fs::remove_file(without.join("secret")).err(),
                    std::process::Command::new("/bin/true").status().err(),
                ]
                .map(|error| error.map(|error| error.kind())),
            )
        });
        // Only a kernel without Landlock may leave everything open, and that one has no such file of rules.
        match denied.join().unwrap() {
            Some(denied) => assert_eq!(denied, [Some(ErrorKind::PermissionDenied); 6]),
            None => assert!(landlock_is_missing()),
        }
        assert!(fs::read(outside.path().join("secret")).is_ok());
    }

    fn landlock_is_missing() -> bool {
        let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        !modules.split(',').any(|module| module.trim() == "landlock")
    }
}
