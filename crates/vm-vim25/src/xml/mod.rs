//! XML as SOAP uses it.

mod read;
mod write;

pub(crate) use read::{Element, Limits, read};
pub(crate) use write::Writer;
