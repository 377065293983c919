//! Enrolment: a verifier learns which attestation key lives in the TPM of which endorsement key (Part 1, 24; Part 3, 12.5 and 12.6).

use std::time::{Duration, SystemTime};

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tpm_wire::codec::Marshal;
use tpm_wire::object::TpmtPublic;
use zeroize::Zeroizing;

use super::chain::{Trust, check_chain, check_endorsement_key};
use super::check::{Rule, Verdict};
use super::evidence::{Base64, Endorsement, Hex, public_area};
use super::history::History;
use super::once::{Once, TicketFault};
use super::quote::check_key;
use crate::certificate;
use crate::credential::{Credential, object_name};

/// Bytes of the secret by which a TPM shows that it has both keys.
const SECRET_SIZE: usize = 32;
const FORMAT: &str = "vtpm-enrolment";
const VERSION: u32 = 1;

/// What a TPM must open to be enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Under which number the answer is expected.
    pub session: Hex,
    /// `TPM2B_ID_OBJECT` without its size.
    pub credential: Base64,
    /// `TPM2B_ENCRYPTED_SECRET` without its size.
    pub secret: Base64,
}

/// A TPM that is enrolled: what the verifier keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    format: String,
    version: u32,
    /// Who was enrolled, for people.
    pub source: String,
    /// The attestation key, `TPMT_PUBLIC`.
    pub attestation_key: Base64,
    /// The qualified name that the TPM gave for it.
    pub qualified_name: Hex,
    /// The endorsement key.
    pub endorsement: Endorsement,
    /// The firmware of the TPM by its first quote, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_version: Option<Hex>,
    /// When, in seconds since 1970.
    pub enrolled_at: u64,
    /// Its quotes.
    #[serde(default)]
    pub history: History,
}

impl Enrolled {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is no record of an enrolment: {error}"))?;
        if record.format != FORMAT || record.version != VERSION {
            return Err(format!(
                "the document is '{}', version {}, not '{FORMAT}', version {VERSION}",
                record.format, record.version
            ));
        }
        Ok(record)
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Who asks to be enrolled.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// A name for people.
    pub source: String,
    /// The attestation key.
    pub attestation_key: TpmtPublic,
    /// Its qualified name, as the TPM gives it.
    pub qualified_name: Vec<u8>,
    /// The endorsement key and its certificate.
    pub endorsement: Endorsement,
}

struct Session {
    record: Enrolled,
    secret: Zeroizing<[u8; SECRET_SIZE]>,
}

/// Enrolments that are under way.
pub struct Enrolments {
    sessions: Once<Session>,
}

impl Enrolments {
    /// Sessions of this lifetime, at most so many at a time.
    #[must_use]
    pub fn new(lifetime: Duration, most: usize) -> Self {
        Self {
            sessions: Once::new(lifetime, most),
        }
    }

    /// Checks a candidate and gives the challenge for its TPM, unless a check failed.
    pub fn begin(
        &mut self,
        verdict: &mut Verdict,
        candidate: &Candidate,
        trust: Option<&Trust<'_>>,
        now: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Option<Challenge> {
        let ek = check_endorsement(verdict, &candidate.endorsement, trust)?;
        check_key(verdict, &candidate.attestation_key);
        if !verdict.is_trusted() {
            return None;
        }
        let mut secret = Zeroizing::new([0; SECRET_SIZE]);
        rng.fill_bytes(&mut *secret);
        let made = object_name(&candidate.attestation_key)
            .and_then(|name| Credential::make(&ek, &name, &*secret, rng));
        let credential = match made {
            Ok(credential) => credential,
            Err(error) => {
                verdict.fail(Rule::EkKey, error.to_string());
                return None;
            }
        };
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH);
        let record = Enrolled {
            format: FORMAT.to_owned(),
            version: VERSION,
            source: candidate.source.clone(),
            attestation_key: Base64(candidate.attestation_key.to_bytes()),
            qualified_name: Hex(candidate.qualified_name.clone()),
            endorsement: Endorsement {
                public: Base64(ek.to_bytes()),
                ..candidate.endorsement.clone()
            },
            firmware_version: None,
            enrolled_at: seconds.map_or(0, |seconds| seconds.as_secs()),
            history: History::default(),
        };
        match self.sessions.issue(Session { record, secret }, now, rng) {
            Ok(session) => Some(Challenge {
                session: Hex(session.to_vec()),
                credential: Base64(credential.blob.to_vec()),
                secret: Base64(credential.secret.to_vec()),
            }),
            Err(fault) => {
                verdict.fail(Rule::KeyEnrolled, fault.to_string());
                None
            }
        }
    }

    /// Takes the secret that a TPM has opened. A session ends with its first answer, right or wrong.
    pub fn finish(
        &mut self,
        verdict: &mut Verdict,
        session: &[u8],
        secret: &[u8],
        now: SystemTime,
    ) -> Option<Enrolled> {
        let session = match self.sessions.redeem(session, now) {
            Ok(session) => session,
            Err(fault) => {
                let what = match fault {
                    TicketFault::Expired => "the enrolment took too long",
                    _ => "there is no such enrolment under way",
                };
                verdict.fail(Rule::KeyEnrolled, format!("{what}: {fault}"));
                return None;
            }
        };
        if !bool::from(session.secret.ct_eq(secret)) {
            verdict.fail(Rule::KeyEnrolled, "the TPM did not open the credential");
            return None;
        }
        verdict.pass(
            Rule::KeyEnrolled,
            "the TPM has opened a credential for both keys",
        );
        Some(session.record)
    }
}

/// Checks an endorsement key, and its certificate if somebody is trusted.
pub(super) fn check_endorsement(
    verdict: &mut Verdict,
    endorsement: &Endorsement,
    trust: Option<&Trust<'_>>,
) -> Option<TpmtPublic> {
    let ek = match public_area(&endorsement.public.0) {
        Ok(ek) => ek,
        Err(fault) => {
            verdict.fail(Rule::EkKey, fault);
            return None;
        }
    };
    check_endorsement_key(verdict, &ek);
    let Some(trust) = trust else {
        verdict.skip(Rule::EkChain, "no authority was named whom to trust");
        return Some(ek);
    };
    let Some(bytes) = &endorsement.certificate else {
        verdict.fail(
            Rule::EkChain,
            "the endorsement key comes without a certificate",
        );
        return Some(ek);
    };
    let certificate = match certificate::read(&bytes.0) {
        Ok(certificate) => certificate,
        Err(error) => {
            verdict.fail(Rule::EkChain, error.to_string());
            return Some(ek);
        }
    };
    let mut intermediates = trust.intermediates.to_vec();
    // Who sends a certificate may send what leads from it to the authority, too: it proves itself.
    for bytes in endorsement.chain.iter().take(8) {
        match certificate::read(&bytes.0) {
            Ok(one) => intermediates.push(one),
            Err(error) => verdict.fail(Rule::EkChain, error.to_string()),
        }
    }
    let trust = Trust {
        intermediates: &intermediates,
        ..trust.clone()
    };
    check_chain(verdict, &ek, &certificate, &trust);
    Some(ek)
}
