//! Signing and verifying (Part 3, 20).

#[cfg(test)]
pub(crate) mod build;
mod sign;
mod verify_signature;
