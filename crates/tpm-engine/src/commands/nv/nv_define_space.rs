//! `TPM2_NV_DefineSpace` (Part 3, 31.3).

use super::Positions;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvDefineSpace, NvDefineSpaceResponse};
use tpm_wire::nv::TpmtNvPublic2;
use tpm_wire::rc::Rc;

impl Execute for NvDefineSpace {
    fn execute(self, tpm: &mut Tpm) -> Result<NvDefineSpaceResponse, Rc> {
        let at = Positions {
            auth_handle: Self::auth_handle,
            auth: Self::auth,
            public_info: Self::public_info,
        };
        let public = TpmtNvPublic2::NvIndex(self.public_info.0);
        tpm.define_index(self.auth_handle.0, &self.auth, public, &at)?;
        Ok(NvDefineSpaceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, OTHER, define_public, public, with_index};
    use crate::testing;
    use alloc::format;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest};
    use tpm_wire::commands::{NvDefineSpace, NvReadPublic};
    use tpm_wire::handles::{TpmHandle, TpmHt};
    use tpm_wire::nv::{Tpm2bNvPublic, TpmNt, TpmsNvPublic};
    use tpm_wire::rc::Rc;

    const PUBLIC_ATTRIBUTES: Rc = Rc::ATTRIBUTES.at(NvDefineSpace::public_info);
    const PUBLIC_SIZE: Rc = Rc::SIZE.at(NvDefineSpace::public_info);

    fn refusal(public: TpmsNvPublic) -> Option<Rc> {
        define_public(&mut testing::started(), public).err()
    }

    fn refusal_of(attributes: TpmaNv, data_size: u16) -> Option<Rc> {
        refusal(public(INDEX, attributes, data_size))
    }

    fn defined_by(auth_handle: TpmHandle, attributes: TpmaNv) -> NvDefineSpace {
        NvDefineSpace {
            auth_handle: auth_handle.into(),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2bNvPublic(public(INDEX, attributes, 8)),
        }
    }

    #[test]
    fn an_index_is_there_after_a_reload_and_unwritten() {
        let tpm = with_index(OPEN, 0);
        let mut tpm = tpm.reloaded();
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        let nv_index = INDEX.into();
        let found = tpm.run(NvReadPublic { nv_index }).unwrap().nv_public.0;
        assert_eq!(found, public(INDEX, OPEN, 0));
    }

    #[test]
    fn sizes_must_fit_the_type() {
        let largest = testing::started().profile().max_nv_index;
        assert_eq!(refusal_of(OPEN, largest), None);
        assert_eq!(refusal_of(OPEN, largest + 1), Some(PUBLIC_SIZE));
        for (nv_type, size) in [
            (TpmNt::Counter, 8),
            (TpmNt::Bits, 8),
            (TpmNt::Extend, 32),
            (TpmNt::PinFail, 8),
            (TpmNt::PinPass, 8),
        ] {
            let attributes = OPEN.without(TpmaNv::AUTHWRITE).with_type(nv_type);
            assert_eq!(refusal_of(attributes, size), None, "{nv_type:?}");
            for other in [0, size - 1, size + 1] {
                assert_eq!(refusal_of(attributes, other), Some(PUBLIC_SIZE));
            }
        }
        assert_eq!(refusal_of(OPEN | TpmaNv::WRITEALL, 2048), None);
        assert_eq!(refusal_of(OPEN | TpmaNv::WRITEALL, 2049), Some(PUBLIC_SIZE));
    }

    #[test]
    fn a_policy_is_empty_or_a_digest_of_the_name_algorithm() {
        let mut area = public(INDEX, OPEN, 8);
        area.auth_policy = Tpm2bDigest::zeros(20);
        assert_eq!(refusal(area.clone()), Some(PUBLIC_SIZE));
        area.name_alg = TpmiAlgHash::Sha1;
        assert_eq!(refusal(area), None);
    }

    #[test]
    fn an_authorization_value_fits_the_name_algorithm_without_its_trailing_zeros() {
        let mut define = defined_by(TpmHandle::OWNER, OPEN);
        define.auth = Tpm2bAuth::new(&[1; 33]).unwrap();
        let mut tpm = testing::started();
        let refused = tpm.run(define.clone());
        assert_eq!(refused, Err(Rc::SIZE.at(NvDefineSpace::auth)));
        define.auth = Tpm2bAuth::zeros(64);
        assert!(tpm.run(define).is_ok());
        assert!(tpm.nv.get(INDEX).unwrap().auth.is_empty());
    }

    #[test]
    fn attributes_must_fit_together() {
        let allowed = OPEN.without(TpmaNv::AUTHWRITE);
        let without_writer = OPEN.without(TpmaNv::OWNERWRITE | TpmaNv::AUTHWRITE);
        let without_reader = OPEN.without(TpmaNv::OWNERREAD | TpmaNv::AUTHREAD);
        let pin_fail = allowed.with_type(TpmNt::PinFail);
        for attributes in [
            OPEN | TpmaNv::WRITTEN,
            OPEN | TpmaNv::WRITELOCKED,
            OPEN | TpmaNv::READLOCKED,
            without_writer,
            without_reader,
            OPEN | TpmaNv::CLEAR_STCLEAR | TpmaNv::WRITEDEFINE,
            OPEN.with_type(TpmNt::Counter) | TpmaNv::CLEAR_STCLEAR,
            pin_fail.without(TpmaNv::NO_DA),
            pin_fail | TpmaNv::AUTHWRITE,
            pin_fail | TpmaNv::GLOBALLOCK,
            allowed.with_type(TpmNt::PinPass) | TpmaNv::WRITEDEFINE,
            // Types that Part 2 does not name.
            OPEN | TpmaNv(0x30),
            // Deletion by policy is for the platform's Indices.
            OPEN | TpmaNv::POLICY_DELETE,
        ] {
            let context = format!("{attributes:?}");
            assert_eq!(
                refusal_of(attributes, 8),
                Some(PUBLIC_ATTRIBUTES),
                "{context}"
            );
        }
        for attributes in [
            without_writer | TpmaNv::PPWRITE,
            without_writer | TpmaNv::POLICYWRITE,
            without_reader | TpmaNv::PPREAD,
            without_reader | TpmaNv::POLICYREAD,
            OPEN | TpmaNv::CLEAR_STCLEAR | TpmaNv::ORDERLY,
            OPEN | TpmaNv::PLATFORMCREATE | TpmaNv::POLICY_DELETE,
        ] {
            assert_eq!(refusal_of(attributes, 8), None, "{attributes:?}");
        }
    }

    #[test]
    fn the_platform_alone_creates_platform_indices() {
        let refused = Err(Rc::ATTRIBUTES.at(NvDefineSpace::auth_handle));
        let mut tpm = testing::started();
        let by_owner = defined_by(TpmHandle::OWNER, OPEN | TpmaNv::PLATFORMCREATE);
        assert_eq!(tpm.run(by_owner), refused);
        let by_platform = defined_by(TpmHandle::PLATFORM, OPEN);
        assert_eq!(tpm.run(by_platform), refused);
    }

    #[test]
    fn nothing_is_created_for_a_platform_without_nv() {
        let mut tpm = testing::started();
        tpm.hierarchies.platform_nv_enabled = false;
        let define = defined_by(TpmHandle::PLATFORM, OPEN | TpmaNv::PLATFORMCREATE);
        let refused = tpm.run(define);
        assert_eq!(refused, Err(Rc::HIERARCHY.at(NvDefineSpace::auth_handle)));
    }

    #[test]
    fn a_handle_is_defined_once_and_must_be_of_an_ordinary_index() {
        let mut tpm = with_index(OPEN, 8);
        let again = define_public(&mut tpm, public(INDEX, OPEN, 4));
        assert_eq!(again, Err(Rc::NV_DEFINED));
        let external = public(TpmHt::ExternalNv.handle(1), OPEN, 8);
        let refused = Some(Rc::VALUE.at(NvDefineSpace::public_info));
        assert_eq!(refusal(external), refused);
    }

    #[test]
    fn indices_beyond_the_memory_are_refused() {
        let mut tpm = testing::started();
        let mut defined = 0;
        let last = loop {
            let handle = TpmHt::NvIndex.handle(defined);
            match define_public(&mut tpm, public(handle, OPEN, 10240)) {
                Ok(_) => defined += 1,
                Err(rc) => break rc,
            }
        };
        assert_eq!(last, Rc::NV_SPACE);
        assert_eq!(defined, 512 * 1024 / (10240 + 128));
        assert!(define_public(&mut tpm, public(OTHER, OPEN, 8)).is_ok());
    }

    #[test]
    fn orderly_indices_fit_into_their_own_memory() {
        let mut tpm = testing::started();
        let orderly = OPEN | TpmaNv::ORDERLY;
        let before = tpm.counters_available();
        assert!(define_public(&mut tpm, public(INDEX, orderly, 10240)).is_ok());
        assert!(tpm.counters_available() < before);
        let refused = define_public(&mut tpm, public(OTHER, orderly, 10240));
        assert_eq!(refused, Err(Rc::NV_SPACE));
        assert!(define_public(&mut tpm, public(OTHER, OPEN, 10240)).is_ok());
    }

    #[test]
    fn without_storage_nothing_is_defined() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let refused = define_public(&mut tpm, public(INDEX, OPEN, 8));
        assert_eq!(refused, Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn storage_without_room_takes_no_index_and_keeps_those_it_has() {
        let mut tpm = testing::started();
        define_public(&mut tpm, public(INDEX, OPEN, 8)).unwrap();
        tpm.script.storage_full.store(true, Ordering::Relaxed);
        let refused = define_public(&mut tpm, public(OTHER, OPEN, 8));
        assert_eq!(refused, Err(Rc::NV_SPACE));
        assert_eq!(tpm.counters_available(), 0);
        tpm.script.storage_full.store(false, Ordering::Relaxed);
        assert!(define_public(&mut tpm, public(OTHER, OPEN, 8)).is_ok());
    }
}
