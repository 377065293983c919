//! New VMs.

use super::reconfigure::{Crypto, Spec, TpmChange, given_key, settings};
use super::{Request, folders};
use crate::arguments::Read as _;
use crate::fault::{About, Fault, Outcome};
use crate::inventory::{self, World};
use crate::server::Work;
use crate::value::Value;
use crate::xml::Element;
use vm_inventory::model::Firmware;
use vm_inventory::{CreateVm, Error, Name, ReconfigureVm};

pub(super) fn create(request: &Request<'_>) -> Outcome<Option<Value>> {
    let world = request.world()?;
    let folder = folders::of_vms(world, &request.this)?;
    check_place(request, world)?;
    let config = request.object("config")?;
    let spec = Spec::read(config)?;
    let name = name(config.text_of("name").unwrap_or_default(), "config.name")?;
    // A VM that gets a TPM is encrypted for it.
    let mut encrypt = None;
    let (tpm, provider, key) = match (spec.tpm.clone(), spec.crypto.clone()) {
        (None, None | Some(Crypto::Nothing)) => (false, None, None),
        (Some(TpmChange::Add), None | Some(Crypto::Nothing)) => (true, None, None),
        (Some(TpmChange::Add), Some(Crypto::Encrypt(key))) => {
            (true, key.provider.clone(), key.id.clone())
        }
        (None, Some(Crypto::Encrypt(key))) => {
            encrypt = Some(key);
            (false, None, None)
        }
        (Some(TpmChange::Remove | TpmChange::Edit(_)), _) => {
            return Err(device_fault("a new VM has no device to change"));
        }
        (_, Some(_)) => {
            return Err(Fault::invalid_argument(
                "config.crypto",
                "a new VM can be encrypted, nothing else",
            ));
        }
    };
    let datastore = match spec.datastore.as_deref() {
        Some(named) => {
            let name: Option<Name> = named.parse().ok();
            let found = world
                .datastores
                .iter()
                .find(|it| Some(&it.name) == name.as_ref());
            let found = found.ok_or_else(|| {
                let shown: String = named.chars().take(80).collect();
                Fault::new(
                    "InvalidDatastore",
                    format!("this vCenter sees no datastore \"{shown}\""),
                )
                .with("name", shown)
            })?;
            Some(found.name.clone())
        }
        None => None,
    };
    let create = CreateVm {
        vcenter: Some(request.call.vcenter.name.clone()),
        datastore,
        tpm,
        firmware: spec.firmware()?,
        hardware_version: spec.hardware_version()?,
        guest: spec.guest()?,
        provider,
        ..CreateVm::named(name.clone())
    };
    let about = About {
        object: Some(request.this.clone()),
        ..About::default()
    };
    let (hardware, asked) = (spec.hardware, spec.asked);
    // What cannot be is refused before there is a VM.
    asked.applied("")?;
    let task = request
        .call
        .start("CreateVM_Task", &request.this, name.as_str(), move |work| {
            let made = work.run(work.act.create_vm(create), &about)?;
            let vm = made.vm.to_string();
            let finish = || -> Outcome<()> {
                if let Some(key) = key {
                    given_key(work, &vm, None, &key, false, &about)?;
                }
                if let Some(key) = encrypt {
                    let job = work.act.encrypt_vm(&vm, key.request());
                    work.run(job, &key.about(&about))?;
                }
                folders::put(work, &vm, folder, &about)?;
                let mut change = hardware.change();
                change.settings = settings(work, &vm, &asked, &about)?;
                change_hardware(work, &vm, change, &about)
            };
            or_undone(work, &vm, finish())?;
            Ok(Some(inventory::vm(made.vm).into()))
        })?;
    Ok(Some(task))
}

/// A VM that did not become what was asked for goes again.
pub(super) fn or_undone(work: &Work, vm: &str, outcome: Outcome<()>) -> Outcome<()> {
    outcome.inspect_err(|_| {
        if let Err(left) = work.run(work.act.delete_vm(vm), &About::default()) {
            tracing::warn!(%vm, "a VM that was made in part was not removed: {}", left.message);
        }
    })
}

/// What is said about processors, memory and notes.
#[derive(Clone, Debug, Default)]
pub(super) struct Hardware {
    pub(super) cpus: Option<u32>,
    pub(super) cores_per_socket: Option<u32>,
    pub(super) memory_mb: Option<u32>,
    pub(super) annotation: Option<String>,
}

impl Hardware {
    /// The change that it is.
    pub(super) fn change(&self) -> ReconfigureVm {
        ReconfigureVm {
            cpus: self.cpus,
            cores_per_socket: self.cores_per_socket,
            memory_mb: self.memory_mb,
            annotation: self.annotation.clone(),
            ..ReconfigureVm::default()
        }
    }
}

pub(super) fn change_hardware(
    work: &Work,
    vm: &str,
    change: ReconfigureVm,
    about: &About,
) -> Outcome<()> {
    if !change.is_empty() {
        work.run(work.act.reconfigure_vm(vm, change), about)?;
    }
    Ok(())
}

/// The pool and host that a request names are there.
pub(super) fn check_place(request: &Request<'_>, world: &World) -> Outcome<()> {
    for name in ["pool", "host"] {
        if let Some(named) = request.args.reference(name)?
            && !world.has(&named)
        {
            return Err(Fault::object_not_found(&named));
        }
    }
    Ok(())
}

pub(super) fn name(text: &str, property: &str) -> Outcome<Name> {
    if text.is_empty() {
        let message = "a VM needs a name";
        return Err(Fault::new("InvalidVmConfig", message).with("property", property));
    }
    text.parse().map_err(|error: vm_inventory::NameError| {
        let given: String = text.chars().take(80).collect();
        Fault::new("InvalidName", Error::from(error).to_string()).with("name", given)
    })
}

/// Something about a device cannot be.
pub(super) fn device_fault(message: impl Into<String>) -> Box<Fault> {
    Fault::new("InvalidDeviceSpec", message)
        .with("property", "configSpec.deviceChange[0].device")
        .with("deviceIndex", 0)
}

impl Spec {
    pub(super) fn firmware(&self) -> Outcome<Option<Firmware>> {
        match self.firmware.as_deref() {
            None => Ok(None),
            Some("efi") => Ok(Some(Firmware::Efi)),
            Some("bios") => Ok(Some(Firmware::Bios)),
            Some(_) => Err(Fault::new("InvalidVmConfig", "the firmware is efi or bios")
                .with("property", "configSpec.firmware")),
        }
    }

    pub(super) fn hardware_version(&self) -> Outcome<Option<u16>> {
        let Some(text) = self.version.as_deref() else {
            return Ok(None);
        };
        let number = text.strip_prefix("vmx-").and_then(|it| it.parse().ok());
        number.map(Some).ok_or_else(|| {
            Fault::new("InvalidVmConfig", "a hardware version is written as vmx-19")
                .with("property", "configSpec.version")
        })
    }

    pub(super) fn guest(&self) -> Outcome<Option<vm_inventory::guest::GuestOs>> {
        let Some(text) = self.guest.as_deref() else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|message: String| Fault::invalid_argument("configSpec.guestId", message))
    }
}

/// The name of the datastore in `[NAME] FOLDER/FILE`.
pub(super) fn datastore_of(config: &Element) -> Outcome<Option<String>> {
    let path = config
        .child("files")
        .and_then(|files| files.text_of("vmPathName"))
        .map(str::trim)
        .filter(|path| !path.is_empty());
    let Some(path) = path else {
        return Ok(None);
    };
    let name = path
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(name, _)| name.trim());
    match name {
        Some("") => Ok(None),
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(
            Fault::new("InvalidDatastorePath", "a path is [DATASTORE] FOLDER/FILE")
                .with("datastorePath", path.chars().take(200).collect::<String>()),
        ),
    }
}
