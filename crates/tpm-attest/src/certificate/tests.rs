//! Certificates of keys of the engine's TPM, judged by openssl.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use der::EncodePem;
use der::pem::LineEnding;
use tempfile::TempDir;
use tpm_engine::testing::started;
use tpm_wire::handles::TpmHandle;

use super::*;
use crate::client::Client;
use crate::ek::{EkTemplate, KeyAlgorithm, Keys, Usage};

fn identity() -> TpmIdentity {
    let mut tpm = started();
    TpmIdentity::read(&mut Client::new(|command: &[u8]| {
        Ok(tpm.execute(command).to_vec())
    }))
    .unwrap()
}

fn public(ek: EkTemplate, usage: Usage) -> tpm_wire::object::TpmtPublic {
    let mut tpm = started();
    let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
    let created = client.create_primary(TpmHandle::ENDORSEMENT, &ek.public(usage));
    created.unwrap().out_public.0
}

fn authorities(algorithm: AuthorityAlgorithm) -> (Authority, Authority) {
    let names = AuthorityNames {
        root: common_name("test root").unwrap(),
        issuer: common_name("test issuer").unwrap(),
    };
    let now = SystemTime::now();
    Authority::root_and_issuer(&names, algorithm, now, Lifetime::Endless, &mut rand::rng()).unwrap()
}

fn request<'a>(key: &'a tpm_wire::object::TpmtPublic, tpm: &'a TpmIdentity) -> Request<'a> {
    Request {
        key,
        purpose: Purpose::Endorsement {
            tpm,
            usage: Usage::Decrypt,
        },
        subject: common_name("vm:1").unwrap(),
        serial: random_serial(&mut rand::rng()),
        start: SystemTime::now(),
        lifetime: Lifetime::Endless,
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn write_chain(root: &Authority, issuer: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("root"),
        to_pem(root.certificate()).unwrap(),
    )
    .unwrap();
    let issuer = to_pem(issuer.certificate()).unwrap();
    fs::write(folder.path().join("issuer"), issuer).unwrap();
    folder
}

fn verify(folder: &Path, certificate: &Certificate) -> (bool, String) {
    fs::write(folder.join("leaf"), to_pem(certificate).unwrap()).unwrap();
    openssl(
        folder,
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            "root",
            "-untrusted",
            "issuer",
            "leaf",
        ],
    )
}

#[test]
fn endorsement_certificates_of_every_template_are_accepted() {
    let tpm = identity();
    let (root, issuer) = authorities(AuthorityAlgorithm::default());
    let folder = write_chain(&root, &issuer);
    for ek in [
        EkTemplate::L1,
        EkTemplate::L2,
        EkTemplate::H3,
        EkTemplate::H4,
    ] {
        let key = public(ek, Usage::Decrypt);
        let certificate = issuer
            .issue(&request(&key, &tpm), &mut rand::rng())
            .unwrap();
        let (accepted, said) = verify(folder.path(), &certificate);
        assert!(accepted, "{ek:?}: {said}");
        let (_, text) = openssl(folder.path(), &["x509", "-in", "leaf", "-noout", "-text"]);
        let usage = if ek.algorithm().rsa_bits().is_some() {
            "Key Encipherment"
        } else {
            "Key Agreement"
        };
        for part in [
            usage,
            "2.23.133.8.1",
            "2.23.133.2.1=id:5654504D/2.23.133.2.2=vtpm/2.23.133.2.3=id:00000001",
            "Subject: CN = vm:1",
            "Not After : Dec 31 23:59:59 9999 GMT",
            "CA:FALSE",
            "Subject Directory Attributes",
            "Authority Key Identifier",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let again = read(&to_der(&certificate).unwrap()).unwrap();
        assert_eq!(again, certificate);
    }
}

#[test]
fn an_empty_subject_and_other_uses_are_accepted() {
    let tpm = identity();
    let (root, issuer) = authorities(AuthorityAlgorithm::EcdsaP256);
    let folder = write_chain(&root, &issuer);
    for (usage, words) in [
        (Usage::Sign, "Digital Signature"),
        (Usage::SignAndDecrypt, "Digital Signature, Key Agreement"),
    ] {
        let key = public(EkTemplate::L2, usage);
        let mut request = request(&key, &tpm);
        request.subject = Name::default();
        request.purpose = Purpose::Endorsement { tpm: &tpm, usage };
        let certificate = issuer.issue(&request, &mut rand::rng()).unwrap();
        let (accepted, said) = verify(folder.path(), &certificate);
        assert!(accepted, "{said}");
        let (_, text) = openssl(folder.path(), &["x509", "-in", "leaf", "-noout", "-text"]);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn platform_and_device_certificates_say_what_they_are() {
    let tpm = identity();
    let (root, mut issuer) = authorities(AuthorityAlgorithm::default());
    issuer.locations = Locations {
        certificate: Some("http://ca.example/issuer.crt".into()),
        revocations: Some("http://ca.example/issuer.crl".into()),
    };
    let folder = write_chain(&root, &issuer);
    let key = public(EkTemplate::L2, Usage::Decrypt);
    let platform = PlatformIdentity {
        manufacturer: "Example".into(),
        model: "Box".into(),
        version: "2.1".into(),
    };
    let mut request = request(&key, &tpm);
    request.purpose = Purpose::Platform {
        tpm: &tpm,
        platform: &platform,
        usage: Usage::Decrypt,
    };
    let certificate = issuer.issue(&request, &mut rand::rng()).unwrap();
    assert!(verify(folder.path(), &certificate).0);
    let (_, text) = openssl(folder.path(), &["x509", "-in", "leaf", "-noout", "-text"]);
    for part in [
        "2.23.133.8.2",
        "2.23.133.5.1.1=Example/2.23.133.5.1.4=Box/2.23.133.5.1.5=2.1/2.23.133.2.1=",
        "CA Issuers - URI:http://ca.example/issuer.crt",
        "URI:http://ca.example/issuer.crl",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    request.purpose = Purpose::Device {
        serial: "VTPM:00ff:01",
    };
    request.subject = serial_number_name("vm-1").unwrap();
    let certificate = issuer.issue(&request, &mut rand::rng()).unwrap();
    assert!(verify(folder.path(), &certificate).0);
    let (_, text) = openssl(folder.path(), &["x509", "-in", "leaf", "-noout", "-text"]);
    assert!(text.contains("Subject: serialNumber = vm-1"), "{text}");
    assert!(text.contains("Digital Signature"), "{text}");
    let der = to_der(&certificate).unwrap();
    assert!(der.windows(12).any(|part| part == b"VTPM:00ff:01"));
}

#[test]
fn a_certificate_of_another_authority_and_an_expired_one_are_refused() {
    let tpm = identity();
    let (root, issuer) = authorities(AuthorityAlgorithm::default());
    let (_, stranger) = authorities(AuthorityAlgorithm::default());
    let folder = write_chain(&root, &issuer);
    let key = public(EkTemplate::L2, Usage::Decrypt);
    let mut request = request(&key, &tpm);
    let foreign = stranger.issue(&request, &mut rand::rng()).unwrap();
    assert!(!verify(folder.path(), &foreign).0);
    request.start = SystemTime::now() - Duration::from_secs(3 * 86400);
    request.lifetime = Lifetime::Days(1);
    let expired = issuer.issue(&request, &mut rand::rng()).unwrap();
    let (accepted, said) = verify(folder.path(), &expired);
    assert!(!accepted && said.contains("expired"), "{said}");
}

#[test]
fn a_revoked_certificate_is_refused_and_the_others_are_not() {
    let tpm = identity();
    let (root, issuer) = authorities(AuthorityAlgorithm::default());
    let folder = write_chain(&root, &issuer);
    let key = public(EkTemplate::L2, Usage::Decrypt);
    let now = SystemTime::now();
    let later = now + Duration::from_secs(86400);
    let revoked = issuer
        .issue(&request(&key, &tpm), &mut rand::rng())
        .unwrap();
    let good = issuer
        .issue(&request(&key, &tpm), &mut rand::rng())
        .unwrap();
    let serial = revoked.tbs_certificate().serial_number().as_bytes();
    let serial = serial
        .iter()
        .fold(0, |sum, byte| sum << 8 | u128::from(*byte));
    let entries = [Revocation {
        serial,
        since: now,
        reason: RevocationReason::CessationOfOperation,
    }];
    for (number, entries) in [(1, &[][..]), (2, &entries[..])] {
        let list = issuer
            .revocation_list(number, entries, now, later, &mut rand::rng())
            .unwrap();
        fs::write(
            folder.path().join("crl"),
            list.to_pem(LineEnding::LF).unwrap(),
        )
        .unwrap();
        for (certificate, expected) in [(&revoked, entries.is_empty()), (&good, true)] {
            fs::write(folder.path().join("leaf"), to_pem(certificate).unwrap()).unwrap();
            let (accepted, said) = openssl(
                folder.path(),
                &[
                    "verify",
                    "-x509_strict",
                    "-crl_check",
                    "-CRLfile",
                    "crl",
                    "-CAfile",
                    "root",
                    "-untrusted",
                    "issuer",
                    "leaf",
                ],
            );
            assert_eq!(accepted, expected, "{said}");
        }
    }
}

/// Keys in every form that openssl writes.
#[test]
fn keys_of_other_programs_are_read_and_sign() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (done, said) = openssl(folder.path(), &words);
        assert!(done, "{line}: {said}");
    };
    run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out ec.pkcs8");
    run("ecparam -name prime256v1 -genkey -out ec.sec1");
    run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pkcs8");
    run("rsa -in rsa.pkcs8 -traditional -out rsa.pkcs1");
    run("pkcs8 -topk8 -in ec.pkcs8 -passout pass:secret -out ec.sealed");
    let tpm = identity();
    let key = public(EkTemplate::L2, Usage::Decrypt);
    for (file, password) in [
        ("ec.pkcs8", None),
        ("ec.sec1", None),
        ("rsa.pkcs8", None),
        ("rsa.pkcs1", None),
        ("ec.sealed", Some(&b"secret"[..])),
    ] {
        let pass = if password.is_some() {
            " -passin pass:secret"
        } else {
            ""
        };
        run(&format!(
            "req -x509 -new -key {file} -subj /CN=ca -days 2 -out ca -addext keyUsage=critical,keyCertSign{pass}"
        ));
        let pem = fs::read(folder.path().join(file)).unwrap();
        let text = [b"Public Key Info:\n\tRSA\n\n".to_vec(), pem].concat();
        let signing = SigningKey::from_pem(&text, password).unwrap();
        let certificate = read(&fs::read(folder.path().join("ca")).unwrap()).unwrap();
        let authority = Authority::from_parts(signing, certificate).unwrap();
        let issued = authority
            .issue(&request(&key, &tpm), &mut rand::rng())
            .unwrap();
        fs::write(folder.path().join("leaf"), to_pem(&issued).unwrap()).unwrap();
        let (accepted, said) = openssl(
            folder.path(),
            &["verify", "-x509_strict", "-CAfile", "ca", "leaf"],
        );
        assert!(accepted, "{file}: {said}");
    }
    let sealed = fs::read(folder.path().join("ec.sealed")).unwrap();
    for (password, reason) in [
        (None, "no password"),
        (Some(&b"wrong"[..]), "does not open"),
    ] {
        let error = SigningKey::from_pem(&sealed, password)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// The authority's certificate comes from a company's own authority, by way of a request.
#[test]
fn an_authority_below_another_ones_is_certified_by_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (done, said) = openssl(folder.path(), &words);
        assert!(done, "{line}: {said}");
        said
    };
    let key = SigningKey::generate(AuthorityAlgorithm::default(), &mut rand::rng());
    let name = distinguished_name("CN=TPM issuer,O=Example").unwrap();
    let text = key.certificate_request(name, &mut rand::rng()).unwrap();
    fs::write(folder.path().join("request"), text).unwrap();
    run(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout key -subj /CN=company -addext keyUsage=critical,keyCertSign -out root",
    );
    let said = run("req -in request -verify -noout -text");
    assert!(
        said.contains("CA:TRUE, pathlen:0") && said.contains("Certificate Sign"),
        "{said}"
    );
    run("x509 -req -in request -CA root -CAkey key -copy_extensions copyall -days 9 -out issuer");
    let certificate = read(&fs::read(folder.path().join("issuer")).unwrap()).unwrap();
    let issuer = Authority::from_parts(key, certificate).unwrap();
    let tpm = identity();
    let ek = public(EkTemplate::L2, Usage::Decrypt);
    let issued = issuer.issue(&request(&ek, &tpm), &mut rand::rng()).unwrap();
    let (accepted, said) = verify(folder.path(), &issued);
    assert!(accepted, "{said}");
}

#[test]
fn a_key_that_was_written_is_the_same_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for password in [None, Some(&b"secret"[..])] {
        let key = SigningKey::generate(AuthorityAlgorithm::EcdsaP256, &mut rand::rng());
        let text = key.to_pem(password, &mut rand::rng()).unwrap();
        let again = SigningKey::from_pem(text.as_bytes(), password).unwrap();
        assert_eq!(again.public().unwrap(), key.public().unwrap());
        assert_eq!(format!("{key:?}"), "SigningKey(ECC)");
        fs::write(folder.path().join("key"), &**text).unwrap();
        let (read, said) = openssl(
            folder.path(),
            &[
                "pkey",
                "-in",
                "key",
                "-passin",
                "pass:secret",
                "-check",
                "-noout",
            ],
        );
        assert!(read, "{said}");
    }
}

#[test]
fn an_authority_needs_a_certificate_of_its_own_key_that_lets_it_sign() {
    let (root, issuer) = authorities(AuthorityAlgorithm::default());
    let refused = |certificate: &Certificate| {
        Authority::from_parts(issuer.key().clone(), certificate.clone())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(root.certificate()).contains("another key"));
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(read(text.as_bytes()).is_err());
    assert!(read(b"").is_err());
    assert!(SigningKey::from_pem(text.as_bytes(), None).is_err());
    assert!(Authority::from_parts(issuer.key().clone(), issuer.certificate().clone()).is_ok());
}

#[test]
fn names_that_no_certificate_can_hold_are_refused() {
    for text in ["", &"x".repeat(65)] {
        assert!(common_name(text).is_err());
        assert!(serial_number_name(text).is_err());
    }
    assert!(common_name(&"ü".repeat(64)).is_ok());
    assert!(serial_number_name("ü").is_err());
    assert!(distinguished_name("C=DE,O=Example,CN=TPM root").is_ok());
    assert!(distinguished_name("what is this").is_err());
}

/// Keys that a manufacturer makes are where others look for them, and reading gives what was written.
#[test]
fn keys_are_made_kept_and_certificates_read_back() {
    let mut tpm = started();
    let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
    let made = Keys::new(&mut client, true)
        .endorsement_key(EkTemplate::L2, Usage::Sign)
        .unwrap();
    assert_eq!(made.handle.0, 0x8101_000A);
    let template = EkTemplate::L2.indices().template;
    let stored = client.read_certificate(template).unwrap().unwrap();
    let expected = tpm_wire::codec::Marshal::to_bytes(&EkTemplate::L2.public(Usage::Sign));
    assert_eq!(stored, expected);
    assert_eq!(client.read_certificate(0x01C0_0002).unwrap(), None);
    let large: Vec<u8> = (0..5000_u16)
        .map(|number| number.to_be_bytes()[1])
        .collect();
    client
        .write_certificate(0x01C0_0002, &large, false)
        .unwrap();
    assert_eq!(client.read_certificate(0x01C0_0002).unwrap(), Some(large));
    let again = client
        .write_certificate(0x01C0_0002, b"x", false)
        .unwrap_err()
        .to_string();
    assert!(
        again.contains("0x1c00002") && again.contains("NV_DEFINED"),
        "{again}"
    );
    for key in [
        Keys::new(&mut client, false).storage_key(KeyAlgorithm::EccP384),
        Keys::new(&mut client, false).attestation_key(KeyAlgorithm::EccP256),
        Keys::new(&mut client, false).device_identity(KeyAlgorithm::EccP521),
        Keys::new(&mut client, false).endorsement_key(EkTemplate::H2, Usage::Decrypt),
    ] {
        assert!(subject_public_key_info(&key.unwrap().public).is_ok());
    }
}
