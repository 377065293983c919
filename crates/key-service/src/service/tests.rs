//! What a host gets, and what everybody else gets.

use super::*;
use crate::{Host, HostTpm, Limits, Server, Settings};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use tempfile::TempDir;
use tpm_attest::attester::{self, AttestationAlgorithm};
use tpm_attest::certificate::{
    Authority, AuthorityAlgorithm, AuthorityNames, Lifetime, Purpose as CertificatePurpose,
    Request as CertificateRequest, TpmIdentity, common_name, random_serial, to_der, to_pem,
};
use tpm_attest::client::{Client, Transmit};
use tpm_attest::ek::{EkTemplate, Usage};
use tpm_engine::testing::{TestTpm, started};
use tpm_wire::algorithm::{TpmiAlgHash, TpmtHa};
use tpm_wire::buffers::Small;
use tpm_wire::commands::{ChangeEps, PcrExtend};
use tpm_wire::handles::{TpmHandle, TpmiDhPcr, TpmiRhPlatform};
use tpm_wire::pcr::TpmlDigestValues;

#[derive(Clone)]
struct Tpm(Arc<Mutex<TestTpm>>);

impl Transmit for Tpm {
    fn transmit(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>> {
        Ok(self.0.lock().unwrap().execute(command).to_vec())
    }
}

impl HostTpm for Tpm {
    fn connect(&self) -> Result<Box<dyn Transmit>, String> {
        Ok(Box::new(self.clone()))
    }

    fn place(&self) -> String {
        "in this process".to_owned()
    }
}

struct Rig {
    tpm: Tpm,
    service: Arc<Service>,
    host: Host,
    folder: TempDir,
}

/// A service that listens, and a host that satisfies its policy.
fn rig() -> Rig {
    with_tpm(Tpm(Arc::new(Mutex::new(started()))))
}

/// The same with a TPM of other seeds: those of all tests begin alike.
fn other_rig() -> Rig {
    let tpm = Tpm(Arc::new(Mutex::new(started())));
    let auth_handle = TpmiRhPlatform(TpmHandle::PLATFORM);
    Client::new(tpm.clone())
        .run(&ChangeEps { auth_handle })
        .unwrap();
    with_tpm(tpm)
}

fn with_tpm(tpm: Tpm) -> Rig {
    let mut client = Client::new(tpm.clone());
    let rng = &mut rand::rng();
    let names = AuthorityNames {
        root: common_name("root").unwrap(),
        issuer: common_name("issuer").unwrap(),
    };
    let (root, issuer) = Authority::root_and_issuer(
        &names,
        AuthorityAlgorithm::EcdsaP256,
        SystemTime::now(),
        Lifetime::Days(10),
        rng,
    )
    .unwrap();
    let identity = TpmIdentity::read(&mut client).unwrap();
    let template = EkTemplate::L2;
    let ek = attester::endorsement_key(&mut client, template).unwrap();
    let certificate = issuer
        .issue(
            &CertificateRequest {
                key: &ek.public,
                purpose: CertificatePurpose::Endorsement {
                    tpm: &identity,
                    usage: Usage::Decrypt,
                },
                subject: common_name("tpm").unwrap(),
                serial: random_serial(rng),
                start: SystemTime::now(),
                lifetime: Lifetime::Endless,
            },
            rng,
        )
        .unwrap();
    attester::release(&mut client, &ek).unwrap();
    let bytes = to_der(&certificate).unwrap();
    let index = template.indices().certificate;
    client.write_certificate(index, &bytes, false).unwrap();

    let pcrs = attester::selection("sha256:0,7").unwrap();
    let values = attester::read_pcrs(&mut client, &pcrs).unwrap();
    let policy = Policy::golden("golden", &values, None).to_json();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("service");
    let authorities = [&root, &issuer].map(|one| to_pem(one.certificate()).unwrap());
    Service::set_up(&data, policy.as_bytes(), authorities.concat().as_bytes()).unwrap();
    let service = Arc::new(Service::open(&data, None).unwrap());
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = Server::new(Arc::clone(&service), None);
    std::thread::spawn(move || server.serve_unix(&listener));
    let settings = Settings {
        provider: "tkp".to_owned(),
        name: "a\u{7} host".to_owned(),
        services: vec![crate::Address::Unix(socket)],
        certificates: String::new(),
        limits: Limits::default(),
    };
    let host = Host::new(settings, Arc::new(tpm.clone())).unwrap();
    Rig {
        tpm,
        service,
        host,
        folder,
    }
}

impl Rig {
    fn extend(&self) {
        let mut digests = TpmlDigestValues::new();
        let digest = TpmtHa {
            hash_alg: TpmiAlgHash::Sha256,
            digest: Small::new(&[1; 32]).unwrap(),
        };
        digests.try_push(digest).unwrap();
        let pcr_handle = Some(TpmiDhPcr(TpmHandle(7)));
        Client::new(self.tpm.clone())
            .run(&PcrExtend {
                pcr_handle,
                digests,
            })
            .unwrap();
    }

    fn id(&self) -> String {
        self.service.hosts().unwrap().first().unwrap().id.clone()
    }

    fn ask(&self, want: Want) -> Answer {
        let host = self.id();
        self.service
            .answer(Request::Ask { host, want }, SystemTime::now())
    }

    /// The quote for an answer with a question.
    fn quote(&self, question: &Answer) -> Evidence {
        let Answer::Question { nonce, pcrs } = question else {
            panic!("{question:?}");
        };
        let mut client = Client::new(self.tpm.clone());
        let key = attester::attestation_key(&mut client, AttestationAlgorithm::EcdsaP256).unwrap();
        let selection = attester::selection(pcrs).unwrap();
        let (quote, values) = attester::quote(&mut client, &key, &nonce.0, &selection).unwrap();
        attester::release(&mut client, &key).unwrap();
        Evidence::new("host", &key.public, &nonce.0, quote, &values)
    }

    fn refused_at(&self, request: Request, now: SystemTime) -> (RefusalKind, String) {
        match self.service.answer(request, now) {
            Answer::Refused(refusal) => (refusal.kind, refusal.reason),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, request: Request) -> (RefusalKind, String) {
        self.refused_at(request, SystemTime::now())
    }
}

#[test]
fn a_host_gets_the_same_key_again_until_its_pcr_change() {
    let rig = rig();
    let key_id = rig.host.new_key().unwrap();
    let key = rig.host.key(&key_id, Purpose::Wrap).unwrap();
    assert_eq!(rig.host.key(&key_id, Purpose::Unwrap).unwrap(), key);
    let other = rig.host.new_key().unwrap();
    assert_ne!(rig.host.key(&other, Purpose::Unwrap).unwrap(), key);
    assert!(rig.host.health().iter().all(|server| server.state.is_ok()));
    let hosts = rig.service.hosts().unwrap();
    assert_eq!((hosts.len(), hosts[0].name.as_str()), (1, "a host"));
    // Nothing of it lies about.
    for entry in std::fs::read_dir(rig.folder.path().join("service/keys")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(32).any(|window| window == *key));
    }
    rig.extend();
    let refused = rig.host.key(&key_id, Purpose::Unwrap).unwrap_err();
    let said = refused.to_string();
    for word in [
        "tkp",
        &key_id,
        "policy.pcr: PCR 7 of sha256 is",
        &"00".repeat(32),
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(rig.host.new_key().is_err());
    assert!(rig.host.health().iter().all(|server| server.state.is_err()));
}

#[test]
fn a_question_is_good_once_in_its_time_for_what_was_asked() {
    let rig = rig();
    let key_id = rig.host.new_key().unwrap();
    let want = Want::Key {
        key_id: key_id.clone(),
        purpose: Purpose::Unwrap,
    };
    // Once.
    let evidence = rig.quote(&rig.ask(want.clone()));
    let now = SystemTime::now();
    let answer = || Request::Answer(Box::new(evidence.clone()));
    assert!(matches!(
        rig.service.answer(answer(), now),
        Answer::Key { .. }
    ));
    let (kind, reason) = rig.refused(answer());
    assert_eq!(kind, RefusalKind::NotTrusted);
    assert!(reason.contains("used before"), "{reason}");
    // In its time.
    let evidence = rig.quote(&rig.ask(want));
    let late = SystemTime::now() + PATIENCE + Duration::from_secs(1);
    let (_, reason) = rig.refused_at(Request::Answer(Box::new(evidence)), late);
    assert!(reason.contains("time is over"), "{reason}");
    // For what was asked: nobody gets a key who asked for none.
    let evidence = rig.quote(&rig.ask(Want::Nothing));
    let answer = Request::Answer(Box::new(evidence));
    assert!(matches!(
        rig.service.answer(answer, SystemTime::now()),
        Answer::Good
    ));
    // A quote that says another question than it answers.
    let (first, second) = (rig.ask(Want::NewKey), rig.ask(Want::NewKey));
    let (mut evidence, other) = (rig.quote(&first), rig.quote(&second));
    evidence.nonce = other.nonce;
    let (_, reason) = rig.refused(Request::Answer(Box::new(evidence)));
    assert!(reason.contains("quote.nonce"), "{reason}");
    assert_eq!(rig.service.keys().unwrap().len(), 1, "none was made");
}

#[test]
fn another_tpm_is_nobody_whatever_it_sends() {
    let (rig, stranger) = (rig(), other_rig());
    rig.host.new_key().unwrap();
    // Certified by somebody else.
    let settings = Settings {
        provider: "tkp".to_owned(),
        name: "stranger".to_owned(),
        services: vec![crate::Address::Unix(rig.folder.path().join("socket"))],
        certificates: String::new(),
        limits: Limits::default(),
    };
    let host = Host::new(settings, Arc::new(stranger.tpm.clone())).unwrap();
    let said = host.new_key().unwrap_err().to_string();
    assert!(
        said.contains("is not enrolled") && said.contains("ek.chain"),
        "{said}"
    );
    // In the place of one that is enrolled.
    let evidence = stranger.quote(&rig.ask(Want::NewKey));
    let (kind, reason) = rig.refused(Request::Answer(Box::new(evidence)));
    assert_eq!(kind, RefusalKind::NotTrusted);
    assert!(reason.contains("key.enrolled"), "{reason}");
    // Names that are none, of hosts and of keys.
    for host in ["", "..", "../keys/x", "a\0b", &"f".repeat(300), "Ж"] {
        let want = Want::NewKey;
        let (kind, _) = rig.refused(Request::Ask {
            host: host.to_owned(),
            want,
        });
        assert_eq!(kind, RefusalKind::UnknownHost, "{host:?}");
    }
    for key_id in ["", "../hosts/x", "a\0b", &"f".repeat(300), "Ж"] {
        let want = Want::Key {
            key_id: key_id.to_owned(),
            purpose: Purpose::Unwrap,
        };
        let evidence = rig.quote(&rig.ask(want));
        let (kind, _) = rig.refused(Request::Answer(Box::new(evidence)));
        assert_eq!(kind, RefusalKind::NoSuchKey, "{key_id:?}");
    }
    // A secret that is not the one of the challenge.
    let (kind, _) = rig.refused(Request::Prove {
        session: Hex(vec![0; 32]),
        secret: Hex(vec![0; 32]),
    });
    assert_eq!(kind, RefusalKind::NotTrusted);
}

#[test]
fn who_is_shut_out_and_what_is_destroyed_stay_so_over_a_restart() {
    let rig = rig();
    let (kept, gone) = (rig.host.new_key().unwrap(), rig.host.new_key().unwrap());
    let id = rig.id();
    rig.service.block_host(&id, true).unwrap();
    let said = rig
        .host
        .key(&kept, Purpose::Unwrap)
        .unwrap_err()
        .to_string();
    assert!(said.contains("shut out"), "{said}");
    rig.service.forget_host(&id).unwrap();
    let said = rig
        .host
        .key(&kept, Purpose::Unwrap)
        .unwrap_err()
        .to_string();
    assert!(said.contains("shut out"), "{said}");
    rig.service
        .set_key_state(&gone, KeyState::Destroyed)
        .unwrap();
    rig.service
        .set_key_state(&kept, KeyState::Deactivated)
        .unwrap();
    let again = Service::open(&rig.folder.path().join("service"), None).unwrap();
    assert!(again.is_blocked(&id).unwrap());
    let mut keys = again.keys().unwrap();
    keys.retain(|(key, _)| *key == gone);
    assert_eq!(keys, [(gone.clone(), KeyState::Destroyed)]);
    assert!(matches!(
        again.set_key_state(&gone, KeyState::Active),
        Err(ServiceError::Destroyed(_))
    ));
    assert!(
        again
            .set_key_state("no such key", KeyState::Active)
            .is_err()
    );
    assert!(again.block_host("no such host", true).is_err());
    // Another key file opens nothing.
    let other = rig.folder.path().join("other.key");
    let strange = Service::open(&rig.folder.path().join("service"), Some(&other)).unwrap();
    assert!(
        strange
            .keys()
            .unwrap_err()
            .to_string()
            .contains("does not open")
    );
}

#[test]
fn a_policy_that_hosts_cannot_satisfy_and_no_authority_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("service");
    let said = |policy: &[u8], authorities: &[u8]| {
        Service::set_up(&place, policy, authorities)
            .unwrap_err()
            .to_string()
    };
    let empty = Policy::new("empty").to_json();
    assert!(said(empty.as_bytes(), b"").contains("about no PCR"));
    assert!(said(b"{}", b"").contains("policy.json"));
    let rig = rig();
    let policy = std::fs::read(rig.folder.path().join("service/policy.json")).unwrap();
    assert!(said(&policy, b"no certificate").contains("--ca"));
    assert!(Service::open(&place, None).is_err());
}
