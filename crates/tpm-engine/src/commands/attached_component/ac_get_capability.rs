//! `TPM2_AC_GetCapability` (Part 3, 32.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{AcGetCapability, AcGetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for AcGetCapability {
    /// No component is attached to this TPM: the handle names nothing, as the check of the handle area said already.
    fn execute(self, _: &mut Tpm) -> Result<AcGetCapabilityResponse, Rc> {
        Err(Rc::VALUE.at(Self::ac))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use tpm_wire::commands::AcGetCapability;
    use tpm_wire::constants::TpmAt;
    use tpm_wire::handles::{TpmHt, TpmiRhAc};
    use tpm_wire::rc::Rc;

    #[test]
    fn a_component_that_is_not_attached_is_value_at_handle_1() {
        let mut tpm = testing::started();
        let command = AcGetCapability {
            ac: TpmiRhAc(TpmHt::Ac.handle(1)),
            capability: TpmAt::ANY,
            count: 1,
        };
        assert_eq!(tpm.run(command), Err(Rc::VALUE.at(AcGetCapability::ac)));
    }
}
