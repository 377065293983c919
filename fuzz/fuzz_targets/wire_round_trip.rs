//! What every field and every parameter area of the command table reads, it writes as the same bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tpm_engine::testing::wire_round_trip(bytes));
