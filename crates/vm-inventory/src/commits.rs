//! How transactions get to stable storage: those that wait at the same time go together, so that many operations at once cost few
//! syncs. Each is carried out or refused by itself, in the order in which they came.

use crate::acting::Expectation;
use crate::audit::{self, AuditEntry};
use crate::engine::{Change, Compare, Outcome};
use crate::inventory::{Inventory, Transaction, is_of_task};
use crate::model::{GenerationFloor, Vm, VmId};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Transactions that go together at most.
const TOGETHER: usize = 64;

/// The transactions that wait.
#[derive(Default)]
pub(crate) struct Commits {
    waiting: Mutex<Vec<Waiting>>,
    /// Whoever has it carries out what waits. The audit log has one end, too.
    turn: Mutex<()>,
}

/// A transaction that waits, with what was known where it came from.
struct Waiting {
    transaction: Transaction,
    /// What the audit log is to say of it.
    drafts: Vec<AuditEntry>,
    expectation: Option<Expectation>,
    outcome: Slot,
}

type Slot = Arc<Mutex<Option<Result<()>>>>;

/// Transactions that go together, none of which looks at what another one changes.
#[derive(Default)]
struct Group {
    members: Vec<Waiting>,
    written: BTreeSet<String>,
}

impl Group {
    fn takes(&self, one: &Waiting) -> bool {
        self.members.len() < TOGETHER && one.keys().iter().all(|key| !self.written.contains(key))
    }

    fn add(&mut self, one: Waiting) {
        let written = one.transaction.changes.iter().map(|change| match change {
            Change::Put(key, _) | Change::Delete(key) => key.clone(),
        });
        self.written.extend(written);
        self.members.push(one);
    }
}

impl Waiting {
    /// What it looks at or changes.
    fn keys(&self) -> Vec<String> {
        let looked_at = self
            .transaction
            .compares
            .iter()
            .map(|compare| match compare {
                Compare::Absent(key) | Compare::Unchanged(key, _) => key.clone(),
            });
        let changed = self.transaction.changes.iter().map(|change| match change {
            Change::Put(key, _) | Change::Delete(key) => key.clone(),
        });
        let raised = self.transaction.raises.iter();
        let raised = raised.flat_map(|(vm, _)| [Vm::key_of(*vm), GenerationFloor::key_of(*vm)]);
        looked_at.chain(changed).chain(raised).collect()
    }
}

impl Commits {
    /// Carries a transaction out, together with others that wait. Returns when it is on stable storage, or refused.
    pub(crate) fn commit(
        &self,
        inventory: &Inventory,
        transaction: Transaction,
        expectation: Option<Expectation>,
    ) -> Result<()> {
        let outcome = Slot::default();
        let drafts = audit::drafts(&transaction.changes)?;
        lock(&self.waiting).push(Waiting {
            transaction,
            drafts,
            expectation,
            outcome: Arc::clone(&outcome),
        });
        let _turn = lock(&self.turn);
        // Perhaps whoever had the turn before has taken it along.
        if let Some(done) = lock(&outcome).take() {
            return done;
        }
        let all = std::mem::take(&mut *lock(&self.waiting));
        carry_out(inventory, all);
        let done = lock(&outcome).take();
        done.unwrap_or_else(|| Err(Error::Internal("a transaction was lost".to_owned())))
    }
}

fn carry_out(inventory: &Inventory, all: Vec<Waiting>) {
    let mut group = Group::default();
    for mut one in all {
        // What a request expects may depend on anything.
        if one.expectation.is_some() || !group.takes(&one) {
            flush(inventory, &mut group);
        }
        match admit(inventory, &mut one) {
            Ok(()) => group.add(one),
            Err(error) => one.settle(Err(error)),
        }
    }
    flush(inventory, &mut group);
}

/// Looks whether what a transaction relies on holds, and finds out which floors it raises.
fn admit(inventory: &Inventory, one: &mut Waiting) -> Result<()> {
    if let Some(holds) = one.expectation.take() {
        holds()?;
    }
    for compare in &one.transaction.compares {
        let (key, holds) = match compare {
            Compare::Absent(key) => (key, inventory.revision(key)?.is_none()),
            Compare::Unchanged(key, revision) => (key, inventory.revision(key)? == Some(*revision)),
        };
        if !holds {
            return Err(Error::Conflict { key: key.clone() });
        }
    }
    for (vm, generation) in std::mem::take(&mut one.transaction.raises) {
        if generation > inventory.generation_floor(vm)?
            && inventory.revision(&Vm::key_of(vm))?.is_some()
        {
            one.transaction.put(&GenerationFloor { vm, generation })?;
        }
    }
    Ok(())
}

impl Waiting {
    fn settle(&self, outcome: Result<()>) {
        *lock(&self.outcome) = Some(outcome);
    }
}

fn flush(inventory: &Inventory, group: &mut Group) {
    let Group { members, .. } = std::mem::take(group);
    let outcome = match together(inventory, &members) {
        // It was looked at a moment ago, so another process changes the same database. Each for itself, then.
        Ok(Outcome::Conflict(_)) if members.len() > 1 => {
            for one in members {
                let alone = [one];
                let outcome = together(inventory, &alone).and_then(settled);
                for one in alone {
                    one.settle(outcome.as_ref().copied().map_err(again));
                }
            }
            return;
        }
        other => other.and_then(settled),
    };
    for one in members {
        one.settle(outcome.as_ref().copied().map_err(again));
    }
}

fn settled(outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Committed(_) => Ok(()),
        Outcome::Conflict(key) => Err(Error::Conflict { key }),
    }
}

/// The same error for everybody whom it concerns.
fn again(error: &Error) -> Error {
    match error {
        Error::Engine(error) => Error::Engine(error.clone()),
        Error::Conflict { key } => Error::Conflict { key: key.clone() },
        Error::Record { key, reason } => Error::Record {
            key: key.clone(),
            reason: reason.clone(),
        },
        other => Error::Internal(other.to_string()),
    }
}

fn together(inventory: &Inventory, members: &[Waiting]) -> Result<Outcome> {
    let mut drafts = Vec::new();
    let (mut compares, mut changes) = (Vec::new(), Vec::new());
    for one in members {
        drafts.extend(one.drafts.iter().cloned());
        compares.extend(one.transaction.compares.iter().cloned());
        changes.extend(one.transaction.changes.iter().cloned());
    }
    if compares.is_empty() && changes.is_empty() {
        return Ok(Outcome::Committed(0));
    }
    let (of_log, entries) = audit::chain(inventory, drafts)?;
    compares.extend(of_log);
    changes.extend(entries);
    let outcome = inventory.transact(&compares, &changes)?;
    if matches!(outcome, Outcome::Committed(_)) && changes.iter().any(is_of_task) {
        inventory.tell_of_tasks();
    }
    Ok(outcome)
}

/// Raises a floor when the transaction is carried out, unless it is as high already or the VM is gone.
pub(crate) type Raise = (VmId, u64);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Record as _, Timestamp};
    use crate::task::Task;
    use crate::testing::{World, done};
    use crate::{Name, acting};

    fn task(number: usize) -> Task {
        let name: Name = format!("vm{number}").parse().unwrap();
        Task::new("power_on", VmId::random(), &name).succeeded()
    }

    #[test]
    fn transactions_of_many_threads_are_each_carried_out_and_the_log_holds() {
        let world = World::with_vcenter("8.0.3");
        let inventory = world.operations.inventory();
        let before = world.operations.check_audit().unwrap().entries;
        let tasks: Vec<Task> = (0..40).map(task).collect();
        std::thread::scope(|scope| {
            for task in &tasks {
                scope.spawn(move || {
                    let mut transaction = Transaction::default();
                    transaction.insert(task).unwrap();
                    inventory.commit(transaction).unwrap();
                    // A second time it is there already.
                    let mut transaction = Transaction::default();
                    transaction.insert(task).unwrap();
                    let refused = inventory.commit(transaction).unwrap_err();
                    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
                });
            }
        });
        for task in &tasks {
            assert_eq!(world.operations.task(task.id).unwrap(), *task);
        }
        let check = world.operations.check_audit().unwrap();
        assert_eq!((check.entries - before, check.damage), (40, None));
    }

    #[test]
    fn of_many_changes_that_rely_on_the_same_record_one_is_carried_out() {
        let world = World::with_vcenter("8.0.3");
        let inventory = world.operations.inventory();
        let first = task(0);
        let mut transaction = Transaction::default();
        transaction.insert(&first).unwrap();
        inventory.commit(transaction).unwrap();
        let stored = inventory.find::<Task>(&first.key()).unwrap().unwrap();
        let stored = &stored;
        let done: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..20u64)
                .map(|number| {
                    scope.spawn(move || {
                        let mut changed = stored.record.clone();
                        changed.finished = Some(Timestamp(number));
                        let mut transaction = Transaction::default();
                        transaction.update(stored, &changed).unwrap();
                        inventory.commit(transaction).is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(done.iter().filter(|done| **done).count(), 1);
    }

    #[test]
    fn what_a_request_expects_is_looked_at_when_its_change_is_made() {
        let world = World::with_vcenter("8.0.3");
        world.create("web");
        let inventory = world.operations.inventory().clone();
        let id = inventory.vm("web").unwrap().record.id;
        // Between the look and the change somebody else is faster, whoever it is.
        let seen = inventory.vm("web").unwrap().compare();
        let holds = {
            let inventory = inventory.clone();
            move || match inventory.vm("web")?.compare() == seen {
                true => Ok(()),
                false => Err(Error::Changed {
                    now: "x".to_owned(),
                }),
            }
        };
        let mut transaction = Transaction::default();
        transaction.put(&task(1)).unwrap();
        done(world.operations.power_on("web", false));
        let refused = acting::expecting(Arc::new(holds), || inventory.commit(transaction));
        assert!(matches!(refused, Err(Error::Changed { .. })), "{refused:?}");
        assert!(
            world
                .operations
                .tasks()
                .unwrap()
                .iter()
                .all(|task| task.vm == id)
        );
    }

    #[test]
    fn a_floor_is_raised_and_never_lowered() {
        let world = World::with_vcenter("8.0.3");
        world.create("web");
        let inventory = world.operations.inventory();
        let id = inventory.vm("web").unwrap().record.id;
        let floor = inventory.generation_floor(id).unwrap();
        inventory
            .raise_floors(&[(id, floor + 5), (VmId::random(), 9)])
            .unwrap();
        inventory.raise_floors(&[(id, floor + 3)]).unwrap();
        assert_eq!(inventory.generation_floor(id).unwrap(), floor + 5);
        assert_eq!(
            inventory
                .within::<GenerationFloor>(GenerationFloor::PREFIX)
                .unwrap()
                .len(),
            1
        );
    }
}
