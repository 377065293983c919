//! Evidence that is altered everywhere: each byte of each part, each member of the document, each event of the log. What may go unnoticed
//! is listed, and is what nothing can vouch for.

use serde_json::{Value, json};

use super::*;
use crate::event_log::ima::{self, ImaExtension};
use crate::event_log::{Detail, PcrBank};
use tpm_crypto::hash::{HashAlgorithm, hash};

/// A binary list of the kernel, template `ima-ng`, and the digests that it extends.
fn list(paths: &[&str]) -> Vec<u8> {
    let little = |number: usize| u32::try_from(number).unwrap().swap_bytes().to_be_bytes();
    let mut out = Vec::new();
    for path in paths {
        let digest = hash(HashAlgorithm::Sha256, &[path.as_bytes()]);
        let file = [b"sha256:\0".as_slice(), &digest].concat();
        let name = [path.as_bytes(), b"\0"].concat();
        let mut data = Vec::new();
        for part in [file, name] {
            data.extend(little(part.len()));
            data.extend(part);
        }
        out.extend(little(10));
        out.extend(hash(HashAlgorithm::Sha1, &[&data]).iter());
        for part in [b"ima-ng".to_vec(), data] {
            out.extend(little(part.len()));
            out.extend(part);
        }
    }
    out
}

/// A machine with a kernel's list, and everything that a verifier can have about it.
struct Case {
    scene: Scene,
    policy: Policy,
    good: Evidence,
}

impl Case {
    fn new() -> Self {
        let mut scene = Scene::new(EkTemplate::L2);
        let bytes = list(&["/usr/bin/init", "/usr/bin/sshd"]);
        let mut replayed = PcrBank::new(BANK);
        let entries = ima::parse(&bytes).unwrap();
        for entry in &entries {
            let digest = hash(HashAlgorithm::Sha256, &[&entry.template_data]);
            let event = crate::event_log::Event {
                number: 0,
                offset: 0,
                pcr: 10,
                kind: EventType(0x0D),
                digests: vec![crate::event_log::EventDigest {
                    algorithm: BANK.id(),
                    bytes: digest.to_vec(),
                }],
                data: Vec::new(),
            };
            attester::extend(&mut client(&mut scene.tpm), &event, &[BANK]).unwrap();
        }
        ima::replay(&entries, &mut replayed, ImaExtension::OwnDigest).unwrap();
        let nonce = QUESTION.get(..32).unwrap();
        let ak = AttestationAlgorithm::EcdsaP256;
        let ak = attester::attestation_key(&mut client(&mut scene.tpm), ak).unwrap();
        let selection = attester::selection("sha256:0,1,2,3,4,5,6,7,8,9,10,14,23").unwrap();
        let quoted = attester::quote(&mut client(&mut scene.tpm), &ak, nonce, &selection);
        let (quote, pcrs) = quoted.unwrap();
        attester::release(&mut client(&mut scene.tpm), &ak).unwrap();
        assert_eq!(pcrs[&BANK][&10], replayed.get(10).unwrap());
        let mut good = Evidence::new("web01", &ak.public, nonce, quote, &pcrs);
        good.event_log = Some(Base64(scene.log.to_bytes()));
        good.ima_list = Some(Base64(bytes));
        good.endorsement = Some(scene.enrolled.endorsement.clone());
        let policy = Policy::golden("golden", &pcrs, Some(&scene.log));
        let mut case = Self {
            scene,
            policy,
            good,
        };
        let verdict = case.judge(&case.good.clone());
        assert!(verdict.is_trusted(), "{:?}", verdict.failed_names());
        case
    }

    /// Judged as if for the first time: what is altered must not be found by the alarm alone.
    fn judge(&mut self, evidence: &Evidence) -> Verdict {
        self.scene.enrolled.history = Default::default();
        self.scene.judge(evidence, Some(&self.policy))
    }

    fn judge_json(&mut self, document: &Value) -> bool {
        match Evidence::from_json(document.to_string().as_bytes()) {
            Ok(evidence) => self.judge(&evidence).is_trusted(),
            Err(_) => false,
        }
    }
}

type Part = (&'static str, fn(&mut Evidence) -> &mut Vec<u8>);

/// Every part that is bytes.
const PARTS: [Part; 9] = [
    ("message", |e| &mut e.quote.message.0),
    ("signature", |e| &mut e.quote.signature.0),
    ("attestation key", |e| &mut e.attestation_key.0),
    ("nonce", |e| &mut e.nonce.0),
    ("event log", |e| &mut e.event_log.as_mut().unwrap().0),
    ("list", |e| &mut e.ima_list.as_mut().unwrap().0),
    ("endorsement key", |e| {
        &mut e.endorsement.as_mut().unwrap().public.0
    }),
    ("certificate", |e| {
        let endorsement = e.endorsement.as_mut().unwrap();
        &mut endorsement.certificate.as_mut().unwrap().0
    }),
    ("issuer's certificate", |e| {
        &mut e.endorsement.as_mut().unwrap().chain[0].0
    }),
];

/// The bytes of a log that nobody vouches for: digests of a bank that was not quoted, of what cannot be hashed again.
fn unvouched(log: &EventLog) -> Vec<usize> {
    let mut free = Vec::new();
    for event in log.events.iter().skip(1) {
        let known = event.kind == EventType::NO_ACTION
            || event.kind.measures_its_data()
            || matches!(event.detail(), Detail::Variable { .. });
        let mut at = event.offset + 12;
        for digest in &event.digests {
            at += 2;
            if digest.algorithm != BANK.id() && !known {
                free.extend(at..at + digest.bytes.len());
            }
            at += digest.bytes.len();
        }
    }
    free
}

#[test]
fn no_byte_of_any_part_can_be_another_one() {
    let mut case = Case::new();
    let free = unvouched(&case.scene.log);
    assert!(free.len() <= 20, "one event of the boot loader");
    for (part, bytes_of) in PARTS {
        let length = bytes_of(&mut case.good.clone()).len();
        for at in 0..length {
            let mut evidence = case.good.clone();
            // Another bit in each byte; all of them are there in any eight.
            bytes_of(&mut evidence)[at] ^= 1 << (at % 8);
            let trusted = case.judge(&evidence).is_trusted();
            let expected = part == "event log" && free.contains(&at);
            assert_eq!(trusted, expected, "byte {at} of the {part}");
        }
        // Cut anywhere, or with something behind it.
        for length in (0..length).step_by(7) {
            let mut evidence = case.good.clone();
            bytes_of(&mut evidence).truncate(length);
            // A list may have grown since the quote, but never be shorter.
            let trusted = case.judge(&evidence).is_trusted();
            assert!(!trusted, "{length} bytes of the {part}");
        }
        let mut evidence = case.good.clone();
        bytes_of(&mut evidence).push(7);
        let trusted = case.judge(&evidence).is_trusted();
        assert!(!trusted, "a byte behind the {part}");
    }
    for pcr in case.good.pcrs["sha256"].keys() {
        for at in 0..32 {
            let mut evidence = case.good.clone();
            let value = evidence.pcrs.get_mut("sha256").unwrap();
            value.get_mut(pcr).unwrap().0[at] ^= 1 << (at % 8);
            let roots = case.scene.authorities.roots();
            let mut demand = Demand {
                nonce: None,
                asked: None,
                enrolled: None,
                trust: Some(trust(&roots)),
                policy: None,
                now: SystemTime::now(),
            };
            // Nothing else is demanded, and it is noticed nevertheless.
            let failed = verify(&evidence, &mut demand).failed_names();
            assert!(failed.contains(&"quote.digest"), "PCR {pcr} {failed:?}");
        }
    }
}

/// Every member of a document, by its pointer.
fn pointers(document: &Value, at: &str, all: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match document {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(n, v)| (n.to_string(), v)).collect()
        }
        _ => return,
    };
    for (name, member) in members {
        let pointer = format!("{at}/{name}");
        pointers(member, &pointer, all);
        all.push(pointer);
    }
}

fn remove(document: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        _ => unreachable!("members are in objects and lists"),
    }
}

#[test]
fn no_member_of_the_document_can_be_missing_or_another_one() {
    let mut case = Case::new();
    let good: Value = serde_json::from_str(&case.good.to_json()).unwrap();
    assert!(case.judge_json(&good));
    let mut all = Vec::new();
    pointers(&good, "", &mut all);
    assert!(all.len() > 25, "{all:?}");
    for pointer in &all {
        let mut altered = good.clone();
        remove(&mut altered, pointer);
        // Names prove nothing; the record has the endorsement key, too; and the policy has the value of PCR 10.
        let dispensable = ["/source", "/endorsement", "/ima_list"].contains(&pointer.as_str());
        assert_eq!(case.judge_json(&altered), dispensable, "without {pointer}");
        for other in [
            json!(1),
            json!(-1),
            json!(1.5),
            json!(true),
            json!(""),
            json!("AAAA"),
            json!("00"),
            json!([]),
            json!({}),
            json!([[]]),
            json!({"4": "00"}),
        ] {
            let mut altered = good.clone();
            *altered.pointer_mut(pointer).unwrap() = other.clone();
            let harmless = (pointer == "/source" && other.is_string())
                || (pointer == "/version" && other == json!(1));
            let trusted = case.judge_json(&altered);
            assert_eq!(trusted, harmless, "{pointer} as {other}");
        }
        let mut altered = good.clone();
        if let Some(Value::Object(members)) = altered.pointer_mut(pointer) {
            members.insert("more".to_owned(), json!("00"));
            assert!(!case.judge_json(&altered), "more in {pointer}");
        }
    }
    // The same member twice: which of them counts?
    let text = good.to_string();
    let value = good["pcrs"]["sha256"]["4"].to_string();
    for (from, to) in [
        ("\"nonce\":", "\"nonce\":\"00\",\"nonce\":".to_owned()),
        ("\"4\":", format!("\"4\":{value},\"4\":")),
        ("\"sha256\":", "\"sha256\":{},\"sha256\":".to_owned()),
        ("\"quote\":", "\"quote\":{},\"quote\":".to_owned()),
    ] {
        let twice = text.replacen(from, &to, 1);
        assert_ne!(twice, text);
        let refused = Evidence::from_json(twice.as_bytes()).unwrap_err();
        assert!(!refused.is_empty(), "{from}");
    }
}

#[test]
fn no_event_can_be_moved_doubled_renamed_or_added() {
    let mut case = Case::new();
    let log = case.scene.log.clone();
    let mut refused = |what: &str, alter: &dyn Fn(&mut EventLog)| {
        let mut altered = log.clone();
        alter(&mut altered);
        let mut evidence = case.good.clone();
        evidence.event_log = Some(Base64(altered.to_bytes()));
        assert!(!case.judge(&evidence).is_trusted(), "{what}");
    };
    for at in 1..log.events.len() {
        refused("gone", &|log| drop(log.events.remove(at)));
        refused("twice", &|log| {
            log.events.insert(at, log.events[at].clone());
        });
        for kind in [
            EventType::NO_ACTION,
            EventType::SEPARATOR,
            EventType::IPL,
            EventType::EFI_VARIABLE_DRIVER_CONFIG,
            EventType(0x1234_5678),
        ] {
            if log.events[at].kind != kind {
                refused("renamed", &|log| log.events[at].kind = kind);
            }
        }
        refused("elsewhere", &|log| log.events[at].pcr ^= 1);
        refused("other data", &|log| log.events[at].data.push(b'x'));
        refused("no digest", &|log| log.events[at].digests.clear());
        // What extends nothing can be put anywhere, if nobody looks.
        for data in [&b"StartupLocality\0\0"[..], b"StartupLocality\0\x03", b"x"] {
            refused("a word more", &|log| {
                let mut more = log.events[at].clone();
                more.pcr = 0;
                more.kind = EventType::NO_ACTION;
                more.data = data.to_vec();
                for digest in &mut more.digests {
                    digest.bytes.fill(0);
                }
                log.events.insert(at, more);
            });
        }
    }
    // Events of different PCR may change places: each PCR is what it is.
    for at in 1..log.events.len() - 1 {
        if log.events[at].pcr == log.events[at + 1].pcr {
            refused("in another order", &|log| log.events.swap(at, at + 1));
        }
    }
}

#[test]
fn a_forged_secure_boot_is_believed_by_no_policy() {
    // A machine that boots without, whose owner appends what a machine with it would have measured.
    let mut tpm = started();
    let mut writer = LogWriter::new(&[BANK]);
    let off = variable(Guid::GLOBAL_VARIABLE, "SecureBoot", &[0]);
    let on = variable(Guid::GLOBAL_VARIABLE, "SecureBoot", &[1]);
    writer.measure_data(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, &off);
    for pcr in 0..8 {
        writer.measure_data(pcr, EventType::SEPARATOR, &[0; 4]);
    }
    writer.measure_data(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, &on);
    let truth = writer.finish();
    for event in &truth.events {
        attester::extend(&mut client(&mut tpm), event, &[BANK]).unwrap();
    }
    let judge = |tpm: &mut TestTpm, log: &EventLog, selection: &str| {
        let ak = AttestationAlgorithm::EcdsaP256;
        let ak = attester::attestation_key(&mut client(tpm), ak).unwrap();
        let selection = attester::selection(selection).unwrap();
        let (quote, pcrs) =
            attester::quote(&mut client(tpm), &ak, b"question", &selection).unwrap();
        attester::release(&mut client(tpm), &ak).unwrap();
        let mut evidence = Evidence::new("", &ak.public, b"question", quote, &pcrs);
        evidence.event_log = Some(Base64(log.to_bytes()));
        let mut policy = Policy::new("secure boot");
        policy.secure_boot = true;
        let four = pcrs[&BANK][&4].clone();
        policy
            .pcrs
            .insert("sha256".to_owned(), [(4, vec![Hex(four)])].into());
        let mut demand = Demand {
            nonce: Some(b"question"),
            asked: None,
            enrolled: None,
            trust: None,
            policy: Some(&policy),
            now: SystemTime::now(),
        };
        verify(&evidence, &mut demand).failed_names()
    };
    let failed = judge(&mut tpm, &truth, "sha256:4,7");
    assert_eq!(failed, ["policy.secure_boot"]);
    // The same digests under other names: the first event becomes one that says nothing.
    let mut forged = truth.clone();
    let first = forged.events.iter().position(|event| event.pcr == 7);
    forged.events[first.unwrap()].kind = EventType(0x8000_0099);
    let failed = judge(&mut tpm, &forged, "sha256:4,7");
    assert_eq!(failed, ["policy.secure_boot"]);
    // PCR 7 is left out of the quote, and the log is a lie.
    let mut lie = truth.clone();
    lie.events[first.unwrap()] = truth.events.last().unwrap().clone();
    let failed = judge(&mut tpm, &lie, "sha256:4");
    assert_eq!(failed, ["policy.secure_boot"]);
}

#[test]
fn events_of_a_pcr_or_a_bank_that_was_not_quoted_count_for_nothing() {
    let mut case = Case::new();
    let ak = AttestationAlgorithm::EcdsaP256;
    for (selection, bank) in [("sha256:0,4,7", "sha256"), ("sha1:0,4,7,9", "sha256")] {
        let ak = attester::attestation_key(&mut client(&mut case.scene.tpm), ak).unwrap();
        let selection = attester::selection(selection).unwrap();
        let quoted = attester::quote(
            &mut client(&mut case.scene.tpm),
            &ak,
            &case.good.nonce.0,
            &selection,
        );
        let (quote, pcrs) = quoted.unwrap();
        attester::release(&mut client(&mut case.scene.tpm), &ak).unwrap();
        let mut evidence = Evidence::new("", &ak.public, &case.good.nonce.0, quote, &pcrs);
        evidence.event_log = case.good.event_log.clone();
        let mut policy = Policy::golden("quoted", &pcrs, None);
        policy.event_bank = bank.to_owned();
        policy.events = [(9, case.policy.events[&9].clone())].into();
        case.scene.enrolled.history = Default::default();
        let failed = case.scene.judge(&evidence, Some(&policy)).failed_names();
        assert_eq!(failed, ["policy.events"], "{selection:?}");
    }
}

#[test]
fn a_golden_policy_of_few_pcr_takes_the_log_that_it_was_made_of() {
    let mut case = Case::new();
    let ak = AttestationAlgorithm::EcdsaP256;
    let ak = attester::attestation_key(&mut client(&mut case.scene.tpm), ak).unwrap();
    let selection = attester::selection("sha256:4,9").unwrap();
    let nonce = case.good.nonce.0.clone();
    let quoted = attester::quote(&mut client(&mut case.scene.tpm), &ak, &nonce, &selection);
    let (quote, pcrs) = quoted.unwrap();
    let mut evidence = Evidence::new("", &ak.public, &nonce, quote, &pcrs);
    evidence.event_log = case.good.event_log.clone();
    // The first event is in PCR 0, which was not quoted, and says nothing of what may be measured there.
    let policy = Policy::golden("few", &pcrs, Some(&case.scene.log));
    assert!(policy.events.contains_key(&0) && !policy.secure_boot);
    let failed = case.scene.judge(&evidence, Some(&policy)).failed_names();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn entries_of_another_pcr_in_the_kernels_list_are_refused() {
    let mut case = Case::new();
    let mut bytes = list(&["/usr/bin/init", "/usr/bin/sshd"]);
    // One more, in a PCR that nobody compares: it could say anything.
    let mut more = list(&["/usr/bin/audited"]);
    more[0] = 11;
    bytes.splice(0..0, more);
    let mut evidence = case.good.clone();
    evidence.ima_list = Some(Base64(bytes));
    assert_eq!(case.judge(&evidence).failed_names(), ["ima.replay"]);
}
