//! What `vtpm swtpm socket` can print about itself, in swtpm's JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;
use tpm_server::{Device, MemoryStore, Settings};
use vtpm_host::FolderStore;

use crate::cli::{Threads, runtime};
use crate::platform;

/// The features that callers ask for by name, as far as they are there.
const FEATURES: [&str; 19] = [
    "tpm-2.0",
    "tpm-send-command-header",
    "flags-opt-startup",
    "flags-opt-disable-auto-shutdown",
    "ctrl-opt-terminate",
    "cmdarg-seccomp",
    "cmdarg-key-fd",
    "cmdarg-pwd-fd",
    "cmdarg-print-states",
    "cmdarg-chroot",
    "cmdarg-migration",
    "nvram-backend-dir",
    "cmdarg-profile",
    "cmdarg-print-profiles",
    "cmdarg-print-info",
    "cmdarg-pcap",
    "tpmstate-opt-lock",
    "tpmstate-dir-backend-opt-fsync",
    "systemd-notify",
];
/// GET_INFO's flag for the features of the TPM.
const TPM_FEATURES: u64 = 4;
/// And the one for the built-in profiles.
const AVAILABLE_PROFILES: u64 = 0x40;

pub(super) fn capabilities() -> anyhow::Result<ExitCode> {
    let settings = Settings {
        profile: None,
        platform: platform::real(),
        auto_shutdown: false,
        incoming: false,
    };
    let device = Device::new(Box::new(MemoryStore::default()), settings);
    let info: Value =
        serde_json::from_str(&runtime(Threads::One)?.block_on(device.info(TPM_FEATURES))?)?;
    let sizes = info
        .pointer("/TPMFeatures/RSAKeySizes")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let sizes = sizes.iter().map(|size| format!("rsa-keysize-{size}"));
    let features: Vec<String> = FEATURES
        .iter()
        .map(|feature| (*feature).to_owned())
        .chain(sizes)
        .map(|feature| format!("\"{feature}\""))
        .collect();
    // In this order and with these spaces, as there are scripts that look for the text.
    print(&format!(
        r#"{{ "type": "swtpm", "features": [ {} ], "version": "{}" }}"#,
        features.join(", "),
        env!("CARGO_PKG_VERSION")
    ))
}

/// The profiles that are built in.
pub(super) fn profiles() -> anyhow::Result<ExitCode> {
    let settings = Settings {
        profile: None,
        platform: platform::real(),
        auto_shutdown: false,
        incoming: false,
    };
    let device = Device::new(Box::new(MemoryStore::default()), settings);
    runtime(Threads::One)?.block_on(info(&device, AVAILABLE_PROFILES))
}

pub(super) fn states(store: &mut FolderStore) -> anyhow::Result<ExitCode> {
    let states: Vec<String> = store
        .sizes()?
        .into_iter()
        .map(|(name, size)| format!(r#"{{"name": "{name}", "size": {size}}}"#))
        .collect();
    print(&format!(
        r#"{{ "type": "swtpm", "states": [ {} ] }}"#,
        states.join(", ")
    ))
}

pub(super) async fn info(device: &Device, flags: u64) -> anyhow::Result<ExitCode> {
    print(&device.info(flags).await?)
}

/// Reads flags in decimal, or in hexadecimal after `0x`.
pub(crate) fn parse_flags(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

fn print(value: &str) -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{value}")?;
    Ok(ExitCode::SUCCESS)
}
