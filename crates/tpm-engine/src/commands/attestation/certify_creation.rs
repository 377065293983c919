//! `TPM2_CertifyCreation` (Part 3, 18.3).

use crate::execute::Execute;
use crate::state::Tpm;
use crate::ticket::tickets_match;
use tpm_wire::attest::{TpmsCreationInfo, TpmuAttest};
use tpm_wire::commands::{CertifyCreation, CertifyCreationResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for CertifyCreation {
    fn execute(self, tpm: &mut Tpm) -> Result<CertifyCreationResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let object = tpm
            .objects
            .get(self.object_handle.0)
            .map_err(|rc| rc.at(Self::object_handle))?;
        let given = self.creation_ticket;
        let hierarchy = given.hierarchy.map_or(TpmHandle::NULL, TpmHandle::from);
        tpm.check_ticket_hierarchy(hierarchy)?;
        let ticket = tpm.creation_ticket(hierarchy, &object.name, &self.creation_hash);
        if !tickets_match(&given.digest, &ticket.digest) {
            return Err(Rc::TICKET.at(Self::creation_ticket));
        }
        let info = TpmsCreationInfo {
            object_name: object.name.clone(),
            creation_hash: self.creation_hash,
        };
        let (certify_info, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Creation(info))?;
        Ok(CertifyCreationResponse {
            certify_info,
            signature,
        })
    }
}
