//! `TPM2_LoadExternal` (Part 3, 12.3).

use crate::execute::Execute;
use crate::loading::{Blame, check_loadable};
use crate::object::{Lineage, Object};
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{LoadExternal, LoadExternalResponse};
use tpm_wire::handles::{HandleField, TpmHandle};
use tpm_wire::rc::Rc;

impl Execute for LoadExternal {
    fn execute(self, tpm: &mut Tpm) -> Result<LoadExternalResponse, Rc> {
        tpm.objects.check_room()?;
        let hierarchy: TpmHandle = self.hierarchy.handle();
        let refused = Rc::HIERARCHY.at(Self::hierarchy);
        tpm.hierarchies.check(hierarchy).map_err(|_| refused)?;
        let (public, sensitive) = (self.in_public.0, self.in_private.0);
        if sensitive.is_some() {
            if hierarchy != TpmHandle::NULL {
                return Err(refused);
            }
            let attributes = public.object_attributes;
            if attributes.intersects(
                TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::RESTRICTED,
            ) {
                return Err(Rc::ATTRIBUTES.at(Self::in_public));
            }
        }
        let blame = Blame {
            public: Self::in_public,
            sensitive: Self::in_private,
        };
        check_loadable(None, &public, sensitive.as_ref(), blame)?;
        let object = Object::new(public, sensitive, Lineage::External(hierarchy));
        let name = object.name.clone();
        Ok(LoadExternalResponse {
            object_handle: tpm.objects.load(object)?,
            name,
        })
    }
}
