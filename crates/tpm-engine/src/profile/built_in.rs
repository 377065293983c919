//! The profiles that have a name.

use super::Profile;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use tpm_wire::commands::COMMANDS;
use tpm_wire::constants::TpmAlgId;

impl Profile {
    /// The names of the built-in profiles.
    pub const NAMES: [&'static str; 6] = [
        "default",
        "pc-client",
        "swtpm-0.7",
        "null",
        "default-v1",
        "default-v2",
    ];

    /// The built-in profile of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::default()),
            "pc-client" => Some(Self::pc_client()),
            "swtpm-0.7" => Some(Self::swtpm_0_7()),
            // The names of libtpms: "null" is what version 0.9 had, the others are those of 0.10 and 0.11.
            "null" => Some(Self {
                name: Cow::Borrowed("null"),
                ..Self::swtpm_0_7()
            }),
            "default-v1" => Some(Self::libtpms_later("default-v1", false)),
            "default-v2" => Some(Self::libtpms_later("default-v2", true)),
            _ => None,
        }
    }

    /// The commands and algorithms that the PC Client platform profile knows, in the sizes of a chip.
    fn pc_client() -> Self {
        let mut profile = Self {
            name: Cow::Borrowed("pc-client"),
            loaded_sessions: 3,
            persistent_objects: 7,
            persistent_min: 7,
            max_command_size: 4096,
            max_nv_index: 2048,
            max_nv_buffer: 1024,
            nv_memory: 32 * 1024,
            orderly_memory: 2048,
            ..Self::default()
        };
        profile.limits.transient_objects = 3;
        for algorithm in [
            TpmAlgId::TDES,
            TpmAlgId::CAMELLIA,
            TpmAlgId::SM4,
            TpmAlgId::SM3_256,
            TpmAlgId::SM2,
            TpmAlgId::SHA3_256,
            TpmAlgId::SHA3_384,
            TpmAlgId::SHA3_512,
        ] {
            profile.limits.remove_algorithm(algorithm);
        }
        // P-256 and P-384 stay.
        for curve in [1, 2, 5, 0x10, 0x11, 0x20] {
            profile.limits.remove_curve(curve);
        }
        profile.limits.remove_rsa_key_size(1024);
        profile.limits.remove_rsa_key_size(4096);
        profile
    }

    /// What swtpm 0.7.1 with libtpms 0.9.2 is and reports, as Debian 12 has it.
    fn swtpm_0_7() -> Self {
        let mut profile = Self {
            name: Cow::Borrowed("swtpm-0.7"),
            // It has the commands of version 1.59, and TPM2_CertifyX509 above them.
            disabled_commands: commands_above_0x193_but(&[0x197]),
            revision: 164,
            date: [75, 2021],
            platform: [0x322E_3000, 0, 164, 75, 2021],
            firmware_version: 0x2019_1023_0016_3636,
            ..Self::libtpms()
        };
        let limits = &mut profile.limits;
        limits.remove_rsa_key_size(4096);
        limits.remove_symmetric_key_size(TpmAlgId::AES, 192);
        limits.remove_symmetric_key_size(TpmAlgId::CAMELLIA, 192);
        profile
    }

    /// What later versions of libtpms have by default: more commands and key sizes, the same memory.
    fn libtpms_later(name: &'static str, rsa_4096: bool) -> Self {
        let mut profile = Self {
            name: Cow::Borrowed(name),
            disabled_commands: commands_above_0x193_but(&[0x197, 0x199, 0x19A, 0x19B, 0x19C]),
            revision: 183,
            date: [25, 2024],
            platform: [0x322E_3000, 0, 183, 25, 2024],
            ..Self::libtpms()
        };
        if !rsa_4096 {
            profile.limits.remove_rsa_key_size(4096);
        }
        profile
    }

    /// What is the same in all versions of libtpms.
    fn libtpms() -> Self {
        let mut profile = Self {
            loaded_sessions: 3,
            persistent_objects: 65,
            persistent_min: 7,
            max_command_size: 4096,
            max_nv_index: 2048,
            max_nv_buffer: 1024,
            nv_memory: 128 * 1024,
            orderly_memory: 512,
            clock_update: 4096,
            max_object_context: 0xA84,
            max_session_context: 0x194,
            memory: 6,
            manufacturer: *b"IBM\0",
            vendor_strings: [*b"SW  ", *b" TPM", [0; 4], [0; 4]],
            ..Self::default()
        };
        let limits = &mut profile.limits;
        limits.transient_objects = 3;
        limits.act_count = 0;
        for algorithm in [
            TpmAlgId::SM4,
            TpmAlgId::SM3_256,
            TpmAlgId::SHA3_256,
            TpmAlgId::SHA3_384,
            TpmAlgId::SHA3_512,
        ] {
            limits.remove_algorithm(algorithm);
        }
        profile
    }
}

/// The command codes beyond those of version 1.38, less some that a TPM has all the same.
fn commands_above_0x193_but(but: &[u32]) -> Vec<u32> {
    let codes = COMMANDS.iter().map(|command| command.code);
    codes
        .filter(|code| *code > 0x193 && !but.contains(code))
        .collect()
}
