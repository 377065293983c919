//! `vtpm trace` and `vtpm explain`, with real clients, Wireshark's dissector and tpm2-tools' decoder as judges.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use support::{
    Client, Daemon, Process, Protocol, TpmServer, VTPM, finish, folder, only_for_vtpm,
    read_line_where,
};
use tpm_wire::describe::{describe_command, describe_response, redact};

/// What must not be seen in a recording that is not to hold secrets.
const SECRETS: [&str; 3] = ["hunter2-password", "the sealed words", "nv contents"];

/// Uses a TPM so that all of [`SECRETS`] cross the wire in the clear.
const USE: &str = r#"
    tpm2_getrandom 8 > /dev/null
    tpm2_createprimary -C o -c primary.ctx -Q
    printf 'the sealed words' | tpm2_create -C primary.ctx -i - -p hunter2-password -u seal.pub -r seal.priv -Q
    tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx -Q
    tpm2_unseal -c seal.ctx -p hunter2-password > opened
    fails tpm2_unseal -c seal.ctx -p wrong
    tpm2_nvdefine 0x1500001 -C o -s 11 -a 'ownerread|ownerwrite'
    printf 'nv contents' | tpm2_nvwrite 0x1500001 -C o -i -
    tpm2_nvread 0x1500001 -C o > read
    tpm2_pcrextend 16:sha256=0101010101010101010101010101010101010101010101010101010101010101
"#;

fn vtpm(arguments: &[&str]) -> Output {
    Command::new(VTPM)
        .args(arguments)
        .env_remove("TPM2TOOLS_TCTI")
        .stdin(Stdio::null())
        .output()
        .expect("vtpm starts")
}

fn ok(arguments: &[&str]) -> String {
    finish(&arguments.join(" "), vtpm(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test is text")
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    let plain = bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes());
    let digits = hex::encode(secret);
    plain
        || bytes
            .windows(digits.len())
            .any(|window| window == digits.as_bytes())
}

/// The exchanges of `vtpm trace FILE --json`.
fn decoded(file: &Path, more: &[&str]) -> Vec<Json> {
    let mut arguments = vec!["trace", text(file), "--json"];
    arguments.extend(more);
    ok(&arguments)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        // What happened beside commands is for another test.
        .filter(|line: &Json| line.get("event").is_none())
        .collect()
}

#[test]
fn every_command_of_real_clients_is_understood_to_its_last_byte() {
    if only_for_vtpm("the trace") {
        return;
    }
    for protocol in [Protocol::SwtpmUnix, Protocol::Mssim] {
        let home = folder();
        let recording = home.path().join("trace.jsonl");
        let capture = home.path().join("trace.pcap");
        let options = ["--trace", text(&recording), "--pcap", text(&capture)];
        let mut server = TpmServer::start_with(protocol, home.path(), &options);
        let client = Client::new(server.tcti(), home.path());
        if protocol == Protocol::Mssim {
            client.sh("tpm2_startup -c");
        }
        let (flows, least): (&[&str], _) = if protocol == Protocol::Mssim {
            (&["nv.sh", "quote.sh"], 10)
        } else {
            (
                &[
                    "nv.sh",
                    "policies.sh",
                    "encrypted_sessions.sh",
                    "duplication.sh",
                    "credentials.sh",
                    "certify.sh",
                    "capabilities.sh",
                ],
                35,
            )
        };
        for flow in flows {
            client.flow(flow);
        }
        server.process().terminate();

        let exchanges = decoded(&recording, &[]);
        assert!(exchanges.len() > 100, "only {}", exchanges.len());
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut encrypted = 0;
        for exchange in &exchanges {
            for side in ["command", "response"] {
                let message = &exchange[side]["message"];
                assert_eq!(message["ended"], Json::Null, "{exchange}");
                let first = &message["parameters"][0]["type"];
                encrypted += usize::from(first == "encrypted");
            }
            let name = exchange["command"]["name"]
                .as_str()
                .expect("a known command");
            *names.entry(name.to_owned()).or_default() += 1;
            let bytes = exchange["command"]["message"]["length"].as_u64();
            assert_eq!(bytes, exchange["command"]["message"]["size"].as_u64());
        }
        assert!(names.len() > least, "{names:?}");
        if protocol != Protocol::Mssim {
            assert!(encrypted > 5, "sessions encrypt: {encrypted}");
        }
        // The capture holds the same, and Wireshark takes every packet for a TPM's.
        let captured = decoded(&capture, &[]);
        assert_eq!(captured.len(), exchanges.len());
        judge_capture(&capture, &exchanges);
    }
}

/// Wireshark's dissector names the commands and response codes as we do, and finds nothing malformed.
fn judge_capture(capture: &Path, exchanges: &[Json]) {
    let output = Command::new("tshark")
        .args(["-r", text(capture), "-Y", "tpm && tcp.port == 2321"])
        .args(["-T", "fields"])
        .args([
            "-e",
            "tpm.req.cc",
            "-e",
            "tpm.resp.rc",
            "-e",
            "_ws.malformed",
        ])
        .args(["-E", "separator=,"])
        .stdin(Stdio::null())
        .output()
        .expect("tshark starts: tests/run installs it");
    let rows = finish("tshark", output);
    let number = |text: &str| {
        let digits = text.trim_start_matches("0x");
        u64::from_str_radix(digits, if digits == text { 10 } else { 16 }).ok()
    };
    let (mut commands, mut codes) = (Vec::new(), Vec::new());
    for row in rows.lines() {
        let mut fields = row.split(',');
        let command = fields.next().unwrap_or_default();
        let code = fields.next().unwrap_or_default();
        commands.extend(number(command));
        codes.extend(number(code));
        // Its version 4.0 gives NV_Read one handle instead of two.
        if number(command) != Some(0x14E) {
            assert_eq!(fields.next().unwrap_or_default(), "", "malformed: {row}");
        }
    }
    let ours = |pointer: &str| -> Vec<u64> {
        let values = exchanges.iter();
        values
            .map(|one| {
                one.pointer(pointer)
                    .and_then(Json::as_u64)
                    .expect("a number")
            })
            .collect()
    };
    assert_eq!(commands, ours("/command/message/code"));
    assert_eq!(codes, ours("/response/result/code"));
}

#[test]
fn secrets_are_blotted_out_unless_asked_for() {
    if only_for_vtpm("the trace") {
        return;
    }
    for secrets in [false, true] {
        let home = folder();
        let recording = home.path().join("trace.jsonl");
        let capture = home.path().join("trace.pcap");
        let mut options = vec!["--trace", text(&recording), "--pcap", text(&capture)];
        if secrets {
            options.push("--trace-secrets");
        }
        let mut server = TpmServer::start_with(Protocol::Swtpm, home.path(), &options);
        // A password in the clear, as a session of kind password carries it.
        let client = Client::new(server.tcti(), home.path());
        client.sh(USE);
        client.sh("tpm2_changeauth -c o hunter2-password && tpm2_nvread 0x1500001 -C o -P hunter2-password");
        server.process().terminate();
        let file = fs::read(&recording).expect("the recording");
        let packets = fs::read(&capture).expect("the capture");
        for secret in SECRETS {
            assert_eq!(holds(&file, secret), secrets, "{secret} in the recording");
            assert_eq!(holds(&packets, secret), secrets, "{secret} in the capture");
        }
        let lines = ok(&["trace", text(&recording)]);
        let tree = ok(&["trace", text(&recording), "--tree"]);
        let json = ok(&["trace", text(&recording), "--json"]);
        for (what, shown) in [("lines", &lines), ("tree", &tree), ("json", &json)] {
            for secret in SECRETS {
                assert!(!holds(shown.as_bytes(), secret), "{secret} in the {what}");
            }
            assert!(shown.contains("redacted"), "{what}");
        }
        for expected in [
            "NV_Write auth_handle=TPM_RH_OWNER nv_index=0x01500001 ",
            " offset=0 -> SUCCESS",
            "Unseal item_handle=0x80000000 [hmac 0x02000000",
            "TPM_RC_AUTH_FAIL (session 1) [0x98e]",
            "PCR_Extend pcr_handle=PCR 16 [password]",
            "CreatePrimary primary_handle=TPM_RH_OWNER",
            " µs)",
        ] {
            assert!(lines.contains(expected), "no {expected:?} in\n{lines}");
        }
        for expected in ["seed_value", "nothing of the kind"] {
            assert!(!tree.contains(expected));
        }
        assert!(tree.contains("object_attributes: ") && tree.contains("FIXED_TPM|"));
        let open = ok(&["trace", text(&recording), "--tree", "--secrets"]);
        assert_eq!(holds(open.as_bytes(), "the sealed words"), secrets);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&recording).expect("it"));
        assert_eq!(mode & 0o777, 0o600, "a recording is for its owner alone");
    }
}

#[test]
fn a_running_vm_is_listened_to_until_it_is_powered_off() {
    if only_for_vtpm("the daemon") {
        return;
    }
    let home = folder();
    let mut daemon = Daemon::start(&home.path().join("data"));
    let copy = home.path().join("copy.jsonl");
    let listen = |arguments: &[&str]| {
        let mut process = Process::start(
            Command::new(VTPM)
                .args(["trace", "demo", "--data"])
                .arg(daemon.folder())
                .args(arguments)
                .env("VTPM_LOG", "info")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut errors = process.stderr();
        read_line_where(&mut errors, |line| line.contains("listening to demo"))
            .expect("it says that it listens");
        (process, errors)
    };
    let (mut three, _errors) = listen(&["--count", "3"]);
    let (mut all, _more_errors) = listen(&["--json", "--trace", text(&copy)]);
    let client = daemon.client("demo", home.path());
    client.sh("tpm2_getrandom 4 > /dev/null; tpm2_getrandom 5 > /dev/null; tpm2_pcrread sha256:0");
    assert!(three.wait().success());
    let lines: Vec<String> = three.stdout().lines().map_while(Result::ok).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("GetRandom bytes_requested=4 -> SUCCESS"))
    );

    daemon.ok(["vm", "stop", "demo"]);
    assert!(
        all.wait().success(),
        "the end of the VM is the end of the trace"
    );
    let lines: Vec<String> = all.stdout().lines().map_while(Result::ok).collect();
    assert!(lines.len() >= 4, "{lines:?}");
    let (mut commands, mut events) = (0, Vec::new());
    for line in &lines {
        let line: Json = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["command"]["message"]["ended"], Json::Null);
        match line["event"].as_str() {
            Some(event) => events.push(event.to_owned()),
            None => commands += 1,
        }
    }
    assert_eq!(events, ["power_off"]);
    assert_eq!(decoded(&copy, &[]).len(), commands);

    let said = daemon.refused(["trace", "demo"]);
    assert!(said.contains("vtpm vm start demo"), "{said}");
    let said = daemon.refused(["trace", "nobody"]);
    assert!(said.contains("nobody"), "{said}");
    // Nor does a listener hold the daemon up when it stops.
    daemon.ok(["vm", "start", "demo"]);
    let (mut last, _last_errors) = listen(&[]);
    daemon.stop();
    assert!(last.wait().success());
}

/// Runs a script against a TPM of a seed, recorded with all secrets.
fn recorded(home: &Path, name: &str, seed: &str, script: &str) -> std::path::PathBuf {
    let recording = home.join(name);
    let work = home.join(format!("{name}.work"));
    fs::create_dir(&work).expect("a folder");
    let lib = support::data("flows/lib.sh");
    let script = format!(". {}\n{script}", lib.display());
    let output = Command::new(VTPM)
        .args(["run", "--seed", seed, "--trace-secrets", "--trace"])
        .arg(&recording)
        .arg("--pcap")
        .arg(home.join(format!("{name}.pcap")))
        .args(["--", "bash", "-c", &script])
        .current_dir(&work)
        .stdin(Stdio::null())
        .output()
        .expect("vtpm starts");
    finish("vtpm run", output);
    recording
}

/// Replays a recording on a TPM of `vtpm run`, which says where it is.
fn replay(recording: &Path, seed: Option<&str>, before: &str, more: &str) -> (Option<i32>, String) {
    let script = format!(
        "{before} {VTPM} trace replay '{}' {more}",
        recording.display()
    );
    let mut command = Command::new(VTPM);
    command.arg("run");
    if let Some(seed) = seed {
        command.args(["--seed", seed]);
    }
    let output = command
        .args(["--", "bash", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .expect("vtpm starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.code(),
        said + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn a_recording_is_replayed_and_differences_are_named() {
    if only_for_vtpm("the trace") {
        return;
    }
    let home = folder();
    let recording = recorded(home.path(), "a", "7", USE);
    // The same TPM: the same answers, sessions included.
    let (code, said) = replay(&recording, Some("7"), "", "");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(" 0 differently, 0 could not be repeated"),
        "{said}"
    );
    // Another TPM: what can be repeated is answered alike.
    let (code, said) = replay(&recording, None, "", "");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains(" 0 could not be repeated"),
        "HMAC sessions cannot: {said}"
    );
    // One that has another PCR value answers otherwise.
    let recording = recorded(
        home.path(),
        "b",
        "7",
        "tpm2_pcrread sha256:16 > /dev/null; tpm2_getrandom 4 > /dev/null",
    );
    let extend = "tpm2_pcrextend 16:sha256=0101010101010101010101010101010101010101010101010101010101010101 &&";
    let (code, said) = replay(&recording, None, extend, "");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("PCR_Read") && said.contains("response.parameters.pcr_values.[0]: 00"),
        "{said}"
    );
    assert!(!said.contains("random_bytes"), "{said}");
    let (code, said) = replay(&recording, None, "", "--exact --json");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("random_bytes"), "{said}");
    let (code, said) = replay(&recording, None, "", "--tcti nonsense:");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("swtpm:path=SOCKET"), "{said}");
}

/// A TPM is used, reset, used for a measured launch, and used from another locality.
const RESET: &str = "
    tpm2_getrandom --hex 4
    swtpm_ioctl --unix $VTPM_CONTROL_1 --stop
    swtpm_ioctl --unix $VTPM_CONTROL_1 -i
    tpm2_startup -c
    tpm2_getrandom --hex 4
    swtpm_ioctl --unix $VTPM_CONTROL_1 -h hello
    swtpm_ioctl --unix $VTPM_CONTROL_1 -l 3
    tpm2_pcrread sha256:17";

#[test]
fn power_and_measured_launches_are_recorded_and_repeated() {
    if only_for_vtpm("the trace") {
        return;
    }
    let home = folder();
    let tools = home.path().join("tools");
    fs::create_dir(&tools).expect("a folder");
    std::os::unix::fs::symlink(VTPM, tools.join("swtpm_ioctl")).expect("a link");
    let script = format!("PATH={}:$PATH\n{RESET}", tools.display());
    let recording = recorded(home.path(), "a", "7", &script);
    let order_of = |file: &Path| -> Vec<String> {
        let lines = ok(&["trace", text(file), "--json"]);
        let lines = lines.lines();
        let names = lines.filter_map(|line| {
            let line: Json = serde_json::from_str(line).expect("JSON");
            let name = line.get("event").or(line.pointer("/command/name"))?;
            name.as_str().map(str::to_owned)
        });
        names.filter(|name| name != "GetCapability").collect()
    };
    let order = order_of(&recording);
    let expected = [
        "power_on",
        "Startup",
        // The helpers of the flows send another.
        "Startup",
        "GetRandom",
        "Shutdown",
        "power_off",
        "power_on",
        "Startup",
        "GetRandom",
        "hash_start",
        "hash_data",
        "hash_end",
        "locality",
        "locality",
        "PCR_Read",
    ];
    assert_eq!(order, expected);
    // A capture has a place for power and none for the rest.
    let capture = home.path().join("a.pcap");
    let in_capture = expected
        .iter()
        .filter(|name| !name.starts_with("hash_") && **name != "locality");
    assert_eq!(order_of(&capture), in_capture.copied().collect::<Vec<_>>());
    let said = ok(&["trace", text(&capture)]);
    assert!(said.contains(" power off\n"), "{said}");
    let said = ok(&["trace", text(&recording)]);
    assert!(said.contains(" power off\n"), "{said}");
    assert!(said.contains("measured launch data, 5 bytes"), "{said}");
    // The PCR of the launch has its value again, on each kind of socket.
    for seed in [Some("7"), None] {
        let (code, said) = replay(&recording, seed, "", "");
        assert_eq!(code, Some(0), "{said}");
        let all = " 0 differently, 0 could not be repeated";
        assert!(said.contains(all), "{said}");
    }
    let simulator = vtpm(&[
        "run",
        "--tcti",
        "mssim",
        "--",
        VTPM,
        "trace",
        "replay",
        text(&recording),
    ]);
    let said = finish("vtpm run", simulator);
    assert!(
        said.contains(" 0 differently, 0 could not be repeated"),
        "{said}"
    );
}

#[test]
fn any_tpm_is_looked_at_through_a_proxy() {
    if only_for_vtpm("the trace") {
        return;
    }
    for tcti in ["swtpm", "mssim"] {
        let home = folder();
        let (socket, recording) = (home.path().join("p"), home.path().join("p.jsonl"));
        let (ready, stop) = (home.path().join("ready"), home.path().join("stop"));
        // A TPM that knows nothing of it, for as long as the proxy is there.
        let script = format!(
            "echo $TPM2TOOLS_TCTI > {0}.new; mv {0}.new {0}; until [ -e {1} ]; do read -t 0.05 <> <(:) || :; done",
            text(&ready),
            text(&stop)
        );
        let mut tpm = Process::start(
            Command::new(VTPM)
                .args(["run", "--tcti", tcti, "--", "bash", "-c", &script])
                .stdin(Stdio::null()),
        );
        let place = support::wait_for("the TPM", || fs::read_to_string(&ready).ok());
        let mut proxy = Process::start(
            Command::new(VTPM)
                .args(["trace", "proxy", "--listen", text(&socket)])
                .args(["--tcti", place.trim(), "--trace", text(&recording)])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut errors = proxy.stderr();
        read_line_where(&mut errors, |line| line.contains("ready")).expect("it gets ready");
        let client = Client::new(format!("swtpm:path={}", text(&socket)), home.path());
        client.sh("tpm2_nvdefine -Q 0x1500001 -s 4 -p hunter2 && tpm2_getrandom 4 > /dev/null");
        assert!(proxy.terminate().success());
        assert!(!socket.exists() && !home.path().join("p.ctrl").exists());
        let said: Vec<String> = proxy.stdout().lines().map_while(Result::ok).collect();
        let said = said.join("\n");
        assert!(
            said.contains("GetRandom bytes_requested=4 -> SUCCESS"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
        let recorded = decoded(&recording, &[]);
        let names: Vec<_> = recorded
            .iter()
            .filter_map(|one| one["command"]["name"].as_str())
            .collect();
        assert!(names.contains(&"NV_DefineSpace"), "{names:?}");
        assert!(!holds(
            &fs::read(&recording).expect("the recording"),
            "hunter2"
        ));
        fs::write(&stop, "").expect("written");
        assert!(tpm.wait().success());
    }
}

#[test]
fn two_recordings_are_aligned_and_compared() {
    if only_for_vtpm("the trace") {
        return;
    }
    let home = folder();
    let read = "tpm2_pcrread sha256:16 > /dev/null";
    let a = recorded(home.path(), "a", "1", &format!("{read}; {read}"));
    let b = recorded(home.path(), "b", "2", &format!("{read}; {read}"));
    assert!(ok(&["trace", "diff", text(&a), text(&b)]).contains(", 0 not"));
    let c = recorded(
        home.path(),
        "c",
        "3",
        &format!(
            "{read}; tpm2_pcrextend 16:sha256=0101010101010101010101010101010101010101010101010101010101010101; {read}"
        ),
    );
    let output = vtpm(&["trace", "diff", text(&a), text(&c)]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("PCR_Extend: only in the second"), "{said}");
    assert!(
        said.contains("response.parameters.pcr_values.[0]: 00"),
        "{said}"
    );
    let output = vtpm(&["trace", "diff", text(&a), "/nonexistent/file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/file"));
    // Two of the same, exactly.
    let again = recorded(home.path(), "again", "1", &format!("{read}; {read}"));
    let said = ok(&["trace", "diff", "--exact", text(&a), text(&again)]);
    assert!(said.contains(", 0 not"), "{said}");
}

/// The place in a code, as `tpm2_rc_decode` writes it: `parameter(1)`; `None` for a code that it does not know.
fn judged_place(line: &str) -> Option<String> {
    let rest = line.strip_prefix("tpm:")?;
    let (place, words) = rest.split_once(':')?;
    let unknown = words.contains("(null)") || words.contains("unknown") || place.contains("1.2");
    (!unknown).then(|| place.to_owned())
}

/// What the library behind `tpm2_rc_decode` says of every code of 16 bits but 0.
fn decoded_by_tss(home: &Path) -> Vec<String> {
    let source = home.join("decode.c");
    let program = home.join("decode");
    let text = r#"
        #include <stdio.h>
        #include <tss2/tss2_rc.h>
        int main(void) {
            for (unsigned code = 1; code <= 0xFFFF; code++) puts(Tss2_RC_Decode(code));
            return 0;
        }
    "#;
    fs::write(&source, text).expect("a source");
    let compiled = Command::new("gcc")
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .arg("-ltss2-rc")
        .output();
    finish("gcc", compiled.expect("gcc starts"));
    let output = Command::new(&program).output().expect("it starts");
    let lines = finish("the decoder of tpm2-tss", output);
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn response_codes_are_explained_as_tpm2_tools_decode_them() {
    if only_for_vtpm("the explanations") {
        return;
    }
    let home = folder();
    let judged = decoded_by_tss(home.path());
    assert_eq!(judged.len(), 0xFFFF);
    let codes: Vec<String> = (1..=0xFFFFu32).map(|code| format!("{code:#x}")).collect();
    let mut ours: Vec<Json> = Vec::new();
    for codes in codes.chunks(16_384) {
        let mut arguments = vec!["explain", "--json"];
        arguments.extend(codes.iter().map(String::as_str));
        let output = vtpm(&arguments);
        let explained: Vec<Json> = serde_json::from_slice(&output.stdout).expect("JSON");
        ours.extend(explained);
    }
    let ours: BTreeMap<u64, &Json> = ours
        .iter()
        .flat_map(|one| one["found"].as_array().expect("a list"))
        .filter(|one| one["kind"] == "response")
        .map(|one| (one["number"].as_u64().expect("a number"), one))
        .collect();
    let mut compared = 0;
    for (code, line) in (1u64..).zip(&judged) {
        let (Some(judged), Some(ours)) = (judged_place(line), ours.get(&code)) else {
            continue;
        };
        let kind = ours.pointer("/place/kind").and_then(Json::as_str);
        let number = ours.pointer("/place/number").and_then(Json::as_u64);
        let expected = match (kind, number, ours["warning"].as_bool()) {
            // It says so where a place is missing.
            (None, _, Some(false)) if judged.ends_with("(unk)") => judged.clone(),
            (Some("session"), Some(0), _) => "session(unk)".to_owned(),
            // It reads three bits of the number of a parameter, which has four.
            (Some("parameter"), Some(8), _) => "parameter(unk)".to_owned(),
            (Some("parameter"), Some(number @ 9..), _) => format!("parameter({})", number - 8),
            (Some(kind), Some(number), _) => format!("{kind}({number})"),
            (_, _, Some(true)) => "warn(2.0)".to_owned(),
            _ => "error(2.0)".to_owned(),
        };
        assert_eq!(judged, expected, "{code:#x}: {line} | {ours}");
        compared += 1;
    }
    assert!(compared > 1000, "only {compared} codes are known to both");

    let said = ok(&["explain", "0x9a2", "--command", "NV_Write"]);
    assert!(
        said.contains("TPM_RC_BAD_AUTH") && said.contains("auth_handle"),
        "{said}"
    );
    let output = vtpm(&["explain", "0x101", "no such thing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("TPM_RC_FAILURE"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such thing"));
    assert_eq!(
        vtpm(&["explain", "--command", "Nonsense", "1"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn seeds_of_the_fuzzer_and_what_is_left_of_them_are_described() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/command_bytes");
    let mut count = 0;
    for entry in fs::read_dir(seeds).expect("the corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a seed");
        count += 1;
        let mut forms = vec![bytes.clone()];
        for place in 0..bytes.len().min(96) {
            forms.push(bytes.get(..place).unwrap_or_default().to_vec());
            let mut other = bytes.clone();
            other[place] ^= 0xFF;
            forms.push(other);
        }
        for mut form in forms {
            let command = describe_command(&form);
            assert!(command.unread.end == form.len());
            let answer = describe_response(&form, &bytes);
            assert!(answer.unread.end == form.len());
            redact(&mut form, &command);
        }
    }
    assert!(count >= 80, "only {count} seeds");
}
