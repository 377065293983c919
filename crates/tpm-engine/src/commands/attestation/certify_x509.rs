//! `TPM2_CertifyX509` (Part 3, 18.8).

use super::der;
use super::x509::{Partial, SERIAL_SIZE, public_key, signature_algorithm};
use crate::algorithms::{hash, small};
use crate::execute::Execute;
use crate::object::Object;
use crate::signature::{can_sign, select_scheme};
use crate::state::Tpm;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmtSigScheme;
use tpm_wire::buffers::Tpm2bMaxBuffer;
use tpm_wire::commands::{CertifyX509, CertifyX509Response};
use tpm_wire::object::TpmuPublicId;
use tpm_wire::rc::Rc;

impl Execute for CertifyX509 {
    fn execute(self, tpm: &mut Tpm) -> Result<CertifyX509Response, Rc> {
        if !self.reserved.is_empty() {
            return Err(Rc::SIZE.at(Self::reserved));
        }
        let signer = self
            .sign_handle
            .and_then(|handle| tpm.objects.find(handle.0))
            .filter(|signer| can_sign(signer))
            .ok_or(Rc::KEY.at(Self::sign_handle))?;
        let scheme =
            select_scheme(signer, self.in_scheme.clone()).map_err(|rc| rc.at(Self::in_scheme))?;
        let no_form = Rc::ASYMMETRIC.at(Self::object_handle);
        let object = tpm.objects.find(self.object_handle.0).ok_or(no_form)?;
        let public_key = public_key(object).ok_or(no_form)?;
        let partial = Partial::parse(&self.partial_certificate)
            .map_err(|rc| rc.at(Self::partial_certificate))?;
        let algorithm = match partial.algorithm {
            Some(given) => Cow::Borrowed(given),
            None => Cow::Owned(
                signature_algorithm(&scheme, modulus_size(signer))
                    .ok_or(Rc::SCHEME.at(Self::sign_handle))?,
            ),
        };
        partial
            .check_extensions(object.public.object_attributes)
            .map_err(|rc| {
                rc.at(if rc == Rc::ATTRIBUTES {
                    Self::object_handle
                } else {
                    Self::partial_certificate
                })
            })?;

        let [issuer, validity, subject] = partial.names;
        let extensions = partial.extensions.whole;
        let body: [&[u8]; 6] = [
            &algorithm,
            issuer,
            validity,
            subject,
            &public_key,
            extensions,
        ];
        let serial = serial_number(&body, signer, object, &scheme);
        let version = der::element(der::explicit(0), &[&der::integer(&[2])]);
        let mut parts: Vec<&[u8]> = Vec::from([version.as_slice(), &serial]);
        parts.extend(body);
        let tbs_digest = hash(scheme.hash_alg(), &[&der::element(der::SEQUENCE, &parts)]);

        let added_algorithm: &[u8] = match &algorithm {
            Cow::Owned(added) => added,
            Cow::Borrowed(_) => &[],
        };
        let added = der::element(
            der::SEQUENCE,
            &[&version, &serial, added_algorithm, &public_key],
        );
        let added_to_certificate = Tpm2bMaxBuffer::new(added).ok_or(Rc::SIZE)?;
        let sign_handle = self.sign_handle.ok_or(Rc::KEY.at(Self::sign_handle))?;
        let signature = tpm.sign_digest(sign_handle.0, &scheme, &tbs_digest)?;
        Ok(CertifyX509Response {
            added_to_certificate,
            tbs_digest: small(&tbs_digest),
            signature,
        })
    }
}

/// The serial number: a digest of everything else, of the signing key and of the key that is certified. No two certificates share it.
fn serial_number(
    body: &[&[u8]],
    signer: &Object,
    object: &Object,
    scheme: &TpmtSigScheme,
) -> Vec<u8> {
    let mut parts = body.to_vec();
    parts.extend([&*signer.name, &*object.name]);
    let name_alg = signer.public.name_alg.unwrap_or(scheme.hash_alg());
    let digest = hash(name_alg, &parts);
    let mut serial = [0; SERIAL_SIZE];
    for (to, from) in serial.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    // With its top bit it would need another octet to stay positive, and be longer than allowed.
    if let Some(first) = serial.first_mut() {
        *first &= 0x7F;
    }
    der::integer(&serial)
}

fn modulus_size(key: &Object) -> usize {
    match &key.public.unique {
        TpmuPublicId::Rsa(modulus) => modulus.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    // Not tested, since they cannot occur: `TPM_RC_BINDING` (a key whose halves do not match cannot be loaded) and
    // `TPM_RC_HASH` (the parser refuses a scheme with a hash that is not implemented).

    use super::der;
    use crate::commands::attestation::build::nonce;
    use crate::commands::signature::build::*;
    use crate::object::Object;
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use tpm_wire::algorithm::*;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::{Tpm2bData, Tpm2bMaxBuffer};
    use tpm_wire::commands::{CertifyX509, CertifyX509Response, VerifySignature};
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    const CRITICAL: &[u8] = &[0x01, 0x01, 0xFF];
    const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1D, 0x0F];
    const TPMA_OBJECT: &[u8] = &[0x06, 0x07, 0x67, 0x81, 0x05, 0x0A, 0x01, 0x01, 0x01];

    fn name(text: &[u8]) -> Vec<u8> {
        let value = der::element(0x0C, &[text]);
        let common_name = [0x06, 0x03, 0x55, 0x04, 0x03];
        let attribute = der::element(der::SEQUENCE, &[&common_name, &value]);
        der::element(der::SEQUENCE, &[&der::element(0x31, &[&attribute])])
    }

    fn validity() -> Vec<u8> {
        let from = der::element(0x17, &[b"250101000000Z"]);
        let until = der::element(0x17, &[b"450101000000Z"]);
        der::element(der::SEQUENCE, &[&from, &until])
    }

    fn extension(identifier: &[u8], bits: &[u8]) -> Vec<u8> {
        let bits = der::element(der::BIT_STRING, &[bits]);
        let value = der::element(der::OCTET_STRING, &[&bits]);
        der::element(der::SEQUENCE, &[identifier, CRITICAL, &value])
    }

    fn extensions(list: &[&[u8]]) -> Vec<u8> {
        der::element(der::explicit(3), &[&der::element(der::SEQUENCE, list)])
    }

    /// A partial certificate with a key usage: the octets of its bit string.
    fn partial(usage: &[u8]) -> Vec<u8> {
        with_extensions(&extensions(&[&extension(KEY_USAGE, usage)]))
    }

    fn with_extensions(extensions: &[u8]) -> Vec<u8> {
        let parts = [
            &name(b"issuer")[..],
            &validity(),
            &name(b"subject"),
            extensions,
        ];
        der::element(der::SEQUENCE, &parts)
    }

    const DIGITAL_SIGNATURE: &[u8] = &[7, 0x80];

    fn certify(
        object_handle: TpmiDhObject,
        sign_handle: TpmiDhObject,
        partial: &[u8],
    ) -> CertifyX509 {
        CertifyX509 {
            object_handle,
            sign_handle: Some(sign_handle),
            reserved: Tpm2bData::EMPTY,
            in_scheme: None,
            partial_certificate: Tpm2bMaxBuffer::new(partial.to_vec()).unwrap(),
        }
    }

    fn ecdsa() -> Object {
        let scheme = TpmtEccScheme::Ecdsa(SHA256);
        ecc(Some(scheme), SIGNS | TpmaObject::X509_SIGN)
    }

    /// The certificate: what the caller gave and what the TPM added, in their order.
    fn assemble(partial: &[u8], answer: &CertifyX509Response, given_algorithm: bool) -> Vec<u8> {
        let whole = |bytes: &[u8]| -> Vec<Vec<u8>> {
            der::elements(der::only(bytes).unwrap().content)
                .map(|element| element.unwrap().whole.to_vec())
                .collect()
        };
        let mut given = whole(partial).into_iter();
        let mut added = whole(&answer.added_to_certificate).into_iter();
        let mut parts = Vec::new();
        parts.extend(added.by_ref().take(2));
        let algorithm = if given_algorithm {
            given.next()
        } else {
            added.next()
        }
        .unwrap();
        parts.push(algorithm.clone());
        parts.extend(given.by_ref().take(3));
        parts.extend(added);
        parts.extend(given);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let tbs = der::element(der::SEQUENCE, &parts);
        let signature = match &answer.signature {
            TpmtSignature::Ecdsa(ecc) => der::bit_string(&[&der::element(
                der::SEQUENCE,
                &[
                    &der::integer(&ecc.signature_r),
                    &der::integer(&ecc.signature_s),
                ],
            )]),
            TpmtSignature::Rsassa(rsa) | TpmtSignature::Rsapss(rsa) => der::bit_string(&[&rsa.sig]),
            _ => panic!("another scheme"),
        };
        der::element(der::SEQUENCE, &[&tbs, &algorithm, &signature])
    }

    fn check(
        tpm: &mut TestTpm,
        key_handle: TpmiDhObject,
        certificate: &[u8],
        answer: CertifyX509Response,
    ) {
        let tbs = der::elements(der::only(certificate).unwrap().content).next();
        let digest = crate::algorithms::hash(TpmiAlgHash::Sha256, &[tbs.unwrap().unwrap().whole]);
        assert_eq!(*answer.tbs_digest, *digest);
        tpm.run(VerifySignature {
            key_handle,
            digest: answer.tbs_digest,
            signature: answer.signature,
        })
        .unwrap();
    }

    /// The digests are of certificates that OpenSSL reads and whose signature it verified, each signed by its own key.
    #[test]
    fn completes_certificates_that_openssl_takes() {
        let x509 = SIGNS | TpmaObject::X509_SIGN;
        for (key, tbs_digest) in [
            (
                ecdsa(),
                "7f4ac55f2d0bb3af59aa5b4111fbcf8e1745eca02ea6b1eb5629c941f6d41746",
            ),
            (
                rsa(Some(TpmtRsaScheme::Rsassa(SHA256)), x509),
                "df03268c0d0ff2ebde025a4caa5c789bc835919674e70a2b192885302c65f010",
            ),
            (
                rsa(Some(TpmtRsaScheme::Rsapss(SHA256)), x509),
                "9e865fb9af3e201424370a37f45f8e59826916d70cb87a114cef8768002f1a73",
            ),
        ] {
            let mut tpm = testing::started();
            let key = load(&mut tpm, key);
            let partial = partial(DIGITAL_SIGNATURE);
            let answer = tpm.run(certify(key, key, &partial)).unwrap();
            let certificate = assemble(&partial, &answer, false);
            assert_eq!(
                hex::encode(&*answer.tbs_digest),
                tbs_digest,
                "{}",
                hex::encode(&certificate)
            );
            check(&mut tpm, key, &certificate, answer);
        }
    }

    #[test]
    fn takes_the_callers_signature_algorithm_as_it_is() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecdsa());
        let own = der::element(der::SEQUENCE, &[&[0x06, 0x01, 0x2A]]);
        let rest = partial(DIGITAL_SIGNATURE);
        let partial = der::element(der::SEQUENCE, &[&own, der::only(&rest).unwrap().content]);
        let answer = tpm.run(certify(key, key, &partial)).unwrap();
        let certificate = assemble(&partial, &answer, true);
        check(&mut tpm, key, &certificate, answer);
    }

    #[test]
    fn object_attributes_must_be_those_of_the_key() {
        let mut tpm = testing::started();
        let object = ecdsa();
        let attributes = object.public.object_attributes.0;
        let key = load(&mut tpm, object);
        let usage = extension(KEY_USAGE, DIGITAL_SIGNATURE);
        for (claimed, rc) in [
            (attributes, None),
            (
                attributes | 2,
                Some(Rc::ATTRIBUTES.at(CertifyX509::object_handle)),
            ),
        ] {
            let mut bits = [0].to_vec();
            bits.extend(claimed.to_be_bytes());
            let list = extensions(&[&usage, &extension(TPMA_OBJECT, &bits)]);
            let done = tpm.run(certify(key, key, &with_extensions(&list)));
            assert_eq!(done.err(), rc);
        }
    }

    #[test]
    fn the_key_usage_may_not_claim_what_the_key_has_not() {
        let mut tpm = testing::started();
        let signs = load(&mut tpm, ecdsa());
        let decrypts = load(&mut tpm, ecc(None, DECRYPTS));
        let stores = load(&mut tpm, ecc(None, STORES));
        let fixed = load(&mut tpm, ecc(None, SIGNS | TpmaObject::FIXED_TPM));
        let at = |rc: Rc| rc.at(CertifyX509::partial_certificate);
        let value = Some(at(Rc::VALUE));
        for (object, usage, rc) in [
            (decrypts, &[7, 0x80][..], value),
            (decrypts, &[2, 0x04], value),
            (decrypts, &[1, 0x02], value),
            (signs, &[6, 0x40], value),
            (fixed, &[6, 0x40], None),
            (signs, &[5, 0x20], value),
            (decrypts, &[5, 0x20], value),
            (stores, &[5, 0x20], None),
            (signs, &[4, 0x10], value),
            (signs, &[3, 0x08], value),
            (decrypts, &[3, 0x08], None),
            (signs, &[0, 0x01], value),
            (decrypts, &[7, 0x00, 0x80], None),
            (signs, &[6, 0x00, 0x40], Some(at(Rc::RESERVED_BITS))),
            (signs, &[0, 0, 0, 0, 0, 0], value),
            (signs, &[], value),
        ] {
            let done = tpm.run(certify(object, signs, &partial(usage)));
            assert_eq!(done.err(), rc, "{usage:02x?}");
        }
    }

    #[test]
    fn what_is_no_partial_certificate_is_refused() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecdsa());
        let good = partial(DIGITAL_SIGNATURE);
        let content = der::only(&good).unwrap().content.to_vec();
        let usage = extension(KEY_USAGE, DIGITAL_SIGNATURE);
        let listed = extensions(&[&usage]);
        let (issuer, validity) = (name(b"issuer"), validity());
        let sequence = |parts: &[&[u8]]| der::element(der::SEQUENCE, parts);
        let size = Rc::SIZE.at(CertifyX509::partial_certificate);
        let value = Rc::VALUE.at(CertifyX509::partial_certificate);
        let longer = [&good[..], &[0]].concat();
        let other_tag = der::element(0x31, &[&content]);
        for (bytes, rc) in [
            (Vec::new(), value),
            (good[..good.len() - 1].to_vec(), size),
            (longer, size),
            (other_tag, size),
            (sequence(&[]), value),
            (sequence(&[&issuer, &validity, &listed]), value),
            (sequence(&[&issuer, &validity, &issuer]), value),
            (sequence(&[&content, &listed]), value),
            (sequence(&[&content, &issuer, &issuer]), value),
            (sequence(&[&content, &[0x05, 0x00]]), value),
            (sequence(&[&content, &[0x30, 0x05]]), value),
            (with_extensions(&der::element(der::explicit(3), &[])), value),
            (with_extensions(&extensions(&[])), value),
            (
                with_extensions(&extensions(&[&usage, &[0x05, 0x00]])),
                value,
            ),
            (
                with_extensions(&extensions(&[&usage, &[0x30, 0x01]])),
                value,
            ),
            (
                with_extensions(&extensions(&[&sequence(&[KEY_USAGE])])),
                value,
            ),
        ] {
            let done = tpm.run(certify(key, key, &bytes));
            assert_eq!(done.unwrap_err(), rc, "{bytes:02x?}");
        }
    }

    #[test]
    fn no_cut_or_changed_bytes_break_it() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecdsa());
        let good = partial(DIGITAL_SIGNATURE);
        for index in 0..good.len() {
            for byte in [0x00, 0x01, 0x7F, 0x80, 0x82, 0xFF] {
                let mut changed = good.clone();
                changed[index] = byte;
                let _ = tpm.run(certify(key, key, &changed));
            }
        }
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let partial = partial(DIGITAL_SIGNATURE);
        let key = load(&mut tpm, ecdsa());
        let mut command = certify(key, key, &partial);
        command.reserved = nonce();
        assert_eq!(tpm.run(command), Err(Rc::SIZE.at(CertifyX509::reserved)));
        let mut command = certify(key, key, &partial);
        command.sign_handle = None;
        assert_eq!(tpm.run(command), Err(Rc::KEY.at(CertifyX509::sign_handle)));
        let storage = load(&mut tpm, ecc(None, STORES));
        assert_eq!(
            tpm.run(certify(key, storage, &partial)),
            Err(Rc::KEY.at(CertifyX509::sign_handle))
        );
        let open = load(&mut tpm, ecc(None, SIGNS));
        assert_eq!(
            tpm.run(certify(key, open, &partial)),
            Err(Rc::SCHEME.at(CertifyX509::in_scheme))
        );
        let scheme = TpmtEccScheme::Ecschnorr(SHA256);
        let schnorr = load(&mut tpm, ecc(Some(scheme), SIGNS));
        assert_eq!(
            tpm.run(certify(key, schnorr, &partial)),
            Err(Rc::SCHEME.at(CertifyX509::sign_handle))
        );
        let bn = load(&mut tpm, ecc_on(TpmiEccCurve::BnP256, &[7], None, SIGNS));
        let keyed = load(&mut tpm, hmac(None, SIGNS));
        for object in [bn, keyed] {
            assert_eq!(
                tpm.run(certify(object, key, &partial)),
                Err(Rc::ASYMMETRIC.at(CertifyX509::object_handle))
            );
        }
    }
}
