//! What the firmware and the boot loaders of a usual machine measure, as a script.
//!
//! The order, the PCR and the form of the events are those of EDK2, shim, GRUB, systemd-stub and the Windows boot manager. What stands
//! for a program that is not here is its name; only the kernel may be a real file. An image is measured as its bytes, not as the
//! Authenticode hash that firmware takes of a signed program.

use clap::ValueEnum;
use tpm_attest::event_log::data::{
    Guid, boot_order, file_device_path, firmware_blob, gpt, image_load, load_option,
    signature_data, signature_list, tagged, variable,
};
use tpm_attest::event_log::{EventLog, EventType, LogWriter};
use tpm_wire::algorithm::TpmiAlgHash;

/// A way to boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BootProfile {
    /// shim, GRUB, Linux
    #[default]
    Linux,
    /// The Windows boot manager and loader
    Windows,
    /// systemd-boot and a unified kernel image
    SystemdBoot,
}

/// The disk, its partition and its type, of the machine that is scripted.
const DISK: Guid = Guid([0xD1; 16]);
const PARTITION: Guid = Guid([0xE5; 16]);
const EFI_SYSTEM: Guid = Guid([
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
]);
/// The GUID under which shim reports its generation of revocations.
const OWNER: Guid = Guid::SHIM_LOCK;
const CALLING: &[u8] = b"Calling EFI Application from Boot Option";
const EXITING: &[u8] = b"Exit Boot Services Invocation";
const EXITED: &[u8] = b"Exit Boot Services Returned with Success";
/// What the kernel calls the measured initial RAM disk.
const INITRD_TAG: u32 = 0x8F3B_22EC;
/// Events of the Windows boot manager, by their tags.
const SIPA_EVENTS: [(u32, u32, &[u8]); 4] = [
    (11, 0x0002_0002, b"VSM and boot debugging off"),
    (11, 0x0005_0006, b"code integrity on"),
    (12, 0x0004_0001, b"boot options"),
    (13, 0x0003_0001, b"early launch drivers"),
];

/// The kernel that is booted, where it makes a difference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

impl BootProfile {
    /// The log of a boot in these banks.
    pub(crate) fn log(self, banks: &[TpmiAlgHash], kernel: Kernel<'_>) -> EventLog {
        let mut script = Script(LogWriter::new(banks));
        script.firmware(self);
        match self {
            Self::Linux => script.linux(kernel),
            Self::Windows => script.windows(kernel),
            Self::SystemdBoot => script.systemd_boot(kernel),
        }
        script.0.measure_data(5, EventType::EFI_ACTION, EXITING);
        script.0.measure_data(5, EventType::EFI_ACTION, EXITED);
        script.0.finish()
    }

    /// The name of the program that the firmware starts.
    const fn loader(self) -> (&'static str, &'static str) {
        match self {
            Self::Linux => ("Linux", "\\EFI\\debian\\shimx64.efi"),
            Self::Windows => (
                "Windows Boot Manager",
                "\\EFI\\Microsoft\\Boot\\bootmgfw.efi",
            ),
            Self::SystemdBoot => ("Linux Boot Manager", "\\EFI\\systemd\\systemd-bootx64.efi"),
        }
    }
}

struct Script(LogWriter);

impl Script {
    fn firmware(&mut self, profile: BootProfile) {
        let log = &mut self.0;
        let version: Vec<u8> = "vtpm 1"
            .bytes()
            .flat_map(|byte| [byte, 0])
            .chain([0, 0])
            .collect();
        log.measure_data(0, EventType::S_CRTM_VERSION, &version);
        for (name, base) in [("PEI volume", 0x0082_0000), ("DXE volume", 0x0090_0000)] {
            let blob = firmware_blob(name, base, 0x000E_0000);
            log.measure(
                0,
                EventType::EFI_PLATFORM_FIRMWARE_BLOB2,
                &blob,
                name.as_bytes(),
            );
        }
        let global = Guid::GLOBAL_VARIABLE;
        let database = Guid::IMAGE_SECURITY_DATABASE;
        let keys = |text: &str| signature_list(Guid::CERT_X509, OWNER, text.as_bytes());
        for (vendor, name, value) in [
            (global, "SecureBoot", vec![1]),
            (global, "PK", keys("platform key")),
            (global, "KEK", keys("key exchange key")),
            (database, "db", keys("authority of boot loaders")),
            (
                database,
                "dbx",
                signature_list(Guid::CERT_SHA256, OWNER, &[0; 32]),
            ),
        ] {
            let data = variable(vendor, name, &value);
            log.measure_data(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, &data);
        }
        log.measure_data(7, EventType::SEPARATOR, &[0; 4]);
        let (name, path) = profile.loader();
        let order = boot_order(&[0]);
        let option = load_option(name, &file_device_path(path));
        for (name, value) in [("BootOrder", order), ("Boot0000", option)] {
            let data = variable(global, name, &value);
            log.measure(1, EventType::EFI_VARIABLE_BOOT, &data, &value);
        }
        log.measure_data(4, EventType::EFI_ACTION, CALLING);
        for pcr in 0..7 {
            log.measure_data(pcr, EventType::SEPARATOR, &[0; 4]);
        }
        let partitions = gpt(DISK, EFI_SYSTEM, PARTITION, "EFI");
        log.measure_data(5, EventType::EFI_GPT_EVENT, &partitions);
        self.authority("db", "authority of boot loaders");
        self.image(path, path.as_bytes());
    }

    /// A certificate by which a program was admitted.
    fn authority(&mut self, list: &str, certificate: &str) {
        let vendor = if list == "db" {
            Guid::IMAGE_SECURITY_DATABASE
        } else {
            Guid::SHIM_LOCK
        };
        let data = variable(vendor, list, &signature_data(OWNER, certificate.as_bytes()));
        self.0
            .measure_data(7, EventType::EFI_VARIABLE_AUTHORITY, &data);
    }

    /// A program that firmware loads.
    fn image(&mut self, path: &str, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or_default();
        let data = image_load(0x7E00_0000, length, &file_device_path(path));
        self.0
            .measure(4, EventType::EFI_BOOT_SERVICES_APPLICATION, &data, bytes);
    }

    /// Something that a boot loader read, by its name.
    fn file(&mut self, pcr: u32, name: &str, bytes: &[u8]) {
        let mut data = name.as_bytes().to_vec();
        data.push(0);
        self.0.measure(pcr, EventType::IPL, &data, bytes);
    }

    /// A line that a boot loader executed.
    fn command(&mut self, kind: &str, line: &str) {
        let data = format!("{kind}: {line}\0");
        self.0
            .measure(8, EventType::IPL, data.as_bytes(), line.as_bytes());
    }

    fn linux(&mut self, kernel: Kernel<'_>) {
        for list in ["MokList", "MokListX"] {
            self.file(14, list, list.as_bytes());
        }
        self.authority("Shim", "authority of the distribution");
        self.image("\\EFI\\debian\\grubx64.efi", b"grub");
        for line in [
            "set root=(hd0,gpt2)",
            "linux /vmlinuz root=/dev/vda2 ro",
            "initrd /initrd.img",
        ] {
            self.command("grub_cmd", line);
        }
        self.file(9, "(hd0,gpt2)/grub/grub.cfg", b"grub.cfg");
        self.file(9, kernel.name, kernel.bytes);
        self.image(kernel.name, kernel.bytes);
        self.command("kernel_cmdline", "/vmlinuz root=/dev/vda2 ro");
        self.file(9, "/initrd.img", b"initrd");
        let event = tagged(INITRD_TAG, b"Linux initrd\0");
        self.0.measure(9, EventType::EVENT_TAG, &event, b"initrd");
    }

    fn windows(&mut self, kernel: Kernel<'_>) {
        for (pcr, tag, data) in SIPA_EVENTS {
            self.0
                .measure_data(pcr, EventType::EVENT_TAG, &tagged(tag, data));
        }
        self.image("\\Windows\\system32\\winload.efi", b"winload");
        self.0.measure(
            11,
            EventType::EVENT_TAG,
            &tagged(0x0006_0001, kernel.name.as_bytes()),
            kernel.bytes,
        );
        for pcr in [12, 13, 14] {
            self.0.measure_data(pcr, EventType::SEPARATOR, b"WBCL");
        }
    }

    fn systemd_boot(&mut self, kernel: Kernel<'_>) {
        self.0.measure(
            5,
            EventType::EVENT_TAG,
            &tagged(0xF5BC_582A, b"loader.conf\0"),
            b"loader.conf",
        );
        self.image("\\EFI\\Linux\\linux.efi", kernel.bytes);
        for (section, bytes) in [
            (".linux", kernel.bytes),
            (".osrel", &b"ID=linux"[..]),
            (".cmdline", b"root=/dev/vda2 ro"),
            (".initrd", b"initrd"),
        ] {
            // First the name of the section, then what it holds.
            self.file(11, section, format!("{section}\0").as_bytes());
            self.file(11, section, bytes);
        }
        let event = tagged(INITRD_TAG, b"Linux initrd\0");
        self.0.measure(9, EventType::EVENT_TAG, &event, b"initrd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_measures_what_its_machines_do() {
        let banks = [TpmiAlgHash::Sha1, TpmiAlgHash::Sha256];
        for (profile, pcrs) in [
            (BootProfile::Linux, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14][..]),
            (
                BootProfile::Windows,
                &[0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14],
            ),
            (BootProfile::SystemdBoot, &[0, 1, 2, 3, 4, 5, 6, 7, 9, 11]),
        ] {
            let boot = |bytes| {
                let kernel = Kernel {
                    name: "/vmlinuz",
                    bytes,
                };
                profile.log(&banks, kernel)
            };
            let log = boot(b"kernel");
            let mut measured: Vec<u32> = log.events.iter().map(|event| event.pcr).collect();
            measured.sort_unstable();
            measured.dedup();
            assert_eq!(measured, pcrs, "{profile:?}");
            assert_eq!(EventLog::parse(&log.to_bytes()), Ok(log.clone()));
            assert!(
                log.events
                    .iter()
                    .all(|event| event.contradiction().is_none())
            );
            let other = boot(b"another kernel");
            let differ = |pcr| {
                let value = |log: &EventLog| {
                    log.replay(TpmiAlgHash::Sha256)
                        .unwrap()
                        .get(pcr)
                        .unwrap()
                        .to_vec()
                };
                value(&log) != value(&other)
            };
            let changed: Vec<u32> = (0..24).filter(|pcr| differ(*pcr)).collect();
            let expected: &[u32] = match profile {
                BootProfile::Linux => &[4, 9],
                BootProfile::Windows => &[11],
                BootProfile::SystemdBoot => &[4, 11],
            };
            assert_eq!(changed, expected, "{profile:?}");
        }
    }
}
