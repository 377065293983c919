//! `TPM2_Startup` (Part 3, 9.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Startup, StartupResponse};
use tpm_wire::rc::Rc;

impl Execute for Startup {
    fn execute(self, tpm: &mut Tpm) -> Result<StartupResponse, Rc> {
        tpm.startup(self.startup_type, Self::startup_type)?;
        Ok(StartupResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::clock::build::read;
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;
    use tpm_crypto::hash::{HashAlgorithm, hash};
    use tpm_wire::algorithm::{TpmiAlgHash, TpmtHa};
    use tpm_wire::buffers::Small;
    use tpm_wire::commands::{GetRandom, PcrExtend, ReadClock, Shutdown, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::{TpmHandle, TpmiDhPcr};
    use tpm_wire::rc::Rc;

    fn start(tpm: &mut TestTpm, startup_type: TpmSu) -> Result<(), Rc> {
        tpm.run(Startup { startup_type }).map(|_| ())
    }

    fn shut_down(tpm: &mut TestTpm, shutdown_type: TpmSu) {
        tpm.run(Shutdown { shutdown_type }).unwrap();
    }

    fn at_locality(tpm: &TestTpm, locality: u8) {
        tpm.script.locality.store(locality, Ordering::Relaxed);
    }

    fn pcr(tpm: &TestTpm, pcr: u32) -> Vec<u8> {
        tpm.pcrs.value(TpmiAlgHash::Sha256, pcr).unwrap().to_vec()
    }

    fn extend(tpm: &mut TestTpm, pcr: u32) {
        let digest = TpmtHa {
            hash_alg: TpmiAlgHash::Sha256,
            digest: Small::zeros(32),
        };
        tpm.run(PcrExtend {
            pcr_handle: Some(TpmiDhPcr(TpmHandle(pcr))),
            digests: [digest].into_iter().collect(),
        })
        .unwrap();
    }

    /// A PCR that held `before` and was extended with the hash of `data`.
    fn extended(before: &[u8], data: &[u8]) -> Vec<u8> {
        let digest = hash(HashAlgorithm::Sha256, &[data]);
        hash(HashAlgorithm::Sha256, &[before, &digest]).to_vec()
    }

    fn ending_in(last: u8) -> Vec<u8> {
        let mut value = Vec::from([0; 32]);
        value[31] = last;
        value
    }

    fn measure(tpm: &mut TestTpm, data: &[u8]) {
        tpm.hash_start();
        for piece in data.chunks(3) {
            tpm.hash_data(piece);
        }
        tpm.hash_end();
    }

    fn counts(tpm: &mut TestTpm) -> (u32, u32) {
        let info = read(tpm).clock_info;
        (info.reset_count, info.restart_count)
    }

    #[test]
    fn nothing_but_a_startup_is_answered_before_and_no_startup_after() {
        let mut tpm = testing::manufactured();
        assert_eq!(tpm.run(ReadClock {}).map(|_| ()), Err(Rc::INITIALIZE));
        assert_eq!(
            tpm.run(GetRandom { bytes_requested: 1 }).map(|_| ()),
            Err(Rc::INITIALIZE)
        );
        start(&mut tpm, TpmSu::Clear).unwrap();
        assert_eq!(start(&mut tpm, TpmSu::Clear), Err(Rc::INITIALIZE));
        assert_eq!(start(&mut tpm, TpmSu::State), Err(Rc::INITIALIZE));
        tpm.init();
        assert_eq!(tpm.run(ReadClock {}).map(|_| ()), Err(Rc::INITIALIZE));
    }

    #[test]
    fn without_saved_state_startup_state_is_value_at_parameter_1_and_pcr_stay() {
        let value = Err(Rc::VALUE.at(Startup::startup_type));
        let mut tpm = testing::manufactured();
        assert_eq!(start(&mut tpm, TpmSu::State), value);
        start(&mut tpm, TpmSu::Clear).unwrap();
        extend(&mut tpm, 0);
        extend(&mut tpm, 7);
        for shutdown in [None, Some(TpmSu::Clear)] {
            let before = [pcr(&tpm, 0), pcr(&tpm, 7)];
            if let Some(shutdown) = shutdown {
                shut_down(&mut tpm, shutdown);
            }
            tpm.init();
            assert_eq!(start(&mut tpm, TpmSu::State), value);
            assert_eq!([pcr(&tpm, 0), pcr(&tpm, 7)], before);
            start(&mut tpm, TpmSu::Clear).unwrap();
            assert_eq!(pcr(&tpm, 7), ending_in(0));
        }
    }

    #[test]
    fn a_saved_state_is_used_once() {
        let mut tpm = testing::started();
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        tpm.init();
        assert_eq!(
            start(&mut tpm, TpmSu::State),
            Err(Rc::VALUE.at(Startup::startup_type))
        );
    }

    #[test]
    fn a_change_after_the_shutdown_voids_it() {
        let mut tpm = testing::started();
        shut_down(&mut tpm, TpmSu::State);
        extend(&mut tpm, 7);
        let mut tpm = tpm.reloaded();
        assert_eq!(
            start(&mut tpm, TpmSu::State),
            Err(Rc::VALUE.at(Startup::startup_type))
        );
    }

    #[test]
    fn resets_restarts_and_resumes_are_counted() {
        let mut tpm = testing::started();
        assert_eq!(counts(&mut tpm), (1, 0));
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(counts(&mut tpm), (1, 1));
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert_eq!(counts(&mut tpm), (1, 2));
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert_eq!(counts(&mut tpm), (2, 0));
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(counts(&mut tpm), (3, 0));
        assert!(tpm.must_persist());
        assert_eq!(tpm.reloaded().clock.reset_count, 3);
    }

    #[test]
    fn a_resume_brings_the_saved_pcr_back_and_a_restart_does_not() {
        for (startup, kept) in [(TpmSu::State, true), (TpmSu::Clear, false)] {
            let mut tpm = testing::started();
            extend(&mut tpm, 7);
            extend(&mut tpm, 16);
            let before = pcr(&tpm, 7);
            shut_down(&mut tpm, TpmSu::State);
            let mut tpm = tpm.reloaded();
            start(&mut tpm, startup).unwrap();
            assert_eq!(pcr(&tpm, 7) == before, kept);
            assert_eq!(pcr(&tpm, 16), ending_in(0));
            assert_eq!(pcr(&tpm, 17), [0xFF; 32]);
        }
    }

    #[test]
    fn the_locality_of_the_startup_is_the_end_of_pcr_0() {
        for (locality, expected) in [
            (0, Ok(0)),
            (3, Ok(3)),
            (1, Err(())),
            (2, Err(())),
            (4, Err(())),
        ] {
            let mut tpm = testing::manufactured();
            at_locality(&tpm, locality);
            let started = start(&mut tpm, TpmSu::Clear);
            match expected {
                Ok(last) => assert_eq!(pcr(&tpm, 0), ending_in(last)),
                Err(()) => assert_eq!(started, Err(Rc::LOCALITY)),
            }
        }
    }

    #[test]
    fn a_resume_comes_from_the_locality_of_the_first_startup() {
        for (first, second) in [(3, 0), (0, 3)] {
            let mut tpm = testing::manufactured();
            at_locality(&tpm, first);
            start(&mut tpm, TpmSu::Clear).unwrap();
            shut_down(&mut tpm, TpmSu::State);
            let mut tpm = tpm.reloaded();
            at_locality(&tpm, second);
            assert_eq!(start(&mut tpm, TpmSu::State), Err(Rc::LOCALITY));
            at_locality(&tpm, first);
            start(&mut tpm, TpmSu::State).unwrap();
            assert_eq!(pcr(&tpm, 0), ending_in(first));
        }
    }

    #[test]
    fn an_event_before_the_startup_is_measured_into_pcr_0() {
        let mut tpm = testing::manufactured();
        measure(&mut tpm, b"the first code");
        at_locality(&tpm, 3);
        start(&mut tpm, TpmSu::Clear).unwrap();
        assert_eq!(pcr(&tpm, 0), extended(&ending_in(4), b"the first code"));
        assert!(tpm.established());
        tpm.reset_established();
        assert!(!tpm.established());
        // The next run has none.
        at_locality(&tpm, 0);
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(pcr(&tpm, 0), ending_in(0));
    }

    #[test]
    fn a_resume_needs_an_event_if_there_was_one_and_only_then() {
        let value = Err(Rc::VALUE.at(Startup::startup_type));
        let mut tpm = testing::manufactured();
        measure(&mut tpm, b"code");
        start(&mut tpm, TpmSu::Clear).unwrap();
        let before = pcr(&tpm, 0);
        shut_down(&mut tpm, TpmSu::State);
        let mut tpm = tpm.reloaded();
        assert_eq!(start(&mut tpm, TpmSu::State), value);
        measure(&mut tpm, b"other code");
        // After an event the locality does not count.
        at_locality(&tpm, 3);
        start(&mut tpm, TpmSu::State).unwrap();
        assert_eq!(pcr(&tpm, 0), before);

        let mut tpm = testing::started();
        shut_down(&mut tpm, TpmSu::State);
        tpm.init();
        measure(&mut tpm, b"code");
        assert_eq!(start(&mut tpm, TpmSu::State), value);
    }

    #[test]
    fn a_dynamic_launch_is_measured_into_pcr_17() {
        let mut tpm = testing::started();
        extend(&mut tpm, 7);
        let before = pcr(&tpm, 7);
        shut_down(&mut tpm, TpmSu::State);
        tpm.persist = false;
        measure(&mut tpm, b"launch");
        assert_eq!(pcr(&tpm, 17), extended(&[0; 32], b"launch"));
        for other in 18..=22 {
            assert_eq!(pcr(&tpm, other), [0; 32]);
        }
        assert_eq!(pcr(&tpm, 7), before);
        assert_eq!(counts(&mut tpm), (1, 1));
        // What the shutdown saved is void, also after a loss of power.
        assert!(tpm.must_persist());
        let mut tpm = tpm.reloaded();
        assert!(start(&mut tpm, TpmSu::State).is_err());
    }

    #[test]
    fn a_command_ends_an_event_that_is_not_finished() {
        let mut tpm = testing::started();
        tpm.hash_start();
        tpm.hash_data(b"half");
        read(&mut tpm);
        tpm.hash_end();
        assert_eq!(pcr(&tpm, 17), [0xFF; 32]);
        // An end without a start does nothing at all.
        tpm.hash_end();
        assert_eq!(counts(&mut tpm), (1, 0));
    }

    #[test]
    fn a_new_event_begins_anew() {
        let mut tpm = testing::started();
        tpm.hash_start();
        tpm.hash_data(b"given up");
        measure(&mut tpm, b"launch");
        assert_eq!(pcr(&tpm, 17), extended(&[0; 32], b"launch"));
    }

    #[test]
    fn a_saved_state_that_is_damaged_is_nv_uninitialized_until_a_startup_clear() {
        for cut in [0, 5, 100, 500] {
            let mut tpm = testing::started();
            shut_down(&mut tpm, TpmSu::State);
            tpm.init();
            assert!(tpm.power.saved_state.len() > cut);
            tpm.power.saved_state.truncate(cut);
            for _ in 0..2 {
                let resumed = start(&mut tpm, TpmSu::State);
                assert_eq!(resumed, Err(Rc::NV_UNINITIALIZED));
            }
            start(&mut tpm, TpmSu::Clear).unwrap();
            assert_eq!(counts(&mut tpm), (2, 0), "a TPM Reset");
        }
    }

    #[test]
    fn storage_is_looked_at_before_the_locality_and_that_before_the_type() {
        let mut tpm = testing::manufactured();
        at_locality(&tpm, 2);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(start(&mut tpm, TpmSu::State), Err(Rc::NV_UNAVAILABLE));
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        assert_eq!(start(&mut tpm, TpmSu::State), Err(Rc::LOCALITY));
    }

    #[test]
    fn a_running_tpm_goes_on_elsewhere_as_if_nothing_had_happened() {
        use crate::commands::context::build::{hash_sequence, object, save, session};
        use tpm_wire::commands::ActSetTimeout;
        let mut tpm = testing::started();
        object(&mut tpm);
        hash_sequence(&mut tpm);
        crate::commands::policy::build::policy(&mut tpm);
        let saved = session(&mut tpm);
        save(&mut tpm, saved).unwrap();
        session(&mut tpm);
        extend(&mut tpm, 7);
        extend(&mut tpm, 16);
        tpm.script.now.store(12345, Ordering::Relaxed);
        tpm.run(ActSetTimeout {
            act_handle: TpmHandle::ACT_0.into(),
            start_timeout: 7,
        })
        .unwrap();
        let (before, volatile) = (tpm.snapshot(), tpm.volatile_state());
        let mut tpm = tpm.reloaded();
        tpm.restore_volatile(&volatile).unwrap();
        assert!(before == tpm.snapshot());
        assert_eq!(read(&mut tpm).time, 12345);
        assert_eq!(start(&mut tpm, TpmSu::Clear), Err(Rc::INITIALIZE));
        // What was cut is refused, and the TPM waits for a startup.
        let cut = &volatile[..volatile.len() - 10];
        assert!(tpm.restore_volatile(cut).is_err());
        start(&mut tpm, TpmSu::Clear).unwrap();
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::manufactured();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(start(&mut tpm, TpmSu::Clear), Err(Rc::NV_UNAVAILABLE));
    }
}
