//! `TPM2_NV_ChangeAuth` (Part 3, 31.15).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::state::Tpm;
use subtle::ConstantTimeEq;
use tpm_wire::commands::{NvChangeAuth, NvChangeAuthResponse};
use tpm_wire::rc::Rc;

impl Execute for NvChangeAuth {
    fn execute(self, tpm: &mut Tpm) -> Result<NvChangeAuthResponse, Rc> {
        let index = tpm.nv.get(self.nv_index)?;
        let auth = self.new_auth.without_trailing_zeros();
        if auth.len() > index.name_alg().digest_size() {
            return Err(Rc::SIZE.at(Self::new_auth));
        }
        if !bool::from(auth.ct_eq(&index.auth)) {
            tpm.changes_permanent()?;
            tpm.nv.get_mut(self.nv_index)?.auth = small(auth);
        }
        Ok(NvChangeAuthResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::build::{INDEX, OPEN, define_public, policy_session, public};
    use crate::testing::{self, Auth, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bMaxNvBuffer};
    use tpm_wire::commands::{NvChangeAuth, NvChangeAuthResponse, NvWrite};
    use tpm_wire::rc::{Position, Rc};
    use tpm_wire::table::Command;

    const POLICY: [u8; 32] = [7; 32];

    fn with_policy_index() -> TestTpm {
        let mut tpm = testing::started();
        let mut area = public(INDEX, OPEN, 8);
        area.auth_policy = Tpm2bDigest::new(&POLICY).unwrap();
        define_public(&mut tpm, area).unwrap();
        let _ = tpm.permanent_state();
        tpm
    }

    fn change(new_auth: &[u8]) -> NvChangeAuth {
        NvChangeAuth {
            nv_index: INDEX.into(),
            new_auth: Tpm2bAuth::new(new_auth).unwrap(),
        }
    }

    fn changed(tpm: &mut TestTpm, new_auth: &[u8]) -> Result<NvChangeAuthResponse, Rc> {
        let session = policy_session(tpm, &POLICY, NvChangeAuth::INFO.code);
        tpm.run_as(change(new_auth), &[session])
    }

    #[test]
    fn the_new_value_authorizes_durably() {
        let mut tpm = with_policy_index();
        changed(&mut tpm, b"secret\0\0").unwrap();
        assert!(tpm.must_persist());
        let mut tpm = crate::commands::nv::build::power_cut(tpm);
        let write = NvWrite {
            auth_handle: INDEX.into(),
            nv_index: INDEX.into(),
            data: Tpm2bMaxNvBuffer::EMPTY,
            offset: 0,
        };
        let refused = tpm.run(write.clone());
        assert_eq!(refused, Err(Rc::BAD_AUTH.at(Position::session(1))));
        assert!(tpm.run_as(write, &[Auth::password(b"secret")]).is_ok());
    }

    #[test]
    fn the_same_value_again_is_not_stored_again() {
        let mut tpm = with_policy_index();
        changed(&mut tpm, b"").unwrap();
        assert!(!tpm.must_persist());
    }

    #[test]
    fn a_value_fits_the_name_algorithm_without_its_trailing_zeros() {
        let mut tpm = with_policy_index();
        let refused = changed(&mut tpm, &[1; 33]);
        assert_eq!(refused, Err(Rc::SIZE.at(NvChangeAuth::new_auth)));
        let mut padded = [1; 64];
        padded[32..].fill(0);
        assert!(changed(&mut tpm, &padded).is_ok());
    }

    #[test]
    fn only_a_policy_for_this_command_changes_the_value() {
        let mut tpm = with_policy_index();
        assert_eq!(tpm.run(change(b"x")), Err(Rc::AUTH_TYPE));
        let session = policy_session(&mut tpm, &POLICY, NvWrite::INFO.code);
        let refused = tpm.run_as(change(b"x"), &[session]);
        assert_eq!(refused, Err(Rc::POLICY_CC.at(Position::session(1))));
    }

    #[test]
    fn nothing_is_changed_without_storage_or_in_read_only_mode() {
        let mut tpm = with_policy_index();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(changed(&mut tpm, b"x"), Err(Rc::NV_UNAVAILABLE));
        tpm.hierarchies.read_only = true;
        assert_eq!(changed(&mut tpm, b"x"), Err(Rc::READ_ONLY));
    }
}
