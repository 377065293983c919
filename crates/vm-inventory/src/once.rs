//! Requests that can be sent again: what a key was used for stands in the task that it started, and is forgotten with it.

use crate::operation::{Job, Operations};
use crate::task::Task;
use crate::{Error, Principal, Result, Scoped, acting};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::PoisonError;
use utoipa::ToSchema;

/// What a request with a key is recognized by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestKey {
    /// Digest of the user and the key that the user chose.
    pub key: String,
    /// Digest of the request.
    pub fingerprint: String,
}

impl RequestKey {
    /// The key of a user, and the digest of what was asked for.
    #[must_use]
    pub fn new(principal: &Principal, key: &str, fingerprint: &[u8]) -> Self {
        Self {
            // No name of a user holds a line end.
            key: hex(&Sha256::digest(format!("{principal}\n{key}"))),
            fingerprint: hex(fingerprint),
        }
    }
}

/// What became of a request with a key.
pub enum Once {
    /// It is the first with that key.
    Now(Box<Job>),
    /// It came before: this is its task.
    Before(Box<Task>),
}

impl Scoped {
    /// Does `work` unless it was done before because of the same request.
    ///
    /// # Errors
    /// Those of `work`, or that the key was used for something else.
    pub fn once(&self, key: &RequestKey, work: impl FnOnce(&Self) -> Result<Job>) -> Result<Once> {
        let _one_at_a_time = self
            .operations
            .once
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.operations.task_of(key)? {
            Some(task) if task.request.as_ref() == Some(key) => Ok(Once::Before(Box::new(task))),
            Some(task) => Err(Error::KeyReused {
                task: task.id.to_string(),
            }),
            None => {
                let job = acting::because_of(key.clone(), || work(self))?;
                Ok(Once::Now(Box::new(job)))
            }
        }
    }
}

impl Operations {
    fn task_of(&self, key: &RequestKey) -> Result<Option<Task>> {
        let of_key = |task: &Task| task.request.as_ref().is_some_and(|it| it.key == key.key);
        Ok(self.tasks()?.into_iter().find(of_key))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
