//! `TPM2_DictionaryAttackParameters` (Part 3, 25.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{DictionaryAttackParameters, DictionaryAttackParametersResponse};
use tpm_wire::rc::Rc;

impl Execute for DictionaryAttackParameters {
    fn execute(self, tpm: &mut Tpm) -> Result<DictionaryAttackParametersResponse, Rc> {
        tpm.changes_permanent()?;
        // The count of failures stays, so that the change may lock or unlock.
        let protection = &mut tpm.dictionary_attack;
        protection.max_tries = self.new_max_tries;
        protection.recovery_time = self.new_recovery_time;
        protection.lockout_recovery = self.lockout_recovery;
        Ok(DictionaryAttackParametersResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::dictionary_attack::build::{
        self, fail, lock, parameters, protected, try_lockout, use_object,
    };
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::{Position, Rc};

    #[test]
    fn more_tries_unlock_and_fewer_lock() {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        lock(&mut tpm, object);
        parameters(&mut tpm, 4, 1000, 1000).unwrap();
        use_object(&mut tpm, object).unwrap();
        parameters(&mut tpm, 2, 1000, 1000).unwrap();
        assert_eq!(use_object(&mut tpm, object), Err(Rc::LOCKOUT));
        // No tries at all lock for ever.
        parameters(&mut tpm, 0, 1000, 1000).unwrap();
        assert_eq!(use_object(&mut tpm, object), Err(Rc::LOCKOUT));
    }

    #[test]
    fn they_outlive_the_loss_of_power() {
        let mut tpm = testing::started();
        tpm.persist = false;
        parameters(&mut tpm, 5, 6, 7).unwrap();
        assert!(tpm.must_persist());
        let tpm = tpm.reloaded();
        let protection = &tpm.dictionary_attack;
        assert_eq!(
            (
                protection.max_tries,
                protection.recovery_time,
                protection.lockout_recovery
            ),
            (5, 6, 7)
        );
    }

    #[test]
    fn no_recovery_time_switches_the_protection_off() {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        lock(&mut tpm, object);
        parameters(&mut tpm, 3, 0, 1000).unwrap();
        assert_eq!(build::failures(&mut tpm), 0);
        for _ in 0..9 {
            assert_eq!(
                fail(&mut tpm, object),
                Rc::AUTH_FAIL.at(Position::session(1))
            );
        }
        use_object(&mut tpm, object).unwrap();
    }

    #[test]
    fn without_lockout_recovery_only_a_restart_opens_lockout() {
        let mut tpm = testing::started();
        parameters(&mut tpm, 3, 1000, 0).unwrap();
        assert!(try_lockout(&mut tpm, b"wrong").is_err());
        tpm.script.now.store(1 << 40, Ordering::Relaxed);
        build::failures(&mut tpm);
        assert_eq!(try_lockout(&mut tpm, b""), Err(Rc::LOCKOUT));
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(try_lockout(&mut tpm, b""), Ok(()));
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        try_lockout(&mut tpm, b"").unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(parameters(&mut tpm, 1, 2, 3), Err(Rc::NV_UNAVAILABLE));
    }
}
