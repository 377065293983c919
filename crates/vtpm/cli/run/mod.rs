//! `vtpm run -- CMD`: a command with TPMs of its own.

mod child;
mod family;
mod faults;
mod private_tpm;
mod watcher;

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::task::JoinSet;

use self::family::Family;
use self::faults::Fault;
use self::private_tpm::PrivateTpm;
use self::watcher::Watcher;
pub(super) use self::watcher::WatcherVerb;
use super::private_folder::PrivateFolder;
use super::profile::ProfileOption;
use super::trace::TraceOptions;
use super::{Threads, log, runtime};
use crate::confine::memory::{self, Children};

/// What is answered when not the command failed but what was to go before it; as of `env`, `timeout` and their like.
const NO_TPM: u8 = 125;

const AFTER_HELP: &str = "\
What the command finds in its environment:
  TPM2TOOLS_TCTI, TSS2_TCTI, TPM2OPENSSL_TCTI, TPM2_PKCS11_TCTI, TPM2TSSENGINE_TCTI
      the first TPM, for tpm2-tss and what is built on it
  TCTI, TEST_TCTI
      the same over TCP, for tss-esapi, which knows no unix sockets
  TPM_INTERFACE_TYPE, TPM_SERVER_TYPE, TPM_SERVER_NAME, TPM_COMMAND_PORT, TPM_PLATFORM_PORT
      the same, for IBM's TSS
  VTPM_COUNT, VTPM_TCTI_1 to VTPM_TCTI_N
      how many TPMs there are, and each of them
  VTPM_CONTROL_1 to VTPM_CONTROL_N
      each one's control socket, as QEMU's chardev takes it (not with --tcti mssim)

Faults; --fault can be given several times, and every TPM has all of them:
  power-cut-at=N   after the N-th command, whose answer is lost; the TPM comes up again from what was durable
  nv-full          storage takes no more: TPM_RC_NV_SPACE for what is new, TPM_RC_NV_UNAVAILABLE for other writes
  lockout          the TPM is in dictionary attack lockout
  slow=MS          each answer takes so many milliseconds more
  failure-mode     the TPM is in failure mode until its next power cycle

What the command leaves running is ended after it. The mark by which it is found is in the variable VTPM_RUN.

The exit code is that of the command, 128 + N if signal N ended it, 127 if there is no such command, 126 if it cannot be run,
125 if its TPM could not be made.";

/// Runs a command with a private TPM that is ready before the command starts and gone after it ends
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Run {
    /// How many TPMs the command gets, each with its own sockets and, with --keep, its own folder DIR/1 to DIR/N
    #[arg(short = 'n', long, value_name = "N", default_value = "1")]
    count: NonZeroU16,
    /// The protocol between the command and its TPM
    #[arg(long, value_enum, default_value_t = Tcti::Swtpm)]
    tcti: Tcti,
    /// Keep the state in this folder; the next run with it goes on with the same TPM
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Make everything random, and the clock, follow from this number: same commands, same answers. Never for real secrets
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What a new TPM is like: a profile's name, JSON, or name=|profile=|file=|fd= as swtpm has it
    #[arg(long, value_name = "PROFILE")]
    profile: Option<ProfileOption>,
    /// What goes wrong: power-cut-at=N, nv-full, lockout, slow=MS or failure-mode
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    #[command(flatten)]
    trace: TraceOptions,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tcti {
    /// swtpm's, on unix sockets; the first TPM also on TCP, for those who know nothing else
    Swtpm,
    /// The TCG simulator's, on TCP
    Mssim,
}

impl Run {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        log::to_stderr("warn");
        self.run().or_else(|error| {
            log::complain(&error);
            Ok(ExitCode::from(NO_TPM))
        })
    }

    fn run(self) -> anyhow::Result<ExitCode> {
        faults::check(&self.faults)?;
        // The watcher starts while the TPM does: nobody waits for it.
        let mut watcher = None;
        let folder = PrivateFolder::announced(|path| watcher = Some(Watcher::start(path)))
            .context("a private folder for sockets")?;
        let mut watcher = watcher.context("the watcher was not started")?;
        memory::lock(Children::OfUser).tell();
        memory::forbid_dumps(Children::OfUser);
        let runtime = runtime(Threads::One)?;
        let code = runtime.block_on(self.with_tpms(&folder, &mut watcher));
        drop(runtime);
        drop(folder);
        // Last, as it is there for the case that this process does not get so far.
        drop(watcher);
        code
    }

    async fn with_tpms(
        &self,
        folder: &PrivateFolder,
        watcher: &mut Watcher,
    ) -> anyhow::Result<ExitCode> {
        let mut tpms = Vec::new();
        for number in 1..=self.count.get() {
            let tpm = self
                .make(folder, number)
                .await
                .with_context(|| format!("TPM {number}"))?;
            tpms.push(tpm);
        }
        let mut environment = environment(&tpms);
        environment.push((family::MARK.to_owned(), folder.path().into()));
        let mut serving = JoinSet::new();
        for tpm in &mut tpms {
            tpm.serve(&mut serving);
        }
        family::adopt();
        let code = child::run(&self.command, &environment, watcher).await;
        // Without their TPM, those that the command has left running are of no use.
        let folder = folder.path().as_os_str().as_bytes();
        Family::default().marked(folder).adopted().end();
        for tpm in &tpms {
            tpm.stop();
        }
        while serving.join_next().await.is_some() {}
        if self.keep.is_some() {
            for tpm in &tpms {
                tpm.close().await;
            }
        }
        code
    }

    async fn make(&self, folder: &PrivateFolder, number: u16) -> anyhow::Result<PrivateTpm> {
        let kept = self.keep.as_ref().map(|folder| match self.count.get() {
            1 => folder.clone(),
            _ => folder.join(number.to_string()),
        });
        let profile = self.profile.as_ref().map(ProfileOption::load).transpose()?;
        let seed = self.seed.map(|seed| (seed, u64::from(number)));
        let trace = self.trace.numbered(number);
        let device = private_tpm::device(kept, profile, seed, &self.faults, &trace).await?;
        match self.tcti {
            Tcti::Swtpm => PrivateTpm::behind_swtpm(device, folder.path(), number),
            Tcti::Mssim => PrivateTpm::behind_simulator(device),
        }
    }
}

/// What the command is told about its TPMs.
fn environment(tpms: &[PrivateTpm]) -> Vec<(String, OsString)> {
    let mut environment: Vec<(String, OsString)> = Vec::new();
    let mut say = |name: &str, value: OsString| environment.push((name.to_owned(), value));
    if let Some(first) = tpms.first() {
        for name in [
            "TPM2TOOLS_TCTI",
            "TSS2_TCTI",
            "TPM2OPENSSL_TCTI",
            "TPM2_PKCS11_TCTI",
            "TPM2TSSENGINE_TCTI",
        ] {
            say(name, first.tcti().to_owned());
        }
        if let Some(tcp) = first.tcp() {
            say("TCTI", tcp.tcti().into());
            say("TEST_TCTI", tcp.tcti().into());
            say("TPM_INTERFACE_TYPE", "socsim".into());
            say("TPM_SERVER_TYPE", tcp.server_type.into());
            say("TPM_SERVER_NAME", "127.0.0.1".into());
            say("TPM_COMMAND_PORT", tcp.port.to_string().into());
            say(
                "TPM_PLATFORM_PORT",
                tcp.port.saturating_add(1).to_string().into(),
            );
        }
    }
    say("VTPM_COUNT", tpms.len().to_string().into());
    for (tpm, number) in tpms.iter().zip(1_u32..) {
        say(&format!("VTPM_TCTI_{number}"), tpm.tcti().to_owned());
        if let Some(control) = tpm.control() {
            say(&format!("VTPM_CONTROL_{number}"), control.into());
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        run: Run,
    }

    fn parse(arguments: &str) -> Result<Run, String> {
        CommandLine::try_parse_from(format!("run {arguments}").split_whitespace())
            .map(|parsed| parsed.run)
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn every_library_is_told_where_its_tpm_is() {
        let folder = PrivateFolder::new().unwrap();
        let run = parse("-n 2 -- true").unwrap();
        let tpms = [
            run.make(&folder, 1).await.unwrap(),
            run.make(&folder, 2).await.unwrap(),
        ];
        let environment = environment(&tpms);
        let value = |name: &str| {
            let found = environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        let path = |name: &str| format!("{}/{name}", folder.path().display());
        let first = format!("swtpm:path={}", path("tpm"));
        assert_eq!(value("TPM2TOOLS_TCTI").as_ref(), Some(&first));
        assert_eq!(value("VTPM_TCTI_1").as_ref(), Some(&first));
        assert_eq!(
            value("VTPM_TCTI_2"),
            Some(format!("swtpm:path={}", path("tpm2")))
        );
        assert_eq!(value("VTPM_CONTROL_2"), Some(path("tpm2.ctrl")));
        assert_eq!(value("VTPM_COUNT").as_deref(), Some("2"));
        let port: u16 = value("TPM_COMMAND_PORT").unwrap().parse().unwrap();
        assert_eq!(value("TPM_PLATFORM_PORT"), Some((port + 1).to_string()));
        assert_eq!(
            value("TCTI"),
            Some(format!("swtpm:host=127.0.0.1,port={port}"))
        );
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let run = parse("--seed 7 pytest -n 4 --keep x").unwrap();
        assert_eq!(run.command, ["pytest", "-n", "4", "--keep", "x"]);
        assert_eq!((run.count.get(), run.keep), (1, None));
    }

    #[test]
    fn a_wrong_fault_is_answered_with_those_that_there_are() {
        for wrong in [
            "nv",
            "slow",
            "slow=",
            "slow=-1",
            "slow=1s",
            "power-cut-at=0",
            "power-cut-at",
            "nv-full=1",
        ] {
            let message = parse(&format!("--fault {wrong} -- true")).err().unwrap();
            for fault in [
                "power-cut-at=N",
                "nv-full",
                "lockout",
                "slow=MS",
                "failure-mode",
            ] {
                assert!(message.contains(fault), "{message}");
            }
        }
        for wrong in ["-n 0 -- true", "--seed x -- true", "--tcti device -- true"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
