//! Certificates of the TPMs of VMs, judged by openssl and read by tpm2-tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Daemon, PATIENCE_IN_SECONDS, finish, folder, only_for_vtpm};
use crate::{Reached, Swtpm, assert_refused, assert_trusted, attest_ok, nonce, verdict};

fn openssl(folder: &Path, arguments: &str) -> Output {
    Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl")
}

fn openssl_ok(folder: &Path, arguments: &str) -> String {
    finish(arguments, openssl(folder, arguments))
}

/// Writes the authority's certificates of a vCenter to `issuer.pem` and `root.pem`.
pub(crate) fn save_authority(daemon: &Daemon, folder: &Path) {
    let chain = daemon.ok(["vcenter", "ca", "show", "vc01", "--pem"]);
    const END: &str = "-----END CERTIFICATE-----\n";
    let (issuer, root) = chain.split_once(END).expect("two certificates");
    fs::write(folder.join("issuer.pem"), format!("{issuer}{END}")).expect("written");
    fs::write(folder.join("root.pem"), root).expect("written");
}

const STRICT: &str = "verify -x509_strict -CAfile root.pem -untrusted issuer.pem";

#[test]
fn every_tpm_of_a_vcenter_has_certificates_that_others_accept() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let daemon = Daemon::start(&here.join("data"));
    daemon.ok(["vm", "create", "web01", "--tpm", "--start"]);
    save_authority(&daemon, here);
    let client = daemon.client("web01", here);
    // By the tool that looks for certificates at their NV indices.
    client.sh(
        "tpm2_getekcertificate -o rsa.der -o ecc.der; tpm2_nvread 0x1c08000 -C o -o platform.der",
    );
    client.sh("tpm2_createek -G rsa -u rsa.pub -f pem -c rsa.ctx; tpm2_createek -G ecc -u ecc.pub -f pem -c ecc.ctx");
    for name in ["rsa", "ecc", "platform"] {
        openssl_ok(here, &format!("{STRICT} {name}.der"));
        let text = openssl_ok(
            here,
            &format!("x509 -in {name}.der -inform der -noout -text"),
        );
        for words in [
            "X509v3 Subject Alternative Name: critical",
            "2.23.133.2.1",
            "2.23.133.2.2",
            "2.23.133.2.3",
            "Not After : Dec 31 23:59:59 9999 GMT",
            "CA:FALSE",
        ] {
            assert!(text.contains(words), "{name}: {words}: {text}");
        }
        let key = if name == "ecc" { "ecc" } else { "rsa" };
        let own = openssl_ok(
            here,
            &format!("x509 -in {name}.der -inform der -noout -pubkey"),
        );
        let made = openssl_ok(here, &format!("pkey -pubin -in {key}.pub"));
        assert_eq!(own, made, "{name} is for the key that others make");
    }
    // What is told of them, and the chain beside them.
    let view = daemon.vm("web01");
    let told = view["tpm"]["certificates"].as_array().expect("a list");
    let keys: Vec<&str> = told.iter().filter_map(|it| it["key"].as_str()).collect();
    assert_eq!(keys, ["rsa2048", "secp256r1", "platform"]);
    let digest = openssl_ok(
        here,
        "x509 -in rsa.der -inform der -noout -fingerprint -sha256",
    );
    let digest = digest
        .trim()
        .rsplit('=')
        .next()
        .expect("a digest")
        .replace(':', "");
    assert_eq!(told[0]["fingerprint"], digest.to_lowercase());
    client.sh("tpm2_nvread 0x1c00100 -C o -o chain.der");
    let chain = fs::read(here.join("chain.der")).expect("the chain");
    let issuer = openssl_ok(here, "x509 -in issuer.pem -outform der -out issuer.der");
    assert!(issuer.is_empty());
    assert!(chain.starts_with(&fs::read(here.join("issuer.der")).expect("the issuer")));
    // Our own verifier from end to end.
    let tcti = daemon.vm_field("web01", "/tpm/tcti");
    let trust = "--ca root.pem --untrusted issuer.pem";
    attest_ok(
        here,
        &format!("enroll --tcti {tcti} {trust} --name web01 -o web01.json"),
    );
    let question = nonce(here);
    attest_ok(
        here,
        &format!("quote --tcti {tcti} --nonce {question} -o evidence.json"),
    );
    let judged = format!("evidence.json --nonce {question} --enrolled web01.json {trust}");
    assert_trusted(here, &judged);
    // Kept on copy, re-made on replace.
    daemon.ok(["vm", "stop", "web01"]);
    daemon.ok(["vm", "clone", "web01", "copy", "--tpm", "copy"]);
    daemon.ok(["vm", "clone", "web01", "other", "--tpm", "replace"]);
    let prints = |vm: &str| -> Vec<Value> {
        let view = daemon.vm(vm);
        let list = view["tpm"]["certificates"]
            .as_array()
            .expect("a list")
            .clone();
        list.iter().map(|it| it["fingerprint"].clone()).collect()
    };
    assert_eq!(prints("copy"), prints("web01"));
    assert!(
        prints("other")
            .iter()
            .all(|it| !prints("web01").contains(it))
    );
    for (vm, same) in [("copy", true), ("other", false)] {
        daemon.ok(["vm", "start", vm]);
        let client = daemon.client(vm, here);
        client.sh(&format!("tpm2_getekcertificate -o {vm}.der"));
        let bytes = |name: &str| fs::read(here.join(name)).expect("a certificate");
        assert_eq!(bytes(&format!("{vm}.der")) == bytes("rsa.der"), same);
        openssl_ok(here, &format!("{STRICT} {vm}.der"));
    }
    // Revoked: with the list, openssl and our verifier refuse; without, nothing changes.
    daemon.ok(["vcenter", "ca", "revoke", "vc01", "--vm", "web01"]);
    let list = daemon.ok(["vcenter", "ca", "crl", "vc01"]);
    fs::write(here.join("crl.pem"), list).expect("written");
    openssl_ok(here, &format!("{STRICT} rsa.der"));
    let refused = openssl(
        here,
        &format!("{STRICT} -crl_check -CRLfile crl.pem rsa.der"),
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("certificate revoked"), "{said}");
    openssl_ok(
        here,
        &format!("{STRICT} -crl_check -CRLfile crl.pem other.der"),
    );
    assert_refused(here, &format!("{judged} --crl crl.pem"), "ek.revocation");
}

#[test]
fn a_company_signs_the_authority_and_single_keys() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let daemon = Daemon::start(&here.join("data"));
    openssl_ok(
        here,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=company -addext keyUsage=critical,keyCertSign,cRLSign -days 30 -keyout company.key -out root.pem",
    );
    // An authority below the company's.
    let request = daemon.ok(["vcenter", "ca", "csr", "vc01"]);
    fs::write(here.join("ca.csr"), request).expect("written");
    openssl_ok(here, "req -in ca.csr -noout -verify");
    fs::write(
        here.join("ca.ext"),
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
    )
    .expect("written");
    let signed = "x509 -req -in ca.csr -CA root.pem -CAkey company.key -CAcreateserial -days 20";
    openssl_ok(here, &format!("{signed} -extfile ca.ext -out issuer.pem"));
    openssl_ok(here, &format!("{signed} -out leaf.pem"));
    let set = |file: &str| {
        let bundle =
            ["root.pem", file].map(|name| fs::read_to_string(here.join(name)).expect("PEM"));
        fs::write(here.join("bundle.pem"), bundle.concat()).expect("written");
        here.join("bundle.pem").display().to_string()
    };
    let refused = daemon.refused([
        "vcenter",
        "ca",
        "set-certificate",
        "vc01",
        "--cert",
        &set("leaf.pem"),
    ]);
    assert!(
        refused.contains("not the certificate of an authority"),
        "{refused}"
    );
    daemon.ok([
        "vcenter",
        "ca",
        "set-certificate",
        "vc01",
        "--cert",
        &set("issuer.pem"),
    ]);
    let refused = daemon.refused([
        "vcenter",
        "ca",
        "set-certificate",
        "vc01",
        "--cert",
        &set("issuer.pem"),
    ]);
    assert!(refused.contains("no request"), "{refused}");
    daemon.ok([
        "vcenter",
        "ca",
        "set",
        "vc01",
        "--keys",
        "rsa2048,secp384r1",
    ]);
    daemon.ok(["vm", "create", "web01", "--tpm", "--start"]);
    let client = daemon.client("web01", here);
    client.sh("tpm2_getekcertificate -o rsa.der; tpm2_nvread 0x1c00016 -C o -o p384.der");
    openssl_ok(here, &format!("{STRICT} rsa.der"));
    openssl_ok(here, &format!("{STRICT} p384.der"));
    // One key: the request is signed by the key itself, and the certificate goes into the TPM.
    for key in ["rsa2048", "secp384r1"] {
        let request = daemon.ok(["vm", "ek", "csr", "web01", "--key", key]);
        fs::write(here.join("ek.csr"), request).expect("written");
        openssl_ok(here, "req -in ek.csr -noout -verify");
        openssl_ok(
            here,
            "x509 -req -in ek.csr -CA root.pem -CAkey company.key -CAcreateserial -days 9 -copy_extensions copyall -out own.pem",
        );
        let file = here.join("own.pem").display().to_string();
        let refused = daemon.refused(["vm", "ek", "set-certificate", "web01", "--cert", &file]);
        assert!(refused.contains("vtpm vm stop"), "{refused}");
        daemon.ok(["vm", "stop", "web01"]);
        let said = daemon.ok(["vm", "ek", "set-certificate", "web01", "--cert", &file]);
        assert!(
            said.contains("the TPM showed that it has the key"),
            "{said}"
        );
        let wrong = here.join("root.pem").display().to_string();
        let refused = daemon.refused(["vm", "ek", "set-certificate", "web01", "--cert", &wrong]);
        assert!(refused.contains("another key"), "{refused}");
        daemon.ok(["vm", "start", "web01"]);
        let index = if key == "rsa2048" {
            "0x1c00002"
        } else {
            "0x1c00016"
        };
        daemon
            .client("web01", here)
            .sh(&format!("tpm2_nvread {index} -C o -o own.der"));
        openssl_ok(here, "x509 -in own.pem -outform der -out expected.der");
        let bytes = |name: &str| fs::read(here.join(name)).expect("a certificate");
        assert_eq!(bytes("own.der"), bytes("expected.der"));
        openssl_ok(here, "verify -x509_strict -CAfile root.pem own.der");
    }
    // Re-keying its provider takes the authority along; without the provider it is locked, and no TPM is made half.
    let said = daemon.ok(["provider", "rekey", "vc01-nkp", "--all"]);
    assert!(said.contains("certificate authority"), "{said}");
    daemon.ok(["vcenter", "ca", "crl", "vc01"]);
    let providers = here.join("data/providers/vc01");
    fs::rename(&providers, here.join("aside")).expect("moved");
    let refused = daemon.refused(["vcenter", "ca", "crl", "vc01"]);
    assert!(refused.contains("cannot sign"), "{refused}");
    assert!(refused.contains("key provider vc01-nkp"), "{refused}");
    daemon.refused(["vm", "create", "half", "--tpm"]);
    fs::remove_dir_all(&providers).ok();
    fs::rename(here.join("aside"), &providers).expect("moved back");
    daemon.ok(["vcenter", "ca", "crl", "vc01"]);
    assert!(!daemon.ok(["vm", "list"]).contains("half"));
    // Switched off: no certificates; they can be had later.
    daemon.ok(["vcenter", "ca", "set", "vc01", "--issue", "off"]);
    daemon.ok(["vm", "create", "bare", "--tpm"]);
    assert!(daemon.vm("bare")["tpm"]["certificates"].is_null());
    let shown = daemon.ok(["vm", "ek", "show", "bare"]);
    assert!(shown.contains("rsa2048: no certificate"), "{shown}");
    daemon.ok(["vm", "ek", "issue", "bare"]);
    daemon.ok(["vm", "start", "bare"]);
    daemon
        .client("bare", here)
        .sh("tpm2_getekcertificate -o bare.der");
    openssl_ok(here, &format!("{STRICT} bare.der"));
}

/// The certificates of a VM's TPM, by fingerprint.
fn prints(daemon: &Daemon, vm: &str) -> Vec<String> {
    let view = daemon.vm(vm);
    let list = view["tpm"]["certificates"].as_array().expect("a list");
    let prints = list.iter().filter_map(|it| it["fingerprint"].as_str());
    prints.map(str::to_owned).collect()
}

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
fn certificates_say_where_their_list_is_and_it_is_there_for_everybody() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let Reached {
        daemon,
        url: base,
        certificate,
        ..
    } = Reached::start(&here.join("data"));
    let fetch = |path: &str, to: &str| {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", PATIENCE_IN_SECONDS, "--cacert"])
            .arg(&certificate)
            .args(["-w", "%{http_code}", "-o", to, path])
            .current_dir(here)
            .output()
            .expect("curl");
        finish(path, output)
    };
    let id = |file: &str| {
        let digest = openssl_ok(
            here,
            &format!("x509 -in {file} -noout -fingerprint -sha256"),
        );
        let digits = digest.trim().rsplit('=').next().expect("a digest");
        digits
            .replace(':', "")
            .to_lowercase()
            .split_at(16)
            .0
            .to_owned()
    };
    save_authority(&daemon, here);
    let place = format!("{base}/pki/vc01/{}", id("issuer.pem"));
    let list = format!("{place}/revoked.crl");
    // Nobody asked for that: nothing is there.
    assert_eq!(fetch(&list, "nothing"), "404");
    let refused = daemon.refused(["vcenter", "ca", "set", "vc01", "--publish", "ftp://a"]);
    assert!(
        refused.contains("https://pki.example.com:8443"),
        "{refused}"
    );
    let said = daemon.ok([
        "vcenter",
        "ca",
        "set",
        "vc01",
        "--publish",
        &format!("{base}/"),
    ]);
    assert!(
        said.contains(&format!("published below: {base}/pki/")),
        "{said}"
    );
    for vm in ["web01", "web02"] {
        daemon.ok(["vm", "create", vm, "--tpm", "--start"]);
        let client = daemon.client(vm, here);
        client.sh(&format!("tpm2_getekcertificate -o {vm}.der"));
    }
    save_authority(&daemon, here);
    let text = openssl_ok(here, "x509 -in web01.der -inform der -noout -text");
    let issuer = format!("{place}/issuer.cer");
    for words in [
        "X509v3 CRL Distribution Points",
        &format!("URI:{list}"),
        "Authority Information Access",
        &format!("CA Issuers - URI:{issuer}"),
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // What a verifier finds there, without a token, is what openssl takes.
    assert_eq!(fetch(&issuer, "fetched.cer"), "200");
    openssl_ok(here, "x509 -in fetched.cer -inform der -out fetched.pem");
    openssl_ok(here, "x509 -in issuer.pem -out expected.pem");
    let read = |name: &str| fs::read(here.join(name)).expect("a file");
    assert_eq!(read("fetched.pem"), read("expected.pem"));
    let check = |vm: &str| {
        assert_eq!(fetch(&list, "list.crl"), "200");
        openssl_ok(here, "crl -in list.crl -inform der -out list.pem");
        let words = format!("{STRICT} -crl_check -CRLfile list.pem {vm}.der");
        let output = openssl(here, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    assert!(check("web01").0 && check("web02").0);
    daemon.ok(["vcenter", "ca", "revoke", "vc01", "--vm", "web01"]);
    let (good, said) = check("web01");
    assert!(!good && said.contains("certificate revoked"), "{said}");
    assert!(check("web02").0);
    // Only these two, and only of a vCenter that there is.
    for path in [
        "pki/vc02/0000000000000000/revoked.crl",
        "pki/vc01/0000000000000000/revoked.crl",
        "pki/vc01/root.key",
        "pki/vc01",
    ] {
        assert_eq!(fetch(&format!("{base}/{path}"), "nothing"), "404", "{path}");
    }
    // Another authority signs from now on: what the first one issued can still be revoked, where it says so, and here.
    openssl_ok(
        here,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=company -addext keyUsage=critical,keyCertSign,cRLSign -days 30 -keyout company.key -out company.pem",
    );
    let request = daemon.ok(["vcenter", "ca", "csr", "vc01"]);
    fs::write(here.join("ca.csr"), request).expect("written");
    fs::write(
        here.join("ca.ext"),
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
    )
    .expect("written");
    openssl_ok(
        here,
        "x509 -req -in ca.csr -CA company.pem -CAkey company.key -CAcreateserial -days 20 -extfile ca.ext -out below.pem",
    );
    let bundle =
        ["below.pem", "company.pem"].map(|name| String::from_utf8(read(name)).expect("PEM"));
    fs::write(here.join("bundle.pem"), bundle.concat()).expect("written");
    let bundle = here.join("bundle.pem").display().to_string();
    daemon.ok([
        "vcenter",
        "ca",
        "set-certificate",
        "vc01",
        "--cert",
        &bundle,
    ]);
    assert!(check("web02").0);
    daemon.ok(["vcenter", "ca", "revoke", "vc01", "--vm", "web02"]);
    let (good, said) = check("web02");
    assert!(!good && said.contains("certificate revoked"), "{said}");
    let lists = daemon.ok(["vcenter", "ca", "crl", "vc01"]);
    assert_eq!(lists.matches("BEGIN X509 CRL").count(), 2);
    fs::write(here.join("both.pem"), lists).expect("written");
    let tcti = daemon.vm_field("web02", "/tpm/tcti");
    let enroll = format!(
        "enroll --tcti {tcti} --ca root.pem --untrusted issuer.pem --crl both.pem -o web02.json"
    );
    let output = crate::attest(here, &enroll);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("ek.revocation"), "{said}");
    let output = crate::attest(here, &format!("enroll --tcti {tcti} --data data"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("REFUSED ek.revocation"), "{said}");
    // What the new one issues names a place of its own.
    daemon.ok(["vm", "create", "web03", "--tpm", "--start"]);
    daemon
        .client("web03", here)
        .sh("tpm2_getekcertificate -o web03.der");
    let text = openssl_ok(here, "x509 -in web03.der -inform der -noout -text");
    let place = format!("URI:{base}/pki/vc01/{}/revoked.crl", id("below.pem"));
    assert!(text.contains(&place), "{text}");
    daemon.ok(["vcenter", "ca", "set", "vc01", "--publish", ""]);
    assert_eq!(fetch(&list, "nothing"), "404");
}

#[test]
fn every_way_in_which_a_tpm_comes_brings_certificates() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let daemon = Daemon::start(&here.join("data"));
    daemon.ok(["vm", "create", "web01", "--tpm"]);
    let original = prints(&daemon, "web01");
    assert_eq!(original.len(), 3);
    // A TPM that is added later.
    daemon.ok(["vm", "create", "plain"]);
    daemon.ok(["vm", "tpm", "add", "plain"]);
    // A vApp of a new VM, its copy and its replacement, and what templates make of it.
    daemon.ok(["org", "add", "acme"]);
    daemon.ok(["vdc", "add", "vdc1", "--vcenter", "vc01"]);
    daemon.ok(["catalog", "add", "shelf", "--vdc", "vdc1"]);
    daemon.ok(["vapp", "create", "shop", "--tpm-vm", "web"]);
    daemon.ok(["vapp", "copy", "shop", "twin"]);
    daemon.ok(["vapp", "copy", "shop", "rival", "--tpm", "replace"]);
    daemon.ok(["vapp", "capture", "shop", "shelf", "gold"]);
    daemon.ok([
        "vapp", "capture", "shop", "shelf", "blank", "--tpm", "replace",
    ]);
    daemon.ok(["template", "instantiate", "gold", "kept"]);
    daemon.ok(["template", "instantiate", "blank", "fresh"]);
    // A package says only that there is a TPM.
    let package = here.join("shop.ova").display().to_string();
    daemon.ok(["vapp", "export", "shop", "--to", &package]);
    daemon.ok(["vapp", "import-ovf", &package, "brought"]);
    let shop = prints(&daemon, "shop/web");
    for kept in ["twin/web", "kept/web"] {
        assert_eq!(prints(&daemon, kept), shop, "{kept}");
    }
    let mut seen = [original, shop].concat();
    save_authority(&daemon, here);
    for (vm, name) in [
        ("plain", "plain"),
        ("rival/web", "rival"),
        ("fresh/web", "fresh"),
        ("brought/web", "brought"),
    ] {
        let own = prints(&daemon, vm);
        assert_eq!(own.len(), 3, "{vm}");
        assert!(own.iter().all(|it| !seen.contains(it)), "{vm}");
        seen.extend(own);
        // They are in the TPM, for its own key.
        daemon.ok(["vm", "start", vm]);
        daemon.client(vm, here).sh(&format!(
            "tpm2_getekcertificate -o {name}.der; tpm2_createek -G rsa -c ek.ctx -u {name}.pub -f pem"
        ));
        openssl_ok(here, &format!("{STRICT} {name}.der"));
        let certified = format!("x509 -in {name}.der -inform der -noout -pubkey");
        let key = openssl_ok(here, &format!("pkey -pubin -in {name}.pub"));
        assert_eq!(openssl_ok(here, &certified), key, "{vm}");
        daemon.ok(["vm", "stop", vm]);
    }
}

/// How openssl makes certificates here: a section for each kind.
const OPENSSL: &str = "
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[shallow]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
[signer]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature
[person]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyCertSign
[ek]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyEncipherment
extendedKeyUsage = 2.23.133.8.1
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyEncipherment
extendedKeyUsage = serverAuth
[signs]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = 2.23.133.8.1
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyEncipherment,keyCertSign
extendedKeyUsage = 2.23.133.8.1
[strange]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyEncipherment
extendedKeyUsage = 2.23.133.8.1
1.2.3.4.5 = critical,ASN1:UTF8:unheard
";

#[test]
fn certificates_that_openssl_made_are_refused_by_the_rule_that_they_break() {
    let home = folder();
    let here = home.path();
    let swtpm = Swtpm::start(here);
    let nonce = "00112233445566778899aabbccddeeff";
    swtpm.client().sh(&format!(
        "tpm2_createek -c ek.ctx -G rsa -u ek.pub; tpm2_readpublic -c ek.ctx -f pem -o ek.pem; \
         tpm2_createak -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name; \
         tpm2_quote -c ak.ctx -g sha256 -l sha256:0,7 -q {nonce} -m m -s s -o p"
    ));
    swtpm.stop();
    fs::write(here.join("openssl.cnf"), OPENSSL).expect("written");
    let p256 = "ec -pkeyopt ec_paramgen_curve:P-256";
    // Keys and roots of their own, then what they sign.
    let root = |section: &str, key: &str| {
        openssl_ok(
            here,
            &format!(
                "req -new -x509 -config openssl.cnf -extensions {section} -newkey {key} -nodes -subj /CN=root -days 9 -keyout root.key -out root.pem"
            ),
        );
    };
    let ek = |section: &str, signer: &str, key: &str, more: &str| {
        openssl_ok(
            here,
            &format!(
                "x509 -new -force_pubkey {key} -CA {signer}.pem -CAkey {signer}.key -subj /CN=vm -days 5 -extfile openssl.cnf -extensions {section} {more} -outform der -out ek.der"
            ),
        );
    };
    let files = format!(
        "--message m --signature s --pcrs p --key ak.pub --nonce {nonce} --ek ek.pub --ek-certificate ek.der --ca root.pem"
    );
    for (of_root, root_key, of_ek, more, rule) in [
        ("root", p256, "ek", "-sha256", None),
        ("root", "rsa:2048", "ek", "-sha256", None),
        (
            "root",
            "rsa:1024",
            "ek",
            "-sha256",
            Some("ek.signature_strength"),
        ),
        (
            "root",
            "rsa:2048",
            "ek",
            "-sha1",
            Some("ek.signature_strength"),
        ),
        ("signer", p256, "ek", "-sha256", Some("ek.authority")),
        ("person", p256, "ek", "-sha256", Some("ek.authority")),
        ("root", p256, "server", "-sha256", Some("ek.usage")),
        ("root", p256, "signs", "-sha256", Some("ek.usage")),
        ("root", p256, "authority", "-sha256", Some("ek.usage")),
        ("root", p256, "strange", "-sha256", Some("ek.critical")),
    ] {
        root(of_root, root_key);
        ek(of_ek, "root", "ek.pem", more);
        match rule {
            None => assert_trusted(here, &files),
            Some(rule) => {
                let (failed, code) = verdict(here, &files);
                assert_eq!((failed, code), (vec![rule.to_owned()], Some(4)));
            }
        }
    }
    root("root", p256);
    ek("ek", "root", "ek.pem", "");
    let week = 7 * 24 * 60 * 60;
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let later = later.expect("after 1970").as_secs() + week;
    assert_refused(here, &format!("{files} --at {later}"), "ek.validity");
    // Of another key.
    openssl_ok(here, "pkey -in root.key -pubout -out other.pem");
    ek("ek", "root", "other.pem", "");
    assert_refused(here, &files, "ek.match");
    // By an authority below one that allows none below it.
    let middle = |root_section: &str| {
        root(root_section, p256);
        openssl_ok(
            here,
            &format!(
                "req -new -config openssl.cnf -newkey {p256} -nodes -subj /CN=middle -keyout middle.key -out middle.csr"
            ),
        );
        openssl_ok(
            here,
            "x509 -req -in middle.csr -CA root.pem -CAkey root.key -days 9 -extfile openssl.cnf -extensions root -out middle.pem",
        );
        ek("ek", "middle", "ek.pem", "");
    };
    middle("root");
    assert_refused(here, &files, "ek.chain");
    let between = format!("{files} --untrusted middle.pem");
    assert_trusted(here, &between);
    middle("shallow");
    assert_refused(here, &between, "ek.path_length");
    ek("ek", "root", "ek.pem", "");
    assert_trusted(here, &files);
}
