//! `TPM2_NV_Extend` (Part 3, 31.9).

use crate::algorithms::hash;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{NvExtend, NvExtendResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvExtend {
    fn execute(self, tpm: &mut Tpm) -> Result<NvExtendResponse, Rc> {
        tpm.check_nv_buffer(&self.data)
            .map_err(|rc| rc.at(Self::data))?;
        tpm.check_index_not_read_only(self.nv_index.0)?;
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if index.nv_type() != TpmNt::Extend {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        let name_alg = index.name_alg();
        let zeros = Tpm2bDigest::zeros(name_alg.digest_size());
        let before: &[u8] = if index.is_written() {
            &index.data
        } else {
            &zeros
        };
        let digest = hash(name_alg, &[before, &self.data]);
        tpm.write_index(self.nv_index.0, 0, &digest)?;
        Ok(NvExtendResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::hash;
    use crate::commands::nv::build::{
        INDEX, OPEN, define_public, persists, power_cut, public, read, refusals_of_writing,
        with_index,
    };
    use crate::testing;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::Tpm2bMaxNvBuffer;
    use tpm_wire::commands::NvExtend;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::nv::{NvDataSize, TpmNt};
    use tpm_wire::rc::Rc;

    fn extend(by: TpmHandle, data: &[u8]) -> NvExtend {
        NvExtend {
            auth_handle: by.into(),
            nv_index: INDEX.into(),
            data: Tpm2bMaxNvBuffer::new(data.to_vec()).unwrap(),
        }
    }

    #[test]
    fn contents_are_hashed_with_the_data_from_zeros_on() {
        let mut tpm = with_index(OPEN.with_type(TpmNt::Extend), 32);
        assert!(persists(&mut tpm, extend(INDEX, b"one")));
        let mut tpm = power_cut(tpm);
        let first = hash(TpmiAlgHash::Sha256, &[&[0; 32], b"one"]);
        assert_eq!(read(&mut tpm, 32), Ok(first.to_vec()));
        tpm.run(extend(INDEX, b"")).unwrap();
        let second = hash(TpmiAlgHash::Sha256, &[&first]);
        assert_eq!(read(&mut tpm, 32), Ok(second.to_vec()));
    }

    #[test]
    fn the_hash_is_that_of_the_name() {
        let mut tpm = testing::started();
        let mut area = public(INDEX, OPEN.with_type(TpmNt::Extend) | TpmaNv::ORDERLY, 64);
        area.name_alg = TpmiAlgHash::Sha512;
        area.data_size = NvDataSize(64);
        define_public(&mut tpm, area).unwrap();
        assert!(!persists(&mut tpm, extend(INDEX, b"one")));
        let digest = hash(TpmiAlgHash::Sha512, &[&[0; 64], b"one"]);
        assert_eq!(read(&mut tpm, 64), Ok(digest.to_vec()));
    }

    #[test]
    fn only_extend_indices_are_extended() {
        let refused = Err(Rc::ATTRIBUTES.at(NvExtend::nv_index));
        assert_eq!(with_index(OPEN, 32).run(extend(INDEX, b"one")), refused);
    }

    #[test]
    fn extending_is_refused_by_lock_authority_and_mode() {
        let refusals = refusals_of_writing(TpmNt::Extend, 32, |by| extend(by, b"one"));
        let expected = [
            Rc::HANDLE.at(NvExtend::nv_index),
            Rc::NV_AUTHORIZATION,
            Rc::NV_UNAVAILABLE,
            Rc::NV_LOCKED,
            Rc::READ_ONLY,
        ];
        assert_eq!(refusals, expected);
    }
}
