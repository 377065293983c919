//! What a real firmware and a real kernel measure, judged by our verifier.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::qemu::{Emulator, Firmware, Guest, Machine};
use crate::support::{VTPM, finish, folder, only_for_vtpm};
use crate::turn;

const NONCE: &str = "c0ffee00c0ffee00";

/// Makes a quote of everything that a boot measures.
const QUOTE: &str = r#"
tpm2 createek -Q -G ecc -c ek.ctx -u ek.pub
tpm2 createak -Q -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub
tpm2 quote -Q -c ak.ctx -g sha256 -l sha256:0,1,2,3,4,5,6,7,8,9,10,14 -q c0ffee00c0ffee00 -m m -s s -o p
"#;
const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
const IMA: &str = "/sys/kernel/security/ima/binary_runtime_measurements";

/// Fetches a file of the guest.
fn fetch(guest: &mut Guest, from: &str, to: &Path) {
    let text = guest.run(&format!("base64 {from}"));
    let text: String = text.split_whitespace().collect();
    fs::write(to, STANDARD.decode(text).expect("base64")).expect("written");
}

/// The checks that failed, and how each ended.
fn judge(here: &Path, more: &str) -> (Vec<String>, Value) {
    let output = Command::new(VTPM)
        .args([
            "attest",
            "verify",
            "--json",
            "--message",
            "m",
            "--signature",
            "s",
        ])
        .args([
            "--pcrs", "p", "--key", "ak.pub", "--ek", "ek.pub", "--nonce", NONCE,
        ])
        .args(more.split_whitespace())
        .current_dir(here)
        .output()
        .expect("vtpm starts");
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let failed = verdict["failed"].as_array().expect("a list");
    let names = failed.iter().filter_map(Value::as_str).map(str::to_owned);
    (names.collect(), verdict)
}

#[test]
fn the_log_of_ovmf_and_linux_replays_to_the_quoted_registers() {
    if only_for_vtpm("our verifier judges") {
        return;
    }
    let _turn = turn();
    let (state, place) = (folder(), folder());
    let here = place.path();
    let emulator = Emulator::start(state.path(), here);
    let machine = Machine::new(emulator.control(), here).firmware(Firmware::Ovmf);
    let mut guest = machine.boot();
    guest.run(QUOTE);
    for file in ["m", "s", "p", "ak.pub", "ek.pub"] {
        fetch(&mut guest, file, &here.join(file));
    }
    fetch(&mut guest, LOG, &here.join("log"));
    let has_ima = guest.run(&format!("[ ! -e {IMA} ] || echo yes")) == "yes\n";
    if has_ima {
        fetch(&mut guest, IMA, &here.join("ima"));
    }
    guest.quit();
    emulator.wait();

    let files = if has_ima {
        "--event-log log --ima ima"
    } else {
        "--event-log log"
    };
    let (failed, verdict) = judge(here, files);
    assert!(failed.is_empty(), "{verdict}");
    let ended = |rule: &str| {
        let checks = verdict["checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["check"] == rule);
        check.unwrap_or_else(|| panic!("{rule}: {verdict}"))["outcome"].clone()
    };
    for rule in ["log.form", "log.replay", "log.data", "log.separators"] {
        assert_eq!(ended(rule), "pass", "{rule}: {verdict}");
    }
    if has_ima {
        assert_eq!(ended("ima.replay"), "pass", "{verdict}");
    }
    let parsed = Command::new("tpm2_eventlog")
        .arg(here.join("log"))
        .output()
        .expect("tpm2_eventlog");
    let parsed = finish("tpm2_eventlog", parsed);
    assert!(parsed.contains("EV_EFI_VARIABLE_DRIVER_CONFIG"), "{parsed}");
    // A bit of any digest of the quoted bank, or the end cut off: refused.
    let log = fs::read(here.join("log")).expect("the log");
    let find = |what: &[u8]| {
        let place = log.windows(what.len()).position(|part| part == what);
        place.expect("it is in the log")
    };
    let calling = b"Calling EFI Application from Boot Option";
    let mut altered = log.clone();
    altered[find(calling)] ^= 1;
    fs::write(here.join("altered"), &altered).expect("written");
    let (failed, _) = judge(here, "--event-log altered");
    assert_eq!(failed, ["log.data"]);
    fs::write(here.join("altered"), &log[..log.len() - 5]).expect("written");
    let (failed, _) = judge(here, "--event-log altered");
    assert_eq!(failed, ["log.form"]);
    if has_ima {
        let mut list = fs::read(here.join("ima")).expect("the list");
        let place = list.len() / 2;
        list[place] ^= 1;
        fs::write(here.join("altered"), &list).expect("written");
        let (failed, verdict) = judge(here, "--event-log log --ima altered");
        assert!(
            failed.iter().any(|rule| rule.starts_with("ima.")),
            "{verdict}"
        );
    }
}
