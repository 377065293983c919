//! `TPM2_SetAlgorithmSet` (Part 3, 26.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SetAlgorithmSet, SetAlgorithmSetResponse};
use tpm_wire::rc::Rc;

impl Execute for SetAlgorithmSet {
    fn execute(self, tpm: &mut Tpm) -> Result<SetAlgorithmSetResponse, Rc> {
        tpm.changes_permanent()?;
        // The number is kept and reported; the algorithms are those of the profile.
        tpm.management.algorithm_set = self.algorithm_set;
        Ok(SetAlgorithmSetResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::SetAlgorithmSet;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    const SET: SetAlgorithmSet = SetAlgorithmSet {
        auth_handle: tpm_wire::handles::TpmiRhPlatform(TpmHandle::PLATFORM),
        algorithm_set: 7,
    };

    #[test]
    fn the_set_is_stored() {
        let mut tpm = testing::started();
        tpm.persist = false;
        tpm.run(SET).unwrap();
        assert!(tpm.must_persist());
        assert_eq!(tpm.reloaded().management.algorithm_set, 7);
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(SET), Err(Rc::NV_UNAVAILABLE));
    }
}
