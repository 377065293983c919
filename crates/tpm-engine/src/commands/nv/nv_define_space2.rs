//! `TPM2_NV_DefineSpace2` (Part 3, 31.17).

use super::Positions;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvDefineSpace2, NvDefineSpace2Response};
use tpm_wire::nv::TpmtNvPublic2;
use tpm_wire::rc::Rc;

impl Execute for NvDefineSpace2 {
    fn execute(self, tpm: &mut Tpm) -> Result<NvDefineSpace2Response, Rc> {
        let at = Positions {
            auth_handle: Self::auth_handle,
            auth: Self::auth,
            public_info: Self::public_info,
        };
        match &self.public_info.0 {
            TpmtNvPublic2::NvIndex(_) => {}
            // This TPM keeps such an Index in its own memory; what would be asked of memory outside cannot be had.
            TpmtNvPublic2::ExternalNv(public) if public.attributes.0 >> 32 == 0 => {}
            TpmtNvPublic2::ExternalNv(_) => return Err(Rc::ATTRIBUTES.at(Self::public_info)),
            TpmtNvPublic2::PermanentNv(_) => return Err(Rc::HANDLE.at(Self::public_info)),
        }
        tpm.define_index(self.auth_handle.0, &self.auth, self.public_info.0, &at)?;
        Ok(NvDefineSpace2Response {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, OTHER, public};
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::{TpmaNv, TpmaNvExp};
    use tpm_wire::buffers::{Tpm2b, Tpm2bAuth, Tpm2bDigest, Tpm2bMaxNvBuffer};
    use tpm_wire::commands::{
        NvDefineSpace2, NvDefineSpace2Response, NvRead, NvReadPublic, NvReadPublic2,
        NvUndefineSpace, NvWrite,
    };
    use tpm_wire::handles::{TpmHandle, TpmHt};
    use tpm_wire::nv::{NvDataSize, TpmsNvPublicExpAttr, TpmtNvPublic2};
    use tpm_wire::rc::Rc;

    const EXTERNAL: TpmHandle = TpmHt::ExternalNv.handle(7);

    fn external(attributes: TpmaNvExp) -> TpmtNvPublic2 {
        TpmtNvPublic2::ExternalNv(TpmsNvPublicExpAttr {
            nv_index: EXTERNAL.into(),
            name_alg: TpmiAlgHash::Sha256,
            attributes,
            auth_policy: Tpm2bDigest::EMPTY,
            data_size: NvDataSize(8),
        })
    }

    fn define(tpm: &mut TestTpm, public: TpmtNvPublic2) -> Result<NvDefineSpace2Response, Rc> {
        tpm.run(NvDefineSpace2 {
            auth_handle: TpmHandle::OWNER.into(),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2b(public),
        })
    }

    #[test]
    fn an_ordinary_index_is_as_if_defined_by_the_older_command() {
        let mut tpm = testing::started();
        let area = public(INDEX, OPEN, 8);
        define(&mut tpm, TpmtNvPublic2::NvIndex(area.clone())).unwrap();
        let nv_index = INDEX.into();
        let found = tpm.run(NvReadPublic { nv_index }).unwrap();
        assert_eq!(found.nv_public.0, area);
        let again = define(&mut tpm, TpmtNvPublic2::NvIndex(area));
        assert_eq!(again, Err(Rc::NV_DEFINED));
    }

    #[test]
    fn an_index_with_attributes_of_64_bits_can_be_used_like_another() {
        let mut tpm = testing::started();
        let area = external(TpmaNvExp(u64::from(OPEN.0)));
        define(&mut tpm, area.clone()).unwrap();
        let nv_index = EXTERNAL.into();
        let found = tpm.run(NvReadPublic2 { nv_index }).unwrap();
        assert_eq!(found.nv_public.0, area);
        let data = Tpm2bMaxNvBuffer::new(b"abcdefgh".to_vec()).unwrap();
        tpm.run(NvWrite {
            auth_handle: EXTERNAL.into(),
            nv_index,
            data: data.clone(),
            offset: 0,
        })
        .unwrap();
        let read = NvRead {
            auth_handle: EXTERNAL.into(),
            nv_index,
            size: 8,
            offset: 0,
        };
        assert_eq!(tpm.run(read).unwrap().data, data);
        let undefine = NvUndefineSpace {
            auth_handle: TpmHandle::OWNER.into(),
            nv_index: EXTERNAL.into(),
        };
        assert!(tpm.run(undefine).is_ok());
    }

    #[test]
    fn protection_by_memory_outside_cannot_be_had() {
        let attributes = TpmaNvExp(u64::from(OPEN.0)) | TpmaNvExp::EXTERNAL_NV_INTEGRITY;
        let refused = define(&mut testing::started(), external(attributes));
        assert_eq!(refused, Err(Rc::ATTRIBUTES.at(NvDefineSpace2::public_info)));
    }

    #[test]
    fn permanent_indices_cannot_be_defined() {
        let area = public(TpmHt::PermanentNv.handle(1), OPEN, 8);
        let refused = define(&mut testing::started(), TpmtNvPublic2::PermanentNv(area));
        assert_eq!(refused, Err(Rc::HANDLE.at(NvDefineSpace2::public_info)));
    }

    #[test]
    fn refusals_point_at_this_commands_parameters() {
        let mut area = public(INDEX, OPEN, 8);
        area.auth_policy = Tpm2bDigest::zeros(5);
        let refused = define(&mut testing::started(), TpmtNvPublic2::NvIndex(area));
        assert_eq!(refused, Err(Rc::SIZE.at(NvDefineSpace2::public_info)));
    }

    #[test]
    fn what_refuses_the_older_command_refuses_this_one_too() {
        let mut tpm = testing::started();
        let by_platform = OPEN | TpmaNv::PLATFORMCREATE;
        let mut command = NvDefineSpace2 {
            auth_handle: TpmHandle::PLATFORM.into(),
            auth: Tpm2bAuth::new(&[1; 33]).unwrap(),
            public_info: Tpm2b(TpmtNvPublic2::NvIndex(public(INDEX, by_platform, 8))),
        };
        let refused = tpm.run(command.clone());
        assert_eq!(refused, Err(Rc::SIZE.at(NvDefineSpace2::auth)));
        command.auth = Tpm2bAuth::EMPTY;
        tpm.hierarchies.platform_nv_enabled = false;
        let refused = tpm.run(command.clone());
        assert_eq!(refused, Err(Rc::HIERARCHY.at(NvDefineSpace2::auth_handle)));
        tpm.hierarchies.platform_nv_enabled = true;
        command.auth_handle = TpmHandle::OWNER.into();
        let refused = tpm.run(command.clone());
        assert_eq!(refused, Err(Rc::ATTRIBUTES.at(NvDefineSpace2::auth_handle)));
        let orderly = TpmtNvPublic2::NvIndex(public(INDEX, OPEN | TpmaNv::ORDERLY, 10240));
        define(&mut tpm, orderly).unwrap();
        let another = TpmtNvPublic2::NvIndex(public(OTHER, OPEN | TpmaNv::ORDERLY, 10240));
        assert_eq!(define(&mut tpm, another), Err(Rc::NV_SPACE));
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let another = TpmtNvPublic2::NvIndex(public(OTHER, OPEN, 8));
        assert_eq!(define(&mut tpm, another), Err(Rc::NV_UNAVAILABLE));
    }
}
