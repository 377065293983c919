//! How fast an operation on many VMs gets on.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Counts what is done of many.
pub(super) struct Pace {
    began: Instant,
    done: AtomicUsize,
    total: usize,
}

impl Pace {
    pub(super) fn begin(total: usize) -> Self {
        Self {
            began: Instant::now(),
            done: AtomicUsize::new(0),
            total,
        }
    }

    /// One more is done: how many that are by now, and how many a second, as a step for people. For one there is no more to say
    /// than what it is.
    pub(super) fn step(&self, doing: &str) -> Cow<'static, str> {
        let done = self.done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let seconds = self.began.elapsed().as_secs_f64().max(1e-6);
        if self.total < 2 {
            return Cow::Owned(doing.to_owned());
        }
        let rate = f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / seconds;
        Cow::Owned(format!(
            "{doing}: {done} of {}, {rate:.1} a second",
            self.total
        ))
    }

    /// How much that is of so many per cent.
    pub(super) fn percent(&self, most: u8) -> u8 {
        let done = self.done.load(Ordering::Relaxed).min(self.total);
        let share = done.saturating_mul(usize::from(most)) / self.total.max(1);
        u8::try_from(share).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_how_many_are_done_and_how_fast() {
        let pace = Pace::begin(3);
        assert_eq!(pace.percent(90), 0);
        let step = pace.step("making the VMs");
        assert!(step.starts_with("making the VMs: 1 of 3, ") && step.ends_with(" a second"));
        assert_eq!(pace.percent(90), 30);
        assert!(pace.step("making").starts_with("making: 2 of 3"));
        pace.step("making");
        assert_eq!(pace.percent(90), 90);
        assert_eq!(Pace::begin(1).step("making"), "making");
        assert_eq!(Pace::begin(0).percent(90), 0);
    }
}
