//! `vtpm`: virtual TPM 2.0 devices for virtual machines, and the encrypted files they live in.

mod cli;
mod config;
mod confine;
mod daemon;
mod import;
mod trace;

use vtpm_host::platform;

/// Wipes what is freed: keys and state also pass through buffers of libraries that do not wipe theirs, and a vector that grows
/// leaves its old place as it was.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    cli::main()
}
