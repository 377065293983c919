//! On whose behalf this thread works, so that tasks and the audit log name somebody without every operation passing a name on.

use crate::once::RequestKey;
use std::cell::RefCell;

thread_local! {
    static USER: RefCell<Option<String>> = const { RefCell::new(None) };
    static REQUEST: RefCell<Option<RequestKey>> = const { RefCell::new(None) };
}

/// Puts back who was there before, also when the work panics.
struct Restore(Option<String>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        USER.with(|user| *user.borrow_mut() = before);
    }
}

/// Does `work` on behalf of `name`.
pub(crate) fn on_behalf_of<T>(name: String, work: impl FnOnce() -> T) -> T {
    let _restore = Restore(USER.with(|user| user.borrow_mut().replace(name)));
    work()
}

/// Who it is; `None` for what the daemon does by itself.
pub(crate) fn user() -> Option<String> {
    USER.with(|user| user.borrow().clone())
}

/// Puts back which request it was before.
struct RestoreRequest(Option<RequestKey>);

impl Drop for RestoreRequest {
    fn drop(&mut self) {
        let before = self.0.take();
        REQUEST.with(|request| *request.borrow_mut() = before);
    }
}

/// Does `work` because of the request with that key.
pub(crate) fn because_of<T>(key: RequestKey, work: impl FnOnce() -> T) -> T {
    let _restore = RestoreRequest(REQUEST.with(|request| request.borrow_mut().replace(key)));
    work()
}

/// Which request it is, if it has a key.
pub(crate) fn request() -> Option<RequestKey> {
    REQUEST.with(|request| request.borrow().clone())
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
