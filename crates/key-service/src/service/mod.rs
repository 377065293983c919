//! The side that judges: who is enrolled, what the policy is, which keys there are.

mod keys;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tpm_attest::certificate::{self, Certificate};
use tpm_attest::credential::object_name;
use tpm_attest::sealed::SealedData;
use tpm_attest::verify::{
    Candidate, Demand, Enrolled, Enrolments, Evidence, Hex, Once, Policy, Trust, Verdict,
    public_area, verify,
};
use vm_store::backend::{Backend as _, Folder};
use vm_store::key_provider::SecretFolder;
use vm_store::{KeyProviderError, LinuxBackend};

pub use keys::KeyState;

use crate::protocol::{
    Answer, Description, Enrolment, Purpose, Refusal, RefusalKind, Request, Want,
};
use keys::Keys;

const POLICY: &str = "policy.json";
const AUTHORITIES: &str = "authorities.pem";
const KEY_FILE: &str = "service.key";
/// For how long a question or a challenge waits for its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many of each wait at a time.
const MOST_WAITING: usize = 4096;
/// Most bytes of policy and authorities.
const LARGEST: u64 = 1024 * 1024;
/// Shuts a host out, by a name beside that of its record.
const BLOCKED: &str = "blocked-";
/// Most characters of the name that a host gives itself.
const LONGEST_NAME: usize = 100;

/// Why a service cannot be set up or looked after.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something sealed cannot be read or written.
    #[error(transparent)]
    Sealed(#[from] KeyProviderError),
    /// There is no such host or key.
    #[error("there is no {what} {id:?}; {list} lists them")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Which.
        id: String,
        /// The command that lists what there is.
        list: &'static str,
    },
    /// It was destroyed.
    #[error("the key {0:?} was destroyed; its bytes are gone")]
    Destroyed(String),
}

/// A host that is enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    /// Its id: the Name of its attestation key.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// When it was enrolled, in seconds since 1970.
    pub enrolled_at: u64,
    /// Whether it was shut out.
    pub blocked: bool,
}

/// A key service, in a folder of its own.
pub struct Service {
    folder: PathBuf,
    keys: Keys,
    hosts: SecretFolder,
    waiting: Mutex<Waiting>,
    /// Records are read, judged with and written back one at a time.
    judging: Mutex<()>,
}

struct Waiting {
    enrolments: Enrolments,
    /// Who asked, for what, and when the question was given out.
    questions: Once<(String, Want, SystemTime)>,
}

impl Service {
    /// Sets a service up: its policy and the authorities whose endorsement keys it trusts. What is there already stays.
    ///
    /// # Errors
    /// When one of the two is none, or a file cannot be written.
    pub fn set_up(folder: &Path, policy: &[u8], authorities: &[u8]) -> Result<(), ServiceError> {
        let place = LinuxBackend
            .ensure_folder(folder)
            .map_err(|error| fault(folder, error))?;
        read_policy(policy).map_err(|reason| fault(&folder.join(POLICY), reason))?;
        read_authorities(authorities).map_err(|reason| fault(&folder.join(AUTHORITIES), reason))?;
        put(&*place, POLICY, policy)?;
        put(&*place, AUTHORITIES, authorities)
    }

    /// Puts another policy in the place of the one there is; it counts from the next question on.
    ///
    /// # Errors
    /// As [`Service::set_up`].
    pub fn set_policy(folder: &Path, policy: &[u8]) -> Result<(), ServiceError> {
        let place = LinuxBackend
            .open_folder(folder)
            .map_err(|error| fault(folder, error))?;
        read_policy(policy).map_err(|reason| fault(&folder.join(POLICY), reason))?;
        put(&*place, POLICY, policy)
    }

    /// Opens a service that was set up. Its secrets lie sealed under a key in `key_file`, or in a file beside them.
    ///
    /// # Errors
    /// When it was not, or a file cannot be used.
    pub fn open(folder: &Path, key_file: Option<&Path>) -> Result<Self, ServiceError> {
        LinuxBackend
            .open_folder(folder)
            .map_err(|error| fault(folder, error))?;
        let beside = folder.join(KEY_FILE);
        let key_file = key_file.unwrap_or(&beside);
        let open =
            |name: &str| SecretFolder::open_under(&LinuxBackend, &folder.join(name), key_file);
        let this = Self {
            keys: Keys::new(open("keys")?),
            hosts: open("hosts")?,
            folder: folder.to_path_buf(),
            waiting: Mutex::new(Waiting {
                enrolments: Enrolments::new(PATIENCE, MOST_WAITING),
                questions: Once::new(PATIENCE, MOST_WAITING),
            }),
            judging: Mutex::default(),
        };
        this.policy()?;
        this.authorities()?;
        Ok(this)
    }

    /// Answers one request.
    pub fn answer(&self, request: Request, now: SystemTime) -> Answer {
        let answered = match request {
            Request::Describe => self.describe(),
            Request::Enrol(enrolment) => self.enrol(*enrolment, now),
            Request::Prove { session, secret } => self.prove(&session, &secret, now),
            Request::Ask { host, want } => self.ask(host, want, now),
            Request::Answer(evidence) => self.judge(&evidence, now),
        };
        answered.unwrap_or_else(|refusal| {
            tracing::warn!(kind = ?refusal.kind, "refused: {}", refusal.reason);
            Answer::Refused(refusal)
        })
    }

    /// The hosts that are enrolled.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn hosts(&self) -> Result<Vec<HostState>, ServiceError> {
        let names = self.hosts.names()?;
        let mut hosts = Vec::new();
        for id in names.iter().filter(|name| !name.starts_with(BLOCKED)) {
            let Some(record) = self.record(id)? else {
                continue;
            };
            hosts.push(HostState {
                blocked: self.is_blocked(id)?,
                id: id.clone(),
                name: record.source,
                enrolled_at: record.enrolled_at,
            });
        }
        Ok(hosts)
    }

    /// Shuts a host out, or lets it in again.
    ///
    /// # Errors
    /// When there is none of that id, or a file cannot be written.
    pub fn block_host(&self, id: &str, blocked: bool) -> Result<(), ServiceError> {
        let name = format!("{BLOCKED}{id}");
        // Who is shut out may have been forgotten meanwhile.
        if blocked || self.hosts.get(&name)?.is_none() {
            self.known_host(id)?;
        }
        Ok(if blocked {
            self.hosts.put(&name, b"blocked")
        } else {
            self.hosts.remove(&name)
        }?)
    }

    /// Forgets a host and its history; it may enrol again, unless it is shut out.
    ///
    /// # Errors
    /// When there is none of that id, or a file cannot be removed.
    pub fn forget_host(&self, id: &str) -> Result<(), ServiceError> {
        self.known_host(id)?;
        Ok(self.hosts.remove(id)?)
    }

    /// The ids of all keys, with their states.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn keys(&self) -> Result<Vec<(String, KeyState)>, ServiceError> {
        self.keys.list()
    }

    /// Changes the state of a key. What was destroyed stays so.
    ///
    /// # Errors
    /// When there is none of that id, or a file cannot be written.
    pub fn set_key_state(&self, id: &str, state: KeyState) -> Result<(), ServiceError> {
        self.keys.set_state(id, state)
    }

    fn describe(&self) -> Result<Answer, Refusal> {
        let policy = self.policy().map_err(failed)?;
        Ok(Answer::Description(Description {
            pcrs: pcrs_of(&policy),
            policy: policy.name,
        }))
    }

    fn enrol(&self, enrolment: Enrolment, now: SystemTime) -> Result<Answer, Refusal> {
        let authorities = self.authorities().map_err(failed)?;
        let bad = |reason| refuse(RefusalKind::BadRequest, reason);
        let attestation_key = public_area(&enrolment.attestation_key.0).map_err(bad)?;
        let id = host_id(&attestation_key).map_err(|error| bad(error.to_string()))?;
        if self.is_blocked(&id).map_err(failed)? {
            return Err(shut_out(&id));
        }
        let named = enrolment.name.chars().filter(|c| !c.is_control());
        let candidate = Candidate {
            source: named.take(LONGEST_NAME).collect(),
            attestation_key,
            qualified_name: enrolment.qualified_name.0,
            endorsement: enrolment.endorsement,
        };
        let mut verdict = Verdict::default();
        let trust = trust(&authorities, now);
        let challenge = self.waiting().enrolments.begin(
            &mut verdict,
            &candidate,
            Some(&trust),
            now,
            &mut rand::rng(),
        );
        let about = || format!("the host {id} is not enrolled");
        challenge
            .map(Answer::Challenge)
            .ok_or_else(|| refuse(RefusalKind::NotTrusted, told(&about(), &verdict)))
    }

    fn prove(&self, session: &Hex, secret: &Hex, now: SystemTime) -> Result<Answer, Refusal> {
        let mut verdict = Verdict::default();
        let record = self
            .waiting()
            .enrolments
            .finish(&mut verdict, &session.0, &secret.0, now);
        let Some(record) = record else {
            let reason = told("the host is not enrolled", &verdict);
            return Err(refuse(RefusalKind::NotTrusted, reason));
        };
        let key = public_area(&record.attestation_key.0)
            .map_err(|reason| refuse(RefusalKind::BadRequest, reason))?;
        let id = host_id(&key).map_err(|error| refuse(RefusalKind::Failed, error.to_string()))?;
        let _judging = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        // Who is enrolled already keeps its history, or a second TPM under one identity could hide in a new one.
        if self.record(&id).map_err(failed)?.is_none() {
            self.keep(&id, &record)?;
            tracing::info!(host = id, name = record.source, "enrolled");
        }
        Ok(Answer::Enrolled { host: id })
    }

    fn ask(&self, host: String, want: Want, now: SystemTime) -> Result<Answer, Refusal> {
        let policy = self.policy().map_err(failed)?;
        if self.is_blocked(&host).map_err(failed)? {
            return Err(shut_out(&host));
        }
        if self.record(&host).map_err(failed)?.is_none() {
            return Err(unknown(&host));
        }
        let mut waiting = self.waiting();
        let nonce = waiting
            .questions
            .issue((host, want, now), now, &mut rand::rng())
            .map_err(|fault| refuse(RefusalKind::Failed, fault.to_string()))?;
        Ok(Answer::Question {
            nonce: Hex(nonce.to_vec()),
            pcrs: pcrs_of(&policy),
        })
    }

    fn judge(&self, evidence: &Evidence, now: SystemTime) -> Result<Answer, Refusal> {
        let nonce = &evidence.nonce.0;
        // Used up, whatever becomes of it.
        let (host, want, asked) = self
            .waiting()
            .questions
            .redeem(nonce, now)
            .map_err(|fault| {
                let reason = format!("quote.nonce: the question of the quote: {fault}");
                refuse(RefusalKind::NotTrusted, reason)
            })?;
        let policy = self.policy().map_err(failed)?;
        let authorities = self.authorities().map_err(failed)?;
        let judging = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_blocked(&host).map_err(failed)? {
            return Err(shut_out(&host));
        }
        let mut record = self
            .record(&host)
            .map_err(failed)?
            .ok_or_else(|| unknown(&host))?;
        let before = record.clone();
        let verdict = verify(
            evidence,
            &mut Demand {
                nonce: Some(nonce),
                asked: Some(asked),
                enrolled: Some(&mut record),
                trust: Some(trust(&authorities, now)),
                policy: Some(&policy),
                now,
            },
        );
        if record != before {
            self.keep(&host, &record)?;
        }
        drop(judging);
        if !verdict.is_trusted() {
            let about = format!(
                "the host {} ({host}) does not satisfy the policy",
                record.source
            );
            return Err(refuse(RefusalKind::NotTrusted, told(&about, &verdict)));
        }
        match want {
            Want::Nothing => Ok(Answer::Good),
            Want::NewKey => {
                let key_id = self.keys.make().map_err(failed)?;
                tracing::info!(host, key_id, "made a key");
                Ok(Answer::NewKey { key_id })
            }
            Want::Key { key_id, purpose } => {
                let sealed = self.seal(&record, evidence, &policy, &key_id, purpose)?;
                tracing::info!(host, key_id, ?purpose, "gave a key");
                Ok(Answer::Key { key_id, sealed })
            }
        }
    }

    /// The bytes of a key for the TPM that just attested, in the state that it attested.
    fn seal(
        &self,
        record: &Enrolled,
        evidence: &Evidence,
        policy: &Policy,
        key_id: &str,
        purpose: Purpose,
    ) -> Result<SealedData, Refusal> {
        let (state, key) =
            self.keys.get(key_id).map_err(failed)?.ok_or_else(|| {
                refuse(RefusalKind::NoSuchKey, format!("it has no key {key_id:?}"))
            })?;
        let state_forbids = |what: &str| {
            refuse(
                RefusalKind::KeyState,
                format!("the key {key_id:?} is {state} and {what}"),
            )
        };
        let key = key.ok_or_else(|| state_forbids("opens nothing any more"))?;
        if purpose == Purpose::Wrap && state != KeyState::Active {
            return Err(state_forbids("protects nothing new; re-key to another key"));
        }
        let bad = |reason| refuse(RefusalKind::Failed, reason);
        let endorsement = public_area(&record.endorsement.public.0).map_err(bad)?;
        let pcrs = evidence.pcr_values().map_err(bad)?;
        let selection = tpm_attest::attester::selection(&pcrs_of(policy)).map_err(bad)?;
        SealedData::make(&endorsement, &selection, &pcrs, &*key, &mut rand::rng())
            .map_err(|error| bad(error.to_string()))
    }

    fn known_host(&self, id: &str) -> Result<(), ServiceError> {
        self.record(id)?.map(drop).ok_or(ServiceError::Unknown {
            what: "host",
            id: id.to_owned(),
            list: "vtpm key-service hosts",
        })
    }

    fn is_blocked(&self, id: &str) -> Result<bool, ServiceError> {
        if !is_host_id(id) {
            return Ok(false);
        }
        Ok(self.hosts.get(&format!("{BLOCKED}{id}"))?.is_some())
    }

    fn record(&self, id: &str) -> Result<Option<Enrolled>, ServiceError> {
        // An id is part of a file's name, and comes from outside.
        if !is_host_id(id) {
            return Ok(None);
        }
        let Some(bytes) = self.hosts.get(id)? else {
            return Ok(None);
        };
        let record = Enrolled::from_json(&bytes)
            .map_err(|reason| fault(&self.folder.join("hosts").join(id), reason))?;
        Ok(Some(record))
    }

    fn keep(&self, id: &str, record: &Enrolled) -> Result<(), Refusal> {
        self.hosts
            .put(id, record.to_json().as_bytes())
            .map_err(|error| failed(error.into()))
    }

    fn policy(&self) -> Result<Policy, ServiceError> {
        let path = self.folder.join(POLICY);
        read_policy(&read(&path)?).map_err(|reason| fault(&path, reason))
    }

    fn authorities(&self) -> Result<Vec<Certificate>, ServiceError> {
        let path = self.folder.join(AUTHORITIES);
        read_authorities(&read(&path)?).map_err(|reason| fault(&path, reason))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of a host: the Name of its attestation key.
pub(crate) fn host_id(
    attestation_key: &tpm_wire::object::TpmtPublic,
) -> Result<String, tpm_attest::Error> {
    Ok(hex::encode(&*object_name(attestation_key)?))
}

fn is_host_id(id: &str) -> bool {
    (8..=132).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn trust(authorities: &[Certificate], now: SystemTime) -> Trust<'_> {
    Trust {
        roots: authorities,
        intermediates: &[],
        revoked: &[],
        revocation_required: false,
        now,
    }
}

/// The PCR of a policy, as text.
fn pcrs_of(policy: &Policy) -> String {
    let banks: Vec<String> = policy
        .pcrs
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(bank, values)| {
            let numbers: Vec<String> = values.keys().map(u32::to_string).collect();
            format!("{bank}:{}", numbers.join(","))
        })
        .collect();
    banks.join("+")
}

fn read_policy(bytes: &[u8]) -> Result<Policy, String> {
    let policy = Policy::from_json(bytes, None).map_err(|(_, fault)| fault)?;
    let pcrs = pcrs_of(&policy);
    if pcrs.is_empty() {
        return Err("the policy is about no PCR; make one with `vtpm attest policy`".to_owned());
    }
    tpm_attest::attester::selection(&pcrs)?;
    if !policy.events.is_empty() || policy.secure_boot {
        return Err(
            "the policy is about events of a log, which hosts do not send; make one of PCR alone"
                .to_owned(),
        );
    }
    Ok(policy)
}

fn read_authorities(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    certificate::read_all(bytes).map_err(|error| {
        format!("{error}; name authorities of endorsement keys to trust with --ca")
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ServiceError> {
    let read = vm_store::backend::read_named(path, LARGEST);
    let bytes =
        read.map_err(|error| fault(path, format!("{error}; `vtpm key-service init` makes it")))?;
    Ok(bytes.to_vec())
}

fn put(folder: &dyn Folder, name: &str, bytes: &[u8]) -> Result<(), ServiceError> {
    vm_store::backend::put_file(folder, name, bytes)
        .map_err(|error| fault(&folder.path().join(name), error))
}

/// What failed, by name.
fn told(about: &str, verdict: &Verdict) -> String {
    let failed: Vec<String> = verdict
        .failed()
        .map(|check| format!("{}: {}", check.rule, check.detail))
        .collect();
    format!("{about}: {}", failed.join("; "))
}

fn refuse(kind: RefusalKind, reason: String) -> Refusal {
    Refusal { kind, reason }
}

fn unknown(host: &str) -> Refusal {
    let shown: String = host.chars().take(132).collect();
    refuse(
        RefusalKind::UnknownHost,
        format!("no host {shown:?} is enrolled"),
    )
}

fn shut_out(host: &str) -> Refusal {
    refuse(
        RefusalKind::Blocked,
        format!("the host {host} was shut out (`vtpm key-service allow-host`)"),
    )
}

fn failed(error: ServiceError) -> Refusal {
    tracing::error!("{error}");
    refuse(
        RefusalKind::Failed,
        "the service failed; its log says why".to_owned(),
    )
}

fn fault(path: &Path, reason: impl ToString) -> ServiceError {
    ServiceError::File {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
