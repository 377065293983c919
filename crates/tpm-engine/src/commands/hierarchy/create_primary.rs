//! `TPM2_CreatePrimary` (Part 3, 24.1).

use crate::creation::pad_auth;
use crate::execute::Execute;
use crate::object::Lineage;
use crate::state::Tpm;
use crate::template::check_creation;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{CreatePrimary, CreatePrimaryResponse};
use tpm_wire::handles::{HandleField, TpmHandle};
use tpm_wire::rc::Rc;

impl Execute for CreatePrimary {
    fn execute(self, tpm: &mut Tpm) -> Result<CreatePrimaryResponse, Rc> {
        tpm.objects.check_room()?;
        let hierarchy: TpmHandle = self.primary_handle.handle();
        let lineage = Lineage::Primary(hierarchy);
        let (mut create, public) = (self.in_sensitive.0, self.in_public.0);
        check_creation(lineage, &public, !create.data.is_empty())
            .map_err(|rc| rc.at(Self::in_public))?;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        let name_alg = public.name_alg.ok_or(Rc::HASH.at(Self::in_public))?;
        let object = tpm.create_primary(hierarchy, public, &create)?;
        let (creation_data, creation_hash) =
            tpm.creation_data(lineage, name_alg, &self.creation_pcr, self.outside_info);
        let creation_ticket = tpm.creation_ticket(hierarchy, &object.name, &creation_hash);
        let (out_public, name) = (Tpm2b(object.public.clone()), object.name.clone());
        Ok(CreatePrimaryResponse {
            object_handle: tpm.objects.load(object)?,
            out_public,
            creation_data: Tpm2b(creation_data),
            creation_hash,
            creation_ticket,
            name,
        })
    }
}
