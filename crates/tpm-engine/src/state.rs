//! One TPM: what it consists of, and what survives what.

use crate::authorization::Running;
use crate::clock::Clock;
use crate::command_audit::CommandAudit;
use crate::commit::Commits;
use crate::dictionary_attack::DictionaryAttack;
use crate::hierarchy::Hierarchies;
use crate::identity::Identity;
use crate::management::Management;
use crate::nv::Nv;
use crate::object::Objects;
use crate::pcr::Pcrs;
use crate::platform::Platform;
use crate::power::{Power, StartupKind};
use crate::profile::Profile;
use crate::session::Sessions;
use alloc::boxed::Box;
use alloc::vec::Vec;
use tpm_crypto::drbg::Drbg;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// A TPM 2.0.
///
/// ```
/// use tpm_engine::{Profile, Tpm, testing::ScriptedPlatform};
/// let mut tpm = Tpm::new(Profile::default(), Box::new(ScriptedPlatform::default()));
/// let startup = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
/// assert_eq!(tpm.execute(&startup), [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]);
/// ```
pub struct Tpm {
    pub(crate) platform: Box<dyn Platform>,
    pub(crate) profile: Profile,
    /// The generator; its state is never stored.
    pub(crate) random: Drbg,
    /// Which TPM this is, from its manufacture on.
    pub(crate) identity: Identity,
    pub(crate) power: Power,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) dictionary_attack: DictionaryAttack,
    pub(crate) clock: Clock,
    pub(crate) command_audit: CommandAudit,
    pub(crate) pcrs: Pcrs,
    pub(crate) nv: Nv,
    pub(crate) objects: Objects,
    pub(crate) sessions: Sessions,
    pub(crate) management: Management,
    pub(crate) commits: Commits,
    /// The command that is being executed.
    pub(crate) running: Running,
    /// Permanent state changed: the answer must wait for it.
    pub(crate) persist: bool,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
    pub(crate) response: Vec<u8>,
}

impl Tpm {
    /// A newly manufactured TPM, powered on: it waits for `TPM2_Startup`. Its permanent state is yet to be stored.
    #[must_use]
    pub fn new(profile: Profile, platform: Box<dyn Platform>) -> Self {
        let mut tpm = Self::blank(profile, platform);
        tpm.hierarchies = Hierarchies::manufacture(&mut tpm.random);
        tpm.identity = tpm.hierarchies.identity();
        tpm.power.manufacture();
        tpm.clock.safe = true;
        tpm.init();
        tpm.persist = true;
        tpm
    }

    /// A TPM without secrets, to be manufactured or loaded.
    pub(crate) fn blank(profile: Profile, mut platform: Box<dyn Platform>) -> Self {
        let random = seeded(&mut *platform);
        let pcrs = Pcrs::manufacture(&profile);
        Self {
            platform,
            random,
            identity: Identity::default(),
            power: Power::default(),
            hierarchies: Hierarchies::default(),
            dictionary_attack: DictionaryAttack::default(),
            clock: Clock::new(profile.clock_update),
            command_audit: CommandAudit::default(),
            pcrs,
            nv: Nv::default(),
            objects: Objects::new(profile.limits.transient_objects),
            sessions: Sessions::new(profile.limits.active_sessions, profile.loaded_sessions),
            management: Management::new(profile.limits.act_count),
            commits: Commits::default(),
            running: Running::default(),
            persist: false,
            parameters: Zeroizing::new(Vec::new()),
            response: Vec::new(),
            profile,
        }
    }

    /// Whether permanent state changed that must be on stable storage before the last answer leaves.
    #[must_use]
    pub const fn must_persist(&self) -> bool {
        self.persist
    }

    /// The profile that the TPM was manufactured with.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Notes that permanent state is about to change: the answer will wait until it is stored.
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE` if storage cannot be written now; nothing may have been changed then.
    pub(crate) fn changes_permanent(&mut self) -> Result<(), Rc> {
        self.check_storage()?;
        self.persist = true;
        Ok(())
    }

    /// The last command is stored, or changed nothing that must be: its changes stay, whatever becomes of what is stored later.
    pub fn command_settled(&mut self) {
        self.running.pcr_before = None;
    }

    /// Checks that permanent state could be stored.
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn check_storage(&self) -> Result<(), Rc> {
        if self.platform.storage_available() {
            Ok(())
        } else {
            Err(Rc::NV_UNAVAILABLE)
        }
    }

    /// Fills with random bytes of the live generator.
    pub(crate) fn fill_random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    /// Keys the generator anew from the platform, mixing in what it was.
    pub(crate) fn reseed(&mut self) {
        let mut entropy = Zeroizing::new([0; 48]);
        self.platform.entropy(&mut *entropy);
        self.random.reseed(&*entropy);
    }

    /// This TPM is now a copy of another: whatever must not repeat in two TPMs is made void (DESIGN.md, decision 8).
    ///
    /// Seeds, proofs, NV and persistent objects stay. Sessions, saved contexts and the state of an orderly shutdown are
    /// gone, the next startup is a TPM Reset, the clock is no longer safe, and the generator is keyed anew.
    pub fn fork(&mut self) {
        self.reseed();
        self.power.forget_orderly_shutdown();
        self.sessions.startup(false);
        self.clock.safe = false;
        // Tickets that one of the two gives from now on are none of the other's.
        let mut epoch = [0; 8];
        self.fill_random(&mut epoch);
        self.clock.epoch = u64::from_be_bytes(epoch);
        self.persist = true;
    }

    /// This TPM was restored with its [volatile state](Self::restore_volatile) to go on from a moment that it has gone on from before
    /// (a snapshot of a running machine): whatever must not be used twice is made void, whatever the machine's memory relies on stays.
    ///
    /// PCRs, loaded objects and contexts of objects stay. What [`fork`](Self::fork) takes away goes, so do all commit values, and the
    /// restart is counted, which attestations show.
    pub fn fork_running(&mut self) {
        let contexts = self.sessions.context_counter;
        self.fork();
        // The number of a session's context decides about its keystream, so no number that was given out after that moment may come again.
        let mut beyond = [0; 8];
        if let Some(low) = beyond.last_chunk_mut::<5>() {
            self.fill_random(low);
        }
        self.sessions.context_counter = contexts.saturating_add(u64::from_be_bytes(beyond));
        self.commit_startup(StartupKind::Reset);
        self.clock.restart_count = self.clock.restart_count.wrapping_add(1);
    }
}

/// A generator keyed from the platform.
fn seeded(platform: &mut dyn Platform) -> Drbg {
    let mut entropy = Zeroizing::new([0; 48]);
    platform.entropy(&mut *entropy);
    Drbg::new(&*entropy, &[b"vtpm"])
}

#[cfg(test)]
mod tests {
    use crate::commands::context::build::{load, object, save, session};
    use crate::state::Tpm;
    use crate::testing::{self, ScriptedPlatform};
    use alloc::boxed::Box;

    #[test]
    fn a_running_machine_that_goes_on_from_a_snapshot_keeps_objects_and_repeats_nothing() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let context = save(&mut tpm, object).unwrap();
        let (kept, saved) = (session(&mut tpm), session(&mut tpm));
        let session_context = save(&mut tpm, saved).unwrap();
        tpm.commits.begin();
        let (permanent, volatile) = (tpm.permanent_state(), tpm.volatile_state());

        let mut back = Tpm::load(&permanent, Box::new(ScriptedPlatform::default())).unwrap();
        back.restore_volatile(&volatile).unwrap();
        back.fork_running();
        assert!(back.is_started() && back.must_persist());
        assert!(back.objects.is_loaded(object));
        assert_eq!(back.commits.open, 0);
        assert_ne!(back.commits.nonce, tpm.commits.nonce);
        assert_eq!(back.clock.restart_count, tpm.clock.restart_count + 1);
        assert!(!back.clock.safe);
        assert!(back.sessions.context_counter >= tpm.sessions.context_counter);
        assert!(back.sessions.get(kept).is_none());

        // What was saved before: objects come back, sessions do not. Both survive as bytes.
        let (permanent, volatile) = (back.permanent_state(), back.volatile_state());
        let mut again = testing::started();
        *again = Tpm::load(&permanent, Box::new(ScriptedPlatform::default())).unwrap();
        again.restore_volatile(&volatile).unwrap();
        assert!(load(&mut again, context).is_ok());
        assert!(load(&mut again, session_context).is_err());
    }
}
