//! Symmetric primitives (Part 3, 15).

mod encrypt_decrypt;
mod encrypt_decrypt2;
mod hash;
mod mac;
