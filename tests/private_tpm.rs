//! `vtpm run -- COMMAND`: a TPM for one command, ready before it starts and gone afterwards.

#![cfg(test)]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use support::{Process, VTPM, files_below, finish, folder, only_for_vtpm, wait_for};

/// Runs `vtpm run OPTIONS -- bash -c SCRIPT` with a temporary folder of its own, which has to be empty afterwards.
fn run(options: &[&str], script: &str) -> Output {
    let temporary = folder();
    let output = Command::new("timeout")
        .args(["120", VTPM, "run"])
        .args(options)
        .args(["--", "bash", "-euo", "pipefail", "-c", script])
        .env("TMPDIR", temporary.path())
        .env("XDG_RUNTIME_DIR", temporary.path())
        .env_remove("TPM2TOOLS_TCTI")
        .stdin(Stdio::null())
        .output()
        .expect("vtpm starts");
    assert_eq!(
        files_below(temporary.path()),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        fs::read_dir(temporary.path()).expect("the folder").count(),
        0
    );
    output
}

#[test]
fn the_tpm_is_ready_and_the_environment_leads_to_it() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    for tcti in ["swtpm", "mssim"] {
        let text = finish(
            "vtpm run",
            run(
                &["--tcti", tcti],
                "tpm2_getrandom --hex 8; echo; tpm2_pcrread sha256:0 > /dev/null
                 echo \"$TPM2TOOLS_TCTI\"; echo \"$TSS2_TCTI\"",
            ),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].len(), 16, "{text}");
        assert!(lines[1].starts_with(&format!("{tcti}:")), "{text}");
        assert_eq!(lines[1], lines[2]);
    }
}

#[test]
fn whole_flows_work_in_it() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let work = folder();
    let flows = support::data("flows");
    let script = format!(
        "cd {}; export FLOWS={}; for flow in nv quote persistent; do bash $FLOWS/$flow.sh; done",
        work.path().display(),
        flows.display()
    );
    finish("vtpm run", run(&[], &script));
}

#[test]
fn exit_codes_and_deaths_are_passed_on() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    assert_eq!(run(&[], "exit 0").status.code(), Some(0));
    assert_eq!(run(&[], "exit 7").status.code(), Some(7));
    assert_eq!(run(&[], "kill -KILL $$").status.code(), Some(128 + 9));
    let temporary = folder();
    let output = Command::new(VTPM)
        .args(["run", "--", "/nonexistent/command"])
        .env("TMPDIR", temporary.path())
        .output()
        .expect("vtpm starts");
    assert!(
        matches!(output.status.code(), Some(126 | 127)),
        "{output:?}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/command"));
}

#[test]
fn standard_streams_are_the_commands_own() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let mut child = Command::new(VTPM)
        .args(["run", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vtpm starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"through and through")
        .expect("written");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.stdout, b"through and through");
}

#[test]
fn a_signal_reaches_the_command_and_nothing_is_left() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let temporary = folder();
    let work = folder();
    let script =
        "trap 'touch asked; exit 3' TERM; touch started; while :; do read -rt 1 <> <(:) || :; done";
    let mut process = Process::start(
        Command::new(VTPM)
            .args(["run", "--", "bash", "-c", script])
            .current_dir(work.path())
            .env("TMPDIR", temporary.path())
            .env("XDG_RUNTIME_DIR", temporary.path())
            .stdin(Stdio::null()),
    );
    let started = work.path().join("started");
    wait_for("the command", || started.exists().then_some(()));
    process.signal(rustix::process::Signal::TERM);
    let status = process.wait();
    assert!(
        status.code() == Some(3) || status.signal() == Some(15) || status.code() == Some(143),
        "{status}"
    );
    assert!(work.path().join("asked").exists());
    assert_eq!(
        fs::read_dir(temporary.path()).expect("the folder").count(),
        0
    );
}

#[test]
fn two_at_a_time_are_two_tpms() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let nested = format!(
        "tpm2_createprimary -Q -C e -G ecc -c $TMPDIR/outer.ctx
         tpm2_readpublic -c $TMPDIR/outer.ctx | grep ^name:; rm $TMPDIR/outer.ctx
         {VTPM} run -- bash -euc 'tpm2_createprimary -Q -C e -G ecc -c $TMPDIR/inner.ctx
         tpm2_readpublic -c $TMPDIR/inner.ctx | grep ^name:; rm $TMPDIR/inner.ctx'"
    );
    let text = finish("vtpm run", run(&[], &nested));
    let names: Vec<&str> = text.lines().collect();
    assert_eq!(names.len(), 2, "{text}");
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_kept_tpm_is_the_same_next_time() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let kept = folder();
    let kept_at = kept.path().join("tpm").display().to_string();
    let options = ["--keep", kept_at.as_str()];
    finish(
        "vtpm run",
        run(
            &options,
            "tpm2_nvdefine 0x1500001 -C o -s 4 -a 'ownerread|ownerwrite'; printf kept | tpm2_nvwrite 0x1500001 -C o -i -",
        ),
    );
    let text = finish("vtpm run", run(&options, "tpm2_nvread 0x1500001 -C o -s 4"));
    assert_eq!(text, "kept");
}
