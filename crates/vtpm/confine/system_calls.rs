//! System calls that no TPM needs, taken away by a filter in the kernel (seccomp).

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};

/// What happens to a process that uses a system call that no TPM needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// The process ends at once.
    Kill,
    /// The kernel's log tells of it; the call is carried out.
    Log,
    /// The call fails with EPERM.
    Refuse,
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

/// Gives up, for all threads and for good, the system calls that no TPM needs.
pub(crate) fn forbid(offence: Offence) -> anyhow::Result<()> {
    let action = match offence {
        Offence::Kill => SeccompAction::KillProcess,
        Offence::Log => SeccompAction::Log,
        Offence::Refuse => SeccompAction::Errno(libc::EPERM.unsigned_abs()),
    };
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        bail!("there is no filter of system calls for this machine");
    };
    // A call without conditions matches whatever its arguments are.
    let rules: BTreeMap<i64, _> = FORBIDDEN.map(|call| (call, Vec::new())).into();
    let program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?;
    apply_filter_all_threads(&program).context("the filter of system calls was refused")
}
