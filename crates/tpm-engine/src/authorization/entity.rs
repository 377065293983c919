//! The authorization of one entity (Part 3, 5.6; Part 1, 19).

use super::{Authorizing, Tpm};
use crate::pcr::Pcrs;
use crate::session::{Session, bound_entity};
use subtle::ConstantTimeEq;
use tpm_wire::attributes::{TpmaNv, TpmaObject};
use tpm_wire::commands;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, CommandInfo, Role, flag};

impl Tpm {
    /// Checks the authorization of one entity (Part 3, 5.6).
    pub(super) fn check_entity(
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
        // The count of a PIN must be able to move before its value is compared, or the answer alone would tell.
        let counts = include_auth && self.is_pin(entity);
        if counts {
            self.check_storage()?;
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
        if counts {
            self.count_pin(entity, checked.is_ok())?;
        }
        checked
    }

    fn is_pin(&self, entity: TpmHandle) -> bool {
        entity.is_nv_index() && self.nv.get(entity).is_ok_and(|index| index.pin().is_some())
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
            let present = bound_entity(&self.entity_name(entity), &self.auth_value(entity));
            bool::from(bound.ct_eq(&present))
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
    pub(super) fn check_locked_out(&mut self, lockout_authority: bool) -> Result<(), Rc> {
        // A failure that cannot be stored would be a try for nothing.
        self.check_storage()?;
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
    pub(super) fn failed(&mut self, index: usize) -> Result<(), Rc> {
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
                // A sequence has no policy; NV Indices and permanent entities are administered by policy alone.
                None => entity.kind() != Some(TpmHt::Transient),
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
