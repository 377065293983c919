//! `TPM2_NV_SetBits` (Part 3, 31.10).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvSetBits, NvSetBitsResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvSetBits {
    fn execute(self, tpm: &mut Tpm) -> Result<NvSetBitsResponse, Rc> {
        tpm.check_index_not_read_only(self.nv_index.0)?;
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if index.nv_type() != TpmNt::Bits {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        let bits = index.number().unwrap_or_default() | self.bits;
        tpm.write_index(self.nv_index.0, 0, &bits.to_be_bytes())?;
        Ok(NvSetBitsResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{
        INDEX, OPEN, persists, power_cut, read_number, refusals_of_writing, with_index,
    };
    use tpm_wire::commands::NvSetBits;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::nv::TpmNt;
    use tpm_wire::rc::Rc;

    fn set(by: TpmHandle, bits: u64) -> NvSetBits {
        NvSetBits {
            auth_handle: by.into(),
            nv_index: INDEX.into(),
            bits,
        }
    }

    #[test]
    fn bits_are_set_durably_and_stay_set() {
        let mut tpm = with_index(OPEN.with_type(TpmNt::Bits), 8);
        // Setting none makes the Index written.
        assert!(persists(&mut tpm, set(INDEX, 0)));
        assert_eq!(read_number(&mut tpm), Ok(0));
        assert!(persists(&mut tpm, set(INDEX, 0x8000_0000_0000_0001)));
        assert!(persists(&mut tpm, set(INDEX, 2)));
        assert!(!persists(&mut tpm, set(INDEX, 3)));
        let mut tpm = power_cut(tpm);
        assert_eq!(read_number(&mut tpm), Ok(0x8000_0000_0000_0003));
    }

    #[test]
    fn only_bit_fields_have_bits() {
        let refused = Err(Rc::ATTRIBUTES.at(NvSetBits::nv_index));
        assert_eq!(with_index(OPEN, 8).run(set(INDEX, 1)), refused);
    }

    #[test]
    fn setting_bits_is_refused_by_lock_authority_and_mode() {
        let refusals = refusals_of_writing(TpmNt::Bits, 8, |by| set(by, 1));
        let expected = [
            Rc::HANDLE.at(NvSetBits::nv_index),
            Rc::NV_AUTHORIZATION,
            Rc::NV_UNAVAILABLE,
            Rc::NV_LOCKED,
            Rc::READ_ONLY,
        ];
        assert_eq!(refusals, expected);
    }
}
