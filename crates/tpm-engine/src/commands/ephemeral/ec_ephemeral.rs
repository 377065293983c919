//! `TPM2_EC_Ephemeral` (Part 3, 19.3).

use crate::execute::Execute;
use crate::keys::{curve, wire_point};
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{EcEphemeral, EcEphemeralResponse};
use tpm_wire::rc::Rc;

impl Execute for EcEphemeral {
    fn execute(self, tpm: &mut Tpm) -> Result<EcEphemeralResponse, Rc> {
        let curve = curve(self.curve_id);
        let secret = tpm.commits.secret(curve, &[], tpm.commits.counter);
        let point = secret.public();
        // What a shutdown saved would give the same secret again.
        tpm.void_orderly()?;
        Ok(EcEphemeralResponse {
            q: Tpm2b(wire_point(&point)),
            counter: tpm.commits.begin(),
        })
    }
}
