//! `TPM2_PCR_Allocate` (Part 3, 22.5).

use crate::execute::Execute;
use crate::pcr::{DRTM_PCR, HCRTM_PCR, PCR_COUNT, size};
use crate::state::Tpm;
use tpm_wire::commands::{PcrAllocate, PcrAllocateResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrAllocate {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrAllocateResponse, Rc> {
        tpm.check_storage()?;
        let allocation = tpm.pcrs.allocation(&self.pcr_allocation);
        let has = |pcr| allocation.iter().any(|bank| bank.pcr_select.contains(pcr));
        if !has(DRTM_PCR) || !has(HCRTM_PCR) {
            return Err(Rc::PCR);
        }
        let response = PcrAllocateResponse {
            allocation_success: true,
            max_pcr: PCR_COUNT,
            size_needed: size(&allocation),
            size_available: tpm.pcrs.memory(),
        };
        // The PCR that a shutdown may have saved are not those of the next startup.
        tpm.void_orderly()?;
        tpm.changes_permanent()?;
        tpm.pcrs.pending = Some(allocation);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::pcr::build::{extend, selection};
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash::{self, Sha1, Sha3_256, Sha256, Sha384, Sha512};
    use tpm_wire::commands::{PcrAllocate, PcrAllocateResponse, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    const ALL: [u32; 24] = {
        let mut all = [0; 24];
        let mut pcr = 0;
        while pcr < 24 {
            all[pcr as usize] = pcr;
            pcr += 1;
        }
        all
    };

    fn allocate(banks: &[(TpmiAlgHash, &[u32])]) -> PcrAllocate {
        PcrAllocate {
            auth_handle: TpmHandle::PLATFORM.into(),
            pcr_allocation: selection(banks),
        }
    }

    fn has(tpm: &TestTpm, hash: TpmiAlgHash, pcr: u32) -> bool {
        tpm.pcrs.value(hash, pcr).is_some()
    }

    // TPM_RC_NV_RATE does not occur: the rate of storage is not limited.
    #[test]
    fn an_allocation_takes_effect_with_the_next_reset() {
        let mut tpm = testing::started();
        let _ = tpm.permanent_state();
        let response = tpm.run(allocate(&[(Sha1, &[]), (Sha3_256, &[0, 23])]));
        let sizes = [20, 32, 48, 64, 32, 32, 48, 64];
        let expected = PcrAllocateResponse {
            allocation_success: true,
            max_pcr: 24,
            size_needed: 24 * (32 + 48 + 64) + 2 * 32,
            size_available: 24 * sizes.iter().sum::<u32>(),
        };
        assert_eq!(response, Ok(expected));
        assert!(tpm.must_persist());
        assert!(has(&tpm, Sha1, 0) && !has(&tpm, Sha3_256, 0));
        let mut tpm = tpm.reloaded();
        tpm.restart(None, TpmSu::Clear);
        assert!(!has(&tpm, Sha1, 0) && has(&tpm, Sha3_256, 0));
        assert!(!has(&tpm, Sha3_256, 1) && has(&tpm, Sha3_256, 23) && has(&tpm, Sha256, 1));
        assert_eq!(tpm.pcrs.value(Sha3_256, 23), Some(&[0; 32][..]));
    }

    #[test]
    fn the_last_allocation_counts() {
        let mut tpm = testing::started();
        tpm.run(allocate(&[(Sha1, &[])])).unwrap();
        tpm.run(allocate(&[(Sha384, &[0]), (Sha384, &ALL[..2])]))
            .unwrap();
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert!(has(&tpm, Sha1, 0) && has(&tpm, Sha384, 1) && !has(&tpm, Sha384, 2));
    }

    #[test]
    fn the_state_cannot_be_saved_until_then_and_what_was_saved_is_void() {
        let mut tpm = testing::started();
        let save = Shutdown {
            shutdown_type: TpmSu::State,
        };
        tpm.run(save.clone()).unwrap();
        tpm.run(allocate(&[(Sha1, &[])])).unwrap();
        assert!(!tpm.power.is_orderly());
        let refused = tpm.run(save.clone());
        assert_eq!(refused, Err(Rc::TYPE.at(Shutdown::shutdown_type)));
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert!(tpm.run(save).is_ok());
    }

    #[test]
    fn the_pcr_of_both_hash_sequences_must_remain() {
        let mut tpm = testing::started();
        let none: &[u32] = &[];
        let refused = tpm.run(allocate(
            &[Sha1, Sha256, Sha384, Sha512].map(|bank| (bank, none)),
        ));
        assert_eq!(refused, Err(Rc::PCR));
        let only_0: [(_, &[u32]); 4] =
            [(Sha1, &[0]), (Sha256, none), (Sha384, none), (Sha512, none)];
        assert_eq!(tpm.run(allocate(&only_0)), Err(Rc::PCR));
        let mut both = only_0;
        both[1].1 = &[17];
        assert!(tpm.run(allocate(&both)).is_ok());
        tpm.restart(None, TpmSu::Clear);
        tpm.run(extend(0)).unwrap();
        assert!(!has(&tpm, Sha256, 0) && has(&tpm, Sha256, 17));
    }

    #[test]
    fn without_storage_nothing_is_allocated() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let refused = tpm.run(allocate(&[(Sha1, &[])]));
        assert_eq!(refused, Err(Rc::NV_UNAVAILABLE));
    }
}
