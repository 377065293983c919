//! `TPM2_ECC_Decrypt` (Part 3, 14.9).

use super::{decrypts_freely, ecc_parameters, kdf2_hash};
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private};
use crate::state::Tpm;
use tpm_crypto::ecc::{EccError, encryption};
use tpm_wire::buffers::Tpm2bMaxBuffer;
use tpm_wire::commands::{EccDecrypt, EccDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for EccDecrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<EccDecryptResponse, Rc> {
        let (key, parameters) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        let hash = kdf2_hash(parameters, self.in_scheme, Self::in_scheme)?;
        let private = ecc_private(key).map_err(|rc| rc.at(Self::key_handle))?;
        let c1 = ecc_point(private.curve(), &self.c1).map_err(|rc| rc.at(Self::c1))?;
        let mut text =
            encryption::decrypt(&private, hash, &c1, &self.c2, &self.c3).map_err(|error| {
                match error {
                    EccError::Infinity => Rc::NO_RESULT,
                    _ => Rc::VALUE,
                }
            })?;
        // The buffer of the response wipes the text in its turn.
        let plain_text = Tpm2bMaxBuffer::new(core::mem::take(&mut *text)).ok_or(Rc::SIZE)?;
        Ok(EccDecryptResponse { plain_text })
    }
}
