//! Opening sockets to listen at, and cleaning up after them.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tpm_server::Listener;

use super::process::inherited;

/// Listens at a TCP port. Link-local addresses of IPv6 need the name of an interface.
pub(crate) fn listen_tcp(
    address: IpAddr,
    port: u16,
    interface: Option<&str>,
) -> io::Result<TcpListener> {
    let place = match (address, interface) {
        (IpAddr::V6(address), Some(interface)) => SocketAddr::V6(SocketAddrV6::new(
            address,
            port,
            0,
            interface_index(interface)?,
        )),
        _ => SocketAddr::new(address, port),
    };
    let listener = TcpListener::bind(place)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Listens at two TCP ports in a row, on loopback, wherever there are two; protocols of TPMs expect the second at the first plus one.
pub(crate) fn listen_tcp_pair() -> io::Result<(TcpListener, TcpListener)> {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // Each try draws another port from the system.
    for _ in 0..256 {
        let first = listen_tcp(loopback, 0, None)?;
        let port = first.local_addr()?.port();
        let second = port
            .checked_add(1)
            .ok_or(io::ErrorKind::AddrNotAvailable.into())
            .and_then(|next| listen_tcp(loopback, next, None));
        match second {
            Ok(second) => return Ok((first, second)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A unix socket's place in the file system; removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whoever removed it before did our work.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How many clients may wait to be accepted; as many as the standard library lets wait.
const BACKLOG: i32 = 128;

/// Listens at a unix socket with these permissions from its first moment. A socket that nobody listens at any more is replaced;
/// anything else that stands there stays.
pub(crate) fn listen_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket stands there",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens there",
            ));
        }
        std::fs::remove_file(path)?;
    }
    // A socket that is bound stands there with the permissions that it has then. Not by a file mode creation mask: that is the whole
    // process's, and two threads that set it and put it back leave one of the two behind.
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    fchmod(socket.as_fd(), Mode::from_raw_mode(mode))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile(path.to_path_buf());
    // The mask of the process and access lists of the folder may have left less, or given more.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((UnixListener::from(socket), file))
}

/// A socket that a service manager has opened for this process.
#[derive(Debug)]
pub(crate) struct Activated {
    /// The name that the service manager gives it, if any.
    pub(crate) name: String,
    pub(crate) descriptor: OwnedFd,
}

/// The first descriptor that a service manager passes.
const FIRST_ACTIVATED: i32 = 3;
/// More sockets than this are not meant for a TPM.
const MOST_ACTIVATED: i32 = 16;

/// The sockets that a service manager has opened for this process (systemd's socket activation); none without one.
pub(crate) fn activated() -> io::Result<Vec<Activated>> {
    let variable = |name: &str| std::env::var(name).ok();
    // The variables are inherited by children that they are not meant for.
    let mine = variable("LISTEN_PID").is_some_and(|id| id == std::process::id().to_string());
    let Some(count) = variable("LISTEN_FDS").filter(|_| mine) else {
        return Ok(Vec::new());
    };
    let count: i32 = count
        .parse()
        .ok()
        .filter(|count| (0..=MOST_ACTIVATED).contains(count))
        .ok_or_else(|| {
            let text =
                format!("LISTEN_FDS is '{count}', which is no number up to {MOST_ACTIVATED}");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').chain(std::iter::repeat(""));
    (FIRST_ACTIVATED..FIRST_ACTIVATED + count)
        .zip(names)
        .map(|(number, name)| {
            Ok(Activated {
                name: name.to_owned(),
                descriptor: inherited(number)?,
            })
        })
        .collect()
}

/// A listener of the standard library as one of the server; needs a runtime.
pub(crate) trait IntoServer {
    fn into_server(self) -> io::Result<Listener>;
}

impl IntoServer for TcpListener {
    fn into_server(self) -> io::Result<Listener> {
        Ok(Listener::Tcp(tokio::net::TcpListener::from_std(self)?))
    }
}

impl IntoServer for UnixListener {
    fn into_server(self) -> io::Result<Listener> {
        Ok(Listener::Unix(tokio::net::UnixListener::from_std(self)?))
    }
}

fn interface_index(name: &str) -> io::Result<u32> {
    let text = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex"))?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the interface has no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_from_the_start_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (listener, file) = listen_unix(&path, 0o600).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            listen_unix(&path, 0o600).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(file);
        assert!(!path.exists());
        drop(listener);
    }

    #[test]
    fn sockets_that_many_threads_open_leave_the_mask_of_the_process_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let folder = folder.path();
                scope.spawn(move || {
                    for number in 0..200 {
                        let path = folder.join(format!("{thread}-{number}"));
                        let _open = listen_unix(&path, 0o600).unwrap();
                        let made = folder.join(format!("{thread}-{number}.folder"));
                        std::fs::create_dir(&made).unwrap();
                        let mode = std::fs::metadata(&made).unwrap().permissions().mode();
                        assert_eq!(mode & 0o700, 0o700);
                    }
                });
            }
        });
    }

    #[test]
    fn an_abandoned_socket_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // Nobody ever listened: a process that another test is just starting may still have the descriptor of one that did.
        let kind = (AddressFamily::UNIX, SocketType::STREAM);
        let socket = rustix::net::socket_with(kind.0, kind.1, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        drop(listen_unix(&path, 0o660).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(
            listen_unix(&path, 0o600).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn pairs_of_ports_are_in_a_row() {
        let (first, second) = listen_tcp_pair().unwrap();
        assert_eq!(
            first.local_addr().unwrap().port() + 1,
            second.local_addr().unwrap().port()
        );
    }
}
