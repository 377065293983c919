//! Changes of a VM: its TPM, its keys, what is said about its hardware.

use super::Request;
use super::create::{Hardware, datastore_of, device_fault, name};
use super::power::target;
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::machine::Asked;
use crate::properties::TPM_KEY;
use crate::server::Work;
use crate::value::Value;
use crate::xml::Element;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vm_inventory::model::PowerState;
use vm_inventory::{EditTpm, EncryptVm, Name, ReconfigureVm, Rekey, VmView};

/// What a configuration says, as far as it is read here.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: Option<String>,
    pub(super) firmware: Option<String>,
    pub(super) version: Option<String>,
    pub(super) guest: Option<String>,
    pub(super) datastore: Option<String>,
    pub(super) hardware: Hardware,
    pub(super) asked: Asked,
    pub(super) tpm: Option<TpmChange>,
    pub(super) crypto: Option<Crypto>,
}

/// What is to happen to the TPM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TpmChange {
    Add,
    Remove,
    /// It gets these certificates of its endorsement keys (DER each).
    Edit(Vec<Vec<u8>>),
}

/// A key by its id, at a provider.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Key {
    pub(super) provider: Option<Name>,
    pub(super) id: Option<String>,
}

/// What is to happen to the VM's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Crypto {
    Nothing,
    Encrypt(Key),
    Decrypt,
    /// Another key of a provider; `deep` makes the data key anew too.
    Recrypt {
        key: Key,
        deep: bool,
    },
}

impl Spec {
    /// Reads a configuration.
    pub(super) fn read(config: &Element) -> Outcome<Self> {
        let text = |name: &str| {
            config
                .text_of(name)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        let number = |name: &'static str| -> Outcome<Option<u32>> {
            match config.number(name) {
                None => Ok(None),
                Some(number) => u32::try_from(number).map(Some).map_err(|_| {
                    Fault::invalid_argument(
                        &format!("configSpec.{name}"),
                        format!("{number} is out of range"),
                    )
                }),
            }
        };
        let mut tpm = None;
        for change in config.all("deviceChange") {
            let Some(device) = change.child("device") else {
                continue;
            };
            let Some(change) = tpm_change(change, device)? else {
                continue;
            };
            if tpm.replace(change).is_some() {
                return Err(device_fault(
                    "a VM has at most one TPM; change it once at a time",
                ));
            }
        }
        Ok(Self {
            name: text("name"),
            firmware: text("firmware"),
            version: text("version"),
            guest: text("guestId"),
            datastore: datastore_of(config)?,
            hardware: Hardware {
                cpus: number("numCPUs")?,
                cores_per_socket: number("numCoresPerSocket")?.filter(|it| *it > 0),
                memory_mb: number("memoryMB")?,
                annotation: config.text_of("annotation").map(str::to_owned),
            },
            asked: Asked::read(config)?,
            tpm,
            crypto: config.child("crypto").map(crypto).transpose()?,
        })
    }
}

fn tpm_change(change: &Element, device: &Element) -> Outcome<Option<TpmChange>> {
    let operation = change.text_of("operation").unwrap_or_default().trim();
    let by_key = device.number("key") == Some(i64::from(TPM_KEY));
    let is_tpm = device.kind.as_deref() == Some("VirtualTPM");
    // Whoever removes a device may name it by its key alone.
    let goes_by_key = by_key && operation == "remove" && device.kind.is_none();
    if !is_tpm && !goes_by_key {
        return Ok(None);
    }
    match operation {
        "add" => Ok(Some(TpmChange::Add)),
        "remove" => Ok(Some(TpmChange::Remove)),
        "edit" => Ok(Some(TpmChange::Edit(
            device.bytes("endorsementKeyCertificate"),
        ))),
        _ => Err(device_fault(
            "say whether the TPM is to be added, removed or edited",
        )),
    }
}

fn crypto(element: &Element) -> Outcome<Crypto> {
    let key = |name: &str| -> Outcome<Key> {
        let key = element
            .child(name)
            .ok_or_else(|| Fault::invalid_argument("configSpec.crypto", "it names no key"))?;
        read_key(key)
    };
    match element.kind.as_deref() {
        Some("CryptoSpecEncrypt") => Ok(Crypto::Encrypt(key("cryptoKeyId")?)),
        Some("CryptoSpecDecrypt") => Ok(Crypto::Decrypt),
        Some("CryptoSpecShallowRecrypt") => Ok(Crypto::Recrypt {
            key: key("newKeyId")?,
            deep: false,
        }),
        Some("CryptoSpecDeepRecrypt") => Ok(Crypto::Recrypt {
            key: key("newKeyId")?,
            deep: true,
        }),
        Some("CryptoSpecNoOp" | "CryptoSpecRegister") => Ok(Crypto::Nothing),
        _ => Err(Fault::invalid_argument(
            "configSpec.crypto",
            "say by its type what is to happen to the keys",
        )),
    }
}

/// A key by its id and provider; an empty id asks for a new one.
pub(super) fn read_key(element: &Element) -> Outcome<Key> {
    let provider = element
        .child("providerId")
        .and_then(|provider| provider.text_of("id"))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let provider = match provider {
        Some(name) => Some(name.parse().map_err(|_| {
            Fault::invalid_argument("cryptoKeyId.providerId", "there is no such key provider")
        })?),
        None => None,
    };
    let id = element.text_of("keyId").unwrap_or_default().trim();
    Ok(Key {
        provider,
        id: (!id.is_empty()).then(|| id.to_owned()),
    })
}

pub(super) fn reconfigure(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    super::entity::no_template(request, "changed")?;
    let spec = Spec::read(request.object("spec")?)?;
    let mut steps = Steps::of(vm, spec.clone())?;
    steps.settle(vm, &spec)?;
    let about = About {
        key: vm
            .provider
            .as_ref()
            .map(|provider| (provider.to_string(), String::new())),
        ..about
    };
    let id = vm.id.to_string();
    let task = request.call.start(
        "ReconfigVM_Task",
        &request.this,
        vm.name.as_str(),
        move |work| {
            steps.take(work, &id, &about)?;
            Ok(None)
        },
    )?;
    Ok(Some(task))
}

/// A change of whether a VM is encrypted for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Encryption {
    Begin(Key),
    End,
}

impl Encryption {
    fn take(&self, work: &Work, vm: &str, about: &About) -> Outcome<()> {
        let job = match self {
            Self::Begin(key) => work.act.encrypt_vm(vm, key.request()),
            Self::End => work.act.decrypt_vm(vm),
        };
        work.run(job, about)?;
        Ok(())
    }
}

impl Key {
    /// What faults tell of it.
    pub(super) fn about(&self, about: &About) -> About {
        let Some(provider) = &self.provider else {
            return about.clone();
        };
        About {
            key: Some((provider.to_string(), self.id.clone().unwrap_or_default())),
            ..about.clone()
        }
    }

    /// The request to encrypt a VM under it.
    pub(super) fn request(&self) -> EncryptVm {
        EncryptVm {
            provider: self.provider.clone(),
            key_id: self.id.clone(),
        }
    }
}

/// What a change of a VM takes, in its order.
pub(super) struct Steps {
    edit: Option<EditTpm>,
    /// The key that the VM goes under.
    rekey: Option<(Key, bool)>,
    /// Whether it is encrypted for itself from now on, or not any more.
    encryption: Option<Encryption>,
    /// The certificates that the TPM's endorsement keys are to have (DER each).
    certificates: Vec<Vec<u8>>,
    /// What the VM is made for: changed before its TPM, put back if that is refused.
    settings: ReconfigureVm,
    before: ReconfigureVm,
    /// What is said about it, and its name.
    change: ReconfigureVm,
    /// Its devices, and what else is said about it.
    asked: Asked,
}

impl Steps {
    /// Refuses what makes no sense for the VM as it is.
    pub(super) fn of(vm: &VmView, spec: Spec) -> Outcome<Self> {
        let present = vm.tpm.present;
        let encrypted = present || vm.encrypted;
        let remove = EditTpm {
            present: false,
            provider: None,
            profile: None,
            // This interface has no word for it.
            confirm: true,
        };
        let mut steps = Self {
            edit: None,
            rekey: None,
            encryption: None,
            certificates: Vec::new(),
            settings: ReconfigureVm::default(),
            before: ReconfigureVm::default(),
            change: spec.hardware.change(),
            asked: spec.asked,
        };
        let wrong = |message: &str| Fault::invalid_argument("configSpec.crypto", message);
        match (spec.tpm, spec.crypto) {
            (Some(TpmChange::Remove | TpmChange::Edit(_)), _) if !present => {
                return Err(device_fault("the VM has no TPM"));
            }
            (Some(TpmChange::Edit(certificates)), crypto) => {
                if !matches!(crypto, None | Some(Crypto::Nothing)) {
                    return Err(wrong(
                        "change the certificates and the keys one after the other",
                    ));
                }
                steps.certificates = certificates;
            }
            (Some(TpmChange::Add), _) if present => {
                return Err(device_fault(
                    "the VM has a TPM already; there is at most one",
                ));
            }
            (Some(TpmChange::Add), crypto) => {
                let key = match crypto {
                    None | Some(Crypto::Nothing) => Key::default(),
                    Some(_) if encrypted => {
                        return Err(wrong(
                            "the VM is encrypted already; change its keys and its TPM one after the other",
                        ));
                    }
                    Some(Crypto::Encrypt(key)) => key,
                    Some(_) => return Err(wrong("the VM is not encrypted yet")),
                };
                steps.edit = Some(EditTpm {
                    present: true,
                    provider: key.provider.clone(),
                    ..remove
                });
                if key.id.is_some() {
                    steps.rekey = Some((key, false));
                }
            }
            (Some(TpmChange::Remove), Some(Crypto::Decrypt)) => {
                steps.edit = Some(remove);
                // One that is encrypted for its TPM is not any more without it.
                steps.encryption = vm.encrypted.then_some(Encryption::End);
            }
            (Some(TpmChange::Remove), None | Some(Crypto::Nothing)) => {
                steps.edit = Some(remove);
            }
            (Some(TpmChange::Remove), Some(_)) if vm.encrypted => {
                return Err(wrong(
                    "change the TPM of the VM and its keys one after the other",
                ));
            }
            (Some(TpmChange::Remove), Some(_)) => {
                return Err(wrong("the VM is not encrypted any more without its TPM"));
            }
            (None, None | Some(Crypto::Nothing)) => {}
            (None, Some(Crypto::Recrypt { key, deep })) if encrypted => {
                steps.rekey = Some((key, deep));
            }
            (None, Some(Crypto::Encrypt(_))) if encrypted => {
                return Err(Fault::new("InvalidState", "the VM is encrypted already"));
            }
            (None, Some(Crypto::Encrypt(key))) => {
                steps.encryption = Some(Encryption::Begin(key));
            }
            (None, Some(Crypto::Decrypt)) if present => {
                return Err(Fault::new(
                    "InvalidState",
                    "a VM with a TPM is encrypted; remove the TPM in the same request",
                ));
            }
            (None, Some(Crypto::Decrypt)) if encrypted => {
                steps.encryption = Some(Encryption::End);
            }
            (None, Some(Crypto::Decrypt | Crypto::Recrypt { .. })) => {
                return Err(Fault::new("InvalidState", "the VM is not encrypted"));
            }
        }
        Ok(steps)
    }

    /// What changes of the VM besides its TPM and its keys.
    pub(super) fn settle(&mut self, vm: &VmView, spec: &Spec) -> Outcome<()> {
        self.change.name = match spec.name.as_deref() {
            Some(text) => Some(name(&crate::inventory::decoded(text), "spec.name")?),
            None => None,
        }
        .filter(|name| *name != vm.name);
        self.settings = ReconfigureVm {
            firmware: spec.firmware()?.filter(|it| *it != vm.firmware),
            hardware_version: spec
                .hardware_version()?
                .filter(|it| *it != vm.hardware_version),
            guest: spec.guest()?.filter(|it| *it != vm.guest),
            ..ReconfigureVm::default()
        };
        self.before = ReconfigureVm {
            firmware: Some(vm.firmware),
            hardware_version: Some(vm.hardware_version),
            guest: Some(vm.guest.clone()),
            ..ReconfigureVm::default()
        };
        Ok(())
    }

    pub(super) fn take(self, work: &Work, vm: &str, about: &About) -> Outcome<()> {
        let about = &About {
            wants: Some(PowerState::Off),
            ..about.clone()
        };
        let removes = self.edit.as_ref().is_some_and(|edit| !edit.present);
        let mut change = self.change.clone();
        change.settings = settings(work, vm, &self.asked, about)?;
        if removes && let Some(edit) = &self.edit {
            // Without a TPM the VM may become what none with one may be.
            work.run(work.act.edit_tpm(vm, edit), about)?;
        }
        if !self.settings.is_empty() {
            work.run(work.act.reconfigure_vm(vm, self.settings.clone()), about)?;
        }
        let keys = self.change_keys(work, vm, about, removes);
        if keys.is_err() && !self.settings.is_empty() {
            work.run(work.act.reconfigure_vm(vm, self.before.clone()), about)?;
        }
        keys?;
        if !change.is_empty() {
            work.run(work.act.reconfigure_vm(vm, change), about)?;
        }
        Ok(())
    }

    /// Adds a TPM, changes keys, puts certificates in.
    fn change_keys(&self, work: &Work, vm: &str, about: &About, removed: bool) -> Outcome<()> {
        let added = self.edit.as_ref().is_some_and(|edit| edit.present);
        if !removed && let Some(edit) = &self.edit {
            work.run(work.act.edit_tpm(vm, edit), about)?;
        }
        if let Some(encryption) = &self.encryption {
            let named = match encryption {
                Encryption::Begin(key) => key.about(about),
                Encryption::End => about.clone(),
            };
            encryption.take(work, vm, &named)?;
        }
        if let Some((key, deep)) = &self.rekey {
            let rekeyed = given_key(
                work,
                vm,
                key.provider.clone(),
                key.id.as_deref().unwrap_or_default(),
                *deep,
                about,
            );
            if rekeyed.is_err() && added {
                // Nothing was asked for but a TPM under that key.
                let undo = EditTpm {
                    present: false,
                    provider: None,
                    profile: None,
                    confirm: true,
                };
                work.run(work.act.edit_tpm(vm, &undo), about)?;
            }
            rekeyed?;
        }
        if !self.certificates.is_empty() {
            put_certificates(work, vm, &self.certificates, about)?;
        }
        Ok(())
    }
}

/// What is to be kept of a VM, if something is asked for.
pub(super) fn settings(
    work: &Work,
    vm: &str,
    asked: &Asked,
    about: &About,
) -> Outcome<Option<String>> {
    if asked.is_empty() {
        return Ok(None);
    }
    let known = work.act.vm_hardware(vm);
    let known = known.map_err(|error| fault::of(&error, about))?;
    asked.applied(&known.settings).map(Some)
}

/// Puts certificates into the TPM, each in the place of the one of the same key. Those that it has stay.
fn put_certificates(work: &Work, vm: &str, certificates: &[Vec<u8>], about: &About) -> Outcome<()> {
    let keys = work
        .act
        .endorsement_keys(vm)
        .map_err(|error| fault::of(&error, about))?;
    for certificate in certificates {
        let known = keys
            .iter()
            .filter_map(|key| key.certificate.as_ref())
            .any(|it| it.der.0 == *certificate);
        if !known {
            let text = STANDARD.encode(certificate);
            work.run(work.act.set_ek_certificate(vm, text), about)?;
        }
    }
    Ok(())
}

/// Puts a VM under a key: that of an id, or a new one if the id is empty.
pub(super) fn given_key(
    work: &Work,
    vm: &str,
    provider: Option<Name>,
    key: &str,
    deep: bool,
    about: &About,
) -> Outcome<()> {
    let own = || work.act.vm(vm).ok().and_then(|vm| vm.provider);
    let about = match provider.clone().or_else(own) {
        Some(provider) => About {
            key: Some((provider.to_string(), key.to_owned())),
            ..about.clone()
        },
        None => about.clone(),
    };
    let request = Rekey { provider, deep };
    let key = (!key.is_empty()).then_some(key);
    work.run(work.act.rekey_vm_under(vm, request, key), &about)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::world;
    use crate::xml::{Limits, read};

    fn spec(body: &str) -> Outcome<Spec> {
        let text =
            format!("<spec xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>{body}</spec>");
        Spec::read(&read(text.as_bytes(), Limits::default()).unwrap())
    }

    fn device(operation: &str, kind: &str, key: i32) -> String {
        format!(
            "<deviceChange><operation>{operation}</operation><device xsi:type='{kind}'><key>{key}</key></device></deviceChange>"
        )
    }

    #[test]
    fn a_tpm_is_found_among_devices() {
        let both =
            device("add", "VirtualLsiLogicController", 1000) + &device("add", "VirtualTPM", -1);
        assert_eq!(spec(&both).unwrap().tpm, Some(TpmChange::Add));
        let twice = device("remove", "VirtualTPM", 11000) + &device("add", "VirtualTPM", -1);
        assert_eq!(spec(&twice).unwrap_err().kind(), "InvalidDeviceSpec");
        assert_eq!(spec(&device("add", "VirtualDisk", 1)).unwrap().tpm, None);
    }

    #[test]
    fn what_cannot_be_done_with_a_vm_is_refused_before_anything_begins() {
        let vm = world().vms.remove(0);
        let mut plain = vm.clone();
        plain.tpm.present = false;
        plain.provider = None;
        let kind = |vm: &VmView, body: &str| match Steps::of(vm, spec(body).unwrap()) {
            Ok(_) => "fine",
            Err(fault) => fault.kind(),
        };
        let add = device("add", "VirtualTPM", -1);
        let remove = device("remove", "VirtualTPM", 11000);
        let crypto = |kind: &str, field: &str| {
            format!("<crypto xsi:type='{kind}'><{field}><keyId>1</keyId></{field}></crypto>")
        };
        assert_eq!(kind(&vm, &add), "InvalidDeviceSpec");
        assert_eq!(kind(&plain, &add), "fine");
        assert_eq!(kind(&plain, &remove), "InvalidDeviceSpec");
        assert_eq!(kind(&vm, &remove), "fine");
        assert_eq!(
            kind(&vm, &crypto("CryptoSpecShallowRecrypt", "newKeyId")),
            "fine"
        );
        assert_eq!(
            kind(&plain, &crypto("CryptoSpecDeepRecrypt", "newKeyId")),
            "InvalidState"
        );
        assert_eq!(
            kind(&vm, &crypto("CryptoSpecEncrypt", "cryptoKeyId")),
            "InvalidState"
        );
        // A VM without a TPM is encrypted for itself.
        let own = VmView {
            encrypted: true,
            provider: vm.provider.clone(),
            ..plain.clone()
        };
        let encrypt = crypto("CryptoSpecEncrypt", "cryptoKeyId");
        let decrypt = "<crypto xsi:type='CryptoSpecDecrypt'/>";
        assert_eq!(kind(&plain, &encrypt), "fine");
        assert_eq!(kind(&own, &encrypt), "InvalidState");
        assert_eq!(kind(&own, decrypt), "fine");
        assert_eq!(kind(&plain, decrypt), "InvalidState");
        assert_eq!(kind(&vm, decrypt), "InvalidState");
        assert_eq!(kind(&own, &add), "fine");
        assert_eq!(
            kind(&own, &crypto("CryptoSpecDeepRecrypt", "newKeyId")),
            "fine"
        );
        assert_eq!(
            kind(&plain, &(add + &crypto("CryptoSpecEncrypt", "cryptoKeyId"))),
            "fine"
        );
    }
}
