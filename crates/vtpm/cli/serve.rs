//! `vtpm serve`: the daemon.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use vm_inventory::engine::Redb;
use vm_inventory::{Inventory, Machines, Operations, TaskStatus};
use vm_web::Jobs;

use super::vm::quoted;
use super::{Threads, log, output, runtime};
use crate::config::DataFolder;
use crate::confine::memory::{self, Children};
use crate::daemon::{
    Administrator, AttestingHost, EngineMaker, Faces, FirstRun, Identity, OwnedFolder,
    RunningMachines, administrator, first_run, listen_privately, sandbox, serve_http, serve_owner,
};

/// How often the inventory notes which generations are on disk: files older than that are found to be so.
const NOTE_GENERATIONS: Duration = Duration::from_secs(10);
/// VMs that are on and named at the start; more are counted.
const SHOWN: usize = 8;
/// How long requests that were begun may take to end when the daemon stops.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Run the daemon: vCenters, key providers, VMs with TPMs, and a socket for each that is on
///
/// In an empty folder it first makes a vCenter (vc01, version 8.0.3), a native key provider with its backup, a datastore and an EFI VM named
/// demo with a TPM, powered on. VMs that were on when it stopped are powered on again. Power-on sends TPM2_Startup(CLEAR) in the place of
/// a guest's firmware, unless the VM was created with --no-startup. Everything is kept in one folder: that of --data, else of VTPM_DATA,
/// else $XDG_DATA_HOME/vtpm or ~/.local/share/vtpm. SIGTERM or SIGINT shut every TPM down in good order.
///
/// The verbs find the daemon on a private socket in that folder. With --listen it also serves users who log in, over TLS: the first start
/// makes a certificate, and the user administrator@vsphere.local with the password in VTPM_ADMIN_PASSWORD, or one that is printed once.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("listeners").multiple(true))]
pub(crate) struct Serve {
    #[command(flatten)]
    data: DataFolder,
    /// Serve the HTTP API over TLS on this address, such as 127.0.0.1:8443; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", group = "listeners")]
    listen: Option<SocketAddr>,
    /// Serve the certificates of authorities and their lists of revoked ones over plain HTTP on this address, and nothing else
    ///
    /// That is where verifiers look for them, if `vtpm vcenter ca set --publish http://...` has it in the certificates.
    #[arg(long, value_name = "ADDRESS:PORT", group = "listeners")]
    pki_listen: Option<SocketAddr>,
    /// Allow an address that other machines reach
    #[arg(long, requires = "listeners")]
    listen_anywhere: bool,
    /// Certificate of the listener, with those above it (PEM) [default: one made at the first start, in tls/ of the data folder]
    #[arg(long, value_name = "FILE", requires_all = ["listen", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A folder outside the data folder that the sandbox leaves open, for datastores on other disks; can be given several times
    #[arg(long, value_name = "DIR", conflicts_with = "no_sandbox")]
    allow: Vec<PathBuf>,
    /// Keep the right to use all files, to start programs and to signal processes, which the daemon otherwise gives up (Landlock, seccomp)
    #[arg(long)]
    no_sandbox: bool,
}

impl Serve {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        log::to_stderr("warn,vtpm=info,vm_inventory=info");
        // Nothing that the daemon makes is for others.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        memory::forbid_dumps(Children::None);
        memory::lock(Children::None).warn();
        let mut addresses = [self.listen, self.pki_listen].into_iter().flatten();
        if let Some(address) = addresses.find(|it| !it.ip().is_loopback())
            && !self.listen_anywhere
        {
            log::complain(&anyhow::anyhow!(
                "{address} can be reached by other machines; use 127.0.0.1, or allow it with --listen-anywhere"
            ));
            return Ok(ExitCode::from(2));
        }
        let folder = OwnedFolder::claim(&self.data.path())?;
        // Before the sandbox, which closes the folders that these may be in.
        let identity = match (self.listen, &self.tls_cert, &self.tls_key) {
            (None, ..) => None,
            (Some(_), Some(certificate), Some(key)) => Some(Identity::given(certificate, key)?),
            (Some(address), ..) => {
                let tls = folder.path().join("tls");
                Some(Identity::of_our_own(&tls, address.ip())?)
            }
        };
        let listen = self.listen.zip(identity);
        // Before there are threads, which would not be bound by it.
        if !self.no_sandbox {
            sandbox::enter(folder.path(), &self.allow)?;
        }
        runtime(Threads::Cores)?.block_on(serve(&folder, listen, self.pki_listen))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn serve(
    folder: &OwnedFolder,
    listen: Option<(SocketAddr, Identity)>,
    pki_listen: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let data = folder.path().to_path_buf();
    // A port that is taken is told of before anything is made.
    let tls = match listen {
        Some((address, identity)) => {
            let (listener, address) = bind(address, "--listen").await?;
            Some((listener, address, identity))
        }
        None => None,
    };
    let pki = match pki_listen {
        Some(address) => Some(bind(address, "--pki-listen").await?),
        None => None,
    };
    let engine = Arc::new(Redb::open(&data.join("inventory.redb"))?);
    let (machines, mut wants_off) =
        RunningMachines::new(tokio::runtime::Handle::current(), &data.join("run")).with_context(
            || {
                format!(
                    "the folder {} cannot be prepared",
                    data.join("run").display()
                )
            },
        )?;
    let running = Arc::new(machines);
    let machines: Arc<dyn Machines> = Arc::clone(&running) as Arc<dyn Machines>;

    let operations = blocking({
        let data = data.clone();
        move || {
            let inventory = Inventory::open(engine)?;
            Ok(Operations::open_attesting(
                &data,
                inventory,
                Arc::new(EngineMaker),
                machines,
                Some(Arc::new(AttestingHost)),
            )?)
        }
    })
    .await?;
    let has_users = tls.is_some();
    let (made, administrator) = blocking({
        let operations = Arc::clone(&operations);
        move || {
            let made = first_run(&operations)?;
            let administrator = if has_users {
                administrator(&operations)?
            } else {
                None
            };
            for task in operations.resume()? {
                if let (TaskStatus::Error, Some(error)) = (task.status, &task.error) {
                    tracing::error!(
                        "the VM {} was not powered on again: {}",
                        task.vm_name,
                        error.detail
                    );
                }
            }
            Ok((made, administrator))
        }
    })
    .await?;

    let socket = data.join("vtpm.sock");
    // Left from a daemon that was killed: the folder is ours alone.
    let _ = fs::remove_file(&socket);
    let listener = listen_privately(&socket)?;
    let jobs = Jobs::default();
    let (stop, stopping) = watch::channel(false);
    let faces = Faces::new(
        Arc::clone(&operations),
        Arc::clone(&running),
        jobs.clone(),
        &data,
    )?;
    let web = tokio::spawn(serve_owner(listener, faces.for_owner(), stopping.clone()));
    let mut reached = None;
    let users = tls.map(|(listener, address, identity)| {
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
        reached = Some((address, identity));
        let router = faces.for_users();
        tokio::spawn(serve_http(
            listener,
            Some(acceptor),
            router,
            stopping.clone(),
        ))
    });
    let mut published = None;
    let verifiers = pki.map(|(listener, address)| {
        published = Some(address);
        tokio::spawn(serve_http(listener, None, faces.for_verifiers(), stopping))
    });
    for job in operations.resume_rekeyings()? {
        jobs.start(job);
    }
    // Key servers may take their time to answer.
    tokio::task::spawn_blocking({
        let operations = Arc::clone(&operations);
        move || {
            if let Err(error) = operations.look_for_all_locks() {
                tracing::error!("which VMs are locked was not looked for: {error}");
            }
        }
    });
    announce(&operations, &data, made.as_ref())?;
    if let Some((address, identity)) = &reached {
        announce_listener(*address, identity, administrator.as_ref())?;
    }
    if let Some(address) = published {
        output::line(format!(
            "Certificates of authorities and their lists are on http://{address}/pki/"
        ))?;
    }
    output::line("vtpm is ready")?;

    let mut tick = tokio::time::interval(NOTE_GENERATIONS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = tick.tick() => {
                let operations = Arc::clone(&operations);
                if let Err(error) = blocking(move || Ok(operations.keep_house()?)).await {
                    tracing::error!("the generations of running VMs were not noted: {error:#}");
                }
            }
            Some(vm) = wants_off.recv() => {
                tracing::info!(%vm, "its client ended the TPM, so the VM is powered off");
                match operations.power_off(&vm.to_string()) {
                    Ok(job) => {
                        jobs.start(job);
                    }
                    Err(error) => tracing::warn!(%vm, "{error}"),
                }
            }
        }
    }

    tracing::info!("stopping");
    running.end_recordings();
    faces.close();
    let _ = stop.send(true);
    let all = async {
        let _ended = web.await;
        for listener in [users, verifiers].into_iter().flatten() {
            let _ended = listener.await;
        }
    };
    if tokio::time::timeout(LAST_REQUESTS, all).await.is_err() {
        tracing::warn!("requests that did not end were cut off");
    }
    let _ = fs::remove_file(&socket);
    jobs.finish().await;
    let failed = blocking(move || Ok(operations.shut_down())).await?;
    for (vm, reason) in &failed {
        tracing::error!(%vm, "{reason}");
    }
    anyhow::ensure!(
        failed.is_empty(),
        "{} VMs were not saved in good order",
        failed.len()
    );
    Ok(())
}

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("the daemon cannot listen on {address}; choose another port with {option}")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Says what a person needs to go on.
fn announce(operations: &Operations, data: &Path, made: Option<&FirstRun>) -> anyhow::Result<()> {
    if let Some(made) = made {
        output::line(
            "Made vCenter vc01, key provider vc01-nkp, datastore datastore1 and the VM demo with a TPM.",
        )?;
        output::line(format!(
            "The backup of the key provider is {}",
            made.backup.display()
        ))?;
        output::line(format!(
            "Its password, shown this once: {}",
            made.password.as_str()
        ))?;
        output::line(
            "Keep both, apart from each other: without them a lost data folder is lost for good.",
        )?;
        output::line("")?;
    }
    let (running, number) = operations.running_vms(SHOWN)?;
    let reached = running
        .iter()
        .filter_map(|vm| Some((&vm.name, vm.tpm.tcti.as_deref()?)));
    for (number, (name, tcti)) in reached.enumerate() {
        let comment = if number == 0 { "" } else { "# " };
        output::line(format!(
            "{comment}export TPM2TOOLS_TCTI={}   # {name}",
            quoted(tcti)
        ))?;
    }
    if let Some(more @ 1..) = number.checked_sub(SHOWN) {
        output::line(format!(
            "# {more} more VMs are on; `vtpm vm show NAME` says where the TPM of each is"
        ))?;
    }
    output::line(format!(
        "export VTPM_DATA={}",
        quoted(&data.display().to_string())
    ))?;
    Ok(())
}

/// Says where users log in.
fn announce_listener(
    address: SocketAddr,
    identity: &Identity,
    administrator: Option<&Administrator>,
) -> anyhow::Result<()> {
    output::line(format!(
        "Listening on https://{address}, certificate {}",
        identity.certificate.display()
    ))?;
    output::line(format!("  SHA-256 {}", identity.fingerprint))?;
    if let Some(made) = administrator {
        output::line("Made the user administrator@vsphere.local.")?;
        if let Some(password) = &made.password {
            output::line(format!(
                "The user's password, shown this once: {}",
                password.as_str()
            ))?;
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a part of the daemon failed")?
}
