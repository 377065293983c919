//! Attestation (Part 3, 18).

#[cfg(test)]
pub(crate) mod build;
mod certify;
mod certify_creation;
mod certify_x509;
mod der;
mod get_command_audit_digest;
mod get_session_audit_digest;
mod get_time;
mod quote;
mod x509;
