//! How the state becomes bytes, and bytes become state.
//!
//! Every subsystem writes its share of four groups, one for each span over which data lives (Part 1, 12.2). A blob is a
//! magic word, a format version and a sequence of sections: tag (16 bits), length (32 bits), content. All integers are
//! big-endian. The layout is hand-written, never derived from live structures, so that a stored blob opens for ever.
//! Blobs are treated as hostile: every length is checked against the bytes that are there.

use crate::identity::Identity;
use crate::platform::Platform;
use crate::profile::Profile;
use crate::state::Tpm;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use tpm_wire::codec::{Input, Limits, Marshal, Parse, Parsed, refuse, response_code, take};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// The span over which a share of the state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Until it is changed: kept over every loss of power.
    Permanent,
    /// Until the next TPM Reset: saved by `TPM2_Shutdown(STATE)`, restored by TPM Restart and TPM Resume.
    Reset,
    /// Until the next `TPM2_Startup(CLEAR)`: saved by `TPM2_Shutdown(STATE)`, restored by TPM Resume alone.
    Clear,
    /// Until power is lost.
    Volatile,
}

/// A subsystem's part in the state's bytes.
pub(crate) trait Section {
    /// Appends the subsystem's share of a group; nothing if it has none.
    fn write(&self, group: Group, out: &mut Vec<u8>);

    /// Takes over what [`write`](Self::write) wrote, from exactly those bytes.
    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()>;
}

/// Why a blob was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// It does not begin like a blob of this kind.
    NotAState,
    /// It was written by a later version of the format.
    UnknownVersion(u16),
    /// A section is missing, cut, too long or holds what cannot be.
    Damaged {
        /// The tag of the section.
        section: u16,
    },
    /// The blob of a running TPM was given for another TPM.
    AnotherTpm,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAState => f.write_str("these bytes are not the state of a TPM"),
            Self::UnknownVersion(version) => {
                write!(
                    f,
                    "the TPM state has format version {version}; this program knows up to {VERSION}"
                )
            }
            Self::Damaged { section } => write!(f, "section {section} of the TPM state is damaged"),
            Self::AnotherTpm => f.write_str("the volatile state belongs to another TPM"),
        }
    }
}

impl core::error::Error for StateError {}

const PERMANENT_MAGIC: u32 = 0x7654_504D; // "vTPM"
const VOLATILE_MAGIC: u32 = 0x7654_5076; // "vTPv"
/// The last version that is known here. What is written has the first version that can hold it.
const VERSION: u16 = 2;
/// Knows of one way from a seed to primary keys, ours.
const ONE_DERIVATION: u16 = 1;
/// Ends every blob, so that a cut one is noticed.
const END: u16 = 0xFFFF;
const PROFILE: u16 = 0x0001;
const SAVED_STATE: u16 = 0x0002;
const POWER: u16 = 0x0003;
const IDENTITY: u16 = 0x0004;

/// Tags of the subsystems' sections; a tag is never given to another subsystem.
mod tag {
    pub(super) const HIERARCHIES: u16 = 0x0010;
    pub(super) const DICTIONARY_ATTACK: u16 = 0x0011;
    pub(super) const CLOCK: u16 = 0x0012;
    pub(super) const COMMAND_AUDIT: u16 = 0x0013;
    pub(super) const PCRS: u16 = 0x0014;
    pub(super) const NV: u16 = 0x0015;
    pub(super) const OBJECTS: u16 = 0x0016;
    pub(super) const SESSIONS: u16 = 0x0017;
    pub(super) const MANAGEMENT: u16 = 0x0018;
    pub(super) const COMMITS: u16 = 0x0019;
}

impl Tpm {
    fn sections(&self) -> [(u16, &dyn Section); 10] {
        [
            (tag::HIERARCHIES, &self.hierarchies),
            (tag::DICTIONARY_ATTACK, &self.dictionary_attack),
            (tag::CLOCK, &self.clock),
            (tag::COMMAND_AUDIT, &self.command_audit),
            (tag::PCRS, &self.pcrs),
            (tag::NV, &self.nv),
            (tag::OBJECTS, &self.objects),
            (tag::SESSIONS, &self.sessions),
            (tag::MANAGEMENT, &self.management),
            (tag::COMMITS, &self.commits),
        ]
    }

    fn section_mut(&mut self, section: u16) -> Option<&mut dyn Section> {
        Some(match section {
            tag::HIERARCHIES => &mut self.hierarchies,
            tag::DICTIONARY_ATTACK => &mut self.dictionary_attack,
            tag::CLOCK => &mut self.clock,
            tag::COMMAND_AUDIT => &mut self.command_audit,
            tag::PCRS => &mut self.pcrs,
            tag::NV => &mut self.nv,
            tag::OBJECTS => &mut self.objects,
            tag::SESSIONS => &mut self.sessions,
            tag::MANAGEMENT => &mut self.management,
            tag::COMMITS => &mut self.commits,
            _ => return None,
        })
    }

    /// The version that the bytes of this state have.
    fn state_version(&self) -> u16 {
        if self.hierarchies.has_foreign_seed() {
            VERSION
        } else {
            ONE_DERIVATION
        }
    }

    /// Appends every subsystem's share of a group.
    fn write_group(&self, group: Group, out: &mut Vec<u8>) {
        for (section, subsystem) in self.sections() {
            write_section(section, out, |out| subsystem.write(group, out));
        }
    }

    /// Takes over every subsystem's share of a group, in any order, from exactly `bytes`.
    fn read_group(&mut self, group: Group, bytes: &[u8]) -> Result<(), StateError> {
        let limits = Limits::ALL;
        let mut rest = Input::new(bytes, &limits);
        while !rest.is_empty() {
            let (after, section, content) =
                read_section(rest).map_err(|_| StateError::Damaged { section: 0 })?;
            let subsystem = self
                .section_mut(section)
                .ok_or(StateError::Damaged { section })?;
            match subsystem.read(group, content) {
                Ok((left, ())) if left.is_empty() => rest = after,
                _ => return Err(StateError::Damaged { section }),
            }
        }
        Ok(())
    }

    /// What `TPM2_Shutdown(STATE)` saves: the groups that TPM Restart and TPM Resume restore.
    pub(crate) fn saved_groups(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Vec::new();
        for group in [Group::Reset, Group::Clear] {
            write_section(0, &mut out, |out| self.write_group(group, out));
        }
        Zeroizing::new(out)
    }

    /// Restores what [`saved_groups`](Self::saved_groups) saved; the Clear group only on TPM Resume.
    pub(crate) fn restore_groups(&mut self, saved: &[u8], resume: bool) -> Result<(), StateError> {
        let limits = Limits::ALL;
        let damaged = |_| StateError::Damaged {
            section: SAVED_STATE,
        };
        let (rest, _, reset) = read_section(Input::new(saved, &limits)).map_err(damaged)?;
        let (_, _, clear) = read_section(rest).map_err(damaged)?;
        self.read_group(Group::Reset, reset.bytes())?;
        if resume {
            self.read_group(Group::Clear, clear.bytes())?;
        }
        Ok(())
    }

    /// The permanent state as bytes, and the promise that they will be stable: [`must_persist`](Self::must_persist) is false afterwards.
    pub fn permanent_state(&mut self) -> Zeroizing<Vec<u8>> {
        self.persist = false;
        self.permanent_bytes()
    }

    pub(crate) fn permanent_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Vec::with_capacity(4096);
        PERMANENT_MAGIC.marshal(&mut out);
        self.state_version().marshal(&mut out);
        write_section(PROFILE, &mut out, |out| self.profile.marshal(out));
        write_section(POWER, &mut out, |out| self.power.marshal_permanent(out));
        write_section(IDENTITY, &mut out, |out| self.identity.marshal(out));
        self.write_group(Group::Permanent, &mut out);
        write_section(SAVED_STATE, &mut out, |out| {
            out.extend_from_slice(&self.power.saved_state)
        });
        END.marshal(&mut out);
        Zeroizing::new(out)
    }

    /// A TPM from its permanent state, after `_TPM_Init`: it waits for `TPM2_Startup`.
    ///
    /// # Errors
    /// The blob is not one, is of a later version, or is damaged.
    pub fn load(permanent: &[u8], platform: Box<dyn Platform>) -> Result<Self, StateError> {
        let limits = Limits::ALL;
        let (rest, profile) = read_start(permanent, PERMANENT_MAGIC, &limits)
            .and_then(|rest| expect_section(rest, PROFILE))?;
        let profile =
            Profile::from_bytes(profile.bytes()).ok_or(StateError::Damaged { section: PROFILE })?;
        let mut tpm = Self::blank(profile, platform);
        tpm.read_permanent(rest)?;
        if !tpm.identity.is_known() {
            // It was stored before identities were.
            tpm.identity = tpm.hierarchies.identity();
        }
        tpm.init();
        tpm.persist = false;
        Ok(tpm)
    }

    /// Puts the permanent state back to `permanent`, which this TPM gave earlier, since a later change could not be stored. A PCR
    /// goes back too: a command that is refused has measured nothing, or the guest that tries again measures twice (Part 3, 22.2).
    ///
    /// # Errors
    /// The bytes are not such a state; nothing can be done with this TPM then but to load it anew.
    pub fn restore_permanent(&mut self, permanent: &[u8]) -> Result<(), StateError> {
        let limits = Limits::ALL;
        let (rest, _) = read_start(permanent, PERMANENT_MAGIC, &limits)
            .and_then(|rest| expect_section(rest, PROFILE))?;
        self.read_permanent(rest)?;
        if let Some(before) = self.running.pcr_before.take() {
            self.pcrs.take_back(&before);
        }
        self.persist = false;
        Ok(())
    }

    fn read_permanent(&mut self, input: Input<'_>) -> Result<(), StateError> {
        let damaged = |section| move |_| StateError::Damaged { section };
        let mut rest = input;
        loop {
            if rest.bytes() == END.to_be_bytes() {
                return Ok(());
            }
            let (after, section, content) = read_section(rest).map_err(damaged(0))?;
            rest = after;
            match section {
                SAVED_STATE => self.power.saved_state = Zeroizing::new(content.bytes().to_vec()),
                IDENTITY => match Identity::parse(content) {
                    Ok((left, identity)) if left.is_empty() => self.identity = identity,
                    _ => return Err(StateError::Damaged { section }),
                },
                POWER => {
                    self.power
                        .parse_permanent(content)
                        .map_err(|error| damaged(POWER)(response_code(error)))?;
                }
                _ => {
                    let subsystem = self
                        .section_mut(section)
                        .ok_or(StateError::Damaged { section })?;
                    match subsystem.read(Group::Permanent, content) {
                        Ok((left, ())) if left.is_empty() => {}
                        _ => return Err(StateError::Damaged { section }),
                    }
                }
            }
        }
    }

    /// The state that lives until power is lost, as bytes, for a TPM that moves while it runs.
    #[must_use]
    pub fn volatile_state(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Vec::with_capacity(8192);
        VOLATILE_MAGIC.marshal(&mut out);
        self.state_version().marshal(&mut out);
        write_section(POWER, &mut out, |out| self.power.marshal_volatile(out));
        for group in [Group::Reset, Group::Clear, Group::Volatile] {
            write_section(0, &mut out, |out| self.write_group(group, out));
        }
        write_section(IDENTITY, &mut out, |out| self.identity.marshal(out));
        END.marshal(&mut out);
        Zeroizing::new(out)
    }

    /// Makes a TPM that was [loaded](Self::load) from the permanent state of the same moment go on where the other stopped, without `TPM2_Startup`.
    ///
    /// # Errors
    /// The blob is not one, is of a later version, or is damaged; this TPM is then as after [`init`](Self::init).
    pub fn restore_volatile(&mut self, volatile: &[u8]) -> Result<(), StateError> {
        let restored = self.read_volatile(volatile);
        if restored.is_err() {
            self.init();
        } else if self.power.started {
            // No startup follows that would test; a wrong answer leaves the TPM in failure mode.
            let _ = self.power.test_at_startup();
        }
        restored
    }

    fn read_volatile(&mut self, volatile: &[u8]) -> Result<(), StateError> {
        let limits = Limits::ALL;
        let (mut rest, power) = read_start(volatile, VOLATILE_MAGIC, &limits)
            .and_then(|rest| expect_section(rest, POWER))?;
        self.power
            .parse_volatile(power)
            .map_err(|_| StateError::Damaged { section: POWER })?;
        for group in [Group::Reset, Group::Clear, Group::Volatile] {
            let content;
            (rest, content) = expect_section(rest, 0)?;
            self.read_group(group, content.bytes())?;
        }
        // Blobs from before identities were stored end here.
        if let Ok((after, IDENTITY, content)) = read_section(rest) {
            let (_, identity) =
                Identity::parse(content).map_err(|_| StateError::Damaged { section: IDENTITY })?;
            if identity != self.identity {
                return Err(StateError::AnotherTpm);
            }
            rest = after;
        }
        if rest.bytes() != END.to_be_bytes() {
            return Err(StateError::Damaged { section: END });
        }
        self.clock.resume(self.platform.milliseconds());
        Ok(())
    }
}

fn read_start<'a>(
    bytes: &'a [u8],
    magic: u32,
    limits: &'a Limits,
) -> Result<Input<'a>, StateError> {
    let (rest, found) = u32::parse(Input::new(bytes, limits)).map_err(|_| StateError::NotAState)?;
    let (rest, version) = u16::parse(rest).map_err(|_| StateError::NotAState)?;
    match (found == magic, version) {
        (false, _) => Err(StateError::NotAState),
        (true, ONE_DERIVATION..=VERSION) => Ok(rest),
        (true, other) => Err(StateError::UnknownVersion(other)),
    }
}

fn expect_section(input: Input<'_>, expected: u16) -> Result<(Input<'_>, Input<'_>), StateError> {
    match read_section(input) {
        Ok((rest, section, content)) if section == expected => Ok((rest, content)),
        _ => Err(StateError::Damaged { section: expected }),
    }
}

/// Writes tag, length and content of a section; an empty one is left out, except those that a reader expects.
pub(crate) fn write_section(section: u16, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    section.marshal(out);
    let start = out.len();
    0u32.marshal(out);
    content(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn read_section(input: Input<'_>) -> Result<(Input<'_>, u16, Input<'_>), Rc> {
    let (rest, section) = u16::parse(input).map_err(response_code)?;
    let (rest, content) = sized(rest).map_err(response_code)?;
    Ok((rest, section, content))
}

fn sized(input: Input<'_>) -> Parsed<'_, Input<'_>> {
    let (rest, length) = u32::parse(input)?;
    let Ok(length) = usize::try_from(length) else {
        return refuse(Rc::SIZE);
    };
    let (rest, content) = take(rest, length)?;
    Ok((rest, rest.with(content)))
}

/// Writes bytes with a length of 32 bits, for contents that may outgrow a sized buffer.
pub(crate) fn marshal_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).marshal(out);
    out.extend_from_slice(bytes);
}

/// Reads what [`marshal_bytes`] wrote.
pub(crate) fn parse_bytes(input: Input<'_>) -> Parsed<'_, Vec<u8>> {
    sized(input).map(|(rest, content)| (rest, content.bytes().to_vec()))
}
