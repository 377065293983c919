//! Policies (Part 3, 23).

mod policy_auth_value;
mod policy_authorize;
mod policy_authorize_nv;
mod policy_capability;
mod policy_command_code;
mod policy_counter_timer;
mod policy_cp_hash;
mod policy_duplication_select;
mod policy_get_digest;
mod policy_locality;
mod policy_name_hash;
mod policy_nv;
mod policy_nv_written;
mod policy_or;
mod policy_parameters;
mod policy_password;
mod policy_pcr;
mod policy_physical_presence;
mod policy_secret;
mod policy_signed;
mod policy_template;
mod policy_ticket;
mod policy_transport_spdm;
