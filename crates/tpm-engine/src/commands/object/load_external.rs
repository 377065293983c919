//! `TPM2_LoadExternal` (Part 3, 12.3).

use crate::execute::Execute;
use crate::loading::{Blame, check_loadable};
use crate::object::{Lineage, Object};
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{LoadExternal, LoadExternalResponse};
use tpm_wire::handles::{HandleField, TpmHandle};
use tpm_wire::rc::Rc;

impl Execute for LoadExternal {
    fn execute(self, tpm: &mut Tpm) -> Result<LoadExternalResponse, Rc> {
        tpm.objects.check_room()?;
        let hierarchy: TpmHandle = self.hierarchy.handle();
        let refused = Rc::HIERARCHY.at(Self::hierarchy);
        tpm.hierarchies.check(hierarchy).map_err(|_| refused)?;
        let (public, sensitive) = (self.in_public.0, self.in_private.0);
        if sensitive.is_some() {
            if hierarchy != TpmHandle::NULL {
                return Err(refused);
            }
            let attributes = public.object_attributes;
            if attributes.intersects(
                TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::RESTRICTED,
            ) {
                return Err(Rc::ATTRIBUTES.at(Self::in_public));
            }
        }
        let blame = Blame {
            public: Self::in_public,
            sensitive: Self::in_private,
        };
        check_loadable(None, &public, sensitive.as_ref(), blame)?;
        let object = Object::new(public, sensitive, Lineage::External(hierarchy));
        let name = object.name.clone();
        Ok(LoadExternalResponse {
            object_handle: tpm.objects.load(object)?,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    // `TPM_RC_HASH` is the parser's: without a Name algorithm nothing is asked of the hash, with one it is there.

    use crate::commands::object::build::{
        self, FIXED, STORAGE, ecc_generator, external_sensitive, load_external, rsa_public,
        rsa_sensitive,
    };
    use crate::testing::{self, TestTpm};
    use alloc::vec;
    use tpm_wire::algorithm::{TpmiAlgHash, TpmsSchemeHash, TpmtEccScheme};
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::{
        Small, Tpm2b, Tpm2bDigest, Tpm2bName, Tpm2bPublicKeyRsa, Tpm2bSensitiveData, Tpm2bSymKey,
    };
    use tpm_wire::commands::{LoadExternal, ReadPublic};
    use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
    use tpm_wire::object::{
        Tpm2bSensitive, TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuPublicParms,
        TpmuSensitiveComposite,
    };
    use tpm_wire::rc::Rc;

    const USE: TpmaObject = TpmaObject(TpmaObject::USER_WITH_AUTH.0 | TpmaObject::SIGN.0);
    const IN_PUBLIC: fn(Rc) -> Rc = |rc| rc.at(LoadExternal::in_public);
    const IN_PRIVATE: fn(Rc) -> Rc = |rc| rc.at(LoadExternal::in_private);

    fn refused(
        tpm: &mut TestTpm,
        public: TpmtPublic,
        sensitive: Option<TpmtSensitive>,
    ) -> Option<Rc> {
        load_external(tpm, public, sensitive).err()
    }

    #[test]
    fn the_qualified_name_of_an_external_object_is_its_name() {
        let mut tpm = testing::started();
        let (public, sensitive) = ecc_generator(USE);
        for sensitive in [None, Some(sensitive)] {
            let handle = load_external(&mut tpm, public.clone(), sensitive.clone()).unwrap();
            let read = tpm.run(ReadPublic {
                object_handle: handle.into(),
            });
            let read = read.unwrap();
            assert_eq!(read.name, read.qualified_name);
            let object = tpm.objects.get(handle).unwrap();
            assert!(object.external && !object.primary && !object.is_parent());
            assert_eq!(object.sensitive, sensitive);
        }
    }

    #[test]
    fn a_storage_key_may_come_as_public_area_from_any_hierarchy() {
        let mut tpm = testing::started();
        let (public, _) = ecc_generator(FIXED | STORAGE);
        let handle = load_external(&mut tpm, public, None).unwrap();
        let object = tpm.objects.get(handle).unwrap();
        assert_eq!(object.hierarchy, TpmHandle::OWNER);
        assert!(object.is_storage_key() && !object.is_parent());
    }

    #[test]
    fn without_a_name_algorithm_there_is_no_name() {
        let mut tpm = testing::started();
        let mut public = rsa_public(USE);
        public.name_alg = None;
        for sensitive in [None, Some(rsa_sensitive())] {
            let handle = load_external(&mut tpm, public.clone(), sensitive).unwrap();
            let object = tpm.objects.get(handle).unwrap();
            assert_eq!(object.name, Tpm2bName::EMPTY);
            assert_eq!(object.qualified_name, Tpm2bName::EMPTY);
        }
    }

    #[test]
    fn without_a_slot_it_is_object_memory() {
        let mut tpm = testing::started();
        build::fill_slots(&mut tpm, 0);
        let code = refused(&mut tpm, rsa_public(USE), None);
        assert_eq!(code, Some(Rc::OBJECT_MEMORY));
    }

    #[test]
    fn a_hierarchy_that_is_disabled_or_has_a_sensitive_area_is_hierarchy_at_parameter_3() {
        let mut tpm = testing::started();
        let command = LoadExternal {
            in_private: Tpm2bSensitive(Some(rsa_sensitive())),
            in_public: Tpm2b(rsa_public(USE)),
            hierarchy: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        };
        let expected = Some(Rc::HIERARCHY.at(LoadExternal::hierarchy));
        assert_eq!(tpm.run(command.clone()).err(), expected);
        tpm.hierarchies.owner_enabled = false;
        let command = LoadExternal {
            in_private: Tpm2bSensitive(None),
            ..command
        };
        assert_eq!(tpm.run(command).err(), expected);
    }

    #[test]
    fn a_sensitive_area_of_a_fixed_or_restricted_object_is_attributes_at_parameter_2() {
        let mut tpm = testing::started();
        let expected = Some(IN_PUBLIC(Rc::ATTRIBUTES));
        for attribute in [
            TpmaObject::FIXED_TPM,
            TpmaObject::FIXED_PARENT,
            TpmaObject::RESTRICTED,
        ] {
            let public = rsa_public(USE | attribute);
            assert_eq!(refused(&mut tpm, public, Some(rsa_sensitive())), expected);
        }
        let public = rsa_public(TpmaObject::NONE);
        assert_eq!(refused(&mut tpm, public, Some(rsa_sensitive())), expected);
    }

    #[test]
    fn schemes_are_checked_for_a_public_area_alone_too() {
        let mut tpm = testing::started();
        let (mut public, _) = ecc_generator(USE);
        if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
            parameters.scheme = Some(TpmtEccScheme::Ecdh(TpmsSchemeHash {
                hash_alg: TpmiAlgHash::Sha256,
            }));
        }
        let code = refused(&mut tpm, public, None);
        assert_eq!(code, Some(IN_PUBLIC(Rc::SCHEME)));
    }

    #[test]
    fn public_keys_are_checked() {
        let mut tpm = testing::started();
        let mut rsa = |change: fn(&mut TpmtPublic)| {
            let mut public = rsa_public(USE);
            change(&mut public);
            refused(&mut tpm, public, None)
        };
        let short = rsa(|public| {
            public.unique = TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(vec![0xFF; 255]).unwrap());
        });
        assert_eq!(short, Some(IN_PUBLIC(Rc::KEY)));
        let low = rsa(|public| {
            public.unique = TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(vec![0x7F; 256]).unwrap());
        });
        assert_eq!(low, Some(IN_PUBLIC(Rc::KEY)));
        let small_exponent = rsa(|public| {
            if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
                parameters.exponent = 5;
            }
        });
        assert_eq!(small_exponent, Some(IN_PUBLIC(Rc::VALUE)));

        let (good, _) = ecc_generator(USE);
        let mut ecc = |x: &[u8], y: &[u8]| {
            let mut public = good.clone();
            if let TpmuPublicId::Ecc(point) = &mut public.unique {
                point.x = Small::new(x).unwrap();
                point.y = Small::new(y).unwrap();
            }
            refused(&mut tpm, public, None)
        };
        assert_eq!(ecc(&[1; 31], &[1; 32]), Some(IN_PUBLIC(Rc::KEY)));
        assert_eq!(ecc(&[1; 32], &[]), Some(IN_PUBLIC(Rc::KEY)));
        assert_eq!(ecc(&[1; 32], &[1; 32]), Some(IN_PUBLIC(Rc::ECC_POINT)));

        let mut public = build::hmac_template();
        assert_eq!(
            refused(&mut tpm, public.clone(), None),
            Some(IN_PUBLIC(Rc::KEY))
        );
        public.unique = TpmuPublicId::KeyedHash(Tpm2bDigest::zeros(32));
        assert_eq!(refused(&mut tpm, public, None), None);
    }

    #[test]
    fn sensitive_areas_are_checked() {
        let mut tpm = testing::started();
        let rsa = rsa_public(USE);
        let (ecc, generator) = ecc_generator(USE);
        let mut check = |public: &TpmtPublic, change: &dyn Fn(&mut TpmtSensitive)| {
            let mut sensitive = match public.unique {
                TpmuPublicId::Rsa(_) => rsa_sensitive(),
                _ => generator.clone(),
            };
            change(&mut sensitive);
            refused(&mut tpm, public.clone(), Some(sensitive))
        };
        assert_eq!(check(&rsa, &|_| {}), None);
        assert_eq!(check(&ecc, &|_| {}), None);
        let seed = check(&rsa, &|area| area.seed_value = Small::zeros(33));
        assert_eq!(seed, Some(IN_PRIVATE(Rc::KEY_SIZE)));
        let kind = check(&rsa, &|area| area.sensitive = generator.sensitive.clone());
        assert_eq!(kind, Some(IN_PRIVATE(Rc::TYPE)));
        let auth = check(&rsa, &|area| area.auth_value = Small::zeros(33));
        assert_eq!(auth, Some(IN_PRIVATE(Rc::SIZE)));
        let cut = check(&rsa, &|area| {
            if let TpmuSensitiveComposite::Rsa(prime) = &mut area.sensitive {
                *prime = tpm_wire::buffers::Large::new(prime[1..].to_vec()).unwrap();
            }
        });
        assert_eq!(cut, Some(IN_PRIVATE(Rc::KEY_SIZE)));
        let other = check(&rsa, &|area| {
            if let TpmuSensitiveComposite::Rsa(prime) = &mut area.sensitive {
                prime.as_mut_slice()[60] ^= 1;
            }
        });
        assert_eq!(other, Some(Rc::BINDING));
        let zero = check(&ecc, &|area| {
            area.sensitive = TpmuSensitiveComposite::Ecc(Small::zeros(32));
        });
        assert_eq!(zero, Some(Rc::KEY_SIZE));
        let two = check(&ecc, &|area| {
            area.sensitive = TpmuSensitiveComposite::Ecc(Small::new(&[2]).unwrap());
        });
        assert_eq!(two, Some(Rc::BINDING));
    }

    #[test]
    fn symmetric_objects_are_bound_to_seed_and_secret() {
        let mut tpm = testing::started();
        let seed = [9; 32];
        let key = [7; 32];
        let unique = crate::algorithms::hash(TpmiAlgHash::Sha256, &[&seed, &key]);
        let mut public = build::hmac_template();
        public.object_attributes = USE;
        public.unique = TpmuPublicId::KeyedHash(Tpm2bDigest::new(&unique).unwrap());
        let bits = |size| {
            let bits = Tpm2bSensitiveData::new(vec![7; size]).unwrap();
            TpmuSensitiveComposite::Bits(bits)
        };
        let good = external_sensitive(bits(32), &seed);
        assert_eq!(refused(&mut tpm, public.clone(), Some(good)), None);
        for (area, rc) in [
            (external_sensitive(bits(31), &seed), Rc::BINDING),
            (external_sensitive(bits(32), &[8; 32]), Rc::BINDING),
            (
                external_sensitive(bits(32), &seed[1..]),
                IN_PRIVATE(Rc::KEY_SIZE),
            ),
            (
                external_sensitive(bits(65), &seed),
                IN_PRIVATE(Rc::KEY_SIZE),
            ),
        ] {
            assert_eq!(refused(&mut tpm, public.clone(), Some(area)), Some(rc));
        }
        let mut cipher = build::symmetric_template(None);
        cipher.object_attributes = USE | TpmaObject::DECRYPT;
        cipher.name_alg = None;
        let sym = |size| {
            let key = Tpm2bSymKey::zeros(size);
            external_sensitive(TpmuSensitiveComposite::Sym(key), &[])
        };
        assert_eq!(refused(&mut tpm, cipher.clone(), Some(sym(16))), None);
        let wrong = refused(&mut tpm, cipher, Some(sym(32)));
        assert_eq!(wrong, Some(IN_PRIVATE(Rc::KEY_SIZE)));
    }

    #[test]
    fn policies_kdfs_and_symmetric_algorithms_are_checked() {
        let mut tpm = testing::started();
        let (public, area) = ecc_generator(USE);
        let code = refused(&mut tpm, build::with_kdf(public.clone()), None);
        assert_eq!(code, Some(IN_PUBLIC(Rc::KDF)));
        let symmetric = build::with_symmetric(public.clone(), Some(128));
        let code = refused(&mut tpm, symmetric, None);
        assert_eq!(code, Some(IN_PUBLIC(Rc::SYMMETRIC)));
        let mut policy = public;
        policy.auth_policy = Small::zeros(20);
        // Of a public area alone the policy is never used.
        assert_eq!(refused(&mut tpm, policy.clone(), None), None);
        let code = refused(&mut tpm, policy, Some(area));
        assert_eq!(code, Some(IN_PUBLIC(Rc::SIZE)));
    }

    #[test]
    fn slot_then_hierarchy_then_attributes() {
        let mut tpm = testing::started();
        let mut command = LoadExternal {
            in_private: Tpm2bSensitive(Some(rsa_sensitive())),
            in_public: Tpm2b(rsa_public(USE | TpmaObject::FIXED_TPM)),
            hierarchy: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        };
        let rc = Rc::HIERARCHY.at(LoadExternal::hierarchy);
        assert_eq!(tpm.run(command.clone()).err(), Some(rc));
        build::fill_slots(&mut tpm, 0);
        assert_eq!(tpm.run(command.clone()).err(), Some(Rc::OBJECT_MEMORY));
        command.hierarchy = None;
        assert_eq!(tpm.run(command).err(), Some(Rc::OBJECT_MEMORY));
    }
}
