//! `TPM2_PolicyCapability` (Part 3, 23.23).

use super::{bytes, comparison, holds, operand_a};
use crate::execute::Execute;
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_wire::capability::TpmsCapabilityData;
use tpm_wire::commands::{GetCapability, PolicyCapability, PolicyCapabilityResponse};
use tpm_wire::constants::{TpmCap, TpmEo};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::Rc;

impl Execute for PolicyCapability {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyCapabilityResponse, Rc> {
        if !tpm.policy_session(self.policy_session)?.is_trial() {
            compare(tpm, &self)?;
        }
        let session = tpm.policy_session(self.policy_session)?;
        let what = [bytes(&self.capability), bytes(&self.property)].concat();
        let arguments = comparison(session, &self.operand_b, self.offset, self.operation, &what);
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[&arguments]);
        Ok(PolicyCapabilityResponse {})
    }
}

/// Checks that the comparison holds.
fn compare(tpm: &mut Tpm, command: &PolicyCapability) -> Result<(), Rc> {
    check_property(command.capability, command.property)?;
    let Some(value) = property(tpm, command.capability, command.property)? else {
        // What does not exist differs from everything and compares with nothing.
        return if command.operation == TpmEo::Neq {
            Ok(())
        } else {
            Err(Rc::POLICY)
        };
    };
    if usize::from(command.offset) > value.len() {
        return Err(Rc::VALUE.at(PolicyCapability::offset));
    }
    let operand = operand_a(&value, command.offset, &command.operand_b)
        .ok_or(Rc::SIZE.at(PolicyCapability::operand_b))?;
    if holds(command.operation, operand, &command.operand_b) {
        Ok(())
    } else {
        Err(Rc::POLICY)
    }
}

/// Checks that the capability has single properties, and that this could be one of them.
fn check_property(capability: TpmCap, property: u32) -> Result<(), Rc> {
    let handle = TpmHandle(property);
    match capability {
        TpmCap::ALGS
        | TpmCap::COMMANDS
        | TpmCap::PP_COMMANDS
        | TpmCap::AUDIT_COMMANDS
        | TpmCap::TPM_PROPERTIES
        | TpmCap::PCR_PROPERTIES
        | TpmCap::ECC_CURVES => Ok(()),
        TpmCap::HANDLES => match handle.kind() {
            None | Some(TpmHt::Ac | TpmHt::ExternalNv | TpmHt::PermanentNv) => {
                Err(Rc::HANDLE.at(PolicyCapability::property))
            }
            Some(_) => Ok(()),
        },
        TpmCap::AUTH_POLICIES if handle.kind() == Some(TpmHt::Permanent) => Ok(()),
        TpmCap::ACT if (0..16).contains(&property.wrapping_sub(TpmHandle::ACT_0.0)) => Ok(()),
        TpmCap::AUTH_POLICIES | TpmCap::ACT => Err(Rc::VALUE.at(PolicyCapability::property)),
        _ => Err(Rc::VALUE.at(PolicyCapability::capability)),
    }
}

/// One property as `TPM2_GetCapability` reports it; `None` if it is not there.
fn property(tpm: &mut Tpm, capability: TpmCap, property: u32) -> Result<Option<Vec<u8>>, Rc> {
    let report = GetCapability {
        capability,
        property,
        property_count: 1,
    }
    .execute(tpm)?
    .capability_data;
    // The list begins with the first property that is not below the one that was asked for: it may be another.
    Ok(match &report {
        TpmsCapabilityData::Algs(list) => list
            .first()
            .filter(|algorithm| u32::from(algorithm.alg.0) == property)
            .map(bytes),
        // Loaded sessions are asked for as HMAC sessions and saved ones as policy sessions, whatever they are.
        TpmsCapabilityData::Handles(list) => list
            .first()
            .filter(|handle| {
                let asked = TpmHandle(property);
                **handle == asked || asked.is_session() && handle.index() == asked.index()
            })
            .map(|_| bytes(&property)),
        TpmsCapabilityData::Commands(list) => list
            .first()
            .filter(|attributes| attributes.0 & 0xFFFF == property)
            .map(bytes),
        TpmsCapabilityData::PpCommands(list) | TpmsCapabilityData::AuditCommands(list) => {
            list.first().filter(|code| **code == property).map(bytes)
        }
        TpmsCapabilityData::TpmProperties(list) => list
            .first()
            .filter(|tagged| tagged.property.0 == property)
            .map(bytes),
        TpmsCapabilityData::PcrProperties(list) => list
            .first()
            .filter(|tagged| tagged.tag.0 == property)
            .map(bytes),
        TpmsCapabilityData::EccCurves(list) => list
            .first()
            .filter(|curve| u32::from(curve.0) == property)
            .map(bytes),
        TpmsCapabilityData::AuthPolicies(list) => list
            .first()
            .filter(|tagged| tagged.handle.0 == property)
            .map(bytes),
        TpmsCapabilityData::Act(list) => list
            .first()
            .filter(|act| act.handle.0 == property)
            .map(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{
        INDEX, digest, hmac_object, nv_index, policy, started, trial,
    };
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::PolicyCapability;
    use tpm_wire::constants::{TpmCap, TpmEo};
    use tpm_wire::handles::{TpmHandle, TpmHt, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    fn compare(
        policy_session: TpmiShPolicy,
        operand_b: &[u8],
        operation: TpmEo,
        capability: TpmCap,
        property: u32,
    ) -> PolicyCapability {
        PolicyCapability {
            policy_session,
            operand_b: small(operand_b),
            offset: 0,
            operation,
            capability,
            property,
        }
    }

    /// The family indicator is "2.0"; the value follows four bytes that name the property.
    fn family(policy_session: TpmiShPolicy, operand_b: &[u8], offset: u16) -> PolicyCapability {
        PolicyCapability {
            offset,
            ..compare(
                policy_session,
                operand_b,
                TpmEo::Eq,
                TpmCap::TPM_PROPERTIES,
                0x100,
            )
        }
    }

    #[test]
    fn digest_covers_the_comparison_and_the_property() {
        let mut tpm = started();
        for policy_session in [policy(&mut tpm), trial(&mut tpm)] {
            tpm.run(family(policy_session, b"2.0\0", 4)).unwrap();
            assert_eq!(
                digest(&mut tpm, policy_session),
                "64f840c6dedaeae48a93101775eaf2d332e1c5c31d7a8df4b71665fabe3cd15c"
            );
        }
    }

    #[test]
    fn another_value_is_policy_but_not_in_a_trial() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        assert_eq!(
            tpm.run(family(policy_session, b"1.2\0", 4)),
            Err(Rc::POLICY)
        );
        let policy_session = trial(&mut tpm);
        tpm.run(family(policy_session, b"1.2\0", 4)).unwrap();
        tpm.run(family(policy_session, b"1.2\0", 400)).unwrap();
    }

    #[test]
    fn offset_past_the_end_is_value_and_too_long_an_operand_size() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        assert_eq!(
            tpm.run(family(policy_session, &[], 9)),
            Err(Rc::VALUE.at(PolicyCapability::offset))
        );
        assert_eq!(
            tpm.run(family(policy_session, b"\0\0", 7)),
            Err(Rc::SIZE.at(PolicyCapability::operand_b))
        );
    }

    #[test]
    fn what_does_not_exist_differs_from_everything() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let handle = 0x8100_0009;
        let with = |operation| compare(policy_session, &[0], operation, TpmCap::HANDLES, handle);
        assert_eq!(tpm.run(with(TpmEo::Eq)), Err(Rc::POLICY));
        assert_eq!(tpm.run(with(TpmEo::UnsignedGe)), Err(Rc::POLICY));
        tpm.run(with(TpmEo::Neq)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "c47133e620be2719fc0ed0c2f552adc0ead50066e792f4591f2012275a253a96"
        );
    }

    #[test]
    fn every_capability_with_single_properties_is_looked_up() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::NONE, &[0]);
        let key = tpm.objects.load(hmac_object()).unwrap();
        let policy_session = policy(&mut tpm);
        let loaded = TpmHt::HmacSession.handle(policy_session.0.index()).0;
        tpm.management.presence_commands = alloc::vec![0x121];
        let owner = TpmHandle::OWNER.0;
        // What is there, and what is not.
        for (capability, there, missing) in [
            (TpmCap::ALGS, 0x000B, 0x7FFF),
            (TpmCap::HANDLES, INDEX.0, INDEX.0 + 1),
            (TpmCap::HANDLES, key.0, key.0 + 1),
            (TpmCap::HANDLES, 0, 24),
            (TpmCap::HANDLES, owner, 0x4000_0002),
            (TpmCap::HANDLES, loaded, loaded + 9),
            (TpmCap::COMMANDS, 0x137, 0x12F),
            (TpmCap::PP_COMMANDS, 0x121, 0x120),
            (TpmCap::AUDIT_COMMANDS, 0x140, 0x137),
            (TpmCap::TPM_PROPERTIES, 0x200, 0x1FF),
            (TpmCap::PCR_PROPERTIES, 0x14, 0x15),
            (TpmCap::ECC_CURVES, 3, 6),
            (TpmCap::AUTH_POLICIES, owner, 0x4000_0002),
            (TpmCap::ACT, 0x4000_0110, 0x4000_011F),
        ] {
            let with = |property| compare(policy_session, &[], TpmEo::Eq, capability, property);
            tpm.run(with(there)).unwrap();
            assert_eq!(
                tpm.run(with(missing)),
                Err(Rc::POLICY),
                "{capability:?} {missing:#x}"
            );
        }
    }

    #[test]
    fn a_saved_session_is_found_among_the_saved_ones() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let other = policy(&mut tpm);
        let property = TpmHt::PolicySession.handle(other.0.index()).0;
        let saved = compare(policy_session, &[], TpmEo::Eq, TpmCap::HANDLES, property);
        assert_eq!(tpm.run(saved.clone()), Err(Rc::POLICY));
        tpm.sessions.save(other.0).unwrap();
        tpm.run(saved).unwrap();
    }

    #[test]
    fn capabilities_without_single_properties_are_value_at_parameter_4() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        for capability in [TpmCap::PCRS, TpmCap::VENDOR_PROPERTY, TpmCap(0x99)] {
            assert_eq!(
                tpm.run(compare(policy_session, &[], TpmEo::Neq, capability, 0)),
                Err(Rc::VALUE.at(PolicyCapability::capability))
            );
        }
    }

    #[test]
    fn properties_that_cannot_be_are_told_at_parameter_5() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        for (capability, property, rc) in [
            (TpmCap::HANDLES, 0x9000_0000, Rc::HANDLE),
            (TpmCap::HANDLES, 0x7700_0000, Rc::HANDLE),
            (TpmCap::AUTH_POLICIES, 0x8000_0000, Rc::VALUE),
            (TpmCap::ACT, 0x4000_010F, Rc::VALUE),
            (TpmCap::ACT, 0x4000_0120, Rc::VALUE),
        ] {
            assert_eq!(
                tpm.run(compare(
                    policy_session,
                    &[],
                    TpmEo::Neq,
                    capability,
                    property
                )),
                Err(rc.at(PolicyCapability::property))
            );
        }
    }
}
