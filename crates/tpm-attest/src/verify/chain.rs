//! From the certificate of an endorsement key to an authority that is trusted (RFC 5280, 6; EK Credential Profile, 3.2).

use std::time::SystemTime;

use der::Encode;
use tpm_crypto::hash::HashAlgorithm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::object::{TpmtPublic, TpmuPublicParms};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::check::{Rule, Verdict};
use super::signature::{VerifyingKey, signature_hash};
use crate::certificate::{RSA_ENCRYPTION, RSAES_OAEP, subject_public_key_info};

/// Most authorities between a certificate and a trusted one.
const LONGEST_PATH: usize = 8;
/// Most signatures that are checked while a path is sought.
const MOST_SIGNATURES: usize = 64;
/// What an endorsement key's certificate is for.
const EK_CERTIFICATE: &str = "2.23.133.8.1";
/// Critical extensions that are understood here, or that allow no more than what is checked.
const UNDERSTOOD: [&str; 6] = [
    "2.5.29.9",  // subject directory attributes
    "2.5.29.15", // key usage
    "2.5.29.17", // subject alternative name
    "2.5.29.19", // basic constraints
    "2.5.29.32", // certificate policies
    "2.5.29.37", // extended key usage
];

/// Whom to trust, and when.
#[derive(Clone, Debug)]
pub struct Trust<'a> {
    /// The authorities at which a chain may end.
    pub roots: &'a [Certificate],
    /// Certificates that may stand between.
    pub intermediates: &'a [Certificate],
    /// Lists of revoked certificates.
    pub revoked: &'a [CertificateList],
    /// Whether a certificate without a list that is in force is refused.
    pub revocation_required: bool,
    /// The time.
    pub now: SystemTime,
}

/// Checks what an endorsement key is, without its certificate.
pub(super) fn check_endorsement_key(verdict: &mut Verdict, ek: &TpmtPublic) {
    let needed = TpmaObject::RESTRICTED
        .with(TpmaObject::DECRYPT)
        .with(TpmaObject::FIXED_TPM)
        .with(TpmaObject::FIXED_PARENT)
        .with(TpmaObject::SENSITIVE_DATA_ORIGIN);
    let attributes = if !ek.has(needed) {
        Err("it lacks restricted, decrypt, fixedTPM, fixedParent or sensitiveDataOrigin")
    } else if ek.has(TpmaObject::SIGN) {
        Err("it can sign, too")
    } else {
        Ok("restricted, decrypt, fixedTPM, fixedParent, sensitiveDataOrigin")
    };
    verdict.note(Rule::EkKey, attributes.map_err(str::to_owned));
    let size = match &ek.parameters {
        TpmuPublicParms::Rsa(parameters)
            if !matches!(parameters.key_bits.0, 2048 | 3072 | 4096) =>
        {
            Err(format!("RSA {}", parameters.key_bits.0))
        }
        _ => VerifyingKey::of_tpm(ek).and_then(|key| match key.weakness() {
            Some(weakness) => Err(weakness),
            None => Ok(key.words()),
        }),
    };
    verdict.note(Rule::EkSize, size);
}

/// Checks the certificate of an endorsement key up to a trusted authority.
pub(super) fn check_chain(
    verdict: &mut Verdict,
    ek: &TpmtPublic,
    certificate: &Certificate,
    trust: &Trust<'_>,
) {
    let of_key = subject_public_key_info(ek).map_err(|error| error.to_string());
    let found = of_key.and_then(|info| {
        let certified = certificate.tbs_certificate().subject_public_key_info();
        let same_kind = match info.algorithm.oid {
            RSA_ENCRYPTION => [RSA_ENCRYPTION, RSAES_OAEP].contains(&certified.algorithm.oid),
            _ => info.algorithm == certified.algorithm,
        };
        if same_kind && info.subject_public_key == certified.subject_public_key {
            Ok("the keys are the same")
        } else {
            Err("the certificate is that of another key".to_owned())
        }
    });
    verdict.note(Rule::EkMatch, found);
    let mut search = Search {
        trust,
        signatures: 0,
        paths: Vec::new(),
    };
    search.follow(&mut vec![certificate]);
    let mut best: Option<Verdict> = None;
    for path in &search.paths {
        let mut judged = Verdict::default();
        check_path(&mut judged, path, trust);
        let good = judged.failed().next().is_none();
        if good || best.is_none() {
            best = Some(judged);
        }
        if good {
            break;
        }
    }
    match best {
        Some(judged) => verdict.checks.extend(judged.checks),
        None => {
            let issuer = certificate.tbs_certificate().issuer();
            verdict.fail(
                Rule::EkChain,
                format!("no trusted authority stands behind the issuer '{issuer}'"),
            );
        }
    }
}

/// Looks for paths by names and signatures alone; what is wrong with them is said afterwards, by its own name.
struct Search<'a, 'b> {
    trust: &'b Trust<'a>,
    signatures: usize,
    paths: Vec<Vec<&'b Certificate>>,
}

impl<'a: 'b, 'b> Search<'a, 'b> {
    fn follow(&mut self, path: &mut Vec<&'b Certificate>) {
        let Some(last) = path.last().copied() else {
            return;
        };
        if self.trust.roots.contains(last) {
            self.paths.push(path.clone());
            return;
        }
        if path.len() > LONGEST_PATH {
            return;
        }
        let trust = self.trust;
        for issuer in trust.roots.iter().chain(trust.intermediates) {
            if issuer.tbs_certificate().subject() != last.tbs_certificate().issuer()
                || path.contains(&issuer)
            {
                continue;
            }
            if self.signatures >= MOST_SIGNATURES {
                return;
            }
            self.signatures += 1;
            if signed_by(last, issuer).is_ok() {
                path.push(issuer);
                self.follow(path);
                path.pop();
            }
        }
    }
}

/// Checks that a certificate carries a signature of the key in another.
///
/// # Errors
/// Why it does not.
pub fn signed_by(certificate: &Certificate, issuer: &Certificate) -> Result<(), String> {
    if certificate.signature_algorithm() != certificate.tbs_certificate().signature() {
        return Err("the certificate names two signature algorithms".to_owned());
    }
    let key = VerifyingKey::of_certificate(issuer.tbs_certificate().subject_public_key_info())?;
    let message = certificate
        .tbs_certificate()
        .to_der()
        .map_err(|error| error.to_string())?;
    let signature = certificate
        .signature()
        .as_bytes()
        .ok_or("its signature has odd bits")?;
    key.verify(certificate.signature_algorithm().oid, &message, signature)
}

/// Checks a path from the leaf to the trusted authority.
fn check_path(verdict: &mut Verdict, path: &[&Certificate], trust: &Trust<'_>) {
    let subject = |certificate: &Certificate| certificate.tbs_certificate().subject().to_string();
    let (leaf, authorities) = match path.split_first() {
        Some((leaf, authorities)) => (*leaf, authorities),
        None => return,
    };
    let names: Vec<String> = authorities.iter().map(|one| subject(one)).collect();
    verdict.note(
        Rule::EkChain,
        if names.is_empty() {
            // Nobody vouches for a certificate that is itself among the trusted ones but for whoever trusts it.
            Ok("the certificate itself is trusted".to_owned())
        } else {
            Ok(names.join(" < "))
        },
    );
    let first_fault = |check: &dyn Fn(&Certificate) -> Option<String>| {
        path.iter().find_map(|one| {
            check(one).map(|fault| format!("'{}' {fault}", one.tbs_certificate().subject()))
        })
    };
    let verdict_of = |fault: Option<String>, good: &str| fault.map_or(Ok(good.to_owned()), Err);
    let validity = first_fault(&|one| validity_fault(one, trust.now));
    verdict.note(Rule::EkValidity, verdict_of(validity, "all are valid now"));
    let critical = first_fault(&critical_fault);
    verdict.note(Rule::EkCritical, verdict_of(critical, "all are understood"));
    let weak = path.iter().enumerate().find_map(|(place, one)| {
        // Nobody relies on the signature of a trusted authority on its own certificate.
        let is_last = place + 1 == path.len();
        strength_fault(one, place == 0, is_last && !authorities.is_empty())
            .map(|fault| format!("'{}' {fault}", subject(one)))
    });
    verdict.note(
        Rule::EkSignatureStrength,
        verdict_of(weak, "keys and hashes are strong"),
    );
    let authority = authorities
        .iter()
        .find_map(|one| authority_fault(one).map(|fault| format!("'{}' {fault}", subject(one))));
    verdict.note(
        Rule::EkAuthority,
        verdict_of(authority, "all may sign certificates"),
    );
    // Certificates that name themselves as their issuer do not count (RFC 5280, 4.2.1.9).
    let mut below = 0_usize;
    let mut too_deep = None;
    for one in authorities {
        let allowed =
            basic_constraints(one).and_then(|constraints| constraints.path_len_constraint);
        if allowed.is_some_and(|allowed| below > usize::from(allowed)) && too_deep.is_none() {
            too_deep = Some(format!(
                "'{}' allows {} authorities below it, there are {below}",
                subject(one),
                allowed.unwrap_or_default()
            ));
        }
        let tbs = one.tbs_certificate();
        below += usize::from(tbs.subject() != tbs.issuer());
    }
    let depth = format!("{} authorities", authorities.len());
    verdict.note(Rule::EkPathLength, verdict_of(too_deep, &depth));
    verdict.note(Rule::EkUsage, usage(leaf));
    check_revocation(verdict, path, trust);
}

fn basic_constraints(certificate: &Certificate) -> Option<BasicConstraints> {
    let found = certificate.tbs_certificate().get_extension();
    found.ok().flatten().map(|(_, constraints)| constraints)
}

fn key_usage(certificate: &Certificate) -> Option<KeyUsage> {
    let found = certificate.tbs_certificate().get_extension();
    found.ok().flatten().map(|(_, usage)| usage)
}

fn validity_fault(certificate: &Certificate, now: SystemTime) -> Option<String> {
    let validity = certificate.tbs_certificate().validity();
    if now < validity.not_before.to_system_time() {
        return Some(format!("is not valid before {}", validity.not_before));
    }
    (now > validity.not_after.to_system_time())
        .then(|| format!("expired at {}", validity.not_after))
}

fn critical_fault(certificate: &Certificate) -> Option<String> {
    let extensions = certificate.tbs_certificate().extensions()?;
    for (place, extension) in extensions.iter().enumerate() {
        let id = extension.extn_id.to_string();
        if extension.critical && !UNDERSTOOD.contains(&id.as_str()) {
            return Some(format!("has the critical extension {id}"));
        }
        let before = extensions.iter().take(place);
        if before
            .into_iter()
            .any(|other| other.extn_id == extension.extn_id)
        {
            return Some(format!("has the extension {id} twice"));
        }
    }
    None
}

fn strength_fault(certificate: &Certificate, is_leaf: bool, key_only: bool) -> Option<String> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let key = match is_leaf {
        true => VerifyingKey::certified(info),
        false => VerifyingKey::of_certificate(info),
    };
    match key {
        Err(fault) => return Some(fault),
        Ok(key) => {
            if let Some(weakness) = key.weakness() {
                return Some(format!("has {weakness}"));
            }
        }
    }
    let hash = signature_hash(certificate.signature_algorithm().oid);
    (!key_only && matches!(hash, Some((HashAlgorithm::Sha1, _))))
        .then(|| "is signed with SHA-1".to_owned())
}

fn authority_fault(certificate: &Certificate) -> Option<String> {
    match basic_constraints(certificate) {
        None => return Some("has no basic constraints".to_owned()),
        Some(constraints) if !constraints.ca => return Some("is no authority".to_owned()),
        Some(_) => {}
    }
    key_usage(certificate)
        .filter(|usage| !usage.key_cert_sign())
        .map(|_| "may not sign certificates".to_owned())
}

fn usage(leaf: &Certificate) -> Result<String, String> {
    let tbs = leaf.tbs_certificate();
    if basic_constraints(leaf).is_some_and(|constraints| constraints.ca) {
        return Err("it is the certificate of an authority".to_owned());
    }
    let key_usage = key_usage(leaf).ok_or("it does not say what its key is for")?;
    if key_usage.key_cert_sign() || !(key_usage.key_encipherment() || key_usage.key_agreement()) {
        return Err("its key is not for encipherment or key agreement".to_owned());
    }
    let extended = tbs
        .get_extension::<ExtendedKeyUsage>()
        .map_err(|error| error.to_string())?;
    match extended {
        Some((_, ExtendedKeyUsage(purposes))) => {
            if purposes.iter().any(|oid| oid.to_string() == EK_CERTIFICATE) {
                Ok(format!("an endorsement key ({EK_CERTIFICATE})"))
            } else {
                Err(format!(
                    "its purposes are not that of an endorsement key, {EK_CERTIFICATE}"
                ))
            }
        }
        // Certificates of the profile's first editions do without.
        None => Ok("it names no purpose, as older ones do".to_owned()),
    }
}

fn check_revocation(verdict: &mut Verdict, path: &[&Certificate], trust: &Trust<'_>) {
    let mut unknown = Vec::new();
    for (one, issuer) in path.iter().zip(path.iter().skip(1)) {
        let subject = one.tbs_certificate().subject();
        match revocation(one, issuer, trust) {
            Ok(true) => {}
            Ok(false) => unknown.push(format!("'{}'", issuer.tbs_certificate().subject())),
            Err(fault) => return verdict.fail(Rule::EkRevocation, format!("'{subject}' {fault}")),
        }
    }
    if unknown.is_empty() {
        return verdict.pass(Rule::EkRevocation, "none is revoked");
    }
    let detail = format!("no list in force of {}", unknown.join(", "));
    if trust.revocation_required {
        verdict.fail(Rule::EkRevocation, detail);
    } else {
        verdict.skip(Rule::EkRevocation, detail);
    }
}

/// Whether a list says that the certificate is not revoked; no list, or none in force, is `false`.
fn revocation(one: &Certificate, issuer: &Certificate, trust: &Trust<'_>) -> Result<bool, String> {
    let issuer_tbs = issuer.tbs_certificate();
    let serial = one.tbs_certificate().serial_number();
    let mut known = false;
    for list in trust.revoked {
        let tbs = &list.tbs_cert_list;
        if tbs.issuer != *issuer_tbs.subject() || list_is_signed(list, issuer).is_err() {
            continue;
        }
        let entries = tbs.revoked_certificates.as_deref().unwrap_or_default();
        // What was revoked stays revoked, however old the list is.
        if let Some(entry) = entries.iter().find(|entry| entry.serial_number == *serial) {
            return Err(format!("is revoked since {}", entry.revocation_date));
        }
        let ended = tbs
            .next_update
            .is_some_and(|next| trust.now > next.to_system_time());
        let begun = trust.now >= tbs.this_update.to_system_time();
        known |= begun && !ended && is_about_all(list) && !is_weakly_signed(list);
    }
    Ok(known)
}

/// Whether a list is about all certificates of its issuer. One that is not says so in a critical extension: a delta, one of authorities or
/// of some reasons only, one of others' certificates (RFC 5280, 5.2).
fn is_about_all(list: &CertificateList) -> bool {
    let tbs = &list.tbs_cert_list;
    let entries = tbs.revoked_certificates.as_deref().unwrap_or_default();
    let of_entries = entries
        .iter()
        .filter_map(|entry| entry.crl_entry_extensions.as_ref());
    let mut all = tbs.crl_extensions.iter().chain(of_entries).flatten();
    all.all(|extension| !extension.critical)
}

fn is_weakly_signed(list: &CertificateList) -> bool {
    let hash = signature_hash(list.signature_algorithm.oid);
    matches!(hash, Some((HashAlgorithm::Sha1, _)))
}

fn list_is_signed(list: &CertificateList, issuer: &Certificate) -> Result<(), String> {
    if key_usage(issuer).is_some_and(|usage| !usage.crl_sign()) {
        return Err("the authority may not sign lists".to_owned());
    }
    if list.signature_algorithm != list.tbs_cert_list.signature {
        return Err("the list names two signature algorithms".to_owned());
    }
    let key = VerifyingKey::of_certificate(issuer.tbs_certificate().subject_public_key_info())?;
    let message = list
        .tbs_cert_list
        .to_der()
        .map_err(|error| error.to_string())?;
    let signature = list
        .signature
        .as_bytes()
        .ok_or("its signature has odd bits")?;
    key.verify(list.signature_algorithm.oid, &message, signature)
}
