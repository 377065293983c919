//! The verifier as a service: `POST /v1/attest/nonce`, `/v1/attest/enroll`, `/v1/attest/enroll/finish`, `/v1/attest/verify`.
//!
//! It trusts the authorities of the vCenters, hands out questions and sessions that are good once and for two minutes, and keeps what
//! it knows of enrolled TPMs in the data folder. Two TPMs of one identity are told to the inventory, which has them in the audit log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tpm_attest::certificate::{self, Certificate, CertificateList};
use tpm_attest::verify::{
    Base64, Candidate, Challenge, Demand, Endorsement, Enrolled, Enrolments, Evidence, Hex,
    MAX_EVIDENCE, Once, Policy, Rule, Trust, Verdict, public_area, verify,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use vm_inventory::Operations;
use vm_web::Problem;

/// For how long a question may be answered, and an enrolment finished.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most questions, and most enrolments, that are under way at a time.
const MOST: usize = 4096;
/// Most TPMs that are enrolled.
const MOST_ENROLLED: usize = 65_536;
/// Most bytes of a request to be enrolled.
const ENROLMENT_LIMIT: usize = 64 * 1024;
/// Most bytes of a record of one TPM.
const LARGEST_RECORD: u64 = 4 << 20;
/// Evidence in JSON, and a policy beside it.
const VERIFY_LIMIT: usize = MAX_EVIDENCE + 1024 * 1024;

/// What the service knows.
struct Verifier {
    operations: Arc<Operations>,
    /// Where the records of enrolled TPMs are, by digest of their attestation keys.
    folder: PathBuf,
    state: Mutex<Waiting>,
}

struct Waiting {
    /// Each with the time at which it was given out.
    questions: Once<SystemTime>,
    enrolments: Enrolments,
    /// Reading and writing of a record belong together.
    records: BTreeMap<String, Enrolled>,
}

/// The routes, for the records in `folder`.
pub(crate) fn router(operations: Arc<Operations>, folder: &Path) -> io::Result<OpenApiRouter> {
    fs::create_dir_all(folder)?;
    let verifier = Arc::new(Verifier {
        operations,
        folder: folder.to_path_buf(),
        state: Mutex::new(Waiting {
            questions: Once::new(PATIENCE, MOST),
            enrolments: Enrolments::new(PATIENCE, MOST),
            records: read_records(folder)?,
        }),
    });
    let small = DefaultBodyLimit::max(ENROLMENT_LIMIT);
    Ok(OpenApiRouter::new()
        .routes(routes!(nonce).layer(small))
        .routes(routes!(enroll).layer(small))
        .routes(routes!(finish).layer(small))
        .routes(routes!(judge).layer(DefaultBodyLimit::max(VERIFY_LIMIT)))
        .with_state(verifier))
}

/// A question.
#[derive(Serialize)]
struct Question {
    /// What a quote has to be about.
    nonce: Hex,
    /// For how many seconds.
    expires_in: u64,
}

/// Who asks to be enrolled.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enroll {
    /// A name for people.
    #[serde(default)]
    source: String,
    /// `TPMT_PUBLIC` or `TPM2B_PUBLIC`.
    attestation_key: Base64,
    /// As the TPM gives it.
    qualified_name: Hex,
    endorsement: Endorsement,
}

/// What came of the first half of an enrolment.
#[derive(Serialize)]
struct Begun {
    trusted: bool,
    verdict: Verdict,
    /// What the TPM has to open; none if a check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<Challenge>,
}

/// What the TPM opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    session: Hex,
    secret: Base64,
}

/// What came of an enrolment, or of evidence.
#[derive(Serialize)]
struct Judged {
    trusted: bool,
    verdict: Verdict,
    /// The enrolled key, by the SHA-256 of its public area.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled: Option<String>,
}

/// Evidence about one of our questions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judge {
    evidence: Evidence,
    /// What the machine must have measured.
    #[serde(default)]
    policy: Option<serde_json::Value>,
}

type Answer<T> = Result<Json<T>, Problem>;
type Given<T> = Result<Json<T>, JsonRejection>;

/// A question for a TPM.
#[utoipa::path(post, path = "/v1/attest/nonce", tag = "Attestation",
    responses((status = 200, body = serde_json::Value, description = "As docs/attestation.md says")))]
async fn nonce(State(verifier): State<Arc<Verifier>>) -> Answer<Question> {
    let mut state = verifier.state();
    let now = SystemTime::now();
    let question = state.questions.issue(now, now, &mut rand::rng());
    let question =
        question.map_err(|fault| problem(503, "busy", "No question is free", fault.to_string()))?;
    Ok(Json(Question {
        nonce: Hex(question.to_vec()),
        expires_in: PATIENCE.as_secs(),
    }))
}

/// Begins to enrol a TPM.
#[utoipa::path(post, path = "/v1/attest/enroll", tag = "Attestation",
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value, description = "As docs/attestation.md says")))]
async fn enroll(State(verifier): State<Arc<Verifier>>, request: Given<Enroll>) -> Answer<Begun> {
    let Json(request) = request.map_err(malformed)?;
    let attestation_key = public_area(&request.attestation_key.0)
        .map_err(|fault| bad(format!("the attestation key: {fault}")))?;
    let candidate = Candidate {
        source: bounded(&request.source)?,
        attestation_key,
        qualified_name: request.qualified_name.0,
        endorsement: request.endorsement,
    };
    blocking(move || {
        let authorities = verifier.authorities()?;
        let trust = authorities.trust();
        let mut verdict = Verdict::default();
        let now = SystemTime::now();
        let challenge = verifier.state().enrolments.begin(
            &mut verdict,
            &candidate,
            Some(&trust),
            now,
            &mut rand::rng(),
        );
        Ok(Json(Begun {
            trusted: verdict.is_trusted(),
            verdict,
            challenge,
        }))
    })
    .await
}

/// Ends the enrolment of a TPM.
#[utoipa::path(post, path = "/v1/attest/enroll/finish", tag = "Attestation",
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value, description = "As docs/attestation.md says")))]
async fn finish(State(verifier): State<Arc<Verifier>>, request: Given<Finish>) -> Answer<Judged> {
    let Json(request) = request.map_err(malformed)?;
    blocking(move || {
        let mut verdict = Verdict::default();
        let mut state = verifier.state();
        let enrolled = state.enrolments.finish(
            &mut verdict,
            &request.session.0,
            &request.secret.0,
            SystemTime::now(),
        );
        let mut id = None;
        if let Some(record) = enrolled {
            let key = id_of(&record.attestation_key.0);
            if state.records.len() >= MOST_ENROLLED && !state.records.contains_key(&key) {
                return Err(problem(
                    503,
                    "full",
                    "No further TPM can be enrolled",
                    format!("{MOST_ENROLLED} are enrolled"),
                ));
            }
            verifier.write(&key, &record)?;
            state.records.insert(key.clone(), record);
            id = Some(key);
        }
        Ok(Json(Judged {
            trusted: verdict.is_trusted(),
            verdict,
            enrolled: id,
        }))
    })
    .await
}

/// Judges what a machine proves.
#[utoipa::path(post, path = "/v1/attest/verify", tag = "Attestation",
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value, description = "As docs/attestation.md says")))]
async fn judge(State(verifier): State<Arc<Verifier>>, request: Given<Judge>) -> Answer<Judged> {
    let Json(request) = request.map_err(no_evidence)?;
    request.evidence.check_format().map_err(formless)?;
    blocking(move || {
        let now = SystemTime::now();
        let evidence = &request.evidence;
        let mut verdict = Verdict::default();
        let policy = match &request.policy {
            None => None,
            Some(policy) => match Policy::from_json(policy.to_string().as_bytes(), None) {
                Ok(policy) => Some(policy),
                Err((rule, fault)) => {
                    verdict.fail(rule, fault);
                    None
                }
            },
        };
        let authorities = verifier.authorities()?;
        let mut state = verifier.state();
        // Used up by this answer, right or wrong.
        let asked = state.questions.redeem(&evidence.nonce.0, now);
        if let Err(fault) = &asked {
            verdict.fail(Rule::QuoteNonce, format!("the question: {fault}"));
        }
        let key = public_area(&evidence.attestation_key.0)
            .ok()
            .map(|key| id_of(&tpm_wire::codec::Marshal::to_bytes(&key)));
        let known = key.and_then(|key| Some((key.clone(), state.records.get(&key)?.clone())));
        let (key, mut record) = known.unzip();
        if record.is_none() {
            verdict.fail(
                Rule::KeyEnrolled,
                "this attestation key was never enrolled here",
            );
        }
        let before = record.clone();
        if verdict.failed().next().is_none() {
            let mut demand = Demand {
                nonce: Some(&evidence.nonce.0),
                asked: asked.ok(),
                enrolled: record.as_mut(),
                trust: Some(authorities.trust()),
                policy: policy.as_ref(),
                now,
            };
            verdict.checks.extend(verify(evidence, &mut demand).checks);
        }
        if let (Some(key), Some(record)) = (&key, &record)
            && before.as_ref() != Some(record)
        {
            verifier.write(key, record)?;
            state.records.insert(key.clone(), record.clone());
        }
        drop(state);
        if let (Some(record), Some(alarm)) = (
            &record,
            verdict
                .failed()
                .find(|check| check.rule == Rule::HistoryClone),
        ) {
            verifier.raise_alarm(record, &alarm.detail);
        }
        Ok(Json(Judged {
            trusted: verdict.is_trusted(),
            verdict,
            enrolled: key,
        }))
    })
    .await
}

/// The authorities of all vCenters and what they revoked.
struct Authorities {
    roots: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    revoked: Vec<CertificateList>,
}

impl Authorities {
    fn trust(&self) -> Trust<'_> {
        Trust {
            roots: &self.roots,
            intermediates: &self.intermediates,
            revoked: &self.revoked,
            revocation_required: false,
            now: SystemTime::now(),
        }
    }
}

impl Verifier {
    fn state(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorities(&self) -> Result<Authorities, Problem> {
        let mut all = Authorities {
            roots: Vec::new(),
            intermediates: Vec::new(),
            revoked: Vec::new(),
        };
        for vcenter in self.operations.vcenters()? {
            let view = self.operations.authority(Some(&vcenter.name))?;
            for chain in [&view.chain, &view.former] {
                // Those at the end of a chain signed themselves, or are as far as a company told.
                let mut chain = certificate::read_all(chain.as_bytes()).unwrap_or_default();
                if let Some(root) = chain.pop() {
                    all.roots.push(root);
                }
                all.intermediates.extend(chain);
            }
            if view.revoked > 0 {
                for list in self.operations.revocation_lists(Some(&vcenter.name))? {
                    let list = certificate::read_list(&list.0).map_err(|error| {
                        problem(500, "internal", "An internal error", error.to_string())
                    })?;
                    all.revoked.push(list);
                }
            }
        }
        Ok(all)
    }

    /// Tells the inventory that two TPMs of one identity live.
    fn raise_alarm(&self, record: &Enrolled, detail: &str) {
        let Some(certificate) = &record.endorsement.certificate else {
            return;
        };
        let fingerprint = hex::encode(Sha256::digest(&certificate.0));
        if let Err(error) = self.operations.raise_clone_alarm(&fingerprint, detail) {
            tracing::error!("the clone alarm was not recorded: {error}");
        }
    }

    /// Puts a record in place, whole or not at all.
    fn write(&self, key: &str, record: &Enrolled) -> Result<(), Problem> {
        let path = self.folder.join(format!("{key}.json"));
        let new = self.folder.join(format!("{key}.new"));
        let written = (|| {
            let mut file = File::create(&new)?;
            file.write_all(record.to_json().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        })();
        written.map_err(|error: io::Error| {
            let detail = format!("{}: {error}", path.display());
            problem(500, "internal", "The record was not written", detail)
        })
    }
}

fn read_records(folder: &Path) -> io::Result<BTreeMap<String, Enrolled>> {
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        match Enrolled::from_json(&vm_store::backend::read_named(&path, LARGEST_RECORD)?) {
            Ok(record) => {
                records.insert(name.unwrap_or_default().to_owned(), record);
            }
            Err(fault) => tracing::error!("{}: {fault}", path.display()),
        }
    }
    Ok(records)
}

fn id_of(public: &[u8]) -> String {
    hex::encode(Sha256::digest(public))
}

fn bounded(source: &str) -> Result<String, Problem> {
    if source.chars().count() > 128 || source.chars().any(char::is_control) {
        return Err(bad(
            "the source is a name of at most 128 characters".to_owned()
        ));
    }
    Ok(source.to_owned())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        let detail = "the verifier stopped half-way";
        Err(problem(500, "internal", "An internal error", detail))
    })
}

fn malformed(rejection: JsonRejection) -> Problem {
    rejection.into()
}

/// What is no evidence fails the check of that name, before there is a verdict.
fn no_evidence(rejection: JsonRejection) -> Problem {
    let problem = malformed(rejection);
    Problem {
        detail: format!("{}: {}", Rule::EvidenceForm, problem.detail),
        ..problem
    }
}

fn formless(fault: String) -> Problem {
    bad(format!("{}: {fault}", Rule::EvidenceForm))
}

fn bad(detail: String) -> Problem {
    problem(400, "bad-request", "The request is wrong", detail)
}

fn problem(status: u16, kind: &str, title: &str, detail: impl Into<String>) -> Problem {
    Problem {
        kind: format!("urn:vtpm:problem:{kind}"),
        title: title.to_owned(),
        status,
        detail: detail.into(),
        failures: Vec::new(),
    }
}
