//! The client against key servers: PyKMIP, which nobody here wrote, and servers that answer what no server should.

#![cfg(test)]

mod adversary;
#[allow(dead_code, reason = "the tests of the whole program use the rest")]
mod certificates;
mod misbehaviour;
#[path = "../../../../tests/support/ports.rs"]
mod ports;
mod pykmip;
#[allow(dead_code, reason = "the tests of the whole program use the rest")]
mod pykmip_server;
