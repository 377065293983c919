//! Certificates of the TPMs of VMs, judged by openssl and read by tpm2-tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Daemon, finish, folder, only_for_vtpm};
use crate::{assert_refused, assert_trusted, attest_ok, nonce};

pub(crate) fn openssl(folder: &Path, arguments: &str) -> Output {
    Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl")
}

pub(crate) fn openssl_ok(folder: &Path, arguments: &str) -> String {
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

pub(crate) const STRICT: &str = "verify -x509_strict -CAfile root.pem -untrusted issuer.pem";

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
