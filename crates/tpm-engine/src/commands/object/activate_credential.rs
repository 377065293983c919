//! `TPM2_ActivateCredential` (Part 3, 12.5).

use crate::execute::Execute;
use crate::protection::Protector;
use crate::secret_exchange::IDENTITY;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{ActivateCredential, ActivateCredentialResponse};
use tpm_wire::rc::Rc;

impl Execute for ActivateCredential {
    fn execute(self, tpm: &mut Tpm) -> Result<ActivateCredentialResponse, Rc> {
        let refused = Rc::TYPE.at(Self::key_handle);
        let key = tpm.objects.get(self.key_handle).map_err(|_| refused)?;
        if !key.is_asymmetric() || !key.public.has(TpmaObject::DECRYPT | TpmaObject::RESTRICTED) {
            return Err(refused);
        }
        let seed = tpm
            .decrypt_secret(self.key_handle.0, IDENTITY, &self.secret)
            .map_err(|rc| rc.at(Self::secret))?;
        let name = tpm.entity_name(self.activate_handle.0);
        let key = tpm.objects.get(self.key_handle).map_err(|_| refused)?;
        let cert_info = Protector::with_seed(&key.public, &seed)
            .and_then(|protector| protector.unwrap_credential(&name, &self.credential_blob))
            .map_err(|rc| rc.at(Self::credential_blob))?;
        Ok(ActivateCredentialResponse { cert_info })
    }
}
