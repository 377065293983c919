//! `vtpm run -- CMD`: a command with a TPM of its own.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tpm_server::simulator::Simulator;
use tpm_server::swtpm::{Endpoints, Options, Server};
use tpm_server::{Device, Settings, StartupKind};
use vm_store::StateKey;

use super::sockets::{IntoServer, listen_tcp_pair, listen_unix};
use super::state::{FolderStore, PrivateFolder};
use super::{Threads, log, profile, runtime};
use crate::platform;

/// What a shell answers for a command that cannot be run, or is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What a shell adds to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// Runs a command with a private TPM that is ready before the command starts and gone after it ends
///
/// The environment of the command says where the TPM is: TPM2TOOLS_TCTI, TSS2_TCTI, TPM2OPENSSL_TCTI, TPM2_PKCS11_TCTI and
/// TPM2TSSENGINE_TCTI for tpm2-tss, TPM_INTERFACE_TYPE and its companions for IBM's TSS.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The protocol between the command and its TPM
    #[arg(long, value_enum, default_value_t = Tcti::Swtpm)]
    tcti: Tcti,
    /// Keep the state in this folder; the next run with it goes on with the same TPM
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Make everything random follow from this number: same commands, same answers. Never for real secrets
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What a new TPM is like
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tcti {
    /// swtpm's, on a unix socket, and on TCP for those who know nothing else
    Swtpm,
    /// The TCG simulator's, on TCP
    Mssim,
}

impl Run {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        log::to_stderr("warn");
        let profile = self.profile.as_deref().map(profile::by_name).transpose()?;
        let platform = self
            .seed
            .map_or_else(platform::real, platform::deterministic);
        let private = PrivateFolder::new().context("a private folder for the TPM")?;
        let folder = self
            .keep
            .clone()
            .unwrap_or_else(|| private.path().join("state"));
        let settings = Settings {
            profile,
            platform,
            auto_shutdown: true,
            incoming: false,
        };
        let device = Device::new(
            Box::new(FolderStore::new(folder, StateKey::Beside)),
            settings,
        );
        let runtime = runtime(Threads::One)?;
        let code = runtime.block_on(async {
            device.power_on().await?;
            device.startup(StartupKind::Clear).await?;
            let code = match self.tcti {
                Tcti::Swtpm => self.with_swtpm(&device, private.path()).await,
                Tcti::Mssim => self.with_simulator(&device).await,
            };
            if self.keep.is_some() {
                device.close().await;
            }
            code
        });
        drop(runtime);
        drop(private);
        code
    }

    async fn with_swtpm(&self, device: &Device, folder: &Path) -> anyhow::Result<ExitCode> {
        let socket = folder.join("tpm");
        let (data, _data_file) = listen_unix(&socket, 0o600)?;
        let (control, _control_file) = listen_unix(&folder.join("tpm.ctrl"), 0o600)?;
        let (data_port, control_port) = listen_tcp_pair()?;
        let port = data_port.local_addr()?.port();
        let unix = Endpoints {
            data_listener: Some(data.into_server()?),
            control_listener: Some(control.into_server()?),
            ..Endpoints::default()
        };
        let tcp = Endpoints {
            data_listener: Some(data_port.into_server()?),
            control_listener: Some(control_port.into_server()?),
            ..Endpoints::default()
        };
        let (first, second) = (
            Server::new(device.clone(), Options::default()),
            Server::new(device.clone(), Options::default()),
        );
        let serving = async {
            tokio::join!(first.serve(unix), second.serve(tcp));
        };
        let environment = environment(&format!("swtpm:path={}", socket.display()), "raw", port);
        self.run_beside(Box::pin(serving), &environment, || {
            first.stop();
            second.stop();
        })
        .await
    }

    async fn with_simulator(&self, device: &Device) -> anyhow::Result<ExitCode> {
        let (commands, platform) = listen_tcp_pair()?;
        let port = commands.local_addr()?.port();
        let simulator = Simulator::new(device.clone());
        let serving = simulator.serve(commands.into_server()?, platform.into_server()?);
        let environment = environment(&format!("mssim:host=127.0.0.1,port={port}"), "mssim", port);
        self.run_beside(Box::pin(serving), &environment, || simulator.stop())
            .await
    }

    /// Runs the command while the server serves; the server may end before, if the command asks it to.
    async fn run_beside(
        &self,
        serving: Pin<Box<dyn Future<Output = ()> + '_>>,
        environment: &[(&str, String)],
        stop: impl FnOnce(),
    ) -> anyhow::Result<ExitCode> {
        let command = async {
            let code = self.run_command(environment).await;
            stop();
            code
        };
        let (code, ()) = tokio::join!(command, serving);
        code
    }

    async fn run_command(&self, environment: &[(&str, String)]) -> anyhow::Result<ExitCode> {
        let (name, arguments) = self.command.split_first().context("no command")?;
        // Listening begins before there is a child that a signal could be meant for.
        let mut forwarding = Forwarding::new()?;
        let spawned = Command::new(name)
            .args(arguments)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::NotFound {
                    NOT_FOUND
                } else {
                    CANNOT_RUN
                };
                log::complain(
                    &anyhow::Error::from(error).context(name.to_string_lossy().into_owned()),
                );
                return Ok(ExitCode::from(code));
            }
        };
        Ok(exit_code(forwarding.wait(&mut child).await?))
    }
}

fn environment(tcti: &str, server_type: &str, port: u16) -> Vec<(&'static str, String)> {
    let tss2 = [
        "TPM2TOOLS_TCTI",
        "TSS2_TCTI",
        "TPM2OPENSSL_TCTI",
        "TPM2_PKCS11_TCTI",
        "TPM2TSSENGINE_TCTI",
    ];
    let mut environment: Vec<_> = tss2
        .into_iter()
        .map(|name| (name, tcti.to_owned()))
        .collect();
    environment.extend([
        ("TPM_INTERFACE_TYPE", "socsim".to_owned()),
        ("TPM_SERVER_TYPE", server_type.to_owned()),
        ("TPM_SERVER_NAME", "127.0.0.1".to_owned()),
        ("TPM_COMMAND_PORT", port.to_string()),
        ("TPM_PLATFORM_PORT", port.saturating_add(1).to_string()),
    ]);
    environment
}

/// As a shell tells it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let number = status.code().or_else(|| {
        status
            .signal()
            .map(|signal| BY_SIGNAL.saturating_add(signal))
    });
    ExitCode::from(
        number
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(u8::MAX),
    )
}

/// Signals that are passed on to the command, which decides what becomes of it.
struct Forwarding {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    user_1: tokio::signal::unix::Signal,
    user_2: tokio::signal::unix::Signal,
}

impl Forwarding {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn wait(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            let received = tokio::select! {
                status = child.wait() => return status,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.quit.recv() => Signal::QUIT,
                _ = self.hang_up.recv() => Signal::HUP,
                _ = self.user_1.recv() => Signal::USR1,
                _ = self.user_2.recv() => Signal::USR2,
            };
            // What the keyboard sends, the terminal has sent to the command as well.
            let from_keyboard = matches!(received, Signal::INT | Signal::QUIT) && in_foreground();
            if let (false, Some(pid)) = (
                from_keyboard,
                child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            ) {
                // A command that is gone already needs no signal.
                let _ = kill_process(pid, received);
            }
        }
    }
}

fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), ExitCode::from(7));
        assert_eq!(exit_code(ExitStatus::from_raw(15)), ExitCode::from(143));
    }

    #[test]
    fn every_library_is_told_where_its_tpm_is() {
        let environment = environment("swtpm:path=/x/tpm", "raw", 4000);
        let value = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("TPM2TOOLS_TCTI"), Some("swtpm:path=/x/tpm"));
        assert_eq!(value("TPM_COMMAND_PORT"), Some("4000"));
        assert_eq!(value("TPM_PLATFORM_PORT"), Some("4001"));
    }
}
