//! `TPM2_CreatePrimary` (Part 3, 24.1).

use crate::creation::pad_auth;
use crate::execute::Execute;
use crate::object::Lineage;
use crate::state::Tpm;
use crate::template::check_creation;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{CreatePrimary, CreatePrimaryResponse};
use tpm_wire::handles::{HandleField, TpmHandle};
use tpm_wire::rc::Rc;

impl Execute for CreatePrimary {
    fn execute(self, tpm: &mut Tpm) -> Result<CreatePrimaryResponse, Rc> {
        tpm.objects.check_room()?;
        let hierarchy: TpmHandle = self.primary_handle.handle();
        let lineage = Lineage::Primary(hierarchy);
        let (mut create, public) = (self.in_sensitive.0, self.in_public.0);
        check_creation(lineage, &public, !create.data.is_empty())
            .map_err(|rc| rc.at(Self::in_public))?;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        let name_alg = public.name_alg.ok_or(Rc::HASH.at(Self::in_public))?;
        let object = tpm.create_primary(hierarchy, public, &create)?;
        let (creation_data, creation_hash) =
            tpm.creation_data(lineage, name_alg, &self.creation_pcr, self.outside_info);
        let creation_ticket = tpm.creation_ticket(hierarchy, &object.name, &creation_hash);
        let (out_public, name) = (Tpm2b(object.public.clone()), object.name.clone());
        Ok(CreatePrimaryResponse {
            object_handle: tpm.objects.load(object)?,
            out_public,
            creation_data: Tpm2b(creation_data),
            creation_hash,
            creation_ticket,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{
        self, FIXED, STORAGE, ecc_template, rsa_template, sensitive,
    };
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::{
        TpmiAlgHash, TpmiAlgSymObject, TpmsSchemeHash, TpmtKdfScheme, TpmtRsaScheme,
    };
    use tpm_wire::attributes::{TpmaLocality, TpmaObject};
    use tpm_wire::buffers::{Tpm2b, Tpm2bData, Tpm2bDigest};
    use tpm_wire::commands::{CreatePrimary, ReadPublic};
    use tpm_wire::constants::TpmAlgId;
    use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
    use tpm_wire::object::{Tpm2bPublic, TpmtPublic, TpmuPublicParms};
    use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
    use tpm_wire::rc::Rc;

    fn command(public: TpmtPublic) -> CreatePrimary {
        CreatePrimary {
            primary_handle: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
            in_sensitive: Tpm2b(sensitive(b"auth", &[])),
            in_public: Tpm2bPublic(public),
            outside_info: Tpm2bData::new(b"outside").unwrap(),
            creation_pcr: TpmlPcrSelection::new(),
        }
    }

    #[test]
    fn the_key_is_loaded_with_names_creation_data_and_ticket() {
        let mut tpm = testing::started();
        let mut create = command(ecc_template(FIXED | STORAGE));
        create.creation_pcr.push(TpmsPcrSelection {
            hash: TpmiAlgHash::Sha256,
            pcr_select: TpmsPcrSelect::of(&[0, 7]),
        });
        let response = tpm.run(create.clone()).unwrap();
        let data = &response.creation_data;
        assert_eq!(data.pcr_select, create.creation_pcr);
        let zeros = crate::algorithms::hash(TpmiAlgHash::Sha256, &[&[0; 64]]);
        assert_eq!(*data.pcr_digest, *zeros);
        assert_eq!(data.locality, TpmaLocality::ZERO);
        assert_eq!(data.parent_name_alg, TpmAlgId::NULL);
        assert_eq!(*data.parent_name, TpmHandle::OWNER.0.to_be_bytes());
        assert_eq!(data.parent_qualified_name, data.parent_name);
        assert_eq!(&*data.outside_info, b"outside");
        let ticket = tpm.creation_ticket(TpmHandle::OWNER, &response.name, &response.creation_hash);
        assert_eq!(response.creation_ticket, ticket);

        let object_handle = response.object_handle.into();
        let read = tpm.run(ReadPublic { object_handle }).unwrap();
        assert_eq!(read.name, response.name);
        assert_eq!(read.out_public, response.out_public);
        let qualified = crate::algorithms::hash(
            TpmiAlgHash::Sha256,
            &[&TpmHandle::OWNER.0.to_be_bytes(), &response.name],
        );
        assert_eq!(read.qualified_name[2..], *qualified);
        let auth = tpm.auth_value(response.object_handle);
        assert_eq!(&*auth, b"auth");
    }

    #[test]
    fn each_hierarchy_has_keys_of_its_own_and_gives_them_again() {
        let mut tpm = testing::started();
        let mut name = |hierarchy| {
            build::primary(&mut tpm, hierarchy, ecc_template(FIXED | STORAGE))
                .unwrap()
                .name
        };
        let names = [
            TpmHandle::OWNER,
            TpmHandle::ENDORSEMENT,
            TpmHandle::PLATFORM,
            TpmHandle::NULL,
            TpmHandle::FW_OWNER,
            TpmHandle::SVN_OWNER_BASE,
        ]
        .map(&mut name);
        for (index, other) in names.iter().enumerate() {
            assert!(!names[..index].contains(other));
        }
        assert_eq!(name(TpmHandle::OWNER), names[0]);
        assert_eq!(name(TpmHandle::FW_OWNER), names[4]);
    }

    #[test]
    fn keys_survive_power_loss_and_the_null_hierarchy_does_not() {
        let mut tpm = testing::started();
        let public = ecc_template(FIXED | STORAGE);
        let before = [TpmHandle::OWNER, TpmHandle::NULL].map(|hierarchy| {
            build::primary(&mut tpm, hierarchy, public.clone())
                .unwrap()
                .name
        });
        let mut tpm = tpm.reloaded();
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        let after = [TpmHandle::OWNER, TpmHandle::NULL].map(|hierarchy| {
            build::primary(&mut tpm, hierarchy, public.clone())
                .unwrap()
                .name
        });
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
    }

    #[test]
    fn without_a_slot_it_is_object_memory() {
        let mut tpm = testing::started();
        build::fill_slots(&mut tpm, 0);
        let refused = tpm.run(command(ecc_template(TpmaObject::NONE))).err();
        assert_eq!(refused, Some(Rc::OBJECT_MEMORY));
    }

    #[test]
    fn a_bad_template_is_blamed_on_parameter_2() {
        let mut tpm = testing::started();
        let at = |rc: Rc| Some(rc.at(CreatePrimary::in_public));
        let mut public = ecc_template(FIXED | STORAGE);
        public.auth_policy = Tpm2bDigest::zeros(20);
        assert_eq!(tpm.run(command(public)).err(), at(Rc::SIZE));
        let public = ecc_template(FIXED | STORAGE | TpmaObject::SIGN);
        assert_eq!(tpm.run(command(public)).err(), at(Rc::ATTRIBUTES));
        let mut public = ecc_template(FIXED | STORAGE);
        public.name_alg = None;
        assert_eq!(tpm.run(command(public)).err(), at(Rc::HASH));
        let mut public = rsa_template(FIXED | STORAGE);
        if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
            parameters.scheme = Some(TpmtRsaScheme::Oaep(TpmsSchemeHash {
                hash_alg: TpmiAlgHash::Sha256,
            }));
        }
        assert_eq!(tpm.run(command(public.clone())).err(), at(Rc::SCHEME));
        if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
            parameters.scheme = None;
            parameters.symmetric = None;
        }
        assert_eq!(tpm.run(command(public)).err(), at(Rc::SYMMETRIC));
    }

    #[test]
    fn an_authorization_value_longer_than_the_digest_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let mut create = command(ecc_template(FIXED | STORAGE));
        create.in_sensitive = Tpm2b(sensitive(&[1; 33], &[]));
        let refused = tpm.run(create.clone()).err();
        assert_eq!(refused, Some(Rc::SIZE.at(CreatePrimary::in_sensitive)));
        // Zeros at its end do not count.
        create.in_sensitive.0.user_auth.as_mut_slice()[32] = 0;
        assert!(tpm.run(create).is_ok());
    }

    #[test]
    fn an_exponent_that_is_no_prime_above_65536_is_range() {
        let mut tpm = testing::started();
        for exponent in [3, 65535, 65539 * 3] {
            let mut public = rsa_template(FIXED | STORAGE);
            if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
                parameters.exponent = exponent;
            }
            assert_eq!(tpm.run(command(public)).err(), Some(Rc::RANGE));
        }
    }

    #[test]
    fn making_an_rsa_key_can_be_canceled() {
        let mut tpm = testing::started();
        tpm.script.canceled.store(true, Ordering::Relaxed);
        let refused = tpm.run(command(rsa_template(FIXED | STORAGE))).err();
        assert_eq!(refused, Some(Rc::CANCELED));
    }

    #[test]
    fn keyed_hash_data_longer_than_a_block_are_size() {
        let mut tpm = testing::started();
        let mut create = command(build::hmac_template());
        create.in_public.0.object_attributes =
            FIXED.without(TpmaObject::SENSITIVE_DATA_ORIGIN) | TpmaObject::SIGN;
        create.in_sensitive = Tpm2b(sensitive(&[], &[0; 65]));
        assert_eq!(tpm.run(create).err(), Some(Rc::SIZE));
    }

    #[test]
    fn a_kdf_in_the_template_and_a_type_that_the_profile_lacks_are_blamed_on_parameter_2() {
        let mut public = ecc_template(FIXED | STORAGE);
        if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
            parameters.kdf = Some(TpmtKdfScheme::Kdf1Sp800108(TpmsSchemeHash {
                hash_alg: TpmiAlgHash::Sha256,
            }));
        }
        let mut tpm = testing::started();
        let refused = tpm.run(command(public.clone())).err();
        assert_eq!(refused, Some(Rc::KDF.at(CreatePrimary::in_public)));
        let mut profile = crate::profile::Profile::default();
        let few = "hmac,aes,keyedhash,sha256,kdf1-sp800-108,symcipher,cfb";
        profile.set_algorithms(few).unwrap();
        let mut tpm = testing::with_profile(profile);
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        let refused = tpm.run(command(public)).err();
        assert_eq!(refused, Some(Rc::TYPE.at(CreatePrimary::in_public)));
    }

    #[test]
    fn a_symmetric_key_that_is_given_has_its_size_and_is_no_weak_one() {
        let mut tpm = testing::started();
        let mut create = command(build::symmetric_template(None));
        create.in_public.0.object_attributes =
            FIXED.without(TpmaObject::SENSITIVE_DATA_ORIGIN) | TpmaObject::DECRYPT;
        create.in_sensitive = Tpm2b(sensitive(&[], &[7; 15]));
        assert_eq!(tpm.run(create.clone()).err(), Some(Rc::KEY_SIZE));
        if let TpmuPublicParms::SymCipher(cipher) = &mut create.in_public.0.parameters {
            cipher.algorithm = TpmiAlgSymObject::Tdes;
            cipher.key_bits = 192;
        }
        // Three times the same key.
        create.in_sensitive = Tpm2b(sensitive(&[], &[7; 24]));
        assert_eq!(tpm.run(create).err(), Some(Rc::KEY));
    }

    // TPM_RC_FW_LIMITED, which Part 3 lists, is for a TPM that knows such hierarchies and has no secret for them: here those
    // who know them have it.
    #[test]
    fn a_later_security_version_is_svn_limited_and_without_limited_hierarchies_the_handle_is_value()
    {
        let mut create = command(ecc_template(FIXED | STORAGE));
        let later = TpmHandle(TpmHandle::SVN_OWNER_BASE.0 + 1);
        create.primary_handle = Some(TpmiRhHierarchy(later));
        let at = CreatePrimary::primary_handle;
        let refused = testing::started().run(create.clone()).err();
        assert_eq!(refused, Some(Rc::SVN_LIMITED.at(at)));
        let profile = crate::profile::Profile::by_name("swtpm-0.7").unwrap();
        let mut tpm = testing::with_profile(profile);
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        for handle in [later, TpmHandle::FW_OWNER] {
            create.primary_handle = Some(TpmiRhHierarchy(handle));
            assert_eq!(tpm.run(create.clone()).err(), Some(Rc::VALUE.at(at)));
        }
    }
}
