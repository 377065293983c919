//! Tickets: how this TPM proves to itself what it checked earlier (Part 1, 11.4.6.3; Part 2, 10.7).

use crate::algorithms::{hmac, small};
use crate::hierarchy::CONTEXT_HASH;
use crate::state::Tpm;
use alloc::vec::Vec;
use subtle::ConstantTimeEq;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::codec::Marshal;
use tpm_wire::constants::TpmSt;
use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
use tpm_wire::rc::Rc;
use tpm_wire::ticket::{TpmtTkAuth, TpmtTkCreation, TpmtTkHashcheck, TpmtTkVerified};

/// The hierarchy field of a ticket; the NULL hierarchy makes NULL tickets only.
fn field(hierarchy: TpmHandle) -> Option<TpmiRhHierarchy> {
    (hierarchy != TpmHandle::NULL).then_some(TpmiRhHierarchy(hierarchy))
}

/// What the HMAC of an authorization ticket covers besides its kind.
pub(crate) struct Authorized<'a> {
    /// When it expires, on the clock of `Tpm::clock.time`; zero for never.
    pub(crate) timeout: u64,
    /// It ends with the present run of the clock.
    pub(crate) expires_on_reset: bool,
    /// The command that it was limited to, or empty.
    pub(crate) cp_hash: &'a [u8],
    /// The reference of the policy.
    pub(crate) policy_ref: &'a [u8],
    /// The Name of the entity that authorized.
    pub(crate) entity_name: &'a [u8],
}

impl Tpm {
    fn ticket(&self, hierarchy: TpmHandle, tag: TpmSt, parts: &[&[u8]]) -> Tpm2bDigest {
        let proof = self.hierarchies.proof(hierarchy);
        let mut data = Vec::with_capacity(256);
        tag.marshal(&mut data);
        for part in parts {
            data.extend_from_slice(part);
        }
        small(&hmac(CONTEXT_HASH, &proof, &[&data]))
    }

    /// A ticket for an object created in a hierarchy. The NULL hierarchy has a proof too, so that its tickets are as good
    /// until the next TPM Reset.
    pub(crate) fn creation_ticket(
        &self,
        hierarchy: TpmHandle,
        name: &[u8],
        creation_hash: &[u8],
    ) -> TpmtTkCreation {
        TpmtTkCreation {
            tag: TpmSt::CREATION,
            hierarchy: field(hierarchy),
            digest: self.ticket(hierarchy, TpmSt::CREATION, &[name, creation_hash]),
        }
    }

    /// A ticket for a signature that was verified with a key of a hierarchy; NULL for the NULL hierarchy.
    pub(crate) fn verified_ticket(
        &self,
        hierarchy: TpmHandle,
        digest: &[u8],
        key_name: &[u8],
    ) -> TpmtTkVerified {
        let ticket = match field(hierarchy) {
            Some(_) => self.ticket(hierarchy, TpmSt::VERIFIED, &[digest, key_name]),
            None => Tpm2bDigest::EMPTY,
        };
        TpmtTkVerified {
            tag: TpmSt::VERIFIED,
            hierarchy: field(hierarchy),
            digest: ticket,
        }
    }

    /// A ticket for a digest that may be signed by restricted keys; NULL for the NULL hierarchy.
    pub(crate) fn hashcheck_ticket(
        &self,
        hierarchy: TpmHandle,
        hash_alg: TpmiAlgHash,
        digest: &[u8],
    ) -> TpmtTkHashcheck {
        let ticket = match field(hierarchy) {
            Some(_) => self.ticket(hierarchy, TpmSt::HASHCHECK, &[&hash_alg.to_bytes(), digest]),
            None => Tpm2bDigest::EMPTY,
        };
        TpmtTkHashcheck {
            tag: TpmSt::HASHCHECK,
            hierarchy: field(hierarchy),
            digest: ticket,
        }
    }

    /// A ticket for an authorization of a policy, `TPM_ST_AUTH_SIGNED` or `TPM_ST_AUTH_SECRET`.
    ///
    /// Unlike the others, this one is made for the NULL hierarchy too: keys that sign authorizations are mostly loaded there,
    /// and its proof, new after each TPM Reset, ends the ticket then.
    pub(crate) fn auth_ticket(
        &self,
        tag: TpmSt,
        hierarchy: TpmHandle,
        authorized: &Authorized<'_>,
    ) -> TpmtTkAuth {
        let timeout = authorized.timeout.to_be_bytes();
        let epoch = self.clock.epoch.to_be_bytes();
        let resets = self.clock.total_reset_count.to_be_bytes();
        let none: &[u8] = &[];
        // A moment means something during one run of the clock only: the ticket ends with it.
        let (epoch, resets) = match (authorized.timeout, authorized.expires_on_reset) {
            (0, _) => (none, none),
            (_, false) => (&epoch[..], none),
            (_, true) => (&epoch[..], &resets[..]),
        };
        // With their sizes, so that no byte of one can be passed off as part of the other.
        let sizes = [authorized.cp_hash, authorized.policy_ref]
            .map(|part| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        let parts = [
            sizes.as_flattened(),
            authorized.cp_hash,
            authorized.policy_ref,
            authorized.entity_name,
            &timeout,
            epoch,
            resets,
        ];
        TpmtTkAuth {
            tag,
            hierarchy: field(hierarchy),
            digest: self.ticket(hierarchy, tag, &parts),
        }
    }
}

impl Tpm {
    /// Checks that a ticket of a hierarchy can be checked at all.
    ///
    /// # Errors
    /// `TPM_RC_SVN_LIMITED` for a security version above that of this firmware: its proof cannot be had.
    pub(crate) fn check_ticket_hierarchy(&self, hierarchy: TpmHandle) -> Result<(), Rc> {
        match self.hierarchies.check(hierarchy) {
            Err(Rc::SVN_LIMITED) => Err(Rc::SVN_LIMITED),
            _ => Ok(()),
        }
    }
}

/// Compares the digests of two tickets in constant time; NULL tickets match nothing.
pub(crate) fn tickets_match(given: &[u8], expected: &[u8]) -> bool {
    !given.is_empty() && bool::from(given.ct_eq(expected))
}
