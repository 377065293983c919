//! `TPM2_Load` (Part 3, 12.2).

use crate::execute::Execute;
use crate::loading::{Blame, check_loadable};
use crate::object::{Lineage, Object};
use crate::protection::Protector;
use crate::state::Tpm;
use tpm_wire::commands::{Load, LoadResponse};
use tpm_wire::rc::Rc;

impl Execute for Load {
    fn execute(self, tpm: &mut Tpm) -> Result<LoadResponse, Rc> {
        tpm.objects.check_room()?;
        if self.in_private.is_empty() {
            return Err(Rc::SIZE.at(Self::in_private));
        }
        let at_parent = |rc: Rc| rc.at(Self::parent_handle);
        let parent = tpm.objects.get(self.parent_handle).map_err(at_parent)?;
        if !parent.is_parent() {
            return Err(at_parent(Rc::TYPE));
        }
        let public = self.in_public.0;
        let name = Object::name_of(&public);
        let sensitive = Protector::parent(parent)
            .and_then(|parent| parent.unwrap_private(&name, &self.in_private, &tpm.profile.limits))
            .map_err(|rc| rc.at(Self::in_private))?;
        let blame = Blame {
            public: Self::in_public,
            sensitive: Self::in_private,
        };
        check_loadable(Some(parent), &public, Some(&sensitive), blame)?;
        let object = Object::new(public, Some(sensitive), Lineage::Child(parent));
        Ok(LoadResponse {
            object_handle: tpm.objects.load(object)?,
            name,
        })
    }
}
