//! Keys by which others know a VM's TPM: attestation key, IAK and IDevID.

use std::fs;

use serde_json::Value;

use crate::certificates::{STRICT, openssl_ok, save_authority};
use crate::support::{Daemon, folder, only_for_vtpm};

#[test]
fn a_tpm_shows_that_it_has_the_keys_by_which_others_know_it() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let daemon = Daemon::start(&here.join("data"));
    daemon.ok(["vm", "create", "web01", "--tpm"]);
    save_authority(&daemon, here);
    let none = daemon.ok(["vm", "identity", "show", "web01"]);
    assert!(none.contains("vtpm vm identity create"), "{none}");
    daemon.ok(["vm", "start", "web01"]);
    let refused = daemon.refused(["vm", "identity", "create", "web01"]);
    assert!(refused.contains("vtpm vm stop"), "{refused}");
    daemon.ok(["vm", "stop", "web01"]);
    let refused = daemon.refused(["vm", "identity", "create", "web01", "--keys", "iak,iak"]);
    assert!(refused.contains("each key once"), "{refused}");
    let refused = daemon.refused([
        "vm",
        "identity",
        "create",
        "web01",
        "--keys",
        "ak",
        "--algorithm",
        "secp384r1",
    ]);
    assert!(refused.contains("secp256r1"), "{refused}");
    let said = daemon.ok([
        "vm",
        "identity",
        "create",
        "web01",
        "--keys",
        "ak,iak,idevid",
    ]);
    for words in ["0x81010002", "0x81020001", "0x81020000", "the TPM showed"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let shown = daemon.ok(["vm", "identity", "show", "web01", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    daemon.ok(["vm", "start", "web01"]);
    let client = daemon.client("web01", here);
    for (place, (kind, handle, index)) in [
        ("ak", "0x81010002", "0x1c10002"),
        ("iak", "0x81020001", "0x1c90100"),
        ("idevid", "0x81020000", "0x1c90200"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(shown[place]["kind"], kind);
        // The certificate in the TPM is for the key in the TPM, and of the authority.
        client.sh(&format!(
            "tpm2_nvread {index} -C o -o {kind}.der; tpm2_readpublic -c {handle} -f pem -o {kind}.pub -n {kind}.name"
        ));
        openssl_ok(here, &format!("{STRICT} {kind}.der"));
        let own = openssl_ok(
            here,
            &format!("x509 -in {kind}.der -inform der -noout -pubkey"),
        );
        let key = openssl_ok(here, &format!("pkey -pubin -in {kind}.pub"));
        assert_eq!(own, key, "{kind}");
        let name = fs::read(here.join(format!("{kind}.name"))).expect("a name");
        assert_eq!(shown[place]["name"], hex::encode(name));
        let text = openssl_ok(
            here,
            &format!("x509 -in {kind}.der -inform der -noout -text"),
        );
        assert!(text.contains("Digital Signature"), "{text}");
        let words = if kind == "ak" {
            "2.23.133.8.3"
        } else {
            "serialNumber = "
        };
        assert!(text.contains(words), "{kind}: {text}");
        // A request that any authority takes: it is signed by the key itself.
        let request = daemon.ok(["vm", "identity", "csr", "web01", "--key", kind]);
        fs::write(here.join("key.csr"), request).expect("written");
        openssl_ok(here, "req -in key.csr -noout -verify");
    }
    // The attestation keys quote, and the certified key is the one that did; the identity signs what it is given.
    fs::write(here.join("message"), b"who are you").expect("written");
    client.sh(
        "for k in ak:0x81010002 iak:0x81020001; do \
           tpm2_quote -c ${k#*:} -l sha256:0,7 -q 00112233 -m m -s s -o p -f plain >/dev/null; \
           openssl dgst -sha256 -verify ${k%%:*}.pub -signature s m; \
           tpm2_checkquote -u ${k%%:*}.pub -m m -s s -f p -q 00112233 -g sha256 -F plain >/dev/null || \
           tpm2_checkquote -u ${k%%:*}.pub -m m -s s -f p -q 00112233 -g sha256 >/dev/null; done; \
         tpm2_sign -c 0x81020000 -g sha256 -f plain -o signature message; \
         openssl dgst -sha256 -verify idevid.pub -signature signature message",
    );
    // Kept on copy, gone with the TPM on replace; a second request gives the same key another certificate.
    daemon.ok(["vm", "stop", "web01"]);
    daemon.ok(["vm", "clone", "web01", "copy", "--tpm", "copy"]);
    daemon.ok(["vm", "clone", "web01", "other", "--tpm", "replace"]);
    let json = |vm: &str| daemon.ok(["vm", "identity", "show", vm, "--json"]);
    assert_eq!(json("copy"), json("web01"));
    assert_eq!(json("other").trim(), "[]");
    daemon.ok(["vm", "identity", "create", "copy", "--keys", "idevid"]);
    let again: Value = serde_json::from_str(&json("copy")).expect("JSON");
    assert_eq!(again[2]["name"], shown[2]["name"]);
    assert_ne!(again[2]["certificate"], shown[2]["certificate"]);
    assert_eq!(again[0], shown[0]);
    // A larger one in the same place is refused, and nothing has changed.
    let refused = daemon.refused([
        "vm",
        "identity",
        "create",
        "copy",
        "--keys",
        "idevid",
        "--algorithm",
        "secp384r1",
    ]);
    assert!(refused.contains("another key is persistent"), "{refused}");
    assert_eq!(
        serde_json::from_str::<Value>(&json("copy")).expect("JSON"),
        again
    );
    daemon.ok([
        "vm",
        "identity",
        "create",
        "other",
        "--keys",
        "iak,idevid",
        "--algorithm",
        "rsa2048",
    ]);
    daemon.ok(["vm", "start", "other"]);
    daemon
        .client("other", here)
        .sh("tpm2_nvread 0x1c90100 -C o -o iak.der; tpm2_nvread 0x1c90200 -C o -o idevid.der");
    for kind in ["iak", "idevid"] {
        openssl_ok(here, &format!("{STRICT} {kind}.der"));
    }
    // With the VM's certificates, those are revoked, too.
    let revoked = daemon.ok(["vcenter", "ca", "revoke", "vc01", "--vm", "web01", "--json"]);
    let revoked: Value = serde_json::from_str(&revoked).expect("JSON");
    assert_eq!(revoked.as_array().map(Vec::len), Some(6));
}

#[test]
fn another_authority_certifies_such_a_key_if_the_tpm_has_it() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let daemon = Daemon::start(&here.join("data"));
    for vm in ["web01", "web02"] {
        daemon.ok(["vm", "create", vm, "--tpm"]);
    }
    let set = |vm: &str, file: &str| {
        let path = here.join(file).display().to_string();
        daemon.vtpm(["vm", "identity", "set-certificate", vm, "--cert", &path])
    };
    let said = |output: &std::process::Output| {
        let text = [&output.stdout[..], &output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    openssl_ok(
        here,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=company -days 30 -keyout company.key -out company.pem",
    );
    let output = set("web01", "company.pem");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("vtpm vm identity create"));
    for vm in ["web01", "web02"] {
        daemon.ok(["vm", "identity", "create", vm, "--keys", "ak,iak,idevid"]);
    }
    for kind in ["ak", "iak", "idevid"] {
        let request = daemon.ok(["vm", "identity", "csr", "web01", "--key", kind]);
        fs::write(here.join("key.csr"), request).expect("written");
        openssl_ok(
            here,
            &format!(
                "x509 -req -in key.csr -CA company.pem -CAkey company.key -CAcreateserial -days 20 -outform der -out {kind}.der"
            ),
        );
    }
    let before = daemon.ok(["vm", "identity", "show", "web02", "--json"]);
    // For the keys of another TPM; of nobody; while the VM runs.
    for (vm, file, words) in [
        ("web02", "idevid.der", "another key"),
        ("web02", "ak.der", "another key"),
        ("web01", "company.pem", "another key"),
        ("web01", "company.key", "certificate"),
    ] {
        let output = set(vm, file);
        assert_eq!(output.status.code(), Some(1), "{vm} {file}");
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    daemon.ok(["vm", "start", "web01"]);
    let output = set("web01", "idevid.der");
    assert!(said(&output).contains("vtpm vm stop"), "{}", said(&output));
    daemon.ok(["vm", "stop", "web01"]);
    assert_eq!(
        daemon.ok(["vm", "identity", "show", "web02", "--json"]),
        before
    );
    for kind in ["ak", "iak", "idevid"] {
        let output = set("web01", &format!("{kind}.der"));
        let text = said(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(
            text.contains(&format!("the {kind} of web01")) && text.contains("CN=company"),
            "{text}"
        );
    }
    // The certificates are in the TPM, the keys what they were.
    daemon.ok(["vm", "start", "web01"]);
    let client = daemon.client("web01", here);
    for (kind, handle, index) in [
        ("ak", "0x81010002", "0x1c10002"),
        ("iak", "0x81020001", "0x1c90100"),
        ("idevid", "0x81020000", "0x1c90200"),
    ] {
        client.sh(&format!(
            "tpm2_nvread {index} -C o -o read.der; cmp read.der {kind}.der; \
             tpm2_readpublic -c {handle} -f pem -o key.pub"
        ));
        openssl_ok(here, &format!("verify -CAfile company.pem {kind}.der"));
        assert_eq!(
            openssl_ok(
                here,
                &format!("x509 -in {kind}.der -inform der -noout -pubkey")
            ),
            openssl_ok(here, "pkey -pubin -in key.pub")
        );
    }
    let shown = daemon.ok(["vm", "identity", "show", "web01"]);
    assert_eq!(shown.matches("CN=company").count(), 3, "{shown}");
}
