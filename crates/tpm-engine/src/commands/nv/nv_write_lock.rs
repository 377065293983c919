//! `TPM2_NV_WriteLock` (Part 3, 31.11).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvWriteLock, NvWriteLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvWriteLock {
    fn execute(self, tpm: &mut Tpm) -> Result<NvWriteLockResponse, Rc> {
        let handle = self.nv_index.0;
        tpm.check_index_not_read_only(handle)?;
        let attributes = match tpm.nv.check_write(self.auth_handle.0, handle) {
            Ok(index) => index.attributes(),
            Err(Rc::NV_LOCKED) => return Ok(NvWriteLockResponse {}),
            Err(other) => return Err(other),
        };
        if !attributes.intersects(TpmaNv::WRITEDEFINE | TpmaNv::WRITE_STCLEAR) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.lock_indices(TpmaNv::WRITELOCKED, |index| index.public.handle() == handle)?;
        Ok(NvWriteLockResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, OTHER, persists, power_cut, with_index, write};
    use crate::testing::TestTpm;
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::NvWriteLock;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::nv::TpmNt;
    use tpm_wire::rc::Rc;

    fn lock(by: TpmHandle) -> NvWriteLock {
        NvWriteLock {
            auth_handle: by.into(),
            nv_index: INDEX.into(),
        }
    }

    fn is_locked(tpm: &TestTpm) -> bool {
        let index = tpm.nv.get(INDEX).unwrap();
        index.attributes().contains(TpmaNv::WRITELOCKED)
    }

    #[test]
    fn a_lock_until_the_next_start_is_durable_until_then() {
        let mut tpm = with_index(OPEN | TpmaNv::WRITE_STCLEAR, 8);
        tpm.run(write(b"1", 0)).unwrap();
        assert!(persists(&mut tpm, lock(INDEX)));
        assert!(!persists(&mut tpm, lock(INDEX)));
        assert_eq!(tpm.run(write(b"1", 0)), Err(Rc::NV_LOCKED));
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert!(is_locked(&tpm));
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert!(!is_locked(&tpm));
    }

    #[test]
    fn a_lock_of_what_is_defined_once_stays_for_ever_if_it_was_written() {
        for attributes in [TpmaNv::NONE, TpmaNv::ORDERLY] {
            let counter = OPEN.with_type(TpmNt::Counter);
            let mut tpm = with_index(counter | TpmaNv::WRITEDEFINE | attributes, 8);
            tpm.run(crate::commands::nv::build::increment()).unwrap();
            assert!(persists(&mut tpm, lock(TpmHandle::OWNER)));
            let tpm = power_cut(tpm);
            assert!(is_locked(&tpm));
        }
        let mut tpm = with_index(OPEN | TpmaNv::WRITEDEFINE, 8);
        tpm.run(lock(INDEX)).unwrap();
        assert!(is_locked(&tpm));
        assert!(!is_locked(&power_cut(tpm)));
    }

    #[test]
    fn a_locked_index_is_locked_again_by_anybody_without_effect() {
        let mut tpm = with_index(OPEN | TpmaNv::WRITE_STCLEAR, 8);
        tpm.run(lock(INDEX)).unwrap();
        assert!(!persists(&mut tpm, lock(TpmHandle::PLATFORM)));
    }

    #[test]
    fn an_index_must_be_lockable() {
        let refused = Err(Rc::ATTRIBUTES.at(NvWriteLock::nv_index));
        assert_eq!(with_index(OPEN, 8).run(lock(INDEX)), refused);
    }

    #[test]
    fn who_may_not_write_may_not_lock() {
        let mut tpm = with_index(OPEN | TpmaNv::WRITE_STCLEAR, 8);
        let refused = tpm.run(lock(TpmHandle::PLATFORM));
        assert_eq!(refused, Err(Rc::NV_AUTHORIZATION));
        let mut tpm = with_index(OPEN.without(TpmaNv::AUTHWRITE) | TpmaNv::WRITE_STCLEAR, 8);
        assert_eq!(tpm.run(lock(INDEX)), Err(Rc::AUTH_UNAVAILABLE));
        let undefined = NvWriteLock {
            nv_index: OTHER.into(),
            ..lock(TpmHandle::OWNER)
        };
        let refused = Err(Rc::HANDLE.at(NvWriteLock::nv_index));
        assert_eq!(tpm.run(undefined), refused);
    }

    #[test]
    fn nothing_is_locked_without_storage_or_in_read_only_mode() {
        let mut tpm = with_index(OPEN | TpmaNv::WRITE_STCLEAR, 8);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(lock(INDEX)), Err(Rc::NV_UNAVAILABLE));
        tpm.hierarchies.read_only = true;
        assert_eq!(tpm.run(lock(INDEX)), Err(Rc::READ_ONLY));
    }
}
