//! `TPM2_ClearControl` (Part 3, 24.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ClearControl, ClearControlResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for ClearControl {
    fn execute(self, tpm: &mut Tpm) -> Result<ClearControlResponse, Rc> {
        tpm.check_storage()?;
        // Lockout authorization can forbid, and only the platform allow.
        if self.auth.0 == TpmHandle::LOCKOUT && !self.disable {
            return Err(Rc::AUTH_FAIL);
        }
        if tpm.hierarchies.disable_clear != self.disable {
            tpm.changes_permanent()?;
            tpm.hierarchies.disable_clear = self.disable;
        }
        Ok(ClearControlResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::ClearControl;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn control(tpm: &mut TestTpm, auth: TpmHandle, disable: bool) -> Result<(), Rc> {
        let auth = auth.into();
        tpm.run(ClearControl { auth, disable }).map(|_| ())
    }

    #[test]
    fn lockout_forbids_and_only_the_platform_allows() {
        let mut tpm = testing::started();
        control(&mut tpm, TpmHandle::LOCKOUT, true).unwrap();
        assert!(tpm.hierarchies.disable_clear);
        assert_eq!(
            control(&mut tpm, TpmHandle::LOCKOUT, false),
            Err(Rc::AUTH_FAIL)
        );
        let mut tpm = tpm.reloaded();
        assert!(tpm.hierarchies.disable_clear);
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        control(&mut tpm, TpmHandle::PLATFORM, false).unwrap();
        assert!(!tpm.hierarchies.disable_clear);
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(
            control(&mut tpm, TpmHandle::PLATFORM, true),
            Err(Rc::NV_UNAVAILABLE)
        );
    }
}
