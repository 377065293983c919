//! What a descriptor says: files, disks and VMs (DSP0243, clauses 7 to 9).

use super::hardware::{self, Drive, Image};
use super::xml::{Element, Space, read, shown};
use crate::model::Firmware;
use std::collections::{BTreeMap, BTreeSet};

/// VMs in one package.
const MOST_SYSTEMS: usize = 10_000;
/// Files in one package.
const MOST_FILES: usize = 20_000;

/// A package, as its descriptor describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// Its name, if it has one of its own.
    pub(crate) name: Option<String>,
    /// The files that come with it, by identifier.
    pub(crate) files: BTreeMap<String, PackageFile>,
    /// The disks, by identifier.
    pub(crate) disks: BTreeMap<String, PackageDisk>,
    /// The VMs.
    pub(crate) systems: Vec<System>,
}

/// A file of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PackageFile {
    /// Its name in the package.
    pub(crate) href: String,
    /// The name under which its content is kept.
    pub(crate) kept: String,
    /// Its length, if the descriptor says so.
    pub(crate) size: Option<u64>,
    /// Whether it is compressed (gzip).
    pub(crate) compressed: bool,
    /// How long each of its chunks is, but the last; `None` if it comes in one.
    pub(crate) chunk: Option<u64>,
}

/// A file of the archive: one of the package, or a chunk of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Portion {
    /// The identifier of the package's file.
    pub(super) file: String,
    /// Which chunk it is.
    pub(super) number: u64,
    /// Whether it is the last one.
    pub(super) last: bool,
    /// Its length, if the descriptor says so.
    pub(super) size: Option<u64>,
}

/// A virtual disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PackageDisk {
    /// The file with its content; without one the disk is blank.
    pub(crate) file: Option<String>,
    /// How many bytes it has for a guest, if the descriptor says so.
    pub(crate) capacity: Option<u64>,
}

/// One VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct System {
    /// Its name.
    pub(crate) name: String,
    /// Its guest, by vSphere's identifier.
    pub(crate) guest: String,
    /// Its firmware.
    pub(crate) firmware: Firmware,
    /// Hardware versions that it may have.
    pub(crate) hardware_versions: Vec<u16>,
    /// Whether it has a TPM.
    pub(crate) tpm: bool,
    /// The file with its nvram, which is never read.
    pub(crate) nvram: Option<String>,
    /// Its drives.
    pub(crate) drives: Vec<Drive>,
    /// Settings of its other devices.
    pub(crate) settings: Vec<(String, String)>,
}

impl Descriptor {
    /// Reads a descriptor; the error says what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let root = read(bytes)?;
        if !root.is(Space::Ovf, "Envelope") {
            return Err(format!(
                "it is no OVF descriptor: its root is {}, not an Envelope of OVF 1 or 2",
                shown(&root.name)
            ));
        }
        let files = files(&root)?;
        let disks = disks(&root, &files)?;
        let configuration = default_configuration(&root);
        let mut this = Self {
            name: None,
            files,
            disks,
            systems: Vec::new(),
        };
        for element in &root.children {
            this.content(element, configuration)?;
        }
        if this.systems.is_empty() {
            return Err("it describes no VM".to_owned());
        }
        let names: BTreeSet<&str> = this.systems.iter().map(|it| it.name.as_str()).collect();
        if names.len() != this.systems.len() {
            return Err("two of its VMs have the same name".to_owned());
        }
        Ok(this)
    }

    /// A VM, or a collection of them.
    fn content(&mut self, element: &Element, configuration: Option<&str>) -> Result<(), String> {
        if element.is(Space::Ovf, "VirtualSystem") {
            if self.systems.len() >= MOST_SYSTEMS {
                return Err(format!("it describes more than {MOST_SYSTEMS} VMs"));
            }
            let system = self.system(element, configuration)?;
            self.systems.push(system);
        } else if element.is(Space::Ovf, "VirtualSystemCollection") {
            if self.name.is_none() {
                self.name = named(element).map(str::to_owned);
            }
            for child in &element.children {
                self.content(child, configuration)?;
            }
        }
        Ok(())
    }

    fn system(&self, element: &Element, configuration: Option<&str>) -> Result<System, String> {
        let name = named(element).ok_or("a VM has neither a Name nor an ovf:id")?;
        let mut system = System {
            name: name.to_owned(),
            guest: guest(element),
            // What vSphere takes where a descriptor says nothing.
            firmware: Firmware::Bios,
            hardware_versions: Vec::new(),
            tpm: false,
            nvram: None,
            drives: Vec::new(),
            settings: Vec::new(),
        };
        let hardware = element.child(Space::Ovf, "VirtualHardwareSection");
        if let Some(hardware) = hardware {
            hardware::read(hardware, configuration, &mut system)
                .map_err(|reason| format!("the VM {}: {reason}", shown(name)))?;
        }
        for drive in &system.drives {
            let there = match &drive.image {
                Image::Disk(disk) => self.disks.contains_key(disk),
                Image::File(file) => self.files.contains_key(file),
            };
            if !there {
                return Err(format!(
                    "the VM {} has a drive of {}, which the descriptor does not list",
                    shown(name),
                    drive.image
                ));
            }
        }
        Ok(system)
    }

    /// The file with the content of a drive; `None` for a blank disk.
    pub(crate) fn file_of(&self, drive: &Drive) -> Option<&PackageFile> {
        let file = match &drive.image {
            Image::Disk(disk) => self.disks.get(disk)?.file.as_ref()?,
            Image::File(file) => file,
        };
        self.files.get(file)
    }

    /// Whether a file is the nvram of a VM.
    pub(super) fn is_nvram(&self, href: &str) -> bool {
        href.to_ascii_lowercase().ends_with(".nvram")
            || self.systems.iter().any(|system| {
                let file = system.nvram.as_ref().and_then(|file| self.files.get(file));
                file.is_some_and(|file| file.href == href)
            })
    }

    /// The files of the archive, by name: those of the package, whole or in chunks.
    pub(super) fn portions(&self) -> Result<BTreeMap<String, Portion>, String> {
        let mut all = BTreeMap::new();
        for (id, file) in &self.files {
            let (count, chunk) = match (file.chunk, file.size) {
                (Some(chunk), Some(size)) => (size.div_ceil(chunk).max(1), Some(chunk)),
                _ => (1, None),
            };
            if count.saturating_add(all.len() as u64) > MOST_FILES as u64 {
                return Err(format!("it lists more than {MOST_FILES} files and chunks"));
            }
            for number in 0..count {
                let last = number + 1 == count;
                let size = match (chunk, file.size) {
                    (Some(chunk), Some(_)) if !last => Some(chunk),
                    (Some(chunk), Some(size)) => {
                        Some(size.saturating_sub(number.saturating_mul(chunk)))
                    }
                    (_, size) => size,
                };
                let name = match chunk {
                    Some(_) => format!("{}.{number:09}", file.href),
                    None => file.href.clone(),
                };
                let portion = Portion {
                    file: id.clone(),
                    number,
                    last,
                    size,
                };
                if all.insert(name.clone(), portion).is_some() {
                    return Err(format!("the file {name} is listed twice"));
                }
            }
        }
        Ok(all)
    }

    /// The capacity of the disk that a file is the content of, if the descriptor says so: a file has little more.
    pub(super) fn capacity_of(&self, file: &str) -> Option<u64> {
        let mut disks = self.disks.values();
        disks
            .find(|disk| disk.file.as_deref() == Some(file))
            .and_then(|disk| disk.capacity)
    }

    /// How many drives have each file, by the name under which its content is kept.
    pub(crate) fn uses(&self) -> BTreeMap<&str, usize> {
        let mut uses = BTreeMap::new();
        for drive in self.systems.iter().flat_map(|system| &system.drives) {
            if let Some(file) = self.file_of(drive) {
                *uses.entry(file.kept.as_str()).or_default() += 1;
            }
        }
        uses
    }
}

/// The name of a VM or of a collection: its `Name`, or else its identifier.
fn named(element: &Element) -> Option<&str> {
    element
        .text_of(Space::Ovf, "Name")
        .or_else(|| element.attribute(Space::Ovf, "id"))
        .filter(|name| !name.is_empty())
}

fn files(root: &Element) -> Result<BTreeMap<String, PackageFile>, String> {
    let mut files = BTreeMap::new();
    let mut names = BTreeSet::new();
    let references = root.all(Space::Ovf, "References");
    for file in references.flat_map(|it| it.all(Space::Ovf, "File")) {
        if files.len() >= MOST_FILES {
            return Err(format!("it lists more than {MOST_FILES} files"));
        }
        let id = file
            .attribute(Space::Ovf, "id")
            .ok_or("a file has no ovf:id")?;
        let href = file
            .attribute(Space::Ovf, "href")
            .ok_or_else(|| format!("the file {} has no ovf:href", shown(id)))?;
        let href = percent_decoded(href)
            .ok_or_else(|| format!("the name {} of a file is no text", shown(href)))?;
        if href.contains("://") {
            return Err(format!(
                "the file {} is to be fetched from elsewhere; only files inside the package are taken",
                shown(&href)
            ));
        }
        file_name(&href).map_err(|rule| format!("the file {}: {rule}", shown(&href)))?;
        let compressed = match file.attribute(Space::Ovf, "compression") {
            None | Some("" | "identity") => false,
            Some("gzip") => true,
            Some(other) => {
                return Err(format!(
                    "the file {href} is compressed with {}; gzip and identity are read",
                    shown(other)
                ));
            }
        };
        let size =
            match file.attribute(Space::Ovf, "size") {
                None => None,
                Some(text) => Some(text.trim().parse().map_err(|_| {
                    format!("the size of {href} is `{}`, not a number", shown(text))
                })?),
            };
        let chunk = match file.attribute(Space::Ovf, "chunkSize") {
            None => None,
            Some(text) => {
                let chunk = text.trim().parse().ok().filter(|chunk| *chunk > 0);
                let chunk: u64 = chunk.ok_or_else(|| {
                    format!(
                        "the chunks of {href} have a size of `{}`, which is none",
                        shown(text)
                    )
                })?;
                if size.is_none() {
                    return Err(format!(
                        "the file {href} is cut into chunks, and nothing says how long it is as a whole"
                    ));
                }
                Some(chunk)
            }
        };
        if !names.insert(href.clone()) {
            return Err(format!("the file {href} is listed twice"));
        }
        let file = PackageFile {
            kept: href.clone(),
            href,
            size,
            compressed,
            chunk,
        };
        if files.insert(id.to_owned(), file).is_some() {
            return Err(format!("two files have the identifier {}", shown(id)));
        }
    }
    // What was compressed loses the ending that says so, unless another file has that name.
    for file in files.values_mut().filter(|file| file.compressed) {
        let end = file.href.len().saturating_sub(3);
        if let Some((stem, ending)) = file.href.split_at_checked(end)
            && ending.eq_ignore_ascii_case(".gz")
            && file_name(stem).is_ok()
            && names.insert(stem.to_owned())
        {
            file.kept = stem.to_owned();
        }
    }
    Ok(files)
}

fn disks(
    root: &Element,
    files: &BTreeMap<String, PackageFile>,
) -> Result<BTreeMap<String, PackageDisk>, String> {
    let mut disks = BTreeMap::new();
    let sections = root.all(Space::Ovf, "DiskSection");
    for disk in sections.flat_map(|section| section.all(Space::Ovf, "Disk")) {
        let id = disk
            .attribute(Space::Ovf, "diskId")
            .ok_or("a disk has no ovf:diskId")?;
        let file = disk.attribute(Space::Ovf, "fileRef").map(str::to_owned);
        if let Some(file) = &file
            && !files.contains_key(file)
        {
            return Err(format!(
                "the disk {} is in the file {}, which the descriptor does not list",
                shown(id),
                shown(file)
            ));
        }
        let disk_of = PackageDisk {
            file,
            capacity: capacity(disk),
        };
        if disks.insert(id.to_owned(), disk_of).is_some() {
            return Err(format!("two disks have the identifier {}", shown(id)));
        }
    }
    Ok(disks)
}

/// The capacity of a disk in bytes, where it is said in a way that programs write.
fn capacity(disk: &Element) -> Option<u64> {
    let number: u64 = disk
        .attribute(Space::Ovf, "capacity")?
        .trim()
        .parse()
        .ok()?;
    let units = disk
        .attribute(Space::Ovf, "capacityAllocationUnits")
        .unwrap_or("byte");
    let mut words = units.split(['*', ' ']).filter(|word| !word.is_empty());
    let unit = match (words.next()?, words.next()) {
        (word, None) if word.eq_ignore_ascii_case("byte") => 1,
        ("MegaBytes", None) => 1 << 20,
        ("GigaBytes", None) => 1 << 30,
        (word, Some(power)) if word.eq_ignore_ascii_case("byte") => {
            let exponent: u32 = power.strip_prefix("2^")?.parse().ok()?;
            1u64.checked_shl(exponent)?
        }
        _ => return None,
    };
    number.checked_mul(unit)
}

/// The configuration that is used where nobody chooses one: the one marked so, or the first.
fn default_configuration(root: &Element) -> Option<&str> {
    let section = root.child(Space::Ovf, "DeploymentOptionSection")?;
    let marked = section
        .all(Space::Ovf, "Configuration")
        .find(|it| it.attribute(Space::Ovf, "default") == Some("true"));
    let chosen = marked.or_else(|| section.child(Space::Ovf, "Configuration"))?;
    chosen.attribute(Space::Ovf, "id")
}

/// Checks the name of a file in a package: it becomes that of a file in a folder.
pub(super) fn file_name(name: &str) -> Result<(), &'static str> {
    if name.starts_with('-') {
        return Err("a name does not begin with a dash, which command lines take for an option");
    }
    vm_store::check_file_name(name)
}

/// A name out of a URI reference.
fn percent_decoded(href: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after
            .get(..2)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            // A percent sign that stands for itself, as some programs write it.
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// vSphere's identifier of the guest, or what comes closest to the number of the CIM schema (`CIM_OperatingSystem.OSType`).
fn guest(element: &Element) -> String {
    let section = element.child(Space::Ovf, "OperatingSystemSection");
    let Some(section) = section else {
        return "otherGuest64".to_owned();
    };
    if let Some(guest) = section.attribute(Space::Vmw, "osType") {
        return guest.to_owned();
    }
    match section.attribute(Space::Ovf, "id").map(str::trim) {
        Some("36") => "otherLinuxGuest",
        Some("79") => "rhel7Guest",
        Some("80") => "rhel7_64Guest",
        Some("82") => "slesGuest",
        Some("85") => "sles_64Guest",
        Some("93") => "ubuntuGuest",
        Some("94") => "ubuntu64Guest",
        Some("95") => "debian10Guest",
        Some("96") => "debian10_64Guest",
        Some("97" | "99") => "other3xLinuxGuest",
        Some("98" | "100") => "other3xLinux64Guest",
        Some("101") => "otherLinux64Guest",
        Some("103") => "windows7Server64Guest",
        Some("105") => "windows7Guest",
        Some("106" | "107") => "centos64Guest",
        Some("113" | "114") => "windows8Server64Guest",
        Some("115") => "windows9Server64Guest",
        _ => "otherGuest64",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(files: &str, disks: &str) -> Result<Descriptor, String> {
        let text = format!(
            r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
            <References>{files}</References><DiskSection>{disks}</DiskSection>
            <VirtualSystem ovf:id="vm"/></Envelope>"#
        );
        Descriptor::read(text.as_bytes())
    }

    #[test]
    fn chunks_are_the_files_of_the_archive_and_have_the_lengths_that_follow() {
        let file = |more: &str| format!(r#"<File ovf:id="f" ovf:href="d.vmdk.gz" {more}/>"#);
        let cut = r#"ovf:compression="gzip" ovf:chunkSize="10" ovf:size="25""#;
        let found = described(&file(cut), "").unwrap();
        assert_eq!(found.files["f"].kept, "d.vmdk");
        let portions = found.portions().unwrap();
        let lengths: Vec<_> = portions
            .iter()
            .map(|(name, it)| (name.as_str(), it.size.unwrap(), it.last))
            .collect();
        assert_eq!(
            lengths,
            [
                ("d.vmdk.gz.000000000", 10, false),
                ("d.vmdk.gz.000000001", 10, false),
                ("d.vmdk.gz.000000002", 5, true)
            ]
        );
        for bad in [
            r#"ovf:chunkSize="10""#,
            r#"ovf:chunkSize="0" ovf:size="25""#,
            r#"ovf:chunkSize="ten" ovf:size="25""#,
            r#"ovf:compression="bzip2""#,
        ] {
            described(&file(bad), "").unwrap_err();
        }
        let many = described(
            &file(r#"ovf:chunkSize="1" ovf:size="18446744073709551615""#),
            "",
        );
        assert!(many.unwrap().portions().unwrap_err().contains("chunks"));
        let both = file(cut) + r#"<File ovf:id="g" ovf:href="d.vmdk"/>"#;
        let both = described(&both, "").unwrap();
        assert_eq!(both.files["f"].kept, "d.vmdk.gz", "another has that name");
    }

    #[test]
    fn capacities_are_read_in_the_units_that_programs_write() {
        let file = r#"<File ovf:id="f" ovf:href="d.vmdk"/>"#;
        for (said, bytes) in [
            (
                r#"ovf:capacity="40" ovf:capacityAllocationUnits="byte * 2^30""#,
                Some(40 << 30),
            ),
            (r#"ovf:capacity="5368709120""#, Some(5 << 30)),
            (
                r#"ovf:capacity="8" ovf:capacityAllocationUnits="GigaBytes""#,
                Some(8 << 30),
            ),
            (r#"ovf:capacity="${size}""#, None),
            (
                r#"ovf:capacity="9" ovf:capacityAllocationUnits="byte * 2^99""#,
                None,
            ),
            (
                r#"ovf:capacity="9" ovf:capacityAllocationUnits="byte * 2^63""#,
                None,
            ),
        ] {
            let disk = format!(r#"<Disk ovf:diskId="d" ovf:fileRef="f" {said}/>"#);
            assert_eq!(
                described(file, &disk).unwrap().capacity_of("f"),
                bytes,
                "{said}"
            );
        }
    }

    #[test]
    fn names_of_files_are_decoded_and_stay_in_the_package() {
        assert_eq!(percent_decoded("a%20b.vmdk").as_deref(), Some("a b.vmdk"));
        assert_eq!(percent_decoded("100%.vmdk").as_deref(), Some("100%.vmdk"));
        assert_eq!(percent_decoded("%ff"), None);
        for bad in [
            "../x",
            "a/b",
            "/etc/passwd",
            "..",
            ".hidden",
            "a\\b",
            "a\nb",
            "-rf",
            "",
        ] {
            assert!(file_name(bad).is_err(), "{bad}");
        }
        assert_eq!(file_name("web01 disk1.vmdk"), Ok(()));
    }
}
