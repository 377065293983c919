//! Ephemeral keys (Part 3, 19).

mod commit;
mod ec_ephemeral;
