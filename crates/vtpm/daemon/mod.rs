//! The daemon: VMs that run, each the owner of one TPM with sockets of its own, over one data folder.

mod attesting;
mod certifier;
mod first_run;
mod folder;
mod machines;
mod maker;
pub(crate) mod sandbox;
mod sealed;
mod sockets;
mod trace;
mod verifier;

pub(crate) use attesting::AttestingHost;
pub(crate) use first_run::{FirstRun, first_run};
pub(crate) use folder::OwnedFolder;
pub(crate) use machines::RunningMachines;
pub(crate) use maker::EngineMaker;
pub(crate) use sockets::{bind_privately, listen_privately};
pub(crate) use trace::router as traces;
pub(crate) use verifier::router as verifier;
