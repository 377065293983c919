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
