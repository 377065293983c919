//! What the TPM says about itself: commands, properties, algorithms, curves.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use support::raw::{Bytes, RawTpm, command};
use support::{Protocol, TpmServer, against_swtpm, data, folder};

const GET_CAPABILITY: u32 = 0x17a;
const ALGS: u32 = 0;
const COMMANDS: u32 = 2;
const PCRS: u32 = 5;
const TPM_PROPERTIES: u32 = 6;
const ECC_CURVES: u32 = 8;

/// Every element of a capability list, asked for in as many pieces as the TPM wants.
fn list(tpm: &mut RawTpm, capability: u32, first: u32, element: usize) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut property = first;
    loop {
        let question = Bytes::new().u32(capability).u32(property).u32(0x1000);
        let response = tpm.ok(&command(GET_CAPABILITY, &question));
        let (more, list) = (response.body()[0], &response.body()[5..]);
        let count = u32::from_be_bytes(list[..4].try_into().expect("four bytes"));
        let elements = &list[4..];
        assert_eq!(
            usize::try_from(count).expect("usize") * element,
            elements.len()
        );
        found.extend(elements.chunks(element).map(<[u8]>::to_vec));
        if more == 0 {
            return found;
        }
        // The next question starts after the last answer; all keys here are big-endian and come first.
        let last = found.last().expect("more, so some");
        property = match element {
            2 | 3 => u32::from(u16::from_be_bytes([last[0], last[1]])) + 1,
            _ => (u32::from_be_bytes(last[..4].try_into().expect("four bytes")) & 0x0fff_ffff) + 1,
        };
        if capability == COMMANDS {
            property &= 0xffff;
        }
    }
}

fn words(elements: Vec<Vec<u8>>) -> Vec<u32> {
    elements
        .iter()
        .map(|bytes| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes")))
        .collect()
}

/// The data file: command code -> (TPMA_CC, name, whether swtpm 0.7.1 has it).
fn specified() -> BTreeMap<u32, (u32, String, bool)> {
    let text = fs::read_to_string(data("command_attributes.txt")).expect("the data file");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split(' ');
            let word = u32::from_str_radix(columns.next().expect("TPMA_CC"), 16).expect("hex");
            let name = columns.next().expect("a name").to_owned();
            (word & 0xffff, (word, name, columns.next() == Some("0.7")))
        })
        .collect()
}

fn start(options: &[&str]) -> (tempfile::TempDir, TpmServer, RawTpm) {
    let home = folder();
    let server = TpmServer::start_with(Protocol::Swtpm, home.path(), options);
    let tpm = RawTpm::connect(server.address());
    (home, server, tpm)
}

/// Options that make the server imitate swtpm 0.7.1; the original needs none.
fn imitation() -> &'static [&'static str] {
    if against_swtpm() {
        &[]
    } else {
        &["--profile", "name=swtpm-0.7"]
    }
}

#[test]
fn every_listed_command_has_the_attributes_of_part_3() {
    let (_home, _server, mut tpm) = start(&[]);
    let specified = specified();
    let listed = words(list(&mut tpm, COMMANDS, 0x11f, 4));
    assert!(!listed.is_empty());
    let mut wrong = String::new();
    for word in &listed {
        match specified.get(&(word & 0xffff)) {
            Some((expected, ..)) if expected == word => {}
            Some((expected, name, _)) => {
                let _ = writeln!(wrong, "{name}: {word:08x}, specified {expected:08x}");
            }
            None => {
                let _ = writeln!(wrong, "{word:08x} is not in the data file");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        listed
            .windows(2)
            .all(|pair| pair[0] & 0xffff < pair[1] & 0xffff),
        "in ascending order"
    );
}

#[test]
fn the_total_of_commands_is_the_length_of_the_list() {
    const TOTAL_COMMANDS: u32 = 0x129;
    let (_home, _server, mut tpm) = start(&[]);
    let listed = list(&mut tpm, COMMANDS, 0x11f, 4).len();
    let properties = list(&mut tpm, TPM_PROPERTIES, 0x100, 8);
    let total = properties
        .iter()
        .find(|property| property[..4] == TOTAL_COMMANDS.to_be_bytes())
        .expect("TPM_PT_TOTAL_COMMANDS");
    let total = u32::from_be_bytes(total[4..].try_into().expect("four bytes"));
    assert_eq!(usize::try_from(total).ok(), Some(listed));
}

#[test]
fn the_profile_swtpm_0_7_lists_the_110_commands_of_swtpm() {
    let (_home, _server, mut tpm) = start(imitation());
    let listed = words(list(&mut tpm, COMMANDS, 0x11f, 4));
    let expected: Vec<u32> = specified()
        .into_values()
        .filter(|&(_, _, in_swtpm)| in_swtpm)
        .map(|(word, ..)| word)
        .collect();
    assert_eq!(expected.len(), 110);
    assert_eq!(listed, expected);
}

/// Without SHA-1, curves other than two and `TPM2_GetRandom`, for 1024 bytes in an NV Index.
const NARROW: &str = r#"{"Name":"custom:narrow",
    "Algorithms":"rsa,rsa-min-size=2048,hmac,aes,mgf1,keyedhash,xor,sha256,sha384,rsassa,oaep,ecdsa,ecdh,kdf1-sp800-56a,kdf1-sp800-108,ecc,ecc-nist-p256,ecc-nist-p384,symcipher,cfb",
    "Commands":"0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a,0x17c-0x193",
    "PcrBanks":"sha384","Limits":{"nv-index":1024,"nv-buffer":512}}"#;

#[test]
fn every_front_end_takes_the_same_profiles() {
    let home = folder();
    let file = home.path().join("narrow.json");
    fs::write(&file, NARROW).expect("a file");
    let asked = format!("file={}", file.display());
    let script = "tpm2_getcap properties-fixed | grep -A1 TPM2_PT_NV_INDEX_MAX | tail -1
        tpm2_getcap pcrs | grep -c ' \\[ 0,'
        tpm2_getcap algorithms | grep -c '^sha'
        tpm2_getcap ecc-curves | wc -l
        tpm2_hash -g sha1 narrow.json > /dev/null 2>&1 || echo no SHA-1
        (tpm2_getrandom 4 2>&1 || true) | grep -o 0x143";
    let expected = "  raw: 0x400\n1\n2\n2\nno SHA-1\n0x143\n";
    for protocol in [Protocol::Swtpm, Protocol::Mssim] {
        let server = TpmServer::start_with(protocol, home.path(), &["--profile", &asked]);
        let client = support::Client::new(server.tcti(), home.path());
        assert_eq!(client.sh(script), expected, "{protocol:?}");
        drop(server);
        fs::remove_dir_all(home.path().join("state")).expect("the state folder");
    }
    let ran = Command::new(support::VTPM)
        .args(["run", "--profile", NARROW, "--", "bash", "-c", script])
        .current_dir(home.path())
        .output()
        .expect("vtpm starts");
    assert_eq!(support::finish("vtpm run", ran), expected);
}

#[test]
fn what_the_server_says_of_a_profile_is_taken_back() {
    let info = |flags: &str, profile: &str| -> serde_json::Value {
        let ran = Command::new(support::VTPM)
            .args(["swtpm", "socket", "--tpm2", "--print-info", flags])
            .args(["--profile", profile])
            .output()
            .expect("vtpm starts");
        serde_json::from_str(&support::finish(profile, ran)).expect("JSON")
    };
    let all = info("0x40", "default");
    let all = all["AvailableProfiles"].as_array().expect("a list");
    assert!(all.len() > 3);
    for profile in all {
        let active = &info("0x20", &profile.to_string())["ActiveProfile"];
        assert_eq!(active, profile);
    }
    let narrow = &info("0x20", NARROW)["ActiveProfile"];
    assert_eq!(narrow["Name"], "custom:narrow");
    assert_eq!(info("0x20", &narrow.to_string())["ActiveProfile"], *narrow);
}

#[test]
fn a_profile_that_cannot_be_is_refused_by_the_word_that_is_wrong() {
    for (profile, words) in [
        ("swtpm-9", &["'swtpm-9'", "swtpm-0.7", "default-v1"][..]),
        (
            r#"{"Name":"custom","Algorithms":"rsa,sha257"}"#,
            &["`sha257`", "sha256,"],
        ),
        (
            r#"{"Name":"custom","Limits":{"timers":17}}"#,
            &["`timers` cannot be 17", "0 to 16"],
        ),
        ("file=/no/such/file", &["/no/such/file"]),
        ("colour=red", &["'colour='", "file=PATH"]),
    ] {
        for verb in [
            &["run", "--profile", profile, "--", "true"][..],
            &["simulator", "--profile", profile],
        ] {
            let ran = Command::new(support::VTPM)
                .args(verb)
                .output()
                .expect("vtpm starts");
            assert!(!ran.status.success(), "{verb:?}");
            let error = String::from_utf8_lossy(&ran.stderr);
            for word in words {
                assert!(error.contains(word), "{verb:?}: {error}");
            }
        }
    }
}

/// Properties that name the maker, or whose value is an implementation's own business: only their presence counts.
const OWN_VALUE: &[u32] = &[
    0x103, 0x104, // day of year, year
    0x105, 0x106, 0x107, 0x108, 0x109, 0x10a, 0x10b, 0x10c, // manufacturer, vendor, firmware
    0x122, 0x123, // size of an object's and a session's context
];

fn report(tpm: &mut RawTpm) -> String {
    let mut text = String::new();
    for property in list(tpm, TPM_PROPERTIES, 0x100, 8) {
        let tag = u32::from_be_bytes(property[..4].try_into().expect("four bytes"));
        if tag >= 0x200 {
            continue;
        }
        let value = if OWN_VALUE.contains(&tag) {
            "-".to_owned()
        } else {
            hex::encode(&property[4..])
        };
        let _ = writeln!(text, "property {tag:08x} {value}");
    }
    for algorithm in list(tpm, ALGS, 0, 6) {
        let _ = writeln!(
            text,
            "algorithm {} {}",
            hex::encode(&algorithm[..2]),
            hex::encode(&algorithm[2..])
        );
    }
    for curve in list(tpm, ECC_CURVES, 0, 2) {
        let _ = writeln!(text, "curve {}", hex::encode(curve));
    }
    for bank in list(tpm, PCRS, 0, 6) {
        let _ = writeln!(
            text,
            "bank {} {}",
            hex::encode(&bank[..2]),
            hex::encode(&bank[2..])
        );
    }
    text
}

/// The data file is what Debian's swtpm 0.7.1 reports; `VTPM_UPDATE_DATA=1 VTPM_TESTS_AGAINST=swtpm` writes it again.
#[test]
fn the_profile_swtpm_0_7_reports_what_swtpm_does() {
    let (_home, _server, mut tpm) = start(imitation());
    let text = report(&mut tpm);
    let path = data("swtpm_0_7_capabilities.txt");
    if against_swtpm() && std::env::var_os("VTPM_UPDATE_DATA").is_some() {
        fs::write(&path, &text).expect("the data file");
    }
    let expected = fs::read_to_string(&path).expect("the data file");
    for (ours, theirs) in text.lines().zip(expected.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(text, expected);
}
