//! What can be seen of a TPM that runs, without a secret of it.

use vm_inventory::model::VmId;

/// Shows TPMs that run: the daemon asks them by commands, as any client would.
pub trait Sight: Send + Sync {
    /// Looks at the TPM of a VM; `None` if none runs. It may wait for the TPM.
    ///
    /// # Errors
    /// Why nothing can be seen, in words.
    fn look(&self, vm: VmId) -> Option<Result<TpmSight, String>>;
}

/// A TPM at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TpmSight {
    /// Who made it.
    pub manufacturer: String,
    /// The version of its firmware.
    pub firmware: String,
    /// The revision of the specification, such as `1.84`.
    pub revision: String,
    /// Which hierarchies are enabled, and what else its flags say.
    pub flags: Vec<String>,
    /// Its PCR, by bank.
    pub banks: Vec<Bank>,
    /// Its NV Indices.
    pub nv: Vec<NvIndex>,
    /// Its persistent objects.
    pub objects: Vec<Persistent>,
    /// Its protection against guessing.
    pub lockout: Lockout,
}

/// A PCR bank.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bank {
    /// Its hash algorithm.
    pub algorithm: String,
    /// Number and value, in hexadecimal.
    pub values: Vec<(u32, String)>,
}

/// The public area of an NV Index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NvIndex {
    /// Its handle.
    pub handle: u32,
    /// How many bytes it holds.
    pub size: u16,
    /// Its attributes.
    pub attributes: String,
    /// The hash of its Name.
    pub algorithm: String,
    /// Whether a policy guards it.
    pub policy: bool,
}

/// The public area of a persistent object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Persistent {
    /// Its handle.
    pub handle: u32,
    /// Its type.
    pub kind: String,
    /// Its attributes.
    pub attributes: String,
    /// Its Name, in hexadecimal.
    pub name: String,
}

/// Protection against guessing of authorization values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lockout {
    /// Whether the TPM is locked out now.
    pub locked: bool,
    /// Failures that are held against it.
    pub failures: u32,
    /// Failures at which it locks out.
    pub most: u32,
    /// Seconds after which one failure is forgiven.
    pub interval: u32,
    /// Seconds after a failed use of the lockout authorization until the next.
    pub recovery: u32,
}
