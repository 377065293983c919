//! `TPM2_HierarchyChangeAuth` (Part 3, 24.8).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::hierarchy::CONTEXT_HASH;
use crate::state::Tpm;
use tpm_wire::commands::{HierarchyChangeAuth, HierarchyChangeAuthResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for HierarchyChangeAuth {
    fn execute(self, tpm: &mut Tpm) -> Result<HierarchyChangeAuthResponse, Rc> {
        tpm.check_storage()?;
        let new_auth = self.new_auth.without_trailing_zeros();
        if new_auth.len() > CONTEXT_HASH.digest_size() {
            return Err(Rc::SIZE.at(Self::new_auth));
        }
        let handle = self.auth_handle.0;
        if handle == TpmHandle::PLATFORM {
            tpm.void_orderly()?;
        } else {
            tpm.changes_permanent()?;
        }
        match tpm.hierarchies.authorization_mut(handle) {
            Some(authorization) => authorization.auth = small(new_auth),
            None => return Err(tpm.fail("a hierarchy without authorization value was accepted")),
        }
        Ok(HierarchyChangeAuthResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::{change_auth, set_policy};
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::buffers::Tpm2bAuth;
    use tpm_wire::commands::HierarchyChangeAuth;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};

    const ALL: [TpmHandle; 4] = [
        TpmHandle::OWNER,
        TpmHandle::ENDORSEMENT,
        TpmHandle::PLATFORM,
        TpmHandle::LOCKOUT,
    ];

    #[test]
    fn the_new_value_counts_and_the_old_one_no_longer() {
        for handle in ALL {
            let mut tpm = testing::started();
            change_auth(&mut tpm, handle, b"", b"new\0\0").unwrap();
            let refused = if handle == TpmHandle::LOCKOUT {
                Rc::AUTH_FAIL
            } else {
                Rc::BAD_AUTH
            };
            assert_eq!(
                change_auth(&mut tpm, handle, b"old", b""),
                Err(refused.at(Position::session(1)))
            );
            if handle != TpmHandle::LOCKOUT {
                change_auth(&mut tpm, handle, b"new", b"").unwrap();
                set_policy(&mut tpm, handle, false).unwrap();
            }
        }
    }

    #[test]
    fn all_but_the_platform_keep_it_over_a_loss_of_power() {
        for handle in ALL {
            let mut tpm = testing::started();
            tpm.persist = false;
            change_auth(&mut tpm, handle, b"", b"new").unwrap();
            let kept = handle != TpmHandle::PLATFORM;
            assert_eq!(tpm.must_persist(), kept);
            let mut tpm = tpm.reloaded();
            tpm.restart(None, TpmSu::Clear);
            let auth: &[u8] = if kept { b"new" } else { b"" };
            change_auth(&mut tpm, handle, auth, b"").unwrap();
        }
    }

    #[test]
    fn the_platform_keeps_it_over_a_resume() {
        let mut tpm = testing::started();
        change_auth(&mut tpm, TpmHandle::PLATFORM, b"", b"new").unwrap();
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        change_auth(&mut tpm, TpmHandle::PLATFORM, b"new", b"other").unwrap();
        // The change after the resume was not saved by any shutdown: it voids nothing and is lost.
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        change_auth(&mut tpm, TpmHandle::PLATFORM, b"", b"").unwrap();
    }

    #[test]
    fn it_needs_storage() {
        for handle in ALL {
            let mut tpm = testing::started();
            // The first use of lockout authorization is noted before.
            tpm.script.storage_down.store(true, Ordering::Relaxed);
            assert_eq!(
                change_auth(&mut tpm, handle, b"", b"new"),
                Err(Rc::NV_UNAVAILABLE)
            );
        }
    }

    #[test]
    fn a_value_longer_than_any_digest_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let longest = HierarchyChangeAuth {
            auth_handle: TpmHandle::OWNER.into(),
            new_auth: Tpm2bAuth::new(&[1; 64]).unwrap(),
        };
        let mut command = testing::encode(&longest, &[testing::Auth::password(b"")]);
        command.push(1);
        let size = command.len() - 65 - 1;
        for place in [5, size] {
            command[place] += 1;
        }
        let refused = testing::decode::<HierarchyChangeAuth>(tpm.execute(&command)).err();
        assert_eq!(refused, Some(Rc::SIZE.at(HierarchyChangeAuth::new_auth)));
        tpm.run(longest).unwrap();
    }
}
