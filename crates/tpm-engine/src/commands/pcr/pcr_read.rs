//! `TPM2_PCR_Read` (Part 3, 22.4).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrRead, PcrReadResponse};
use tpm_wire::pcr::TpmlDigest;
use tpm_wire::rc::Rc;

impl Execute for PcrRead {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrReadResponse, Rc> {
        let mut pcr_selection_out = tpm.pcrs.existing(&self.pcr_selection_in);
        let mut pcr_values = TpmlDigest::new();
        for bank in &mut pcr_selection_out {
            for pcr in bank.pcr_select.iter() {
                match tpm.pcrs.value(bank.hash, pcr) {
                    Some(value) if !pcr_values.is_full() => pcr_values.push(small(value)),
                    // The caller asks again for what did not fit.
                    _ => bank.pcr_select.remove(pcr),
                }
            }
        }
        Ok(PcrReadResponse {
            pcr_update_counter: tpm.pcrs.update_counter,
            pcr_selection_out,
            pcr_values,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::pcr::build::{extend, selection};
    use crate::testing;
    use alloc::vec::Vec;
    use tpm_wire::algorithm::TpmiAlgHash::{Sha1, Sha3_256, Sha256};
    use tpm_wire::commands::PcrRead;
    use tpm_wire::pcr::TpmlPcrSelection;
    use tpm_wire::rc::Rc;

    fn read(pcr_selection_in: TpmlPcrSelection) -> PcrRead {
        PcrRead { pcr_selection_in }
    }

    #[test]
    fn values_come_in_the_order_of_the_selection() {
        let mut tpm = testing::started();
        tpm.run(extend(16)).unwrap();
        let wanted = selection(&[(Sha256, &[16, 0]), (Sha1, &[17])]);
        let found = tpm.run(read(wanted.clone())).unwrap();
        assert_eq!(found.pcr_selection_out, wanted);
        assert_eq!(found.pcr_update_counter, tpm.pcrs.update_counter);
        let values: Vec<&[u8]> = found.pcr_values.iter().map(|value| &**value).collect();
        let extended = tpm.pcrs.value(Sha256, 16).unwrap();
        assert_eq!(values, [&[0; 32][..], extended, &[0xFF; 20]]);
    }

    #[test]
    fn eight_values_come_at_once_and_the_selection_tells_which() {
        let all: Vec<u32> = (0..24).collect();
        let wanted = selection(&[(Sha1, &[3]), (Sha256, &all), (Sha1, &[4])]);
        let found = testing::started().run(read(wanted)).unwrap();
        assert_eq!(found.pcr_values.len(), 8);
        let given = selection(&[(Sha1, &[3]), (Sha256, &all[..7]), (Sha1, &[])]);
        assert_eq!(found.pcr_selection_out, given);
    }

    #[test]
    fn pcr_that_are_not_allocated_are_left_out() {
        let wanted = selection(&[(Sha3_256, &[0, 1]), (Sha1, &[0])]);
        let found = testing::started().run(read(wanted)).unwrap();
        let given = selection(&[(Sha3_256, &[]), (Sha1, &[0])]);
        assert_eq!(found.pcr_selection_out, given);
        assert_eq!(found.pcr_values.len(), 1);
        let found = testing::started().run(read(selection(&[]))).unwrap();
        assert!(found.pcr_values.is_empty() && found.pcr_selection_out.is_empty());
    }

    #[test]
    fn a_bitmap_of_another_size_is_value_at_parameter_1() {
        let mut command = testing::encode(&read(selection(&[(Sha1, &[0])])), &[]);
        let size = command.len() - 4;
        command[size] = 4;
        let mut tpm = testing::started();
        let refused = testing::decode::<PcrRead>(tpm.execute(&command));
        assert_eq!(refused, Err(Rc::VALUE.at(PcrRead::pcr_selection_in)));
    }
}
