//! Duplication (Part 3, 13).

mod duplicate;
mod import;
mod rewrap;
