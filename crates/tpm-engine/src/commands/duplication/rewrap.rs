//! `TPM2_Rewrap` (Part 3, 13.2).

use crate::execute::Execute;
use crate::protection::Protector;
use crate::secret_exchange::DUPLICATE;
use crate::state::Tpm;
use tpm_wire::buffers::{Tpm2bEncryptedSecret, Tpm2bPrivate};
use tpm_wire::commands::{Rewrap, RewrapResponse};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for Rewrap {
    fn execute(self, tpm: &mut Tpm) -> Result<RewrapResponse, Rc> {
        if self.in_sym_seed.is_empty() != self.old_parent.is_none() {
            return Err(Rc::HANDLE.at(Self::old_parent));
        }
        let inner = match self.old_parent {
            Some(old_parent) => {
                let refused = Rc::TYPE.at(Self::old_parent);
                if !is_storage_key(tpm, old_parent.0) {
                    return Err(refused);
                }
                let seed = tpm
                    .decrypt_secret(old_parent.0, DUPLICATE, &self.in_sym_seed)
                    .map_err(|_| Rc::VALUE.at(Self::in_sym_seed))?;
                let parent = tpm.objects.get(old_parent).map_err(|_| refused)?;
                Protector::with_seed(&parent.public, &seed)
                    .and_then(|parent| parent.unwrap(&self.name, false, &self.in_duplicate))
                    .map_err(|rc| rc.at(Self::in_duplicate))?
            }
            None => Zeroizing::new(self.in_duplicate.to_vec()),
        };
        let (out_duplicate, out_sym_seed) = match self.new_parent {
            Some(new_parent) => {
                let refused = Rc::TYPE.at(Self::new_parent);
                if !is_storage_key(tpm, new_parent.0) {
                    return Err(refused);
                }
                let (seed, secret) = tpm.encrypt_secret(new_parent.0, DUPLICATE)?;
                let parent = tpm.objects.get(new_parent).map_err(|_| refused)?;
                let parent = Protector::with_seed(&parent.public, &seed)?;
                (parent.wrap(&self.name, None, inner)?, secret)
            }
            None => (inner.to_vec(), Tpm2bEncryptedSecret::EMPTY),
        };
        Ok(RewrapResponse {
            // The wrap may have made it too large.
            out_duplicate: Tpm2bPrivate::new(out_duplicate)
                .ok_or(Rc::VALUE.at(Self::in_duplicate))?,
            out_sym_seed,
        })
    }
}

fn is_storage_key(tpm: &Tpm, handle: tpm_wire::handles::TpmHandle) -> bool {
    tpm.objects
        .get(handle)
        .is_ok_and(|object| object.is_storage_key())
}
