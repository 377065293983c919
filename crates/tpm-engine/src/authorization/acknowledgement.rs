//! The end of a command that succeeded: nonces, encryption, audit and the sessions of the response (Part 1, 18.8 and 19.6).

use super::{Authorizing, MAX_SESSIONS, Tpm};
use crate::algorithms::{hash, hmac, small};
use crate::parameter_encryption::{Direction, crypt_first_parameter};
use crate::policy::PolicyState;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use tpm_crypto::hash::Digest;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bNonce};
use tpm_wire::codec::Marshal;
use tpm_wire::handles::TpmHt;
use tpm_wire::rc::Rc;
use tpm_wire::table::flag;

impl Tpm {
    /// Ends a command that succeeded: new nonces, encryption of the response, audit, and the acknowledgements appended to `out`.
    ///
    /// `parameters` is the parameter area of the response within `out`.
    pub(crate) fn acknowledge(
        &mut self,
        out: &mut Vec<u8>,
        parameters: core::ops::Range<usize>,
    ) -> Result<(), Rc> {
        let mut sessions = core::mem::take(&mut self.running.sessions);
        let done = self.acknowledge_sessions(&mut sessions, out, parameters);
        self.running.sessions = sessions;
        done
    }

    fn acknowledge_sessions(
        &mut self,
        sessions: &mut ArrayVec<Authorizing, MAX_SESSIONS>,
        out: &mut Vec<u8>,
        parameters: core::ops::Range<usize>,
    ) -> Result<(), Rc> {
        for session in sessions.iter().filter(|session| !session.is_password()) {
            if let Some(loaded) = self.sessions.get_mut(session.handle) {
                self.random.fill(loaded.nonce_tpm.as_mut_slice());
            }
        }
        if let Some(session) = sessions
            .iter()
            .find(|session| session.has(TpmaSession::ENCRYPT))
        {
            let extra = session
                .entity
                .map_or(Tpm2bAuth::EMPTY, |entity| self.auth_value(entity));
            let loaded = self.loaded(session.handle)?;
            let area = out.get_mut(parameters.clone()).unwrap_or_default();
            crypt_first_parameter(
                loaded,
                Direction::Encrypt,
                &loaded.nonce_tpm,
                &session.nonce_caller,
                &extra,
                area,
            )
            .map_err(|_| {
                self.fail("a response that a session encrypts begins with no sized buffer")
            })?;
        }
        self.audit_session(sessions, out.get(parameters.clone()).unwrap_or_default());
        self.audit_command(out.get(parameters.clone()).unwrap_or_default())?;
        for session in sessions.iter_mut() {
            self.acknowledge_session(session, out, parameters.clone())?;
        }
        Ok(())
    }

    fn acknowledge_session(
        &mut self,
        session: &mut Authorizing,
        out: &mut Vec<u8>,
        parameters: core::ops::Range<usize>,
    ) -> Result<(), Rc> {
        if session.is_password() {
            session.attributes = session.attributes.with(TpmaSession::CONTINUE_SESSION);
            Tpm2bNonce::EMPTY.marshal(out);
            session.attributes.marshal(out);
            Tpm2bAuth::EMPTY.marshal(out);
            return Ok(());
        }
        let key = self.hmac_key(session)?;
        let (time, epoch) = (self.clock.time, self.clock.epoch);
        let code = self.running.code();
        let loaded = self.loaded(session.handle)?;
        let by_password = loaded.is_policy() && loaded.policy.password_needed;
        let mut response_hmac = Tpm2bAuth::EMPTY;
        let is_empty = by_password || key.is_empty() && session.hmac.is_empty();
        if !is_empty {
            let rp_hash = rp_hash(
                loaded.auth_hash,
                code,
                out.get(parameters).unwrap_or_default(),
            );
            let parts: [&[u8]; 4] = [
                &rp_hash,
                &loaded.nonce_tpm,
                &session.nonce_caller,
                &[session.attributes.0],
            ];
            response_hmac = small(&hmac(loaded.auth_hash, &key, &parts));
        }
        loaded.nonce_tpm.marshal(out);
        session.attributes.marshal(out);
        response_hmac.marshal(out);
        if !session.has(TpmaSession::CONTINUE_SESSION) {
            self.sessions.flush(session.handle);
        } else if session.handle.kind() == Some(TpmHt::PolicySession)
            && let Some(loaded) = self.sessions.get_mut(session.handle)
        {
            loaded.policy = PolicyState::new(loaded.auth_hash, time, epoch);
        }
        Ok(())
    }

    /// Extends the digest of the audit session and says whether it is exclusive (Part 1, 33).
    fn audit_session(
        &mut self,
        sessions: &mut ArrayVec<Authorizing, MAX_SESSIONS>,
        parameters: &[u8],
    ) {
        let Some(session) = sessions
            .iter_mut()
            .find(|session| session.has(TpmaSession::AUDIT))
        else {
            if !self
                .running
                .info
                .is_some_and(|info| info.flags.contains(flag::no_sessions))
            {
                self.sessions.exclusive_audit = None;
            }
            return;
        };
        let handle = session.handle;
        let code = self.running.code();
        let Some(loaded) = self.sessions.get_mut(handle) else {
            return;
        };
        let starts = loaded.audit_digest.is_none() || session.has(TpmaSession::AUDIT_RESET);
        let digest_size = loaded.auth_hash.digest_size();
        if starts {
            // An audit session is no longer bound: the digest takes the place of the binding (Part 1, 33.2).
            loaded.bound_entity = None;
            loaded.audit_digest = Some(Tpm2bDigest::zeros(digest_size));
        }
        if let (Some(digest), Some(cp_hash)) =
            (&mut loaded.audit_digest, &self.running.session_cp_hash)
        {
            let rp_hash = rp_hash(loaded.auth_hash, code, parameters);
            *digest = small(&hash(loaded.auth_hash, &[digest, cp_hash, &rp_hash]));
        }
        if starts {
            self.sessions.exclusive_audit = Some(handle);
        } else if self.sessions.exclusive_audit != Some(handle) {
            self.sessions.exclusive_audit = None;
        }
        let exclusive = self.sessions.exclusive_audit == Some(handle);
        session.attributes = session
            .attributes
            .set(TpmaSession::AUDIT_EXCLUSIVE, exclusive);
    }

    /// Extends the command audit digest (Part 1, 34).
    fn audit_command(&mut self, parameters: &[u8]) -> Result<(), Rc> {
        let code = self.running.code();
        if !self.command_audit.is_audited(code) {
            return Ok(());
        }
        let Some(cp_hash) = self.running.audit_cp_hash.take() else {
            return Ok(());
        };
        let hash_alg = self.command_audit.hash;
        // The digest is part of what an orderly shutdown saved: restored, it would lack this command.
        self.void_orderly()?;
        if self.command_audit.digest.is_empty() {
            self.changes_permanent()?;
            self.command_audit.counter = self.command_audit.counter.wrapping_add(1);
            self.command_audit.digest = Tpm2bDigest::zeros(hash_alg.digest_size());
        }
        let rp_hash = rp_hash(hash_alg, code, parameters);
        self.command_audit.digest = small(&hash(
            hash_alg,
            &[&self.command_audit.digest, &cp_hash, &rp_hash],
        ));
        Ok(())
    }
}

/// rpHash: over the response code, which is success, the command code and the parameters (Part 1, 18.8).
fn rp_hash(hash_alg: TpmiAlgHash, code: u32, parameters: &[u8]) -> Digest {
    hash(
        hash_alg,
        &[
            &Rc::SUCCESS.number().to_be_bytes(),
            &code.to_be_bytes(),
            parameters,
        ],
    )
}
