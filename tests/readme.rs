//! The README's transcripts are true: they are run, and what they show is compared.
//!
//! A block that begins with ```` ```console tested ```` is run. A line `$ COMMAND` is typed into a shell that all
//! tested blocks share, `> MORE` continues it, and the lines up to the next command are what it prints, on both streams.
//! `...` stands for any text within a line, and on a line of its own for any lines. A command under which nothing is
//! shown may print what it likes and has to succeed. In a block ```` ```console tested background ```` there is one
//! command that goes on running while the later blocks are run, and the shown lines are waited for.
//! `cargo run --release --` means the binary of this build, and the home folder is a new one.

#![cfg(test)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use support::{PATIENCE, Process, VTPM, folder, only_for_vtpm};

#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Block {
    background: bool,
    steps: Vec<Step>,
}

/// The tested blocks of a Markdown text.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        if inside && line == "```" {
            inside = false;
        } else if inside {
            let steps = &mut blocks.last_mut().expect("a block").steps;
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    line: number,
                    command: command.to_owned(),
                    shown: Vec::new(),
                });
                continue;
            }
            let Some(step) = steps.last_mut() else {
                panic!("line {number}: a transcript begins with a command");
            };
            match line.strip_prefix("> ") {
                Some(more) if step.shown.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => step.shown.push(line.trim_end().to_owned()),
            }
        } else if let Some(words) = line.strip_prefix("```console") {
            let words: Vec<&str> = words.split_whitespace().collect();
            if words.contains(&"tested") {
                inside = true;
                blocks.push(Block {
                    background: words.contains(&"background"),
                    steps: Vec::new(),
                });
            }
        }
    }
    assert!(!inside, "a block without an end");
    blocks
}

/// Whether a printed line is the shown one, in which `...` stands for any text.
fn line_matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.trim_end().strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether printed lines are the shown ones, where a line `...` stands for any lines.
fn matches(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any.trim() == "..." => {
            matches(rest, printed)
                || printed
                    .split_first()
                    .is_some_and(|(_, printed)| matches(shown, printed))
        }
        (Some((shown, more_shown)), Some((line, more_printed))) => {
            line_matches(shown, line) && matches(more_shown, more_printed)
        }
        _ => false,
    }
}

/// Lines of a stream as they come.
fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The name under which the README starts this build's binary.
fn command_of(step: &Step) -> String {
    step.command.replace("cargo run --release --", "vtpm")
}

fn shell(home: &Path) -> Command {
    let bin = home.join(".bin");
    let mut paths = vec![bin];
    paths.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let mut command = Command::new("bash");
    command
        .args(["--noprofile", "--norc"])
        .current_dir(home)
        .env("PATH", std::env::join_paths(paths).expect("a PATH"))
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("VTPM_DATA")
        .env_remove("TPM2TOOLS_TCTI")
        .env_remove("TSS2_TCTI");
    command
}

/// The shell that the tested blocks share.
struct Shell {
    process: Process,
    typing: std::process::ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn start(home: &Path) -> Self {
        let mut command = shell(home);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut process = Process::start(&mut command);
        let typing = process.stdin();
        let lines = lines_of(process.stdout());
        let mut shell = Shell {
            process,
            typing,
            lines,
        };
        shell.run("exec 2>&1");
        shell
    }

    /// Runs a command; its lines and its exit status.
    fn run(&mut self, command: &str) -> (Vec<String>, i32) {
        const END: &str = "=== end of the command, status ";
        // The command does not get the shell's own input.
        let text = format!("{{ {command}\n}} < /dev/null\nprintf '\\n%s%d\\n' '{END}' \"$?\"\n");
        self.typing
            .write_all(text.as_bytes())
            .expect("the shell reads");
        let mut printed = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{error} after {command}: {printed:#?}"));
            if let Some(status) = line.strip_prefix(END) {
                // One empty line is our own: it ends a last line without an end.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return (printed, status.parse().expect("a number"));
            }
            printed.push(line);
        }
    }
}

#[test]
fn the_transcripts_of_the_readme_are_true() {
    if only_for_vtpm("the README is about vtpm") {
        return;
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(readme).expect("README.md");
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "no ```console tested block");
    let home = folder();
    fs::create_dir(home.path().join(".bin")).expect("a folder");
    std::os::unix::fs::symlink(VTPM, home.path().join(".bin/vtpm")).expect("a link");
    // Dropped in this order: the shell first, then what runs in the background.
    let mut background = Vec::new();
    let mut foreground = Shell::start(home.path());
    for block in &blocks {
        if block.background {
            let [step] = block.steps.as_slice() else {
                panic!("a background block has one command");
            };
            let mut command = shell(home.path());
            command
                .args(["-c", &format!("exec {} 2>&1", command_of(step))])
                .stdin(Stdio::null())
                .stdout(Stdio::piped());
            let mut process = Process::start(&mut command);
            let lines = lines_of(process.stdout());
            let mut printed = Vec::new();
            // The lines after the shown ones may still come.
            let shown: Vec<String> = step.shown.clone();
            while !matches(&shown, &printed) {
                let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                    panic!("README.md, line {}: {error} after {printed:#?}", step.line)
                });
                printed.push(line);
            }
            background.push((process, lines));
            continue;
        }
        for step in &block.steps {
            let (printed, status) = foreground.run(&command_of(step));
            if step.shown.is_empty() {
                assert_eq!(status, 0, "README.md, line {}: {printed:#?}", step.line);
            } else {
                assert!(
                    matches(&step.shown, &printed),
                    "README.md, line {}: shown {:#?}, printed {printed:#?}",
                    step.line,
                    step.shown
                );
            }
        }
    }
    drop(foreground.process);
    for (mut process, _) in background {
        assert!(process.ended().is_none(), "it has ended before its time");
        process.terminate();
    }
}

#[test]
fn a_transcript_is_read_as_it_says() {
    let text = "\
text
```console tested
$ one \\
> two
shown
...
$ three
```
```console
$ not run
```
```console tested background
$ four
ready
```
";
    let found = blocks(text);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].steps[0].command, "one \\\ntwo");
    assert_eq!(found[0].steps[0].shown, ["shown", "..."]);
    assert_eq!(found[0].steps[1].command, "three");
    assert!(found[0].steps[1].shown.is_empty());
    assert!(found[1].background);
}

#[test]
fn dots_stand_for_anything_and_nothing_else_does() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    assert!(matches(&lines("a\nb"), &lines("a\nb")));
    assert!(!matches(&lines("a\nb"), &lines("a\nb\nc")));
    assert!(!matches(&lines("a\nb"), &lines("a")));
    assert!(matches(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(matches(&lines("a\n...\nb"), &lines("a\nb")));
    assert!(matches(&lines("x ...: y"), &lines("x 123: y")));
    assert!(!matches(&lines("x ...: y"), &lines("x 123: z")));
    assert!(matches(&lines("name: 000b..."), &lines("name: 000bff")));
    assert!(!matches(&lines("ab...ba"), &lines("aba")));
}
