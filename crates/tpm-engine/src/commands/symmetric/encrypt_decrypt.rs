//! `TPM2_EncryptDecrypt` (Part 3, 15.2).

use super::{Places, crypt};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EncryptDecrypt, EncryptDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for EncryptDecrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<EncryptDecryptResponse, Rc> {
        let places = Places {
            key_handle: Self::key_handle,
            mode: Self::mode,
            iv: Self::iv_in,
            data: Self::in_data,
        };
        let (mut iv, mut data) = (self.iv_in, self.in_data);
        crypt(
            tpm,
            self.key_handle.0,
            self.decrypt,
            self.mode,
            &mut iv,
            &mut data,
            &places,
        )?;
        Ok(EncryptDecryptResponse {
            out_data: data,
            iv_out: iv,
        })
    }
}

#[cfg(test)]
mod tests {
    // What comes out is compared with `TPM2_EncryptDecrypt2` in the tests there.
    use crate::commands::signature::build::{aes, load};
    use crate::commands::symmetric::build::{BOTH, Wrong, unfit_keys, unfit_parameters};
    use crate::testing;
    use tpm_wire::algorithm::TpmiAlgCipherMode;
    use tpm_wire::buffers::{Tpm2bIv, Tpm2bMaxBuffer};
    use tpm_wire::commands::EncryptDecrypt;
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    fn command(key_handle: TpmiDhObject, size: usize) -> EncryptDecrypt {
        EncryptDecrypt {
            key_handle,
            decrypt: false,
            mode: Some(TpmiAlgCipherMode::Cfb),
            iv_in: Tpm2bIv::zeros(16),
            in_data: Tpm2bMaxBuffer::new(alloc::vec![7; size]).unwrap(),
        }
    }

    fn refusal(wrong: Wrong) -> Rc {
        match wrong {
            Wrong::Kind => Rc::KEY.at(EncryptDecrypt::key_handle),
            Wrong::Attributes => Rc::ATTRIBUTES.at(EncryptDecrypt::key_handle),
            Wrong::ModeOfKey => Rc::MODE.at(EncryptDecrypt::key_handle),
            Wrong::Mode => Rc::MODE.at(EncryptDecrypt::mode),
            Wrong::Iv => Rc::SIZE.at(EncryptDecrypt::iv_in),
            Wrong::Data => Rc::SIZE.at(EncryptDecrypt::in_data),
        }
    }

    #[test]
    fn keys_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        for (key, decrypt, wrong) in unfit_keys() {
            let mut command = command(load(&mut tpm, key), 32);
            command.decrypt = decrypt;
            assert_eq!(tpm.run(command), Err(refusal(wrong)));
        }
    }

    #[test]
    fn mode_then_iv_then_data_are_refused_where_they_stand() {
        let mut tpm = testing::started();
        for (mode_of_key, mode, iv, size, wrong) in unfit_parameters() {
            let key = load(&mut tpm, aes(mode_of_key, BOTH));
            let mut command = command(key, size);
            (command.mode, command.iv_in) = (mode, iv);
            assert_eq!(tpm.run(command), Err(refusal(wrong)));
        }
    }
}
