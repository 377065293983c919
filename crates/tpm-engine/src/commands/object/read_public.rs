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

#[cfg(test)]
mod tests {
    use crate::commands::object::build;
    use crate::testing;
    use tpm_wire::commands::ReadPublic;
    use tpm_wire::rc::Rc;

    #[test]
    fn gives_public_area_and_names() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let read = tpm.run(ReadPublic {
            object_handle: root.into(),
        });
        let read = read.unwrap();
        let object = tpm.objects.get(root).unwrap();
        assert_eq!(read.out_public.0, object.public);
        assert_eq!(read.name, object.name);
        assert_eq!(read.qualified_name, object.qualified_name);
    }

    #[test]
    fn a_sequence_is_sequence_and_a_free_slot_a_missing_reference() {
        let mut tpm = testing::started();
        let sequence = build::sequence(&mut tpm);
        let read = |handle: tpm_wire::handles::TpmHandle| ReadPublic {
            object_handle: handle.into(),
        };
        assert_eq!(tpm.run(read(sequence)).err(), Some(Rc::SEQUENCE));
        let free = tpm_wire::handles::TpmHandle(sequence.0 + 1);
        assert_eq!(tpm.run(read(free)).err(), Some(Rc::REFERENCE_H0));
    }
}
