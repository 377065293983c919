//! Clocks and timers (Part 3, 29).

mod clock_rate_adjust;
mod clock_set;
mod read_clock;
