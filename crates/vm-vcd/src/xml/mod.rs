//! Bodies in XML.

pub(crate) mod files;
mod read;
mod write;

pub(crate) use read::{invalid, parsed, read, shown};
pub(crate) use write::write;
