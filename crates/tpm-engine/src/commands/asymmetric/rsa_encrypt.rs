//! `TPM2_RSA_Encrypt` (Part 3, 14.2).

use super::{Padding, is_label, padding, rsa_parameters};
use crate::execute::Execute;
use crate::keys::rsa_public;
use crate::state::Tpm;
use tpm_crypto::rsa::{RsaError, oaep, pkcs1, public_raw};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bPublicKeyRsa;
use tpm_wire::commands::{RsaEncrypt, RsaEncryptResponse};
use tpm_wire::rc::Rc;

impl Execute for RsaEncrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<RsaEncryptResponse, Rc> {
        let (key, parameters) = rsa_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !key.public.has(TpmaObject::DECRYPT) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        if !is_label(&self.label) {
            return Err(Rc::VALUE.at(Self::label));
        }
        let padding = padding(parameters, self.in_scheme, Self::in_scheme)?;
        let public = rsa_public(&key.public).map_err(|rc| rc.at(Self::key_handle))?;
        let hidden = match padding {
            Padding::Raw => {
                let zeros = self.message.iter().take_while(|byte| **byte == 0).count();
                let number = self.message.get(zeros..).unwrap_or_default();
                if number.len() > public.len() {
                    return Err(Rc::VALUE);
                }
                public_raw(&public, number)
            }
            Padding::Rsaes => pkcs1::encrypt(&public, &self.message, &mut tpm.random),
            Padding::Oaep(hash) => {
                oaep::encrypt(&public, hash, &self.label, &self.message, &mut tpm.random)
            }
        };
        let out_data = hidden.map_err(|error| match error {
            RsaError::InputTooLarge => Rc::SIZE,
            RsaError::KeyTooSmall => Rc::HASH,
            _ => Rc::VALUE,
        })?;
        let out_data = Tpm2bPublicKeyRsa::new(out_data).ok_or(Rc::SIZE)?;
        Ok(RsaEncryptResponse { out_data })
    }
}
