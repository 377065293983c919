//! `TPM2_AC_Send` (Part 3, 32.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{AcSend, AcSendResponse};
use tpm_wire::rc::Rc;

impl Execute for AcSend {
    /// No component is attached to this TPM: the handle names nothing, as the check of the handle area said already.
    fn execute(self, _: &mut Tpm) -> Result<AcSendResponse, Rc> {
        Err(Rc::VALUE.at(Self::ac))
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::hmac_object;
    use crate::testing;
    use tpm_wire::buffers::Tpm2bMaxBuffer;
    use tpm_wire::commands::AcSend;
    use tpm_wire::handles::{TpmHandle, TpmHt, TpmiDhObject, TpmiRhAc, TpmiRhNvAuth};
    use tpm_wire::rc::Rc;

    // The other codes of Part 3 (those of a duplication, and of the NV Index that authorizes) need a component to send to.
    #[test]
    fn a_component_that_is_not_attached_is_value_at_handle_3() {
        let mut tpm = testing::started();
        let object = hmac_object();
        let send_object = TpmiDhObject(tpm.objects.load(object).unwrap());
        let mut command = AcSend {
            send_object,
            auth_handle: TpmiRhNvAuth(TpmHandle::OWNER),
            ac: TpmiRhAc(TpmHt::Ac.handle(1)),
            ac_data_in: Tpm2bMaxBuffer::EMPTY,
        };
        assert_eq!(tpm.run(command.clone()), Err(Rc::VALUE.at(AcSend::ac)));
        command.send_object = TpmiDhObject(TpmHt::Transient.handle(9));
        assert_eq!(tpm.run(command), Err(Rc::REFERENCE_H0));
    }
}
