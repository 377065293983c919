//! TPM 2.0 Part 2 structures, their codec, and the command table.
//!
//! No state, no cryptography: bytes in, typed values out, and back. What a parser refuses it refuses with the response
//! code that Part 2 names for it; [`commands`] adds the handle or parameter number.
#![no_std]
extern crate alloc;

pub mod algorithm;
pub mod attest;
pub mod attributes;
pub mod buffers;
pub mod capability;
pub mod codec;
pub mod commands;
pub mod constants;
pub mod context;
pub mod describe;
pub mod frame;
pub mod handles;
pub mod nv;
pub mod object;
pub mod pcr;
pub mod rc;
pub mod table;
pub mod ticket;

pub use codec::{Input, Limits, Marshal, Parse, Parsed};
pub use rc::{Position, Rc};
