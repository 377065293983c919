//! What a process gives up before it serves anybody, so that a fault in it harms less: dumps of its memory, swap, the rest of the
//! file system, system calls.

pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod system_calls;
