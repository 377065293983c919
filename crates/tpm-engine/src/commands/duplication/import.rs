//! `TPM2_Import` (Part 3, 13.3).

use crate::execute::Execute;
use crate::loading::{Blame, check_loadable};
use crate::object::Object;
use crate::protection::{InnerWrap, Protector, unwrap_duplicate};
use crate::secret_exchange::DUPLICATE;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmiAlgPublic;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{Import, ImportResponse};
use tpm_wire::rc::Rc;

impl Execute for Import {
    fn execute(self, tpm: &mut Tpm) -> Result<ImportResponse, Rc> {
        let public = self.object_public.0;
        if public
            .object_attributes
            .intersects(TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT)
        {
            return Err(Rc::ATTRIBUTES.at(Self::object_public));
        }
        let not_parent = Rc::TYPE.at(Self::parent_handle);
        let parent = tpm
            .objects
            .get(self.parent_handle)
            .map_err(|_| not_parent)?;
        if !parent.is_parent() {
            return Err(not_parent);
        }
        let must_be_encrypted = public.has(TpmaObject::ENCRYPTED_DUPLICATION);
        let key_size = self
            .symmetric_alg
            .map_or(0, |cipher| usize::from(cipher.key_bits).div_ceil(8));
        if self.encryption_key.len() != key_size {
            return Err(Rc::SIZE.at(Self::encryption_key));
        }
        if self.symmetric_alg.is_none() && must_be_encrypted {
            return Err(Rc::ATTRIBUTES.at(Self::encryption_key));
        }
        let seed = if self.in_sym_seed.is_empty() {
            if must_be_encrypted {
                return Err(Rc::ATTRIBUTES.at(Self::in_sym_seed));
            }
            None
        } else {
            // Nobody can send a seed to a symmetric key.
            if parent.public.object_type() == TpmiAlgPublic::SymCipher {
                return Err(not_parent);
            }
            let seed = tpm
                .decrypt_secret(self.parent_handle.0, DUPLICATE, &self.in_sym_seed)
                .map_err(|rc| rc.at(Self::in_sym_seed))?;
            Some(seed)
        };
        let name_alg = public.name_alg.ok_or(Rc::HASH.at(Self::object_public))?;
        let name = Object::name_of(&public);

        let parent = tpm
            .objects
            .get(self.parent_handle)
            .map_err(|_| not_parent)?;
        let outer = match &seed {
            Some(seed) => Some(Protector::with_seed(&parent.public, seed)?),
            None => None,
        };
        let inner = self.symmetric_alg.map(|cipher| InnerWrap {
            cipher,
            key: &self.encryption_key,
        });
        let sensitive = unwrap_duplicate(
            &name,
            name_alg,
            &self.duplicate,
            inner.as_ref(),
            outer.as_ref(),
            &tpm.profile.limits,
        )
        .map_err(|rc| rc.at(Self::duplicate))?;
        // Under a parent that is not fixedTPM, the object is checked each time it is loaded.
        if parent.public.has(TpmaObject::FIXED_TPM) {
            let blame = Blame {
                public: Self::object_public,
                sensitive: Self::duplicate,
            };
            check_loadable(None, &public, Some(&sensitive), blame)?;
        }
        let out_private = Protector::parent(parent)?.wrap_private(
            &name,
            Some(name_alg),
            &sensitive,
            &mut tpm.random,
        )?;
        Ok(ImportResponse { out_private })
    }
}

#[cfg(test)]
mod tests {
    use tpm_wire::buffers::Small;
    use tpm_wire::codec::Marshal;
    use tpm_wire::object::{TpmtSensitive, TpmuPublicId, TpmuSensitiveComposite};
    // Not tested, since they cannot occur: `TPM_RC_OBJECT_MEMORY` (no slot is needed) and `TPM_RC_NO_RESULT` (no curve has a
    // point that a key multiplies to infinity).

    use crate::commands::duplication::build::{duplicate, import, movable};
    use crate::commands::object::build::{
        self, AES_128_CFB, FIXED, MOVABLE, STORAGE, passwords, vector,
    };
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::codec::{Limits, parse_all};
    use tpm_wire::commands::{Import, Load, Unseal};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::object::{Tpm2bPublic, TpmtPublic};
    use tpm_wire::rc::Rc;

    /// The object of the vectors.
    fn object() -> TpmtPublic {
        parse_all(&vector("object").remove(0), &Limits::ALL).unwrap()
    }

    #[test]
    fn duplicates_of_another_tpm_open() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let ecc = build::vector_storage_ecc(&mut tpm);
        let rsa = build::vector_storage_rsa(&mut tpm);
        let key: Vec<u8> = (0..16).collect();
        for (name, parent, has_inner) in [
            ("duplicate-ecc-plain", ecc, false),
            ("duplicate-ecc-inner", ecc, true),
            ("duplicate-rsa-plain", rsa, false),
            ("duplicate-rsa-inner", rsa, true),
            ("duplicate-null-inner", root, true),
        ] {
            let given = vector(name);
            let key = given.get(2).unwrap_or(&key);
            let inner = has_inner.then_some((AES_128_CFB, &key[..]));
            let private = import(&mut tpm, parent, object(), &given[0], &given[1], inner);
            let loaded = tpm.run(Load {
                parent_handle: parent.into(),
                in_private: private.unwrap(),
                in_public: Tpm2bPublic(object()),
            });
            let handle = loaded.unwrap().object_handle;
            let unseal = Unseal {
                item_handle: handle.into(),
            };
            let data = tpm.run_as(unseal, &passwords(&[b"auth"])).unwrap();
            assert_eq!(&*data.out_data, b"interoperable", "{name}");
        }
    }

    /// Imports a vector after a change of the public area.
    fn changed(
        tpm: &mut TestTpm,
        parent: TpmHandle,
        change: impl FnOnce(&mut TpmtPublic),
    ) -> Option<Rc> {
        let given = vector("duplicate-ecc-plain");
        let mut public = object();
        change(&mut public);
        import(tpm, parent, public, &given[0], &given[1], None).err()
    }

    #[test]
    fn a_fixed_object_is_attributes_at_parameter_2() {
        let mut tpm = testing::started();
        let parent = build::vector_storage_ecc(&mut tpm);
        for attribute in [TpmaObject::FIXED_TPM, TpmaObject::FIXED_PARENT] {
            let refused = changed(&mut tpm, parent, |public| {
                public.object_attributes |= attribute;
            });
            assert_eq!(refused, Some(Rc::ATTRIBUTES.at(Import::object_public)));
        }
    }

    #[test]
    fn a_key_that_cannot_be_the_parent_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let mut symmetric = build::symmetric_template(AES_128_CFB.mode);
        symmetric.object_attributes = FIXED | STORAGE;
        let parents = [
            build::signing_key_ecc(&mut tpm, root),
            // It can be a parent, but nobody can send it a seed.
            build::child(&mut tpm, root, symmetric, build::sensitive(&[], &[])),
            build::sequence(&mut tpm),
        ];
        for parent in parents {
            let refused = changed(&mut tpm, parent, |_| {});
            assert_eq!(refused, Some(Rc::TYPE.at(Import::parent_handle)));
        }
    }

    #[test]
    fn wraps_that_lack_are_blamed_on_what_they_need() {
        let mut tpm = testing::started();
        let parent = build::vector_storage_ecc(&mut tpm);
        let given = vector("duplicate-ecc-plain");
        let encrypted = |public: &mut TpmtPublic| {
            public.object_attributes |= TpmaObject::ENCRYPTED_DUPLICATION;
        };
        let refused = changed(&mut tpm, parent, encrypted);
        assert_eq!(refused, Some(Rc::ATTRIBUTES.at(Import::encryption_key)));
        let mut public = object();
        encrypted(&mut public);
        let inner = Some((AES_128_CFB, &[0; 16][..]));
        let refused = import(&mut tpm, parent, public, &given[0], &[], inner).err();
        assert_eq!(refused, Some(Rc::ATTRIBUTES.at(Import::in_sym_seed)));
    }

    #[test]
    fn an_inner_key_of_the_wrong_size_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let parent = build::vector_storage_ecc(&mut tpm);
        let inner = Some((AES_128_CFB, &[0; 15][..]));
        let refused = import(&mut tpm, parent, object(), &[], &[], inner).err();
        assert_eq!(refused, Some(Rc::SIZE.at(Import::encryption_key)));
    }

    #[test]
    fn a_seed_that_no_key_can_read_is_blamed_on_parameter_4() {
        let mut tpm = testing::started();
        let ecc = build::vector_storage_ecc(&mut tpm);
        let rsa = build::vector_storage_rsa(&mut tpm);
        let blob = vector("duplicate-ecc-plain").remove(0);
        let mut refused =
            |parent, seed: &[u8]| import(&mut tpm, parent, object(), &blob, seed, None).err();
        let at = |rc: Rc| Some(rc.at(Import::in_sym_seed));
        assert_eq!(refused(ecc, &[0, 1]), at(Rc::INSUFFICIENT));
        assert_eq!(refused(ecc, &[0, 1, 1, 0, 1, 1]), at(Rc::ECC_POINT));
        assert_eq!(refused(rsa, &[1; 255]), at(Rc::SIZE));
        assert_eq!(refused(rsa, &[1; 256]), at(Rc::VALUE));
    }

    #[test]
    fn a_changed_duplicate_is_integrity_at_parameter_3() {
        let mut tpm = testing::started();
        let parent = build::vector_storage_ecc(&mut tpm);
        let refused = Some(Rc::INTEGRITY.at(Import::duplicate));
        let name = changed(&mut tpm, parent, |public| {
            public.object_attributes |= TpmaObject::NO_DA;
        });
        assert_eq!(name, refused);
        let given = vector("duplicate-ecc-plain");
        for index in [2, 33, 34, given[0].len() - 1] {
            let mut blob = given[0].clone();
            blob[index] ^= 1;
            let code = import(&mut tpm, parent, object(), &blob, &given[1], None).err();
            assert_eq!(code, refused);
        }
        // The inner wrap has an integrity value of its own.
        let given = vector("duplicate-null-inner");
        let mut inner = |key: &[u8]| {
            let inner = Some((AES_128_CFB, key));
            import(&mut tpm, parent, object(), &given[0], &[], inner).err()
        };
        assert_eq!(inner(&given[2]), None);
        let mut key = given[2].clone();
        key[0] ^= 1;
        assert!(inner(&key).is_some());
    }

    #[test]
    fn a_duplicate_without_wraps_must_have_the_form_of_a_sensitive_area() {
        let mut tpm = testing::started();
        let parent = build::vector_storage_ecc(&mut tpm);
        let at = |rc: Rc| Some(rc.at(Import::duplicate));
        for (blob, expected) in [
            (&[0][..], at(Rc::INSUFFICIENT)),
            (&[0, 1], at(Rc::SIZE)),
            (&[0, 1, 0], at(Rc::INSUFFICIENT)),
            (&[0, 2, 0, 5], at(Rc::TYPE)),
            (&[0, 9, 0, 8, 0, 0, 0, 0, 0, 0, 9], at(Rc::SIZE)),
            // What it says does not make the public area.
            (&[0, 8, 0, 8, 0, 0, 0, 0, 0, 0], at(Rc::KEY_SIZE)),
        ] {
            let refused = import(&mut tpm, parent, object(), blob, &[], None).err();
            assert_eq!(refused, expected, "{blob:?}");
        }
    }

    #[test]
    fn under_a_movable_parent_the_object_is_checked_when_it_is_loaded() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let public = build::ecc_template(MOVABLE | STORAGE);
        let parent = build::child(&mut tpm, root, public, build::sensitive(&[], &[]));
        let area = [0, 8, 0, 8, 0, 0, 0, 0, 0, 0];
        let in_private = import(&mut tpm, parent, object(), &area, &[], None).unwrap();
        let refused = tpm.run(Load {
            parent_handle: parent.into(),
            in_private,
            in_public: Tpm2bPublic(object()),
        });
        assert_eq!(refused.err(), Some(Rc::KEY_SIZE.at(Load::in_private)));
    }

    #[test]
    fn a_public_area_that_breaks_the_rules_is_blamed_on_parameter_2() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let handle = movable(&mut tpm, root, TpmaObject::NONE);
        let made = duplicate(&mut tpm, handle, TpmHandle::NULL, &[], None).unwrap();
        let mut public = object();
        public.object_attributes |= TpmaObject::SIGN;
        let refused = import(&mut tpm, root, public, &made.duplicate, &[], None).err();
        assert_eq!(refused, Some(Rc::SCHEME.at(Import::object_public)));
    }

    /// Imports, without wraps, a key of which both areas are known.
    fn known(change: impl FnOnce(&mut TpmtPublic, &mut TpmtSensitive)) -> Option<Rc> {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let (mut public, mut area) = build::ecc_generator(MOVABLE | TpmaObject::SIGN);
        change(&mut public, &mut area);
        let mut blob = Vec::new();
        tpm_wire::buffers::marshal_with_size(&mut blob, |out| area.marshal(out));
        import(&mut tpm, root, public, &blob, &[], None).err()
    }

    #[test]
    fn areas_that_do_not_belong_together_are_binding() {
        assert_eq!(known(|_, _| {}), None);
        let other = known(|_, area| {
            area.sensitive = TpmuSensitiveComposite::Ecc(Small::new(&[2]).unwrap());
        });
        assert_eq!(other, Some(Rc::BINDING));
    }

    #[test]
    fn schemes_and_keys_of_the_public_area_are_blamed_on_parameter_2() {
        let at = |rc: Rc| Some(rc.at(Import::object_public));
        let hash = known(|public, _| public.name_alg = None);
        assert_eq!(hash, at(Rc::HASH));
        let kdf = known(|public, _| *public = build::with_kdf(public.clone()));
        assert_eq!(kdf, at(Rc::KDF));
        let symmetric =
            known(|public, _| *public = build::with_symmetric(public.clone(), Some(128)));
        assert_eq!(symmetric, at(Rc::SYMMETRIC));
        let policy = known(|public, _| public.auth_policy = Small::zeros(20));
        assert_eq!(policy, at(Rc::SIZE));
        let modulus = known(|public, area| {
            *public = build::rsa_public(MOVABLE | TpmaObject::SIGN);
            *area = build::rsa_sensitive();
            if let TpmuPublicId::Rsa(modulus) = &mut public.unique {
                modulus.as_mut_slice()[0] = 0x7F;
            }
        });
        assert_eq!(modulus, at(Rc::KEY));
        let kind = known(|_, area| area.sensitive = build::rsa_sensitive().sensitive);
        assert_eq!(kind, Some(Rc::TYPE.at(Import::duplicate)));
    }

    #[test]
    fn attributes_then_parent_then_inner_key_then_seed_then_duplicate() {
        let mut tpm = testing::started();
        let parent = build::vector_storage_ecc(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, parent);
        let mut fixed = object();
        fixed.object_attributes |= TpmaObject::FIXED_TPM;
        let inner = Some((AES_128_CFB, &[0; 15][..]));
        let mut run = |parent, public: &TpmtPublic, inner| {
            import(&mut tpm, parent, public.clone(), &[0], &[1], inner).err()
        };
        let attributes = Rc::ATTRIBUTES.at(Import::object_public);
        assert_eq!(run(key, &fixed, inner), Some(attributes));
        let no_parent = Rc::TYPE.at(Import::parent_handle);
        assert_eq!(run(key, &object(), inner), Some(no_parent));
        let size = Rc::SIZE.at(Import::encryption_key);
        assert_eq!(run(parent, &object(), inner), Some(size));
        let seed = Rc::INSUFFICIENT.at(Import::in_sym_seed);
        assert_eq!(run(parent, &object(), None), Some(seed));
    }
}
