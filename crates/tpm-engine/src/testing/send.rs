//! One command of a sequence: authorized as a client would, executed, held to the rules that hold for all commands, learned from.

use super::fields::{ROWS, Row, split};
use super::pool::Example;
use super::sequence::Runner;
use super::{Auth, encode_parts};
use alloc::string::String;
use alloc::vec::Vec;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::commands;
use tpm_wire::constants::TpmSt;
use tpm_wire::frame::HEADER_SIZE;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, CommandInfo, Role};

/// Parts of a command before it is authenticated.
pub(super) struct Parts {
    pub(super) row: &'static Row,
    pub(super) handles: Vec<TpmHandle>,
    pub(super) values: Vec<Vec<u8>>,
    pub(super) auths: Vec<Auth>,
}

impl Runner {
    /// Sends a command, authorized as its roles ask for, and learns from it.
    pub(super) fn send_command<C: Command>(&mut self, command: &C) -> Option<C::Response> {
        let auths = self.plain_authorizations(&C::INFO, &command.handles());
        self.send_command_as(command, &auths)
    }

    /// Passwords, and for the other roles a policy session that the policy of the start satisfies.
    pub(super) fn plain_authorizations(
        &mut self,
        info: &CommandInfo,
        handles: &[TpmHandle],
    ) -> Vec<Auth> {
        let mut auths = Vec::new();
        for (field, handle) in info.handles.iter().zip(handles) {
            match field.role {
                None => {}
                Some(Role::User) => auths.push(self.password(*handle)),
                Some(_) => {
                    let session = self.policy_session();
                    self.satisfy_policy(session, info.code);
                    auths.push(Auth::session(session));
                }
            }
        }
        auths
    }

    /// The password of an entity.
    pub(super) fn password(&self, entity: TpmHandle) -> Auth {
        Auth::password(&self.tpm.auth_value(entity))
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
        let succeeded = self.send_parts(Parts {
            row,
            handles: command.handles().to_vec(),
            values,
            auths: auths.to_vec(),
        });
        if !succeeded {
            return None;
        }
        // What a session encrypted is read here as it was decrypted.
        super::decode::<C>(&self.plain_response).ok()
    }

    /// Authenticates and sends a command, and learns from it; whether it succeeded.
    pub(super) fn send_parts(&mut self, parts: Parts) -> bool {
        let Parts {
            row,
            handles,
            values,
            mut auths,
        } = parts;
        let mut parameters = values.concat();
        let entities = row.info.authorizations();
        let code = row.info.code;
        let expected = self.authenticate(code, &handles, entities, &mut parameters, &mut auths);
        let bytes = encode_parts(code, &handles, &auths, &parameters);
        let Some(mut response) = self.send(row, &bytes) else {
            return false;
        };
        self.known.pool.learn(row.parameters, values.clone());
        self.take_apart(row, &mut response, &handles, &values, &auths, &expected);
        self.plain_response = response;
        self.known
            .pool
            .add_example(code, Example { handles, values });
        true
    }

    #[expect(clippy::expect_used, reason = "a malformed response is a failed test")]
    fn take_apart(
        &mut self,
        row: &Row,
        response: &mut [u8],
        handles: &[TpmHandle],
        values: &[Vec<u8>],
        auths: &[Auth],
        expected: &[Option<super::client::Expected>],
    ) {
        let name = row.info.name;
        let with_sessions = response.starts_with(&TpmSt::SESSIONS.0.to_be_bytes());
        let mut body = response.get_mut(HEADER_SIZE..).unwrap_or_default();
        let mut given = None;
        if row.info.has_response_handle {
            let (handle, rest) = body.split_first_chunk_mut::<4>().expect("a handle");
            given = Some(TpmHandle(u32::from_be_bytes(*handle)));
            body = rest;
        }
        if with_sessions {
            let (size, rest) = body.split_first_chunk_mut::<4>().expect("a parameter size");
            let size = usize::try_from(u32::from_be_bytes(*size)).expect("a size");
            let (parameters, area) = rest.split_at_mut_checked(size).expect("parameters");
            self.acknowledged(row.info.code, parameters, area, expected, name);
            body = parameters;
        }
        if let Some(handle) = given {
            self.known.pool.add_handle(handle);
        }
        let unknown = auths.iter().zip(expected).any(|(auth, expected)| {
            expected.is_none() && auth.attributes.contains(TpmaSession::ENCRYPT)
        });
        if unknown && row.info.encrypts_response {
            return;
        }
        let read = split(row.returns, body);
        assert!(
            read.is_some(),
            "{name} has a response that cannot be read: {body:02x?}"
        );
        let returned = read.unwrap_or_default();
        if row.info.code == commands::StartAuthSession::INFO.code
            && let (Some(session), Some(nonce)) = (given, returned.first())
        {
            let nonce = nonce.get(2..).unwrap_or_default();
            self.opened(session, nonce, handles, values);
        }
        self.known.pool.learn(row.returns, returned);
    }

    /// Executes a command and checks the rules that hold for all. The response, if it is a success.
    #[expect(clippy::expect_used, reason = "a malformed response is a failed test")]
    pub(super) fn send(&mut self, row: &Row, command: &[u8]) -> Option<Vec<u8>> {
        let name = row.info.name;
        let fail = |what: &str| -> String {
            alloc::format!("{name} {what}; the command was {command:02x?}")
        };
        self.tpm.begin();
        let twins = self.is_thorough.then(|| {
            let (permanent, volatile) = (self.tpm.permanent_bytes(), self.tpm.volatile_state());
            [(); 2].map(|()| self.twin_from(&permanent, &volatile))
        });
        let permanent_before = self.tpm.permanent_bytes();
        let volatile_before = self.tpm.volatile_state();
        let used_before = self.tpm.dictionary_attack.used;
        let pins_before = self.pins(row, command);
        let _ = self.tpm.permanent_state();
        let largest = self.tpm.max_command_size();
        let response = self.tpm.execute(command).to_vec();
        let header: &[u8; HEADER_SIZE] = response.first_chunk().expect("a header");
        let [_, _, s0, s1, s2, s3, r0, r1, r2, r3] = *header;
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
                // An authorization counts whatever becomes of the command; the first that is protected voids the orderly shutdown.
                let used = core::mem::replace(&mut self.tpm.dictionary_attack.used, used_before);
                let pins = self.pins(row, command);
                self.set_pins(&pins_before);
                let after = self.tpm.snapshot();
                let mut same = after == [&**permanent_before, &**volatile_before].concat();
                if !same && used != used_before {
                    let mut twin = self.twin_from(&permanent_before, &volatile_before);
                    same = twin.void_orderly().is_ok() && after == twin.snapshot();
                }
                self.tpm.dictionary_attack.used = used;
                self.set_pins(&pins);
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
        if let Some(twins) = twins {
            self.check_twins(twins, command, rc, &fail);
            self.check_reload();
        }
        if rc == Rc::SUCCESS {
            // The command may have been another than the row's if its bytes were changed.
            let is_of_row = command.get(6..10) == Some(&row.info.code.to_be_bytes()[..]);
            is_of_row.then_some(response)
        } else {
            None
        }
    }

    /// The PIN Indices among the handles of a command, and their counts.
    fn pins(&self, row: &Row, command: &[u8]) -> Vec<(TpmHandle, u32)> {
        let (handles, _) = command
            .get(HEADER_SIZE..)
            .unwrap_or_default()
            .as_chunks::<4>();
        let handles = handles.iter().take(row.info.handles.len());
        let handles = handles.map(|bytes| TpmHandle(u32::from_be_bytes(*bytes)));
        let count = |handle| Some((handle, self.tpm.nv.get(handle).ok()?.pin()?.pin_count));
        handles.filter_map(count).collect()
    }

    fn set_pins(&mut self, pins: &[(TpmHandle, u32)]) {
        for (handle, count) in pins {
            if let Ok(index) = self.tpm.nv.get_mut(*handle) {
                index.set_pin_count(*count);
            }
        }
    }
}
