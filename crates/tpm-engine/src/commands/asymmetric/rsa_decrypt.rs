//! `TPM2_RSA_Decrypt` (Part 3, 14.3).

use super::{Padding, decrypts_freely, is_label, padding, rsa_parameters};
use crate::execute::Execute;
use crate::keys::rsa_private;
use crate::state::Tpm;
use tpm_crypto::rsa::{RsaError, oaep, pkcs1, private_raw};
use tpm_wire::buffers::Tpm2bPublicKeyRsa;
use tpm_wire::commands::{RsaDecrypt, RsaDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for RsaDecrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<RsaDecryptResponse, Rc> {
        let (key, parameters) = rsa_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        if !is_label(&self.label) {
            return Err(Rc::VALUE.at(Self::label));
        }
        let padding = padding(parameters, self.in_scheme, Self::in_scheme)?;
        let mut private = rsa_private(key).map_err(|rc| rc.at(Self::key_handle))?;
        if self.cipher_text.len() != private.public().len() {
            return Err(Rc::SIZE);
        }
        let random = &mut tpm.random;
        let message = match padding {
            Padding::Raw => private_raw(&mut private, &self.cipher_text, random),
            Padding::Rsaes => pkcs1::decrypt(&mut private, &self.cipher_text, random),
            Padding::Oaep(hash) => {
                oaep::decrypt(&mut private, hash, &self.label, &self.cipher_text, random)
            }
        };
        let mut message = message.map_err(|error| match error {
            RsaError::InputTooLarge => Rc::SIZE,
            RsaError::Binding | RsaError::Fault => Rc::BINDING,
            _ => Rc::VALUE,
        })?;
        // The buffer of the response wipes the message in its turn.
        let message = Tpm2bPublicKeyRsa::new(core::mem::take(&mut *message)).ok_or(Rc::SIZE)?;
        Ok(RsaDecryptResponse { message })
    }
}
