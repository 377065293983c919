//! `TPM2_CreateLoaded` (Part 3, 12.9): a primary object under a hierarchy, an ordinary one under a parent, or one derived from a
//! derivation parent.

use crate::creation::{derive, pad_auth};
use crate::execute::Execute;
use crate::object::{Lineage, Object};
use crate::protection::Protector;
use crate::state::Tpm;
use crate::template::{check_attributes, check_creation};
use tpm_wire::algorithm::TpmiAlgPublic;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2b, Tpm2bPrivate};
use tpm_wire::codec::{Input, Limits, Parse, response_code};
use tpm_wire::commands::{CreateLoaded, CreateLoadedResponse};
use tpm_wire::handles::{HandleField, TpmHandle, TpmHt};
use tpm_wire::object::{DerivationTemplate, TpmsDerive, TpmsSensitiveCreate, TpmtTemplate};
use tpm_wire::rc::Rc;

impl Execute for CreateLoaded {
    fn execute(self, tpm: &mut Tpm) -> Result<CreateLoadedResponse, Rc> {
        let parent_handle = self.parent_handle.handle();
        let is_primary = parent_handle.kind() == Some(TpmHt::Permanent);
        let not_parent = Rc::TYPE.at(Self::parent_handle);
        let derives = if is_primary {
            false
        } else {
            let parent = tpm.objects.get(parent_handle).map_err(|_| not_parent)?;
            if !parent.is_parent() && !parent.is_derivation_parent() {
                return Err(not_parent);
            }
            parent.is_derivation_parent()
        };
        tpm.objects.check_room()?;
        let mut out_private = Tpm2bPrivate::EMPTY;
        let object = if derives {
            self.derive(tpm, parent_handle)?
        } else if is_primary {
            let lineage = Lineage::Primary(parent_handle);
            let (public, create) = self.checked(lineage, &tpm.profile.limits)?;
            tpm.create_primary(parent_handle, public, &create)?
        } else {
            let lineage = Lineage::Child(tpm.objects.get(parent_handle)?);
            let (public, create) = self.checked(lineage, &tpm.profile.limits)?;
            let object = tpm.create_child(parent_handle, public, &create)?;
            let sensitive = object.sensitive.as_ref().ok_or(Rc::SENSITIVE)?;
            out_private = Protector::parent(tpm.objects.get(parent_handle)?)?.wrap_private(
                &object.name,
                object.public.name_alg,
                sensitive,
                &mut tpm.random,
            )?;
            object
        };
        let (out_public, name) = (Tpm2b(object.public.clone()), object.name.clone());
        Ok(CreateLoadedResponse {
            object_handle: tpm.objects.load(object)?,
            out_private,
            out_public,
            name,
        })
    }
}

/// Template and sensitive data, ready to create from.
type Checked = (tpm_wire::object::TpmtPublic, TpmsSensitiveCreate);

/// The steps of the three forms.
trait Forms {
    fn checked(self, lineage: Lineage<'_>, limits: &Limits) -> Result<Checked, Rc>;
    fn derive(self, tpm: &mut Tpm, parent_handle: TpmHandle) -> Result<Object, Rc>;
}

impl Forms for CreateLoaded {
    fn checked(self, lineage: Lineage<'_>, limits: &Limits) -> Result<Checked, Rc> {
        let at_public = |rc: Rc| rc.at(Self::in_public);
        let TpmtTemplate(public) = self.in_public.parse_content(limits).map_err(at_public)?;
        let mut create = self.in_sensitive.0;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        check_creation(lineage, &public, !create.data.is_empty()).map_err(at_public)?;
        Ok((public, create))
    }

    fn derive(self, tpm: &mut Tpm, parent_handle: TpmHandle) -> Result<Object, Rc> {
        let limits = &tpm.profile.limits;
        let at_public = |rc: Rc| rc.at(Self::in_public);
        let template: DerivationTemplate =
            self.in_public.parse_content(limits).map_err(at_public)?;
        let (public, mut label_and_context) = (template.public, template.derive);
        let mut create = self.in_sensitive.0;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        // An RSA key would need more numbers than a derivation gives.
        if public.object_type() == TpmiAlgPublic::Rsa {
            return Err(at_public(Rc::TYPE));
        }
        if public.has(TpmaObject::SENSITIVE_DATA_ORIGIN) {
            return Err(Rc::ATTRIBUTES);
        }
        let parent = tpm.objects.get(parent_handle)?;
        check_attributes(Some(Lineage::Child(parent)), &public).map_err(at_public)?;
        // Label and context of the template go before those of the sensitive data.
        if !create.data.is_empty() {
            let input = Input::new(&create.data, limits);
            let (_, given) = TpmsDerive::parse(input).map_err(response_code)?;
            if label_and_context.label.is_empty() {
                label_and_context.label = given.label;
            }
            if label_and_context.context.is_empty() {
                label_and_context.context = given.context;
            }
        }
        create.data = Default::default();
        tpm.power.first_use(public.object_type().id())?;
        derive(parent, public, &create, &label_and_context)
    }
}

#[cfg(test)]
mod tests {
    // `TPM_RC_FW_LIMITED` does not occur: this TPM derives the seeds of firmware-limited hierarchies itself.

    use crate::commands::object::build::{
        self, FIXED, MOVABLE, STORAGE, ecc_template, hmac_template, rsa_template, sensitive,
        template,
    };
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use tpm_wire::algorithm::{
        TpmiAlgHash, TpmiAlgKdf, TpmiAlgSymObject, TpmiEccCurve, TpmsSchemeXor,
        TpmtKeyedhashScheme, TpmtSymDefObject,
    };
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::{Tpm2b, Tpm2bLabel, Tpm2bTemplate};
    use tpm_wire::codec::Marshal;
    use tpm_wire::commands::{CreateLoaded, CreateLoadedResponse, CreatePrimary, ReadPublic};
    use tpm_wire::handles::{TpmHandle, TpmiDhParent};
    use tpm_wire::object::{
        Tpm2bPublic, TpmsDerive, TpmsEccParms, TpmsSensitiveCreate, TpmtPublic, TpmuPublicParms,
    };
    use tpm_wire::pcr::TpmlPcrSelection;
    use tpm_wire::rc::Rc;

    fn run(
        tpm: &mut TestTpm,
        parent: TpmHandle,
        create: TpmsSensitiveCreate,
        template: Vec<u8>,
    ) -> Result<CreateLoadedResponse, Rc> {
        tpm.run(CreateLoaded {
            parent_handle: (parent != TpmHandle::NULL).then_some(TpmiDhParent(parent)),
            in_sensitive: Tpm2b(create),
            in_public: Tpm2bTemplate::new(template).unwrap(),
        })
    }

    /// A derivation parent in the NULL hierarchy with a secret of the caller's.
    fn derivation_parent(tpm: &mut TestTpm, secret: &[u8]) -> TpmHandle {
        let scheme = TpmtKeyedhashScheme::Xor(TpmsSchemeXor {
            hash_alg: TpmiAlgHash::Sha256,
            kdf: Some(TpmiAlgKdf::Kdf1Sp800108),
        });
        let public = template(
            TpmaObject::USER_WITH_AUTH | STORAGE,
            TpmuPublicParms::KeyedHash(Some(scheme)),
        );
        tpm.run(CreatePrimary {
            primary_handle: None,
            in_sensitive: Tpm2b(sensitive(&[], secret)),
            in_public: Tpm2bPublic(public),
            outside_info: Default::default(),
            creation_pcr: TpmlPcrSelection::new(),
        })
        .unwrap()
        .object_handle
    }

    fn labels(label: &[u8], context: &[u8]) -> Vec<u8> {
        TpmsDerive {
            label: Tpm2bLabel::new(label).unwrap(),
            context: Tpm2bLabel::new(context).unwrap(),
        }
        .to_bytes()
    }

    /// A template with label and context where `unique` would be.
    fn derivation(public: &TpmtPublic, label: &[u8], context: &[u8]) -> Vec<u8> {
        let mut bytes = public.to_bytes();
        bytes.truncate(bytes.len() - public.unique.to_bytes().len());
        bytes.extend(labels(label, context));
        bytes
    }

    const DERIVED: TpmaObject =
        TpmaObject(TpmaObject::USER_WITH_AUTH.0 | TpmaObject::FIXED_PARENT.0);

    fn ecc(curve_id: TpmiEccCurve) -> TpmtPublic {
        let parameters = TpmsEccParms {
            symmetric: None,
            scheme: None,
            curve_id,
            kdf: None,
        };
        template(DERIVED | TpmaObject::SIGN, TpmuPublicParms::Ecc(parameters))
    }

    fn hmac() -> TpmtPublic {
        let mut public = hmac_template();
        public.object_attributes = DERIVED | TpmaObject::SIGN;
        public
    }

    fn cipher(algorithm: TpmiAlgSymObject, key_bits: u16) -> TpmtPublic {
        let cipher = TpmtSymDefObject {
            algorithm,
            key_bits,
            mode: None,
        };
        template(
            DERIVED | TpmaObject::SIGN | TpmaObject::DECRYPT,
            TpmuPublicParms::SymCipher(cipher),
        )
    }

    #[test]
    fn derived_objects_are_those_that_another_tpm_derives() {
        let mut tpm = testing::started();
        let secret: Vec<u8> = (0..32).collect();
        let parent = derivation_parent(&mut tpm, &secret);
        let cases = [
            ("derive-ecc1", ecc(TpmiEccCurve::NistP192)),
            ("derive-ecc2", ecc(TpmiEccCurve::NistP224)),
            ("derive-ecc3", ecc(TpmiEccCurve::NistP256)),
            ("derive-ecc4", ecc(TpmiEccCurve::NistP384)),
            ("derive-ecc5", ecc(TpmiEccCurve::NistP521)),
            ("derive-ecc10", ecc(TpmiEccCurve::BnP256)),
            ("derive-ecc11", ecc(TpmiEccCurve::BnP638)),
            ("derive-ecc20", ecc(TpmiEccCurve::Sm2P256)),
            ("derive-hmac", hmac()),
            ("derive-aes128", cipher(TpmiAlgSymObject::Aes, 128)),
            ("derive-aes256", cipher(TpmiAlgSymObject::Aes, 256)),
            ("derive-tdes128", cipher(TpmiAlgSymObject::Tdes, 128)),
        ];
        for (name, public) in cases {
            let template = derivation(&public, b"label", b"context");
            let response = run(&mut tpm, parent, sensitive(&[], &[]), template).unwrap();
            let expected = build::vector(name).remove(0);
            assert_eq!(response.out_public.to_bytes()[2..], expected, "{name}");
            assert!(response.out_private.is_empty());
            tpm.objects.flush(response.object_handle);
        }
    }

    #[test]
    fn label_and_context_may_come_with_the_sensitive_data() {
        let mut tpm = testing::started();
        let secret: Vec<u8> = (0..32).collect();
        let parent = derivation_parent(&mut tpm, &secret);
        let data = labels(b"label", b"context");
        let cases = [
            ("derive-fromdata", &[][..], &[][..], &data[..]),
            ("derive-hmac", b"label", b"", &data),
            (
                "derive-hmac",
                b"label",
                b"context",
                &labels(b"other", b"other"),
            ),
            ("derive-labelnul", b"label\0", b"context", &[]),
            ("derive-empty", b"", b"", &[]),
        ];
        for (name, label, context, data) in cases {
            let template = derivation(&hmac(), label, context);
            let response = run(&mut tpm, parent, sensitive(&[], data), template).unwrap();
            let expected = build::vector(name).remove(0);
            assert_eq!(response.out_public.to_bytes()[2..], expected, "{name}");
        }
        let template = derivation(&hmac(), b"", b"");
        let refused = run(&mut tpm, parent, sensitive(&[], &[0, 33]), template);
        assert_eq!(refused.err(), Some(Rc::SIZE));
    }

    #[test]
    fn a_primary_object_is_that_of_create_primary() {
        let mut tpm = testing::started();
        let public = ecc_template(FIXED | STORAGE);
        let primary = build::primary(&mut tpm, TpmHandle::ENDORSEMENT, public.clone()).unwrap();
        let loaded = run(
            &mut tpm,
            TpmHandle::ENDORSEMENT,
            sensitive(&[], &[]),
            public.to_bytes(),
        )
        .unwrap();
        assert_eq!(loaded.name, primary.name);
        assert!(loaded.out_private.is_empty());
        let object = tpm.objects.get(loaded.object_handle).unwrap();
        assert_eq!(object, tpm.objects.get(primary.object_handle).unwrap());
        assert!(object.primary);
    }

    #[test]
    fn an_ordinary_object_is_loaded_and_can_be_loaded_again() {
        let mut tpm = testing::started();
        let parent = build::primary_storage_ecc(&mut tpm);
        let public = ecc_template(FIXED | TpmaObject::SIGN);
        let made = run(&mut tpm, parent, sensitive(b"a", &[]), public.to_bytes()).unwrap();
        let again = tpm
            .run(tpm_wire::commands::Load {
                parent_handle: parent.into(),
                in_private: made.out_private,
                in_public: Tpm2bPublic(made.out_public.0),
            })
            .unwrap();
        let read = |handle: TpmHandle| ReadPublic {
            object_handle: handle.into(),
        };
        let first = tpm.run(read(made.object_handle)).unwrap();
        assert_eq!(tpm.run(read(again.object_handle)).unwrap(), first);
        assert_eq!(
            tpm.objects.get(made.object_handle).unwrap(),
            tpm.objects.get(again.object_handle).unwrap()
        );
    }

    #[test]
    fn a_key_that_is_no_parent_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let public = ecc_template(FIXED | TpmaObject::SIGN).to_bytes();
        let key = build::signing_key_ecc(&mut tpm, root);
        let sequence = build::sequence(&mut tpm);
        for parent in [key, sequence] {
            let refused = run(&mut tpm, parent, sensitive(&[], &[]), public.clone());
            assert_eq!(
                refused.err(),
                Some(Rc::TYPE.at(CreateLoaded::parent_handle))
            );
        }
    }

    #[test]
    fn without_a_slot_it_is_object_memory() {
        let mut tpm = testing::started();
        build::fill_slots(&mut tpm, 0);
        let refused = run(&mut tpm, TpmHandle::OWNER, sensitive(&[], &[]), Vec::new());
        assert_eq!(refused.err(), Some(Rc::OBJECT_MEMORY));
    }

    #[test]
    fn templates_are_parsed_by_the_command() {
        let mut tpm = testing::started();
        let at = |rc: Rc| Some(rc.at(CreateLoaded::in_public));
        let mut public = ecc_template(FIXED | STORAGE);
        let good = public.to_bytes();
        let mut run = |template: &[u8]| {
            run(
                &mut tpm,
                TpmHandle::OWNER,
                sensitive(&[], &[]),
                template.to_vec(),
            )
            .err()
        };
        assert_eq!(run(&[]), at(Rc::INSUFFICIENT));
        assert_eq!(run(&good[..good.len() - 1]), at(Rc::INSUFFICIENT));
        assert_eq!(run(&[&good[..], &[0]].concat()), at(Rc::SIZE));
        public.name_alg = None;
        assert_eq!(run(&public.to_bytes()), at(Rc::HASH));
        public = ecc_template(FIXED | STORAGE | TpmaObject::SIGN);
        assert_eq!(run(&public.to_bytes()), at(Rc::ATTRIBUTES));
    }

    #[test]
    fn an_authorization_value_longer_than_the_digest_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let public = ecc_template(FIXED | STORAGE).to_bytes();
        let refused = run(&mut tpm, TpmHandle::OWNER, sensitive(&[1; 33], &[]), public);
        assert_eq!(refused.err(), Some(Rc::SIZE.at(CreateLoaded::in_sensitive)));
    }

    #[test]
    fn a_derived_object_must_fit_its_parent() {
        let mut tpm = testing::started();
        let parent = derivation_parent(&mut tpm, b"secret");
        let at = |rc: Rc| Some(rc.at(CreateLoaded::in_public));
        let mut run = |template: Vec<u8>, auth: &[u8]| {
            run(&mut tpm, parent, sensitive(auth, &[]), template).err()
        };
        let rsa = derivation(&rsa_template(DERIVED | TpmaObject::SIGN), b"", b"");
        assert_eq!(run(rsa, &[]), at(Rc::TYPE));
        let with = |attributes| {
            let mut public = hmac();
            public.object_attributes = attributes;
            derivation(&public, b"", b"")
        };
        let origin = with(MOVABLE | TpmaObject::FIXED_PARENT | TpmaObject::SIGN);
        assert_eq!(run(origin, &[]), Some(Rc::ATTRIBUTES));
        assert_eq!(run(with(TpmaObject::SIGN), &[]), at(Rc::ATTRIBUTES));
        let fixed = with(DERIVED | TpmaObject::FIXED_TPM | TpmaObject::SIGN);
        assert_eq!(run(fixed, &[]), at(Rc::ATTRIBUTES));
        let mut storage = ecc_template(STORAGE | DERIVED);
        assert_eq!(run(derivation(&storage, b"", b""), &[]), at(Rc::SYMMETRIC));
        storage.name_alg = Some(TpmiAlgHash::Sha384);
        assert_eq!(run(derivation(&storage, b"", b""), &[]), at(Rc::HASH));
        let mut wrong = hmac();
        wrong.parameters = TpmuPublicParms::KeyedHash(None);
        assert_eq!(run(derivation(&wrong, b"", b""), &[]), at(Rc::SCHEME));
        let hmac = derivation(&hmac(), b"", b"");
        assert_eq!(
            run(hmac.clone(), &[1; 33]),
            Some(Rc::SIZE.at(CreateLoaded::in_sensitive))
        );
        assert_eq!(run([&hmac[..], &[0]].concat(), &[]), at(Rc::SIZE));
    }

    #[test]
    fn templates_are_checked_as_for_other_creations() {
        let mut tpm = testing::started();
        let at = |rc: Rc| Some(rc.at(CreateLoaded::in_public));
        let storage = || ecc_template(FIXED | STORAGE);
        for (public, rc) in [
            (
                build::with_kdf(ecc_template(FIXED | TpmaObject::SIGN)),
                Rc::KDF,
            ),
            (build::with_scheme(storage()), Rc::SCHEME),
            (build::with_symmetric(storage(), None), Rc::SYMMETRIC),
            (build::with_key_bits(1536), Rc::VALUE),
        ] {
            let template = public.to_bytes();
            let refused = run(&mut tpm, TpmHandle::OWNER, sensitive(&[], &[]), template).err();
            assert_eq!(refused, at(rc));
        }
    }

    #[test]
    fn keys_that_the_caller_gives_are_checked() {
        let mut tpm = testing::started();
        let mut public = build::with_tdes();
        let origin = TpmaObject::SENSITIVE_DATA_ORIGIN;
        public.object_attributes = public.object_attributes.without(origin);
        let mut refused = |data: &[u8]| {
            let create = sensitive(&[], data);
            run(&mut tpm, TpmHandle::OWNER, create, public.to_bytes()).err()
        };
        assert_eq!(refused(&[1; 16]), Some(Rc::KEY));
        assert_eq!(refused(&[1; 15]), Some(Rc::KEY_SIZE));
    }

    #[test]
    fn a_hierarchy_of_a_later_security_version_is_svn_limited_at_handle_1() {
        let mut tpm = testing::started();
        let template = ecc_template(FIXED | STORAGE).to_bytes();
        let later = TpmHandle(TpmHandle::SVN_OWNER_BASE.0 | 0xFFFF);
        let refused = run(&mut tpm, later, sensitive(&[], &[]), template).err();
        let rc = Rc::SVN_LIMITED.at(CreateLoaded::parent_handle);
        assert_eq!(refused, Some(rc));
    }

    #[test]
    fn a_label_that_is_cut_is_refused_after_the_attributes_and_blamed_on_nothing() {
        let mut tpm = testing::started();
        let parent = derivation_parent(&mut tpm, b"secret");
        let template = derivation(&hmac(), b"", b"");
        let refused = run(&mut tpm, parent, sensitive(&[], &[0, 9, 1]), template).err();
        assert_eq!(refused, Some(Rc::INSUFFICIENT));
        let template = derivation(&hmac_template(), b"", b"");
        let refused = run(&mut tpm, parent, sensitive(&[], &[0, 9, 1]), template).err();
        assert_eq!(refused, Some(Rc::ATTRIBUTES));
    }
}
