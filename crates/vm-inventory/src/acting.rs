//! On whose behalf this thread works, because of which request, and what that expects: tasks, the audit log and the first transaction
//! take notice of it without every operation passing it on.

use crate::Result;
use crate::once::RequestKey;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use uuid::Uuid;

/// What a request expects of what it changes. It is asked when nothing else can change any more, and reads the inventory only.
pub(crate) type Expectation = Arc<dyn Fn() -> Result<()> + Send + Sync>;

#[derive(Clone, Default)]
struct Acting {
    user: Option<String>,
    request: Option<RequestKey>,
    /// The same for a request that starts no task: its first transaction notes it.
    unanswered: Option<RequestKey>,
    expectation: Option<Expectation>,
    /// It only wants to know what would become of it.
    looks: bool,
}

thread_local! {
    static ACTING: RefCell<Acting> = RefCell::default();
    /// The identifier that the next task is to have.
    static NEXT_TASK: Cell<Option<Uuid>> = const { Cell::new(None) };
}

/// Puts back what was there before, also when the work panics.
struct Restore(Acting);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = std::mem::take(&mut self.0);
        ACTING.with(|acting| *acting.borrow_mut() = before);
    }
}

fn with<T>(change: impl FnOnce(&mut Acting), work: impl FnOnce() -> T) -> T {
    let _restore = Restore(ACTING.with(|acting| acting.borrow().clone()));
    ACTING.with(|acting| change(&mut acting.borrow_mut()));
    work()
}

/// Does `work` on behalf of `name`.
pub(crate) fn on_behalf_of<T>(name: String, work: impl FnOnce() -> T) -> T {
    with(|acting| acting.user = Some(name), work)
}

/// Does `work` on behalf of whoever it is; `None` for the daemon itself.
pub(crate) fn on_behalf_of_whoever<T>(name: Option<String>, work: impl FnOnce() -> T) -> T {
    with(|acting| acting.user = name, work)
}

/// Who it is; `None` for what the daemon does by itself.
pub(crate) fn user() -> Option<String> {
    ACTING.with(|acting| acting.borrow().user.clone())
}

/// Does `work` because of the request with that key.
pub(crate) fn because_of<T>(key: RequestKey, work: impl FnOnce() -> T) -> T {
    with(|acting| acting.request = Some(key), work)
}

/// Does `work`, whose first task has that identifier: whoever has told it to somebody finds the task again, also after a restart.
pub(crate) fn numbered<T>(id: Uuid, work: impl FnOnce() -> T) -> T {
    let _forgotten = Forget;
    NEXT_TASK.set(Some(id));
    work()
}

/// The work is over, whether it has made a task or not.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        NEXT_TASK.set(None);
    }
}

/// The identifier for a new task.
pub(crate) fn task() -> Uuid {
    NEXT_TASK.take().unwrap_or_else(Uuid::new_v4)
}

/// Which request it is, if it has a key.
pub(crate) fn request() -> Option<RequestKey> {
    ACTING.with(|acting| acting.borrow().request.clone())
}

/// Does `work` because of a request with that key, which starts no task.
pub(crate) fn answering<T>(key: RequestKey, work: impl FnOnce() -> T) -> T {
    with(|acting| acting.unanswered = Some(key), work)
}

/// The request that is to be noted with this transaction: the first one of it.
pub(crate) fn take_unanswered() -> Option<RequestKey> {
    ACTING.with(|acting| acting.borrow_mut().unanswered.take())
}

/// Does `work`, whose first transaction is carried out only if `expectation` holds then.
pub(crate) fn expecting<T>(expectation: Expectation, work: impl FnOnce() -> T) -> T {
    with(|acting| acting.expectation = Some(expectation), work)
}

/// The same for work that is only looked at: it keeps nobody else away.
pub(crate) fn looking<T>(expectation: Expectation, work: impl FnOnce() -> T) -> T {
    let change = |acting: &mut Acting| {
        acting.expectation = Some(expectation);
        acting.looks = true;
    };
    with(change, work)
}

/// Whether this is only a look.
pub(crate) fn looks() -> bool {
    ACTING.with(|acting| acting.borrow().looks)
}

/// What has to hold for this transaction: the first one of a request.
pub(crate) fn take_expectation() -> Option<Expectation> {
    ACTING.with(|acting| acting.borrow_mut().expectation.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_before_is_back_afterwards_even_after_a_panic() {
        assert_eq!(user(), None);
        on_behalf_of("a@x".to_owned(), || {
            on_behalf_of("b@x".to_owned(), || assert_eq!(user().unwrap(), "b@x"));
            let panicked = std::panic::catch_unwind(|| {
                on_behalf_of("c@x".to_owned(), || panic!("on purpose"));
            });
            assert!(panicked.is_err());
            assert_eq!(user().unwrap(), "a@x");
        });
        assert_eq!(user(), None);
    }
}
