//! `TPM2_Unseal` (Part 3, 12.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{Unseal, UnsealResponse};
use tpm_wire::object::TpmuSensitiveComposite;
use tpm_wire::rc::Rc;

impl Execute for Unseal {
    fn execute(self, tpm: &mut Tpm) -> Result<UnsealResponse, Rc> {
        let refused = Rc::TYPE.at(Self::item_handle);
        let object = tpm.objects.get(self.item_handle).map_err(|_| refused)?;
        let sensitive = object.sensitive.as_ref().map(|area| &area.sensitive);
        let Some(TpmuSensitiveComposite::Bits(data)) = sensitive else {
            return Err(refused);
        };
        if object
            .public
            .object_attributes
            .intersects(TpmaObject::DECRYPT | TpmaObject::SIGN | TpmaObject::RESTRICTED)
        {
            return Err(Rc::ATTRIBUTES.at(Self::item_handle));
        }
        Ok(UnsealResponse {
            out_data: data.clone(),
        })
    }
}
