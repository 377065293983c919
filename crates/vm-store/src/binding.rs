//! The keys of a `.vmx` that a TPM depends on, authenticated under the VM's data key (`docs/vm-file-format.md`, 2).

use crate::{
    error::StoreError,
    identity::Identity,
    key_provider::KeyLocator,
    name::check_file_name,
    seal::{self, DataKey, WrappedKey},
    vmx::Vmx,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{fmt, path::Path};
use uuid::Uuid;

/// How a TPM came to be, or what a template asks of its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TpmProvisioning {
    /// A fresh TPM.
    New,
    /// All secrets of the source.
    Copy,
    /// A fresh TPM in place of the source's.
    Replace,
}

impl TpmProvisioning {
    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Copy => "copy",
            Self::Replace => "replace",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::New, Self::Copy, Self::Replace]
            .into_iter()
            .find(|provisioning| provisioning.name() == text)
    }
}

impl fmt::Display for TpmProvisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a VM is encrypted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encryption {
    /// For its TPM: it ends when the TPM goes.
    #[default]
    ForTpm,
    /// For the VM itself, whether it has a TPM or not.
    OfVm {
        /// Whether it has one.
        tpm: bool,
    },
}

impl Encryption {
    /// Whether there is a TPM.
    pub fn has_tpm(self) -> bool {
        matches!(self, Self::ForTpm | Self::OfVm { tpm: true })
    }

    /// Whether the VM stays encrypted without a TPM.
    pub fn is_of_vm(self) -> bool {
        matches!(self, Self::OfVm { .. })
    }

    /// The format version that says so: readers that know version 1 only refuse what they would misread.
    fn format_version(self) -> &'static str {
        match self {
            Self::ForTpm => FORMAT_VERSION,
            Self::OfVm { .. } => FORMAT_VERSION_OF_VM,
        }
    }
}

/// What ties a VM's settings to its TPM, or to the data key of a VM that is encrypted without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmBinding {
    /// What the VM is encrypted for.
    pub encryption: Encryption,
    /// Who the VM is.
    pub identity: Identity,
    /// File name of the `.nvram`, in the same folder.
    pub nvram: String,
    /// How the TPM came to be.
    pub provisioning: TpmProvisioning,
    /// The generation that the `.nvram` has at least.
    pub generation_floor: u64,
    /// Which key wraps the data key.
    pub locator: KeyLocator,
    /// The wrapped data key.
    pub wrapped: WrappedKey,
}

impl TpmBinding {
    /// Reads the keys, without trusting them; `None` for a VM that is not encrypted.
    pub(crate) fn read(vmx: &Vmx, path: &Path) -> Result<Option<Self>, StoreError> {
        let damaged = |reason: String| StoreError::damaged(path, reason);
        let wrong =
            |key: &str| damaged(format!("the key {key} is missing or not as it was written"));
        let present = vmx.get(PRESENT).unwrap_or("FALSE");
        let tpm = present == "TRUE";
        if !tpm && !present.eq_ignore_ascii_case("FALSE") {
            return Err(wrong(PRESENT));
        }
        let encryption = match vmx.get(FORMAT) {
            Some(FORMAT_VERSION) if tpm => Encryption::ForTpm,
            Some(FORMAT_VERSION_OF_VM) => Encryption::OfVm { tpm },
            _ if !tpm => {
                if let Some(key) = KEYS_OF_TPM.iter().find(|key| vmx.get(key).is_some()) {
                    return Err(damaged(format!(
                        "it says that there is no TPM, but has the key {key}"
                    )));
                }
                return Ok(None);
            }
            Some(found) if found.parse::<u16>().is_ok() => {
                return Err(StoreError::UnsupportedVersion {
                    path: path.to_path_buf(),
                    found: found.to_owned(),
                    supported: 2,
                });
            }
            _ => return Err(wrong(FORMAT)),
        };
        let nvram = vmx.get(NVRAM).ok_or_else(|| wrong(NVRAM))?;
        check_file_name(nvram).map_err(|rule| {
            damaged(format!(
                "the key {NVRAM} names no file in the VM's folder: {rule}"
            ))
        })?;
        let wrapped = vmx.get(DATA).and_then(|text| STANDARD.decode(text).ok());
        Ok(Some(Self {
            encryption,
            identity: read_identity(vmx).map_err(wrong)?,
            nvram: nvram.to_owned(),
            provisioning: vmx
                .get(PROVISIONING)
                .and_then(TpmProvisioning::parse)
                .ok_or_else(|| wrong(PROVISIONING))?,
            generation_floor: vmx
                .get(GENERATION)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| wrong(GENERATION))?,
            locator: vmx
                .get(KEY_SAFE)
                .and_then(KeyLocator::parse)
                .ok_or_else(|| wrong(KEY_SAFE))?,
            wrapped: WrappedKey::from_bytes(wrapped.ok_or_else(|| wrong(DATA))?),
        }))
    }

    /// Checks that the keys are what was written under this data key.
    pub(crate) fn verify(vmx: &Vmx, path: &Path, key: &DataKey) -> Result<(), StoreError> {
        let stored = vmx
            .get(AUTHENTICATION)
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| {
                StoreError::damaged(
                    path,
                    format!("the key {AUTHENTICATION} is missing or not as it was written"),
                )
            })?;
        if seal::equal(&stored, &authentication(vmx, key)) {
            return Ok(());
        }
        Err(StoreError::damaged(
            path,
            format!(
                "one of the keys that the TPM depends on was changed ({})",
                AUTHENTICATED.join(", ")
            ),
        ))
    }

    /// Writes the keys and authenticates them.
    pub(crate) fn write(&self, vmx: &mut Vmx, key: &DataKey) {
        write_identity(vmx, &self.identity);
        for (name, value) in [
            (FORMAT, self.encryption.format_version().to_owned()),
            (PRESENT, present(self.encryption.has_tpm()).to_owned()),
            (NVRAM, self.nvram.clone()),
            (PROVISIONING, self.provisioning.to_string()),
            (GENERATION, self.generation_floor.to_string()),
            (KEY_SAFE, self.locator.to_string()),
            (DATA, STANDARD.encode(self.wrapped.as_bytes())),
        ] {
            vmx.set(name, &value);
        }
        let authentication = authentication(vmx, key);
        vmx.set(AUTHENTICATION, &STANDARD.encode(authentication));
    }

    /// Takes the keys out: a VM that is not encrypted and has no TPM.
    pub(crate) fn clear(vmx: &mut Vmx) {
        for key in KEYS_OF_TPM {
            vmx.remove(key);
        }
        vmx.remove(NVRAM);
        vmx.set(PRESENT, present(false));
    }
}

fn present(tpm: bool) -> &'static str {
    if tpm { "TRUE" } else { "FALSE" }
}

/// Whether this key is ours to write: not to be edited, and not to be taken over by a copy.
pub(crate) fn is_authenticated(key: &str) -> bool {
    AUTHENTICATED
        .iter()
        .chain(&[AUTHENTICATION])
        .any(|ours| ours.eq_ignore_ascii_case(key))
}

/// The ids in a `.vmx`; the error is the key that is wrong.
pub(crate) fn read_identity(vmx: &Vmx) -> Result<Identity, &'static str> {
    let id = |key: &'static str| {
        vmx.get(key)
            .and_then(|text| Uuid::try_parse(text).ok())
            .ok_or(key)
    };
    Ok(Identity {
        vm_id: id(VM_ID)?,
        instance_id: id(INSTANCE_ID)?,
    })
}

pub(crate) fn write_identity(vmx: &mut Vmx, identity: &Identity) {
    vmx.set(VM_ID, &identity.vm_id.to_string());
    vmx.set(INSTANCE_ID, &identity.instance_id.to_string());
}

fn authentication(vmx: &Vmx, key: &DataKey) -> [u8; 32] {
    let mut message = Vec::new();
    let mut field = |bytes: &[u8]| {
        // A .vmx has at most 1 MiB, so its lengths fit.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(bytes);
    };
    for name in AUTHENTICATED {
        field(name.as_bytes());
        let value = vmx.get(name);
        field(&[u8::from(value.is_some())]);
        field(value.unwrap_or_default().as_bytes());
    }
    let key = seal::derive(key.expose(), None, &[b"vtpm.vmx.authentication.v1"]);
    seal::mac(&key, &[&message])
}

const FORMAT: &str = "vtpm.format";
const VM_ID: &str = "uuid.bios";
const INSTANCE_ID: &str = "vc.uuid";
const PRESENT: &str = "vtpm.present";
const NVRAM: &str = "nvram";
const PROVISIONING: &str = "vtpm.provisioning";
const GENERATION: &str = "vtpm.generation";
const KEY_SAFE: &str = "encryption.keySafe";
const DATA: &str = "encryption.data";
const AUTHENTICATION: &str = "vtpm.authentication";
const FORMAT_VERSION: &str = "1";
/// That of a VM which is encrypted for itself.
const FORMAT_VERSION_OF_VM: &str = "2";

const AUTHENTICATED: [&str; 9] = [
    FORMAT,
    VM_ID,
    INSTANCE_ID,
    PRESENT,
    NVRAM,
    PROVISIONING,
    GENERATION,
    KEY_SAFE,
    DATA,
];

/// Keys that only an encrypted VM has.
const KEYS_OF_TPM: [&str; 6] = [
    FORMAT,
    PROVISIONING,
    GENERATION,
    KEY_SAFE,
    DATA,
    AUTHENTICATION,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_provider::{KeyCheckValue, KeyId};

    fn sample() -> (Vmx, TpmBinding, DataKey) {
        sample_of(Encryption::ForTpm)
    }

    fn sample_of(encryption: Encryption) -> (Vmx, TpmBinding, DataKey) {
        let mut vmx = Vmx::parse(b"displayName = \"x\"\n").unwrap();
        let key = DataKey::generate().unwrap();
        let binding = TpmBinding {
            encryption,
            identity: Identity::random().unwrap(),
            nvram: "x.nvram".to_owned(),
            provisioning: TpmProvisioning::Copy,
            generation_floor: 17,
            locator: KeyLocator {
                provider: "kp".to_owned(),
                key_id: KeyId::new("id").unwrap(),
                check: KeyCheckValue::parse("0011223344556677").unwrap(),
            },
            wrapped: WrappedKey::from_bytes(vec![1; 81]),
        };
        binding.write(&mut vmx, &key);
        (vmx, binding, key)
    }

    fn reread(text: &[u8]) -> Result<Option<TpmBinding>, StoreError> {
        let path = Path::new("x.vmx");
        TpmBinding::read(&Vmx::parse(text).map_err(|fault| fault.at(path))?, path)
    }

    #[test]
    fn a_binding_reads_back_and_verifies() {
        let (vmx, binding, key) = sample();
        assert_eq!(reread(vmx.to_text().as_bytes()).unwrap(), Some(binding));
        TpmBinding::verify(&vmx, Path::new("x"), &key).unwrap();
        assert!(TpmBinding::verify(&vmx, Path::new("x"), &DataKey::generate().unwrap()).is_err());
    }

    #[test]
    fn ordinary_keys_are_free_and_authenticated_ones_are_not() {
        let (vmx, _, key) = sample();
        let mut edited = vmx.clone();
        edited.set("displayName", "other");
        edited.set("memsize", "4096");
        TpmBinding::verify(&edited, Path::new("x"), &key).unwrap();
        for name in AUTHENTICATED {
            let mut edited = vmx.clone();
            edited.set(name, "other");
            assert!(
                TpmBinding::verify(&edited, Path::new("x"), &key).is_err(),
                "{name}"
            );
            edited.remove(name);
            assert!(
                TpmBinding::verify(&edited, Path::new("x"), &key).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn every_bit_of_the_text_is_refused_or_harmless() {
        for encryption in [
            Encryption::ForTpm,
            Encryption::OfVm { tpm: true },
            Encryption::OfVm { tpm: false },
        ] {
            no_bit_matters(sample_of(encryption));
        }
    }

    fn no_bit_matters((vmx, binding, key): (Vmx, TpmBinding, DataKey)) {
        let text = vmx.to_text().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                let Ok(vmx) = Vmx::parse(&changed) else {
                    continue;
                };
                let Ok(read) = TpmBinding::read(&vmx, Path::new("x")) else {
                    continue;
                };
                if TpmBinding::verify(&vmx, Path::new("x"), &key).is_ok() {
                    assert_eq!(read.as_ref(), Some(&binding), "byte {at} bit {bit}");
                }
                // Never taken for a VM without a TPM.
                assert!(read.is_some(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn what_a_vm_is_encrypted_for_is_authenticated() {
        let (vmx, binding, key) = sample_of(Encryption::OfVm { tpm: false });
        assert_eq!(vmx.get(FORMAT), Some("2"));
        assert_eq!(vmx.get(PRESENT), Some("FALSE"));
        assert_eq!(reread(vmx.to_text().as_bytes()).unwrap(), Some(binding));
        for (name, value) in [(FORMAT, "1"), (FORMAT, "3"), (PRESENT, "TRUE")] {
            let mut other = vmx.clone();
            other.set(name, value);
            let read = TpmBinding::read(&other, Path::new("x"));
            assert!(
                read.is_err() || TpmBinding::verify(&other, Path::new("x"), &key).is_err(),
                "{name} {value}"
            );
        }
    }

    #[test]
    fn a_plain_vm_with_leftover_keys_is_refused() {
        let (mut vmx, ..) = sample();
        vmx.set(PRESENT, "FALSE");
        assert!(TpmBinding::read(&vmx, Path::new("x")).is_err());
        vmx.remove(PRESENT);
        assert!(TpmBinding::read(&vmx, Path::new("x")).is_err());
        TpmBinding::clear(&mut vmx);
        assert_eq!(TpmBinding::read(&vmx, Path::new("x")).unwrap(), None);
    }
}
