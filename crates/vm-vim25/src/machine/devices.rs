//! Devices as they are told: those that every VM has, those that were added, with what follows from where they are.

use crate::inventory;
use crate::schema::schema;
use crate::value::{Object, Value};
use sha2::{Digest as _, Sha256};
use vm_inventory::VmView;

/// The key of the controller that cards are at.
pub(super) const PCI: i32 = 100;

/// Kinds of controllers: where their keys begin, what they are called, what is said about them.
pub(super) const CONTROLLERS: &[(&str, i32, &str)] = &[
    ("VirtualIDEController", 200, "IDE"),
    ("VirtualPS2Controller", 300, "PS2 controller"),
    ("VirtualPCIController", 100, "PCI controller"),
    ("VirtualSIOController", 400, "SIO controller"),
    ("VirtualSCSIController", 1000, "SCSI controller"),
    ("VirtualUSBController", 7000, "USB controller"),
    ("VirtualUSBXHCIController", 14_000, "USB xHCI controller"),
    ("VirtualSATAController", 15_000, "SATA controller"),
    ("VirtualNVMEController", 31_000, "NVME controller"),
];

pub(super) fn is(device: &Object, kind: &str) -> bool {
    schema().is(device.kind, kind)
}

pub(super) fn key(device: &Object) -> i32 {
    number(device, "key").unwrap_or_default()
}

pub(super) fn controller_of(device: &Object) -> Option<i32> {
    number(device, "controllerKey")
}

fn number(device: &Object, name: &str) -> Option<i32> {
    device.number(name).and_then(|it| i32::try_from(it).ok())
}

/// The file of a disk of the VM's own, as it is kept: the star stands for the VM's folder and name.
pub(super) fn own_file(device: &Object) -> Option<&str> {
    match device.get("backing") {
        Some(Value::Object(backing)) => backing
            .text("fileName")
            .filter(|name| name.starts_with('*')),
        _ => None,
    }
}

/// Controllers of one family have buses with different numbers.
pub(super) fn family(device: &Object) -> &'static str {
    let known = CONTROLLERS.iter().find(|(kind, ..)| is(device, kind));
    known.map_or(device.kind, |(kind, ..)| kind)
}

/// The devices that every VM has.
pub(super) fn usual() -> Vec<Object> {
    let controller =
        |kind, key: i32, bus: i32| Object::new(kind).with("key", key).with("busNumber", bus);
    let device = |kind, key: i32, at: i32, unit: i32| {
        Object::new(kind)
            .with("key", key)
            .with("controllerKey", at)
            .with("unitNumber", unit)
    };
    vec![
        controller("VirtualIDEController", 200, 0),
        controller("VirtualIDEController", 201, 1),
        controller("VirtualPS2Controller", 300, 0),
        controller("VirtualPCIController", PCI, 0),
        controller("VirtualSIOController", 400, 0),
        device("VirtualKeyboard", 600, 300, 0),
        device("VirtualPointingDevice", 700, 300, 1).with(
            "backing",
            Object::new("VirtualPointingDeviceDeviceBackingInfo")
                .with("deviceName", "")
                .with("useAutoDetect", false)
                .with("hostPointingDevice", "autodetect"),
        ),
        device("VirtualMachineVideoCard", 500, PCI, 0)
            .with("videoRamSizeInKB", 4096i64)
            .with("numDisplays", 1)
            .with("useAutoDetect", false)
            .with("enable3DSupport", false)
            .with("use3dRenderer", "automatic")
            .with("graphicsMemorySizeInKB", 262_144i64),
        device("VirtualMachineVMCIDevice", 12_000, PCI, 17)
            .with("id", -1i64)
            .with("allowUnrestrictedCommunication", false)
            .with("filterEnable", true),
    ]
}

/// The devices of a VM.
pub(crate) struct Told {
    pub(crate) devices: Vec<Object>,
}

impl Told {
    /// Those that every VM has, with those that are kept of this one.
    pub(crate) fn of(vm: &VmView, kept: Vec<Object>) -> Self {
        let mut devices = usual();
        devices.retain(|it| !kept.iter().any(|own| key(own) == key(it)));
        devices.extend(kept);
        devices.sort_by_key(|it| (!is(it, "VirtualController"), key(it)));
        let places: Vec<(i32, i32)> = devices
            .iter()
            .filter_map(|it| Some((controller_of(it)?, key(it))))
            .collect();
        let mut counts = Counts::default();
        for device in &mut devices {
            if is(device, "VirtualController") {
                let here = places.iter().filter(|(at, _)| *at == key(device));
                let here: Vec<Value> = here.map(|(_, key)| (*key).into()).collect();
                if !here.is_empty() {
                    device.set("device", Value::List("int", here));
                }
            }
            complete(device, vm, &mut counts);
        }
        Self { devices }
    }

    /// How many devices of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> i32 {
        let those = self.devices.iter().filter(|it| is(it, kind));
        i32::try_from(those.count()).unwrap_or(i32::MAX)
    }

    /// How many bytes its disks could have.
    pub(crate) fn capacity(&self) -> i64 {
        let disks = self.devices.iter().filter(|it| it.kind == "VirtualDisk");
        disks
            .filter_map(|it| it.number("capacityInBytes"))
            .fold(0, i64::saturating_add)
    }

    /// Whether a card of it is at the network.
    pub(crate) fn is_connected(&self) -> bool {
        self.devices.iter().any(|it| {
            is(it, "VirtualEthernetCard")
                && matches!(it.get("backing"), Some(Value::Object(backing)) if backing.get("network").is_some())
        })
    }
}

#[derive(Default)]
struct Counts {
    disks: u32,
    cards: u32,
    drives: u32,
    floppies: u32,
    serial: u32,
}

/// Sets what follows from where a device is, and what it is called.
fn complete(device: &mut Object, vm: &VmView, counts: &mut Counts) {
    let next = |count: &mut u32| {
        *count += 1;
        *count
    };
    let (label, summary) = match device.kind {
        "VirtualDisk" => {
            complete_disk(device, vm);
            let size = device.number("capacityInKB").unwrap_or_default();
            (
                format!("Hard disk {}", next(&mut counts.disks)),
                format!("{} KB", grouped(size)),
            )
        }
        "VirtualCdrom" => {
            let label = format!("CD/DVD drive {}", next(&mut counts.drives));
            (label.clone(), label)
        }
        "VirtualFloppy" => {
            let label = format!("Floppy drive {}", next(&mut counts.floppies));
            (label.clone(), label)
        }
        "VirtualSerialPort" => {
            let label = format!("Serial port {}", next(&mut counts.serial));
            (label.clone(), label)
        }
        "VirtualKeyboard" => ("Keyboard".to_owned(), "Keyboard".to_owned()),
        "VirtualPointingDevice" => (
            "Pointing device".to_owned(),
            "Pointing device; Device".to_owned(),
        ),
        "VirtualMachineVideoCard" => ("Video card".to_owned(), "Video card".to_owned()),
        "VirtualMachineVMCIDevice" => (
            "VMCI device".to_owned(),
            "Device on the virtual machine PCI bus that provides support for the virtual machine communication interface".to_owned(),
        ),
        _ if is(device, "VirtualEthernetCard") => {
            let summary = complete_card(device, vm);
            (
                format!("Network adapter {}", next(&mut counts.cards)),
                summary,
            )
        }
        _ if is(device, "VirtualController") => controller_label(device),
        kind => {
            let name = kind.strip_prefix("Virtual").unwrap_or(kind).to_owned();
            (name.clone(), name)
        }
    };
    device.set(
        "deviceInfo",
        Object::new("Description")
            .with("label", label)
            .with("summary", summary),
    );
}

fn controller_label(device: &mut Object) -> (String, String) {
    let bus = number(device, "busNumber").unwrap_or_default();
    let family = CONTROLLERS.iter().find(|(kind, ..)| is(device, kind));
    let name = family.map_or(device.kind, |(.., name)| name);
    let label = if matches!(name, "USB controller" | "USB xHCI controller") {
        name.to_owned()
    } else {
        format!("{name} {bus}")
    };
    let summary = match device.kind {
        "ParaVirtualSCSIController" => "VMware paravirtual SCSI",
        "VirtualLsiLogicController" => "LSI Logic",
        "VirtualLsiLogicSASController" => "LSI Logic SAS",
        "VirtualBusLogicController" => "BusLogic",
        "VirtualAHCIController" => "AHCI",
        _ => label.as_str(),
    };
    let summary = summary.to_owned();
    if is(device, "VirtualSCSIController") {
        usually(device, "hotAddRemove", true);
        usually(device, "scsiCtlrUnitNumber", 7);
        usually(
            device,
            "sharedBus",
            Value::choice("VirtualSCSISharing", "noSharing"),
        );
        usually(device, "controllerKey", PCI);
        let unit = if bus < 4 { bus + 3 } else { bus };
        usually(device, "unitNumber", unit);
    }
    (label, summary)
}

fn usually(device: &mut Object, name: &'static str, value: impl Into<Value>) {
    if device.get(name).is_none() {
        device.set(name, value);
    }
}

/// Something about a device that is always the same, and not the same of any other.
fn derived(vm: &VmView, key: i32, what: &str) -> Vec<u8> {
    Sha256::digest(format!("vtpm {what} {key} of {}", vm.id).as_bytes()).to_vec()
}

fn complete_disk(device: &mut Object, vm: &VmView) {
    let number = key(device);
    let file = own_file(device).map(|kept| kept.trim_start_matches('*').to_owned());
    let mut backing = match device.take("backing") {
        Some(Value::Object(backing)) => backing,
        _ => Object::new("VirtualDiskFlatVer2BackingInfo"),
    };
    if let Some(file) = file {
        backing.set(
            "fileName",
            format!("[{}] {}/{}{file}", vm.datastore, vm.folder, vm.folder),
        );
        backing.set("datastore", inventory::datastore(&vm.datastore));
    }
    if backing.kind == "VirtualDiskFlatVer2BackingInfo" {
        usually(&mut backing, "diskMode", "persistent");
        usually(&mut backing, "split", false);
        usually(&mut backing, "writeThrough", false);
        usually(&mut backing, "thinProvisioned", false);
        let mut uuid = derived(vm, number, "disk").into_iter();
        let mut bytes = [0u8; 16];
        for (to, from) in bytes.iter_mut().zip(uuid.by_ref()) {
            *to = from;
        }
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        usually(&mut backing, "uuid", uuid.to_string());
    }
    device.set("backing", backing);
    usually(device, "diskObjectId", format!("1-{number}"));
    usually(
        device,
        "shares",
        Object::new("SharesInfo")
            .with("shares", 1000)
            .with("level", Value::choice("SharesLevel", "normal")),
    );
}

/// Completes a card; gives what is said about it.
fn complete_card(device: &mut Object, vm: &VmView) -> String {
    if device.get("macAddress").is_none() {
        let digest = derived(vm, key(device), "card");
        let part = |at: usize| digest.get(at).copied().unwrap_or_default();
        device.set(
            "macAddress",
            format!(
                "00:50:56:{:02x}:{:02x}:{:02x}",
                (part(0) & 0x3f) | 0x80,
                part(1),
                part(2)
            ),
        );
        device.set("addressType", "assigned");
    }
    usually(device, "addressType", "manual");
    usually(device, "wakeOnLanEnabled", true);
    usually(
        device,
        "connectable",
        Object::new("VirtualDeviceConnectInfo")
            .with("startConnected", true)
            .with("allowGuestControl", true)
            .with("connected", false)
            .with("status", "untried"),
    );
    let Some(Value::Object(mut backing)) = device.take("backing") else {
        return "No network".to_owned();
    };
    let named = backing.text("deviceName").map(str::to_owned);
    let network = Value::from(inventory::network());
    let ours = named.as_deref() == Some(inventory::NETWORK)
        || backing.get("network").is_some_and(|it| *it == network);
    if backing.kind == "VirtualEthernetCardNetworkBackingInfo" {
        if ours {
            backing.set("deviceName", inventory::NETWORK);
            backing.set("network", network);
        } else {
            // One that is not here.
            backing.take("network");
        }
        usually(&mut backing, "useAutoDetect", false);
    }
    let summary = if ours {
        inventory::NETWORK.to_owned()
    } else {
        named.unwrap_or_default()
    };
    device.set("backing", backing);
    summary
}

/// A number in groups of three digits.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_with_what_follows_from_their_place() {
        let vm = inventory::tests::world().vms.remove(0);
        let disk = Object::new("VirtualDisk")
            .with("key", 2000)
            .with("controllerKey", 1000)
            .with("unitNumber", 0)
            .with("capacityInKB", 1_048_576i64)
            .with("capacityInBytes", 1i64 << 30);
        let card = Object::new("VirtualVmxnet3").with("key", 4000).with(
            "backing",
            Object::new("VirtualEthernetCardNetworkBackingInfo")
                .with("deviceName", inventory::NETWORK),
        );
        let controller = Object::new("ParaVirtualSCSIController")
            .with("key", 1000)
            .with("busNumber", 0);
        let told = Told::of(&vm, vec![card, disk, controller]);
        let all: Vec<String> = told.devices.iter().flat_map(Object::strangers).collect();
        assert_eq!(all, Vec::<String>::new());
        assert_eq!((told.count("VirtualDisk"), told.capacity()), (1, 1 << 30));
        assert!(told.is_connected());
        let label = |key_of: i32| {
            let device = told.devices.iter().find(|it| key(it) == key_of).unwrap();
            match device.get("deviceInfo") {
                Some(Value::Object(info)) => (
                    info.text("label").unwrap().to_owned(),
                    info.text("summary").unwrap().to_owned(),
                ),
                _ => panic!("{device:?}"),
            }
        };
        assert_eq!(
            label(2000),
            ("Hard disk 1".to_owned(), "1,048,576 KB".to_owned())
        );
        assert_eq!(label(4000).1, inventory::NETWORK);
        assert_eq!(label(1000).0, "SCSI controller 0");
        let mut other = vm.clone();
        other.id = vm_inventory::model::VmId::random();
        let mac = |vm: &VmView| {
            let told = Told::of(vm, vec![Object::new("VirtualE1000").with("key", 4000)]);
            let card = told.devices.into_iter().find(|it| key(it) == 4000).unwrap();
            card.text("macAddress").unwrap().to_owned()
        };
        assert_eq!(mac(&vm), mac(&vm));
        assert_ne!(mac(&vm), mac(&other));
    }
}
