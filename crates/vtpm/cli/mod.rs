//! The command line: one enum of verbs, one file for each family of verbs.
//!
//! A verb is a struct with clap's derive and one method, `execute(self) -> anyhow::Result<ExitCode>`, which runs it to its end.
//! It is synchronous on purpose: a verb may have to fork a child or read inherited descriptors before any thread exists, and
//! chooses its own [`runtime`]. To add one: its file, its `mod` line, its line in [`Verb`] and in [`Verb::execute`].

pub(crate) mod attest;
mod audit;
mod boot;
mod client;
mod completions;
mod explain;
mod file;
mod import;
mod key_service;
mod list;
mod log;
mod man;
mod operate;
mod org;
mod output;
mod package;
mod private_folder;
mod process;
pub(crate) mod profile;
mod provider;
mod run;
mod serve;
pub(crate) mod server;
mod simulator;
mod snapshot;
mod sockets;
mod swtpm;
mod swtpm_bios;
mod swtpm_client;
mod swtpm_ioctl;
mod swtpm_setup;
mod task;
mod template;
pub(crate) mod trace;
mod vapp;
mod vcenter;
mod vcenter_ca;
mod vm;
mod vm_ek;
mod vm_identity;
mod vm_moves;
mod vm_settings;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::choose_lingering;

/// Virtual TPM 2.0 devices for virtual machines, and the encrypted files they live in
#[derive(Parser, Debug)]
#[command(
    name = "vtpm",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct CommandLine<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
}

/// The verbs whose start others wait for: to declare the arguments of all would take them longer than all else that they do before.
#[derive(Subcommand, Debug)]
enum QuickVerb {
    Run(run::Run),
    #[command(hide = true)]
    RunWatcher(run::WatcherVerb),
    Swtpm(swtpm::Swtpm),
    Simulator(simulator::SimulatorVerb),
}

impl QuickVerb {
    fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(verb) => verb.execute(),
            Self::RunWatcher(verb) => verb.execute(),
            Self::Swtpm(verb) => verb.execute(),
            Self::Simulator(verb) => verb.execute(),
        }
    }
}

/// All verbs.
#[derive(Subcommand, Debug)]
enum Verb {
    Serve(serve::Serve),
    Vm(vm::Vm),
    Provider(provider::Provider),
    KeyService(key_service::KeyService),
    File(file::File),
    Vapp(vapp::Vapp),
    Template(template::Template),
    Catalog(template::Catalog),
    Org(org::Org),
    User(org::User),
    Vdc(org::Vdc),
    Vcenter(vcenter::VCenter),
    Datastore(vcenter::Datastore),
    Config(vcenter::Config),
    Task(task::Task),
    Audit(audit::Audit),
    Run(run::Run),
    #[command(hide = true)]
    RunWatcher(run::WatcherVerb),
    Swtpm(swtpm::Swtpm),
    SwtpmIoctl(swtpm_ioctl::SwtpmIoctl),
    SwtpmBios(swtpm_bios::SwtpmBios),
    SwtpmSetup(Box<swtpm_setup::SwtpmSetup>),
    Simulator(simulator::SimulatorVerb),
    Import(import::Import),
    Trace(trace::Trace),
    Explain(explain::Explain),
    Attest(attest::Attest),
    Boot(boot::Boot),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(verb) => verb.execute(),
            Self::Vm(verb) => verb.execute(),
            Self::Provider(verb) => verb.execute(),
            Self::KeyService(verb) => verb.execute(),
            Self::File(verb) => verb.execute(),
            Self::Vapp(verb) => verb.execute(),
            Self::Template(verb) => verb.execute(),
            Self::Catalog(verb) => verb.execute(),
            Self::Org(verb) => verb.execute(),
            Self::User(verb) => verb.execute(),
            Self::Vdc(verb) => verb.execute(),
            Self::Vcenter(verb) => verb.execute(),
            Self::Datastore(verb) => verb.execute(),
            Self::Config(verb) => verb.execute(),
            Self::Task(verb) => verb.execute(),
            Self::Audit(verb) => verb.execute(),
            Self::Run(verb) => verb.execute(),
            Self::RunWatcher(verb) => verb.execute(),
            Self::Swtpm(verb) => verb.execute(),
            Self::SwtpmIoctl(verb) => verb.execute(),
            Self::SwtpmBios(verb) => verb.execute(),
            Self::SwtpmSetup(verb) => verb.execute(),
            Self::Simulator(verb) => verb.execute(),
            Self::Import(verb) => verb.execute(),
            Self::Trace(verb) => verb.execute(),
            Self::Explain(verb) => verb.execute(),
            Self::Attest(verb) => verb.execute(),
            Self::Boot(verb) => verb.execute(),
            Self::Completions(verb) => verb.execute(),
            Self::Man(verb) => verb.execute(),
        }
    }
}

/// Parses the arguments of this process and runs the verb they name.
pub(crate) fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = under_own_name(given.clone());
    let verb = arguments.get(1).and_then(|verb| verb.to_str());
    let outcome = match verb {
        Some(name) if QuickVerb::has_subcommand(name) => {
            CommandLine::<QuickVerb>::try_parse_from(&arguments).map(|line| line.verb.execute())
        }
        _ => CommandLine::<Verb>::try_parse_from(&arguments).map(|line| line.verb.execute()),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        // The programs that this one stands in for have one code for everything that goes wrong.
        Err(error) if error.use_stderr() && arguments != given => {
            let _ = error.print();
            return ExitCode::FAILURE;
        }
        Err(error) => error.exit(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            log::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// How many threads a verb's runtime has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One: a single TPM, nothing to share a second core with.
    One,
    /// One for each core: many TPMs in one process.
    Cores,
}

/// A tokio runtime with sockets, timers and signals.
pub(crate) fn runtime(threads: Threads) -> std::io::Result<tokio::runtime::Runtime> {
    let runtime = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
        Threads::Cores => process::short_commands_first().enable_all().build(),
    }?;
    process::outlive_file_size_limit(&runtime)?;
    choose_lingering()?;
    Ok(runtime)
}

/// The programs that `vtpm` stands in for, and the verbs that they are.
const NAMES: [(&str, &str); 4] = [
    ("swtpm", "swtpm"),
    ("swtpm_ioctl", "swtpm-ioctl"),
    ("swtpm_bios", "swtpm-bios"),
    ("swtpm_setup", "swtpm-setup"),
];

/// A link named like the program that `vtpm` stands in for means that verb: `swtpm socket ...` is `vtpm swtpm socket ...`.
fn under_own_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let called = arguments
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .and_then(OsStr::to_str);
    if let Some((_, verb)) = NAMES.iter().find(|(name, _)| called == Some(name)) {
        arguments.insert(1, OsString::from(verb));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn arguments(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_declared_arguments_do_not_contradict_each_other() {
        CommandLine::<Verb>::command().debug_assert();
    }

    #[test]
    fn a_verb_that_starts_quickly_takes_the_same_arguments() {
        let mut all = CommandLine::<Verb>::command();
        let mut quick = CommandLine::<QuickVerb>::command();
        let verbs: Vec<_> = quick
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect();
        assert!(!verbs.is_empty());
        for verb in verbs {
            let help = |command: &mut clap::Command| {
                command.build();
                let verb = command.find_subcommand_mut(&verb).expect("the verb");
                (verb.is_hide_set(), verb.render_long_help().to_string())
            };
            assert_eq!(help(&mut quick), help(&mut all));
        }
    }

    #[test]
    fn a_link_named_swtpm_means_the_verb() {
        assert_eq!(
            under_own_name(arguments(&["/usr/bin/swtpm", "socket"])),
            arguments(&["/usr/bin/swtpm", "swtpm", "socket"])
        );
        assert_eq!(
            under_own_name(arguments(&["swtpm_ioctl", "-s"])),
            arguments(&["swtpm_ioctl", "swtpm-ioctl", "-s"])
        );
        assert_eq!(
            under_own_name(arguments(&["swtpm_setup", "--tpm2"])),
            arguments(&["swtpm_setup", "swtpm-setup", "--tpm2"])
        );
        assert_eq!(
            under_own_name(arguments(&["vtpm", "run"])),
            arguments(&["vtpm", "run"])
        );
        assert_eq!(under_own_name(Vec::new()), Vec::<OsString>::new());
    }
}
