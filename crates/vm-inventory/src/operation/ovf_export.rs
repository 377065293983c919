//! VMs as a package: descriptor, disks and manifest as one archive that is written as it goes by. Of a TPM it says that there is one.

use super::batch::Source;
use super::plan::as_busy;
use super::power::powered;
use super::{Busy, Operations};
use crate::model::{Datastore, PowerState, Vm};
use crate::ovf::{
    Described, DescribedFile, Hashing, Writer, descriptor_text, length_of, manifest_line,
};
use crate::requirements::{Failure, Rule};
use crate::{Error, Name, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;
use vm_store::backend::BackendFile;

/// What is read of a disk at once.
const CHUNK: usize = 256 * 1024;

/// What a package is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExportPackage {
    /// A vApp, by its name or id.
    Vapp(String),
    /// A VM.
    Vm(String),
    /// A template.
    Template(String),
}

/// A package that is about to be written. Its VMs stay as they are until it is dropped.
pub struct Export {
    stem: String,
    descriptor: Vec<u8>,
    files: Vec<(Source, DescribedFile)>,
    length: u64,
    operations: Arc<Operations>,
    _busy: Vec<Busy>,
}

impl Operations {
    /// Gets ready to write VMs as a package. They are kept from other operations meanwhile.
    ///
    /// # Errors
    /// When there is no such thing, or a VM runs and its disks change.
    pub fn export_package(self: &Arc<Self>, what: &ExportPackage) -> Result<Export> {
        let (id, name, vms) = match what {
            ExportPackage::Vapp(vapp) => {
                let vapp = self.find_vapp(vapp)?.record;
                let members = self.members(&vapp)?;
                let vms = members.into_iter().map(|vm| vm.record).collect();
                (Some(as_busy(vapp.id)), vapp.name, vms)
            }
            ExportPackage::Vm(vm) => {
                let vm = self.inventory.vm(vm)?.record;
                (None, vm.name.clone(), vec![vm])
            }
            ExportPackage::Template(template) => {
                let template = self.find_template(template)?.record;
                (Some(as_busy(template.id)), template.name, template.vms)
            }
        };
        let vms: Vec<Vm> = vms;
        if vms.is_empty() {
            return Err(Error::BadValue(format!(
                "{name} has no VM, so there is nothing to export"
            )));
        }
        let doing = "being exported";
        let mut busy = Vec::new();
        if let Some(id) = id {
            busy.push(self.occupy(id, &name, doing)?);
        }
        for vm in &vms {
            busy.push(self.occupy(vm.id, &vm.name, doing)?);
        }
        self.describe(name, vms, busy)
    }

    fn describe(self: &Arc<Self>, name: Name, vms: Vec<Vm>, busy: Vec<Busy>) -> Result<Export> {
        let mut failures = Vec::new();
        let mut names = BTreeSet::new();
        let mut systems = Vec::new();
        for vm in &vms {
            let datastore = self.datastore_of(vm)?;
            let settings = self.files.device_settings(vm, &datastore)?;
            let files = self.drives_of(vm, &datastore, &settings, &mut names)?;
            if vm.power != PowerState::Off && !files.is_empty() {
                let detail = format!(
                    "it is {} and its disks are not as a shut-down guest leaves them; power it off first with `vtpm vm stop {}`",
                    powered(vm.power),
                    vm.id
                );
                failures.push(Failure::of(Rule::PowerState, detail).for_vm(&vm.name));
            }
            systems.push((
                datastore,
                Described {
                    vm,
                    settings,
                    files,
                },
            ));
        }
        if !failures.is_empty() {
            return Err(Error::Rules {
                operation: "export_package",
                failures,
            });
        }
        let (datastores, described): (Vec<Datastore>, Vec<Described<'_>>) =
            systems.into_iter().unzip();
        let descriptor = descriptor_text(name.as_str(), &described)?;
        let stem = plain(name.as_str());
        let mut files = Vec::new();
        for (system, datastore) in described.into_iter().zip(datastores) {
            for file in system.files {
                let source = Source {
                    vm: system.vm.clone(),
                    datastore: datastore.clone(),
                    snapshot: None,
                };
                files.push((source, file));
            }
        }
        // A line of the manifest: the words around it, 64 digits, the name.
        let manifest = |name: &str| (name.len() + 75) as u64;
        let listed = manifest(&format!("{stem}.ovf"))
            + files
                .iter()
                .map(|(_, file)| manifest(&file.href))
                .sum::<u64>();
        let sizes = files.iter().map(|(_, file)| file.size);
        let length = length_of(sizes.chain([descriptor.len() as u64, listed]));
        Ok(Export {
            stem,
            descriptor,
            files,
            length,
            operations: Arc::clone(self),
            _busy: busy,
        })
    }

    /// The disks of a VM with the places that its settings give them; those that have none get one.
    fn drives_of(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        settings: &BTreeMap<String, String>,
        names: &mut BTreeSet<String>,
    ) -> Result<Vec<DescribedFile>> {
        let mut drives = Vec::new();
        let mut free = (0..).map(|unit| format!("sata7:{unit}"));
        for (number, disk) in self.files.disks(vm, datastore)?.into_iter().enumerate() {
            let place = settings
                .iter()
                .find(|(key, value)| key.ends_with(".fileName") && **value == disk.file)
                .and_then(|(key, _)| key.strip_suffix(".fileName"));
            let slot = match place {
                Some(place) => place.to_owned(),
                None => free.next().unwrap_or_default(),
            };
            let ending = disk
                .file
                .rsplit_once('.')
                .map_or("img", |(_, ending)| ending);
            let ending = plain(ending);
            let mut href = format!("{}-{}.{ending}", plain(vm.name.as_str()), number + 1);
            while !names.insert(href.clone()) {
                href = format!("x{href}");
            }
            let device = settings.get(&format!("{slot}.deviceType"));
            let cdrom = ending == "iso" || device.is_some_and(|it| it.starts_with("cdrom"));
            let open = self.files.open_disk(vm, datastore, &disk.file)?;
            drives.push(DescribedFile {
                capacity: capacity(&*open, disk.bytes),
                file: disk.file,
                href,
                size: disk.bytes,
                slot,
                cdrom,
            });
        }
        Ok(drives)
    }
}

impl Export {
    /// What the archive is called.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.ova", self.stem)
    }

    /// How many bytes will be written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// When a disk cannot be read, or the writer takes no more.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = Writer::new(out);
        let mut manifest = String::new();
        let name = format!("{}.ovf", self.stem);
        let mut hashing = Hashing::to_write();
        hashing.update(&self.descriptor);
        writer.begin(&name, self.descriptor.len() as u64)?;
        writer.write(&self.descriptor)?;
        writer.end()?;
        manifest.push_str(&manifest_line(&name, hashing));
        for (source, file) in &self.files {
            let hashing = self.write_disk(&mut writer, source, file)?;
            manifest.push_str(&manifest_line(&file.href, hashing));
        }
        // At the end, as clause 5.3 allows: every disk is read once.
        writer.begin(&format!("{}.mf", self.stem), manifest.len() as u64)?;
        writer.write(manifest.as_bytes())?;
        writer.end()?;
        writer.finish()
    }

    fn write_disk(
        &self,
        writer: &mut Writer<'_>,
        source: &Source,
        file: &DescribedFile,
    ) -> io::Result<Hashing> {
        let open = self
            .operations
            .files
            .open_disk(&source.vm, &source.datastore, &file.file)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut hashing = Hashing::to_write();
        writer.begin(&file.href, file.size)?;
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0u64;
        while offset < file.size {
            let left = usize::try_from(file.size - offset).unwrap_or(CHUNK);
            let Some(part) = buffer.get_mut(..left.min(CHUNK)) else {
                break;
            };
            open.read_exact_at(part, offset)?;
            hashing.update(part);
            writer.write(part)?;
            offset += part.len() as u64;
        }
        writer.end()?;
        Ok(hashing)
    }
}

/// A name of letters that every reader of packages takes as they are.
fn plain(name: &str) -> String {
    let text: String = name
        .chars()
        .take(60)
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') => c,
            _ => '-',
        })
        .collect();
    match text.trim_start_matches(['.', '-']) {
        "" => "vm".to_owned(),
        rest => rest.to_owned(),
    }
}

/// The capacity of the disk in a file: that of the header of a sparse VMDK, or else its length.
fn capacity(file: &dyn BackendFile, size: u64) -> u64 {
    const SECTOR: u64 = 512;
    let mut head = [0; 20];
    if size < 512 || file.read_exact_at(&mut head, 0).is_err() {
        return size;
    }
    let Some((b"KDMV", rest)) = head.split_first_chunk::<4>() else {
        return size;
    };
    // Version and flags come first; the number is stored with its lowest byte in front.
    let mut number: [u8; 8] = match rest.get(8..16).and_then(|bytes| bytes.try_into().ok()) {
        Some(bytes) => bytes,
        None => return size,
    };
    number.reverse();
    u64::from_be_bytes(number)
        .checked_mul(SECTOR)
        .unwrap_or(size)
}
