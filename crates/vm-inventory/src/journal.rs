//! What an operation is about to do with files, written down before it does it.
//!
//! An intent and the outcome are each part of one transaction of the inventory; between the two, files change. Whoever finds
//! an intent at start (the daemon was killed, or the power was cut) knows what to do with the files: a creation is undone, a deletion is
//! finished, a VM that was getting a TPM has none, and one that was losing it has lost it. A snapshot is undone, its removal finished; a revert
//! has happened or not, as the files say; keys are changed for the VMs that are left. All can be repeated, so that a second crash changes
//! nothing.

use crate::Name;
use crate::model::{Record, Vm, VmId};
use crate::snapshot::Revert;
use crate::task::TaskId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What was about to happen to files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Intent {
    /// The files of this VM are being made. It is not in the inventory yet; only its name is taken.
    Create {
        /// The VM that is to be.
        vm: Box<Vm>,
    },
    /// The files of this VM are being removed. It is still in the inventory.
    Delete {
        /// The VM that goes.
        vm: Box<Vm>,
    },
    /// A snapshot is being taken. It is not in the inventory yet.
    TakeSnapshot {
        /// The VM.
        vm: Box<Vm>,
        /// The snapshot that is to be.
        snapshot: Uuid,
    },
    /// The file of a snapshot is being removed. It is still in the inventory.
    ForgetSnapshot {
        /// The VM.
        vm: Box<Vm>,
        /// The snapshot that goes.
        snapshot: Uuid,
    },
    /// A VM goes back to a snapshot. The instance id in its files tells whether it has.
    Revert {
        /// The VM as it was.
        vm: Box<Vm>,
        /// What will be recorded.
        revert: Revert,
        /// Whether the VM is to be on afterwards.
        powered_on: bool,
    },
    /// The files of several VMs are being made. None is where it is to be yet; names are taken.
    Make {
        /// The VMs that are to be; one that moves still has its old files too.
        vms: Vec<Vm>,
        /// The keys of records that only keep names.
        names: Vec<String>,
    },
    /// The files of these VMs are being removed, and the inventory does not name them any more.
    Remove {
        /// What is left to remove.
        left: Leftovers,
    },
    /// The VM is getting a TPM, or losing the one it has.
    EditTpm {
        /// The VM as it was.
        before: Box<Vm>,
        /// Whether it gets one.
        add: bool,
    },
    /// The VM is being encrypted for itself, or not any more. Its files tell whether it is.
    Encrypt {
        /// The VM as it was, with the provider of its key.
        vm: Box<Vm>,
    },
    /// The data key of this VM is being put under another key.
    Rekey {
        /// The VM.
        vm: VmId,
        /// The provider of the other key.
        provider: Name,
        /// The other key.
        key_id: String,
    },
    /// The same for every VM of a provider. Whatever is not done yet is done after the next start.
    RekeyAll {
        /// The vCenter of both providers.
        vcenter: Name,
        /// Whose VMs.
        from: Name,
        /// The provider of the other key.
        provider: Name,
        /// The other key.
        key_id: String,
        /// Whether the data keys are made anew too.
        deep: bool,
    },
}

/// Files of VMs that went, or moved, after the inventory has forgotten them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Leftovers {
    /// VMs as they were, whose folders go as a whole.
    pub vms: Vec<Vm>,
    /// VMs that stay where they are, and the snapshots that they lost.
    pub snapshots: Vec<(Vm, Vec<Uuid>)>,
}

impl Leftovers {
    /// Whether there is nothing to remove.
    pub(crate) fn is_empty(&self) -> bool {
        self.vms.is_empty() && self.snapshots.is_empty()
    }
}

/// An intent and the task that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The task.
    pub task: TaskId,
    /// What was about to happen.
    pub intent: Intent,
}

impl Record for JournalEntry {
    const PREFIX: &'static str = "journal/";
    fn key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.task)
    }
}
