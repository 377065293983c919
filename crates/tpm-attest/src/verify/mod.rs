//! The verifier: enrolment, quotes, event logs and policies become a [`Verdict`] of named checks. It works with any TPM 2.0.
//!
//! [`Enrolments`] learns which attestation key lives in which TPM, [`Once`] gives out questions that are answered once, [`verify`]
//! judges the [`Evidence`] that answers one, [`History`] notices two TPMs under one identity. Nothing here knows where a TPM is, and
//! nothing reads a clock: the caller tells the time.

mod chain;
mod check;
mod enrolment;
mod evidence;
mod history;
mod log;
mod once;
mod pcr_file;
mod policy;
mod quote;
pub(crate) mod signature;
#[cfg(test)]
mod tests;

pub use chain::{Trust, signed_by};
pub use check::{Check, Outcome, Rule, Verdict};
pub use enrolment::{Candidate, Challenge, Enrolled, Enrolments};
pub use evidence::{Base64, Endorsement, Evidence, Hex, MAX_EVIDENCE, QuoteBytes, public_area};
pub use history::{CloneAlarm, History, Sighting};
pub use once::{Once, TICKET_SIZE, TicketFault};
pub use pcr_file::{keylime_request, read_pcr_file, write_pcr_file};
pub use policy::{AllowedEvent, Policy, secure_boot, signer_key};
pub use quote::{PcrValues, Quoted, expected_qualified_names, pcr_digest, qualified_name};

use std::time::SystemTime;

use tpm_wire::object::TpmtPublic;

use enrolment::check_endorsement;
use quote::{QuoteDemand, check_key, check_quote, shown};

/// What a verifier demands of evidence.
#[derive(Debug)]
pub struct Demand<'a> {
    /// The question that must be answered; without one, whether the quote is fresh stays open.
    pub nonce: Option<&'a [u8]>,
    /// When the question was given out, if the verifier did that itself.
    pub asked: Option<SystemTime>,
    /// The TPM that must have answered.
    pub enrolled: Option<&'a mut Enrolled>,
    /// Whom to trust with endorsement keys.
    pub trust: Option<Trust<'a>>,
    /// What the machine must have measured.
    pub policy: Option<&'a Policy>,
    /// The time.
    pub now: SystemTime,
}

/// Judges evidence. The history in the record of an enrolment is carried on, if the quote is genuine.
#[must_use]
pub fn verify(evidence: &Evidence, demand: &mut Demand<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let read =
        public_area(&evidence.attestation_key.0).and_then(|key| Ok((key, evidence.pcr_values()?)));
    let (key, pcrs) = match read {
        Ok(read) => read,
        Err(fault) => {
            verdict.fail(Rule::EvidenceForm, fault);
            return verdict;
        }
    };
    let attached = evidence.endorsement.as_ref();
    match attached.map_or(Ok(()), Endorsement::is_exact) {
        Ok(()) => verdict.pass(Rule::EvidenceForm, "the document is whole"),
        Err(fault) => verdict.fail(Rule::EvidenceForm, fault),
    }
    let recorded = demand.enrolled.as_deref().map(|record| &record.endorsement);
    let endorsement = evidence.endorsement.as_ref().or(recorded);
    let ek = match endorsement {
        Some(endorsement) => check_endorsement(&mut verdict, endorsement, demand.trust.as_ref()),
        None if demand.trust.is_some() => {
            verdict.fail(
                Rule::EkChain,
                "the evidence comes without an endorsement key",
            );
            None
        }
        None => {
            verdict.skip(Rule::EkKey, "the evidence comes without an endorsement key");
            None
        }
    };
    check_key(&mut verdict, &key);
    check_enrolled(&mut verdict, &key, ek.as_ref(), demand.enrolled.as_deref());
    let qualified_names = match demand.enrolled.as_deref() {
        Some(record) => vec![record.qualified_name.0.clone()],
        None => expected_qualified_names(&key, ek.as_ref()),
    };
    let quote_demand = QuoteDemand {
        key: &key,
        qualified_names: &qualified_names,
        is_placed: demand.enrolled.is_some(),
        nonce: &evidence.nonce.0,
        pcrs: &pcrs,
    };
    let (message, signature) = (&evidence.quote.message.0, &evidence.quote.signature.0);
    let quoted = check_quote(&mut verdict, message, signature, &quote_demand);
    match demand.nonce {
        Some(nonce) if *nonce == *evidence.nonce.0 => {}
        Some(nonce) => verdict.fail(
            Rule::QuoteNonce,
            format!(
                "the evidence is about the question {}, asked was {}",
                shown(&evidence.nonce.0),
                shown(nonce)
            ),
        ),
        None => verdict.skip(
            Rule::QuoteNonce,
            "the quote answers the question in the evidence; whether that was asked, and when, nobody said",
        ),
    }
    let Some(quoted) = quoted else {
        return verdict;
    };
    let genuine = verdict.is_trusted();
    let log = log::check_logs(&mut verdict, evidence, &pcrs);
    if let Some(record) = demand.enrolled.as_deref_mut() {
        let times = (demand.asked, demand.now);
        check_record(&mut verdict, record, &quoted, evidence, genuine, times);
    }
    if let Some(policy) = demand.policy {
        policy.check(&mut verdict, &quoted, &pcrs, log.as_ref());
    }
    verdict
}

/// Checks that keys are those of an enrolment.
fn check_enrolled(
    verdict: &mut Verdict,
    key: &TpmtPublic,
    ek: Option<&TpmtPublic>,
    enrolled: Option<&Enrolled>,
) {
    let Some(record) = enrolled else {
        let detail = "no enrolment was named: nothing shows that the key lives in a TPM at all";
        return verdict.skip(Rule::KeyEnrolled, detail);
    };
    let same = |bytes: &Base64, key: &TpmtPublic| {
        public_area(&bytes.0).is_ok_and(|recorded| recorded == *key)
    };
    let found = if !same(&record.attestation_key, key) {
        Err(format!(
            "the key is not the one that was enrolled for '{}'",
            record.source
        ))
    } else if ek.is_some_and(|ek| !same(&record.endorsement.public, ek)) {
        Err(format!(
            "the endorsement key is not the one that was enrolled for '{}'",
            record.source
        ))
    } else {
        Ok(format!("enrolled for '{}'", record.source))
    };
    verdict.note(Rule::KeyEnrolled, found);
}

/// Checks a genuine quote against what is known of its TPM.
fn check_record(
    verdict: &mut Verdict,
    record: &mut Enrolled,
    quoted: &Quoted,
    evidence: &Evidence,
    genuine: bool,
    (asked, now): (Option<SystemTime>, SystemTime),
) {
    if !genuine {
        verdict.skip(Rule::HistoryClone, "the quote does not count");
        return;
    }
    let version = Hex(quoted.firmware_version.to_be_bytes().to_vec());
    match &record.firmware_version {
        Some(known) if *known != version => verdict.fail(
            Rule::QuoteFirmware,
            format!("the firmware is {version:?}, enrolled was {known:?}"),
        ),
        Some(_) => verdict.pass(Rule::QuoteFirmware, format!("{version:?}")),
        None => {
            verdict.pass(
                Rule::QuoteFirmware,
                format!("{version:?}, noted with this first quote"),
            );
            record.firmware_version = Some(version);
        }
    }
    let source = if evidence.source.is_empty() {
        &record.source
    } else {
        &evidence.source
    };
    let sighting = Sighting::new(source, &quoted.clock, asked, now);
    record.history.judge(verdict, sighting);
}
