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
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST_PATH {
        bail!(
            "the path of the socket {} has {length} bytes, a unix socket has at most {LONGEST_PATH}; use a data folder with a shorter path",
            path.display()
        );
    }
    // Its folder is private, so nobody else gets in before the mode is set.
    let listener = UnixListener::bind(path)
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
