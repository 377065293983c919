//! `TPM2_GetSessionAuditDigest` (Part 3, 18.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsSessionAuditInfo, TpmuAttest};
use tpm_wire::commands::{GetSessionAuditDigest, GetSessionAuditDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for GetSessionAuditDigest {
    fn execute(self, tpm: &mut Tpm) -> Result<GetSessionAuditDigestResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let session_handle = self.session_handle.0;
        let session_digest = tpm
            .sessions
            .get(session_handle)
            .and_then(|session| session.audit_digest.clone())
            .ok_or(Rc::TYPE.at(Self::session_handle))?;
        let info = TpmsSessionAuditInfo {
            exclusive_session: tpm.sessions.exclusive_audit == Some(session_handle),
            session_digest,
        };
        let (audit_info, signature) = tpm.attest(
            &signer,
            self.qualifying_data,
            TpmuAttest::SessionAudit(info),
        )?;
        Ok(GetSessionAuditDigestResponse {
            audit_info,
            signature,
        })
    }
}
