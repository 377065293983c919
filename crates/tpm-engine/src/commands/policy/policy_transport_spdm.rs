//! `TPM2_PolicyTransportSPDM` (Part 3, 23.25).

use super::{bytes, check_name};
use crate::algorithms::{hash, small};
use crate::execute::Execute;
use crate::policy::SecureChannel;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{PolicyTransportSpdm, PolicyTransportSpdmResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyTransportSpdm {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyTransportSpdmResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        if session.policy.secure_channel.is_some() {
            return Err(Rc::VALUE);
        }
        let check_requester = !self.req_key_name.is_empty();
        let check_tpm = !self.tpm_key_name.is_empty();
        if check_requester {
            check_name(tpm, &self.req_key_name, Self::req_key_name)?;
        }
        if check_tpm {
            check_name(tpm, &self.tpm_key_name, Self::tpm_key_name)?;
        }
        let names_hash = if check_requester || check_tpm {
            let names = [bytes(&self.req_key_name), bytes(&self.tpm_key_name)];
            small(&hash(
                session.auth_hash,
                &names.each_ref().map(|name| &**name),
            ))
        } else {
            Tpm2bDigest::EMPTY
        };
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[&names_hash]);
        session.policy.secure_channel = Some(SecureChannel {
            check_requester,
            check_tpm,
            names_hash,
        });
        Ok(PolicyTransportSpdmResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::buffers::Tpm2bName;
    use tpm_wire::commands::PolicyTransportSpdm;
    use tpm_wire::handles::TpmiShPolicy;
    use tpm_wire::rc::Rc;

    fn transport(
        policy_session: TpmiShPolicy,
        requester: &[u8],
        tpm: &[u8],
    ) -> PolicyTransportSpdm {
        PolicyTransportSpdm {
            policy_session,
            req_key_name: Tpm2bName::new(requester).unwrap(),
            tpm_key_name: Tpm2bName::new(tpm).unwrap(),
        }
    }

    fn name() -> [u8; 34] {
        let mut name = [0x77; 34];
        name[..2].copy_from_slice(&[0x00, 0x0B]);
        name
    }

    #[test]
    fn digest_covers_the_names_that_are_given() {
        let mut tpm = started();
        for (requester, own, expected) in [
            (
                &[][..],
                &[][..],
                "f963dc07412997270cb43ff93f56d35861e1c95c3c5d07c7339b5cf5bba1582d",
            ),
            (
                &name(),
                &[],
                "869fa4e08e45d37d718b2ad64baf7d8e2bd51b5cf0c6d94e08a7b9173380e189",
            ),
            (
                &name(),
                &name(),
                "ff74eedad54e1f6c5cfbfd83c55c46c68deac32a19ecbf24bb9830ffe746516d",
            ),
        ] {
            let policy_session = policy(&mut tpm);
            tpm.run(transport(policy_session, requester, own)).unwrap();
            assert_eq!(digest(&mut tpm, policy_session), expected);
            assert_eq!(
                tpm.run(transport(policy_session, requester, own)),
                Err(Rc::VALUE),
                "once for a session"
            );
        }
    }

    #[test]
    fn names_that_cannot_be_names_are_size_or_hash_at_their_parameter() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let first = PolicyTransportSpdm::req_key_name;
        let second = PolicyTransportSpdm::tpm_key_name;
        for (bytes, rc) in [
            (&[0x00][..], Rc::SIZE),
            (&[0x00, 0x0B, 7], Rc::SIZE),
            (&[0x12, 0x34], Rc::HASH),
        ] {
            assert_eq!(
                tpm.run(transport(policy_session, bytes, &[])),
                Err(rc.at(first))
            );
            assert_eq!(
                tpm.run(transport(policy_session, &name(), bytes)),
                Err(rc.at(second))
            );
        }
    }
}
