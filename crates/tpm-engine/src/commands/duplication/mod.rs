//! Duplication (Part 3, 13).

mod duplicate;
mod import;
mod rewrap;

/// Objects that can be duplicated, and the policy that allows it.
#[cfg(test)]
pub(crate) mod build {
    use crate::commands::object::build;
    use crate::testing::{Auth, TestTpm};
    use alloc::vec::Vec;
    use tpm_wire::algorithm::{TpmiAlgHash, TpmtSymDefObject};
    use tpm_wire::attributes::{TpmaObject, TpmaSession};
    use tpm_wire::buffers::{Tpm2bData, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bPrivate};
    use tpm_wire::codec::Marshal;
    use tpm_wire::commands::{
        Duplicate, DuplicateResponse, Import, PolicyCommandCode, StartAuthSession,
    };
    use tpm_wire::constants::TpmSe;
    use tpm_wire::handles::{TpmHandle, TpmiShPolicy};
    use tpm_wire::object::{Tpm2bPublic, TpmtPublic};
    use tpm_wire::rc::Rc;
    use tpm_wire::table::Command;

    /// The policy that allows `TPM2_Duplicate` and nothing else.
    pub(crate) fn policy_digest() -> Tpm2bDigest {
        let mut data = Vec::from([0; 32]);
        PolicyCommandCode::INFO.code.marshal(&mut data);
        Duplicate::INFO.code.marshal(&mut data);
        let digest = crate::algorithms::hash(TpmiAlgHash::Sha256, &[&data]);
        Tpm2bDigest::new(&digest).unwrap()
    }

    /// A session that satisfies it.
    pub(crate) fn policy(tpm: &mut TestTpm) -> Auth {
        let session = tpm.run(StartAuthSession {
            tpm_key: None,
            bind: None,
            nonce_caller: Tpm2bDigest::zeros(16),
            encrypted_salt: Tpm2bEncryptedSecret::EMPTY,
            session_type: TpmSe::Policy,
            symmetric: None,
            auth_hash: TpmiAlgHash::Sha256,
        });
        let handle = session.unwrap().session_handle.0;
        tpm.run(PolicyCommandCode {
            policy_session: TpmiShPolicy(handle),
            code: Duplicate::INFO.code,
        })
        .unwrap();
        let mut auth = Auth::session(handle);
        auth.attributes = TpmaSession::NONE;
        auth
    }

    /// Sealed data that can be duplicated, under a parent.
    pub(crate) fn movable(
        tpm: &mut TestTpm,
        parent: TpmHandle,
        attributes: TpmaObject,
    ) -> TpmHandle {
        let mut public = build::sealed_template();
        public.object_attributes = TpmaObject::USER_WITH_AUTH | attributes;
        public.auth_policy = policy_digest();
        let sensitive = build::sensitive(b"auth", b"interoperable");
        build::child(tpm, parent, public, sensitive)
    }

    /// Duplicates an object by its policy; `new_parent` may be NULL.
    pub(crate) fn duplicate(
        tpm: &mut TestTpm,
        object: TpmHandle,
        new_parent: TpmHandle,
        key: &[u8],
        symmetric_alg: Option<TpmtSymDefObject>,
    ) -> Result<DuplicateResponse, Rc> {
        let auth = policy(tpm);
        let command = Duplicate {
            object_handle: object.into(),
            new_parent_handle: (new_parent != TpmHandle::NULL).then(|| new_parent.into()),
            encryption_key_in: Tpm2bData::new(key).unwrap(),
            symmetric_alg,
        };
        let result = tpm.run_as(command, core::slice::from_ref(&auth));
        tpm.sessions.flush(auth.session);
        result
    }

    /// Imports a duplicate.
    pub(crate) fn import(
        tpm: &mut TestTpm,
        parent: TpmHandle,
        public: TpmtPublic,
        duplicate: &[u8],
        seed: &[u8],
        inner: Option<(TpmtSymDefObject, &[u8])>,
    ) -> Result<Tpm2bPrivate, Rc> {
        let response = tpm.run(Import {
            parent_handle: parent.into(),
            encryption_key: Tpm2bData::new(inner.map_or(&[], |(_, key)| key)).unwrap(),
            object_public: Tpm2bPublic(public),
            duplicate: Tpm2bPrivate::new(duplicate.to_vec()).unwrap(),
            in_sym_seed: Tpm2bEncryptedSecret::new(seed.to_vec()).unwrap(),
            symmetric_alg: inner.map(|(cipher, _)| cipher),
        })?;
        Ok(response.out_private)
    }
}
