//! Attestation end to end: Debian's swtpm and tpm2-tools make evidence, `vtpm` judges it; `vtpm` makes evidence and logs, and
//! tpm2-tools judge them; the story of the demonstration.

#![cfg(test)]

mod certificates;
mod chains;
mod identity_keys;
mod keylime;
mod page;
mod published;
mod service;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::certified::certified;
use support::{
    Client, Daemon, PortPair, Process, Protocol, TpmServer, VTPM, copy_folder, finish, folder,
    only_for_vtpm, wait_for,
};
use tempfile::TempDir;

/// Debian's swtpm, whatever the other tests run against.
struct Swtpm {
    home: PathBuf,
    ports: PortPair,
    process: Process,
}

impl Swtpm {
    /// Starts it on the state in `home/state`, which may be there already.
    fn start(home: &Path) -> Self {
        let state = home.join("state");
        fs::create_dir_all(&state).expect("a state folder");
        let ports = PortPair::claim();
        let port = ports.first;
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", state.display())])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(&mut command);
        wait_for("swtpm", || {
            let accepts = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            (accepts(port) && accepts(port + 1)).then_some(())
        });
        Self {
            home: home.to_owned(),
            ports,
            process,
        }
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.ports.first)
    }

    fn client(&self) -> Client {
        Client::new(self.tcti(), &self.home)
    }

    /// Power off and on, so that the state in the folder is whole.
    fn stop(mut self) {
        self.process.terminate();
    }
}

/// A daemon that others reach, too.
struct Reached {
    daemon: Daemon,
    url: String,
    /// What is for everybody, over plain HTTP.
    pki: String,
    certificate: PathBuf,
    /// Of administrator@vsphere.local.
    password: String,
}

impl Reached {
    fn start(data: &Path) -> Self {
        let daemon = Daemon::start_with(
            data,
            &["--listen", "127.0.0.1:0", "--pki-listen", "127.0.0.1:0"],
        );
        let output = daemon.announcement();
        let after = |words: &str| {
            let mut lines = output.lines().filter_map(|line| line.strip_prefix(words));
            lines
                .next()
                .unwrap_or_else(|| panic!("no {words}: {output}"))
        };
        let place = after("Listening on ");
        let pki = after("Certificates of authorities and their lists are on ");
        Self {
            pki: pki.trim_end_matches("/pki/").to_owned(),
            url: place.split(',').next().expect("a URL").to_owned(),
            certificate: data.join("tls/certificate.pem"),
            password: after("The user's password, shown this once: ").to_owned(),
            daemon,
        }
    }
}

/// Runs `vtpm attest ARGUMENTS` in a folder.
fn attest(folder: &Path, arguments: &str) -> Output {
    Command::new(VTPM)
        .arg("attest")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("vtpm starts")
}

/// The same, which has to end well.
fn attest_ok(folder: &Path, arguments: &str) -> String {
    finish(arguments, attest(folder, arguments))
}

/// The verdict as JSON, and the exit code.
fn verdict(folder: &Path, arguments: &str) -> (Vec<String>, Option<i32>) {
    let output = attest(folder, &format!("verify --json {arguments}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {arguments}: {said}"));
    let failed = json["failed"].as_array().expect("a list");
    let names = failed.iter().filter_map(Value::as_str).map(str::to_owned);
    (names.collect(), output.status.code())
}

fn assert_trusted(folder: &Path, arguments: &str) {
    assert_eq!(verdict(folder, arguments), (vec![], Some(0)), "{arguments}");
}

fn assert_refused(folder: &Path, arguments: &str, by: &str) {
    let (failed, code) = verdict(folder, arguments);
    assert_eq!(code, Some(4), "{arguments}: {failed:?}");
    assert!(
        failed.iter().any(|name| name == by),
        "not by {by} but by {failed:?}: {arguments}"
    );
}

fn nonce(folder: &Path) -> String {
    attest_ok(folder, "nonce").trim().to_owned()
}

#[test]
fn the_story_is_told_and_every_step_ends_as_it_must() {
    if only_for_vtpm("it is our own story") {
        return;
    }
    let home = folder();
    for profile in ["linux", "windows", "systemd-boot"] {
        let kept = home.path().join(profile);
        let words = format!("demo --json --profile {profile} --keep {}", kept.display());
        let story: Value = serde_json::from_str(&attest_ok(home.path(), &words)).expect("JSON");
        assert_eq!(story["held"], true);
        let steps = story["steps"].as_array().expect("steps");
        let refused: Vec<&str> = steps
            .iter()
            .filter(|step| step["ended"] == "refused")
            .filter_map(|step| step["title"].as_str())
            .collect();
        assert_eq!(
            refused,
            [
                "An old answer is sent again",
                "The clone alarm: two machines live under one identity",
                "A replacement is somebody else",
                "A tampered kernel is caught",
                "The sealed secret refuses to open",
                "A changed byte in the TPM's file is noticed",
                "Yesterday's file is refused",
            ]
        );
        let failed = |title: &str| {
            let step = steps.iter().find(|step| step["title"] == title);
            step.expect("the step")["verdict"]["failed"].clone()
        };
        assert_eq!(
            failed("The clone alarm: two machines live under one identity"),
            serde_json::json!(["quote.clock", "history.clone"])
        );
        assert_eq!(
            failed("A tampered kernel is caught"),
            serde_json::json!(["policy.pcr", "policy.events"])
        );
        let papers = "evidence.json --enrolled enrolled.json --policy policy.json";
        assert_trusted(&kept, papers);
        let log = kept.join("boot.eventlog");
        let parsed = Command::new("tpm2_eventlog")
            .arg(&log)
            .output()
            .expect("tpm2_eventlog");
        finish("tpm2_eventlog", parsed);
    }
    let text = attest_ok(home.path(), "demo");
    for words in [
        "A TPM is a small vault",
        "'web01-copy' and 'web01' are two TPMs under one identity",
        "where the policy has",
        "TPM_RC_POLICY_FAIL",
        "Every step ended as it must.",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn evidence_of_swtpm_and_tpm2_tools_is_trusted_until_a_bit_of_it_changes() {
    let home = folder();
    let swtpm = Swtpm::start(home.path());
    let client = swtpm.client();
    client.sh("tpm2_pcrextend 4:sha256=$(printf x | sha256sum | cut -d' ' -f1)");
    let nonce = "00112233445566778899aabbccddeeff";
    for (ek, key, hash) in [
        ("rsa", "-G rsa -g sha256 -s rsassa", "sha256"),
        ("ecc", "-G ecc -g sha256 -s ecdsa", "sha256"),
        ("ecc", "-G ecc384 -g sha384 -s ecdsa", "sha384"),
    ] {
        client.sh(&format!(
            "tpm2_createek -c ek.ctx -G {ek} -u ek.pub; \
             tpm2_createak -C ek.ctx -c ak.ctx -u ak.pub -n ak.name {key}; \
             tpm2_quote -c ak.ctx -g {hash} -l sha1:0,1+sha256:0,4,7,16,23 -q {nonce} -m m -s s -o p"
        ));
        let files =
            format!("--message m --signature s --pcrs p --key ak.pub --ek ek.pub --nonce {nonce}");
        assert_trusted(home.path(), &files);
        assert_refused(
            home.path(),
            &files.replace("--nonce 00", "--nonce 01"),
            "quote.nonce",
        );
        for (file, at, rule) in [
            ("m", 0, "quote.magic"),
            ("m", 5, "quote.type"),
            ("m", 30, "quote.signature"),
            ("m", 60, "quote.signature"),
            ("s", 40, "quote.signature"),
            ("p", 136 + 4 + 5, "quote.digest"),
            ("ak.pub", 60, "quote.signature"),
        ] {
            let path = home.path().join(file);
            let good = fs::read(&path).expect("the file");
            let mut altered = good.clone();
            *altered.get_mut(at).expect("long enough") ^= 0x20;
            fs::write(&path, altered).expect("written");
            let (failed, code) = verdict(home.path(), &files);
            assert_eq!(code, Some(4), "byte {at} of {file}");
            // A key with another bit may be no key at all.
            let known = failed
                .iter()
                .any(|name| name == rule || (file == "ak.pub" && name == "evidence.form"));
            assert!(known, "byte {at} of {file}: {failed:?}");
            fs::write(&path, good).expect("written");
        }
        assert_trusted(home.path(), &files);
    }
    // A key that is not restricted may sign whatever looks like a quote.
    client.sh(&format!(
        "tpm2_createprimary -C e -c p.ctx; \
         tpm2_create -C p.ctx -G ecc:ecdsa-sha256 -u k.pub -r k.priv; \
         tpm2_flushcontext -t; command tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx; tpm2_flushcontext -t; \
         tpm2_quote -c k.ctx -l sha256:0 -q {nonce} -m m -s s -o p"
    ));
    let files = format!("--message m --signature s --pcrs p --key k.pub --nonce {nonce}");
    assert_refused(home.path(), &files, "key.attributes");
    swtpm.stop();
}

/// What `tpm2_checkquote` says of the files `m`, `s` and `p`.
fn tpm2_accepts(client: &Client, nonce: &str, hash: &str) -> bool {
    let words = format!("tpm2_checkquote -u ak.pub -m m -s s -f p -g {hash} -q {nonce}");
    client.try_sh(&words).status.success()
}

#[test]
fn quotes_of_every_bank_by_every_key_of_a_certified_swtpm_are_judged_as_tpm2_tools_judge_them() {
    let home = folder();
    let here = home.path();
    certified(
        here,
        &here.join("state"),
        &["--createek", "--pcr-banks", "sha1,sha256,sha384"],
    );
    let swtpm = Swtpm::start(here);
    let client = swtpm.client();
    client.sh(
        "tpm2_getekcertificate -o ek.der; tpm2_createek -c ek.ctx -G rsa -u ek.pub; \
         for bank in sha1 sha256 sha384; do tpm2_pcrextend 4:$bank=$(printf x | ${bank}sum | cut -d' ' -f1); done",
    );
    let trust = "--ca ca/swtpm-localca-rootca-cert.pem --untrusted ca/issuercert.pem --ek ek.pub --ek-certificate ek.der";
    let nonce = "00112233445566778899aabbccddeeff";
    let mut places = 0..;
    for (key, hash) in [
        ("-G rsa -g sha256 -s rsassa", "sha256"),
        ("-G rsa3072 -g sha384 -s rsassa", "sha384"),
        ("-G ecc -g sha256 -s ecdsa", "sha256"),
        ("-G ecc384 -g sha384 -s ecdsa", "sha384"),
    ] {
        client.sh(&format!(
            "rm -f ak.*; tpm2_createak -C ek.ctx -c ak.ctx -u ak.pub -n ak.name {key}"
        ));
        for selection in [
            "sha1:0,4,16",
            "sha256:0,1,2,3,4,5,6,7,8,9,10,23",
            "sha384:4",
            "sha1:4+sha256:0,4+sha384:0,4,23",
        ] {
            client.sh(&format!(
                "tpm2_quote -c ak.ctx -g {hash} -l {selection} -q {nonce} -m m -s s -o p"
            ));
            let files =
                format!("--message m --signature s --pcrs p --key ak.pub --nonce {nonce} {trust}");
            let (failed, code) = verdict(here, &files);
            assert_eq!((failed, code), (vec![], Some(0)), "{key} {selection}");
            assert!(tpm2_accepts(&client, nonce, hash), "{key} {selection}");
            // Altered somewhere, each time somewhere else: neither takes it.
            for (file, step) in [("m", 37), ("s", 53)] {
                let path = here.join(file);
                let good = fs::read(&path).expect("the file");
                let place: usize = places.next().expect("a number");
                let at = 6 + (place * step) % (good.len() - 6);
                let mut altered = good.clone();
                *altered.get_mut(at).expect("long enough") ^= 1 << (place % 8);
                fs::write(&path, altered).expect("written");
                let (failed, code) = verdict(here, &files);
                assert_eq!(code, Some(4), "byte {at} of {file}: {failed:?}");
                let accepted = tpm2_accepts(&client, nonce, hash);
                assert!(!accepted, "byte {at} of {file}, {key} {selection}");
                fs::write(&path, good).expect("written");
            }
            let other = nonce.replace("00", "01");
            assert_refused(here, &files.replace(nonce, &other), "quote.nonce");
            assert!(!tpm2_accepts(&client, &other, hash));
        }
    }
    // Another authority of the same kind vouches for nothing here.
    let strangers = folder();
    certified(strangers.path(), &strangers.path().join("state"), &[]);
    let other = trust.replace("ca/", &format!("{}/ca/", strangers.path().display()));
    let files = format!("--message m --signature s --pcrs p --key ak.pub --nonce {nonce} {other}");
    assert_refused(here, &files, "ek.chain");
    swtpm.stop();
}

#[test]
fn an_enrolled_swtpm_is_trusted_and_its_copy_rings_the_alarm() {
    let home = folder();
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    for folder in [&one, &two] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let authority = home.path().join("ca");
    fs::create_dir_all(&authority).expect("a folder");
    certified(home.path(), &one.join("state"), &["--createek"]);
    let first = Swtpm::start(&one);
    let trust = format!(
        "--ca {0}/swtpm-localca-rootca-cert.pem --untrusted {0}/issuercert.pem",
        authority.display()
    );
    let here = home.path();
    attest_ok(
        here,
        &format!(
            "enroll --tcti {} {trust} --name one -o one.json",
            first.tcti()
        ),
    );
    let ask = |swtpm: &Swtpm, name: &str| {
        let nonce = nonce(here);
        let tcti = swtpm.tcti();
        attest_ok(
            here,
            &format!(
                "quote --tcti {tcti} --nonce {nonce} --name {name} -o evidence.json --files {name}"
            ),
        );
        format!("evidence.json --nonce {nonce} --enrolled one.json {trust}")
    };
    let question = ask(&first, "one");
    assert_trusted(here, &question);
    let nonce = question.split_whitespace().nth(2).expect("the question");
    let check = |nonce: &str| {
        Command::new("tpm2_checkquote")
            .args([
                "-u",
                "ak.pub",
                "-m",
                "quote.msg",
                "-s",
                "quote.sig",
                "-f",
                "quote.pcrs",
            ])
            .args(["-g", "sha256", "-q", nonce])
            .current_dir(here.join("one"))
            .output()
            .expect("tpm2_checkquote")
    };
    finish("tpm2_checkquote", check(nonce));
    assert!(!check("0000").status.success());
    // The same evidence once more is an older one by its clock, at best: the question is another.
    let stale = question.replace(nonce, &"ab".repeat(32));
    assert_refused(here, &stale, "quote.nonce");
    // Certificates are judged by the time that is told, and by whom is trusted.
    assert_refused(here, &format!("{question} --at 86400"), "ek.validity");
    assert_refused(here, &format!("{question} --require-crl"), "ek.revocation");
    let other = format!(
        "evidence.json --nonce {nonce} --ca {0}/issuercert.pem",
        authority.display()
    );
    assert_trusted(here, &other);
    // So that the copy's clock begins where the first one's was, not where it was stored at some time before.
    first.client().sh("tpm2_shutdown --clear");
    copy_folder(&one.join("state"), &two.join("state"));
    let second = Swtpm::start(&two);
    assert_trusted(here, &ask(&second, "two"));
    assert_refused(here, &ask(&first, "one"), "history.clone");
    assert_refused(here, &ask(&second, "two"), "history.clone");
    let record = fs::read_to_string(here.join("one.json")).expect("the record");
    assert!(record.contains("'two' and 'one' are two TPMs"), "{record}");
    // A TPM of its own is somebody else.
    let three = home.path().join("three");
    let third = Swtpm::start(&three);
    assert_refused(here, &ask(&third, "three"), "key.enrolled");
    for swtpm in [first, second, third] {
        swtpm.stop();
    }
}

#[test]
fn a_boot_is_measured_logged_and_held_to_a_signed_policy() {
    let home = folder();
    let here = home.path();
    let kernel = here.join("kernel");
    fs::write(&kernel, b"a kernel of one's own").expect("a kernel");
    for profile in ["linux", "windows", "systemd-boot"] {
        let place = folder();
        let mut server = TpmServer::start(Protocol::Swtpm, place.path());
        let boot = || {
            let mut command = Command::new(VTPM);
            command
                .args([
                    "boot",
                    "--tcti",
                    &server.tcti(),
                    "--profile",
                    profile,
                    "--log",
                ])
                .arg(here.join("log"))
                .arg("--kernel")
                .arg(&kernel);
            command.output().expect("vtpm starts")
        };
        finish("vtpm boot", boot());
        let parsed = Command::new("tpm2_eventlog")
            .arg(here.join("log"))
            .output()
            .expect("tpm2_eventlog");
        let parsed = finish("tpm2_eventlog", parsed);
        // The summary at the end: PCR as tpm2-tools replay them. Those of the TPM must be the same.
        let client = Client::new(server.tcti(), place.path());
        let read = client.sh("tpm2_pcrread sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14");
        let mut compared = 0;
        for line in read.lines().filter(|line| line.contains("0x")) {
            let (number, value) = line.split_once(':').expect("PCR: value");
            let value = value.trim().to_lowercase();
            if value
                .trim_start_matches("0x")
                .chars()
                .all(|digit| digit == '0')
            {
                continue;
            }
            assert!(
                parsed.to_lowercase().contains(&value),
                "PCR {number} {value}: {parsed}"
            );
            compared += 1;
        }
        assert!(compared >= 10, "{read}");
        let again = boot();
        assert!(!again.status.success());
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(said.contains("not as after a reset"), "{said}");
        let tcti = server.tcti();
        attest_ok(here, &format!("enroll --tcti {tcti} -o record.json"));
        let quote = |log: &str| {
            let nonce = nonce(here);
            let words = format!(
                "quote --tcti {tcti} --nonce {nonce} --event-log {log} -o evidence.json --pcrs sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14"
            );
            attest_ok(here, &words);
            format!("evidence.json --nonce {nonce} --enrolled record.json")
        };
        let question = quote("log");
        for (name, days) in [("signer", "1"), ("stranger", "1")] {
            let output = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ])
                .args(["-nodes", "-subj", "/CN=signer", "-days", days])
                .args([
                    "-keyout",
                    &format!("{name}.key"),
                    "-out",
                    &format!("{name}.crt"),
                ])
                .current_dir(here)
                .output()
                .expect("openssl");
            finish("openssl", output);
        }
        attest_ok(
            here,
            "policy evidence.json --name golden --sign signer.key -o policy.json",
        );
        let held = format!("{question} --policy policy.json --policy-signer");
        assert_trusted(here, &format!("{held} signer.crt"));
        assert_refused(here, &format!("{held} stranger.crt"), "policy.signature");
        // Altered in the log, on the way: a digest, and what an event tells.
        let log = fs::read(here.join("log")).expect("the log");
        let find = |what: &[u8]| {
            let place = log.windows(what.len()).position(|part| part == what);
            place.expect("it is in the log")
        };
        let calling: &[u8] = b"Calling EFI Application from Boot Option";
        let digest = Sha256::digest(calling);
        for (at, rule) in [(find(calling), "log.data"), (find(&digest), "log.replay")] {
            let mut altered = log.clone();
            altered[at] ^= 1;
            fs::write(here.join("altered"), altered).expect("written");
            assert_refused(here, &quote("altered"), rule);
        }
        fs::write(here.join("altered"), &log[..log.len() - 3]).expect("written");
        assert_refused(here, &quote("altered"), "log.form");
        // Another kernel after a restart.
        fs::write(&kernel, b"a kernel with a back door").expect("a kernel");
        server.restart();
        let rebooted = Command::new(VTPM)
            .args(["boot", "--tcti", &tcti, "--profile", profile, "--log"])
            .arg(here.join("log"))
            .arg("--kernel")
            .arg(&kernel)
            .output();
        finish("vtpm boot", rebooted.expect("vtpm starts"));
        let held = format!("{} --policy policy.json", quote("log"));
        assert_refused(here, &held, "policy.events");
        assert_refused(
            here,
            &format!("{} --policy policy.json", quote("log")),
            "policy.pcr",
        );
        fs::write(&kernel, b"a kernel of one's own").expect("a kernel");
    }
}

#[test]
fn a_vm_of_the_daemon_is_booted_by_its_name() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let daemon = Daemon::start(&home.path().join("data"));
    daemon.ok(["vm", "create", "web01", "--tpm", "--start"]);
    let log = home.path().join("log").display().to_string();
    let said = daemon.ok(["boot", "web01", "--log", &log, "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let client = daemon.client("web01", home.path());
    let read = client.sh("tpm2_pcrread sha256:4").to_lowercase();
    let bank = said["bank"].as_str().expect("a bank");
    let value = said["pcrs"]["4"].as_str().expect("PCR 4");
    let read = if bank == "sha256" {
        read
    } else {
        client.sh(&format!("tpm2_pcrread {bank}:4")).to_lowercase()
    };
    assert!(read.contains(value), "{said} {read}");
    let refused = daemon.refused(["boot", "web01", "--log", &log]);
    assert!(refused.contains("Restart the VM"), "{refused}");
    let refused = daemon.refused(["boot", "nobody", "--log", &log]);
    assert!(refused.contains("nobody"), "{refused}");
    daemon.ok(["vm", "stop", "web01"]);
    let refused = daemon.refused(["boot", "web01", "--log", &log]);
    assert!(refused.contains("vtpm vm start web01"), "{refused}");
}

#[test]
fn documents_that_are_too_large_or_are_none_are_refused() {
    let home: TempDir = folder();
    let here = home.path();
    let huge = fs::File::create(here.join("huge")).expect("a file");
    huge.set_len(100 * 1024 * 1024).expect("a large file");
    assert_refused(here, "huge", "evidence.form");
    fs::write(here.join("none"), "{}").expect("written");
    assert_refused(here, "none", "evidence.form");
    for (arguments, words) in [
        ("verify missing", "missing"),
        ("verify none --enrolled none", "no record"),
        ("verify none --nonce xyz", "hexadecimal"),
        ("verify none --require-crl", "--ca"),
        ("policy none", "no document"),
        ("quote --tcti swtpm:port=1 --nonce 00", "no TPM answers"),
    ] {
        let output = attest(here, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
    }
}
