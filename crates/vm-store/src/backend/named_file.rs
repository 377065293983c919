//! Files that a user names: certificates, keys, backups, packages, evidence, logs.

use super::NotRegular;
use rustix::{
    fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use zeroize::Zeroizing;

/// Folders of the process's own descriptors, and its standard input: a pipe there has somebody at its other end.
const DESCRIPTORS: [&str; 3] = ["/dev/fd", "/proc/self/fd", "/dev/stdin"];
/// Most bytes of a configuration, a key or a certificate.
pub const LARGEST_TEXT: u64 = 1 << 20;
const EMPTY: &str = "/dev/null";

/// Opens a file that a user named, for reading. It waits for nobody: a FIFO, a folder, a device or a socket is refused. What the shell
/// handed over as `/dev/fd/N` may be a pipe.
///
/// # Errors
/// When there is no such file, it may not be read, or it is something else than a regular file.
pub fn open_named(path: &Path) -> io::Result<File> {
    // NONBLOCK: opening a FIFO must not wait for its other end, nor opening a device for what is behind it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::NXIO) => return Err(NotRegular("a socket or a device").into()),
        Err(error) => return Err(error.into()),
    };
    let handed_over = DESCRIPTORS.iter().any(|folder| path.starts_with(folder));
    match FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode) {
        FileType::RegularFile => {}
        FileType::CharacterDevice if path == Path::new(EMPTY) => {}
        FileType::Fifo if handed_over => {
            let flags = fcntl_getfl(&descriptor)?;
            fcntl_setfl(&descriptor, flags - OFlags::NONBLOCK)?;
        }
        FileType::Directory => return Err(NotRegular("a folder").into()),
        FileType::Fifo => return Err(NotRegular("a FIFO").into()),
        _ => return Err(NotRegular("a device or a socket").into()),
    }
    Ok(File::from(descriptor))
}

/// Reads a file that a user named, unless it has more than `most` bytes. What is read may be a secret, so it is wiped.
///
/// # Errors
/// As `open_named`; when the file has more bytes, or cannot be read.
pub fn read_named(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open_named(path)?;
    let length = file.metadata()?.len().min(most);
    // Reserved at once: a buffer that grows would leave what was read behind in memory.
    let room = usize::try_from(length).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        let error = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}

/// The same of a file that is text.
///
/// # Errors
/// As `read_named`; when the file is not UTF-8.
pub fn read_named_text(path: &Path, most: u64) -> io::Result<Zeroizing<String>> {
    let bytes = read_named(path, most)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    #[test]
    fn a_fifo_a_folder_and_a_socket_are_refused_by_name_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        symlink(path("fifo"), path("link to a FIFO")).unwrap();
        for (name, what) in [
            ("fifo", "a FIFO"),
            ("link to a FIFO", "a FIFO"),
            ("folder", "a folder"),
            ("socket", "a socket or a device"),
        ] {
            let error = read_named(&path(name), 100).unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}, not a regular file"));
        }
        let error = read_named(Path::new("/dev/zero"), 100).unwrap_err();
        assert!(error.to_string().contains("a device"), "{error}");
        let error = read_named(&path("none"), 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_up_to_the_size_that_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, [b'a'; 100]).unwrap();
        symlink(&file, folder.path().join("link")).unwrap();
        assert_eq!(**read_named(&file, 100).unwrap(), [b'a'; 100]);
        assert_eq!(
            read_named(&folder.path().join("link"), 100).unwrap().len(),
            100
        );
        let error = read_named(&file, 99).unwrap_err().to_string();
        assert_eq!(error, "it has more than 99 bytes");
        std::fs::write(&file, [0xff]).unwrap();
        let error = read_named_text(&file, 100).unwrap_err().to_string();
        assert_eq!(error, "it is not UTF-8");
        assert!(read_named(Path::new("/dev/null"), 1).unwrap().is_empty());
    }

    #[test]
    fn a_pipe_that_the_shell_handed_over_is_read_to_its_end() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"text").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(*read_named_text(Path::new(&path), 100).unwrap(), "text");
    }
}
