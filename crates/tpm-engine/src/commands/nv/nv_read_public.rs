//! `TPM2_NV_ReadPublic` (Part 3, 31.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvReadPublic, NvReadPublicResponse};
use tpm_wire::nv::{Tpm2bNvPublic, TpmtNvPublic2};
use tpm_wire::rc::Rc;

impl Execute for NvReadPublic {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadPublicResponse, Rc> {
        let index = tpm.nv.get(self.nv_index)?;
        let TpmtNvPublic2::NvIndex(public) = &index.public else {
            return Err(Rc::HANDLE.at(Self::nv_index));
        };
        Ok(NvReadPublicResponse {
            nv_public: Tpm2bNvPublic(public.clone()),
            nv_name: index.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, public, with_index, write};
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::{Tpm2b, Tpm2bAuth};
    use tpm_wire::commands::{NvDefineSpace2, NvReadPublic};
    use tpm_wire::handles::{TpmHandle, TpmHt};
    use tpm_wire::nv::{NvDataSize, TpmsNvPublicExpAttr, TpmtNvPublic2};
    use tpm_wire::rc::Rc;

    fn read(nv_index: TpmHandle) -> NvReadPublic {
        NvReadPublic {
            nv_index: nv_index.into(),
        }
    }

    #[test]
    fn the_name_is_that_of_the_public_area() {
        // Computed by hashlib: SHA-256 over 01500001 000B 02060006 0000 0008.
        let mut tpm = with_index(OPEN, 8);
        let found = tpm.run(read(INDEX)).unwrap();
        assert_eq!(found.nv_public.0, public(INDEX, OPEN, 8));
        let name = hex::encode(&*found.nv_name);
        assert_eq!(name, NAME);
    }

    const NAME: &str = "000b59656ab1241ea27c9b96616994f5f977dec42007fcc5eb090874ec466e86b1e8";

    #[test]
    fn writing_changes_attributes_and_name() {
        let mut tpm = with_index(OPEN, 8);
        let before = tpm.run(read(INDEX)).unwrap();
        tpm.run(write(b"x", 0)).unwrap();
        let after = tpm.run(read(INDEX)).unwrap();
        assert_eq!(after.nv_public.0.attributes, OPEN | TpmaNv::WRITTEN);
        assert_ne!(after.nv_name, before.nv_name);
    }

    #[test]
    fn an_index_must_be_defined_and_ordinary() {
        let mut tpm = with_index(OPEN, 8);
        let refused = Err(Rc::HANDLE.at(NvReadPublic::nv_index));
        assert_eq!(tpm.run(read(TpmHandle(INDEX.0 + 1))), refused);
        let area = public(INDEX, OPEN, 8);
        let external = TpmHt::ExternalNv.handle(3);
        tpm.run(NvDefineSpace2 {
            auth_handle: TpmHandle::OWNER.into(),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2b(TpmtNvPublic2::ExternalNv(TpmsNvPublicExpAttr {
                nv_index: external.into(),
                name_alg: area.name_alg,
                attributes: tpm_wire::attributes::TpmaNvExp(u64::from(OPEN.0)),
                auth_policy: area.auth_policy,
                data_size: NvDataSize(8),
            })),
        })
        .unwrap();
        assert_eq!(tpm.run(read(external)), refused);
    }
}
