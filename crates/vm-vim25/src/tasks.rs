//! Tasks of the API. One may be several operations of the inventory after another, so they are kept here.

use crate::fault::{Fault, Outcome};
use crate::schema::schema;
use crate::value::{MoRef, Object, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use vm_inventory::model::Timestamp;
use vm_inventory::{Name, TaskId};

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
    canceled: bool,
}

impl VimTask {
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
        self.state().working = Some(task);
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
    let verb = start.method.trim_end_matches("_Task");
    let verb = verb.strip_suffix("VM").unwrap_or(verb);
    let mut verb = verb.to_owned();
    if let Some(first) = verb.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    format!("{}.{verb}", start.entity.kind)
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

    /// Tasks of a vCenter that are at work or have ended within the last ten minutes.
    pub(crate) fn recent(&self, vcenter: &Name) -> Vec<Arc<VimTask>> {
        let now = Timestamp::now().0;
        self.tasks()
            .iter()
            .filter(|task| task.start.vcenter == *vcenter)
            .filter(|task| {
                let ended = task.state().ended;
                ended.is_none_or(|ended| ended.0.saturating_add(RECENT) >= now)
            })
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
        assert_eq!(board.recent(&vcenter).len(), 1);
        assert!(
            board
                .find(&"vc02".parse().unwrap(), &task.reference())
                .is_err()
        );
    }
}
