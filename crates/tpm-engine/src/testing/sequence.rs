//! Sequences of generated commands: bytes that choose, from what the table accepts and from what earlier commands gave back.
//!
//! A sequence starts from a TPM that has keys of every type, NV Indices of every type and sessions, so that generated commands
//! get past their authorization. After every command the rules that hold for all of them are checked.

use super::fields::{Field, ROWS, Row, split};
use super::prelude;
use super::{Auth, Script, ScriptedPlatform, TestTpm, encode_parts};
use crate::state::Tpm;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::codec::{Input, Marshal};
use tpm_wire::commands;
use tpm_wire::constants::{TpmSe, TpmSt, TpmSu};
use tpm_wire::frame::HEADER_SIZE;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, Role};
use zeroize::Zeroizing;

/// Most values of a class that are remembered besides those of the start.
const MOST_VALUES: usize = 24;

/// Commands after which little else succeeds; fewer of them are sent.
const LEAVING_LITTLE: [u32; 7] = [
    commands::ReadOnlyControl::INFO.code,
    commands::HierarchyControl::INFO.code,
    commands::HierarchyChangeAuth::INFO.code,
    commands::Clear::INFO.code,
    commands::ChangePps::INFO.code,
    commands::ChangeEps::INFO.code,
    commands::Shutdown::INFO.code,
];

/// Bytes that choose.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize {
        let number = if count > 256 {
            usize::from(self.byte()) << 8 | usize::from(self.byte())
        } else {
            usize::from(self.byte())
        };
        number % count.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    fn of<'v, T>(&mut self, values: &'v [T]) -> Option<&'v T> {
        values.get(self.below(values.len()))
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// Values by class of field, and handles.
#[derive(Clone, Default)]
pub(super) struct Pool {
    values: BTreeMap<&'static str, Vec<Vec<u8>>>,
    handles: Vec<TpmHandle>,
}

impl Pool {
    pub(super) fn add(&mut self, class: &'static str, value: Vec<u8>) {
        let values = self.values.entry(class).or_default();
        values.retain(|old| *old != value);
        if values.len() > 2 * MOST_VALUES {
            values.remove(MOST_VALUES);
        }
        values.push(value);
    }

    pub(super) fn add_handle(&mut self, handle: TpmHandle) {
        self.handles.retain(|old| *old != handle);
        self.handles.push(handle);
    }

    fn learn(&mut self, fields: &[Field], values: Vec<Vec<u8>>) {
        for (field, value) in fields.iter().zip(values) {
            self.add(field.class(), value);
        }
    }

    /// One of the handles that a field accepts; often the latest.
    fn handle(
        &self,
        choices: &mut Choices<'_>,
        latest: bool,
        accepts: impl Fn(&[u8]) -> bool,
    ) -> Option<TpmHandle> {
        let accepted: Vec<TpmHandle> = self
            .handles
            .iter()
            .copied()
            .filter(|handle| accepts(&handle.0.to_be_bytes()))
            .collect();
        if latest && choices.one_in(2) {
            return accepted.last().copied();
        }
        choices.of(&accepted).copied()
    }

    fn value(&self, choices: &mut Choices<'_>, latest: bool, field: &Field) -> Vec<u8> {
        let how = choices.below(32);
        if field.is_optional() && how & 3 == 3 {
            for null in [&[0x00, 0x10][..], &[0x40, 0, 0, 7]] {
                if field.accepts(null) {
                    return null.to_vec();
                }
            }
        }
        if let Some(number) = number(choices, field.kind) {
            return number;
        }
        if field.class().starts_with("TpmiDh") || field.class().starts_with("TpmiRh") {
            let handle = self.handle(choices, latest, |bytes| field.accepts(bytes));
            return handle.unwrap_or(TpmHandle::NULL).to_bytes();
        }
        let values = self
            .values
            .get(field.class())
            .map_or(&[][..], Vec::as_slice);
        let known = if latest {
            values.last()
        } else {
            choices.of(values)
        };
        let value = known.cloned().unwrap_or_else(|| vec![0; 2]);
        match how {
            8 => sized(choices),
            9 | 10 => (0..4)
                .map(|_| mutated(choices, &value))
                .find(|bytes| field.accepts(bytes))
                .unwrap_or(value),
            11 => mutated(choices, &value),
            12 => {
                // A value of another class, which the field may take all the same.
                let all: Vec<&Vec<u8>> = self
                    .values
                    .values()
                    .flatten()
                    .filter(|bytes| field.accepts(bytes))
                    .collect();
                choices.of(&all).map_or(value, |bytes| (*bytes).clone())
            }
            _ => value,
        }
    }
}

fn number(choices: &mut Choices<'_>, kind: &str) -> Option<Vec<u8>> {
    let small = |choices: &mut Choices<'_>| {
        let values: [u64; 16] = [
            0,
            1,
            1,
            2,
            4,
            8,
            16,
            20,
            32,
            64,
            0x100,
            0x118,
            0x7FFF,
            0xFFFF,
            0x8000_0000,
            u64::MAX,
        ];
        let number = choices.of(&values).copied().unwrap_or_default();
        if choices.one_in(4) {
            number ^ choices.below(256) as u64
        } else {
            number
        }
    };
    let width = match kind {
        "bool" => return Some(vec![u8::from(choices.one_in(2))]),
        "u8" => 1,
        "u16" => 2,
        "u32" | "i32" => 4,
        "u64" => 8,
        _ => return None,
    };
    let bytes = if width == 4 && choices.one_in(3) {
        // Command codes, property numbers, algorithms: numbers that mean something.
        let code = choices.of(ROWS).map_or(0, |row| row.info.code);
        u64::from(code).to_be_bytes()
    } else {
        small(choices).to_be_bytes()
    };
    bytes.get(8 - width..).map(<[u8]>::to_vec)
}

/// A buffer with a right size and any content.
fn sized(choices: &mut Choices<'_>) -> Vec<u8> {
    let count = choices.below(80);
    let mut content = choices.bytes(count);
    content.resize(count, 0xA5);
    let mut out = u16::try_from(count)
        .unwrap_or_default()
        .to_be_bytes()
        .to_vec();
    out.append(&mut content);
    out
}

fn mutated(choices: &mut Choices<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=choices.below(3) {
        let place = choices.below(bytes.len());
        match choices.below(8) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), 0),
            2 => bytes.extend_from_slice(&[0; 4]),
            kind => {
                let value = choices.byte();
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = match kind {
                        3 => 0,
                        4 => 0xFF,
                        5 => byte.wrapping_add(1),
                        6 => *byte ^ (1 << (value & 7)),
                        _ => value,
                    };
                }
            }
        }
    }
    bytes
}

/// How often each command had each answer.
pub type Answers = BTreeMap<(u32, Rc), u64>;

/// A TPM in use, as the start of every sequence.
pub struct Sequences {
    permanent: Zeroizing<Vec<u8>>,
    volatile: Zeroizing<Vec<u8>>,
    pool: Pool,
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
        let mut runner = Runner::new(super::started(), Pool::default());
        prelude::run(&mut runner);
        Self {
            permanent: runner.tpm.permanent_state(),
            volatile: runner.tpm.volatile_state(),
            pool: runner.pool,
        }
    }

    /// Runs the sequence of commands that the bytes choose, and tells what was answered.
    ///
    /// # Panics
    /// If a rule is broken.
    #[expect(
        clippy::expect_used,
        reason = "a state that does not load is a failed test"
    )]
    pub fn execute(&self, data: &[u8]) -> Answers {
        let script = Arc::new(Script::default());
        let platform = ScriptedPlatform {
            script: Arc::clone(&script),
        };
        let tpm = Tpm::load(&self.permanent, Box::new(platform)).expect("the state loads");
        let mut tpm = TestTpm { tpm, script };
        tpm.restore_volatile(&self.volatile)
            .expect("the volatile state loads");
        let mut runner = Runner::new(tpm, self.pool.clone());
        let mut choices = Choices(data);
        while !choices.0.is_empty() {
            runner.step(&mut choices);
        }
        runner.check_reload();
        runner.answers
    }
}

/// A TPM, what is known of it, and what it answered.
pub(super) struct Runner {
    pub(super) tpm: TestTpm,
    pub(super) pool: Pool,
    answers: Answers,
}

impl Runner {
    fn new(tpm: TestTpm, pool: Pool) -> Self {
        Self {
            tpm,
            pool,
            answers: Answers::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(64) {
            63 => self.change_environment(choices),
            62 => self.check_reload(),
            61 => {
                let kinds = [
                    TpmSe::Hmac,
                    TpmSe::Hmac,
                    TpmSe::Policy,
                    TpmSe::Policy,
                    TpmSe::Policy,
                    TpmSe::Trial,
                ];
                let kind = choices.of(&kinds).copied().unwrap_or(TpmSe::Policy);
                prelude::start_session(self, kind);
            }
            _ => self.generate(choices),
        }
    }

    /// The world around the TPM changes.
    fn change_environment(&mut self, choices: &mut Choices<'_>) {
        let script = Arc::clone(&self.tpm.script);
        match choices.below(16) {
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
                script.locality.store(0, Ordering::Relaxed);
                let kind = |state| if state { TpmSu::State } else { TpmSu::Clear };
                if other != 12 {
                    let shutdown_type = kind(choices.one_in(2));
                    self.send_command(&commands::Shutdown { shutdown_type });
                }
                if self.tpm.failure().is_none() && choices.one_in(3) {
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

    /// Sends a command as it is and learns from it.
    pub(super) fn send_command<C: Command>(&mut self, command: &C) -> Option<C::Response> {
        let auths = vec![Auth::password(&[]); C::INFO.authorizations()];
        self.send_command_as(command, &auths)
    }

    /// Sends a command with authorizations and learns from it.
    pub(super) fn send_command_as<C: Command>(
        &mut self,
        command: &C,
        auths: &[Auth],
    ) -> Option<C::Response> {
        let row = ROWS.iter().find(|row| row.info.code == C::INFO.code)?;
        let mut parameters = Vec::new();
        command.marshal_parameters(&mut parameters);
        let values = split(row.parameters, &parameters)?;
        let bytes = super::encode(command, auths);
        self.send(row, &bytes, Some(values), auths);
        super::decode::<C>(&self.tpm.tpm.response).ok()
    }

    fn generate(&mut self, choices: &mut Choices<'_>) {
        let Some(row) = choices.of(ROWS) else { return };
        if LEAVING_LITTLE.contains(&row.info.code) && !choices.one_in(4) {
            return;
        }
        let limits = self.tpm.profile().limits.clone();
        // Values that were given back together often belong together.
        let latest = choices.one_in(2);
        let mut handles: Vec<TpmHandle> = Vec::new();
        for field in row.info.handles {
            let accepts = |bytes: &[u8]| (field.parse)(Input::new(bytes, &limits)).is_ok();
            let same = handles
                .last()
                .copied()
                .filter(|last| accepts(&last.0.to_be_bytes()) && choices.one_in(2));
            let handle = if same.is_some() {
                same
            } else if choices.one_in(64) {
                choices.of(&self.pool.handles).copied()
            } else {
                self.pool.handle(choices, latest, accepts)
            };
            handles.push(handle.unwrap_or(TpmHandle::NULL));
        }
        let mut values: Vec<Vec<u8>> = Vec::new();
        for field in row.parameters {
            let mut value = self.pool.value(choices, latest, field);
            // Making RSA keys takes long.
            let is_slow =
                |value: &[u8]| field.class() == "Tpm2bPublic" && value.get(2..4) == Some(&[0, 1]);
            if [
                commands::Create::INFO.code,
                commands::CreatePrimary::INFO.code,
            ]
            .contains(&row.info.code)
            {
                for _ in 0..4 {
                    if is_slow(&value) && !choices.one_in(64) {
                        value = self.pool.value(choices, latest, field);
                    }
                }
                if is_slow(&value) && !choices.one_in(16) {
                    return;
                }
            }
            values.push(value);
        }
        let auths = self.authorizations(choices, row, &handles);
        let bytes = encode_parts(row.info.code, &handles, &auths, &values.concat());
        if choices.one_in(32) {
            let mut bytes = mutated(choices, &bytes);
            if choices.one_in(2) {
                let size = u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
                if let Some(place) = bytes.get_mut(2..6) {
                    place.copy_from_slice(&size);
                }
            }
            self.send(row, &bytes, None, &auths);
        } else {
            self.send(row, &bytes, Some(values), &auths);
        }
    }

    fn session(&self, choices: &mut Choices<'_>, kind: TpmHt) -> Option<TpmHandle> {
        self.pool.handle(choices, true, |bytes| {
            bytes
                .first_chunk()
                .is_some_and(|bytes| TpmHandle(u32::from_be_bytes(*bytes)).kind() == Some(kind))
        })
    }

    fn authorizations(
        &mut self,
        choices: &mut Choices<'_>,
        row: &Row,
        handles: &[TpmHandle],
    ) -> Vec<Auth> {
        let mut auths = Vec::new();
        if choices.one_in(64) {
            return auths;
        }
        for (field, _) in row.info.handles.iter().zip(handles) {
            let how = choices.below(32);
            match field.role {
                None => {}
                Some(Role::User) if how < 28 => auths.push(Auth::password(&[])),
                Some(Role::User) if how == 28 => auths.push(Auth::password(b"secret")),
                Some(Role::User) if how < 31 => {
                    let session = self.session(choices, TpmHt::HmacSession);
                    auths.push(Auth::session(session.unwrap_or(TpmHandle::PASSWORD)));
                }
                Some(Role::Admin) if how < 8 => auths.push(Auth::password(&[])),
                Some(_) => {
                    let session = self.session(choices, TpmHt::PolicySession);
                    let session = session.unwrap_or(TpmHandle::PASSWORD);
                    if how & 3 != 0 {
                        self.satisfy_policy(session, row.info.code);
                    }
                    auths.push(Auth::session(session));
                }
            }
        }
        if choices.one_in(8) && auths.len() < 3 {
            let session = self.session(choices, TpmHt::HmacSession);
            let mut auth = Auth::session(session.unwrap_or(TpmHandle::PASSWORD));
            auth.attributes = TpmaSession(choices.byte() & 0xE7);
            auths.push(auth);
        }
        auths
    }

    /// Does the steps of the policy that the entities of the start have, for the command with this code.
    pub(super) fn satisfy_policy(&mut self, session: TpmHandle, code: u32) {
        let policy_session = session.into();
        let session_handle = session.into();
        self.send_command(&commands::PolicyRestart { session_handle });
        self.send_command(&commands::PolicyCommandCode {
            policy_session,
            code,
        });
        if let Some(p_hash_list) = prelude::branches(&self.pool.values) {
            self.send_command(&commands::PolicyOr {
                policy_session,
                p_hash_list,
            });
        }
    }

    /// Executes a command, checks the rules that hold for all, and learns from what succeeded.
    #[expect(clippy::expect_used, reason = "a malformed response is a failed test")]
    fn send(&mut self, row: &Row, command: &[u8], values: Option<Vec<Vec<u8>>>, auths: &[Auth]) {
        let name = row.info.name;
        let fail = |what: &str| -> String {
            alloc::format!("{name} {what}; the command was {command:02x?}")
        };
        self.tpm.begin();
        let before = self.tpm.snapshot();
        let permanent_before = self.tpm.permanent_bytes();
        let used_before = self.tpm.dictionary_attack.used;
        let _ = self.tpm.permanent_state();
        let largest = self.tpm.max_command_size();
        let response = self.tpm.execute(command).to_vec();
        let header: &[u8; HEADER_SIZE] = response.first_chunk().expect("a header");
        let [_, tag, s0, s1, s2, s3, r0, r1, r2, r3] = *header;
        let size = u32::from_be_bytes([s0, s1, s2, s3]);
        let rc = Rc::from_number(u32::from_be_bytes([r0, r1, r2, r3]));
        assert!(
            usize::try_from(size) == Ok(response.len()),
            "{}",
            fail("has a wrong size")
        );
        assert!(
            response.len() <= largest,
            "{}",
            fail("has too large a response")
        );
        assert!(
            rc.name().is_some(),
            "{}",
            fail("has an unknown response code")
        );
        let failure = self.tpm.failure();
        assert!(
            failure.is_none(),
            "{}: {failure:?}",
            fail("led to failure mode")
        );
        *self.answers.entry((row.info.code, rc)).or_default() += 1;
        let permanent_after = self.tpm.permanent_bytes();
        if rc != Rc::SUCCESS {
            assert!(
                response.len() == HEADER_SIZE,
                "{}",
                fail("has a refusal with a body")
            );
            if !matches!(rc.base(), Rc::AUTH_FAIL | Rc::BAD_AUTH | Rc::LOCKOUT) {
                let used = core::mem::replace(&mut self.tpm.dictionary_attack.used, used_before);
                let same = before == self.tpm.snapshot();
                self.tpm.dictionary_attack.used = used;
                assert!(
                    same,
                    "{} with {rc}",
                    fail("changed the state though refused")
                );
            }
        }
        // The clock is stored at its own moments.
        let is_clock = row.info.code == commands::ClockSet::INFO.code;
        assert!(
            permanent_before == permanent_after || self.tpm.must_persist() || is_clock,
            "{}",
            fail("changed the permanent state without announcing it")
        );
        if rc != Rc::SUCCESS {
            return;
        }
        if let Some(values) = values {
            self.pool.learn(row.parameters, values);
        }
        let mut body = response.get(HEADER_SIZE..).unwrap_or_default();
        if row.info.has_response_handle {
            let (handle, rest) = body.split_first_chunk::<4>().expect("a response handle");
            self.pool.add_handle(TpmHandle(u32::from_be_bytes(*handle)));
            body = rest;
        }
        if TpmSt::SESSIONS.0.to_be_bytes() == [0x80, tag] {
            let (size, rest) = body.split_first_chunk::<4>().expect("a parameter size");
            let size = usize::try_from(u32::from_be_bytes(*size)).expect("a size");
            body = rest.get(..size).expect("parameters of that size");
        }
        let encrypted = auths
            .iter()
            .any(|auth| auth.attributes.contains(TpmaSession::ENCRYPT));
        if encrypted && row.info.encrypts_response {
            return;
        }
        let values = split(row.returns, body);
        assert!(
            values.is_some(),
            "{}",
            fail("has a response that cannot be read")
        );
        self.pool.learn(row.returns, values.unwrap_or_default());
    }

    /// The state that is stored and the state that moves are the same once they are loaded.
    #[expect(
        clippy::expect_used,
        reason = "a state that does not load is a failed test"
    )]
    fn check_reload(&mut self) {
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
}

#[cfg(test)]
mod tests {
    use super::{Answers, Sequences};
    use alloc::vec;
    use tpm_crypto::drbg::Drbg;
    use tpm_wire::commands::{
        ClearControl, EccDecrypt, EccEncrypt, NvWrite, PcrSetAuthValue, PolicyAuthorizeNv,
        PolicyCounterTimer, PolicyTransportSpdm,
    };
    use tpm_wire::rc::Rc;
    use tpm_wire::table::{Command, find};

    /// Refusals that could say where, and do not in the reference code either.
    const WITHOUT_POSITION: [(u32, Rc); 10] = [
        (ClearControl::INFO.code, Rc::AUTH_FAIL),
        (EccDecrypt::INFO.code, Rc::SCHEME),
        (EccDecrypt::INFO.code, Rc::VALUE),
        (EccEncrypt::INFO.code, Rc::SCHEME),
        (NvWrite::INFO.code, Rc::ATTRIBUTES),
        (PcrSetAuthValue::INFO.code, Rc::VALUE),
        (PolicyAuthorizeNv::INFO.code, Rc::HASH),
        (PolicyAuthorizeNv::INFO.code, Rc::VALUE),
        (PolicyCounterTimer::INFO.code, Rc::RANGE),
        (PolicyTransportSpdm::INFO.code, Rc::VALUE),
    ];

    #[test]
    fn random_commands_keep_the_rules_and_refusals_say_where() {
        let sequences = Sequences::new();
        let mut answers = Answers::new();
        for seed in 0..SEQUENCES {
            let mut data = vec![0; 1000];
            Drbg::new(&seed.to_be_bytes(), &[b"random commands"]).fill(&mut data);
            for (answer, times) in sequences.execute(&data) {
                *answers.entry(answer).or_default() += times;
            }
        }
        for (code, rc) in answers.keys() {
            // The size of the command, or of its authorization area, is about no field.
            let of_the_whole = matches!(*rc, Rc::SIZE | Rc::INSUFFICIENT);
            assert!(
                !rc.is_format_one()
                    || rc.place().is_some()
                    || of_the_whole
                    || WITHOUT_POSITION.contains(&(*code, *rc)),
                "{} answers {rc} without a position",
                find(*code).unwrap().name
            );
        }
        let succeeded = answers.keys().filter(|(_, rc)| *rc == Rc::SUCCESS);
        assert!(succeeded.count() >= 70);
    }

    /// Sequences in a test run.
    const SEQUENCES: u64 = 60;
}
