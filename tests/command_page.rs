//! `docs/commands.md` is written from the command table and from the tests beside each command; here it is compared.
//!
//! `VTPM_UPDATE_SNAPSHOTS=1 cargo test --test command_page` writes it anew.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use tpm_wire::commands::COMMANDS;
use tpm_wire::table::{CommandInfo, Role, flag};

#[test]
fn the_page_of_commands_is_that_of_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    let expected = render();
    if std::env::var_os("VTPM_UPDATE_SNAPSHOTS").is_some() {
        fs::write(&page, &expected).expect("docs/commands.md can be written");
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == expected,
        "docs/commands.md is not what the command table says; VTPM_UPDATE_SNAPSHOTS=1 writes it anew"
    );
}

fn render() -> String {
    let sources = sources();
    let mut page = String::from(
        "# Commands\n\n\
         Written by `tests/command_page.rs` from the command table and the tests beside each command; do not edit.\n\n\
         Handles are followed by the role that authorizes them. *Refusals tested* are the response codes that the tests beside the\n\
         command name; those of parsing, handles and sessions are tested once for all commands.\n\n",
    );
    writeln!(page, "{} commands.\n", COMMANDS.len()).expect("a string takes text");
    page.push_str("| code | command | since | section | attributes | handles | refusals tested |\n|---|---|---|---|---|---|---|\n");
    for info in COMMANDS {
        writeln!(
            page,
            "| {:#06x} | {}: {} | {} | {} | {} | {} | {} |",
            info.code,
            info.name,
            info.summary.trim(),
            revision(info.code),
            info.section,
            attributes(info),
            handles(info),
            refusals(&sources, info),
        )
        .expect("a string takes text");
    }
    page
}

/// The library revision that brought the command.
const fn revision(code: u32) -> &'static str {
    match code {
        0..=0x193 => "1.38 or before",
        0x194..=0x197 => "1.46",
        0x198..=0x19A => "1.59",
        0x19B..=0x19F => "1.83",
        _ => "1.84",
    }
}

fn attributes(info: &CommandInfo) -> String {
    let words = [
        (flag::nv, "nv"),
        (flag::extensive, "extensive"),
        (flag::flushed, "flushed"),
        (flag::no_sessions, "no sessions"),
        (flag::trial, "trial"),
        (flag::presence, "presence"),
        (flag::presence_required, "presence required"),
        (flag::not_read_only, "not read-only"),
    ];
    let mut list: Vec<&str> = words
        .iter()
        .filter(|(flag, _)| info.flags.contains(*flag))
        .map(|(_, word)| *word)
        .collect();
    if info.decrypts_parameter {
        list.push("decrypt");
    }
    if info.encrypts_response {
        list.push("encrypt");
    }
    list.join(", ")
}

fn handles(info: &CommandInfo) -> String {
    let handle = |handle: &tpm_wire::table::HandleInfo| match handle.role {
        Some(Role::User) => format!("{} (user)", handle.name),
        Some(Role::Admin) => format!("{} (admin)", handle.name),
        Some(Role::Dup) => format!("{} (dup)", handle.name),
        None => handle.name.to_owned(),
    };
    info.handles
        .iter()
        .map(handle)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The text of every file under the engine's commands, with that of its tests if they have a file of their own.
fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tpm-engine/src/commands");
    let mut folders: Vec<PathBuf> = vec![root];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the engine's sources are there") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mut text = fs::read_to_string(&path).expect("a source is text");
                let tests = fs::read_to_string(path.with_extension("").join("tests.rs"));
                text.extend(tests);
                texts.push(text);
            }
        }
    }
    texts
}

/// The codes that tests name in the file that implements the command.
fn refusals(sources: &[String], info: &CommandInfo) -> String {
    let implementation = format!("impl Execute for {} ", info.name);
    let mut codes = BTreeSet::new();
    for source in sources
        .iter()
        .filter(|source| source.contains(&implementation))
    {
        let tests = source
            .split_once("#[cfg(test)]")
            .map_or("", |(_, tests)| tests);
        for after in tests.split("Rc::").skip(1) {
            let code: String = after
                .chars()
                .take_while(|char| {
                    char.is_ascii_uppercase() || char.is_ascii_digit() || *char == '_'
                })
                .collect();
            if code.len() > 1 {
                codes.insert(code);
            }
        }
    }
    codes.into_iter().collect::<Vec<_>>().join(", ")
}
