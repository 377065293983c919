//! What every request has: the operations of the inventory, who asks, and on which vCenter.

use crate::fault::{self, About, Fault, Outcome};
use crate::inventory::World;
use crate::rest::Backups;
use crate::schema::Version;
use crate::session::{Login, Logins};
use crate::tasks::{TaskBoard, TaskStart, VimTask};
use crate::value::{MoRef, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm_inventory::model::VCenter;
use vm_inventory::{
    Error, ErrorKind, Job, KeyState, Name, Operations, Principal, Scoped, Task, TaskError,
    TaskStatus, VcVersion,
};
use vm_web::{Jobs, Sessions};

/// For how long a task waits for others of the same VM.
const QUEUED: Duration = Duration::from_secs(600);
/// How often it looks whether they are done.
const PAUSE: Duration = Duration::from_millis(50);

/// What may be done, by whoever asks.
pub(crate) type Act = Scoped;

/// What all requests share.
pub(crate) struct Server {
    operations: Arc<Operations>,
    pub(crate) board: TaskBoard,
    pub(crate) logins: Logins,
    pub(crate) backups: Backups,
    jobs: Jobs,
}

impl Server {
    pub(crate) fn new(operations: Arc<Operations>, sessions: Sessions, jobs: Jobs) -> Self {
        Self {
            logins: Logins::new(sessions),
            operations,
            board: TaskBoard::default(),
            backups: Backups::default(),
            jobs,
        }
    }

    /// What somebody may do.
    pub(crate) fn act(&self, principal: Principal) -> Act {
        self.operations.as_user(principal)
    }

    /// The vCenter of that name; without a name the first one.
    pub(crate) fn vcenter(&self, name: Option<&str>) -> Result<Option<VCenter>, Error> {
        let mut all = self.operations.vcenters()?;
        all.retain(|vcenter| name.is_none_or(|name| vcenter.name.as_str() == name));
        Ok(all.into_iter().next())
    }
}

/// One request.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    pub(crate) vcenter: VCenter,
    /// The version that the client speaks, which is not later than the vCenter's.
    pub(crate) version: Version,
    pub(crate) login: Option<Arc<Login>>,
    /// The token of the session.
    pub(crate) token: Option<vm_web::Token>,
    /// Where the request came from, if that is known.
    pub(crate) address: String,
}

/// What the work of a task gets: what it may do, and where it reports.
pub(crate) struct Work {
    pub(crate) act: Act,
    vcenter: Name,
    task: Arc<VimTask>,
}

impl Work {
    /// Runs an operation of the inventory to its end.
    pub(crate) fn run(&self, job: Result<Job, Error>, about: &About) -> Outcome<Task> {
        if self.task.is_canceled() {
            return Err(Fault::new("RequestCanceled", "the task was canceled"));
        }
        let job = job.map_err(|error| fault::of(&error, about))?;
        self.task.works_on(job.task().id);
        let ended = job.run();
        match (ended.status, &ended.error) {
            (TaskStatus::Success, _) => Ok(ended),
            (_, Some(error)) => Err(self
                .key_fault(error, about)
                .unwrap_or_else(|| of_task(error, about))),
            (_, None) => Err(Fault::new("RequestCanceled", "the task was canceled")),
        }
    }

    /// Accepts an operation as soon as no other keeps it from its VM, or the task is canceled.
    pub(crate) fn when_free(
        &self,
        accept: impl Fn(&Act) -> Result<Job, Error>,
    ) -> Result<Job, Error> {
        let until = Instant::now() + QUEUED;
        loop {
            match accept(&self.act) {
                Err(Error::Busy { .. }) if !self.task.is_canceled() && Instant::now() < until => {
                    std::thread::sleep(PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    /// The fault if it was the key that the operation could not have.
    fn key_fault(&self, error: &TaskError, about: &About) -> Option<Box<Fault>> {
        let (provider, key) = about.key.as_ref().filter(|(_, key)| !key.is_empty())?;
        if error.kind != ErrorKind::Unavailable {
            return None;
        }
        let message = error.detail.clone();
        match self
            .act
            .key_state(&self.vcenter, &provider.parse().ok()?, key)
            .ok()?
        {
            KeyState::Usable => None,
            KeyState::Missing => Some(Fault::new("KeyNotFound", message).with("key", key.as_str())),
            KeyState::Unreachable | KeyState::NotActive | KeyState::Unusable => {
                Some(fault::key_required(Some((provider, key)), message))
            }
        }
    }
}

/// The fault for an operation that failed after it was accepted, of which the kind and the words are known.
pub(crate) fn of_task(error: &TaskError, about: &About) -> Box<Fault> {
    let message = error.detail.clone();
    match error.kind {
        ErrorKind::KeyRequired => {
            let key = about.key.as_ref();
            let key = key.map(|(provider, key)| (provider.as_str(), key.as_str()));
            fault::key_required(key, message)
        }
        ErrorKind::NotFound => Fault::new("NotFound", message),
        ErrorKind::Forbidden => fault::no_permission(about, message),
        ErrorKind::BadRequest => Fault::new("InvalidArgument", message),
        ErrorKind::Conflict | ErrorKind::Refused | ErrorKind::Unavailable => {
            Fault::new("InvalidState", message)
        }
        ErrorKind::Internal => Fault::new("SystemError", message.clone()).with("reason", message),
    }
}

impl Call {
    /// What may be done by whoever asks.
    pub(crate) fn act(&self) -> Outcome<Act> {
        let principal = self.login()?.principal.clone();
        Ok(self.server.act(principal))
    }

    /// Who asks.
    pub(crate) fn login(&self) -> Outcome<&Arc<Login>> {
        self.login.as_ref().ok_or_else(|| {
            Fault::new("NotAuthenticated", "The session is not authenticated.")
                .with("object", crate::inventory::root_folder())
                .with("privilegeId", "System.View")
        })
    }

    /// The vCenter's inventory as of now.
    pub(crate) fn world(&self) -> Outcome<World> {
        let act = self.act()?;
        let read = || -> Result<World, Error> {
            let name = &self.vcenter.name;
            let world = World::new(self.vcenter.clone(), act.datastores()?, act.vms()?);
            Ok(world.with_folders(act.vm_folders(name)?, act.vms_in_folders(name)?))
        };
        read().map_err(|error| fault::of(&error, &About::default()))
    }

    /// The part of the vCenter's inventory that these objects take: of VMs no others are read.
    pub(crate) fn world_of<'a>(&self, of: impl IntoIterator<Item = &'a MoRef>) -> Outcome<World> {
        let act = self.act()?;
        let failed = |error| fault::of(&error, &About::default());
        let datastores = act.datastores().map_err(failed)?;
        let mut vms = Vec::new();
        for id in of.into_iter().filter_map(crate::inventory::vm_id) {
            match act.vm(&id.to_string()) {
                Ok(vm) => vms.push(vm),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let name = &self.vcenter.name;
        let folders = act.vm_folders(name).map_err(failed)?;
        let placed = act.vms_in_folders(name).map_err(failed)?;
        Ok(World::new(self.vcenter.clone(), datastores, vms).with_folders(folders, placed))
    }

    /// The fault for an error about an object.
    pub(crate) fn about(object: &MoRef) -> impl Fn(Error) -> Box<Fault> {
        let about = About {
            object: Some(object.clone()),
            ..About::default()
        };
        move |error| fault::of(&error, &about)
    }

    /// Begins a task; its work runs where it may block.
    pub(crate) fn start(
        &self,
        method: &'static str,
        entity: &MoRef,
        entity_name: impl Into<String>,
        work: impl FnOnce(&Work) -> Outcome<Option<Value>> + Send + 'static,
    ) -> Outcome<Value> {
        let act = self.act()?;
        let task = self.server.board.add(TaskStart {
            vcenter: self.vcenter.name.clone(),
            method,
            entity: entity.clone(),
            entity_name: entity_name.into(),
            user: self.login()?.user.clone(),
        });
        let reference = task.reference();
        self.server.jobs.run(move || {
            // Whatever happens, the task ends.
            let guard = EndOnDrop(Arc::clone(&task));
            task.begin();
            let recorder = act.clone();
            let work_done = act.numbered(task.id(), || {
                work(&Work {
                    act: act.clone(),
                    vcenter: task.start.vcenter.clone(),
                    task: Arc::clone(&task),
                })
            });
            if let Err(fault) = &work_done {
                // Its first operation may have succeeded before.
                let error = TaskError {
                    kind: fault.error_kind(),
                    detail: fault.message.clone(),
                };
                if let Err(error) = recorder.fail_task(vm_inventory::TaskId(task.id()), error) {
                    tracing::warn!("the end of a task was not recorded: {error}");
                }
            }
            task.end(work_done);
            drop(guard);
        });
        Ok(reference.into())
    }

    /// The data object about a task, as it is now.
    pub(crate) fn task_info(&self, task: &VimTask) -> Outcome<crate::value::Object> {
        let progress = match task.working() {
            Some(id) => self.act()?.task(id).ok().map(|task| task.progress),
            None => None,
        };
        Ok(task.info(progress))
    }
}

struct EndOnDrop(Arc<VimTask>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if !self.0.is_ended() {
            let message = "an internal error stopped the task; please report it";
            self.0.end(Err(
                Fault::new("SystemError", message).with("reason", message)
            ));
        }
    }
}

/// Versions of the API, the oldest first. A vCenter offers the latest that is not later than itself.
const VERSIONS: &[&str] = &[
    "6.0", "6.5", "6.7", "6.7.1", "6.7.2", "6.7.3", "7.0.0.0", "7.0.1.0", "7.0.2.0", "7.0.3.0",
    "8.0.0.1", "8.0.1.0", "8.0.2.0", "8.0.3.0",
];

/// The versions that a vCenter offers, the latest first.
pub(crate) fn offered(version: VcVersion) -> Vec<&'static str> {
    // 8.0.0.1 is the version of the API that 8.0 was released with.
    let own = Version::parse(&version.to_string()).unwrap_or_default();
    let own = own.max(if version.is_8_or_later() {
        Version::parse("8.0.0.1").unwrap_or_default()
    } else {
        own
    });
    let mut found: Vec<&'static str> = VERSIONS
        .iter()
        .copied()
        .filter(|it| Version::parse(it).is_some_and(|it| it <= own))
        .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vcenter_offers_its_own_version_first() {
        let first = |version: &str| offered(version.parse().unwrap()).first().copied();
        assert_eq!(first("8.0.3"), Some("8.0.3.0"));
        assert_eq!(first("7.0.3"), Some("7.0.3.0"));
        assert_eq!(first("8.0"), Some("8.0.0.1"));
        assert_eq!(first("7.0.2"), Some("7.0.2.0"));
        assert_eq!(first("9.0"), Some("8.0.3.0"));
        assert!(!offered("7.0.3".parse().unwrap()).contains(&"8.0.0.1"));
    }
}
