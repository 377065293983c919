//! Signing and verifying (Part 3, 20).

mod sign;
mod verify_signature;
