//! `TPM2_Import` (Part 3, 13.3).

use crate::execute::Execute;
use crate::loading::{Blame, check_loadable};
use crate::object::Object;
use crate::protection::{InnerWrap, Protector, unwrap_duplicate};
use crate::secret_exchange::DUPLICATE;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmiAlgPublic;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{Import, ImportResponse};
use tpm_wire::rc::Rc;

impl Execute for Import {
    fn execute(self, tpm: &mut Tpm) -> Result<ImportResponse, Rc> {
        let public = self.object_public.0;
        if public
            .object_attributes
            .intersects(TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT)
        {
            return Err(Rc::ATTRIBUTES.at(Self::object_public));
        }
        let not_parent = Rc::TYPE.at(Self::parent_handle);
        let parent = tpm
            .objects
            .get(self.parent_handle)
            .map_err(|_| not_parent)?;
        if !parent.is_parent() {
            return Err(not_parent);
        }
        let must_be_encrypted = public.has(TpmaObject::ENCRYPTED_DUPLICATION);
        let key_size = self
            .symmetric_alg
            .map_or(0, |cipher| usize::from(cipher.key_bits).div_ceil(8));
        if self.encryption_key.len() != key_size {
            return Err(Rc::SIZE.at(Self::encryption_key));
        }
        if self.symmetric_alg.is_none() && must_be_encrypted {
            return Err(Rc::ATTRIBUTES.at(Self::encryption_key));
        }
        let seed = if self.in_sym_seed.is_empty() {
            if must_be_encrypted {
                return Err(Rc::ATTRIBUTES.at(Self::in_sym_seed));
            }
            None
        } else {
            // Nobody can send a seed to a symmetric key.
            if parent.public.object_type() == TpmiAlgPublic::SymCipher {
                return Err(not_parent);
            }
            let seed = tpm
                .decrypt_secret(self.parent_handle.0, DUPLICATE, &self.in_sym_seed)
                .map_err(|rc| rc.at(Self::in_sym_seed))?;
            Some(seed)
        };
        let name_alg = public.name_alg.ok_or(Rc::HASH.at(Self::object_public))?;
        let name = Object::name_of(&public);

        let parent = tpm
            .objects
            .get(self.parent_handle)
            .map_err(|_| not_parent)?;
        let outer = match &seed {
            Some(seed) => Some(Protector::with_seed(&parent.public, seed)?),
            None => None,
        };
        let inner = self.symmetric_alg.map(|cipher| InnerWrap {
            cipher,
            key: &self.encryption_key,
        });
        let sensitive = unwrap_duplicate(
            &name,
            name_alg,
            &self.duplicate,
            inner.as_ref(),
            outer.as_ref(),
            &tpm.profile.limits,
        )
        .map_err(|rc| rc.at(Self::duplicate))?;
        // Under a parent that is not fixedTPM, the object is checked each time it is loaded.
        if parent.public.has(TpmaObject::FIXED_TPM) {
            let blame = Blame {
                public: Self::object_public,
                sensitive: Self::duplicate,
            };
            check_loadable(None, &public, Some(&sensitive), blame)?;
        }
        let out_private = Protector::parent(parent)?.wrap_private(
            &name,
            Some(name_alg),
            &sensitive,
            &mut tpm.random,
        )?;
        Ok(ImportResponse { out_private })
    }
}
