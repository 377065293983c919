//! The VMs that are powered on.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tpm_server::simulator::Simulator;
use tpm_server::swtpm::{AfterShutdown, Endpoints, Options, Server};
use tpm_server::{Device, DeviceError, Settings, StartupKind};
use vm_inventory::model::{Endpoint, SocketKind, Vm, VmId};
use vm_inventory::{Machines, PowerOn, Started};
use vm_store::{Committer, Contents, SectionKind, VmFile};

use super::sealed::{Saved, SealedStore};
use super::sockets::{self, SocketFolder, Sockets};
use crate::platform;

/// Threads that write state: enough to keep a disk busy, few enough to share its syncs.
const COMMITTER_THREADS: usize = 16;

/// What a TPM answers to a second `TPM2_Startup` (Part 2, 6.6).
const TPM_RC_INITIALIZE: u32 = 0x100;

/// Runs VMs: for each one TPM, its sockets, and its file.
pub(crate) struct RunningMachines {
    runtime: Handle,
    run: PathBuf,
    committer: Arc<Committer>,
    running: Mutex<BTreeMap<VmId, Machine>>,
    ended: UnboundedSender<VmId>,
}

struct Machine {
    device: Device,
    server: AnyServer,
    serving: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
    endpoint: Endpoint,
    saved: Arc<Saved>,
    folder: Option<SocketFolder>,
}

#[derive(Clone)]
enum AnyServer {
    Swtpm(Server),
    Simulator(Arc<Simulator>),
}

impl AnyServer {
    fn new(vm: &Vm, device: &Device) -> Self {
        match vm.socket {
            SocketKind::Unix | SocketKind::Tcp => {
                // QEMU sends the shutdown code when it exits; the VM stays on, for the next QEMU.
                let startup = vm.startup.then_some(StartupKind::Clear);
                let options = Options {
                    after_shutdown: AfterShutdown::PowerCycle(startup),
                    ..Options::default()
                };
                Self::Swtpm(Server::new(device.clone(), options))
            }
            SocketKind::Mssim => Self::Simulator(Arc::new(Simulator::new(device.clone()))),
        }
    }

    fn stop(&self) {
        match self {
            Self::Swtpm(server) => server.stop(),
            Self::Simulator(server) => server.stop(),
        }
    }

    async fn serve(&self, sockets: Sockets) {
        match self {
            Self::Swtpm(server) => {
                let endpoints = Endpoints {
                    data_listener: Some(sockets.commands),
                    control_listener: Some(sockets.beside),
                    ..Endpoints::default()
                };
                server.serve(endpoints).await;
            }
            Self::Simulator(server) => server.serve(sockets.commands, sockets.beside).await,
        }
    }
}

impl RunningMachines {
    /// No VM runs yet; `run` is the folder for their sockets. The receiver tells of VMs whose client ended them (the stop code
    /// of the simulator's protocol): they want to be powered off.
    pub(crate) fn new(runtime: Handle, run: &Path) -> io::Result<(Self, UnboundedReceiver<VmId>)> {
        // The data folder is ours alone, so what is here is left from a daemon that was killed.
        match fs::remove_dir_all(run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(run)?;
        allow_descriptors();
        let (ended, wants_off) = unbounded_channel();
        let machines = Self {
            runtime,
            run: run.to_path_buf(),
            committer: Arc::new(Committer::start(COMMITTER_THREADS)?),
            running: Mutex::new(BTreeMap::new()),
            ended,
        };
        Ok((machines, wants_off))
    }

    async fn start(&self, vm: &Vm, saved: &Arc<Saved>) -> anyhow::Result<Machine> {
        let mut sockets = sockets::open(&self.run, vm).await?;
        let goes_on = saved.contents().get(SectionKind::TPM_VOLATILE).is_some();
        let store = SealedStore::new(Arc::clone(saved), Arc::clone(&self.committer));
        let settings = Settings {
            profile: None,
            platform: platform::real_with_pool(),
            auto_shutdown: true,
            incoming: false,
        };
        let device = Device::new(Box::new(store), settings);
        let up = async {
            device.power_on().await?;
            if vm.startup {
                match device.startup(StartupKind::Clear).await {
                    // It goes on where a snapshot of it was taken, and was started then.
                    Err(DeviceError::Startup(TPM_RC_INITIALIZE)) if goes_on => {}
                    outcome => outcome?,
                }
            }
            anyhow::Ok(())
        };
        if let Err(error) = up.await {
            device.close().await;
            return Err(error);
        }
        let endpoint = sockets.endpoint.clone();
        let folder = sockets.folder.take();
        let server = AnyServer::new(vm, &device);
        let stopping = Arc::new(AtomicBool::new(false));
        let serving = tokio::spawn({
            let (server, stopping, ended, id) = (
                server.clone(),
                Arc::clone(&stopping),
                self.ended.clone(),
                vm.id,
            );
            async move {
                server.serve(sockets).await;
                if !stopping.load(Ordering::Acquire) {
                    // Nobody listens any more when the daemon stops, which powers the VM off by itself.
                    let _ = ended.send(id);
                }
            }
        });
        Ok(Machine {
            device,
            server,
            serving,
            stopping,
            endpoint,
            saved: Arc::clone(saved),
            folder,
        })
    }

    /// Ends a VM: shuts its TPM down in good order, or stores what it has in memory.
    fn stop(&self, vm: VmId, suspends: bool) -> Result<u64, String> {
        let machine = self
            .running()
            .remove(&vm)
            .ok_or_else(|| "it does not run".to_owned())?;
        let Machine {
            device,
            server,
            serving,
            stopping,
            endpoint: _,
            saved,
            folder,
        } = machine;
        let suspended = self.runtime.block_on(async {
            stopping.store(true, Ordering::Release);
            server.stop();
            if serving.await.is_err() {
                tracing::error!(%vm, "the server of a VM's sockets failed");
            }
            // Nobody sends commands any more.
            let suspended = match suspends {
                true => device.suspend().await,
                false => Ok(()),
            };
            device.close().await;
            suspended
        });
        drop(folder);
        // With the device goes its store, which shares the file.
        drop((server, device));
        let generation = saved.generation();
        let failure = saved.failure();
        let closed = match Arc::try_unwrap(saved) {
            Ok(saved) => saved.close().map_err(|error| error.to_string()),
            Err(_shared) => Err("its file is still in use".to_owned()),
        };
        match failure {
            Some(reason) => Err(format!(
                "it was powered off, but its last state was not saved: {reason}"
            )),
            None => match suspended {
                // A client took its power away, so it has nothing in memory.
                Ok(()) | Err(DeviceError::NotRunning) => closed.map(|()| generation),
                Err(error) => Err(format!("it was powered off instead of suspended: {error}")),
            },
        }
    }

    /// The TPM of a VM that is on.
    pub(super) fn device(&self, vm: VmId) -> Option<Device> {
        let running = self.running();
        running.get(&vm).map(|machine| machine.device.clone())
    }

    /// Where TPMs run.
    pub(super) fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Ends everything that listens to commands of a TPM.
    pub(crate) fn end_recordings(&self) {
        for machine in self.running().values() {
            machine.device.tracer().clear();
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<VmId, Machine>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A VM that is on has two sockets and three files. As many descriptors as the process may have at all: the usual limit, for programs
/// that use `select`, would end at 200 VMs.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the number of VMs that can be on stays limited by that of open files (ulimit -n)");
    }
}

impl Machines for RunningMachines {
    fn power_on(&self, request: PowerOn) -> Result<Started, String> {
        let PowerOn {
            vm,
            files,
            contents,
            note,
        } = request;
        let saved = Arc::new(Saved::new(files, contents, note));
        let machine = self
            .runtime
            .block_on(self.start(&vm, &saved))
            .map_err(|error| format!("it was not powered on: {error:#}"))?;
        let started = Started {
            endpoint: machine.endpoint.clone(),
            generation: saved.generation(),
        };
        tracing::info!(vm = %vm.name, tcti = %started.endpoint.tcti, "powered on");
        self.running().insert(vm.id, machine);
        Ok(started)
    }

    fn power_off(&self, vm: VmId) -> Result<u64, String> {
        self.stop(vm, false)
    }

    fn suspend(&self, vm: VmId) -> Result<u64, String> {
        self.stop(vm, true)
    }

    fn endpoint(&self, vm: VmId) -> Option<Endpoint> {
        self.running()
            .get(&vm)
            .map(|machine| machine.endpoint.clone())
    }

    fn persisted(&self, vm: VmId) -> Option<Contents> {
        self.running()
            .get(&vm)
            .map(|machine| machine.saved.contents())
    }

    fn capture(&self, vm: VmId) -> Option<Result<(Contents, u64), String>> {
        let (device, saved) = {
            let running = self.running();
            let machine = running.get(&vm)?;
            (machine.device.clone(), Arc::clone(&machine.saved))
        };
        let captured = self
            .runtime
            .block_on(device.capture(|| (saved.contents(), saved.generation())));
        Some(match captured {
            Ok((state, (mut contents, generation))) => {
                contents.set(SectionKind::TPM_PERMANENT, state.permanent);
                if let Some(volatile) = state.volatile {
                    contents.set(SectionKind::TPM_VOLATILE, volatile);
                }
                Ok((contents, generation))
            }
            Err(error) => Err(format!("its state was not read: {error}")),
        })
    }

    fn with_files(&self, vm: VmId, work: &mut dyn FnMut(&mut VmFile)) -> bool {
        // Its own reference, so that the other VMs do not wait for this one's disk.
        let saved = self
            .running()
            .get(&vm)
            .map(|machine| Arc::clone(&machine.saved));
        match saved {
            Some(saved) => {
                saved.with_file(work);
                true
            }
            None => false,
        }
    }

    fn generations(&self) -> Vec<(VmId, u64)> {
        self.running()
            .iter()
            .map(|(id, machine)| (*id, machine.saved.generation()))
            .collect()
    }
}
