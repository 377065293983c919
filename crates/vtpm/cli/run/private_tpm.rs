//! One TPM of `vtpm run`, and the sockets that lead to it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use tokio::task::JoinSet;
use tpm_engine::Profile;
use tpm_server::simulator::Simulator;
use tpm_server::swtpm::{Endpoints, Options, Server};
use tpm_server::{Device, Listener, MemoryStore, Settings, StartupKind, StateStore};
use vm_store::StateKey;
use vtpm_host::FolderStore;

use super::faults::{self, Fault, FillableStore};
use crate::cli::sockets::{IntoServer, SocketFile, listen_tcp_pair, listen_unix};
use crate::cli::trace::TraceOptions;
use crate::platform;

/// A TPM that has had its Startup and has these faults; its state is in `folder`, or in memory.
pub(super) async fn device(
    folder: Option<PathBuf>,
    profile: Option<Profile>,
    seed: Option<(u64, u64)>,
    faults: &[Fault],
    trace: &TraceOptions,
) -> anyhow::Result<Device> {
    let store: Box<dyn StateStore> = match folder {
        Some(folder) => Box::new(FolderStore::new(folder, StateKey::Beside)),
        None => Box::new(MemoryStore::default()),
    };
    let (mut store, platform) = match seed {
        Some((seed, instance)) => platform::seeded(store, seed, instance),
        None => (store, platform::real_with_pool()),
    };
    let settings = Settings {
        profile,
        platform,
        auto_shutdown: true,
        incoming: false,
    };
    let full = Arc::new(AtomicBool::new(false));
    if faults.contains(&Fault::NvFull) {
        store = Box::new(FillableStore {
            store,
            full: Arc::clone(&full),
        });
    }
    let device = Device::new(store, settings);
    trace.attach(&device)?;
    device.boot(StartupKind::Clear).await?;
    faults::arrange(&device, faults, &full).await?;
    Ok(device)
}

/// A TPM and its sockets.
pub(super) struct PrivateTpm {
    device: Device,
    tcti: OsString,
    control: Option<PathBuf>,
    tcp: Option<Tcp>,
    fronts: Vec<Front>,
    /// What is served once it is time.
    waiting: Vec<Waiting>,
    _files: Vec<SocketFile>,
}

/// How clients that know nothing but TCP reach a TPM.
pub(super) struct Tcp {
    name: &'static str,
    /// IBM's word for the protocol.
    pub(super) server_type: &'static str,
    pub(super) port: u16,
}

impl Tcp {
    pub(super) fn tcti(&self) -> String {
        format!("{}:host=127.0.0.1,port={}", self.name, self.port)
    }
}

enum Front {
    Swtpm(Server),
    Simulator(Simulator),
}

enum Waiting {
    Swtpm(Server, Endpoints),
    Simulator(Simulator, Listener, Listener),
}

impl PrivateTpm {
    /// Behind unix sockets in `folder`; the first of several on TCP as well.
    pub(super) fn behind_swtpm(device: Device, folder: &Path, number: u16) -> anyhow::Result<Self> {
        let name = match number {
            1 => "tpm".to_owned(),
            _ => format!("tpm{number}"),
        };
        let (data_path, control_path) = (folder.join(&name), folder.join(format!("{name}.ctrl")));
        let listen = |path: &Path| {
            listen_unix(path, 0o600).with_context(|| format!("the socket {}", path.display()))
        };
        let (data, data_file) = listen(&data_path)?;
        let (control, control_file) = listen(&control_path)?;
        let mut tcti = OsString::from("swtpm:path=");
        tcti.push(&data_path);
        let mut tpm = Self {
            device,
            tcti,
            control: Some(control_path),
            tcp: None,
            fronts: Vec::new(),
            waiting: Vec::new(),
            _files: vec![data_file, control_file],
        };
        tpm.add_swtpm(data, control)?;
        if number == 1 {
            let (data, control) = listen_tcp_pair().context("two TCP ports in a row")?;
            tpm.tcp = Some(Tcp {
                name: "swtpm",
                server_type: "raw",
                port: data.local_addr()?.port(),
            });
            tpm.add_swtpm(data, control)?;
        }
        Ok(tpm)
    }

    /// Behind the simulator's two ports.
    pub(super) fn behind_simulator(device: Device) -> anyhow::Result<Self> {
        let (commands, platform) = listen_tcp_pair().context("two TCP ports in a row")?;
        let tcp = Tcp {
            name: "mssim",
            server_type: "mssim",
            port: commands.local_addr()?.port(),
        };
        let simulator = Simulator::new(device.clone());
        Ok(Self {
            device,
            tcti: tcp.tcti().into(),
            control: None,
            tcp: Some(tcp),
            fronts: vec![Front::Simulator(simulator.clone())],
            waiting: vec![Waiting::Simulator(
                simulator,
                commands.into_server()?,
                platform.into_server()?,
            )],
            _files: Vec::new(),
        })
    }

    fn add_swtpm(
        &mut self,
        data: impl IntoServer,
        control: impl IntoServer,
    ) -> std::io::Result<()> {
        let server = Server::new(self.device.clone(), Options::default());
        let endpoints = Endpoints {
            data_listener: Some(data.into_server()?),
            control_listener: Some(control.into_server()?),
            ..Endpoints::default()
        };
        self.fronts.push(Front::Swtpm(server.clone()));
        self.waiting.push(Waiting::Swtpm(server, endpoints));
        Ok(())
    }

    /// What tpm2-tss takes to find it.
    pub(super) fn tcti(&self) -> &OsStr {
        &self.tcti
    }

    /// The socket of swtpm's control channel.
    pub(super) fn control(&self) -> Option<&Path> {
        self.control.as_deref()
    }

    pub(super) fn tcp(&self) -> Option<&Tcp> {
        self.tcp.as_ref()
    }

    /// Begins to serve clients; those who came before have been waiting.
    pub(super) fn serve(&mut self, serving: &mut JoinSet<()>) {
        for front in self.waiting.drain(..) {
            match front {
                Waiting::Swtpm(server, endpoints) => {
                    serving.spawn(async move { server.serve(endpoints).await });
                }
                Waiting::Simulator(simulator, commands, platform) => {
                    serving.spawn(async move { simulator.serve(commands, platform).await });
                }
            }
        }
    }

    pub(super) fn stop(&self) {
        for front in &self.fronts {
            match front {
                Front::Swtpm(server) => server.stop(),
                Front::Simulator(simulator) => simulator.stop(),
            }
        }
    }

    /// Shuts the TPM down in order.
    pub(super) async fn close(&self) {
        self.device.close().await;
    }
}
