//! Key providers end to end: the daemon, PyKMIP key servers with mutual TLS, VMs, and what becomes of them when keys and servers go.

#![cfg(test)]

#[path = "../../crates/kmip-client/tests/servers/adversary.rs"]
#[allow(dead_code, reason = "these tests need a part of it")]
mod adversary;
#[path = "../../crates/kmip-client/tests/servers/certificates.rs"]
#[allow(dead_code, reason = "these tests need a part of it")]
mod certificates;
mod failover;
mod outage;
mod place;
#[path = "../../crates/kmip-client/tests/servers/pykmip_server.rs"]
mod pykmip_server;
mod rekey;
#[path = "../support/mod.rs"]
mod support;
mod trust;
mod trusted;

// The key server takes its ports as all servers of tests do.
use support::ports;
