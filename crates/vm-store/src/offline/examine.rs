//! What a VM's files say, with the key or without it.

use super::Place;
use crate::{
    backend::Folder,
    binding::{self, TpmBinding},
    contents::{RecordParts, SectionKind},
    error::StoreError,
    format::{self, Header, Sectors, Slot, SlotReading},
    identity::Identity,
    key_provider::KeyProviderLookup,
    nvram,
    seal::DataKey,
    snapshots::{self, SnapshotId},
    vm_file,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Everything that was found, without a secret.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// The VM's folder.
    pub folder: PathBuf,
    /// The VM's name; none if there is no `.vmx`.
    pub name: Option<String>,
    /// The VM id.
    pub vm_id: Option<String>,
    /// The instance id.
    pub instance_id: Option<String>,
    /// What `.vmx` says about the TPM; none if there is none.
    pub tpm: Option<TpmReport>,
    /// The `.nvram`.
    pub nvram: Option<NvramReport>,
    /// The snapshots, the oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Other names in the folder.
    pub others: Vec<String>,
    /// Whether the key was at hand, so that everything was authenticated.
    pub authenticated: bool,
    /// Why not.
    pub without_key: Option<String>,
    /// What is noteworthy or wrong.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Whether anything that counts is damaged.
    pub fn is_damaged(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Damage)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is lost.
    Note,
    /// A file is not what was written.
    Damage,
}

/// Something noteworthy or wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub text: String,
}

/// What `.vmx` says about the TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TpmReport {
    /// Whether there is one; if not, the VM is encrypted for itself.
    pub present: bool,
    /// How it came to be.
    pub provisioning: String,
    /// The file of its state.
    pub nvram: String,
    /// The generation that this file has at least.
    pub generation_floor: u64,
    /// The key provider.
    pub provider: String,
    /// The id of the key that wraps the data key.
    pub key_id: String,
    /// The check value of that key.
    pub key_check: String,
}

/// What an `.nvram` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NvramReport {
    /// Its name.
    pub file: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its format version.
    pub format_version: u16,
    /// The VM id in it.
    pub vm_id: String,
    /// The instance id in it.
    pub instance_id: String,
    /// The two slots.
    pub slots: Vec<SlotReport>,
    /// The generation of the current state.
    pub generation: Option<u64>,
    /// The sections of the current state.
    pub sections: Vec<SectionReport>,
}

/// What stands in one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotReport {
    /// Its number.
    pub slot: u8,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// The generation of the complete state in it; none if there is no complete one.
    pub generation: Option<u64>,
    /// The highest generation in any of its sectors.
    pub newest_generation: u64,
    /// How many sectors that state has.
    pub sectors: Option<u32>,
    /// Whether it holds the current state.
    pub current: bool,
    /// The sectors that are damaged.
    pub damaged_sectors: Vec<u32>,
}

/// One section of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionReport {
    /// Its kind.
    pub kind: u16,
    /// The kind in words.
    pub name: &'static str,
    /// Length of what is encrypted in it.
    pub length: usize,
}

impl SectionReport {
    fn of(entries: &[(SectionKind, usize)]) -> Vec<Self> {
        let report = |(kind, length): &(SectionKind, usize)| Self {
            kind: kind.0,
            name: match *kind {
                SectionKind::TPM_PERMANENT => "TPM, permanent state",
                SectionKind::TPM_VOLATILE => "TPM, volatile state",
                SectionKind::UEFI_VARIABLES => "UEFI variables",
                _ => "unknown",
            },
            length: *length,
        };
        entries.iter().map(report).collect()
    }
}

/// What a snapshot's file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotReport {
    /// Its name in the folder.
    pub file: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its format version.
    pub format_version: u16,
    /// Its id.
    pub id: String,
    /// The snapshot that the VM came from when it was taken.
    pub parent: Option<String>,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// When it was taken, seconds since 1970.
    pub created: u64,
    /// Whether the VM was on.
    pub powered_on: bool,
    /// The instance id of the VM then.
    pub instance_id: String,
    /// The generation of the state that it holds.
    pub generation: u64,
    /// Its sections.
    pub sections: Vec<SectionReport>,
}

/// Looks at a VM's files and changes nothing. With providers, everything is authenticated if they have the VM's key.
pub fn examine(
    place: &Place,
    providers: Option<&dyn KeyProviderLookup>,
) -> Result<Examination, StoreError> {
    let mut found = Examination {
        folder: place.path().to_path_buf(),
        name: place.name.clone(),
        vm_id: None,
        instance_id: None,
        tpm: None,
        nvram: None,
        snapshots: Vec::new(),
        others: Vec::new(),
        authenticated: false,
        without_key: None,
        findings: Vec::new(),
    };
    let mut known = Known::default();
    if let Some(name) = &place.name {
        read_settings(&mut found, &mut known, &*place.folder, name, providers);
    } else {
        found.without_key = Some("there is no .vmx, which names the key".to_owned());
    }
    let wanted = |file: &str| place.only.as_deref().is_none_or(|only| only == file);
    let named = known.binding.as_ref().map(|binding| binding.nvram.clone());
    let alone = place.only.clone().filter(|only| only.ends_with(".nvram"));
    if let Some(file) = alone.or(named).filter(|file| wanted(file)) {
        read_nvram(&mut found, &known, &*place.folder, &file);
    }
    let entries = place
        .folder
        .entries()
        .map_err(StoreError::io("list", place.path()))?;
    for entry in entries {
        let file = entry.name;
        if let Some(id) = snapshots::id_of_file(&file) {
            if wanted(&file) {
                read_snapshot(&mut found, &known, &*place.folder, &file, id);
            }
        } else if nvram::next_of(&file).is_some() {
            found.note(
                &file,
                "a revert or re-key was interrupted; opening the VM finishes or undoes it",
            );
        } else if nvram::is_temporary(&file) {
            found.note(
                &file,
                "left by an interrupted write; opening the VM removes it",
            );
        } else if found.nvram.as_ref().is_none_or(|nvram| nvram.file != file)
            && place.name.as_deref().map(vm_file::vmx_name).as_ref() != Some(&file)
            && file != vm_file::LOCK_NAME
        {
            found.others.push(file);
        }
    }
    found
        .snapshots
        .sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    Ok(found)
}

/// What the other files are measured by.
#[derive(Default)]
struct Known {
    identity: Option<Identity>,
    binding: Option<TpmBinding>,
    key: Option<DataKey>,
}

impl Examination {
    fn note(&mut self, file: &str, text: impl Into<String>) {
        self.add(file, Severity::Note, text.into());
    }

    fn damage(&mut self, file: &str, text: impl ToString) {
        self.add(file, Severity::Damage, text.to_string());
    }

    fn add(&mut self, file: &str, severity: Severity, text: String) {
        self.findings.push(Finding {
            file: file.to_owned(),
            severity,
            text,
        });
    }
}

fn read_settings(
    found: &mut Examination,
    known: &mut Known,
    folder: &dyn Folder,
    name: &str,
    providers: Option<&dyn KeyProviderLookup>,
) {
    let file = vm_file::vmx_name(name);
    let (settings, path) = match vm_file::read_settings(folder, name) {
        Ok(read) => read,
        Err(error) => return found.damage(&file, error),
    };
    match binding::read_identity(&settings) {
        Ok(identity) => {
            found.vm_id = Some(identity.vm_id.to_string());
            found.instance_id = Some(identity.instance_id.to_string());
            known.identity = Some(identity);
        }
        Err(key) => found.damage(&file, format!("the key {key} is missing or not a UUID")),
    }
    let binding = match TpmBinding::read(&settings, &path) {
        Ok(Some(binding)) => binding,
        Ok(None) => return found.note(&file, "the VM has no TPM and is not encrypted"),
        Err(error) => return found.damage(&file, error),
    };
    found.tpm = Some(TpmReport {
        present: binding.encryption.has_tpm(),
        provisioning: binding.provisioning.to_string(),
        nvram: binding.nvram.clone(),
        generation_floor: binding.generation_floor,
        provider: binding.locator.provider.clone(),
        key_id: binding.locator.key_id.to_string(),
        key_check: binding.locator.check.to_string(),
    });
    known.binding = Some(binding);
    let Some(providers) = providers else {
        found.without_key = Some("no key provider was asked".to_owned());
        return;
    };
    match vm_file::unwrap_binding(&settings, &path, providers) {
        Ok((_, key)) => {
            known.key = Some(key);
            found.authenticated = true;
        }
        Err(error @ StoreError::Damaged { .. }) => {
            found.without_key = Some("the .vmx was changed".to_owned());
            found.damage(&file, error);
        }
        Err(error) => found.without_key = Some(error.to_string()),
    }
}

fn read_nvram(found: &mut Examination, known: &Known, folder: &dyn Folder, file: &str) {
    let path = folder.path().join(file);
    let read = folder
        .open_read_only(file)
        .map_err(StoreError::io("open", &path))
        .and_then(|opened| nvram::read_bounded(&*opened, &path, nvram::MAX_FILE_LENGTH))
        .and_then(|bytes| Ok((nvram::read_header(&path, &bytes)?, bytes)));
    let (header, bytes) = match read {
        Ok(read) => read,
        Err(error) => return found.damage(file, error),
    };
    let slots = [Slot::Zero, Slot::One];
    let readings = slots.map(|slot| match &known.key {
        Some(key) => Sectors::new(key, &header.identity).read(slot, header.slot_of(&bytes, slot)),
        None => format::glance(header.slot_of(&bytes, slot)),
    });
    let [zero, one] = &readings;
    let best = format::best_complete(zero, one);
    let current = best.map(|verdict| verdict.slot);
    let mut report = NvramReport {
        file: file.to_owned(),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        format_version: format::VERSION,
        vm_id: header.identity.vm_id.to_string(),
        instance_id: header.identity.instance_id.to_string(),
        slots: slots
            .iter()
            .zip(&readings)
            .map(|(slot, reading)| slot_report(&header, *slot, reading, current))
            .collect(),
        generation: best.map(|verdict| verdict.write.generation),
        sections: Vec::new(),
    };
    if let Some(verdict) = best {
        let record = format::record_of(header.slot_of(&bytes, verdict.slot), verdict.write.sectors);
        if let Ok(parts) = RecordParts::read(&record) {
            report.sections = SectionReport::of(&parts.entries);
        }
    }
    found.nvram = Some(report);
    judge(found, known, (file, &path), &bytes, &readings, &header);
}

/// Says what is wrong with a file whose header makes sense.
fn judge(
    found: &mut Examination,
    known: &Known,
    (file, path): (&str, &Path),
    bytes: &[u8],
    readings: &[SlotReading; 2],
    header: &Header,
) {
    let [zero, one] = readings;
    let identity = known.identity.unwrap_or(header.identity);
    let mut mended = false;
    let verdict = match &known.key {
        Some(key) => nvram::read_state(path, bytes, key, &identity, false)
            .map(|reading| {
                mended = reading.mended;
                reading.verdict
            })
            .map_err(|error| error.to_string()),
        None if header.identity != identity => Err(format!(
            "it belongs to another VM: it is of {}, expected {identity}",
            header.identity
        )),
        None => format::judge(zero, one),
    };
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(reason) => return found.damage(file, reason),
    };
    let generation = verdict.write.generation;
    let floor = known
        .binding
        .as_ref()
        .map_or(0, |binding| binding.generation_floor);
    if generation < floor {
        found.damage(
            file,
            format!(
                "it was rolled back: it holds generation {generation}, but its .vmx says that generation {floor} was acknowledged"
            ),
        );
    }
    if let Some(interrupted) = verdict.interrupted {
        found.note(
            file,
            format!(
                "a save of generation {interrupted} was interrupted before it was acknowledged"
            ),
        );
    }
    if mended {
        found.note(
            file,
            "a power cut tore a sector in its middle; it is put together from the others, and nothing is lost",
        );
    }
    if verdict.standby_damage {
        found.note(
            file,
            format!(
                "slot {} has damaged sectors, which hold nothing that counts; the next save writes it anew",
                verdict.slot.other().number()
            ),
        );
    }
}

fn slot_report(
    header: &Header,
    slot: Slot,
    reading: &SlotReading,
    current: Option<Slot>,
) -> SlotReport {
    let number = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    SlotReport {
        slot: slot.number(),
        offset: number(header.slot_offset(slot)),
        length: number(header.slot_length()),
        generation: reading.complete.map(|write| write.generation),
        newest_generation: reading.newest,
        sectors: reading.complete.map(|write| write.sectors),
        current: current == Some(slot),
        damaged_sectors: reading.damaged.clone(),
    }
}

fn read_snapshot(
    found: &mut Examination,
    known: &Known,
    folder: &dyn Folder,
    file: &str,
    id: SnapshotId,
) {
    let path = folder.path().join(file);
    let bytes = match snapshots::read_file(folder, file) {
        Ok(bytes) => bytes,
        Err(error) => return found.damage(file, error),
    };
    let glance = match snapshots::glance(&path, &bytes) {
        Ok(glance) => glance,
        Err(error) => return found.damage(file, error),
    };
    let info = &glance.info;
    let vm = known.identity.map_or(info.identity.vm_id, |it| it.vm_id);
    found.snapshots.push(SnapshotReport {
        file: file.to_owned(),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        format_version: snapshots::VERSION,
        id: info.snapshot.id.to_string(),
        parent: info.snapshot.parent.map(|parent| parent.to_string()),
        name: info.snapshot.name.clone(),
        description: info.snapshot.description.clone(),
        created: info.snapshot.created,
        powered_on: info.powered_on,
        instance_id: info.identity.instance_id.to_string(),
        generation: info.generation,
        sections: SectionReport::of(&glance.sections),
    });
    if let Some(key) = &known.key {
        if let Err(error) = snapshots::open(&path, &bytes, key, vm, id) {
            found.damage(file, error);
        }
    } else if info.identity.vm_id != vm || info.snapshot.id != id {
        found.damage(
            file,
            format!(
                "it is snapshot {} of VM {}, not what its name and place say",
                info.snapshot.id, info.identity.vm_id
            ),
        );
    }
}
