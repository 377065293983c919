//! What VMs can be made of here: hardware versions, guests, the devices that there are.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::inventory;
use crate::properties::{self, guest_name};
use crate::value::{Object, Value};
use vm_inventory::VcVersion;
use vm_inventory::guest::GuestOs;
use vm_inventory::requirements::{HARDWARE_FLOOR, may_have_tpm};

/// Guests that are offered; a VM may have any other that the API knows.
const GUESTS: [&str; 14] = [
    "ubuntu64Guest",
    "debian11_64Guest",
    "debian12_64Guest",
    "rhel8_64Guest",
    "rhel9_64Guest",
    "other5xLinux64Guest",
    "other6xLinux64Guest",
    "vmwarePhoton64Guest",
    "windows9_64Guest",
    "windows11_64Guest",
    "windows2019srv_64Guest",
    "windows2019srvNext_64Guest",
    "otherGuest",
    "otherGuest64",
];

fn key(version: u16) -> String {
    format!("vmx-{version}")
}

fn newest(request: &Request<'_>) -> u16 {
    request.call.vcenter.version.newest_hardware()
}

/// The host of a request, if it names one, is the one that there is.
fn check_host(request: &Request<'_>) -> Outcome<()> {
    let spec = request.args.child("spec").unwrap_or(request.args);
    match spec.reference("host")? {
        Some(host) if host != inventory::host() => Err(Fault::object_not_found(&host)),
        _ => Ok(()),
    }
}

pub(super) fn descriptors(request: &Request<'_>) -> Outcome<Option<Value>> {
    let newest = newest(request);
    let versions = (10..=newest).rev().map(|version| {
        Object::new("VirtualMachineConfigOptionDescriptor")
            .with("key", key(version))
            .with("description", format!("Hardware version {version}"))
            .with("host", Value::refs([inventory::host()]))
            .with("createSupported", true)
            .with("defaultConfigOption", version == newest)
            .with("runSupported", true)
            .with("upgradeSupported", true)
    });
    Ok(Some(Value::objects(
        "VirtualMachineConfigOptionDescriptor",
        versions,
    )))
}

pub(super) fn option(request: &Request<'_>) -> Outcome<Option<Value>> {
    check_host(request)?;
    let named = request.args.text_of("key").map(str::to_owned);
    option_of(request, named.as_deref(), &[])
}

pub(super) fn option_ex(request: &Request<'_>) -> Outcome<Option<Value>> {
    check_host(request)?;
    let Some(spec) = request.args.child("spec") else {
        return option_of(request, None, &[]);
    };
    let guests: Vec<String> = spec
        .all("guestId")
        .map(|it| it.text.trim().to_owned())
        .collect();
    option_of(request, spec.text_of("key"), &guests)
}

fn option_of(
    request: &Request<'_>,
    named: Option<&str>,
    guests: &[String],
) -> Outcome<Option<Value>> {
    let newest = newest(request);
    let version = match named.map(str::trim).filter(|key| !key.is_empty()) {
        None => newest,
        Some(text) => match text.strip_prefix("vmx-").and_then(|it| it.parse().ok()) {
            Some(version) if (3..=newest).contains(&version) => version,
            // The API answers nothing for a version that there is not.
            _ => return Ok(None),
        },
    };
    let vcenter = request.call.vcenter.version;
    let mut described = Vec::new();
    if guests.is_empty() {
        described.extend(GUESTS.iter().filter_map(|id| guest(id, version, vcenter)));
    } else {
        described.extend(guests.iter().filter_map(|id| guest(id, version, vcenter)));
    }
    let tpms = i32::from(version >= HARDWARE_FLOOR);
    let mut devices = Vec::new();
    if tpms > 0 {
        devices.push(
            Object::new("VirtualTPMOption")
                .with("type", "VirtualTPM")
                .with("deprecated", false)
                .with("plugAndPlay", false)
                .with("hotRemoveSupported", false)
                .with(
                    "supportedFirmware",
                    Value::List("string", vec!["efi".into()]),
                ),
        );
    }
    let number = |most: i32| {
        Object::new("IntOption")
            .with("min", 0)
            .with("max", most)
            .with("defaultValue", 0)
    };
    Ok(Some(
        Object::new("VirtualMachineConfigOption")
            .with("version", key(version))
            .with("description", format!("Hardware version {version}"))
            .with(
                "guestOSDescriptor",
                Value::objects("GuestOsDescriptor", described),
            )
            .with("guestOSDefaultIndex", 0)
            .with(
                "hardwareOptions",
                Object::new("VirtualHardwareOption")
                    .with("hwVersion", i32::from(version))
                    .with(
                        "virtualDeviceOption",
                        Value::objects("VirtualDeviceOption", devices),
                    )
                    .with("deviceListReadonly", false)
                    .with(
                        "numCPU",
                        Value::List("int", (1..=768).map(Value::Int).collect()),
                    )
                    .with("numCpuReadonly", false)
                    .with(
                        "memoryMB",
                        Object::new("LongOption")
                            .with("min", 4i64)
                            .with("max", 24i64 * 1024 * 1024)
                            .with("defaultValue", 1024i64),
                    )
                    .with("numTPMDevices", number(tpms)),
            )
            .with("capabilities", properties::capability())
            .into(),
    ))
}

/// A guest as the API describes it; `None` for a name that the API does not have.
fn guest(id: &str, hardware: u16, vcenter: VcVersion) -> Option<Object> {
    let guest: GuestOs = id.parse().ok()?;
    let tpm = hardware >= HARDWARE_FLOOR && may_have_tpm(&guest, vcenter);
    let family = match () {
        () if id.starts_with("win") => "windowsGuest",
        () if matches!(id, "otherGuest" | "otherGuest64") => "otherGuestFamily",
        () => "linuxGuest",
    };
    let words =
        |words: &[&str]| Value::List("string", words.iter().map(|it| Value::from(*it)).collect());
    Some(
        Object::new("GuestOsDescriptor")
            .with("id", id)
            .with("family", family)
            .with("fullName", guest_name(id))
            .with("supportedMaxCPUs", 768)
            .with("numSupportedPhysicalSockets", 768)
            .with("numSupportedCoresPerSocket", 256)
            .with("supportedMinMemMB", 4)
            .with("supportedMaxMemMB", 24 * 1024 * 1024)
            .with("recommendedMemMB", 1024)
            .with("supportedFirmware", words(&["bios", "efi"]))
            .with("recommendedFirmware", "efi")
            .with("supportLevel", "supported")
            .with("supportedForCreate", true)
            .with("supportsSecureBoot", true)
            .with("supportsTPM20", tpm)
            .with("recommendedTPM20", tpm && id.starts_with("windows11")),
    )
}

pub(super) fn target(request: &Request<'_>) -> Outcome<Option<Value>> {
    check_host(request)?;
    let world = request.world()?;
    let mut datastores = Vec::new();
    for it in &world.datastores {
        let of = inventory::datastore(&it.name);
        let part = |name: &str| properties::property(request.call, Some(world), &of, name);
        datastores.push(
            Object::new("VirtualMachineDatastoreInfo")
                .with("name", it.name.as_str())
                .with_some("datastore", part("summary")?)
                .with_some("capability", part("capability")?)
                .with("maxFileSize", i64::MAX)
                .with("mode", "readWrite"),
        );
    }
    let network =
        properties::property(request.call, Some(world), &inventory::network(), "summary")?;
    Ok(Some(
        Object::new("ConfigTarget")
            .with("numCpus", 768)
            .with("numCpuCores", 768)
            .with("numNumaNodes", 1)
            .with("smcPresent", false)
            .with(
                "datastore",
                Value::objects("VirtualMachineDatastoreInfo", datastores),
            )
            .with(
                "network",
                Value::objects(
                    "VirtualMachineNetworkInfo",
                    [Object::new("VirtualMachineNetworkInfo")
                        .with("name", inventory::NETWORK)
                        .with_some("network", network)],
                ),
            )
            .with("maxMemMBOptimalPerf", 24 * 1024 * 1024)
            .with("autoVmotion", false)
            .into(),
    ))
}

/// What the host can do, of which nothing is told.
pub(super) fn capabilities(request: &Request<'_>) -> Outcome<Option<Value>> {
    check_host(request)?;
    Ok(None)
}
