//! What a policy session accumulates, and when it satisfies (Part 1, 19.7).

use crate::algorithms::{hash_algorithm, small};
use crate::session::Session;
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_crypto::hash::Hasher;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaLocality;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::TpmiShPolicy;
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

/// The one digest that a policy may bind a command to; the kinds exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum BoundDigest {
    #[default]
    None,
    /// Command, handles and parameters.
    CpHash(Tpm2bDigest),
    /// The Names of the handles.
    NameHash(Tpm2bDigest),
    /// Command and parameters.
    Parameters(Tpm2bDigest),
    /// The template of an object to create.
    Template(Tpm2bDigest),
}

/// What a policy session knows besides its key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct PolicyState {
    /// The policy digest; its length is that of the session's hash.
    pub(crate) digest: Tpm2bDigest,
    /// When the session started, on the clock of `Tpm::clock.time`.
    pub(crate) start_time: u64,
    /// Epoch of that clock.
    pub(crate) epoch: u64,
    /// When the policy expires, same clock; zero for never.
    pub(crate) timeout: u64,
    /// The only command that the policy authorizes.
    pub(crate) command_code: Option<u32>,
    /// The only localities.
    pub(crate) locality: Option<TpmaLocality>,
    /// The only command parameters, names or template.
    pub(crate) bound: BoundDigest,
    /// Value of the PCR update counter when the policy looked at PCR.
    pub(crate) pcr_counter: Option<u32>,
    /// An HMAC with the entity's authorization value is needed.
    pub(crate) auth_value_needed: bool,
    /// The entity's authorization value in plain is needed.
    pub(crate) password_needed: bool,
    /// Physical presence is needed.
    pub(crate) presence_required: bool,
    /// The NV Index must be written, or must not be.
    pub(crate) nv_written: Option<bool>,
    /// A secure channel is needed, between keys with this Name hash; the flags tell which of the two names were given.
    pub(crate) secure_channel: Option<SecureChannel>,
}

/// What `TPM2_PolicyTransportSPDM` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecureChannel {
    /// The requester's key has a given Name.
    pub(crate) check_requester: bool,
    /// The TPM's key has a given Name.
    pub(crate) check_tpm: bool,
    /// Hash over both Names; empty if any keys will do.
    pub(crate) names_hash: Tpm2bDigest,
}

impl PolicyState {
    /// The state of a session that starts now.
    pub(crate) fn new(hash: TpmiAlgHash, time: u64, epoch: u64) -> Self {
        Self {
            digest: Tpm2bDigest::zeros(hash.digest_size()),
            start_time: time,
            epoch,
            ..Self::default()
        }
    }

    /// Sets the digest back to zeros; what the policy asks for stays.
    pub(crate) fn clear_digest(&mut self) {
        self.digest.as_mut_slice().fill(0);
    }

    /// Whether one of the digests that exclude each other is set.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound != BoundDigest::None
    }
}

impl Session {
    /// Whether the session only computes a policy digest and authorizes nothing.
    pub(crate) fn is_trial(&self) -> bool {
        self.kind == TpmSe::Trial
    }

    /// Bytes of a digest of the session's hash.
    pub(crate) const fn digest_size(&self) -> usize {
        self.auth_hash.digest_size()
    }

    /// Extends the policy digest by the code of a policy command and its arguments (Part 1, 19.7.3).
    pub(crate) fn extend_policy<C: Command>(&mut self, arguments: &[&[u8]]) {
        self.extend_policy_by(C::INFO.code, arguments);
    }

    /// Extends the policy digest by an authority: its Name, then in a second step the reference (Part 3, 23.2.3).
    pub(crate) fn extend_policy_by_authority(&mut self, code: u32, name: &[u8], policy_ref: &[u8]) {
        self.extend_policy_by(code, &[name]);
        let mut hasher = Hasher::new(hash_algorithm(self.auth_hash));
        hasher.update(&self.policy.digest);
        hasher.update(policy_ref);
        self.policy.digest = small(&hasher.finish());
    }

    fn extend_policy_by(&mut self, code: u32, arguments: &[&[u8]]) {
        let mut hasher = Hasher::new(hash_algorithm(self.auth_hash));
        hasher.update(&self.policy.digest);
        hasher.update(&code.to_be_bytes());
        for argument in arguments {
            hasher.update(argument);
        }
        self.policy.digest = small(&hasher.finish());
    }
}

impl Tpm {
    /// The policy or trial session of a policy command, which entity checks found loaded.
    ///
    /// # Errors
    /// `TPM_RC_HANDLE` if it is not.
    pub(crate) fn policy_session(&self, handle: TpmiShPolicy) -> Result<&Session, Rc> {
        self.sessions
            .get(handle.0)
            .filter(|session| session.is_policy())
            .ok_or(Rc::HANDLE)
    }
}

impl Marshal for PolicyState {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.digest.marshal(out);
        self.start_time.marshal(out);
        self.epoch.marshal(out);
        self.timeout.marshal(out);
        self.command_code.unwrap_or_default().marshal(out);
        self.locality.unwrap_or_default().marshal(out);
        let (kind, digest) = match &self.bound {
            BoundDigest::None => (0u8, None),
            BoundDigest::CpHash(digest) => (1, Some(digest)),
            BoundDigest::NameHash(digest) => (2, Some(digest)),
            BoundDigest::Parameters(digest) => (3, Some(digest)),
            BoundDigest::Template(digest) => (4, Some(digest)),
        };
        kind.marshal(out);
        if let Some(digest) = digest {
            digest.marshal(out);
        }
        self.pcr_counter.unwrap_or_default().marshal(out);
        let flags = [
            self.pcr_counter.is_some(),
            self.auth_value_needed,
            self.password_needed,
            self.presence_required,
            self.nv_written.is_some(),
            self.nv_written.unwrap_or_default(),
            self.secure_channel.is_some(),
        ];
        for flag in flags {
            flag.marshal(out);
        }
        if let Some(channel) = &self.secure_channel {
            channel.check_requester.marshal(out);
            channel.check_tpm.marshal(out);
            channel.names_hash.marshal(out);
        }
    }
}

impl Parse for PolicyState {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, digest) = Tpm2bDigest::parse(input)?;
        let (rest, start_time) = u64::parse(rest)?;
        let (rest, epoch) = u64::parse(rest)?;
        let (rest, timeout) = u64::parse(rest)?;
        let (rest, command_code) = u32::parse(rest)?;
        let (rest, locality) = TpmaLocality::parse(rest)?;
        let (rest, kind) = u8::parse(rest)?;
        let (rest, bound) = if kind == 0 {
            (rest, BoundDigest::None)
        } else {
            let (rest, digest) = Tpm2bDigest::parse(rest)?;
            let bound = match kind {
                1 => BoundDigest::CpHash(digest),
                2 => BoundDigest::NameHash(digest),
                3 => BoundDigest::Parameters(digest),
                4 => BoundDigest::Template(digest),
                _ => return refuse(Rc::VALUE),
            };
            (rest, bound)
        };
        let (rest, pcr_counter) = u32::parse(rest)?;
        let (rest, pcr_checked) = bool::parse(rest)?;
        let (rest, auth_value_needed) = bool::parse(rest)?;
        let (rest, password_needed) = bool::parse(rest)?;
        let (rest, presence_required) = bool::parse(rest)?;
        let (rest, nv_written_checked) = bool::parse(rest)?;
        let (rest, nv_written) = bool::parse(rest)?;
        let (rest, has_channel) = bool::parse(rest)?;
        let (rest, secure_channel) = if has_channel {
            let (rest, check_requester) = bool::parse(rest)?;
            let (rest, check_tpm) = bool::parse(rest)?;
            let (rest, names_hash) = Tpm2bDigest::parse(rest)?;
            (
                rest,
                Some(SecureChannel {
                    check_requester,
                    check_tpm,
                    names_hash,
                }),
            )
        } else {
            (rest, None)
        };
        let state = Self {
            digest,
            start_time,
            epoch,
            timeout,
            command_code: (command_code != 0).then_some(command_code),
            locality: (locality != TpmaLocality::NONE).then_some(locality),
            bound,
            pcr_counter: pcr_checked.then_some(pcr_counter),
            auth_value_needed,
            password_needed,
            presence_required,
            nv_written: nv_written_checked.then_some(nv_written),
            secure_channel,
        };
        Ok((rest, state))
    }
}
