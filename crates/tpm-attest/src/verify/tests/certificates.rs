//! Chains of certificates, good ones and those that break one rule.

use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::certificate::{CertificateList, Revocation, RevocationReason, to_der};
use der::asn1::{Any, BitString};
use der::{Decode, Encode, Sequence};
use x509_cert::ext::Extension;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// What a chain is refused for.
fn chain_failures(
    key: &tpm_wire::object::TpmtPublic,
    leaf: &Certificate,
    between: &[&Certificate],
    trust: Trust<'_>,
) -> Vec<&'static str> {
    let intermediates: Vec<Certificate> = between.iter().map(|one| (*one).clone()).collect();
    let trust = Trust {
        intermediates: &intermediates,
        ..trust
    };
    let mut verdict = Verdict::default();
    chain::check_chain(&mut verdict, key, leaf, &trust);
    verdict.failed_names()
}

#[test]
fn certificates_are_refused_by_the_rule_that_they_break() {
    let authorities = Authorities::new();
    let mut tpm = started();
    let ek = attester::endorsement_key(&mut client(&mut tpm), EkTemplate::L2).unwrap();
    let key = &ek.public;
    let issuer = &authorities.issuer;
    let roots = authorities.roots();
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 60 * 60);
    let good = authorities.certificate(key, 5);
    let middle = issuer.certificate();
    let judged = |leaf: &Certificate| chain_failures(key, leaf, &[middle], trust(&roots));
    assert_eq!(judged(&good), Vec::<&str>::new());
    let expired = issue(
        issuer,
        key,
        6,
        Usage::Decrypt,
        now - 10 * day,
        Lifetime::Days(3),
    );
    assert_eq!(judged(&expired), ["ek.validity"]);
    let early = issue(issuer, key, 7, Usage::Decrypt, now + day, Lifetime::Days(3));
    assert_eq!(judged(&early), ["ek.validity"]);
    let signing = issue(issuer, key, 8, Usage::Sign, now, Lifetime::Endless);
    assert_eq!(judged(&signing), ["ek.usage"]);
    assert_eq!(judged(middle), ["ek.match", "ek.usage"]);
    let strangers = Authorities::new();
    assert_eq!(judged(&strangers.certificate(key, 5)), ["ek.chain"]);
    assert_eq!(chain_failures(key, &good, &[], trust(&roots)), ["ek.chain"]);
    // An authority below one that allows none below it.
    let deeper = issuer
        .subordinate(
            common_name("deeper").unwrap(),
            AuthorityAlgorithm::EcdsaP256,
            now,
            Lifetime::Endless,
            &mut rng(),
        )
        .unwrap();
    let deep = issue(&deeper, key, 9, Usage::Decrypt, now, Lifetime::Endless);
    let between = [middle, deeper.certificate()];
    assert_eq!(
        chain_failures(key, &deep, &between, trust(&roots)),
        ["ek.path_length"]
    );
    // The certificate of a TPM's key is no authority's, whoever signs with that key.
    let own = SigningKey::generate(AuthorityAlgorithm::EcdsaP256, &mut rng());
    let text = own.to_pem(None, &mut rng()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (leaf_ca, forged) = forged_chain(&folder, &text, key, issuer);
    let between = [middle, &leaf_ca];
    assert_eq!(
        chain_failures(key, &forged, &between, trust(&roots)),
        ["ek.authority", "ek.path_length"]
    );
}

/// A certificate that is no authority's, made by openssl for a key of one's own, and an endorsement certificate that this key signed.
fn forged_chain(
    folder: &TempDir,
    key_text: &str,
    key: &tpm_wire::object::TpmtPublic,
    issuer: &Authority,
) -> (Certificate, Certificate) {
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("own.key"), key_text).unwrap();
    std::fs::write(
        path("issuer.key"),
        &**issuer.key().to_pem(None, &mut rng()).unwrap(),
    )
    .unwrap();
    std::fs::write(path("issuer.crt"), to_pem(issuer.certificate()).unwrap()).unwrap();
    let extensions = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyEncipherment\n";
    std::fs::write(path("extensions"), extensions).unwrap();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let (own, request, crt) = (path("own.key"), path("own.csr"), path("own.crt"));
    openssl(&[
        "req", "-new", "-key", &own, "-subj", "/CN=leaf", "-out", &request,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &path("issuer.crt"),
        "-CAkey",
        &path("issuer.key"),
        "-set_serial",
        "99",
        "-days",
        "30",
        "-extfile",
        &path("extensions"),
        "-out",
        &crt,
    ]);
    let leaf = crate::certificate::read(&std::fs::read(crt).unwrap()).unwrap();
    let signer = SigningKey::from_pem(key_text.as_bytes(), None).unwrap();
    // The same key and name, with a certificate that says what the issued one does not.
    let (claim, days) = (path("claim.crt"), "30");
    openssl(&[
        "req", "-x509", "-new", "-key", &own, "-subj", "/CN=leaf", "-days", days, "-out", &claim,
    ]);
    let claim = crate::certificate::read(&std::fs::read(claim).unwrap()).unwrap();
    let authority = Authority::from_parts(signer, claim).unwrap();
    let forged = issue(
        &authority,
        key,
        10,
        Usage::Decrypt,
        SystemTime::now(),
        Lifetime::Endless,
    );
    (leaf, forged)
}

#[test]
fn a_revoked_certificate_is_refused_and_a_missing_list_only_on_demand() {
    let authorities = Authorities::new();
    let mut tpm = started();
    let ek = attester::endorsement_key(&mut client(&mut tpm), EkTemplate::L2).unwrap();
    let serial = random_serial(&mut rng());
    let leaf = authorities.certificate(&ek.public, serial);
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 60 * 60);
    let list = |authority: &Authority, serials: &[u128], from: SystemTime, until: SystemTime| {
        let revoked: Vec<Revocation> = serials
            .iter()
            .map(|serial| Revocation {
                serial: *serial,
                since: from,
                reason: RevocationReason::KeyCompromise,
            })
            .collect();
        authority
            .revocation_list(1, &revoked, from, until, &mut rng())
            .unwrap()
    };
    let (root, issuer) = (&authorities.root, &authorities.issuer);
    let roots = authorities.roots();
    let judged = |revoked: &[CertificateList], required: bool| {
        let trust = Trust {
            revoked,
            revocation_required: required,
            ..trust(&roots)
        };
        chain_failures(&ek.public, &leaf, &[issuer.certificate()], trust)
    };
    let none = || list(root, &[], now, now + day);
    let none: [_; 1] = [none()];
    let clean = [none[0].clone(), list(issuer, &[1, 2], now, now + day)];
    assert!(judged(&clean, true).is_empty());
    assert!(judged(&[], false).is_empty());
    assert_eq!(judged(&[], true), ["ek.revocation"]);
    let old = [none[0].clone(), list(issuer, &[], now - 2 * day, now - day)];
    assert_eq!(judged(&old, true), ["ek.revocation"]);
    let revoked = [none[0].clone(), list(issuer, &[1, serial], now, now + day)];
    assert_eq!(judged(&revoked, false), ["ek.revocation"]);
    // A list that says critically that it is about less than all does not show that a certificate is good, but may show that it is bad.
    let partly = |serials: &[u128]| {
        let mut partial = list(issuer, serials, now, now + day);
        let delta = Extension {
            extn_id: DELTA,
            critical: true,
            extn_value: der::asn1::OctetString::new([2, 1, 1]).unwrap(),
        };
        let tbs = &mut partial.tbs_cert_list;
        tbs.crl_extensions.get_or_insert_default().push(delta);
        let tbs = tbs.to_der().unwrap();
        partial.signature = issuer.key().sign(&tbs, &mut rng()).unwrap();
        [none[0].clone(), partial]
    };
    assert_eq!(judged(&partly(&[]), true), ["ek.revocation"]);
    assert!(judged(&partly(&[]), false).is_empty());
    assert_eq!(judged(&partly(&[serial]), false), ["ek.revocation"]);
    // A list that another authority of the same name has signed says nothing.
    let strangers = Authorities::new();
    let foreign = [list(&strangers.issuer, &[serial], now, now + day)];
    assert!(judged(&foreign, false).is_empty());
}

const DELTA: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("2.5.29.27");

/// A certificate in parts.
#[derive(Sequence)]
struct Signed {
    tbs: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// The certificate of an RSA key, whose kind is called otherwise (the last byte of its identifier), signed anew.
fn renamed_kind(certificate: &Certificate, issuer: &Authority, kind: u8) -> Certificate {
    const RSA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let mut signed = Signed::from_der(&to_der(certificate).unwrap()).unwrap();
    let mut tbs = signed.tbs.to_der().unwrap();
    let at = tbs.windows(RSA.len()).position(|part| part == RSA).unwrap();
    tbs[at + RSA.len() - 1] = kind;
    signed.tbs = Any::from_der(&tbs).unwrap();
    signed.signature = issuer.key().sign(&tbs, &mut rng()).unwrap();
    crate::certificate::read(&signed.to_der().unwrap()).unwrap()
}

#[test]
fn an_rsa_key_that_is_certified_for_oaep_alone_is_an_endorsement_key_and_no_authority() {
    let authorities = Authorities::new();
    let mut tpm = started();
    let ek = attester::endorsement_key(&mut client(&mut tpm), EkTemplate::L1).unwrap();
    let roots = authorities.roots();
    let issuer = &authorities.issuer;
    let good = authorities.certificate(&ek.public, 5);
    let judged = |kind: u8| {
        let leaf = renamed_kind(&good, issuer, kind);
        chain_failures(&ek.public, &leaf, &[issuer.certificate()], trust(&roots))
    };
    assert_eq!(judged(1), Vec::<&str>::new());
    assert_eq!(judged(7), Vec::<&str>::new());
    // RSASSA-PSS is for signatures.
    assert_eq!(judged(10), ["ek.match", "ek.signature_strength"]);
}
