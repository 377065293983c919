//! Part 1 cryptography of the TPM 2.0 library: pure functions, randomness passed in.
//!
//! Nothing here knows a command, a handle or a state; the engine decides what to compute, this crate computes it.
#![no_std]
extern crate alloc;

pub mod drbg;
pub mod ecc;
pub mod hash;
pub mod kdf;
pub mod libtpms;
pub mod prime;
pub mod rsa;
pub mod symmetric;
