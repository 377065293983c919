//! `TPM2_ECC_Encrypt` (Part 3, 14.8).

use super::{ecc_parameters, kdf2_hash};
use crate::algorithms::small;
use crate::execute::Execute;
use crate::keys::{ecc_public, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::encryption;
use tpm_wire::buffers::{Tpm2b, Tpm2bMaxBuffer};
use tpm_wire::commands::{EccEncrypt, EccEncryptResponse};
use tpm_wire::rc::Rc;

impl Execute for EccEncrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<EccEncryptResponse, Rc> {
        let (key, parameters) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        let hash = kdf2_hash(parameters, self.in_scheme, Self::in_scheme)?;
        let public = ecc_public(&key.public).map_err(|_| Rc::NO_RESULT)?;
        let hidden = encryption::encrypt(&public, hash, &self.plain_text, &mut tpm.random)
            .map_err(|_| Rc::NO_RESULT)?;
        Ok(EccEncryptResponse {
            c1: Tpm2b(wire_point(&hidden.c1)),
            c2: Tpm2bMaxBuffer::new(hidden.c2).ok_or(Rc::SIZE)?,
            c3: small(&hidden.c3),
        })
    }
}
