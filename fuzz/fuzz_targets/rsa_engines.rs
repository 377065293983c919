//! Numbers of any length on both engines for RSA: they agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tpm_rsa_ifma::fuzzing::engines_agree(bytes));
