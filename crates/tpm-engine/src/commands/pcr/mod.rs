//! PCR (Part 3, 22).

mod pcr_allocate;
mod pcr_event;
mod pcr_extend;
mod pcr_read;
mod pcr_reset;
mod pcr_set_auth_policy;
mod pcr_set_auth_value;
