//! One request, as handlers see it, and what they answer.

use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use crate::schema::{Root, entity};
use crate::uploads::Uploads;
use crate::version::ApiVersion;
use std::sync::Arc;
use uuid::Uuid;
use vm_inventory::{Job, Operations, Scoped, Task};
use vm_web::Jobs;

/// A request of somebody who is logged in.
pub(crate) struct Call {
    /// Everything that this user may see and do.
    pub(crate) operations: Scoped,
    /// Where jobs run.
    pub(crate) jobs: Jobs,
    /// Templates on their way.
    pub(crate) uploads: Uploads,
    /// Scheme, host and port that the client uses.
    pub(crate) base: String,
    pub(crate) version: ApiVersion,
    /// The identifiers in the path, in their order.
    pub(crate) ids: Vec<Uuid>,
    /// The path of the route.
    pub(crate) route: &'static str,
    /// What stands for `{key}` in the path.
    pub(crate) key: String,
    /// The parameters after the question mark, in their order.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) body: Option<Node>,
}

/// What is answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) document: Option<(Root, Node)>,
    pub(crate) location: Option<String>,
}

impl Reply {
    /// A document.
    pub(crate) fn ok(root: &Root, node: Node) -> Self {
        Self {
            status: 200,
            document: Some((*root, node)),
            location: None,
        }
    }

    /// Something that is being made.
    pub(crate) fn created(root: &Root, node: Node) -> Self {
        let location = node.text("href").map(str::to_owned);
        Self {
            status: 201,
            document: Some((*root, node)),
            location,
        }
    }

    /// Done, and nothing to say.
    pub(crate) fn nothing() -> Self {
        Self {
            status: 204,
            document: None,
            location: None,
        }
    }
}

/// What every handler gives.
pub(crate) type Answer = Result<Reply, Fault>;

impl Call {
    /// The first identifier in the path.
    pub(crate) fn id(&self) -> Uuid {
        self.ids.first().copied().unwrap_or_default()
    }

    /// The body, which the table of routes says there is.
    pub(crate) fn body(&self) -> Result<&Node, Fault> {
        self.body
            .as_ref()
            .ok_or_else(|| Fault::bad_request("Bad request: this request takes a body"))
    }

    /// A parameter after the question mark.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Starts a job and gives its task as accepted.
    pub(crate) fn start(&self, job: Job) -> Task {
        self.jobs.start(job)
    }

    /// Starts a job and answers with its task.
    pub(crate) fn accept(&self, job: Job) -> Answer {
        let task = self.start(job);
        let node = crate::show::task::task(self, &task);
        let location = node.text("href").map(str::to_owned);
        Ok(Reply {
            status: 202,
            document: Some((entity::TASK_ROOT, node)),
            location,
        })
    }

    /// Where a reference in a body leads.
    pub(crate) fn target(&self, node: &Node, field: &str) -> Result<(Kind, Uuid), Fault> {
        let reference = node.child(field).ok_or_else(|| {
            Fault::bad_request(format!("Bad request: {} has no {field}", node.ty().name))
        })?;
        Self::leads(reference)
    }

    /// Where a reference leads.
    pub(crate) fn leads(reference: &Node) -> Result<(Kind, Uuid), Fault> {
        let text = reference
            .text("href")
            .or_else(|| reference.text("id"))
            .unwrap_or_default();
        Kind::read(text).ok_or_else(|| {
            Fault::invalid_reference(format!(
                "the reference {} leads nowhere; use the href of a document of this server",
                crate::xml::shown(text)
            ))
        })
    }

    /// The same, if it leads to one kind of thing.
    pub(crate) fn target_of(&self, node: &Node, field: &str, kind: Kind) -> Result<Uuid, Fault> {
        let (found, id) = self.target(node, field)?;
        if found == kind {
            return Ok(id);
        }
        Err(Fault::invalid_reference(format!(
            "{field} leads to another kind of thing than this request takes"
        )))
    }

    /// All operations, for what the API shows to everybody alike.
    pub(crate) fn is_system(&self) -> bool {
        self.operations.principal().is_system()
    }
}

/// What is known of a server as a whole.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) operations: Arc<Operations>,
    pub(crate) sessions: vm_web::Sessions,
    pub(crate) jobs: Jobs,
    pub(crate) site: crate::Site,
    pub(crate) uploads: Uploads,
}
