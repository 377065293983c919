//! Sessions of a command: who authorizes, whether it holds, what is encrypted, what is audited (Part 1, 18 to 21; Part 3, 5.5 to 5.7).
//!
//! Here the sessions are read and gone through in order. [`entity`] checks one authorization, [`policy`] what a policy
//! session asks for, [`session_hmac`] the HMAC; [`acknowledgement`] ends a command that succeeded.

mod acknowledgement;
mod entity;
mod policy;
mod session_hmac;
#[cfg(test)]
mod tests;

use crate::hierarchy::Hierarchy;
use crate::parameter_encryption::{Direction, crypt_first_parameter};
use crate::pcr::PcrBefore;
use crate::session::Session;
use crate::state::Tpm;
use arrayvec::ArrayVec;
use tpm_crypto::hash::Digest;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bNonce};
use tpm_wire::codec::{Input, Parse, response_code};
use tpm_wire::commands;
use tpm_wire::frame::TpmsAuthCommand;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::{Position, Rc};
use tpm_wire::table::{Command, CommandInfo, MAX_HANDLES, flag};

/// Most sessions of a command.
const MAX_SESSIONS: usize = 3;

/// One authorization of the command that runs.
#[derive(Clone, Debug)]
struct Authorizing {
    handle: TpmHandle,
    nonce_caller: Tpm2bNonce,
    attributes: TpmaSession,
    hmac: Tpm2bAuth,
    /// The entity that it authorizes.
    entity: Option<TpmHandle>,
    /// The entity's authorization value is part of the HMAC key.
    include_auth: bool,
}

impl Authorizing {
    fn is_password(&self) -> bool {
        self.handle == TpmHandle::PASSWORD
    }

    fn has(&self, attribute: TpmaSession) -> bool {
        self.attributes.contains(attribute)
    }
}

/// The command that runs: its handles and sessions.
#[derive(Default)]
pub(crate) struct Running {
    /// The row of the table.
    pub(crate) info: Option<&'static CommandInfo>,
    /// The handle area.
    pub(crate) handles: ArrayVec<TpmHandle, MAX_HANDLES>,
    sessions: ArrayVec<Authorizing, MAX_SESSIONS>,
    /// cpHash by the audit's hash, if the command is audited.
    audit_cp_hash: Option<Digest>,
    /// cpHash by the hash of the audit session, if there is one.
    session_cp_hash: Option<Digest>,
    /// A sequence that the command ended: it goes after the response was authenticated with its authorization value.
    pub(crate) flush: Option<TpmHandle>,
    /// The PCR that the command changes, as it was: it goes back to that if what the command changed for good cannot be stored.
    pub(crate) pcr_before: Option<PcrBefore>,
}

impl Running {
    /// The entity is gone: the response is authenticated without its authorization value.
    pub(crate) fn forget(&mut self, handle: TpmHandle) {
        for session in &mut self.sessions {
            if session.entity == Some(handle) {
                session.entity = Some(TpmHandle::NULL);
            }
        }
    }

    /// The command is not audited after all: it chose another hash for the audit.
    pub(crate) fn skip_audit(&mut self) {
        self.audit_cp_hash = None;
    }

    fn code(&self) -> u32 {
        self.info.map_or(0, |info| info.code)
    }

    fn session_with(&self, attribute: TpmaSession) -> Option<usize> {
        self.sessions
            .iter()
            .position(|session| session.has(attribute))
    }
}

/// The hierarchy that a limited one shares its authorization with; every other handle is itself.
fn normalized(handle: TpmHandle) -> TpmHandle {
    Hierarchy::from_handle(handle).map_or(handle, Hierarchy::handle)
}

fn session_position(index: usize) -> Position {
    Position::session(u8::try_from(index + 1).unwrap_or(7))
}

impl Tpm {
    /// Parses the authorization area and checks every session; decrypts the first parameter in `parameters`.
    ///
    /// # Errors
    /// In the order of Part 3, 5.5 and 5.6, with the session's number where the code has room for it.
    pub(crate) fn authorize(
        &mut self,
        info: &'static CommandInfo,
        area: &[u8],
        parameters: &mut [u8],
    ) -> Result<(), Rc> {
        if info.flags.contains(flag::no_sessions) {
            return Err(Rc::AUTH_CONTEXT);
        }
        self.retrieve_sessions(info, area)?;
        for (index, handle) in info.handles.iter().enumerate() {
            if handle.role.is_some() {
                let entity = self.running.handles.get(index).copied().map(normalized);
                self.running
                    .sessions
                    .get_mut(index)
                    .ok_or(Rc::AUTH_MISSING)?
                    .entity = entity;
            }
        }
        for index in 0..self.running.sessions.len() {
            self.check_session(info, index, parameters)?;
        }
        self.note_audit(info, parameters)?;
        self.decrypt_parameter(parameters)
    }

    /// A command without sessions: nothing in its handle area may need authorization.
    ///
    /// # Errors
    /// `TPM_RC_AUTH_MISSING`.
    pub(crate) fn check_no_sessions(
        &mut self,
        info: &'static CommandInfo,
        parameters: &[u8],
    ) -> Result<(), Rc> {
        if info.authorizations() > 0 {
            return Err(Rc::AUTH_MISSING);
        }
        self.note_audit(info, parameters)
    }

    fn retrieve_sessions(&mut self, info: &CommandInfo, area: &[u8]) -> Result<(), Rc> {
        let mut rest = Input::new(area, &self.profile.limits);
        let mut sessions: ArrayVec<Authorizing, MAX_SESSIONS> = ArrayVec::new();
        let mut index = 0;
        while !rest.is_empty() {
            let at = session_position(index);
            if sessions.is_full() {
                return Err(Rc::SIZE.at(at));
            }
            let (after, parsed) =
                TpmsAuthCommand::parse(rest).map_err(|error| response_code(error).at(at))?;
            rest = after;
            let session = Authorizing {
                handle: parsed.session_handle.0,
                nonce_caller: parsed.nonce,
                attributes: parsed.session_attributes,
                hmac: parsed.hmac,
                entity: None,
                include_auth: false,
            };
            self.check_attributes(info, &sessions, &session, index)?;
            sessions.push(session);
            index += 1;
        }
        self.running.sessions = sessions;
        Ok(())
    }

    /// What can be said of a session before anything is authorized (Part 3, 5.5).
    fn check_attributes(
        &self,
        info: &CommandInfo,
        earlier: &[Authorizing],
        session: &Authorizing,
        index: usize,
    ) -> Result<(), Rc> {
        let at = session_position(index);
        if session.is_password() {
            let only_continue =
                session.attributes.without(TpmaSession::CONTINUE_SESSION) == TpmaSession::NONE;
            if !only_continue {
                return Err(Rc::ATTRIBUTES.at(at));
            }
            return if session.nonce_caller.is_empty() {
                Ok(())
            } else {
                Err(Rc::NONCE.at(at))
            };
        }
        let loaded = self
            .sessions
            .get(session.handle)
            .ok_or_else(|| Rc::reference_session(u8::try_from(index).unwrap_or(6)))?;
        if loaded.is_policy() != (session.handle.kind() == Some(TpmHt::PolicySession)) {
            return Err(Rc::HANDLE.at(at));
        }
        if earlier.iter().any(|other| other.handle == session.handle) {
            return Err(Rc::HANDLE.at(at));
        }
        for (attribute, possible) in [
            (TpmaSession::DECRYPT, info.decrypts_parameter),
            (TpmaSession::ENCRYPT, info.encrypts_response),
        ] {
            if session.has(attribute) {
                if !possible || earlier.iter().any(|other| other.has(attribute)) {
                    return Err(Rc::ATTRIBUTES.at(at));
                }
                if loaded.symmetric.is_none() {
                    return Err(Rc::SYMMETRIC.at(at));
                }
            }
        }
        if session.has(TpmaSession::AUDIT) {
            if earlier.iter().any(|other| other.has(TpmaSession::AUDIT)) || loaded.is_policy() {
                return Err(Rc::ATTRIBUTES.at(at));
            }
            if !session.has(TpmaSession::AUDIT_RESET)
                && loaded.audit_digest.is_some()
                && session.has(TpmaSession::AUDIT_EXCLUSIVE)
                && self.sessions.exclusive_audit != Some(session.handle)
            {
                return Err(Rc::EXCLUSIVE);
            }
        }
        Ok(())
    }

    fn check_session(
        &mut self,
        info: &CommandInfo,
        index: usize,
        parameters: &[u8],
    ) -> Result<(), Rc> {
        let at = session_position(index);
        let Some(session) = self.running.sessions.get(index).cloned() else {
            return Err(Rc::AUTH_MISSING);
        };
        if session.is_password() {
            let Some(entity) = session.entity else {
                return Err(Rc::HANDLE.at(at));
            };
            return self
                .check_entity(info, index, &session, entity, parameters)
                .map_err(|rc| rc.at(at));
        }
        let loaded = self.loaded(session.handle)?;
        if loaded.is_trial() {
            return Err(Rc::ATTRIBUTES.at(at));
        }
        if loaded.is_da_bound {
            let lockout = loaded.is_lockout_bound;
            self.check_locked_out(lockout)?;
        }
        if session.has(TpmaSession::AUDIT) {
            let hash_alg = self.loaded(session.handle)?.auth_hash;
            self.running.session_cp_hash = Some(self.cp_hash(hash_alg, parameters));
        }
        let checked = match session.entity {
            Some(entity) => self.check_entity(info, index, &session, entity, parameters),
            None if session
                .attributes
                .intersects(TpmaSession::AUDIT | TpmaSession::ENCRYPT | TpmaSession::DECRYPT) =>
            {
                self.check_hmac(index, &session, parameters)
            }
            None => Err(Rc::ATTRIBUTES),
        };
        checked.map_err(|rc| rc.at(at))
    }

    /// A session of the running command.
    fn loaded(&self, handle: TpmHandle) -> Result<&Session, Rc> {
        self.sessions.get(handle).ok_or(Rc::HANDLE)
    }

    /// An audited command needs its cpHash later; what its audit changes must be storable (Part 1, 34.3).
    fn note_audit(&mut self, info: &CommandInfo, parameters: &[u8]) -> Result<(), Rc> {
        if self.command_audit.is_audited(info.code) {
            // A new digest moves the counter, and any voids what an orderly shutdown saved of it.
            if self.command_audit.digest.is_empty()
                || self.power.is_orderly()
                || info.code == commands::GetCommandAuditDigest::INFO.code
            {
                self.check_storage()?;
            }
            self.running.audit_cp_hash = Some(self.cp_hash(self.command_audit.hash, parameters));
        }
        Ok(())
    }

    fn decrypt_parameter(&self, parameters: &mut [u8]) -> Result<(), Rc> {
        let Some(index) = self.running.session_with(TpmaSession::DECRYPT) else {
            return Ok(());
        };
        let Some(session) = self.running.sessions.get(index) else {
            return Ok(());
        };
        let loaded = self.loaded(session.handle)?;
        let extra = session
            .entity
            .map_or(Tpm2bAuth::EMPTY, |entity| self.auth_value(entity));
        crypt_first_parameter(
            loaded,
            Direction::Decrypt,
            &session.nonce_caller,
            &loaded.nonce_tpm,
            &extra,
            parameters,
        )
        .map_err(|rc| rc.at(session_position(index)))
    }
}
