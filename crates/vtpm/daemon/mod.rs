//! The daemon: VMs that run, each the owner of one TPM with sockets of its own, over one data folder.

mod attesting;
mod certifier;
mod direct;
mod faces;
mod first_run;
mod folder;
mod listener;
mod machines;
mod maker;
mod published;
pub(crate) mod sandbox;
mod sealed;
mod sight;
mod sockets;
mod tls;
mod trace;
mod unread;
mod verifier;

pub(crate) use attesting::AttestingHost;
pub(crate) use direct::Direct;
pub(crate) use faces::Faces;
pub(crate) use first_run::{Administrator, FirstRun, administrator, first_run};
pub(crate) use folder::OwnedFolder;
pub(crate) use listener::{serve_http, serve_owner};
pub(crate) use machines::RunningMachines;
pub(crate) use maker::EngineMaker;
pub(crate) use sockets::{bind_privately, listen_privately};
pub(crate) use tls::Identity;
