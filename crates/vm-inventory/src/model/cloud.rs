//! Organizations with their users, virtual data centers and vApps.

use super::{Record, Timestamp, VmId};
use crate::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// A tenant: owns virtual data centers, vApps and catalogs, and sees nobody else's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Organization {
    /// Its name.
    pub name: Name,
    /// When it was made.
    pub created: Timestamp,
}

impl Record for Organization {
    const PREFIX: &'static str = "organization/";
    fn key(&self) -> String {
        Self::key_of(self.name.as_str())
    }
}

impl Organization {
    pub(crate) fn key_of(name: &str) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}

macro_rules! privileges {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// What a user may be allowed to do with keys, by vSphere's names (`Cryptographer.*`).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Privilege { $($(#[doc = $doc])* $name,)* }

        impl Privilege {
            /// Every privilege.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// vSphere's name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("Cryptographer.", $text),)* }
            }
        }
    };
}

privileges! {
    /// Direct access to encrypted objects.
    Access = "Access",
    /// Add an encrypted disk.
    AddDisk = "AddDisk",
    /// Clone an encrypted VM.
    Clone = "Clone",
    /// Decrypt a VM: remove its TPM.
    Decrypt = "Decrypt",
    /// Encrypt a VM: add a TPM to it.
    Encrypt = "Encrypt",
    /// Make a new encrypted VM.
    EncryptNew = "EncryptNew",
    /// Change policies that encrypt.
    ManageEncryptionPolicy = "ManageEncryptionPolicy",
    /// Add and remove key servers.
    ManageKeyServers = "ManageKeyServers",
    /// Make and destroy keys.
    ManageKeys = "ManageKeys",
    /// Move an encrypted VM.
    Migrate = "Migrate",
    /// Re-key.
    Recrypt = "Recrypt",
    /// Register an encrypted VM: import it.
    RegisterVm = "RegisterVM",
    /// Register a host.
    RegisterHost = "RegisterHost",
    /// Look at key servers.
    ReadKeyServersInfo = "ReadKeyServersInfo",
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a user may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything inside the organization, keys included.
    Administrator,
    /// The same without anything that touches keys: vSphere's "no cryptography administrator".
    NoCryptographyAdministrator,
    /// Makes and changes vApps, with TPMs.
    VappAuthor,
    /// Makes and publishes templates.
    CatalogAuthor,
    /// Looks, and powers on and off.
    VappUser,
}

impl Role {
    /// Every role and its word.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("administrator", Self::Administrator),
        (
            "no-cryptography-administrator",
            Self::NoCryptographyAdministrator,
        ),
        ("vapp-author", Self::VappAuthor),
        ("catalog-author", Self::CatalogAuthor),
        ("vapp-user", Self::VappUser),
    ];

    /// Whether the role includes a privilege.
    #[must_use]
    pub fn has(self, privilege: Privilege) -> bool {
        match self {
            Self::Administrator => true,
            Self::NoCryptographyAdministrator | Self::VappUser => false,
            Self::VappAuthor => matches!(
                privilege,
                Privilege::Access
                    | Privilege::AddDisk
                    | Privilege::Clone
                    | Privilege::Decrypt
                    | Privilege::Encrypt
                    | Privilege::EncryptNew
                    | Privilege::Migrate
            ),
            Self::CatalogAuthor => matches!(privilege, Privilege::Access | Privilege::Clone),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.iter().find(|(_, role)| role == self);
        f.pad(word.map_or("", |(word, _)| word))
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = Self::ALL.iter().map(|(word, _)| *word).collect();
        Self::ALL
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, role)| *role)
            .ok_or_else(|| format!("there is no such role; possible: {}", words.join(", ")))
    }
}

/// A user of an organization. It holds the hash of a password, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The organization.
    pub organization: Name,
    /// The user's name.
    pub name: Name,
    /// What the user may do.
    pub role: Role,
    /// The password's hash (Argon2id, PHC string).
    pub password: String,
    /// When the user was added.
    pub created: Timestamp,
    /// Whether the user is kept from logging in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

impl Record for User {
    const PREFIX: &'static str = "user/";
    fn key(&self) -> String {
        Self::key_of(self.organization.as_str(), self.name.as_str())
    }
}

impl User {
    pub(crate) fn key_of(organization: &str, name: &str) -> String {
        format!("{}{organization}/{name}", Self::PREFIX)
    }
}

/// A virtual data center: an organization's share of a vCenter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Vdc {
    /// The organization.
    pub organization: Name,
    /// Its name, unique in the organization.
    pub name: Name,
    /// The vCenter behind it.
    pub vcenter: Name,
    /// Where the files of its VMs go; the first datastore that the vCenter sees if not set.
    pub datastore: Option<Name>,
    /// When it was made.
    pub created: Timestamp,
}

impl Record for Vdc {
    const PREFIX: &'static str = "vdc/";
    fn key(&self) -> String {
        Self::key_of(self.organization.as_str(), self.name.as_str())
    }
}

impl Vdc {
    pub(crate) fn key_of(organization: &str, name: &str) -> String {
        format!("{}{organization}/{name}", Self::PREFIX)
    }
}

/// A vApp: VMs that are handled as one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Vapp {
    /// Identifies it.
    pub id: Uuid,
    /// The organization.
    pub organization: Name,
    /// Its name, unique in the organization.
    pub name: Name,
    /// The virtual data center that it is in.
    pub vdc: Name,
    /// When it was made.
    pub created: Timestamp,
    /// It was made to hold one standalone VM, comes and goes with it, and is not shown by itself.
    #[serde(default)]
    pub standalone: bool,
}

impl Record for Vapp {
    const PREFIX: &'static str = "vapp/";
    fn key(&self) -> String {
        Self::key_of(self.organization.as_str(), self.name.as_str())
    }
}

impl Vapp {
    pub(crate) fn key_of(organization: &str, name: &str) -> String {
        format!("{}{organization}/{name}", Self::PREFIX)
    }

    /// What its VMs say about where they belong.
    pub(crate) fn reference(&self) -> VappRef {
        VappRef {
            id: self.id,
            organization: self.organization.clone(),
            name: self.name.clone(),
        }
    }
}

/// The vApp that a VM belongs to. Whoever renames a vApp writes the name into its VMs too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VappRef {
    /// Identifies the vApp.
    pub id: Uuid,
    /// Its organization.
    pub organization: Name,
    /// Its name.
    pub name: Name,
}

impl fmt::Display for VappRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.name)
    }
}

/// One VM of a vApp, by its name there: names are unique in a vApp, not beyond it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VappMember {
    /// The vApp.
    pub vapp: Uuid,
    /// The VM's name.
    pub name: Name,
    /// The VM.
    pub vm: VmId,
}

impl Record for VappMember {
    const PREFIX: &'static str = "vapp-vm/";
    fn key(&self) -> String {
        Self::key_of(self.vapp, self.name.as_str())
    }
}

impl VappMember {
    pub(crate) fn key_of(vapp: Uuid, name: &str) -> String {
        format!("{}{vapp}/{name}", Self::PREFIX)
    }
}

/// Keeps the name of something that is being made, until it is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reservation {
    /// The key that the thing will have.
    pub of: String,
}

impl Record for Reservation {
    const PREFIX: &'static str = "reserved/";
    fn key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.of)
    }
}

/// Settings of the whole installation.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CloudSettings {
    /// Lets VMs go from one vCenter to another without storage that both see.
    #[serde(default)]
    pub fast_cross_vcenter_instantiation: bool,
}

impl Record for CloudSettings {
    const PREFIX: &'static str = "settings/";
    fn key(&self) -> String {
        Self::key_of()
    }
}

impl CloudSettings {
    pub(crate) fn key_of() -> String {
        format!("{}cloud", Self::PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_written_as_they_are_read() {
        for (word, role) in Role::ALL {
            assert_eq!(word.parse::<Role>().as_ref(), Ok(role));
            assert_eq!(role.to_string(), *word);
            assert_eq!(serde_json::to_string(role).unwrap(), format!("\"{word}\""));
        }
        assert!("root".parse::<Role>().unwrap_err().contains("vapp-author"));
    }

    #[test]
    fn who_is_no_cryptography_administrator_has_no_privilege_over_keys() {
        for privilege in Privilege::ALL {
            assert!(privilege.as_str().starts_with("Cryptographer."));
            assert!(Role::Administrator.has(*privilege));
            assert!(!Role::NoCryptographyAdministrator.has(*privilege));
        }
        assert!(!Role::CatalogAuthor.has(Privilege::Migrate));
    }
}
