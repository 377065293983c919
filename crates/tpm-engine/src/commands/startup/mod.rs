//! Startup and shutdown (Part 3, 9).

mod shutdown;
#[expect(clippy::module_inception, reason = "chapter and command have one name")]
mod startup;
