//! `libtss2-tcti-vtpm.so`: tpm2-tools with the TPM in their own process.

#![cfg(test)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{PATIENCE_IN_SECONDS, finish, folder, only_for_vtpm};
use tempfile::TempDir;

/// The library as Cargo built it for this test.
fn built() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let library = own.with_file_name("libtss2_tcti_vtpm.so");
    assert!(library.is_file(), "{} was not built", library.display());
    library
}

/// A folder with the library under the name by which tpm2-tss looks for it.
fn installed() -> TempDir {
    let folder = folder();
    std::os::unix::fs::symlink(built(), folder.path().join("libtss2-tcti-vtpm.so.0"))
        .expect("a link");
    folder
}

fn bash(tcti: &str, work: &Path, script: &str) -> Output {
    let libraries = installed();
    Command::new("timeout")
        .args([
            PATIENCE_IN_SECONDS,
            "bash",
            "-euo",
            "pipefail",
            "-c",
            script,
        ])
        .current_dir(work)
        .env("LD_LIBRARY_PATH", libraries.path())
        .env("TPM2TOOLS_TCTI", tcti)
        .env("FLOWS", support::data("flows"))
        .env_remove("BASH_ENV")
        .stdin(Stdio::null())
        .output()
        .expect("bash starts")
}

fn kept_in(work: &Path) -> String {
    format!("vtpm:dir={}", work.join("state").display())
}

/// What a script prints whose TPM is kept in `work`.
fn with_kept(work: &Path, script: &str) -> String {
    finish("tpm2-tools", bash(&kept_in(work), work, script))
}

#[test]
fn each_command_without_a_folder_has_a_tpm_of_its_own() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    let text = finish(
        "tpm2_getrandom",
        bash(
            "vtpm",
            work.path(),
            "tpm2_getrandom --hex 8; echo; tpm2_getrandom --hex 8; echo
             tpm2_getrandom -T vtpm:seed=7 --hex 8; echo; tpm2_getrandom -T vtpm:seed=7 --hex 8; echo",
        ),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().all(|line| line.len() == 16), "{text}");
    assert_ne!(lines[0], lines[1]);
    assert_eq!(lines[2], lines[3]);
    assert_eq!(fs::read_dir(work.path()).expect("the folder").count(), 0);
}

#[test]
fn what_was_loaded_stays_loaded_for_the_next_command() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    let text = with_kept(
        work.path(),
        "tpm2_pcrextend 16:sha256=$(printf %064x 1)
             tpm2_createprimary -Q -C o -G ecc
             tpm2_getcap handles-transient
             tpm2_startauthsession -S session.ctx; tpm2_getcap handles-loaded-session
             tpm2_getcap handles-saved-session
             tpm2_flushcontext session.ctx
             tpm2_pcrread sha256:16 | tail -1
             tpm2_readclock | grep -E 'reset_count|restart_count'",
    );
    assert!(text.contains("- 0x80000000"), "{text}");
    assert!(text.contains("- 0x2000000"), "{text}");
    assert!(!text.contains(&format!("0x{}", "0".repeat(64))), "{text}");
    assert!(
        text.contains("reset_count: 1") && text.contains("restart_count: 0"),
        "{text}"
    );
}

#[test]
fn whole_flows_work_in_it() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    for flow in [
        "nv",
        "quote",
        "persistent",
        "contexts",
        "encrypted_sessions",
    ] {
        with_kept(work.path(), &format!("source $FLOWS/{flow}.sh"));
    }
}

#[test]
fn the_folder_is_that_of_the_servers() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    let define =
        "tpm2_nvdefine -Q 0x1500001 -C o -s 4; printf data | tpm2_nvwrite 0x1500001 -C o -i -";
    with_kept(work.path(), define);
    let server = Command::new(support::VTPM)
        .args(["run", "--keep"])
        .arg(work.path().join("state"))
        .args(["--", "tpm2_nvread", "0x1500001", "-C", "o", "-s", "4"])
        .output()
        .expect("vtpm starts");
    assert_eq!(finish("vtpm run", server), "data");
    let read = "tpm2_nvread 0x1500001 -C o -s 4";
    let text = with_kept(work.path(), read);
    assert_eq!(text, "data");
}

#[test]
fn commands_of_a_pipe_wait_for_each_other() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    let text = with_kept(
        work.path(),
        "for number in 1 2 3 4 5 6; do tpm2_getrandom --hex 8 > $number & done; wait; cat 1 2 3 4 5 6",
    );
    assert_eq!(text.len(), 6 * 16, "{text}");
}

#[test]
fn a_killed_process_is_a_power_cut_and_what_was_answered_stays() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    // The shell of the tools keeps one context, and reads its commands from standard input.
    let text = with_kept(
        work.path(),
        "tpm2_nvdefine -Q 0x1500001 -C o -s 4; printf data | tpm2_nvwrite 0x1500001 -C o -i -
             tpm2_pcrextend 16:sha256=$(printf %064x 1)
             # It waits for its input with the TPM open.
             mkfifo input; tpm2_send < input > answer & sender=$!
             exec 5> input; printf '\\x80\\x01\\0\\0\\0\\x0c\\0\\0\\1\\x7b\\0\\x08' >&5
             until test -s answer; do read -rt 0.05 <> <(:) || :; done
             kill -KILL $sender; wait $sender || :; exec 5>&-
             tpm2_pcrread sha256:16 | tail -1; tpm2_nvread 0x1500001 -C o -s 4"
            .replace("\\\\", "\\")
            .as_str(),
    );
    assert!(text.ends_with("data"), "{text}");
}

#[test]
fn what_is_wrong_is_said() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let work = folder();
    fs::create_dir_all(work.path().join("state/tpm")).expect("a folder");
    for (tcti, words) in [
        ("vtpm:port=2321", "'port' is not known"),
        ("vtpm:profile=tin", "no profile 'tin'"),
        (&*kept_in(work.path()), "state"),
    ] {
        let output = bash(tcti, work.path(), "tpm2_getrandom --hex 8");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            told.contains("ERROR:tcti:vtpm: ") && told.contains(words),
            "{told}"
        );
    }
}

#[test]
fn the_library_bears_the_name_that_it_is_linked_by() {
    if only_for_vtpm("it is no library") {
        return;
    }
    let bytes = fs::read(built()).expect("the library");
    let name = b"libtss2-tcti-vtpm.so.0\0";
    assert!(bytes.windows(name.len()).any(|window| window == name));
}
