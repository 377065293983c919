//! `TPM2_NV_Read` (Part 3, 31.13).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bMaxNvBuffer;
use tpm_wire::commands::{NvRead, NvReadResponse};
use tpm_wire::rc::Rc;

impl Execute for NvRead {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadResponse, Rc> {
        let index = tpm.nv.check_read(self.auth_handle.0, self.nv_index.0)?;
        let (offset, size) = (usize::from(self.offset), usize::from(self.size));
        if size > usize::from(tpm.profile.max_nv_buffer) {
            return Err(Rc::VALUE.at(Self::size));
        }
        let rest = index.data.get(offset..).ok_or(Rc::VALUE.at(Self::offset))?;
        let data = rest.get(..size).ok_or(Rc::NV_RANGE)?;
        Ok(NvReadResponse {
            data: Tpm2bMaxNvBuffer::new(data.to_vec()).ok_or(Rc::SIZE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{
        INDEX, OPEN, OTHER, define_public, public, with_index, write,
    };
    use crate::testing::TestTpm;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::{NvRead, NvReadLock};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn read(by: TpmHandle, size: u16, offset: u16) -> NvRead {
        NvRead {
            auth_handle: by.into(),
            nv_index: INDEX.into(),
            size,
            offset,
        }
    }

    fn with_data(attributes: TpmaNv) -> TestTpm {
        let mut tpm = with_index(attributes, 8);
        tpm.run(write(b"abcdefgh", 0)).unwrap();
        let _ = tpm.permanent_state();
        tpm
    }

    #[test]
    fn any_part_can_be_read_and_nothing_changes() {
        let mut tpm = with_data(OPEN);
        for (size, offset, expected) in [(8, 0, "abcdefgh"), (2, 3, "de"), (0, 8, "")] {
            let found = tpm.run(read(INDEX, size, offset)).unwrap();
            assert_eq!(*found.data, *expected.as_bytes());
        }
        assert!(!tpm.must_persist());
    }

    #[test]
    fn reading_stays_within_the_index_and_the_buffer() {
        let mut tpm = with_data(OPEN);
        let beyond = Err(Rc::VALUE.at(NvRead::offset));
        assert_eq!(tpm.run(read(INDEX, 0, 9)), beyond);
        assert_eq!(tpm.run(read(INDEX, 8, 1)), Err(Rc::NV_RANGE));
        let too_large = Err(Rc::VALUE.at(NvRead::size));
        assert_eq!(tpm.run(read(INDEX, 2049, 9)), too_large);
    }

    #[test]
    fn lock_comes_before_authority_and_authority_before_contents() {
        let mut tpm = with_index(OPEN | TpmaNv::READ_STCLEAR, 8);
        define_public(&mut tpm, public(OTHER, OPEN, 8)).unwrap();
        for by in [TpmHandle::PLATFORM, OTHER] {
            assert_eq!(tpm.run(read(by, 8, 0)), Err(Rc::NV_AUTHORIZATION));
        }
        assert_eq!(tpm.run(read(INDEX, 8, 0)), Err(Rc::NV_UNINITIALIZED));
        tpm.run(NvReadLock {
            auth_handle: INDEX.into(),
            nv_index: INDEX.into(),
        })
        .unwrap();
        for by in [INDEX, TpmHandle::OWNER, TpmHandle::PLATFORM] {
            assert_eq!(tpm.run(read(by, 8, 0)), Err(Rc::NV_LOCKED));
        }
    }

    #[test]
    fn an_index_must_be_defined_and_let_itself_be_read() {
        let mut tpm = with_data(OPEN.without(TpmaNv::AUTHREAD));
        let undefined = NvRead {
            nv_index: OTHER.into(),
            ..read(TpmHandle::OWNER, 8, 0)
        };
        let refused = Err(Rc::HANDLE.at(NvRead::nv_index));
        assert_eq!(tpm.run(undefined), refused);
        let refused = tpm.run(read(INDEX, 8, 0));
        assert_eq!(refused, Err(Rc::AUTH_UNAVAILABLE));
    }
}
