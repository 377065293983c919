//! Management functions (Part 3, 26).

mod pp_commands;
mod set_algorithm_set;
