//! Any bytes as the files of a VM.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vm_store::fuzzing::vm_file(bytes));
