//! Catalogs and the vApp templates in them.

use super::{Record, Timestamp, Vm};
use crate::Name;
use crate::provisioning::TpmProvisioning;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;
use uuid::Uuid;

/// A shelf of templates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Catalog {
    /// The organization.
    pub organization: Name,
    /// Its name, unique in the organization.
    pub name: Name,
    /// The vCenter that holds its templates; of a catalog that is `anywhere`, those that come from nowhere, such as packages.
    pub vcenter: Name,
    /// Where their files go.
    pub datastore: Name,
    /// Whether it was made for no virtual data center: what is saved in it stays at the vCenter and on the datastore of its source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anywhere: bool,
    /// Whether other organizations may subscribe to it.
    #[serde(default)]
    pub published: bool,
    /// The published catalog that this one follows.
    #[serde(default)]
    pub subscription: Option<Subscription>,
    /// When it was made.
    pub created: Timestamp,
}

/// The published catalog that another one follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// Its organization.
    pub organization: Name,
    /// Its name.
    pub catalog: Name,
}

impl Record for Catalog {
    const PREFIX: &'static str = "catalog/";
    fn key(&self) -> String {
        Self::key_of(self.organization.as_str(), self.name.as_str())
    }
}

impl Catalog {
    pub(crate) fn key_of(organization: &str, name: &str) -> String {
        format!("{}{organization}/{name}", Self::PREFIX)
    }
}

/// Where a template comes from: it decides what instances get (rule 1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TemplateOrigin {
    /// Saved from a vApp or VM; the choice made then is stored.
    Captured,
    /// Uploaded as OVF or OVA: instances get new TPMs.
    Ovf,
    /// Imported from a vCenter: instances get copies.
    Vcenter,
    /// Taken over from a published catalog: instances get new TPMs.
    Synced,
}

impl fmt::Display for TemplateOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Captured => "captured",
            Self::Ovf => "ovf",
            Self::Vcenter => "vcenter",
            Self::Synced => "synced",
        })
    }
}

/// A vApp template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// Identifies it.
    pub id: Uuid,
    /// The organization.
    pub organization: Name,
    /// The catalog that it is in.
    pub catalog: Name,
    /// Its name, unique in the catalog.
    pub name: Name,
    /// Where it comes from.
    pub origin: TemplateOrigin,
    /// What instances get (`CopyTpmOnInstantiate` is true for copy).
    pub provisioning: TpmProvisioning,
    /// Its VMs. They are never powered on; their files lie in the catalog's datastore. With `replace` they hold nothing of the
    /// source's TPMs, but unused ones of the same profile.
    pub vms: Vec<Vm>,
    /// The template of a published catalog that it was taken over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_from: Option<Uuid>,
    /// When it was made.
    pub created: Timestamp,
}

impl Record for Template {
    const PREFIX: &'static str = "template/";
    fn key(&self) -> String {
        Self::key_of(
            self.organization.as_str(),
            self.catalog.as_str(),
            self.name.as_str(),
        )
    }
}

impl Template {
    pub(crate) fn key_of(organization: &str, catalog: &str, name: &str) -> String {
        format!("{}{organization}/{catalog}/{name}", Self::PREFIX)
    }

    /// Whether one of its VMs has a TPM.
    #[must_use]
    pub fn has_tpm(&self) -> bool {
        self.vms.iter().any(|vm| vm.tpm.is_some())
    }
}
