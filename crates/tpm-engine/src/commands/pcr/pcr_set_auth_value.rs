//! `TPM2_PCR_SetAuthValue` (Part 3, 22.7).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::pcr::Pcrs;
use crate::state::Tpm;
use tpm_wire::commands::{PcrSetAuthValue, PcrSetAuthValueResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrSetAuthValue {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrSetAuthValueResponse, Rc> {
        if !Pcrs::has_auth(self.pcr_handle.0.index()) {
            return Err(Rc::VALUE);
        }
        tpm.void_orderly()?;
        tpm.pcrs.auth = small(self.auth.without_trailing_zeros());
        Ok(PcrSetAuthValueResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::pcr::build::{extend, handle};
    use crate::testing::{self, Auth};
    use core::sync::atomic::Ordering;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::{PcrSetAuthValue, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::{Position, Rc};

    fn set(pcr: u32) -> PcrSetAuthValue {
        PcrSetAuthValue {
            pcr_handle: handle(pcr),
            auth: Tpm2bDigest::new(b"secret\0").unwrap(),
        }
    }

    #[test]
    fn the_value_authorizes_the_group_until_the_next_restart() {
        let mut tpm = testing::started();
        tpm.run(set(20)).unwrap();
        tpm.script.locality.store(2, Ordering::Relaxed);
        let refused = tpm.run(extend(21));
        assert_eq!(refused, Err(Rc::BAD_AUTH.at(Position::session(1))));
        let authorized = tpm.run_as(extend(21), &[Auth::password(b"secret")]);
        assert!(authorized.is_ok());
        assert!(tpm.run(extend(16)).is_ok());
        tpm.script.locality.store(0, Ordering::Relaxed);
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(*tpm.pcrs.auth, *b"secret");
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert!(tpm.pcrs.auth.is_empty());
    }

    #[test]
    fn other_pcr_have_no_value() {
        assert_eq!(testing::started().run(set(19)), Err(Rc::VALUE));
    }

    #[test]
    fn a_shutdown_that_saved_the_value_needs_storage_to_be_voided() {
        let mut tpm = testing::started();
        let shutdown_type = TpmSu::State;
        tpm.run(Shutdown { shutdown_type }).unwrap();
        tpm.run(extend(16)).unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(set(20)), Err(Rc::NV_UNAVAILABLE));
    }
}
