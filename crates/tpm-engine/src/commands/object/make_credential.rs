//! `TPM2_MakeCredential` (Part 3, 12.6).

use crate::execute::Execute;
use crate::protection::Protector;
use crate::secret_exchange::IDENTITY;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{MakeCredential, MakeCredentialResponse};
use tpm_wire::rc::Rc;

impl Execute for MakeCredential {
    fn execute(self, tpm: &mut Tpm) -> Result<MakeCredentialResponse, Rc> {
        let refused = Rc::TYPE.at(Self::handle);
        let key = tpm.objects.get(self.handle).map_err(|_| refused)?;
        if !key.is_asymmetric() || !key.public.has(TpmaObject::DECRYPT | TpmaObject::RESTRICTED) {
            return Err(refused);
        }
        let largest = key.public.name_alg.map_or(0, |hash| hash.digest_size());
        if self.credential.len() > largest {
            return Err(Rc::SIZE.at(Self::credential));
        }
        let (seed, secret) = tpm.encrypt_secret(self.handle.0, IDENTITY)?;
        let key = tpm.objects.get(self.handle).map_err(|_| refused)?;
        let credential_blob = Protector::with_seed(&key.public, &seed)?
            .wrap_credential(&self.object_name, &self.credential)?;
        Ok(MakeCredentialResponse {
            credential_blob,
            secret,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{
        self, FIXED, STORAGE, ecc_generator, load_external, rsa_public,
    };
    use crate::testing::{self, TestTpm};
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::{Tpm2bDigest, Tpm2bName, Tpm2bPublicKeyRsa};
    use tpm_wire::commands::{ActivateCredential, MakeCredential, MakeCredentialResponse};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::object::TpmuPublicId;
    use tpm_wire::rc::Rc;

    fn make(
        tpm: &mut TestTpm,
        key: TpmHandle,
        credential: &[u8],
        name: &[u8],
    ) -> Result<MakeCredentialResponse, Rc> {
        tpm.run(MakeCredential {
            handle: key.into(),
            credential: Tpm2bDigest::new(credential).unwrap(),
            object_name: Tpm2bName::new(name).unwrap(),
        })
    }

    #[test]
    fn what_is_made_for_an_object_can_be_activated_with_it() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = build::signing_key_ecc(&mut tpm, root);
        let name = tpm.entity_name(object);
        for key in [root, build::vector_storage_rsa(&mut tpm)] {
            for credential in [&b"a credential"[..], b"", &[1; 32]] {
                let made = make(&mut tpm, key, credential, &name).unwrap();
                let activated = tpm.run(ActivateCredential {
                    activate_handle: object.into(),
                    key_handle: key.into(),
                    credential_blob: made.credential_blob,
                    secret: made.secret,
                });
                assert_eq!(&*activated.unwrap().cert_info, credential);
            }
        }
    }

    #[test]
    fn a_public_area_is_enough() {
        let mut tpm = testing::started();
        let (public, _) = ecc_generator(FIXED | STORAGE);
        let key = load_external(&mut tpm, public, None).unwrap();
        assert!(make(&mut tpm, key, b"x", b"name").is_ok());
    }

    #[test]
    fn a_key_that_is_no_storage_key_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let expected = Some(Rc::TYPE.at(MakeCredential::handle));
        let keys = [
            build::signing_key_ecc(&mut tpm, root),
            build::rsa_key(&mut tpm),
            build::symmetric_key(&mut tpm, root),
            build::sequence(&mut tpm),
        ];
        for key in keys {
            assert_eq!(make(&mut tpm, key, b"x", b"name").err(), expected);
        }
    }

    #[test]
    fn a_credential_longer_than_the_digest_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let refused = make(&mut tpm, root, &[1; 33], b"name").err();
        assert_eq!(refused, Some(Rc::SIZE.at(MakeCredential::credential)));
    }

    #[test]
    fn a_point_off_its_curve_is_key() {
        let mut tpm = testing::started();
        let (mut public, _) = ecc_generator(FIXED | STORAGE);
        if let TpmuPublicId::Ecc(point) = &mut public.unique {
            point.y.as_mut_slice()[0] ^= 1;
        }
        // Without a Name algorithm the point is not looked at when it is loaded; the hash is missing then.
        public.name_alg = None;
        let key = load_external(&mut tpm, public.clone(), None).unwrap();
        assert_eq!(make(&mut tpm, key, b"", b"name").err(), Some(Rc::VALUE));
        public.name_alg = Some(tpm_wire::algorithm::TpmiAlgHash::Sha256);
        let key = build::put(&mut tpm, public, None);
        assert_eq!(make(&mut tpm, key, b"", b"name").err(), Some(Rc::KEY));
    }

    #[test]
    fn an_rsa_modulus_that_is_even_is_key() {
        let mut tpm = testing::started();
        let mut public = rsa_public(FIXED | STORAGE);
        if let TpmuPublicId::Rsa(modulus) = &mut public.unique {
            let mut even = modulus.to_vec();
            even[255] ^= 1;
            *modulus = Tpm2bPublicKeyRsa::new(even).unwrap();
        }
        let key = load_external(&mut tpm, public, None).unwrap();
        assert_eq!(make(&mut tpm, key, b"", b"name").err(), Some(Rc::KEY));
    }

    #[test]
    fn an_rsa_key_too_short_for_two_digests_is_hash_and_for_the_seed_too_is_value() {
        let mut tpm = testing::started();
        let too_short = build::short_storage_rsa(&mut tpm, TpmiAlgHash::Sha512);
        assert_eq!(
            make(&mut tpm, too_short, b"", b"name").err(),
            Some(Rc::HASH)
        );
        let short = build::short_storage_rsa(&mut tpm, TpmiAlgHash::Sha384);
        assert_eq!(make(&mut tpm, short, b"", b"name").err(), Some(Rc::VALUE));
        // The credential is looked at before.
        let refused = make(&mut tpm, short, &[1; 49], b"name").err();
        assert_eq!(refused, Some(Rc::SIZE.at(MakeCredential::credential)));
    }
}
