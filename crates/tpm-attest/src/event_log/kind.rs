//! The types of events (PC Client Platform Firmware Profile, 10.4.1).

use std::fmt;

macro_rules! event_types {
    ($($name:ident = $number:literal),* $(,)?) => {
        #[expect(missing_docs, reason = "the constants carry the names of the profile, without EV_")]
        impl EventType {
            $(pub const $name: Self = Self($number);)*

            /// The name of the type, with `EV_`; none for a type that the profile does not have.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(concat!("EV_", stringify!($name))),)*
                    _ => None,
                }
            }

            /// Every type of the profile.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(pub u32);

event_types! {
    PREBOOT_CERT = 0x0,
    POST_CODE = 0x1,
    UNUSED = 0x2,
    NO_ACTION = 0x3,
    SEPARATOR = 0x4,
    ACTION = 0x5,
    EVENT_TAG = 0x6,
    S_CRTM_CONTENTS = 0x7,
    S_CRTM_VERSION = 0x8,
    CPU_MICROCODE = 0x9,
    PLATFORM_CONFIG_FLAGS = 0xA,
    TABLE_OF_DEVICES = 0xB,
    COMPACT_HASH = 0xC,
    IPL = 0xD,
    IPL_PARTITION_DATA = 0xE,
    NONHOST_CODE = 0xF,
    NONHOST_CONFIG = 0x10,
    NONHOST_INFO = 0x11,
    OMIT_BOOT_DEVICE_EVENTS = 0x12,
    POST_CODE2 = 0x13,
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001,
    EFI_VARIABLE_BOOT = 0x8000_0002,
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003,
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004,
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005,
    EFI_GPT_EVENT = 0x8000_0006,
    EFI_ACTION = 0x8000_0007,
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008,
    EFI_HANDOFF_TABLES = 0x8000_0009,
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000A,
    EFI_HANDOFF_TABLES2 = 0x8000_000B,
    EFI_VARIABLE_BOOT2 = 0x8000_000C,
    EFI_GPT_EVENT2 = 0x8000_000D,
    EFI_HCRTM_EVENT = 0x8000_0010,
    EFI_VARIABLE_AUTHORITY = 0x8000_00E0,
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00E1,
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00E2,
    EFI_SPDM_DEVICE_POLICY = 0x8000_00E3,
    EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00E4,
}

impl EventType {
    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == Some(name))
    }

    /// Whether what was measured is the event's data, byte for byte, so that the digest shows whether the data is true.
    #[must_use]
    pub const fn measures_its_data(self) -> bool {
        matches!(
            self,
            Self::SEPARATOR
                | Self::ACTION
                | Self::EFI_ACTION
                | Self::S_CRTM_VERSION
                | Self::EFI_VARIABLE_DRIVER_CONFIG
                | Self::EFI_VARIABLE_AUTHORITY
                | Self::EFI_GPT_EVENT
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {:#010x}", self.0),
        }
    }
}
