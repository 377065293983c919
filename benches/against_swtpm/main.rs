//! Every operation against swtpm, side by side in one run: rounds alternate between the two servers, over one connection each.
//!
//! `benches/against-swtpm` installs Debian's swtpm and starts this; `--help` says what can be chosen. Latency is what the client
//! sees for one command and its response; CPU is what the server's process spent, with the commands that clean up after each
//! step. The ratio is swtpm's median by ours: above 1 we are faster.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::indexing_slicing, reason = "two servers, two places")]

mod figures;
mod manufacture;
mod operations;
mod server;
#[path = "../templates/mod.rs"]
mod templates;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use figures::{Figures, Row};
use operations::{OPERATIONS, Step};
use server::{Program, Server, Transport};
use tpm_engine::testing::encode;
use tpm_wire::commands::GetRandom;

/// Time vtpm and swtpm side by side
#[derive(Parser, Debug)]
#[command(name = "against-swtpm")]
struct Options {
    /// Only operations whose name contains this
    filter: Option<String>,
    /// Rounds for each operation and server
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// How long a round lasts, in milliseconds
    #[arg(long, default_value_t = 40)]
    round: u64,
    /// The other server
    #[arg(long, default_value = "swtpm")]
    swtpm: PathBuf,
    /// The program that makes TPMs for it
    #[arg(long, default_value = "swtpm_setup")]
    swtpm_setup: PathBuf,
    /// Our binary
    #[arg(long, default_value = env!("CARGO_BIN_EXE_vtpm"), hide_default_value = true)]
    vtpm: PathBuf,
    /// Over TCP only
    #[arg(long, conflicts_with = "unix")]
    tcp: bool,
    /// Over unix sockets only
    #[arg(long)]
    unix: bool,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Cargo says this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let ours = Program {
        path: options.vtpm.clone(),
        arguments: vec!["swtpm".to_owned()],
    };
    let theirs = Program {
        path: options.swtpm.clone(),
        arguments: Vec::new(),
    };
    let mut rows = Vec::new();
    println!("{}", figures::HEADER);
    for transport in [Transport::Tcp, Transport::Unix] {
        if (options.tcp && transport == Transport::Unix)
            || (options.unix && transport == Transport::Tcp)
        {
            continue;
        }
        for (name, prepare) in OPERATIONS {
            if !options.chooses(name) {
                continue;
            }
            let mut sides = Vec::new();
            for program in [&theirs, &ours] {
                let mut server = Server::start(program, transport)?;
                let step = prepare(&mut server)?;
                sides.push(Side {
                    server,
                    step,
                    samples: Vec::new(),
                    cpu: 0,
                });
            }
            for side in &mut sides {
                side.round(options.duration())?;
                side.forget();
            }
            for _ in 0..options.rounds {
                for side in &mut sides {
                    side.round(options.duration())?;
                }
            }
            let mut measured = sides.iter_mut().map(Side::figures);
            if let (Some(theirs), Some(ours)) = (measured.next(), measured.next()) {
                let row = Row::new(name, transport, theirs, ours);
                println!("{row}");
                rows.push(row);
            }
        }
    }
    for (name, again) in [
        ("start-up, new state", false),
        ("start-up, existing state", true),
    ] {
        if options.chooses(name) {
            let row = start_up(name, again, options.rounds, [&theirs, &ours])?;
            println!("{row}");
            rows.push(row);
        }
    }
    if options.chooses(manufacture::NAME) {
        let row = manufacture::measure(options.rounds, &options.swtpm_setup, &options.vtpm)?;
        println!("{row}");
        rows.push(row);
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(())
}

impl Options {
    fn chooses(&self, name: &str) -> bool {
        let filter = self.filter.as_deref().unwrap_or_default();
        name.to_lowercase().contains(&filter.to_lowercase())
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.round)
    }
}

/// One of the two servers at one operation.
struct Side {
    server: Server,
    step: Step,
    samples: Vec<Duration>,
    cpu: u64,
}

impl Side {
    /// Repeats the step for so long, at least three times.
    fn round(&mut self, length: Duration) -> anyhow::Result<()> {
        let (began, cpu) = (Instant::now(), self.server.cpu()?);
        let mut steps = 0;
        while steps < 3 || began.elapsed() < length {
            self.samples.push((self.step)(&mut self.server)?);
            steps += 1;
        }
        self.cpu += self.server.cpu()?.saturating_sub(cpu);
        Ok(())
    }

    /// The first round warms up.
    fn forget(&mut self) {
        self.samples.clear();
        self.cpu = 0;
    }

    fn figures(&mut self) -> Figures {
        Figures::new(&mut self.samples, self.cpu)
    }
}

/// From the start of the process to its first answer.
fn start_up(name: &str, again: bool, rounds: u32, programs: [&Program; 2]) -> anyhow::Result<Row> {
    let command = encode(
        &GetRandom {
            bytes_requested: 32,
        },
        &[],
    );
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut samples = [Vec::new(), Vec::new()];
    let mut cpu = [0, 0];
    for round in 0..=rounds * 2 {
        for (number, program) in programs.into_iter().enumerate() {
            let fresh = tempfile::tempdir()?;
            let folder = if again {
                folders[number].path()
            } else {
                fresh.path()
            };
            let began = Instant::now();
            let mut server = Server::start_in(program, Transport::Unix, folder)?;
            server.accept::<GetRandom>(&command)?;
            let elapsed = began.elapsed();
            // The first one makes the state that the others find.
            if round > 0 {
                samples[number].push(elapsed);
                cpu[number] += server.cpu()?;
            }
        }
    }
    let [theirs, ours] = &mut samples;
    Ok(Row::new(
        name,
        Transport::Unix,
        Figures::new(theirs, cpu[0]),
        Figures::new(ours, cpu[1]),
    ))
}
