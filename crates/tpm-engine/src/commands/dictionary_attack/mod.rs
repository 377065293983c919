//! Dictionary-attack protection (Part 3, 25).

#[cfg(test)]
pub(crate) mod build;
mod dictionary_attack_lock_reset;
mod dictionary_attack_parameters;
