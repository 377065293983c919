//! Keeps clients from filling the log: what one of them can cause at will is said once, and again only after a while.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long nothing of the kind is said again.
const QUIET: Duration = Duration::from_secs(600);

/// Lets the first log line of a kind through, and then one now and then.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Option<Instant>>);

impl Gate {
    /// Whether a line may be written now.
    pub(crate) fn opens(&self) -> bool {
        self.opens_at(Instant::now())
    }

    fn opens_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opens = last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        if opens {
            *last = Some(now);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_passes_and_the_next_one_after_a_while() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert!(gate.opens_at(start));
        assert!(!gate.opens_at(start));
        assert!(!gate.opens_at(start + QUIET / 2));
        assert!(gate.opens_at(start + QUIET));
        assert!(!gate.opens_at(start + QUIET));
    }
}
