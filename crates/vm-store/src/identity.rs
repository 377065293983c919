//! Who a VM is: the ids to which its files are bound.

use crate::{error::EntropyFailure, seal};
use std::fmt;
use uuid::Uuid;

/// The VM id and the instance id of a VM. A copy has other ids than its source: that is how the TPM in it, and
/// everybody else, can tell the two apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The VM id (`uuid.bios`).
    pub vm_id: Uuid,
    /// The instance id (`vc.uuid`): changes whenever the state is copied or goes on from another point in time.
    pub instance_id: Uuid,
}

impl Identity {
    /// A new VM.
    pub fn random() -> Result<Self, EntropyFailure> {
        Ok(Self {
            vm_id: random_uuid()?,
            instance_id: random_uuid()?,
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VM {}, instance {}", self.vm_id, self.instance_id)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A random UUID whose failure is an error, not a panic.
pub(crate) fn random_uuid() -> Result<Uuid, EntropyFailure> {
    Ok(uuid::Builder::from_random_bytes(seal::random()?).into_uuid())
}
