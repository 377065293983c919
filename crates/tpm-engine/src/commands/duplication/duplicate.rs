//! `TPM2_Duplicate` (Part 3, 13.1).

use crate::execute::Execute;
use crate::protection::{InnerWrap, Protector, wrap_duplicate};
use crate::secret_exchange::DUPLICATE;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2bData, Tpm2bEncryptedSecret, Tpm2bSeed};
use tpm_wire::commands::{Duplicate, DuplicateResponse};
use tpm_wire::rc::Rc;

impl Execute for Duplicate {
    fn execute(self, tpm: &mut Tpm) -> Result<DuplicateResponse, Rc> {
        let at_object = |rc: Rc| rc.at(Self::object_handle);
        let object = tpm.objects.get(self.object_handle).map_err(at_object)?;
        if object.public.has(TpmaObject::FIXED_PARENT) {
            return Err(at_object(Rc::ATTRIBUTES));
        }
        let name_alg = object.public.name_alg.ok_or(at_object(Rc::TYPE))?;
        if let Some(new_parent) = self.new_parent_handle
            && !tpm
                .objects
                .get(new_parent)
                .is_ok_and(|parent| parent.is_storage_key())
        {
            return Err(Rc::TYPE.at(Self::new_parent_handle));
        }
        if object.public.has(TpmaObject::ENCRYPTED_DUPLICATION) {
            if self.symmetric_alg.is_none() {
                return Err(Rc::SYMMETRIC.at(Self::symmetric_alg));
            }
            if self.new_parent_handle.is_none() {
                return Err(Rc::HIERARCHY.at(Self::new_parent_handle));
            }
        }
        let key_size = self
            .symmetric_alg
            .map_or(0, |cipher| usize::from(cipher.key_bits).div_ceil(8));
        let given = &self.encryption_key_in;
        if !given.is_empty() && given.len() != key_size {
            return Err(Rc::SIZE.at(Self::encryption_key_in));
        }

        let (seed, out_sym_seed) = match self.new_parent_handle {
            Some(new_parent) => tpm.encrypt_secret(new_parent.0, DUPLICATE)?,
            None => (Tpm2bSeed::EMPTY, Tpm2bEncryptedSecret::EMPTY),
        };
        // A key that the caller brought is not told again.
        let mut encryption_key_out = Tpm2bData::EMPTY;
        if given.is_empty() {
            encryption_key_out = Tpm2bData::zeros(key_size);
            tpm.fill_random(encryption_key_out.as_mut_slice());
        }
        let key = if given.is_empty() {
            &encryption_key_out
        } else {
            given
        };
        let inner = self.symmetric_alg.map(|cipher| InnerWrap { cipher, key });
        let outer = match self.new_parent_handle {
            Some(parent) => {
                let parent = tpm.objects.get(parent)?;
                Some(Protector::with_seed(&parent.public, &seed)?)
            }
            None => None,
        };
        let object = tpm.objects.get(self.object_handle)?;
        let sensitive = object.sensitive.as_ref().ok_or(at_object(Rc::TYPE))?;
        let duplicate = wrap_duplicate(
            &object.name,
            name_alg,
            sensitive,
            inner.as_ref(),
            outer.as_ref(),
        )?;
        Ok(DuplicateResponse {
            encryption_key_out,
            duplicate,
            out_sym_seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::duplication::build::{duplicate, import, movable};
    use crate::commands::object::build::{self, AES_128_CFB, FIXED, MOVABLE, STORAGE, passwords};
    use crate::testing;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::commands::{Duplicate, Load, Unseal};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::object::Tpm2bPublic;
    use tpm_wire::rc::Rc;

    const NONE: TpmaObject = TpmaObject::NONE;

    #[test]
    fn every_combination_of_wraps_can_be_imported() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, NONE);
        let public = tpm.objects.get(object).unwrap().public.clone();
        let parents = [
            TpmHandle::NULL,
            build::vector_storage_ecc(&mut tpm),
            build::vector_storage_rsa(&mut tpm),
        ];
        for parent in parents {
            for (given, cipher) in [
                (&[][..], None),
                (&[], Some(AES_128_CFB)),
                (&[5; 16], Some(AES_128_CFB)),
            ] {
                let made = duplicate(&mut tpm, object, parent, given, cipher).unwrap();
                assert_eq!(made.out_sym_seed.is_empty(), parent == TpmHandle::NULL);
                // A key that the caller gave is not returned.
                let told = !made.encryption_key_out.is_empty();
                assert_eq!(told, cipher.is_some() && given.is_empty());
                let key: &[u8] = if told {
                    &made.encryption_key_out
                } else {
                    given
                };
                let inner = cipher.map(|cipher| (cipher, key));
                let parent = if parent == TpmHandle::NULL {
                    root
                } else {
                    parent
                };
                let (blob, seed) = (&made.duplicate, &made.out_sym_seed);
                let private = import(&mut tpm, parent, public.clone(), blob, seed, inner).unwrap();
                let loaded = tpm.run(Load {
                    parent_handle: parent.into(),
                    in_private: private,
                    in_public: Tpm2bPublic(public.clone()),
                });
                let handle = loaded.unwrap().object_handle;
                let unseal = Unseal {
                    item_handle: handle.into(),
                };
                let data = tpm.run_as(unseal, &passwords(&[b"auth"])).unwrap();
                assert_eq!(&*data.out_data, b"interoperable");
                tpm.objects.flush(handle);
            }
        }
    }

    #[test]
    fn an_object_that_is_stuck_to_its_parent_is_attributes_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let parent = build::ecc_template(MOVABLE | STORAGE | TpmaObject::NO_DA);
        let parent = build::child(&mut tpm, root, parent, build::sensitive(&[], &[]));
        let object = movable(&mut tpm, parent, TpmaObject::FIXED_PARENT);
        let refused = duplicate(&mut tpm, object, root, &[], None).err();
        assert_eq!(refused, Some(Rc::ATTRIBUTES.at(Duplicate::object_handle)));
    }

    #[test]
    fn a_new_parent_that_is_no_storage_key_is_type_at_handle_2() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, NONE);
        let mut public = build::symmetric_template(AES_128_CFB.mode);
        public.object_attributes = FIXED | STORAGE;
        let parents = [
            build::signing_key_ecc(&mut tpm, root),
            build::child(&mut tpm, root, public, build::sensitive(&[], &[])),
            build::sequence(&mut tpm),
        ];
        for parent in parents {
            let refused = duplicate(&mut tpm, object, parent, &[], None).err();
            assert_eq!(refused, Some(Rc::TYPE.at(Duplicate::new_parent_handle)));
        }
    }

    #[test]
    fn encrypted_duplication_needs_both_wraps() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, TpmaObject::ENCRYPTED_DUPLICATION);
        let mut run = |parent, cipher| duplicate(&mut tpm, object, parent, &[], cipher).map(|_| ());
        let no_inner = Err(Rc::SYMMETRIC.at(Duplicate::symmetric_alg));
        let no_outer = Err(Rc::HIERARCHY.at(Duplicate::new_parent_handle));
        assert_eq!(run(root, None), no_inner);
        assert_eq!(run(TpmHandle::NULL, Some(AES_128_CFB)), no_outer);
        assert_eq!(run(root, Some(AES_128_CFB)), Ok(()));
    }

    #[test]
    fn an_inner_key_of_the_wrong_size_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, NONE);
        for (key, cipher) in [(&[0; 16][..], None), (&[0; 15], Some(AES_128_CFB))] {
            let refused = duplicate(&mut tpm, object, root, key, cipher).err();
            assert_eq!(refused, Some(Rc::SIZE.at(Duplicate::encryption_key_in)));
        }
    }

    #[test]
    fn a_new_parent_off_its_curve_is_key() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, NONE);
        let (mut public, _) = build::ecc_generator(FIXED | STORAGE);
        if let tpm_wire::object::TpmuPublicId::Ecc(point) = &mut public.unique {
            point.y.as_mut_slice()[0] ^= 1;
        }
        let parent = build::put(&mut tpm, public, None);
        let refused = duplicate(&mut tpm, object, parent, &[], None).err();
        assert_eq!(refused, Some(Rc::KEY));
    }

    #[test]
    fn an_object_without_name_algorithm_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, NONE);
        // No policy session fits an object without a hash, hence the action alone.
        let mut nameless = tpm.objects.get(object).unwrap().clone();
        nameless.public.name_alg = None;
        let command = Duplicate {
            object_handle: tpm.objects.load(nameless).unwrap().into(),
            new_parent_handle: Some(root.into()),
            encryption_key_in: Default::default(),
            symmetric_alg: None,
        };
        let refused = crate::execute::Execute::execute(command, &mut tpm).err();
        assert_eq!(refused, Some(Rc::TYPE.at(Duplicate::object_handle)));
    }

    #[test]
    fn a_new_rsa_parent_too_short_for_two_digests_is_hash_and_for_the_seed_too_is_value() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, NONE);
        for (name_alg, rc) in [
            (TpmiAlgHash::Sha512, Rc::HASH),
            (TpmiAlgHash::Sha384, Rc::VALUE),
        ] {
            let parent = build::short_storage_rsa(&mut tpm, name_alg);
            let refused = duplicate(&mut tpm, object, parent, &[], None).err();
            assert_eq!(refused, Some(rc));
        }
    }

    #[test]
    fn object_then_new_parent_then_symmetric_algorithm_then_key() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let object = movable(&mut tpm, root, TpmaObject::ENCRYPTED_DUPLICATION);
        let key = build::signing_key_ecc(&mut tpm, root);
        let no_parent = duplicate(&mut tpm, object, key, &[1], None).err();
        assert_eq!(no_parent, Some(Rc::TYPE.at(Duplicate::new_parent_handle)));
        let no_inner = duplicate(&mut tpm, object, TpmHandle::NULL, &[1], None).err();
        assert_eq!(no_inner, Some(Rc::SYMMETRIC.at(Duplicate::symmetric_alg)));
        let cipher = Some(AES_128_CFB);
        let no_outer = duplicate(&mut tpm, object, TpmHandle::NULL, &[1], cipher).err();
        assert_eq!(
            no_outer,
            Some(Rc::HIERARCHY.at(Duplicate::new_parent_handle))
        );
    }
}
