//! What a certificate of a TPM's key says, and for how long (EK Credential Profile, 3.2; RFC 5280, 4.2).

use std::time::{Duration, SystemTime};

use der::Sequence;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use tpm_wire::object::{TpmtPublic, TpmuPublicParms};
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
use x509_cert::ext::pkix::{
    ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectDirectoryAttributes,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::time::{Time, Validity};

use super::identity::{PlatformIdentity, Specification, TpmIdentity};
use super::name::name;
use crate::Error;
use crate::ek::Usage;

const fn oid(text: &'static str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const TPM_MANUFACTURER: ObjectIdentifier = oid("2.23.133.2.1");
const TPM_MODEL: ObjectIdentifier = oid("2.23.133.2.2");
const TPM_VERSION: ObjectIdentifier = oid("2.23.133.2.3");
const TPM_SPECIFICATION: ObjectIdentifier = oid("2.23.133.2.16");
const PLATFORM_MANUFACTURER: ObjectIdentifier = oid("2.23.133.5.1.1");
const PLATFORM_MODEL: ObjectIdentifier = oid("2.23.133.5.1.4");
const PLATFORM_VERSION: ObjectIdentifier = oid("2.23.133.5.1.5");
const EK_CERTIFICATE: ObjectIdentifier = oid("2.23.133.8.1");
const PLATFORM_CERTIFICATE: ObjectIdentifier = oid("2.23.133.8.2");
const AK_CERTIFICATE: ObjectIdentifier = oid("2.23.133.8.3");
/// Hardware that is a TPM 2.0.
const TPM_2_0: ObjectIdentifier = oid("2.23.133.1.2");

/// How far others' clocks may be behind ours: what is issued now holds for them, too. Even on one machine, `time(2)` takes the clock of the
/// last tick and may be in the second before.
const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// The time from which on something that is issued now is valid: a little while ago (RFC 5280, 4.1.2.5 and 5.1.2.4).
#[must_use]
pub fn validity_start() -> SystemTime {
    SystemTime::now() - CLOCK_SKEW
}

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Without an end, as a TPM has no end that anyone knows (RFC 5280, 4.1.2.5).
    #[default]
    Endless,
    /// This many days.
    Days(u32),
}

impl Lifetime {
    pub(super) fn from(self, start: SystemTime) -> Result<Validity, Error> {
        let not_after = match self {
            Self::Endless => Time::INFINITY,
            Self::Days(days) => {
                let length = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
                Time::try_from(start + length)?
            }
        };
        Ok(Validity::new(Time::try_from(start)?, not_after))
    }
}

/// What a key is certified to be.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// An endorsement key.
    Endorsement {
        /// The TPM that has it.
        tpm: &'a TpmIdentity,
        /// What it may do.
        usage: Usage,
    },
    /// The endorsement key of the TPM in a platform: a public key certificate, as swtpm makes it.
    Platform {
        /// The TPM.
        tpm: &'a TpmIdentity,
        /// The platform.
        platform: &'a PlatformIdentity,
        /// What the key may do.
        usage: Usage,
    },
    /// An attestation key, which has its TPM's name as an endorsement key has.
    Attestation {
        /// The TPM that has it.
        tpm: &'a TpmIdentity,
    },
    /// An initial attestation key or an initial device identity.
    Device {
        /// The serial number of the TPM: manufacturer, key id of the endorsement certificate's issuer, and serial number of that
        /// certificate, with colons between them.
        serial: &'a str,
    },
}

/// A certificate that is asked for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The public area of the key.
    pub key: &'a TpmtPublic,
    /// What it is.
    pub purpose: Purpose<'a>,
    /// The name of the subject, which may be empty.
    pub subject: Name,
    /// The serial number, of which the authority must never give one twice.
    pub serial: u128,
    /// From when on the certificate is valid.
    pub start: SystemTime,
    /// For how long.
    pub lifetime: Lifetime,
}

/// `TPMSpecification` (EK Credential Profile, annex A).
#[derive(Sequence)]
struct TpmSpecification {
    family: String,
    level: u32,
    revision: u32,
}

impl Request<'_> {
    /// The extensions that depend on the purpose.
    pub(super) fn extensions(&self) -> Result<Vec<Extension>, Error> {
        let subject = &self.subject;
        let mut extensions = Vec::new();
        let mut add = |extension: Result<Extension, der::Error>| {
            extensions.push(extension?);
            Ok::<_, Error>(())
        };
        // Devices are known by their subject; a TPM is known by this name alone, whatever its subject says.
        let critical = !matches!(self.purpose, Purpose::Device { .. }) || subject.is_empty();
        let names = SubjectAltName(vec![self.alternative_name()?]);
        add((critical, &names).to_extension(subject, &[]))?;
        add((true, &KeyUsage(self.key_usage())).to_extension(subject, &[]))?;
        match self.purpose {
            Purpose::Endorsement { tpm, .. } => {
                let usage = ExtendedKeyUsage(vec![EK_CERTIFICATE]);
                add((false, &usage).to_extension(subject, &[]))?;
                let attributes =
                    SubjectDirectoryAttributes(vec![specification(&tpm.specification)?]);
                add((false, &attributes).to_extension(subject, &[]))?;
            }
            Purpose::Platform { .. } => {
                let usage = ExtendedKeyUsage(vec![PLATFORM_CERTIFICATE]);
                add((false, &usage).to_extension(subject, &[]))?;
            }
            Purpose::Attestation { .. } => {
                let usage = ExtendedKeyUsage(vec![AK_CERTIFICATE]);
                add((false, &usage).to_extension(subject, &[]))?;
            }
            Purpose::Device { .. } => {}
        }
        Ok(extensions)
    }

    fn alternative_name(&self) -> Result<GeneralName, Error> {
        let tpm_attributes = |tpm: &TpmIdentity| {
            [
                (TPM_MANUFACTURER, tpm.manufacturer.clone()),
                (TPM_MODEL, tpm.model.clone()),
                (TPM_VERSION, tpm.version.clone()),
            ]
        };
        let attributes = match self.purpose {
            Purpose::Endorsement { tpm, .. } | Purpose::Attestation { tpm } => {
                tpm_attributes(tpm).to_vec()
            }
            Purpose::Platform { tpm, platform, .. } => {
                let mut attributes = vec![
                    (PLATFORM_MANUFACTURER, platform.manufacturer.clone()),
                    (PLATFORM_MODEL, platform.model.clone()),
                    (PLATFORM_VERSION, platform.version.clone()),
                ];
                attributes.extend(tpm_attributes(tpm));
                attributes
            }
            Purpose::Device { serial } => {
                let module = HardwareModuleName {
                    hw_type: TPM_2_0,
                    hw_serial_num: OctetString::new(serial.as_bytes())?,
                };
                return Ok(GeneralName::OtherName(OtherName::try_from(&module)?));
            }
        };
        let borrowed: Vec<(ObjectIdentifier, &str)> = attributes
            .iter()
            .map(|(oid, text)| (*oid, text.as_str()))
            .collect();
        Ok(GeneralName::DirectoryName(name(&borrowed)?))
    }

    fn key_usage(&self) -> der::flagset::FlagSet<KeyUsages> {
        let usage = match self.purpose {
            Purpose::Endorsement { usage, .. } | Purpose::Platform { usage, .. } => usage,
            Purpose::Attestation { .. } | Purpose::Device { .. } => Usage::Sign,
        };
        let decrypt = if matches!(self.key.parameters, TpmuPublicParms::Rsa(_)) {
            KeyUsages::KeyEncipherment
        } else {
            KeyUsages::KeyAgreement
        };
        match usage {
            Usage::Decrypt => decrypt.into(),
            Usage::Sign => KeyUsages::DigitalSignature.into(),
            Usage::SignAndDecrypt => KeyUsages::DigitalSignature | decrypt,
        }
    }
}

fn specification(specification: &Specification) -> Result<Attribute, Error> {
    let value = TpmSpecification {
        family: specification.family.clone(),
        level: specification.level,
        revision: specification.revision,
    };
    let mut values = SetOfVec::new();
    values.insert(Any::encode_from(&value)?)?;
    Ok(Attribute {
        oid: TPM_SPECIFICATION,
        values,
    })
}

/// The bytes of a serial number, of which the first is not zero.
pub(super) fn serial_bytes(serial: u128) -> Result<x509_cert::serial_number::SerialNumber, Error> {
    Ok(x509_cert::serial_number::SerialNumber::new(
        &serial.to_be_bytes(),
    )?)
}
