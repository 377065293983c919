//! `TPM2_StirRandom` (Part 3, 16.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{StirRandom, StirRandomResponse};
use tpm_wire::rc::Rc;

impl Execute for StirRandom {
    fn execute(self, tpm: &mut Tpm) -> Result<StirRandomResponse, Rc> {
        tpm.random.reseed(&self.in_data);
        Ok(StirRandomResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use alloc::vec;
    use alloc::vec::Vec;
    use tpm_wire::buffers::{Tpm2bDigest, Tpm2bSensitiveData};
    use tpm_wire::commands::{GetRandom, StirRandom};
    use tpm_wire::rc::Rc;

    fn random_after(stirred: &[u8]) -> Tpm2bDigest {
        let mut tpm = testing::started();
        let in_data = Tpm2bSensitiveData::new(stirred.to_vec()).unwrap();
        tpm.run(StirRandom { in_data }).unwrap();
        tpm.run(GetRandom {
            bytes_requested: 32,
        })
        .unwrap()
        .random_bytes
    }

    #[test]
    fn what_is_stirred_in_changes_what_comes_out() {
        assert_ne!(random_after(b"one"), random_after(b"two"));
        assert_eq!(random_after(b"one"), random_after(b"one"));
        assert_eq!(random_after(&[]).len(), 32);
    }

    #[test]
    fn more_than_128_bytes_are_size_at_parameter_1() {
        let mut tpm = testing::started();
        let mut command = vec![0x80, 0x01, 0, 0, 0, 141, 0, 0, 0x01, 0x46, 0, 129];
        command.extend(Vec::from([7; 129]));
        let response = tpm.execute(&command).to_vec();
        assert_eq!(
            response.get(6..),
            Some(&Rc::SIZE.at(StirRandom::in_data).number().to_be_bytes()[..])
        );
    }
}
