//! Distinguished names (RFC 5280, 4.1.2.4).

use der::asn1::{Any, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use crate::Error;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
/// Most characters of a common name, and of a serial number (RFC 5280, annex A.1).
const LONGEST: usize = 64;

/// A name of one attribute for each pair, in that order.
pub(super) fn name(attributes: &[(ObjectIdentifier, &str)]) -> Result<Name, Error> {
    let mut sequence = RdnSequence::default();
    for (oid, text) in attributes {
        // What is printable is written so, as other tools do: names are often compared by their bytes.
        let value = if *oid == SERIAL_NUMBER {
            let text = PrintableStringRef::new(text).map_err(|_| Error::Text {
                text: (*text).to_owned(),
                reason: "a serial number has letters, digits and few signs",
            })?;
            Any::from(text)
        } else {
            Any::from(Utf8StringRef::new(text)?)
        };
        let mut set = SetOfVec::new();
        set.insert(AttributeTypeAndValue { oid: *oid, value })?;
        sequence.push(RelativeDistinguishedName::try_from(Vec::from(set))?);
    }
    Ok(Name::hazmat_from_rdn_sequence(sequence))
}

/// A name that is a common name alone, such as that of a VM.
///
/// # Errors
/// If the text is empty or longer than 64 characters.
pub fn common_name(text: &str) -> Result<Name, Error> {
    bounded(text)?;
    name(&[(COMMON_NAME, text)])
}

/// A name that is a serial number alone, as device identities have it.
///
/// # Errors
/// If the text is empty, longer than 64 characters, or not printable.
pub fn serial_number_name(text: &str) -> Result<Name, Error> {
    bounded(text)?;
    name(&[(SERIAL_NUMBER, text)])
}

/// A name in the notation `C=DE,O=Example,CN=TPM root` (RFC 4514).
///
/// # Errors
/// If it is not such a name.
pub fn distinguished_name(text: &str) -> Result<Name, Error> {
    text.parse().map_err(|_| Error::Text {
        text: text.to_owned(),
        reason: "it is no name like C=DE,O=Example,CN=TPM root",
    })
}

/// One name behind another.
///
/// # Errors
/// None for names that were made here.
pub fn joined(first: &Name, second: &Name) -> Result<Name, Error> {
    let mut sequence = RdnSequence::default();
    for part in first.iter_rdn().chain(second.iter_rdn()) {
        sequence.push(part.clone());
    }
    Ok(Name::hazmat_from_rdn_sequence(sequence))
}

fn bounded(text: &str) -> Result<(), Error> {
    let reason = match text.chars().count() {
        0 => "it is empty",
        1..=LONGEST => return Ok(()),
        _ => "it is longer than 64 characters",
    };
    Err(Error::Text {
        text: text.to_owned(),
        reason,
    })
}
