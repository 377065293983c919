//! `TPM2_PolicyPCR` (Part 3, 23.7).

use super::bytes;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyPcr, PolicyPcrResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyPcr {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyPcrResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        let (selection, current) = tpm.pcrs.digest(session.auth_hash, &self.pcrs);
        let counter = tpm.pcrs.update_counter;
        let is_given = !self.pcr_digest.is_empty();
        if !session.is_trial() {
            if session
                .policy
                .pcr_counter
                .is_some_and(|checked| checked != counter)
            {
                return Err(Rc::PCR_CHANGED);
            }
            if is_given && self.pcr_digest != current {
                return Err(Rc::VALUE.at(Self::pcr_digest));
            }
        }
        let digest = if is_given { self.pcr_digest } else { current };
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[&bytes(&selection), &digest]);
        if !session.is_trial() {
            session.policy.pcr_counter = Some(counter);
        }
        Ok(PolicyPcrResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started, trial};
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::PolicyPcr;
    use tpm_wire::handles::TpmiShPolicy;
    use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
    use tpm_wire::rc::Rc;

    fn pcr(policy_session: TpmiShPolicy, pcr_digest: Tpm2bDigest) -> PolicyPcr {
        let mut pcrs = TpmlPcrSelection::new();
        pcrs.push(TpmsPcrSelection {
            hash: TpmiAlgHash::Sha256,
            pcr_select: TpmsPcrSelect::of(&[1, 16]),
        });
        PolicyPcr {
            policy_session,
            pcr_digest,
            pcrs,
        }
    }

    /// SHA-256 over the 64 zero bytes of the two PCR.
    fn zeros() -> Tpm2bDigest {
        let bytes = hex::decode("f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
        Tpm2bDigest::new(&bytes.unwrap()).unwrap()
    }

    #[test]
    fn digest_covers_selection_and_values_given_or_not() {
        let mut tpm = started();
        for given in [Tpm2bDigest::EMPTY, zeros()] {
            let policy_session = policy(&mut tpm);
            tpm.run(pcr(policy_session, given)).unwrap();
            assert_eq!(
                digest(&mut tpm, policy_session),
                "7fb448f6d383163954f1ac9469169c757af06713beb36b758cb3f40597d691ec"
            );
        }
    }

    #[test]
    fn other_values_are_value_at_parameter_1_but_a_trial_session_takes_them() {
        let mut tpm = started();
        let other = small(&[7; 32]);
        let policy_session = policy(&mut tpm);
        assert_eq!(
            tpm.run(pcr(policy_session, other.clone())),
            Err(Rc::VALUE.at(PolicyPcr::pcr_digest))
        );
        let policy_session = trial(&mut tpm);
        tpm.run(pcr(policy_session, other)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "dd7459101dad8fa9de38041a542c90e0f1887c61f987c5f30b48ffcd61d0058d"
        );
        tpm.pcrs.extend(TpmiAlgHash::Sha256, 1, &[1; 32]);
        tpm.run(pcr(policy_session, Tpm2bDigest::EMPTY)).unwrap();
    }

    #[test]
    fn a_change_of_pcr_since_the_last_look_is_pcr_changed() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.run(pcr(policy_session, Tpm2bDigest::EMPTY)).unwrap();
        tpm.pcrs.extend(TpmiAlgHash::Sha256, 1, &[1; 32]);
        assert_eq!(
            tpm.run(pcr(policy_session, Tpm2bDigest::EMPTY)),
            Err(Rc::PCR_CHANGED)
        );
    }

    #[test]
    fn pcr_that_do_not_exist_fall_out_of_the_selection() {
        let mut tpm = started();
        let mut command = pcr(trial(&mut tpm), zeros());
        command.pcrs.push(TpmsPcrSelection {
            hash: TpmiAlgHash::Sm3_256,
            pcr_select: TpmsPcrSelect::of(&[3]),
        });
        let policy_session = command.policy_session;
        tpm.run(command).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "79842a7dfb6c2b2ab553eea6dd02ad2ad04b06b44e2f14975d0b2d47d56f6b16"
        );
    }
}
