//! Clocks and timers (Part 3, 29).

#[cfg(test)]
pub(crate) mod build;
mod clock_rate_adjust;
mod clock_set;
mod read_clock;
