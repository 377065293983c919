//! `TPM2_VerifySignature` (Part 3, 20.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{VerifySignature, VerifySignatureResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for VerifySignature {
    fn execute(self, tpm: &mut Tpm) -> Result<VerifySignatureResponse, Rc> {
        let key = tpm
            .objects
            .find(self.key_handle.0)
            .filter(|key| key.public.has(TpmaObject::SIGN))
            .ok_or(Rc::ATTRIBUTES.at(Self::key_handle))?;
        tpm.verify_signature(key, &self.signature, &self.digest)
            .map_err(|rc| rc.at(Self::signature))?;
        // A key without a Name could be any key: no ticket tells of it.
        let hierarchy = match key.public.name_alg {
            Some(_) => key.hierarchy,
            None => TpmHandle::NULL,
        };
        Ok(VerifySignatureResponse {
            validation: tpm.verified_ticket(hierarchy, &self.digest, &key.name),
        })
    }
}
