//! Replays sequences of commands and prints what each command answered: how far generated commands get.
//!
//! `reached FOLDER` replays the files of a folder, `reached COUNT` as many sequences of pseudo-random bytes.

use std::collections::BTreeMap;
use std::path::Path;
use tpm_engine::testing::{Answers, Sequences};
use tpm_wire::commands::COMMANDS;
use tpm_wire::rc::Rc;

fn inputs(argument: &str) -> Vec<Vec<u8>> {
    if Path::new(argument).is_dir() {
        let entries = std::fs::read_dir(argument).expect("a folder");
        let files = entries.map(|entry| entry.expect("an entry").path());
        return files.filter_map(|file| std::fs::read(file).ok()).collect();
    }
    let count: u64 = argument.parse().expect("a folder or a number of sequences");
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| (0..1000).map(|_| byte()).collect()).collect()
}

/// Whether a refusal can only come from the handler, or from a parameter that it was given.
fn past_authorization(rc: Rc) -> bool {
    rc == Rc::SUCCESS || rc.place().is_some_and(|(kind, _)| kind == "parameter")
}

fn main() {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "200".into());
    let sequences = Sequences::new();
    let mut answers = Answers::new();
    for (number, input) in inputs(&argument).into_iter().enumerate() {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sequences.execute(&input)));
        let Ok(run) = run else { println!("BROKEN {number}"); continue };
        for (answer, count) in run {
            *answers.entry(answer).or_default() += count;
        }
    }
    let mut reached = 0;
    let mut succeeded = 0;
    println!("{:28} {:>9} {:>9} {:>9} {:>6}  answers", "command", "all", "reached", "success", "codes");
    for info in COMMANDS {
        let of: BTreeMap<Rc, u64> = answers
            .iter()
            .filter(|((code, _), _)| *code == info.code)
            .map(|((_, rc), count)| (*rc, *count))
            .collect();
        let all: u64 = of.values().sum();
        let past: u64 = of.iter().filter(|(rc, _)| past_authorization(**rc)).map(|(_, count)| count).sum();
        let success = of.get(&Rc::SUCCESS).copied().unwrap_or_default();
        reached += usize::from(past > 0);
        succeeded += usize::from(success > 0);
        let text: Vec<String> = of.iter().map(|(rc, count)| format!("{rc} x{count}")).collect();
        println!("{:28} {all:9} {past:9} {success:9} {:6}  {}", info.name, of.len(), text.join(", "));
    }
    println!("{reached} of {} commands reached, {succeeded} succeeded", COMMANDS.len());
}
