//! A TPM that takes up what another implementation has kept: typed, whatever bytes it came from.

pub use crate::hierarchy::Derivation;
use crate::hierarchy::{Authorization, EntityPolicy, Hierarchies, Hierarchy};
use crate::nv::Index;
use crate::object::{Object, RsaKeyCache};
use crate::platform::Platform;
use crate::profile::Profile;
use crate::state::Tpm;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bName, Tpm2bSeed};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::{TpmsNvPublic, TpmtNvPublic2};
use tpm_wire::object::{TpmtPublic, TpmtSensitive};
use tpm_wire::pcr::TpmlPcrSelection;
use zeroize::Zeroizing;

/// The seed and the proof of a hierarchy.
#[derive(Clone, Debug, Default)]
pub struct HierarchySecrets {
    /// The primary seed.
    pub seed: Tpm2bSeed,
    /// The proof.
    pub proof: Tpm2bSeed,
    /// The way from the seed to primary keys.
    pub derivation: Derivation,
}

/// The authorization of a permanent entity.
#[derive(Clone, Debug, Default)]
pub struct EntityAuthorization {
    /// The authorization value.
    pub auth: Tpm2bAuth,
    /// The hash of the policy; `None` without one.
    pub policy_hash: Option<TpmiAlgHash>,
    /// The policy; empty without one.
    pub policy: Tpm2bDigest,
}

/// An NV Index with its contents.
#[derive(Clone, Debug)]
pub struct NvContents {
    /// The public area, with the attributes of the moment.
    pub public: TpmsNvPublic,
    /// The authorization value.
    pub auth: Tpm2bAuth,
    /// The contents, `data_size` bytes.
    pub data: Zeroizing<Vec<u8>>,
}

/// A persistent object.
#[derive(Clone, Debug)]
pub struct PersistentObject {
    /// The persistent handle.
    pub handle: TpmHandle,
    /// The hierarchy.
    pub hierarchy: TpmHandle,
    /// The public area.
    pub public: TpmtPublic,
    /// The sensitive area; `None` if only the public area is there.
    pub sensitive: Option<TpmtSensitive>,
    /// The Name, which must be that of the public area.
    pub name: Tpm2bName,
    /// The qualified Name.
    pub qualified_name: Tpm2bName,
    /// Created from a primary seed.
    pub primary: bool,
    /// It or an ancestor is `stClear`.
    pub st_clear: bool,
}

/// What `TPM2_Shutdown(STATE)` saved.
#[derive(Clone, Debug, Default)]
pub struct SavedState {
    /// Seed and proof of the NULL hierarchy.
    pub null: HierarchySecrets,
    /// TPM Restarts since the last TPM Reset.
    pub clear_count: u32,
    /// TPM Restarts and TPM Resumes since the last TPM Reset.
    pub restart_count: u32,
    /// The update counter of the PCR.
    pub pcr_counter: u32,
    /// The digest of the command audit.
    pub audit_digest: Tpm2bDigest,
    /// `shEnable`, `ehEnable` and `phEnableNV`.
    pub enabled: [bool; 3],
    /// The platform's authorization.
    pub platform: EntityAuthorization,
    /// The authorization value of the PCR that have one.
    pub pcr_auth: Tpm2bAuth,
    /// The values of a bank's PCR from the first one on.
    pub pcrs: Vec<(TpmiAlgHash, Vec<Vec<u8>>)>,
    /// The startup before it came from locality 3.
    pub startup_locality_3: bool,
    /// An H-CRTM event came before that startup.
    pub hcrtm: bool,
}

/// How the other implementation lost power.
#[derive(Clone, Debug, Default)]
pub enum PowerLoss {
    /// Without a `TPM2_Shutdown`; the flag says that protected authorizations had been used.
    Sudden {
        /// A protected authorization was used since the shutdown before.
        da_used: bool,
    },
    /// After `TPM2_Shutdown(CLEAR)`.
    #[default]
    Clear,
    /// After `TPM2_Shutdown(STATE)`.
    State(Box<SavedState>),
}

/// Everything that is kept of a TPM while it is off.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Secrets of the owner's hierarchy.
    pub owner_secrets: HierarchySecrets,
    /// Secrets of the endorsement hierarchy.
    pub endorsement_secrets: HierarchySecrets,
    /// Secrets of the platform hierarchy.
    pub platform_secrets: HierarchySecrets,
    /// Authorization of the owner.
    pub owner: EntityAuthorization,
    /// Authorization of the privacy administrator.
    pub endorsement: EntityAuthorization,
    /// Authorization of the lockout authority.
    pub lockout: EntityAuthorization,
    /// `TPM2_Clear` by lockout authorization is forbidden.
    pub disable_clear: bool,
    /// Milliseconds that the TPM was powered in all.
    pub clock: u64,
    /// No greater value of the clock was reported.
    pub clock_safe: bool,
    /// Changes when the time starts anew.
    pub time_epoch: u64,
    /// TPM Resets ever.
    pub total_reset_count: u64,
    /// TPM Resets since the last `TPM2_Clear`.
    pub reset_count: u32,
    /// Failures that count towards the lockout.
    pub failed_tries: u32,
    /// Failures that lock.
    pub max_tries: u32,
    /// Seconds after which one failure is forgiven.
    pub recovery_time: u32,
    /// Seconds after which lockout authorization can be tried again.
    pub lockout_recovery: u32,
    /// Lockout authorization can be used.
    pub lockout_auth_enabled: bool,
    /// The PCR that exist.
    pub pcr_allocation: TpmlPcrSelection,
    /// The policy of the PCR that have one.
    pub pcr_policy: EntityAuthorization,
    /// The hash of the command audit; `None` leaves it as in a new TPM.
    pub audit_hash: Option<TpmiAlgHash>,
    /// How often an audit digest was begun.
    pub audit_counter: u64,
    /// The audited commands; `None` leaves them as in a new TPM.
    pub audit_commands: Option<Vec<u32>>,
    /// The NV Indices.
    pub nv: Vec<NvContents>,
    /// The greatest value of any counter Index ever deleted.
    pub max_counter: u64,
    /// The persistent objects.
    pub persistent: Vec<PersistentObject>,
    /// How it lost power.
    pub power_loss: PowerLoss,
}

/// Why a TPM could not be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// This profile has no PCR bank of a hash that PCR are allocated in.
    NoBank(TpmiAlgHash),
    /// What is stored under a handle contradicts itself.
    Inconsistent(TpmHandle),
    /// Two things are stored under one handle.
    Twice(TpmHandle),
    /// There is more in it than this profile has NV memory for.
    NoSpace(TpmHandle),
    /// The saved state contradicts itself.
    SavedState,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBank(hash) => write!(f, "the profile has no PCR bank of {:?}", hash.id()),
            Self::Inconsistent(handle) => {
                write!(f, "what is stored under {:#010x} is damaged", handle.0)
            }
            Self::Twice(handle) => {
                write!(f, "two things are stored under {:#010x}", handle.0)
            }
            Self::NoSpace(handle) => write!(
                f,
                "the profile has no room for what is stored under {:#010x}",
                handle.0
            ),
            Self::SavedState => f.write_str("the state that TPM2_Shutdown saved is damaged"),
        }
    }
}

impl core::error::Error for ImportError {}

impl From<EntityAuthorization> for Authorization {
    fn from(from: EntityAuthorization) -> Self {
        Self {
            auth: from.auth,
            policy: EntityPolicy {
                hash: from.policy_hash,
                digest: from.policy,
            },
        }
    }
}

impl Tpm {
    /// A TPM that goes on where another implementation lost power; it waits for `TPM2_Startup`. Its permanent state is yet to
    /// be stored.
    ///
    /// # Errors
    /// The profile has no room for it, or it contradicts itself.
    pub fn import(
        imported: Imported,
        profile: Profile,
        platform: Box<dyn Platform>,
    ) -> Result<Self, ImportError> {
        let mut tpm = Self::blank(profile, platform);
        tpm.import_hierarchies(&imported);
        let audit = &mut tpm.command_audit;
        audit.hash = imported.audit_hash.unwrap_or(audit.hash);
        audit.counter = imported.audit_counter;
        if let Some(commands) = imported.audit_commands {
            audit.commands = audit.with_changes(&commands, &[]);
        }
        tpm.clock.clock = imported.clock;
        tpm.clock.safe = imported.clock_safe;
        tpm.clock.epoch = imported.time_epoch;
        tpm.clock.total_reset_count = imported.total_reset_count;
        tpm.clock.reset_count = imported.reset_count;
        let protection = &mut tpm.dictionary_attack;
        protection.failed_tries = imported.failed_tries;
        protection.max_tries = imported.max_tries;
        protection.recovery_time = imported.recovery_time;
        protection.lockout_recovery = imported.lockout_recovery;
        protection.lockout_auth_enabled = imported.lockout_auth_enabled;
        tpm.pcrs.policy = Authorization::from(imported.pcr_policy).policy;
        tpm.import_allocation(&imported.pcr_allocation)?;
        tpm.nv.max_counter = imported.max_counter;
        for contents in imported.nv {
            tpm.import_index(contents)?;
        }
        for object in imported.persistent {
            tpm.import_object(object)?;
        }
        match imported.power_loss {
            PowerLoss::Sudden { da_used } => tpm.dictionary_attack.used = da_used,
            PowerLoss::Clear => tpm.power.manufacture(),
            PowerLoss::State(saved) => tpm.import_saved(*saved)?,
        }
        tpm.init();
        tpm.persist = true;
        Ok(tpm)
    }

    fn import_hierarchies(&mut self, imported: &Imported) {
        let mut hierarchies = Hierarchies::manufacture(&mut self.random);
        for (hierarchy, secrets) in [
            (Hierarchy::Owner, &imported.owner_secrets),
            (Hierarchy::Endorsement, &imported.endorsement_secrets),
            (Hierarchy::Platform, &imported.platform_secrets),
        ] {
            hierarchies.set_secrets(hierarchy, secrets);
        }
        hierarchies.owner = imported.owner.clone().into();
        hierarchies.endorsement = imported.endorsement.clone().into();
        hierarchies.lockout = imported.lockout.clone().into();
        hierarchies.disable_clear = imported.disable_clear;
        self.identity = hierarchies.identity();
        self.hierarchies = hierarchies;
    }

    fn import_allocation(&mut self, allocation: &TpmlPcrSelection) -> Result<(), ImportError> {
        for bank in &mut self.pcrs.banks {
            let selection = allocation.iter().find(|wanted| wanted.hash == bank.hash);
            bank.allocated = selection.map_or_else(Default::default, |wanted| wanted.pcr_select);
        }
        let missing = allocation.iter().find(|wanted| {
            !wanted.pcr_select.is_empty()
                && !self.pcrs.banks.iter().any(|bank| bank.hash == wanted.hash)
        });
        missing.map_or(Ok(()), |bank| Err(ImportError::NoBank(bank.hash)))
    }

    fn import_index(&mut self, contents: NvContents) -> Result<(), ImportError> {
        let public = TpmtNvPublic2::NvIndex(contents.public);
        let handle = public.handle();
        let index = Index::with_contents(public, contents.auth, contents.data)
            .ok_or(ImportError::Inconsistent(handle))?;
        self.check_nv_space(&index)
            .map_err(|_| ImportError::NoSpace(handle))?;
        match self.nv.indices.insert(handle, index) {
            None => Ok(()),
            Some(_) => Err(ImportError::Twice(handle)),
        }
    }

    fn import_object(&mut self, from: PersistentObject) -> Result<(), ImportError> {
        let handle = from.handle;
        let fits = handle.kind() == Some(TpmHt::Persistent)
            && Hierarchy::from_handle(from.hierarchy).is_some()
            && Object::name_of(&from.public) == from.name
            && from.sensitive.as_ref().is_none_or(|sensitive| {
                sensitive.sensitive.object_type() == from.public.object_type()
            });
        if !fits {
            return Err(ImportError::Inconsistent(handle));
        }
        let most = usize::try_from(self.profile.persistent_objects).unwrap_or(usize::MAX);
        if self.objects.persistent.len() >= most {
            return Err(ImportError::NoSpace(handle));
        }
        let object = Object {
            name: from.name,
            public: from.public,
            sensitive: from.sensitive,
            qualified_name: from.qualified_name,
            hierarchy: from.hierarchy,
            external: false,
            primary: from.primary,
            st_clear: from.st_clear,
            rsa: RsaKeyCache::default(),
        };
        match self.objects.persistent.insert(handle, object) {
            None => Ok(()),
            Some(_) => Err(ImportError::Twice(handle)),
        }
    }

    fn import_saved(&mut self, saved: SavedState) -> Result<(), ImportError> {
        self.hierarchies.set_secrets(Hierarchy::Null, &saved.null);
        self.hierarchies.platform = saved.platform.into();
        let [owner, endorsement, platform_nv] = saved.enabled;
        self.hierarchies.owner_enabled = owner;
        self.hierarchies.endorsement_enabled = endorsement;
        self.hierarchies.platform_nv_enabled = platform_nv;
        self.clock.clear_count = saved.clear_count;
        self.clock.restart_count = saved.restart_count;
        self.command_audit.digest = saved.audit_digest;
        self.pcrs.auth = saved.pcr_auth;
        self.pcrs.update_counter = saved.pcr_counter;
        for (bank, values) in saved.pcrs {
            for (pcr, value) in (0u32..).zip(values) {
                if !self.pcrs.set_value(bank, pcr, &value) {
                    return Err(ImportError::SavedState);
                }
            }
        }
        let groups = self.saved_groups();
        self.power
            .set_saved_state(groups, saved.startup_locality_3, saved.hcrtm);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ScriptedPlatform;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::handles::TpmiRhNvIndex;
    use tpm_wire::nv::NvDataSize;
    use tpm_wire::pcr::{TpmsPcrSelect, TpmsPcrSelection};

    const STARTUP_STATE: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 1];

    fn import(imported: Imported) -> Result<Tpm, ImportError> {
        let platform = Box::new(ScriptedPlatform::default());
        Tpm::import(imported, Profile::default(), platform)
    }

    fn with_bank(hash: TpmiAlgHash) -> Imported {
        let bank = TpmsPcrSelection {
            hash,
            pcr_select: TpmsPcrSelect([0xFF; 3]),
        };
        Imported {
            pcr_allocation: [bank].into_iter().collect(),
            max_tries: 3,
            ..Imported::default()
        }
    }

    fn index(handle: u32, attributes: TpmaNv, size: u16) -> NvContents {
        NvContents {
            public: TpmsNvPublic {
                nv_index: TpmiRhNvIndex(TpmHandle(handle)),
                name_alg: TpmiAlgHash::Sha256,
                attributes,
                auth_policy: Tpm2bDigest::EMPTY,
                data_size: NvDataSize(size),
            },
            auth: Tpm2bAuth::EMPTY,
            data: Zeroizing::new(alloc::vec![7; usize::from(size)]),
        }
    }

    #[test]
    fn only_the_allocated_banks_exist() {
        let tpm = import(with_bank(TpmiAlgHash::Sha384)).unwrap();
        let active: Vec<_> = tpm.pcrs.active().collect();
        assert_eq!(active, [TpmiAlgHash::Sha384]);
        let mut profile = Profile::default();
        profile.limits.remove_algorithm(TpmiAlgHash::Sha384.id());
        let refused = Tpm::import(
            with_bank(TpmiAlgHash::Sha384),
            profile,
            Box::new(ScriptedPlatform::default()),
        );
        assert_eq!(
            refused.err(),
            Some(ImportError::NoBank(TpmiAlgHash::Sha384))
        );
    }

    #[test]
    fn saved_pcr_come_back_with_startup_state() {
        let mut imported = with_bank(TpmiAlgHash::Sha256);
        let saved = SavedState {
            enabled: [true; 3],
            pcrs: alloc::vec![(TpmiAlgHash::Sha256, alloc::vec![alloc::vec![9; 32]; 16])],
            ..SavedState::default()
        };
        imported.power_loss = PowerLoss::State(Box::new(saved));
        let mut tpm = import(imported.clone()).unwrap();
        assert_eq!(tpm.execute(&STARTUP_STATE).get(6..10), Some(&[0; 4][..]));
        let value = |tpm: &Tpm, pcr| tpm.pcrs.value(TpmiAlgHash::Sha256, pcr).map(<[u8]>::to_vec);
        assert_eq!(value(&tpm, 7), Some(alloc::vec![9; 32]));
        assert_eq!(value(&tpm, 16), Some(alloc::vec![0; 32]));
        if let PowerLoss::State(saved) = &mut imported.power_loss {
            saved.pcrs = alloc::vec![(TpmiAlgHash::Sha256, alloc::vec![alloc::vec![9; 20]; 16])];
        }
        assert_eq!(import(imported).err(), Some(ImportError::SavedState));
    }

    #[test]
    fn indices_keep_their_contents_and_contradictions_are_refused() {
        let mut imported = with_bank(TpmiAlgHash::Sha256);
        let attributes = TpmaNv::OWNERREAD.with(TpmaNv::WRITTEN);
        imported.nv.push(index(0x0150_0000, attributes, 8));
        imported
            .nv
            .push(index(0x0150_0001, attributes.with(TpmaNv::ORDERLY), 8));
        let mut tpm = import(imported.clone()).unwrap();
        let again = Tpm::load(
            &tpm.permanent_state(),
            Box::new(ScriptedPlatform::default()),
        );
        for index in again.unwrap().nv.indices.values() {
            assert!(index.is_written());
            assert_eq!(index.data.as_slice(), [7; 8]);
        }
        let twice = imported.nv[0].clone();
        imported.nv.push(twice);
        assert_eq!(
            import(imported.clone()).err(),
            Some(ImportError::Twice(TpmHandle(0x0150_0000)))
        );
        imported.nv[2].public.nv_index = TpmiRhNvIndex(TpmHandle(0x0150_0002));
        imported.nv[2].public.data_size = NvDataSize(9);
        assert_eq!(
            import(imported).err(),
            Some(ImportError::Inconsistent(TpmHandle(0x0150_0002)))
        );
    }
}
