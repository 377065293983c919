//! What requests and answers hold, beyond the inventory's own types.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;
use vm_inventory::model::{PowerState, Role};
use vm_inventory::{CreateVm, Error, Name, Principal, Task};

/// A list, in an object so that members can be added later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Items<T> {
    /// What was asked for.
    pub items: Vec<T>,
}

/// A part of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What was asked for.
    pub items: Vec<T>,
    /// What `after` has to be for the next part; left out at the end of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An accepted operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// Its task.
    pub task: Task,
}

/// What to do with the power of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// Power it on.
    On,
    /// Shut its TPM down in good order and power it off; of a suspended VM what it would go on from is given up.
    Off,
    /// Stop it so that its TPM goes on from there when it is powered on again.
    Suspend,
}

/// A request to change the power of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePower {
    /// What to do.
    pub action: PowerAction,
    /// Take files that are older than they were known to be.
    #[serde(default)]
    pub accept_rollback: bool,
}

impl ChangePower {
    /// What is wanted.
    pub(crate) fn wanted(self) -> Result<PowerState, Error> {
        match self.action {
            PowerAction::On => Ok(PowerState::On),
            PowerAction::Off | PowerAction::Suspend if self.accept_rollback => Err(
                Error::BadValue("accept_rollback belongs to powering on; leave it out".to_owned()),
            ),
            PowerAction::Off => Ok(PowerState::Off),
            PowerAction::Suspend => Ok(PowerState::Suspended),
        }
    }
}

/// A request to add a datastore.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDatastore {
    /// Its name.
    pub name: Name,
    /// The vCenters that see it.
    pub vcenters: Vec<Name>,
}

/// A request to make something that has a name and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name.
    pub name: Name,
}

/// A request that names a vCenter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithVCenter {
    /// The vCenter.
    pub vcenter: Name,
}

/// A request to publish a catalog, or to end that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Whether other organizations may subscribe.
    pub published: bool,
}

/// A request to add a user. It holds a password, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The organization; the only one there is if left out.
    #[serde(default)]
    pub organization: Option<Name>,
    /// The user's name.
    pub name: Name,
    /// What the user may do.
    pub role: Role,
    /// The password.
    pub password: Password,
}

/// A request to back up a key provider. It holds a password, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackUp {
    /// The provider's vCenter; the only one there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Protects the backup.
    pub password: Password,
}

/// A backup that was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackedUp {
    /// Where the daemon put it.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// The PKCS#12 file, in base64; worthless without the password.
    pub backup: String,
}

/// A request to restore a key provider. It holds a password, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Its name, as in the backup.
    pub name: Name,
    /// Where; the only vCenter there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Make it the default for new VMs.
    #[serde(default)]
    pub default: bool,
    /// The PKCS#12 file, in base64.
    pub backup: String,
    /// Its password.
    pub password: Password,
}

/// A request to make a VM with a TPM that another program has kept. It holds the TPM's secrets, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptTpm {
    /// The VM to be made.
    pub vm: CreateVm,
    /// The permanent state of the TPM, in base64.
    #[schema(value_type = String)]
    pub state: zeroize::Zeroizing<String>,
}

/// Which of several providers of one name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnVCenter {
    /// The provider's vCenter; the only one there is if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcenter: Option<Name>,
}

/// A request for a client certificate that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CertificateRequest {
    /// The request (RFC 2986), PEM.
    pub csr: String,
}

/// The certificate that a request was answered with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCertificate {
    /// The provider's vCenter; the only one there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// The certificate and those above it (PEM).
    pub certificate: String,
}

/// A certificate that is given, with those above it if it is an authority's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenCertificate {
    /// PEM; that of an endorsement key may be base64 of DER, too.
    pub certificate: String,
}

/// Keys to be made in a TPM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceKeysWanted {
    /// Which.
    pub keys: Vec<vm_inventory::certificates::WantedDeviceKey>,
}

/// A request without members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Which certificates to revoke: of a VM's TPM, or one by its serial number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// The serial number, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// A list of revoked certificates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevocationList {
    /// The list (RFC 5280, 5), PEM; behind it those of the authorities that signed for the vCenter before.
    pub crl: String,
}

/// How many keys were wiped from memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// How many.
    pub keys: usize,
}

/// A session that was opened. It holds a token, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Opened {
    /// What later requests carry as `Authorization: Bearer TOKEN`.
    pub token: Password,
    /// Whose it is.
    pub user: Principal,
    /// After how many seconds without a request it ends.
    pub idle_seconds: u64,
}

/// A password: wiped when dropped, never shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Password(zeroize::Zeroizing<String>);

impl Password {
    /// Takes a password over.
    #[must_use]
    pub fn new(password: zeroize::Zeroizing<String>) -> Self {
        Self(password)
    }

    /// The password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}
