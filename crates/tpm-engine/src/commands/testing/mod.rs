//! Self-test (Part 3, 10): known answers for each algorithm that can be tested alone.
//!
//! Nothing is used before it gave its known answer since `_TPM_Init`. Hashes, MACs, ciphers, their modes and key derivation,
//! all of which the TPM needs for itself, are tested by `TPM2_Startup`, which takes microseconds. RSA and elliptic curves
//! take longer and are tested when a command first needs them. Neither depends on, or changes, any state of the TPM: the
//! tests draw on a generator of their own.

mod get_test_result;
mod incremental_self_test;
mod known_answers;
mod self_test;

use crate::power::Power;
use crate::state::Tpm;
use known_answers::{TESTS, Test};
use tpm_crypto::drbg::Drbg;
use tpm_wire::capability::TpmlAlg;
use tpm_wire::codec::Limits;
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;

/// The self-tests, and those of them that were not run since `_TPM_Init`: bit n stands for test n.
#[derive(Clone, Copy)]
pub(crate) struct SelfTests {
    tests: &'static [(TpmAlgId, Test)],
    untested: u64,
}

impl Default for SelfTests {
    fn default() -> Self {
        Self {
            tests: TESTS,
            untested: 0,
        }
    }
}

impl SelfTests {
    /// Whether everything was tested.
    pub(crate) const fn are_done(self) -> bool {
        self.untested == 0
    }

    /// Every algorithm that is implemented and has a test is untested again.
    pub(crate) fn init(&mut self, limits: &Limits) {
        let implemented = self
            .numbered()
            .filter(|(_, algorithm, _)| limits.has_algorithm(*algorithm));
        self.untested = implemented.fold(0, |bits, (number, _, _)| bits | 1 << number);
    }

    fn numbered(self) -> impl Iterator<Item = (u32, TpmAlgId, Test)> {
        (0u32..)
            .zip(self.tests)
            .map(|(number, (algorithm, test))| (number, *algorithm, *test))
    }

    const fn is_untested(self, number: u32) -> bool {
        self.untested & 1 << number != 0
    }

    /// The algorithms that are untested, in the order of their identifiers.
    fn untested(self) -> TpmlAlg {
        let mut list: TpmlAlg = self
            .numbered()
            .filter(|(number, _, _)| self.is_untested(*number))
            .map(|(_, algorithm, _)| algorithm)
            .collect();
        list.sort_unstable();
        list
    }
}

/// Whether the test of an algorithm takes so long that it waits for the first use.
const fn is_slow(algorithm: TpmAlgId) -> bool {
    matches!(
        algorithm,
        TpmAlgId::RSASSA
            | TpmAlgId::RSAPSS
            | TpmAlgId::RSAES
            | TpmAlgId::OAEP
            | TpmAlgId::ECDSA
            | TpmAlgId::ECDH
            | TpmAlgId::ECSCHNORR
            | TpmAlgId::SM2
    )
}

/// The algorithm whose test covers another one that has no test of its own.
const fn tested_as(algorithm: TpmAlgId) -> TpmAlgId {
    match algorithm {
        TpmAlgId::RSA => TpmAlgId::RSAES,
        TpmAlgId::ECC | TpmAlgId::ECMQV => TpmAlgId::ECDH,
        TpmAlgId::ECDAA => TpmAlgId::ECDSA,
        TpmAlgId::CMAC => TpmAlgId::AES,
        _ => algorithm,
    }
}

impl Power {
    /// Tests an algorithm that is about to be used, unless it was tested since `_TPM_Init`.
    ///
    /// # Errors
    /// `TPM_RC_FAILURE`, in failure mode, if it gives a wrong answer.
    pub(crate) fn first_use(&mut self, algorithm: TpmAlgId) -> Result<(), Rc> {
        let tests = self.self_tests;
        if tests.are_done() {
            return Ok(());
        }
        let algorithm = tested_as(algorithm);
        match tests.numbered().find(|(_, tested, _)| *tested == algorithm) {
            Some((number, _, test)) if tests.is_untested(number) => {
                self.run_self_test(number, test)
            }
            _ => Ok(()),
        }
    }

    /// Tests what the TPM uses for itself and what takes no time.
    ///
    /// # Errors
    /// As [`first_use`](Self::first_use).
    pub(crate) fn test_at_startup(&mut self) -> Result<(), Rc> {
        let tests = self.self_tests;
        for (number, algorithm, test) in tests.numbered() {
            if tests.is_untested(number) && !is_slow(algorithm) {
                self.run_self_test(number, test)?;
            }
        }
        Ok(())
    }

    fn run_self_test(&mut self, number: u32, test: Test) -> Result<(), Rc> {
        if !test(&mut Drbg::new(&[0; 32], &[b"self-test"])) {
            return Err(self.fail("a self-test gave a wrong answer"));
        }
        self.self_tests.untested &= !(1 << number);
        Ok(())
    }
}

impl Tpm {
    /// Runs the tests of the algorithms that `wanted` holds for; it is told which were not run yet.
    ///
    /// # Errors
    /// `TPM_RC_CANCELED`; `TPM_RC_FAILURE`, in failure mode, if an algorithm gives a wrong answer.
    fn run_self_tests(&mut self, wanted: impl Fn(TpmAlgId, bool) -> bool) -> Result<(), Rc> {
        let tests = self.power.self_tests;
        for (number, algorithm, test) in tests.numbered() {
            if !self.profile.limits.has_algorithm(algorithm)
                || !wanted(algorithm, tests.is_untested(number))
            {
                continue;
            }
            if self.platform.canceled() {
                return Err(Rc::CANCELED);
            }
            self.power.run_self_test(number, test)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
