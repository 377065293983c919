//! What a process needs to have a TPM of its own: the world around it ([`platform`]) and the folder that keeps it ([`FolderStore`]).
//!
//! The program `vtpm` and the library for tpm2-tss share it. Here, and above, TPMs and the encrypted files meet.

mod folder_store;
pub mod platform;
mod rsa_pool;
mod state_place;

pub use folder_store::FolderStore;
pub use rsa_pool::RsaPool;
pub use state_place::StatePlace;
