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

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::*;
    use crate::policy::PolicyState;
    use crate::session::Session;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attest::{TpmsSessionAuditInfo, TpmuAttest};
    use tpm_wire::buffers::{Small, Tpm2bDigest, Tpm2bNonce};
    use tpm_wire::commands::GetSessionAuditDigest;
    use tpm_wire::constants::TpmSe;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhEndorsement, TpmiShHmac};
    use tpm_wire::rc::Rc;

    fn session(tpm: &mut TestTpm, audit_digest: Option<Tpm2bDigest>) -> TpmiShHmac {
        let session = Session {
            kind: TpmSe::Hmac,
            auth_hash: TpmiAlgHash::Sha256,
            symmetric: None,
            key: Small::EMPTY,
            nonce_tpm: Tpm2bNonce::zeros(32),
            bound_entity: None,
            is_da_bound: false,
            is_lockout_bound: false,
            audit_digest,
            policy: PolicyState::default(),
        };
        TpmiShHmac(tpm.sessions.insert(session).unwrap())
    }

    fn command(
        sign_handle: Option<TpmiDhObject>,
        session_handle: TpmiShHmac,
    ) -> GetSessionAuditDigest {
        GetSessionAuditDigest {
            privacy_admin_handle: TpmiRhEndorsement(TpmHandle::ENDORSEMENT),
            sign_handle,
            session_handle,
            qualifying_data: nonce(),
            in_scheme: None,
        }
    }

    #[test]
    fn attests_the_audit_of_a_session() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let digest = Tpm2bDigest::new(&[7; 32]).unwrap();
        let session = session(&mut tpm, Some(digest.clone()));
        for exclusive_session in [true, false] {
            tpm.sessions.exclusive_audit = exclusive_session.then_some(session.0);
            let answer = tpm.run(command(Some(key), session)).unwrap();
            let attest = verified(&mut tpm, key, &answer.audit_info, answer.signature);
            let expected = TpmsSessionAuditInfo {
                exclusive_session,
                session_digest: digest.clone(),
            };
            assert_eq!(attest.attested, TpmuAttest::SessionAudit(expected));
        }
    }

    #[test]
    fn keys_schemes_and_sessions_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let session = session(&mut tpm, None);
        let rc = Rc::TYPE.at(GetSessionAuditDigest::session_handle);
        assert_eq!(tpm.run(command(Some(key), session)), Err(rc));
        let storage = load(&mut tpm, ecc(None, STORES));
        let rc = Rc::KEY.at(GetSessionAuditDigest::sign_handle);
        assert_eq!(tpm.run(command(Some(storage), session)), Err(rc));
        let open = load(&mut tpm, ecc(None, SIGNS));
        let rc = Rc::SCHEME.at(GetSessionAuditDigest::in_scheme);
        assert_eq!(tpm.run(command(Some(open), session)), Err(rc));
    }

    #[test]
    fn an_anonymous_key_needs_a_commit_that_is_open_and_storage_what_a_shutdown_saved() {
        let mut tpm = testing::started();
        let session = session(&mut tpm, Some(Tpm2bDigest::zeros(32)));
        let key = anonymous_signer(&mut tpm);
        let mut anonymous = command(Some(key), session);
        anonymous.in_scheme = Some(ecdaa(0));
        assert_eq!(tpm.run(anonymous), Err(Rc::VALUE));
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let signed = command(Some(key), session);
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(signed), Err(Rc::NV_UNAVAILABLE));
    }
}
