//! Sessions (Part 3, 11).

mod policy_restart;
mod start_auth_session;
