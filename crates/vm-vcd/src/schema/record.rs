//! The types of the query service: one record for each thing that is found, its fields as attributes.

use super::entity::{LINK, REFERENCE, RESOURCE};
use super::{Type, attribute, flag, many, number};
use crate::version::ApiVersion;

static RECORD: Type = Type::new(
    "QueryResultRecordType",
    &[
        attribute("href"),
        attribute("id"),
        attribute("type"),
        attribute("name"),
        many("Link", &LINK),
    ],
);

/// `QueryResultOrganizationRecordType`.
pub(crate) static ORGANIZATION: Type = Type::extending(
    "QueryResultOrganizationRecordType",
    &RECORD,
    &[attribute("displayName"), flag("isEnabled")],
);

/// `QueryResultOrgVdcRecordType`.
pub(crate) static ORG_VDC: Type = Type::extending(
    "QueryResultOrgVdcRecordType",
    &RECORD,
    &[
        attribute("org"),
        attribute("orgName"),
        flag("isEnabled"),
        attribute("status"),
        attribute("vc"),
        attribute("vcName"),
        number("numberOfVApps"),
        number("numberOfVMs"),
    ],
);

/// `QueryResultVAppRecordType`.
pub(crate) static VAPP: Type = Type::extending(
    "QueryResultVAppRecordType",
    &RECORD,
    &[
        attribute("org"),
        attribute("vdc"),
        attribute("vdcName"),
        attribute("status"),
        attribute("ownerName"),
        attribute("creationDate"),
        flag("isEnabled"),
        flag("isDeployed"),
        flag("isBusy"),
        flag("isAutoNature"),
        flag("isInMaintenanceMode"),
        number("numberOfVMs"),
    ],
);

/// `QueryResultVMRecordType`.
pub(crate) static VM: Type = Type::extending(
    "QueryResultVMRecordType",
    &RECORD,
    &[
        attribute("org"),
        attribute("container"),
        attribute("containerName"),
        attribute("vdc"),
        attribute("vdcName"),
        attribute("vc"),
        attribute("moref"),
        attribute("status"),
        attribute("guestOs"),
        attribute("detectedGuestOs"),
        attribute("ownerName"),
        attribute("storageProfileName"),
        attribute("catalogName"),
        attribute("dateCreated"),
        number("hardwareVersion"),
        flag("isVAppTemplate"),
        flag("isDeployed"),
        flag("isAutoNature"),
        flag("isBusy"),
        flag("isDeleted"),
        flag("isInMaintenanceMode"),
        flag("snapshot"),
        flag("encrypted"),
        attribute("firmware").since(ApiVersion::TPM),
        flag("tpmPresent").since(ApiVersion::TPM),
    ],
);

/// `QueryResultCatalogRecordType`.
pub(crate) static CATALOG: Type = Type::extending(
    "QueryResultCatalogRecordType",
    &RECORD,
    &[
        attribute("org"),
        attribute("orgName"),
        attribute("ownerName"),
        attribute("creationDate"),
        attribute("status"),
        flag("isPublished"),
        flag("isShared"),
        flag("isLocal"),
        number("numberOfVAppTemplates"),
        number("numberOfMedia"),
    ],
);

/// `QueryResultCatalogItemRecordType`.
pub(crate) static CATALOG_ITEM: Type = Type::extending(
    "QueryResultCatalogItemRecordType",
    &RECORD,
    &[
        attribute("entity"),
        attribute("entityName"),
        attribute("entityType"),
        attribute("catalog"),
        attribute("catalogName"),
        attribute("creationDate"),
        attribute("status"),
        flag("isPublished"),
    ],
);

/// `QueryResultVAppTemplateRecordType`.
pub(crate) static VAPP_TEMPLATE: Type = Type::extending(
    "QueryResultVAppTemplateRecordType",
    &RECORD,
    &[
        attribute("org"),
        attribute("catalog"),
        attribute("catalogItem"),
        attribute("catalogName"),
        attribute("creationDate"),
        attribute("ownerName"),
        attribute("status"),
        attribute("storageProfileName"),
        flag("isPublished"),
        flag("isGoldMaster"),
        flag("isEnabled"),
        flag("isBusy"),
        number("numberOfVMs"),
    ],
);

/// `QueryResultTaskRecordType`.
pub(crate) static TASK: Type = Type::extending(
    "QueryResultTaskRecordType",
    &RECORD,
    &[
        attribute("org"),
        attribute("orgName"),
        attribute("operationFull"),
        attribute("message"),
        attribute("startDate"),
        attribute("endDate"),
        attribute("status"),
        number("progress"),
        attribute("ownerName"),
        attribute("object"),
        attribute("objectType"),
        attribute("objectName"),
        attribute("serviceNamespace"),
    ],
);

/// `QueryResultVirtualCenterRecordType`.
pub(crate) static VIRTUAL_CENTER: Type = Type::extending(
    "QueryResultVirtualCenterRecordType",
    &RECORD,
    &[
        attribute("url"),
        attribute("vcVersion"),
        attribute("status"),
        flag("isEnabled"),
        flag("isBusy"),
        flag("isSupported"),
    ],
);

/// `QueryResultOrgVdcStorageProfileRecordType`.
pub(crate) static STORAGE_PROFILE: Type = Type::extending(
    "QueryResultOrgVdcStorageProfileRecordType",
    &RECORD,
    &[
        attribute("vdc"),
        attribute("vdcName"),
        flag("isEnabled"),
        flag("isDefaultStorageProfile"),
    ],
);

/// `QueryResultUserRecordType`.
pub(crate) static USER: Type = Type::extending(
    "QueryResultUserRecordType",
    &RECORD,
    &[
        attribute("fullName"),
        attribute("org"),
        attribute("orgName"),
        attribute("roleNames"),
        flag("isEnabled"),
        flag("isLdapUser"),
    ],
);

/// `QueryResultRoleRecordType`.
pub(crate) static ROLE: Type = Type::extending(
    "QueryResultRoleRecordType",
    &RECORD,
    &[attribute("org"), attribute("orgName"), flag("isReadOnly")],
);

/// The fields that every answer of the query service has besides its records.
static CONTAINER: Type = Type::extending(
    "ContainerType",
    &RESOURCE,
    &[
        attribute("name"),
        number("page"),
        number("pageSize"),
        number("total"),
    ],
);

/// A query: its name, and what its answers are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it finds.
    pub(crate) finds: Finds,
    /// Only administrators of the system have it.
    pub(crate) system: bool,
    /// The element of a record.
    pub(crate) record: &'static str,
    /// The element of a reference; a list of them is called so with an `s`.
    pub(crate) reference: &'static str,
    /// The element of a list of references.
    pub(crate) references: &'static str,
}

/// What queries find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finds {
    Organizations,
    Vdcs,
    Vapps,
    Vms,
    Catalogs,
    CatalogItems,
    Templates,
    Tasks,
    VCenters,
    StorageProfiles,
    Users,
    Roles,
}

macro_rules! queries {
    ($($name:literal, $finds:ident, $ty:ident, system: $system:literal, $word:literal;)*) => {
        /// Every query.
        pub(crate) static QUERIES: &[Query] = &[$(Query {
            name: $name,
            finds: Finds::$finds,
            system: $system,
            record: concat!($word, "Record"),
            reference: concat!($word, "Reference"),
            references: concat!($word, "References"),
        },)*];

        /// `QueryResultRecordsType`.
        pub(crate) static RECORDS: Type = Type::extending(
            "QueryResultRecordsType",
            &CONTAINER,
            &[$(many(concat!($word, "Record"), &$ty).grouped("record"),)*],
        );

        /// `ReferencesType`.
        pub(crate) static REFERENCES: Type = Type::extending(
            "ReferencesType",
            &CONTAINER,
            &[$(many(concat!($word, "Reference"), &REFERENCE).grouped("reference"),)*],
        );
    };
}

queries! {
    "organization", Organizations, ORGANIZATION, system: false, "Organization";
    "orgVdc", Vdcs, ORG_VDC, system: false, "OrgVdc";
    "adminOrgVdc", Vdcs, ORG_VDC, system: true, "AdminVdc";
    "orgVdcStorageProfile", StorageProfiles, STORAGE_PROFILE, system: false, "OrgVdcStorageProfile";
    "adminOrgVdcStorageProfile", StorageProfiles, STORAGE_PROFILE, system: true, "AdminOrgVdcStorageProfile";
    "vApp", Vapps, VAPP, system: false, "VApp";
    "adminVApp", Vapps, VAPP, system: true, "AdminVApp";
    "vm", Vms, VM, system: false, "VM";
    "adminVM", Vms, VM, system: true, "AdminVM";
    "catalog", Catalogs, CATALOG, system: false, "Catalog";
    "adminCatalog", Catalogs, CATALOG, system: true, "AdminCatalog";
    "catalogItem", CatalogItems, CATALOG_ITEM, system: false, "CatalogItem";
    "adminCatalogItem", CatalogItems, CATALOG_ITEM, system: true, "AdminCatalogItem";
    "vAppTemplate", Templates, VAPP_TEMPLATE, system: false, "VAppTemplate";
    "adminVAppTemplate", Templates, VAPP_TEMPLATE, system: true, "AdminVAppTemplate";
    "task", Tasks, TASK, system: false, "Task";
    "adminTask", Tasks, TASK, system: true, "AdminTask";
    "user", Users, USER, system: false, "User";
    "adminUser", Users, USER, system: true, "AdminUser";
    "role", Roles, ROLE, system: false, "Role";
    "adminRole", Roles, ROLE, system: true, "AdminRole";
    "virtualCenter", VCenters, VIRTUAL_CENTER, system: true, "VirtualCenter";
}

impl Finds {
    /// The type of its records.
    pub(crate) fn ty(self) -> &'static Type {
        match self {
            Self::Organizations => &ORGANIZATION,
            Self::Vdcs => &ORG_VDC,
            Self::Vapps => &VAPP,
            Self::Vms => &VM,
            Self::Catalogs => &CATALOG,
            Self::CatalogItems => &CATALOG_ITEM,
            Self::Templates => &VAPP_TEMPLATE,
            Self::Tasks => &TASK,
            Self::VCenters => &VIRTUAL_CENTER,
            Self::StorageProfiles => &STORAGE_PROFILE,
            Self::Users => &USER,
            Self::Roles => &ROLE,
        }
    }
}

/// The media type of records, without `+xml` or `+json`.
pub(crate) const RECORDS_MEDIA: &str = "application/vnd.vmware.vcloud.query.records";
/// The media type of records that carry identifiers.
pub(crate) const ID_RECORDS_MEDIA: &str = "application/vnd.vmware.vcloud.query.idrecords";
/// The media type of references.
pub(crate) const REFERENCES_MEDIA: &str = "application/vnd.vmware.vcloud.query.references";
