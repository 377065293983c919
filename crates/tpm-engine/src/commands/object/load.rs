//! `TPM2_Load` (Part 3, 12.2).

use crate::execute::Execute;
use crate::loading::{Blame, check_loadable};
use crate::object::{Lineage, Object};
use crate::protection::Protector;
use crate::state::Tpm;
use tpm_wire::commands::{Load, LoadResponse};
use tpm_wire::rc::Rc;

impl Execute for Load {
    fn execute(self, tpm: &mut Tpm) -> Result<LoadResponse, Rc> {
        tpm.objects.check_room()?;
        if self.in_private.is_empty() {
            return Err(Rc::SIZE.at(Self::in_private));
        }
        let at_parent = |rc: Rc| rc.at(Self::parent_handle);
        let parent = tpm.objects.get(self.parent_handle).map_err(at_parent)?;
        if !parent.is_parent() {
            return Err(at_parent(Rc::TYPE));
        }
        let public = self.in_public.0;
        let name = Object::name_of(&public);
        let sensitive = Protector::parent(parent)
            .and_then(|parent| parent.unwrap_private(&name, &self.in_private, &tpm.profile.limits))
            .map_err(|rc| rc.at(Self::in_private))?;
        let blame = Blame {
            public: Self::in_public,
            sensitive: Self::in_private,
        };
        check_loadable(Some(parent), &public, Some(&sensitive), blame)?;
        let object = Object::new(public, Some(sensitive), Lineage::Child(parent));
        Ok(LoadResponse {
            object_handle: tpm.objects.load(object)?,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{
        self, FIXED, MOVABLE, STORAGE, create, ecc_template, hmac_template, load, sensitive,
    };
    use crate::testing::{self, TestTpm};
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::Small;
    use tpm_wire::buffers::Tpm2bPrivate;
    use tpm_wire::commands::{CreateResponse, Load, ReadPublic};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::object::{
        Tpm2bPublic, TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuSensitiveComposite,
    };
    use tpm_wire::rc::Rc;

    /// A child of a storage key.
    fn created(tpm: &mut TestTpm) -> (TpmHandle, CreateResponse) {
        let root = build::primary_storage_ecc(tpm);
        let created = create(tpm, root, hmac_template(), sensitive(&[], &[])).unwrap();
        (root, created)
    }

    #[test]
    fn the_object_gets_the_qualified_name_of_its_place() {
        let mut tpm = testing::started();
        let (root, created) = created(&mut tpm);
        let handle = load(&mut tpm, root, &created).unwrap();
        let mut read = |handle: TpmHandle| {
            let object_handle = handle.into();
            tpm.run(ReadPublic { object_handle }).unwrap()
        };
        let (parent, child) = (read(root), read(handle));
        let expected = crate::object::Object::qualified_name_of(
            child.out_public.name_alg,
            &parent.qualified_name,
            &child.name,
        );
        assert_eq!(child.qualified_name, expected);
        assert_eq!(child.out_public, created.out_public);
    }

    #[test]
    fn st_clear_is_inherited() {
        let mut tpm = testing::started();
        let public = ecc_template(FIXED | STORAGE | TpmaObject::ST_CLEAR);
        let root = build::primary(&mut tpm, TpmHandle::OWNER, public).unwrap();
        let child = build::signing_key_ecc(&mut tpm, root.object_handle);
        assert!(tpm.objects.get(child).unwrap().st_clear);
        assert!(!tpm.objects.get(child).unwrap().primary);
    }

    #[test]
    fn without_a_slot_it_is_object_memory() {
        let mut tpm = testing::started();
        let (root, created) = created(&mut tpm);
        build::fill_slots(&mut tpm, 0);
        assert_eq!(load(&mut tpm, root, &created), Err(Rc::OBJECT_MEMORY));
    }

    #[test]
    fn an_empty_private_area_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, mut created) = created(&mut tpm);
        created.out_private = Tpm2bPrivate::EMPTY;
        let refused = load(&mut tpm, root, &created);
        assert_eq!(refused, Err(Rc::SIZE.at(Load::in_private)));
    }

    #[test]
    fn a_key_that_is_no_parent_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let (root, created) = created(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        let refused = load(&mut tpm, key, &created);
        assert_eq!(refused, Err(Rc::TYPE.at(Load::parent_handle)));
    }

    #[test]
    fn a_changed_area_or_another_parent_is_integrity_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, good) = created(&mut tpm);
        let refused = Err(Rc::INTEGRITY.at(Load::in_private));
        for index in [2, 33, 34, 36, 52, good.out_private.len() - 1] {
            let mut bad = good.clone();
            bad.out_private.as_mut_slice()[index] ^= 1;
            assert_eq!(load(&mut tpm, root, &bad), refused, "byte {index}");
        }
        let mut bad = good.clone();
        bad.out_public.0.object_attributes |= TpmaObject::NO_DA;
        assert_eq!(load(&mut tpm, root, &bad), refused);
        let public = ecc_template(FIXED | STORAGE);
        let other = build::primary(&mut tpm, TpmHandle::PLATFORM, public).unwrap();
        assert_eq!(load(&mut tpm, other.object_handle, &good), refused);
        let mut cut = good.clone();
        cut.out_private = Tpm2bPrivate::new(good.out_private[..40].to_vec()).unwrap();
        assert_eq!(load(&mut tpm, root, &cut), refused);
    }

    #[test]
    fn a_private_area_without_the_form_of_one_is_refused_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, mut created) = created(&mut tpm);
        for (bytes, rc) in [
            (&[0, 32, 1][..], Rc::INSUFFICIENT),
            (&[0][..], Rc::INSUFFICIENT),
            (&[0, 65][..], Rc::SIZE),
        ] {
            created.out_private = Tpm2bPrivate::new(bytes.to_vec()).unwrap();
            let refused = load(&mut tpm, root, &created);
            assert_eq!(refused, Err(rc.at(Load::in_private)));
        }
    }

    #[test]
    fn whoever_knows_the_seed_of_a_movable_parent_cannot_load_nonsense() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let public = ecc_template(MOVABLE | STORAGE);
        let parent = build::child(&mut tpm, root, public, sensitive(&[], &[]));
        let mut wrap = |data: &[u8]| {
            let public = build::hmac_template();
            let name = crate::object::Object::name_of(&public);
            let parent = tpm.objects.get(parent).unwrap();
            let iv = tpm_wire::buffers::Tpm2bIv::zeros(16);
            let blob = crate::protection::Protector::parent(parent).unwrap().wrap(
                &name,
                Some(&iv),
                zeroize::Zeroizing::new(data.to_vec()),
            );
            tpm.run(Load {
                parent_handle: TpmHandle(0x8000_0001).into(),
                in_private: Tpm2bPrivate::new(blob.unwrap()).unwrap(),
                in_public: tpm_wire::object::Tpm2bPublic(public),
            })
            .err()
        };
        assert_eq!(wrap(&[0]), Some(Rc::INSUFFICIENT.at(Load::in_private)));
        assert_eq!(wrap(&[0, 1]), Some(Rc::SENSITIVE));
        assert_eq!(wrap(&[0, 1, 0]), Some(Rc::SENSITIVE));
        assert_eq!(wrap(&[0, 2, 0, 5]), Some(Rc::SENSITIVE));
        // Well-formed, but not what makes the public area: it would need fixedTPM, which this parent cannot give.
        let area = [0, 10, 0, 8, 0, 0, 0, 0, 0, 2, 1, 2];
        assert_eq!(wrap(&area), Some(Rc::ATTRIBUTES.at(Load::in_public)));
    }

    /// Loads under a parent that can be duplicated, whose seed others may know, so that everything is checked.
    fn forged(change: impl FnOnce(&mut TpmtPublic, &mut TpmtSensitive)) -> Option<Rc> {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let public = ecc_template(MOVABLE | STORAGE);
        let parent = build::child(&mut tpm, root, public, sensitive(&[], &[]));
        let (mut public, mut area) = build::ecc_generator(MOVABLE | TpmaObject::SIGN);
        change(&mut public, &mut area);
        let in_private = build::forge(&tpm, parent, &public, &area);
        let refused = tpm.run(Load {
            parent_handle: parent.into(),
            in_private,
            in_public: Tpm2bPublic(public),
        });
        refused.err()
    }

    #[test]
    fn areas_that_do_not_belong_together_are_binding() {
        assert_eq!(forged(|_, _| {}), None);
        let other_key = forged(|_, area| {
            area.sensitive = TpmuSensitiveComposite::Ecc(Small::new(&[2]).unwrap());
        });
        assert_eq!(other_key, Some(Rc::BINDING));
        let other_prime = forged(|public, area| {
            *public = build::rsa_public(MOVABLE | TpmaObject::SIGN);
            *area = build::rsa_sensitive();
            if let TpmuSensitiveComposite::Rsa(prime) = &mut area.sensitive {
                prime.as_mut_slice()[60] ^= 1;
            }
        });
        assert_eq!(other_prime, Some(Rc::BINDING));
    }

    #[test]
    fn a_public_area_that_breaks_the_rules_is_blamed_on_parameter_2() {
        let at = |rc: Rc| Some(rc.at(Load::in_public));
        let kdf = forged(|public, _| *public = build::with_kdf(public.clone()));
        assert_eq!(kdf, at(Rc::KDF));
        let scheme = forged(|public, _| {
            public.object_attributes = MOVABLE | TpmaObject::DECRYPT;
            *public = build::with_scheme(public.clone());
        });
        assert_eq!(scheme, at(Rc::SCHEME));
        let symmetric =
            forged(|public, _| *public = build::with_symmetric(public.clone(), Some(128)));
        assert_eq!(symmetric, at(Rc::SYMMETRIC));
        let policy = forged(|public, _| public.auth_policy = Small::zeros(20));
        assert_eq!(policy, at(Rc::SIZE));
        let modulus = forged(|public, area| {
            *public = build::rsa_public(MOVABLE | TpmaObject::SIGN);
            *area = build::rsa_sensitive();
            if let TpmuPublicId::Rsa(modulus) = &mut public.unique {
                modulus.as_mut_slice()[0] = 0x7F;
            }
        });
        assert_eq!(modulus, at(Rc::KEY));
    }

    #[test]
    fn a_sensitive_area_of_another_kind_or_size_is_blamed_on_parameter_1() {
        let at = |rc: Rc| Some(rc.at(Load::in_private));
        let kind = forged(|_, area| area.sensitive = build::rsa_sensitive().sensitive);
        assert_eq!(kind, at(Rc::TYPE));
        let seed = forged(|_, area| area.seed_value = Small::zeros(33));
        assert_eq!(seed, at(Rc::KEY_SIZE));
    }

    #[test]
    fn a_public_area_without_name_algorithm_is_hash_at_parameter_2() {
        let mut tpm = testing::started();
        let (root, mut created) = created(&mut tpm);
        created.out_public.0.name_alg = None;
        let refused = load(&mut tpm, root, &created);
        assert_eq!(refused, Err(Rc::HASH.at(Load::in_public)));
    }

    #[test]
    fn an_initialization_vector_that_is_no_block_is_value_at_parameter_1() {
        let mut tpm = testing::started();
        let (root, mut created) = created(&mut tpm);
        let name = crate::object::Object::name_of(&created.out_public);
        let parent = tpm.objects.get(root).unwrap();
        let parent = crate::protection::Protector::parent(parent).unwrap();
        let blob = build::forge_encrypted(&parent, &name, &[0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        created.out_private = Tpm2bPrivate::new(blob).unwrap();
        let refused = load(&mut tpm, root, &created);
        assert_eq!(refused, Err(Rc::VALUE.at(Load::in_private)));
    }

    #[test]
    fn slot_then_private_area_then_parent() {
        let mut tpm = testing::started();
        let (root, mut created) = created(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        created.out_private = Tpm2bPrivate::EMPTY;
        let refused = load(&mut tpm, key, &created);
        assert_eq!(refused, Err(Rc::SIZE.at(Load::in_private)));
        build::fill_slots(&mut tpm, 0);
        assert_eq!(load(&mut tpm, key, &created), Err(Rc::OBJECT_MEMORY));
    }
}
