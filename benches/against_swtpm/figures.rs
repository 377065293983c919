//! Medians, and the line they stand in.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::server::Transport;

/// The head of the table; microseconds.
pub(crate) const HEADER: &str = "\
operation                     over   swtpm: median     p99   CPU   vtpm: median     p99   CPU   ratio";

/// What was measured on one side, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    median: f64,
    p99: f64,
    cpu: f64,
    samples: usize,
}

impl Figures {
    /// From every latency, and the CPU time of all of them together in nanoseconds.
    pub(crate) fn new(samples: &mut [Duration], cpu: u64) -> Self {
        samples.sort_unstable();
        let at = |hundredths: usize| {
            let place = samples.len().saturating_sub(1) * hundredths / 100;
            samples
                .get(place)
                .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
        };
        let count = u32::try_from(samples.len().max(1)).unwrap_or(u32::MAX);
        Self {
            median: at(50),
            p99: at(99),
            cpu: Duration::from_nanos(cpu).as_secs_f64() * 1e6 / f64::from(count),
            samples: samples.len(),
        }
    }
}

/// One operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    operation: String,
    over: &'static str,
    swtpm: Figures,
    vtpm: Figures,
    ratio: f64,
}

impl Row {
    pub(crate) fn new(operation: &str, over: Transport, swtpm: Figures, vtpm: Figures) -> Self {
        Self {
            operation: operation.to_owned(),
            over: over.name(),
            ratio: swtpm.median / vtpm.median,
            swtpm,
            vtpm,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<29} {:<4} {:>16.1} {:>7.0} {:>5.0} {:>14.1} {:>7.0} {:>5.0} {:>7.2}",
            self.operation,
            self.over,
            self.swtpm.median,
            self.swtpm.p99,
            self.swtpm.cpu,
            self.vtpm.median,
            self.vtpm.p99,
            self.vtpm.cpu,
            self.ratio
        )
    }
}
