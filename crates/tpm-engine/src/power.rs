//! Power: `_TPM_Init`, `TPM2_Startup`, `TPM2_Shutdown`, failure mode, and the hash sequence of a dynamic root of trust (Part 1, 12).

use crate::algorithms::{hash_algorithm, small};
use crate::commands::testing::SelfTests;
use crate::pcr::{DRTM_PCR, HCRTM_PCR};
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_crypto::hash::Hasher;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::constants::TpmSu;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Smallest buffers that a host can choose: what a TPM 2.0 needs for any command, as swtpm has it.
const SMALLEST_BUFFER: usize = 0xB50;

/// How the TPM was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartupKind {
    Reset,
    Restart,
    Resume,
}

/// Where the TPM is between power-on and power-off.
#[derive(Default)]
pub(crate) struct Power {
    /// `TPM2_Startup` succeeded since `_TPM_Init`.
    pub(crate) started: bool,
    /// Why the TPM is in failure mode, if it is.
    pub(crate) failure: Option<&'static str>,
    /// The last `TPM2_Shutdown` that nothing has voided since.
    orderly: Option<TpmSu>,
    /// The last command was a successful `TPM2_Shutdown`.
    pub(crate) just_shut_down: bool,
    /// The run before this one ended with an orderly shutdown (`TPMA_STARTUP_CLEAR.orderly`).
    pub(crate) was_orderly: bool,
    /// The self-tests, and which were not run since `_TPM_Init`.
    pub(crate) self_tests: SelfTests,
    /// The size that the host chose for command and response buffers; a setting of the host, not part of the state.
    buffer_size: Option<usize>,
    /// What `TPM2_Shutdown(STATE)` saved.
    pub(crate) saved_state: Zeroizing<Vec<u8>>,
    /// The startup came from locality 3.
    startup_locality_3: bool,
    /// A hash sequence ran before the startup: it was an H-CRTM event.
    hcrtm: bool,
    /// The last orderly shutdown followed an H-CRTM event, or a startup from locality 3.
    saved_hcrtm: bool,
    saved_locality_3: bool,
    /// The hash sequence that runs, a hash for each bank.
    drtm: Option<Vec<(TpmiAlgHash, Hasher)>>,
    /// A dynamic root of trust was established (`TPM_ACCESS.tpmEstablishment`).
    pub(crate) established: bool,
}

impl Power {
    /// Whether the state is that of an orderly shutdown.
    pub(crate) const fn is_orderly(&self) -> bool {
        self.orderly.is_some()
    }

    /// A new TPM counts as shut down in good order.
    pub(crate) const fn manufacture(&mut self) {
        self.orderly = Some(TpmSu::Clear);
    }

    /// Takes over what `TPM2_Shutdown(STATE)` has saved elsewhere.
    pub(crate) fn set_saved_state(
        &mut self,
        saved: Zeroizing<Vec<u8>>,
        startup_locality_3: bool,
        hcrtm: bool,
    ) {
        self.orderly = Some(TpmSu::State);
        self.saved_hcrtm = hcrtm;
        self.saved_state = saved;
        self.saved_locality_3 = startup_locality_3;
    }

    /// The next startup can only be a TPM Reset.
    pub(crate) fn forget_orderly_shutdown(&mut self) {
        self.orderly = None;
        self.saved_state = Zeroizing::new(Vec::new());
    }

    /// Enters failure mode. Returns the response code to give back.
    pub(crate) const fn fail(&mut self, reason: &'static str) -> Rc {
        self.failure = Some(reason);
        Rc::FAILURE
    }

    pub(crate) fn marshal_permanent(&self, out: &mut Vec<u8>) {
        let orderly = match self.orderly {
            None => 0u8,
            Some(TpmSu::Clear) => 1,
            Some(TpmSu::State) => 2,
        };
        orderly.marshal(out);
        self.saved_hcrtm.marshal(out);
        self.saved_locality_3.marshal(out);
    }

    pub(crate) fn parse_permanent<'a>(&mut self, input: Input<'a>) -> Parsed<'a, ()> {
        let (rest, orderly) = u8::parse(input)?;
        let orderly = match orderly {
            0 => None,
            1 => Some(TpmSu::Clear),
            2 => Some(TpmSu::State),
            _ => return refuse(Rc::VALUE),
        };
        let (rest, saved_hcrtm) = bool::parse(rest)?;
        let (rest, saved_locality_3) = bool::parse(rest)?;
        (self.orderly, self.saved_hcrtm, self.saved_locality_3) =
            (orderly, saved_hcrtm, saved_locality_3);
        Ok((rest, ()))
    }

    pub(crate) fn marshal_volatile(&self, out: &mut Vec<u8>) {
        for flag in [
            self.started,
            self.just_shut_down,
            self.startup_locality_3,
            self.hcrtm,
            self.established,
            self.was_orderly,
            self.failure.is_some(),
        ] {
            flag.marshal(out);
        }
    }

    pub(crate) fn parse_volatile<'a>(&mut self, input: Input<'a>) -> Parsed<'a, ()> {
        let (rest, started) = bool::parse(input)?;
        let (rest, just_shut_down) = bool::parse(rest)?;
        let (rest, startup_locality_3) = bool::parse(rest)?;
        let (rest, hcrtm) = bool::parse(rest)?;
        let (rest, established) = bool::parse(rest)?;
        let (rest, was_orderly) = bool::parse(rest)?;
        let (rest, failed) = bool::parse(rest)?;
        self.started = started;
        self.just_shut_down = just_shut_down;
        self.startup_locality_3 = startup_locality_3;
        self.hcrtm = hcrtm;
        self.established = established;
        self.was_orderly = was_orderly;
        self.failure = failed.then_some("the TPM was in failure mode when its state was saved");
        self.drtm = None;
        Ok((rest, ()))
    }
}

impl Tpm {
    /// `_TPM_Init`: power comes on, or the platform resets. What was volatile is gone; `TPM2_Startup` must follow.
    pub fn init(&mut self) {
        self.reseed();
        let now = self.platform.milliseconds();
        self.clock.init(now);
        self.power.started = false;
        self.power.failure = None;
        self.power.just_shut_down = false;
        self.power.hcrtm = false;
        self.power.drtm = None;
        self.power.self_tests.init(&self.profile.limits);
        self.management.init();
        self.objects.flush_if(|_| true);
        self.sessions.startup(true);
    }

    /// Whether the last command was a successful `TPM2_Shutdown`.
    #[must_use]
    pub const fn shut_down_orderly(&self) -> bool {
        self.power.just_shut_down
    }

    /// Whether the TPM is in failure mode, and why.
    #[must_use]
    pub const fn failure(&self) -> Option<&'static str> {
        self.power.failure
    }

    /// Enters failure mode: a condition that must hold does not. Returns the response code to give back.
    pub fn fail(&mut self, reason: &'static str) -> Rc {
        self.power.fail(reason)
    }

    /// Voids an orderly shutdown: state that it saved is about to change (Part 3, 9.4).
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn void_orderly(&mut self) -> Result<(), Rc> {
        if self.power.is_orderly() {
            self.changes_permanent()?;
            self.power.forget_orderly_shutdown();
        }
        Ok(())
    }

    /// `TPM2_Startup` (Part 3, 9.3).
    pub(crate) fn startup(
        &mut self,
        startup_type: TpmSu,
        at: tpm_wire::Position,
    ) -> Result<(), Rc> {
        self.check_storage()?;
        let locality = self.platform.locality();
        if !matches!(locality, 0 | 3) {
            return Err(Rc::LOCALITY);
        }
        // After an H-CRTM event the locality of the startup does not count.
        let locality_3 = locality == 3 && !self.power.hcrtm;
        if startup_type == TpmSu::State {
            if self.power.orderly != Some(TpmSu::State)
                || self.power.saved_hcrtm != self.power.hcrtm
            {
                return Err(Rc::VALUE.at(at));
            }
            if self.power.saved_locality_3 != locality_3 {
                return Err(Rc::LOCALITY);
            }
        }
        let mut kind = match (self.power.orderly, startup_type) {
            (Some(TpmSu::State), TpmSu::State) => StartupKind::Resume,
            (Some(TpmSu::State), TpmSu::Clear) => StartupKind::Restart,
            _ => StartupKind::Reset,
        };
        self.power.test_at_startup()?;
        if kind != StartupKind::Reset && !self.restore_saved(kind)? {
            // A TPM Reset needs nothing that was saved, so that the TPM is never stuck.
            if kind == StartupKind::Resume {
                return Err(Rc::NV_UNINITIALIZED);
            }
            kind = StartupKind::Reset;
        }
        self.start(kind, locality);
        self.power.started = true;
        self.power.startup_locality_3 = locality_3;
        self.persist = true;
        Ok(())
    }

    /// Takes back what `TPM2_Shutdown(STATE)` saved. If that is damaged, nothing changes and the answer is no.
    fn restore_saved(&mut self, kind: StartupKind) -> Result<bool, Rc> {
        let before = self.saved_groups();
        let saved = core::mem::take(&mut self.power.saved_state);
        let resume = kind == StartupKind::Resume;
        let restored = self.restore_groups(&saved, resume).is_ok();
        self.power.saved_state = saved;
        if !restored && self.restore_groups(&before, resume).is_err() {
            return Err(self.fail("the state of a moment ago cannot be taken back"));
        }
        Ok(restored)
    }

    fn start(&mut self, kind: StartupKind, locality: u8) {
        let (clear, reset) = (kind != StartupKind::Resume, kind == StartupKind::Reset);
        let orderly = self.power.is_orderly();
        self.power.was_orderly = orderly;
        self.power.forget_orderly_shutdown();
        self.clock.safe &= orderly;
        // `time` began anew with `_TPM_Init`: what expires by it belongs to the run before.
        self.clock.epoch = self.clock.epoch.wrapping_add(1);
        self.dictionary_attack.startup(orderly);
        self.hierarchies.startup(clear, reset, &mut self.random);
        self.pcrs.startup(!clear, reset, locality, self.power.hcrtm);
        self.clock.rate_adjust = if clear { 0 } else { self.clock.rate_adjust };
        match kind {
            StartupKind::Resume => {
                self.clock.restart_count = self.clock.restart_count.wrapping_add(1)
            }
            StartupKind::Restart => {
                self.clock.clear_count = self.clock.clear_count.wrapping_add(1);
                self.clock.restart_count = self.clock.restart_count.wrapping_add(1);
            }
            StartupKind::Reset => {
                self.objects.context_counter = 0;
                self.command_audit.digest = Default::default();
                self.clock.clear_count = 0;
                self.clock.restart_count = 0;
                self.clock.reset_count = self.clock.reset_count.wrapping_add(1);
                self.clock.total_reset_count += 1;
            }
        }
        self.sessions.startup(!reset);
        self.management_startup(kind);
        self.nv_startup(kind, orderly);
        self.commit_startup(kind);
    }

    /// `TPM2_Shutdown` (Part 3, 9.4).
    pub(crate) fn shutdown(
        &mut self,
        shutdown_type: TpmSu,
        at: tpm_wire::Position,
    ) -> Result<(), Rc> {
        self.check_storage()?;
        if shutdown_type == TpmSu::State && self.pcrs.pending.is_some() {
            return Err(Rc::TYPE.at(at));
        }
        self.changes_permanent()?;
        self.nv_shutdown();
        self.dictionary_attack.shutdown(self.clock.time);
        self.power.orderly = Some(shutdown_type);
        self.power.saved_hcrtm = self.power.hcrtm;
        self.power.saved_locality_3 = self.power.startup_locality_3;
        self.power.saved_state = match shutdown_type {
            TpmSu::State => self.saved_groups(),
            TpmSu::Clear => Zeroizing::new(Vec::new()),
        };
        Ok(())
    }

    /// `_TPM_Hash_Start`: begins an event of the dynamic root of trust, or before startup of the H-CRTM (Part 3, 22.9).
    pub fn hash_start(&mut self) {
        let banks = self
            .pcrs
            .banks
            .iter()
            .filter(|bank| !bank.allocated.is_empty());
        self.power.drtm = Some(
            banks
                .map(|bank| (bank.hash, Hasher::new(hash_algorithm(bank.hash))))
                .collect(),
        );
    }

    /// `_TPM_Hash_Data`: adds data to the event (Part 3, 22.10).
    pub fn hash_data(&mut self, data: &[u8]) {
        for (_, hasher) in self.power.drtm.iter_mut().flatten() {
            hasher.update(data);
        }
    }

    /// `_TPM_Hash_End`: extends the PCR of the event (Part 3, 22.11). Without a start it does nothing.
    pub fn hash_end(&mut self) {
        let Some(hashers) = self.power.drtm.take() else {
            return;
        };
        let pcr = if self.power.started {
            // The launch counts as a restart, and what an orderly shutdown saved is no longer how things are.
            self.clock.restart_count = self.clock.restart_count.wrapping_add(1);
            if self.power.is_orderly() {
                self.power.forget_orderly_shutdown();
                self.persist = true;
            }
            // A dynamic launch resets the PCR that belong to it (PC Client profile: 17 to 22).
            for pcr in DRTM_PCR..=22 {
                self.pcrs.fill(pcr, 0);
            }
            DRTM_PCR
        } else {
            self.power.hcrtm = true;
            self.pcrs.fill(HCRTM_PCR, 0);
            self.pcrs.start_hcrtm(HCRTM_PCR);
            HCRTM_PCR
        };
        for (hash, hasher) in hashers {
            let digest: tpm_wire::buffers::Tpm2bDigest = small(&hasher.finish());
            self.pcrs.extend(hash, pcr, &digest);
        }
        self.power.established = true;
    }

    /// A command ends a hash sequence that was not finished.
    pub(crate) fn abandon_hash_sequence(&mut self) {
        self.power.drtm = None;
    }

    /// Whether a dynamic root of trust was established since [`reset_established`](Self::reset_established).
    #[must_use]
    pub const fn established(&self) -> bool {
        self.power.established
    }

    /// Clears the establishment flag.
    pub const fn reset_established(&mut self) {
        self.power.established = false;
    }

    /// The largest command that is taken and the largest response that is given, bytes.
    #[must_use]
    pub fn max_command_size(&self) -> usize {
        let largest = usize::try_from(self.profile.max_command_size).unwrap_or(usize::MAX);
        self.power.buffer_size.unwrap_or(largest)
    }

    /// Chooses the size of the command and response buffers, as near to `wanted` as the profile allows, and gives the size
    /// that it is now. Zero only asks.
    ///
    /// A machine negotiates it with the interface that its guest sees. It outlives [`init`](Self::init), but is no part of
    /// the state.
    pub fn set_buffer_size(&mut self, wanted: usize) -> usize {
        let largest = usize::try_from(self.profile.max_command_size).unwrap_or(usize::MAX);
        if wanted != 0 {
            self.power.buffer_size = Some(wanted.clamp(SMALLEST_BUFFER.min(largest), largest));
        }
        self.max_command_size()
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;
    use crate::testing::{self, TestTpm};
    use alloc::vec;
    use tpm_wire::capability::TpmsCapabilityData;
    use tpm_wire::commands::GetCapability;
    use tpm_wire::constants::{TpmCap, TpmPt, TpmSu};
    use tpm_wire::rc::Rc;

    /// The response code for a command of this many bytes.
    fn answer(tpm: &mut TestTpm, size: u32) -> Rc {
        let mut command = vec![0; usize::try_from(size).unwrap()];
        command[..2].copy_from_slice(&[0x80, 0x01]);
        command[2..6].copy_from_slice(&size.to_be_bytes());
        command[6..10].copy_from_slice(&0x17Bu32.to_be_bytes());
        let response = tpm.execute(&command);
        Rc::from_number(u32::from_be_bytes(*response[6..].first_chunk().unwrap()))
    }

    fn reported(tpm: &mut TestTpm) -> u32 {
        let answer = tpm.run(GetCapability {
            capability: TpmCap::TPM_PROPERTIES,
            property: TpmPt::MAX_COMMAND_SIZE.0,
            property_count: 2,
        });
        let TpmsCapabilityData::TpmProperties(list) = answer.unwrap().capability_data else {
            panic!("properties were asked for")
        };
        assert_eq!(list[0].value, list[1].value);
        list[0].value
    }

    #[test]
    fn the_host_chooses_the_size_of_the_buffers_within_the_profile() {
        let mut tpm = testing::started();
        assert_eq!(tpm.set_buffer_size(0), 8192);
        assert_eq!(answer(&mut tpm, 8193), Rc::COMMAND_SIZE);
        assert_eq!(answer(&mut tpm, 8192), Rc::SIZE);
        for (wanted, chosen) in [(4096, 4096), (1, 2896), (1 << 20, 8192), (3000, 3000)] {
            assert_eq!(tpm.set_buffer_size(wanted), chosen);
            assert_eq!(tpm.set_buffer_size(0), chosen);
            assert_eq!(tpm.max_command_size(), chosen);
            assert_eq!(usize::try_from(reported(&mut tpm)), Ok(chosen));
        }
        assert_eq!(answer(&mut tpm, 3001), Rc::COMMAND_SIZE);
        let profile = Profile::by_name("swtpm-0.7").unwrap();
        assert_eq!(testing::with_profile(profile).set_buffer_size(8192), 4096);
    }

    #[test]
    fn the_size_of_the_buffers_outlives_power_and_is_not_stored() {
        let mut tpm = testing::started();
        tpm.set_buffer_size(4096);
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(tpm.max_command_size(), 4096);
        assert_eq!(tpm.reloaded().max_command_size(), 8192);
    }
}
