//! Opening sockets to listen at, and cleaning up after them.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;
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
    let before = umask(Mode::from_raw_mode(0o777 & !mode));
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound?;
    let file = SocketFile(path.to_path_buf());
    // Access lists of the folder may have given more, or less.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
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
    fn an_abandoned_socket_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
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
