//! `TPM2_ReadPublic` (Part 3, 12.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{ReadPublic, ReadPublicResponse};
use tpm_wire::rc::Rc;

impl Execute for ReadPublic {
    fn execute(self, tpm: &mut Tpm) -> Result<ReadPublicResponse, Rc> {
        let object = tpm.objects.get(self.object_handle);
        let object = object.map_err(|_| Rc::SEQUENCE)?;
        Ok(ReadPublicResponse {
            out_public: Tpm2b(object.public.clone()),
            name: object.name.clone(),
            qualified_name: object.qualified_name.clone(),
        })
    }
}
