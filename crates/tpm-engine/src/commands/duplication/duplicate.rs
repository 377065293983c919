//! `TPM2_Duplicate` (Part 3, 13.1).

use crate::execute::Execute;
use crate::protection::{InnerWrap, Protector, wrap_duplicate};
use crate::secret_exchange::DUPLICATE;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2bData, Tpm2bEncryptedSecret, Tpm2bSeed};
use tpm_wire::commands::{Duplicate, DuplicateResponse};
use tpm_wire::rc::Rc;

impl Execute for Duplicate {
    fn execute(self, tpm: &mut Tpm) -> Result<DuplicateResponse, Rc> {
        let at_object = |rc: Rc| rc.at(Self::object_handle);
        let object = tpm.objects.get(self.object_handle).map_err(at_object)?;
        if object.public.has(TpmaObject::FIXED_PARENT) {
            return Err(at_object(Rc::ATTRIBUTES));
        }
        let name_alg = object.public.name_alg.ok_or(at_object(Rc::TYPE))?;
        if let Some(new_parent) = self.new_parent_handle
            && !tpm
                .objects
                .get(new_parent)
                .is_ok_and(|parent| parent.is_storage_key())
        {
            return Err(Rc::TYPE.at(Self::new_parent_handle));
        }
        if object.public.has(TpmaObject::ENCRYPTED_DUPLICATION) {
            if self.symmetric_alg.is_none() {
                return Err(Rc::SYMMETRIC.at(Self::symmetric_alg));
            }
            if self.new_parent_handle.is_none() {
                return Err(Rc::HIERARCHY.at(Self::new_parent_handle));
            }
        }
        let key_size = self
            .symmetric_alg
            .map_or(0, |cipher| usize::from(cipher.key_bits).div_ceil(8));
        let given = &self.encryption_key_in;
        if !given.is_empty() && given.len() != key_size {
            return Err(Rc::SIZE.at(Self::encryption_key_in));
        }

        let (seed, out_sym_seed) = match self.new_parent_handle {
            Some(new_parent) => tpm.encrypt_secret(new_parent.0, DUPLICATE)?,
            None => (Tpm2bSeed::EMPTY, Tpm2bEncryptedSecret::EMPTY),
        };
        // A key that the caller brought is not told again.
        let mut encryption_key_out = Tpm2bData::EMPTY;
        if given.is_empty() {
            encryption_key_out = Tpm2bData::zeros(key_size);
            tpm.fill_random(encryption_key_out.as_mut_slice());
        }
        let key = if given.is_empty() {
            &encryption_key_out
        } else {
            given
        };
        let inner = self.symmetric_alg.map(|cipher| InnerWrap { cipher, key });
        let outer = match self.new_parent_handle {
            Some(parent) => {
                let parent = tpm.objects.get(parent)?;
                Some(Protector::with_seed(&parent.public, &seed)?)
            }
            None => None,
        };
        let object = tpm.objects.get(self.object_handle)?;
        let sensitive = object.sensitive.as_ref().ok_or(at_object(Rc::TYPE))?;
        let duplicate = wrap_duplicate(
            &object.name,
            name_alg,
            sensitive,
            inner.as_ref(),
            outer.as_ref(),
        )?;
        Ok(DuplicateResponse {
            encryption_key_out,
            duplicate,
            out_sym_seed,
        })
    }
}
