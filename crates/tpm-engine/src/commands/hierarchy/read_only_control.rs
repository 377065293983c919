//! `TPM2_ReadOnlyControl` (Part 3, 24.9).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ReadOnlyControl, ReadOnlyControlResponse};
use tpm_wire::rc::Rc;

impl Execute for ReadOnlyControl {
    fn execute(self, tpm: &mut Tpm) -> Result<ReadOnlyControlResponse, Rc> {
        if tpm.hierarchies.read_only != self.state {
            tpm.void_orderly()?;
            tpm.hierarchies.read_only = self.state;
        }
        Ok(ReadOnlyControlResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::change_auth;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{GetRandom, ReadOnlyControl, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn control(tpm: &mut TestTpm, state: bool) -> Result<(), Rc> {
        let auth_handle = TpmHandle::PLATFORM.into();
        tpm.run(ReadOnlyControl { auth_handle, state }).map(|_| ())
    }

    #[test]
    fn in_read_only_mode_commands_that_change_the_tpm_are_refused() {
        let mut tpm = testing::started();
        control(&mut tpm, true).unwrap();
        assert_eq!(
            change_auth(&mut tpm, TpmHandle::OWNER, b"", b"new"),
            Err(Rc::READ_ONLY)
        );
        tpm.run(GetRandom { bytes_requested: 1 }).unwrap();
        control(&mut tpm, false).unwrap();
        change_auth(&mut tpm, TpmHandle::OWNER, b"", b"new").unwrap();
    }

    #[test]
    fn it_lasts_over_a_resume_and_ends_with_a_restart() {
        let mut tpm = testing::started();
        control(&mut tpm, true).unwrap();
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert!(tpm.hierarchies.read_only);
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert!(!tpm.hierarchies.read_only);
    }

    #[test]
    fn a_change_after_an_orderly_shutdown_needs_storage() {
        let mut tpm = testing::started();
        tpm.run(Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(control(&mut tpm, true), Err(Rc::NV_UNAVAILABLE));
        assert_eq!(control(&mut tpm, false), Ok(()));
    }
}
