//! `TPM2_DictionaryAttackLockReset` (Part 3, 25.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{DictionaryAttackLockReset, DictionaryAttackLockResetResponse};
use tpm_wire::rc::Rc;

impl Execute for DictionaryAttackLockReset {
    fn execute(self, tpm: &mut Tpm) -> Result<DictionaryAttackLockResetResponse, Rc> {
        tpm.changes_permanent()?;
        tpm.dictionary_attack.failed_tries = 0;
        Ok(DictionaryAttackLockResetResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::dictionary_attack::build::{
        self, fail, lock, protected, reset, try_lockout, use_object,
    };
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::{Position, Rc};

    #[test]
    fn failures_lock_and_the_reset_unlocks() {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        for _ in 0..3 {
            assert_eq!(
                fail(&mut tpm, object),
                Rc::AUTH_FAIL.at(Position::session(1))
            );
        }
        assert!(tpm.must_persist());
        // Even the right value is refused now.
        assert_eq!(use_object(&mut tpm, object), Err(Rc::LOCKOUT));
        reset(&mut tpm).unwrap();
        use_object(&mut tpm, object).unwrap();
    }

    #[test]
    fn a_failure_is_durable_before_it_is_answered() {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        lock(&mut tpm, object);
        let mut tpm = tpm.reloaded();
        assert_eq!(tpm.dictionary_attack.failed_tries, 3);
        tpm.restart(None, TpmSu::Clear);
        let object = protected(&mut tpm);
        assert_eq!(use_object(&mut tpm, object), Err(Rc::LOCKOUT));
    }

    #[test]
    fn pulling_the_plug_after_a_use_counts_as_a_failure_and_an_orderly_shutdown_does_not() {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        use_object(&mut tpm, object).unwrap();
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert_eq!(tpm.dictionary_attack.failed_tries, 0);
        let object = protected(&mut tpm);
        use_object(&mut tpm, object).unwrap();
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(tpm.dictionary_attack.failed_tries, 1);
        // Without a use in between it does not.
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(tpm.dictionary_attack.failed_tries, 1);
        // And it never counts beyond the lock.
        tpm.dictionary_attack.failed_tries = 3;
        tpm.dictionary_attack.used = true;
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(tpm.dictionary_attack.failed_tries, 3);
    }

    #[test]
    fn time_forgives_one_failure_after_the_other() {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        lock(&mut tpm, object);
        tpm.script.now.store(999_999, Ordering::Relaxed);
        assert_eq!(build::failures(&mut tpm), 3);
        tpm.script.now.store(1_000_000, Ordering::Relaxed);
        tpm.persist = false;
        assert_eq!(build::failures(&mut tpm), 2);
        assert!(tpm.must_persist());
        use_object(&mut tpm, object).unwrap();
        // A new failure begins the time anew.
        tpm.script.now.store(1_900_000, Ordering::Relaxed);
        fail(&mut tpm, object);
        tpm.script.now.store(2_100_000, Ordering::Relaxed);
        assert_eq!(build::failures(&mut tpm), 3);
        tpm.script.now.store(4_900_000, Ordering::Relaxed);
        assert_eq!(build::failures(&mut tpm), 0);
    }

    #[test]
    fn a_wrong_lockout_value_closes_lockout_until_its_recovery_time_is_over() {
        let mut tpm = testing::started();
        assert_eq!(
            try_lockout(&mut tpm, b"wrong"),
            Err(Rc::AUTH_FAIL.at(Position::session(1)))
        );
        assert_eq!(try_lockout(&mut tpm, b""), Err(Rc::LOCKOUT));
        // It is stored, and a restart alone does not open it.
        let mut tpm = tpm.reloaded();
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(try_lockout(&mut tpm, b""), Err(Rc::LOCKOUT));
        tpm.script.now.store(1_000_000, Ordering::Relaxed);
        assert_eq!(build::failures(&mut tpm), 0);
        assert_eq!(try_lockout(&mut tpm, b""), Ok(()));
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        try_lockout(&mut tpm, b"").unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(reset(&mut tpm), Err(Rc::NV_UNAVAILABLE));
    }
}
