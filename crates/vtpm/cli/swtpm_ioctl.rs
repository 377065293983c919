//! `vtpm swtpm-ioctl`: what swtpm_ioctl does: one request on the control channel of a TPM, and what came of it.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use vm_store::backend::read_named;
use zeroize::Zeroizing;

use super::process::create_file;
use super::swtpm_client::{Address, Connection, Declared, Given, read_options};

/// A request that makes an RSA key on its way may take this long.
const PATIENCE: Duration = Duration::from_secs(120);
const HIGHEST_LOCALITY: u8 = 4;
/// How much data goes into one request.
const PIECE: usize = 4096;
/// A longer blob is none.
const LONGEST_BLOB: usize = 64 * 1024 * 1024;
/// Set in a result that is no failure: there is nothing to give.
const NOT_FATAL: u32 = 0x800;
/// GET_STATEBLOB: not sealed with the key of the state files.
const DECRYPTED: u32 = 1;
/// INIT: volatile state goes once it was taken up.
const DELETE_VOLATILE: u32 = 1;

const OPTIONS: [Declared; 22] = [
    ("tpm-device", 1),
    ("tcp", 1),
    ("unix", 1),
    ("c", 0),
    ("i", 0),
    ("stop", 0),
    ("s", 0),
    ("e", 0),
    ("r", 1),
    ("v", 0),
    ("C", 0),
    ("l", 1),
    ("h", 1),
    ("g", 0),
    ("b", 1),
    ("save", 2),
    ("load", 2),
    ("info", 1),
    ("lock-storage", 1),
    ("version", 0),
    ("help", 0),
    ("?", 0),
];

const HELP: &str = "\
Sends one request to the control channel of a TPM, as swtpm_ioctl does

Usage: swtpm_ioctl [--tcp [HOST]:[PORT] | --unix PATH] COMMAND

Where the control channel is:
  --tcp [HOST]:[PORT]   TCP; 127.0.0.1 and 6545 unless given
  --unix PATH           a unix socket

Commands:
  -c                    print the capabilities of the control channel
  -i                    give the TPM power, or a reset; goes on from stored volatile state if there is any
  --stop                take the power away; the server stays
  -s                    take the power away and end the server
  -e                    print whether a measured launch has happened
  -r LOCALITY           forget that one has happened
  -v                    store the volatile state
  -C                    cancel the running TPM command
  -l LOCALITY           choose the locality of the commands to come, 0 to 4
  -h DATA               a measured launch of DATA; '-' reads from standard input
  --save TYPE FILE      write state to a file; TYPE is permanent, volatile or savestate
  --load TYPE FILE      give a TPM without power the state in a file
  -g                    print which keys are in use: 1 state key, 2 migration key
  -b SIZE               choose the buffer size of a TPM without power; 0 prints the sizes
  --info FLAGS          print facts about the TPM as JSON
  --lock-storage N      take the storage back; N tries, 10 ms apart
  --version             print the version
  --help                print this

The exit code is 0 if the request succeeded, else 1.
";

/// Sends one request to the control channel of a TPM: swtpm_ioctl's options; `vtpm swtpm-ioctl --help` lists them
#[derive(Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct SwtpmIoctl {
    /// swtpm_ioctl's options
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    arguments: Vec<String>,
}

impl SwtpmIoctl {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let (given, others) = read_options(&self.arguments, &OPTIONS)?;
        let has = |names: &[&str]| given.iter().any(|given| names.contains(&given.name));
        if has(&["help", "?"]) {
            return print(HELP.trim_end());
        }
        if has(&["version"]) {
            return print(&format!("swtpm_ioctl (vtpm) {}", super::swtpm::VERSION));
        }
        let (mut address, mut command) = (None, None);
        for option in &given {
            if let Some(place) = Address::in_option(option)? {
                address = Some(place);
            } else if command.is_some() {
                bail!("only one command can be given");
            } else {
                command = Some(Command::parse(option)?);
            }
        }
        let command = command.context("no command was given; --help names them")?;
        let address = address
            .or_else(|| others.first().map(|path| Address::Device(path.into())))
            .context("where is the control channel? Say --tcp or --unix")?;
        if let Address::Device(path) = address {
            bail!(
                "{}: only the CUSE interface of swtpm is controlled through a device, and there is none here; say --tcp or --unix",
                path.display()
            );
        }
        // What cannot be read need not be asked for.
        let blob = match &command {
            Command::Load(_, path) => Some(
                read_named(path, u64::try_from(LONGEST_BLOB)?)
                    .with_context(|| path.display().to_string())?,
            ),
            _ => None,
        };
        let mut channel = Channel(address.connect(PATIENCE)?);
        let outcome = command.run(&mut channel, blob);
        let Some(refused) = outcome
            .as_ref()
            .err()
            .and_then(|error| error.downcast_ref())
        else {
            return outcome;
        };
        tell(refused)?;
        Ok(ExitCode::FAILURE)
    }
}

/// One request, or a few that belong together.
enum Command {
    Capability,
    Init,
    Stop,
    Shutdown,
    Established,
    ResetEstablished(u8),
    StoreVolatile,
    Cancel,
    Locality(u8),
    Hash(String),
    Config,
    BufferSize(u32),
    Save(u32, PathBuf),
    Load(u32, PathBuf),
    Info(u64),
    LockStorage(u32),
}

impl Command {
    fn parse(option: &Given) -> anyhow::Result<Self> {
        let (first, second) = (option.values.first(), option.values.get(1));
        let value = first.map_or("", String::as_str);
        let path = || second.map(PathBuf::from).unwrap_or_default();
        Ok(match option.name {
            "c" => Self::Capability,
            "i" => Self::Init,
            "stop" => Self::Stop,
            "s" => Self::Shutdown,
            "e" => Self::Established,
            "r" => Self::ResetEstablished(locality(value)?),
            "v" => Self::StoreVolatile,
            "C" => Self::Cancel,
            "l" => Self::Locality(locality(value)?),
            "h" => Self::Hash(value.to_owned()),
            "g" => Self::Config,
            "b" => Self::BufferSize(number(value)?),
            "save" => Self::Save(blob_type(value)?, path()),
            "load" => Self::Load(blob_type(value)?, path()),
            "info" => Self::Info(
                super::swtpm::parse_flags(value)
                    .map_err(|error| anyhow::anyhow!("'{value}' are no flags: {error}"))?,
            ),
            "lock-storage" => Self::LockStorage(number(value)?),
            other => bail!("there is no command '{other}'"),
        })
    }

    fn run(
        self,
        channel: &mut Channel,
        blob: Option<Zeroizing<Vec<u8>>>,
    ) -> anyhow::Result<ExitCode> {
        match self {
            Self::Capability => {
                let [capabilities] = channel.ask("PTM_GET_CAPABILITY", 1, &[])?;
                return print(&format!("ptm capability is 0x{capabilities:x}"));
            }
            Self::Init => {
                let [] = channel.ask("PTM_INIT", 2, &DELETE_VOLATILE.to_be_bytes())?;
            }
            Self::Shutdown => {
                let [] = channel.ask("PTM_SHUTDOWN", 3, &[])?;
            }
            Self::Established => {
                // The bit, then padding.
                let [word] = channel.ask_whole("PTM_GET_TPMESTABLISHED", 4, &[])?;
                let [bit, ..] = word.to_be_bytes();
                return print(&format!("tpmEstablished is {bit}"));
            }
            Self::Locality(locality) => {
                let [] = channel.ask("PTM_SET_LOCALITY", 5, &[locality, 0, 0, 0])?;
            }
            Self::Hash(data) => channel.measure(&data)?,
            Self::Cancel => {
                let [] = channel.ask("PTM_CANCEL_TPM_CMD", 9, &[])?;
            }
            Self::StoreVolatile => {
                let [] = channel.ask("PTM_STORE_VOLATILE", 10, &[])?;
            }
            Self::ResetEstablished(locality) => {
                let [] = channel.ask("PTM_RESET_TPMESTABLISHED", 11, &[locality, 0, 0, 0])?;
            }
            Self::Save(kind, path) => channel.save(kind, &path)?,
            Self::Load(kind, _) => channel.load(kind, &blob.unwrap_or_default())?,
            Self::Stop => {
                let [] = channel.ask("PTM_STOP", 14, &[])?;
            }
            Self::Config => {
                let [flags] = channel.ask("PTM_GET_CONFIG", 15, &[])?;
                return print(&format!("ptm configuration flags: 0x{flags:x}"));
            }
            Self::BufferSize(size) => {
                let [current, least, most] =
                    channel.ask("PTM_SET_BUFFERSIZE", 17, &size.to_be_bytes())?;
                return print(&format!(
                    "TPM buffersize: {current}\nminimum size  : {least}\nmaximum size  : {most}"
                ));
            }
            Self::Info(flags) => return print(&channel.info(flags)?),
            Self::LockStorage(retries) => {
                let [] = channel.ask("PTM_LOCK_STORAGE", 19, &retries.to_be_bytes())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn number(text: &str) -> anyhow::Result<u32> {
    text.parse()
        .with_context(|| format!("'{text}' is not a number"))
}

fn locality(text: &str) -> anyhow::Result<u8> {
    text.parse()
        .ok()
        .filter(|locality| *locality <= HIGHEST_LOCALITY)
        .with_context(|| format!("'{text}' is not a locality: those are 0 to 4"))
}

fn blob_type(text: &str) -> anyhow::Result<u32> {
    Ok(match text {
        "permanent" => 1,
        "volatile" => 2,
        "savestate" => 3,
        _ => bail!("'{text}' is no type of state: those are permanent, volatile and savestate"),
    })
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// Scripts get swtpm_ioctl's line; a person also gets what it means.
fn tell(refused: &Refused) -> io::Result<()> {
    let mut errors = io::stderr();
    writeln!(errors, "{refused}")?;
    if errors.is_terminal() {
        writeln!(errors, "({})", refused.meaning())?;
    }
    Ok(())
}

/// A control channel.
struct Channel(Connection);

impl Channel {
    /// Sends a request and reads its result; whatever follows a success is `N` words.
    fn ask<const N: usize>(
        &mut self,
        name: &str,
        code: u32,
        body: &[u8],
    ) -> anyhow::Result<[u32; N]> {
        self.send(code, body)?;
        succeeded(name, self.word()?)?;
        self.words()
    }

    /// The same where the words come with an error too.
    fn ask_whole<const N: usize>(
        &mut self,
        name: &str,
        code: u32,
        body: &[u8],
    ) -> anyhow::Result<[u32; N]> {
        self.send(code, body)?;
        let result = self.word()?;
        if result != 0 {
            return Ok(succeeded(name, result).map(|()| [0; N])?);
        }
        self.words()
    }

    fn send(&mut self, code: u32, body: &[u8]) -> anyhow::Result<()> {
        let request = Zeroizing::new([&code.to_be_bytes()[..], body].concat());
        self.0
            .write_all(&request)
            .context("the request could not be sent")
    }

    fn word(&mut self) -> anyhow::Result<u32> {
        let mut bytes = [0; 4];
        self.0
            .read_exact(&mut bytes)
            .context("the server did not answer")?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn words<const N: usize>(&mut self) -> anyhow::Result<[u32; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = self.word()?;
        }
        Ok(words)
    }

    fn bytes(&mut self, count: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        self.0
            .read_exact(&mut bytes)
            .context("the answer broke off")?;
        Ok(bytes)
    }

    fn measure(&mut self, data: &str) -> anyhow::Result<()> {
        let mut input: Box<dyn Read> = match data {
            "-" => Box::new(io::stdin()),
            text => Box::new(io::Cursor::new(text.as_bytes().to_vec())),
        };
        let [] = self.ask("PTM_HASH_START", 6, &[])?;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let limit = u64::try_from(PIECE)?;
            input.by_ref().take(limit).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            let length = u32::try_from(piece.len())?.to_be_bytes();
            let [] = self.ask("PTM_HASH_DATA", 7, &[&length[..], &piece].concat())?;
        }
        let [] = self.ask("PTM_HASH_END", 8, &[])?;
        Ok(())
    }

    fn save(&mut self, kind: u32, path: &std::path::Path) -> anyhow::Result<()> {
        let mut state = Zeroizing::new(Vec::new());
        loop {
            let offset = u32::try_from(state.len())?;
            self.send(12, &words(&[DECRYPTED, kind, offset]))?;
            let result = self.word()?;
            if result & NOT_FATAL == 0 {
                succeeded("PTM_GET_STATEBLOB", result)?;
            }
            let [_flags, rest, length] = self.words()?;
            let (rest, length) = (usize::try_from(rest)?, usize::try_from(length)?);
            if length > rest || state.len().saturating_add(rest) > LONGEST_BLOB {
                bail!("the server announced a piece of {length} bytes out of {rest}");
            }
            state.extend_from_slice(&self.bytes(length)?);
            // The total is what remains from the offset on.
            if length == rest || length == 0 {
                break;
            }
        }
        create_file(path, 0o600, false)
            .and_then(|mut file| file.write_all(&state))
            .with_context(|| path.display().to_string())
    }

    fn load(&mut self, kind: u32, state: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(state.len()).context("the file is too long for a state")?;
        let header = words(&[0, kind, length]);
        let [] = self.ask("PTM_SET_STATEBLOB", 13, &[&header, state].concat())?;
        Ok(())
    }

    fn info(&mut self, flags: u64) -> anyhow::Result<String> {
        let mut text = Vec::new();
        loop {
            let offset = u32::try_from(text.len())?;
            let body = [&flags.to_be_bytes()[..], &words(&[offset, 0])].concat();
            let [total, length] = self.ask("PTM_GET_INFO", 18, &body)?;
            let (total, length) = (usize::try_from(total)?, usize::try_from(length)?);
            if length == 0 || total > LONGEST_BLOB {
                bail!("the server announced a piece of {length} bytes out of {total}");
            }
            text.extend_from_slice(&self.bytes(length)?);
            if text.len() >= total {
                break;
            }
        }
        while text.last() == Some(&0) {
            text.pop();
        }
        String::from_utf8(text).context("the server sent no text")
    }
}

/// A request that the server refused. Scripts compare the text with that of swtpm_ioctl.
#[derive(Debug, thiserror::Error)]
#[error("TPM result from {name}: 0x{result:x}")]
struct Refused {
    name: String,
    result: u32,
}

impl Refused {
    fn meaning(&self) -> &'static str {
        match self.result {
            0x03 => "a wrong parameter, or a state that is refused",
            0x09 => "the server's log says why",
            0x0a => "not now: is the TPM running that should be stopped, or the other way round?",
            0x0d => "a key is missing that the state is sealed with",
            0x1f => "there is one already",
            0x21 => "the state does not open with the key at hand",
            0x3d => "this locality cannot be chosen",
            _ => "see the server's log",
        }
    }
}

fn succeeded(name: &str, result: u32) -> Result<(), Refused> {
    if result == 0 {
        return Ok(());
    }
    Err(Refused {
        name: name.to_owned(),
        result,
    })
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
