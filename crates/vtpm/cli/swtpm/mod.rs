//! `vtpm swtpm`: a TPM with swtpm's options and swtpm's sockets.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "help texts show optional parts in brackets, as swtpm does"
)]

mod arguments;
mod key;
mod options;
mod print;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use rustix::net::sockopt::socket_acceptconn;
use tpm_engine::Profile;
use tpm_server::swtpm::{Endpoints, Options, Server};
use tpm_server::{BlobKey, Device, Listener, MemoryStore, Settings, StateStore, Stream};
use vm_store::StateKey;

use super::process::{Background, PidFile, Readiness, asked_to_end, inherited, into_background};
use super::sockets::{IntoServer, SocketFile, listen_tcp, listen_unix};
use super::state::FolderStore;
use super::{Threads, log, profile, runtime};
use crate::platform;
use arguments::{
    ControlOption, FlagsOption, LocalityOption, LogOption, LogTarget, MigrationOption, PidOption,
    Place, ProfileOption, SeccompOption, ServerOption, StateOption,
};
use key::KeyOption;

/// Stands in for swtpm: the same options, the same sockets
#[derive(Args, Debug)]
pub(crate) struct Swtpm {
    #[command(subcommand)]
    interface: Interface,
}

#[derive(Subcommand, Debug)]
enum Interface {
    Socket(Box<Socket>),
}

impl Swtpm {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.interface {
            Interface::Socket(socket) => socket.execute(),
        }
    }
}

/// Serves a TPM on sockets
#[derive(Args, Debug)]
struct Socket {
    /// A TPM 2.0; there is no other
    #[arg(long)]
    tpm2: bool,
    /// Where the state is kept: dir=<folder>|backend-uri=dir://<folder>[,mode=0...][,lock][,fsync]
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
    /// The system call filter: only action=none
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
    /// Not supported
    #[arg(short, long, hide = true, value_name = "USER")]
    runas: Option<String>,
    /// Not supported
    #[arg(short = 'R', long, hide = true, value_name = "FOLDER")]
    chroot: Option<String>,
    /// Not supported
    #[arg(long, hide = true, value_name = "OPTIONS")]
    pcap: Option<String>,
    /// Not supported
    #[arg(long, hide = true)]
    print_profiles: bool,
}

impl Socket {
    fn execute(self) -> anyhow::Result<ExitCode> {
        self.refuse_unsupported()?;
        let background = if self.daemon && !self.only_prints() {
            into_background()?
        } else {
            Background::Child(Readiness::default())
        };
        let readiness = match background {
            Background::Done(code) => return Ok(code),
            Background::Child(readiness) => readiness,
        };
        self.start_log()?;
        if self.print_capabilities {
            return print::capabilities();
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
            return print::states(&mut FolderStore::new(self.state_folder()?, state_key));
        }
        let flags = self.flags.unwrap_or_default();
        let migration = self.migration.unwrap_or_default();
        let profile = self.profile.as_ref().map(read_profile).transpose()?;
        let settings = Settings {
            profile,
            platform: platform::real(),
            auto_shutdown: !flags.disable_auto_shutdown,
            incoming: migration.incoming,
        };
        let runtime = runtime(Threads::One)?;
        if let Some(info) = self.print_info {
            let store: Box<dyn StateStore> = match &self.tpmstate {
                Some(state) => Box::new(FolderStore::new(state.folder.clone(), state_key)),
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
        let device = Device::new(
            Box::new(FolderStore::new(self.state_folder()?, state_key)),
            settings,
        );
        runtime.block_on(self.serve(device, options, flags, readiness))
    }

    fn only_prints(&self) -> bool {
        self.print_capabilities || self.print_states || self.print_info.is_some()
    }

    fn refuse_unsupported(&self) -> anyhow::Result<()> {
        for (given, option, instead) in [
            (
                self.runas.is_some(),
                "--runas",
                "start the program as that user",
            ),
            (
                self.chroot.is_some(),
                "--chroot",
                "start the program in that folder",
            ),
            (
                self.pcap.is_some(),
                "--pcap",
                "record the loopback interface",
            ),
            (
                self.print_profiles,
                "--print-profiles",
                "the profiles are in the documentation",
            ),
        ] {
            if given {
                bail!("{option} is not supported: {instead}");
            }
        }
        Ok(())
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

    fn state_folder(&self) -> anyhow::Result<PathBuf> {
        let environment = || {
            std::env::var_os("TPM_PATH")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let given = self.tpmstate.as_ref().map(|state| state.folder.clone());
        given
            .or_else(environment)
            .ok_or_else(|| anyhow!("where is the state to be kept? Say --tpmstate dir=<folder>"))
    }

    fn data_place(&self) -> Option<Place> {
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
            _ => Ok(false),
        }
    }

    async fn serve(
        &self,
        device: Device,
        options: Options,
        flags: FlagsOption,
        readiness: Readiness,
    ) -> anyhow::Result<ExitCode> {
        let mut endpoints = Endpoints::default();
        let mut files = Vec::new();
        if let Some(place) = self.data_place() {
            match open(&place, &mut files).context("the data channel")? {
                Opened::Listening(listener) => endpoints.data_listener = Some(listener),
                Opened::Connected(stream) => endpoints.data_client = Some(stream),
            }
        }
        if let Some(control) = &self.ctrl {
            match open(&control.place, &mut files).context("the control channel")? {
                Opened::Listening(listener) => endpoints.control_listener = Some(listener),
                Opened::Connected(stream) => endpoints.control_client = Some(stream),
            }
        }
        if endpoints.data_listener.is_none()
            && endpoints.data_client.is_none()
            && self.ctrl.is_none()
        {
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
        if flags.not_need_init {
            device.power_on().await?;
        }
        if let Some(kind) = flags.startup {
            device.startup(kind).await?;
        }
        let server = Server::new(device.clone(), options);
        readiness.tell()?;
        tracing::info!("ready");
        let serving = server.serve(endpoints);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            asked = asked_to_end() => {
                asked?;
                server.stop();
                serving.await;
            }
        }
        device.close().await;
        tracing::info!("ended");
        Ok(ExitCode::SUCCESS)
    }
}

enum Opened {
    Listening(Listener),
    Connected(Stream),
}

fn open(place: &Place, files: &mut Vec<SocketFile>) -> anyhow::Result<Opened> {
    Ok(match place {
        Place::Tcp {
            port,
            address,
            interface,
        } => {
            let listener = listen_tcp(*address, *port, interface.as_deref())
                .with_context(|| format!("TCP port {port} of {address}"))?;
            Opened::Listening(listener.into_server()?)
        }
        Place::Unix {
            path,
            mode,
            owner,
            group,
        } => {
            let place = || path.display().to_string();
            let (listener, file) = listen_unix(path, *mode).with_context(place)?;
            files.push(file);
            std::os::unix::fs::chown(path, *owner, *group).with_context(place)?;
            Opened::Listening(listener.into_server()?)
        }
        Place::Descriptor(number) => {
            let socket = descriptor(*number)?;
            let what = || format!("descriptor {number}");
            if socket_acceptconn(&socket).with_context(what)? {
                Opened::Listening(Listener::from_descriptor(socket).with_context(what)?)
            } else {
                Opened::Connected(Stream::from_descriptor(socket).with_context(what)?)
            }
        }
    })
}

fn descriptor(number: i32) -> anyhow::Result<OwnedFd> {
    inherited(number).with_context(|| format!("descriptor {number} is not open"))
}

fn read_profile(option: &ProfileOption) -> anyhow::Result<Profile> {
    let json = match option {
        ProfileOption::Name(name) => return profile::by_name(name),
        ProfileOption::Json(json) => json.clone(),
        ProfileOption::File(path) => std::fs::read_to_string(path)
            .with_context(|| format!("the profile {}", path.display()))?,
        ProfileOption::Descriptor(number) => {
            std::io::read_to_string(std::fs::File::from(descriptor(*number)?))
                .context("the profile")?
        }
    };
    profile::from_json(&json)
}
