//! `libtss2-tcti-vtpm.so`: a TPM in the process of any program that uses tpm2-tss, without a server.
//!
//! tpm2-tss loads it for the TCTI `vtpm` (TCG TSS 2.0 TCTI specification, version 2 of its interface). Without configuration the
//! TPM is new and gone with the process; `vtpm:dir=D` keeps it in the same encrypted folder as `vtpm swtpm --tpmstate dir=D`.
//! Between two processes such a TPM is like a chip that stays powered: what was loaded stays loaded.
//!
//! All that is unsafe is in `abi`, which turns pointers into references and calls `connection`; no panic
//! gets past it.

mod abi;
mod block_on;
mod config;
mod connection;
mod rc;

pub use abi::{Tss2_Tcti_Info, Tss2_Tcti_Vtpm_Init};
