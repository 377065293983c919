//! What the inventory needs of a database, and the embedded one.
//!
//! Every value carries the revision of the transaction that wrote it; a transaction names the revisions it was computed from
//! and fails as a whole if one of them has moved. That is also what a distributed store offers, so another driver can take
//! this one's place.

mod redb;

pub use self::redb::Redb;

/// Counts transactions; the revision of a value is that of the transaction which wrote it.
pub type Revision = u64;

/// One value with its key and revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// When it was written.
    pub revision: Revision,
}

/// What must hold for a transaction to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compare {
    /// The key has no value.
    Absent(String),
    /// The key's value has this revision.
    Unchanged(String, Revision),
}

/// One change of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The key gets this value.
    Put(String, Vec<u8>),
    /// The key loses its value.
    Delete(String),
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Carried out, and on stable storage.
    Committed(Revision),
    /// Nothing was changed, because of this key.
    Conflict(String),
}

/// A failure of the database itself.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the inventory database {path}: {reason}")]
pub struct EngineError {
    /// Its file.
    pub path: String,
    /// What it said.
    pub reason: String,
}

/// A database of keys and values with conditional transactions.
pub trait Engine: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the database fails.
    fn get(&self, key: &str) -> Result<Option<Entry>, EngineError>;

    /// Every value whose key begins with `prefix`, in the order of the keys, as of one moment.
    ///
    /// # Errors
    /// When the database fails.
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, EngineError>;

    /// The first `most` of those that come after `key`.
    ///
    /// # Errors
    /// When the database fails.
    fn list_after(&self, prefix: &str, key: &str, most: usize) -> Result<Vec<Entry>, EngineError>;

    /// Carries out all changes if every comparison holds, none otherwise. When it returns `Committed`, they are on stable storage.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    fn transact(&self, compares: &[Compare], changes: &[Change]) -> Result<Outcome, EngineError>;
}
