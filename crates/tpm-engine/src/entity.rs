//! Entities: what a handle refers to, its authorization value, policy and Name (Part 1, 15 and 16).

use crate::algorithms::small;
use crate::hierarchy::{EntityPolicy, Hierarchy};
use crate::pcr::Pcrs;
use crate::state::Tpm;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bName};
use tpm_wire::commands::EvictControl;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::{Position, Rc};
use tpm_wire::table::Command;

/// The first persistent handle that belongs to the platform.
pub(crate) const PLATFORM_PERSISTENT: TpmHandle = TpmHandle(0x8180_0000);

impl Tpm {
    /// Checks that each handle of a command names something that is there and enabled (Part 3, 5.4).
    ///
    /// # Errors
    /// `TPM_RC_REFERENCE_H0` and following for what is not loaded; `TPM_RC_HANDLE`, `TPM_RC_HIERARCHY` or `TPM_RC_VALUE` with the handle's number.
    pub(crate) fn check_handles(&self, handles: &[TpmHandle]) -> Result<(), Rc> {
        for (index, handle) in (0u8..).zip(handles) {
            self.check_handle(*handle).map_err(|rc| match rc {
                Rc::REFERENCE_H0 => Rc::reference_handle(index),
                other => other.at(Position::handle(index + 1)),
            })?;
        }
        Ok(())
    }

    fn check_handle(&self, handle: TpmHandle) -> Result<(), Rc> {
        match handle.kind() {
            Some(TpmHt::Permanent) => match handle {
                TpmHandle::LOCKOUT | TpmHandle::PASSWORD => Ok(()),
                other if self.is_act(other) => Ok(()),
                other if is_limited(other) && !self.profile.has_limited_hierarchies() => {
                    Err(Rc::VALUE)
                }
                other => self.hierarchies.check(other).map(|_| ()),
            },
            Some(TpmHt::Transient) if self.objects.is_loaded(handle) => Ok(()),
            Some(TpmHt::Transient) => Err(Rc::REFERENCE_H0),
            Some(TpmHt::Persistent) => self.check_persistent(handle),
            Some(TpmHt::HmacSession | TpmHt::PolicySession) => {
                let session = self.sessions.get(handle).ok_or(Rc::REFERENCE_H0)?;
                if session.is_policy() == (handle.kind() == Some(TpmHt::PolicySession)) {
                    Ok(())
                } else {
                    Err(Rc::HANDLE)
                }
            }
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => self.check_index_accessible(handle),
            Some(TpmHt::Pcr) => Ok(()),
            // No attached component and no permanent Index exists in this TPM.
            Some(TpmHt::Ac | TpmHt::PermanentNv) | None => Err(Rc::VALUE),
        }
    }

    /// Persistent objects are hidden while the hierarchy of their handle, or of themselves, is disabled (Part 1, 37.3).
    fn check_persistent(&self, handle: TpmHandle) -> Result<(), Rc> {
        let by_handle = if handle >= PLATFORM_PERSISTENT {
            Hierarchy::Platform
        } else {
            Hierarchy::Owner
        };
        if !self.hierarchies.is_enabled(by_handle) {
            return Err(Rc::HANDLE);
        }
        let object = self.objects.find(handle).ok_or(Rc::HANDLE)?;
        let hierarchy = Hierarchy::from_handle(object.hierarchy).ok_or(Rc::HANDLE)?;
        // TPM2_EvictControl can remove what nobody can use.
        let evicts = self
            .running
            .info
            .is_some_and(|info| info.code == EvictControl::INFO.code);
        if evicts || self.hierarchies.is_enabled(hierarchy) {
            Ok(())
        } else {
            Err(Rc::HANDLE)
        }
    }

    /// Whether the handle is that of a countdown timer.
    pub(crate) const fn is_act(&self, handle: TpmHandle) -> bool {
        handle.0 >= TpmHandle::ACT_0.0
            && handle.0 < TpmHandle::ACT_0.0 + self.profile.limits.act_count
    }

    /// The authorization value of an entity, without trailing zeros; empty for what has none or is gone.
    pub(crate) fn auth_value(&self, handle: TpmHandle) -> Tpm2bAuth {
        let auth = match handle.kind() {
            Some(TpmHt::Permanent) if self.is_act(handle) => Some(&self.hierarchies.platform.auth),
            Some(TpmHt::Permanent) => self
                .hierarchies
                .authorization(handle)
                .map(|authorization| &authorization.auth),
            Some(TpmHt::Transient | TpmHt::Persistent) => match self.objects.find(handle) {
                Some(object) => object
                    .sensitive
                    .as_ref()
                    .map(|sensitive| &sensitive.auth_value),
                None => self
                    .objects
                    .sequence(handle)
                    .ok()
                    .map(|sequence| &sequence.auth),
            },
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => {
                self.nv.get(handle).ok().map(|index| &index.auth)
            }
            Some(TpmHt::Pcr) if Pcrs::has_auth(handle.index()) => Some(&self.pcrs.auth),
            _ => None,
        };
        auth.map_or(Tpm2bAuth::EMPTY, |auth| {
            small(auth.without_trailing_zeros())
        })
    }

    /// The policy of an entity; the default one for what has none.
    pub(crate) fn auth_policy(&self, handle: TpmHandle) -> EntityPolicy {
        match handle.kind() {
            Some(TpmHt::Permanent) if self.is_act(handle) => self
                .management
                .act(handle)
                .map(|act| act.policy.clone())
                .unwrap_or_default(),
            Some(TpmHt::Permanent) => self
                .hierarchies
                .authorization(handle)
                .map(|authorization| authorization.policy.clone())
                .unwrap_or_default(),
            Some(TpmHt::Transient | TpmHt::Persistent) => self
                .objects
                .find(handle)
                .map(|object| EntityPolicy {
                    hash: object.public.name_alg,
                    digest: object.public.auth_policy.clone(),
                })
                .unwrap_or_default(),
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => self
                .nv
                .get(handle)
                .map(|index| EntityPolicy {
                    hash: Some(index.name_alg()),
                    digest: index.auth_policy().clone(),
                })
                .unwrap_or_default(),
            Some(TpmHt::Pcr) if Pcrs::has_policy(handle.index()) => self.pcrs.policy.clone(),
            _ => EntityPolicy::default(),
        }
    }

    /// The Name of an entity (Part 1, 16).
    pub(crate) fn entity_name(&self, handle: TpmHandle) -> Tpm2bName {
        match handle.kind() {
            Some(TpmHt::Transient | TpmHt::Persistent) => self
                .objects
                .find(handle)
                .map_or(Tpm2bName::EMPTY, |object| object.name.clone()),
            Some(TpmHt::NvIndex | TpmHt::ExternalNv) => self
                .nv
                .get(handle)
                .map_or(Tpm2bName::EMPTY, |index| index.name()),
            _ => small(&handle.0.to_be_bytes()),
        }
    }
}

/// Whether the handle is that of a hierarchy limited to the firmware or to a security version.
pub(crate) const fn is_limited(handle: TpmHandle) -> bool {
    matches!(handle.0, 0x4000_0140..=0x4000_0143 | 0x4001_0000..=0x4004_FFFF)
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::change_auth;
    use crate::commands::object::build::{FIXED, STORAGE, ecc_template, primary};
    use crate::profile::Profile;
    use crate::testing;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::commands::{PolicyGetDigest, ReadPublic, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};

    #[test]
    fn a_tpm_of_an_earlier_version_has_no_limited_hierarchies() {
        let mut tpm = testing::with_profile(Profile::by_name("swtpm-0.7").unwrap());
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        let template = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
        for handle in [TpmHandle::FW_OWNER, TpmHandle::SVN_OWNER_BASE] {
            assert_eq!(
                primary(&mut tpm, handle, template.clone()).map(|_| ()),
                Err(Rc::VALUE.at(Position::handle(1)))
            );
        }
    }

    #[test]
    fn a_security_version_above_that_of_the_firmware_is_svn_limited() {
        let mut tpm = testing::started();
        let above = TpmHandle(TpmHandle::SVN_OWNER_BASE.0 + 1);
        let template = ecc_template(FIXED | STORAGE | TpmaObject::SVN_LIMITED);
        assert_eq!(
            primary(&mut tpm, above, template).map(|_| ()),
            Err(Rc::SVN_LIMITED.at(Position::handle(1)))
        );
    }

    #[test]
    fn what_is_not_there_is_told_by_its_kind() {
        let mut tpm = testing::started();
        for (handle, expected) in [
            (0x8000_0000, Rc::REFERENCE_H0),
            (0x8100_0000, Rc::HANDLE.at(Position::handle(1))),
        ] {
            let object_handle = TpmHandle(handle).into();
            assert_eq!(
                tpm.run(ReadPublic { object_handle }).map(|_| ()),
                Err(expected)
            );
        }
        let session = crate::commands::context::build::session(&mut tpm);
        let policy_session = TpmHandle(session.0 | 0x0100_0000).into();
        assert_eq!(
            tpm.run(PolicyGetDigest { policy_session }).map(|_| ()),
            Err(Rc::HANDLE.at(Position::handle(1))),
            "an HMAC session is no policy session"
        );
        change_auth(&mut tpm, TpmHandle::OWNER, b"", b"").unwrap();
    }
}
