//! Sessions of a command: who authorizes, whether it holds, what is encrypted, what is audited (Part 1, 18 to 21; Part 3, 5.5 to 5.7).

use crate::algorithms::{hash, hmac, small};
use crate::parameter_encryption::{Direction, crypt_first_parameter};
use crate::pcr::Pcrs;
use crate::policy::{BoundDigest, PolicyState};
use crate::session::{Session, bound_entity};
use crate::state::Tpm;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use subtle::ConstantTimeEq;
use tpm_crypto::hash::Digest;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::{TpmaLocality, TpmaNv, TpmaObject, TpmaSession};
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bNonce};
use tpm_wire::codec::{Input, Marshal, Parse, response_code};
use tpm_wire::commands;
use tpm_wire::frame::TpmsAuthCommand;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::{Position, Rc};
use tpm_wire::table::{Command, CommandInfo, MAX_HANDLES, Role, flag};

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

    fn code(&self) -> u32 {
        self.info.map_or(0, |info| info.code)
    }

    fn session_with(&self, attribute: TpmaSession) -> Option<usize> {
        self.sessions
            .iter()
            .position(|session| session.has(attribute))
    }
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
                let entity = self.running.handles.get(index).copied();
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
        if loaded.kind == tpm_wire::constants::TpmSe::Trial {
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

    fn loaded(&self, handle: TpmHandle) -> Result<&Session, Rc> {
        self.sessions.get(handle).ok_or(Rc::HANDLE)
    }

    /// Checks the authorization of one entity (Part 3, 5.6).
    fn check_entity(
        &mut self,
        info: &CommandInfo,
        index: usize,
        session: &Authorizing,
        entity: TpmHandle,
        parameters: &[u8],
    ) -> Result<(), Rc> {
        if entity == TpmHandle::PLATFORM
            && self.needs_presence(info)
            && !self.platform.physical_presence()
        {
            return Err(Rc::PP);
        }
        let role = info
            .handles
            .get(index)
            .and_then(|handle| handle.role)
            .unwrap_or(Role::User);
        let by_policy = session.handle.kind() == Some(TpmHt::PolicySession);
        let include_auth = if session.is_password() {
            true
        } else {
            let loaded = self.loaded(session.handle)?;
            if by_policy {
                loaded.policy.auth_value_needed || loaded.policy.password_needed
            } else {
                !self.is_bound_to(loaded, entity)
            }
        };
        if let Some(running) = self.running.sessions.get_mut(index) {
            running.include_auth = include_auth;
        }
        if include_auth && !self.is_da_exempt(entity) {
            self.check_locked_out(entity == TpmHandle::LOCKOUT)?;
        }
        let mut by_password = session.is_password();
        if by_policy {
            if !self.is_policy_available(info, role, entity) {
                return Err(Rc::AUTH_UNAVAILABLE);
            }
            self.check_policy(info, role, session.handle, entity, parameters)?;
            by_password = self.loaded(session.handle)?.policy.password_needed;
        } else {
            if self.is_policy_required(role, entity) {
                return Err(Rc::AUTH_TYPE);
            }
            if !self.is_auth_value_available(info, role, entity) {
                return Err(Rc::AUTH_UNAVAILABLE);
            }
        }
        let checked = if by_password {
            let expected = self.auth_value(entity);
            if bool::from(session.hmac.without_trailing_zeros().ct_eq(&expected)) {
                Ok(())
            } else {
                self.failed(index)
            }
        } else {
            self.check_hmac(index, session, parameters)
        };
        if include_auth && entity.is_nv_index() {
            self.count_pin(entity, checked.is_ok())?;
        }
        checked
    }

    /// The counts of PIN Indices move with each authorization by their value (Part 1, 37.2.8).
    fn count_pin(&mut self, handle: TpmHandle, succeeded: bool) -> Result<(), Rc> {
        let index = self.nv.get(handle)?;
        let Some(pin) = index.pin() else {
            return Ok(());
        };
        let count = match (index.nv_type(), succeeded) {
            (TpmNt::PinFail, false) | (TpmNt::PinPass, true) => pin.pin_count.saturating_add(1),
            (TpmNt::PinFail, true) => 0,
            _ => return Ok(()),
        };
        if count != pin.pin_count {
            self.changes_permanent()?;
            self.nv.get_mut(handle)?.set_pin_count(count);
        }
        Ok(())
    }

    fn needs_presence(&self, info: &CommandInfo) -> bool {
        info.flags.contains(flag::presence_required)
            || self
                .management
                .presence_commands
                .binary_search(&info.code)
                .is_ok()
    }

    fn is_bound_to(&self, session: &Session, entity: TpmHandle) -> bool {
        session.bound_entity.as_ref().is_some_and(|bound| {
            *bound == bound_entity(&self.entity_name(entity), &self.auth_value(entity))
        })
    }

    /// Whether failures to authorize an entity do not count (Part 1, 19.8.2).
    pub(crate) fn is_da_exempt(&self, handle: TpmHandle) -> bool {
        match handle.kind() {
            Some(TpmHt::Permanent) => handle != TpmHandle::LOCKOUT,
            Some(TpmHt::Transient | TpmHt::Persistent) => self
                .objects
                .find(handle)
                .is_none_or(|object| object.public.has(TpmaObject::NO_DA)),
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => self
                .nv
                .get(handle)
                .map_or(true, |index| index.attributes().contains(TpmaNv::NO_DA)),
            _ => true,
        }
    }

    /// Refuses while locked out. The first use of a protected value is noted, so that pulling the plug counts as a failure.
    fn check_locked_out(&mut self, lockout_authority: bool) -> Result<(), Rc> {
        let now = self.clock.time;
        if self.dictionary_attack.heal(now) {
            self.changes_permanent()?;
        }
        self.dictionary_attack.check(lockout_authority)?;
        if !lockout_authority && !self.dictionary_attack.used {
            self.changes_permanent()?;
            self.dictionary_attack.used = true;
            self.void_orderly()?;
        }
        Ok(())
    }

    /// An authorization value was wrong (Part 1, 19.8.5).
    fn failed(&mut self, index: usize) -> Result<(), Rc> {
        let Some(session) = self.running.sessions.get(index) else {
            return Err(Rc::BAD_AUTH);
        };
        let mut entity = session.entity.unwrap_or(TpmHandle::NULL);
        if session.is_password() {
            if self.is_da_exempt(entity) {
                return Err(Rc::BAD_AUTH);
            }
        } else {
            let include_auth = session.include_auth;
            let loaded = self.loaded(session.handle)?;
            let da_bound = loaded.is_da_bound;
            if loaded.is_lockout_bound {
                entity = TpmHandle::LOCKOUT;
            }
            if !da_bound && (self.is_da_exempt(entity) || !include_auth) {
                return Err(Rc::BAD_AUTH);
            }
        }
        let now = self.clock.time;
        if self
            .dictionary_attack
            .register_failure(entity == TpmHandle::LOCKOUT, now)
        {
            self.changes_permanent()?;
        }
        Err(Rc::AUTH_FAIL)
    }

    /// Whether the role can be had by policy alone (Part 1, 19.2).
    fn is_policy_required(&self, role: Role, entity: TpmHandle) -> bool {
        match role {
            Role::Dup => true,
            Role::Admin => match self.objects.find(entity) {
                Some(object) => object.public.has(TpmaObject::ADMIN_WITH_POLICY),
                None => true,
            },
            Role::User => {
                entity.kind() == Some(TpmHt::Pcr)
                    && Pcrs::has_policy(entity.index())
                    && self.pcrs.policy.hash.is_some()
            }
        }
    }

    fn is_auth_value_available(&self, info: &CommandInfo, role: Role, entity: TpmHandle) -> bool {
        match entity.kind() {
            Some(TpmHt::Permanent) => !self.is_act(entity) || self.hierarchies.platform_enabled,
            Some(TpmHt::Pcr) => true,
            Some(TpmHt::Transient | TpmHt::Persistent) => match self.objects.find(entity) {
                None => true,
                Some(object) => {
                    object.sensitive.is_some()
                        && (object.public.has(TpmaObject::USER_WITH_AUTH)
                            || role == Role::Admin
                                && !object.public.has(TpmaObject::ADMIN_WITH_POLICY))
                }
            },
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => self.nv.get(entity).is_ok_and(|index| {
                let attributes = index.attributes();
                if is_nv_write(info.code) {
                    attributes.contains(TpmaNv::AUTHWRITE)
                } else if matches!(index.nv_type(), TpmNt::PinFail | TpmNt::PinPass) {
                    index.pin().is_some_and(|pin| pin.pin_count < pin.pin_limit)
                } else {
                    attributes.contains(TpmaNv::AUTHREAD)
                }
            }),
            _ => false,
        }
    }

    fn is_policy_available(&self, info: &CommandInfo, role: Role, entity: TpmHandle) -> bool {
        match entity.kind() {
            Some(TpmHt::Permanent) => !self.auth_policy(entity).digest.is_empty(),
            Some(TpmHt::Transient | TpmHt::Persistent) => self
                .objects
                .find(entity)
                .is_some_and(|object| object.sensitive.is_some()),
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => self.nv.get(entity).is_ok_and(|index| {
                let wanted = if is_nv_write(info.code) {
                    TpmaNv::POLICYWRITE
                } else {
                    TpmaNv::POLICYREAD
                };
                !index.auth_policy().is_empty()
                    && (self.is_policy_required(role, entity)
                        || index.attributes().contains(wanted))
            }),
            Some(TpmHt::Pcr) => Pcrs::has_policy(entity.index()),
            _ => false,
        }
    }

    /// Whether a policy session authorizes the command for the entity (Part 1, 19.7.5).
    fn check_policy(
        &self,
        info: &CommandInfo,
        role: Role,
        session: TpmHandle,
        entity: TpmHandle,
        parameters: &[u8],
    ) -> Result<(), Rc> {
        let session = self.loaded(session)?;
        let policy = &session.policy;
        if info.code == commands::PolicySecret::INFO.code
            && !policy.password_needed
            && !policy.auth_value_needed
        {
            return Err(Rc::MODE);
        }
        if policy
            .pcr_counter
            .is_some_and(|counter| counter != self.pcrs.update_counter)
        {
            return Err(Rc::PCR_CHANGED);
        }
        let expected = self.auth_policy(entity);
        if !bool::from(policy.digest.ct_eq(&expected.digest))
            || expected.hash != Some(session.auth_hash)
        {
            return Err(Rc::POLICY_FAIL);
        }
        if policy.timeout != 0
            && (policy.timeout < self.clock.time || policy.epoch != self.clock.epoch)
        {
            return Err(Rc::EXPIRED);
        }
        match policy.command_code {
            Some(code) if code != info.code => return Err(Rc::POLICY_CC),
            None if role != Role::User => return Err(Rc::POLICY_FAIL),
            _ => {}
        }
        if let Some(allowed) = policy.locality
            && !locality_matches(allowed, self.platform.locality())
        {
            return Err(Rc::LOCALITY);
        }
        if policy.presence_required && !self.platform.physical_presence() {
            return Err(Rc::PP);
        }
        if !self.bound_digest_matches(info, session, parameters) {
            return Err(Rc::POLICY_FAIL);
        }
        if let Some(written) = policy.nv_written {
            let index = if entity.is_nv_index() {
                self.nv.get(entity).ok()
            } else {
                None
            };
            if index.is_none_or(|index| index.is_written() != written) {
                return Err(Rc::POLICY_FAIL);
            }
        }
        // No secure channel reaches this TPM.
        if policy.secure_channel.is_some() {
            Err(Rc::CHANNEL)
        } else {
            Ok(())
        }
    }

    fn bound_digest_matches(
        &self,
        info: &CommandInfo,
        session: &Session,
        parameters: &[u8],
    ) -> bool {
        let hash_alg = session.auth_hash;
        match &session.policy.bound {
            BoundDigest::None => true,
            BoundDigest::CpHash(expected) => **expected == *self.cp_hash(hash_alg, parameters),
            BoundDigest::NameHash(expected) => {
                let names: Vec<_> = self
                    .running
                    .handles
                    .iter()
                    .map(|handle| self.entity_name(*handle))
                    .collect();
                let parts: ArrayVec<&[u8], MAX_HANDLES> =
                    names.iter().map(|name| &**name).collect();
                **expected == *hash(hash_alg, &parts)
            }
            BoundDigest::Parameters(expected) => {
                **expected == *hash(hash_alg, &[&info.code.to_be_bytes(), parameters])
            }
            BoundDigest::Template(expected) => {
                let creates = matches!(
                    info.code,
                    code if code == commands::Create::INFO.code
                        || code == commands::CreatePrimary::INFO.code
                        || code == commands::CreateLoaded::INFO.code
                );
                creates
                    && second_buffer(parameters)
                        .is_some_and(|template| **expected == *hash(hash_alg, &[template]))
            }
        }
    }

    /// cpHash: over the command code, the Names of the handles and the parameters (Part 1, 18.7).
    fn cp_hash(&self, hash_alg: TpmiAlgHash, parameters: &[u8]) -> Digest {
        let mut hasher = tpm_crypto::hash::Hasher::new(crate::algorithms::hash_algorithm(hash_alg));
        hasher.update(&self.running.code().to_be_bytes());
        for handle in &self.running.handles {
            hasher.update(&self.entity_name(*handle));
        }
        hasher.update(parameters);
        hasher.finish()
    }

    /// The HMAC key of a session: session key, then the entity's authorization value where it is included.
    fn hmac_key(&self, session: &Authorizing) -> Result<zeroize::Zeroizing<Vec<u8>>, Rc> {
        let mut key = zeroize::Zeroizing::new(Vec::with_capacity(128));
        key.extend_from_slice(&self.loaded(session.handle)?.key);
        if let (true, Some(entity)) = (session.include_auth, session.entity) {
            key.extend_from_slice(&self.auth_value(entity));
        }
        Ok(key)
    }

    /// Checks the HMAC of a session over the command (Part 1, 19.6.5).
    fn check_hmac(
        &mut self,
        index: usize,
        session: &Authorizing,
        parameters: &[u8],
    ) -> Result<(), Rc> {
        let session = self
            .running
            .sessions
            .get(index)
            .cloned()
            .unwrap_or_else(|| session.clone());
        let key = self.hmac_key(&session)?;
        if key.is_empty() && session.hmac.is_empty() {
            return Ok(());
        }
        let loaded = self.loaded(session.handle)?;
        let cp_hash = self.cp_hash(loaded.auth_hash, parameters);
        let (mut nonce_decrypt, mut nonce_encrypt) = (Tpm2bNonce::EMPTY, Tpm2bNonce::EMPTY);
        // The nonces of separate encryption sessions bind them to the first authorization, so that they cannot be taken off.
        if index == 0 && session.entity.is_some() {
            let decrypt = self.running.session_with(TpmaSession::DECRYPT);
            let encrypt = self.running.session_with(TpmaSession::ENCRYPT);
            let nonce_of = |other: usize| {
                let handle = self.running.sessions.get(other).map(|other| other.handle);
                handle
                    .and_then(|handle| self.sessions.get(handle))
                    .map(|other| other.nonce_tpm.clone())
                    .unwrap_or_default()
            };
            if let Some(other) = decrypt.filter(|other| *other != 0) {
                nonce_decrypt = nonce_of(other);
            }
            if let Some(other) = encrypt.filter(|other| *other != 0 && encrypt != decrypt) {
                nonce_encrypt = nonce_of(other);
            }
        }
        let parts: [&[u8]; 6] = [
            &cp_hash,
            &session.nonce_caller,
            &loaded.nonce_tpm,
            &nonce_decrypt,
            &nonce_encrypt,
            &[session.attributes.0],
        ];
        let expected = hmac(loaded.auth_hash, &key, &parts);
        if bool::from(session.hmac.ct_eq(&expected)) {
            Ok(())
        } else {
            self.failed(index)
        }
    }

    /// An audited command needs its cpHash later; a new audit digest is a change that must be stored.
    fn note_audit(&mut self, info: &CommandInfo, parameters: &[u8]) -> Result<(), Rc> {
        if self.command_audit.is_audited(info.code) {
            if self.command_audit.digest.is_empty() {
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
            )?;
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
        if !by_password && !(key.is_empty() && session.hmac.is_empty()) {
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
        if self.command_audit.digest.is_empty() {
            self.changes_permanent()?;
            self.command_audit.counter += 1;
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

/// The second sized buffer of a parameter area: the template of the commands that create.
fn second_buffer(parameters: &[u8]) -> Option<&[u8]> {
    let (size, rest) = parameters.split_first_chunk::<2>()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*size))..)?;
    let (size, rest) = rest.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*size)))
}

fn locality_matches(allowed: TpmaLocality, locality: u8) -> bool {
    match locality {
        0..=4 => allowed.0 < 32 && allowed.0 & (1 << locality) != 0,
        32.. => allowed.0 == locality,
        _ => false,
    }
}

/// Whether a command writes an NV Index, so that the write attributes decide who may (Part 2, 13.4).
fn is_nv_write(code: u32) -> bool {
    [
        commands::NvWrite::INFO.code,
        commands::NvIncrement::INFO.code,
        commands::NvSetBits::INFO.code,
        commands::NvExtend::INFO.code,
        commands::NvWriteLock::INFO.code,
        // An object is sent by the authority that may write the Index (Part 3, 32.3).
        commands::AcSend::INFO.code,
    ]
    .contains(&code)
}
