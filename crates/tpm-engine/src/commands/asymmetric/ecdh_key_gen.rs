//! `TPM2_ECDH_KeyGen` (Part 3, 14.4).

use super::ecc_parameters;
use crate::execute::Execute;
use crate::keys::{ecc_public, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::{EccError, generate, multiply};
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{EcdhKeyGen, EcdhKeyGenResponse};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for EcdhKeyGen {
    fn execute(self, tpm: &mut Tpm) -> Result<EcdhKeyGenResponse, Rc> {
        let (key, _) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        let public = ecc_public(&key.public).map_err(|_| Rc::KEY.at(Self::key_handle))?;
        loop {
            let (ephemeral, point) = generate(public.curve(), &mut tpm.random);
            match multiply(public.curve(), ephemeral.as_bytes(), &public).map(Zeroizing::new) {
                Ok(shared) => {
                    return Ok(EcdhKeyGenResponse {
                        z_point: Tpm2b(wire_point(&shared)),
                        pub_point: Tpm2b(wire_point(&point)),
                    });
                }
                Err(EccError::Infinity) => {}
                Err(_) => return Err(Rc::KEY.at(Self::key_handle)),
            }
        }
    }
}
