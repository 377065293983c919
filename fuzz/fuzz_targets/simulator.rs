//! Any bytes on the two ports of the simulator's protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tpm_server::fuzzing::simulator_ports(bytes));
