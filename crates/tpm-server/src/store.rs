//! Where the state of a TPM lives between processes: a trait that the program ties to its files.

use std::error::Error;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;

use zeroize::Zeroizing;

/// What is kept of one TPM.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The state that survives power loss.
    pub permanent: Zeroizing<Vec<u8>>,
    /// The state of a suspended TPM, which goes on from here without a Startup.
    pub volatile: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stored")
            .field("permanent", &self.permanent.len())
            .field("volatile", &self.volatile.as_ref().map(|bytes| bytes.len()))
            .finish()
    }
}

/// Why state could not be read or made durable. Its text is for the log and the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// Wraps the error of a backend.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// The outcome of a save, once it is known.
pub type SaveFuture<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// The storage of one TPM.
pub trait StateStore: Send {
    /// Takes the storage for this process alone and reads it; `None` where no TPM was ever kept.
    fn load(&mut self) -> Result<Option<Stored>, StoreError>;

    /// Makes `state` durable. Once the future is ready with success, no loss of power can undo it; after a failure the storage
    /// holds either what it held before or `state`.
    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a>;

    /// Gives the storage up, so that another process may take it; [`StateStore::load`] takes it back.
    fn release(&mut self) {}
}

/// A store that forgets everything at the end of the process: for tests and for TPMs that nobody keeps.
#[derive(Debug, Default)]
pub struct MemoryStore(Option<Stored>);

impl StateStore for MemoryStore {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        Ok(self.0.clone())
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        self.0 = Some(state.clone());
        Box::pin(ready(Ok(())))
    }
}
