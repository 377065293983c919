//! Objects (Part 3, 12).

mod activate_credential;
#[cfg(test)]
pub(crate) mod build;
mod create;
mod create_loaded;
mod load;
mod load_external;
mod make_credential;
mod object_change_auth;
mod read_public;
mod unseal;
