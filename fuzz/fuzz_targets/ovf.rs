//! Any bytes as a package of VMs: archive, descriptor or manifest.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vm_inventory::ovf::fuzzing::package(bytes));
