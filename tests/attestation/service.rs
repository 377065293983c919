//! The verifier as a service of the daemon, with tpm2-tools on the other side.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Client, Daemon, PATIENCE_IN_SECONDS, VTPM, finish, folder, only_for_vtpm};
use crate::{Reached, assert_trusted, attest_ok, verdict};

/// Sends a request to the daemon's socket; gives the status and the answer.
fn post(daemon: &Daemon, here: &Path, path: &str, body: &[u8]) -> (u32, Value) {
    let file = here.join("body");
    fs::write(&file, body).expect("written");
    let output = Command::new("curl")
        .args(["-sS", "--max-time", PATIENCE_IN_SECONDS, "-X", "POST"])
        .args(["-H", "content-type: application/json"])
        .arg("--unix-socket")
        .arg(daemon.folder().join("vtpm.sock"))
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .args(["-w", "\n%{http_code}"])
        .arg(format!("http://vtpm/v1/attest/{path}"))
        .output()
        .expect("curl");
    let said = finish(path, output);
    let (answer, status) = said.rsplit_once('\n').expect("a status");
    let json = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (status.parse().expect("a number"), json)
}

fn ask(daemon: &Daemon, here: &Path) -> String {
    let (status, question) = post(daemon, here, "nonce", b"");
    assert_eq!(status, 200, "{question}");
    assert_eq!(question["expires_in"], 120);
    question["nonce"].as_str().expect("digits").to_owned()
}

fn base64(here: &Path, file: &str) -> String {
    STANDARD.encode(fs::read(here.join(file)).expect("a file"))
}

/// Evidence of a quote by tpm2-tools with the persistent attestation key.
fn evidence(client: &Client, source: &str, nonce: &str) -> Value {
    let here = client.folder();
    let read = client.sh(&format!(
        "tpm2_quote -c 0x81010010 -l sha256:0,4,16 -q {nonce} -g sha256 -m m -s s >/dev/null; tpm2_pcrread sha256:0,4,16"
    ));
    let pcrs: serde_json::Map<String, Value> = read
        .lines()
        .filter_map(|line| line.split_once(": 0x"))
        .map(|(number, value)| (number.trim().to_owned(), json!(value.to_lowercase())))
        .collect();
    json!({
        "format": "vtpm-evidence",
        "version": 1,
        "source": source,
        "attestation_key": base64(here, "ak.pub"),
        "nonce": nonce,
        "quote": {"message": base64(here, "m"), "signature": base64(here, "s")},
        "pcrs": {"sha256": pcrs},
    })
}

fn failed(answer: &Value) -> Vec<&str> {
    let list = answer["verdict"]["failed"].as_array().expect("a list");
    list.iter().filter_map(Value::as_str).collect()
}

#[test]
fn the_service_enrols_judges_once_and_rings_the_alarm_in_the_audit_log() {
    if only_for_vtpm("swtpm has no daemon") {
        return;
    }
    let home = folder();
    let here = home.path();
    let mut daemon = Daemon::start(&here.join("data"));
    daemon.ok(["vm", "create", "web01", "--tpm", "--start"]);
    let client = daemon.client("web01", here);
    client.sh(
        "tpm2_getekcertificate -o rsa.der -o ecc.der; tpm2_createek -G rsa -c ek.ctx -u ek.pub; \
         tpm2_createak -C ek.ctx -G ecc -g sha256 -s ecdsa -c ak.ctx -u ak.pub -n ak.name -q ak.qname; \
         tpm2_evictcontrol -C o -c ak.ctx 0x81010010; tpm2_pcrextend 16:sha256=$(printf x | sha256sum | cut -d' ' -f1)",
    );
    let candidate = json!({
        "source": "web01",
        "attestation_key": base64(here, "ak.pub"),
        "qualified_name": hex::encode(fs::read(here.join("ak.qname")).expect("a name")),
        "endorsement": {"public": base64(here, "ek.pub"), "certificate": base64(here, "rsa.der")},
    });
    let enroll =
        |candidate: &Value| post(&daemon, here, "enroll", candidate.to_string().as_bytes());
    // A certificate of somebody else's key, or none: no challenge.
    let mut other = candidate.clone();
    other["endorsement"]["certificate"] = json!(base64(here, "ecc.der"));
    let (_, answer) = enroll(&other);
    assert_eq!(answer["trusted"], false);
    assert!(failed(&answer).contains(&"ek.match"), "{answer}");
    assert!(answer["challenge"].is_null());
    let open = |secret: &str| {
        let (status, answer) = enroll(&candidate);
        assert_eq!(status, 200, "{answer}");
        let challenge = &answer["challenge"];
        // The file of tpm2-tools: a mark, a version, the two structures with their sizes.
        let mut blob = vec![0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
        for part in ["credential", "secret"] {
            let bytes = challenge[part].as_str().expect("base64");
            let bytes = STANDARD.decode(bytes).expect("base64");
            blob.extend(u16::try_from(bytes.len()).expect("short").to_be_bytes());
            blob.extend(bytes);
        }
        fs::write(here.join("blob"), blob).expect("written");
        client.sh(&format!(
            "rm -f {secret}; tpm2_startauthsession --policy-session -S s.ctx; tpm2_policysecret -S s.ctx -c e; \
             tpm2_activatecredential -c 0x81010010 -C ek.ctx -i blob -o {secret} -P session:s.ctx; tpm2_flushcontext s.ctx"
        ));
        challenge["session"].clone()
    };
    let finish = |session: &Value, secret: &str| {
        let body = json!({"session": session, "secret": secret}).to_string();
        post(&daemon, here, "enroll/finish", body.as_bytes()).1
    };
    // A session ends with its first answer, right or wrong.
    let session = open("secret");
    let guess = finish(&session, &STANDARD.encode([7; 32]));
    assert_eq!(guess["trusted"], false, "{guess}");
    let late = finish(&session, &base64(here, "secret"));
    assert_eq!(late["trusted"], false, "{late}");
    // Nobody is judged who was not enrolled.
    let judge = |evidence: &Value| {
        let body = json!({"evidence": evidence}).to_string();
        post(&daemon, here, "verify", body.as_bytes()).1
    };
    let early = judge(&evidence(&client, "web01", &ask(&daemon, here)));
    assert!(failed(&early).contains(&"key.enrolled"), "{early}");
    let session = open("secret");
    let enrolled = finish(&session, &base64(here, "secret"));
    assert_eq!(enrolled["trusted"], true, "{enrolled}");
    // A fresh quote is trusted, once; an altered one, and one about a question of somebody else's, are not.
    let good = evidence(&client, "web01", &ask(&daemon, here));
    let answer = judge(&good);
    assert_eq!(answer["trusted"], true, "{answer}");
    assert_eq!(answer["enrolled"], enrolled["enrolled"]);
    assert!(failed(&judge(&good)).contains(&"quote.nonce"));
    let own = judge(&evidence(&client, "web01", &"ab".repeat(32)));
    assert!(failed(&own).contains(&"quote.nonce"), "{own}");
    let mut altered = evidence(&client, "web01", &ask(&daemon, here));
    altered["pcrs"]["sha256"]["16"] = json!("00".repeat(32));
    assert!(failed(&judge(&altered)).contains(&"quote.digest"));
    // A policy beside it.
    let mut body = json!({"evidence": evidence(&client, "web01", &ask(&daemon, here))});
    body["policy"] = json!({
        "format": "vtpm-policy", "version": 1, "name": "golden",
        "pcrs": {"sha256": {"16": ["11".repeat(32)]}},
    });
    let (_, answer) = post(&daemon, here, "verify", body.to_string().as_bytes());
    assert!(failed(&answer).contains(&"policy.pcr"), "{answer}");
    // Requests that make no sense, or are too large.
    for (path, body) in [
        ("verify", &b"{}"[..]),
        ("enroll", b"not JSON"),
        ("enroll/finish", b"{\"session\":\"zz\",\"secret\":\"\"}"),
    ] {
        let (status, answer) = post(&daemon, here, path, body);
        assert_eq!(status, 400, "{path}: {answer}");
    }
    let (status, answer) = post(&daemon, here, "enroll", &vec![b' '; 100 * 1024]);
    assert_eq!(status, 413, "{answer}");
    // A copy lives beside the original: the audit log has it for both.
    daemon.ok(["vm", "clone", "web01", "web01-copy", "--tpm", "copy"]);
    daemon.ok(["vm", "start", "web01-copy"]);
    let twin = daemon.client("web01-copy", here);
    let answer = judge(&evidence(&twin, "web01-copy", &ask(&daemon, here)));
    assert_eq!(answer["trusted"], true, "{answer}");
    let answer = judge(&evidence(&client, "web01", &ask(&daemon, here)));
    assert!(failed(&answer).contains(&"history.clone"), "{answer}");
    let audit = daemon.ok(["audit", "list", "--json"]);
    let audit: Value = serde_json::from_str(&audit).expect("JSON");
    let mut alarmed: Vec<&str> = audit
        .as_array()
        .expect("a list")
        .iter()
        .filter(|entry| entry["operation"] == "clone_alarm")
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    alarmed.sort_unstable();
    assert_eq!(alarmed, ["web01", "web01-copy"]);
    // What the service knows outlives the daemon.
    daemon.stop();
    daemon.start_again();
    let client = daemon.client("web01", here);
    let body = json!({"evidence": evidence(&client, "web01", &ask(&daemon, here))});
    let (_, answer) = post(&daemon, here, "verify", body.to_string().as_bytes());
    assert!(failed(&answer).contains(&"history.clone"), "{answer}");
}

#[test]
fn the_same_evidence_is_judged_here_by_a_daemon_and_by_a_daemon_elsewhere() {
    if only_for_vtpm("swtpm has no daemon") {
        return;
    }
    let home = folder();
    let here = home.path();
    let reached = Reached::start(&here.join("data"));
    let daemon = &reached.daemon;
    daemon.ok(["vm", "create", "web01", "--tpm", "--start"]);
    crate::certificates::save_authority(daemon, here);
    daemon.ok([
        "boot",
        "web01",
        "--log",
        &here.join("log").display().to_string(),
    ]);
    let tcti = daemon.vm_field("web01", "/tpm/tcti");
    let local = "--data data".to_owned();
    let remote = format!(
        "--server {} --server-ca {}",
        reached.url,
        reached.certificate.display()
    );
    // With the password of the administrator, for the one over TLS.
    let run = |arguments: &str, password: &str| {
        Command::new(VTPM)
            .arg("attest")
            .args(arguments.split_whitespace())
            .current_dir(here)
            .env("VTPM_PASSWORD", password)
            .output()
            .expect("vtpm starts")
    };
    let ask = |arguments: &str| run(arguments, &reached.password);
    // Nobody is judged who was not enrolled.
    let quote = |place: &str, file: &str| {
        let words = format!(
            "quote --tcti {tcti} --name web01 --pcrs sha256:0,1,2,3,4,5,6,7,8,9 --event-log log -o {file} {place}"
        );
        finish(&words, ask(&words));
    };
    let judge = |place: &str, words: &str| {
        let words = format!("verify --json {words} {place}");
        let output = ask(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {words}: {said}"));
        (json["failed"].clone(), output.status.code())
    };
    quote(&local, "early.json");
    assert_eq!(
        judge(&local, "early.json"),
        (json!(["key.enrolled"]), Some(4))
    );
    let enroll = format!("enroll --tcti {tcti} --name web01");
    let said = finish("enroll", ask(&format!("{enroll} {remote} -v")));
    assert!(
        said.contains("ek.chain") && said.contains("trusted"),
        "{said}"
    );
    let own = "--ca root.pem --untrusted issuer.pem";
    attest_ok(here, &format!("{enroll} {own} -o web01.json"));
    // Asked by either, answered to either, once.
    for (asked, answered) in [(&local, &remote), (&remote, &local)] {
        quote(asked, "evidence.json");
        attest_ok(here, "policy evidence.json --name golden -o policy.json");
        let words = "evidence.json --policy policy.json";
        assert_eq!(judge(answered, words), (json!([]), Some(0)));
        assert_eq!(judge(asked, words), (json!(["quote.nonce"]), Some(4)));
        // The same document, without any daemon.
        let evidence: Value =
            serde_json::from_slice(&fs::read(here.join("evidence.json")).expect("evidence"))
                .expect("JSON");
        let nonce = evidence["nonce"].as_str().expect("digits");
        assert_trusted(
            here,
            &format!("{words} --nonce {nonce} --enrolled web01.json {own}"),
        );
    }
    // Altered, and held to another policy: the same checks fail there as here.
    quote(&remote, "good.json");
    let read = |file: &str| -> Value {
        serde_json::from_slice(&fs::read(here.join(file)).expect("a document")).expect("JSON")
    };
    let mut altered = read("good.json");
    altered["pcrs"]["sha256"]["4"] = json!("ab".repeat(32));
    fs::write(here.join("altered.json"), altered.to_string()).expect("written");
    let nonce = altered["nonce"].as_str().expect("digits").to_owned();
    let alone = format!("altered.json --nonce {nonce} --enrolled web01.json {own}");
    let (failed, code) = judge(&remote, "altered.json");
    assert_eq!(failed, json!(verdict(here, &alone).0));
    assert_eq!(code, Some(4));
    quote(&remote, "good.json");
    let mut policy = read("policy.json");
    policy["pcrs"]["sha256"]["4"] = json!(["cd".repeat(32)]);
    fs::write(here.join("wrong.json"), policy.to_string()).expect("written");
    let (failed, _) = judge(&remote, "good.json --policy wrong.json");
    assert!(
        failed
            .as_array()
            .expect("a list")
            .contains(&json!("policy.pcr")),
        "{failed}"
    );
    // What does not reach a daemon says why, with exit codes of its own.
    let failing = |arguments: &str, password: &str, code: i32, words: &str| {
        let output = run(arguments, password);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
    };
    let (right, wrong) = (reached.password.as_str(), "a guess of a password");
    failing(
        "verify good.json --data nowhere",
        right,
        3,
        "no daemon answers",
    );
    failing(&format!("verify good.json {remote}"), wrong, 1, "password");
    failing(
        &format!("verify good.json --server {}", reached.url),
        right,
        2,
        "--server-ca",
    );
    failing(
        &format!("verify good.json {local} --enrolled web01.json"),
        right,
        2,
        "--enrolled",
    );
    failing(
        &format!("verify good.json {local} --ca root.pem"),
        right,
        2,
        "--ca",
    );
    failing(
        &format!("verify good.json {local} {remote}"),
        right,
        2,
        "--server",
    );
    let strange = format!("--server {} --server-ca root.pem", reached.url);
    failing(
        &format!("verify good.json {strange}"),
        right,
        1,
        "does not show a certificate",
    );
}

#[test]
fn bundles_of_100_mb_are_refused_and_the_daemon_goes_on() {
    if only_for_vtpm("swtpm has no daemon") {
        return;
    }
    let home = folder();
    let here = home.path();
    let reached = Reached::start(&here.join("data"));
    let huge = here.join("huge.json");
    let mut text = b"{\"evidence\": {\"nonce\": \"".to_vec();
    text.resize(100 * 1024 * 1024, b'0');
    fs::write(&huge, &text).expect("written");
    // On the private socket, and from elsewhere with a token.
    let login = Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            PATIENCE_IN_SECONDS,
            "-X",
            "POST",
            "--cacert",
        ])
        .arg(&reached.certificate)
        .args([
            "-u",
            &format!("administrator@vsphere.local:{}", reached.password),
        ])
        .arg(format!("{}/v1/sessions", reached.url))
        .output()
        .expect("curl");
    let opened: Value = serde_json::from_str(&finish("a session", login)).expect("JSON");
    let token = opened["token"].as_str().expect("a token");
    for elsewhere in [false, true] {
        for path in ["verify", "enroll"] {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--max-time", PATIENCE_IN_SECONDS, "-X", "POST"])
                .args(["-H", "content-type: application/json", "-H", "expect:"])
                .args(["-w", "\n%{http_code}", "-T"])
                .arg(&huge);
            if elsewhere {
                curl.arg("--cacert").arg(&reached.certificate);
                curl.args(["-H", &format!("authorization: Bearer {token}")]);
                curl.arg(format!("{}/v1/attest/{path}", reached.url));
            } else {
                curl.arg("--unix-socket")
                    .arg(reached.daemon.folder().join("vtpm.sock"))
                    .arg(format!("http://vtpm/v1/attest/{path}"));
            }
            let output = curl.output().expect("curl");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.ends_with("\n413"), "{path}: {said}");
            if path == "verify" {
                assert!(said.contains("evidence.form"), "{said}");
            }
        }
    }
    // What is large, but not too large, is judged.
    let large = json!({"evidence": {
        "format": "vtpm-evidence", "version": 1, "attestation_key": "", "nonce": "00",
        "quote": {"message": "", "signature": ""}, "pcrs": {},
        "event_log": STANDARD.encode(vec![0; 8 * 1024 * 1024]),
    }});
    let (status, answer) = post(
        &reached.daemon,
        here,
        "verify",
        large.to_string().as_bytes(),
    );
    assert_eq!(
        (status, &answer["trusted"]),
        (200, &json!(false)),
        "{answer}"
    );
    // By the commands: named as the check, without a daemon being asked.
    for place in ["", "--data data"] {
        let output = Command::new(VTPM)
            .args(["attest", "verify", "--json", "huge.json"])
            .args(place.split_whitespace())
            .current_dir(here)
            .output()
            .expect("vtpm starts");
        assert_eq!(output.status.code(), Some(4));
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json["failed"], json!(["evidence.form"]));
    }
    reached.daemon.ok(["vm", "list"]);
}
