//! Requests that can be sent again. What a key was used for stands in the task that the request started, and is forgotten with it; of
//! a request that starts no task the answer is kept.

use crate::inventory::{Inventory, Transaction};
use crate::model::{Record, Timestamp};
use crate::operation::{Job, Operations};
use crate::task::Task;
use crate::{Error, Principal, Result, Scoped, acting};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use utoipa::ToSchema;

/// Answers that are kept.
const KEPT: usize = 1000;

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

/// What a request with a key that starts no task was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// As in [`RequestKey`].
    pub key: String,
    /// As in [`RequestKey`].
    pub fingerprint: String,
    /// When.
    pub at: Timestamp,
    /// Status and body; `None` from the moment that something was changed until it is answered.
    pub said: Option<(u16, String)>,
}

impl Record for Answer {
    const PREFIX: &'static str = "answer/";
    fn key(&self) -> String {
        Self::key_of(&self.key)
    }
}

impl Answer {
    pub(crate) fn key_of(key: &str) -> String {
        format!("{}{key}", Self::PREFIX)
    }

    /// One that is still to be given.
    pub(crate) fn missing(request: RequestKey) -> Self {
        Self {
            key: request.key,
            fingerprint: request.fingerprint,
            at: Timestamp::now(),
            said: None,
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

/// What is known of a request with a key.
pub enum Before {
    /// Nothing, or that it started a task.
    Nothing,
    /// What it was answered: status and body.
    Answered(u16, String),
}

impl Scoped {
    /// Does `work` unless it was done before because of the same request. Whoever calls it lets requests with the same key go one after
    /// the other.
    ///
    /// # Errors
    /// Those of `work`, or that the key was used for something else.
    pub fn once(&self, key: &RequestKey, work: impl FnOnce(&Self) -> Result<Job>) -> Result<Once> {
        match self.operations.task_of(key)? {
            Some(task) => Ok(Once::Before(Box::new(task))),
            None => {
                let job = acting::because_of(key.clone(), || work(self))?;
                Ok(Once::Now(Box::new(job)))
            }
        }
    }

    /// Does `work`, which starts no task, because of a request with a key: from its first change on the key is known as used.
    pub fn answering<T>(&self, key: &RequestKey, work: impl FnOnce(&Self) -> T) -> T {
        acting::answering(key.clone(), || work(self))
    }

    /// Does `work` if `holds` says so at the moment of its first change, when nothing else can change any more.
    ///
    /// # Errors
    /// Those of `work` and of `holds`, which reads only.
    pub fn expecting<T>(
        &self,
        holds: impl Fn(&Self) -> Result<()> + Send + Sync + 'static,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        let scoped = self.clone();
        acting::expecting(Arc::new(move || holds(&scoped)), || work(self))
    }
}

impl Operations {
    fn task_of(&self, key: &RequestKey) -> Result<Option<Task>> {
        let Some(id) = self.inventory().index().task_of(&key.key) else {
            return Ok(None);
        };
        match self.task(id) {
            Ok(task) if task.request.as_ref() == Some(key) => Ok(Some(task)),
            Ok(task) => Err(Error::KeyReused {
                task: task.id.to_string(),
            }),
            // It was forgotten meanwhile.
            Err(Error::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// What a request was answered that came before.
    ///
    /// # Errors
    /// When its key was used for another request, or nobody knows the answer any more.
    pub fn answered_before(&self, key: &RequestKey) -> Result<Before> {
        let known = self.inventory().find::<Answer>(&Answer::key_of(&key.key))?;
        match known.map(|stored| stored.record) {
            Some(answer) if answer.fingerprint != key.fingerprint => Err(Error::KeyTaken),
            Some(Answer {
                said: Some((status, body)),
                ..
            }) => Ok(Before::Answered(status, body)),
            Some(_) => Err(Error::Unanswered),
            None => self.task_of(key).map(|_| Before::Nothing),
        }
    }

    /// Keeps what a request was answered; one that failed may be sent again.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn keep_answer(&self, key: RequestKey, said: Option<(u16, String)>) -> Result<()> {
        let mut transaction = Transaction::default();
        let answer = Answer {
            said,
            ..Answer::missing(key)
        };
        if answer.said.is_some() {
            transaction.put(&answer)?;
        } else if self.inventory().find::<Answer>(&answer.key())?.is_some() {
            transaction.remove_key(answer.key());
        } else {
            return Ok(());
        }
        self.inventory().commit(transaction)
    }
}

/// Removes the oldest answers beyond what is kept.
pub(crate) fn prune(inventory: &Inventory) -> Result<()> {
    let old = inventory.index().old_answers(KEPT);
    if old.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::default();
    for key in old {
        transaction.remove_key(Answer::key_of(&key));
    }
    inventory.commit(transaction)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::CreateVCenter;
    use crate::testing::World;

    #[test]
    fn a_change_without_a_task_is_known_by_its_key_from_the_very_change_on() {
        let world = World::empty();
        let scoped = world.operations.as_user(Principal::local());
        let key = RequestKey::new(&Principal::local(), "one", b"what");
        let other = RequestKey::new(&Principal::local(), "one", b"something else");
        let before = |key| world.operations.answered_before(key);
        assert!(matches!(before(&key), Ok(Before::Nothing)));
        let request = CreateVCenter {
            name: "vc09".parse().unwrap(),
            version: "8.0.3".parse().unwrap(),
        };
        scoped
            .answering(&key, |it| it.create_vcenter(request.clone()))
            .unwrap();
        // Killed before it was answered.
        assert!(matches!(before(&key), Err(Error::Unanswered)));
        assert!(matches!(before(&other), Err(Error::KeyTaken)));
        let said = Some((201, "made".to_owned()));
        world.operations.keep_answer(key.clone(), said).unwrap();
        let world = world.reopen();
        let before = |key| world.operations.answered_before(key);
        assert!(matches!(before(&key), Ok(Before::Answered(201, body)) if body == "made"));
        assert!(matches!(before(&other), Err(Error::KeyTaken)));
        // What is refused leaves no trace of the key.
        let refused = RequestKey::new(&Principal::local(), "two", b"what");
        let scoped = world.operations.as_user(Principal::local());
        assert!(
            scoped
                .answering(&refused, |it| it.create_vcenter(request))
                .is_err()
        );
        assert!(matches!(before(&refused), Ok(Before::Nothing)));
    }

    #[test]
    fn the_oldest_answers_are_forgotten() {
        let world = World::empty();
        for number in 0..KEPT + 3 {
            let answer = Answer {
                at: Timestamp(u64::try_from(number).unwrap()),
                said: Some((200, String::new())),
                ..Answer::missing(RequestKey {
                    key: format!("key{number}"),
                    fingerprint: String::new(),
                })
            };
            let mut transaction = Transaction::default();
            transaction.put(&answer).unwrap();
            world.operations.inventory().commit(transaction).unwrap();
        }
        prune(world.operations.inventory()).unwrap();
        let left = world.operations.inventory().all::<Answer>().unwrap();
        assert_eq!(left.len(), KEPT);
        assert!(left.iter().all(|answer| answer.record.at >= Timestamp(3)));
    }
}
