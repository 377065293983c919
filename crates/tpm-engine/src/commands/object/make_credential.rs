//! `TPM2_MakeCredential` (Part 3, 12.6).

use crate::execute::Execute;
use crate::protection::Protector;
use crate::secret_exchange::IDENTITY;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{MakeCredential, MakeCredentialResponse};
use tpm_wire::rc::Rc;

impl Execute for MakeCredential {
    fn execute(self, tpm: &mut Tpm) -> Result<MakeCredentialResponse, Rc> {
        let refused = Rc::TYPE.at(Self::handle);
        let key = tpm.objects.get(self.handle).map_err(|_| refused)?;
        if !key.is_asymmetric() || !key.public.has(TpmaObject::DECRYPT | TpmaObject::RESTRICTED) {
            return Err(refused);
        }
        let largest = key.public.name_alg.map_or(0, |hash| hash.digest_size());
        if self.credential.len() > largest {
            return Err(Rc::SIZE.at(Self::credential));
        }
        let (seed, secret) = tpm.encrypt_secret(self.handle.0, IDENTITY)?;
        let key = tpm.objects.get(self.handle).map_err(|_| refused)?;
        let credential_blob = Protector::with_seed(&key.public, &seed)?
            .wrap_credential(&self.object_name, &self.credential)?;
        Ok(MakeCredentialResponse {
            credential_blob,
            secret,
        })
    }
}
