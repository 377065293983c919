//! What a TPM is made to be: algorithms, commands, limits and what it calls itself, fixed at manufacture.
//!
//! A profile is stored whole with the state of each TPM, in the text form of [`Profile::to_text`]: a TPM made today keeps
//! its commands and algorithms when a later program knows more.

mod built_in;
mod text;
mod words;

pub use text::ProfileError;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::codec::Limits;
use tpm_wire::commands::COMMANDS;
use tpm_wire::table::CommandInfo;

/// Algorithms, commands, limits and identity of one TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name by which the profile was chosen.
    pub name: Cow<'static, str>,
    /// What parsing depends on: algorithms, key sizes, number of handles.
    pub limits: Limits,
    /// Command codes of the table that this TPM does not have, ascending.
    pub disabled_commands: Vec<u32>,
    /// Hashes whose PCR banks a new TPM has, with all PCR; the others can be allocated.
    pub pcr_banks: Vec<TpmiAlgHash>,
    /// Sessions that can be loaded at once.
    pub loaded_sessions: u32,
    /// Objects that can be persistent.
    pub persistent_objects: u32,
    /// Persistent objects that the TPM promises room for (`TPM_PT_HR_PERSISTENT_MIN`).
    pub persistent_min: u32,
    /// Largest command and response, bytes.
    pub max_command_size: u32,
    /// Largest NV Index, bytes.
    pub max_nv_index: u16,
    /// Most bytes of an NV Index in one command (`TPM_PT_NV_BUFFER_MAX`).
    pub max_nv_buffer: u16,
    /// Bytes of NV memory for indices.
    pub nv_memory: u32,
    /// Bytes of memory for the contents of orderly indices, which live in RAM between shutdowns.
    pub orderly_memory: u32,
    /// Milliseconds of the clock after which it is stored again, a power of two (`TPM_PT_CLOCK_UPDATE`).
    pub clock_update: u32,
    /// Largest saved context of an object (`TPM_PT_MAX_OBJECT_CONTEXT`).
    pub max_object_context: u32,
    /// Largest saved context of a session (`TPM_PT_MAX_SESSION_CONTEXT`).
    pub max_session_context: u32,
    /// How memory is shared, as `TPMA_MEMORY` (`TPM_PT_MEMORY`).
    pub memory: u32,
    /// Library specification version that the TPM reports, times 100.
    pub revision: u32,
    /// Day of the year and year of that specification.
    pub date: [u32; 2],
    /// The platform's specification: family, level, revision, day of the year, year.
    pub platform: [u32; 5],
    /// Four characters of the manufacturer (`TPM_PT_MANUFACTURER`).
    pub manufacturer: [u8; 4],
    /// The four vendor strings of four characters.
    pub vendor_strings: [[u8; 4]; 4],
    /// The vendor's model number (`TPM_PT_VENDOR_TPM_TYPE`).
    pub vendor_type: u32,
    /// Firmware version; its halves are `TPM_PT_FIRMWARE_VERSION_1` and `_2`.
    pub firmware_version: u64,
}

/// The PCR banks of a new TPM, as far as it has their hashes.
const DEFAULT_BANKS: [TpmiAlgHash; 4] = [
    TpmiAlgHash::Sha1,
    TpmiAlgHash::Sha256,
    TpmiAlgHash::Sha384,
    TpmiAlgHash::Sha512,
];

impl Default for Profile {
    fn default() -> Self {
        let mut limits = Limits::ALL;
        limits.transient_objects = 16;
        limits.active_sessions = 64;
        limits.act_count = 1;
        Self {
            name: Cow::Borrowed("default"),
            limits,
            disabled_commands: Vec::new(),
            pcr_banks: DEFAULT_BANKS.to_vec(),
            loaded_sessions: 64,
            persistent_objects: 64,
            persistent_min: 64,
            max_command_size: 8192,
            max_nv_index: 10240,
            max_nv_buffer: 2048,
            nv_memory: 512 * 1024,
            orderly_memory: 16 * 1024,
            clock_update: 1 << 22,
            max_object_context: 0x1000,
            max_session_context: 0x200,
            memory: 0,
            revision: 184,
            date: [79, 2025],
            platform: [1, 0, 0x105, 0, 0],
            manufacturer: *b"VTPM",
            vendor_strings: [*b"vtpm", [0; 4], [0; 4], [0; 4]],
            vendor_type: 1,
            firmware_version: 1 << 32,
        }
    }
}

/// Version of the library from which a TPM has hierarchies limited to its firmware and properties about them, times 100.
const FIRMWARE_LIMITED_SINCE: u32 = 183;
/// Version that brought the read-only mode, times 100.
const READ_ONLY_SINCE: u32 = 184;

impl Profile {
    /// Whether this TPM has the command.
    #[must_use]
    pub fn has_command(&self, command: &CommandInfo) -> bool {
        self.disabled_commands.binary_search(&command.code).is_err()
    }

    /// The commands that this TPM has, by ascending code.
    pub fn commands(&self) -> impl Iterator<Item = &'static CommandInfo> + '_ {
        COMMANDS
            .iter()
            .copied()
            .filter(|command| self.has_command(command))
    }

    /// Whether the TPM has hierarchies that are limited to its firmware or to a security version.
    pub(crate) const fn has_limited_hierarchies(&self) -> bool {
        self.revision >= FIRMWARE_LIMITED_SINCE
    }

    /// Whether the TPM knows the read-only mode.
    pub(crate) const fn has_read_only_mode(&self) -> bool {
        self.revision >= READ_ONLY_SINCE
    }

    /// The profile as it is stored with the state.
    pub(crate) fn marshal(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_text().as_bytes());
    }

    /// The profile that was stored with a state.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_text(core::str::from_utf8(bytes).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;
    use crate::testing;
    use tpm_wire::constants::TpmAlgId;

    #[test]
    fn every_built_in_profile_survives_the_round_trip_through_its_text() {
        for name in Profile::NAMES {
            let profile = Profile::by_name(name).unwrap();
            assert_eq!(profile.name, name);
            assert_eq!(Profile::from_text(&profile.to_text()), Ok(profile));
        }
        assert_eq!(Profile::by_name("none"), None);
    }

    #[test]
    fn the_profile_is_stored_with_the_tpm() {
        for name in Profile::NAMES {
            let tpm = testing::with_profile(Profile::by_name(name).unwrap()).reloaded();
            assert_eq!(tpm.profile(), &Profile::by_name(name).unwrap());
        }
    }

    #[test]
    fn swtpm_has_the_110_commands_and_the_algorithms_of_libtpms() {
        let profile = Profile::by_name("swtpm-0.7").unwrap();
        assert_eq!(profile.commands().count(), 110);
        let limits = &profile.limits;
        assert!(!limits.has_symmetric_key_size(TpmAlgId::AES, 192));
        assert!(limits.has_symmetric_key_size(TpmAlgId::TDES, 192));
        assert!(!limits.has_rsa_key_size(4096) && limits.has_rsa_key_size(1024));
        assert!(!limits.has_algorithm(TpmAlgId::SHA3_256));
    }
}
