//! The VMware Cloud Director API over the inventory.
#![forbid(unsafe_code)]
mod fault;
mod json;
mod node;
mod schema;
mod version;
mod xml;
