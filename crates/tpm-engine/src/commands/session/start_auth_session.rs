//! `TPM2_StartAuthSession` (Part 3, 11.1).

use crate::algorithms::{hash_algorithm, small};
use crate::execute::Execute;
use crate::policy::PolicyState;
use crate::secret_exchange::SECRET;
use crate::session::{Session, bound_entity};
use crate::state::Tpm;
use tpm_crypto::kdf::kdfa;
use tpm_wire::algorithm::{TpmiAlgSymMode, TpmtSymDef};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Small, Tpm2bNonce, Tpm2bSeed};
use tpm_wire::commands::{StartAuthSession, StartAuthSessionResponse};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmHt, TpmiShAuthSession};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Least bytes of the caller's nonce.
const LEAST_NONCE: usize = 16;

impl Execute for StartAuthSession {
    fn execute(self, tpm: &mut Tpm) -> Result<StartAuthSessionResponse, Rc> {
        let digest_size = self.auth_hash.digest_size();
        if !(LEAST_NONCE..=digest_size).contains(&self.nonce_caller.len()) {
            return Err(Rc::SIZE.at(Self::nonce_caller));
        }
        let salt = salt(&self, tpm)?;
        if let Some(bind) = self.bind {
            check_bind(tpm, bind.0).map_err(|rc| rc.at(Self::bind))?;
        }
        if let Some(TpmtSymDef::Block(cipher)) = &self.symmetric
            && cipher.mode != Some(TpmiAlgSymMode::Cfb)
        {
            return Err(Rc::MODE.at(Self::symmetric));
        }
        tpm.sessions.check_room()?;

        let mut nonce_tpm = Tpm2bNonce::zeros(self.nonce_caller.len());
        tpm.fill_random(nonce_tpm.as_mut_slice());
        let bind = self.bind.map(|bind| bind.0);
        let mut key = Small::EMPTY;
        if bind.is_some() || !salt.is_empty() {
            let auth = bind.map(|bind| tpm.auth_value(bind)).unwrap_or_default();
            let secret = Zeroizing::new([&*auth, &*salt].concat());
            key = small(&kdfa(
                hash_algorithm(self.auth_hash),
                &secret,
                b"ATH",
                &nonce_tpm,
                &self.nonce_caller,
                u32::try_from(digest_size * 8).unwrap_or_default(),
            ));
        }
        let is_hmac = self.session_type == TpmSe::Hmac;
        let is_da_bound = bind.is_some_and(|bind| !tpm.is_da_exempt(bind));
        let session = Session {
            kind: self.session_type,
            auth_hash: self.auth_hash,
            symmetric: self.symmetric,
            key,
            nonce_tpm: nonce_tpm.clone(),
            bound_entity: bind
                .filter(|_| is_hmac)
                .map(|bind| bound_entity(&tpm.entity_name(bind), &tpm.auth_value(bind))),
            is_da_bound,
            is_lockout_bound: is_da_bound && bind == Some(TpmHandle::LOCKOUT),
            audit_digest: None,
            policy: if is_hmac {
                PolicyState::default()
            } else {
                PolicyState::new(self.auth_hash, tpm.clock.time, tpm.clock.epoch)
            },
        };
        let session_handle = tpm.sessions.insert(session)?;
        Ok(StartAuthSessionResponse {
            session_handle: TpmiShAuthSession(session_handle),
            nonce_tpm,
        })
    }
}

/// The salt that the caller sent to a key; empty without a key.
fn salt(command: &StartAuthSession, tpm: &mut Tpm) -> Result<Tpm2bSeed, Rc> {
    let at_key = |rc: Rc| rc.at(StartAuthSession::tpm_key);
    let bad_salt = Rc::VALUE.at(StartAuthSession::encrypted_salt);
    let Some(key_handle) = command.tpm_key else {
        return if command.encrypted_salt.is_empty() {
            Ok(Tpm2bSeed::EMPTY)
        } else {
            Err(bad_salt)
        };
    };
    let key = tpm.objects.get(key_handle).map_err(|_| at_key(Rc::KEY))?;
    if !key.is_asymmetric() {
        return Err(at_key(Rc::KEY));
    }
    if command.encrypted_salt.is_empty() {
        return Err(bad_salt);
    }
    if key.sensitive.is_none() {
        return Err(at_key(Rc::HANDLE));
    }
    if !key.public.has(TpmaObject::DECRYPT) {
        return Err(at_key(Rc::ATTRIBUTES));
    }
    tpm.decrypt_secret(key_handle.0, SECRET, &command.encrypted_salt)
        .map_err(|_| bad_salt)
}

/// The authorization value of the entity must be there, and must not be a PIN that is used up.
fn check_bind(tpm: &Tpm, bind: TpmHandle) -> Result<(), Rc> {
    let usable = match bind.kind() {
        Some(TpmHt::Transient | TpmHt::Persistent) => tpm
            .objects
            .find(bind)
            .is_none_or(|object| object.sensitive.is_some()),
        Some(TpmHt::NvIndex | TpmHt::ExternalNv) => tpm
            .nv
            .get(bind)
            .is_ok_and(|index| !matches!(index.nv_type(), TpmNt::PinPass | TpmNt::PinFail)),
        _ => true,
    };
    if usable { Ok(()) } else { Err(Rc::HANDLE) }
}

#[cfg(test)]
mod tests;
