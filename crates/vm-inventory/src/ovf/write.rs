//! Descriptors as we write them: what a VM here has, in vSphere's words. Of a TPM only that there is one.

use crate::Result;
use crate::error::Error;
use crate::model::Vm;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::collections::BTreeMap;
use std::io;

/// A VM to be described.
pub(crate) struct Described<'a> {
    /// The VM.
    pub(crate) vm: &'a Vm,
    /// Its settings.
    pub(crate) settings: BTreeMap<String, String>,
    /// Its drives.
    pub(crate) files: Vec<DescribedFile>,
}

/// A file of a VM to be described.
pub(crate) struct DescribedFile {
    /// Its name in the VM's folder.
    pub(crate) file: String,
    /// Its name in the package.
    pub(crate) href: String,
    /// Its length.
    pub(crate) size: u64,
    /// The capacity of the disk in it, in bytes.
    pub(crate) capacity: u64,
    /// Where it is attached.
    pub(crate) slot: String,
    /// Whether it is the image of a compact disc.
    pub(crate) cdrom: bool,
}

const NAMESPACES: [(&str, &str); 5] = [
    ("xmlns", "http://schemas.dmtf.org/ovf/envelope/1"),
    ("xmlns:ovf", "http://schemas.dmtf.org/ovf/envelope/1"),
    (
        "xmlns:rasd",
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
    ),
    (
        "xmlns:vssd",
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
    ),
    ("xmlns:vmw", "http://www.vmware.com/schema/ovf"),
];

const VMDK: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

type Xml = Writer<Vec<u8>>;

/// A descriptor of these VMs; of several as a collection called `name`.
pub(crate) fn descriptor_text(name: &str, systems: &[Described<'_>]) -> Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    envelope(&mut xml, name, systems).map_err(|error| Error::Internal(error.to_string()))?;
    let mut bytes = xml.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn envelope(xml: &mut Xml, name: &str, systems: &[Described<'_>]) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let root = NAMESPACES
        .iter()
        .fold(xml.create_element("Envelope"), |root, (name, value)| {
            root.with_attribute((*name, *value))
        });
    root.write_inner_content(|xml| {
        references(xml, systems)?;
        disks(xml, systems)?;
        networks(xml, systems)?;
        match systems {
            [one] => system(xml, one, 0),
            many => {
                let collection = xml
                    .create_element("VirtualSystemCollection")
                    .with_attribute(("ovf:id", name));
                collection.write_inner_content(|xml| {
                    text(xml, "Info", "VMs that are handled as one")?;
                    text(xml, "Name", name)?;
                    let mut first = 0;
                    for one in many {
                        system(xml, one, first)?;
                        first += one.files.len();
                    }
                    Ok(())
                })?;
                Ok(())
            }
        }
    })?;
    Ok(())
}

fn text(xml: &mut Xml, name: &str, content: &str) -> io::Result<()> {
    // Control characters have no place in XML, not even escaped.
    let content: String = content.chars().filter(|c| !c.is_control()).collect();
    xml.create_element(name)
        .write_text_content(BytesText::new(&content))?;
    Ok(())
}

fn numbered<'a>(systems: &'a [Described<'_>]) -> impl Iterator<Item = (usize, &'a DescribedFile)> {
    let files = systems.iter().flat_map(|system| &system.files);
    files.enumerate()
}

fn references(xml: &mut Xml, systems: &[Described<'_>]) -> io::Result<()> {
    xml.create_element("References")
        .write_inner_content(|xml| {
            for (number, file) in numbered(systems) {
                xml.create_element("File")
                    .with_attribute(("ovf:href", file.href.as_str()))
                    .with_attribute(("ovf:id", format!("file{number}").as_str()))
                    .with_attribute(("ovf:size", file.size.to_string().as_str()))
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn disks(xml: &mut Xml, systems: &[Described<'_>]) -> io::Result<()> {
    if numbered(systems).all(|(_, file)| file.cdrom) {
        return Ok(());
    }
    xml.create_element("DiskSection")
        .write_inner_content(|xml| {
            text(xml, "Info", "Virtual disks")?;
            for (number, file) in numbered(systems).filter(|(_, file)| !file.cdrom) {
                xml.create_element("Disk")
                    .with_attribute(("ovf:capacity", file.capacity.to_string().as_str()))
                    .with_attribute(("ovf:capacityAllocationUnits", "byte"))
                    .with_attribute(("ovf:diskId", format!("vmdisk{number}").as_str()))
                    .with_attribute(("ovf:fileRef", format!("file{number}").as_str()))
                    .with_attribute(("ovf:format", VMDK))
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn networks(xml: &mut Xml, systems: &[Described<'_>]) -> io::Result<()> {
    let mut names: Vec<&str> = systems
        .iter()
        .flat_map(|system| &system.settings)
        .filter(|(key, _)| key.starts_with("ethernet") && key.ends_with(".networkName"))
        .map(|(_, value)| value.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    xml.create_element("NetworkSection")
        .write_inner_content(|xml| {
            text(xml, "Info", "Logical networks")?;
            for name in names {
                xml.create_element("Network")
                    .with_attribute(("ovf:name", name))
                    .write_inner_content(|xml| text(xml, "Description", name))?;
            }
            Ok(())
        })?;
    Ok(())
}

fn system(xml: &mut Xml, described: &Described<'_>, first_file: usize) -> io::Result<()> {
    let vm = described.vm;
    xml.create_element("VirtualSystem")
        .with_attribute(("ovf:id", vm.name.as_str()))
        .write_inner_content(|xml| {
            text(xml, "Info", "A virtual machine")?;
            text(xml, "Name", vm.name.as_str())?;
            let guest = vm.guest.as_str();
            xml.create_element("OperatingSystemSection")
                .with_attribute(("ovf:id", os_number(guest)))
                .with_attribute(("vmw:osType", guest))
                .write_inner_content(|xml| text(xml, "Info", "The guest"))?;
            xml.create_element("VirtualHardwareSection")
                .write_inner_content(|xml| hardware(xml, described, first_file))?;
            Ok(())
        })?;
    Ok(())
}

/// The number of the CIM schema for the guest's family; which guest it is, `vmw:osType` says.
fn os_number(guest: &str) -> &'static str {
    let guest = guest.to_ascii_lowercase();
    let wide = guest.contains("64");
    match () {
        () if guest.starts_with("ubuntu") => ["93", "94"],
        () if guest.starts_with("rhel") => ["79", "80"],
        () if guest.starts_with("debian") => ["95", "96"],
        () if guest.contains("linux") || guest.contains("photon") => ["36", "101"],
        () if guest.starts_with("windows") && guest.contains("server") => ["1", "112"],
        () if guest.starts_with("windows") => ["1", "1"],
        () => ["1", "102"],
    }
    .get(usize::from(wide))
    .copied()
    .unwrap_or("1")
}

/// One item: its fields by name, in the order of the schema, which is that of the alphabet.
struct ItemText<'a>(BTreeMap<&'a str, String>);

impl<'a> ItemText<'a> {
    fn new(instance: usize, resource: &str, name: String) -> Self {
        Self(BTreeMap::from([
            ("rasd:ElementName", name),
            ("rasd:InstanceID", instance.to_string()),
            ("rasd:ResourceType", resource.to_owned()),
        ]))
    }

    fn with(mut self, key: &'a str, value: impl Into<String>) -> Self {
        self.0.insert(key, value.into());
        self
    }

    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        xml.create_element("Item").write_inner_content(|xml| {
            for (key, value) in &self.0 {
                text(xml, key, value)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn hardware(xml: &mut Xml, described: &Described<'_>, first_file: usize) -> io::Result<()> {
    let vm = described.vm;
    let setting = |key: &str| described.settings.get(key).map(String::as_str);
    text(xml, "Info", "Virtual hardware")?;
    xml.create_element("System").write_inner_content(|xml| {
        text(xml, "vssd:ElementName", "Virtual Hardware Family")?;
        text(xml, "vssd:InstanceID", "0")?;
        text(xml, "vssd:VirtualSystemIdentifier", vm.name.as_str())?;
        let version = format!("vmx-{:02}", vm.hardware_version);
        text(xml, "vssd:VirtualSystemType", &version)
    })?;
    let mut instance = 0;
    let mut next = || {
        instance += 1;
        instance
    };
    let processors = setting("numvcpus").unwrap_or("1");
    ItemText::new(next(), "3", format!("{processors} virtual CPU(s)"))
        .with("rasd:AllocationUnits", "hertz * 10^6")
        .with("rasd:Description", "Number of Virtual CPUs")
        .with("rasd:VirtualQuantity", processors)
        .write(xml)?;
    let memory = setting("memSize").unwrap_or("1024");
    ItemText::new(next(), "4", format!("{memory}MB of memory"))
        .with("rasd:AllocationUnits", "byte * 2^20")
        .with("rasd:Description", "Memory Size")
        .with("rasd:VirtualQuantity", memory)
        .write(xml)?;
    let mut controllers = BTreeMap::new();
    for file in &described.files {
        let (place, _) = file.slot.split_once(':').unwrap_or((&file.slot, "0"));
        if controllers.contains_key(place) {
            continue;
        }
        let kind = place.trim_end_matches(|c: char| c.is_ascii_digit());
        let (resource, own) = match kind {
            "ide" => ("5", None),
            "scsi" => ("6", Some(scsi(setting(&format!("{place}.virtualDev"))))),
            "nvme" => ("20", Some("vmware.nvme.controller")),
            _ => ("20", Some("vmware.sata.ahci")),
        };
        let number = next();
        let bus = place.strip_prefix(kind).unwrap_or("0");
        let item = ItemText::new(number, resource, format!("{kind} controller {bus}"));
        let item = item.with("rasd:Address", bus);
        match own {
            Some(own) => item.with("rasd:ResourceSubType", own),
            None => item,
        }
        .write(xml)?;
        controllers.insert(place, number);
    }
    for (file, number) in described.files.iter().zip(first_file..) {
        let (place, unit) = file.slot.split_once(':').unwrap_or((&file.slot, "0"));
        let (resource, content) = if file.cdrom {
            ("15", format!("ovf:/file/file{number}"))
        } else {
            ("17", format!("ovf:/disk/vmdisk{number}"))
        };
        let parent = controllers.get(place).copied().unwrap_or_default();
        ItemText::new(next(), resource, format!("Drive {}", file.slot))
            .with("rasd:AddressOnParent", unit)
            .with("rasd:HostResource", content)
            .with("rasd:Parent", parent.to_string())
            .write(xml)?;
    }
    for number in 0..16 {
        if setting(&format!("ethernet{number}.present")).is_none() {
            continue;
        }
        let mut item = ItemText::new(next(), "10", format!("Network adapter {number}"))
            .with("rasd:AddressOnParent", number.to_string())
            .with("rasd:AutomaticAllocation", "true");
        if let Some(network) = setting(&format!("ethernet{number}.networkName")) {
            item = item.with("rasd:Connection", network);
        }
        let model = setting(&format!("ethernet{number}.virtualDev")).unwrap_or("vmxnet3");
        item.with("rasd:ResourceSubType", adapter(model))
            .write(xml)?;
    }
    if vm.tpm.is_some() {
        ItemText::new(next(), "1", "Virtual TPM".to_owned())
            .with("rasd:AutomaticAllocation", "false")
            .with("rasd:ResourceSubType", "vmware.vtpm")
            .write(xml)?;
    }
    config(xml, "firmware", vm.firmware.as_str())?;
    if let Some(on) = setting("uefi.secureBoot.enabled") {
        let on = on.eq_ignore_ascii_case("true").to_string();
        config(xml, "bootOptions.efiSecureBootEnabled", &on)?;
    }
    Ok(())
}

fn scsi(model: Option<&str>) -> &'static str {
    match model {
        Some("pvscsi") => "VirtualSCSI",
        Some("lsisas1068") => "lsilogicsas",
        Some("buslogic") => "buslogic",
        _ => "lsilogic",
    }
}

fn adapter(model: &str) -> &'static str {
    match model {
        "e1000" => "E1000",
        "e1000e" => "E1000e",
        "pcnet32" => "PCNet32",
        _ => "VmxNet3",
    }
}

fn config(xml: &mut Xml, key: &str, value: &str) -> io::Result<()> {
    xml.create_element("vmw:Config")
        .with_attribute(("ovf:required", "false"))
        .with_attribute(("vmw:key", key))
        .with_attribute(("vmw:value", value))
        .write_empty()?;
    Ok(())
}
