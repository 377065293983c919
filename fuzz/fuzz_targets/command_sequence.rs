//! Sequences of commands on a TPM in use: the fuzzer's bytes choose them.
#![no_main]

use std::sync::LazyLock;
use tpm_engine::testing::Sequences;

static SEQUENCES: LazyLock<Sequences> = LazyLock::new(Sequences::new);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    SEQUENCES.execute(bytes);
});
