//! Where the TPM of a running VM is reached: sockets that only the owner of the data folder can open.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, UnixListener};
use tpm_server::Listener;
use vm_inventory::model::{Endpoint, SocketKind, Vm};

/// Longest path of a unix socket: `sun_path` has 108 bytes, the last of which is a zero byte.
const LONGEST_PATH: usize = 107;
const LOOPBACK: &str = "127.0.0.1";
const ATTEMPTS: usize = 64;

/// The sockets of one VM: commands, and beside them control (swtpm) or platform (simulator).
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Takes commands.
    pub(crate) commands: Listener,
    /// Takes what goes beside them.
    pub(crate) beside: Listener,
    /// How a client finds them.
    pub(crate) endpoint: Endpoint,
    /// The folder of unix sockets, which goes with them.
    pub(crate) folder: Option<SocketFolder>,
}

/// A folder of our own with sockets in it, removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFolder(PathBuf);

impl Drop for SocketFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), "the sockets of a VM were left behind: {error}");
        }
    }
}

/// Opens the sockets of a VM; `run` is the folder for those of all VMs.
pub(crate) async fn open(run: &Path, vm: &Vm) -> anyhow::Result<Sockets> {
    match vm.socket {
        SocketKind::Unix => unix(run, vm),
        SocketKind::Tcp => {
            let (commands, beside, port) = tcp_pair().await?;
            Ok(Sockets {
                commands,
                beside,
                endpoint: Endpoint {
                    tcti: format!("swtpm:host={LOOPBACK},port={port}"),
                    control: format!("{LOOPBACK}:{}", u32::from(port) + 1),
                },
                folder: None,
            })
        }
        SocketKind::Mssim => {
            let (commands, beside, port) = tcp_pair().await?;
            Ok(Sockets {
                commands,
                beside,
                endpoint: Endpoint {
                    tcti: format!("mssim:host={LOOPBACK},port={port}"),
                    control: format!("{LOOPBACK}:{}", u32::from(port) + 1),
                },
                folder: None,
            })
        }
    }
}

fn unix(run: &Path, vm: &Vm) -> anyhow::Result<Sockets> {
    let (folder, commands) = place(run, vm)?;
    let control = with_suffix(&commands, ".ctrl");
    let text = commands
        .to_str()
        .filter(|text| !text.contains(','))
        .with_context(|| {
            format!(
                "{} holds a comma or is not UTF-8, which no TCTI can say; use another data folder",
                commands.display()
            )
        })?;
    let endpoint = Endpoint {
        tcti: format!("swtpm:path={text}"),
        control: control.display().to_string(),
    };
    Ok(Sockets {
        commands: Listener::Unix(listen_privately(&commands)?),
        beside: Listener::Unix(listen_privately(&control)?),
        endpoint,
        folder: Some(folder),
    })
}

/// A folder named like the VM; like the beginning of its id if that name is taken or makes the path too long.
fn place(run: &Path, vm: &Vm) -> anyhow::Result<(SocketFolder, PathBuf)> {
    let id = vm.id.to_string();
    let mut shortest = 0;
    for name in [vm.name.as_str(), id.get(..8).unwrap_or(&id), &id] {
        let folder = run.join(name);
        let socket = folder.join("tpm");
        let length = with_suffix(&socket, ".ctrl").as_os_str().as_bytes().len();
        if length > LONGEST_PATH || name.contains(',') {
            shortest = if shortest == 0 {
                length
            } else {
                shortest.min(length)
            };
            continue;
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok((SocketFolder(folder), socket)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "the folder {} for its sockets cannot be made",
                        folder.display()
                    )
                });
            }
        }
    }
    bail!(
        "the path of its sockets in {} would have {shortest} bytes, a unix socket has at most {LONGEST_PATH}; use a data folder with a shorter path, or create the VM with --socket tcp",
        run.display()
    )
}

/// A unix socket that only its owner may connect to.
pub(crate) fn listen_privately(path: &Path) -> anyhow::Result<UnixListener> {
    let listener = bind_privately(path)?;
    listener.set_nonblocking(true)?;
    Ok(UnixListener::from_std(listener)?)
}

/// The same for a thread that waits at it.
pub(crate) fn bind_privately(path: &Path) -> anyhow::Result<std::os::unix::net::UnixListener> {
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST_PATH {
        bail!(
            "the path of the socket {} has {length} bytes, a unix socket has at most {LONGEST_PATH}; use a data folder with a shorter path",
            path.display()
        );
    }
    // Its folder is private, so nobody else gets in before the mode is set.
    let listener = std::os::unix::net::UnixListener::bind(path)
        .with_context(|| format!("the socket {} cannot be opened", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("the socket {} cannot be made private", path.display()))?;
    Ok(listener)
}

/// Two neighbouring free ports of the loopback interface: clients look for the second at the first plus one.
async fn tcp_pair() -> anyhow::Result<(Listener, Listener, u16)> {
    for _ in 0..ATTEMPTS {
        let first = TcpListener::bind((LOOPBACK, 0))
            .await
            .context("no TCP port can be opened")?;
        let port = first.local_addr()?.port();
        let Some(next) = port.checked_add(1) else {
            continue;
        };
        if let Ok(second) = TcpListener::bind((LOOPBACK, next)).await {
            return Ok((Listener::Tcp(first), Listener::Tcp(second), port));
        }
    }
    bail!("no two neighbouring TCP ports of {LOOPBACK} are free")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vm(name: &str, socket: &str) -> Vm {
        let id = "5b1f2a86-78f0-4404-ba23-d3591e0eb117";
        let record = json!({
            "id": id, "instance_id": id, "name": name, "vcenter": "vc01", "datastore": "ds", "folder": name, "firmware": "efi",
            "hardware_version": 21, "guest": "ubuntu64Guest", "power": "off", "provider": null, "tpm": null, "socket": socket, "created": 0,
        });
        serde_json::from_value(record).unwrap()
    }

    /// A folder whose path has `length` bytes.
    fn folder_of(base: &Path, length: usize) -> PathBuf {
        let have = base.as_os_str().len() + 1;
        let folder = base.join("x".repeat(length - have));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn unix_sockets_are_private_and_go_with_the_vm() {
        let run = tempfile::tempdir().unwrap();
        let opened = open(run.path(), &vm("demo", "unix")).await.unwrap();
        let path = run.path().join("demo/tpm");
        assert_eq!(
            opened.endpoint.tcti,
            format!("swtpm:path={}", path.display())
        );
        assert_eq!(opened.endpoint.control, format!("{}.ctrl", path.display()));
        for socket in ["demo/tpm", "demo/tpm.ctrl"] {
            let mode = fs::metadata(run.path().join(socket))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // A VM of the same name, on another vCenter.
        let twin = open(run.path(), &vm("demo", "unix")).await.unwrap();
        assert!(twin.endpoint.tcti.ends_with("/5b1f2a86/tpm"));
        drop((opened, twin));
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_long_name_gives_way_to_the_id_and_a_long_folder_is_refused_with_advice() {
        let base = tempfile::tempdir_in("/tmp").unwrap();
        let name = "n".repeat(80);
        let run = folder_of(base.path(), 80);
        let opened = open(&run, &vm(&name, "unix")).await.unwrap();
        assert!(opened.endpoint.tcti.ends_with("/5b1f2a86/tpm"));
        let run = folder_of(base.path(), 95);
        let refused = open(&run, &vm(&name, "unix"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("at most 107") && refused.contains("--socket tcp"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn tcp_sockets_are_two_neighbours_on_the_loopback_interface() {
        for (kind, tcti) in [("tcp", "swtpm"), ("mssim", "mssim")] {
            let run = tempfile::tempdir().unwrap();
            let opened = open(run.path(), &vm("demo", kind)).await.unwrap();
            let port: u16 = opened
                .endpoint
                .control
                .strip_prefix("127.0.0.1:")
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(
                opened.endpoint.tcti,
                format!("{tcti}:host=127.0.0.1,port={}", port - 1)
            );
        }
    }
}
