//! What `vtpm swtpm socket` can print about itself, in swtpm's JSON.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use tpm_server::{Device, MemoryStore, Settings};
use vtpm_host::FolderStore;

use crate::cli::{Threads, runtime};
use crate::platform;

/// The features that callers ask for by name, as far as they are there: before the sizes of RSA keys, and behind them.
const FEATURES: [&str; 13] = [
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
    "nvram-backend-file",
];
const MORE_FEATURES: [&str; 9] = [
    "cmdarg-profile",
    "cmdarg-print-profiles",
    "profile-opt-remove-disabled",
    "cmdarg-print-info",
    "tpmstate-opt-lock",
    "tpmstate-dir-backend-opt-backup",
    "tpmstate-dir-backend-opt-fsync",
    "cmdarg-pcap",
    "systemd-notify",
];
/// GET_INFO's flags for the features of the TPM, for all that a profile can choose, and for the built-in profiles.
const TPM_FEATURES: u64 = 4;
const CHOICES: u64 = 0x18;
const AVAILABLE_PROFILES: u64 = 0x40;

/// What the program can do; which profiles there are stands in it for a TPM 2.0 only, as with swtpm.
pub(super) fn capabilities(tpm2: bool) -> anyhow::Result<ExitCode> {
    let flags = TPM_FEATURES | CHOICES | AVAILABLE_PROFILES;
    let info: Value =
        serde_json::from_str(&runtime(Threads::One)?.block_on(new_tpm().info(flags))?)?;
    let list = |pointer: &str| {
        let items = info.pointer(pointer).and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    };
    let sizes = list("/TPMFeatures/RSAKeySizes");
    let sizes = sizes.iter().map(|size| format!("rsa-keysize-{size}"));
    let features: Vec<String> = FEATURES
        .iter()
        .map(|feature| (*feature).to_owned())
        .chain(sizes)
        .chain(MORE_FEATURES.iter().map(|feature| (*feature).to_owned()))
        .map(|feature| format!("\"{feature}\""))
        .collect();
    let names: Vec<String> = list("/AvailableProfiles")
        .iter()
        .filter_map(|profile| profile.get("Name"))
        .map(Value::to_string)
        .collect();
    let choice = |name: &str| {
        let text = |field| {
            let value = info.pointer(&format!("/{name}/{field}"));
            value.and_then(Value::as_str).unwrap_or_default()
        };
        format!(
            r#"{{ "canbedisabled": "{}", "implemented": "{}" }}"#,
            text("CanBeDisabled"),
            text("Implemented")
        )
    };
    let profiles = if tpm2 {
        format!(
            r#""names": [ {} ], "algorithms": {}, "commands": {} "#,
            names.join(", "),
            choice("RuntimeAlgorithms"),
            choice("RuntimeCommands")
        )
    } else {
        String::new()
    };
    // In this order and with these spaces, as there are scripts that look for the text.
    print(&format!(
        r#"{{ "type": "swtpm", "features": [ {} ], "profiles": {{ {profiles}}}, "version": "{}" }}"#,
        features.join(", "),
        super::SWTPM_VERSION
    ))
}

/// A TPM that nobody keeps.
fn new_tpm() -> Device {
    let settings = Settings {
        profile: None,
        platform: platform::real(),
        auto_shutdown: false,
        incoming: false,
    };
    Device::new(Box::new(MemoryStore::default()), settings)
}

/// The profiles that are built in.
pub(super) fn profiles() -> anyhow::Result<ExitCode> {
    runtime(Threads::One)?.block_on(info(&new_tpm(), AVAILABLE_PROFILES))
}

/// The kinds and sizes of the state in a folder; if there is none, of swtpm's, which has yet to be imported.
pub(super) fn states(store: &mut FolderStore, folder: &Path) -> anyhow::Result<ExitCode> {
    let mut sizes = store.sizes()?;
    if sizes.is_empty() {
        let files = [
            ("permall", crate::import::STATE_FILE),
            ("volatilestate", crate::import::VOLATILE_FILE),
        ];
        let theirs = files.into_iter().filter_map(|(name, file)| {
            let file = std::fs::metadata(folder.join(file)).ok()?;
            Some((name, usize::try_from(file.len()).ok()?))
        });
        sizes.extend(theirs);
    }
    let states: Vec<String> = sizes
        .into_iter()
        .map(|(name, size)| format!(r#"{{"name": "{name}", "size": {size}}}"#))
        .collect();
    let states = match states.as_slice() {
        [] => String::new(),
        states => format!(" {} ", states.join(", ")),
    };
    print(&format!(r#"{{ "type": "swtpm", "states": [{states}] }}"#))
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
