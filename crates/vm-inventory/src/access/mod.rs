//! Who may do what: users, what their roles allow, and [`Scoped`], the operations as one user has them.

mod certificates;
mod changes;
mod compose;
mod folders;
mod infrastructure;

mod packages;
mod remarks;
mod scoped;
mod vapps;
mod vsphere;

#[cfg(test)]
mod tests;

pub use scoped::Scoped;

use crate::model::{Privilege, Role};
use crate::{Error, Name, NameError, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The organization that system administrators log in to. It owns nothing and nobody can make it.
pub const SYSTEM: &str = "system";
/// What vSphere calls the same.
pub const SYSTEM_DOMAIN: &str = "vsphere.local";
/// The user that the first start makes: `administrator@vsphere.local`.
pub const ADMINISTRATOR: &str = "administrator";

/// What somebody may do besides what the privileges over keys say ([`Privilege`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Look at what belongs to the organization.
    Look,
    /// Power VMs on and off.
    Power,
    /// Make, change and remove vApps and VMs.
    Build,
    /// Make, change and publish catalogs and templates.
    Catalogs,
    /// Look at users and the audit log, and add users.
    Organization,
    /// vCenters, datastores, key providers, organizations, VMs outside vApps: everything that belongs to no organization.
    Infrastructure,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Look => "the right to look",
            Self::Power => "the right to power VMs on and off",
            Self::Build => "the right to make and change vApps and VMs",
            Self::Catalogs => "the right to change catalogs",
            Self::Organization => "an administrator",
            Self::Infrastructure => "an administrator of the system",
        })
    }
}

impl Role {
    /// Whether the role includes a right.
    #[must_use]
    pub fn may(self, right: Right) -> bool {
        match self {
            Self::Administrator | Self::NoCryptographyAdministrator => true,
            Self::VappAuthor => matches!(right, Right::Look | Right::Power | Right::Build),
            Self::CatalogAuthor => matches!(right, Right::Look | Right::Catalogs),
            Self::VappUser => matches!(right, Right::Look | Right::Power),
        }
    }
}

/// Somebody who has shown who they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// The user's name.
    pub name: Name,
    /// The organization; `None` for the system, which sees all of them.
    pub organization: Option<Name>,
    /// What the user may do.
    pub role: Role,
}

impl Principal {
    /// Whoever can open the private socket in the data folder: the owner of all files, so nothing is kept from them.
    #[must_use]
    pub fn local() -> Self {
        Self {
            name: Name::fixed("local"),
            organization: None,
            role: Role::Administrator,
        }
    }

    /// Whether this is a user of the system, who sees every organization.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.organization.is_none()
    }

    /// Whether the user has a right.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.role.may(right) && (right != Right::Infrastructure || self.is_system())
    }

    /// That the user has a right.
    ///
    /// # Errors
    /// When the role lacks it.
    pub fn need(&self, right: Right) -> Result<()> {
        if self.may(right) {
            return Ok(());
        }
        Err(self.refused(right.to_string()))
    }

    pub(crate) fn need_privilege(&self, privilege: Privilege) -> Result<()> {
        if self.role.has(privilege) {
            return Ok(());
        }
        Err(self.refused(format!("the privilege {privilege}")))
    }

    fn refused(&self, needs: String) -> Error {
        Error::Forbidden {
            user: self.to_string(),
            role: self.role,
            needs,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let organization = self.organization.as_ref().map_or(SYSTEM, Name::as_str);
        write!(f, "{}@{organization}", self.name)
    }
}

/// Whose name it is that somebody logs in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginName {
    /// The user.
    pub user: Name,
    /// The organization, or [`SYSTEM`].
    pub organization: Name,
}

impl LoginName {
    /// Reads `USER@ORGANIZATION`, or vSphere's `DOMAIN\USER`. The system's own names are the same in capitals.
    ///
    /// # Errors
    /// When it is none of these, or a part of it is no name.
    pub fn parse(text: &str) -> Result<Self> {
        let (user, organization) = text
            .rsplit_once('@')
            .or_else(|| text.split_once('\\').map(|(domain, user)| (user, domain)))
            .ok_or_else(|| {
                Error::BadValue(
                    "a user logs in as USER@ORGANIZATION; the system's are USER@vsphere.local"
                        .to_owned(),
                )
            })?;
        if is_system(organization) {
            return Ok(Self {
                user: user.to_lowercase().parse()?,
                organization: Name::fixed(SYSTEM),
            });
        }
        let parts: std::result::Result<_, NameError> = user
            .parse()
            .and_then(|user| Ok((user, organization.parse()?)));
        let (user, organization) = parts?;
        Ok(Self { user, organization })
    }
}

/// Whether this is one of the names that the system goes by.
#[must_use]
pub fn is_system(organization: &str) -> bool {
    organization.eq_ignore_ascii_case(SYSTEM) || organization.eq_ignore_ascii_case(SYSTEM_DOMAIN)
}
