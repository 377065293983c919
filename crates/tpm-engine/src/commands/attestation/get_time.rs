//! `TPM2_GetTime` (Part 3, 18.7).

use crate::attest::FIRMWARE_VERSION;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsTimeAttestInfo, TpmuAttest};
use tpm_wire::commands::{GetTime, GetTimeResponse};
use tpm_wire::rc::Rc;

impl Execute for GetTime {
    fn execute(self, tpm: &mut Tpm) -> Result<GetTimeResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        // The privacy administrator agreed: here counts and version are in the open, whatever key signs.
        let info = TpmsTimeAttestInfo {
            time: tpm.clock.info(),
            firmware_version: FIRMWARE_VERSION,
        };
        let (time_info, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Time(info))?;
        Ok(GetTimeResponse {
            time_info,
            signature,
        })
    }
}
