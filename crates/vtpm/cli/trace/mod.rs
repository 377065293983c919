//! `vtpm trace`: what a TPM is asked and answers, live or recorded.

mod diff;
mod live;
mod options;
mod proxy;
mod replay;
pub(crate) mod tcti;

use std::io::{self, BufReader, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use vm_store::backend::open_named;

use crate::config::Daemon;
use crate::trace::{
    Entry, Record, Shown, decoded, is_capture, line, read_capture, read_entries, tree,
};

pub(crate) use options::TraceOptions;

/// A capture larger than this is read by nobody at once.
const LARGEST_CAPTURE: u64 = 1 << 30;

/// Show what a TPM is asked and answers: of a running VM, or from a recording
///
/// A recording is made with `--trace FILE` or `--pcap FILE` by `vtpm swtpm`, `vtpm simulator`, `vtpm run` and this command. Passwords,
/// sealed data, contents of NV Indices and other secrets are blotted out unless --secrets is given.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Trace {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    show: Show,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Replay(replay::Replay),
    Diff(diff::Diff),
    Proxy(proxy::Proxy),
}

#[derive(Args, Debug)]
struct Show {
    #[command(flatten)]
    daemon: Daemon,
    /// A recording or capture (a name with a slash, or a file that is there; - for standard input), else a running VM
    #[arg(required = true, value_name = "VM|FILE")]
    target: Option<PathBuf>,
    #[command(flatten)]
    how: How,
    /// End after this many commands
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Of a running VM: record into this file as well
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// How commands are shown.
#[derive(Args, Clone, Copy, Debug)]
struct How {
    /// Show every field down to the leaves, each with its place
    #[arg(long)]
    tree: bool,
    /// Print one JSON object for each command or event
    #[arg(long, conflicts_with = "tree")]
    json: bool,
    /// Show secrets too
    #[arg(long)]
    secrets: bool,
}

impl Trace {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Some(Verb::Replay(verb)) => verb.execute(),
            Some(Verb::Diff(verb)) => verb.execute(),
            Some(Verb::Proxy(verb)) => verb.execute(),
            None => self.show.execute(),
        }
    }
}

impl Show {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let target = self.target.as_deref().context("no VM and no file")?;
        let is_file =
            target == Path::new("-") || target.components().count() > 1 || target.exists();
        if !is_file {
            return live::follow(&self);
        }
        if self.trace.is_some() {
            bail!(
                "--trace records a running VM; {} is a file",
                target.display()
            );
        }
        let mut printer = Printer::new(self.how, self.count);
        for entry in read_file(target)? {
            if !printer.print(&entry)? {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints exchanges until there are enough, or the reader has gone.
struct Printer {
    how: How,
    number: usize,
    count: usize,
}

impl Printer {
    fn new(how: How, count: Option<usize>) -> Self {
        Self {
            how,
            number: 0,
            count: count.unwrap_or(usize::MAX),
        }
    }

    /// Prints an exchange or event; false if it was the last that is wanted.
    fn print(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        if self.number >= self.count {
            return Ok(false);
        }
        match entry {
            Entry::Exchange(record) => self.print_exchange(record),
            Entry::Event(event) if self.how.json => self.put(&event.to_line()),
            Entry::Event(event) => self.put(&(event.line() + "\n")),
        }
    }

    fn print_exchange(&mut self, record: &Record) -> anyhow::Result<bool> {
        self.number = self.number.saturating_add(1);
        let shown = Shown {
            secrets: self.how.secrets,
        };
        let mut text = String::new();
        if record.lost != 0 && !self.how.json {
            text = format!("      {} commands were lost here\n", record.lost);
        }
        text.push_str(&if self.how.json {
            decoded(self.number, record, shown).to_string()
        } else if self.how.tree {
            tree(self.number, record, shown).trim_end().to_owned()
        } else {
            line(self.number, record, shown)
        });
        text.push('\n');
        self.put(&text)
    }

    fn put(&self, text: &str) -> anyhow::Result<bool> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            outcome => {
                outcome?;
                Ok(self.number < self.count)
            }
        }
    }
}

/// Reads a recording or a capture.
fn read_file(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let name = path.display().to_string();
    let mut from: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(open_named(path).with_context(|| name.clone())?)
    };
    let mut head = Vec::new();
    from.by_ref()
        .take(4)
        .read_to_end(&mut head)
        .with_context(|| name.clone())?;
    if !is_capture(&head) {
        let whole = BufReader::new(io::Cursor::new(head).chain(from));
        return read_entries(whole)
            .with_context(|| format!("{name} is not a recording of vtpm, nor a pcap capture"));
    }
    from.take(LARGEST_CAPTURE)
        .read_to_end(&mut head)
        .with_context(|| name.clone())?;
    read_capture(&head).context(name)
}
