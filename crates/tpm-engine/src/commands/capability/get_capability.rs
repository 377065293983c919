//! `TPM2_GetCapability` (Part 3, 30.2).

use super::Unknown;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetCapability, GetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for GetCapability {
    fn execute(self, tpm: &mut Tpm) -> Result<GetCapabilityResponse, Rc> {
        let (more_data, capability_data) = tpm
            .capability(self.capability, self.property, self.property_count)
            .map_err(|unknown| match unknown {
                Unknown::Capability(rc) => rc.at(Self::capability),
                Unknown::Property(rc) => rc.at(Self::property),
            })?;
        Ok(GetCapabilityResponse {
            more_data,
            capability_data,
        })
    }
}
