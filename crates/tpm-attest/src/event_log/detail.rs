//! What an event's data says, for people and for policies.

use std::fmt;

use serde::Serialize;

use super::bytes::{Reader, from_utf16};
use super::data::{Guid, SpecId, startup_locality};
use super::{Event, EventType};

/// Most characters of a variable's name.
const MAX_NAME: u64 = 4096;

/// What an event's data says, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Detail {
    /// The first event of a crypto-agile log.
    SpecId {
        /// The banks, by their numbers.
        banks: Vec<u16>,
    },
    /// The locality of `TPM2_Startup`.
    StartupLocality {
        /// 0, 3 or 4.
        locality: u8,
    },
    /// The border between firmware and what it starts.
    Separator {
        /// Zero, or an error.
        value: String,
    },
    /// A variable of UEFI.
    Variable {
        /// Whose it is.
        vendor: String,
        /// Its name.
        name: String,
        /// Bytes of its value.
        size: usize,
        /// Whether a variable of one byte is 1, as SecureBoot is.
        enabled: Option<bool>,
    },
    /// A program that UEFI loaded.
    Image {
        /// Where it was loaded.
        address: u64,
        /// Its size.
        length: u64,
        /// The files in its device path.
        path: String,
    },
    /// The partitions of the boot disk.
    Gpt {
        /// The disk.
        disk: String,
        /// Partitions in use.
        partitions: u64,
    },
    /// An event of an operating system.
    Tagged {
        /// What it is about.
        id: u32,
        /// Bytes of it.
        size: usize,
    },
    /// A text.
    Text {
        /// It.
        text: String,
    },
    /// Something else.
    Other {
        /// Bytes of it.
        size: usize,
    },
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecId { banks } => write!(f, "log of {} banks", banks.len()),
            Self::StartupLocality { locality } => write!(f, "started at locality {locality}"),
            Self::Separator { value } => write!(f, "separator {value}"),
            Self::Variable {
                name,
                enabled: Some(on),
                ..
            } => {
                write!(f, "{name} = {}", if *on { "on" } else { "off" })
            }
            Self::Variable { name, size, .. } => write!(f, "{name}, {size} bytes"),
            Self::Image { path, length, .. } if path.is_empty() => {
                write!(f, "an image of {length} bytes")
            }
            Self::Image { path, .. } => f.write_str(path),
            Self::Gpt { disk, partitions } => write!(f, "disk {disk}, {partitions} partitions"),
            Self::Tagged { id, size } => write!(f, "tag {id:#x}, {size} bytes"),
            Self::Text { text } => f.write_str(text),
            Self::Other { size } => write!(f, "{size} bytes"),
        }
    }
}

impl Event {
    /// What the data says. It is what firmware tells: only a digest that a TPM vouches for makes it true.
    #[must_use]
    pub fn detail(&self) -> Detail {
        let data = self.data.as_slice();
        let read = match self.kind {
            EventType::NO_ACTION => no_action(data),
            EventType::SEPARATOR => Some(Detail::Separator {
                value: hex::encode(data),
            }),
            EventType::EFI_VARIABLE_DRIVER_CONFIG
            | EventType::EFI_VARIABLE_BOOT
            | EventType::EFI_VARIABLE_BOOT2
            | EventType::EFI_VARIABLE_AUTHORITY => read_variable(data),
            EventType::EFI_BOOT_SERVICES_APPLICATION
            | EventType::EFI_BOOT_SERVICES_DRIVER
            | EventType::EFI_RUNTIME_SERVICES_DRIVER => read_image(data),
            EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 => read_gpt(data),
            EventType::EVENT_TAG => read_tagged(data),
            EventType::EFI_PLATFORM_FIRMWARE_BLOB2 => read_blob(data),
            _ => None,
        };
        read.or_else(|| text(data).map(|text| Detail::Text { text }))
            .unwrap_or(Detail::Other { size: data.len() })
    }
}

fn no_action(data: &[u8]) -> Option<Detail> {
    if let Some(locality) = startup_locality(data) {
        return Some(Detail::StartupLocality { locality });
    }
    let spec_id = SpecId::parse(data).ok()?;
    Some(Detail::SpecId {
        banks: spec_id.banks.iter().map(|(alg, _)| alg.0).collect(),
    })
}

fn read_variable(data: &[u8]) -> Option<Detail> {
    let (vendor, name, value) = variable_parts(data)?;
    let enabled = match value {
        [byte] => Some(*byte == 1),
        _ => None,
    };
    Some(Detail::Variable {
        vendor: vendor.to_string(),
        name,
        size: value.len(),
        enabled,
    })
}

/// The value of the variable that an event tells of.
pub(super) fn variable_value(data: &[u8]) -> Option<&[u8]> {
    variable_parts(data).map(|(_, _, value)| value)
}

fn variable_parts(data: &[u8]) -> Option<(Guid, String, &[u8])> {
    let mut reader = Reader::new(data);
    let vendor = Guid(reader.take(16)?.try_into().ok()?);
    let characters = reader.u64().filter(|count| *count <= MAX_NAME)?;
    let size = usize::try_from(reader.u64()?).ok()?;
    let name = reader.take(usize::try_from(characters).ok()? * 2)?;
    Some((vendor, from_utf16(name), reader.take(size)?))
}

fn read_image(data: &[u8]) -> Option<Detail> {
    let mut reader = Reader::new(data);
    let address = reader.u64()?;
    let length = reader.u64()?;
    reader.u64()?;
    let path = reader.u64()?;
    let path = reader.take(usize::try_from(path).ok()?)?;
    Some(Detail::Image {
        address,
        length,
        path: path_files(path),
    })
}

/// The file names in a device path, one behind the other.
fn path_files(path: &[u8]) -> String {
    let mut reader = Reader::new(path);
    let mut files = String::new();
    while let Some(header) = reader.take(2) {
        let Some(size) = reader
            .u16()
            .and_then(|size| usize::from(size).checked_sub(4))
        else {
            break;
        };
        let Some(node) = reader.take(size) else { break };
        match header {
            [4, 4] => files.push_str(&from_utf16(node)),
            [0x7F, _] => break,
            _ => {}
        }
    }
    files
}

fn read_gpt(data: &[u8]) -> Option<Detail> {
    let mut reader = Reader::new(data);
    reader
        .take(8)
        .filter(|signature| signature == b"EFI PART")?;
    reader.take(48)?;
    let disk = Guid(reader.take(16)?.try_into().ok()?);
    reader.take(20)?;
    Some(Detail::Gpt {
        disk: disk.to_string(),
        partitions: reader.u64()?,
    })
}

fn read_tagged(data: &[u8]) -> Option<Detail> {
    let mut reader = Reader::new(data);
    let id = reader.u32()?;
    let size = reader.size()?;
    (reader.rest().len() == size).then_some(Detail::Tagged { id, size })
}

fn read_blob(data: &[u8]) -> Option<Detail> {
    let mut reader = Reader::new(data);
    let length = reader.u8()?;
    let name = text(reader.take(usize::from(length))?)?;
    let (base, length) = (reader.u64()?, reader.u64()?);
    // All of it, since nothing of it is measured: a policy that knows the text knows every byte.
    reader.rest().is_empty().then(|| Detail::Text {
        text: format!("{name}, {length:#x} bytes at {base:#x}"),
    })
}

/// The data as text, if it is one: of one byte or of two bytes a character.
fn text(data: &[u8]) -> Option<String> {
    let readable = |text: &str| !text.is_empty() && text.chars().all(|c| !c.is_control());
    let bytes = data.strip_suffix(&[0]).unwrap_or(data);
    if let Some(text) = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| readable(text))
    {
        return Some(text.to_owned());
    }
    let wide = from_utf16(data);
    (data.len() >= 4 && readable(&wide) && wide.is_ascii()).then_some(wide)
}
