//! `vtpm swtpm-bios`: what swtpm_bios does: the few TPM commands that firmware sends after power-on.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::log::complain;
use super::swtpm_client::{Address, Declared, read_options};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Header of a response.
const HEADER: usize = 10;
const LONGEST_RESPONSE: usize = 4096;
/// Bytes of the platform's new password: a value that no bank of any profile is too small for.
const PASSWORD: usize = 20;
/// The TPM answered with an error.
const TPM_ERROR: u8 = 128;
/// The TPM could not be talked to.
const NO_TPM: u8 = 255;

const OPTIONS: [Declared; 15] = [
    ("tpm-device", 1),
    ("tcp", 1),
    ("unix", 1),
    ("c", 0),
    ("d", 0),
    ("h", 0),
    ("v", 0),
    ("n", 0),
    ("s", 0),
    ("o", 0),
    ("cs", 0),
    ("ea", 0),
    ("u", 0),
    ("tpm2", 0),
    ("help", 0),
];

const HELP: &str = "\
Sends a TPM 2.0 what firmware sends after power-on, as swtpm_bios does

Usage: swtpm_bios --tpm2 [--tcp [HOST]:[PORT] | --unix PATH | --tpm-device PATH] [OPTIONS]

Where the TPM is (else by TCSD_USE_TCP_DEVICE, TCSD_TCP_DEVICE_HOSTNAME and TCSD_TCP_DEVICE_PORT, or TPM_DEVICE, or /dev/tpm0):
  --tcp [HOST]:[PORT]   TCP; 127.0.0.1 and 6545 unless given
  --unix PATH           a unix socket
  --tpm-device PATH     a character device

What is sent:
  -c                    Startup(CLEAR); so it is unless told otherwise
  -s                    Startup(STATE)
  -n, -d                no Startup
  -o                    nothing but the Startup
  -cs                   IncrementalSelfTest too
  -u                    a random password for the platform hierarchy too
  -ea                   taken and ignored: a TPM 2.0 is always activated
  --tpm2                a TPM 2.0; there is no other
  -v                    print the version
  -h                    print this

The exit code is 0 on success, 128 if the TPM answered with an error, 255 if it could not be reached, 1 for wrong options.
";

/// Sends what firmware sends after power-on: swtpm_bios's options; `vtpm swtpm-bios -h` lists them
#[derive(Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct SwtpmBios {
    /// swtpm_bios's options
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    arguments: Vec<String>,
}

impl SwtpmBios {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let (given, others) = read_options(&self.arguments, &OPTIONS)?;
        if let Some(other) = others.first() {
            bail!("'{other}' is no option");
        }
        let has = |name| given.iter().any(|given| given.name == name);
        if has("h") || has("help") {
            return print(HELP.trim_end());
        }
        if has("v") {
            return print(&format!("swtpm_bios (vtpm) {}", super::swtpm::VERSION));
        }
        if !has("tpm2") {
            bail!("a TPM 1.2 is not supported: say --tpm2");
        }
        let mut address = None;
        let mut startup = Some(0_u16);
        for option in &given {
            if let Some(place) = Address::in_option(option)? {
                address = Some(place);
            }
            match option.name {
                "c" => startup = Some(0),
                "s" => startup = Some(1),
                "n" | "d" => startup = None,
                _ => {}
            }
        }
        let address = match address {
            Some(address) => address,
            None => from_environment()?,
        };
        let mut commands = Vec::new();
        if let Some(kind) = startup {
            commands.push(("TPM2_Startup", startup_command(kind)));
        }
        if has("cs") && !has("o") {
            commands.push(("TPM2_IncrementalSelfTest", self_test_command()));
        }
        if has("u") && !has("o") {
            commands.push(("TPM2_HierarchyChangeAuth", change_platform_password()?));
        }
        let mut code = 0;
        for (name, command) in commands {
            match talk(&address, &command) {
                Ok(0) => {}
                Ok(error) => {
                    writeln!(io::stdout(), "{name} returned error code 0x{error:08x}")?;
                    code = TPM_ERROR;
                }
                Err(error) => {
                    complain(&error.context(name));
                    return Ok(ExitCode::from(NO_TPM));
                }
            }
        }
        Ok(ExitCode::from(code))
    }
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn from_environment() -> anyhow::Result<Address> {
    let variable = |name: &str| std::env::var(name).ok();
    if variable("TCSD_USE_TCP_DEVICE").is_none() {
        let path = variable("TPM_DEVICE").unwrap_or_else(|| "/dev/tpm0".into());
        return Ok(Address::Device(PathBuf::from(path)));
    }
    let host = variable("TCSD_TCP_DEVICE_HOSTNAME").unwrap_or_else(|| "localhost".into());
    let port = variable("TCSD_TCP_DEVICE_PORT").unwrap_or_default();
    Address::tcp(&format!("{host}:{port}"))
}

fn startup_command(kind: u16) -> Zeroizing<Vec<u8>> {
    command(0x8001, 0x144, &kind.to_be_bytes())
}

/// A self-test of SHA-256.
fn self_test_command() -> Zeroizing<Vec<u8>> {
    command(0x8001, 0x142, &[0, 0, 0, 1, 0, 0x0b])
}

fn change_platform_password() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    // The platform, authorized by an empty password; then the new one.
    let mut body = Zeroizing::new(vec![
        0x40, 0, 0, 0x0c, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 1, 0, 0,
    ]);
    let mut password = Zeroizing::new([0; PASSWORD]);
    SysRng
        .try_fill_bytes(password.as_mut_slice())
        .context("the operating system gives no entropy")?;
    body.extend(u16::try_from(PASSWORD)?.to_be_bytes());
    body.extend_from_slice(password.as_slice());
    Ok(command(0x8002, 0x129, &body))
}

fn command(tag: u16, code: u32, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let size = u32::try_from(HEADER.saturating_add(body.len())).unwrap_or(u32::MAX);
    Zeroizing::new(
        [
            &tag.to_be_bytes()[..],
            &size.to_be_bytes(),
            &code.to_be_bytes(),
            body,
        ]
        .concat(),
    )
}

/// Sends one command on a connection of its own and gives the response code.
fn talk(address: &Address, command: &[u8]) -> anyhow::Result<u32> {
    let mut connection = address.connect(PATIENCE)?;
    connection
        .write_all(command)
        .context("the command could not be sent")?;
    // A device gives a response in one read or not at all.
    let mut response = vec![0; LONGEST_RESPONSE];
    let mut length = 0;
    loop {
        let room = response.get_mut(length..).unwrap_or_default();
        let count = connection.read(room).context("the TPM did not answer")?;
        length = length.saturating_add(count);
        let word = |at: usize| {
            let bytes = response.get(at..length)?.first_chunk()?;
            Some(u32::from_be_bytes(*bytes))
        };
        let size = word(2).and_then(|size| usize::try_from(size).ok());
        if let (Some(code), Some(size)) = (word(6), size) {
            if size == length {
                return Ok(code);
            }
            if !(HEADER..=LONGEST_RESPONSE).contains(&size) || size < length {
                bail!("the answer is no TPM response");
            }
        }
        if count == 0 {
            bail!("the connection ended in the middle of the answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_well_formed() {
        assert_eq!(
            startup_command(1).as_slice(),
            [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 1]
        );
        assert_eq!(
            self_test_command().as_slice(),
            [0x80, 1, 0, 0, 0, 16, 0, 0, 1, 0x42, 0, 0, 0, 1, 0, 0x0b]
        );
        let change = change_platform_password().unwrap();
        assert_eq!(change.len(), 10 + 4 + 4 + 9 + 2 + PASSWORD);
        assert_eq!(change.get(..6), Some(&[0x80, 2, 0, 0, 0, 49][..]));
        assert_ne!(change, change_platform_password().unwrap());
    }
}
