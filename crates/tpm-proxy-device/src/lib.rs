//! Makes a TPM device of the Linux kernel whose commands a program answers: what containers get for a TPM.
//!
//! The kernel's driver for it (`tpm_vtpm_proxy`) listens at [`PATH`]. Each device that it makes has two sides: `/dev/tpmN` with its
//! resource manager `/dev/tpmrmN` for those who use the TPM, and a descriptor for the one who is the TPM. The device is there as long as
//! that descriptor is open. The kernel starts the TPM itself.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// Where the driver listens.
pub const PATH: &str = "/dev/vtpmx";

/// The device is a TPM 2.0, not a TPM 1.2 (`VTPM_PROXY_FLAG_TPM2` of `linux/vtpm_proxy.h`).
const TPM_2: u32 = 1;

/// `VTPM_PROXY_IOC_NEW_DEV` of `linux/vtpm_proxy.h`.
const NEW_DEVICE: Opcode = opcode::read_write::<NewDevice>(0xa1, 0);

/// `struct vtpm_proxy_new_dev` of `linux/vtpm_proxy.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct NewDevice {
    flags: u32,
    number: u32,
    descriptor: u32,
    major: u32,
    minor: u32,
}

/// A device that the kernel has made.
#[derive(Debug)]
pub struct ProxyDevice {
    /// The side of the TPM: a read gives one command, a write takes its response. The device goes when this is closed.
    pub descriptor: OwnedFd,
    /// The device is `/dev/tpm` with this number.
    pub number: u32,
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
}

impl ProxyDevice {
    /// Makes a device for a TPM 2.0.
    pub fn create() -> io::Result<Self> {
        let driver = File::options()
            .read(true)
            .write(true)
            .open(PATH)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::new(
                    error.kind(),
                    format!("there is no {PATH}: load the kernel's module tpm_vtpm_proxy (modprobe tpm_vtpm_proxy)"),
                ),
                kind => io::Error::new(kind, format!("{PATH}: {error}")),
            })?;
        Self::create_at(&driver)
    }

    /// The same at an open descriptor of the driver.
    fn create_at(driver: &File) -> io::Result<Self> {
        let mut new = NewDevice {
            flags: TPM_2,
            ..NewDevice::default()
        };
        // SAFETY: `NEW_DEVICE` names the layout and the size of `NewDevice`, which is what the driver reads and writes.
        let request = unsafe { Updater::<NEW_DEVICE, NewDevice>::new(&mut new) };
        // SAFETY: the request points to a value that lives until the call is over, and nothing but the driver has the request's code.
        unsafe { ioctl(driver.as_fd(), request) }.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{PATH} makes no device for a TPM: {error}"),
            )
        })?;
        let descriptor = i32::try_from(new.descriptor)
            .map_err(|_| io::Error::other(format!("{PATH} gave no descriptor")))?;
        Ok(Self {
            // SAFETY: the driver has just opened this descriptor for us, so nobody else has it.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
            number: new.number,
            major: new.major,
            minor: new.minor,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{align_of, offset_of, size_of};

    use super::*;

    /// As `linux/vtpm_proxy.h` has them, which is part of the kernel's promise to programs.
    #[test]
    fn structure_and_code_are_those_of_the_kernel() {
        assert_eq!((size_of::<NewDevice>(), align_of::<NewDevice>()), (20, 4));
        let places = [
            offset_of!(NewDevice, flags),
            offset_of!(NewDevice, number),
            offset_of!(NewDevice, descriptor),
            offset_of!(NewDevice, major),
            offset_of!(NewDevice, minor),
        ];
        assert_eq!(places, [0, 4, 8, 12, 16]);
        #[cfg(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64"
        ))]
        assert_eq!(NEW_DEVICE, 0xc014_a100);
    }

    #[test]
    fn a_file_that_is_not_the_driver_makes_no_device() {
        let nobody = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        let error = ProxyDevice::create_at(&nobody).unwrap_err();
        assert!(error.to_string().contains("makes no device"), "{error}");
    }
}
