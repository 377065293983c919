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
