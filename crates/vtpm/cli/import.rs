//! `vtpm import`: changing over from another implementation of a TPM without losing keys.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use rustix::fs::{FlockOperation, fcntl_lock};
use serde::Serialize;
use tpm_engine::Tpm;
use tpm_engine::import::{Imported, PowerLoss};
use tpm_server::{Signals, StateStore, Stored};
use vm_inventory::{Name, VmView};
use vm_store::StateKey;
use vm_store::backend::{open_named, read_named};
use vm_web::api::AdoptTpm;
use vtpm_host::FolderStore;
use zeroize::Zeroizing;

use super::client::talk;
use super::profile::ProfileOption;
use super::swtpm::KeyOption;
use super::vm_settings::VmSettings;
use super::{Threads, output, runtime, vm};
use crate::config::Daemon;
use crate::import::{Libtpms, STATE_FILE, VOLATILE_FILE, open_file, read_state};
use crate::platform;

/// swtpm holds this file locked while it runs.
const LOCK_FILE: &str = ".lock";
/// A state is never larger than this.
const LARGEST: u64 = 4 * 1024 * 1024;

const SAVED_PCRS: &str = "the PCR that TPM2_Shutdown(STATE) saved, for TPM2_Startup(STATE)";

/// Takes over a TPM that another program has kept
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand, Debug)]
enum Source {
    Swtpm(FromSwtpm),
}

impl Import {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.source {
            Source::Swtpm(source) => source.execute(),
        }
    }
}

/// From swtpm: its state folder, or the file tpm2-00.permall in it
///
/// The settings of a VM (--vcenter to --no-startup) go with --vm.
#[derive(Args, Debug)]
struct FromSwtpm {
    /// The folder that swtpm has kept its state in; it is only read
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// The folder that gets the state, for `vtpm swtpm socket --tpmstate dir=` and the like; it must not hold a TPM yet
    #[arg(long, value_name = "DIR", required_unless_present = "vm", conflicts_with_all = ["vm", "VmSettings"])]
    into: Option<PathBuf>,
    /// Make a VM of the daemon with this name; the TPM becomes its TPM, under a key of its key provider
    #[arg(long, value_name = "NAME")]
    vm: Option<Name>,
    #[command(flatten)]
    settings: VmSettings,
    #[command(flatten)]
    daemon: Daemon,
    /// The key that swtpm was started with, as its --key takes it
    #[arg(long, value_name = "OPTIONS")]
    key: Option<KeyOption>,
    /// The key that the state is to be kept under from now on, in the same words; without, one is made beside it
    #[arg(long, value_name = "OPTIONS", requires = "into", conflicts_with = "vm")]
    into_key: Option<KeyOption>,
    /// What the TPM can do from now on
    #[arg(long, value_name = "PROFILE", default_value = "default")]
    profile: ProfileOption,
    /// Print as JSON what was carried over and what was not
    #[arg(long)]
    json: bool,
}

impl FromSwtpm {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let profile = self.profile.load()?;
        let profile_name = profile.name.to_string();
        let file = state_file(&self.from);
        let _lock = refuse_while_in_use(&file)?;
        let bytes = read(&file)?;
        let key = self.key.as_ref().map(KeyOption::load).transpose()?;
        let key = key.map(|key| key.into_bytes());
        let libtpms = open_file(&bytes, key.as_ref().map(|key| key.as_slice()))
            .and_then(|state| read_state(&state))
            .with_context(|| file.display().to_string())?;
        let mut report = Report::new(&libtpms, &profile_name);
        if file.with_file_name(VOLATILE_FILE).exists() {
            report.lost(format!(
                "the suspended state in {VOLATILE_FILE}: what was loaded and not saved is gone, as after a power cycle"
            ));
        }
        // The platform is asked for entropy alone.
        let signals = Arc::new(Signals::default());
        let make_platform = platform::real();
        let mut tpm = Tpm::import(libtpms.imported, profile, make_platform(&signals))
            .with_context(|| file.display().to_string())?;
        let permanent = tpm.permanent_state();
        Tpm::load(&permanent, make_platform(&signals))
            .context("the imported state does not load, so it is not stored")?;
        let Some(into) = self.into else {
            let vm = self.vm.context("no name for the VM")?;
            report.goes_to_vm();
            let request = AdoptTpm {
                vm: self.settings.request(vm),
                state: Zeroizing::new(STANDARD.encode(&*permanent)),
            };
            return talk(&self.daemon, |client| async move {
                let accepted = client.post("/v1/adoptions", &request).await?;
                let task = client.wait(accepted).await?;
                if !self.json {
                    report.print(&file, &format!("that of the VM {}", task.vm_name))?;
                    return vm::report(&client, task, false, "created").await;
                }
                let path = format!("/v1/vms/{}", task.vm);
                report.vm = Some(client.get(&path).await?);
                output::json(&report)
            });
        };
        let state_key = match &self.into_key {
            Some(key) => StateKey::Given(Arc::new(key.load()?.provider()?)),
            None => StateKey::Beside,
        };
        let mut store = FolderStore::new(into.clone(), state_key);
        if store.load()?.is_some() {
            bail!(
                "{} holds a TPM already; name an empty folder",
                into.display()
            );
        }
        let state = Stored {
            permanent,
            volatile: None,
        };
        runtime(Threads::One)?.block_on(store.save(&state))?;
        if self.json {
            output::json(&report)?;
            return Ok(ExitCode::SUCCESS);
        }
        let folder = into.display();
        report.print(&file, &format!("in {folder}"))?;
        output::line(format!(
            "go on with: vtpm swtpm socket --tpm2 --tpmstate dir={folder} ..."
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn state_file(from: &Path) -> PathBuf {
    if from.is_dir() {
        from.join(STATE_FILE)
    } else {
        from.to_path_buf()
    }
}

/// A TPM that goes on there while it is taken over here would be two. The lock is given back when the file is dropped.
fn refuse_while_in_use(file: &Path) -> anyhow::Result<Option<File>> {
    let Ok(lock) = open_named(&file.with_file_name(LOCK_FILE)) else {
        return Ok(None);
    };
    if fcntl_lock(&lock, FlockOperation::NonBlockingLockShared).is_err() {
        bail!("{}: swtpm runs on it; end it first", file.display());
    }
    Ok(Some(lock))
}

fn read(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let name = || file.display().to_string();
    read_named(file, LARGEST).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            anyhow::anyhow!("{}: it is too large to be the state of a TPM", name())
        }
        _ => anyhow::Error::new(error).context(name()),
    })
}

/// What was carried over and what was not.
#[derive(Debug, Serialize)]
struct Report {
    nv_indices: Vec<String>,
    persistent_objects: Vec<String>,
    pcr_banks: Vec<String>,
    carried_over: Vec<String>,
    not_carried_over: Vec<String>,
    /// The VM that it was made, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<VmView>,
}

impl Report {
    fn new(libtpms: &Libtpms, profile: &str) -> Self {
        let imported = &libtpms.imported;
        let hex = |handle: u32| format!("{handle:#010x}");
        let nv = imported
            .nv
            .iter()
            .map(|index| hex(index.public.nv_index.0.0));
        let objects = imported
            .persistent
            .iter()
            .map(|object| hex(object.handle.0));
        let banks = imported
            .pcr_allocation
            .iter()
            .filter(|bank| !bank.pcr_select.is_empty())
            .filter_map(|bank| bank.hash.id().name());
        let mut report = Self {
            nv_indices: nv.collect(),
            persistent_objects: objects.collect(),
            pcr_banks: banks.map(str::to_owned).collect(),
            carried_over: carried_over(imported),
            not_carried_over: Vec::new(),
            vm: None,
        };
        report.lost("saved contexts of objects and sessions, such as tpm2-tools' .ctx files");
        if let Some(theirs) = &libtpms.profile {
            report.lost(format!(
                "the profile '{}': the TPM has the profile '{profile}' from now on",
                profile_name(theirs)
            ));
        }
        for lost in &libtpms.lost {
            report.lost(lost.clone());
        }
        report
    }

    fn lost(&mut self, what: impl Into<String>) {
        self.not_carried_over.push(what.into());
    }

    /// VMs are powered on with TPM2_Startup(CLEAR).
    fn goes_to_vm(&mut self) {
        let before = self.carried_over.len();
        self.carried_over.retain(|what| what != SAVED_PCRS);
        if self.carried_over.len() != before {
            self.lost(
                "the PCR that TPM2_Shutdown(STATE) saved: a VM begins with TPM2_Startup(CLEAR)",
            );
        }
    }

    fn print(&self, file: &Path, place: &str) -> anyhow::Result<()> {
        let mut out = io::stdout();
        writeln!(out, "the TPM of {} is now {place}", file.display())?;
        writeln!(out, "carried over:")?;
        let lists = [
            ("NV indices", &self.nv_indices),
            ("persistent objects", &self.persistent_objects),
            ("PCR banks", &self.pcr_banks),
        ];
        for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            writeln!(out, "  {} {name}: {}", list.len(), list.join(", "))?;
        }
        for what in &self.carried_over {
            writeln!(out, "  {what}")?;
        }
        writeln!(out, "not carried over:")?;
        for what in &self.not_carried_over {
            writeln!(out, "  {what}")?;
        }
        Ok(())
    }
}

/// The name in a profile of libtpms.
fn profile_name(json: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(json).ok();
    let name = parsed
        .as_ref()
        .and_then(|profile| profile.get("Name")?.as_str());
    name.unwrap_or("without a name").to_owned()
}

fn carried_over(imported: &Imported) -> Vec<String> {
    let mut carried = vec![
        "seeds and proofs of the owner, endorsement and platform hierarchies: primary keys come out of them as before".to_owned(),
        "passwords and policies of owner, endorsement and lockout".to_owned(),
        format!(
            "clock ({} s), {} resets, settings and count ({}) of the dictionary-attack protection",
            imported.clock / 1000,
            imported.reset_count,
            imported.failed_tries
        ),
    ];
    if matches!(imported.power_loss, PowerLoss::State(_)) {
        carried.push(SAVED_PCRS.to_owned());
    }
    carried
}
