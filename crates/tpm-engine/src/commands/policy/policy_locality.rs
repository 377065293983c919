//! `TPM2_PolicyLocality` (Part 3, 23.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaLocality;
use tpm_wire::commands::{PolicyLocality, PolicyLocalityResponse};
use tpm_wire::rc::Rc;

/// The first number that means one extended locality and not a set of localities.
const FIRST_EXTENDED: u8 = 32;

impl Execute for PolicyLocality {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyLocalityResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        let range = Rc::RANGE.at(Self::locality);
        let locality = both(session.policy.locality, self.locality).ok_or(range)?;
        session.extend_policy::<Self>(&[&[self.locality.0]]);
        session.policy.locality = Some(locality);
        Ok(PolicyLocalityResponse {})
    }
}

/// The localities that are in both; `None` if there are none.
fn both(earlier: Option<TpmaLocality>, locality: TpmaLocality) -> Option<TpmaLocality> {
    let is_extended = |locality: TpmaLocality| locality.0 >= FIRST_EXTENDED;
    if locality == TpmaLocality::NONE {
        return None;
    }
    match earlier {
        None => Some(locality),
        Some(earlier) if is_extended(earlier) || is_extended(locality) => {
            (earlier == locality).then_some(locality)
        }
        Some(earlier) => Some(earlier & locality).filter(|both| *both != TpmaLocality::NONE),
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::attributes::TpmaLocality;
    use tpm_wire::commands::PolicyLocality;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_localities() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let locality = TpmaLocality::THREE;
        tpm.run(PolicyLocality {
            policy_session,
            locality,
        })
        .unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "7764491d5afe719035c0c09faa90c3490a7475d6df422b804e8f68aa65f8934f"
        );
    }

    #[test]
    fn localities_narrow_and_must_not_become_none() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |bits| PolicyLocality {
            policy_session,
            locality: TpmaLocality(bits),
        };
        let range = Err(Rc::RANGE.at(PolicyLocality::locality));
        assert_eq!(tpm.run(with(0)), range);
        tpm.run(with(0b0_0110)).unwrap();
        tpm.run(with(0b0_1100)).unwrap();
        let state = &tpm.policy_session(policy_session).unwrap().policy;
        assert_eq!(state.locality, Some(TpmaLocality::TWO));
        assert_eq!(tpm.run(with(0b0_0010)), range);
        assert_eq!(tpm.run(with(32)), range);
    }

    #[test]
    fn an_extended_locality_stands_alone() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |number| PolicyLocality {
            policy_session,
            locality: TpmaLocality(number),
        };
        let range = Err(Rc::RANGE.at(PolicyLocality::locality));
        tpm.run(with(40)).unwrap();
        tpm.run(with(40)).unwrap();
        assert_eq!(tpm.run(with(41)), range);
        assert_eq!(tpm.run(with(1)), range);
    }
}
