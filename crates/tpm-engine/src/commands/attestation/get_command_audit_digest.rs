//! `TPM2_GetCommandAuditDigest` (Part 3, 18.6).

use crate::algorithms::{hash_algorithm, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_crypto::hash::Hasher;
use tpm_wire::attest::{TpmsCommandAuditInfo, TpmuAttest};
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{GetCommandAuditDigest, GetCommandAuditDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for GetCommandAuditDigest {
    fn execute(self, tpm: &mut Tpm) -> Result<GetCommandAuditDigestResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let audit = &tpm.command_audit;
        let mut commands = Hasher::new(hash_algorithm(audit.hash));
        for code in &audit.commands {
            commands.update(&code.to_be_bytes());
        }
        let info = TpmsCommandAuditInfo {
            audit_counter: audit.counter,
            digest_alg: audit.hash.id(),
            audit_digest: audit.digest.clone(),
            command_digest: small(&commands.finish()),
        };
        let (audit_info, signature) = tpm.attest(
            &signer,
            self.qualifying_data,
            TpmuAttest::CommandAudit(info),
        )?;
        if signer.is_key() {
            // What was signed is told; the next audited command begins a new digest.
            tpm.command_audit.digest = Tpm2bDigest::EMPTY;
        }
        Ok(GetCommandAuditDigestResponse {
            audit_info,
            signature,
        })
    }
}
