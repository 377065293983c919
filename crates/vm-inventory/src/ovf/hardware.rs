//! The hardware of a VM: items of a `VirtualHardwareSection`, and VMware's settings beside them.

use super::descriptor::System;
use super::xml::{Element, Space, shown};
use crate::model::Firmware;
use std::collections::BTreeMap;
use std::fmt;

/// Items of one VM.
const MOST_ITEMS: usize = 1000;

/// What is in a drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Image {
    /// A disk, by its identifier.
    Disk(String),
    /// A file, by its identifier.
    File(String),
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(disk) => write!(f, "the disk {}", shown(disk)),
            Self::File(file) => write!(f, "the file {}", shown(file)),
        }
    }
}

/// A drive and where it is attached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Drive {
    /// What is in it.
    pub(crate) image: Image,
    /// Its place, such as `scsi0:1`.
    pub(crate) slot: String,
    /// Whether it reads compact discs.
    pub(crate) cdrom: bool,
}

struct Controller {
    kind: &'static str,
    bus: u32,
}

struct Item<'a>(&'a Element);

impl<'a> Item<'a> {
    fn text(&self, name: &'a str) -> Option<&'a str> {
        self.0.text_of(Space::Rasd, name)
    }

    fn number(&self, name: &'a str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

/// Reads the hardware of `system`. Items of a configuration that is not used count for nothing.
pub(super) fn read(
    section: &Element,
    configuration: Option<&str>,
    system: &mut System,
) -> Result<(), String> {
    if let Some(text) = section
        .child(Space::Ovf, "System")
        .and_then(|it| it.text_of(Space::Vssd, "VirtualSystemType"))
    {
        let words = text.split([' ', ',', ';', '\n', '\t']);
        let versions = words.filter_map(|word| word.strip_prefix("vmx-")?.parse().ok());
        system.hardware_versions = versions.collect();
    }
    for setting in &section.children {
        if setting.space != Space::Vmw {
            continue;
        }
        let key = setting.attribute(Space::Vmw, "key").unwrap_or_default();
        let value = setting.attribute(Space::Vmw, "value").unwrap_or_default();
        match (setting.name.as_str(), key) {
            ("Config", "firmware") => system.firmware = firmware(value)?,
            ("ExtraConfig", "nvram") => {
                system.nvram = value
                    .strip_prefix("ovf:/file/")
                    .or_else(|| value.strip_prefix("/file/"))
                    .map(str::to_owned);
            }
            ("Config", "bootOptions.efiSecureBootEnabled") => {
                let on = if value == "true" { "TRUE" } else { "FALSE" };
                system
                    .settings
                    .push(("uefi.secureBoot.enabled".to_owned(), on.to_owned()));
            }
            _ => {}
        }
    }
    let items: Vec<Item<'_>> = section
        .children
        .iter()
        .filter(|it| {
            it.space == Space::Ovf
                && matches!(
                    it.name.as_str(),
                    "Item" | "StorageItem" | "EthernetPortItem"
                )
        })
        .filter(|it| {
            let wanted = it.attribute(Space::Ovf, "configuration").unwrap_or("");
            wanted.is_empty() || wanted.split(' ').any(|one| Some(one) == configuration)
        })
        .map(Item)
        .collect();
    if items.len() > MOST_ITEMS {
        return Err(format!("it has more than {MOST_ITEMS} items of hardware"));
    }
    devices(&items, system)
}

fn firmware(value: &str) -> Result<Firmware, String> {
    match value {
        "efi" => Ok(Firmware::Efi),
        "bios" => Ok(Firmware::Bios),
        other => Err(format!(
            "its firmware is `{}`, neither efi nor bios",
            shown(other)
        )),
    }
}

/// Types of resources are those of the CIM schema (`CIM_ResourceAllocationSettingData.ResourceType`).
fn devices(items: &[Item<'_>], system: &mut System) -> Result<(), String> {
    let mut controllers: BTreeMap<&str, Controller> = BTreeMap::new();
    let mut ethernets = 0u32;
    for item in items {
        let kind = item.text("ResourceSubType").unwrap_or_default();
        match item.text("ResourceType") {
            Some("3") => number(system, "numvcpus", item.number("VirtualQuantity")),
            Some("4") => {
                let bytes = item.number("VirtualQuantity").and_then(|amount| {
                    let unit = units(item.text("AllocationUnits").unwrap_or("byte * 2^20"))?;
                    amount.checked_mul(unit)
                });
                number(system, "memSize", bytes.map(|bytes| bytes >> 20));
            }
            Some("10") => ethernet(item, kind, &mut ethernets, system),
            _ if kind.eq_ignore_ascii_case("vmware.vtpm") => system.tpm = true,
            Some(resource) => {
                let family = match resource {
                    "5" => "ide",
                    "6" => "scsi",
                    "20" if kind.to_ascii_lowercase().contains("nvme") => "nvme",
                    "20" => "sata",
                    _ => continue,
                };
                let bus = count(&controllers, family);
                if let Some(instance) = item.text("InstanceID") {
                    controllers.insert(instance, Controller { kind: family, bus });
                }
                let place = format!("{family}{bus}");
                setting(system, &format!("{place}.present"), "TRUE");
                if let Some(model) = model(kind) {
                    setting(system, &format!("{place}.virtualDev"), model);
                }
            }
            None => {}
        }
    }
    let mut taken: BTreeMap<String, ()> = BTreeMap::new();
    for item in items {
        let cdrom = match item.text("ResourceType") {
            Some("15" | "16") => true,
            Some("17") => false,
            _ => continue,
        };
        let Some(image) = item.text("HostResource").map(image).transpose()?.flatten() else {
            continue;
        };
        let (kind, bus) = item
            .text("Parent")
            .and_then(|parent| controllers.get(parent))
            .map_or(("sata", 0), |it| (it.kind, it.bus));
        let mut unit = item.number("AddressOnParent").unwrap_or(0).min(64);
        let slot = loop {
            let slot = format!("{kind}{bus}:{unit}");
            if taken.insert(slot.clone(), ()).is_none() {
                break slot;
            }
            unit += 1;
        };
        system.drives.push(Drive { image, slot, cdrom });
    }
    Ok(())
}

fn count(controllers: &BTreeMap<&str, Controller>, kind: &str) -> u32 {
    let same = controllers.values().filter(|it| it.kind == kind).count();
    u32::try_from(same).unwrap_or(u32::MAX)
}

fn ethernet(item: &Item<'_>, kind: &str, count: &mut u32, system: &mut System) {
    let place = format!("ethernet{count}");
    *count += 1;
    setting(system, &format!("{place}.present"), "TRUE");
    let model = kind.to_ascii_lowercase();
    if ["vmxnet3", "e1000", "e1000e", "vmxnet", "pcnet32"].contains(&model.as_str()) {
        setting(system, &format!("{place}.virtualDev"), &model);
    }
    if let Some(network) = item.text("Connection") {
        setting(system, &format!("{place}.networkName"), &shown(network));
    }
}

fn setting(system: &mut System, key: &str, value: &str) {
    system.settings.push((key.to_owned(), value.to_owned()));
}

fn number(system: &mut System, key: &str, value: Option<u64>) {
    if let Some(value) = value.filter(|value| *value > 0) {
        setting(system, key, &value.to_string());
    }
}

/// The model of a controller, in the words of `.vmx` files.
fn model(kind: &str) -> Option<&'static str> {
    Some(match kind.to_ascii_lowercase().as_str() {
        "lsilogic" => "lsilogic",
        "lsilogicsas" => "lsisas1068",
        "virtualscsi" => "pvscsi",
        "buslogic" => "buslogic",
        _ => return None,
    })
}

/// `ovf:/disk/ID` or `ovf:/file/ID`; anything else is a device of the host, which nothing here has.
fn image(resource: &str) -> Result<Option<Image>, String> {
    let path = resource.strip_prefix("ovf:").unwrap_or(resource);
    Ok(if let Some(disk) = path.strip_prefix("/disk/") {
        Some(Image::Disk(disk.to_owned()))
    } else if let Some(file) = path.strip_prefix("/file/") {
        Some(Image::File(file.to_owned()))
    } else if resource.contains("://") {
        return Err(format!(
            "a drive is to be fetched from {}; only files inside the package are taken",
            shown(resource)
        ));
    } else {
        None
    })
}

/// A programmatic unit (DSP0004, annex C), in bytes.
fn units(text: &str) -> Option<u64> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    match compact.to_ascii_lowercase().as_str() {
        "byte" | "bytes" => Some(1),
        "kilobytes" => Some(1 << 10),
        "megabytes" => Some(1 << 20),
        "gigabytes" => Some(1 << 30),
        other => {
            let (base, exponent) = other.strip_prefix("byte*")?.split_once('^')?;
            base.parse::<u64>()
                .ok()?
                .checked_pow(exponent.parse().ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_their_base() {
        assert_eq!(units("byte * 2^20"), Some(1 << 20));
        assert_eq!(units("byte*10^3"), Some(1000));
        assert_eq!(units("MegaBytes"), Some(1 << 20));
        for bad in ["hertz * 10^6", "byte * 2^99", "byte * x^2", ""] {
            assert_eq!(units(bad), None, "{bad}");
        }
    }
}
