//! What a process does about itself: signals, descriptors that it inherited, the background, its pid file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Marks a process that was started as the background half of another.
const IN_BACKGROUND: &str = "VTPM_IN_BACKGROUND";
/// What the background half says when it is ready; nothing that it prints before has it.
const READY: u8 = 0;

/// The signals that ask a process to end.
pub(crate) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl EndSignals {
    /// From now on they do not end the process, but are kept for [`EndSignals::asked`]. To be called inside of a runtime and before
    /// anybody can know that the process is there: whoever sees its socket may ask it to end at that moment.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The same for a runtime that is to run later.
    pub(crate) fn catch_in(runtime: &tokio::runtime::Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        Self::catch()
    }

    /// Ready when the process has been asked to end.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// A file that may not grow any more (`ulimit -f`) is an error of the write, not the end of the process: a signal that somebody
/// listens to ends nobody.
pub(crate) fn outlive_file_size_limit(runtime: &tokio::runtime::Runtime) -> io::Result<()> {
    let _inside = runtime.enter();
    // The listener may go: the signal stays caught.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

/// How much less of a core a thread gets that makes keys or does the work of an operation, while a TPM's short command waits.
const NICE: i32 = 10;

/// A runtime with a thread for each core, which serve the sockets; what takes long runs on other threads, which get out of their way. The
/// threads for the sockets are the first that it starts.
pub(crate) fn short_commands_first() -> tokio::runtime::Builder {
    const LONG: &str = "vtpm-long";
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let started = AtomicUsize::new(0);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .thread_name_fn(move || {
            let before = started.fetch_add(1, Ordering::Relaxed);
            if before < workers { "vtpm" } else { LONG }.to_owned()
        })
        .on_thread_start(|| {
            if std::thread::current().name() == Some(LONG) {
                // Of this thread only. Refused, everything works, only less politely.
                let _ = rustix::process::nice(NICE);
            }
        });
    builder
}

/// A duplicate of the inherited descriptor `number`.
pub(crate) fn inherited(number: i32) -> io::Result<OwnedFd> {
    let taken = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|own| pidfd_getfd(own, number, PidfdGetfdFlags::empty()));
    match taken {
        Ok(descriptor) => Ok(descriptor),
        // Where the kernel has no such call or a sandbox forbids it, files and pipes can still be opened again.
        Err(forbidden) => match File::open(format!("/proc/self/fd/{number}")) {
            Ok(file) => Ok(file.into()),
            Err(_) => Err(forbidden.into()),
        },
    }
}

/// Opens a file to be written, never through a symbolic link, readable by its owner alone unless `mode` says more. A FIFO that nobody
/// reads is refused, not waited for.
pub(crate) fn create_file(path: &Path, mode: u32, append: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.create(true).mode(mode);
    options.custom_flags(flags.bits().cast_signed());
    if append {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    let file = options.open(path).map_err(|error| {
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) {
            return io::Error::other("it is a FIFO that nobody reads, or a socket");
        }
        error
    })?;
    // Who reads a FIFO may be slow: what is written waits for him then.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// A file with the number of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn write(path: PathBuf) -> io::Result<Self> {
        let mut file = create_file(&path, 0o644, false)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Whoever removed it before did our work.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where a process that was asked to run in the background stands.
#[derive(Debug)]
pub(crate) enum Background {
    /// This process is the one in front: the other has come up, or has ended with this code.
    Done(ExitCode),
    /// This process is the one that goes on; to be told when it is ready.
    Child(Readiness),
}

/// Starts this program once more, without a terminal, and waits until it says that it is ready. It is started anew rather than
/// forked, as forking needs unsafe code; inherited descriptors stay open over that.
pub(crate) fn into_background() -> io::Result<Background> {
    if std::env::var_os(IN_BACKGROUND).is_some() {
        // The session of the terminal is left; a process that leads its group already cannot, and need not.
        let _ = setsid();
        let nowhere = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        return Ok(Background::Child(Readiness {
            nowhere: Some(nowhere),
        }));
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    command
        .args(arguments)
        .env(IN_BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(pipe) = child.stdout.take()
        && passed_on(pipe, io::stdout())?
    {
        return Ok(Background::Done(ExitCode::SUCCESS));
    }
    let status = child.wait()?;
    Ok(Background::Done(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
    ))
}

/// Passes on what the process in the background prints until it says that it is ready; whether it has.
fn passed_on(from: impl Read, mut to: impl Write) -> io::Result<bool> {
    for byte in BufReader::new(from).bytes() {
        match byte? {
            READY => return Ok(true),
            byte => to.write_all(&[byte])?,
        }
    }
    Ok(false)
}

/// Tells whoever waits that this process is ready: the service manager, and the process in front.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    /// In the background: what takes the place of the terminal. Opened early, as the process may leave its root folder.
    nowhere: Option<File>,
}

impl Readiness {
    pub(crate) fn tell(self) -> io::Result<()> {
        notify_service_manager("READY=1");
        if let Some(nowhere) = self.nowhere {
            let mut out = io::stdout();
            out.write_all(&[READY])?;
            out.flush()?;
            dup2_stdin(nowhere.as_fd())?;
            dup2_stdout(nowhere.as_fd())?;
            dup2_stderr(nowhere.as_fd())?;
        }
        Ok(())
    }
}

/// systemd's notification protocol; without a service manager nothing happens.
fn notify_service_manager(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn an_inherited_descriptor_is_the_same_file() {
        let (mut reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let duplicate = inherited(writer.as_raw_fd()).unwrap();
        drop(std::os::unix::net::UnixStream::from(duplicate).write_all(b"x"));
        writer.write_all(b"y").unwrap();
        let mut bytes = [0; 2];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"xy");
        assert!(inherited(9999).is_err());
    }

    #[test]
    fn what_is_printed_before_readiness_is_passed_on() {
        let mut out = Vec::new();
        assert!(passed_on(&b"a line\n\0more"[..], &mut out).unwrap());
        assert_eq!(out, b"a line\n");
        assert!(!passed_on(&b"its end"[..], &mut out).unwrap());
    }

    #[test]
    fn files_are_not_written_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("link"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(create_file(&link, 0o600, false).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_pid_file_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let file = PidFile::write(path.clone()).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap().trim(),
            std::process::id().to_string()
        );
        drop(file);
        assert!(!path.exists());
    }
}
