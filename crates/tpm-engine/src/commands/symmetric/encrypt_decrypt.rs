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
