//! `TPM2_PolicySigned` (Part 3, 23.3).

use super::{Authorization, Blame, hierarchy_of, no_ticket, timeout};
use crate::algorithms::hash;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtSignature;
use tpm_wire::commands::{PolicySigned, PolicySignedResponse};
use tpm_wire::constants::TpmSt;
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

impl Execute for PolicySigned {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicySignedResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        let is_trial = session.is_trial();
        let mut authorization = Authorization {
            nonce_tpm: Some(&self.nonce_tpm),
            cp_hash: &self.cp_hash_a,
            policy_ref: &self.policy_ref,
            timeout: 0,
        };
        if !is_trial {
            authorization.timeout =
                timeout(tpm.clock.time, session, self.expiration, &self.nonce_tpm);
            let blame = Blame {
                nonce_tpm: Self::nonce_tpm,
                cp_hash: Self::cp_hash_a,
                expiration: Self::expiration,
            };
            authorization.check(tpm, session, &blame)?;
            check_signature(tpm, &self)?;
        }
        let authority = tpm.entity_name(self.auth_object.0);
        let session = tpm.sessions.policy(self.policy_session)?;
        authorization.include(session, Self::INFO.code, &authority);
        let tag = TpmSt::AUTH_SIGNED;
        let (timeout, policy_ticket) = if self.expiration < 0 && !is_trial {
            let hierarchy = hierarchy_of(tpm, self.auth_object.0);
            authorization.ticket(tpm, tag, hierarchy, &authority)
        } else {
            no_ticket(tag)
        };
        Ok(PolicySignedResponse {
            timeout,
            policy_ticket,
        })
    }
}

/// Checks the signature over what is authorized.
fn check_signature(tpm: &mut Tpm, command: &PolicySigned) -> Result<(), Rc> {
    // An anonymous signature cannot be verified by a TPM; a sequence is no key.
    let scheme = Rc::SCHEME.at(PolicySigned::auth);
    if matches!(command.auth, TpmtSignature::Ecdaa(_)) {
        return Err(scheme);
    }
    tpm.power.first_use(command.auth.algorithm())?;
    let key = tpm.objects.find(command.auth_object.0).ok_or(scheme)?;
    let signed = hash(
        command.auth.hash_alg(),
        &[
            &command.nonce_tpm,
            &command.expiration.to_be_bytes(),
            &command.cp_hash_a,
            &command.policy_ref,
        ],
    );
    tpm.verify_signature(key, &command.auth, &signed)
        .map_err(|rc| rc.at(PolicySigned::auth))
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{NONCE_TPM, digest, hmac_object, signing, trial};
    use crate::object::{Sequence, SequenceState, Slot};
    use crate::policy::BoundDigest;
    use alloc::boxed::Box;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::{TpmiAlgHash, TpmsSignatureEcc, TpmtHa, TpmtSignature};
    use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bNonce};
    use tpm_wire::commands::{PolicyCpHash, PolicyNameHash, PolicySigned};
    use tpm_wire::constants::TpmSt;
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_key_and_the_reference() {
        let mut t = signing();
        let command = t.signed(&[], &[], 0);
        let answer = t.tpm.run(command).unwrap();
        assert!(answer.timeout.is_empty());
        assert_eq!(answer.policy_ticket.tag, TpmSt::AUTH_SIGNED);
        assert_eq!(answer.policy_ticket.hierarchy, None);
        assert!(answer.policy_ticket.digest.is_empty());
        assert_eq!(
            digest(&mut t.tpm, t.session),
            "4432ca84e7dba266b7267056ed0a58462a094596b949b3c9214855c21fbaa531"
        );
    }

    #[test]
    fn a_trial_session_checks_nothing_and_gets_no_ticket() {
        let mut t = signing();
        t.session = trial(&mut t.tpm);
        let mut command = t.signed(b"another nonce", &[1, 2, 3], -100);
        command.policy_ref = small(b"ref");
        command.auth = TpmtSignature::Hmac(TpmtHa {
            hash_alg: TpmiAlgHash::Sha256,
            digest: small(&[0; 32]),
        });
        let answer = t.tpm.run(command).unwrap();
        assert!(answer.timeout.is_empty() && answer.policy_ticket.digest.is_empty());
        assert_eq!(
            digest(&mut t.tpm, t.session),
            "4432ca84e7dba266b7267056ed0a58462a094596b949b3c9214855c21fbaa531"
        );
    }

    #[test]
    fn another_nonce_is_nonce_at_parameter_1() {
        let mut t = signing();
        let command = t.signed(&[1; 16], &[], 0);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::NONCE.at(PolicySigned::nonce_tpm))
        );
        let command = t.signed(&NONCE_TPM, &[], 0);
        t.tpm.run(command).unwrap();
    }

    #[test]
    fn a_signature_over_anything_else_is_signature_at_parameter_5() {
        let mut t = signing();
        let refused = Err(Rc::SIGNATURE.at(PolicySigned::auth));
        let good = t.signed(&NONCE_TPM, &[7; 32], 100);
        let mut command = good.clone();
        command.nonce_tpm = Tpm2bNonce::EMPTY;
        assert_eq!(t.tpm.run(command), refused);
        let mut command = good.clone();
        command.cp_hash_a = Tpm2bDigest::EMPTY;
        assert_eq!(t.tpm.run(command), refused);
        let mut command = good.clone();
        command.policy_ref = Tpm2bNonce::EMPTY;
        assert_eq!(t.tpm.run(command), refused);
        let mut command = good.clone();
        command.expiration = 101;
        assert_eq!(t.tpm.run(command), refused);
        t.tpm.run(good).unwrap();
    }

    #[test]
    fn signatures_that_cannot_be_verified_are_scheme_at_parameter_5() {
        let mut t = signing();
        let scheme = Err(Rc::SCHEME.at(PolicySigned::auth));
        let mut command = t.signed(&[], &[], 0);
        let ecc = TpmsSignatureEcc {
            hash: TpmiAlgHash::Sha256,
            signature_r: small(&[1; 32]),
            signature_s: small(&[1; 32]),
        };
        command.auth = TpmtSignature::Ecdaa(ecc);
        assert_eq!(t.tpm.run(command), scheme);
        let sequence = Sequence {
            auth: Tpm2bAuth::EMPTY,
            state: SequenceState::Event(alloc::vec![]),
        };
        let sequence = t.tpm.objects.insert(Slot::Sequence(Box::new(sequence)));
        let mut command = t.signed(&[], &[], 0);
        command.auth_object = TpmiDhObject(sequence.unwrap());
        assert_eq!(t.tpm.run(command), scheme);
    }

    #[test]
    fn a_public_hmac_key_is_handle_at_parameter_5() {
        let mut t = signing();
        let mut object = hmac_object();
        object.sensitive = None;
        t.key = t.tpm.objects.load(object).unwrap();
        let command = t.signed(&[], &[], 0);
        assert_eq!(t.tpm.run(command), Err(Rc::HANDLE.at(PolicySigned::auth)));
    }

    #[test]
    fn cp_hash_has_the_size_of_the_session_hash_and_stays_the_same() {
        let mut t = signing();
        let command = t.signed(&[], &[7; 20], 0);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::SIZE.at(PolicySigned::cp_hash_a))
        );
        let command = t.signed(&[], &[7; 32], 0);
        t.tpm.run(command).unwrap();
        let bound = &t.tpm.policy_session(t.session).unwrap().policy.bound;
        assert_eq!(*bound, BoundDigest::CpHash(small(&[7; 32])));
        let command = t.signed(&[], &[7; 32], 0);
        t.tpm.run(command).unwrap();
        let command = t.signed(&[], &[8; 32], 0);
        assert_eq!(t.tpm.run(command), Err(Rc::CPHASH));
        assert_eq!(
            t.tpm.run(PolicyCpHash {
                policy_session: t.session,
                cp_hash_a: small(&[8; 32]),
            }),
            Err(Rc::CPHASH)
        );
    }

    #[test]
    fn a_session_bound_to_names_takes_no_cp_hash() {
        let mut t = signing();
        let policy_session = t.session;
        t.tpm
            .run(PolicyNameHash {
                policy_session,
                name_hash: small(&[7; 32]),
            })
            .unwrap();
        let command = t.signed(&[], &[7; 32], 0);
        assert_eq!(t.tpm.run(command), Err(Rc::CPHASH));
        let command = t.signed(&[], &[], 0);
        t.tpm.run(command).unwrap();
    }

    #[test]
    fn seconds_count_from_the_start_of_the_session_with_its_nonce() {
        let mut t = signing();
        t.tpm.script.now.fetch_add(10_500, Ordering::Relaxed);
        let command = t.signed(&NONCE_TPM, &[], 10);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::EXPIRED.at(PolicySigned::expiration))
        );
        let command = t.signed(&NONCE_TPM, &[], 11);
        t.tpm.run(command).unwrap();
        let timeout = t.tpm.policy_session(t.session).unwrap().policy.timeout;
        assert_eq!(timeout, 11_000);
        // A later authorization can only shorten the time.
        let command = t.signed(&NONCE_TPM, &[], 50);
        t.tpm.run(command).unwrap();
        let timeout = t.tpm.policy_session(t.session).unwrap().policy.timeout;
        assert_eq!(timeout, 11_000);
    }

    #[test]
    fn without_nonce_the_seconds_are_a_moment_of_the_clock() {
        let mut t = signing();
        t.tpm.script.now.fetch_add(10_500, Ordering::Relaxed);
        let command = t.signed(&[], &[], 9);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::EXPIRED.at(PolicySigned::expiration))
        );
        let command = t.signed(&[], &[], 10);
        t.tpm.run(command).unwrap();
        let timeout = t.tpm.policy_session(t.session).unwrap().policy.timeout;
        assert_eq!(timeout, 10_500);
        // The greatest distance that can be asked for is no overflow.
        let command = t.signed(&[], &[], i32::MIN);
        t.tpm.run(command).unwrap();
    }

    #[test]
    fn a_session_of_an_earlier_run_of_the_clock_is_expired() {
        let mut t = signing();
        t.tpm.clock.epoch += 1;
        let command = t.signed(&NONCE_TPM, &[], 100);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::EXPIRED.at(PolicySigned::expiration))
        );
        let command = t.signed(&NONCE_TPM, &[], 0);
        t.tpm.run(command).unwrap();
    }

    #[test]
    fn a_clock_that_cannot_be_stored_is_nv_unavailable() {
        let mut t = signing();
        t.tpm.script.storage_down.store(true, Ordering::Relaxed);
        let command = t.signed(&NONCE_TPM, &[], 100);
        assert_eq!(t.tpm.run(command), Err(Rc::NV_UNAVAILABLE));
        let command = t.signed(&NONCE_TPM, &[], 0);
        t.tpm.run(command).unwrap();
    }
}
