//! Asymmetric primitives (Part 3, 14).

mod ecc_decrypt;
mod ecc_encrypt;
mod ecc_parameters;
mod ecdh_key_gen;
mod ecdh_zgen;
mod rsa_decrypt;
mod rsa_encrypt;
mod zgen_2phase;
