//! What clients say about a VM besides what the inventory has words for: its devices, boot options, flags and the like. Nothing
//! here runs on them, but who asks is told.
//!
//! They are kept as one [`Object`] of the type `VirtualMachineConfigInfo`, with the fields that were said, and laid over what a VM
//! has of which nothing was said.

mod change;
mod devices;

pub(crate) use devices::Told;

use crate::fault::{Fault, Outcome};
use crate::given;
use crate::schema::schema;
use crate::value::{Object, Value};
use crate::xml::Element;
use change::Change;

const INFO: &str = "VirtualMachineConfigInfo";
const SPEC: &str = "VirtualMachineConfigSpec";
/// As long as what is kept of one VM may be.
const LONGEST: usize = 256 * 1024;

/// Fields of a specification that others read, or that mean something else in what is told.
const READ_ELSEWHERE: &[&str] = &[
    "changeVersion",
    "name",
    "version",
    "createDate",
    "uuid",
    "instanceUuid",
    "guestId",
    "annotation",
    "files",
    "firmware",
    "extraConfig",
];

/// Fields of a specification that are told as a part of the hardware.
const HARDWARE: &[&str] = &[
    "virtualICH7MPresent",
    "virtualSMCPresent",
    "motherboardLayout",
    "simultaneousThreads",
];

/// What a specification asks for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Asked {
    settings: Object,
    options: Vec<Object>,
    changes: Vec<Change>,
}

impl Asked {
    /// Reads a specification; its TPM is not among the devices.
    pub(crate) fn read(config: &Element) -> Outcome<Self> {
        let spec = given::object(config, SPEC).unwrap_or_else(|| Object::new(SPEC));
        let mut settings = Object::new(INFO);
        let mut hardware = Object::new("VirtualHardware");
        for field in schema().fields(SPEC) {
            let Some(value) = spec.get(field.name).cloned() else {
                continue;
            };
            if field.name == "powerOpInfo" {
                settings.set("defaultPowerOps", value);
            } else if HARDWARE.contains(&field.name) {
                hardware.set(field.name, value);
            } else if !READ_ELSEWHERE.contains(&field.name)
                && schema()
                    .field(INFO, field.name)
                    .is_some_and(|told| told.of == field.of)
            {
                settings.set(field.name, value);
            }
        }
        if !hardware.is_empty() {
            settings.set("hardware", hardware);
        }
        Ok(Self {
            settings,
            options: objects(spec.get("extraConfig")),
            changes: change::read(config)?,
        })
    }

    /// Whether it asks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.options.is_empty() && self.changes.is_empty()
    }

    /// What is to be kept, of what was kept before.
    pub(crate) fn applied(&self, before: &str) -> Outcome<String> {
        let mut kept = given::read_back(before, INFO);
        kept.overlay(self.settings.clone());
        if !self.options.is_empty() {
            let mut options = objects(kept.get("extraConfig"));
            for asked in &self.options {
                options.retain(|it| it.text("key") != asked.text("key"));
                // An empty value takes an option away.
                if asked.get("value").is_some_and(|it| *it != "".into()) {
                    options.push(asked.clone());
                }
            }
            kept.set("extraConfig", Value::objects("OptionValue", options));
        }
        if !self.changes.is_empty() {
            let mut devices = devices_in(&kept);
            change::make(&mut devices, &self.changes)?;
            let mut hardware = match kept.take("hardware") {
                Some(Value::Object(hardware)) => hardware,
                _ => Object::new("VirtualHardware"),
            };
            hardware.set("device", Value::objects("VirtualDevice", devices));
            kept.set("hardware", hardware);
        }
        let text = given::stored(&kept);
        if text.len() > LONGEST {
            return Err(Fault::invalid_argument(
                "configSpec",
                "what is said about one VM is at most 256 KiB",
            ));
        }
        Ok(text)
    }
}

/// What was kept of a VM.
pub(crate) fn kept(text: &str) -> Object {
    given::read_back(text, INFO)
}

/// The options among what was kept.
pub(crate) fn options_in(kept: &Object) -> Vec<Object> {
    objects(kept.get("extraConfig"))
}

/// The devices among what was kept.
pub(crate) fn devices_in(kept: &Object) -> Vec<Object> {
    match kept.get("hardware") {
        Some(Value::Object(hardware)) => objects(hardware.get("device")),
        _ => Vec::new(),
    }
}

/// The objects of a list.
fn objects(list: Option<&Value>) -> Vec<Object> {
    let Some(Value::List(_, items)) = list else {
        return Vec::new();
    };
    let items = items.iter().filter_map(|item| match item {
        Value::Object(object) => Some(object.clone()),
        _ => None,
    });
    items.collect()
}

/// Settings of a VM of which nothing was said.
pub(crate) fn usual(cpus: u32, memory_mb: u32) -> Object {
    let shares = |number: u64| {
        Object::new("ResourceAllocationInfo")
            .with("reservation", 0i64)
            .with("expandableReservation", false)
            .with("limit", -1i64)
            .with(
                "shares",
                Object::new("SharesInfo")
                    .with("shares", i32::try_from(number).unwrap_or(i32::MAX))
                    .with("level", Value::choice("SharesLevel", "normal")),
            )
    };
    Object::new(INFO)
        .with("alternateGuestName", "")
        .with(
            "tools",
            Object::new("ToolsConfigInfo")
                .with("toolsVersion", 0)
                .with("afterPowerOn", true)
                .with("afterResume", true)
                .with("beforeGuestStandby", true)
                .with("beforeGuestShutdown", true)
                .with("toolsUpgradePolicy", "manual")
                .with("syncTimeWithHost", false),
        )
        .with(
            "flags",
            Object::new("VirtualMachineFlagInfo")
                .with("disableAcceleration", false)
                .with("enableLogging", true)
                .with("useToe", false)
                .with("runWithDebugInfo", false)
                .with("monitorType", "release")
                .with("htSharing", "any")
                .with("snapshotDisabled", false)
                .with("snapshotLocked", false)
                .with("diskUuidEnabled", false)
                .with("virtualMmuUsage", "automatic")
                .with("virtualExecUsage", "hvAuto")
                .with("snapshotPowerOffBehavior", "powerOff")
                .with("recordReplayEnabled", false)
                .with("faultToleranceType", "unset")
                .with("vvtdEnabled", false)
                .with("vbsEnabled", false),
        )
        .with(
            "defaultPowerOps",
            Object::new("VirtualMachineDefaultPowerOpInfo")
                .with("powerOffType", "soft")
                .with("suspendType", "hard")
                .with("resetType", "soft")
                .with("defaultPowerOffType", "soft")
                .with("defaultSuspendType", "hard")
                .with("defaultResetType", "soft")
                .with("standbyAction", "checkpoint"),
        )
        .with("cpuAllocation", shares(u64::from(cpus) * 1000))
        .with("memoryAllocation", shares(u64::from(memory_mb) * 10))
        .with(
            "latencySensitivity",
            Object::new("LatencySensitivity").with(
                "level",
                Value::choice("LatencySensitivitySensitivityLevel", "normal"),
            ),
        )
        .with("memoryHotAddEnabled", false)
        .with("cpuHotAddEnabled", false)
        .with("cpuHotRemoveEnabled", false)
        .with("swapPlacement", "inherit")
        .with(
            "bootOptions",
            Object::new("VirtualMachineBootOptions")
                .with("bootDelay", 0i64)
                .with("enterBIOSSetup", false)
                .with("efiSecureBootEnabled", false)
                .with("bootRetryEnabled", false)
                .with("bootRetryDelay", 10_000i64)
                .with("networkBootProtocol", "ipv4"),
        )
        .with("vAssertsEnabled", false)
        .with("changeTrackingEnabled", false)
        .with("maxMksConnections", 40)
        .with("guestAutoLockEnabled", true)
        .with("memoryReservationLockedToMax", false)
        .with("nestedHVEnabled", false)
        .with("vPMCEnabled", false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, read};

    fn asked(body: &str) -> Asked {
        let text =
            format!("<spec xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>{body}</spec>");
        Asked::read(&read(text.as_bytes(), Limits::default()).unwrap()).unwrap()
    }

    #[test]
    fn settings_are_laid_over_what_was_kept() {
        assert!(asked("<name>a</name><numCPUs>2</numCPUs><firmware>efi</firmware>").is_empty());
        let first = asked(
            "<simultaneousThreads>2</simultaneousThreads><bootOptions><bootDelay>5</bootDelay></bootOptions><extraConfig><key>a</key><value xsi:type='xsd:string'>1</value></extraConfig><powerOpInfo><powerOffType>hard</powerOffType></powerOpInfo>",
        );
        let text = first.applied("").unwrap();
        let second = asked(
            "<bootOptions><efiSecureBootEnabled>true</efiSecureBootEnabled></bootOptions><extraConfig><key>a</key><value xsi:type='xsd:string'></value></extraConfig><extraConfig><key>b</key><value xsi:type='xsd:string'>2</value></extraConfig>",
        );
        let kept = kept(&second.applied(&text).unwrap());
        let mut told = usual(1, 4);
        assert_eq!(told.strangers(), Vec::<String>::new());
        told.overlay(kept);
        let Some(Value::Object(boot)) = told.get("bootOptions") else {
            panic!("{told:?}");
        };
        assert_eq!(boot.number("bootDelay"), Some(5));
        assert_eq!(boot.get("efiSecureBootEnabled"), Some(&true.into()));
        assert_eq!(boot.text("networkBootProtocol"), Some("ipv4"));
        let options = objects(told.get("extraConfig"));
        assert_eq!(options.len(), 1);
        assert_eq!(options[0].text("key"), Some("b"));
        let Some(Value::Object(hardware)) = told.get("hardware") else {
            panic!("{told:?}");
        };
        assert_eq!(hardware.number("simultaneousThreads"), Some(2));
    }
}
