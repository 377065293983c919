//! Capabilities (Part 3, 30).

mod get_capability;
mod set_capability;
mod test_parms;
