//! `TPM2_Rewrap` (Part 3, 13.2).

use crate::execute::Execute;
use crate::protection::Protector;
use crate::secret_exchange::DUPLICATE;
use crate::state::Tpm;
use tpm_wire::buffers::{Tpm2bEncryptedSecret, Tpm2bPrivate};
use tpm_wire::commands::{Rewrap, RewrapResponse};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for Rewrap {
    fn execute(self, tpm: &mut Tpm) -> Result<RewrapResponse, Rc> {
        if self.in_sym_seed.is_empty() != self.old_parent.is_none() {
            return Err(Rc::HANDLE.at(Self::old_parent));
        }
        let inner = match self.old_parent {
            Some(old_parent) => {
                let refused = Rc::TYPE.at(Self::old_parent);
                if !is_storage_key(tpm, old_parent.0) {
                    return Err(refused);
                }
                let seed = tpm
                    .decrypt_secret(old_parent.0, DUPLICATE, &self.in_sym_seed)
                    .map_err(|_| Rc::VALUE.at(Self::in_sym_seed))?;
                let parent = tpm.objects.get(old_parent).map_err(|_| refused)?;
                Protector::with_seed(&parent.public, &seed)
                    .and_then(|parent| parent.unwrap(&self.name, false, &self.in_duplicate))
                    .map_err(|rc| rc.at(Self::in_duplicate))?
            }
            None => Zeroizing::new(self.in_duplicate.to_vec()),
        };
        let (out_duplicate, out_sym_seed) = match self.new_parent {
            Some(new_parent) => {
                let refused = Rc::TYPE.at(Self::new_parent);
                if !is_storage_key(tpm, new_parent.0) {
                    return Err(refused);
                }
                let (seed, secret) = tpm.encrypt_secret(new_parent.0, DUPLICATE)?;
                let parent = tpm.objects.get(new_parent).map_err(|_| refused)?;
                let parent = Protector::with_seed(&parent.public, &seed)?;
                (parent.wrap(&self.name, None, inner)?, secret)
            }
            None => (inner.to_vec(), Tpm2bEncryptedSecret::EMPTY),
        };
        Ok(RewrapResponse {
            // The wrap may have made it too large.
            out_duplicate: Tpm2bPrivate::new(out_duplicate)
                .ok_or(Rc::VALUE.at(Self::in_duplicate))?,
            out_sym_seed,
        })
    }
}

fn is_storage_key(tpm: &Tpm, handle: tpm_wire::handles::TpmHandle) -> bool {
    tpm.objects
        .get(handle)
        .is_ok_and(|object| object.is_storage_key())
}

#[cfg(test)]
mod tests {
    use tpm_wire::algorithm::TpmiAlgHash;
    // `TPM_RC_KEY_SIZE` does not occur: a seed has no size of its own. `TPM_RC_ATTRIBUTES` neither: a new parent that does
    // not decrypt is no storage key.

    use crate::commands::duplication::build::{duplicate, import, movable};
    use crate::commands::object::build::{self, FIXED, STORAGE};
    use crate::testing::{self, TestTpm};
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::{Tpm2bEncryptedSecret, Tpm2bName, Tpm2bPrivate};
    use tpm_wire::commands::{DuplicateResponse, Rewrap, RewrapResponse};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn rewrap(
        tpm: &mut TestTpm,
        old: TpmHandle,
        new: TpmHandle,
        blob: &[u8],
        name: &Tpm2bName,
        seed: &[u8],
    ) -> Result<RewrapResponse, Rc> {
        tpm.run(Rewrap {
            old_parent: (old != TpmHandle::NULL).then(|| old.into()),
            new_parent: (new != TpmHandle::NULL).then(|| new.into()),
            in_duplicate: Tpm2bPrivate::new(blob.to_vec()).unwrap(),
            name: name.clone(),
            in_sym_seed: Tpm2bEncryptedSecret::new(seed.to_vec()).unwrap(),
        })
    }

    /// An object, its Name, and its duplicate for the root.
    fn duplicated(tpm: &mut TestTpm) -> (TpmHandle, TpmHandle, Tpm2bName, DuplicateResponse) {
        let root = build::primary_storage_ecc(tpm);
        let object = movable(tpm, root, TpmaObject::NONE);
        let name = tpm.entity_name(object);
        let made = duplicate(tpm, object, root, &[], None).unwrap();
        (root, object, name, made)
    }

    #[test]
    fn a_duplicate_moves_from_parent_to_parent() {
        let mut tpm = testing::started();
        let (root, object, name, made) = duplicated(&mut tpm);
        let public = tpm.objects.get(object).unwrap().public.clone();
        let other = build::vector_storage_rsa(&mut tpm);
        let moved = rewrap(
            &mut tpm,
            root,
            other,
            &made.duplicate,
            &name,
            &made.out_sym_seed,
        );
        let moved = moved.unwrap();
        let (blob, seed) = (&moved.out_duplicate, &moved.out_sym_seed);
        assert!(import(&mut tpm, other, public.clone(), blob, seed, None).is_ok());
        // To no parent and back again.
        let bare = rewrap(&mut tpm, other, TpmHandle::NULL, blob, &name, seed).unwrap();
        assert!(bare.out_sym_seed.is_empty());
        let back = rewrap(
            &mut tpm,
            TpmHandle::NULL,
            root,
            &bare.out_duplicate,
            &name,
            &[],
        );
        let back = back.unwrap();
        let (blob, seed) = (&back.out_duplicate, &back.out_sym_seed);
        assert!(import(&mut tpm, root, public, blob, seed, None).is_ok());
    }

    #[test]
    fn a_seed_without_old_parent_or_the_reverse_is_handle_at_handle_1() {
        let mut tpm = testing::started();
        let (root, _, name, made) = duplicated(&mut tpm);
        let expected = Some(Rc::HANDLE.at(Rewrap::old_parent));
        let (blob, seed) = (&made.duplicate, &made.out_sym_seed);
        let refused = rewrap(&mut tpm, root, root, blob, &name, &[]).err();
        assert_eq!(refused, expected);
        let refused = rewrap(&mut tpm, TpmHandle::NULL, root, blob, &name, seed).err();
        assert_eq!(refused, expected);
    }

    #[test]
    fn parents_that_are_no_storage_keys_are_type_at_their_handle() {
        let mut tpm = testing::started();
        let (root, _, name, made) = duplicated(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        let (blob, seed) = (&made.duplicate, &made.out_sym_seed);
        let old = rewrap(&mut tpm, key, root, blob, &name, seed).err();
        assert_eq!(old, Some(Rc::TYPE.at(Rewrap::old_parent)));
        let new = rewrap(&mut tpm, root, key, blob, &name, seed).err();
        assert_eq!(new, Some(Rc::TYPE.at(Rewrap::new_parent)));
    }

    #[test]
    fn a_seed_that_no_key_can_read_is_value_at_parameter_3() {
        let mut tpm = testing::started();
        let (root, _, name, made) = duplicated(&mut tpm);
        for seed in [&[1][..], &[0, 1, 1, 0, 1, 1]] {
            let refused = rewrap(&mut tpm, root, root, &made.duplicate, &name, seed).err();
            assert_eq!(refused, Some(Rc::VALUE.at(Rewrap::in_sym_seed)));
        }
    }

    #[test]
    fn a_changed_duplicate_or_name_is_integrity_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, _, name, made) = duplicated(&mut tpm);
        let expected = Some(Rc::INTEGRITY.at(Rewrap::in_duplicate));
        let seed = &made.out_sym_seed;
        let mut blob = made.duplicate.to_vec();
        blob[40] ^= 1;
        let refused = rewrap(&mut tpm, root, root, &blob, &name, seed).err();
        assert_eq!(refused, expected);
        let other = Tpm2bName::EMPTY;
        let refused = rewrap(&mut tpm, root, root, &made.duplicate, &other, seed).err();
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_duplicate_that_grows_too_large_is_value_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, _, name, _) = duplicated(&mut tpm);
        let refused = rewrap(&mut tpm, TpmHandle::NULL, root, &[0; 2048], &name, &[]).err();
        assert_eq!(refused, Some(Rc::VALUE.at(Rewrap::in_duplicate)));
    }

    #[test]
    fn a_new_parent_off_its_curve_is_key() {
        let mut tpm = testing::started();
        let (mut public, _) = build::ecc_generator(FIXED | STORAGE);
        if let tpm_wire::object::TpmuPublicId::Ecc(point) = &mut public.unique {
            point.y.as_mut_slice()[0] ^= 1;
        }
        let parent = build::put(&mut tpm, public, None);
        let name = Tpm2bName::EMPTY;
        let refused = rewrap(&mut tpm, TpmHandle::NULL, parent, &[0], &name, &[]).err();
        assert_eq!(refused, Some(Rc::KEY));
    }

    #[test]
    fn a_new_rsa_parent_too_short_for_two_digests_is_hash() {
        let mut tpm = testing::started();
        let parent = build::short_storage_rsa(&mut tpm, TpmiAlgHash::Sha512);
        let name = Tpm2bName::EMPTY;
        let refused = rewrap(&mut tpm, TpmHandle::NULL, parent, &[0], &name, &[]).err();
        assert_eq!(refused, Some(Rc::HASH));
    }

    #[test]
    fn a_duplicate_without_the_form_of_a_wrap_is_refused_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, _, name, made) = duplicated(&mut tpm);
        for (blob, rc) in [
            (&[0][..], Rc::INSUFFICIENT),
            (&[0, 9, 1], Rc::INSUFFICIENT),
            (&[0, 65], Rc::SIZE),
        ] {
            let refused = rewrap(&mut tpm, root, root, blob, &name, &made.out_sym_seed).err();
            assert_eq!(refused, Some(rc.at(Rewrap::in_duplicate)));
        }
    }

    #[test]
    fn old_parent_then_seed_then_duplicate_then_new_parent() {
        let mut tpm = testing::started();
        let (root, _, name, made) = duplicated(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        let mut run =
            |old, blob: &[u8], seed: &[u8]| rewrap(&mut tpm, old, key, blob, &name, seed).err();
        assert_eq!(run(key, &[0], &[]), Some(Rc::HANDLE.at(Rewrap::old_parent)));
        assert_eq!(run(key, &[0], &[1]), Some(Rc::TYPE.at(Rewrap::old_parent)));
        assert_eq!(
            run(root, &[0], &[1]),
            Some(Rc::VALUE.at(Rewrap::in_sym_seed))
        );
        let seed = &made.out_sym_seed;
        let form = Rc::INSUFFICIENT.at(Rewrap::in_duplicate);
        assert_eq!(run(root, &[0], seed), Some(form));
        let new = Rc::TYPE.at(Rewrap::new_parent);
        assert_eq!(run(root, &made.duplicate, seed), Some(new));
    }
}
