//! What a TPM is made to be: algorithms, commands and limits, fixed at manufacture.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use tpm_wire::codec::Limits;
use tpm_wire::table::CommandInfo;

/// Algorithms, commands and limits of one TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name by which the profile was chosen.
    pub name: Cow<'static, str>,
    /// What parsing depends on: algorithms, key sizes, number of handles.
    pub limits: Limits,
    /// Command codes of the table that this TPM does not have.
    pub disabled_commands: Vec<u32>,
    /// Sessions that can be loaded at once.
    pub loaded_sessions: u32,
    /// Objects that can be persistent.
    pub persistent_objects: u32,
    /// Largest command and response, bytes.
    pub max_command_size: u32,
    /// Largest NV Index, bytes.
    pub max_nv_index: u16,
    /// Bytes of NV memory for indices and persistent objects.
    pub nv_memory: u32,
    /// Library specification revision that the TPM reports, times 100.
    pub revision: u32,
}

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
            loaded_sessions: 64,
            persistent_objects: 64,
            max_command_size: 8192,
            max_nv_index: 10240,
            nv_memory: 512 * 1024,
            revision: 184,
        }
    }
}

impl Profile {
    /// The built-in profile of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        (name == "default").then(Self::default)
    }

    /// The profile as it is stored with the state.
    pub(crate) fn marshal(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
    }

    /// The profile that was stored with a state.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::by_name(core::str::from_utf8(bytes).ok()?)
    }

    /// Whether this TPM has the command.
    #[must_use]
    pub fn has_command(&self, command: &CommandInfo) -> bool {
        !self.disabled_commands.contains(&command.code)
    }
}
