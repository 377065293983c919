//! `TPM2_NV_ReadPublic2` (Part 3, 31.18).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{NvReadPublic2, NvReadPublic2Response};
use tpm_wire::rc::Rc;

impl Execute for NvReadPublic2 {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadPublic2Response, Rc> {
        let index = tpm.nv.get(self.nv_index)?;
        Ok(NvReadPublic2Response {
            nv_public: Tpm2b(index.public.clone()),
            nv_name: index.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, OTHER, public, with_index};
    use crate::testing;
    use tpm_wire::attributes::TpmaNvExp;
    use tpm_wire::buffers::{Tpm2b, Tpm2bAuth, Tpm2bDigest};
    use tpm_wire::commands::{NvDefineSpace2, NvReadPublic, NvReadPublic2};
    use tpm_wire::handles::{TpmHandle, TpmHt};
    use tpm_wire::nv::{NvDataSize, TpmsNvPublicExpAttr, TpmtNvPublic2};
    use tpm_wire::rc::Rc;

    #[test]
    fn an_ordinary_index_has_the_same_name_by_both_commands() {
        let mut tpm = with_index(OPEN, 8);
        let nv_index = INDEX.into();
        let older = tpm.run(NvReadPublic { nv_index }).unwrap();
        let found = tpm.run(NvReadPublic2 { nv_index }).unwrap();
        let area = public(INDEX, OPEN, 8);
        assert_eq!(found.nv_public, Tpm2b(TpmtNvPublic2::NvIndex(area)));
        assert_eq!(found.nv_name, older.nv_name);
    }

    #[test]
    fn the_name_of_64_bit_attributes_is_over_the_area_without_its_handle_type() {
        let mut tpm = testing::started();
        let handle = TpmHt::ExternalNv.handle(3);
        tpm.run(NvDefineSpace2 {
            auth_handle: TpmHandle::OWNER.into(),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2b(TpmtNvPublic2::ExternalNv(TpmsNvPublicExpAttr {
                nv_index: handle.into(),
                name_alg: tpm_wire::algorithm::TpmiAlgHash::Sha256,
                attributes: TpmaNvExp(u64::from(OPEN.0)),
                auth_policy: Tpm2bDigest::EMPTY,
                data_size: NvDataSize(8),
            })),
        })
        .unwrap();
        let nv_index = handle.into();
        let found = tpm.run(NvReadPublic2 { nv_index }).unwrap();
        // Computed by hashlib: SHA-256 over 11000003 000B 0000000002060006 0000 0008.
        assert_eq!(hex::encode(&*found.nv_name), NAME);
    }

    const NAME: &str = "000be9fca3b45648eb027df47dacfa1c6ca65f17782271bba0b0ee61de803fda5537";

    #[test]
    fn an_index_must_be_defined() {
        let refused = with_index(OPEN, 8).run(NvReadPublic2 {
            nv_index: OTHER.into(),
        });
        assert_eq!(refused, Err(Rc::HANDLE.at(NvReadPublic2::nv_index)));
    }
}
