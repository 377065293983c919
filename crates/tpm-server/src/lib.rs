//! Sockets in front of a TPM.
//!
//! Two families of protocols, chosen per device: swtpm's (a data channel of raw TPM frames and a control channel, see
//! [`swtpm`]) and the TCG simulator's (a command port and a platform port, see [`simulator`]). Both drive a [`Device`], which
//! owns one TPM and keeps the promise that counts: what an answer promises is on stable storage before the answer leaves.

mod blob;
mod choices;
mod connections;
mod descriptor;
mod deterministic;
mod device;
mod frame;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
mod gate;
mod info;
mod linger;
mod signals;
pub mod simulator;
mod store;
mod stream;
pub mod swtpm;
mod swtpm_control;
#[cfg(test)]
mod testing;
mod trace;
mod wire;

pub use blob::BlobKey;
pub use deterministic::Deterministic;
pub use device::{
    BufferSizes, Device, DeviceError, Faults, PlatformMaker, Settings, StartupKind, wipe_stack,
};
pub use info::{LEVEL_OF_192_BITS, LEVEL_OF_RSA_4096, NOT_IN_LIBTPMS, level_of_command};
pub use linger::linger_for;
pub use signals::Signals;
pub use store::{MemoryStore, SaveFuture, StateStore, StoreError, Stored};
pub use stream::{Listener, Stream};
pub use trace::{Event, Exchange, Recorder, Tracer};
