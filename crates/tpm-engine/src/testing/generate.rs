//! One generated command: from the row of the table, from one that succeeded before, or made so that its values match.

use super::choices::{Choices, mutated};
use super::fields::{ROWS, Row};
use super::send::Parts;
use super::sequence::Runner;
use super::{Auth, encode_parts};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::codec::Input;
use tpm_wire::commands;
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::table::{Command, Role};

/// Commands after which little else succeeds; fewer of them are sent.
pub(super) const LEAVING_LITTLE: [u32; 7] = [
    commands::ReadOnlyControl::INFO.code,
    commands::HierarchyControl::INFO.code,
    commands::HierarchyChangeAuth::INFO.code,
    commands::Clear::INFO.code,
    commands::ChangePps::INFO.code,
    commands::ChangeEps::INFO.code,
    commands::Shutdown::INFO.code,
];

/// Commands that may make an RSA key anew.
const CREATING: [u32; 3] = [
    commands::Create::INFO.code,
    commands::CreatePrimary::INFO.code,
    commands::CreateLoaded::INFO.code,
];

/// The value of an RSA template, whose key takes long to make.
fn is_slow(class: &str, value: &[u8]) -> bool {
    class == "Tpm2bPublic" && value.get(2..4) == Some(&[0, 1])
}

impl Runner {
    pub(super) fn generate(&mut self, choices: &mut Choices<'_>) {
        let Some(row) = choices.of(ROWS) else { return };
        if LEAVING_LITTLE.contains(&row.info.code) && !choices.one_in(4) {
            return;
        }
        if row.info.code == commands::PpCommands::INFO.code && !choices.one_in(4) {
            let script = &self.tpm.script;
            script.presence.store(true, Ordering::Relaxed);
        }
        let parts = match choices.below(8) {
            0..3 => self.of_row(choices, row),
            3 => self
                .matching(choices, row)
                .or_else(|| self.as_before(choices, row)),
            _ => self.as_before(choices, row),
        };
        let parts = match parts {
            Some(parts) => Some(parts),
            None => self.of_row(choices, row),
        };
        let Some((handles, values)) = parts else {
            return;
        };
        let auths = self.authorizations(choices, row, &handles);
        if !choices.one_in(32) {
            self.send_parts(Parts {
                row,
                handles,
                values,
                auths,
            });
            return;
        }
        let bytes = encode_parts(row.info.code, &handles, &auths, &values.concat());
        let mut bytes = mutated(choices, &bytes);
        if choices.one_in(2) {
            let size = u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
            if let Some(place) = bytes.get_mut(2..6) {
                place.copy_from_slice(&size);
            }
        }
        self.send(row, &bytes);
    }

    /// A command that succeeded once, with few changes.
    fn as_before(
        &mut self,
        choices: &mut Choices<'_>,
        row: &'static Row,
    ) -> Option<(Vec<TpmHandle>, Vec<Vec<u8>>)> {
        let mut example = self.known.pool.example(choices, row.info.code)?;
        let limits = self.tpm.profile().limits.clone();
        for (field, handle) in row.info.handles.iter().zip(&mut example.handles) {
            let accepts = |bytes: &[u8]| (field.parse)(Input::new(bytes, &limits)).is_ok();
            let is_gone = match handle.kind() {
                Some(TpmHt::HmacSession | TpmHt::PolicySession) => {
                    self.tpm.sessions.get(*handle).is_none()
                }
                Some(TpmHt::Transient) => !self.tpm.objects.is_loaded(*handle),
                _ => false,
            };
            if is_gone || choices.one_in(16) {
                let other = self.known.pool.handle(choices, true, accepts);
                *handle = other.unwrap_or(*handle);
            }
        }
        if choices.one_in(2) {
            for _ in 0..=choices.below(2) {
                let place = choices.below(row.parameters.len());
                if let (Some(field), Some(value)) =
                    (row.parameters.get(place), example.values.get_mut(place))
                {
                    *value = match choices.below(4) {
                        0 => self.known.pool.value(choices, false, field),
                        1 => mutated(choices, value),
                        _ => (0..4)
                            .map(|_| mutated(choices, value))
                            .find(|bytes| field.accepts(bytes))
                            .unwrap_or_else(|| value.clone()),
                    };
                }
            }
        }
        let slow = CREATING.contains(&row.info.code)
            && (row.parameters.iter().zip(&example.values))
                .any(|(field, value)| is_slow(field.class(), value));
        (!slow || choices.one_in(16)).then_some((example.handles, example.values))
    }

    fn of_row(
        &mut self,
        choices: &mut Choices<'_>,
        row: &'static Row,
    ) -> Option<(Vec<TpmHandle>, Vec<Vec<u8>>)> {
        let limits = self.tpm.profile().limits.clone();
        let pool = &self.known.pool;
        // Values that were given back together often belong together.
        let latest = choices.one_in(2);
        let mut handles: Vec<TpmHandle> = Vec::new();
        for field in row.info.handles {
            let accepts = |bytes: &[u8]| (field.parse)(Input::new(bytes, &limits)).is_ok();
            let same = handles
                .last()
                .copied()
                .filter(|last| accepts(&last.0.to_be_bytes()) && choices.one_in(2));
            let handle = if same.is_some() {
                same
            } else if choices.one_in(64) {
                choices.of(&pool.handles).copied()
            } else {
                pool.handle(choices, latest, accepts)
            };
            handles.push(handle.unwrap_or(TpmHandle::NULL));
        }
        let mut values: Vec<Vec<u8>> = Vec::new();
        for field in row.parameters {
            let mut value = pool.value(choices, latest, field);
            if CREATING.contains(&row.info.code) {
                for _ in 0..4 {
                    if is_slow(field.class(), &value) && !choices.one_in(64) {
                        value = pool.value(choices, latest, field);
                    }
                }
                if is_slow(field.class(), &value) && !choices.one_in(16) {
                    return None;
                }
            }
            values.push(value);
        }
        Some((handles, values))
    }

    /// A session of a kind that is loaded; a new one if there is none.
    fn session(&mut self, choices: &mut Choices<'_>, kind: TpmHt) -> TpmHandle {
        let loaded: Vec<TpmHandle> = (self.known.sessions.keys().copied())
            .filter(|handle| handle.kind() == Some(kind))
            .filter(|handle| {
                let session = self.tpm.sessions.get(*handle);
                session.is_some_and(|session| !session.is_trial())
            })
            .collect();
        if let Some(session) = choices.of(&loaded) {
            return *session;
        }
        let session_type = if kind == TpmHt::HmacSession {
            TpmSe::Hmac
        } else {
            TpmSe::Policy
        };
        let symmetric = choices.of(&super::prelude::SYMMETRIC).copied().flatten();
        self.start_session(session_type, symmetric, TpmHandle::NULL, TpmHandle::NULL)
            .unwrap_or(TpmHandle::PASSWORD)
    }

    /// The policy session of the start, or another if that is gone.
    pub(super) fn policy_session(&mut self) -> TpmHandle {
        let known = self.known.policy_session.filter(|handle| {
            handle.kind() == Some(TpmHt::PolicySession)
                && (self.tpm.sessions.get(*handle)).is_some_and(|session| !session.is_trial())
        });
        if let Some(session) = known {
            return session;
        }
        let null = TpmHandle::NULL;
        let symmetric = super::prelude::SYMMETRIC.first().copied().flatten();
        let started = self.start_session(TpmSe::Policy, symmetric, null, null);
        self.known.policy_session = started;
        started.unwrap_or(TpmHandle::PASSWORD)
    }

    /// What a session does beside authorizing: what the command allows, mostly.
    fn attributes(choices: &mut Choices<'_>, row: &Row, taken: &[Auth]) -> TpmaSession {
        let choice = choices.byte();
        if choice & 0x0F == 0x0F {
            return TpmaSession(choices.byte() & 0xE7);
        }
        let mut attributes = TpmaSession::NONE;
        let free = |attribute| !taken.iter().any(|auth| auth.attributes.contains(attribute));
        for (bit, attribute, possible) in [
            (1, TpmaSession::DECRYPT, row.info.decrypts_parameter),
            (2, TpmaSession::ENCRYPT, row.info.encrypts_response),
            (4, TpmaSession::AUDIT, true),
        ] {
            if choice & bit != 0 && possible && free(attribute) {
                attributes = attributes.with(attribute);
            }
        }
        attributes.set(TpmaSession::CONTINUE_SESSION, choice >> 4 != 0)
    }

    fn authorizations(
        &mut self,
        choices: &mut Choices<'_>,
        row: &'static Row,
        handles: &[TpmHandle],
    ) -> Vec<Auth> {
        let mut auths: Vec<Auth> = Vec::new();
        if choices.one_in(64) {
            return auths;
        }
        for (field, handle) in row.info.handles.iter().zip(handles) {
            let Some(role) = field.role else { continue };
            let how = choices.below(32);
            let auth = match (role, how) {
                (Role::User, 0..16) | (Role::Admin, 0..4) => self.password(*handle),
                (Role::User, 16) => Auth::password(b"secret"),
                (Role::User, 17) => {
                    let sessions = &self.known.pool;
                    let any = sessions
                        .handle(choices, true, |bytes| matches!(bytes.first(), Some(2 | 3)));
                    Auth::session(any.unwrap_or(TpmHandle::PASSWORD))
                }
                (Role::User, 18..27) | (Role::Admin, 4..6) => {
                    let session = self.session(choices, TpmHt::HmacSession);
                    let mut auth = Auth::session(session);
                    auth.attributes = Self::attributes(choices, row, &auths);
                    auth
                }
                _ => {
                    let session = if choices.one_in(2) {
                        self.policy_session()
                    } else {
                        self.session(choices, TpmHt::PolicySession)
                    };
                    match how & 7 {
                        0 => {}
                        1..4 => self.satisfy_approved(choices, session, row.info.code),
                        _ => self.satisfy_policy(session, row.info.code),
                    }
                    let mut auth = Auth::session(session);
                    if choices.one_in(4) {
                        auth.attributes =
                            Self::attributes(choices, row, &auths).without(TpmaSession::AUDIT);
                    }
                    auth
                }
            };
            auths.push(auth);
        }
        if choices.one_in(4) && auths.len() < 3 {
            let session = self.session(choices, TpmHt::HmacSession);
            let mut auth = Auth::session(session);
            auth.attributes = Self::attributes(choices, row, &auths);
            auths.push(auth);
        }
        auths
    }
}
