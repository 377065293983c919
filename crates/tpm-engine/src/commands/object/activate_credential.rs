//! `TPM2_ActivateCredential` (Part 3, 12.5).

use crate::execute::Execute;
use crate::protection::Protector;
use crate::secret_exchange::IDENTITY;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{ActivateCredential, ActivateCredentialResponse};
use tpm_wire::rc::Rc;

impl Execute for ActivateCredential {
    fn execute(self, tpm: &mut Tpm) -> Result<ActivateCredentialResponse, Rc> {
        let refused = Rc::TYPE.at(Self::key_handle);
        let key = tpm.objects.get(self.key_handle).map_err(|_| refused)?;
        if !key.is_asymmetric() || !key.public.has(TpmaObject::DECRYPT | TpmaObject::RESTRICTED) {
            return Err(refused);
        }
        let seed = tpm
            .decrypt_secret(self.key_handle.0, IDENTITY, &self.secret)
            .map_err(|rc| rc.at(Self::secret))?;
        let name = tpm.entity_name(self.activate_handle.0);
        let key = tpm.objects.get(self.key_handle).map_err(|_| refused)?;
        let cert_info = Protector::with_seed(&key.public, &seed)
            .and_then(|protector| protector.unwrap_credential(&name, &self.credential_blob))
            .map_err(|rc| rc.at(Self::credential_blob))?;
        Ok(ActivateCredentialResponse { cert_info })
    }
}

#[cfg(test)]
mod tests {
    // Not tested, since they cannot occur: `TPM_RC_ATTRIBUTES` (a key that does not decrypt is `TPM_RC_TYPE`) and
    // `TPM_RC_NO_RESULT` (no curve has a point that a key multiplies to infinity).

    use crate::commands::object::build::{self, vector};
    use crate::protection::Protector;
    use crate::secret_exchange::IDENTITY;
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::{Tpm2bEncryptedSecret, Tpm2bIdObject, Tpm2bName};
    use tpm_wire::commands::ActivateCredential;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    /// An object with the Name that the credentials of the vectors are for.
    fn object(tpm: &mut TestTpm) -> TpmHandle {
        let root = build::primary_storage_ecc(tpm);
        let handle = build::sealed(tpm, root, &[], b"data");
        let mut object = tpm.objects.get(handle).unwrap().clone();
        let digest = crate::algorithms::hash(TpmiAlgHash::Sha256, &[b"x"]);
        object.name = Tpm2bName::new(&[&[0, 0x0B], &digest[..]].concat()).unwrap();
        tpm.objects.load(object).unwrap()
    }

    fn activate(
        tpm: &mut TestTpm,
        object: TpmHandle,
        key: TpmHandle,
        blob: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, Rc> {
        let response = tpm.run(ActivateCredential {
            activate_handle: object.into(),
            key_handle: key.into(),
            credential_blob: Tpm2bIdObject::new(blob.to_vec()).unwrap(),
            secret: Tpm2bEncryptedSecret::new(secret.to_vec()).unwrap(),
        })?;
        Ok(response.cert_info.to_vec())
    }

    #[test]
    fn credentials_of_another_tpm_open() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let keys = [
            ("credential-ecc", build::vector_storage_ecc(&mut tpm)),
            ("credential-rsa", build::vector_storage_rsa(&mut tpm)),
        ];
        for (name, key) in keys {
            let given = vector(name);
            let opened = activate(&mut tpm, object, key, &given[0], &given[1]);
            assert_eq!(opened.as_deref(), Ok(&b"a credential"[..]), "{name}");
        }
    }

    #[test]
    fn a_changed_blob_or_another_object_is_integrity_at_parameter_1() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let key = build::vector_storage_ecc(&mut tpm);
        let given = vector("credential-ecc");
        let refused = Err(Rc::INTEGRITY.at(ActivateCredential::credential_blob));
        for index in 2..given[0].len() {
            let mut blob = given[0].clone();
            blob[index] ^= 0x80;
            let opened = activate(&mut tpm, object, key, &blob, &given[1]);
            assert_eq!(opened, refused, "byte {index}");
        }
        let root = TpmHandle(0x8000_0000);
        let other = build::sealed(&mut tpm, root, &[], b"data");
        let opened = activate(&mut tpm, other, key, &given[0], &given[1]);
        assert_eq!(opened, refused);
        let cut = activate(&mut tpm, object, key, &given[0][..20], &given[1]);
        let expected = Rc::INSUFFICIENT.at(ActivateCredential::credential_blob);
        assert_eq!(cut, Err(expected));
    }

    #[test]
    fn a_secret_that_no_key_can_read_is_blamed_on_parameter_2() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let ecc = build::vector_storage_ecc(&mut tpm);
        let rsa = build::vector_storage_rsa(&mut tpm);
        let blob = vector("credential-ecc").remove(0);
        let secret = vector("credential-rsa").remove(1);
        let mut refused = |key, secret: &[u8]| activate(&mut tpm, object, key, &blob, secret).err();
        let at = |rc: Rc| Some(rc.at(ActivateCredential::secret));
        assert_eq!(refused(ecc, &[]), at(Rc::INSUFFICIENT));
        assert_eq!(refused(ecc, &[0, 1, 1]), at(Rc::INSUFFICIENT));
        assert_eq!(refused(ecc, &[0, 81, 1]), at(Rc::SIZE));
        assert_eq!(refused(ecc, &[0, 1, 1, 0, 1, 1]), at(Rc::ECC_POINT));
        assert_eq!(refused(rsa, &secret[1..]), at(Rc::SIZE));
        assert_eq!(refused(rsa, &[0xFF; 256]), at(Rc::SIZE));
        assert_eq!(refused(rsa, &[0x11; 256]), at(Rc::VALUE));
    }

    #[test]
    fn a_key_that_is_no_storage_key_is_type_at_handle_2() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let root = TpmHandle(0x8000_0000);
        let keys = [
            build::signing_key_ecc(&mut tpm, root),
            build::rsa_key(&mut tpm),
            build::symmetric_key(&mut tpm, root),
        ];
        for key in keys {
            let refused = activate(&mut tpm, object, key, &[], &[]);
            assert_eq!(refused, Err(Rc::TYPE.at(ActivateCredential::key_handle)));
        }
    }

    #[test]
    fn a_blob_whose_content_is_no_digest_is_refused_at_parameter_1() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let key = build::vector_storage_ecc(&mut tpm);
        let name = tpm.entity_name(object);
        let (seed, secret) = tpm.encrypt_secret(key, IDENTITY).unwrap();
        for (content, rc) in [
            (&[][..], Rc::INSUFFICIENT),
            (&[0, 4, 1, 2, 3], Rc::INSUFFICIENT),
            (&[0, 1, 1, 1], Rc::SIZE),
            (&[0, 65], Rc::SIZE),
        ] {
            let public = &tpm.objects.get(key).unwrap().public;
            let protector = Protector::with_seed(public, &seed).unwrap();
            let content = zeroize::Zeroizing::new(content.to_vec());
            let blob = protector.wrap(&name, None, content).unwrap();
            let refused = activate(&mut tpm, object, key, &blob, &secret);
            let expected = rc.at(ActivateCredential::credential_blob);
            assert_eq!(refused, Err(expected));
        }
    }

    #[test]
    fn key_then_secret_then_blob() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let key = build::vector_storage_ecc(&mut tpm);
        let other = build::rsa_key(&mut tpm);
        let refused = activate(&mut tpm, object, other, &[1], &[1]);
        assert_eq!(refused, Err(Rc::TYPE.at(ActivateCredential::key_handle)));
        let refused = activate(&mut tpm, object, key, &[1], &[1]);
        let expected = Rc::INSUFFICIENT.at(ActivateCredential::secret);
        assert_eq!(refused, Err(expected));
    }
}
