//! `TPM2_PCR_Extend` (Part 3, 22.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrExtend, PcrExtendResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrExtend {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrExtendResponse, Rc> {
        let Some(pcr) = self.pcr_handle else {
            return Ok(PcrExtendResponse {});
        };
        let pcr = pcr.0.index();
        tpm.check_extend(pcr)?;
        for digest in &self.digests {
            tpm.pcrs.extend(digest.hash_alg, pcr, &digest.digest);
        }
        Ok(PcrExtendResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::hash;
    use crate::commands::pcr::build::{digest, extend, handle};
    use crate::testing::{self, Auth, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::commands::{PcrExtend, PcrSetAuthPolicy, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};

    fn value(tpm: &TestTpm, hash: TpmiAlgHash, pcr: u32) -> Option<&[u8]> {
        tpm.pcrs.value(hash, pcr)
    }

    #[test]
    fn each_bank_is_extended_by_its_own_digest_and_others_stay() {
        let (sha1, sha256) = (TpmiAlgHash::Sha1, TpmiAlgHash::Sha256);
        let mut tpm = testing::started();
        let digests = [
            digest(sha1, 1),
            digest(sha256, 2),
            digest(TpmiAlgHash::Sha3_512, 3),
        ];
        let before = tpm.pcrs.update_counter;
        tpm.run(PcrExtend {
            pcr_handle: Some(handle(7)),
            digests: digests.into_iter().collect(),
        })
        .unwrap();
        let expected = hash(sha1, &[&[0; 20], &[1; 20]]);
        assert_eq!(value(&tpm, sha1, 7), Some(&*expected));
        let expected = hash(sha256, &[&[0; 32], &[2; 32]]);
        assert_eq!(value(&tpm, sha256, 7), Some(&*expected));
        assert_eq!(value(&tpm, TpmiAlgHash::Sha384, 7), Some(&[0; 48][..]));
        // A bank without PCR is not extended.
        assert_eq!(value(&tpm, TpmiAlgHash::Sha3_512, 7), None);
        assert_eq!(tpm.pcrs.update_counter, before + 2);
    }

    #[test]
    fn nothing_is_stored() {
        let mut tpm = testing::started();
        let _ = tpm.permanent_state();
        tpm.run(extend(0)).unwrap();
        assert!(!tpm.must_persist());
    }

    #[test]
    fn what_cannot_be_stored_has_extended_nothing() {
        let mut tpm = testing::started();
        tpm.run(extend(0)).unwrap();
        let shutdown_type = TpmSu::State;
        tpm.run(Shutdown { shutdown_type }).unwrap();
        let stored = tpm.permanent_state();
        let before = (tpm.pcrs.banks.clone(), tpm.pcrs.update_counter);
        // The orderly shutdown is void with the first change, which therefore is stored.
        tpm.run(extend(0)).unwrap();
        assert!(tpm.must_persist());
        let changed = (tpm.pcrs.banks.clone(), tpm.pcrs.update_counter);
        assert!(changed != before);
        tpm.restore_permanent(&stored).unwrap();
        assert!((tpm.pcrs.banks.clone(), tpm.pcrs.update_counter) == before);
        // Once it can be, it counts once.
        tpm.run(extend(0)).unwrap();
        assert!((tpm.pcrs.banks.clone(), tpm.pcrs.update_counter) == changed);
        // What needs no storage stays when a later command is taken back.
        let _ = tpm.permanent_state();
        tpm.run(extend(1)).unwrap();
        tpm.run(Shutdown { shutdown_type }).unwrap();
        let extended = tpm.pcrs.banks.clone();
        tpm.restore_permanent(&stored).unwrap();
        assert!(tpm.pcrs.banks == extended);
    }

    #[test]
    fn what_was_answered_stays_when_a_save_without_a_command_fails() {
        let mut tpm = testing::started();
        tpm.run(extend(0)).unwrap();
        tpm.command_settled();
        let extended = tpm.pcrs.banks.clone();
        let stored = tpm.permanent_state();
        tpm.restore_permanent(&stored).unwrap();
        assert!(tpm.pcrs.banks == extended);
    }

    #[test]
    fn no_pcr_is_extended_by_the_null_handle() {
        let mut tpm = testing::started();
        let before = tpm.snapshot();
        let command = PcrExtend {
            pcr_handle: None,
            ..extend(0)
        };
        assert!(tpm.run(command).is_ok());
        assert_eq!(tpm.snapshot(), before);
    }

    #[test]
    fn localities_are_those_of_the_pcr() {
        let mut tpm = testing::started();
        assert_eq!(tpm.run(extend(17)), Err(Rc::LOCALITY));
        tpm.script.locality.store(2, Ordering::Relaxed);
        assert!(tpm.run(extend(17)).is_ok());
        tpm.script.locality.store(33, Ordering::Relaxed);
        assert_eq!(tpm.run(extend(0)), Err(Rc::LOCALITY));
    }

    #[test]
    fn a_shutdown_that_saved_the_pcr_is_voided_durably() {
        let mut tpm = testing::started();
        tpm.run(Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        tpm.run(extend(23)).unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(extend(1)), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn a_pcr_that_does_not_exist_is_value_at_handle_1() {
        let refused = testing::started().run(extend(24));
        assert_eq!(refused, Err(Rc::VALUE.at(PcrExtend::pcr_handle)));
    }

    #[test]
    fn with_a_policy_set_only_the_policy_authorizes() {
        let mut tpm = testing::started();
        tpm.script.locality.store(2, Ordering::Relaxed);
        let digest = digest(TpmiAlgHash::Sha256, 7).digest;
        tpm.run(PcrSetAuthPolicy {
            auth_handle: TpmHandle::PLATFORM.into(),
            auth_policy: digest,
            hash_alg: Some(TpmiAlgHash::Sha256),
            pcr_num: handle(20),
        })
        .unwrap();
        assert_eq!(tpm.run(extend(21)), Err(Rc::AUTH_TYPE));
        let code = <PcrExtend as tpm_wire::table::Command>::INFO.code;
        let session = crate::commands::nv::build::policy_session(&mut tpm, &[7; 32], code);
        assert!(tpm.run_as(extend(21), &[session]).is_ok());
        let session = crate::commands::nv::build::policy_session(&mut tpm, &[8; 32], code);
        let refused = tpm.run_as(extend(21), &[session]);
        assert_eq!(refused, Err(Rc::POLICY_FAIL.at(Position::session(1))));
        // PCR without policy take an empty password still.
        assert!(tpm.run_as(extend(16), &[Auth::password(b"")]).is_ok());
    }
}
