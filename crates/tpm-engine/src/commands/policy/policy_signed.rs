//! `TPM2_PolicySigned` (Part 3, 23.3).

use super::{Authorization, Blame, hierarchy_of, no_ticket, timeout};
use crate::algorithms::hash;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtSignature;
use tpm_wire::commands::{PolicySigned, PolicySignedResponse};
use tpm_wire::constants::TpmSt;
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

impl Execute for PolicySigned {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicySignedResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        let is_trial = session.is_trial();
        let mut authorization = Authorization {
            nonce_tpm: Some(&self.nonce_tpm),
            cp_hash: &self.cp_hash_a,
            policy_ref: &self.policy_ref,
            timeout: 0,
        };
        if !is_trial {
            authorization.timeout =
                timeout(tpm.clock.time, session, self.expiration, &self.nonce_tpm);
            let blame = Blame {
                nonce_tpm: Self::nonce_tpm,
                cp_hash: Self::cp_hash_a,
                expiration: Self::expiration,
            };
            authorization.check(tpm, session, &blame)?;
            check_signature(tpm, &self)?;
        }
        let authority = tpm.entity_name(self.auth_object.0);
        let session = tpm.sessions.policy(self.policy_session)?;
        authorization.include(session, Self::INFO.code, &authority);
        let tag = TpmSt::AUTH_SIGNED;
        let (timeout, policy_ticket) = if self.expiration < 0 && !is_trial {
            let hierarchy = hierarchy_of(tpm, self.auth_object.0);
            authorization.ticket(tpm, tag, hierarchy, &authority)
        } else {
            no_ticket(tag)
        };
        Ok(PolicySignedResponse {
            timeout,
            policy_ticket,
        })
    }
}

/// Checks the signature over what is authorized.
fn check_signature(tpm: &Tpm, command: &PolicySigned) -> Result<(), Rc> {
    // An anonymous signature cannot be verified by a TPM; a sequence is no key.
    let scheme = Rc::SCHEME.at(PolicySigned::auth);
    if matches!(command.auth, TpmtSignature::Ecdaa(_)) {
        return Err(scheme);
    }
    let key = tpm.objects.find(command.auth_object.0).ok_or(scheme)?;
    let signed = hash(
        command.auth.hash_alg(),
        &[
            &command.nonce_tpm,
            &command.expiration.to_be_bytes(),
            &command.cp_hash_a,
            &command.policy_ref,
        ],
    );
    tpm.verify_signature(key, &command.auth, &signed)
        .map_err(|rc| rc.at(PolicySigned::auth))
}
