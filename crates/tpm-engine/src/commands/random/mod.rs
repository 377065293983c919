//! Random numbers (Part 3, 16).

mod get_random;
mod stir_random;
