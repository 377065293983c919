//! Hierarchies: seeds, proofs, authorizations, and what is enabled (Part 1, 13 and 14).

use crate::algorithms::{hash_algorithm, small};
use crate::identity::Identity;
use crate::import::HierarchySecrets;
use crate::state::Tpm;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::kdf::kdfa;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bSeed};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

/// The hash of contexts and hierarchy secrets (`TPM_PT_CONTEXT_HASH`).
pub(crate) const CONTEXT_HASH: TpmiAlgHash = TpmiAlgHash::Sha512;
/// Bytes of a seed and of a proof: the strength of the largest hash.
const SECRET_SIZE: usize = 64;
/// The security version number of this firmware.
pub(crate) const FIRMWARE_SVN: u16 = 0;

/// The four hierarchies that have a seed of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    Owner,
    Endorsement,
    Platform,
    Null,
}

impl Hierarchy {
    /// The hierarchy behind a handle, limited ones included; `None` if the handle names none.
    pub(crate) const fn from_handle(handle: TpmHandle) -> Option<Self> {
        Some(match (handle, handle.0 & 0xFFFF_0000) {
            (TpmHandle::OWNER | TpmHandle::FW_OWNER, _) | (_, 0x4001_0000) => Self::Owner,
            (TpmHandle::ENDORSEMENT | TpmHandle::FW_ENDORSEMENT, _) | (_, 0x4002_0000) => {
                Self::Endorsement
            }
            (TpmHandle::PLATFORM | TpmHandle::FW_PLATFORM, _) | (_, 0x4003_0000) => Self::Platform,
            (TpmHandle::NULL | TpmHandle::FW_NULL, _) | (_, 0x4004_0000) => Self::Null,
            _ => return None,
        })
    }

    /// The handle of the hierarchy itself.
    pub(crate) const fn handle(self) -> TpmHandle {
        match self {
            Self::Owner => TpmHandle::OWNER,
            Self::Endorsement => TpmHandle::ENDORSEMENT,
            Self::Platform => TpmHandle::PLATFORM,
            Self::Null => TpmHandle::NULL,
        }
    }
}

/// What limits the secrets of a hierarchy to this firmware or to its security version (Part 1, 14.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    None,
    Firmware,
    SecurityVersion(u16),
}

impl Limit {
    fn from_handle(handle: TpmHandle) -> Self {
        match handle.0 {
            0x4000_0140..=0x4000_0143 => Self::Firmware,
            0x4001_0000..=0x4004_FFFF => {
                Self::SecurityVersion(u16::try_from(handle.0 & 0xFFFF).unwrap_or_default())
            }
            _ => Self::None,
        }
    }
}

/// A policy of a permanent entity, with its hash.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct EntityPolicy {
    /// The hash; `None` without a policy.
    pub(crate) hash: Option<TpmiAlgHash>,
    /// The policy digest; empty without a policy.
    pub(crate) digest: Tpm2bDigest,
}

impl Marshal for EntityPolicy {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        self.digest.marshal(out);
    }
}

impl Parse for EntityPolicy {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, hash) = Option::parse(input)?;
        let (rest, digest) = Tpm2bDigest::parse(rest)?;
        Ok((rest, Self { hash, digest }))
    }
}

/// The way from a seed to primary keys. It belongs to the seed: with another one, other keys would come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Derivation {
    /// Ours, as `creation.rs` describes it: of every seed that was made here.
    #[default]
    Own,
    /// That of libtpms, for a seed that libtpms before 0.8 made.
    LibtpmsNarrow,
    /// That of libtpms, for a seed that it has made since then.
    LibtpmsWide,
}

/// Seed and proof of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Secrets {
    seed: Tpm2bSeed,
    proof: Tpm2bSeed,
    derivation: Derivation,
}

impl Secrets {
    fn new(random: &mut Drbg) -> Self {
        Self {
            seed: secret(random),
            proof: secret(random),
            derivation: Derivation::Own,
        }
    }
}

/// A fresh secret of full strength.
fn secret(random: &mut Drbg) -> Tpm2bSeed {
    let mut seed = Tpm2bSeed::zeros(SECRET_SIZE);
    random.fill(seed.as_mut_slice());
    seed
}

/// Authorization value and policy of a permanent entity.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Authorization {
    /// The authorization value.
    pub(crate) auth: Tpm2bAuth,
    /// The policy.
    pub(crate) policy: EntityPolicy,
}

/// The hierarchies, the lockout authority, and what is enabled.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Hierarchies {
    owner_secrets: Secrets,
    endorsement_secrets: Secrets,
    platform_secrets: Secrets,
    null_secrets: Secrets,
    firmware_secret: Tpm2bSeed,
    /// Authorization of the owner.
    pub(crate) owner: Authorization,
    /// Authorization of the privacy administrator.
    pub(crate) endorsement: Authorization,
    /// Authorization of the platform.
    pub(crate) platform: Authorization,
    /// Authorization of the lockout authority.
    pub(crate) lockout: Authorization,
    /// `TPM2_Clear` by lockout authorization is forbidden.
    pub(crate) disable_clear: bool,
    /// The endorsement seed was made by this TPM.
    pub(crate) tpm_generated_eps: bool,
    /// `shEnable`.
    pub(crate) owner_enabled: bool,
    /// `ehEnable`.
    pub(crate) endorsement_enabled: bool,
    /// `phEnable`.
    pub(crate) platform_enabled: bool,
    /// `phEnableNV`.
    pub(crate) platform_nv_enabled: bool,
    /// Read-only mode (Part 3, 24.9).
    pub(crate) read_only: bool,
}

impl Hierarchies {
    /// Hierarchies of a new TPM.
    pub(crate) fn manufacture(random: &mut Drbg) -> Self {
        Self {
            owner_secrets: Secrets::new(random),
            endorsement_secrets: Secrets::new(random),
            platform_secrets: Secrets::new(random),
            null_secrets: Secrets::new(random),
            firmware_secret: secret(random),
            tpm_generated_eps: true,
            ..Self::default()
        }
    }

    const fn secrets(&self, hierarchy: Hierarchy) -> &Secrets {
        match hierarchy {
            Hierarchy::Owner => &self.owner_secrets,
            Hierarchy::Endorsement => &self.endorsement_secrets,
            Hierarchy::Platform => &self.platform_secrets,
            Hierarchy::Null => &self.null_secrets,
        }
    }

    /// Whether the hierarchy is enabled; the NULL hierarchy always is.
    pub(crate) const fn is_enabled(&self, hierarchy: Hierarchy) -> bool {
        match hierarchy {
            Hierarchy::Owner => self.owner_enabled,
            Hierarchy::Endorsement => self.endorsement_enabled,
            Hierarchy::Platform => self.platform_enabled,
            Hierarchy::Null => true,
        }
    }

    /// Checks that a hierarchy handle can be used.
    ///
    /// # Errors
    /// `TPM_RC_VALUE` for a handle that names no hierarchy, `TPM_RC_HIERARCHY` if it is disabled, `TPM_RC_SVN_LIMITED` for a
    /// security version above that of this firmware.
    pub(crate) fn check(&self, handle: TpmHandle) -> Result<Hierarchy, Rc> {
        let hierarchy = Hierarchy::from_handle(handle).ok_or(Rc::VALUE)?;
        if let Limit::SecurityVersion(least) = Limit::from_handle(handle)
            && least > FIRMWARE_SVN
        {
            return Err(Rc::SVN_LIMITED);
        }
        if self.is_enabled(hierarchy) {
            Ok(hierarchy)
        } else {
            Err(Rc::HIERARCHY)
        }
    }

    fn limited(&self, handle: TpmHandle, base: &Tpm2bSeed, label: &[u8]) -> Tpm2bSeed {
        let svn;
        let (kind, version): (&[u8], &[u8]) = match Limit::from_handle(handle) {
            Limit::None => return base.clone(),
            Limit::Firmware => (b"FW", &[]),
            Limit::SecurityVersion(least) => {
                svn = least.to_be_bytes();
                (b"SVN", &svn)
            }
        };
        let version_secret = kdfa(
            hash_algorithm(CONTEXT_HASH),
            &self.firmware_secret,
            kind,
            version,
            &[],
            bits(SECRET_SIZE),
        );
        small(&kdfa(
            hash_algorithm(CONTEXT_HASH),
            base,
            label,
            &version_secret,
            &[],
            bits(SECRET_SIZE),
        ))
    }

    /// The primary seed of a hierarchy, mixed with the firmware's secret for a limited one.
    pub(crate) fn seed(&self, handle: TpmHandle) -> Tpm2bSeed {
        let hierarchy = Hierarchy::from_handle(handle).unwrap_or(Hierarchy::Null);
        self.limited(handle, &self.secrets(hierarchy).seed, b"H_SEED")
    }

    /// The way from the seed of a hierarchy to its primary keys. The seed of a limited one is always ours.
    pub(crate) fn derivation(&self, handle: TpmHandle) -> Derivation {
        match Limit::from_handle(handle) {
            Limit::None => {
                let hierarchy = Hierarchy::from_handle(handle).unwrap_or(Hierarchy::Null);
                self.secrets(hierarchy).derivation
            }
            Limit::Firmware | Limit::SecurityVersion(_) => Derivation::Own,
        }
    }

    /// Whether a seed has a derivation that the first version of the state's format cannot tell of.
    pub(crate) fn has_foreign_seed(&self) -> bool {
        let foreign = |secrets: &Secrets| secrets.derivation != Derivation::Own;
        self.permanent_secrets().into_iter().any(foreign) || foreign(&self.null_secrets)
    }

    const fn permanent_secrets(&self) -> [&Secrets; 3] {
        [
            &self.owner_secrets,
            &self.endorsement_secrets,
            &self.platform_secrets,
        ]
    }

    /// The proof of a hierarchy, mixed with the firmware's secret for a limited one.
    pub(crate) fn proof(&self, handle: TpmHandle) -> Tpm2bSeed {
        let hierarchy = Hierarchy::from_handle(handle).unwrap_or(Hierarchy::Null);
        self.limited(handle, &self.secrets(hierarchy).proof, b"H_PROOF")
    }

    /// Replaces the seed and the proof of a hierarchy by those of another implementation.
    pub(crate) fn set_secrets(&mut self, hierarchy: Hierarchy, from: &HierarchySecrets) {
        let secrets = match hierarchy {
            Hierarchy::Owner => &mut self.owner_secrets,
            Hierarchy::Endorsement => &mut self.endorsement_secrets,
            Hierarchy::Platform => &mut self.platform_secrets,
            Hierarchy::Null => &mut self.null_secrets,
        };
        *secrets = Secrets {
            seed: from.seed.clone(),
            proof: from.proof.clone(),
            derivation: from.derivation,
        };
    }

    /// The identity of a TPM that was manufactured with these secrets.
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_secrets(&[
            &self.endorsement_secrets.seed,
            &self.platform_secrets.seed,
            &self.owner_secrets.seed,
        ])
    }

    /// Replaces the owner's seed and the proofs of owner and endorsement, as `TPM2_Clear` does.
    pub(crate) fn renew_owner(&mut self, random: &mut Drbg) {
        self.owner_secrets = Secrets::new(random);
        self.endorsement_secrets.proof = secret(random);
    }

    /// Replaces the platform's seed and proof, as `TPM2_ChangePPS` does.
    pub(crate) fn renew_platform(&mut self, random: &mut Drbg) {
        self.platform_secrets = Secrets::new(random);
    }

    /// Replaces the endorsement seed and proof, as `TPM2_ChangeEPS` does.
    pub(crate) fn renew_endorsement(&mut self, random: &mut Drbg) {
        self.endorsement_secrets = Secrets::new(random);
        self.tpm_generated_eps = true;
    }

    /// The authorization of a permanent handle that has one of its own; limited hierarchies share that of their base.
    pub(crate) fn authorization(&self, handle: TpmHandle) -> Option<&Authorization> {
        if handle == TpmHandle::LOCKOUT {
            return Some(&self.lockout);
        }
        match Hierarchy::from_handle(handle)? {
            Hierarchy::Owner => Some(&self.owner),
            Hierarchy::Endorsement => Some(&self.endorsement),
            Hierarchy::Platform => Some(&self.platform),
            Hierarchy::Null => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn authorization_mut(&mut self, handle: TpmHandle) -> Option<&mut Authorization> {
        if handle == TpmHandle::LOCKOUT {
            return Some(&mut self.lockout);
        }
        match Hierarchy::from_handle(handle)? {
            Hierarchy::Owner => Some(&mut self.owner),
            Hierarchy::Endorsement => Some(&mut self.endorsement),
            Hierarchy::Platform => Some(&mut self.platform),
            Hierarchy::Null => None,
        }
    }

    /// `TPM2_Startup` (Part 3, 9.3): `clear` for `TPM_SU_CLEAR`, `reset` for a TPM Reset.
    pub(crate) fn startup(&mut self, clear: bool, reset: bool, random: &mut Drbg) {
        self.platform_enabled = true;
        if clear {
            self.platform = Authorization::default();
            self.owner_enabled = true;
            self.endorsement_enabled = true;
            self.platform_nv_enabled = true;
            self.read_only = false;
        }
        if reset {
            self.null_secrets = Secrets::new(random);
        }
    }
}

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes * 8).unwrap_or(u32::MAX)
}

impl Tpm {
    /// Flushes the transient objects of a hierarchy, limited ones of it included.
    pub(crate) fn flush_objects_of(&mut self, hierarchy: Hierarchy) {
        self.objects.flush_if(|object| {
            object.is_some_and(|object| Hierarchy::from_handle(object.hierarchy) == Some(hierarchy))
        });
    }

    /// Flushes the transient objects of a hierarchy and removes the persistent ones.
    pub(crate) fn remove_objects_of(&mut self, hierarchy: Hierarchy) {
        self.flush_objects_of(hierarchy);
        self.objects
            .persistent
            .retain(|_, object| Hierarchy::from_handle(object.hierarchy) != Some(hierarchy));
    }

    /// Whether objects and indices of the platform hierarchy may be used (`phEnable`, and `phEnableNV` for indices).
    pub(crate) const fn platform_nv_is_usable(&self) -> bool {
        self.hierarchies.platform_nv_enabled
    }
}

impl Marshal for Secrets {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.seed.marshal(out);
        self.proof.marshal(out);
    }
}

impl Parse for Secrets {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, seed) = Tpm2bSeed::parse(input)?;
        let (rest, proof) = Tpm2bSeed::parse(rest)?;
        let derivation = Derivation::Own;
        Ok((
            rest,
            Self {
                seed,
                proof,
                derivation,
            },
        ))
    }
}

impl Marshal for Derivation {
    fn marshal(&self, out: &mut Vec<u8>) {
        let number: u8 = match self {
            Self::Own => 0,
            Self::LibtpmsNarrow => 1,
            Self::LibtpmsWide => 2,
        };
        number.marshal(out);
    }
}

impl Parse for Derivation {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, number) = u8::parse(input)?;
        match number {
            0 => Ok((rest, Self::Own)),
            1 => Ok((rest, Self::LibtpmsNarrow)),
            2 => Ok((rest, Self::LibtpmsWide)),
            _ => refuse(Rc::VALUE),
        }
    }
}

/// Writes the derivations of a group's seeds, if one is not ours: then the state has a version that knows of them.
fn write_derivations(secrets: &[&Secrets], out: &mut Vec<u8>) {
    if secrets
        .iter()
        .any(|secrets| secrets.derivation != Derivation::Own)
    {
        for secrets in secrets {
            secrets.derivation.marshal(out);
        }
    }
}

/// Reads what [`write_derivations`] wrote; nothing is left where all are ours.
fn read_derivations<'a>(secrets: &mut [&mut Secrets], input: Input<'a>) -> Parsed<'a, ()> {
    let mut rest = input;
    if !rest.is_empty() {
        for secrets in secrets {
            (rest, secrets.derivation) = Derivation::parse(rest)?;
        }
    }
    Ok((rest, ()))
}

impl Marshal for Authorization {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.auth.marshal(out);
        self.policy.marshal(out);
    }
}

impl Parse for Authorization {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, auth) = Tpm2bAuth::parse(input)?;
        let (rest, policy) = EntityPolicy::parse(rest)?;
        Ok((rest, Self { auth, policy }))
    }
}

impl Section for Hierarchies {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                self.owner_secrets.marshal(out);
                self.endorsement_secrets.marshal(out);
                self.platform_secrets.marshal(out);
                self.firmware_secret.marshal(out);
                self.owner.marshal(out);
                self.endorsement.marshal(out);
                self.lockout.marshal(out);
                self.disable_clear.marshal(out);
                self.tpm_generated_eps.marshal(out);
                write_derivations(&self.permanent_secrets(), out);
            }
            Group::Reset => {
                self.null_secrets.marshal(out);
                write_derivations(&[&self.null_secrets], out);
            }
            Group::Clear => {
                self.platform.marshal(out);
                for flag in [
                    self.owner_enabled,
                    self.endorsement_enabled,
                    self.platform_nv_enabled,
                    self.read_only,
                ] {
                    flag.marshal(out);
                }
            }
            Group::Volatile => self.platform_enabled.marshal(out),
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                (rest, self.owner_secrets) = Secrets::parse(rest)?;
                (rest, self.endorsement_secrets) = Secrets::parse(rest)?;
                (rest, self.platform_secrets) = Secrets::parse(rest)?;
                (rest, self.firmware_secret) = Tpm2bSeed::parse(rest)?;
                (rest, self.owner) = Authorization::parse(rest)?;
                (rest, self.endorsement) = Authorization::parse(rest)?;
                (rest, self.lockout) = Authorization::parse(rest)?;
                (rest, self.disable_clear) = bool::parse(rest)?;
                (rest, self.tpm_generated_eps) = bool::parse(rest)?;
                let mut secrets = [
                    &mut self.owner_secrets,
                    &mut self.endorsement_secrets,
                    &mut self.platform_secrets,
                ];
                (rest, ()) = read_derivations(&mut secrets, rest)?;
            }
            Group::Reset => {
                (rest, self.null_secrets) = Secrets::parse(rest)?;
                (rest, ()) = read_derivations(&mut [&mut self.null_secrets], rest)?;
            }
            Group::Clear => {
                (rest, self.platform) = Authorization::parse(rest)?;
                (rest, self.owner_enabled) = bool::parse(rest)?;
                (rest, self.endorsement_enabled) = bool::parse(rest)?;
                (rest, self.platform_nv_enabled) = bool::parse(rest)?;
                (rest, self.read_only) = bool::parse(rest)?;
            }
            Group::Volatile => (rest, self.platform_enabled) = bool::parse(rest)?,
        }
        Ok((rest, ()))
    }
}
