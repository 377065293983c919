//! `TPM2_Hash` (Part 3, 15.4).

use crate::algorithms::{self, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Hash, HashResponse};
use tpm_wire::constants::TPM_GENERATED;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for Hash {
    fn execute(self, tpm: &mut Tpm) -> Result<HashResponse, Rc> {
        let digest = algorithms::hash(self.hash_alg, &[&self.data]);
        // A restricted key must never sign what looks like a structure of the TPM's own.
        let hierarchy = if self.data.starts_with(&TPM_GENERATED.to_be_bytes()) {
            TpmHandle::NULL
        } else {
            self.hierarchy.map_or(TpmHandle::NULL, TpmHandle::from)
        };
        Ok(HashResponse {
            out_hash: small(&digest),
            validation: tpm.hashcheck_ticket(hierarchy, self.hash_alg, &digest),
        })
    }
}
