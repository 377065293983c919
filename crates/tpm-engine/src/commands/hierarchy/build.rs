//! Steps of tests of the hierarchies.

use crate::hierarchy::EntityPolicy;
use crate::nv::Index;
use crate::testing::{Auth, TestTpm};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest};
use tpm_wire::commands::{HierarchyChangeAuth, SetPrimaryPolicy};
use tpm_wire::handles::{TpmHandle, TpmiRhNvIndex};
use tpm_wire::nv::{NvDataSize, TpmsNvPublic, TpmtNvPublic2};
use tpm_wire::rc::Rc;

/// Changes the authorization value of a hierarchy.
pub(crate) fn change_auth(
    tpm: &mut TestTpm,
    handle: TpmHandle,
    old: &[u8],
    new: &[u8],
) -> Result<(), Rc> {
    let change = HierarchyChangeAuth {
        auth_handle: handle.into(),
        new_auth: Tpm2bAuth::new(new).unwrap(),
    };
    tpm.run_as(change, &[Auth::password(old)]).map(|_| ())
}

/// A policy that nothing satisfies.
pub(crate) fn policy() -> EntityPolicy {
    EntityPolicy {
        hash: Some(TpmiAlgHash::Sha256),
        digest: Tpm2bDigest::new(&[0xAB; 32]).unwrap(),
    }
}

/// Sets or takes away the policy of a hierarchy.
pub(crate) fn set_policy(tpm: &mut TestTpm, handle: TpmHandle, set: bool) -> Result<(), Rc> {
    let EntityPolicy { hash, digest } = if set {
        policy()
    } else {
        EntityPolicy::default()
    };
    tpm.run(SetPrimaryPolicy {
        auth_handle: handle.into(),
        auth_policy: digest,
        hash_alg: hash,
    })
    .map(|_| ())
}

/// Whether a transient object is loaded.
pub(crate) fn loaded(tpm: &TestTpm, handle: TpmHandle) -> bool {
    tpm.objects.is_loaded(handle)
}

/// Puts an Index of 8 bytes into the TPM.
pub(crate) fn nv_index(tpm: &mut TestTpm, handle: TpmHandle, attributes: TpmaNv) {
    let public = TpmtNvPublic2::NvIndex(TpmsNvPublic {
        nv_index: TpmiRhNvIndex(handle),
        name_alg: TpmiAlgHash::Sha256,
        attributes,
        auth_policy: Tpm2bDigest::EMPTY,
        data_size: NvDataSize(8),
    });
    let index = Index::new(public, Tpm2bAuth::EMPTY);
    tpm.nv.indices.insert(handle, index);
}
