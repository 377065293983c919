//! `TPM2_EventSequenceComplete` (Part 3, 17.7).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::object::SequenceState;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtHa;
use tpm_wire::commands::{EventSequenceComplete, EventSequenceCompleteResponse};
use tpm_wire::pcr::TpmlDigestValues;
use tpm_wire::rc::Rc;

impl Execute for EventSequenceComplete {
    fn execute(self, tpm: &mut Tpm) -> Result<EventSequenceCompleteResponse, Rc> {
        let handle = self.sequence_handle.0;
        let wrong_mode = Rc::MODE.at(Self::sequence_handle);
        let sequence = tpm.objects.sequence(handle).map_err(|_| wrong_mode)?;
        let SequenceState::Event(hashers) = &sequence.state else {
            return Err(wrong_mode);
        };
        let mut results = TpmlDigestValues::new();
        for (hash_alg, hasher) in hashers.iter().take(results.capacity()) {
            let mut hasher = hasher.clone();
            hasher.update(&self.buffer);
            results.push(TpmtHa {
                hash_alg: *hash_alg,
                digest: small(&hasher.finish()),
            });
        }
        if let Some(pcr) = self.pcr_handle.map(|pcr| pcr.0.index()) {
            tpm.check_extend(pcr)?;
            for result in &results {
                tpm.pcrs.extend(result.hash_alg, pcr, &result.digest);
            }
        }
        tpm.running.flush = Some(handle);
        Ok(EventSequenceCompleteResponse { results })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::{DIGEST, bytes, shut_down};
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::{Tpm2bAuth, Tpm2bMaxBuffer};
    use tpm_wire::commands::{EventSequenceComplete, HashSequenceStart, SequenceUpdate};
    use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiDhPcr};
    use tpm_wire::rc::Rc;

    fn start(tpm: &mut TestTpm, hash_alg: Option<TpmiAlgHash>) -> TpmiDhObject {
        let auth = Tpm2bAuth::EMPTY;
        tpm.run(HashSequenceStart { auth, hash_alg })
            .unwrap()
            .sequence_handle
    }

    fn complete(pcr: Option<u32>, sequence_handle: TpmiDhObject) -> EventSequenceComplete {
        EventSequenceComplete {
            pcr_handle: pcr.map(|pcr| TpmiDhPcr(TpmHandle(pcr))),
            sequence_handle,
            buffer: Tpm2bMaxBuffer::new(b"age".to_vec()).unwrap(),
        }
    }

    fn event(tpm: &mut TestTpm) -> TpmiDhObject {
        let sequence_handle = start(tpm, None);
        let buffer = Tpm2bMaxBuffer::new(b"mess".to_vec()).unwrap();
        tpm.run(SequenceUpdate {
            sequence_handle,
            buffer,
        })
        .unwrap();
        sequence_handle
    }

    #[test]
    fn every_bank_is_extended_by_its_own_digest() {
        let mut tpm = testing::started();
        let sequence = event(&mut tpm);
        let results = tpm.run(complete(Some(16), sequence)).unwrap().results;
        let hashes: alloc::vec::Vec<_> = results.iter().map(|result| result.hash_alg).collect();
        assert_eq!(hashes, tpm.pcrs.active().collect::<alloc::vec::Vec<_>>());
        for result in &results {
            let old = alloc::vec![0; result.digest.len()];
            let new = crate::algorithms::hash(result.hash_alg, &[&old, &result.digest]);
            assert_eq!(tpm.pcrs.value(result.hash_alg, 16), Some(&*new));
        }
        assert_eq!(&*results[1].digest, bytes(DIGEST));
        assert_eq!(
            tpm.run(complete(None, sequence)),
            Err(Rc::reference_handle(1))
        );
    }

    #[test]
    fn without_a_pcr_only_the_digests_are_returned() {
        let mut tpm = testing::started();
        let before = tpm.pcrs.clone();
        let sequence = event(&mut tpm);
        let results = tpm.run(complete(None, sequence)).unwrap().results;
        assert_eq!(&*results[1].digest, bytes(DIGEST));
        assert_eq!(tpm.pcrs, before);
    }

    #[test]
    fn other_sequences_and_localities_are_refused() {
        let mut tpm = testing::started();
        let sequence = start(&mut tpm, Some(TpmiAlgHash::Sha256));
        let rc = Rc::MODE.at(EventSequenceComplete::sequence_handle);
        assert_eq!(tpm.run(complete(Some(16), sequence)), Err(rc));
        let sequence = event(&mut tpm);
        assert_eq!(tpm.run(complete(Some(17), sequence)), Err(Rc::LOCALITY));
    }

    #[test]
    fn a_shutdown_that_saved_the_pcr_is_void() {
        let mut tpm = testing::started();
        let sequence = event(&mut tpm);
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let rc = Rc::NV_UNAVAILABLE;
        assert_eq!(tpm.run(complete(Some(0), sequence)), Err(rc));
        tpm.run(complete(Some(16), sequence)).unwrap();
        assert!(tpm.power.is_orderly());
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        let sequence = event(&mut tpm);
        tpm.run(complete(Some(0), sequence)).unwrap();
        assert!(!tpm.power.is_orderly());
    }

    #[test]
    fn the_sequence_is_looked_at_before_the_locality_and_that_before_storage() {
        let mut tpm = testing::started();
        let hash = start(&mut tpm, Some(TpmiAlgHash::Sha256));
        let sequence = event(&mut tpm);
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let rc = Rc::MODE.at(EventSequenceComplete::sequence_handle);
        assert_eq!(tpm.run(complete(Some(17), hash)), Err(rc));
        assert_eq!(tpm.run(complete(Some(17), sequence)), Err(Rc::LOCALITY));
        assert_eq!(
            tpm.run(complete(Some(0), sequence)),
            Err(Rc::NV_UNAVAILABLE)
        );
    }
}
