//! vCenters, key providers and VMs, and what becomes of a TPM in each operation.
//!
//! [`Operations`] is the way in. It checks everything first ([`requirements`], [`provisioning`]), writes down what it is about
//! to do ([`journal`]), does it, and records the outcome in one transaction of the inventory ([`engine`]). A TPM is bytes
//! here: [`TpmMaker`] makes and forks them, [`Machines`] powers them on.

#![forbid(unsafe_code)]

mod access;
mod acting;
mod audit;
pub mod certificates;
mod commits;
pub mod engine;
mod error;
mod files;
mod generations;
pub mod guest;
mod index;
mod inventory;
pub mod journal;
pub mod key_server;
mod lineage;
pub mod model;
mod name;
mod once;
mod operation;
pub mod ovf;
pub mod provisioning;
pub mod requirements;
mod snapshot;
mod task;
mod version;

#[cfg(test)]
mod testing;

pub use access::{
    ADMINISTRATOR, LoginName, Principal, Right, SYSTEM, SYSTEM_DOMAIN, Scoped, is_system,
};
pub use audit::{AuditCheck, AuditEntry};
pub use error::{Error, ErrorKind, Result};
pub use files::Disk;
pub use generations::GenerationNote;
pub use inventory::Inventory;
pub use lineage::{Lineage, LineageNode};
pub use name::{Name, NameError};
pub use once::{Answer, Before, Once, RequestKey};
pub use operation::{
    AdoptTpm, BackupFile, Capture, CloneVm, Compose, CopyVapp, CreateCatalog, CreateProvider,
    CreateVCenter, CreateVapp, CreateVdc, CreateVm, EditTpm, Effects, EncryptVm, Export,
    ExportPackage, Fate, Import, ImportPackage, Instantiate, Job, KeyServerView, KeyState, KeyUse,
    Lease, Machines, MetadataEntry, MoveVapp, MoveVm, NewVappVm, Offer, Operations, Part, PowerOn,
    Preview, ProviderStatus, ProviderView, ReconfigureVm, Rekey, RekeyAll, Relocate, Remarked,
    Remarks, RestoreProvider, Sharing, Started, StoredFile, TakeSnapshot, TpmBytes, TpmMaker,
    TpmMakerError, TpmView, UserView, VCenterOptions, VappItem, VappView, VdcView, VmFolder,
    VmHardware, VmPreview, VmView,
};
pub use snapshot::{Revert, Snapshot, SnapshotTree};
pub use task::{TargetKind, Task, TaskError, TaskId, TaskStatus};
pub use version::VcVersion;
