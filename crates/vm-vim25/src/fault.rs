//! Faults: what the API throws, and which one an error of the inventory is.

use crate::schema::Version;
use crate::value::{MoRef, Object, Value};
use crate::xml::Writer;
use vm_inventory::model::PowerState;
use vm_inventory::requirements::{Failure, HARDWARE_FLOOR, Rule};
use vm_inventory::{Error, ErrorKind};
use vm_store::{KeyProviderError, KeyServerFault};

/// A fault with its message.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fault {
    /// Its type and fields.
    pub(crate) detail: Object,
    /// What a person reads.
    pub(crate) message: String,
}

pub(crate) type Outcome<T> = Result<T, Box<Fault>>;

impl Fault {
    /// A fault of a type of the table.
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            detail: Object::new(kind),
            message: message.into(),
        })
    }

    /// The same with a field.
    pub(crate) fn with(
        mut self: Box<Self>,
        name: &'static str,
        value: impl Into<Value>,
    ) -> Box<Self> {
        let detail = std::mem::replace(&mut self.detail, Object::new(""));
        self.detail = detail.with(name, value);
        self
    }

    /// An argument that makes no sense.
    pub(crate) fn invalid_argument(property: &str, message: impl Into<String>) -> Box<Self> {
        Self::new("InvalidArgument", message).with("invalidProperty", property)
    }

    /// A request that cannot be read.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Box<Self> {
        Self::new("InvalidRequest", message)
    }

    /// Something of the real product that is not here.
    pub(crate) fn not_supported(message: impl Into<String>) -> Box<Self> {
        Self::new("NotSupported", message)
    }

    /// The object is not there (any more).
    pub(crate) fn object_not_found(object: &MoRef) -> Box<Self> {
        let message = format!(
            "The object '{}:{}' has already been deleted or has not been completely created",
            object.kind, object.id
        );
        Self::new("ManagedObjectNotFound", message).with("obj", object.clone())
    }

    /// What kind of error of the inventory it comes nearest to.
    pub(crate) fn error_kind(&self) -> ErrorKind {
        match self.kind() {
            "EncryptionKeyRequired" | "KeyNotFound" => ErrorKind::KeyRequired,
            "NoPermission" => ErrorKind::Forbidden,
            "ManagedObjectNotFound" | "NotFound" => ErrorKind::NotFound,
            "SystemError" => ErrorKind::Internal,
            "InvalidState" | "InvalidPowerState" | "ConcurrentAccess" => ErrorKind::Conflict,
            _ => ErrorKind::BadRequest,
        }
    }

    /// The type.
    pub(crate) fn kind(&self) -> &'static str {
        self.detail.kind
    }

    /// Writes it as the element `name`.
    pub(crate) fn write(&self, writer: &mut Writer, name: &str, version: Version) {
        writer.open(name, &[("xsi:type", self.kind())]);
        self.detail.write_fields(writer, version);
        writer.close(name);
    }

    /// Whether it is of that type or comes from it.
    #[cfg(test)]
    pub(crate) fn is_a(&self, above: &str) -> bool {
        crate::schema::schema().is(self.kind(), above)
    }
}

/// What an operation was about, for faults that name it.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// The VM or other object.
    pub(crate) object: Option<MoRef>,
    /// The key provider and key that its files name.
    pub(crate) key: Option<(String, String)>,
    /// The operation cannot do without this power state.
    pub(crate) wants: Option<PowerState>,
}

/// The fault for an error of the inventory.
pub(crate) fn of(error: &Error, about: &About) -> Box<Fault> {
    let message = error.to_string();
    match error {
        Error::Name(_) => {
            let fault = Fault::new("InvalidName", message);
            with_object(fault.with("name", ""), "entity", about)
        }
        Error::Exists { name, .. } => {
            let fault = Fault::new("DuplicateName", message).with("name", name.as_str());
            match &about.object {
                Some(object) => fault.with("object", object.clone()),
                None => fault.with("object", crate::inventory::root_folder()),
            }
        }
        Error::NotFound { what: "VM", .. } => match &about.object {
            Some(object) => Fault::object_not_found(object),
            None => Fault::new("NotFound", message),
        },
        Error::NotFound { .. } | Error::NoProvider { .. } => Fault::new("NotFound", message),
        Error::Provisioning { .. } => Fault::invalid_argument("spec.tpmProvisionPolicy", message),
        Error::Requirements { failures, .. } | Error::Rules { failures, .. } => {
            of_rules(failures, message, about)
        }
        Error::Power { is, .. } => power(*is, message, about),
        Error::NoTpm { .. } | Error::Encryption { .. } | Error::NotEmpty { .. } => {
            Fault::new("InvalidState", message)
        }
        Error::KeyRequired {
            provider, key_id, ..
        } => key_required(Some((provider, key_id)), message),
        Error::Busy { .. } | Error::Conflict { .. } => Fault::new("ConcurrentAccess", message),
        Error::DatastoreNotSeen { datastore, .. } => {
            Fault::new("InvalidDatastore", message).with("name", datastore.as_str())
        }
        Error::BadValue(_) | Error::ChoiceNeeded { .. } | Error::Ambiguous { .. } => {
            Fault::new("InvalidArgument", message)
        }
        Error::Canceled => Fault::new("RequestCanceled", message),
        Error::Forbidden { .. } => no_permission(about, message),
        Error::KeyProvider(error) => match &**error {
            KeyProviderError::KeyServer {
                fault: KeyServerFault::KeyMissing,
                key_id,
                ..
            } => {
                let key = key_id.as_ref().map_or("", |key| key.as_str());
                Fault::new("KeyNotFound", message).with("key", key)
            }
            _ => key_required(
                about
                    .key
                    .as_ref()
                    .map(|(provider, key)| (provider.as_str(), key.as_str())),
                message,
            ),
        },
        other => match other.kind() {
            ErrorKind::BadRequest => Fault::new("InvalidArgument", message),
            ErrorKind::NotFound => Fault::new("NotFound", message),
            ErrorKind::Forbidden => no_permission(about, message),
            ErrorKind::KeyRequired => key_required(
                about
                    .key
                    .as_ref()
                    .map(|(provider, key)| (provider.as_str(), key.as_str())),
                message,
            ),
            ErrorKind::Conflict | ErrorKind::Refused | ErrorKind::Unavailable => {
                Fault::new("InvalidState", message)
            }
            ErrorKind::Internal => {
                let reason = message.clone();
                Fault::new("SystemError", message).with("reason", reason)
            }
        },
    }
}

fn with_object(fault: Box<Fault>, field: &'static str, about: &About) -> Box<Fault> {
    match &about.object {
        Some(object) => fault.with(field, object.clone()),
        None => fault,
    }
}

fn power(is: PowerState, message: String, about: &About) -> Box<Fault> {
    let wanted = about.wants.unwrap_or(match is {
        PowerState::On | PowerState::Suspended => PowerState::Off,
        PowerState::Off => PowerState::On,
    });
    invalid_power(message, wanted, is)
}

/// A power state by the API's name.
pub(crate) fn power_word(state: PowerState) -> Value {
    let word = match state {
        PowerState::On => "poweredOn",
        PowerState::Off => "poweredOff",
        PowerState::Suspended => "suspended",
    };
    Value::choice("VirtualMachinePowerState", word)
}

/// A VM is in a power state in which something cannot be done.
pub(crate) fn invalid_power(message: String, wanted: PowerState, is: PowerState) -> Box<Fault> {
    Fault::new("InvalidPowerState", message)
        .with("requestedState", power_word(wanted))
        .with("existingState", power_word(is))
}

/// Whoever asks may not do that. The message names what it takes.
pub(crate) fn no_permission(about: &About, message: String) -> Box<Fault> {
    let privilege = message
        .rsplit(' ')
        .next()
        .filter(|word| word.starts_with("Cryptographer."))
        .unwrap_or("System.Anonymous")
        .to_owned();
    let object = about
        .object
        .clone()
        .unwrap_or_else(crate::inventory::root_folder);
    Fault::new("NoPermission", message)
        .with("object", object)
        .with("privilegeId", privilege)
}

/// A key that is needed and not to be had.
pub(crate) fn key_required(key: Option<(&str, &str)>, message: String) -> Box<Fault> {
    let fault = Fault::new("EncryptionKeyRequired", message);
    match key {
        Some((provider, key)) => fault.with(
            "requiredKey",
            Value::objects("CryptoKeyId", [crate::inventory::key_id(provider, key)]),
        ),
        None => fault,
    }
}

/// Several rules may be broken; the first of this order gives the type, the message names all.
fn of_rules(failures: &[Failure], message: String, about: &About) -> Box<Fault> {
    let order = [
        Rule::TpmChoice,
        Rule::TemplateDecides,
        Rule::EfiFirmware,
        Rule::HardwareVersion,
        Rule::GuestFloor,
        Rule::VcenterForGuest,
        Rule::PowerState,
        Rule::NoSnapshots,
        Rule::ProviderOnTarget,
        Rule::SameKey,
        Rule::KeyProvider,
        Rule::NativeProviderVcenter,
        Rule::NativeProviderBackup,
    ];
    let first = order
        .into_iter()
        .find(|rule| failures.iter().any(|failure| failure.rule == *rule));
    let device = |kind: &'static str, message: String| {
        Fault::new(kind, message)
            .with("property", "configSpec.deviceChange[0].device")
            .with("deviceIndex", 0)
    };
    let key = about
        .key
        .as_ref()
        .map(|(provider, key)| (provider.as_str(), key.as_str()));
    match first {
        Some(Rule::TpmChoice | Rule::TemplateDecides) => {
            Fault::invalid_argument("spec.tpmProvisionPolicy", message)
        }
        Some(Rule::EfiFirmware) => {
            Fault::new("InvalidVmConfig", message).with("property", "configSpec.firmware")
        }
        Some(Rule::HardwareVersion) => device("DeviceUnsupportedForVmVersion", message)
            .with("currentVersion", hardware_of(failures))
            .with("expectedVersion", format!("vmx-{HARDWARE_FLOOR}")),
        Some(Rule::GuestFloor | Rule::VcenterForGuest) => Fault::new("UnsupportedGuest", message)
            .with("property", "configSpec.guestId")
            .with("unsupportedGuestOS", guest_of(failures)),
        Some(Rule::PowerState) => power(power_of(failures), message, about),
        Some(Rule::ProviderOnTarget | Rule::KeyProvider) => key_required(key, message),
        Some(Rule::NativeProviderVcenter | Rule::NativeProviderBackup) => {
            key_required(key, message)
        }
        Some(Rule::SameKey) => {
            let id = key.map_or("", |(_, key)| key).to_owned();
            Fault::new("KeyNotFound", message).with("key", id)
        }
        _ => Fault::new("InvalidState", message),
    }
}

/// The power state that a failure is about: its text is "it is suspended; ...".
fn power_of(failures: &[Failure]) -> PowerState {
    let suspended = failures.iter().any(|failure| {
        failure.rule == Rule::PowerState
            && failure
                .detail
                .starts_with(&format!("it is {}", PowerState::Suspended.in_words()))
    });
    if suspended {
        PowerState::Suspended
    } else {
        PowerState::On
    }
}

/// The hardware version that a failure is about: its text is "... this VM has NN; ...".
fn hardware_of(failures: &[Failure]) -> String {
    let number = failures
        .iter()
        .filter(|failure| failure.rule == Rule::HardwareVersion)
        .find_map(|failure| failure.detail.split("this VM has ").nth(1))
        .and_then(|rest| rest.split(';').next())
        .unwrap_or_default();
    format!("vmx-{number}")
}

/// The guest that a failure is about: its text is "the guest NAME cannot ...".
fn guest_of(failures: &[Failure]) -> String {
    failures
        .iter()
        .filter(|failure| failure.rule == Rule::GuestFloor)
        .find_map(|failure| failure.detail.strip_prefix("the guest "))
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_inventory::requirements::{self, Candidate};

    fn broken(firmware: &str, hardware_version: u16, guest: &str) -> Box<Fault> {
        let guest = guest.parse().unwrap();
        let vcenter = "vc01".parse().unwrap();
        let failures = requirements::check(&Candidate {
            firmware: serde_json::from_value(firmware.into()).unwrap(),
            hardware_version,
            guest: &guest,
            vcenter: &vcenter,
            version: "8.0.3".parse().unwrap(),
            provider: None,
        });
        let vm = "vm".parse().unwrap();
        of(&Error::Requirements { vm, failures }, &About::default())
    }

    #[test]
    fn each_rule_has_its_fault() {
        assert_eq!(
            broken("bios", 21, "ubuntu64Guest").kind(),
            "InvalidVmConfig"
        );
        let hardware = broken("efi", 13, "ubuntu64Guest");
        assert_eq!(hardware.kind(), "DeviceUnsupportedForVmVersion");
        assert_eq!(
            hardware.detail.get("currentVersion"),
            Some(&"vmx-13".into())
        );
        let guest = broken("efi", 21, "freebsd14_64Guest");
        assert_eq!(guest.kind(), "UnsupportedGuest");
        assert_eq!(
            guest.detail.get("unsupportedGuestOS"),
            Some(&"freebsd14_64Guest".into())
        );
        let key = broken("efi", 21, "ubuntu64Guest");
        assert_eq!(key.kind(), "EncryptionKeyRequired");
        assert!(key.is_a("InvalidState"));
    }

    #[test]
    fn every_fault_has_only_fields_of_the_table() {
        let about = About::default();
        let name = || "x".parse::<vm_inventory::Name>().unwrap();
        for error in [
            Error::Exists {
                what: "VM",
                name: name(),
                place: String::new(),
            },
            Error::Power {
                vm: name(),
                is: PowerState::On,
                hint: "",
            },
            Error::NotFound {
                what: "VM",
                name: String::new(),
                hint: "",
            },
            Error::BadValue(String::new()),
            Error::NoTpm { vm: name() },
            Error::KeyRequired {
                vm: name(),
                file: "f".into(),
                provider: "kp".to_owned(),
                key_id: "1".to_owned(),
                reason: String::new(),
            },
            Error::Internal("x".to_owned()),
            "../x".parse::<vm_inventory::Name>().unwrap_err().into(),
        ] {
            let fault = of(&error, &about);
            assert!(fault.is_a("MethodFault"), "{}", fault.kind());
            assert_eq!(fault.detail.strangers(), Vec::<String>::new());
        }
    }
}
