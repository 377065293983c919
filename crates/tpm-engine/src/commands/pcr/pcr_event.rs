//! `TPM2_PCR_Event` (Part 3, 22.3).

use crate::algorithms::{hash, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtHa;
use tpm_wire::commands::{PcrEvent, PcrEventResponse};
use tpm_wire::pcr::TpmlDigestValues;
use tpm_wire::rc::Rc;

impl Execute for PcrEvent {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrEventResponse, Rc> {
        let pcr = self.pcr_handle.map(|pcr| pcr.0.index());
        if let Some(pcr) = pcr {
            tpm.check_extend(pcr)?;
        }
        // Hashes without a bank are left out: older clients do not know all of them.
        let digests: TpmlDigestValues = tpm
            .pcrs
            .active()
            .map(|hash_alg| TpmtHa {
                hash_alg,
                digest: small(&hash(hash_alg, &[&self.event_data])),
            })
            .collect();
        if let Some(pcr) = pcr {
            for digest in &digests {
                tpm.pcrs.extend(digest.hash_alg, pcr, &digest.digest);
            }
        }
        Ok(PcrEventResponse { digests })
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::hash;
    use crate::commands::pcr::build::handle;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::Tpm2bEvent;
    use tpm_wire::commands::{PcrEvent, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::Rc;

    const ACTIVE: [TpmiAlgHash; 4] = [
        TpmiAlgHash::Sha1,
        TpmiAlgHash::Sha256,
        TpmiAlgHash::Sha384,
        TpmiAlgHash::Sha512,
    ];

    fn event(pcr: Option<u32>, data: &[u8]) -> PcrEvent {
        PcrEvent {
            pcr_handle: pcr.map(handle),
            event_data: Tpm2bEvent::new(data.to_vec()).unwrap(),
        }
    }

    #[test]
    fn the_data_is_hashed_for_every_bank_and_extended() {
        let mut tpm = testing::started();
        let digests = tpm.run(event(Some(4), b"event")).unwrap().digests;
        assert!(digests.iter().map(|digest| digest.hash_alg).eq(ACTIVE));
        for digest in digests {
            let expected = hash(digest.hash_alg, &[b"event"]);
            assert_eq!(*digest.digest, *expected);
            let zeros = alloc::vec![0; expected.len()];
            let value = hash(digest.hash_alg, &[&zeros, &expected]);
            assert_eq!(tpm.pcrs.value(digest.hash_alg, 4), Some(&*value));
        }
    }

    #[test]
    fn the_null_handle_gives_digests_and_extends_nothing() {
        let mut tpm = testing::started();
        let before = tpm.snapshot();
        let digests = tpm.run(event(None, b"")).unwrap().digests;
        assert_eq!(digests.len(), ACTIVE.len());
        assert_eq!(tpm.snapshot(), before);
    }

    #[test]
    fn an_event_is_at_most_1024_bytes() {
        let mut tpm = testing::started();
        assert!(tpm.run(event(Some(0), &[0; 1024])).is_ok());
        let command = testing::encode(&event(Some(0), &[0; 1024]), &[testing::Auth::password(b"")]);
        let mut longer = command.clone();
        longer.push(0);
        // The sizes of the frame and of the parameter grow by one.
        longer[5] += 1;
        let size = longer.len() - 1024 - 2;
        longer[size - 1] = 4;
        longer[size] += 1;
        let response = testing::decode::<PcrEvent>(tpm.execute(&longer));
        assert_eq!(response.err(), Some(Rc::SIZE.at(PcrEvent::event_data)));
    }

    #[test]
    fn localities_are_those_of_the_pcr() {
        let mut tpm = testing::started();
        assert_eq!(tpm.run(event(Some(18), b"x")), Err(Rc::LOCALITY));
        tpm.script.locality.store(4, Ordering::Relaxed);
        assert!(tpm.run(event(Some(18), b"x")).is_ok());
    }

    #[test]
    fn a_shutdown_that_saved_the_pcr_needs_storage_to_be_voided() {
        let mut tpm = testing::started();
        let shutdown_type = TpmSu::State;
        tpm.run(Shutdown { shutdown_type }).unwrap();
        tpm.run(event(Some(23), b"x")).unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(event(Some(1), b"x")), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn a_pcr_that_does_not_exist_is_value_at_handle_1() {
        let refused = testing::started().run(event(Some(24), b"x"));
        assert_eq!(refused, Err(Rc::VALUE.at(PcrEvent::pcr_handle)));
    }
}
