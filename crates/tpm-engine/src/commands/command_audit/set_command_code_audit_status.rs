//! `TPM2_SetCommandCodeAuditStatus` (Part 3, 21.2).

use crate::execute::Execute;
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{SetCommandCodeAuditStatus, SetCommandCodeAuditStatusResponse};
use tpm_wire::rc::Rc;
use tpm_wire::table::find;

impl Execute for SetCommandCodeAuditStatus {
    fn execute(self, tpm: &mut Tpm) -> Result<SetCommandCodeAuditStatusResponse, Rc> {
        tpm.check_storage()?;
        if let Some(hash) = self
            .audit_alg
            .filter(|hash| *hash != tpm.command_audit.hash)
        {
            if !self.set_list.is_empty() || !self.clear_list.is_empty() {
                return Err(Rc::VALUE.at(Self::audit_alg));
            }
            tpm.changes_permanent()?;
            tpm.void_orderly()?;
            tpm.command_audit.hash = hash;
            // The digest of another hash cannot go on, and this command is not the first of the next one.
            tpm.command_audit.digest = Tpm2bDigest::EMPTY;
            tpm.running.skip_audit();
            return Ok(SetCommandCodeAuditStatusResponse {});
        }
        let implemented: Vec<u32> = self
            .set_list
            .iter()
            .copied()
            .filter(|code| find(*code).is_some_and(|info| tpm.profile.has_command(info)))
            .collect();
        let commands = tpm
            .command_audit
            .with_changes(&implemented, &self.clear_list);
        if commands != tpm.command_audit.commands {
            tpm.changes_permanent()?;
            tpm.command_audit.commands = commands;
        }
        Ok(SetCommandCodeAuditStatusResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::hash;
    use crate::testing::{self, Auth, TestTpm, encode};
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::codec::Marshal;
    use tpm_wire::commands::{GetRandom, SetCommandCodeAuditStatus};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::{TpmHandle, TpmiRhProvision};
    use tpm_wire::rc::Rc;
    use tpm_wire::table::Command;

    const OWN: u32 = 0x140;
    const GET_RANDOM: u32 = 0x17B;
    const SHUTDOWN: u32 = 0x145;

    fn lists(set: &[u32], clear: &[u32]) -> SetCommandCodeAuditStatus {
        SetCommandCodeAuditStatus {
            auth: TpmiRhProvision(TpmHandle::OWNER),
            audit_alg: None,
            set_list: set.iter().copied().collect(),
            clear_list: clear.iter().copied().collect(),
        }
    }

    fn algorithm(hash: TpmiAlgHash) -> SetCommandCodeAuditStatus {
        SetCommandCodeAuditStatus {
            audit_alg: Some(hash),
            ..lists(&[], &[])
        }
    }

    /// What an audit adds to the digest, from the bytes of the command: the handles' Names here are the handles.
    fn extended(tpm: &TestTpm, before: &[u8], code: u32, command: &[u8], answer: &[u8]) -> Vec<u8> {
        let alg = tpm.command_audit.hash;
        let cp_hash = hash(alg, &[&code.to_be_bytes(), command]);
        let rp_hash = hash(alg, &[&[0; 4], &code.to_be_bytes(), answer]);
        hash(alg, &[before, &cp_hash, &rp_hash]).to_vec()
    }

    fn parameters<C: Command>(command: &C) -> Vec<u8> {
        let mut out = Vec::new();
        for handle in command.handles() {
            handle.marshal(&mut out);
        }
        command.marshal_parameters(&mut out);
        out
    }

    #[test]
    fn commands_are_set_and_cleared_and_the_own_code_stays() {
        let mut tpm = testing::started();
        tpm.run(lists(&[GET_RANDOM, 0x144, GET_RANDOM], &[]))
            .unwrap();
        assert_eq!(tpm.command_audit.commands, [OWN, 0x144, GET_RANDOM]);
        tpm.run(lists(&[], &[OWN, 0x144])).unwrap();
        assert_eq!(tpm.command_audit.commands, [OWN, GET_RANDOM]);
    }

    #[test]
    fn shutdown_and_commands_that_do_not_exist_are_passed_over() {
        let mut tpm = testing::started();
        tpm.run(lists(&[SHUTDOWN, 0x12F, 0x2000_0001], &[]))
            .unwrap();
        assert_eq!(tpm.command_audit.commands, [OWN]);
    }

    #[test]
    fn hash_and_lists_cannot_change_together() {
        let mut tpm = testing::started();
        let mut command = algorithm(TpmiAlgHash::Sha256);
        command.set_list.push(GET_RANDOM);
        assert_eq!(
            tpm.run(command.clone()),
            Err(Rc::VALUE.at(SetCommandCodeAuditStatus::audit_alg))
        );
        // The hash that is used already is no change.
        command.audit_alg = Some(tpm.command_audit.hash);
        tpm.run(command).unwrap();
        assert_eq!(tpm.command_audit.commands, [OWN, GET_RANDOM]);
    }

    #[test]
    fn another_hash_ends_the_digest_and_is_itself_not_audited() {
        let mut tpm = testing::started();
        tpm.run(lists(&[GET_RANDOM], &[])).unwrap();
        assert!(!tpm.command_audit.digest.is_empty());
        tpm.run(algorithm(TpmiAlgHash::Sha256)).unwrap();
        assert_eq!(tpm.command_audit.hash, TpmiAlgHash::Sha256);
        assert!(tpm.command_audit.digest.is_empty());
        assert_eq!(tpm.command_audit.counter, 1);
        tpm.run(GetRandom { bytes_requested: 1 }).unwrap();
        assert_eq!(tpm.command_audit.digest.len(), 32);
        assert_eq!(tpm.command_audit.counter, 2);
    }

    #[test]
    fn unavailable_storage_is_nv_unavailable() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(lists(&[GET_RANDOM], &[])), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn the_digest_goes_over_commands_and_answers_and_the_counter_moves_once() {
        let mut tpm = testing::started();
        let first = lists(&[GET_RANDOM], &[]);
        let command = parameters(&first);
        tpm.run(first).unwrap();
        let digest = extended(&tpm, &[0; 64], OWN, &command, &[]);
        assert_eq!(*tpm.command_audit.digest, *digest);
        assert_eq!(tpm.command_audit.counter, 1);

        let second = GetRandom { bytes_requested: 4 };
        let command = parameters(&second);
        let random = tpm.run(second).unwrap().random_bytes;
        let digest = extended(&tpm, &digest, GET_RANDOM, &command, &random.to_bytes());
        assert_eq!(*tpm.command_audit.digest, *digest);
        assert_eq!(tpm.command_audit.counter, 1);
    }

    #[test]
    fn a_refused_command_is_not_audited() {
        let mut tpm = testing::started();
        let mut bytes = encode(&lists(&[GET_RANDOM], &[]), &[Auth::password(b"wrong")]);
        tpm.execute(&bytes);
        bytes = encode(&lists(&[GET_RANDOM], &[]), &[]);
        tpm.execute(&bytes);
        assert!(tpm.command_audit.digest.is_empty());
    }

    #[test]
    fn a_new_digest_needs_storage_and_must_persist() {
        let mut tpm = testing::started();
        tpm.run(lists(&[GET_RANDOM], &[])).unwrap();
        tpm.permanent_state();
        tpm.run(GetRandom { bytes_requested: 1 }).unwrap();
        assert!(!tpm.must_persist(), "the digest lives in memory");
        tpm.command_audit.digest = Default::default();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(
            tpm.run(GetRandom { bytes_requested: 1 }),
            Err(Rc::NV_UNAVAILABLE)
        );
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(GetRandom { bytes_requested: 1 }).unwrap();
        assert!(tpm.must_persist(), "the counter does not");
    }

    #[test]
    fn list_hash_and_counter_are_stored() {
        let mut tpm = testing::started();
        tpm.run(algorithm(TpmiAlgHash::Sha384)).unwrap();
        tpm.run(lists(&[GET_RANDOM], &[])).unwrap();
        let before = tpm.command_audit.clone();
        let tpm = tpm.reloaded();
        assert_eq!(tpm.command_audit.commands, before.commands);
        assert_eq!(tpm.command_audit.hash, before.hash);
        assert_eq!(tpm.command_audit.counter, before.counter);
    }

    #[test]
    fn the_digest_survives_restart_and_resume_but_not_a_reset() {
        let mut tpm = testing::started();
        tpm.run(lists(&[GET_RANDOM], &[])).unwrap();
        let digest = tpm.command_audit.digest.clone();
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(tpm.command_audit.digest, digest);
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert_eq!(tpm.command_audit.digest, digest);
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert!(tpm.command_audit.digest.is_empty());
    }

    #[test]
    fn an_audited_command_after_shutdown_voids_it() {
        let mut tpm = testing::started();
        tpm.run(lists(&[GET_RANDOM], &[])).unwrap();
        let shutdown = tpm_wire::commands::Shutdown {
            shutdown_type: TpmSu::State,
        };
        tpm.run(shutdown).unwrap();
        assert!(tpm.power.is_orderly());
        tpm.run(GetRandom { bytes_requested: 1 }).unwrap();
        assert!(!tpm.power.is_orderly());
    }
}
