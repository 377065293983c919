//! `TPM2_PP_Commands` (Part 3, 26.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PpCommands, PpCommandsResponse};
use tpm_wire::rc::Rc;
use tpm_wire::table::{find, flag};

impl Execute for PpCommands {
    fn execute(self, tpm: &mut Tpm) -> Result<PpCommandsResponse, Rc> {
        tpm.changes_permanent()?;
        let profile = &tpm.profile;
        let listed = &mut tpm.management.presence_commands;
        for code in self.set_list {
            // What cannot be listed is passed over.
            let can = find(code).is_some_and(|command| {
                profile.has_command(command) && command.flags.contains(flag::presence)
            });
            if let (true, Err(place)) = (can, listed.binary_search(&code)) {
                listed.insert(place, code);
            }
        }
        for code in self.clear_list {
            if let Ok(place) = listed.binary_search(&code) {
                listed.remove(place);
            }
        }
        Ok(PpCommandsResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::capability::TpmsCapabilityData;
    use tpm_wire::commands::{ClearControl, GetCapability, PpCommands};
    use tpm_wire::constants::TpmCap;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};
    use tpm_wire::table::Command;

    const CLEAR_CONTROL: u32 = ClearControl::INFO.code;
    const PP_COMMANDS: u32 = PpCommands::INFO.code;

    fn change(tpm: &mut TestTpm, set: &[u32], clear: &[u32]) -> Result<(), Rc> {
        tpm.run(PpCommands {
            auth: TpmHandle::PLATFORM.into(),
            set_list: set.iter().copied().collect(),
            clear_list: clear.iter().copied().collect(),
        })
        .map(|_| ())
    }

    fn listed(tpm: &mut TestTpm) -> alloc::vec::Vec<u32> {
        let answer = tpm.run(GetCapability {
            capability: TpmCap::PP_COMMANDS,
            property: 0,
            property_count: 100,
        });
        match answer.unwrap().capability_data {
            TpmsCapabilityData::PpCommands(list) => list.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_needs_physical_presence_itself() {
        let mut tpm = testing::started();
        assert_eq!(
            change(&mut tpm, &[], &[]),
            Err(Rc::PP.at(Position::session(1)))
        );
        tpm.script.presence.store(true, Ordering::Relaxed);
        assert_eq!(change(&mut tpm, &[], &[]), Ok(()));
    }

    #[test]
    fn a_listed_command_needs_physical_presence_with_platform_authorization() {
        let mut tpm = testing::started();
        assert_eq!(listed(&mut tpm), [PP_COMMANDS]);
        tpm.script.presence.store(true, Ordering::Relaxed);
        // Commands that cannot be listed, or do not exist, are passed over.
        change(&mut tpm, &[CLEAR_CONTROL, CLEAR_CONTROL, 0x17B, 0x999], &[]).unwrap();
        assert_eq!(listed(&mut tpm), [CLEAR_CONTROL, PP_COMMANDS]);
        tpm.script.presence.store(false, Ordering::Relaxed);
        let mut control = ClearControl {
            auth: TpmHandle::PLATFORM.into(),
            disable: true,
        };
        assert_eq!(
            tpm.run(control.clone()),
            Err(Rc::PP.at(Position::session(1)))
        );
        control.auth = TpmHandle::LOCKOUT.into();
        tpm.run(control).unwrap();
        // The list is stored.
        let mut tpm = tpm.reloaded();
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        assert_eq!(listed(&mut tpm), [CLEAR_CONTROL, PP_COMMANDS]);
        // It cannot take itself off.
        tpm.script.presence.store(true, Ordering::Relaxed);
        change(&mut tpm, &[], &[CLEAR_CONTROL, PP_COMMANDS]).unwrap();
        assert_eq!(listed(&mut tpm), [PP_COMMANDS]);
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.presence.store(true, Ordering::Relaxed);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(change(&mut tpm, &[], &[]), Err(Rc::NV_UNAVAILABLE));
    }
}
