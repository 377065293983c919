//! `TPM2_ECDH_ZGen` (Part 3, 14.5).

use super::{decrypts_freely, ecc_parameters, exchanges_by};
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::multiply;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{EcdhZGen, EcdhZGenResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for EcdhZGen {
    fn execute(self, tpm: &mut Tpm) -> Result<EcdhZGenResponse, Rc> {
        let (key, parameters) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        if !exchanges_by(parameters, TpmAlgId::ECDH) {
            return Err(Rc::SCHEME.at(Self::key_handle));
        }
        let private = ecc_private(key).map_err(|rc| rc.at(Self::key_handle))?;
        let point =
            ecc_point(private.curve(), &self.in_point).map_err(|rc| rc.at(Self::in_point))?;
        let shared = multiply(private.curve(), private.as_bytes(), &point)
            .map(Zeroizing::new)
            .map_err(|_| Rc::NO_RESULT)?;
        Ok(EcdhZGenResponse {
            out_point: Tpm2b(wire_point(&shared)),
        })
    }
}
