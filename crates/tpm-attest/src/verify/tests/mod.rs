//! TPMs of the engine that are enrolled, quoted and judged; and evidence that is altered in every field.

mod attacker;
mod certificates;
mod files;

use std::time::{Duration, SystemTime};

use rand::rng;
use tpm_engine::testing::{TestTpm, started};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve, TpmsSchemeHash, TpmtEccScheme};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bPublicKeyRsa;
use tpm_wire::codec::Marshal;
use tpm_wire::object::{TpmuPublicId, TpmuPublicParms};

use super::*;
use crate::attester::{self, AttestationAlgorithm, LoadedKey};
use crate::certificate::{
    Authority, AuthorityAlgorithm, AuthorityNames, Certificate, Lifetime, Purpose, Request,
    SigningKey, TpmIdentity, common_name, random_serial, to_der, to_pem,
};
use crate::client::{Client, Transmit};
use crate::ek::{EkTemplate, Usage};
use crate::event_log::data::{Guid, variable};
use crate::event_log::{EventLog, EventType, LogWriter};
use tpm_wire::handles::TpmHandle;

const BANK: TpmiAlgHash = TpmiAlgHash::Sha256;
const QUESTION: &[u8] = b"a question that was not asked yet";

fn client(tpm: &mut TestTpm) -> Client<impl Transmit + '_> {
    Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()))
}

/// Another TPM than the one that tests usually have.
fn other_tpm() -> TestTpm {
    let platform = tpm_engine::testing::ScriptedPlatform::default();
    let script = std::sync::Arc::clone(&platform.script);
    script
        .entropy
        .store(7_000, std::sync::atomic::Ordering::Relaxed);
    let mut tpm = tpm_engine::Tpm::new(tpm_engine::Profile::default(), Box::new(platform));
    let mut test = started();
    std::mem::swap(&mut *test, &mut tpm);
    test.script = script;
    test.run(tpm_wire::commands::Startup {
        startup_type: tpm_wire::constants::TpmSu::Clear,
    })
    .unwrap();
    test
}

fn boot(tpm: &mut TestTpm, kernel: &[u8]) -> EventLog {
    let mut log = LogWriter::new(&[TpmiAlgHash::Sha1, BANK]);
    log.measure_data(0, EventType::S_CRTM_VERSION, b"1\0.\x000\0\0\0");
    let on = variable(Guid::GLOBAL_VARIABLE, "SecureBoot", &[1]);
    log.measure_data(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, &on);
    for pcr in 0..8 {
        log.measure_data(pcr, EventType::SEPARATOR, &[0; 4]);
    }
    log.measure_data(
        4,
        EventType::EFI_ACTION,
        b"Calling EFI Application from Boot Option",
    );
    log.measure(9, EventType::IPL, b"/vmlinuz\0", kernel);
    let log = log.finish();
    for event in &log.events {
        attester::extend(&mut client(tpm), event, &[TpmiAlgHash::Sha1, BANK]).unwrap();
    }
    log
}

/// An authority, and the one below it, with certificates for `tpm`.
struct Authorities {
    root: Authority,
    issuer: Authority,
}

impl Authorities {
    fn new() -> Self {
        let names = AuthorityNames {
            root: common_name("root").unwrap(),
            issuer: common_name("issuer").unwrap(),
        };
        let now = SystemTime::now();
        let algorithm = AuthorityAlgorithm::EcdsaP256;
        let made =
            Authority::root_and_issuer(&names, algorithm, now, Lifetime::Endless, &mut rng());
        let (root, issuer) = made.unwrap();
        Self { root, issuer }
    }

    fn certificate(&self, key: &tpm_wire::object::TpmtPublic, serial: u128) -> Certificate {
        issue(
            &self.issuer,
            key,
            serial,
            Usage::Decrypt,
            SystemTime::now(),
            Lifetime::Endless,
        )
    }

    fn roots(&self) -> Vec<Certificate> {
        vec![self.root.certificate().clone()]
    }

    fn endorsement(&self, key: &LoadedKey) -> Endorsement {
        Endorsement {
            public: Base64(key.public.to_bytes()),
            certificate: Some(Base64(to_der(&self.certificate(&key.public, 77)).unwrap())),
            chain: vec![Base64(to_der(self.issuer.certificate()).unwrap())],
        }
    }
}

fn issue(
    by: &Authority,
    key: &tpm_wire::object::TpmtPublic,
    serial: u128,
    usage: Usage,
    start: SystemTime,
    lifetime: Lifetime,
) -> Certificate {
    let mut tpm = started();
    let identity = TpmIdentity::read(&mut client(&mut tpm)).unwrap();
    let request = Request {
        key,
        purpose: Purpose::Endorsement {
            tpm: &identity,
            usage,
        },
        subject: common_name("vm").unwrap(),
        serial,
        start,
        lifetime,
    };
    by.issue(&request, &mut rng()).unwrap()
}

fn trust<'a>(roots: &'a [Certificate]) -> Trust<'a> {
    Trust {
        roots,
        intermediates: &[],
        revoked: &[],
        revocation_required: false,
        now: SystemTime::now(),
    }
}

/// A machine that was booted and enrolled.
struct Scene {
    tpm: TestTpm,
    log: EventLog,
    authorities: Authorities,
    enrolled: Enrolled,
}

fn candidate(
    tpm: &mut TestTpm,
    authorities: &Authorities,
    ek: EkTemplate,
) -> (Candidate, LoadedKey, LoadedKey) {
    let ek = attester::endorsement_key(&mut client(tpm), ek).unwrap();
    let ak = attester::attestation_key(&mut client(tpm), AttestationAlgorithm::EcdsaP256).unwrap();
    let candidate = Candidate {
        source: "web01".into(),
        attestation_key: ak.public.clone(),
        qualified_name: ak.qualified_name.clone(),
        endorsement: authorities.endorsement(&ek),
    };
    (candidate, ek, ak)
}

impl Scene {
    fn new(ek: EkTemplate) -> Self {
        let mut tpm = started();
        let log = boot(&mut tpm, b"kernel");
        let authorities = Authorities::new();
        let (candidate, ek, ak) = candidate(&mut tpm, &authorities, ek);
        let mut enrolments = Enrolments::new(Duration::from_secs(60), 4);
        let mut verdict = Verdict::default();
        let now = SystemTime::now();
        let roots = authorities.roots();
        let challenge = enrolments.begin(
            &mut verdict,
            &candidate,
            Some(&trust(&roots)),
            now,
            &mut rng(),
        );
        let challenge = challenge.unwrap_or_else(|| panic!("{verdict:#?}"));
        let secret = attester::activate(&mut client(&mut tpm), &ak, &ek, &challenge).unwrap();
        let enrolled = enrolments.finish(&mut verdict, &challenge.session.0, &secret, now);
        for key in [&ek, &ak] {
            attester::release(&mut client(&mut tpm), key).unwrap();
        }
        let enrolled = enrolled.unwrap();
        Self {
            tpm,
            log,
            authorities,
            enrolled,
        }
    }

    fn evidence(&mut self, nonce: &[u8]) -> Evidence {
        let mut evidence = quoted(&mut self.tpm, AttestationAlgorithm::EcdsaP256, nonce);
        evidence.event_log = Some(Base64(self.log.to_bytes()));
        evidence.endorsement = Some(self.enrolled.endorsement.clone());
        evidence
    }

    fn judge(&mut self, evidence: &Evidence, policy: Option<&Policy>) -> Verdict {
        let roots = self.authorities.roots();
        let mut demand = Demand {
            nonce: Some(QUESTION.get(..32).unwrap()),
            asked: None,
            enrolled: Some(&mut self.enrolled),
            trust: Some(trust(&roots)),
            policy,
            now: SystemTime::now(),
        };
        verify(evidence, &mut demand)
    }

    fn golden(&mut self) -> Policy {
        let evidence = self.evidence(QUESTION);
        Policy::golden("golden", &evidence.pcr_values().unwrap(), Some(&self.log))
    }
}

fn quoted(tpm: &mut TestTpm, algorithm: AttestationAlgorithm, nonce: &[u8]) -> Evidence {
    let nonce = nonce.get(..32).unwrap_or(nonce);
    let ak = attester::attestation_key(&mut client(tpm), algorithm).unwrap();
    let selection = attester::selection("sha256:0,1,2,3,4,5,6,7,8,9,14,23").unwrap();
    let (quote, pcrs) = attester::quote(&mut client(tpm), &ak, nonce, &selection).unwrap();
    attester::release(&mut client(tpm), &ak).unwrap();
    Evidence::new("web01", &ak.public, nonce, quote, &pcrs)
}

#[test]
fn good_evidence_passes_every_check() {
    for ek in [EkTemplate::L2, EkTemplate::H2, EkTemplate::L1] {
        let mut scene = Scene::new(ek);
        let policy = scene.golden();
        let evidence = scene.evidence(QUESTION);
        let again = Evidence::from_json(evidence.to_json().as_bytes()).unwrap();
        assert_eq!(again, evidence);
        let verdict = scene.judge(&again, Some(&policy));
        assert!(
            verdict.is_trusted(),
            "{ek:?} {:#?}",
            verdict.failed().collect::<Vec<_>>()
        );
        let open: Vec<Rule> = verdict
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Skipped)
            .map(|check| check.rule)
            .collect();
        assert_eq!(open, [Rule::EkRevocation]);
        assert!(policy.secure_boot && policy.events.contains_key(&9));
    }
}

type Alteration = (&'static str, Rule, fn(&mut Evidence));

/// A change to each field of the evidence, and of what is in the quote, and the check that must notice.
const ALTERATIONS: &[Alteration] = &[
    ("magic", Rule::QuoteMagic, |e| e.quote.message.0[0] ^= 1),
    ("type", Rule::QuoteType, |e| e.quote.message.0[5] ^= 1),
    ("signer", Rule::QuoteSignature, |e| {
        e.quote.message.0[20] ^= 1
    }),
    ("nonce inside", Rule::QuoteSignature, |e| {
        e.quote.message.0[45] ^= 1
    }),
    ("clock", Rule::QuoteSignature, |e| {
        let at = e.quote.message.0.len() - 70;
        e.quote.message.0[at] ^= 1;
    }),
    ("digest", Rule::QuoteSignature, |e| {
        *e.quote.message.0.last_mut().unwrap() ^= 1
    }),
    ("end", Rule::QuoteForm, |e| e.quote.message.0.push(0)),
    ("cut", Rule::QuoteForm, |e| e.quote.message.0.truncate(50)),
    ("nothing", Rule::QuoteMagic, |e| e.quote.message.0.clear()),
    ("signature", Rule::QuoteSignature, |e| {
        *e.quote.signature.0.last_mut().unwrap() ^= 1
    }),
    ("scheme", Rule::QuoteSignature, |e| {
        e.quote.signature.0[1] ^= 3
    }),
    ("hash", Rule::QuoteSignature, |e| {
        e.quote.signature.0[3] ^= 15
    }),
    ("signature cut", Rule::QuoteSignature, |e| {
        e.quote.signature.0.truncate(9)
    }),
    ("nonce", Rule::QuoteNonce, |e| e.nonce.0[0] ^= 1),
    ("pcr", Rule::QuoteDigest, |e| {
        e.pcrs.get_mut("sha256").unwrap().get_mut(&4).unwrap().0[0] ^= 1;
    }),
    ("pcr gone", Rule::QuoteSelection, |e| {
        e.pcrs.get_mut("sha256").unwrap().remove(&4);
    }),
    ("pcr more", Rule::QuoteSelection, |e| {
        e.pcrs
            .get_mut("sha256")
            .unwrap()
            .insert(15, Hex(vec![0; 32]));
    }),
    ("pcr short", Rule::QuoteSelection, |e| {
        e.pcrs
            .get_mut("sha256")
            .unwrap()
            .get_mut(&4)
            .unwrap()
            .0
            .pop();
    }),
    ("bank more", Rule::QuoteSelection, |e| {
        e.pcrs.insert("sha1".into(), [(0, Hex(vec![0; 20]))].into());
    }),
    ("bank unknown", Rule::EvidenceForm, |e| {
        let values = e.pcrs.remove("sha256").unwrap();
        e.pcrs.insert("sha255".into(), values);
    }),
    ("key", Rule::KeyEnrolled, |e| {
        *e.attestation_key.0.last_mut().unwrap() ^= 1
    }),
    ("key cut", Rule::EvidenceForm, |e| {
        e.attestation_key.0.truncate(20)
    }),
    ("restricted", Rule::KeyAttributes, |e| {
        e.attestation_key.0[5] ^= 1
    }),
    ("fixedTPM", Rule::KeyAttributes, |e| {
        e.attestation_key.0[7] ^= 2
    }),
    ("log cut", Rule::LogForm, |e| {
        let log = &mut e.event_log.as_mut().unwrap().0;
        log.truncate(log.len() - 1);
    }),
    ("log data", Rule::LogData, |e| {
        let log = &mut e.event_log.as_mut().unwrap().0;
        let at = log.windows(7).position(|part| part == b"Calling").unwrap();
        log[at] ^= 1;
    }),
    ("log digest", Rule::LogReplay, |e| {
        alter_log(e, |log| log.events[3].digests[1].bytes[0] ^= 1)
    }),
    ("log order", Rule::LogReplay, |e| {
        alter_log(e, |log| log.events.swap(6, 11))
    }),
    ("log shorter", Rule::LogReplay, |e| {
        alter_log(e, |log| drop(log.events.pop()))
    }),
    ("log longer", Rule::LogReplay, |e| {
        alter_log(e, |log| log.events.push(log.events.last().unwrap().clone()));
    }),
    ("log pcr", Rule::LogReplay, |e| {
        alter_log(e, |log| log.events[4].pcr = 99)
    }),
    ("separator twice", Rule::LogSeparators, |e| {
        alter_log(e, |log| log.events.push(log.events[5].clone()));
    }),
    ("unknown event", Rule::LogReplay, |e| {
        alter_log(e, |log| {
            let mut event = log.events[5].clone();
            event.kind = EventType(0x1234_5678);
            event.pcr = 8;
            log.events.push(event);
        });
    }),
    ("no list", Rule::ImaForm, |e| {
        e.ima_list = Some(Base64(b"nonsense".to_vec()))
    }),
    ("list of nothing quoted", Rule::ImaReplay, |e| {
        e.ima_list = Some(Base64(Vec::new()))
    }),
    ("endorsement key", Rule::EkMatch, |e| {
        *e.endorsement.as_mut().unwrap().public.0.last_mut().unwrap() ^= 1;
    }),
    ("no endorsement key", Rule::EkKey, |e| {
        e.endorsement.as_mut().unwrap().public.0.clear()
    }),
    ("no certificate", Rule::EkChain, |e| {
        e.endorsement.as_mut().unwrap().certificate = None
    }),
    ("certificate", Rule::EkChain, |e| {
        let bytes = e
            .endorsement
            .as_mut()
            .unwrap()
            .certificate
            .as_mut()
            .unwrap();
        *bytes.0.last_mut().unwrap() ^= 1;
    }),
    ("chain", Rule::EkChain, |e| {
        e.endorsement.as_mut().unwrap().chain.clear()
    }),
    ("a zero in front of r", Rule::QuoteSignature, |e| {
        let signature = &mut e.quote.signature.0;
        assert_eq!(signature[..6], [0, 0x18, 0, 0x0b, 0, 32]);
        signature[5] = 33;
        signature.insert(6, 0);
    }),
    ("a byte behind the log", Rule::LogForm, |e| {
        e.event_log.as_mut().unwrap().0.push(0)
    }),
    ("a byte behind the certificate", Rule::EvidenceForm, |e| {
        let endorsement = e.endorsement.as_mut().unwrap();
        endorsement.certificate.as_mut().unwrap().0.push(0);
    }),
    (
        "a byte behind a certificate of the chain",
        Rule::EvidenceForm,
        |e| e.endorsement.as_mut().unwrap().chain[0].0.push(0xFF),
    ),
    (
        "more certificates than are looked at",
        Rule::EvidenceForm,
        |e| {
            let chain = &mut e.endorsement.as_mut().unwrap().chain;
            let one = chain[0].clone();
            chain.resize(9, one);
        },
    ),
];

fn alter_log(evidence: &mut Evidence, alter: fn(&mut EventLog)) {
    let mut log = EventLog::parse(&evidence.event_log.as_ref().unwrap().0).unwrap();
    alter(&mut log);
    evidence.event_log = Some(Base64(log.to_bytes()));
}

#[test]
fn what_is_altered_in_any_field_is_refused_by_the_check_that_is_about_it() {
    let mut scene = Scene::new(EkTemplate::L2);
    let policy = scene.golden();
    let good = scene.evidence(QUESTION);
    for (what, rule, alter) in ALTERATIONS {
        let mut evidence = good.clone();
        alter(&mut evidence);
        let verdict = scene.judge(&evidence, Some(&policy));
        assert!(!verdict.is_trusted(), "{what} was not noticed");
        assert_eq!(
            verdict.outcome(*rule),
            Some(Outcome::Fail),
            "{what}: not {rule} but {:?}",
            verdict.failed_names()
        );
    }
    let verdict = scene.judge(&good, Some(&policy));
    assert!(verdict.is_trusted(), "what was refused has spoiled nothing");
}

#[test]
fn every_byte_of_a_quote_counts() {
    let mut scene = Scene::new(EkTemplate::L2);
    let good = scene.evidence(QUESTION);
    for at in 0..good.quote.message.0.len() {
        let mut evidence = good.clone();
        evidence.quote.message.0[at] ^= 0x10;
        assert!(!scene.judge(&evidence, None).is_trusted(), "byte {at}");
    }
}

#[test]
fn documents_that_are_too_large_or_of_another_kind_are_refused() {
    let huge = vec![b' '; 100 * 1024 * 1024];
    assert!(
        Evidence::from_json(&huge)
            .unwrap_err()
            .contains("104857600 bytes")
    );
    let mut scene = Scene::new(EkTemplate::L2);
    let text = scene.evidence(QUESTION).to_json();
    for (from, to) in [
        ("vtpm-evidence", "other"),
        ("\"version\": 1", "\"version\": 2"),
        ("\"nonce\"", "\"more\": 1, \"nonce\""),
        ("\"nonce\": \"", "\"nonce\": \"xx"),
        ("\"message\"", "\"massage\""),
    ] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text);
        assert!(Evidence::from_json(altered.as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn yesterdays_answer_and_another_keys_signature_are_refused() {
    let mut scene = Scene::new(EkTemplate::L2);
    let old = scene.evidence(b"the question of another day, which was");
    assert_eq!(scene.judge(&old, None).failed_names(), ["quote.nonce"]);
    let mut foreign = quoted(&mut other_tpm(), AttestationAlgorithm::EcdsaP256, QUESTION);
    let verdict = scene.judge(&foreign, None);
    assert!(
        verdict.failed_names().contains(&"key.enrolled"),
        "{:?}",
        verdict.failed_names()
    );
    foreign.attestation_key = scene.enrolled.attestation_key.clone();
    assert_eq!(
        scene.judge(&foreign, None).failed_names(),
        ["quote.signature"]
    );
}

#[test]
fn every_scheme_that_a_restricted_key_may_have_is_verified() {
    let hash = |hash_alg| TpmsSchemeHash { hash_alg };
    let ecc = |scheme, curve| {
        let mut template = AttestationAlgorithm::EcdsaP256.template();
        if let TpmuPublicParms::Ecc(parameters) = &mut template.parameters {
            parameters.scheme = Some(scheme);
            parameters.curve_id = curve;
        }
        template
    };
    let sha256 = TpmiAlgHash::Sha256;
    let templates = [
        AttestationAlgorithm::Rsassa2048.template(),
        AttestationAlgorithm::Rsapss2048.template(),
        ecc(
            TpmtEccScheme::Ecdsa(hash(TpmiAlgHash::Sha384)),
            TpmiEccCurve::NistP384,
        ),
        ecc(
            TpmtEccScheme::Ecschnorr(hash(sha256)),
            TpmiEccCurve::NistP256,
        ),
        ecc(TpmtEccScheme::Sm2(hash(sha256)), TpmiEccCurve::Sm2P256),
    ];
    let selection = attester::selection("sha1:0,16+sha256:all").unwrap();
    for template in templates {
        let mut tpm = started();
        let created = client(&mut tpm)
            .create_primary(TpmHandle::ENDORSEMENT, &template)
            .unwrap();
        let key = attester::read_public(&mut client(&mut tpm), created.object_handle).unwrap();
        let (quote, pcrs) =
            attester::quote(&mut client(&mut tpm), &key, b"why", &selection).unwrap();
        let mut evidence = Evidence::new("", &key.public, b"why", quote, &pcrs);
        let demand = || Demand {
            nonce: Some(b"why"),
            asked: None,
            enrolled: None,
            trust: None,
            policy: None,
            now: SystemTime::now(),
        };
        let verdict = verify(&evidence, &mut demand());
        assert!(
            verdict.is_trusted(),
            "{:?} {:?}",
            template.parameters,
            verdict.failed_names()
        );
        assert_eq!(verdict.outcome(Rule::QuoteSigner), Some(Outcome::Pass));
        let last = evidence.quote.signature.0.last_mut().unwrap();
        *last ^= 1;
        let verdict = verify(&evidence, &mut demand());
        assert_eq!(verdict.failed_names(), ["quote.signature"]);
    }
}

#[test]
fn weak_keys_and_keys_that_may_do_more_are_refused() {
    let good = AttestationAlgorithm::EcdsaP256.template();
    let refused = |alter: &dyn Fn(&mut tpm_wire::object::TpmtPublic)| {
        let mut key = good.clone();
        alter(&mut key);
        let mut verdict = Verdict::default();
        check_key(&mut verdict, &key);
        verdict.failed_names()
    };
    for attribute in [
        TpmaObject::RESTRICTED,
        TpmaObject::SIGN,
        TpmaObject::FIXED_TPM,
        TpmaObject::FIXED_PARENT,
        TpmaObject::SENSITIVE_DATA_ORIGIN,
    ] {
        let names =
            refused(&|key| key.object_attributes = key.object_attributes.without(attribute));
        assert!(names.contains(&"key.attributes"));
    }
    let names =
        refused(&|key| key.object_attributes = key.object_attributes.with(TpmaObject::DECRYPT));
    assert!(names.contains(&"key.attributes"));
    let mut short = AttestationAlgorithm::Rsassa2048.template();
    if let TpmuPublicParms::Rsa(parameters) = &mut short.parameters {
        parameters.key_bits.0 = 1024;
    }
    short.unique = TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(vec![0xFF; 128]).unwrap());
    let mut verdict = Verdict::default();
    check_key(&mut verdict, &short);
    assert_eq!(verdict.failed_names(), ["key.strength"]);
    let mut ek = EkTemplate::L1.public(Usage::Decrypt);
    ek.parameters = short.parameters;
    ek.unique = short.unique;
    let mut verdict = Verdict::default();
    chain::check_endorsement_key(&mut verdict, &ek);
    assert_eq!(verdict.failed_names(), ["ek.size"]);
}

#[test]
fn an_enrolment_takes_the_right_tpm_once_and_in_time() {
    let authorities = Authorities::new();
    let mut tpm = started();
    let (candidate, ek, ak) = candidate(&mut tpm, &authorities, EkTemplate::L2);
    let roots = authorities.roots();
    let trusted = trust(&roots);
    let mut enrolments = Enrolments::new(Duration::from_secs(60), 4);
    let now = SystemTime::now();
    let mut begin = |now| {
        let mut verdict = Verdict::default();
        let challenge = enrolments.begin(&mut verdict, &candidate, Some(&trusted), now, &mut rng());
        challenge.unwrap()
    };
    let challenges = [begin(now), begin(now), begin(now)];
    let secret = attester::activate(&mut client(&mut tpm), &ak, &ek, &challenges[0]).unwrap();
    // Another TPM cannot open it, whatever keys it has.
    let mut other = other_tpm();
    let other_ek = attester::endorsement_key(&mut client(&mut other), EkTemplate::L2).unwrap();
    let algorithm = AttestationAlgorithm::EcdsaP256;
    let other_ak = attester::attestation_key(&mut client(&mut other), algorithm).unwrap();
    assert_ne!(other_ek.public, ek.public);
    let refused = attester::activate(
        &mut client(&mut other),
        &other_ak,
        &other_ek,
        &challenges[0],
    );
    assert!(refused.is_err());
    let mut finish = |session: &Hex, secret: &[u8], now| {
        let mut verdict = Verdict::default();
        let record = enrolments.finish(&mut verdict, &session.0, secret, now);
        assert_eq!(record.is_some(), verdict.is_trusted());
        record.is_some()
    };
    assert!(finish(&challenges[0].session, &secret, now));
    assert!(
        !finish(&challenges[0].session, &secret, now),
        "a second time"
    );
    assert!(
        !finish(&challenges[1].session, &[0; 32], now),
        "a wrong secret"
    );
    let right = attester::activate(&mut client(&mut tpm), &ak, &ek, &challenges[1]).unwrap();
    assert!(
        !finish(&challenges[1].session, &right, now),
        "after a wrong secret"
    );
    let right = attester::activate(&mut client(&mut tpm), &ak, &ek, &challenges[2]).unwrap();
    let late = now + Duration::from_secs(61);
    assert!(!finish(&challenges[2].session, &right, late), "too late");
}

#[test]
fn a_candidate_whose_keys_are_wrong_gets_no_challenge() {
    let authorities = Authorities::new();
    let mut tpm = started();
    let (good, _, _) = candidate(&mut tpm, &authorities, EkTemplate::L2);
    let roots = authorities.roots();
    let mut enrolments = Enrolments::new(Duration::from_secs(60), 4);
    let mut begin = |candidate: &Candidate| {
        let mut verdict = Verdict::default();
        let trusted = trust(&roots);
        let given = enrolments.begin(
            &mut verdict,
            candidate,
            Some(&trusted),
            SystemTime::now(),
            &mut rng(),
        );
        (given.is_some(), verdict.failed_names())
    };
    assert_eq!(begin(&good), (true, vec![]));
    let mut signing = good.clone();
    signing.attestation_key.object_attributes = TpmaObject::SIGN;
    assert_eq!(begin(&signing), (false, vec!["key.attributes"]));
    let mut swapped = good.clone();
    swapped.endorsement.public = Base64(good.attestation_key.to_bytes());
    let (given, failed) = begin(&swapped);
    assert!(
        !given && failed.contains(&"ek.key") && failed.contains(&"ek.match"),
        "{failed:?}"
    );
    let strangers = Authorities::new();
    let mut foreign = good;
    let ek = attester::endorsement_key(&mut client(&mut tpm), EkTemplate::L2).unwrap();
    foreign.endorsement = strangers.endorsement(&ek);
    assert_eq!(begin(&foreign), (false, vec!["ek.chain"]));
}

#[test]
fn a_policy_points_at_the_event_that_changed() {
    let mut scene = Scene::new(EkTemplate::L2);
    let policy = scene.golden();
    scene.tpm.restart(
        Some(tpm_wire::constants::TpmSu::Clear),
        tpm_wire::constants::TpmSu::Clear,
    );
    scene.log = boot(&mut scene.tpm, b"another kernel");
    let evidence = scene.evidence(QUESTION);
    let verdict = scene.judge(&evidence, Some(&policy));
    assert_eq!(verdict.failed_names(), ["policy.pcr", "policy.events"]);
    let detail = &verdict.failed().last().unwrap().detail;
    assert!(
        detail.contains("event 12") && detail.contains("/vmlinuz"),
        "{detail}"
    );
    assert!(detail.contains("where the policy has"), "{detail}");
    // The golden kernel's bytes again, but the log calls them something else.
    let mut renamed = policy.clone();
    let digest = scene.log.events[12].digest(BANK).unwrap().to_vec();
    for allowed in renamed.events.get_mut(&9).unwrap() {
        allowed.digest = Hex(digest.clone());
    }
    let outcome = |scene: &mut Scene, policy: &Policy| {
        scene
            .judge(&evidence, Some(policy))
            .outcome(Rule::PolicyEvents)
    };
    assert_eq!(outcome(&mut scene, &renamed), Some(Outcome::Pass));
    for allowed in renamed.events.get_mut(&9).unwrap() {
        allowed.note = "/vmlinux".into();
    }
    assert_eq!(outcome(&mut scene, &renamed), Some(Outcome::Fail));
    // The same machine as before, but nobody shows a log.
    let mut silent = evidence;
    silent.event_log = None;
    let verdict = scene.judge(&silent, Some(&policy));
    assert!(verdict.failed_names().contains(&"policy.events"));
    let mut demanding = policy.clone();
    demanding.firmware_versions = vec![Hex(vec![9; 8])];
    demanding.pcrs.get_mut("sha256").unwrap().insert(11, vec![]);
    let verdict = scene.judge(&silent, Some(&demanding));
    for name in ["policy.firmware", "policy.bank"] {
        assert!(
            verdict.failed_names().contains(&name),
            "{:?}",
            verdict.failed_names()
        );
    }
    let nothing = Policy::new("nothing");
    let verdict = scene.judge(&silent, Some(&nothing));
    assert!(
        verdict.failed_names().contains(&"policy.bank"),
        "a policy about nothing is none"
    );
}

#[test]
fn policies_are_taken_from_whoever_may_sign_them() {
    let mut policy = Policy::new("signed");
    policy
        .pcrs
        .insert("sha256".into(), [(0, vec![Hex(vec![1; 32])])].into());
    let key = SigningKey::generate(AuthorityAlgorithm::EcdsaP384, &mut rng());
    let signed = policy.to_signed_json(&key, &mut rng()).unwrap();
    let public = key.public().unwrap();
    let read = |text: &str, signer| Policy::from_json(text.as_bytes(), signer);
    assert_eq!(read(&signed, Some(&public)).unwrap(), policy);
    assert_eq!(read(&policy.to_json(), None).unwrap(), policy);
    let unsigned = read(&policy.to_json(), Some(&public)).unwrap_err();
    assert_eq!(unsigned.0, Rule::PolicySignature);
    let other = SigningKey::generate(AuthorityAlgorithm::EcdsaP384, &mut rng())
        .public()
        .unwrap();
    assert_eq!(
        read(&signed, Some(&other)).unwrap_err().0,
        Rule::PolicySignature
    );
    let altered = signed.replacen("\"policy\": \"ew", "\"policy\": \"fw", 1);
    assert_ne!(altered, signed);
    assert_eq!(
        read(&altered, Some(&public)).unwrap_err().0,
        Rule::PolicySignature
    );
    assert_eq!(read("{}", None).unwrap_err().0, Rule::EvidenceForm);
}
