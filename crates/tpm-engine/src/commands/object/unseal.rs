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

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{self, passwords};
    use crate::testing;
    use tpm_wire::commands::Unseal;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn command(handle: TpmHandle) -> Unseal {
        Unseal {
            item_handle: handle.into(),
        }
    }

    #[test]
    fn gives_the_data_to_who_knows_the_authorization_value() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let sealed = build::sealed(&mut tpm, root, b"auth", b"sealed");
        let unsealed = tpm.run_as(command(sealed), &passwords(&[b"auth"]));
        assert_eq!(&*unsealed.unwrap().out_data, b"sealed");
        let refused = tpm.run_as(command(sealed), &passwords(&[b"aut"])).err();
        assert_eq!(refused, Some(Rc::from_number(0x98E)));
    }

    #[test]
    fn a_key_is_type_or_attributes_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let key = build::signing_key_ecc(&mut tpm, root);
        let hmac = build::hmac_key(&mut tpm, root);
        let cipher = build::symmetric_key(&mut tpm, root);
        let sequence = build::sequence(&mut tpm);
        let mut refused = |handle| tpm.run(command(handle)).err();
        let kind = Some(Rc::TYPE.at(Unseal::item_handle));
        assert_eq!(refused(root), kind);
        assert_eq!(refused(key), kind);
        assert_eq!(refused(cipher), kind);
        assert_eq!(refused(sequence), kind);
        assert_eq!(refused(hmac), Some(Rc::ATTRIBUTES.at(Unseal::item_handle)));
    }
}
