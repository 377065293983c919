//! `vtpm file`: VM files looked at, checked and rescued without a daemon.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use vm_store::key_provider::{BackupKeys, LOCAL_PROVIDER_NAME, ProviderFolder};
use vm_store::offline::{
    Examination, NvramReport, Place, Severity, SnapshotReport, examine, use_older_slot,
};
use vm_store::{KeyLocator, KeyProvider, LinuxBackend, StoreError};

use super::output;
use super::provider::{password, read_backup};
use super::swtpm::KeyOption;
use crate::config::DataFolder;

/// Something is damaged.
const DAMAGED: u8 = 4;
/// Nothing is wrong as far as can be seen without the key.
const UNPROVEN: u8 = 5;
/// Another process has the VM open, or its datastore.
const IN_USE: u8 = 6;

/// Look at the files of a VM, check them, and rescue an older state; needs no daemon
#[derive(Args, Debug)]
pub(crate) struct File {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Print what the files of a VM are: ids, key, slots, snapshots. No key is needed, and no secret is shown
    Inspect(Inspect),
    /// Check the files of a VM, and name what is damaged
    ///
    /// With the key of the VM, every file is opened and authenticated; without it, what can be checked is checked.
    ///
    /// Exit code 0: everything is whole and authentic. 4: something is damaged. 5: nothing wrong was found, but the key is not at hand.
    /// 6: the VM is in use. 1: the files could not be read.
    Verify(Verify),
    /// Put the older of the two states of a damaged .nvram back
    ///
    /// The damaged file is kept beside it. What happened after that state is lost: a daemon that knows of it asks for --accept-rollback at
    /// the next start. Refused while a daemon has the datastore.
    ///
    /// Exit code 0: done, or nothing was damaged. 4: neither state can be rescued. 6: the VM or its datastore is in use. 1: it failed.
    Repair(Repair),
}

#[derive(Args, Debug)]
struct Inspect {
    /// A VM's folder, its .vmx, its .nvram, a snapshot's .vmsn, or a state folder
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Verify {
    /// A VM's folder, its .vmx, its .nvram, a snapshot's .vmsn, or a state folder
    path: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Repair {
    /// A VM's folder, its .vmx or its .nvram, or a state folder
    path: PathBuf,
    /// Take the older state although a newer one is lost by that
    #[arg(long, required = true)]
    use_older_slot: bool,
    #[command(flatten)]
    keys: Keys,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where the key of a VM is looked for; a state folder has it beside the state.
#[derive(Args, Debug)]
struct Keys {
    #[command(flatten)]
    data: DataFolder,
    /// The backup of the VM's key provider, instead of a data folder
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
    /// Read the password of the backup from the first line of standard input [default: the variable VTPM_BACKUP_PASSWORD]
    #[arg(long, requires = "backup")]
    password_stdin: bool,
    /// The key of a state folder, as `vtpm swtpm` takes it
    #[arg(long, value_name = "OPTIONS")]
    key: Option<KeyOption>,
}

impl File {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let outcome = match self.verb {
            Verb::Inspect(verb) => verb.execute(),
            Verb::Verify(verb) => verb.execute(),
            Verb::Repair(verb) => verb.execute(),
        };
        match outcome {
            Err(error) => match error.downcast_ref::<StoreError>() {
                Some(StoreError::Locked { .. }) => {
                    super::log::complain(&error);
                    Ok(ExitCode::from(IN_USE))
                }
                Some(
                    StoreError::Damaged { .. }
                    | StoreError::WrongVm { .. }
                    | StoreError::Syntax { .. }
                    | StoreError::NotRegular { .. }
                    | StoreError::TooLarge { .. }
                    | StoreError::RolledBack { .. }
                    | StoreError::MissingNvram { .. },
                ) => {
                    super::log::complain(&error);
                    Ok(ExitCode::from(DAMAGED))
                }
                _ => Err(error),
            },
            done => done,
        }
    }
}

impl Inspect {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let found = examine(&find(&self.path)?, None)?;
        if self.json {
            output::json(&found)?;
        } else {
            output::line(describe(&found).trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Verify {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let place = find(&self.path)?;
        let keys = self.keys.of(&place)?;
        // Nobody writes while it is looked at.
        let held = place.hold()?;
        let found = examine(&place, Some(&keys))?;
        drop(held);
        if self.json {
            output::json(&found)?;
        } else {
            output::line(verdict(&found).trim_end())?;
        }
        Ok(if found.is_damaged() {
            ExitCode::from(DAMAGED)
        } else if found.authenticated || found.tpm.is_none() && found.name.is_some() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(UNPROVEN)
        })
    }
}

impl Repair {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let place = find(&self.path)?;
        let keys = self.keys.of(&place)?;
        let done = use_older_slot(&LinuxBackend, &place, &keys)?;
        if self.json {
            output::json(&json!({
                "folder": place.path(),
                "generation": done.generation,
                "generation_before": done.floor,
                "kept": done.kept,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let Some(kept) = done.kept else {
            output::line(format!(
                "nothing was damaged: generation {} is whole, and nothing was changed",
                done.generation
            ))?;
            return Ok(ExitCode::SUCCESS);
        };
        output::line(format!(
            "the state of generation {} is current again; what came after it is lost",
            done.generation
        ))?;
        output::line(format!("  the damaged file is kept as {kept}"))?;
        output::line(
            "  a daemon that knew a newer state starts the VM with `vtpm vm start --accept-rollback` only",
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The VM at a path. The path is made absolute, so that the datastore around it is found; the file itself is never followed.
fn find(path: &Path) -> anyhow::Result<Place> {
    let unreadable = || path.display().to_string();
    let absolute = if path.is_dir() {
        fs::canonicalize(path).with_context(unreadable)?
    } else {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = fs::canonicalize(parent).with_context(unreadable)?;
        parent.join(path.file_name().unwrap_or_default())
    };
    Ok(Place::find(&LinuxBackend, &absolute)?)
}

type Providers = BTreeMap<String, Arc<dyn KeyProvider>>;

impl Keys {
    /// The providers that may have the key of a VM, by name.
    fn of(&self, place: &Place) -> anyhow::Result<Providers> {
        let mut providers = Providers::new();
        let mut add = |provider: Arc<dyn KeyProvider>| {
            providers.insert(provider.name().to_owned(), provider);
        };
        if let Some(backup) = &self.backup {
            let bytes = read_backup(backup)?;
            let password = password(self.password_stdin)?;
            let file = backup.display().to_string();
            add(Arc::new(BackupKeys::open(
                &file,
                &bytes,
                password.expose(),
            )?));
            return Ok(providers);
        }
        if let Some(key) = &self.key {
            add(Arc::new(key.load()?.provider()?));
            return Ok(providers);
        }
        let Some(locator) = place.locator() else {
            return Ok(providers);
        };
        if let Some(found) = self.in_data_folder(&locator)? {
            add(found);
        }
        // A state folder keeps its key beside the state.
        if locator.provider == LOCAL_PROVIDER_NAME
            && let Some(parent) = place.path().parent()
            && let Ok(provider) = ProviderFolder::open(&LinuxBackend, parent)
                .and_then(|folder| folder.load(LOCAL_PROVIDER_NAME))
        {
            add(Arc::new(provider));
        }
        Ok(providers)
    }

    /// Providers of one name may be registered on several vCenters, with different keys: the one with the VM's key counts.
    fn in_data_folder(&self, locator: &KeyLocator) -> anyhow::Result<Option<Arc<dyn KeyProvider>>> {
        let Ok(vcenters) = fs::read_dir(self.data.path().join("providers")) else {
            return Ok(None);
        };
        let mut other = None;
        for vcenter in vcenters {
            let path = vcenter?.path();
            if !path.is_dir() {
                continue;
            }
            let Ok(provider) = ProviderFolder::open(&LinuxBackend, &path)
                .and_then(|folder| folder.load(&locator.provider))
            else {
                continue;
            };
            let fits = provider.check_value(&locator.key_id)? == locator.check;
            let provider: Arc<dyn KeyProvider> = Arc::new(provider);
            if fits {
                return Ok(Some(provider));
            }
            other = Some(provider);
        }
        Ok(other)
    }
}

fn describe(found: &Examination) -> String {
    let mut text = String::new();
    let mut put = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<18}{value}");
    };
    put("folder", &found.folder.display().to_string());
    put("VM", found.name.as_deref().unwrap_or("no .vmx"));
    for (label, value) in [("VM id", &found.vm_id), ("instance id", &found.instance_id)] {
        if let Some(value) = value {
            put(label, value);
        }
    }
    if let Some(tpm) = &found.tpm {
        let kind = if tpm.present {
            &tpm.provisioning
        } else {
            "none; the VM itself is encrypted"
        };
        put("TPM", kind);
        put("key provider", &tpm.provider);
        put("key id", &tpm.key_id);
        put("key check value", &tpm.key_check);
        let floor = format!("{} or later, by the .vmx", tpm.generation_floor);
        put("generation", &floor);
    }
    if let Some(nvram) = &found.nvram {
        describe_nvram(&mut text, nvram);
    }
    for snapshot in &found.snapshots {
        describe_snapshot(&mut text, snapshot);
    }
    if !found.others.is_empty() {
        let _ = writeln!(text, "\nother files       {}", found.others.join(", "));
    }
    findings(&mut text, found);
    text
}

fn describe_nvram(text: &mut String, nvram: &NvramReport) {
    let generation = nvram
        .generation
        .map_or_else(|| "none whole".to_owned(), |it| it.to_string());
    let _ = writeln!(
        text,
        "\n{}: {} bytes, format {}, state of generation {generation}",
        nvram.file, nvram.size, nvram.format_version
    );
    for slot in &nvram.slots {
        let holds = match (slot.generation, slot.sectors) {
            (Some(generation), Some(sectors)) => {
                format!("generation {generation}, {sectors} sectors")
            }
            _ if slot.newest_generation == 0 => "never written".to_owned(),
            _ => format!("parts of generation {}", slot.newest_generation),
        };
        let mut marks = String::new();
        if slot.current {
            marks.push_str(", the newest");
        }
        if !slot.damaged_sectors.is_empty() {
            let _ = write!(marks, ", {} sectors damaged", slot.damaged_sectors.len());
        }
        let _ = writeln!(
            text,
            "  slot {} at {}, {} bytes: {holds}{marks}",
            slot.slot, slot.offset, slot.length
        );
    }
    for section in &nvram.sections {
        let _ = writeln!(
            text,
            "  section {}, {}: {} bytes",
            section.kind, section.name, section.length
        );
    }
}

fn describe_snapshot(text: &mut String, snapshot: &SnapshotReport) {
    let _ = writeln!(
        text,
        "\n{}: {} bytes, format {}",
        snapshot.file, snapshot.size, snapshot.format_version
    );
    let _ = writeln!(
        text,
        "  {}, taken {}, VM {}, state of generation {}",
        snapshot.name,
        output::date(snapshot.created),
        if snapshot.powered_on { "on" } else { "off" },
        snapshot.generation
    );
    if let Some(parent) = &snapshot.parent {
        let _ = writeln!(text, "  after {parent}");
    }
    for line in snapshot.description.lines() {
        let _ = writeln!(text, "  | {line}");
    }
    for section in &snapshot.sections {
        let _ = writeln!(
            text,
            "  section {}, {}: {} bytes",
            section.kind, section.name, section.length
        );
    }
}

fn findings(text: &mut String, found: &Examination) {
    for finding in &found.findings {
        let kind = match finding.severity {
            Severity::Note => "note",
            Severity::Damage => "DAMAGED",
        };
        let _ = writeln!(text, "{kind}: {}: {}", finding.file, finding.text);
    }
}

fn verdict(found: &Examination) -> String {
    let mut text = String::new();
    findings(&mut text, found);
    let files = usize::from(found.name.is_some())
        + usize::from(found.nvram.is_some())
        + found.snapshots.len();
    let _ = match (&found.without_key, found.is_damaged()) {
        (_, true) => writeln!(text, "{}: damaged", found.folder.display()),
        (Some(reason), false) => writeln!(
            text,
            "{}: nothing wrong was found in {files} files, but nothing was authenticated: {reason}",
            found.folder.display()
        ),
        (None, false) => writeln!(
            text,
            "{}: {files} files, whole and authentic",
            found.folder.display()
        ),
    };
    text
}
