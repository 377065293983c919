//! `TPM2_Certify` (Part 3, 18.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsCertifyInfo, TpmuAttest};
use tpm_wire::buffers::Tpm2bName;
use tpm_wire::commands::{Certify, CertifyResponse};
use tpm_wire::rc::Rc;

impl Execute for Certify {
    fn execute(self, tpm: &mut Tpm) -> Result<CertifyResponse, Rc> {
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
        let info = TpmsCertifyInfo {
            name: object.name.clone(),
            // It would tell which parent the keys of several anonymous signatures share.
            qualified_name: if signer.is_anonymous() {
                Tpm2bName::EMPTY
            } else {
                object.qualified_name.clone()
            },
        };
        let (certify_info, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Certify(info))?;
        Ok(CertifyResponse {
            certify_info,
            signature,
        })
    }
}
