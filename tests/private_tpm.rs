//! `vtpm run -- COMMAND`: a TPM for one command, ready before it starts and gone afterwards.

#![cfg(test)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use support::{
    PATIENCE_IN_SECONDS, Process, VTPM, files_below, finish, folder, only_for_vtpm, wait_for,
};

/// Runs `vtpm run OPTIONS -- bash -c SCRIPT` with a temporary folder of its own, which has to be empty afterwards.
fn run(options: &[&str], script: &str) -> Output {
    let temporary = folder();
    let output = Command::new("timeout")
        .args([PATIENCE_IN_SECONDS, VTPM, "run"])
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
    assert_eq!(entries(temporary.path()), 0);
    output
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).expect("the folder").count()
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
    assert_eq!(run(&[], "kill -TERM $$").status.code(), Some(128 + 15));
}

#[test]
fn what_kept_the_command_from_running_has_a_code_and_a_message() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let work = folder();
    let plain = work.path().join("plain.txt");
    fs::write(&plain, "no program").expect("a file");
    let plain = plain.display().to_string();
    let damaged = work.path().join("damaged");
    fs::create_dir_all(damaged.join("tpm")).expect("a folder");
    let damaged = damaged.display().to_string();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--", "/nonexistent/command"], 127, "/nonexistent/command"),
        (&["--", "no-such-command-anywhere"], 127, "no such command"),
        (&["--", &plain], 126, "plain.txt"),
        (&["--profile", "no-such", "--", "true"], 125, "no-such"),
        (&["--keep", &damaged, "--", "true"], 125, "damaged"),
        (&["--fault", "nonsense", "--", "true"], 2, "power-cut-at=N"),
        (
            &["--fault", "slow=1", "--fault", "slow=2", "--", "true"],
            125,
            "twice",
        ),
    ];
    for (arguments, code, message) in cases {
        let temporary = folder();
        let output = Command::new(VTPM)
            .arg("run")
            .args(arguments)
            .env("XDG_RUNTIME_DIR", temporary.path())
            .output()
            .expect("vtpm starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(message), "{arguments:?}: {told}");
        assert_eq!(entries(temporary.path()), 0, "{arguments:?}");
    }
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
    assert_eq!(entries(temporary.path()), 0);
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

#[test]
fn a_command_can_have_many_tpms_each_another() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    for tcti in ["swtpm", "mssim"] {
        let text = finish(
            "vtpm run",
            run(
                &["-n", "3", "--tcti", tcti],
                "test $VTPM_COUNT = 3; test \"$VTPM_TCTI_1\" = \"$TPM2TOOLS_TCTI\"
                 for number in 1 2 3; do
                     tcti=VTPM_TCTI_$number; tpm2_pcrextend -T ${!tcti} 16:sha256=$(printf %064x $number)
                 done
                 for number in 1 2 3; do
                     tcti=VTPM_TCTI_$number
                     tpm2_createprimary -T ${!tcti} -Q -C e -G ecc -c $TMPDIR/ctx
                     tpm2_readpublic -T ${!tcti} -c $TMPDIR/ctx | grep ^name:; rm $TMPDIR/ctx
                     tpm2_pcrread -T ${!tcti} sha256:16 | tail -1
                 done",
            ),
        );
        let lines: std::collections::BTreeSet<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
    }
}

#[test]
fn each_of_many_kept_tpms_has_its_folder() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let kept = folder();
    let kept_at = kept.path().display().to_string();
    let options = ["--count", "2", "--keep", &kept_at];
    let names = "for number in 1 2; do
             tcti=VTPM_TCTI_$number
             tpm2_createprimary -T ${!tcti} -Q -C e -G ecc -c $TMPDIR/ctx
             tpm2_readpublic -T ${!tcti} -c $TMPDIR/ctx | grep ^name:; rm $TMPDIR/ctx
         done";
    let first = finish("vtpm run", run(&options, names));
    assert_eq!(finish("vtpm run", run(&options, names)), first);
    assert!(kept.path().join("1").is_dir() && kept.path().join("2").is_dir());
    // A folder of several is also that of one.
    let second = format!("{kept_at}/2");
    let alone = finish(
        "vtpm run",
        run(&["--keep", &second], &names.replace("1 2", "1")),
    );
    assert_eq!(Some(alone.trim_end()), first.lines().nth(1));
}

#[test]
fn many_runs_at_a_time_do_not_meet() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let mut runs: Vec<_> = (0..6)
        .map(|number| {
            let tcti = ["swtpm", "mssim"][number % 2];
            Command::new(VTPM)
                .args(["run", "-n", "2", "--tcti", tcti, "--", "bash", "-euc"])
                .arg(
                    "for round in 1 2 3; do tpm2_getrandom -T $VTPM_TCTI_2 --hex 16; done;
                     tpm2_getrandom --hex 16",
                )
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("vtpm starts")
        })
        .collect();
    let outputs: std::collections::BTreeSet<String> = runs
        .drain(..)
        .map(|child| finish("vtpm run", child.wait_with_output().expect("ended")))
        .collect();
    assert_eq!(outputs.len(), 6);
    assert!(outputs.iter().all(|output| output.len() == 4 * 32));
}

/// What two runs with one seed must have in common: random bytes, keys, signatures, time.
const REPEATABLE: &str = "
    cd $WORK
    tpm2_getrandom --hex 32; echo
    tpm2_createprimary -Q -C o -G ecc -c primary.ctx; sha256sum primary.ctx
    tpm2_create -Q -C primary.ctx -G rsa2048 -u key.pub -r key.priv; sha256sum key.pub key.priv
    tpm2_createak -Q -C primary.ctx -G ecc -c ak.ctx -u ak.pub 2>/dev/null \
        || { tpm2_createek -Q -G ecc -c ek.ctx; tpm2_createak -Q -C ek.ctx -G ecc -s ecdsa -c ak.ctx -u ak.pub; }
    sha256sum ak.pub
    tpm2_quote -Q -c ak.ctx -l sha256:0,1,7 -m quote.msg -s quote.sig; sha256sum quote.msg quote.sig
    tpm2_readclock
    tpm2_getrandom --hex 32 -T ${VTPM_TCTI_2:-$TPM2TOOLS_TCTI}; echo";

#[test]
fn the_same_seed_gives_the_same_bytes() {
    if only_for_vtpm("it has no seed") {
        return;
    }
    let twice = |options: &[&str]| {
        [(), ()].map(|()| {
            let work = folder();
            let script = format!("export WORK={}; {REPEATABLE}", work.path().display());
            finish("vtpm run", run(options, &script))
        })
    };
    let [first, again] = twice(&["--seed", "42", "-n", "2"]);
    assert_eq!(first, again);
    let [other, simulator] = [
        &["--seed", "43"][..],
        &["--seed", "42", "--tcti", "mssim"][..],
    ]
    .map(|options| twice(options)[0].clone());
    // One line is made of each: nothing but names of files is the same.
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(lines(&first)[0], lines(&other)[0]);
    assert_ne!(lines(&first)[1], lines(&other)[1]);
    assert_eq!(lines(&first)[0], lines(&simulator)[0]);
    assert_ne!(lines(&first)[0], *lines(&first).last().expect("lines"));
}

#[test]
fn a_kept_tpm_of_a_seed_repeats_no_random_number_from_start_to_start() {
    if only_for_vtpm("it has no seed") {
        return;
    }
    let [first, again] = [(), ()].map(|()| {
        let home = folder();
        let kept = home.path().join("kept");
        let kept = kept.to_str().expect("text");
        [(), (), ()].map(|()| {
            let options = ["--seed", "42", "--keep", kept];
            finish("vtpm run", run(&options, "tpm2_getrandom --hex 16"))
        })
    });
    assert_eq!(first, again, "the whole history repeats");
    let distinct: std::collections::BTreeSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), first.len(), "{first:?}");
}

#[test]
fn a_power_cut_loses_the_answer_and_what_was_volatile_and_nothing_else() {
    if only_for_vtpm("it has no faults") {
        return;
    }
    // The third command is the second extension: nvdefine is one command, each extension another.
    for tcti in ["swtpm", "mssim"] {
        let text = finish(
            "vtpm run",
            run(
                &["--tcti", tcti, "--fault", "power-cut-at=3"],
                "export TSS2_LOG=all+none
                 extend() { printf '\\x80\\x02\\0\\0\\0\\x41\\0\\0\\1\\x82\\0\\0\\0\\x10\\0\\0\\0\\x09\\x40\\0\\0\\x09\\0\\0\\0\\0\\0\\0\\0\\0\\1\\0\\x0b%032d' 7 | tpm2_send > /dev/null; }
                 define() { printf '\\x80\\x02\\0\\0\\0\\x2d\\0\\0\\1\\x2a\\x40\\0\\0\\1\\0\\0\\0\\x09\\x40\\0\\0\\x09\\0\\0\\0\\0\\0\\0\\0\\0\\x0e\\1\\x50\\0\\1\\0\\x0b\\0\\x02\\0\\x02\\0\\0\\0\\4' | tpm2_send > /dev/null; }
                 define && echo defined; extend && echo extended
                 if extend; then echo answered; else echo cut; fi
                 tpm2_pcrread sha256:16 | tail -1; tpm2_getcap handles-nv-index; tpm2_readclock",
            ),
        );
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[..3], ["defined", "extended", "cut"], "{text}");
        let zeros = "0".repeat(64);
        assert!(lines[3].ends_with(&format!("0x{zeros}")), "{text}");
        assert!(lines.contains(&"- 0x1500001"), "{text}");
        assert!(lines.contains(&"reset_count: 2"), "{text}");
        assert!(lines.contains(&"safe: no"), "{text}");
    }
}

#[test]
fn full_storage_takes_nothing_new_and_no_changes() {
    if only_for_vtpm("it has no faults") {
        return;
    }
    let kept = folder();
    let kept_at = kept.path().join("tpm").display().to_string();
    let define = "tpm2_nvdefine 0x1500001 -C o -s 4 -a 'ownerread|ownerwrite'";
    let write = "printf %s keep | tpm2_nvwrite 0x1500001 -C o -i -";
    let whole = format!("{define}; {write}");
    finish("vtpm run", run(&["--keep", &kept_at], &whole));
    let output = run(
        &["--keep", &kept_at, "--fault", "nv-full"],
        "! tpm2_nvdefine 0x1500002 -C o -s 4; ! tpm2_changeauth -c o secret
         printf %s lost | { ! tpm2_nvwrite 0x1500001 -C o -i -; }
         tpm2_nvread 0x1500001 -C o -s 4; tpm2_createprimary -Q -C o -G ecc -c $TMPDIR/ctx
         ! tpm2_evictcontrol -C o -c $TMPDIR/ctx 0x81000001; rm $TMPDIR/ctx",
    );
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("(0x14B)"), "TPM_RC_NV_SPACE: {told}");
    assert!(told.contains("(0x923)"), "TPM_RC_NV_UNAVAILABLE: {told}");
    assert_eq!(finish("vtpm run", output), "keep");
    // The fault is one of the run, not of the TPM.
    let text = finish(
        "vtpm run",
        run(
            &["--keep", &kept_at],
            "tpm2_nvread 0x1500001 -C o -s 4; tpm2_nvdefine -Q 0x1500002 -C o -s 4; tpm2_readclock",
        ),
    );
    assert!(text.starts_with("keep"), "{text}");
}

#[test]
fn lockout_is_real_and_can_be_ended() {
    if only_for_vtpm("it has no faults") {
        return;
    }
    let output = run(
        &["--fault", "lockout"],
        "tpm2_getcap properties-variable | grep inLockout
         tpm2_nvdefine -Q 0x1500001 -C o -s 4 -a 'authread|authwrite' -p secret
         ! tpm2_nvwrite 0x1500001 -P secret -i - <<< abc 2>&1 | grep -o 0x921
         tpm2_dictionarylockout --clear-lockout
         tpm2_nvwrite 0x1500001 -P secret -i - <<< abc; tpm2_nvread 0x1500001 -P secret -s 3
         tpm2_getcap handles-transient",
    );
    let text = finish("vtpm run", output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with('1'), "{text}");
    assert!(lines[1..].contains(&"abc"), "{text}");
    assert!(
        !text.contains("0x8000000"),
        "nothing is left loaded: {text}"
    );
}

#[test]
fn failure_mode_lasts_until_the_power_cycle() {
    if only_for_vtpm("it has no faults") {
        return;
    }
    let text = finish(
        "vtpm run",
        run(
            &["--fault", "failure-mode", "--tcti", "mssim"],
            "{ tpm2_selftest --fulltest 2>&1 || :; } | grep -o 0x101 | uniq
             platform() { exec 5<>/dev/tcp/127.0.0.1/$TPM_PLATFORM_PORT; printf \"$1\" >&5; head -c 4 <&5 | od -An -tx1 | tr -d ' '; exec 5>&-; }
             platform '\\0\\0\\0\\x11'
             tpm2_startup -c; tpm2_getrandom --hex 8",
        ),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["0x101", "00000000"], "{text}");
    assert_eq!(lines[2].len(), 16, "{text}");
}

#[test]
fn a_slow_tpm_takes_its_time() {
    if only_for_vtpm("it has no faults") {
        return;
    }
    let command = "printf '\\x80\\1\\0\\0\\0\\x0c\\0\\0\\1\\x7b\\0\\x08' | tpm2_send | wc -c";
    let start = Instant::now();
    let script = format!("{command}; {command}; {command}");
    let text = finish("vtpm run", run(&["--fault", "slow=400"], &script));
    assert_eq!(text, "20\n20\n20\n");
    assert!(start.elapsed() >= Duration::from_millis(3 * 400));
}

#[test]
fn a_profile_narrows_the_tpm() {
    if only_for_vtpm("it has no profiles") {
        return;
    }
    let script = "tpm2_getcap properties-fixed | grep -A1 TPM2_PT_NV_INDEX_MAX | tail -1";
    let [all, narrow] = [&[][..], &["--profile", "swtpm-0.7"]]
        .map(|options: &[&str]| finish("vtpm run", run(options, script)));
    assert!(narrow.contains("0x800"), "{narrow}");
    assert_ne!(narrow, all);
}

/// The state of a process by its number, as the kernel has it; `Z` and nothing at all mean that it has ended.
fn lives(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// A run whose command has started a process of its own: the run, and the numbers of both.
fn running(temporary: &Path, work: &Path) -> (Process, [String; 2]) {
    let script =
        "sleep 1000 & echo $! > started.child; echo $$ > started; mv started started.self; wait";
    let process = Process::start(
        Command::new(VTPM)
            .args(["run", "--", "bash", "-c", script])
            .current_dir(work)
            .env("XDG_RUNTIME_DIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let own = work.join("started.self");
    wait_for("the command", || own.exists().then_some(()));
    let number = |name: &str| {
        let text = fs::read_to_string(work.join(name)).expect("a number");
        text.trim().to_owned()
    };
    (process, [number("started.self"), number("started.child")])
}

fn kill(number: &str) -> rustix::io::Result<()> {
    let number = number.parse().ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(number.expect("a number"), rustix::process::Signal::KILL)
}

/// The watcher of a run.
fn watcher_of(process: &Process) -> String {
    let parent = process.id().to_string();
    let found = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .find(|entry| {
            let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let stat = read("stat");
            let mut fields = stat.rsplit_once(") ").unwrap_or_default().1.split(' ');
            fields.nth(1) == Some(&parent) && read("cmdline").contains("run-watcher")
        });
    let name = found.expect("a run has a watcher").file_name();
    name.into_string().expect("a number")
}

#[test]
fn when_the_run_is_killed_its_command_and_its_sockets_go_too() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let (temporary, work) = (folder(), folder());
    let (mut process, numbers) = running(temporary.path(), work.path());
    let watcher = watcher_of(&process);
    assert!(numbers.iter().all(|number| lives(number)));
    assert_eq!(entries(temporary.path()), 1);
    process.kill();
    wait_for("the end of the command and what it had started", || {
        (!numbers.iter().any(|number| lives(number))).then_some(())
    });
    wait_for("the sockets to go", || {
        (entries(temporary.path()) == 0).then_some(())
    });
    wait_for("the end of the watcher", || {
        (!lives(&watcher)).then_some(())
    });
}

#[test]
fn when_the_command_is_killed_what_it_had_started_goes_too() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    for run_too in [false, true] {
        let (temporary, work) = (folder(), folder());
        let (mut process, numbers) = running(temporary.path(), work.path());
        let [own, _started] = &numbers;
        kill(own).expect("the command lives");
        if run_too {
            process.kill();
        } else {
            assert_eq!(process.wait().code(), Some(137));
        }
        wait_for("the end of what the command had started", || {
            (!numbers.iter().any(|number| lives(number))).then_some(())
        });
        wait_for("the sockets to go", || {
            (entries(temporary.path()) == 0).then_some(())
        });
    }
}

#[test]
fn what_has_neither_parent_nor_mark_ends_with_the_run() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let work = folder();
    // One that goes on, and one that ends before the run does.
    let script = r#"
        (env -i setsid sh -c 'echo $$ > number; mv number goes-on; exec sleep 100000' &)
        (env -i setsid sh -c 'echo $$ > other; mv other ended' &)
        while [ ! -e goes-on ] || [ ! -e ended ]; do sleep 0.01; done
        while [ -e "/proc/$(cat ended)" ]; do sleep 0.01; done
        exit 3"#;
    let mut process = Process::start(
        Command::new(VTPM)
            .args(["run", "--", "sh", "-c", script])
            .current_dir(work.path()),
    );
    assert_eq!(process.wait().code(), Some(3));
    let number = fs::read_to_string(work.path().join("goes-on")).expect("a number");
    wait_for("its end", || (!lives(number.trim())).then_some(()));
}

#[test]
fn what_a_killed_run_and_its_killed_watcher_left_is_swept_by_the_next() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let (temporary, work) = (folder(), folder());
    let (mut process, numbers) = running(temporary.path(), work.path());
    kill(&watcher_of(&process)).expect("the watcher lives");
    process.kill();
    assert_eq!(entries(temporary.path()), 1);
    let left = fs::read_dir(temporary.path())
        .expect("the folder")
        .flatten();
    for folder in left {
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let opened = File::open(folder.path()).expect("the folder");
        opened.set_modified(long_ago).expect("its time");
    }
    let status = Command::new(VTPM)
        .args(["run", "--", "true"])
        .env("XDG_RUNTIME_DIR", temporary.path())
        .status()
        .expect("vtpm starts");
    assert!(status.success());
    assert_eq!(entries(temporary.path()), 0);
    for number in &numbers {
        kill(number).expect("nobody was left to end it");
    }
}

#[test]
fn the_sockets_are_their_users_alone() {
    if only_for_vtpm("it runs no commands") {
        return;
    }
    let (temporary, work) = (folder(), folder());
    let (mut process, [_, child]) = running(temporary.path(), work.path());
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    let made = fs::read_dir(temporary.path())
        .expect("the folder")
        .flatten()
        .next();
    let made = made.expect("a folder for sockets").path();
    assert_eq!(mode(&made), 0o700);
    for name in ["tpm", "tpm.ctrl"] {
        assert_eq!(mode(&made.join(name)), 0o600);
    }
    process.terminate();
    assert_eq!(entries(temporary.path()), 0);
    // What the command leaves running is its own affair, here as in a shell.
    kill(&child).expect("it still runs");
}
