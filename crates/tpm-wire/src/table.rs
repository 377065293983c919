//! What a row of the command table becomes: typed commands and responses, and a [`CommandInfo`] each.

use crate::attributes::TpmaCc;
use crate::codec::{Input, Limits, Parsed};
use crate::describe::{Stop, Walker};
use crate::handles::TpmHandle;
use crate::rc::Rc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// Most handles in a command's handle area.
pub const MAX_HANDLES: usize = 3;

/// The authorization that a handle needs (Part 1, 19.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Use of the entity.
    User,
    /// Administration of the entity.
    Admin,
    /// Duplication of the object.
    Dup,
}

/// One handle of a command.
#[derive(Debug)]
pub struct HandleInfo {
    /// The name in Part 3.
    pub name: &'static str,
    /// The authorization that it needs, if any.
    pub role: Option<Role>,
    /// Checks that the field accepts the handle.
    pub parse: fn(Input<'_>) -> Parsed<'_, TpmHandle>,
}

/// Attributes of a command that its types do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CommandFlags(pub u8);

impl CommandFlags {
    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The union.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The words that a row may have between its brackets.
#[expect(
    non_upper_case_globals,
    reason = "they are written as words of the table"
)]
pub mod flag {
    use super::CommandFlags;
    /// May write NV memory (`TPMA_CC.nv`).
    pub const nv: CommandFlags = CommandFlags(0x01);
    /// May flush any number of loaded contexts (`TPMA_CC.extensive`).
    pub const extensive: CommandFlags = CommandFlags(0x02);
    /// Flushes the context of a handle of the command (`TPMA_CC.flushed`).
    pub const flushed: CommandFlags = CommandFlags(0x04);
    /// Takes no session of any kind.
    pub const no_sessions: CommandFlags = CommandFlags(0x08);
    /// Takes a trial session as the policy session that it works on.
    pub const trial: CommandFlags = CommandFlags(0x10);
    /// May be put on the list of commands that need physical presence.
    pub const presence: CommandFlags = CommandFlags(0x20);
    /// Always needs physical presence with platform authorization.
    pub const presence_required: CommandFlags = CommandFlags(0x40);
    /// Refused in read-only mode (Part 3, `TPM2_ReadOnlyControl`).
    pub const not_read_only: CommandFlags = CommandFlags(0x80);
}

/// Describes an area of a message field by field, as far as its bytes go.
pub type DescribeArea = fn(&mut Walker<'_>) -> Result<(), Stop>;

/// All that is known of a command without its parameters' values.
#[derive(Debug)]
pub struct CommandInfo {
    /// The name in Part 3, without `TPM2_`, in Rust case.
    pub name: &'static str,
    /// What the command does, in a line.
    pub summary: &'static str,
    /// `TPM_CC`.
    pub code: u32,
    /// The section of Part 3.
    pub section: &'static str,
    /// What the types do not tell.
    pub flags: CommandFlags,
    /// The handle area.
    pub handles: &'static [HandleInfo],
    /// Names of the parameters.
    pub parameters: &'static [&'static str],
    /// Whether the response has a handle.
    pub has_response_handle: bool,
    /// Whether a session may encrypt the first parameter of the command.
    pub decrypts_parameter: bool,
    /// Whether a session may encrypt the first parameter of the response.
    pub encrypts_response: bool,
    /// Describes the parameter area of the command.
    pub describe_parameters: DescribeArea,
    /// Describes the handle of the response, if it has one.
    pub describe_response_handle: DescribeArea,
    /// Describes the parameter area of the response.
    pub describe_response: DescribeArea,
}

impl CommandInfo {
    /// The attributes as `TPM_CAP_COMMANDS` reports them (Part 2, 8.9).
    #[must_use]
    pub fn attributes(&self) -> TpmaCc {
        let handles = u32::try_from(self.handles.len()).unwrap_or_default();
        TpmaCc(self.code & 0xFFFF | handles << 25)
            .set(TpmaCc::NV, self.flags.contains(flag::nv))
            .set(TpmaCc::EXTENSIVE, self.flags.contains(flag::extensive))
            .set(TpmaCc::FLUSHED, self.flags.contains(flag::flushed))
            .set(TpmaCc::R_HANDLE, self.has_response_handle)
    }

    /// How many handles need an authorization.
    #[must_use]
    pub fn authorizations(&self) -> usize {
        self.handles
            .iter()
            .filter(|handle| handle.role.is_some())
            .count()
    }
}

/// A command of Part 3 as a value.
pub trait Command: Sized {
    /// What the TPM answers.
    type Response: Response;

    /// The row of the table.
    const INFO: CommandInfo;

    /// Builds the command from handles that were checked and from its parameter area, which must be used up.
    ///
    /// # Errors
    /// What a parameter's parser refuses, with the parameter's number; `TPM_RC_SIZE` for bytes left over.
    fn parse(handles: &[TpmHandle], parameters: Input<'_>) -> Result<Self, Rc>;

    /// The handles.
    fn handles(&self) -> ArrayVec<TpmHandle, MAX_HANDLES>;

    /// Appends the parameter area.
    fn marshal_parameters(&self, out: &mut Vec<u8>);
}

/// A response of Part 3 as a value.
pub trait Response: Sized {
    /// The handle, if the response has one.
    fn handle(&self) -> Option<TpmHandle>;

    /// Appends the parameter area.
    fn marshal_parameters(&self, out: &mut Vec<u8>);

    /// Rebuilds a response from its handle and its parameter area.
    ///
    /// # Errors
    /// What a parameter's parser refuses; `TPM_RC_SIZE` for bytes left over.
    fn parse(handle: Option<TpmHandle>, parameters: &[u8], limits: &Limits) -> Result<Self, Rc>;
}

/// Turns the rows of the command table into types, their codec, the positions of their fields, and the table itself.
///
/// It is a macro so that a command stands in one place only: the parser, the writer, the numbers in response codes, the
/// capability list and the documentation are all read off the row.
macro_rules! commands {
    ($(
        $(#[doc = $doc:literal])+
        $command:ident / $response:ident = $code:literal, $section:literal, [$($flag:ident),*] {
            handles: { $($handle:ident: $handle_type:ty $(as $role:ident)?),* $(,)? }
            params: { $($param:ident: $param_type:ty),* $(,)? }
            returns: $(($out_handle:ident: $out_handle_type:ty))? { $($out:ident: $out_type:ty),* $(,)? }
        }
    )*) => {
        $(
            $(#[doc = $doc])+
            #[doc = concat!("`TPM_CC` ", stringify!($code), " (Part 3, ", $section, ").")]
            #[derive(Clone, Debug, PartialEq, Eq)]
            #[allow(missing_docs, reason = "the fields carry the names of Part 3")]
            pub struct $command { $(pub $handle: $handle_type,)* $(pub $param: $param_type,)* }

            #[doc = concat!("What [`struct@", stringify!($command), "`] answers.")]
            #[derive(Clone, Debug, PartialEq, Eq)]
            #[allow(missing_docs, reason = "the fields carry the names of Part 3")]
            pub struct $response { $(pub $out_handle: $out_handle_type,)? $(pub $out: $out_type,)* }

            #[allow(non_upper_case_globals, missing_docs, reason = "a position is named after its field")]
            #[allow(dead_code, reason = "not every command has parameters")]
            impl $command {
                $crate::table::positions!(handle, 1, $($handle)*);
                $crate::table::positions!(parameter, 1, $($param)*);
            }

            impl $crate::table::Command for $command {
                type Response = $response;

                const INFO: $crate::table::CommandInfo = $crate::table::CommandInfo {
                    name: stringify!($command),
                    summary: { const LINES: &[&str] = &[$($doc),+]; match LINES { [first, ..] => first, [] => "" } },
                    code: $code,
                    section: $section,
                    flags: $crate::table::CommandFlags(0)$(.with($crate::table::flag::$flag))*,
                    handles: &[$($crate::table::HandleInfo {
                        name: stringify!($handle),
                        role: {
                            #[allow(unused_mut, unused_assignments, reason = "only handles with a role set it")]
                            let mut role = None;
                            $(role = Some($crate::table::Role::$role);)?
                            role
                        },
                        parse: |input| {
                            let (rest, handle) = <$handle_type as $crate::codec::Parse>::parse(input)?;
                            Ok((rest, $crate::handles::HandleField::handle(&handle)))
                        },
                    }),*],
                    parameters: &[$(stringify!($param)),*],
                    has_response_handle: { const HANDLES: &[&str] = &[$(stringify!($out_handle))?]; !HANDLES.is_empty() },
                    decrypts_parameter: {
                        const SIZED: &[bool] = &[$(<$param_type as $crate::codec::Parse>::SIZED),*];
                        matches!(SIZED, [true, ..])
                    },
                    encrypts_response: {
                        const SIZED: &[bool] = &[$(<$out_type as $crate::codec::Parse>::SIZED),*];
                        matches!(SIZED, [true, ..])
                    },
                    describe_parameters: |walker| {
                        let _ = &walker;
                        $(walker.parameter::<$param_type>(stringify!($param))?;)*
                        Ok(())
                    },
                    describe_response_handle: |walker| {
                        let _ = &walker;
                        $(walker.field::<$out_handle_type>(stringify!($out_handle))?;)?
                        Ok(())
                    },
                    describe_response: |walker| {
                        let _ = &walker;
                        $(walker.parameter::<$out_type>(stringify!($out))?;)*
                        Ok(())
                    },
                };

                fn parse(handles: &[$crate::handles::TpmHandle], parameters: $crate::codec::Input<'_>) -> Result<Self, $crate::rc::Rc> {
                    let mut handles = handles.iter().copied();
                    $(let $handle = $crate::handles::HandleField::from_handle(handles.next().ok_or($crate::rc::Rc::INSUFFICIENT)?);)*
                    let _ = handles.next();
                    let rest = parameters;
                    $(let (rest, $param) = <$param_type as $crate::codec::Parse>::parse(rest)
                        .map_err(|error| $crate::codec::response_code(error).at(Self::$param))?;)*
                    if !rest.is_empty() { return Err($crate::rc::Rc::SIZE); }
                    Ok(Self { $($handle,)* $($param,)* })
                }

                fn handles(&self) -> arrayvec::ArrayVec<$crate::handles::TpmHandle, { $crate::table::MAX_HANDLES }> {
                    #[allow(unused_mut, reason = "some commands have no handles")]
                    let mut handles = arrayvec::ArrayVec::new();
                    $(handles.push($crate::handles::HandleField::handle(&self.$handle));)*
                    handles
                }

                fn marshal_parameters(&self, out: &mut alloc::vec::Vec<u8>) {
                    let _ = &out;
                    $($crate::codec::Marshal::marshal(&self.$param, out);)*
                }
            }

            impl $crate::table::Response for $response {
                fn handle(&self) -> Option<$crate::handles::TpmHandle> {
                    $(return Some($crate::handles::HandleField::handle(&self.$out_handle));)?
                    #[allow(unreachable_code, reason = "responses without a handle end here")]
                    None
                }

                fn marshal_parameters(&self, out: &mut alloc::vec::Vec<u8>) {
                    let _ = &out;
                    $($crate::codec::Marshal::marshal(&self.$out, out);)*
                }

                fn parse(handle: Option<$crate::handles::TpmHandle>, parameters: &[u8], limits: &$crate::codec::Limits) -> Result<Self, $crate::rc::Rc> {
                    let _ = handle;
                    $(let $out_handle = $crate::handles::HandleField::from_handle(handle.ok_or($crate::rc::Rc::INSUFFICIENT)?);)?
                    let rest = $crate::codec::Input::new(parameters, limits);
                    $(let (rest, $out) = <$out_type as $crate::codec::Parse>::parse(rest).map_err($crate::codec::response_code)?;)*
                    if !rest.is_empty() { return Err($crate::rc::Rc::SIZE); }
                    Ok(Self { $($out_handle,)? $($out,)* })
                }
            }
        )*

        /// Every command, by ascending code.
        pub static COMMANDS: &[&$crate::table::CommandInfo] = &{
            let mut rows = [$(&<$command as $crate::table::Command>::INFO),*];
            sort(&mut rows);
            rows
        };
    };
}

/// Numbers the fields of one area as associated constants.
macro_rules! positions {
    ($kind:ident, $number:expr,) => {};
    ($kind:ident, $number:expr, $field:ident $($rest:ident)*) => {
        pub const $field: $crate::rc::Position = $crate::rc::Position::$kind($number);
        $crate::table::positions!($kind, $number + 1, $($rest)*);
    };
}

pub(crate) use {commands, positions};

/// The row of a command code.
#[must_use]
pub fn find(code: u32) -> Option<&'static CommandInfo> {
    let rows = crate::commands::COMMANDS;
    rows.binary_search_by_key(&code, |row| row.code)
        .ok()
        .and_then(|index| rows.get(index))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::{Command, Role, find};
    use crate::buffers::{MAX_NV_BUFFER, Tpm2bMaxNvBuffer};
    use crate::codec::{Input, Limits};
    use crate::commands::{COMMANDS, NvWrite};
    use crate::handles::{TpmHandle, TpmiRhNvAuth, TpmiRhNvIndex};
    use crate::rc::{Position, Rc};
    use alloc::vec::Vec;

    const INDEX: TpmHandle = TpmHandle(0x0100_0001);

    #[test]
    fn rows_are_sorted_and_found_by_code() {
        assert!(COMMANDS.is_sorted_by_key(|row| row.code));
        assert!(
            COMMANDS
                .iter()
                .all(|row| find(row.code).is_some_and(|found| found.name == row.name))
        );
        assert!(find(0x12F).is_none());
    }

    #[test]
    fn a_row_gives_attributes_roles_and_positions() {
        assert_eq!(NvWrite::INFO.attributes().0, 0x0440_0137);
        assert_eq!(NvWrite::INFO.handles[0].role, Some(Role::User));
        assert_eq!(NvWrite::INFO.handles[1].role, None);
        const { assert!(NvWrite::INFO.decrypts_parameter) };
        assert_eq!(NvWrite::offset, Position::parameter(2));
        assert_eq!(NvWrite::nv_index, Position::handle(2));
    }

    #[test]
    fn a_refused_parameter_carries_its_number() {
        let handles = [INDEX, INDEX];
        let parse = |bytes: &[u8]| NvWrite::parse(&handles, Input::new(bytes, &Limits::ALL));
        assert_eq!(
            parse(&[0, 1, 7]),
            Err(Rc::INSUFFICIENT.at(Position::parameter(2)))
        );
        assert_eq!(
            parse(&[0xFF, 0xFF]),
            Err(Rc::SIZE.at(Position::parameter(1)))
        );
        assert_eq!(parse(&[0, 0, 0, 0, 9]), Err(Rc::SIZE));
        let _ = MAX_NV_BUFFER;
    }

    #[test]
    fn a_command_survives_the_round_trip() {
        let data = Tpm2bMaxNvBuffer::new(Vec::from(*b"abc")).unwrap();
        let write = NvWrite {
            auth_handle: TpmiRhNvAuth(INDEX),
            nv_index: TpmiRhNvIndex(INDEX),
            data,
            offset: 4,
        };
        let mut parameters = Vec::new();
        write.marshal_parameters(&mut parameters);
        assert_eq!(
            NvWrite::parse(&write.handles(), Input::new(&parameters, &Limits::ALL)),
            Ok(write)
        );
    }
}
