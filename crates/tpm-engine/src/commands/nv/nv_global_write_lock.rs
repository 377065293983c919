//! `TPM2_NV_GlobalWriteLock` (Part 3, 31.12).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvGlobalWriteLock, NvGlobalWriteLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvGlobalWriteLock {
    fn execute(self, tpm: &mut Tpm) -> Result<NvGlobalWriteLockResponse, Rc> {
        tpm.lock_indices(TpmaNv::WRITELOCKED, |index| {
            index.attributes().contains(TpmaNv::GLOBALLOCK)
        })?;
        Ok(NvGlobalWriteLockResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{
        INDEX, OPEN, OTHER, define_public, persists, public, with_index,
    };
    use crate::testing::TestTpm;
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::NvGlobalWriteLock;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::{TpmHandle, TpmHt};
    use tpm_wire::rc::Rc;

    fn lock() -> NvGlobalWriteLock {
        NvGlobalWriteLock {
            auth_handle: TpmHandle::PLATFORM.into(),
        }
    }

    fn is_locked(tpm: &TestTpm, handle: TpmHandle) -> bool {
        let index = tpm.nv.get(handle).unwrap();
        index.attributes().contains(TpmaNv::WRITELOCKED)
    }

    #[test]
    fn all_indices_that_take_part_are_locked_until_the_next_start() {
        const ORDERLY: TpmHandle = TpmHt::NvIndex.handle(3);
        let mut tpm = with_index(OPEN | TpmaNv::GLOBALLOCK, 8);
        define_public(&mut tpm, public(OTHER, OPEN, 8)).unwrap();
        let orderly = OPEN | TpmaNv::GLOBALLOCK | TpmaNv::ORDERLY;
        define_public(&mut tpm, public(ORDERLY, orderly, 8)).unwrap();
        assert!(persists(&mut tpm, lock()));
        assert!(!persists(&mut tpm, lock()));
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        let locked = [INDEX, OTHER, ORDERLY].map(|handle| is_locked(&tpm, handle));
        assert_eq!(locked, [true, false, true]);
        tpm.restart(None, TpmSu::Clear);
        assert!(!is_locked(&tpm, INDEX) && !is_locked(&tpm, ORDERLY));
    }

    #[test]
    fn nothing_is_locked_without_storage_or_in_read_only_mode() {
        let mut tpm = with_index(OPEN | TpmaNv::GLOBALLOCK, 8);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(lock()), Err(Rc::NV_UNAVAILABLE));
        tpm.hierarchies.read_only = true;
        assert_eq!(tpm.run(lock()), Err(Rc::READ_ONLY));
    }
}
