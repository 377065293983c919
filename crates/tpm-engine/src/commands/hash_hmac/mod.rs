//! Hash, HMAC and event sequences (Part 3, 17).

mod event_sequence_complete;
mod hash_sequence_start;
mod mac_start;
mod sequence_complete;
mod sequence_update;
