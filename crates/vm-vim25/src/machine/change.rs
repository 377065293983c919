//! Devices that are added, edited and removed.

use super::devices::{self, CONTROLLERS, controller_of, is, key};
use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::given;
use crate::value::{Object, Value};
use crate::xml::Element;
use std::collections::BTreeMap;

/// As many devices as a VM has at most besides those that each has, and as one request changes.
const MOST: usize = 300;
/// There are fewer places at a controller.
const UNITS: i64 = 256;
/// There are fewer buses of one kind.
const BUSES: i64 = 100;
/// Keys that clients give to devices whose kinds have no numbers of their own.
const OWN_KEYS: std::ops::Range<i32> = 20_000..1_000_000;

/// One change of a device.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Change {
    operation: Operation,
    device: Object,
    /// Its place in the request.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Add,
    Edit,
    Remove,
}

/// The changes that a specification asks for, but those of the TPM.
pub(super) fn read(config: &Element) -> Outcome<Vec<Change>> {
    let mut changes = Vec::new();
    for (at, change) in config.all("deviceChange").enumerate() {
        let Some(element) = change.child("device") else {
            continue;
        };
        let by_key = element.number("key") == Some(i64::from(crate::properties::TPM_KEY));
        if element.kind.as_deref() == Some("VirtualTPM") || (element.kind.is_none() && by_key) {
            continue;
        }
        let Some(device) = given::object(element, "VirtualDevice") else {
            return Err(wrong(at, "there is no such kind of device"));
        };
        let operation = match change.text_of("operation").unwrap_or_default().trim() {
            "add" => Operation::Add,
            "edit" => Operation::Edit,
            "remove" => Operation::Remove,
            _ => {
                return Err(wrong(
                    at,
                    "say whether the device is to be added, removed or edited",
                ));
            }
        };
        if operation == Operation::Add && device.kind == "VirtualDevice" {
            return Err(wrong(at, "say by its type what the new device is"));
        }
        changes.push(Change {
            operation,
            device,
            at,
        });
    }
    Ok(changes)
}

fn wrong(at: usize, message: &str) -> Box<Fault> {
    Fault::new("InvalidDeviceSpec", message)
        .with(
            "property",
            format!("virtualDeviceSpec.device[{at}]").as_str(),
        )
        .with("deviceIndex", i32::try_from(at).unwrap_or(i32::MAX))
}

/// Changes the devices that are kept of a VM.
pub(super) fn make(devices: &mut Vec<Object>, changes: &[Change]) -> Outcome<()> {
    if changes.len() > MOST {
        return Err(wrong(MOST, "these are more changes than one request has"));
    }
    // The keys that new devices have in the request, and those that they get.
    let mut keys: BTreeMap<i32, i32> = BTreeMap::new();
    let is_controller = |change: &&Change| is(&change.device, "VirtualController");
    let (controllers, others): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(is_controller);
    let adds = |change: &&Change| change.operation == Operation::Add;
    // Devices find the controllers that come with them, wherever those stand in the request. What goes makes room first.
    let in_turn = changes
        .iter()
        .filter(|change| change.operation == Operation::Remove)
        .chain(controllers.into_iter().filter(adds))
        .chain(
            changes
                .iter()
                .filter(|change| change.operation == Operation::Edit),
        )
        .chain(others.into_iter().filter(adds));
    for change in in_turn {
        match change.operation {
            Operation::Add => add(devices, change, &mut keys)?,
            Operation::Edit => edit(devices, change)?,
            Operation::Remove => {
                let gone = key(&change.device);
                let before = devices.len();
                devices.retain(|it| key(it) != gone);
                if devices.len() == before {
                    return Err(wrong(change.at, "the VM has no such device to remove"));
                }
            }
        }
    }
    if devices.len() > MOST {
        return Err(wrong(0, "these are more devices than a VM can have"));
    }
    let usual = devices::usual();
    let lost = devices.iter().any(|device| {
        controller_of(device).is_some_and(|controller| {
            let mut all = devices.iter().chain(&usual);
            !all.any(|it| key(it) == controller)
        })
    });
    if lost {
        return Err(wrong(
            0,
            "a device would be at a controller that the VM does not have",
        ));
    }
    Ok(())
}

fn add(devices: &mut Vec<Object>, change: &Change, keys: &mut BTreeMap<i32, i32>) -> Outcome<()> {
    let mut device = change.device.clone();
    let asked = key(&device);
    device.take("deviceInfo");
    let usual = devices::usual();
    if let Some(controller) = controller_of(&device)
        && let Some(known) = keys.get(&controller)
    {
        device.set("controllerKey", *known);
    }
    if is(&device, "VirtualController") {
        place_controller(devices, &mut device);
    } else if is(&device, "VirtualEthernetCard") {
        device.set("controllerKey", devices::PCI);
        let taken = |unit: i64| {
            let mut cards = devices.iter().filter(|it| is(it, "VirtualEthernetCard"));
            cards.any(|it| it.number("unitNumber") == Some(unit))
        };
        if let Some(unit) = (7..1000).find(|unit| !taken(*unit)) {
            device.set("unitNumber", i32::try_from(unit).unwrap_or_default());
        }
    } else if let Some(controller) = controller_of(&device) {
        place(devices, &mut device, controller, change.at)?;
    }
    if is(&device, "VirtualDisk") {
        settle_disk(&mut device, None);
        name_disk(devices, &mut device);
        let own = devices::own_file(&device).is_some();
        if device.number("capacityInKB").unwrap_or_default() <= 0 && own {
            return Err(wrong(change.at, "a new disk needs a capacity"));
        }
    }
    let mut number = first_key(&device, asked);
    while devices.iter().chain(&usual).any(|it| key(it) == number) {
        number += 1;
    }
    device.set("key", number);
    keys.insert(asked, number);
    devices.push(device);
    Ok(())
}

/// The number of a bus of controllers of one kind.
fn place_controller(devices: &[Object], device: &mut Object) {
    let family = devices::family(device);
    let all = devices::usual();
    let taken = |bus: i64| {
        let mut same = devices.iter().chain(&all);
        same.any(|it| devices::family(it) == family && it.number("busNumber") == Some(bus))
    };
    let free = |bus: &i64| (0..BUSES).contains(bus) && !taken(*bus);
    let asked = device.number("busNumber").filter(free);
    let bus = asked.or_else(|| (0..BUSES).find(free));
    device.set(
        "busNumber",
        i32::try_from(bus.unwrap_or_default()).unwrap_or_default(),
    );
}

/// The place of a device at its controller.
fn place(devices: &[Object], device: &mut Object, controller: i32, at: usize) -> Outcome<()> {
    let scsi = devices
        .iter()
        .any(|it| key(it) == controller && is(it, "VirtualSCSIController"));
    let taken = |unit: i64| {
        let mut there = devices
            .iter()
            .filter(|it| controller_of(it) == Some(controller));
        // The controller itself is there.
        (scsi && unit == 7) || there.any(|it| it.number("unitNumber") == Some(unit))
    };
    match device.number("unitNumber") {
        Some(unit) if unit >= 0 && taken(unit) => Err(wrong(
            at,
            "the controller has another device at that unit number",
        )),
        Some(unit) if unit >= UNITS => Err(wrong(
            at,
            "a controller has fewer places than that unit number",
        )),
        Some(unit) if unit >= 0 => Ok(()),
        _ => {
            if let Some(unit) = (0..UNITS).find(|unit| !taken(*unit)) {
                device.set("unitNumber", i32::try_from(unit).unwrap_or_default());
            }
            Ok(())
        }
    }
}

/// Where the numbers of devices of its kind begin.
fn first_key(device: &Object, asked: i32) -> i32 {
    if is(device, "VirtualController") {
        let bus = device.number("busNumber").unwrap_or_default();
        let bus = i32::try_from(bus).unwrap_or_default();
        let family = CONTROLLERS.iter().find(|(kind, ..)| is(device, kind));
        return family.map_or(OWN_KEYS.start, |(_, base, ..)| base + bus);
    }
    if matches!(device.kind, "VirtualDisk" | "VirtualCdrom") {
        let controller = controller_of(device).unwrap_or_default();
        let unit = device.number("unitNumber").unwrap_or_default();
        let unit = i32::try_from(unit).unwrap_or_default();
        return match controller {
            200..=299 => 3000 + (controller - 200) * 2 + unit,
            1000..=1099 => 2000 + (controller - 1000) * 16 + unit,
            15_000..=15_099 => 16_000 + (controller - 15_000) * 30 + unit,
            31_000..=31_099 => 32_000 + (controller - 31_000) * 15 + unit,
            _ if device.kind == "VirtualDisk" => 2000,
            _ => 3000,
        };
    }
    const KINDS: &[(&str, i32)] = &[
        ("VirtualEthernetCard", 4000),
        ("VirtualSoundCard", 5000),
        ("VirtualFloppy", 8000),
        ("VirtualSerialPort", 9000),
        ("VirtualParallelPort", 10_000),
        ("VirtualPCIPassthrough", 13_000),
    ];
    let known = KINDS.iter().find(|(kind, _)| is(device, kind));
    let own = OWN_KEYS.contains(&asked).then_some(asked);
    known.map_or(own.unwrap_or(OWN_KEYS.start), |(_, first)| *first)
}

/// Gives a disk of the VM's own the name of its file, which it keeps.
fn name_disk(devices: &[Object], device: &mut Object) {
    let Some(Value::Object(mut backing)) = device.take("backing") else {
        return;
    };
    if backing.get("fileName").is_none() {
        let taken = |name: &String| {
            let mut disks = devices.iter().filter_map(devices::own_file);
            disks.any(|it| it == name)
        };
        let mut names = (0..=MOST).map(|number| match number {
            0 => "*.vmdk".to_owned(),
            number => format!("*_{number}.vmdk"),
        });
        if let Some(name) = names.find(|name| !taken(name)) {
            backing.set("fileName", name);
        }
    }
    device.set("backing", backing);
}

/// Of a disk: both capacities say the same, and its file is not named if it is the VM's own.
fn settle_disk(device: &mut Object, before: Option<&Object>) {
    let of = |object: &Object| {
        (
            object.number("capacityInKB").filter(|it| *it > 0),
            object.number("capacityInBytes").filter(|it| *it > 0),
        )
    };
    let (kilobytes, bytes) = of(device);
    let (old, old_bytes) = before.map_or((None, None), of);
    // Who changes one of two numbers that were there means that one.
    let size = match (kilobytes, bytes) {
        (Some(kilobytes), Some(_)) if bytes == old_bytes && Some(kilobytes) != old => {
            Some(kilobytes.saturating_mul(1024))
        }
        (_, Some(bytes)) => Some(bytes),
        (Some(kilobytes), None) => Some(kilobytes.saturating_mul(1024)),
        (None, None) => None,
    };
    if let Some(size) = size {
        device.set("capacityInBytes", size);
        device.set("capacityInKB", size / 1024);
    }
    let mut backing = match device.take("backing") {
        Some(Value::Object(backing)) => backing,
        _ => Object::new("VirtualDiskFlatVer2BackingInfo"),
    };
    if before.is_none() {
        let own = backing.text("fileName").is_none_or(|name| {
            let rest = name.trim().split_once(']').map_or(name, |(_, rest)| rest);
            rest.trim().is_empty() || name.starts_with('*')
        });
        if own {
            backing.take("fileName");
            backing.take("datastore");
        }
    }
    device.set("backing", backing);
}

fn edit(devices: &mut Vec<Object>, change: &Change) -> Outcome<()> {
    let asked = key(&change.device);
    let at = match devices.iter().position(|it| key(it) == asked) {
        Some(at) => at,
        None => {
            let mut usual = devices::usual().into_iter();
            let known = usual.find(|it| key(it) == asked);
            let known =
                known.ok_or_else(|| wrong(change.at, "the VM has no such device to edit"))?;
            devices.push(known);
            devices.len() - 1
        }
    };
    let Some(own) = devices.get_mut(at) else {
        return Ok(());
    };
    let general = change.device.kind == "VirtualDevice";
    if own.kind != change.device.kind && !general {
        return Err(wrong(change.at, "the device is of another kind"));
    }
    let before = own.clone();
    let mut over = change.device.clone();
    // What is told of them without having been said is not said by being sent back.
    over.take("deviceInfo");
    if before.get("macAddress").is_none() && over.text("addressType") != Some("manual") {
        over.take("macAddress");
        over.take("addressType");
    }
    if let Some(Value::Object(mut new)) = over.take("backing") {
        if devices::own_file(&before).is_some() {
            new.take("fileName");
            new.take("datastore");
            new.take("uuid");
        }
        over.set("backing", new);
    }
    own.overlay(over);
    if own.kind == "VirtualDisk" {
        settle_disk(own, Some(&before));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, read as read_xml};

    fn changes(body: &str) -> Outcome<Vec<Change>> {
        let text =
            format!("<spec xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>{body}</spec>");
        read(&read_xml(text.as_bytes(), Limits::default()).unwrap())
    }

    fn one(operation: &str, kind: &str, fields: &str) -> String {
        format!(
            "<deviceChange><operation>{operation}</operation><device xsi:type='{kind}'>{fields}</device></deviceChange>"
        )
    }

    #[test]
    fn disks_and_cards_are_added_with_their_controllers_edited_and_removed() {
        let body = one(
            "add",
            "VirtualDisk",
            "<key>-5</key><backing xsi:type='VirtualDiskFlatVer2BackingInfo'><fileName>[ds]</fileName><diskMode>persistent</diskMode></backing><controllerKey>-1</controllerKey><capacityInKB>1048576</capacityInKB>",
        ) + &one(
            "add",
            "ParaVirtualSCSIController",
            "<key>-1</key><busNumber>0</busNumber><sharedBus>noSharing</sharedBus>",
        ) + &one("add", "VirtualVmxnet3", "<key>-9</key>")
            + &one("add", "VirtualTPM", "<key>-1</key>");
        let mut devices = Vec::new();
        make(&mut devices, &changes(&body).unwrap()).unwrap();
        let keys: Vec<(&str, i32)> = devices.iter().map(|it| (it.kind, key(it))).collect();
        assert_eq!(
            keys,
            [
                ("ParaVirtualSCSIController", 1000),
                ("VirtualDisk", 2000),
                ("VirtualVmxnet3", 4000)
            ]
        );
        assert_eq!(controller_of(&devices[1]), Some(1000));
        assert_eq!(devices[1].number("capacityInBytes"), Some(1 << 30));
        assert_eq!(devices::own_file(&devices[1]), Some("*.vmdk"));
        let larger = one(
            "edit",
            "VirtualDisk",
            "<key>2000</key><controllerKey>1000</controllerKey><unitNumber>0</unitNumber><capacityInKB>2097152</capacityInKB><capacityInBytes>1073741824</capacityInBytes>",
        );
        make(&mut devices, &changes(&larger).unwrap()).unwrap();
        assert_eq!(devices[1].number("capacityInBytes"), Some(2 << 30));
        let before = devices.clone();
        for wrong in [
            one("remove", "VirtualDisk", "<key>2001</key>"),
            one("remove", "ParaVirtualSCSIController", "<key>1000</key>"),
            one("edit", "VirtualE1000", "<key>4000</key>"),
            one(
                "add",
                "VirtualDisk",
                "<key>-1</key><controllerKey>1000</controllerKey><unitNumber>0</unitNumber><capacityInKB>4</capacityInKB>",
            ),
            one(
                "add",
                "VirtualDisk",
                "<key>-1</key><controllerKey>1001</controllerKey><capacityInKB>4</capacityInKB>",
            ),
            one(
                "add",
                "VirtualDisk",
                "<key>-1</key><controllerKey>1000</controllerKey>",
            ),
        ] {
            let mut changed = before.clone();
            let fault = make(&mut changed, &changes(&wrong).unwrap()).unwrap_err();
            assert_eq!(fault.kind(), "InvalidDeviceSpec", "{wrong}");
        }
        assert!(changes(&one("add", "VirtualDevice", "<key>-1</key>")).is_err());
        // A disk keeps its file when another goes.
        let second = one(
            "add",
            "VirtualDisk",
            "<key>-1</key><controllerKey>1000</controllerKey><capacityInKB>4</capacityInKB>",
        );
        make(&mut devices, &changes(&second).unwrap()).unwrap();
        let gone = one("remove", "VirtualDisk", "<key>2000</key>");
        make(&mut devices, &changes(&gone).unwrap()).unwrap();
        let files: Vec<&str> = devices.iter().filter_map(devices::own_file).collect();
        assert_eq!(files, ["*_1.vmdk"]);
        let gone = one("remove", "VirtualDisk", "<key>2001</key>")
            + &one("remove", "ParaVirtualSCSIController", "<key>1000</key>");
        make(&mut devices, &changes(&gone).unwrap()).unwrap();
        assert_eq!(devices.len(), 1);
    }

    #[test]
    fn numbers_that_no_device_has_are_refused_or_not_taken() {
        let big = one(
            "add",
            "VirtualDisk",
            "<key>-1</key><controllerKey>200</controllerKey><unitNumber>2147483647</unitNumber><capacityInKB>9223372036854775807</capacityInKB>",
        );
        let fault = make(&mut Vec::new(), &changes(&big).unwrap()).unwrap_err();
        assert_eq!(fault.kind(), "InvalidDeviceSpec");
        let many = one("add", "VirtualVmxnet3", "<key>-1</key>").repeat(MOST + 1);
        assert!(make(&mut Vec::new(), &changes(&many).unwrap()).is_err());
        let mut devices = Vec::new();
        let odd = one(
            "add",
            "VirtualAHCIController",
            "<key>-1</key><busNumber>2147483647</busNumber>",
        ) + &one("add", "VirtualUSB", "<key>2147483647</key>")
            + &one("add", "VirtualUSB", "<key>2147483647</key>");
        make(&mut devices, &changes(&odd).unwrap()).unwrap();
        let keys: Vec<i32> = devices.iter().map(key).collect();
        assert_eq!(keys, [15_000, 20_000, 20_001]);
    }
}
