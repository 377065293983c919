//! `vtpm swtpm`: a TPM with swtpm's options and swtpm's sockets.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "help texts show optional parts in brackets, as swtpm does"
)]

mod arguments;
mod confine;
mod endpoints;
mod key;
mod options;
mod print;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use rustix::net::sockopt::socket_acceptconn;
use tpm_server::swtpm::{Options, Server};
use tpm_server::{BlobKey, Device, MemoryStore, Settings, StartupKind, StateStore};
use vm_store::StateKey;
use vtpm_host::{FolderStore, StatePlace};

use super::process::{Background, EndSignals, PidFile, Readiness, inherited, into_background};
use super::profile::ProfileOption;
use super::sockets::{Activated, activated};
use super::trace::TraceOptions;
use super::{Threads, log, runtime};
use crate::confine::memory::{self, Children};
use crate::confine::system_calls;
use crate::platform;
use arguments::{
    ControlOption, FlagsOption, LocalityOption, LogOption, LogTarget, MigrationOption, PidOption,
    Place, SeccompOption, ServerOption, StateOption,
};
use endpoints::{Open, descriptor};
pub(crate) use key::KeyOption;
pub(crate) use print::parse_flags;

/// The version of swtpm whose options these are: what callers decide by.
pub(super) const SWTPM_VERSION: &str = "0.11.0";
/// Our own version and that one, which is the last word, as callers take it.
pub(super) const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), ", in the place of swtpm 0.11.0");

/// Stands in for swtpm: the same options, the same sockets
#[derive(Args, Debug)]
#[command(version = VERSION)]
pub(crate) struct Swtpm {
    #[command(subcommand)]
    interface: Interface,
}

#[derive(Subcommand, Debug)]
enum Interface {
    Socket(Box<Socket>),
    Chardev(Box<Chardev>),
    Cuse(Cuse),
}

impl Swtpm {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.interface {
            Interface::Socket(socket) => socket.execute(),
            Interface::Chardev(chardev) => chardev.execute(),
            Interface::Cuse(_) => bail!(
                "the CUSE interface is not supported: use `socket`, or `chardev --vtpm-proxy` with a device of the kernel's vTPM proxy"
            ),
        }
    }
}

/// Serves a TPM on a character device that is opened here or was inherited
#[derive(Args, Debug)]
struct Chardev {
    /// The device: it gives a command with each read and takes a response with each write
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["server", "port", "fd"])]
    chardev: Option<PathBuf>,
    /// A device that the kernel's vTPM proxy makes, which is printed; needs the module tpm_vtpm_proxy and root. The TPM is started with
    /// startup-clear unless --flags says otherwise
    #[arg(long, conflicts_with_all = ["server", "port", "fd", "chardev"])]
    vtpm_proxy: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Chardev {
    fn execute(mut self) -> anyhow::Result<ExitCode> {
        if self.socket.server.is_some() || self.socket.port.is_some() || self.socket.terminate {
            bail!("--server, --port and --terminate belong to the socket interface");
        }
        if self.vtpm_proxy {
            // The kernel starts the TPM and chooses its localities.
            let flags = self.socket.flags.get_or_insert_default();
            flags.not_need_init = true;
            flags.startup = flags.startup.or(Some(StartupKind::Clear));
            let locality = self.socket.locality.get_or_insert_default();
            locality.allow_set_locality = true;
        }
        self.socket.device = match (self.chardev, self.socket.fd.take()) {
            (Some(path), _) => Some(Place::Device(path)),
            (None, Some(number)) => Some(Place::DeviceDescriptor(number)),
            (None, None) if self.socket.only_prints() => None,
            (None, None) if self.vtpm_proxy => Some(Place::Proxy),
            (None, None) => bail!("which device? Say --vtpm-proxy, --chardev <path> or --fd <fd>"),
        };
        self.socket.execute()
    }
}

/// Not supported
#[derive(Args, Debug)]
#[command(hide = true)]
struct Cuse {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<std::ffi::OsString>,
}

/// Serves a TPM on sockets
#[derive(Args, Debug)]
struct Socket {
    /// A TPM 2.0; there is no other
    #[arg(long)]
    tpm2: bool,
    /// Where the state is kept: dir=<folder>|backend-uri=dir://<folder>|backend-uri=file://<file>[,mode=0...][,lock][,fsync]
    #[arg(long, value_name = "OPTIONS")]
    tpmstate: Option<StateOption>,
    /// The data channel: type=tcp,port=<port>[,bindaddr=<address>[,ifname=<name>]]|type=unixio,path=<path>[,mode=0...][,uid=][,gid=]|fd=<fd>[,disconnect]
    #[arg(long, value_name = "OPTIONS")]
    server: Option<ServerOption>,
    /// The data channel at this TCP port, a connection for each command
    #[arg(short, long, value_name = "PORT", conflicts_with_all = ["server", "fd"])]
    port: Option<u16>,
    /// The data channel on this connected socket
    #[arg(short, long, value_name = "FD", conflicts_with = "server")]
    fd: Option<i32>,
    /// The control channel: type=tcp,port=<port>[,bindaddr=..]|type=unixio,path=<path>[,mode=0...]|fd=<fd>|clientfd=<fd>[,terminate]
    #[arg(long, value_name = "OPTIONS")]
    ctrl: Option<ControlOption>,
    /// not-need-init, startup-clear|startup-state|startup-none, disable-auto-shutdown
    #[arg(long, value_name = "OPTIONS")]
    flags: Option<FlagsOption>,
    /// reject-locality-4, allow-set-locality
    #[arg(long, value_name = "OPTIONS")]
    locality: Option<LocalityOption>,
    /// The log: file=<path>|fd=<fd>[,level=<n>][,prefix=<prefix>][,truncate]
    #[arg(long, value_name = "OPTIONS")]
    log: Option<LogOption>,
    /// A file for the process id: file=<path>|fd=<fd>
    #[arg(long, value_name = "OPTIONS")]
    pid: Option<PidOption>,
    /// Go to the background once everything is ready
    #[arg(short, long)]
    daemon: bool,
    /// End when the data connection does
    #[arg(short, long)]
    terminate: bool,
    /// A filter of system calls that no TPM needs: action=kill|log|none; none unless asked for
    #[arg(long, value_name = "OPTIONS")]
    seccomp: Option<SeccompOption>,
    /// The key of the state: file=|fd=|pwdfile=|pwdfd=[,mode=aes-cbc|aes-256-cbc][,format=hex|binary][,kdf=pbkdf2|sha512][,remove]
    #[arg(long, value_name = "OPTIONS")]
    key: Option<KeyOption>,
    /// The key that seals state on its way to another host; as --key
    #[arg(long, value_name = "OPTIONS")]
    migration_key: Option<KeyOption>,
    /// incoming: leave the storage alone until state has come; release-lock-outgoing: give it up once state has gone
    #[arg(long, value_name = "OPTIONS")]
    migration: Option<MigrationOption>,
    /// What a new TPM is like: name=<name>|profile=<json>|file=<path>|fd=<fd>
    #[arg(long, value_name = "OPTIONS")]
    profile: Option<ProfileOption>,
    /// Print as JSON what this program can do, and end
    #[arg(long)]
    print_capabilities: bool,
    /// Print as JSON which state there is, and end
    #[arg(long, requires = "tpmstate")]
    print_states: bool,
    /// Print as JSON facts about the TPM, and end
    #[arg(long, value_name = "FLAGS", value_parser = print::parse_flags)]
    print_info: Option<u64>,
    /// Become this user, once the process is in its --chroot; for root only
    #[arg(short, long, value_name = "USER")]
    runas: Option<String>,
    /// Make this folder the root of all paths that follow; for root only
    #[arg(short = 'R', long, value_name = "FOLDER")]
    chroot: Option<PathBuf>,
    #[command(flatten)]
    trace: TraceOptions,
    /// Print as JSON the profiles that are built in, and end
    #[arg(long)]
    print_profiles: bool,
    /// The device that takes the place of the data channel
    #[arg(skip)]
    device: Option<Place>,
}

impl Socket {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let background = if self.daemon && !self.only_prints() {
            into_background()?
        } else {
            Background::Child(Readiness::default())
        };
        let readiness = match background {
            Background::Done(code) => return Ok(code),
            Background::Child(readiness) => readiness,
        };
        // Before anything is opened, as its paths may mean something else afterwards.
        let activated = activated().context("the sockets of the service manager")?;
        if self.daemon && !activated.is_empty() {
            bail!("a service manager that opens the sockets wants no --daemon");
        }
        let locked = memory::lock(Children::None);
        confine::enter(self.chroot.as_deref(), self.runas.as_deref())?;
        self.start_log()?;
        locked.tell();
        let outcome = self.run(readiness, activated);
        if let (Err(error), Some(LogOption { target, .. })) = (&outcome, &self.log)
            && *target != LogTarget::StandardError
        {
            // Standard error, where it is told as well, may be nobody's.
            tracing::error!("{error:#}");
        }
        outcome
    }

    fn run(&self, readiness: Readiness, activated: Vec<Activated>) -> anyhow::Result<ExitCode> {
        memory::forbid_dumps(Children::None);
        if self.print_capabilities {
            return print::capabilities(self.tpm2);
        }
        if self.print_profiles {
            return print::profiles();
        }
        if !self.tpm2 {
            bail!("a TPM 1.2 is not supported: say --tpm2");
        }
        let file_key = self
            .key
            .as_ref()
            .map(KeyOption::load)
            .transpose()
            .context("--key")?;
        let migration_key = self
            .migration_key
            .as_ref()
            .map(KeyOption::load)
            .transpose()
            .context("--migration-key")?;
        let state_key = match &file_key {
            Some(key) => StateKey::Given(Arc::new(key.provider()?)),
            None => StateKey::Beside,
        };
        if self.print_states {
            let place = self.state_place()?;
            return print::states(&mut FolderStore::at(place.clone(), state_key), place.path());
        }
        let flags = self.flags.unwrap_or_default();
        let migration = self.migration.unwrap_or_default();
        let profile = self.profile.as_ref().map(ProfileOption::load).transpose()?;
        let settings = Settings {
            profile,
            platform: platform::real_with_pool(),
            auto_shutdown: !flags.disable_auto_shutdown,
            incoming: migration.incoming,
        };
        let runtime = runtime(Threads::One)?;
        if let Some(info) = self.print_info {
            let store: Box<dyn StateStore> = match &self.tpmstate {
                Some(state) => Box::new(FolderStore::at(state.place.clone(), state_key)),
                None => Box::new(MemoryStore::default()),
            };
            return runtime.block_on(print::info(&Device::new(store, settings), info));
        }
        let locality = self.locality.unwrap_or_default();
        let options = Options {
            reject_locality_4: locality.reject_locality_4,
            allow_set_locality: locality.allow_set_locality,
            disconnect: self.port.is_some()
                || self.server.as_ref().is_some_and(|server| server.disconnect),
            end_with_data: self.terminate || self.data_is_connected()?,
            end_with_control: self.ctrl.as_ref().is_some_and(|control| control.terminate),
            release_lock_outgoing: migration.release_lock_outgoing,
            file_key: file_key.map(|key| Arc::new(BlobKey::new(key.into_bytes()))),
            migration_key: migration_key.map(|key| Arc::new(BlobKey::new(key.into_bytes()))),
            ..Options::default()
        };
        for difference in self.tpmstate.iter().flat_map(|state| &state.stricter) {
            tracing::warn!("--tpmstate {difference}");
        }
        let place = self.state_place()?;
        refuse_state_of_swtpm(place.path())?;
        let device = Device::new(Box::new(FolderStore::at(place, state_key)), settings);
        self.trace.attach(&device)?;
        runtime.block_on(self.serve(device, options, flags, readiness, activated))
    }

    fn only_prints(&self) -> bool {
        self.print_capabilities
            || self.print_states
            || self.print_profiles
            || self.print_info.is_some()
    }

    fn start_log(&self) -> anyhow::Result<()> {
        let Some(option) = &self.log else {
            log::to_stderr("warn");
            return Ok(());
        };
        let level = match option.level {
            0..=4 => "info",
            5..=19 => "debug",
            20.. => "trace",
        };
        match &option.target {
            LogTarget::StandardError => log::to_stderr(level),
            LogTarget::Nowhere => {}
            LogTarget::File(path) => {
                let file = super::process::create_file(path, 0o600, !option.truncate)
                    .with_context(|| format!("the log {}", path.display()))?;
                log::to_file(file, level, option.prefix.clone());
            }
            LogTarget::Descriptor(number) => {
                let file = inherited(*number)
                    .with_context(|| format!("the log at descriptor {number}"))?;
                log::to_file(file.into(), level, option.prefix.clone());
            }
        }
        Ok(())
    }

    fn state_place(&self) -> anyhow::Result<StatePlace> {
        let environment = || {
            std::env::var_os("TPM_PATH")
                .filter(|path| !path.is_empty())
                .map(StatePlace::folder)
        };
        let given = self.tpmstate.as_ref().map(|state| state.place.clone());
        given
            .or_else(environment)
            .ok_or_else(|| anyhow!("where is the state to be kept? Say --tpmstate dir=<folder>"))
    }

    fn data_place(&self) -> Option<Place> {
        if let Some(device) = &self.device {
            return Some(device.clone());
        }
        match (self.port, self.fd) {
            (Some(port), _) => Some(Place::Tcp {
                port,
                address: [127, 0, 0, 1].into(),
                interface: None,
            }),
            (None, Some(descriptor)) => Some(Place::Descriptor(descriptor)),
            (None, None) => self.server.as_ref().map(|server| server.place.clone()),
        }
    }

    /// Whether the data channel is a socket that is connected already: the end of that connection is the end of the program.
    fn data_is_connected(&self) -> anyhow::Result<bool> {
        match self.data_place() {
            Some(Place::Descriptor(number)) => Ok(!socket_acceptconn(descriptor(number)?)?),
            // Nobody opens a device a second time.
            Some(Place::Device(_) | Place::DeviceDescriptor(_) | Place::Proxy) => Ok(true),
            _ => Ok(false),
        }
    }

    async fn serve(
        &self,
        device: Device,
        options: Options,
        flags: FlagsOption,
        readiness: Readiness,
        activated: Vec<Activated>,
    ) -> anyhow::Result<ExitCode> {
        let mut end = EndSignals::catch()?;
        let mut open = Open::default();
        if let Some(place) = self.data_place() {
            open.data(&place)?;
        }
        if let Some(control) = &self.ctrl {
            open.control(&control.place)?;
        }
        open.activated(activated)?;
        if open.is_empty() {
            bail!("nobody could connect: say --server, --ctrl or both");
        }
        let _pid_file = match &self.pid {
            Some(PidOption::File(path)) => Some(
                PidFile::write(path.clone())
                    .with_context(|| format!("the pid file {}", path.display()))?,
            ),
            Some(PidOption::Descriptor(number)) => {
                let mut file = std::fs::File::from(descriptor(*number)?);
                std::io::Write::write_all(
                    &mut file,
                    format!("{}\n", std::process::id()).as_bytes(),
                )?;
                None
            }
            None => None,
        };
        if let Some(kind) = flags.startup {
            device.boot(kind).await?;
        } else if flags.not_need_init {
            device.power_on().await?;
        }
        let server = Server::new(device.clone(), options);
        if let Some(SeccompOption(Some(offence))) = self.seccomp {
            system_calls::forbid(offence).context("say --seccomp action=none to go on without")?;
        }
        readiness.tell()?;
        tracing::info!("ready");
        let serving = server.serve(std::mem::take(&mut open.endpoints));
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = end.asked() => {
                server.stop();
                serving.await;
            }
        }
        device.close().await;
        tracing::info!("ended");
        Ok(ExitCode::SUCCESS)
    }
}

/// A blank TPM beside the one that swtpm has kept would look to its guest as if all keys were lost.
fn refuse_state_of_swtpm(folder: &Path) -> anyhow::Result<()> {
    let is_theirs = folder.join(crate::import::STATE_FILE).exists();
    if is_theirs && !folder.join(vm_store::STATE_NAME).exists() {
        bail!(
            "swtpm has kept a TPM in {0}: take it over with `vtpm import swtpm {0} --into <folder>`, or remove its {1}",
            folder.display(),
            crate::import::STATE_FILE
        );
    }
    Ok(())
}

/// The key of a state folder from the text of a `--key` option, for the other verbs that make such folders.
pub(super) fn state_key(option: &str) -> anyhow::Result<StateKey> {
    let option: KeyOption = option.parse().map_err(anyhow::Error::msg)?;
    Ok(StateKey::Given(Arc::new(option.load()?.provider()?)))
}

/// Becomes another user, for the other verbs that can; there must be no second thread yet.
pub(super) fn become_user(user: &str) -> anyhow::Result<()> {
    confine::enter(None, Some(user))
}
