//! `TPM2_SetCapability` (Part 3, 30.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SetCapability, SetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for SetCapability {
    fn execute(self, _: &mut Tpm) -> Result<SetCapabilityResponse, Rc> {
        // Nothing that this TPM reports can be set.
        Err(Rc::VALUE.at(Self::set_capability_data))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use tpm_wire::commands::SetCapability;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    // TPM_RC_HANDLE, which Part 3 lists, would need a capability that can be set.
    #[test]
    fn no_capability_can_be_set() {
        let set = SetCapability {
            auth_handle: TpmHandle::OWNER.into(),
            set_capability_data: Default::default(),
        };
        assert_eq!(
            testing::started().run(set),
            Err(Rc::VALUE.at(SetCapability::set_capability_data))
        );
    }
}
