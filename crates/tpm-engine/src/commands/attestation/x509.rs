//! Certificates that the TPM completes: what the caller gives of one, and what the TPM adds (Part 3, 18.8; RFC 5280).

use super::der::{self, Element};
use crate::keys::{ecc_public, rsa_exponent};
use crate::object::Object;
use alloc::vec::Vec;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve, TpmtSigScheme};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::object::{TpmuPublicId, TpmuPublicParms};
use tpm_wire::rc::Rc;

/// Octets of a serial number, at most as many as RFC 5280 allows.
pub(super) const SERIAL_SIZE: usize = 20;

/// id-ce-keyUsage.
const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1D, 0x0F];
/// tcg-tpmaObject, 2.23.133.10.1.1.1.
const TPMA_OBJECT: &[u8] = &[0x06, 0x07, 0x67, 0x81, 0x05, 0x0A, 0x01, 0x01, 0x01];

/// Key usage, the first bit of the extension in the most significant place (`TPMA_X509_KEY_USAGE`).
mod usage {
    pub(super) const DIGITAL_SIGNATURE: u32 = 1 << 31;
    pub(super) const NON_REPUDIATION: u32 = 1 << 30;
    pub(super) const KEY_ENCIPHERMENT: u32 = 1 << 29;
    pub(super) const DATA_ENCIPHERMENT: u32 = 1 << 28;
    pub(super) const KEY_AGREEMENT: u32 = 1 << 27;
    pub(super) const KEY_CERT_SIGN: u32 = 1 << 26;
    pub(super) const CRL_SIGN: u32 = 1 << 25;
    pub(super) const ENCIPHER_ONLY: u32 = 1 << 24;
    pub(super) const DECIPHER_ONLY: u32 = 1 << 23;
    pub(super) const SIGNS: u32 = DIGITAL_SIGNATURE | KEY_CERT_SIGN | CRL_SIGN;
    pub(super) const DECRYPTS: u32 =
        KEY_ENCIPHERMENT | DATA_ENCIPHERMENT | KEY_AGREEMENT | ENCIPHER_ONLY | DECIPHER_ONLY;
    pub(super) const ALL: u32 = SIGNS | DECRYPTS | NON_REPUDIATION;
}

/// What the caller gives of a certificate, each part as it stands there.
pub(super) struct Partial<'a> {
    /// The signature algorithm; the TPM adds it if it is not there.
    pub(super) algorithm: Option<&'a [u8]>,
    /// Issuer, validity and subject.
    pub(super) names: [&'a [u8]; 3],
    /// The extensions.
    pub(super) extensions: Element<'a>,
}

impl<'a> Partial<'a> {
    /// Takes a partial certificate apart.
    ///
    /// # Errors
    /// `TPM_RC_SIZE` if it is not one sequence, `TPM_RC_VALUE` if the sequence does not hold what it must.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Rc> {
        if bytes.is_empty() {
            return Err(Rc::VALUE);
        }
        let outer = der::only(bytes)
            .filter(|outer| outer.tag == der::SEQUENCE)
            .ok_or(Rc::SIZE)?;
        let mut sequences = Vec::with_capacity(4);
        let mut extensions = None;
        for element in der::elements(outer.content) {
            let element = element.ok_or(Rc::VALUE)?;
            if element.tag == der::SEQUENCE {
                sequences.push(element.whole);
            } else if element.tag == der::explicit(3) && extensions.is_none() {
                extensions = Some(element);
            } else {
                return Err(Rc::VALUE);
            }
        }
        let (algorithm, names) = match *sequences.as_slice() {
            [issuer, validity, subject] => (None, [issuer, validity, subject]),
            [algorithm, issuer, validity, subject] => {
                (Some(algorithm), [issuer, validity, subject])
            }
            _ => return Err(Rc::VALUE),
        };
        Ok(Self {
            algorithm,
            names,
            extensions: extensions.ok_or(Rc::VALUE)?,
        })
    }

    /// Checks that the extensions say nothing of a key that is not true.
    ///
    /// # Errors
    /// `TPM_RC_ATTRIBUTES` if they give other object attributes, `TPM_RC_RESERVED_BITS` for a usage that is not known,
    /// `TPM_RC_VALUE` for one that the key has not, for none at all, and for what cannot be read.
    pub(super) fn check_extensions(&self, attributes: TpmaObject) -> Result<(), Rc> {
        let list = der::only(self.extensions.content)
            .filter(|list| list.tag == der::SEQUENCE)
            .ok_or(Rc::VALUE)?;
        let extensions: Vec<&[u8]> = der::elements(list.content)
            .map(|element| {
                element
                    .filter(|element| element.tag == der::SEQUENCE)
                    .map(|element| element.content)
            })
            .collect::<Option<_>>()
            .ok_or(Rc::VALUE)?;
        let find = |identifier: &[u8]| {
            extensions
                .iter()
                .find_map(|extension| extension.strip_prefix(identifier))
        };
        if let Some(value) = find(TPMA_OBJECT)
            && extension_bits(value).ok_or(Rc::VALUE)? != attributes.0
        {
            return Err(Rc::ATTRIBUTES);
        }
        let usage = find(KEY_USAGE).and_then(extension_bits).ok_or(Rc::VALUE)?;
        if usage & !usage::ALL != 0 {
            return Err(Rc::RESERVED_BITS);
        }
        let needs = [
            (usage::SIGNS, TpmaObject::SIGN),
            (usage::DECRYPTS, TpmaObject::DECRYPT),
            (usage::NON_REPUDIATION, TpmaObject::FIXED_TPM),
            (usage::KEY_ENCIPHERMENT, TpmaObject::RESTRICTED),
        ];
        let claims_too_much = needs
            .iter()
            .any(|(uses, needed)| usage & uses != 0 && !attributes.contains(*needed));
        if claims_too_much {
            Err(Rc::VALUE)
        } else {
            Ok(())
        }
    }
}

/// The bit string in the octet string of an extension, after its identifier and perhaps its mark as critical.
fn extension_bits(after_identifier: &[u8]) -> Option<u32> {
    for element in der::elements(after_identifier) {
        let element = element?;
        if element.tag == der::OCTET_STRING {
            return der::only(element.content).and_then(der::bits);
        }
    }
    None
}

/// An algorithm identifier with its parameters, as they are encoded.
fn algorithm(identifier: &[u8], parameters: &[u8]) -> Vec<u8> {
    let identifier = der::element(der::OBJECT_IDENTIFIER, &[identifier]);
    der::element(der::SEQUENCE, &[&identifier, parameters])
}

/// The SubjectPublicKeyInfo of a key; `None` if X.509 has no form for it.
pub(super) fn public_key(object: &Object) -> Option<Vec<u8>> {
    let (algorithm, key) = match (&object.public.parameters, &object.public.unique) {
        (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) => {
            let exponent = rsa_exponent(parameters).to_be_bytes();
            let key = der::element(
                der::SEQUENCE,
                &[&der::integer(modulus), &der::integer(&exponent)],
            );
            (
                algorithm(RSA_ENCRYPTION, der::NULL),
                der::bit_string(&[&key]),
            )
        }
        (TpmuPublicParms::Ecc(parameters), _) => {
            let curve = der::element(
                der::OBJECT_IDENTIFIER,
                &[curve_identifier(parameters.curve_id)?],
            );
            let point = ecc_public(&object.public).ok()?;
            (
                algorithm(EC_PUBLIC_KEY, &curve),
                der::bit_string(&[&[0x04], point.x(), point.y()]),
            )
        }
        _ => return None,
    };
    Some(der::element(der::SEQUENCE, &[&algorithm, &key]))
}

/// The algorithm identifier of a signature; `None` if X.509 has none for the scheme. `modulus_size` is that of an RSA key.
pub(super) fn signature_algorithm(scheme: &TpmtSigScheme, modulus_size: usize) -> Option<Vec<u8>> {
    match scheme {
        TpmtSigScheme::Rsassa(scheme) => {
            let identifier = match sha3_index(scheme.hash_alg) {
                Some(index) => sigalg(0x0E + index).to_vec(),
                None => [PKCS_1, &[rsa_index(scheme.hash_alg)?]].concat(),
            };
            Some(algorithm(&identifier, der::NULL))
        }
        TpmtSigScheme::Rsapss(scheme) => Some(algorithm(
            &[PKCS_1, &[0x0A]].concat(),
            &pss_parameters(scheme.hash_alg, modulus_size)?,
        )),
        TpmtSigScheme::Ecdsa(scheme) => {
            let identifier = match (sha3_index(scheme.hash_alg), scheme.hash_alg) {
                (Some(index), _) => sigalg(0x0A + index).to_vec(),
                (None, TpmiAlgHash::Sha1) => [ECDSA, &[0x01]].concat(),
                (None, TpmiAlgHash::Sha256) => [ECDSA, &[0x03, 0x02]].concat(),
                (None, TpmiAlgHash::Sha384) => [ECDSA, &[0x03, 0x03]].concat(),
                (None, TpmiAlgHash::Sha512) => [ECDSA, &[0x03, 0x04]].concat(),
                (None, _) => return None,
            };
            Some(algorithm(&identifier, &[]))
        }
        _ => None,
    }
}

/// Hash, mask and salt of RSASSA-PSS; what is the default, which is all of it for SHA-1, must not stand there (RFC 4055, 3.1).
fn pss_parameters(hash: TpmiAlgHash, modulus_size: usize) -> Option<Vec<u8>> {
    if hash == TpmiAlgHash::Sha1 {
        return Some(der::element(der::SEQUENCE, &[]));
    }
    let room = modulus_size.checked_sub(hash.digest_size() + 2)?;
    let salt = u8::try_from(hash.digest_size().min(room)).ok()?;
    let digest = algorithm(hash_identifier(hash), der::NULL);
    let mask = algorithm(&[PKCS_1, &[0x08]].concat(), &digest);
    Some(der::element(
        der::SEQUENCE,
        &[
            &der::element(der::explicit(0), &[&digest]),
            &der::element(der::explicit(1), &[&mask]),
            &der::element(der::explicit(2), &[&der::integer(&[salt])]),
        ],
    ))
}

/// PKCS #1, to be followed by a number.
const PKCS_1: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// ansi-X9-62 signatures, to be followed by numbers.
const ECDSA: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04];

/// A signature algorithm of NIST's own arc.
const fn sigalg(number: u8) -> [u8; 9] {
    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, number]
}

/// Where SHA-3 hashes stand in that arc, after the one of 224 bits.
const fn sha3_index(hash: TpmiAlgHash) -> Option<u8> {
    match hash {
        TpmiAlgHash::Sha3_256 => Some(0),
        TpmiAlgHash::Sha3_384 => Some(1),
        TpmiAlgHash::Sha3_512 => Some(2),
        _ => None,
    }
}

const fn rsa_index(hash: TpmiAlgHash) -> Option<u8> {
    match hash {
        TpmiAlgHash::Sha1 => Some(0x05),
        TpmiAlgHash::Sha256 => Some(0x0B),
        TpmiAlgHash::Sha384 => Some(0x0C),
        TpmiAlgHash::Sha512 => Some(0x0D),
        _ => None,
    }
}

const fn hash_identifier(hash: TpmiAlgHash) -> &'static [u8] {
    match hash {
        TpmiAlgHash::Sha1 => &[0x2B, 0x0E, 0x03, 0x02, 0x1A],
        TpmiAlgHash::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        TpmiAlgHash::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        TpmiAlgHash::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        TpmiAlgHash::Sha3_256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08],
        TpmiAlgHash::Sha3_384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09],
        TpmiAlgHash::Sha3_512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0A],
        TpmiAlgHash::Sm3_256 => &[0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x83, 0x11],
    }
}

const fn curve_identifier(curve: TpmiEccCurve) -> Option<&'static [u8]> {
    Some(match curve {
        TpmiEccCurve::NistP192 => &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x01],
        TpmiEccCurve::NistP224 => &[0x2B, 0x81, 0x04, 0x00, 0x21],
        TpmiEccCurve::NistP256 => &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07],
        TpmiEccCurve::NistP384 => &[0x2B, 0x81, 0x04, 0x00, 0x22],
        TpmiEccCurve::NistP521 => &[0x2B, 0x81, 0x04, 0x00, 0x23],
        TpmiEccCurve::Sm2P256 => &[0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D],
        TpmiEccCurve::BnP256 | TpmiEccCurve::BnP638 => return None,
    })
}
