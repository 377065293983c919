//! What a certificate tells about the TPM and the platform.

use tpm_wire::constants::TpmPt;
use x509_cert::Certificate;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

use crate::Error;
use crate::client::{Client, Transmit};

/// The specification that a TPM follows (EK Credential Profile, 3.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    /// The family, `2.0`.
    pub family: String,
    /// The level.
    pub level: u32,
    /// The version of the library, times 100.
    pub revision: u32,
}

/// What a TPM calls itself (EK Credential Profile, 3.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmIdentity {
    /// `id:` and the manufacturer's four bytes in hexadecimal digits.
    pub manufacturer: String,
    /// The model, which is the vendor's string.
    pub model: String,
    /// `id:` and the version of the firmware in hexadecimal digits.
    pub version: String,
    /// What it follows.
    pub specification: Specification,
}

/// What a platform is called in its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformIdentity {
    /// Who made it.
    pub manufacturer: String,
    /// The model.
    pub model: String,
    /// The version of the model.
    pub version: String,
}

impl TpmIdentity {
    /// Asks a TPM.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn read<T: Transmit>(client: &mut Client<T>) -> Result<Self, Error> {
        let mut number = |property| client.property(property).map(Option::unwrap_or_default);
        let family = text(&[number(TpmPt::FAMILY_INDICATOR)?]);
        let model = text(&[
            number(TpmPt::VENDOR_STRING_1)?,
            number(TpmPt::VENDOR_STRING_2)?,
            number(TpmPt::VENDOR_STRING_3)?,
            number(TpmPt::VENDOR_STRING_4)?,
        ]);
        Ok(Self {
            manufacturer: format!("id:{:08X}", number(TpmPt::MANUFACTURER)?),
            model,
            version: format!("id:{:08X}", number(TpmPt::FIRMWARE_VERSION_1)?),
            specification: Specification {
                family,
                level: number(TpmPt::LEVEL)?,
                revision: number(TpmPt::REVISION)?,
            },
        })
    }
}

impl TpmIdentity {
    /// The serial number by which device certificates name a TPM: its manufacturer, the key id of the authority that certified its
    /// endorsement key, and the number of that certificate (TPM 2.0 Keys for Device Identity and Attestation, 8).
    ///
    /// # Errors
    /// If the certificate does not name its authority's key.
    pub fn serial_number(&self, endorsement: &Certificate) -> Result<String, Error> {
        let digits = self.manufacturer.trim_start_matches("id:");
        let manufacturer = u32::from_str_radix(digits, 16)
            .map_or_else(|_| self.manufacturer.clone(), |number| text(&[number]));
        let tbs = endorsement.tbs_certificate();
        let authority = tbs
            .get_extension::<AuthorityKeyIdentifier>()?
            .and_then(|(_, identifier)| identifier.key_identifier)
            .ok_or_else(|| Error::Certificate("it does not name its authority's key".into()))?;
        let number = hex(tbs.serial_number().as_bytes());
        Ok(format!(
            "{manufacturer}:{}:{number}",
            hex(authority.as_bytes())
        ))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text in properties of four characters each.
fn text(words: &[u32]) -> String {
    words
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .map(char::from)
        .filter(|letter| letter.is_ascii_graphic() || *letter == ' ')
        .collect::<String>()
        .trim()
        .to_owned()
}
