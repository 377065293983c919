//! Attached components and countdown timers (Part 3, 32 and 33).

mod ac_get_capability;
mod ac_send;
mod act_set_timeout;
mod policy_ac_send_select;
