//! `vtpm simulator`: a TPM behind the protocol of the TCG's simulator.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tpm_server::simulator::Simulator;
use tpm_server::{Device, MemoryStore, Settings, StateStore};
use vm_store::StateKey;
use vtpm_host::FolderStore;

use super::process::{EndSignals, Readiness};
use super::profile::ProfileOption;
use super::sockets::{IntoServer, listen_tcp};
use super::trace::TraceOptions;
use super::{Threads, log, runtime};
use crate::confine::memory::{self, Children};
use crate::platform;

/// Serves a TPM as the TCG's simulator does: commands at a TCP port, the platform at the next
#[derive(Args, Debug)]
pub(crate) struct SimulatorVerb {
    /// The command port; the platform port is the next one
    #[arg(long, default_value_t = 2321, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
    /// The address to bind both ports to
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    bind: IpAddr,
    /// Folder that keeps the state; without, the TPM is new and gone at the end
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What a new TPM is like: a profile's name, JSON, or name=|profile=|file=|fd= as swtpm has it
    #[arg(long, value_name = "PROFILE")]
    profile: Option<ProfileOption>,
    #[command(flatten)]
    trace: TraceOptions,
}

impl SimulatorVerb {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        log::to_stderr("info");
        memory::lock(Children::None).tell();
        memory::forbid_dumps(Children::None);
        let profile = self.profile.as_ref().map(ProfileOption::load).transpose()?;
        let next = self
            .port
            .checked_add(1)
            .context("the platform port would be beyond the last one")?;
        let listen = |port| {
            listen_tcp(self.bind, port, None)
                .with_context(|| format!("TCP port {port} of {}", self.bind))
        };
        let runtime = runtime(Threads::One)?;
        let mut end = EndSignals::catch_in(&runtime)?;
        let (commands, platform_port) = (listen(self.port)?, listen(next)?);
        let store: Box<dyn StateStore> = match self.state {
            Some(folder) => Box::new(FolderStore::new(folder, StateKey::Beside)),
            None => Box::new(MemoryStore::default()),
        };
        // The platform port says when power comes and goes, and a mainboard that cuts it does not ask the TPM before.
        let settings = Settings {
            profile,
            platform: platform::real_with_pool(),
            auto_shutdown: false,
            incoming: false,
        };
        let device = Device::new(store, settings);
        self.trace.attach(&device)?;
        runtime.block_on(async {
            let simulator = Simulator::new(device.clone());
            // Nobody could be told later that the state cannot be opened.
            device.prepare().await?;
            let (commands, platform_port) = (commands.into_server()?, platform_port.into_server()?);
            Readiness::default().tell()?;
            tracing::info!(port = self.port, platform_port = next, "ready");
            let serving = simulator.serve(commands, platform_port);
            tokio::pin!(serving);
            tokio::select! {
                () = &mut serving => {}
                () = end.asked() => {
                    simulator.stop();
                    serving.await;
                }
            }
            device.shut_down().await;
            device.close().await;
            Ok(ExitCode::SUCCESS)
        })
    }
}
