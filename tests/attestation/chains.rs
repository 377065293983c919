//! Certificates of endorsement keys that break a rule, made by openssl.

use std::fs;

use crate::certificates::openssl_ok;
use crate::support::folder;
use crate::{Swtpm, assert_refused, assert_trusted, verdict};

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
