//! Dictionary-attack protection (Part 3, 25).

mod dictionary_attack_lock_reset;
mod dictionary_attack_parameters;
