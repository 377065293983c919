//! `TPM2_Create` (Part 3, 12.1).

use crate::creation::pad_auth;
use crate::execute::Execute;
use crate::object::Lineage;
use crate::protection::Protector;
use crate::state::Tpm;
use crate::template::check_creation;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{Create, CreateResponse};
use tpm_wire::rc::Rc;

impl Execute for Create {
    fn execute(self, tpm: &mut Tpm) -> Result<CreateResponse, Rc> {
        let at_parent = |rc: Rc| rc.at(Self::parent_handle);
        let parent = tpm.objects.get(self.parent_handle).map_err(at_parent)?;
        if !parent.is_parent() {
            return Err(at_parent(Rc::TYPE));
        }
        tpm.objects.check_room()?;
        let (mut create, public) = (self.in_sensitive.0, self.in_public.0);
        check_creation(Lineage::Child(parent), &public, !create.data.is_empty())
            .map_err(|rc| rc.at(Self::in_public))?;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        let name_alg = public.name_alg.ok_or(Rc::HASH.at(Self::in_public))?;
        let object = tpm.create_child(self.parent_handle.0, public, &create)?;
        let parent = tpm.objects.get(self.parent_handle)?;
        let (creation_data, creation_hash) = tpm.creation_data(
            Lineage::Child(parent),
            name_alg,
            &self.creation_pcr,
            self.outside_info,
        );
        let creation_ticket =
            tpm.creation_ticket(parent.base_hierarchy(), &object.name, &creation_hash);
        let sensitive = object.sensitive.as_ref().ok_or(Rc::SENSITIVE)?;
        let out_private = Protector::parent(parent)?.wrap_private(
            &object.name,
            Some(name_alg),
            sensitive,
            &mut tpm.random,
        )?;
        Ok(CreateResponse {
            out_private,
            out_public: Tpm2b(object.public),
            creation_data: Tpm2b(creation_data),
            creation_hash,
            creation_ticket,
        })
    }
}
