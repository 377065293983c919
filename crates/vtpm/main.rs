//! `vtpm`: virtual TPM 2.0 devices for virtual machines, and the encrypted files they live in.

mod cli;
mod config;
mod confine;
mod daemon;
mod import;
mod trace;

use vtpm_host::platform;

fn main() -> std::process::ExitCode {
    cli::main()
}
