//! What can be refused or go wrong, in words that name the thing, the rule and the remedy.

use crate::engine::EngineError;
use crate::model::{PowerState, Role, VmId};
use crate::provisioning::Refusal;
use crate::requirements::{Failure, Rule};
use crate::{Name, NameError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;
use vm_store::{KeyProviderError, StoreError};

/// Result of an operation of the inventory.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name breaks a rule for names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A value of the request makes no sense.
    #[error("{0}")]
    BadValue(String),
    /// There is no such thing.
    #[error("there is no {what} `{name}`; {hint}")]
    NotFound {
        /// Of which kind.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// The user may not do that.
    #[error("{user} may not do that: the role {role} lacks it; it needs {needs}")]
    Forbidden {
        /// The user.
        user: String,
        /// The user's role.
        role: Role,
        /// What it takes.
        needs: String,
    },
    /// There is no such provider on that vCenter.
    #[error(
        "vCenter {vcenter} has no key provider `{name}`; `vtpm provider list` shows all, `vtpm provider create {name} --vcenter {vcenter}` makes it, `vtpm provider restore` brings it back from a backup"
    )]
    NoProvider {
        /// The provider.
        name: String,
        /// The vCenter.
        vcenter: String,
    },
    /// The vCenter does not see that datastore.
    #[error("vCenter {vcenter} does not see the datastore {datastore}; choose one that it sees")]
    DatastoreNotSeen {
        /// The datastore.
        datastore: Name,
        /// The vCenter.
        vcenter: Name,
    },
    /// Several VMs have that name.
    #[error("several VMs are called `{name}`; use an id: {}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Who has it.
        ids: Vec<VmId>,
    },
    /// There are several, and the request does not say which.
    #[error("there is more than one {what}; say which with {option}")]
    ChoiceNeeded {
        /// Of which kind.
        what: &'static str,
        /// How to say it.
        option: &'static str,
    },
    /// Something is in a folder that is to go.
    #[error("the folder {folder} is not empty; move or destroy what is in it first")]
    NotEmpty {
        /// The folder.
        folder: Name,
    },
    /// Something of that name exists.
    #[error("{place} already has a {what} called {name}; choose another name")]
    Exists {
        /// Of which kind.
        what: &'static str,
        /// The name.
        name: Name,
        /// Where.
        place: String,
    },
    /// Rules for a TPM are not met.
    #[error("the VM {vm} cannot have a TPM: {}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Requirements {
        /// The VM.
        vm: Name,
        /// Every rule that is not met.
        failures: Vec<Failure>,
    },
    /// Rules of an operation on several VMs are not met.
    #[error("{operation} is refused: {}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules {
        /// The operation.
        operation: &'static str,
        /// Every rule that is not met.
        failures: Vec<Failure>,
    },
    /// Somebody asked the task to stop.
    #[error("it was canceled; nothing of it is left")]
    Canceled,
    /// There is nothing left to stop.
    #[error(
        "the task {task} cannot be canceled: it has ended, is about to end, or is too short for that"
    )]
    TooLate {
        /// The task.
        task: String,
    },
    /// A key that recognizes a request was used for another one.
    #[error(
        "the Idempotency-Key was used for another request, which started the task {task}; choose a new key for a new request"
    )]
    KeyReused {
        /// The task of the other request.
        task: String,
    },
    /// A key that recognizes a request was used for another one, which started no task.
    #[error("the Idempotency-Key was used for another request; choose a new key for a new request")]
    KeyTaken,
    /// The request came before, and nobody knows what was answered.
    #[error(
        "this request was begun before, but the daemon stopped before it was answered: look at what it was to make, and use a new Idempotency-Key if that is not there"
    )]
    Unanswered,
    /// What a request was to change is not what it takes it for.
    #[error(
        "the entity tag is {now} now; look at it again, and repeat the request with that tag if it still makes sense"
    )]
    Changed {
        /// The tag that it has.
        now: String,
    },
    /// The provisioning table does not allow the choice.
    #[error("the TPM of VM {vm}: {refusal}")]
    Provisioning {
        /// The VM.
        vm: Name,
        /// What the table says.
        refusal: Refusal,
    },
    /// Another operation is at work on the VM.
    #[error("{vm} is busy with {doing}; try again when that is done")]
    Busy {
        /// The VM.
        vm: Name,
        /// The other operation.
        doing: &'static str,
    },
    /// The VM is in the wrong power state.
    #[error("the VM {vm} is {}; {hint}", is.in_words())]
    Power {
        /// The VM.
        vm: Name,
        /// Its state.
        is: PowerState,
        /// What to do.
        hint: &'static str,
    },
    /// The VM has no TPM.
    #[error("the VM {vm} has no TPM, so there is nothing to do here; give it one first")]
    NoTpm {
        /// The VM.
        vm: Name,
    },
    /// The VM is encrypted, or is not, which an operation does not allow.
    #[error("the VM {vm} {why}")]
    Encryption {
        /// The VM.
        vm: Name,
        /// What it is, and what to do.
        why: &'static str,
    },
    /// The files of a VM are older than they were known to be.
    #[error(
        "the TPM state in {vm}.nvram is of generation {found}, but generation {floor} was already on disk: older files of VM {vm} were put back. Restore the right ones, or accept the older state with `vtpm vm start {vm} --accept-rollback` (counters and failed authorizations since then are forgotten)"
    )]
    Rollback {
        /// The VM.
        vm: Name,
        /// The generation of the files.
        found: u64,
        /// The generation that was known.
        floor: u64,
    },
    /// A folder without an owner in the inventory is in the way.
    #[error(
        "the datastore {datastore} holds too many folders called like {name}; remove those that belong to no VM"
    )]
    FolderTaken {
        /// The datastore.
        datastore: Name,
        /// The VM's name.
        name: Name,
    },
    /// The VM's files or its key provider.
    #[error("{0}")]
    Store(Box<StoreError>),
    /// The key provider.
    #[error("{0}")]
    KeyProvider(Box<KeyProviderError>),
    /// The key of a VM cannot be had.
    #[error(
        "the VM {vm} is locked: by {}, it needs key {key_id} of key provider {provider}. {reason}. When the key is back, run `vtpm vm unlock {vm}`",
        file.display()
    )]
    KeyRequired {
        /// The VM.
        vm: Name,
        /// Its file that names provider and key.
        file: PathBuf,
        /// The provider that its file names.
        provider: String,
        /// The key that its file names.
        key_id: String,
        /// What the provider said.
        reason: String,
    },
    /// Some VMs of a provider kept their key.
    #[error(
        "{} of {total} VMs of the key provider {provider} kept their key; the others have the new one: {}. Start it again when that is mended",
        failed.len(), several(failed)
    )]
    Rekey {
        /// Whose VMs.
        provider: Name,
        /// Each VM and why.
        failed: Vec<String>,
        /// How many VMs there are.
        total: usize,
    },
    /// The certificate authority of a vCenter cannot be used.
    #[error(
        "the certificate authority of vCenter {vcenter} cannot sign: {reason}. `vtpm vcenter ca show {vcenter}` says more; `vtpm vcenter ca set {vcenter} --issue off` makes TPMs without certificates"
    )]
    Authority {
        /// Whose.
        vcenter: Name,
        /// Why.
        reason: String,
    },
    /// The running VM.
    #[error("the VM {vm}: {reason}")]
    Machine {
        /// The VM.
        vm: Name,
        /// What went wrong.
        reason: String,
    },
    /// The TPM's bytes could not be made or read.
    #[error("the TPM of VM {vm}: {reason}")]
    Tpm {
        /// The VM.
        vm: Name,
        /// What went wrong.
        reason: String,
    },
    /// A file or folder of the daemon's own.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// Two changes met.
    #[error("the inventory changed meanwhile ({key}); try again")]
    Conflict {
        /// The record.
        key: String,
    },
    /// A record of the inventory does not parse.
    #[error(
        "the inventory record {key} is damaged: {reason}; restore the data folder from a backup"
    )]
    Record {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The inventory was written by a later version.
    #[error(
        "the inventory has format {found}, this version knows format 1; use the newer version of vtpm"
    )]
    Format {
        /// The format found.
        found: String,
    },
    /// A package of VMs that was uploaded.
    #[error(transparent)]
    Package(#[from] crate::ovf::PackageError),
    /// The database.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The daemon stopped in the middle.
    #[error("the daemon stopped in the middle of it; {0}")]
    Interrupted(&'static str),
    /// A defect of ours.
    #[error("an internal error stopped the operation: {0}; please report it")]
    Internal(String),
}

/// What kind of error: decides the HTTP status and the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request itself is wrong.
    BadRequest,
    /// The user's role does not allow it.
    Forbidden,
    /// What it names does not exist.
    NotFound,
    /// It clashes with something that exists, runs or changed meanwhile.
    Conflict,
    /// A rule for TPMs refuses it.
    Refused,
    /// The key provider or the files do not allow it.
    Unavailable,
    /// The VM's key cannot be had: the VM is locked.
    KeyRequired,
    /// Something failed that should not.
    Internal,
}

/// The first of many, as one line.
fn several(lines: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = lines
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if lines.len() > SHOWN {
        text.push_str(&format!("; and {} more", lines.len() - SHOWN));
    }
    text
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<KeyProviderError> for Error {
    fn from(error: KeyProviderError) -> Self {
        Self::KeyProvider(Box::new(error))
    }
}

impl Error {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_)
            | Self::BadValue(_)
            | Self::ChoiceNeeded { .. }
            | Self::Package(_)
            | Self::DatastoreNotSeen { .. } => ErrorKind::BadRequest,
            Self::Forbidden { .. } => ErrorKind::Forbidden,
            Self::NotFound { .. } | Self::NoProvider { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. }
            | Self::Exists { .. }
            | Self::Busy { .. }
            | Self::Power { .. }
            | Self::NoTpm { .. }
            | Self::Encryption { .. }
            | Self::NotEmpty { .. }
            | Self::FolderTaken { .. }
            | Self::Conflict { .. }
            | Self::Canceled
            | Self::TooLate { .. }
            | Self::KeyReused { .. }
            | Self::KeyTaken
            | Self::Unanswered
            | Self::Changed { .. }
            | Self::Interrupted(_) => ErrorKind::Conflict,
            // Rules about what runs or is busy pass by; those of the table and the requirements do not.
            Self::Rules { failures, .. }
                if failures.iter().all(|failure| failure.rule.is_about_state()) =>
            {
                ErrorKind::Conflict
            }
            Self::Rules { .. } => ErrorKind::Refused,
            Self::Requirements { .. } | Self::Provisioning { .. } => ErrorKind::Refused,
            Self::Rollback { .. }
            | Self::Store(_)
            | Self::Machine { .. }
            | Self::Authority { .. } => ErrorKind::Unavailable,
            Self::KeyRequired { .. } => ErrorKind::KeyRequired,
            Self::Rekey { .. } => ErrorKind::Conflict,
            Self::KeyProvider(error) => match **error {
                KeyProviderError::WrongPassword { .. }
                | KeyProviderError::WrongProvider { .. }
                | KeyProviderError::Backup { .. }
                | KeyProviderError::InvalidName { .. } => ErrorKind::BadRequest,
                _ => ErrorKind::Unavailable,
            },
            Self::Tpm { .. }
            | Self::File { .. }
            | Self::Record { .. }
            | Self::Format { .. }
            | Self::Engine(_)
            | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// The rules that are not met, where that is why something is refused.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let one = |rule, vm: &Name| vec![Failure::of(rule, self.to_string()).for_vm(vm)];
        match self {
            Self::Rules { failures, .. } => failures.clone(),
            Self::Requirements { vm, failures } => {
                let failures = failures.iter().cloned();
                failures.map(|failure| failure.for_vm(vm)).collect()
            }
            Self::Provisioning { vm, refusal } => {
                vec![Failure::of(refusal.rule(), refusal.to_string()).for_vm(vm)]
            }
            Self::Power { vm, .. } => one(Rule::PowerState, vm),
            Self::Exists { .. } => vec![Failure::of(Rule::Place, self.to_string())],
            _ => Vec::new(),
        }
    }

    /// Whether the inventory itself failed, so that nobody knows what it recorded: files are then left alone until the next start.
    pub(crate) fn is_engine(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::Record { .. })
    }
}
