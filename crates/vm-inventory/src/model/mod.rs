//! What the inventory knows: vCenters, key providers, datastores, VMs.
//!
//! Each record is one JSON value under a key of its own, so that a transaction touches only what it changes. Fields that
//! later versions add carry `#[serde(default)]`; records of a newer format are refused when the inventory is opened.

mod catalog;
mod cloud;

pub use catalog::{Catalog, Subscription, Template, TemplateOrigin};
pub(crate) use cloud::Reservation;
pub use cloud::{
    CloudSettings, Organization, Privilege, Role, User, Vapp, VappMember, VappRef, Vdc,
};

use crate::certificates::TpmCertificates;
use crate::guest::GuestOs;
use crate::key_server::KeyServer;
use crate::{Name, VcVersion};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

use crate::provisioning::TpmAction;
use utoipa::ToSchema;

/// A record of the inventory.
pub trait Record: Serialize + DeserializeOwned {
    /// What the keys of this kind begin with, slash included.
    const PREFIX: &'static str;

    /// The whole key of this record.
    fn key(&self) -> String;
}

/// Identifies a VM for as long as it exists, whatever its name.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct VmId(pub Uuid);

impl VmId {
    /// A new random identifier.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VmId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(Uuid::try_parse(text)?))
    }
}

/// The identifier that a reference is: a UUID in its usual form, or the URN that the API of VMware Cloud Director makes of one.
pub(crate) fn id_in(reference: &str) -> Option<Uuid> {
    const USUAL: usize = 36;
    let text = match reference.strip_prefix("urn:vcloud:") {
        Some(rest) => rest.split_once(':').map_or(rest, |(_kind, id)| id),
        None => reference,
    };
    (text.len() == USUAL)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

/// Seconds since 1970, by the clock of the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        Self(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        )
    }
}

/// A vCenter server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VCenter {
    /// Its name.
    pub name: Name,
    /// Its version, which picks the column of the provisioning table.
    pub version: VcVersion,
    /// The provider that new VMs use when the request names none; the first one registered becomes it.
    pub default_provider: Option<Name>,
    /// The vCenters whose certificates it trusts, and that trust its own.
    #[serde(default)]
    pub trusts: Vec<Name>,
}

impl Record for VCenter {
    const PREFIX: &'static str = "vcenter/";
    fn key(&self) -> String {
        Self::key_of(self.name.as_str())
    }
}

impl VCenter {
    /// The key of the vCenter called `name`.
    pub(crate) fn key_of(name: &str) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}

/// What kind of key provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Keys derived from a key kept in the data folder.
    #[default]
    Native,
    /// Keys at KMIP key servers.
    Standard,
    /// Keys at services that hand them to attested hosts only.
    Trusted,
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Standard => "standard",
            Self::Trusted => "trusted",
        })
    }
}

/// A key provider as registered on one vCenter. The same name on another vCenter is another registration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Provider {
    /// Its name, which stands in the files of the VMs that use it.
    pub name: Name,
    /// Where it is registered.
    pub vcenter: Name,
    /// Its kind.
    pub kind: ProviderKind,
    /// When it was registered.
    pub created: Timestamp,
    /// Where its keys are, for a provider at key servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_server: Option<KeyServer>,
}

impl Record for Provider {
    const PREFIX: &'static str = "provider/";
    fn key(&self) -> String {
        Self::key_of(self.vcenter.as_str(), self.name.as_str())
    }
}

impl Provider {
    /// Whether a VM is encrypted under a key that is here.
    pub(crate) fn holds_key_of(&self, vm: &Vm) -> bool {
        vm.is_encrypted() && vm.vcenter == self.vcenter && vm.provider.as_ref() == Some(&self.name)
    }

    pub(crate) fn key_of(vcenter: &str, name: &str) -> String {
        format!("{}{vcenter}/{name}", Self::PREFIX)
    }
}

/// When a native key provider was last backed up: its key was written into a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ProviderBackup {
    /// The provider's vCenter.
    pub(crate) vcenter: Name,
    /// The provider.
    pub(crate) provider: Name,
    /// When.
    pub(crate) at: Timestamp,
}

impl Record for ProviderBackup {
    const PREFIX: &'static str = "provider-backup/";
    fn key(&self) -> String {
        format!("{}{}/{}", Self::PREFIX, self.vcenter, self.provider)
    }
}

/// A folder that holds VM folders. Several vCenters may share it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Datastore {
    /// Its name.
    pub name: Name,
    /// The vCenters that see it.
    pub vcenters: Vec<Name>,
    /// Its folder, relative to the data folder.
    #[schema(value_type = String)]
    pub folder: PathBuf,
}

impl Record for Datastore {
    const PREFIX: &'static str = "datastore/";
    fn key(&self) -> String {
        Self::key_of(self.name.as_str())
    }
}

impl Datastore {
    pub(crate) fn key_of(name: &str) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}

/// Firmware of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// EFI, which a TPM needs.
    Efi,
    /// BIOS.
    Bios,
}

impl Firmware {
    /// The word in files and requests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Efi => "efi",
            Self::Bios => "bios",
        }
    }
}

/// Whether a VM runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    /// It runs, or is to run again when the daemon starts.
    On,
    /// It does not.
    Off,
    /// It does not, and its TPM goes on from where it was when it runs again. Where a VM has to be off, this is not enough.
    Suspended,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Suspended => "suspended",
        })
    }
}

impl PowerState {
    /// The state as a sentence about a VM says it.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::On => "powered on",
            Self::Off => "powered off",
            Self::Suspended => "suspended",
        }
    }
}

/// How the TPM of a powered-on VM is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SocketKind {
    /// swtpm's protocol on a pair of unix sockets.
    #[default]
    Unix,
    /// swtpm's protocol on two TCP ports of the loopback interface.
    Tcp,
    /// The simulator's protocol on two TCP ports of the loopback interface.
    Mssim,
}

/// Where the TPM of a powered-on VM is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// A value that `TPM2TOOLS_TCTI` takes.
    pub tcti: String,
    /// Path or address of the control channel.
    pub control: String,
}

/// The TPM of a VM, as far as the inventory knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VmTpm {
    /// How this TPM came to be.
    pub origin: TpmAction,
    /// The VM it was copied from, or whose TPM it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceVm>,
    /// When.
    pub made: Timestamp,
    /// Name of the RSA-2048 endorsement key of the default template, in hexadecimal.
    pub ek_name: String,
    /// Its endorsement keys and their certificates.
    #[serde(default, skip_serializing_if = "TpmCertificates::is_empty")]
    pub certificates: TpmCertificates,
}

/// A VM that another one was made from. It may be gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceVm {
    /// Its identifier.
    pub id: VmId,
    /// Its name at that time.
    pub name: Name,
}

/// A virtual machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Vm {
    /// Identifies the VM.
    pub id: VmId,
    /// Identifies this instance of it: changes whenever its state is forked.
    pub instance_id: Uuid,
    /// Its name, unique on its vCenter.
    pub name: Name,
    /// Where it is registered.
    pub vcenter: Name,
    /// The vApp it belongs to.
    #[serde(default)]
    pub vapp: Option<VappRef>,
    /// Where its files are.
    pub datastore: Name,
    /// Its folder in the datastore; usually its name.
    pub folder: Name,
    /// Its firmware.
    pub firmware: Firmware,
    /// Its hardware version.
    pub hardware_version: u16,
    /// Its guest.
    pub guest: GuestOs,
    /// Whether it runs.
    pub power: PowerState,
    /// The key provider that holds its key; `None` for a VM that is not encrypted.
    pub provider: Option<Name>,
    /// Whether it is encrypted for itself, with a TPM or without; one that is encrypted for its TPM is so as long as it has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Its TPM.
    pub tpm: Option<VmTpm>,
    /// How its TPM is reached.
    #[serde(default)]
    pub socket: SocketKind,
    /// Whether power-on sends `TPM2_Startup(CLEAR)` in the place of a firmware.
    #[serde(default = "yes")]
    pub startup: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Why it cannot be powered on: its key could not be had when that was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<Locked>,
}

/// The key that a VM needs and that could not be had.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Locked {
    /// The provider that should have it.
    pub provider: String,
    /// The key's id there.
    pub key_id: String,
    /// What the provider said.
    pub reason: String,
    /// When.
    pub since: Timestamp,
}

fn yes() -> bool {
    true
}

impl Record for Vm {
    const PREFIX: &'static str = "vm/";
    fn key(&self) -> String {
        Self::key_of(self.id)
    }
}

impl Vm {
    pub(crate) fn key_of(id: VmId) -> String {
        format!("{}{id}", Self::PREFIX)
    }

    /// Whether its files are under a key: for its TPM, or for itself.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tpm.is_some() || self.encrypted
    }

    /// The key of the record that keeps its name: in its vApp, or on its vCenter.
    pub(crate) fn name_key(&self) -> String {
        match &self.vapp {
            Some(vapp) => VappMember::key_of(vapp.id, self.name.as_str()),
            None => NameHolder::key_of(self.vcenter.as_str(), self.name.as_str()),
        }
    }
}

/// Reserves a VM's name on its vCenter, from before its files exist until after they are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameHolder {
    /// The vCenter.
    pub vcenter: Name,
    /// The name.
    pub name: Name,
    /// Who has it.
    pub vm: VmId,
}

impl Record for NameHolder {
    const PREFIX: &'static str = "vm-name/";
    fn key(&self) -> String {
        Self::key_of(self.vcenter.as_str(), self.name.as_str())
    }
}

impl NameHolder {
    pub(crate) fn key_of(vcenter: &str, name: &str) -> String {
        format!("{}{vcenter}/{name}", Self::PREFIX)
    }
}

/// The highest generation of a VM's TPM state that is known to have been on stable storage: files older than that are refused.
///
/// It is a lower bound, raised at power-on, at intervals and at power-off, always after the state itself is stable. So it never
/// refuses a file that is in order; files put back from before the last raise are found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GenerationFloor {
    /// The VM.
    pub vm: VmId,
    /// The generation.
    pub generation: u64,
}

impl Record for GenerationFloor {
    const PREFIX: &'static str = "generation/";
    fn key(&self) -> String {
        Self::key_of(self.vm)
    }
}

impl GenerationFloor {
    pub(crate) fn key_of(vm: VmId) -> String {
        format!("{}{vm}", Self::PREFIX)
    }
}

/// Something that happens once in the life of a data folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Milestone {
    /// What.
    pub name: String,
    /// When.
    pub reached: Timestamp,
}

impl Milestone {
    /// The first run has made what a newcomer needs.
    pub(crate) const SET_UP: &'static str = "set-up";
}

impl Record for Milestone {
    const PREFIX: &'static str = "milestone/";
    fn key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.name)
    }
}
