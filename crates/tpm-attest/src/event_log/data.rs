//! What events hold (TCG PC Client Platform Firmware Profile, 10.4; UEFI Specification, 10).

use std::fmt;

use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::constants::TpmAlgId;

use super::MAX_LOG_BANKS;
use super::bytes::{Reader, put_size, put_u16, put_u32, put_u64, utf16};

/// What the data of the first event of a crypto-agile log begins with.
pub(super) const SPEC_ID_03: &[u8] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// What boot loaders put before the text that they measured.
const BOOT_LOADER_TEXTS: [&[u8]; 3] = [b"grub_cmd: ", b"kernel_cmdline: ", b"module_cmdline: "];

/// A GUID, as its sixteen bytes lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// `EFI_GLOBAL_VARIABLE`: SecureBoot, PK, KEK, BootOrder and others.
    pub const GLOBAL_VARIABLE: Self = Self([
        0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b,
        0x8c,
    ]);
    /// `EFI_IMAGE_SECURITY_DATABASE_GUID`: db and dbx.
    pub const IMAGE_SECURITY_DATABASE: Self = Self([
        0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65,
        0x6f,
    ]);
    /// `SHIM_LOCK_GUID`: the lists of a machine's owner.
    pub const SHIM_LOCK: Self = Self([
        0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b,
        0x23,
    ]);
    /// `EFI_CERT_X509_GUID`: the type of a signature list that holds certificates.
    pub const CERT_X509: Self = Self([
        0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0,
        0x72,
    ]);
    /// `EFI_CERT_SHA256_GUID`: the type of a signature list that holds digests.
    pub const CERT_SHA256: Self = Self([
        0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43,
        0x28,
    ]);
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first three fields are numbers, and numbers lie there backwards.
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (place, from) in ORDER.into_iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(from).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `TCG_EfiSpecIDEvent`: what the first event of a crypto-agile log says (10.4.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecId {
    /// 0 for a client, 1 for a server.
    pub platform_class: u32,
    /// Major, minor and errata of the profile.
    pub version: (u8, u8, u8),
    /// Size of a native integer: 1 for 32 bits, 2 for 64.
    pub integer_size: u8,
    /// The banks and the sizes of their digests.
    pub banks: Vec<(TpmAlgId, u16)>,
    /// What the vendor adds.
    pub vendor: Vec<u8>,
}

impl SpecId {
    /// That of a client of 64 bits with these banks.
    #[must_use]
    pub fn of(banks: &[TpmiAlgHash]) -> Self {
        Self {
            platform_class: 0,
            version: (2, 0, 0),
            integer_size: 2,
            banks: banks
                .iter()
                .map(|alg| {
                    let size = u16::try_from(alg.digest_size()).unwrap_or_default();
                    (alg.id(), size)
                })
                .collect(),
            vendor: Vec::new(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(data);
        let short = || "is cut short".to_owned();
        if reader.take(SPEC_ID_03.len()) != Some(SPEC_ID_03) {
            return Err("does not begin with its signature".into());
        }
        let platform_class = reader.u32().ok_or_else(short)?;
        let minor = reader.u8().ok_or_else(short)?;
        let major = reader.u8().ok_or_else(short)?;
        let errata = reader.u8().ok_or_else(short)?;
        let integer_size = reader.u8().ok_or_else(short)?;
        let count = reader.size().ok_or_else(short)?;
        if count == 0 || count > MAX_LOG_BANKS {
            return Err(format!("names {count} banks, not 1 to {MAX_LOG_BANKS}"));
        }
        let mut banks: Vec<(TpmAlgId, u16)> = Vec::with_capacity(count);
        for _ in 0..count {
            let algorithm = TpmAlgId(reader.u16().ok_or_else(short)?);
            let size = reader.u16().ok_or_else(short)?;
            let known = TpmiAlgHash::from_id(algorithm);
            if known.is_some_and(|alg| alg.digest_size() != usize::from(size)) {
                let number = algorithm.0;
                return Err(format!(
                    "gives algorithm {number:#06x} digests of {size} bytes"
                ));
            }
            if banks.iter().any(|(other, _)| *other == algorithm) {
                return Err(format!("names algorithm {:#06x} twice", algorithm.0));
            }
            banks.push((algorithm, size));
        }
        let length = reader.u8().ok_or_else(short)?;
        let vendor = reader.take(usize::from(length)).ok_or_else(short)?.to_vec();
        if !reader.rest().is_empty() {
            return Err(format!("is {} bytes too long", reader.rest().len()));
        }
        Ok(Self {
            platform_class,
            version: (major, minor, errata),
            integer_size,
            banks,
            vendor,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = SPEC_ID_03.to_vec();
        put_u32(&mut out, self.platform_class);
        let (major, minor, errata) = self.version;
        out.extend([minor, major, errata, self.integer_size]);
        put_size(&mut out, self.banks.len());
        for (algorithm, size) in &self.banks {
            put_u16(&mut out, algorithm.0);
            put_u16(&mut out, *size);
        }
        out.push(u8::try_from(self.vendor.len()).unwrap_or(u8::MAX));
        out.extend(self.vendor.iter().take(usize::from(u8::MAX)));
        out
    }
}

/// The locality that a startup locality event tells (10.4.5.3).
#[must_use]
pub fn startup_locality(data: &[u8]) -> Option<u8> {
    match data.strip_prefix(STARTUP_LOCALITY)? {
        [locality] => Some(*locality),
        _ => None,
    }
}

pub(super) fn startup_locality_event(locality: u8) -> Vec<u8> {
    let mut data = STARTUP_LOCALITY.to_vec();
    data.push(locality);
    data
}

/// The text that a boot loader measured, in the data that tells of it: without the words before it and the zero behind it.
pub(super) fn boot_loader_text(data: &[u8]) -> Option<&[u8]> {
    BOOT_LOADER_TEXTS.iter().find_map(|prefix| {
        let text = data.strip_prefix(*prefix)?;
        Some(text.strip_suffix(&[0]).unwrap_or(text))
    })
}

/// `UEFI_VARIABLE_DATA` (10.2).
#[must_use]
pub fn variable(vendor: Guid, name: &str, value: &[u8]) -> Vec<u8> {
    let name_bytes = utf16(name);
    let mut out = vendor.0.to_vec();
    put_u64(
        &mut out,
        u64::try_from(name_bytes.len() / 2).unwrap_or_default(),
    );
    put_u64(&mut out, u64::try_from(value.len()).unwrap_or_default());
    out.extend(name_bytes);
    out.extend_from_slice(value);
    out
}

/// `UEFI_IMAGE_LOAD_EVENT` (10.2).
#[must_use]
pub fn image_load(address: u64, length: u64, device_path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, address);
    put_u64(&mut out, length);
    put_u64(&mut out, 0);
    put_u64(
        &mut out,
        u64::try_from(device_path.len()).unwrap_or_default(),
    );
    out.extend_from_slice(device_path);
    out
}

/// A device path that is a file on the boot partition (UEFI Specification, 10.3.5.4).
#[must_use]
pub fn file_device_path(path: &str) -> Vec<u8> {
    let mut name = utf16(path);
    name.extend([0, 0]);
    let mut out = vec![4, 4];
    put_u16(&mut out, u16::try_from(name.len() + 4).unwrap_or(u16::MAX));
    out.extend(name);
    out.extend([0x7F, 0xFF, 4, 0]);
    out
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB2`: a described piece of firmware in memory (10.2).
#[must_use]
pub fn firmware_blob(description: &str, base: u64, length: u64) -> Vec<u8> {
    let mut out = vec![u8::try_from(description.len()).unwrap_or(u8::MAX)];
    out.extend(description.bytes().take(usize::from(u8::MAX)));
    put_u64(&mut out, base);
    put_u64(&mut out, length);
    out
}

/// `EFI_SIGNATURE_LIST` with one signature (UEFI Specification, 32.4.1).
#[must_use]
pub fn signature_list(kind: Guid, owner: Guid, signature: &[u8]) -> Vec<u8> {
    let mut out = kind.0.to_vec();
    let size = 16 + signature.len();
    put_size(&mut out, 28 + size);
    put_u32(&mut out, 0);
    put_size(&mut out, size);
    out.extend(signature_data(owner, signature));
    out
}

/// `EFI_SIGNATURE_DATA`: what an authority event holds.
#[must_use]
pub fn signature_data(owner: Guid, signature: &[u8]) -> Vec<u8> {
    let mut out = owner.0.to_vec();
    out.extend_from_slice(signature);
    out
}

/// `EFI_LOAD_OPTION`: the value of a `Boot####` variable (UEFI Specification, 3.1.3).
#[must_use]
pub fn load_option(description: &str, device_path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, 1);
    put_u16(
        &mut out,
        u16::try_from(device_path.len()).unwrap_or(u16::MAX),
    );
    out.extend(utf16(description));
    out.extend([0, 0]);
    out.extend_from_slice(device_path);
    out
}

/// A `BootOrder` of these numbers.
#[must_use]
pub fn boot_order(options: &[u16]) -> Vec<u8> {
    let mut out = Vec::new();
    for option in options {
        put_u16(&mut out, *option);
    }
    out
}

/// `UEFI_GPT_DATA` of a disk with one partition (10.2; UEFI Specification, 5.3).
#[must_use]
pub fn gpt(disk: Guid, partition_type: Guid, partition: Guid, name: &str) -> Vec<u8> {
    let mut out = b"EFI PART".to_vec();
    for word in [0x0001_0000, 92, 0, 0] {
        put_u32(&mut out, word);
    }
    for lba in [1, 0x0020_0000, 34, 0x001F_FFDE] {
        put_u64(&mut out, lba);
    }
    out.extend(disk.0);
    put_u64(&mut out, 2);
    for word in [128, 128, 0] {
        put_u32(&mut out, word);
    }
    put_u64(&mut out, 1);
    out.extend(partition_type.0);
    out.extend(partition.0);
    for number in [2048, 0x000F_FFFF, 0] {
        put_u64(&mut out, number);
    }
    let mut label = utf16(name);
    label.resize(72, 0);
    out.extend(label);
    out
}

/// `TCG_PCClientTaggedEvent` (10.4.2.1).
#[must_use]
pub fn tagged(id: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, id);
    put_size(&mut out, data.len());
    out.extend_from_slice(data);
    out
}
