//! `TPM2_GetCommandAuditDigest` (Part 3, 18.6).

use crate::algorithms::{hash_algorithm, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_crypto::hash::Hasher;
use tpm_wire::attest::{TpmsCommandAuditInfo, TpmuAttest};
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{GetCommandAuditDigest, GetCommandAuditDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for GetCommandAuditDigest {
    fn execute(self, tpm: &mut Tpm) -> Result<GetCommandAuditDigestResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let audit = &tpm.command_audit;
        let mut commands = Hasher::new(hash_algorithm(audit.hash));
        for code in &audit.commands {
            commands.update(&code.to_be_bytes());
        }
        let info = TpmsCommandAuditInfo {
            audit_counter: audit.counter,
            digest_alg: audit.hash.id(),
            audit_digest: audit.digest.clone(),
            command_digest: small(&commands.finish()),
        };
        let (audit_info, signature) = tpm.attest(
            &signer,
            self.qualifying_data,
            TpmuAttest::CommandAudit(info),
        )?;
        if signer.is_key() {
            // What was signed is told; the next audited command begins a new digest.
            tpm.command_audit.digest = Tpm2bDigest::EMPTY;
        }
        Ok(GetCommandAuditDigestResponse {
            audit_info,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::*;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attest::{TpmsCommandAuditInfo, TpmuAttest};
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::GetCommandAuditDigest;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhEndorsement};
    use tpm_wire::rc::Rc;

    fn command(sign_handle: Option<TpmiDhObject>) -> GetCommandAuditDigest {
        GetCommandAuditDigest {
            privacy_handle: TpmiRhEndorsement(TpmHandle::ENDORSEMENT),
            sign_handle,
            qualifying_data: nonce(),
            in_scheme: None,
        }
    }

    #[test]
    fn attests_the_audit_and_ends_it_if_signed() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::OWNER);
        tpm.command_audit.digest = Tpm2bDigest::new(&[7; 32]).unwrap();
        tpm.command_audit.hash = TpmiAlgHash::Sha256;
        tpm.command_audit.counter = 5;
        tpm.command_audit.commands = [0x140, 0x15D].into();
        let codes = [0, 0, 1, 0x40, 0, 0, 1, 0x5D];
        let command_digest = crate::algorithms::hash(TpmiAlgHash::Sha256, &[&codes]);
        let expected = TpmuAttest::CommandAudit(TpmsCommandAuditInfo {
            audit_counter: 5,
            digest_alg: TpmiAlgHash::Sha256.id(),
            audit_digest: Tpm2bDigest::new(&[7; 32]).unwrap(),
            command_digest: Tpm2bDigest::new(&command_digest).unwrap(),
        });
        let answer = tpm.run(command(None)).unwrap();
        assert_eq!(parsed(&answer.audit_info).attested, expected);
        assert!(!tpm.command_audit.digest.is_empty());
        let answer = tpm.run(command(Some(key))).unwrap();
        let attest = verified(&mut tpm, key, &answer.audit_info, answer.signature);
        assert_eq!(attest.attested, expected);
        assert!(tpm.command_audit.digest.is_empty());
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let storage = load(&mut tpm, ecc(None, STORES));
        let rc = Rc::KEY.at(GetCommandAuditDigest::sign_handle);
        assert_eq!(tpm.run(command(Some(storage))), Err(rc));
        let open = load(&mut tpm, ecc(None, SIGNS));
        let rc = Rc::SCHEME.at(GetCommandAuditDigest::in_scheme);
        assert_eq!(tpm.run(command(Some(open))), Err(rc));
    }

    #[test]
    fn an_anonymous_key_needs_a_commit_that_is_open_and_storage_what_a_shutdown_saved() {
        let mut tpm = testing::started();
        let key = anonymous_signer(&mut tpm);
        let mut anonymous = command(Some(key));
        anonymous.in_scheme = Some(ecdaa(0));
        assert_eq!(tpm.run(anonymous), Err(Rc::VALUE));
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let signed = command(Some(key));
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(signed), Err(Rc::NV_UNAVAILABLE));
    }
}
