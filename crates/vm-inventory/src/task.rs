//! Tasks: what an operation is doing, and how it ended.

use crate::inventory::{Inventory, Transaction};
use crate::model::{Record, Timestamp, Vm, VmId};
use crate::once::RequestKey;
use crate::{Error, ErrorKind, Name, Result, acting};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// Finished tasks kept for people to look at.
const KEPT: usize = 1000;

/// Identifies a task.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(Uuid::try_parse(text)?))
    }
}

/// How far a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Accepted, all checks passed; it has not begun.
    Queued,
    /// At work.
    Running,
    /// Done.
    Success,
    /// Failed; nothing of it is left.
    Error,
    /// Stopped because somebody asked for it; nothing of it is left.
    Canceled,
}

/// Why a task failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskError {
    /// What kind of error.
    pub kind: ErrorKind,
    /// What was refused or failed, and what to do.
    pub detail: String,
}

/// What a task makes or changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A VM.
    #[default]
    Vm,
    /// A vApp with its VMs.
    Vapp,
    /// A vApp template.
    Template,
    /// A catalog.
    Catalog,
}

/// One operation on one VM, or on several as one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Identifies the task.
    pub id: TaskId,
    /// The operation, such as `create_vm`, `vsphere_clone`, `delete_vm`, `power_on`, `power_off`.
    pub operation: String,
    /// What it makes or changes.
    #[serde(default)]
    pub target: TargetKind,
    /// The organization that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Name>,
    /// Who asked for it, as `USER@ORGANIZATION`; nobody for what the daemon does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The request that asked for it, if that had a key to be recognized by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestKey>,
    /// The identifier of what it makes or changes, mostly a VM.
    pub vm: VmId,
    /// Its name.
    pub vm_name: Name,
    /// How far it is.
    pub status: TaskStatus,
    /// Per cent, coarse.
    pub progress: u8,
    /// What it is doing.
    pub step: String,
    /// What became of the TPM, in words.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
}

impl Record for Task {
    const PREFIX: &'static str = "task/";
    fn key(&self) -> String {
        Self::key_of(self.id)
    }
}

impl Task {
    pub(crate) fn key_of(id: TaskId) -> String {
        format!("{}{id}", Self::PREFIX)
    }

    pub(crate) fn new(operation: &str, vm: VmId, vm_name: &Name) -> Self {
        Self {
            id: TaskId(acting::task()),
            operation: operation.to_owned(),
            vm,
            vm_name: vm_name.clone(),
            target: TargetKind::Vm,
            organization: None,
            owner: acting::user(),
            request: acting::request(),
            status: TaskStatus::Queued,
            progress: 0,
            step: "accepted".to_owned(),
            notes: Vec::new(),
            error: None,
            created: Timestamp::now(),
            finished: None,
        }
    }

    /// An operation on one VM, which belongs to the organization of its vApp.
    pub(crate) fn of(operation: &str, vm: &Vm) -> Self {
        Self {
            organization: vm.vapp.as_ref().map(|vapp| vapp.organization.clone()),
            ..Self::new(operation, vm.id, &vm.name)
        }
    }

    pub(crate) fn succeeded(mut self) -> Self {
        self.status = TaskStatus::Success;
        self.progress = 100;
        self.step = "done".to_owned();
        self.finished = Some(Timestamp::now());
        self
    }

    pub(crate) fn failed(mut self, error: &Error) -> Self {
        (self.status, self.step) = match error {
            Error::Canceled => (TaskStatus::Canceled, "canceled".to_owned()),
            _ => (TaskStatus::Error, "failed".to_owned()),
        };
        self.error = Some(TaskError {
            kind: error.kind(),
            detail: error.to_string(),
        });
        self.finished = Some(Timestamp::now());
        self
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(self.status, TaskStatus::Queued | TaskStatus::Running)
    }
}

/// That there is no such task, or none that may be known of.
pub(crate) fn no_task(id: TaskId) -> Error {
    Error::NotFound {
        what: "task",
        name: id.to_string(),
        hint: "old tasks are forgotten; look at the VM itself",
    }
}

/// Removes the oldest finished tasks beyond what is kept.
pub(crate) fn prune(inventory: &Inventory) -> Result<()> {
    let old = inventory.index().old_tasks(KEPT);
    if old.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::default();
    for task in old {
        transaction.remove_key(Task::key_of(task));
    }
    inventory.commit(transaction)
}
