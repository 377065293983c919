//! What a policy session asks of the command that it authorizes (Part 1, 19.7.5).

use super::Tpm;
use crate::algorithms::hash;
use crate::policy::BoundDigest;
use crate::session::Session;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use subtle::ConstantTimeEq;
use tpm_wire::attributes::TpmaLocality;
use tpm_wire::commands;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, CommandInfo, MAX_HANDLES, Role};

impl Tpm {
    /// Whether a policy session authorizes the command for the entity (Part 1, 19.7.5).
    pub(super) fn check_policy(
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
        if policy.timeout != 0 {
            // The clock stands still while it cannot be stored.
            self.check_storage()?;
            if policy.timeout < self.clock.time || policy.epoch != self.clock.epoch {
                return Err(Rc::EXPIRED);
            }
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
