//! `TPM2_Certify` (Part 3, 18.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsCertifyInfo, TpmuAttest};
use tpm_wire::buffers::Tpm2bName;
use tpm_wire::commands::{Certify, CertifyResponse};
use tpm_wire::rc::Rc;

impl Execute for Certify {
    fn execute(self, tpm: &mut Tpm) -> Result<CertifyResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let object = tpm
            .objects
            .get(self.object_handle.0)
            .map_err(|rc| rc.at(Self::object_handle))?;
        let info = TpmsCertifyInfo {
            name: object.name.clone(),
            // It would tell which parent the keys of several anonymous signatures share.
            qualified_name: if signer.is_anonymous() {
                Tpm2bName::EMPTY
            } else {
                object.qualified_name.clone()
            },
        };
        let (certify_info, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Certify(info))?;
        Ok(CertifyResponse {
            certify_info,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::*;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::*;
    use tpm_wire::attest::TpmuAttest;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::{Certify, Commit};
    use tpm_wire::handles::{TpmHandle, TpmiDhObject};
    use tpm_wire::rc::Rc;

    fn certify(object_handle: TpmiDhObject, sign_handle: Option<TpmiDhObject>) -> Certify {
        Certify {
            object_handle,
            sign_handle,
            qualifying_data: nonce(),
            in_scheme: None,
        }
    }

    #[test]
    fn attests_the_names_of_an_object() {
        let mut tpm = testing::started();
        let object = hmac(None, SIGNS);
        let names = (object.name.clone(), object.qualified_name.clone());
        let object = load(&mut tpm, object);
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let answer = tpm.run(certify(object, Some(key))).unwrap();
        let attest = verified(&mut tpm, key, &answer.certify_info, answer.signature);
        let TpmuAttest::Certify(info) = attest.attested else {
            panic!("another attestation");
        };
        assert_eq!((info.name, info.qualified_name), names);
    }

    #[test]
    fn nobody_signs_without_a_key() {
        let mut tpm = testing::started();
        let object = load(&mut tpm, hmac(None, SIGNS));
        let mut command = certify(object, None);
        command.in_scheme = Some(TpmtSigScheme::Ecdsa(SHA256));
        let answer = tpm.run(command).unwrap();
        assert_eq!(answer.signature, None);
        let attest = parsed(&answer.certify_info);
        let null = TpmHandle::NULL.0.to_be_bytes();
        assert_eq!(&*attest.qualified_signer, null);
        assert_eq!(attest.extra_data, nonce());
    }

    #[test]
    fn an_anonymous_key_tells_neither_itself_nor_the_caller() {
        let mut tpm = testing::started();
        let private = ecc(Some(ECDAA_KEY), SIGNS);
        let public = crate::keys::ecc_public(&private.public).unwrap();
        let key = load(&mut tpm, private);
        let object = load(&mut tpm, hmac(None, SIGNS));
        let commit = Commit {
            sign_handle: key,
            p1: Tpm2b(TpmsEccPoint {
                x: Tpm2bEccParameter::EMPTY,
                y: Tpm2bEccParameter::EMPTY,
            }),
            s2: Tpm2bSensitiveData::EMPTY,
            y2: Tpm2bEccParameter::EMPTY,
        };
        let commitment = tpm.run(commit).unwrap();
        let mut command = certify(object, Some(key));
        command.in_scheme = Some(ecdaa(commitment.counter));
        let answer = tpm.run(command.clone()).unwrap();
        let attest = parsed(&answer.certify_info);
        assert!(attest.qualified_signer.is_empty() && attest.extra_data.is_empty());
        let TpmuAttest::Certify(info) = attest.attested else {
            panic!("another attestation");
        };
        assert!(info.qualified_name.is_empty() && !info.name.is_empty());
        // The qualifying data is hashed in front of the digest.
        let hash = |parts: &[&[u8]]| crate::algorithms::hash(TpmiAlgHash::Sha256, parts);
        let digest = hash(&[&nonce(), &hash(&[&answer.certify_info])]);
        let Some(TpmtSignature::Ecdaa(signature)) = answer.signature else {
            panic!("another scheme");
        };
        tpm_crypto::ecc::ecdaa::verify(
            &public,
            tpm_crypto::hash::HashAlgorithm::Sha256,
            &crate::keys::ecc_point(public.curve(), &commitment.e).unwrap(),
            &digest,
            &signature.signature_r,
            &signature.signature_s,
        )
        .unwrap();
        assert_eq!(tpm.run(command), Err(Rc::VALUE));
    }

    #[test]
    fn keys_schemes_and_objects_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let object = load(&mut tpm, hmac(None, SIGNS));
        let storage = load(&mut tpm, ecc(None, STORES));
        let rc = Rc::KEY.at(Certify::sign_handle);
        assert_eq!(tpm.run(certify(object, Some(storage))), Err(rc));
        let cipher = load(&mut tpm, aes(None, SIGNS));
        assert_eq!(tpm.run(certify(object, Some(cipher))), Err(rc));
        let rc = Rc::SCHEME.at(Certify::in_scheme);
        assert_eq!(tpm.run(certify(object, Some(object))), Err(rc));
    }

    #[test]
    fn a_shutdown_that_saved_the_clock_is_void_once_it_was_signed() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::OWNER);
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let rc = Rc::NV_UNAVAILABLE;
        assert_eq!(tpm.run(certify(key, Some(key))), Err(rc));
        tpm.run(certify(key, None)).unwrap();
        assert!(tpm.power.is_orderly());
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(certify(key, Some(key))).unwrap();
        assert!(!tpm.power.is_orderly());
    }
}
