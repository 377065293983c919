//! Looking for the next command for a moment before the thread goes to sleep: being woken up takes longer than a short command does.
//!
//! Whether that serves a client depends on the machine: a client whose core is free is served sooner, one that has to run where the server
//! ran is not. So both ways are tried for a few commands of every thousand, and the one with the shorter way from an answer to
//! the next command is taken. Looking has to be shorter by a good part, and shorter than the moment; a connection that rests is not
//! looked at. Fewer threads look at once than there are cores, so that one is left for the clients: none on a machine with one core.

use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::stream::Stream;

/// Nanoseconds that it is worth to wait for a command rather than to sleep: a few times what being woken up costs.
const USUAL: u64 = 30_000;
/// A connection has a rest after so many moments without a command.
const REST: u64 = 8;
/// Commands taken by looking before other connections have their turn.
const IN_A_ROW: u32 = 16;
/// Commands by which a way is tried.
const TRIAL: u32 = 24;
/// Commands until the other way is tried again.
const TERM: u32 = 1000;
/// Looks in vain, one after the other, by which it is clear that the client needs this core; or more time.
const IN_VAIN: u32 = 3;
/// Commands until looking is tried again after that.
const GIVEN_UP: u32 = 500;

/// The moment, in nanoseconds.
static MOMENT: AtomicU64 = AtomicU64::new(USUAL);
/// Threads that look at present.
static LOOKING: AtomicUsize = AtomicUsize::new(0);
/// How many may.
static MOST: LazyLock<usize> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_sub(1)
});

/// How long servers of this process look for the next command of a client before the thread sleeps, where that makes answers faster;
/// without a call 30 microseconds. Zero: they never do.
pub fn linger_for(moment: Duration) {
    MOMENT.store(nanoseconds(moment), Ordering::Relaxed);
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How one connection is waited for.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    answered: Option<Instant>,
    ways: Ways,
    /// The command that is waited for now was looked for.
    looked: bool,
    in_a_row: u32,
}

impl Linger {
    /// An answer was sent.
    pub(crate) fn answered(&mut self) {
        self.answered = Some(Instant::now());
        self.looked = false;
    }

    /// Something arrived that the thread slept for.
    pub(crate) fn arrived(&mut self) {
        self.in_a_row = 0;
        if let Some(answered) = self.answered.take() {
            let took = nanoseconds(answered.elapsed());
            self.ways.note(self.looked, took, moment());
        }
    }

    /// Whether other connections have their turn now.
    pub(crate) fn owes_a_turn(&mut self) -> bool {
        let owes = self.in_a_row >= IN_A_ROW;
        if owes {
            self.in_a_row = 0;
        }
        owes
    }

    /// How many bytes arrive within a moment; `None` if none do, or nobody should wait for them here.
    pub(crate) fn look(&mut self, stream: &Stream, room: &mut [u8]) -> Option<io::Result<usize>> {
        let moment = moment();
        let answered = self.answered?;
        if moment == 0 || !self.ways.looks() || room.is_empty() {
            return None;
        }
        let _place = Place::take()?;
        self.looked = true;
        loop {
            let received = stream.receive_now(room).transpose();
            let took = nanoseconds(answered.elapsed());
            if received.is_some() {
                self.answered = None;
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.ways.note(true, took, moment);
                return received;
            }
            if took >= moment {
                return None;
            }
            std::hint::spin_loop();
        }
    }
}

fn moment() -> u64 {
    MOMENT.load(Ordering::Relaxed)
}

/// The two ways to wait, and how long it takes by each of them from an answer to the next command, in nanoseconds.
#[derive(Debug)]
struct Ways {
    sleeping: Pace,
    looking: Pace,
    looks: bool,
    /// The present way is tried; it has not been chosen.
    on_trial: bool,
    /// Commands until that changes.
    left: u32,
    in_vain: u32,
    rests: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            sleeping: Pace::default(),
            looking: Pace::default(),
            looks: false,
            on_trial: false,
            left: TRIAL,
            in_vain: 0,
            rests: false,
        }
    }
}

impl Ways {
    /// Whether the next command is to be looked for.
    fn looks(&self) -> bool {
        self.looks && !self.rests
    }

    /// A command arrived so long after the answer before.
    fn note(&mut self, looked: bool, took: u64, moment: u64) {
        self.rests = took > moment.saturating_mul(REST);
        if self.rests {
            return;
        }
        let way = if looked {
            &mut self.looking
        } else {
            &mut self.sleeping
        };
        way.note(took);
        self.left = self.left.saturating_sub(1);
        self.in_vain = if looked && took >= moment {
            self.in_vain.saturating_add(1)
        } else {
            0
        };
        if self.in_vain >= IN_VAIN {
            self.give_up();
        } else if self.left == 0 && self.on_trial {
            self.choose();
        } else if self.left == 0 {
            self.on_trial = true;
            self.looks = !self.looks;
            self.left = TRIAL;
        }
    }

    fn choose(&mut self) {
        // It costs time of a core, so it has to be worth something.
        let worth = self.sleeping.0.saturating_sub(self.sleeping.0 / 8);
        self.looks = (1..worth).contains(&self.looking.0);
        self.on_trial = false;
        self.left = TERM;
    }

    fn give_up(&mut self) {
        self.looks = false;
        self.on_trial = false;
        self.left = GIVEN_UP;
        self.in_vain = 0;
        // What led to it is history at the next trial.
        self.looking = Pace::default();
    }
}

/// About the median of what was noted lately; a single delay does not count for more than others.
#[derive(Debug, Default)]
struct Pace(u64);

impl Pace {
    fn note(&mut self, took: u64) {
        let step = (self.0 / 16).max(1);
        self.0 = match self.0 {
            0 => took,
            pace if took > pace => pace.saturating_add(step),
            pace => pace.saturating_sub(step),
        };
    }
}

/// The right to look, until it is dropped.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        // One too many is given back at once.
        let place = Self;
        (LOOKING.fetch_add(1, Ordering::AcqRel) < *MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LOOKING.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 10,000 commands are looked for, if the next one comes after so many nanoseconds where the thread sleeps, and where it
    /// looks.
    fn looked_for(ways: &mut Ways, sleeping: u64, looking: u64) -> u32 {
        let mut count = 0;
        for _ in 0..10_000 {
            let looks = ways.looks();
            count += u32::from(looks);
            let took = if looks { looking } else { sleeping };
            ways.note(looks, took, USUAL);
        }
        count
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_one_tried_now_and_then() {
        let mut ways = Ways::default();
        // It takes a term until a change is noticed.
        let (rarely, mostly) = (100..1_500, 8_500..10_000);
        let never = 0..100;
        for (sleeping, looking, share) in [
            (9_000, 5_000, &mostly),
            (9_000, 15_000, &rarely),
            (20_000, 19_000, &rarely),
            (9_000, 5_000, &mostly),
            (9_000, 50_000, &never),
            // A client that needs longer than a moment between two commands.
            (40_000, 45_000, &never),
            (40_000, 35_000, &never),
        ] {
            let count = looked_for(&mut ways, sleeping, looking);
            assert!(share.contains(&count), "{sleeping} {looking}: {count}");
        }
    }

    #[test]
    fn a_connection_that_rests_is_not_looked_at() {
        let mut ways = Ways::default();
        assert_eq!(looked_for(&mut ways, 1_000_000, 1_000_000), 0);
        assert!(looked_for(&mut ways, 9_000, 5_000) > 9_000);
        assert!(looked_for(&mut ways, 1_000_000, 1_000_000) <= 1);
    }

    #[test]
    fn a_delay_now_and_then_is_no_reason_to_change() {
        let mut ways = Ways::default();
        let mut looked = 0;
        for command in 0..10_000 {
            let looks = ways.looks();
            looked += u32::from(looks);
            let delay = if command % 20 == 0 { 100_000 } else { 0 };
            let took = if looks { 5_000 } else { 9_000 };
            ways.note(looks, took + delay, USUAL);
        }
        assert!(looked > 9_500, "{looked}");
    }

    #[test]
    fn others_have_their_turn() {
        let mut linger = Linger::default();
        for _ in 0..3 {
            assert!(!linger.owes_a_turn());
            linger.in_a_row = IN_A_ROW;
            assert!(linger.owes_a_turn());
        }
    }
}
