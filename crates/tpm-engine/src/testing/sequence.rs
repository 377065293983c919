//! Sequences of generated commands: bytes that choose, from what the table accepts and from what earlier commands gave back.
//!
//! A sequence starts from a TPM that has keys of every type, NV Indices of every type and sessions, and on which every command
//! that can succeed has succeeded, so that generated commands get past their authorization and far into their work. After every
//! command the rules that hold for all of them are checked.

use super::choices::Choices;
use super::client::ClientSession;
use super::pool::Pool;
use super::prelude;
use super::{Script, ScriptedPlatform, TestTpm};
use crate::profile::Profile;
use crate::state::Tpm;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use tpm_wire::commands;
use tpm_wire::constants::{TpmSe, TpmSu};
use tpm_wire::handles::TpmHandle;
use tpm_wire::pcr::TpmlDigestBranches;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// How often each command had each answer.
pub type Answers = BTreeMap<(u32, Rc), u64>;

/// A TPM in use, as the start of every sequence.
pub struct Sequences {
    pub(super) permanent: Zeroizing<Vec<u8>>,
    pub(super) volatile: Zeroizing<Vec<u8>>,
    known: Known,
    answers: Answers,
}

impl Default for Sequences {
    fn default() -> Self {
        Self::new()
    }
}

impl Sequences {
    /// Brings a new TPM into use.
    ///
    /// # Panics
    /// If a rule is broken.
    #[must_use]
    pub fn new() -> Self {
        Self::with_profile(Profile::default())
    }

    /// Brings a new TPM of a profile into use.
    ///
    /// # Panics
    /// If a rule is broken.
    #[must_use]
    pub fn with_profile(profile: Profile) -> Self {
        let tpm = super::with_profile(profile);
        let mut runner = Runner::new(tpm, Known::default(), false);
        runner.send_command(&commands::Startup {
            startup_type: TpmSu::Clear,
        });
        prelude::run(&mut runner);
        Self {
            permanent: runner.tpm.permanent_state(),
            volatile: runner.tpm.volatile_state(),
            known: runner.known,
            answers: runner.answers,
        }
    }

    /// What was answered while the TPM was brought into use.
    #[must_use]
    pub fn start(&self) -> &Answers {
        &self.answers
    }

    /// Runs the sequence of commands that the bytes choose, and tells what was answered.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn execute(&self, data: &[u8]) -> Answers {
        self.run(data, false)
    }

    /// [`execute`](Self::execute), and after every command: the state loads, is written as it was read, and two TPMs with the
    /// state from before give one answer to the command and come to one state.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn execute_thoroughly(&self, data: &[u8]) -> Answers {
        self.run(data, true)
    }

    #[expect(
        clippy::expect_used,
        reason = "a state that does not load is a failed test"
    )]
    fn run(&self, data: &[u8], is_thorough: bool) -> Answers {
        let script = Arc::new(Script::default());
        let platform = ScriptedPlatform {
            script: Arc::clone(&script),
        };
        let tpm = Tpm::load(&self.permanent, Box::new(platform)).expect("the state loads");
        let mut tpm = TestTpm { tpm, script };
        tpm.restore_volatile(&self.volatile)
            .expect("the volatile state loads");
        let mut runner = Runner::new(tpm, self.known.clone(), is_thorough);
        let mut choices = Choices(data);
        while !choices.0.is_empty() {
            runner.step(&mut choices);
        }
        runner.check_reload();
        runner.answers
    }
}

/// What the one who sends the commands knows.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) pool: Pool,
    /// The sessions whose keys are known.
    pub(super) sessions: BTreeMap<TpmHandle, ClientSession>,
    /// Counts the caller's nonces.
    pub(super) nonces: u64,
    /// The policy session that authorizes what needs a policy.
    pub(super) policy_session: Option<TpmHandle>,
    /// The branches of the policy of the start.
    pub(super) branches: Option<TpmlDigestBranches>,
}

/// A TPM, what is known of it, and what it answered.
pub(super) struct Runner {
    pub(super) tpm: TestTpm,
    pub(super) known: Known,
    pub(super) answers: Answers,
    /// The last success, with its parameters decrypted.
    pub(super) plain_response: Vec<u8>,
    pub(super) is_thorough: bool,
}

impl Runner {
    fn new(tpm: TestTpm, known: Known, is_thorough: bool) -> Self {
        Self {
            tpm,
            known,
            answers: Answers::new(),
            plain_response: Vec::new(),
            is_thorough,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(64) {
            63 => self.change_environment(choices),
            62 => self.check_reload(),
            60 | 61 => {
                self.start_any_session(choices);
            }
            _ => self.generate(choices),
        }
    }

    /// Starts a session of a kind that the bytes choose.
    pub(super) fn start_any_session(&mut self, choices: &mut Choices<'_>) -> Option<TpmHandle> {
        let kind = match choices.below(8) {
            0..4 => TpmSe::Hmac,
            4..7 => TpmSe::Policy,
            _ => TpmSe::Trial,
        };
        let symmetric = choices.of(&prelude::SYMMETRIC).copied().flatten();
        let null = TpmHandle::NULL;
        let key = choices.of(&prelude::SALT_KEYS).copied().unwrap_or(null);
        let bind = if choices.one_in(3) {
            choices.of(&self.known.pool.handles).copied()
        } else {
            None
        };
        self.start_session(kind, symmetric, key, bind.unwrap_or(null))
    }

    /// The world around the TPM changes.
    fn change_environment(&mut self, choices: &mut Choices<'_>) {
        let script = Arc::clone(&self.tpm.script);
        match choices.below(17) {
            16 => script
                .storage_full
                .store(choices.one_in(2), Ordering::Relaxed),
            0 => {
                let locality = choices.of(&[0, 0, 1, 3, 4, 32]).copied().unwrap_or(0);
                script.locality.store(locality, Ordering::Relaxed);
            }
            1 => script.presence.store(choices.one_in(2), Ordering::Relaxed),
            2 => script.canceled.store(choices.one_in(2), Ordering::Relaxed),
            3 => script
                .storage_down
                .store(choices.one_in(2), Ordering::Relaxed),
            4 => self.tpm.fork(),
            5 => self.tpm.hash_start(),
            6 => self.tpm.hash_data(b"event"),
            7 => self.tpm.hash_end(),
            8 => self.tpm.reset_established(),
            9..=11 => {
                let elapsed = 1u64 << choices.below(40);
                script.now.fetch_add(elapsed, Ordering::Relaxed);
            }
            other => {
                script.storage_down.store(false, Ordering::Relaxed);
                script.storage_full.store(false, Ordering::Relaxed);
                script.locality.store(0, Ordering::Relaxed);
                let kind = |state| if state { TpmSu::State } else { TpmSu::Clear };
                if other != 12 {
                    let shutdown_type = kind(choices.one_in(2));
                    self.send_command(&commands::Shutdown { shutdown_type });
                }
                if choices.one_in(3) {
                    self.check_reload();
                }
                self.tpm.init();
                self.check_reload();
                let startup_type = kind(choices.one_in(2));
                self.send_command(&commands::Startup { startup_type });
                self.send_command(&commands::Startup {
                    startup_type: TpmSu::Clear,
                });
            }
        }
    }

    /// The state that is stored and the state that moves are the same once they are loaded.
    #[expect(
        clippy::expect_used,
        reason = "a state that does not load is a failed test"
    )]
    pub(super) fn check_reload(&mut self) {
        let permanent = self.tpm.permanent_state();
        let volatile = self.tpm.volatile_state();
        let script = Arc::clone(&self.tpm.script);
        let platform = ScriptedPlatform {
            script: Arc::clone(&script),
        };
        let mut tpm = Tpm::load(&permanent, Box::new(platform)).expect("the state loads");
        assert!(
            permanent == tpm.permanent_state(),
            "the loaded state is another"
        );
        tpm.restore_volatile(&volatile)
            .expect("the volatile state loads");
        assert!(
            volatile == tpm.volatile_state(),
            "the restored volatile state is another"
        );
        assert!(
            permanent == tpm.permanent_state(),
            "volatile state changed the permanent one"
        );
        let started = tpm.set_buffer_size(0) == self.tpm.set_buffer_size(0);
        assert!(started, "the size of the buffers is another");
        self.tpm = TestTpm { tpm, script };
    }

    /// Another TPM with this state, in a world of its own that is as this one is now.
    #[expect(
        clippy::expect_used,
        reason = "a state that does not load is a failed test"
    )]
    pub(super) fn twin_from(&self, permanent: &[u8], volatile: &[u8]) -> TestTpm {
        let number = |from: &AtomicU64| AtomicU64::new(from.load(Ordering::Relaxed));
        let flag = |from: &AtomicBool| AtomicBool::new(from.load(Ordering::Relaxed));
        let from = &self.tpm.script;
        let script = Arc::new(Script {
            now: number(&from.now),
            locality: AtomicU8::new(from.locality.load(Ordering::Relaxed)),
            presence: flag(&from.presence),
            canceled: flag(&from.canceled),
            storage_down: flag(&from.storage_down),
            storage_full: flag(&from.storage_full),
            entropy: number(&from.entropy),
        });
        let platform = ScriptedPlatform {
            script: Arc::clone(&script),
        };
        let mut tpm = Tpm::load(permanent, Box::new(platform)).expect("the state loads");
        tpm.restore_volatile(volatile)
            .expect("the volatile state loads");
        TestTpm { tpm, script }
    }

    /// What two TPMs with the state from before make of a command is the same, and has the answer that this one gave.
    pub(super) fn check_twins(
        &self,
        [mut one, mut other]: [TestTpm; 2],
        command: &[u8],
        rc: Rc,
        fail: &dyn Fn(&str) -> String,
    ) {
        let response = one.execute(command).to_vec();
        let same = *response == *other.execute(command) && one.snapshot() == other.snapshot();
        assert!(same, "{}", fail("is not decided by the state alone"));
        let code = rc.number().to_be_bytes();
        assert!(
            response.get(6..10) == Some(&code),
            "{} with {rc} and, from the same state after loading it, {:02x?}",
            fail("was answered"),
            response.get(6..10)
        );
    }
}
