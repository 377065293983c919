//! `TPM2_NV_UndefineSpaceSpecial` (Part 3, 31.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvUndefineSpaceSpecial, NvUndefineSpaceSpecialResponse};
use tpm_wire::rc::Rc;

impl Execute for NvUndefineSpaceSpecial {
    fn execute(self, tpm: &mut Tpm) -> Result<NvUndefineSpaceSpecialResponse, Rc> {
        let attributes = tpm.nv.get(self.nv_index)?.attributes();
        if !attributes.contains(TpmaNv::POLICY_DELETE) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.changes_permanent()?;
        tpm.nv.remove(self.nv_index.0);
        // The response is authenticated by a policy session of an entity that is gone.
        tpm.running.forget(self.nv_index.0);
        Ok(NvUndefineSpaceSpecialResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{
        INDEX, OPEN, define_public, policy_session, public, with_index,
    };
    use crate::testing::{self, Auth, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::{NvUndefineSpaceSpecial, NvUndefineSpaceSpecialResponse, NvWrite};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};
    use tpm_wire::table::Command;

    const POLICY: [u8; 32] = [7; 32];

    fn with_policy_index(attributes: TpmaNv) -> TestTpm {
        let mut tpm = testing::started();
        let mut area = public(INDEX, attributes | TpmaNv::PLATFORMCREATE, 8);
        area.auth_policy = Tpm2bDigest::new(&POLICY).unwrap();
        define_public(&mut tpm, area).unwrap();
        tpm
    }

    fn command() -> NvUndefineSpaceSpecial {
        NvUndefineSpaceSpecial {
            nv_index: INDEX.into(),
            platform: TpmHandle::PLATFORM.into(),
        }
    }

    fn undefine(tpm: &mut TestTpm) -> Result<NvUndefineSpaceSpecialResponse, Rc> {
        let session = policy_session(tpm, &POLICY, NvUndefineSpaceSpecial::INFO.code);
        tpm.run_as(command(), &[session, Auth::password(&[])])
    }

    #[test]
    fn an_index_is_removed_by_policy_and_platform() {
        let mut tpm = with_policy_index(OPEN | TpmaNv::POLICY_DELETE);
        let _ = tpm.permanent_state();
        assert!(undefine(&mut tpm).is_ok());
        assert!(tpm.must_persist());
        assert_eq!(tpm.nv.get(INDEX).err(), Some(Rc::HANDLE));
    }

    #[test]
    fn other_indices_are_not_removed_so() {
        let mut tpm = with_policy_index(OPEN);
        let refused = Rc::ATTRIBUTES.at(NvUndefineSpaceSpecial::nv_index);
        assert_eq!(undefine(&mut tpm), Err(refused));
    }

    #[test]
    fn without_storage_nothing_is_removed() {
        let mut tpm = with_policy_index(OPEN | TpmaNv::POLICY_DELETE);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(undefine(&mut tpm), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn the_index_is_authorized_by_a_policy_for_this_command_alone() {
        let mut tpm = with_policy_index(OPEN | TpmaNv::POLICY_DELETE);
        assert_eq!(tpm.run(command()), Err(Rc::AUTH_TYPE));
        let session = policy_session(&mut tpm, &POLICY, NvWrite::INFO.code);
        let refused = tpm.run_as(command(), &[session, Auth::password(&[])]);
        assert_eq!(refused, Err(Rc::POLICY_CC.at(Position::session(1))));
        let session = policy_session(&mut tpm, &[8; 32], NvUndefineSpaceSpecial::INFO.code);
        let refused = tpm.run_as(command(), &[session, Auth::password(&[])]);
        assert_eq!(refused, Err(Rc::POLICY_FAIL.at(Position::session(1))));
        // Without a policy the Index cannot be removed at all.
        let by_platform = OPEN | TpmaNv::PLATFORMCREATE | TpmaNv::POLICY_DELETE;
        let mut tpm = with_index(by_platform, 8);
        let refused = Err(Rc::AUTH_UNAVAILABLE);
        assert_eq!(undefine(&mut tpm), refused);
    }
}
