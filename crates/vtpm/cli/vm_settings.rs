//! What a VM is made with, for the verbs that make one with a TPM or without.

use clap::{Args, ValueEnum};
use vm_inventory::guest::GuestOs;
use vm_inventory::model::{Firmware, SocketKind};
use vm_inventory::{CreateVm, Name};

/// Settings of a VM that is made.
#[derive(Args, Debug)]
pub(super) struct VmSettings {
    /// vCenter that holds it [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Datastore for its files [default: the first that the vCenter sees]
    #[arg(long, value_name = "NAME")]
    datastore: Option<Name>,
    /// Key provider that holds its key [default: that of the vCenter]
    #[arg(long, value_name = "NAME")]
    provider: Option<Name>,
    /// Firmware; a TPM needs EFI
    #[arg(long, value_enum, default_value_t = FirmwareArg::Efi)]
    firmware: FirmwareArg,
    /// Hardware version; a TPM needs 14 or newer [default: the newest of the vCenter]
    #[arg(long, value_name = "N")]
    hardware: Option<u16>,
    /// Guest, by vSphere's identifier [default: ubuntu64Guest]
    #[arg(long, value_name = "ID")]
    guest: Option<GuestOs>,
    /// How its TPM is reached
    #[arg(long, value_enum, default_value_t = SocketArg::Unix)]
    socket: SocketArg,
    /// Leave TPM2_Startup to the guest's firmware or to the client
    ///
    /// tpm2-tools need a TPM that was started. By default power-on sends TPM2_Startup(CLEAR).
    #[arg(long)]
    no_startup: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum FirmwareArg {
    Efi,
    Bios,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum SocketArg {
    /// swtpm's protocol on a pair of unix sockets in the data folder
    Unix,
    /// swtpm's protocol on two free TCP ports of 127.0.0.1
    Tcp,
    /// The simulator's protocol on two free TCP ports of 127.0.0.1
    Mssim,
}

impl VmSettings {
    /// The request to make such a VM; without a TPM.
    pub(super) fn request(self, name: Name) -> CreateVm {
        CreateVm {
            vcenter: self.vcenter,
            datastore: self.datastore,
            firmware: Some(match self.firmware {
                FirmwareArg::Efi => Firmware::Efi,
                FirmwareArg::Bios => Firmware::Bios,
            }),
            hardware_version: self.hardware,
            guest: self.guest,
            provider: self.provider,
            socket: match self.socket {
                SocketArg::Unix => SocketKind::Unix,
                SocketArg::Tcp => SocketKind::Tcp,
                SocketArg::Mssim => SocketKind::Mssim,
            },
            no_startup: self.no_startup,
            ..CreateVm::named(name)
        }
    }
}
