//! `TPM2_NV_ReadLock` (Part 3, 31.14).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvReadLock, NvReadLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvReadLock {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadLockResponse, Rc> {
        let handle = self.nv_index.0;
        tpm.check_index_not_read_only(handle)?;
        match tpm.nv.check_read(self.auth_handle.0, handle) {
            // What was never written can be locked too.
            Ok(_) | Err(Rc::NV_UNINITIALIZED) => {}
            Err(Rc::NV_LOCKED) => return Ok(NvReadLockResponse {}),
            Err(other) => return Err(other),
        }
        let attributes = tpm.nv.get(handle)?.attributes();
        if !attributes.contains(TpmaNv::READ_STCLEAR) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.lock_indices(TpmaNv::READLOCKED, |index| index.public.handle() == handle)?;
        Ok(NvReadLockResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, OTHER, persists, read, with_index, write};
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::NvReadLock;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn lock(by: TpmHandle) -> NvReadLock {
        NvReadLock {
            auth_handle: by.into(),
            nv_index: INDEX.into(),
        }
    }

    #[test]
    fn a_lock_holds_until_the_next_start() {
        for orderly in [TpmaNv::NONE, TpmaNv::ORDERLY] {
            let mut tpm = with_index(OPEN | TpmaNv::READ_STCLEAR | orderly, 8);
            tpm.run(write(b"12345678", 0)).unwrap();
            assert!(persists(&mut tpm, lock(INDEX)));
            assert_eq!(read(&mut tpm, 8), Err(Rc::NV_LOCKED));
            tpm.restart(Some(TpmSu::State), TpmSu::State);
            assert_eq!(read(&mut tpm, 8), Err(Rc::NV_LOCKED));
            tpm.restart(Some(TpmSu::State), TpmSu::Clear);
            assert_eq!(read(&mut tpm, 8), Ok(b"12345678".to_vec()));
        }
    }

    #[test]
    fn a_lock_after_a_shutdown_holds_when_the_tpm_resumes() {
        let mut tpm = with_index(OPEN | TpmaNv::READ_STCLEAR | TpmaNv::ORDERLY, 8);
        tpm.run(write(b"12345678", 0)).unwrap();
        tpm.run(tpm_wire::commands::Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        tpm.run(lock(INDEX)).unwrap();
        let mut tpm = tpm.reloaded();
        tpm.restart(None, TpmSu::State);
        assert_eq!(read(&mut tpm, 8), Err(Rc::NV_LOCKED));
    }

    #[test]
    fn what_was_not_written_can_be_locked_and_what_is_locked_stays_so() {
        let mut tpm = with_index(OPEN | TpmaNv::READ_STCLEAR, 8);
        assert!(persists(&mut tpm, lock(INDEX)));
        assert!(!persists(&mut tpm, lock(INDEX)));
        assert!(!persists(&mut tpm, lock(TpmHandle::PLATFORM)));
    }

    #[test]
    fn an_index_must_be_lockable_and_its_lock_is_for_who_may_read() {
        let mut tpm = with_index(OPEN, 8);
        let refused = tpm.run(lock(TpmHandle::PLATFORM));
        assert_eq!(refused, Err(Rc::NV_AUTHORIZATION));
        let refused = Err(Rc::ATTRIBUTES.at(NvReadLock::nv_index));
        assert_eq!(tpm.run(lock(INDEX)), refused);
        let undefined = NvReadLock {
            nv_index: OTHER.into(),
            ..lock(TpmHandle::OWNER)
        };
        let refused = Err(Rc::HANDLE.at(NvReadLock::nv_index));
        assert_eq!(tpm.run(undefined), refused);
    }

    #[test]
    fn nothing_is_locked_without_storage_or_in_read_only_mode() {
        let mut tpm = with_index(OPEN | TpmaNv::READ_STCLEAR, 8);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(lock(INDEX)), Err(Rc::NV_UNAVAILABLE));
        tpm.hierarchies.read_only = true;
        assert_eq!(tpm.run(lock(INDEX)), Err(Rc::READ_ONLY));
    }
}
