//! `TPM2_CertifyCreation` (Part 3, 18.3).

use crate::execute::Execute;
use crate::state::Tpm;
use crate::ticket::tickets_match;
use tpm_wire::attest::{TpmsCreationInfo, TpmuAttest};
use tpm_wire::commands::{CertifyCreation, CertifyCreationResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for CertifyCreation {
    fn execute(self, tpm: &mut Tpm) -> Result<CertifyCreationResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let object = tpm
            .objects
            .get(self.object_handle.0)
            .map_err(|rc| rc.at(Self::object_handle))?;
        let given = self.creation_ticket;
        let hierarchy = given.hierarchy.map_or(TpmHandle::NULL, TpmHandle::from);
        tpm.check_ticket_hierarchy(hierarchy)?;
        let ticket = tpm.creation_ticket(hierarchy, &object.name, &self.creation_hash);
        if !tickets_match(&given.digest, &ticket.digest) {
            return Err(Rc::TICKET.at(Self::creation_ticket));
        }
        let info = TpmsCreationInfo {
            object_name: object.name.clone(),
            creation_hash: self.creation_hash,
        };
        let (certify_info, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Creation(info))?;
        Ok(CertifyCreationResponse {
            certify_info,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::*;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::attest::TpmuAttest;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::CertifyCreation;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject};
    use tpm_wire::rc::Rc;

    fn command(
        tpm: &mut TestTpm,
        hierarchy: TpmHandle,
        sign_handle: Option<TpmiDhObject>,
    ) -> CertifyCreation {
        let object = hmac(None, SIGNS);
        let creation_hash = Tpm2bDigest::new(&[7; 32]).unwrap();
        let creation_ticket = tpm.creation_ticket(hierarchy, &object.name, &creation_hash);
        CertifyCreation {
            sign_handle,
            object_handle: load(tpm, object),
            qualifying_data: nonce(),
            creation_hash,
            in_scheme: None,
            creation_ticket,
        }
    }

    #[test]
    fn attests_what_a_ticket_proves() {
        for hierarchy in [TpmHandle::OWNER, TpmHandle::NULL] {
            let mut tpm = testing::started();
            let key = signer(&mut tpm, TpmHandle::OWNER);
            let command = command(&mut tpm, hierarchy, Some(key));
            let answer = tpm.run(command).unwrap();
            let attest = verified(&mut tpm, key, &answer.certify_info, answer.signature);
            let TpmuAttest::Creation(info) = attest.attested else {
                panic!("another attestation");
            };
            assert_eq!(info.object_name, hmac(None, SIGNS).name);
            assert_eq!(&*info.creation_hash, [7; 32]);
        }
    }

    #[test]
    fn a_ticket_of_something_else_is_refused() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let rc = Rc::TICKET.at(CertifyCreation::creation_ticket);
        let mut other = command(&mut tpm, TpmHandle::OWNER, Some(key));
        other.creation_hash = Tpm2bDigest::zeros(32);
        assert_eq!(tpm.run(other), Err(rc));
        let mut other = command(&mut tpm, TpmHandle::OWNER, Some(key));
        other.object_handle = key;
        assert_eq!(tpm.run(other), Err(rc));
        let mut other = command(&mut tpm, TpmHandle::OWNER, None);
        other.creation_ticket.digest = Tpm2bDigest::EMPTY;
        assert_eq!(tpm.run(other), Err(rc));
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let storage = load(&mut tpm, ecc(None, STORES));
        let with_storage = command(&mut tpm, TpmHandle::OWNER, Some(storage));
        let rc = Rc::KEY.at(CertifyCreation::sign_handle);
        assert_eq!(tpm.run(with_storage), Err(rc));
        let open = load(&mut tpm, ecc(None, SIGNS));
        let with_open = command(&mut tpm, TpmHandle::OWNER, Some(open));
        let rc = Rc::SCHEME.at(CertifyCreation::in_scheme);
        assert_eq!(tpm.run(with_open), Err(rc));
    }

    #[test]
    fn an_anonymous_key_needs_a_commit_that_is_open_and_storage_what_a_shutdown_saved() {
        let mut tpm = testing::started();
        let key = anonymous_signer(&mut tpm);
        let mut anonymous = command(&mut tpm, TpmHandle::OWNER, Some(key));
        anonymous.in_scheme = Some(ecdaa(0));
        assert_eq!(tpm.run(anonymous), Err(Rc::VALUE));
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let signed = command(&mut tpm, TpmHandle::OWNER, Some(key));
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(signed), Err(Rc::NV_UNAVAILABLE));
    }

    #[test]
    fn key_then_scheme_then_ticket() {
        let mut tpm = testing::started();
        let storage = load(&mut tpm, ecc(None, STORES));
        let open = load(&mut tpm, ecc(None, SIGNS));
        for (key, rc) in [
            (storage, Rc::KEY.at(CertifyCreation::sign_handle)),
            (open, Rc::SCHEME.at(CertifyCreation::in_scheme)),
        ] {
            let mut wrong = command(&mut tpm, TpmHandle::OWNER, Some(key));
            wrong.creation_ticket.digest = Tpm2bDigest::EMPTY;
            assert_eq!(tpm.run(wrong), Err(rc));
        }
    }
}
