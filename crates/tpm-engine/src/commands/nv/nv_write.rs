//! `TPM2_NV_Write` (Part 3, 31.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvWrite, NvWriteResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvWrite {
    fn execute(self, tpm: &mut Tpm) -> Result<NvWriteResponse, Rc> {
        tpm.check_nv_buffer(&self.data)
            .map_err(|rc| rc.at(Self::data))?;
        tpm.check_index_not_read_only(self.nv_index.0)?;
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if matches!(
            index.nv_type(),
            TpmNt::Counter | TpmNt::Bits | TpmNt::Extend
        ) {
            return Err(Rc::ATTRIBUTES);
        }
        let (offset, size) = (usize::from(self.offset), self.data.len());
        if offset > index.data_size() {
            return Err(Rc::VALUE.at(Self::offset));
        }
        if size > index.data_size() - offset {
            return Err(Rc::NV_RANGE);
        }
        if index.attributes().contains(TpmaNv::WRITEALL) && size < index.data_size() {
            return Err(Rc::NV_RANGE);
        }
        tpm.write_index(self.nv_index.0, offset, &self.data)?;
        Ok(NvWriteResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{
        INDEX, OPEN, define_public, persists, power_cut, public, read, refusals_of_writing,
        with_index, write,
    };
    use crate::profile::Profile;
    use crate::testing;
    use alloc::vec;
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::{NvRead, NvWrite};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::nv::TpmNt;
    use tpm_wire::rc::Rc;

    #[test]
    fn data_is_durable_and_what_was_not_written_reads_as_ones() {
        let mut tpm = with_index(OPEN, 8);
        assert!(persists(&mut tpm, write(b"abc", 2)));
        let mut tpm = power_cut(tpm);
        assert_eq!(read(&mut tpm, 8), Ok(b"\xFF\xFFabc\xFF\xFF\xFF".to_vec()));
    }

    #[test]
    fn data_of_an_orderly_index_stays_in_ram_and_the_rest_of_it_is_zero() {
        let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 8);
        assert!(!persists(&mut tpm, write(b"abc", 2)));
        assert_eq!(read(&mut tpm, 8), Ok(b"\0\0abc\0\0\0".to_vec()));
    }

    #[test]
    fn the_same_data_again_is_not_stored_again() {
        let mut tpm = with_index(OPEN, 8);
        tpm.run(write(b"12345678", 0)).unwrap();
        assert!(!persists(&mut tpm, write(b"345", 2)));
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert!(tpm.run(write(b"345", 2)).is_ok());
        assert_eq!(tpm.run(write(b"34x", 2)), Err(Rc::NV_UNAVAILABLE));
        // The first write is stored whatever it writes.
        assert!(persists(&mut with_index(OPEN, 4), write(b"\xFF\xFF", 0)));
        assert!(persists(&mut with_index(OPEN, 4), write(b"", 4)));
    }

    #[test]
    fn an_orderly_index_needs_no_storage_unless_a_shutdown_saved_it() {
        let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 8);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert!(tpm.run(write(b"1", 0)).is_ok());
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(tpm_wire::commands::Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        assert_eq!(read(&mut tpm, 1), Ok(b"1".to_vec()));
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(write(b"2", 0)), Err(Rc::NV_UNAVAILABLE));
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        assert!(persists(&mut tpm, write(b"2", 0)));
        assert!(!persists(&mut tpm, write(b"3", 0)));
    }

    #[test]
    fn counters_bits_and_digests_are_not_written_so() {
        for (nv_type, size) in [(TpmNt::Counter, 8), (TpmNt::Bits, 8), (TpmNt::Extend, 32)] {
            let mut tpm = with_index(OPEN.with_type(nv_type), size);
            assert_eq!(tpm.run(write(b"1", 0)), Err(Rc::ATTRIBUTES));
        }
        for nv_type in [TpmNt::PinFail, TpmNt::PinPass] {
            let attributes = OPEN.without(TpmaNv::AUTHWRITE).with_type(nv_type);
            let mut tpm = with_index(attributes, 8);
            assert!(tpm.run(write(&[0; 8], 0)).is_ok());
        }
    }

    #[test]
    fn data_stays_within_the_index() {
        let mut tpm = with_index(OPEN, 8);
        assert!(tpm.run(write(b"", 8)).is_ok());
        let beyond = Err(Rc::VALUE.at(NvWrite::offset));
        assert_eq!(tpm.run(write(b"", 9)), beyond);
        assert_eq!(tpm.run(write(b"1", 8)), Err(Rc::NV_RANGE));
        assert_eq!(tpm.run(write(b"123456789", 0)), Err(Rc::NV_RANGE));
    }

    #[test]
    fn an_index_may_demand_to_be_written_whole() {
        let mut tpm = with_index(OPEN | TpmaNv::WRITEALL, 8);
        assert_eq!(tpm.run(write(b"1234567", 0)), Err(Rc::NV_RANGE));
        assert_eq!(tpm.run(write(b"1234567", 1)), Err(Rc::NV_RANGE));
        assert!(tpm.run(write(b"12345678", 0)).is_ok());
    }

    #[test]
    fn large_indices_are_written_in_pieces() {
        let mut tpm = with_index(OPEN, 10240);
        for piece in 0..5u8 {
            let offset = u16::from(piece) * 2048;
            tpm.run(write(&vec![piece; 2048], offset)).unwrap();
        }
        let index = tpm.nv.get(INDEX).unwrap();
        assert!(
            index
                .data
                .chunks(2048)
                .zip(0..)
                .all(|(data, n)| data == [n; 2048])
        );
    }

    #[test]
    fn a_piece_is_not_larger_than_the_profiles_buffer() {
        let profile = Profile::by_name("swtpm-0.7").unwrap();
        let mut tpm = testing::with_profile(profile);
        tpm.restart(None, TpmSu::Clear);
        define_public(&mut tpm, public(INDEX, OPEN, 2048)).unwrap();
        assert!(tpm.run(write(&[1; 1024], 0)).is_ok());
        let refused = tpm.run(write(&[1; 1025], 0));
        assert_eq!(refused, Err(Rc::SIZE.at(NvWrite::data)));
        let read = NvRead {
            auth_handle: INDEX.into(),
            nv_index: INDEX.into(),
            size: 1025,
            offset: 0,
        };
        assert_eq!(tpm.run(read), Err(Rc::VALUE.at(NvRead::size)));
    }

    #[test]
    fn writing_is_refused_by_lock_authority_and_mode() {
        let refusals = refusals_of_writing(TpmNt::Ordinary, 4, |by| NvWrite {
            auth_handle: by.into(),
            ..write(b"data", 0)
        });
        let expected = [
            Rc::HANDLE.at(NvWrite::nv_index),
            Rc::NV_AUTHORIZATION,
            Rc::NV_UNAVAILABLE,
            Rc::NV_LOCKED,
            Rc::READ_ONLY,
        ];
        assert_eq!(refusals, expected);
    }

    #[test]
    fn in_read_only_mode_fleeting_indices_are_written_still() {
        let mut tpm = with_index(OPEN | TpmaNv::ORDERLY | TpmaNv::CLEAR_STCLEAR, 8);
        tpm.hierarchies.read_only = true;
        assert!(tpm.run(write(b"1", 0)).is_ok());
        let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 8);
        tpm.hierarchies.read_only = true;
        assert_eq!(tpm.run(write(b"1", 0)), Err(Rc::READ_ONLY));
    }
}
