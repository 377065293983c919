//! `TPM2_Create` (Part 3, 12.1).

use crate::creation::pad_auth;
use crate::execute::Execute;
use crate::object::Lineage;
use crate::protection::Protector;
use crate::state::Tpm;
use crate::template::check_creation;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{Create, CreateResponse};
use tpm_wire::rc::Rc;

impl Execute for Create {
    fn execute(self, tpm: &mut Tpm) -> Result<CreateResponse, Rc> {
        let at_parent = |rc: Rc| rc.at(Self::parent_handle);
        let parent = tpm.objects.get(self.parent_handle).map_err(at_parent)?;
        if !parent.is_parent() {
            return Err(at_parent(Rc::TYPE));
        }
        tpm.objects.check_room()?;
        let (mut create, public) = (self.in_sensitive.0, self.in_public.0);
        check_creation(Lineage::Child(parent), &public, !create.data.is_empty())
            .map_err(|rc| rc.at(Self::in_public))?;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        let name_alg = public.name_alg.ok_or(Rc::HASH.at(Self::in_public))?;
        let object = tpm.create_child(self.parent_handle.0, public, &create)?;
        let parent = tpm.objects.get(self.parent_handle)?;
        let (creation_data, creation_hash) = tpm.creation_data(
            Lineage::Child(parent),
            name_alg,
            &self.creation_pcr,
            self.outside_info,
        );
        let creation_ticket =
            tpm.creation_ticket(parent.base_hierarchy(), &object.name, &creation_hash);
        let sensitive = object.sensitive.as_ref().ok_or(Rc::SENSITIVE)?;
        let out_private = Protector::parent(parent)?.wrap_private(
            &object.name,
            Some(name_alg),
            sensitive,
            &mut tpm.random,
        )?;
        Ok(CreateResponse {
            out_private,
            out_public: Tpm2b(object.public),
            creation_data: Tpm2b(creation_data),
            creation_hash,
            creation_ticket,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{
        self, FIXED, MOVABLE, STORAGE, create, ecc_template, hmac_template, sealed_template,
        sensitive, symmetric_template,
    };
    use crate::commands::object::build::{
        with_kdf, with_key_bits, with_scheme, with_symmetric, with_tdes,
    };
    use crate::object::{Lineage, Object};
    use crate::platform::Platform;
    use crate::testing;
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicU8, Ordering};
    use tpm_crypto::rsa::PrivateKey;
    use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgSymMode};
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::{Create, ReadPublic};
    use tpm_wire::constants::TpmAlgId;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::object::{TpmtPublic, TpmuPublicParms};
    use tpm_wire::rc::Rc;

    const SIGN: TpmaObject = TpmaObject::SIGN;
    const ORIGIN: TpmaObject = TpmaObject::SENSITIVE_DATA_ORIGIN;

    #[test]
    fn every_type_can_be_created_and_loaded() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let mut symmetric_parent = symmetric_template(Some(TpmiAlgSymMode::Cfb));
        symmetric_parent.object_attributes = FIXED | STORAGE;
        for public in [
            ecc_template(FIXED | STORAGE),
            ecc_template(MOVABLE | SIGN),
            hmac_template(),
            symmetric_template(None),
        ] {
            let created = create(&mut tpm, root, public, sensitive(b"auth", &[])).unwrap();
            let handle = build::load(&mut tpm, root, &created).unwrap();
            assert_eq!(&*tpm.auth_value(handle), b"auth");
        }
        let last = build::child(&mut tpm, root, symmetric_parent, sensitive(&[], &[]));
        let grandchild = build::sealed(&mut tpm, last, &[], b"data");
        assert!(tpm.objects.get(grandchild).is_ok());
    }

    #[test]
    fn an_rsa_key_can_be_parent_and_child() {
        let mut tpm = testing::started();
        let root = build::primary_rsa(&mut tpm);
        let public = build::rsa_template(MOVABLE | SIGN);
        let key = build::child(&mut tpm, root, public, sensitive(b"auth", &[]));
        let object = tpm.objects.get(key).unwrap();
        assert!(crate::keys::rsa_private(object, &*tpm.platform).is_ok());
    }

    /// A platform that has one RSA key ready, and counts how often it is asked.
    struct Ready {
        key: Option<PrivateKey>,
        asked: Arc<AtomicU8>,
    }

    impl Platform for Ready {
        fn entropy(&mut self, out: &mut [u8]) {
            out.fill(7);
        }
        fn milliseconds(&mut self) -> u64 {
            0
        }
        fn locality(&self) -> u8 {
            0
        }
        fn ready_rsa_key(&mut self, bits: usize) -> Option<PrivateKey> {
            assert_eq!(bits, 2048);
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.key.take()
        }
    }

    #[test]
    fn a_key_that_is_ready_becomes_a_child_once_and_never_a_primary() {
        let fixed = build::rsa_public(FIXED | SIGN);
        let lineage = Lineage::External(TpmHandle::NULL);
        let object = Object::new(fixed.clone(), Some(build::rsa_sensitive()), lineage);
        let mut tpm = testing::started();
        let asked = Arc::new(AtomicU8::new(0));
        tpm.platform = Box::new(Ready {
            key: Some(crate::keys::rsa_private(&object, &*tpm.platform).unwrap()),
            asked: Arc::clone(&asked),
        });
        let root = build::primary_rsa(&mut tpm);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        let made = [(); 2].map(|()| {
            let public = build::rsa_template(FIXED | SIGN);
            create(&mut tpm, root, public, sensitive(b"auth", &[])).unwrap()
        });
        assert_eq!(made[0].out_public.0.unique, fixed.unique);
        assert_ne!(made[1].out_public.0.unique, fixed.unique);
        let key = build::load(&mut tpm, root, &made[0]).unwrap();
        assert_eq!(&*tpm.auth_value(key), b"auth");
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        let mut public = build::rsa_template(FIXED | SIGN);
        if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
            parameters.exponent = 65539;
        }
        create(&mut tpm, root, public, sensitive(&[], &[])).unwrap();
        assert_eq!(
            asked.load(Ordering::Relaxed),
            2,
            "other exponents are not ready"
        );
    }

    #[test]
    fn creation_data_tell_the_parent() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let created = create(&mut tpm, root, hmac_template(), sensitive(&[], &[])).unwrap();
        let parent = tpm.run(ReadPublic {
            object_handle: root.into(),
        });
        let parent = parent.unwrap();
        let data = &created.creation_data;
        assert_eq!(data.parent_name_alg, TpmAlgId::SHA256);
        assert_eq!(data.parent_name, parent.name);
        assert_eq!(data.parent_qualified_name, parent.qualified_name);
        let name = crate::object::Object::name_of(&created.out_public);
        let ticket = tpm.creation_ticket(TpmHandle::OWNER, &name, &created.creation_hash);
        assert_eq!(created.creation_ticket, ticket);
    }

    #[test]
    fn a_key_that_is_no_parent_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        let sequence = build::sequence(&mut tpm);
        for parent in [key, sequence] {
            let refused = create(&mut tpm, parent, hmac_template(), sensitive(&[], &[]));
            assert_eq!(refused.err(), Some(Rc::TYPE.at(Create::parent_handle)));
        }
    }

    #[test]
    fn without_a_slot_it_is_object_memory() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        build::fill_slots(&mut tpm, 0);
        let refused = create(&mut tpm, root, hmac_template(), sensitive(&[], &[]));
        assert_eq!(refused.err(), Some(Rc::OBJECT_MEMORY));
    }

    #[test]
    fn a_bad_template_is_blamed_on_parameter_2() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let at = |rc: Rc| Some(rc.at(Create::in_public));
        let mut refused =
            |public, data: &[u8]| create(&mut tpm, root, public, sensitive(&[], data)).err();
        assert_eq!(refused(hmac_template(), b"data"), at(Rc::ATTRIBUTES));
        assert_eq!(refused(sealed_template(), &[]), at(Rc::ATTRIBUTES));
        let mut public = ecc_template(FIXED | STORAGE);
        public.name_alg = Some(TpmiAlgHash::Sha384);
        assert_eq!(refused(public, &[]), at(Rc::HASH));
        let mut public = hmac_template();
        public.auth_policy = Tpm2bDigest::zeros(1);
        assert_eq!(refused(public, &[]), at(Rc::SIZE));
    }

    #[test]
    fn an_authorization_value_longer_than_the_digest_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let refused = create(&mut tpm, root, hmac_template(), sensitive(&[1; 33], &[]));
        assert_eq!(refused.err(), Some(Rc::SIZE.at(Create::in_sensitive)));
    }

    #[test]
    fn a_cipher_key_of_the_wrong_size_is_key_size() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let mut public = symmetric_template(None);
        public.object_attributes = public.object_attributes.without(ORIGIN);
        let mut run =
            |data: &[u8]| create(&mut tpm, root, public.clone(), sensitive(&[], data)).map(|_| ());
        assert_eq!(run(&[0; 15]), Err(Rc::KEY_SIZE));
        assert_eq!(run(&[0; 17]), Err(Rc::KEY_SIZE));
        assert_eq!(run(&[0; 16]), Ok(()));
    }

    #[test]
    fn making_an_rsa_key_can_be_canceled() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        tpm.script.canceled.store(true, Ordering::Relaxed);
        let public = build::rsa_template(FIXED | SIGN);
        let refused = create(&mut tpm, root, public, sensitive(&[], &[]));
        assert_eq!(refused.err(), Some(Rc::CANCELED));
    }

    #[test]
    fn schemes_symmetric_algorithms_and_sizes_of_the_template_are_blamed_on_parameter_2() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let storage = || ecc_template(FIXED | STORAGE);
        let at = |rc: Rc| Some(rc.at(Create::in_public));
        for (public, rc) in [
            (with_kdf(ecc_template(FIXED | SIGN)), Rc::KDF),
            (with_scheme(storage()), Rc::SCHEME),
            (with_symmetric(storage(), None), Rc::SYMMETRIC),
            (with_symmetric(storage(), Some(256)), Rc::SYMMETRIC),
            (
                with_symmetric(ecc_template(FIXED | SIGN), Some(128)),
                Rc::SYMMETRIC,
            ),
            (with_key_bits(1536), Rc::VALUE),
        ] {
            let refused = create(&mut tpm, root, public, sensitive(&[], &[])).err();
            assert_eq!(refused, at(rc));
        }
    }

    #[test]
    fn keys_and_data_that_the_caller_gives_are_checked_and_blamed_on_nothing() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let mut run = |mut public: TpmtPublic, data: &[u8]| {
            public.object_attributes = public.object_attributes.without(ORIGIN);
            create(&mut tpm, root, public, sensitive(&[], data)).err()
        };
        // A weak key of DES, twice.
        assert_eq!(run(with_tdes(), &[1; 16]), Some(Rc::KEY));
        assert_eq!(run(with_tdes(), &[1; 8]), Some(Rc::KEY_SIZE));
        // An HMAC key may be as long as a block of its hash, data as long as the buffer.
        assert_eq!(run(hmac_template(), &[1; 65]), Some(Rc::SIZE));
        assert_eq!(run(hmac_template(), &[1; 64]), None);
    }

    #[test]
    fn an_exponent_that_is_small_or_no_prime_is_range() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        for exponent in [3, 65536, 65539 * 3] {
            let mut public = build::rsa_template(FIXED | SIGN);
            if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
                parameters.exponent = exponent;
            }
            let refused = create(&mut tpm, root, public, sensitive(&[], &[])).err();
            assert_eq!(refused, Some(Rc::RANGE), "{exponent}");
        }
    }

    #[test]
    fn parent_then_slot_then_template_then_authorization_value() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        let long = || sensitive(&[1; 33], b"data");
        let bad = create(&mut tpm, root, hmac_template(), long()).err();
        assert_eq!(bad, Some(Rc::ATTRIBUTES.at(Create::in_public)));
        build::fill_slots(&mut tpm, 0);
        let full = create(&mut tpm, root, hmac_template(), long()).err();
        assert_eq!(full, Some(Rc::OBJECT_MEMORY));
        let no_parent = create(&mut tpm, key, hmac_template(), long()).err();
        assert_eq!(no_parent, Some(Rc::TYPE.at(Create::parent_handle)));
    }
}
