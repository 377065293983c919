//! Policies (Part 3, 23).

mod policy_auth_value;
mod policy_authorize;
mod policy_authorize_nv;
mod policy_capability;
mod policy_command_code;
mod policy_counter_timer;
mod policy_cp_hash;
mod policy_duplication_select;
mod policy_get_digest;
mod policy_locality;
mod policy_name_hash;
mod policy_nv;
mod policy_nv_written;
mod policy_or;
mod policy_parameters;
mod policy_password;
mod policy_pcr;
mod policy_physical_presence;
mod policy_secret;
mod policy_signed;
mod policy_template;
mod policy_ticket;
mod policy_transport_spdm;

#[cfg(test)]
pub(crate) mod build;

use crate::algorithms::{hash, small};
use crate::policy::BoundDigest;
use crate::session::Session;
use crate::state::Tpm;
use crate::ticket::Authorized;
use core::cmp::Ordering;
use tpm_crypto::hash::Digest;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bTimeout};
use tpm_wire::codec::Marshal;
use tpm_wire::constants::{TpmAlgId, TpmEo, TpmSt};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::{Position, Rc};
use tpm_wire::table::Command;
use tpm_wire::ticket::TpmtTkAuth;

/// Set in the timeout that a ticket comes with if the ticket ends with the next TPM Reset.
const EXPIRES_ON_RESET: u64 = 1 << 63;

/// An authorization that `TPM2_PolicySigned`, `TPM2_PolicySecret` or `TPM2_PolicyTicket` gives to a policy (Part 3, 23.2).
struct Authorization<'a> {
    /// The nonce of the session that the authorization is limited to; empty if it is not, `None` for a ticket.
    nonce_tpm: Option<&'a [u8]>,
    /// The command that it is limited to, or empty.
    cp_hash: &'a [u8],
    /// What the authority says of it.
    policy_ref: &'a [u8],
    /// When it ends, on the clock of `Tpm::clock.time`; zero for never.
    timeout: u64,
}

/// The parameters to blame for what is wrong with an [`Authorization`].
struct Blame {
    nonce_tpm: Position,
    cp_hash: Position,
    expiration: Position,
}

impl Authorization<'_> {
    /// The checks that the three commands have in common, in order.
    fn check(&self, tpm: &Tpm, session: &Session, blame: &Blame) -> Result<(), Rc> {
        if let Some(nonce) = self.nonce_tpm
            && !nonce.is_empty()
            && *nonce != *session.nonce_tpm
        {
            return Err(Rc::NONCE.at(blame.nonce_tpm));
        }
        if self.timeout != 0 {
            // The clock stands still while it cannot be stored.
            tpm.check_storage()?;
            if self.timeout < tpm.clock.time || session.policy.epoch != tpm.clock.epoch {
                return Err(Rc::EXPIRED.at(blame.expiration));
            }
        }
        if !self.cp_hash.is_empty() {
            if self.cp_hash.len() != session.digest_size() {
                return Err(Rc::SIZE.at(blame.cp_hash));
            }
            match &session.policy.bound {
                BoundDigest::None => {}
                BoundDigest::CpHash(digest) if **digest == *self.cp_hash => {}
                _ => return Err(Rc::CPHASH),
            }
        }
        Ok(())
    }

    /// Puts the authorization into the policy.
    fn include(&self, session: &mut Session, code: u32, authority: &[u8]) {
        session.extend_policy_by_authority(code, authority, self.policy_ref);
        let policy = &mut session.policy;
        if let Some(digest) = Tpm2bDigest::new(self.cp_hash).filter(|digest| !digest.is_empty()) {
            policy.bound = BoundDigest::CpHash(digest);
        }
        if self.timeout != 0 && (policy.timeout == 0 || self.timeout < policy.timeout) {
            policy.timeout = self.timeout;
        }
    }

    /// A ticket for the authorization, and the timeout that it must be presented with.
    fn ticket(
        &self,
        tpm: &Tpm,
        tag: TpmSt,
        hierarchy: TpmHandle,
        authority: &[u8],
    ) -> (Tpm2bTimeout, TpmtTkAuth) {
        let expires_on_reset = self.nonce_tpm.is_some_and(<[u8]>::is_empty);
        let timeout = self.timeout & !EXPIRES_ON_RESET;
        let ticket = tpm.auth_ticket(
            tag,
            hierarchy,
            &Authorized {
                timeout,
                expires_on_reset,
                cp_hash: self.cp_hash,
                policy_ref: self.policy_ref,
                entity_name: authority,
            },
        );
        let flag = if expires_on_reset {
            EXPIRES_ON_RESET
        } else {
            0
        };
        (Tpm2bTimeout::from(&(timeout | flag).to_be_bytes()), ticket)
    }
}

/// The answer of a command that makes no ticket.
const fn no_ticket(tag: TpmSt) -> (Tpm2bTimeout, TpmtTkAuth) {
    let ticket = TpmtTkAuth {
        tag,
        hierarchy: None,
        digest: Tpm2bDigest::EMPTY,
    };
    (Tpm2bTimeout::EMPTY, ticket)
}

/// When an authorization ends that holds for `expiration` seconds, on the clock of `Tpm::clock.time`; zero for never.
///
/// With the nonce of the session the seconds count from its start, without it they are a moment of the clock itself.
fn timeout(time: u64, session: &Session, expiration: i32, nonce_tpm: &[u8]) -> u64 {
    let milliseconds = u64::from(expiration.unsigned_abs()) * 1000;
    if milliseconds == 0 {
        0
    } else if nonce_tpm.is_empty() {
        // The clock is finer than the seconds asked for: never too early.
        milliseconds + time % 1000
    } else {
        session.policy.start_time.saturating_add(milliseconds)
    }
}

/// The hierarchy whose proof makes the tickets for an entity (Part 1, 13.1).
fn hierarchy_of(tpm: &Tpm, entity: TpmHandle) -> TpmHandle {
    match entity.kind() {
        Some(TpmHt::Transient | TpmHt::Persistent) => tpm
            .objects
            .find(entity)
            .map_or(TpmHandle::NULL, |object| object.hierarchy),
        Some(TpmHt::NvIndex | TpmHt::ExternalNv)
            if tpm
                .nv
                .get(entity)
                .is_ok_and(|index| index.attributes().contains(TpmaNv::PLATFORMCREATE)) =>
        {
            TpmHandle::PLATFORM
        }
        Some(TpmHt::Permanent) if crate::hierarchy::Hierarchy::from_handle(entity).is_some() => {
            entity
        }
        _ => TpmHandle::OWNER,
    }
}

/// Checks that a Name could be that of an object or an NV Index: a hash that this TPM has, and a digest of its size.
fn check_name(tpm: &Tpm, name: &[u8], at: Position) -> Result<TpmiAlgHash, Rc> {
    let (id, digest) = name.split_first_chunk::<2>().ok_or(Rc::SIZE.at(at))?;
    let hash_alg = TpmiAlgHash::from_id(TpmAlgId(u16::from_be_bytes(*id)))
        .filter(|hash_alg| tpm.profile.limits.has_algorithm(hash_alg.id()))
        .ok_or(Rc::HASH.at(at))?;
    if digest.len() == hash_alg.digest_size() {
        Ok(hash_alg)
    } else {
        Err(Rc::SIZE.at(at))
    }
}

/// Binds a policy to a digest that no other may stand beside (Part 3, 23.14 and 23.24).
fn bind_digest<C: Command>(
    session: &mut Session,
    digest: Tpm2bDigest,
    bound: fn(Tpm2bDigest) -> BoundDigest,
    at: Position,
) -> Result<(), Rc> {
    if digest.len() != session.digest_size() {
        return Err(Rc::SIZE.at(at));
    }
    if session.policy.is_bound() {
        return Err(Rc::CPHASH);
    }
    session.extend_policy::<C>(&[&digest]);
    session.policy.bound = bound(digest);
    Ok(())
}

/// Binds a policy to one command and the Names of what it works on, of which the object's may be left out of the policy
/// (Part 3, 23.15 and 32.4).
pub(super) fn bind_names<C: Command, Bound: Command>(
    session: &mut Session,
    object_name: &[u8],
    other_names: &[&[u8]],
    include_object: bool,
) -> Result<(), Rc> {
    if session.policy.is_bound() {
        return Err(Rc::CPHASH);
    }
    if session.policy.command_code.is_some() {
        return Err(Rc::COMMAND_CODE);
    }
    let names = [&[object_name], other_names].concat();
    let name_hash = small(&hash(session.auth_hash, &names));
    let object_name = if include_object { object_name } else { &[] };
    let flag = byte(include_object);
    let arguments = [&[object_name], other_names, &[&flag]].concat();
    session.extend_policy::<C>(&arguments);
    session.policy.bound = BoundDigest::NameHash(name_hash);
    session.policy.command_code = Some(Bound::INFO.code);
    Ok(())
}

/// The digest of the arguments of a comparison: operand, offset, operation, and what else the command names.
fn comparison(
    session: &Session,
    operand_b: &[u8],
    offset: u16,
    operation: TpmEo,
    rest: &[u8],
) -> Digest {
    let operation = operation.id().0.to_be_bytes();
    hash(
        session.auth_hash,
        &[operand_b, &offset.to_be_bytes(), &operation, rest],
    )
}

/// Whether a comparison of two operands of the same size holds (Part 2, 6.8).
fn holds(operation: TpmEo, a: &[u8], b: &[u8]) -> bool {
    let mut bits = a.iter().zip(b);
    match operation {
        TpmEo::Eq => a == b,
        TpmEo::Neq => a != b,
        TpmEo::SignedGt => signed(a, b).is_gt(),
        TpmEo::UnsignedGt => a > b,
        TpmEo::SignedLt => signed(a, b).is_lt(),
        TpmEo::UnsignedLt => a < b,
        TpmEo::SignedGe => signed(a, b).is_ge(),
        TpmEo::UnsignedGe => a >= b,
        TpmEo::SignedLe => signed(a, b).is_le(),
        TpmEo::UnsignedLe => a <= b,
        TpmEo::Bitset => bits.all(|(a, b)| a & b == *b),
        TpmEo::Bitclear => bits.all(|(a, b)| a & b == 0),
    }
}

/// Compares two's complement numbers of the same size.
fn signed(a: &[u8], b: &[u8]) -> Ordering {
    let is_negative = |number: &[u8]| number.first().is_some_and(|byte| byte & 0x80 != 0);
    match (is_negative(a), is_negative(b)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => a.cmp(b),
    }
}

/// Part of `data` that a comparison looks at.
fn operand_a<'a>(data: &'a [u8], offset: u16, operand_b: &[u8]) -> Option<&'a [u8]> {
    data.get(usize::from(offset)..)?.get(..operand_b.len())
}

/// The bytes of a value for a hash.
fn byte(value: bool) -> [u8; 1] {
    [u8::from(value)]
}

/// The bytes of a structure for a hash.
fn bytes(value: &impl Marshal) -> alloc::vec::Vec<u8> {
    value.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::{holds, signed};
    use core::cmp::Ordering;
    use tpm_wire::constants::TpmEo;

    #[test]
    fn signed_numbers_are_twos_complement() {
        let number = i16::to_be_bytes;
        assert_eq!(signed(&number(-2), &number(-1)), Ordering::Less);
        assert_eq!(signed(&number(-1), &number(1)), Ordering::Less);
        assert_eq!(signed(&number(300), &number(-300)), Ordering::Greater);
        assert_eq!(signed(&[], &[]), Ordering::Equal);
    }

    #[test]
    fn every_comparison_agrees_with_that_of_integers() {
        let samples = [i16::MIN, -300, -2, -1, 0, 1, 2, 5, 300, i16::MAX];
        for a in samples {
            for b in samples {
                let (x, y) = (a.to_be_bytes(), b.to_be_bytes());
                let (ua, ub) = (a.cast_unsigned(), b.cast_unsigned());
                let expected = [
                    (TpmEo::Eq, a == b),
                    (TpmEo::Neq, a != b),
                    (TpmEo::SignedGt, a > b),
                    (TpmEo::UnsignedGt, ua > ub),
                    (TpmEo::SignedLt, a < b),
                    (TpmEo::UnsignedLt, ua < ub),
                    (TpmEo::SignedGe, a >= b),
                    (TpmEo::UnsignedGe, ua >= ub),
                    (TpmEo::SignedLe, a <= b),
                    (TpmEo::UnsignedLe, ua <= ub),
                    (TpmEo::Bitset, ua & ub == ub),
                    (TpmEo::Bitclear, ua & ub == 0),
                ];
                for (operation, result) in expected {
                    assert_eq!(holds(operation, &x, &y), result, "{operation:?} {a} {b}");
                }
            }
        }
    }
}
