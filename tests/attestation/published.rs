//! Where certificates say that their authority and its list are, and what is there.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Reached;
use crate::certificates::{STRICT, openssl, openssl_ok, save_authority};
use crate::support::{PATIENCE_IN_SECONDS, finish, folder, only_for_vtpm};

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
fn a_verifier_fetches_the_list_over_plain_http_by_itself_and_finds_nothing_else_there() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let Reached { daemon, pki, .. } = Reached::start(&here.join("data"));
    daemon.ok(["vcenter", "ca", "set", "vc01", "--publish", &pki]);
    for vm in ["web01", "web02"] {
        daemon.ok(["vm", "create", vm, "--tpm"]);
        let pem = daemon.ok(["vm", "ek", "show", vm, "--pem"]);
        fs::write(here.join(format!("{vm}.pem")), pem).expect("written");
    }
    save_authority(&daemon, here);
    let check = |vm: &str| {
        let words = format!("{STRICT} -crl_check -crl_download {vm}.pem");
        let output = openssl(here, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    for vm in ["web01", "web02"] {
        let (good, said) = check(vm);
        assert!(good, "{vm}: {said}");
    }
    // What is issued now holds for a verifier whose clock is behind, too.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let behind = now.expect("after 1970").as_secs() - 300;
    let (good, said) = check(&format!("-attime {behind} web01"));
    assert!(good, "{said}");
    daemon.ok(["vcenter", "ca", "revoke", "vc01", "--vm", "web01"]);
    let (good, said) = check("web01");
    assert!(!good && said.contains("certificate revoked"), "{said}");
    let (good, said) = check("web02");
    assert!(good, "{said}");
    // No API, no pages, no way to change anything.
    let text = openssl_ok(here, "x509 -in web02.pem -noout -text");
    let list = text.split_whitespace().find_map(|word| {
        let url = word.strip_prefix("URI:")?;
        url.ends_with(".crl").then_some(url)
    });
    let list = list.expect("a place of the list");
    for (method, url, expected) in [
        ("GET", list.to_owned(), "200"),
        ("POST", list.to_owned(), "405"),
        ("DELETE", list.to_owned(), "405"),
        ("GET", format!("{pki}/"), "404"),
        ("GET", format!("{pki}/v1/vms"), "404"),
        ("POST", format!("{pki}/v1/sessions"), "404"),
        ("GET", format!("{pki}/openapi.json"), "404"),
        ("GET", format!("{pki}/ui/"), "404"),
        ("POST", format!("{pki}/sdk"), "404"),
        ("GET", format!("{pki}/api/versions"), "404"),
        ("POST", format!("{pki}/v1/attest/nonce"), "404"),
        ("GET", format!("{pki}/pki/vc01/../../v1/vms"), "404"),
    ] {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--path-as-is",
                "--max-time",
                PATIENCE_IN_SECONDS,
                "-X",
                method,
            ])
            .args(["-w", "%{http_code}", "-o", "nothing", &url])
            .current_dir(here)
            .output()
            .expect("curl");
        assert_eq!(finish(&url, output), expected, "{method} {url}");
    }
    // Others reach it only if that is allowed.
    let output = daemon.vtpm(["serve", "--pki-listen", "0.0.0.0:0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--listen-anywhere"), "{said}");
}
