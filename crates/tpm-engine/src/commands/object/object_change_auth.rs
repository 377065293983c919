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

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{
        self, FIXED, create, load, passwords, sealed_template, sensitive,
    };
    use crate::testing;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::Tpm2bAuth;
    use tpm_wire::commands::{ObjectChangeAuth, Unseal};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn command(object: TpmHandle, parent: TpmHandle, auth: &[u8]) -> ObjectChangeAuth {
        ObjectChangeAuth {
            object_handle: object.into(),
            parent_handle: parent.into(),
            new_auth: Tpm2bAuth::new(auth).unwrap(),
        }
    }

    #[test]
    fn the_object_that_is_returned_has_the_new_value_and_the_loaded_one_the_old() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let sealed = sensitive(b"old", b"data");
        let mut created = create(&mut tpm, root, sealed_template(), sealed).unwrap();
        let old = load(&mut tpm, root, &created).unwrap();
        let changed = tpm.run_as(command(old, root, b"new"), &passwords(&[b"old"]));
        created.out_private = changed.unwrap().out_private;
        let new = load(&mut tpm, root, &created).unwrap();
        for (handle, auth) in [(old, b"old"), (new, b"new")] {
            let unseal = Unseal {
                item_handle: handle.into(),
            };
            let data = tpm.run_as(unseal, &passwords(&[auth])).unwrap().out_data;
            assert_eq!(&*data, b"data");
        }
    }

    #[test]
    fn a_sequence_is_type_at_handle_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let sequence = build::sequence(&mut tpm);
        let refused = tpm.run(command(sequence, root, &[])).err();
        assert_eq!(refused, Some(Rc::TYPE.at(ObjectChangeAuth::object_handle)));
    }

    #[test]
    fn a_value_longer_than_the_digest_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let sealed = build::sealed(&mut tpm, root, &[], b"data");
        let refused = tpm.run(command(sealed, root, &[1; 33])).err();
        assert_eq!(refused, Some(Rc::SIZE.at(ObjectChangeAuth::new_auth)));
    }

    #[test]
    fn a_key_that_is_not_the_parent_is_type_at_handle_2() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let sealed = build::sealed(&mut tpm, root, &[], b"data");
        let public = build::ecc_template(FIXED | build::STORAGE | TpmaObject::NO_DA);
        let other = build::primary(&mut tpm, TpmHandle::PLATFORM, public).unwrap();
        let sequence = build::sequence(&mut tpm);
        let expected = Some(Rc::TYPE.at(ObjectChangeAuth::parent_handle));
        for parent in [other.object_handle, sealed, sequence] {
            let refused = tpm.run(command(sealed, parent, &[])).err();
            assert_eq!(refused, expected);
        }
        // A primary object has no parent that a handle could name.
        assert_eq!(tpm.run(command(root, root, &[])).err(), expected);
    }

    #[test]
    fn the_object_is_looked_at_before_the_value_and_that_before_the_parent() {
        let mut tpm = testing::started();
        let root = build::primary_storage_ecc(&mut tpm);
        let sealed = build::sealed(&mut tpm, root, &[], b"data");
        let sequence = build::sequence(&mut tpm);
        let mut refused = |object| tpm.run(command(object, sealed, &[1; 65 - 1])).err();
        let kind = Rc::TYPE.at(ObjectChangeAuth::object_handle);
        assert_eq!(refused(sequence), Some(kind));
        let size = Rc::SIZE.at(ObjectChangeAuth::new_auth);
        assert_eq!(refused(sealed), Some(size));
    }
}
