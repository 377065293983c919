//! What is known of a TPM from its quotes before, and the alarm when two of it are alive.
//!
//! A TPM's clock and counts only go forward (Part 1, 36.2 to 36.5). A copy of a TPM begins with the counts of the first and goes its
//! own way: sooner or later a quote comes that is behind one that came before, or a clock that ran faster than time. Either shows
//! that two TPMs answer under one identity, or that one was put back to an earlier state; and neither can be taken back.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tpm_wire::attest::TpmsClockInfo;

use super::check::{Rule, Verdict};

/// Most sightings that are remembered.
const MOST_SIGHTINGS: usize = 64;
/// How much faster than time a TPM's clock may run, in parts of a hundred (PC Client Platform TPM Profile, 4.4).
const CLOCK_TOLERANCE: u32 = 15;
/// What the way of a quote may take.
const TRAVEL: Duration = Duration::from_secs(5);

/// What one quote told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// Who sent it, as far as the verifier knows: a VM, an address.
    pub source: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// When the question was given out that it answers, if it was one of the verifier's: the TPM signed between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// Milliseconds that the TPM was powered.
    pub clock: u64,
    /// How often it was reset.
    pub reset_count: u32,
    /// How often it resumed since.
    pub restart_count: u32,
    /// Whether no greater clock was ever reported.
    pub safe: bool,
}

/// Two TPMs under one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneAlarm {
    /// The quote that cannot come from the TPM that sent the other.
    pub quote: Sighting,
    /// The twin: what was seen before.
    pub twin: Sighting,
    /// Why both cannot be one.
    pub reason: String,
}

/// The quotes of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The latest ones, the latest last.
    #[serde(default)]
    pub sightings: Vec<Sighting>,
    /// The alarm, once it has rung: the identity is spoiled until its TPM is enrolled anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<CloneAlarm>,
}

impl Sighting {
    /// What a quote told that came from `source` at `now`, about a question that was given out at `asked`.
    #[must_use]
    pub fn new(
        source: &str,
        clock: &TpmsClockInfo,
        asked: Option<SystemTime>,
        now: SystemTime,
    ) -> Self {
        Self {
            source: source.to_owned(),
            at: milliseconds(now),
            asked: asked.map(milliseconds),
            clock: clock.clock,
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            safe: clock.safe,
        }
    }

    /// Whether the TPM may have signed this one before the other, although it came after it: its question was out by then. Quotes
    /// overtake each other on a slow way, and where one that was given up is judged after the next. Where the verifier's own time was
    /// set back between the two, what came later is later.
    fn may_precede(&self, other: &Self) -> bool {
        let asked = self.asked.unwrap_or(self.at);
        asked < other.at && other.at <= self.at
    }

    fn counts(&self) -> String {
        format!(
            "reset {}, restart {}, clock {} ms",
            self.reset_count, self.restart_count, self.clock
        )
    }
}

/// Milliseconds since 1970.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Whether a count went back. Keys outside the endorsement hierarchy see counts with a constant added, which may run over
/// (Part 1, 36.7).
const fn went_back(from: u32, to: u32) -> bool {
    to.wrapping_sub(from) > u32::MAX / 2
}

impl History {
    /// Judges a quote by those before it, and remembers it.
    pub fn judge(&mut self, verdict: &mut Verdict, quote: Sighting) {
        if let Some(alarm) = &self.alarm {
            verdict.fail(
                Rule::HistoryClone,
                format!(
                    "this identity has had its alarm, {}; enrol the TPM anew",
                    alarm.reason
                ),
            );
            return;
        }
        let fork = self.sightings.iter().rev().find_map(|before| {
            let reason = fork(before, &quote)?;
            Some((before.clone(), reason))
        });
        match fork {
            None => {
                let detail = quote.counts();
                verdict.pass(Rule::QuoteClock, detail);
                verdict.pass(
                    Rule::HistoryClone,
                    format!(
                        "{} quotes before this one, none from a twin",
                        self.sightings.len()
                    ),
                );
                self.sightings.push(quote);
                let surplus = self.sightings.len().saturating_sub(MOST_SIGHTINGS);
                self.sightings.drain(..surplus);
            }
            Some((twin, reason)) => {
                verdict.fail(Rule::QuoteClock, reason.clone());
                let who = if twin.source == quote.source {
                    format!("'{}' is two, or was put back", quote.source)
                } else {
                    format!(
                        "'{}' and '{}' are two TPMs under one identity",
                        twin.source, quote.source
                    )
                };
                let reason = format!(
                    "{who}: '{}' showed {}, and then '{}' showed {}",
                    twin.source,
                    twin.counts(),
                    quote.source,
                    quote.counts()
                );
                verdict.fail(Rule::HistoryClone, reason.clone());
                self.alarm = Some(CloneAlarm {
                    quote,
                    twin,
                    reason,
                });
            }
        }
    }
}

/// Why the second of two quotes cannot come from the TPM that sent the first.
fn fork(first: &Sighting, second: &Sighting) -> Option<String> {
    let reason = contradiction(first, second)?;
    let fits = second.may_precede(first) && contradiction(second, first).is_none();
    (!fits).then_some(reason)
}

/// Why the TPM that signed one quote cannot have signed the other afterwards.
fn contradiction(before: &Sighting, after: &Sighting) -> Option<String> {
    if went_back(before.reset_count, after.reset_count) {
        return Some(format!(
            "the reset count went back from {} to {}",
            before.reset_count, after.reset_count
        ));
    }
    let same_boot = before.reset_count == after.reset_count;
    if same_boot && went_back(before.restart_count, after.restart_count) {
        return Some(format!(
            "the restart count went back from {} to {}",
            before.restart_count, after.restart_count
        ));
    }
    // After a power cut the clock may go back to what was stored last, and says so itself by not being safe.
    let must_rise = same_boot || after.safe;
    if must_rise && after.clock < before.clock {
        return Some(format!(
            "the clock went back from {} ms to {} ms",
            before.clock, after.clock
        ));
    }
    // A verifier whose own time was set back cannot tell how fast a clock ran.
    let passed = after.at.checked_sub(before.asked.unwrap_or(before.at))?;
    let most = u128::from(passed) * u128::from(100 + CLOCK_TOLERANCE) / 100 + TRAVEL.as_millis();
    let ran = u128::from(after.clock.saturating_sub(before.clock));
    (same_boot && before.restart_count == after.restart_count && ran > most)
        .then(|| format!("the clock ran {ran} ms in {passed} ms of time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(
        source: &str,
        at: u64,
        clock: u64,
        reset_count: u32,
        restart_count: u32,
    ) -> Sighting {
        Sighting {
            source: source.to_owned(),
            at,
            asked: None,
            clock,
            reset_count,
            restart_count,
            safe: true,
        }
    }

    fn judged(quotes: &[Sighting]) -> (bool, History) {
        let mut history = History::default();
        let mut trusted = true;
        for quote in quotes {
            let mut verdict = Verdict::default();
            history.judge(&mut verdict, quote.clone());
            trusted = verdict.is_trusted();
        }
        (trusted, history)
    }

    #[test]
    fn one_tpm_that_goes_on_and_is_restarted_is_trusted() {
        let (trusted, history) = judged(&[
            sighting("a", 0, 1_000, 1, 0),
            sighting("a", 60_000, 61_000, 1, 0),
            sighting("a", 90_000, 80_000, 1, 1),
            sighting("a", 200_000, 90_000, 2, 0),
        ]);
        assert!(trusted && history.alarm.is_none());
    }

    #[test]
    fn whatever_goes_back_rings_and_names_the_twin() {
        for (later, word) in [
            (sighting("b", 2_000, 9_000, 2, 1), "reset 2"),
            (sighting("b", 2_000, 9_000, 3, 0), "restart 0"),
            (sighting("b", 2_000, 4_999, 3, 1), "clock 4999"),
            (sighting("b", 2_000, 900_000, 3, 1), "clock 900000"),
        ] {
            let (trusted, history) = judged(&[sighting("a", 1_000, 5_000, 3, 1), later]);
            let alarm = history.alarm.unwrap();
            assert!(!trusted);
            assert_eq!(
                (alarm.twin.source.as_str(), alarm.quote.source.as_str()),
                ("a", "b")
            );
            assert!(alarm.reason.contains(word), "{}", alarm.reason);
        }
    }

    #[test]
    fn a_copy_that_looks_like_a_restart_is_noticed_when_the_first_answers_again() {
        let quotes = [
            sighting("web01", 0, 5_000, 1, 0),
            sighting("web01-copy", 1_000, 5_000, 2, 0),
            sighting("web01", 2_000, 7_000, 1, 0),
        ];
        assert!(judged(&quotes[..2]).0);
        let (trusted, history) = judged(&quotes);
        assert!(!trusted);
        assert_eq!(history.alarm.unwrap().twin.source, "web01-copy");
    }

    #[test]
    fn after_the_alarm_neither_is_trusted() {
        let (trusted, _) = judged(&[
            sighting("a", 0, 5_000, 2, 0),
            sighting("b", 1_000, 5_000, 1, 0),
            sighting("a", 2_000, 7_000, 2, 0),
        ]);
        assert!(!trusted);
    }

    #[test]
    fn counts_with_a_constant_added_may_run_over_and_a_power_cut_may_cost_clock() {
        let (trusted, _) = judged(&[
            sighting("a", 0, 5_000, u32::MAX, 0),
            sighting("a", 1_000, 6_000, 1, 0),
        ]);
        assert!(trusted);
        let mut after = sighting("a", 1_000, 4_000, 2, 0);
        after.safe = false;
        assert!(judged(&[sighting("a", 0, 5_000, 1, 0), after]).0);
    }

    #[test]
    fn a_verifier_whose_time_was_set_back_rings_no_alarm_for_that() {
        let first = sighting("a", 900_000, 5_000, 1, 0);
        assert!(judged(&[first.clone(), sighting("a", 100_000, 65_000, 1, 0)]).0);
        // What goes back is noticed whatever the time is.
        assert!(!judged(&[first, sighting("a", 100_000, 4_000, 1, 0)]).0);
    }

    #[test]
    fn quotes_that_overtake_each_other_ring_no_alarm_and_those_that_cannot_have_do() {
        let asked = |asked: u64, sighting: Sighting| Sighting {
            asked: Some(asked),
            ..sighting
        };
        let first = asked(9_000, sighting("a", 10_000, 5_000, 3, 1));
        for (asked_at, later, trusted) in [
            // The question was out before the other answer came: this one was signed first and took longer.
            (8_000, sighting("a", 12_000, 4_000, 3, 1), true),
            (8_000, sighting("a", 12_000, 4_000, 3, 0), true),
            (8_000, sighting("a", 12_000, 4_000, 2, 0), true),
            // It was asked for after the other had come.
            (10_000, sighting("b", 12_000, 4_000, 3, 1), false),
            (10_000, sighting("b", 12_000, 4_000, 2, 0), false),
            // Neither can have been before the other.
            (8_000, sighting("b", 12_000, 6_000, 3, 0), false),
            (8_000, sighting("b", 12_000, 900_000, 3, 1), false),
            // The verifier's time was set back meanwhile.
            (7_000, sighting("b", 8_000, 4_000, 3, 1), false),
        ] {
            let quotes = [first.clone(), asked(asked_at, later)];
            assert_eq!(judged(&quotes).0, trusted, "{quotes:?}");
        }
    }

    #[test]
    fn a_quote_that_took_long_does_not_make_the_next_ones_clock_a_fast_one() {
        // Signed when it was asked for, and half a minute on its way.
        let mut slow = sighting("a", 40_000, 10_000, 1, 0);
        slow.asked = Some(10_000);
        let mut next = sighting("a", 41_000, 41_000, 1, 0);
        next.asked = Some(40_900);
        assert!(judged(&[slow, next]).0);
    }

    #[test]
    fn a_history_is_bounded() {
        let quotes: Vec<Sighting> = (0..200)
            .map(|n| sighting("a", n * 1_000, n * 1_000, 1, 0))
            .collect();
        let (trusted, history) = judged(&quotes);
        assert!(trusted);
        assert_eq!(history.sightings.len(), MOST_SIGHTINGS);
    }
}
