//! RSA arithmetic with AVX-512 IFMA.
//!
//! Many numbers lie side by side, one in each of the eight lanes of a vector (`montgomery`): that is fastest for each number. The two
//! halves of a private operation would leave six lanes empty; they share each vector instead, four digits of one and
//! four of the other (`pair`), which is done sooner.
//!
//! Numbers have digits of 52 bits, which is what `vpmadd52luq` and `vpmadd52huq` multiply. The engine gives the same results as
//! [`tpm_crypto::rsa::Portable`], only sooner: keys made on a machine with these instructions and without are the same.
//! Whether the processor has them is asked at run time.
//!
//! Time depends on the lengths of numbers and on how many there are, never on their values.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod montgomery;
#[cfg(target_arch = "x86_64")]
mod pair;

use tpm_crypto::rsa::{Engine, Portable};

/// The fastest engine for this processor.
#[must_use]
pub fn best() -> &'static dyn Engine {
    detected().unwrap_or(&Portable)
}

/// The engine of this crate, if the processor has the instructions.
#[must_use]
pub fn detected() -> Option<&'static dyn Engine> {
    #[cfg(target_arch = "x86_64")]
    return lanes::Ifma::detected().map(|engine| engine as &'static dyn Engine);
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

#[cfg(test)]
mod tests;
