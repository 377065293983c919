//! The client against key servers: PyKMIP, which nobody here wrote, and servers that answer what no server should.

#![cfg(test)]

mod adversary;
mod certificates;
mod misbehaviour;
mod pykmip;
mod pykmip_server;
