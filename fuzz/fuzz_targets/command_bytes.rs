//! Any bytes as one command to a started TPM.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tpm_engine::testing::execute_command_bytes(data));
