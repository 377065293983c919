//! Sessions: HMAC, policy and trial, loaded or saved (Part 1, 17 and 30).

use crate::algorithms::{hash, small};
use crate::policy::PolicyState;
use crate::state_format::{Group, Section};
use alloc::boxed::Box;
use alloc::vec::Vec;
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSymDef};
use tpm_wire::buffers::{Small, Tpm2bDigest, Tpm2bNonce};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse, take};
use tpm_wire::constants::{TpmSe, TpmSeId};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::Rc;

/// Bytes of what a session knows of its bind entity.
const BOUND_SIZE: usize = 32;

/// What a session knows of its bind entity.
pub(crate) type BoundEntity = Small<BOUND_SIZE, true>;

/// One session that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// HMAC, policy or trial.
    pub(crate) kind: TpmSe,
    /// The hash of the session.
    pub(crate) auth_hash: TpmiAlgHash,
    /// How it encrypts parameters.
    pub(crate) symmetric: Option<TpmtSymDef>,
    /// The session key; empty if neither bound nor salted.
    pub(crate) key: Small<64, true>,
    /// The TPM's last nonce.
    pub(crate) nonce_tpm: Tpm2bNonce,
    /// What the session is bound to: Name and authorization value mixed, so that a change of either unbinds it.
    pub(crate) bound_entity: Option<BoundEntity>,
    /// The bind entity was subject to dictionary-attack protection.
    pub(crate) is_da_bound: bool,
    /// The bind entity was the lockout authority.
    pub(crate) is_lockout_bound: bool,
    /// The audit digest, once the session is an audit session.
    pub(crate) audit_digest: Option<Tpm2bDigest>,
    /// What a policy session has accumulated.
    pub(crate) policy: PolicyState,
}

impl Session {
    /// Whether the session is a policy or a trial session.
    pub(crate) const fn is_policy(&self) -> bool {
        matches!(self.kind, TpmSe::Policy | TpmSe::Trial)
    }
}

/// What a session handle stands for.
#[derive(Clone, Debug)]
enum Slot {
    Free,
    Loaded(Box<Session>),
    Saved(u64),
}

/// All sessions, by the low bits of their handle.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    slots: Vec<Slot>,
    most_loaded: usize,
    /// The number that the next saved context gets; it never falls until a TPM Reset.
    pub(crate) context_counter: u64,
    /// The session that is exclusive for audit.
    pub(crate) exclusive_audit: Option<TpmHandle>,
}

/// The greatest distance between the oldest saved session and the newest (`TPM_PT_CONTEXT_GAP_MAX`).
pub(crate) const CONTEXT_GAP_MAX: u64 = 0xFFFF;

impl Sessions {
    pub(crate) fn new(active: u32, loaded: u32) -> Self {
        let active = usize::try_from(active).unwrap_or(64);
        Self {
            slots: alloc::vec![Slot::Free; active],
            most_loaded: usize::try_from(loaded).unwrap_or(3),
            context_counter: 1,
            exclusive_audit: None,
        }
    }

    fn index(handle: TpmHandle) -> usize {
        usize::try_from(handle.index()).unwrap_or(usize::MAX)
    }

    /// The loaded session behind a handle; its kind must be that of the handle.
    pub(crate) fn get(&self, handle: TpmHandle) -> Option<&Session> {
        match self.slots.get(Self::index(handle)) {
            Some(Slot::Loaded(session)) if handle.is_session() => Some(session),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, handle: TpmHandle) -> Option<&mut Session> {
        match self.slots.get_mut(Self::index(handle)) {
            Some(Slot::Loaded(session)) if handle.is_session() => Some(session),
            _ => None,
        }
    }

    /// A policy or trial session that entity checks found loaded.
    ///
    /// # Errors
    /// `TPM_RC_HANDLE` if it is not.
    pub(crate) fn policy(&mut self, handle: impl Into<TpmHandle>) -> Result<&mut Session, Rc> {
        self.get_mut(handle.into())
            .filter(|session| session.is_policy())
            .ok_or(Rc::HANDLE)
    }

    /// Whether the handle is that of a saved session.
    pub(crate) fn is_saved(&self, handle: TpmHandle) -> bool {
        matches!(self.slots.get(Self::index(handle)), Some(Slot::Saved(_)))
    }

    /// Loaded sessions that still fit.
    pub(crate) fn loadable(&self) -> usize {
        self.most_loaded.saturating_sub(self.loaded().count())
    }

    /// Session handles that are still free.
    pub(crate) fn free_handles(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| matches!(slot, Slot::Free))
            .count()
    }

    /// Sessions that have a handle, loaded or saved.
    pub(crate) fn active(&self) -> usize {
        self.slots.len().saturating_sub(self.free_handles())
    }

    fn indexed(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0u32..).zip(&self.slots)
    }

    /// Handles of the loaded sessions, ascending by index.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = TpmHandle> + '_ {
        self.indexed().filter_map(|(index, slot)| match slot {
            Slot::Loaded(session) if session.is_policy() => {
                Some(TpmHt::PolicySession.handle(index))
            }
            Slot::Loaded(_) => Some(TpmHt::HmacSession.handle(index)),
            _ => None,
        })
    }

    /// Handles of the saved sessions as `TPM_CAP_HANDLES` gives them, ascending by index.
    pub(crate) fn saved(&self) -> impl Iterator<Item = TpmHandle> + '_ {
        self.indexed()
            .filter(|(_, slot)| matches!(slot, Slot::Saved(_)))
            .map(|(index, _)| TpmHt::HmacSession.handle(index))
    }

    fn oldest_saved(&self) -> Option<u64> {
        self.slots
            .iter()
            .filter_map(|slot| {
                if let Slot::Saved(id) = slot {
                    Some(*id)
                } else {
                    None
                }
            })
            .min()
    }

    fn gap_is_full(&self) -> bool {
        self.oldest_saved()
            .is_some_and(|oldest| self.context_counter.saturating_sub(oldest) > CONTEXT_GAP_MAX)
    }

    /// Takes a new session in.
    ///
    /// # Errors
    /// `TPM_RC_SESSION_MEMORY`, `TPM_RC_CONTEXT_GAP` or `TPM_RC_SESSION_HANDLES`.
    pub(crate) fn insert(&mut self, session: Session) -> Result<TpmHandle, Rc> {
        let free = self.loadable();
        if free == 0 {
            return Err(Rc::SESSION_MEMORY);
        }
        if free == 1 && self.gap_is_full() {
            return Err(Rc::CONTEXT_GAP);
        }
        let kind = if session.is_policy() {
            TpmHt::PolicySession
        } else {
            TpmHt::HmacSession
        };
        let (index, slot) = (0u32..)
            .zip(&mut self.slots)
            .find(|(_, slot)| matches!(slot, Slot::Free))
            .ok_or(Rc::SESSION_HANDLES)?;
        *slot = Slot::Loaded(Box::new(session));
        Ok(kind.handle(index))
    }

    /// Whether a new session would be taken in, without changing anything.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub(crate) fn check_room(&self) -> Result<(), Rc> {
        match self.loadable() {
            0 => Err(Rc::SESSION_MEMORY),
            1 if self.gap_is_full() => Err(Rc::CONTEXT_GAP),
            _ if self.free_handles() == 0 => Err(Rc::SESSION_HANDLES),
            _ => Ok(()),
        }
    }

    /// Takes a loaded session out for saving and returns it with its context id.
    ///
    /// # Errors
    /// `TPM_RC_CONTEXT_GAP`, `TPM_RC_TOO_MANY_CONTEXTS`, or `TPM_RC_HANDLE` if it is not loaded.
    pub(crate) fn save(&mut self, handle: TpmHandle) -> Result<(Session, u64), Rc> {
        if self.gap_is_full() {
            return Err(Rc::CONTEXT_GAP);
        }
        let id = self.context_counter;
        let next = id.checked_add(1).ok_or(Rc::TOO_MANY_CONTEXTS)?;
        let slot = self.slots.get_mut(Self::index(handle)).ok_or(Rc::HANDLE)?;
        if !matches!(slot, Slot::Loaded(_)) {
            return Err(Rc::HANDLE);
        }
        match core::mem::replace(slot, Slot::Saved(id)) {
            Slot::Loaded(session) => {
                self.context_counter = next;
                Ok((*session, id))
            }
            _ => Err(Rc::HANDLE),
        }
    }

    /// Whether a context with this id is the one that was saved last for the handle.
    pub(crate) fn is_current(&self, handle: TpmHandle, id: u64) -> bool {
        matches!(self.slots.get(Self::index(handle)), Some(Slot::Saved(saved)) if *saved == id)
    }

    /// Puts a saved session back.
    ///
    /// # Errors
    /// `TPM_RC_SESSION_MEMORY`, or `TPM_RC_CONTEXT_GAP` if only the oldest could be loaded and this is not it.
    pub(crate) fn load(&mut self, handle: TpmHandle, session: Session) -> Result<(), Rc> {
        let free = self.loadable();
        if free == 0 {
            return Err(Rc::SESSION_MEMORY);
        }
        let oldest = self.oldest_saved();
        let gap_is_full = self.gap_is_full();
        match self.slots.get_mut(Self::index(handle)) {
            Some(Slot::Saved(id)) if free == 1 && gap_is_full && oldest != Some(*id) => {
                Err(Rc::CONTEXT_GAP)
            }
            Some(slot @ Slot::Saved(_)) => {
                *slot = Slot::Loaded(Box::new(session));
                Ok(())
            }
            _ => Err(Rc::HANDLE),
        }
    }

    /// Removes a session, loaded or saved. A handle that is free stays free.
    pub(crate) fn flush(&mut self, handle: TpmHandle) {
        if let Some(slot) = self.slots.get_mut(Self::index(handle)) {
            *slot = Slot::Free;
        }
        if self.exclusive_audit == Some(handle) {
            self.exclusive_audit = None;
        }
    }

    /// Power was lost: loaded sessions are gone; saved ones too after a TPM Reset.
    pub(crate) fn startup(&mut self, keep_saved: bool) {
        for slot in &mut self.slots {
            if !keep_saved || matches!(slot, Slot::Loaded(_)) {
                *slot = Slot::Free;
            }
        }
        if !keep_saved {
            self.context_counter = 1;
        }
        self.exclusive_audit = None;
    }
}

/// Bits of the first byte of a session's bytes, above those of its kind.
mod flag {
    pub(super) const KIND: u8 = 0x03;
    pub(super) const DA_BOUND: u8 = 0x04;
    pub(super) const LOCKOUT_BOUND: u8 = 0x08;
    pub(super) const BOUND: u8 = 0x10;
    pub(super) const AUDIT: u8 = 0x20;
    pub(super) const KEY: u8 = 0x40;
}

/// The bytes of a session: in the state, and in a saved context, which must not be longer than the profile says. Hence
/// only what the session has is written.
impl Marshal for Session {
    fn marshal(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.is_da_bound, flag::DA_BOUND),
            (self.is_lockout_bound, flag::LOCKOUT_BOUND),
            (self.bound_entity.is_some(), flag::BOUND),
            (self.audit_digest.is_some(), flag::AUDIT),
            (!self.key.is_empty(), flag::KEY),
        ];
        flags
            .iter()
            .filter(|(set, _)| *set)
            .fold(self.kind.id().0, |bits, (_, flag)| bits | flag)
            .marshal(out);
        self.auth_hash.marshal(out);
        self.symmetric.marshal(out);
        // A session key is as long as a digest.
        out.extend_from_slice(&self.key);
        self.nonce_tpm.marshal(out);
        if let Some(bound) = &self.bound_entity {
            out.extend_from_slice(bound);
        }
        if let Some(audit) = &self.audit_digest {
            out.extend_from_slice(audit);
        }
        if self.is_policy() {
            self.policy.marshal(out);
        }
    }
}

impl Parse for Session {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, flags) = u8::parse(input)?;
        let has = |flag| flags & flag != 0;
        let Some(kind) = TpmSe::from_id(TpmSeId(flags & flag::KIND)) else {
            return refuse(Rc::VALUE);
        };
        let (rest, auth_hash) = TpmiAlgHash::parse(rest)?;
        let digest_size = auth_hash.digest_size();
        let (rest, symmetric) = Option::parse(rest)?;
        let optional = |rest, flag, size| take(rest, if has(flag) { size } else { 0 });
        let (rest, key) = optional(rest, flag::KEY, digest_size)?;
        let (rest, nonce_tpm) = Tpm2bNonce::parse(rest)?;
        let (rest, bound) = optional(rest, flag::BOUND, BOUND_SIZE)?;
        let (rest, audit) = optional(rest, flag::AUDIT, digest_size)?;
        let is_policy = matches!(kind, TpmSe::Policy | TpmSe::Trial);
        let (rest, policy) = if is_policy {
            PolicyState::parse(rest)?
        } else {
            (rest, PolicyState::default())
        };
        let session = Self {
            kind,
            auth_hash,
            symmetric,
            key: small(key),
            nonce_tpm,
            bound_entity: has(flag::BOUND).then(|| small(bound)),
            is_da_bound: has(flag::DA_BOUND),
            is_lockout_bound: has(flag::LOCKOUT_BOUND),
            audit_digest: has(flag::AUDIT).then(|| small(audit)),
            policy,
        };
        Ok((rest, session))
    }
}

impl Section for Sessions {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Reset => {
                self.context_counter.marshal(out);
                for (index, slot) in self.indexed() {
                    if let Slot::Saved(id) = slot {
                        index.marshal(out);
                        id.marshal(out);
                    }
                }
                u32::MAX.marshal(out);
            }
            Group::Volatile => {
                self.exclusive_audit.unwrap_or(TpmHandle::NULL).marshal(out);
                for (index, slot) in self.indexed() {
                    if let Slot::Loaded(session) = slot {
                        index.marshal(out);
                        session.marshal(out);
                    }
                }
                u32::MAX.marshal(out);
            }
            Group::Permanent | Group::Clear => {}
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Reset => {
                (rest, self.context_counter) = u64::parse(rest)?;
                self.slots.fill(Slot::Free);
            }
            Group::Volatile => {
                let handle;
                (rest, handle) = TpmHandle::parse(rest)?;
                self.exclusive_audit = (handle != TpmHandle::NULL).then_some(handle);
            }
            Group::Permanent | Group::Clear => return Ok((rest, ())),
        }
        loop {
            let index;
            (rest, index) = u32::parse(rest)?;
            if index == u32::MAX {
                return Ok((rest, ()));
            }
            let Some(slot) = self
                .slots
                .get_mut(usize::try_from(index).unwrap_or(usize::MAX))
            else {
                return refuse(Rc::VALUE);
            };
            if matches!(group, Group::Reset) {
                let id;
                (rest, id) = u64::parse(rest)?;
                *slot = Slot::Saved(id);
            } else {
                let session;
                (rest, session) = Session::parse(rest)?;
                *slot = Slot::Loaded(Box::new(session));
            }
        }
    }
}

/// Mixes the authorization value of an entity with its Name, to notice a change of either (Part 1, 19.6.12).
pub(crate) fn bound_entity(name: &[u8], auth_value: &[u8]) -> BoundEntity {
    let size = u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes();
    small(&hash(TpmiAlgHash::Sha256, &[&size, name, auth_value]))
}
