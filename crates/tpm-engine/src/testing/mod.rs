//! Builders for tests: a scripted platform, and commands as values through the full byte path.

mod choices;
mod client;
mod fields;
#[cfg(test)]
mod fixtures;
mod generate;
mod matching;
mod policies;
mod pool;
mod prelude;
#[cfg(test)]
mod properties;
mod send;
mod sequence;

pub use fields::wire_round_trip;
pub use sequence::{Answers, Sequences};

use crate::platform::Platform;
use crate::profile::Profile;
use crate::state::Tpm;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bNonce};
use tpm_wire::codec::{Limits, Marshal};
use tpm_wire::commands::{Shutdown, Startup};
use tpm_wire::constants::{TpmSt, TpmSu};
use tpm_wire::frame::{HEADER_SIZE, Header, TpmsAuthCommand};
use tpm_wire::handles::{TpmHandle, TpmiShAuthSession};
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, Response};

/// What the scripted platform answers; shared, so that a test can change it while the TPM runs.
#[derive(Debug, Default)]
pub struct Script {
    /// Milliseconds of the clock.
    pub now: AtomicU64,
    /// The locality of the commands that follow.
    pub locality: AtomicU8,
    /// Physical presence.
    pub presence: AtomicBool,
    /// The running command is to be canceled.
    pub canceled: AtomicBool,
    /// Storage cannot be written.
    pub storage_down: AtomicBool,
    /// How much entropy was drawn; setting it makes another TPM.
    pub entropy: AtomicU64,
    /// Storage has room for nothing new.
    pub storage_full: AtomicBool,
}

/// A platform whose answers a test sets; its entropy is a counter, so that runs repeat.
#[derive(Clone, Debug, Default)]
pub struct ScriptedPlatform {
    /// The answers.
    pub script: Arc<Script>,
}

impl Platform for ScriptedPlatform {
    fn entropy(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let number = self.script.entropy.fetch_add(1, Ordering::Relaxed);
            for (place, byte) in chunk.iter_mut().zip(number.to_be_bytes()) {
                *place = byte;
            }
        }
    }

    fn milliseconds(&mut self) -> u64 {
        self.script.now.load(Ordering::Relaxed)
    }

    fn locality(&self) -> u8 {
        self.script.locality.load(Ordering::Relaxed)
    }

    fn canceled(&self) -> bool {
        self.script.canceled.load(Ordering::Relaxed)
    }

    fn physical_presence(&self) -> bool {
        self.script.presence.load(Ordering::Relaxed)
    }

    fn storage_available(&self) -> bool {
        !self.script.storage_down.load(Ordering::Relaxed)
    }

    fn storage_has_room(&self) -> bool {
        !self.script.storage_full.load(Ordering::Relaxed)
    }
}

/// A TPM under test with its platform's script.
pub struct TestTpm {
    tpm: Tpm,
    /// What the platform answers.
    pub script: Arc<Script>,
}

impl Deref for TestTpm {
    type Target = Tpm;
    fn deref(&self) -> &Tpm {
        &self.tpm
    }
}

impl DerefMut for TestTpm {
    fn deref_mut(&mut self) -> &mut Tpm {
        &mut self.tpm
    }
}

/// A new TPM after `_TPM_Init`.
#[must_use]
pub fn manufactured() -> TestTpm {
    with_profile(Profile::default())
}

/// A new TPM of a profile after `_TPM_Init`.
#[must_use]
pub fn with_profile(profile: Profile) -> TestTpm {
    let platform = ScriptedPlatform::default();
    let script = Arc::clone(&platform.script);
    TestTpm {
        tpm: Tpm::new(profile, Box::new(platform)),
        script,
    }
}

/// A new TPM after `TPM2_Startup(CLEAR)`.
///
/// # Panics
/// If the startup fails.
#[must_use]
#[expect(clippy::expect_used, reason = "a test that cannot start has failed")]
pub fn started() -> TestTpm {
    let mut tpm = manufactured();
    tpm.run(Startup {
        startup_type: TpmSu::Clear,
    })
    .expect("a new TPM starts");
    tpm
}

/// How a test authorizes a handle.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The session, `TPM_RS_PW` for a password.
    pub session: TpmHandle,
    /// The caller's nonce.
    pub nonce: Vec<u8>,
    /// Attributes.
    pub attributes: TpmaSession,
    /// The password, or the HMAC.
    pub hmac: Vec<u8>,
}

impl Auth {
    /// A password.
    #[must_use]
    pub fn password(value: &[u8]) -> Self {
        let session = TpmHandle::PASSWORD;
        Self {
            session,
            nonce: Vec::new(),
            attributes: TpmaSession::CONTINUE_SESSION,
            hmac: value.to_vec(),
        }
    }

    /// A session without HMAC, as unbound and unsalted ones and policies without authorization value need none.
    #[must_use]
    pub fn session(session: TpmHandle) -> Self {
        Self {
            session,
            nonce: vec![0; 16],
            attributes: TpmaSession::CONTINUE_SESSION,
            hmac: Vec::new(),
        }
    }
}

/// The bytes of a command with these authorizations; without any it is one without sessions.
#[must_use]
pub fn encode<C: Command>(command: &C, authorizations: &[Auth]) -> Vec<u8> {
    let mut parameters = Vec::new();
    command.marshal_parameters(&mut parameters);
    encode_parts(
        C::INFO.code,
        &command.handles(),
        authorizations,
        &parameters,
    )
}

fn encode_parts(
    code: u32,
    handles: &[TpmHandle],
    authorizations: &[Auth],
    parameters: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    for handle in handles {
        handle.marshal(&mut bytes);
    }
    if !authorizations.is_empty() {
        let mut area = Vec::new();
        for auth in authorizations {
            TpmsAuthCommand {
                session_handle: TpmiShAuthSession(auth.session),
                nonce: Tpm2bNonce::new(&auth.nonce).unwrap_or_default(),
                session_attributes: auth.attributes,
                hmac: Tpm2bAuth::new(&auth.hmac).unwrap_or_default(),
            }
            .marshal(&mut area);
        }
        u32::try_from(area.len())
            .unwrap_or(u32::MAX)
            .marshal(&mut bytes);
        bytes.extend_from_slice(&area);
    }
    bytes.extend_from_slice(parameters);
    let tag = if authorizations.is_empty() {
        TpmSt::NO_SESSIONS
    } else {
        TpmSt::SESSIONS
    };
    let mut header = Vec::new();
    Header {
        tag,
        size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        code,
    }
    .marshal(&mut header);
    bytes.splice(..HEADER_SIZE, header);
    bytes
}

/// Takes a response apart.
///
/// # Errors
/// The response code of the TPM.
///
/// # Panics
/// If the response is not well-formed.
#[expect(clippy::expect_used, reason = "a malformed response is a failed test")]
pub fn decode<C: Command>(response: &[u8]) -> Result<C::Response, Rc> {
    let (header, body) = response
        .split_first_chunk::<HEADER_SIZE>()
        .expect("a response has a header");
    let header: Header =
        tpm_wire::codec::parse_all(header, &Limits::ALL).expect("a header can be parsed");
    assert_eq!(
        usize::try_from(header.size),
        Ok(response.len()),
        "the size of a response is that of its bytes"
    );
    if header.code != 0 {
        assert_eq!(response.len(), HEADER_SIZE, "a refusal is a header alone");
        return Err(Rc::from_number(header.code));
    }
    let (handle, body) = if C::INFO.has_response_handle {
        let (handle, body) = body.split_first_chunk::<4>().expect("a response handle");
        (Some(TpmHandle(u32::from_be_bytes(*handle))), body)
    } else {
        (None, body)
    };
    let parameters = if header.tag == TpmSt::SESSIONS {
        let (size, rest) = body.split_first_chunk::<4>().expect("a parameter size");
        let size = usize::try_from(u32::from_be_bytes(*size)).expect("a size");
        rest.get(..size).expect("parameters of that size")
    } else {
        body
    };
    Ok(C::Response::parse(handle, parameters, &Limits::ALL)
        .expect("response parameters can be parsed"))
}

impl TestTpm {
    /// Encodes a command, executes the bytes and decodes the response. Every handle that needs authorization is authorized
    /// by an empty password. If the command is refused, the state must be what it was.
    ///
    /// # Errors
    /// The response code of the TPM.
    ///
    /// # Panics
    /// If a refused command changed the state.
    pub fn run<C: Command>(&mut self, command: C) -> Result<C::Response, Rc> {
        let authorizations = vec![Auth::password(&[]); C::INFO.authorizations()];
        self.run_as(command, &authorizations)
    }

    /// [`run`](Self::run) with authorizations of the test's choice.
    ///
    /// # Errors
    /// The response code of the TPM.
    ///
    /// # Panics
    /// If a refused command changed the state; failed authorizations may count.
    pub fn run_as<C: Command>(
        &mut self,
        command: C,
        authorizations: &[Auth],
    ) -> Result<C::Response, Rc> {
        // Time that passed is no effect of the command, nor is the mark that a protected value was used.
        self.tpm.begin();
        let before = self.snapshot();
        let used_before = self.tpm.dictionary_attack.used;
        let result = decode::<C>(self.tpm.execute(&encode(&command, authorizations)));
        if let Err(rc) = &result
            && !matches!(
                rc.base(),
                Rc::AUTH_FAIL | Rc::BAD_AUTH | Rc::LOCKOUT | Rc::FAILURE
            )
        {
            let used = core::mem::replace(&mut self.tpm.dictionary_attack.used, used_before);
            assert!(
                before == self.snapshot(),
                "{} was refused with {rc} and changed the state",
                C::INFO.name
            );
            self.tpm.dictionary_attack.used = used;
        }
        result
    }

    /// All state, as bytes that can be compared.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = self.tpm.permanent_bytes().to_vec();
        bytes.extend_from_slice(&self.tpm.volatile_state());
        bytes
    }

    /// Power off and on, with an orderly shutdown of the type given, and a startup of another.
    ///
    /// # Panics
    /// If the TPM refuses either.
    #[expect(clippy::expect_used, reason = "a test that cannot restart has failed")]
    pub fn restart(&mut self, shutdown_type: Option<TpmSu>, startup_type: TpmSu) {
        if let Some(shutdown_type) = shutdown_type {
            self.run(Shutdown { shutdown_type }).expect("shutdown");
        }
        self.tpm.init();
        self.run(Startup { startup_type }).expect("startup");
    }

    /// The same TPM, from its stored permanent state, after `_TPM_Init`.
    ///
    /// # Panics
    /// If the state does not load.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a state that does not load is a failed test"
    )]
    pub fn reloaded(mut self) -> Self {
        let permanent = self.tpm.permanent_state();
        let platform = ScriptedPlatform {
            script: Arc::clone(&self.script),
        };
        let tpm = Tpm::load(&permanent, Box::new(platform)).expect("stored state loads");
        Self {
            tpm,
            script: self.script,
        }
    }
}

/// Runs any bytes as a command on a started TPM: the fuzz target of single commands.
pub fn execute_command_bytes(command: &[u8]) {
    let mut tpm = started();
    let response = tpm.execute(command);
    assert!(
        response.len() >= HEADER_SIZE && response.len() <= 8192,
        "a response is well-formed"
    );
}
