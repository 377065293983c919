//! `TPM2_NV_UndefineSpace` (Part 3, 31.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvUndefineSpace, NvUndefineSpaceResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for NvUndefineSpace {
    fn execute(self, tpm: &mut Tpm) -> Result<NvUndefineSpaceResponse, Rc> {
        let attributes = tpm.nv.get(self.nv_index)?.attributes();
        if attributes.contains(TpmaNv::POLICY_DELETE) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        if self.auth_handle.0 == TpmHandle::OWNER && attributes.contains(TpmaNv::PLATFORMCREATE) {
            return Err(Rc::NV_AUTHORIZATION);
        }
        tpm.changes_permanent()?;
        tpm.nv.remove(self.nv_index.0);
        Ok(NvUndefineSpaceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, increment, persists, read_number, with_index};
    use crate::commands::nv::build::{define_public, public};
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::NvUndefineSpace;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::nv::TpmNt;
    use tpm_wire::rc::Rc;

    fn undefine(by: TpmHandle) -> NvUndefineSpace {
        NvUndefineSpace {
            auth_handle: by.into(),
            nv_index: INDEX.into(),
        }
    }

    #[test]
    fn an_index_is_gone_durably() {
        let mut tpm = with_index(OPEN, 8);
        assert!(persists(&mut tpm, undefine(TpmHandle::OWNER)));
        let undefined = Rc::HANDLE.at(NvUndefineSpace::nv_index);
        assert_eq!(tpm.run(undefine(TpmHandle::OWNER)), Err(undefined));
    }

    #[test]
    fn the_platform_may_remove_the_owners_indices_but_not_the_other_way_round() {
        let mut tpm = with_index(OPEN, 8);
        assert!(tpm.run(undefine(TpmHandle::PLATFORM)).is_ok());
        let mut tpm = with_index(OPEN | TpmaNv::PLATFORMCREATE, 8);
        let refused = tpm.run(undefine(TpmHandle::OWNER));
        assert_eq!(refused, Err(Rc::NV_AUTHORIZATION));
        assert!(tpm.run(undefine(TpmHandle::PLATFORM)).is_ok());
    }

    #[test]
    fn deletion_by_policy_needs_the_other_command() {
        let mut tpm = with_index(OPEN | TpmaNv::PLATFORMCREATE | TpmaNv::POLICY_DELETE, 8);
        let refused = tpm.run(undefine(TpmHandle::PLATFORM));
        assert_eq!(refused, Err(Rc::ATTRIBUTES.at(NvUndefineSpace::nv_index)));
    }

    #[test]
    fn indices_of_a_disabled_hierarchy_are_not_found() {
        let mut tpm = with_index(OPEN, 8);
        tpm.hierarchies.owner_enabled = false;
        let undefined = Err(Rc::HANDLE.at(NvUndefineSpace::nv_index));
        assert_eq!(tpm.run(undefine(TpmHandle::PLATFORM)), undefined);
        let mut tpm = with_index(OPEN | TpmaNv::PLATFORMCREATE, 8);
        tpm.hierarchies.platform_nv_enabled = false;
        assert_eq!(tpm.run(undefine(TpmHandle::PLATFORM)), undefined);
    }

    #[test]
    fn a_new_counter_starts_above_a_removed_one() {
        let counter = OPEN.with_type(TpmNt::Counter);
        for attributes in [counter, counter | TpmaNv::ORDERLY] {
            let mut tpm = with_index(attributes, 8);
            for _ in 0..3 {
                tpm.run(increment()).unwrap();
            }
            tpm.run(undefine(TpmHandle::OWNER)).unwrap();
            define_public(&mut tpm, public(INDEX, counter, 8)).unwrap();
            tpm.run(increment()).unwrap();
            assert_eq!(read_number(&mut tpm), Ok(4));
        }
    }

    #[test]
    fn without_storage_nothing_is_removed() {
        let mut tpm = with_index(OPEN, 8);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(undefine(TpmHandle::OWNER)), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn a_removal_that_could_not_be_stored_does_not_set_an_orderly_counter_back() {
        let mut tpm = with_index(OPEN.with_type(TpmNt::Counter) | TpmaNv::ORDERLY, 8);
        for _ in 0..5 {
            tpm.run(increment()).unwrap();
        }
        let stored = tpm.permanent_state();
        for _ in 0..5 {
            tpm.run(increment()).unwrap();
        }
        tpm.run(undefine(TpmHandle::OWNER)).unwrap();
        tpm.restore_permanent(&stored).unwrap();
        assert!(read_number(&mut tpm).unwrap() >= 10);
    }
}
