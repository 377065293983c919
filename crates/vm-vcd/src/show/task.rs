//! Tasks.

use super::{begin, date, link, reference};
use crate::call::Call;
use crate::fault::codes;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::entity;
use vm_inventory::{TargetKind, Task, TaskStatus};

/// The inventory's operations, their names in the API and what they are in words.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("create_vm", "vdcCreateVm", "Creating Virtual Machine"),
    (
        "create_vm_from_template",
        "vdcInstantiateVm",
        "Creating Virtual Machine",
    ),
    (
        "build_vapp",
        "vdcComposeVapp",
        "Composing Virtual Application",
    ),
    ("copy_vapp", "vdcCopyVapp", "Copying Virtual Application"),
    ("move_vapp", "vdcMoveVapp", "Moving Virtual Application"),
    ("move_vapp_api", "vdcMoveVapp", "Moving Virtual Application"),
    (
        "instantiate_vapp_template",
        "vdcInstantiateVapp",
        "Creating Virtual Application",
    ),
    (
        "import_vm_as_vapp",
        "importSingleVM",
        "Importing Virtual Machine",
    ),
    (
        "import_vm_as_template",
        "importIntoVAppTemplate",
        "Importing Virtual Machine",
    ),
    (
        "add_vm_to_vapp",
        "vdcRecomposeVapp",
        "Recomposing Virtual Application",
    ),
    (
        "add_template_vm_to_vapp",
        "vdcRecomposeVapp",
        "Recomposing Virtual Application",
    ),
    (
        "copy_vm",
        "vdcRecomposeVapp",
        "Recomposing Virtual Application",
    ),
    (
        "move_vm",
        "vdcRecomposeVapp",
        "Recomposing Virtual Application",
    ),
    (
        "capture_vapp",
        "vdcCaptureTemplate",
        "Capturing Virtual Application Template",
    ),
    (
        "add_vm_to_catalog",
        "vdcCaptureTemplate",
        "Capturing Virtual Application Template",
    ),
    (
        "ovf_to_template",
        "vdcUploadOvfContents",
        "Importing Virtual Application Template",
    ),
    (
        "create_vapp_from_ovf",
        "vdcUploadOvfContents",
        "Importing Virtual Application",
    ),
    ("add_tpm", "vappUpdateVm", "Updating Virtual Machine"),
    ("remove_tpm", "vappUpdateVm", "Updating Virtual Machine"),
    ("rename_vm", "vappUpdateVm", "Updating Virtual Machine"),
    ("reconfigure_vm", "vappUpdateVm", "Updating Virtual Machine"),
    (
        "reconfigure_vapp",
        "vdcRecomposeVapp",
        "Recomposing Virtual Application",
    ),
    (
        "rename_vapp",
        "vdcUpdateVapp",
        "Updating Virtual Application",
    ),
    (
        "rename_template",
        "vdcUpdateTemplate",
        "Updating Virtual Application Template",
    ),
    ("reset_vm", "vappReset", "Resetting Virtual Machine"),
    ("reset_vapp", "vappReset", "Resetting Virtual Application"),
    ("snapshot_vapp", "vappCreateSnapshot", "Creating Snapshots"),
    (
        "revert_vapp",
        "vappRevertToCurrentSnapshot",
        "Reverting to Snapshots",
    ),
    (
        "forget_vapp_snapshots",
        "vappRemoveAllSnapshots",
        "Removing Snapshots",
    ),
    (
        "forget_snapshots",
        "vappRemoveAllSnapshots",
        "Removing Snapshots",
    ),
    ("power_on", "vappPowerOn", "Running Virtual Machine"),
    ("power_off", "vappPowerOff", "Stopping Virtual Machine"),
    ("suspend_vm", "vappSuspend", "Suspending Virtual Machine"),
    (
        "suspend_vapp",
        "vappSuspend",
        "Suspending Virtual Application",
    ),
    (
        "discard_suspended_vapp",
        "vappDiscardSuspendedState",
        "Discarding suspended state",
    ),
    ("change_remarks", "metadataUpdate", "Updating metadata"),
    ("power_on_vapp", "vappDeploy", "Running Virtual Application"),
    (
        "power_off_vapp",
        "vappUndeployPowerOff",
        "Stopping Virtual Application",
    ),
    ("delete_vm", "vdcDeleteVm", "Deleting Virtual Machine"),
    (
        "delete_vapp",
        "vdcDeleteVapp",
        "Deleting Virtual Application",
    ),
    (
        "delete_template",
        "vdcDeleteTemplate",
        "Deleting Virtual Application Template",
    ),
    ("take_snapshot", "vappCreateSnapshot", "Creating Snapshot"),
    (
        "revert_vm",
        "vappRevertToCurrentSnapshot",
        "Reverting to Snapshot",
    ),
    (
        "forget_snapshot",
        "vappRemoveAllSnapshots",
        "Removing Snapshots",
    ),
    (
        "sync_catalog_template",
        "catalogSync",
        "Synchronizing Catalog",
    ),
];

/// An operation's name in the API, and what it is in words.
pub(crate) fn operation(own: &str) -> (&str, &str) {
    OPERATIONS
        .iter()
        .find(|row| row.0 == own)
        .map_or((own, own), |row| (row.1, row.2))
}

/// A task's status in the API.
pub(crate) fn status(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Queued => "queued",
        TaskStatus::Running => "running",
        TaskStatus::Success => "success",
        TaskStatus::Error => "error",
        TaskStatus::Canceled => "canceled",
    }
}

/// What the task makes or changes.
pub(crate) fn owner(call: &Call, task: &Task) -> Node {
    let organization = task.organization.as_ref().map_or("", |name| name.as_str());
    let (kind, id) = match task.target {
        TargetKind::Vm => (Kind::Vm, task.vm.0),
        TargetKind::Vapp => (Kind::Vapp, task.vm.0),
        TargetKind::Template => (Kind::Template, task.vm.0),
        TargetKind::Catalog => (
            Kind::Catalog,
            ids::of_org(Kind::Catalog, organization, task.vm_name.as_str()),
        ),
    };
    reference(call, kind, id, task.vm_name.as_str())
}

/// A task.
pub(crate) fn task(call: &Call, task: &Task) -> Node {
    let (name, words) = operation(&task.operation);
    let kind = owner(call, task);
    let mut node = begin(call, &entity::TASK_ROOT, Kind::Task, task.id.0, "task")
        .with("status", status(task.status))
        .with(
            "operation",
            format!("{words} {}({})", task.vm_name, task.vm),
        )
        .with("operationName", name)
        .with("serviceNamespace", "com.vmware.vcloud")
        .with("startTime", date(task.created))
        .with_some("endTime", task.finished.map(date))
        .with("cancelRequested", false)
        .with("Owner", kind);
    if !task.is_finished() {
        let href = format!("{}/action/cancel", Kind::Task.href(&call.base, task.id.0));
        node.push("Link", link("task:cancel", href, None));
    }
    if let Some(error) = &task.error {
        let (major, minor) = codes(error.kind);
        node.push(
            "Error",
            Node::of(&entity::ERROR)
                .with("message", error.detail.as_str())
                .with("majorErrorCode", i64::from(major))
                .with("minorErrorCode", minor)
                .with("stackTrace", ""),
        );
    }
    if let Some(user) = &task.owner {
        let id = ids::derived(Kind::User, user);
        let short = user
            .rsplit_once('@')
            .map_or(user.as_str(), |(name, _)| name);
        node.push("User", reference(call, Kind::User, id, short));
    }
    if let Some(organization) = &task.organization {
        let name = organization.as_str();
        node.push(
            "Organization",
            reference(call, Kind::Org, ids::org(name), name),
        );
    }
    node.push("Progress", i64::from(task.progress));
    let details = if task.notes.is_empty() {
        task.step.clone()
    } else {
        task.notes.join("; ")
    };
    node.push("Details", details);
    node
}

/// The tasks that are at work on something, for its document.
pub(crate) fn in_progress(
    call: &Call,
    tasks: &[Task],
    kind: TargetKind,
    id: uuid::Uuid,
) -> Option<Node> {
    let mut all = tasks
        .iter()
        .filter(|task| task.target == kind && task.vm.0 == id && !task.is_finished())
        .map(|it| task(call, it))
        .peekable();
    all.peek()?;
    Some(Node::of(&entity::TASKS).with_all("Task", all))
}
