//! Nothing that is secret stands in the state folder: not raw, not as hexadecimal digits, not as base64.

#![cfg(test)]

mod support;

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use support::{Client, Daemon, Protocol, TpmServer, files_below, folder, only_for_vtpm};

/// Recognisable, and long enough that no encoding of it comes about by chance.
const SECRETS: &[&str] = &[
    "sealed-Zaubertrank-4711",
    "password-Kaninchen-0815",
    "ownerauth-Regenbogen-42",
    "nv-Geheimnis-im-Index-7",
    "nvauth-Fledermaus-12345",
];

/// Every form in which someone might look for the bytes.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    forms.push(hex::encode(secret).into_bytes());
    forms.push(hex::encode_upper(secret).into_bytes());
    forms.push(secret.iter().rev().copied().collect());
    // In base64 a secret looks different at each of three positions; the ends depend on the neighbours.
    for position in 0..3_usize {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let mut padded = vec![0; position];
            padded.extend(secret);
            let text = engine.encode(padded).into_bytes();
            let inner = &text[(position * 8).div_ceil(6)..text.len() - 2];
            forms.push(inner.to_vec());
        }
    }
    // UTF-16, as some formats keep text.
    forms.push(secret.iter().flat_map(|&byte| [byte, 0]).collect());
    forms
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn assert_no_secret_in(folder: &Path, secrets: &[Vec<u8>]) {
    let files = files_below(folder);
    assert!(
        !files.is_empty(),
        "nothing to search in {}",
        folder.display()
    );
    for file in files {
        let text = fs::read(&file).expect("a readable file");
        for secret in secrets {
            for form in forms(secret) {
                assert!(
                    !contains(&text, &form),
                    "{} contains {:?}",
                    file.display(),
                    String::from_utf8_lossy(secret)
                );
            }
        }
    }
}

fn secrets() -> Vec<Vec<u8>> {
    SECRETS
        .iter()
        .map(|secret| secret.as_bytes().to_vec())
        .collect()
}

/// Puts each secret where a TPM keeps such things.
fn confide(client: &Client) {
    let [sealed, password, owner, content, nv] = SECRETS else {
        unreachable!("five secrets");
    };
    client.sh(&format!(
        "tpm2_createprimary -C o -G ecc -c primary.ctx
         printf '{sealed}' > secret
         tpm2_create -C primary.ctx -i secret -p '{password}' -u seal.pub -r seal.priv
         tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
         tpm2_evictcontrol -C o -c seal.ctx 0x81000010
         tpm2_nvdefine 0x1500011 -C o -s {} -p '{nv}' -a 'authread|authwrite'
         printf '{content}' | tpm2_nvwrite 0x1500011 -C 0x1500011 -P '{nv}' -i -
         tpm2_changeauth -c o '{owner}'
         rm secret seal.pub seal.priv seal.ctx primary.ctx",
        content.len()
    ));
}

/// They are still there, and still not in the files.
fn recall(client: &Client) {
    let [sealed, password, _, content, nv] = SECRETS else {
        unreachable!("five secrets");
    };
    let opened = client.sh(&format!("tpm2_unseal -c 0x81000010 -p '{password}'"));
    assert_eq!(&opened, sealed);
    let read = client.sh(&format!("tpm2_nvread 0x1500011 -C 0x1500011 -P '{nv}'"));
    assert_eq!(&read, content);
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let secret = SECRETS[0].as_bytes();
    for prefix in ["", "a", "ab"] {
        let text =
            base64::engine::general_purpose::STANDARD.encode(format!("{prefix}{}xyz", SECRETS[0]));
        assert!(
            forms(secret)
                .iter()
                .any(|form| contains(text.as_bytes(), form))
        );
    }
    assert!(
        forms(secret)
            .iter()
            .any(|form| contains(hex::encode(secret).as_bytes(), form))
    );
}

#[test]
fn the_state_folder_of_a_server_holds_no_secret() {
    if only_for_vtpm("it keeps its state in the clear unless told otherwise") {
        return;
    }
    for protocol in [Protocol::Swtpm, Protocol::Mssim] {
        let home = folder();
        let work = folder();
        let mut server = TpmServer::start(protocol, home.path());
        let client = Client::new(server.tcti(), work.path());
        confide(&client);
        assert_no_secret_in(&server.state(), &secrets());
        server.restart();
        recall(&client);
        assert_no_secret_in(&server.state(), &secrets());
        // Nor do the logs tell.
        assert_no_secret_in(home.path(), &secrets());
    }
}

#[test]
fn the_data_folder_of_the_daemon_holds_no_secret() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let home = folder();
    let work = folder();
    let data = home.path().join("data");
    let mut daemon = Daemon::start(&data);
    let client = daemon.client("demo", work.path());
    confide(&client);
    recall(&client);
    assert_no_secret_in(&data, &secrets());
    daemon.stop();
    // All of it, the daemon's output included, but for the password of the backup, which it prints once.
    assert_no_secret_in(home.path(), &secrets());
}

#[test]
fn files_and_folders_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    if only_for_vtpm("its modes are its own") {
        return;
    }
    let home = folder();
    let data = home.path().join("data");
    let _daemon = Daemon::start(&data);
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        let mode = fs::metadata(&folder)
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", folder.display());
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let entry = entry.expect("an entry");
            let metadata = entry.path().symlink_metadata().expect("metadata");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                let mode = metadata.permissions().mode();
                assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
            }
        }
    }
}
