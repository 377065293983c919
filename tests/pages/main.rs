//! The pages, as people have them: with a browser, with keys alone, without scripts, and with bad intentions.
//!
//! Pictures of every page are left in `target/tmp/pages`.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod intruders;
mod keyboard;
mod looks;
mod setup;
mod visitor;
