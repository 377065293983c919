//! `TPM2_NV_Increment` (Part 3, 31.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvIncrement, NvIncrementResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvIncrement {
    fn execute(self, tpm: &mut Tpm) -> Result<NvIncrementResponse, Rc> {
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if index.nv_type() != TpmNt::Counter {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.increment_index(self.nv_index.0)?;
        Ok(NvIncrementResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{
        OPEN, increment, persists, power_cut, read_number, refusals_of_writing, with_index,
    };
    use crate::testing::TestTpm;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::NvIncrement;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::nv::TpmNt;
    use tpm_wire::rc::Rc;

    fn with_counter(attributes: TpmaNv) -> TestTpm {
        with_index(OPEN.with_type(TpmNt::Counter) | attributes, 8)
    }

    #[test]
    fn a_counter_counts_from_one_durably() {
        let mut tpm = with_counter(TpmaNv::NONE);
        assert_eq!(read_number(&mut tpm), Err(Rc::NV_UNINITIALIZED));
        for expected in 1..=3 {
            assert!(persists(&mut tpm, increment()));
            tpm = power_cut(tpm);
            assert_eq!(read_number(&mut tpm), Ok(expected));
        }
    }

    #[test]
    fn an_orderly_counter_is_stored_at_first_and_with_each_256th_value() {
        let mut tpm = with_counter(TpmaNv::ORDERLY);
        for count in 1..=1000 {
            let stored = persists(&mut tpm, increment());
            assert_eq!(stored, count == 1 || count % 256 == 0, "{count}");
            assert_eq!(read_number(&mut tpm), Ok(count));
        }
    }

    #[test]
    fn an_orderly_counter_goes_on_exactly_after_a_shutdown() {
        let mut tpm = with_counter(TpmaNv::ORDERLY);
        for _ in 0..300 {
            tpm.run(increment()).unwrap();
        }
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert_eq!(read_number(&mut tpm), Ok(300));
        tpm.run(increment()).unwrap();
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(read_number(&mut tpm), Ok(301));
        tpm.run(increment()).unwrap();
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert_eq!(read_number(&mut tpm), Ok(302));
    }

    #[test]
    fn an_orderly_counter_never_falls_when_power_is_cut() {
        let mut tpm = with_counter(TpmaNv::ORDERLY);
        let (mut shown, mut stored) = (0, tpm.permanent_state());
        for step in 1..=2000u32 {
            tpm.run(increment()).unwrap();
            if tpm.must_persist() {
                stored = tpm.permanent_state();
            }
            let count = read_number(&mut tpm).unwrap();
            assert!(count > shown, "{count} after {shown}");
            shown = count;
            if step % 97 == 0 {
                // What was not stored is lost.
                tpm.restore_permanent(&stored).unwrap();
                tpm.restart(None, TpmSu::Clear);
                stored = tpm.permanent_state();
                assert!(read_number(&mut tpm).unwrap() >= shown);
            }
        }
    }

    #[test]
    fn an_orderly_counter_never_falls_when_storage_fails() {
        let mut tpm = with_counter(TpmaNv::ORDERLY);
        let stored = tpm.permanent_state();
        tpm.run(increment()).unwrap();
        tpm.restore_permanent(&stored).unwrap();
        assert_eq!(read_number(&mut tpm), Err(Rc::NV_UNINITIALIZED));
        tpm.run(increment()).unwrap();
        let stored = tpm.permanent_state();
        while !tpm.must_persist() {
            tpm.run(increment()).unwrap();
        }
        assert_eq!(read_number(&mut tpm), Ok(256));
        tpm.restore_permanent(&stored).unwrap();
        assert_eq!(read_number(&mut tpm), Ok(255));
    }

    #[test]
    fn only_counters_are_incremented() {
        let refused = Err(Rc::ATTRIBUTES.at(NvIncrement::nv_index));
        assert_eq!(with_index(OPEN, 8).run(increment()), refused);
        let mut bits = with_index(OPEN.with_type(TpmNt::Bits), 8);
        assert_eq!(bits.run(increment()), refused);
    }

    #[test]
    fn incrementing_is_refused_by_lock_authority_and_mode() {
        let refusals = refusals_of_writing(TpmNt::Counter, 8, |by| NvIncrement {
            auth_handle: by.into(),
            ..increment()
        });
        let expected = [
            Rc::HANDLE.at(NvIncrement::nv_index),
            Rc::NV_AUTHORIZATION,
            Rc::NV_UNAVAILABLE,
            Rc::NV_LOCKED,
            Rc::READ_ONLY,
        ];
        assert_eq!(refusals, expected);
    }
}
