//! `TPM2_Shutdown` (Part 3, 9.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Shutdown, ShutdownResponse};
use tpm_wire::rc::Rc;

impl Execute for Shutdown {
    fn execute(self, tpm: &mut Tpm) -> Result<ShutdownResponse, Rc> {
        tpm.shutdown(self.shutdown_type, Self::shutdown_type)?;
        Ok(ShutdownResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::commands::{PcrAllocate, ReadClock, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::pcr::{TpmsPcrSelect, TpmsPcrSelection};
    use tpm_wire::rc::Rc;

    const STATE: Shutdown = Shutdown {
        shutdown_type: TpmSu::State,
    };
    const CLEAR: Shutdown = Shutdown {
        shutdown_type: TpmSu::Clear,
    };

    #[test]
    fn the_host_learns_that_the_last_command_was_one() {
        for shutdown in [STATE, CLEAR] {
            let mut tpm = testing::started();
            assert!(!tpm.shut_down_orderly());
            tpm.persist = false;
            tpm.run(shutdown).unwrap();
            assert!(tpm.shut_down_orderly() && tpm.must_persist());
            tpm.run(ReadClock {}).unwrap();
            assert!(!tpm.shut_down_orderly());
            assert!(tpm.power.is_orderly(), "a command that changes nothing");
        }
    }

    #[test]
    fn after_pcr_were_allocated_anew_only_clear_is_possible() {
        let mut tpm = testing::started();
        let selection = TpmsPcrSelection {
            hash: TpmiAlgHash::Sha1,
            pcr_select: TpmsPcrSelect::default(),
        };
        let allocated = tpm.run(PcrAllocate {
            auth_handle: TpmHandle::PLATFORM.into(),
            pcr_allocation: [selection].into_iter().collect(),
        });
        assert!(allocated.unwrap().allocation_success);
        assert_eq!(tpm.run(STATE), Err(Rc::TYPE.at(Shutdown::shutdown_type)));
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert_eq!(tpm.pcrs.value(TpmiAlgHash::Sha1, 0), None);
        tpm.run(STATE).unwrap();
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(STATE), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn storage_is_looked_at_before_the_type() {
        let mut tpm = testing::started();
        tpm.run(PcrAllocate {
            auth_handle: TpmHandle::PLATFORM.into(),
            pcr_allocation: Default::default(),
        })
        .unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(STATE), Err(Rc::NV_UNAVAILABLE));
    }
}
