//! Certificates on both sides, and key servers that answer as none should.

use crate::adversary::{Adversary, Answer, GET};
use crate::place::{Place, assert_names, made};
use crate::support::{finish, folder, only_for_vtpm};
use std::fs;
use std::process::Command;

#[test]
fn a_client_certificate_is_asked_for_signed_and_set() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let place = Place::new();
    let server = place.key_server("a");
    let daemon = &place.daemon;
    let address = format!("127.0.0.1:{}", server.port);
    let authority = place.path("authority.pem");
    daemon.ok([
        "provider",
        "add",
        "kms",
        "--kind",
        "standard",
        "--server",
        &address,
        "--server-cert",
        &authority,
    ]);
    let listed = daemon.ok(["provider", "list"]);
    assert_names(&listed, &["waits-for-certificate"]);
    let said = daemon.refused(["vm", "create", "vm", "--tpm", "--provider", "kms"]);
    assert_names(&said, &["kms", "vtpm provider csr kms"]);

    let work = folder();
    let path = |name: &str| work.path().join(name).display().to_string();
    fs::write(
        work.path().join("request.pem"),
        daemon.ok(["provider", "csr", "kms"]),
    )
    .unwrap();
    // The key that signs for clients is the test authority's.
    let signed = made().sign_request(work.path(), &path("request.pem"), &path("signed.pem"));
    finish("openssl x509 -req", signed);
    let said = daemon.refused([
        "provider",
        "set-certificate",
        "kms",
        "--cert",
        &place.path("client.pem"),
    ]);
    assert_names(&said, &["client key is not the one"]);
    daemon.ok([
        "provider",
        "set-certificate",
        "kms",
        "--cert",
        &path("signed.pem"),
    ]);
    place.create("vm");
    daemon.ok(["vm", "start", "vm"]);

    // The private key is nowhere to be read, and only its owner may try.
    for (file, bytes) in crate::support::files_below(daemon.folder())
        .into_iter()
        .filter(|path| path.display().to_string().contains("providers"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
    {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("PRIVATE"), "{}", file.display());
        let mode = Command::new("stat").args(["-c", "%a"]).arg(&file).output();
        assert_eq!(
            finish("stat", mode.unwrap()).trim(),
            "600",
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_server_with_another_certificate_is_not_asked_for_keys() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let place = Place::new();
    let server = place.key_server("a");
    let address = format!("127.0.0.1:{}", server.port);
    let daemon = &place.daemon;
    daemon.ok([
        "provider",
        "add",
        "kms",
        "--kind",
        "standard",
        "--server",
        &address,
        "--client-cert",
        &place.path("client.pem"),
        "--client-key",
        &place.path("client.key"),
        "--server-cert",
        &place.path("other-server.pem"),
    ]);
    let said = daemon.refused(["vm", "create", "vm", "--tpm", "--provider", "kms"]);
    assert_names(&said, &["kms", &address, "is not trusted"]);
    for (arguments, word) in [
        (
            vec![
                "--server",
                "a:0",
                "--server-cert",
                &place.path("server.pem"),
            ],
            "\"a:0\"",
        ),
        (
            vec![
                "--server",
                &address,
                "--server-cert",
                &place.path("client.key"),
            ],
            "server certificate",
        ),
        (vec!["--server-cert", &place.path("server.pem")], "--server"),
    ] {
        let mut all = vec!["provider", "add", "bad", "--kind", "standard"];
        all.extend(arguments);
        let output = daemon.vtpm(&all);
        assert_eq!(output.status.code(), Some(1));
        assert_names(&String::from_utf8_lossy(&output.stderr), &[word]);
    }
    let listed = daemon.ok(["provider", "list"]);
    assert!(!listed.contains("bad"), "{listed}");
}

#[test]
fn what_a_key_server_answers_wrongly_is_told_with_provider_server_and_key() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let place = Place::new();
    let daemon = &place.daemon;
    type Alter = fn(Vec<u8>) -> Answer;
    let cases: [(&str, Alter, &str); 3] = [
        (
            "cut",
            |mut answer| {
                answer.truncate(answer.len() / 2);
                Answer::SendAndEnd(answer)
            },
            "before its reply was whole",
        ),
        (
            "oversized",
            |mut answer| {
                answer[4..8].copy_from_slice(&[0x7f, 0xff, 0xff, 0xf8]);
                Answer::Send(answer)
            },
            "at most",
        ),
        (
            "other-type",
            |mut answer| {
                answer[3] = 0x07;
                Answer::Send(answer)
            },
            "first bytes are not those",
        ),
    ];
    for (name, alter, word) in cases {
        let server = Adversary::wrong_at(GET, alter);
        let address = format!("127.0.0.1:{}", server.port);
        daemon.ok([
            "provider",
            "add",
            name,
            "--kind",
            "standard",
            "--server",
            &address,
            "--client-cert",
            &place.path("client.pem"),
            "--client-key",
            &place.path("client.key"),
            "--server-cert",
            &place.path("server.pem"),
        ]);
        let before = place.files();
        let said = daemon.refused(["vm", "create", "vm", "--tpm", "--provider", name]);
        assert_names(&said, &[name, &address, "\"new\"", word]);
        assert!(place.files() == before, "{name}: files were left");
    }
}
