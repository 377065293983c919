//! Tasks of the API. One may be several operations of the inventory after another, so they are kept here while the daemon runs. The first of
//! these operations has the identifier of the task, so that it is found after a restart too.

use crate::fault::{self, About, Fault, Outcome};
use crate::inventory;
use crate::schema::schema;
use crate::server::{Call, of_task};
use crate::value::{MoRef, Object, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use vm_inventory::model::Timestamp;
use vm_inventory::{Name, TargetKind, Task, TaskId, TaskStatus};

/// How many ended tasks are remembered for all vCenters together.
const KEPT: usize = 1000;
/// For how long an ended task is a recent one, in seconds.
const RECENT: u64 = 600;

/// What a task is about, from its beginning on.
#[derive(Clone, Debug)]
pub(crate) struct TaskStart {
    /// The vCenter.
    pub(crate) vcenter: Name,
    /// The method, such as `CloneVM_Task`.
    pub(crate) method: &'static str,
    /// What it works on.
    pub(crate) entity: MoRef,
    /// What that is called.
    pub(crate) entity_name: String,
    /// Who asked for it.
    pub(crate) user: String,
}

/// A task.
#[derive(Debug)]
pub(crate) struct VimTask {
    id: Uuid,
    pub(crate) start: TaskStart,
    queued: Timestamp,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    outcome: Option<Outcome<Option<Value>>>,
    /// The operation of the inventory that is at work.
    working: Option<TaskId>,
    /// Every one that was.
    parts: Vec<TaskId>,
    canceled: bool,
}

impl VimTask {
    /// Its identifier.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// The reference to it.
    pub(crate) fn reference(&self) -> MoRef {
        MoRef::new("Task", format!("task-{}", self.id))
    }

    /// It begins.
    pub(crate) fn begin(&self) {
        self.state().started = Some(Timestamp::now());
    }

    /// It does this now.
    pub(crate) fn works_on(&self, task: TaskId) {
        let mut state = self.state();
        state.working = Some(task);
        state.parts.push(task);
    }

    /// What it does now.
    pub(crate) fn working(&self) -> Option<TaskId> {
        self.state().working
    }

    /// It has ended.
    pub(crate) fn end(&self, outcome: Outcome<Option<Value>>) {
        let mut state = self.state();
        state.ended = Some(Timestamp::now());
        state.working = None;
        state.outcome = Some(outcome);
    }

    /// Whether it has ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.state().outcome.is_some()
    }

    /// Somebody asked it to stop.
    pub(crate) fn cancel(&self) {
        self.state().canceled = true;
    }

    /// Whether it is at work or has ended within the last ten minutes.
    pub(crate) fn is_recent(&self) -> bool {
        let ended = self.state().ended;
        ended.is_none_or(|ended| ended.0.saturating_add(RECENT) >= Timestamp::now().0)
    }

    /// Whether that operation of the inventory is a part of it.
    fn has(&self, task: TaskId) -> bool {
        self.id == task.0 || self.state().parts.contains(&task)
    }

    /// Whether somebody asked it to stop.
    pub(crate) fn is_canceled(&self) -> bool {
        self.state().canceled
    }

    /// The data object about it; `progress` is that of the operation at work.
    pub(crate) fn info(&self, progress: Option<u8>) -> Object {
        let state = self.state().clone();
        let word = match (&state.outcome, state.started) {
            (Some(Ok(_)), _) => "success",
            (Some(Err(_)), _) => "error",
            (None, Some(_)) => "running",
            (None, None) => "queued",
        };
        let (result, error) = match state.outcome {
            Some(Ok(result)) => (result, None),
            Some(Err(fault)) => (None, Some(fault)),
            None => (None, None),
        };
        let key = self.reference().id;
        Object::new("TaskInfo")
            .with("key", key.as_str())
            .with("task", self.reference())
            .with("name", self.start.method)
            .with("descriptionId", description(&self.start))
            .with_some(
                "entity",
                // Managers are no entities.
                Some(self.start.entity.clone()).filter(|it| schema().is(it.kind, "ManagedEntity")),
            )
            .with("entityName", self.start.entity_name.as_str())
            .with("state", Value::choice("TaskInfoState", word))
            .with("cancelled", state.canceled)
            .with("cancelable", state.ended.is_none())
            .with_some("error", error)
            .with_some("result", result)
            .with_some(
                "progress",
                progress
                    .filter(|_| word == "running")
                    .map(|percent| Value::Int(i32::from(percent))),
            )
            .with(
                "reason",
                Object::new("TaskReasonUser").with("userName", self.start.user.as_str()),
            )
            .with("queueTime", self.queued)
            .with_some("startTime", state.started)
            .with_some("completeTime", state.ended)
            .with("eventChainId", 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `VirtualMachine.clone` for `CloneVM_Task` of a VM.
fn description(start: &TaskStart) -> String {
    described(start.method, start.entity.kind)
}

fn described(method: &str, kind: &str) -> String {
    let verb = method.trim_end_matches("_Task");
    let verb = verb.strip_suffix("VM").unwrap_or(verb);
    let mut verb = verb.to_owned();
    if let Some(first) = verb.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    format!("{kind}.{verb}")
}

/// The operations of the inventory that are tasks of this API, by the method that begins with them.
const OPERATIONS: &[(&str, &str)] = &[
    ("create_vm", "CreateVM_Task"),
    ("vsphere_clone", "CloneVM_Task"),
    ("move_vm", "RelocateVM_Task"),
    ("register_vm", "RegisterVM_Task"),
    ("reconfigure_vm", "ReconfigVM_Task"),
    ("add_tpm", "ReconfigVM_Task"),
    ("remove_tpm", "ReconfigVM_Task"),
    ("rekey_vm", "ReconfigVM_Task"),
    ("encrypt_vm", "ReconfigVM_Task"),
    ("decrypt_vm", "ReconfigVM_Task"),
    ("set_ek_certificate", "ReconfigVM_Task"),
    ("rename_vm", "Rename_Task"),
    ("power_on", "PowerOnVM_Task"),
    ("power_off", "PowerOffVM_Task"),
    ("reset_vm", "ResetVM_Task"),
    ("unlock_vm", "CryptoUnlock_Task"),
    ("delete_vm", "Destroy_Task"),
    ("take_snapshot", "CreateSnapshot_Task"),
    ("revert_vm", "RevertToSnapshot_Task"),
    ("forget_snapshot", "RemoveSnapshot_Task"),
    ("forget_snapshots", "RemoveAllSnapshots_Task"),
];

/// A task that this process has begun, or one that the inventory remembers.
pub(crate) enum AnyTask {
    Live(Arc<VimTask>),
    Kept(Box<Task>),
}

impl AnyTask {
    /// The task behind a reference.
    pub(crate) fn find(call: &Call, of: &MoRef) -> Outcome<Self> {
        if let Ok(task) = call.server.board.find(&call.vcenter.name, of) {
            return Ok(Self::Live(task));
        }
        let missing = || Fault::object_not_found(of);
        let id = of
            .id
            .strip_prefix("task-")
            .filter(|_| of.kind == "Task")
            .and_then(|id| Uuid::try_parse(id).ok())
            .ok_or_else(missing)?;
        let task = call.act()?.task(TaskId(id)).map_err(|_| missing())?;
        method_of(&task).ok_or_else(missing)?;
        Ok(Self::Kept(Box::new(task)))
    }

    /// Every task of the vCenter that is remembered, the oldest first.
    pub(crate) fn all(call: &Call) -> Outcome<Vec<Self>> {
        let live = call.server.board.of(&call.vcenter.name);
        let mut kept = call
            .act()?
            .tasks()
            .map_err(|error| fault::of(&error, &About::default()))?;
        kept.reverse();
        kept.retain(|task| {
            method_of(task).is_some() && live.iter().all(|other| !other.has(task.id))
        });
        let world = call.world()?;
        kept.retain(|task| world.vms.iter().any(|vm| vm.id == task.vm));
        let kept = kept.into_iter().map(|task| Self::Kept(Box::new(task)));
        let mut all: Vec<Self> = kept.chain(live.into_iter().map(Self::Live)).collect();
        all.sort_by_key(Self::queued);
        Ok(all)
    }

    /// Those that are at work or have ended within the last ten minutes.
    pub(crate) fn recent(call: &Call) -> Outcome<Vec<MoRef>> {
        let now = Timestamp::now().0;
        let mut all = Self::all(call)?;
        all.retain(|task| match task {
            Self::Live(task) => task.is_recent(),
            Self::Kept(task) => task
                .finished
                .is_none_or(|ended| ended.0.saturating_add(RECENT) >= now),
        });
        Ok(all.iter().map(Self::reference).collect())
    }

    fn queued(&self) -> Timestamp {
        match self {
            Self::Live(task) => task.queued,
            Self::Kept(task) => task.created,
        }
    }

    /// The reference to it.
    pub(crate) fn reference(&self) -> MoRef {
        match self {
            Self::Live(task) => task.reference(),
            Self::Kept(task) => MoRef::new("Task", format!("task-{}", task.id)),
        }
    }

    /// The data object about it, as it is now.
    pub(crate) fn info(&self, call: &Call) -> Outcome<Object> {
        match self {
            Self::Live(task) => call.task_info(task),
            Self::Kept(task) => Ok(kept_info(task)),
        }
    }
}

fn method_of(task: &Task) -> Option<&'static str> {
    let known = OPERATIONS.iter().find(|row| row.0 == task.operation);
    known
        .filter(|_| task.target == TargetKind::Vm)
        .map(|row| row.1)
}

/// What the inventory remembers of a task, as the API tells it.
fn kept_info(task: &Task) -> Object {
    let method = method_of(task).unwrap_or_default();
    let vm = inventory::vm(task.vm);
    // What makes a VM is a task of something else, and ends in the VM.
    let (entity, makes) = match method {
        "CreateVM_Task" | "RegisterVM_Task" => (Some(inventory::vm_folder()), true),
        "CloneVM_Task" => (None, true),
        _ => (Some(vm.clone()), false),
    };
    let word = match task.status {
        TaskStatus::Queued => "queued",
        TaskStatus::Running => "running",
        TaskStatus::Success => "success",
        TaskStatus::Error | TaskStatus::Canceled => "error",
    };
    let error = match (task.status, &task.error) {
        (TaskStatus::Canceled, _) => Some(Fault::new("RequestCanceled", "the task was canceled")),
        (_, Some(error)) => {
            let about = About {
                object: Some(vm.clone()),
                ..About::default()
            };
            Some(of_task(error, &about))
        }
        _ => None,
    };
    let kind = entity.as_ref().map_or("VirtualMachine", |it| it.kind);
    let id = format!("task-{}", task.id);
    Object::new("TaskInfo")
        .with("key", id.as_str())
        .with("task", MoRef::new("Task", id.as_str()))
        .with("name", method)
        .with("descriptionId", described(method, kind))
        .with_some("entity", entity)
        .with("entityName", task.vm_name.as_str())
        .with("state", Value::choice("TaskInfoState", word))
        .with("cancelled", task.status == TaskStatus::Canceled)
        .with("cancelable", !task.is_finished())
        .with_some("error", error)
        .with_some(
            "result",
            (makes && task.status == TaskStatus::Success).then_some(vm),
        )
        .with(
            "reason",
            Object::new("TaskReasonUser").with("userName", task.owner.clone().unwrap_or_default()),
        )
        .with("queueTime", task.created)
        .with("startTime", task.created)
        .with_some("completeTime", task.finished)
        .with("eventChainId", 0)
}

/// What tasks are called: the word in `descriptionId`, and the method.
pub(crate) fn method_descriptions() -> Vec<(String, String)> {
    crate::methods::METHODS
        .iter()
        .filter(|(_, method, _)| method.ends_with("_Task"))
        .map(|(kind, method, _)| (described(method, kind), (*method).to_owned()))
        .collect()
}

/// Every task that is remembered, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct TaskBoard {
    tasks: Mutex<VecDeque<Arc<VimTask>>>,
}

impl TaskBoard {
    /// A new task, queued.
    pub(crate) fn add(&self, start: TaskStart) -> Arc<VimTask> {
        let task = Arc::new(VimTask {
            id: Uuid::new_v4(),
            start,
            queued: Timestamp::now(),
            state: Mutex::default(),
        });
        let mut tasks = self.tasks();
        tasks.push_back(Arc::clone(&task));
        while tasks.len() > KEPT {
            let Some(oldest) = tasks.iter().position(|task| task.is_ended()) else {
                break;
            };
            tasks.remove(oldest);
        }
        task
    }

    /// The task behind a reference, if it is of that vCenter.
    pub(crate) fn find(&self, vcenter: &Name, of: &MoRef) -> Outcome<Arc<VimTask>> {
        self.tasks()
            .iter()
            .find(|task| task.start.vcenter == *vcenter && task.reference() == *of)
            .cloned()
            .ok_or_else(|| Fault::object_not_found(of))
    }

    /// Tasks of a vCenter.
    pub(crate) fn of(&self, vcenter: &Name) -> Vec<Arc<VimTask>> {
        self.tasks()
            .iter()
            .filter(|task| task.start.vcenter == *vcenter)
            .cloned()
            .collect()
    }

    fn tasks(&self) -> MutexGuard<'_, VecDeque<Arc<VimTask>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_goes_from_queued_to_its_end() {
        let board = TaskBoard::default();
        let vcenter: Name = "vc01".parse().unwrap();
        let task = board.add(TaskStart {
            vcenter: vcenter.clone(),
            method: "CloneVM_Task",
            entity: MoRef::new("VirtualMachine", "vm-1"),
            entity_name: "demo".to_owned(),
            user: "administrator@vsphere.local".to_owned(),
        });
        let state = || task.info(Some(50)).get("state").cloned();
        let word = |word| Some(Value::choice("TaskInfoState", word));
        assert_eq!(state(), word("queued"));
        task.begin();
        assert_eq!(state(), word("running"));
        assert_eq!(task.info(Some(50)).get("progress"), Some(&Value::Int(50)));
        task.end(Err(Fault::new("InvalidState", "no")));
        let info = task.info(None);
        assert_eq!(state(), word("error"));
        assert_eq!(info.strangers(), Vec::<String>::new());
        assert_eq!(
            info.get("descriptionId"),
            Some(&"VirtualMachine.clone".into())
        );
        assert_eq!(board.of(&vcenter).len(), 1);
        assert!(
            board
                .find(&"vc02".parse().unwrap(), &task.reference())
                .is_err()
        );
    }
}
