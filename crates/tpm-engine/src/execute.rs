//! The life of one command: header, handles, sessions, parameters, action, response (Part 1, 18; Part 3, 5).

use crate::authorization::Running;
use crate::commands::dispatch;
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_wire::codec::{Input, Marshal, Parse, parse_all, response_code};
use tpm_wire::commands;
use tpm_wire::constants::{TpmAlgId, TpmCap, TpmSt};
use tpm_wire::frame::{HEADER_SIZE, Header};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::{Position, Rc};
use tpm_wire::table::{Command, CommandInfo, find, flag};
use zeroize::Zeroize;

/// Smallest authorization area: a handle, an empty nonce, attributes and an empty HMAC.
const LEAST_AUTHORIZATION_SIZE: usize = 9;

/// What a command does, once handles, authorizations and parameters are checked.
pub(crate) trait Execute: Command {
    /// Does it. On error nothing has changed.
    ///
    /// # Errors
    /// Those of Part 3.
    fn execute(self, tpm: &mut Tpm) -> Result<Self::Response, Rc>;
}

/// Parses the parameters of a command, executes it, and appends the parameters of its response.
pub(crate) fn run<C: Execute>(
    tpm: &mut Tpm,
    parameters: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<TpmHandle>, Rc> {
    use tpm_wire::table::Response;
    let command = C::parse(
        &tpm.running.handles,
        Input::new(parameters, &tpm.profile.limits),
    )?;
    let response = command.execute(tpm)?;
    response.marshal_parameters(out);
    Ok(response.handle())
}

impl Tpm {
    /// Executes one command and returns the whole response, which is valid until the next call.
    ///
    /// Whatever the bytes are, the answer is a well-formed response. If [`must_persist`](Self::must_persist) is true
    /// afterwards, store [`permanent_state`](Self::permanent_state) before the response leaves.
    pub fn execute(&mut self, command: &[u8]) -> &[u8] {
        let mut out = core::mem::take(&mut self.response);
        out.clear();
        if self.power.failure.is_some() {
            self.execute_failed(command, &mut out);
        } else {
            self.begin();
            let done = self.execute_into(command, &mut out);
            self.end(&mut out, done);
        }
        self.response = out;
        &self.response
    }

    /// What comes before any command: time passes, and a hash sequence that was not finished ends.
    pub(crate) fn begin(&mut self) {
        self.abandon_hash_sequence();
        self.tick();
        self.power.just_shut_down = false;
        self.running = Running::default();
    }

    fn end(&mut self, out: &mut Vec<u8>, done: Result<TpmSt, Rc>) {
        self.parameters.zeroize();
        match done {
            Ok(tag) => finish_header(out, tag, Rc::SUCCESS),
            Err(rc) => {
                out.clear();
                out.resize(HEADER_SIZE, 0);
                // A tag that is not understood too, as in the reference code: Part 2 has `TPM_ST_RSP_COMMAND` for it, but
                // EDK2, which tries a command of TPM 1.2 first, would take a response with that tag for one of TPM 1.2.
                finish_header(out, TpmSt::NO_SESSIONS, rc);
            }
        }
    }

    fn execute_into(&mut self, command: &[u8], out: &mut Vec<u8>) -> Result<TpmSt, Rc> {
        let (tag, info, body) = self.check_header(command)?;
        let body = self.parse_handles(info, body)?;
        let handles = self.running.handles.clone();
        self.check_handles(&handles)?;
        let mut parameters = core::mem::take(&mut self.parameters);
        parameters.clear();
        let done = self.execute_body(tag, info, body, &mut parameters, out);
        parameters.zeroize();
        self.parameters = parameters;
        done.map(|()| tag)
    }

    /// Header, command code, read-only mode and startup, in this order (Part 3, 5.2).
    fn check_header<'a>(
        &self,
        command: &'a [u8],
    ) -> Result<(TpmSt, &'static CommandInfo, &'a [u8]), Rc> {
        let limits = &self.profile.limits;
        let (rest, tag) = TpmSt::parse(Input::new(command, limits)).map_err(response_code)?;
        if !matches!(tag, TpmSt::NO_SESSIONS | TpmSt::SESSIONS) {
            return Err(Rc::BAD_TAG);
        }
        let (rest, size) = u32::parse(rest).map_err(response_code)?;
        if usize::try_from(size) != Ok(command.len()) || command.len() > self.max_command_size() {
            return Err(Rc::COMMAND_SIZE);
        }
        let (_, code) = u32::parse(rest).map_err(response_code)?;
        let info = find(code)
            .filter(|info| self.profile.has_command(info))
            .ok_or(Rc::COMMAND_CODE)?;
        if self.hierarchies.read_only && info.flags.contains(flag::not_read_only) {
            return Err(Rc::READ_ONLY);
        }
        if self.power.started == (code == commands::Startup::INFO.code) {
            return Err(Rc::INITIALIZE);
        }
        Ok((tag, info, command.get(HEADER_SIZE..).unwrap_or_default()))
    }

    fn parse_handles<'a>(
        &mut self,
        info: &'static CommandInfo,
        body: &'a [u8],
    ) -> Result<&'a [u8], Rc> {
        self.running.info = Some(info);
        let mut rest = body;
        for (number, field) in (1u8..).zip(info.handles) {
            let (after, handle) = (field.parse)(Input::new(rest, &self.profile.limits))
                .map(|(after, handle)| (after.bytes().len(), handle))
                .map_err(|error| response_code(error).at(Position::handle(number)))?;
            rest = rest.get(rest.len() - after..).unwrap_or_default();
            self.running.handles.push(handle);
        }
        Ok(rest)
    }

    fn execute_body(
        &mut self,
        tag: TpmSt,
        info: &'static CommandInfo,
        body: &[u8],
        parameters: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Rc> {
        if tag == TpmSt::SESSIONS {
            let (size, rest) = body.split_first_chunk::<4>().ok_or(Rc::INSUFFICIENT)?;
            let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| Rc::SIZE)?;
            if size < LEAST_AUTHORIZATION_SIZE {
                return Err(Rc::SIZE);
            }
            let (area, rest) = rest.split_at_checked(size).ok_or(Rc::SIZE)?;
            parameters.extend_from_slice(rest);
            self.authorize(info, area, parameters)?;
        } else {
            parameters.extend_from_slice(body);
            self.check_no_sessions(info, parameters)?;
        }
        let handle_size = if info.has_response_handle { 4 } else { 0 };
        let size_size = if tag == TpmSt::SESSIONS { 4 } else { 0 };
        let start = HEADER_SIZE + handle_size + size_size;
        out.resize(start, 0);
        let handle = dispatch(self, info.code, parameters, out)?;
        let area = start..out.len();
        if let (Some(handle), Some(place)) = (handle, out.get_mut(HEADER_SIZE..HEADER_SIZE + 4)) {
            place.copy_from_slice(&handle.0.to_be_bytes());
        }
        if tag == TpmSt::SESSIONS {
            let size = u32::try_from(area.len()).unwrap_or(u32::MAX);
            if let Some(place) = out.get_mut(start - 4..start) {
                place.copy_from_slice(&size.to_be_bytes());
            }
        }
        let acknowledged = self.acknowledge(out, area);
        if let Some(handle) = self.running.flush.take() {
            self.objects.flush(handle);
        }
        acknowledged?;
        self.power.just_shut_down = info.code == commands::Shutdown::INFO.code;
        Ok(())
    }

    /// A command in failure mode: only `TPM2_GetTestResult` and `TPM2_GetCapability` are answered (Part 1, 12.4).
    fn execute_failed(&mut self, command: &[u8], out: &mut Vec<u8>) {
        let done = self.execute_in_failure_mode(command, out);
        self.end(out, done);
    }

    fn execute_in_failure_mode(&mut self, command: &[u8], out: &mut Vec<u8>) -> Result<TpmSt, Rc> {
        let (header, body) = command.split_at_checked(HEADER_SIZE).ok_or(Rc::FAILURE)?;
        let header: Header = parse_all(header, &self.profile.limits).map_err(|_| Rc::FAILURE)?;
        if header.tag != TpmSt::NO_SESSIONS || usize::try_from(header.size) != Ok(command.len()) {
            return Err(Rc::FAILURE);
        }
        out.resize(HEADER_SIZE, 0);
        if header.code == commands::GetTestResult::INFO.code && body.is_empty() {
            run::<commands::GetTestResult>(self, body, out)?;
            return Ok(TpmSt::NO_SESSIONS);
        }
        let capability = body
            .first_chunk::<4>()
            .map(|capability| TpmCap(u32::from_be_bytes(*capability)));
        if header.code == commands::GetCapability::INFO.code
            && capability == Some(TpmCap::TPM_PROPERTIES)
        {
            run::<commands::GetCapability>(self, body, out)?;
            return Ok(TpmSt::NO_SESSIONS);
        }
        Err(Rc::FAILURE)
    }

    /// Whether a command may run for many milliseconds: making an RSA key, and the full self-test.
    ///
    /// It only looks at a few bytes, of which none needs to be right; a front end sends such commands to a thread of their own.
    #[must_use]
    pub fn takes_long(command: &[u8]) -> bool {
        let code = command.get(6..HEADER_SIZE).and_then(<[u8]>::first_chunk);
        let makes_key = match code.map(|code| u32::from_be_bytes(*code)) {
            Some(code) if code == commands::SelfTest::INFO.code => false,
            Some(code)
                if code == commands::CreatePrimary::INFO.code
                    || code == commands::Create::INFO.code
                    || code == commands::CreateLoaded::INFO.code =>
            {
                true
            }
            _ => return false,
        };
        if makes_key {
            type_of_new_key(command) == Some(TpmAlgId::RSA)
        } else {
            // The one parameter is the last byte.
            command.last() == Some(&1)
        }
    }
}

/// The type in the template of a command that creates an object. Parameter encryption hides neither it nor a size.
fn type_of_new_key(command: &[u8]) -> Option<TpmAlgId> {
    let tag = command.first_chunk()?;
    let mut rest = command.get(HEADER_SIZE + 4..)?;
    if *tag == TpmSt::SESSIONS.0.to_be_bytes() {
        let (size, after) = rest.split_first_chunk()?;
        rest = after.get(usize::try_from(u32::from_be_bytes(*size)).ok()?..)?;
    }
    let (size, after) = rest.split_first_chunk()?;
    let template = after.get(usize::from(u16::from_be_bytes(*size))..)?;
    let id = template.get(2..)?.first_chunk()?;
    Some(TpmAlgId(u16::from_be_bytes(*id)))
}

fn finish_header(out: &mut Vec<u8>, tag: TpmSt, rc: Rc) {
    let end = out.len();
    let header = Header {
        tag,
        size: u32::try_from(end).unwrap_or(u32::MAX),
        code: rc.number(),
    };
    // By way of the end of the buffer, which is there already: a short command asks for no memory.
    header.marshal(out);
    out.copy_within(end.., 0);
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use crate::commands::object::build::{
        FIXED, STORAGE, ecc_template, rsa_template, sealed_template, sensitive,
    };
    use crate::state::Tpm;
    use crate::testing::{self, Auth, encode};
    use alloc::vec::Vec;
    use tpm_wire::buffers::{Tpm2b, Tpm2bData, Tpm2bTemplate};
    use tpm_wire::codec::Marshal;
    use tpm_wire::commands::{
        Create, CreateLoaded, CreatePrimary, GetRandom, IncrementalSelfTest, SelfTest,
    };
    use tpm_wire::handles::{TpmHandle, TpmiDhParent, TpmiRhHierarchy};
    use tpm_wire::object::{Tpm2bPublic, TpmtPublic};
    use tpm_wire::pcr::TpmlPcrSelection;

    #[test]
    fn a_command_of_tpm_1_2_is_answered_as_by_a_tpm_2_0() {
        const GET_TICKS: [u8; 10] = [0, 0xC1, 0, 0, 0, 10, 0, 0, 0, 0xF1];
        const BAD_TAG: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0x1E];
        assert_eq!(testing::manufactured().execute(&GET_TICKS), BAD_TAG);
        assert_eq!(testing::started().execute(&GET_TICKS), BAD_TAG);
    }

    /// The bytes of the three commands that create an object, with sessions of different sizes.
    fn creations(public: &TpmtPublic) -> Vec<Vec<u8>> {
        let mut commands = Vec::new();
        let long_session = Auth {
            hmac: [7; 32].to_vec(),
            ..Auth::session(TpmHandle(0x0200_0000))
        };
        let two = [Auth::password(b"password"), long_session];
        for authorizations in [&[][..], &[Auth::password(&[])], &two] {
            let in_sensitive = Tpm2b(sensitive(b"authorization", &[]));
            let create = Create {
                parent_handle: TpmHandle(0x8000_0000).into(),
                in_sensitive: in_sensitive.clone(),
                in_public: Tpm2bPublic(public.clone()),
                outside_info: Tpm2bData::EMPTY,
                creation_pcr: TpmlPcrSelection::new(),
            };
            commands.push(encode(&create, authorizations));
            let primary = CreatePrimary {
                primary_handle: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
                in_sensitive: in_sensitive.clone(),
                in_public: Tpm2bPublic(public.clone()),
                outside_info: Tpm2bData::EMPTY,
                creation_pcr: TpmlPcrSelection::new(),
            };
            commands.push(encode(&primary, authorizations));
            let loaded = CreateLoaded {
                parent_handle: Some(TpmiDhParent(TpmHandle(0x8000_0000))),
                in_sensitive,
                in_public: Tpm2bTemplate::new(public.to_bytes()).unwrap(),
            };
            commands.push(encode(&loaded, authorizations));
        }
        commands
    }

    #[test]
    fn of_the_keys_only_those_of_rsa_take_long_to_make() {
        let rsa = creations(&rsa_template(FIXED | STORAGE));
        assert!(rsa.iter().all(|command| Tpm::takes_long(command)));
        for public in [ecc_template(FIXED | STORAGE), sealed_template()] {
            let others = creations(&public);
            assert!(!others.iter().any(|command| Tpm::takes_long(command)));
        }
    }

    #[test]
    fn of_the_self_tests_only_the_full_one_takes_long() {
        for full_test in [true, false] {
            let bytes = encode(&SelfTest { full_test }, &[]);
            assert_eq!(Tpm::takes_long(&bytes), full_test);
        }
        let incremental = IncrementalSelfTest {
            to_test: Default::default(),
        };
        assert!(!Tpm::takes_long(&encode(&incremental, &[])));
        assert!(!Tpm::takes_long(&encode(
            &GetRandom { bytes_requested: 1 },
            &[]
        )));
    }

    #[test]
    fn commands_that_are_cut_do_not_take_long() {
        for command in creations(&rsa_template(FIXED | STORAGE)) {
            // Up to the type of the key: header, handle, sessions, sensitive data, size.
            let whole = command.len();
            let decided = (0..=whole)
                .position(|size| Tpm::takes_long(&command[..size]))
                .unwrap();
            assert!(decided > 14 && decided < whole);
        }
    }
}
