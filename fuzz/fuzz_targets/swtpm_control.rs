//! Any bytes on swtpm's data and control channel.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tpm_server::fuzzing::swtpm_channels(bytes));
