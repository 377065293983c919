//! `TPM2_ObjectChangeAuth` (Part 3, 12.8).

use crate::creation::pad_auth;
use crate::execute::Execute;
use crate::object::Object;
use crate::protection::Protector;
use crate::state::Tpm;
use tpm_wire::commands::{ObjectChangeAuth, ObjectChangeAuthResponse};
use tpm_wire::rc::Rc;

impl Execute for ObjectChangeAuth {
    fn execute(self, tpm: &mut Tpm) -> Result<ObjectChangeAuthResponse, Rc> {
        let at_object = |rc: Rc| rc.at(Self::object_handle);
        let object = tpm.objects.get(self.object_handle).map_err(at_object)?;
        let name_alg = object.public.name_alg;
        let auth_value = pad_auth(&self.new_auth, name_alg).map_err(|rc| rc.at(Self::new_auth))?;
        let not_parent = Rc::TYPE.at(Self::parent_handle);
        let parent = tpm
            .objects
            .get(self.parent_handle)
            .map_err(|_| not_parent)?;
        // The qualified Name tells the parent; no link to it is kept.
        let expected = Object::qualified_name_of(name_alg, &parent.qualified_name, &object.name);
        if object.qualified_name != expected {
            return Err(not_parent);
        }
        let protector = Protector::parent(parent).map_err(|_| not_parent)?;
        let mut sensitive = object
            .sensitive
            .clone()
            .ok_or(Rc::TYPE.at(Self::object_handle))?;
        sensitive.auth_value = auth_value;
        let out_private =
            protector.wrap_private(&object.name, name_alg, &sensitive, &mut tpm.random)?;
        Ok(ObjectChangeAuthResponse { out_private })
    }
}
