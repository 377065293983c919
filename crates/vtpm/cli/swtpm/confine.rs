//! What a TPM process gives up before it serves anybody: the rest of the file system, the rights of root, system calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::process::{Gid, Uid, chroot, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};

/// What happens to a process that uses a system call that no TPM needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    Kill,
    Log,
}

/// Calls by which a process would take over others or the machine. The process goes on without them from the moment that it
/// serves clients; what it needs to start, such as changing its user, it has done by then.
const FORBIDDEN: [libc::c_long; 50] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mknodat,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_personality,
    libc::SYS_syslog,
];

/// Somebody in the table of users.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    id: u32,
    group: u32,
}

/// Goes into the folder `root`, which is all that the process sees from then on, and becomes `user`. There must be no second
/// thread yet: these properties belong to threads.
pub(super) fn enter(root: Option<&Path>, user: Option<&str>) -> anyhow::Result<()> {
    // The tables of users are read where the name was given.
    let user = user.map(find_user).transpose()?;
    if let Some(root) = root {
        chroot(root)
            .map_err(std::io::Error::from)
            .and_then(|()| std::env::set_current_dir("/"))
            .with_context(|| format!("--chroot {}: only root can do that", root.display()))?;
    }
    if let Some((user, groups)) = user {
        become_user(&user, &groups)
            .with_context(|| format!("--runas {}: only root can do that", user.name))?;
    }
    Ok(())
}

fn become_user(user: &User, groups: &[u32]) -> std::io::Result<()> {
    let (id, group) = (Uid::from_raw(user.id), Gid::from_raw(user.group));
    if getuid() != id {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
    }
    // The groups first: the right to change them goes with the user.
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(id, id, id)?;
    Ok(())
}

/// A user by name or number, with all groups.
fn find_user(name: &str) -> anyhow::Result<(User, Vec<u32>)> {
    let table = |path: &str| fs::read_to_string(path).context(path.to_owned());
    let user = parse_user(&table("/etc/passwd")?, name)
        .with_context(|| format!("--runas: '{name}' is not in /etc/passwd"))?;
    let mut groups = parse_groups(&table("/etc/group")?, &user.name);
    groups.push(user.group);
    Ok((user, groups))
}

fn parse_user(table: &str, name: &str) -> Option<User> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, _, id, group) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        if found != name && id != name {
            return None;
        }
        Some(User {
            name: found.to_owned(),
            id: id.parse().ok()?,
            group: group.parse().ok()?,
        })
    })
}

fn parse_groups(table: &str, user: &str) -> Vec<u32> {
    let member = |line: &str| {
        let mut fields = line.split(':');
        let (_, _, id, members) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let is_member = members.split(',').any(|member| member == user);
        is_member.then(|| id.parse().ok()).flatten()
    };
    table.lines().filter_map(member).collect()
}

/// Gives up, for all threads and for good, the system calls that no TPM needs.
pub(super) fn forbid_system_calls(offence: Offence) -> anyhow::Result<()> {
    let action = match offence {
        Offence::Kill => SeccompAction::KillProcess,
        Offence::Log => SeccompAction::Log,
    };
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        bail!("there is no filter of system calls for this machine; say --seccomp action=none");
    };
    // A call without conditions matches whatever its arguments are.
    let rules: BTreeMap<i64, _> = FORBIDDEN.map(|call| (call, Vec::new())).into();
    let program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?;
    apply_filter_all_threads(&program)
        .context("the filter of system calls was refused; say --seccomp action=none")
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\ntss:x:104:110:TPM:/var/lib/tpm:/bin/false\nbroken:x\n";

    #[test]
    fn users_go_by_name_and_number() {
        let tss = parse_user(USERS, "tss").unwrap();
        assert_eq!((tss.id, tss.group), (104, 110));
        assert_eq!(parse_user(USERS, "104"), Some(tss));
        assert_eq!(parse_user(USERS, "broken"), None);
        assert_eq!(parse_user(USERS, "nobody"), None);
    }

    #[test]
    fn all_groups_of_a_user_are_found() {
        let groups = "tss:x:110:\nkvm:x:106:qemu,tss\nlog:x:4:tssd\nbroken\n";
        assert_eq!(parse_groups(groups, "tss"), [106]);
    }
}
