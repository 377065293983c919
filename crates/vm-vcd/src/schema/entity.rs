//! The types of what the API shows.

use super::section::{
    CONTROL_ACCESS, LEASE, MEMORY, METADATA, METADATA_VALUE, NETWORK_CONFIGS, NETWORK_CONNECTIONS,
    RASD_ITEM, RASD_ITEMS, VCLOUD_EXTENSION,
};
use super::{
    Field, Namespace, Root, Type, attribute, boolean, content, flag, integer, loose, many, number,
    one, text,
};
use crate::version::ApiVersion;

/// `ReferenceType`.
pub(crate) static REFERENCE: Type = Type::new(
    "ReferenceType",
    &[
        attribute("href"),
        attribute("id"),
        attribute("name"),
        attribute("type"),
        loose("VCloudExtension"),
    ],
);

/// `LinkType`.
pub(crate) static LINK: Type = Type::extending(
    "LinkType",
    &REFERENCE,
    &[attribute("rel"), attribute("model")],
);

/// `ErrorType`.
pub(crate) static ERROR: Type = Type::new(
    "ErrorType",
    &[
        attribute("message"),
        number("majorErrorCode"),
        attribute("minorErrorCode"),
        attribute("vendorSpecificErrorCode"),
        attribute("stackTrace"),
    ],
);

/// `ResourceType`.
pub(crate) static RESOURCE: Type = Type::new(
    "ResourceType",
    &[
        attribute("href"),
        attribute("type"),
        many("VCloudExtension", &VCLOUD_EXTENSION),
        many("Link", &LINK),
    ],
);

/// `EntityType`.
pub(crate) static ENTITY: Type = Type::extending(
    "EntityType",
    &RESOURCE,
    &[
        attribute("name"),
        attribute("id"),
        attribute("operationKey"),
        text("Description"),
        one("Tasks", &TASKS),
    ],
);

/// `TasksInProgressType`.
pub(crate) static TASKS: Type = Type::new("TasksInProgressType", &[many("Task", &TASK)]);

/// `TaskType`.
pub(crate) static TASK: Type = Type::extending(
    "TaskType",
    &ENTITY,
    &[
        attribute("status"),
        attribute("operation"),
        attribute("operationName"),
        attribute("serviceNamespace"),
        attribute("startTime"),
        attribute("endTime"),
        attribute("expiryTime"),
        flag("cancelRequested"),
        one("Owner", &REFERENCE),
        one("Error", &ERROR),
        one("User", &REFERENCE),
        one("Organization", &REFERENCE),
        integer("Progress"),
        text("Details"),
    ],
);

/// `TpmType`: the TrustedPlatformModule section.
pub(crate) static TPM: Type = Type::extending("TpmType", &RESOURCE, &[boolean("TpmPresent")]);

const INFO: Field = text("Info").of(Namespace::Ovf);

static OPERATING_SYSTEM: Type = Type::new(
    "OperatingSystemSectionType",
    &[
        number("id").of(Namespace::Ovf),
        attribute("osType").of(Namespace::Vmw),
        INFO,
        text("Description").of(Namespace::Ovf),
    ],
);

static HARDWARE_VERSION: Type = Type::new(
    "HardwareVersionType",
    &[attribute("href"), attribute("type"), content()],
);

/// `VmSpecSectionType`.
pub(crate) static VM_SPEC: Type = Type::new(
    "VmSpecSectionType",
    &[
        flag("Modified"),
        attribute("href"),
        attribute("type"),
        INFO,
        text("OsType"),
        integer("NumCpus"),
        integer("NumCoresPerSocket"),
        loose("CpuResourceMhz"),
        one("MemoryResourceMb", &MEMORY),
        loose("MediaSection"),
        loose("DiskSection"),
        one("HardwareVersion", &HARDWARE_VERSION),
        text("VmToolsVersion"),
        text("ToolsGuestOsId"),
        text("VirtualCpuType"),
        boolean("TimeSyncWithHost"),
        text("Firmware").since(ApiVersion::new(37, 1)),
    ],
);

static SNAPSHOT: Type = Type::new(
    "SnapshotType",
    &[attribute("created"), flag("poweredOn"), number("size")],
);

static SNAPSHOT_SECTION: Type = Type::new(
    "SnapshotSectionType",
    &[
        attribute("href"),
        attribute("type"),
        INFO,
        many("Snapshot", &SNAPSHOT),
    ],
);

/// `AbstractVAppType`.
static ABSTRACT_VAPP: Type = Type::extending(
    "AbstractVAppType",
    &ENTITY,
    &[
        flag("deployed"),
        number("status"),
        one("VAppParent", &REFERENCE),
        one("OperatingSystemSection", &OPERATING_SYSTEM)
            .of(Namespace::Ovf)
            .section(),
        one("VmSpecSection", &VM_SPEC).section(),
        one("SnapshotSection", &SNAPSHOT_SECTION).section(),
        loose("GuestCustomizationSection").section(),
        one("NetworkConnectionSection", &NETWORK_CONNECTIONS).section(),
        one("NetworkConfigSection", &NETWORK_CONFIGS).section(),
        one("LeaseSettingsSection", &LEASE).section(),
        loose("RuntimeInfoSection").section(),
        text("DateCreated"),
    ],
);

/// `VmType`.
pub(crate) static VM: Type = Type::extending(
    "VmType",
    &ABSTRACT_VAPP,
    &[
        flag("needsCustomization"),
        flag("nestedHypervisorEnabled"),
        text("VAppScopedLocalId"),
        loose("Environment"),
        loose("VmCapabilities"),
        one("StorageProfile", &REFERENCE),
        loose("VdcComputePolicy"),
        loose("ComputePolicy"),
        loose("ComputePolicyCompliance"),
        boolean("IsComputePolicyCompliant"),
        loose("BootOptions"),
        loose("Media"),
        boolean("Encrypted"),
        one("TrustedPlatformModule", &TPM).since(ApiVersion::TPM),
    ],
);

static VAPP_CHILDREN: Type = Type::new("VAppChildrenType", &[many("Vm", &VM)]);

/// `OwnerType`.
pub(crate) static OWNER: Type = Type::extending("OwnerType", &RESOURCE, &[one("User", &REFERENCE)]);

/// `VAppType`.
pub(crate) static VAPP: Type = Type::extending(
    "VAppType",
    &ABSTRACT_VAPP,
    &[
        flag("ovfDescriptorUploaded"),
        one("Owner", &OWNER),
        boolean("autoNature"),
        boolean("InMaintenanceMode"),
        one("Children", &VAPP_CHILDREN),
    ],
);

static TEMPLATE_CHILDREN: Type =
    Type::new("VAppTemplateChildrenType", &[many("Vm", &VAPP_TEMPLATE)]);

/// `FileType`.
pub(crate) static FILE: Type = Type::extending(
    "FileType",
    &ENTITY,
    &[
        number("size"),
        number("bytesTransferred"),
        attribute("checksum"),
    ],
);

static FILES: Type = Type::new("FilesListType", &[many("File", &FILE)]);

/// `VAppTemplateType`, which is also the type of the VMs in it.
pub(crate) static VAPP_TEMPLATE: Type = Type::extending(
    "VAppTemplateType",
    &ENTITY,
    &[
        number("status"),
        flag("ovfDescriptorUploaded"),
        flag("goldMaster"),
        one("Files", &FILES),
        one("Owner", &OWNER),
        one("Children", &TEMPLATE_CHILDREN),
        one("OperatingSystemSection", &OPERATING_SYSTEM)
            .of(Namespace::Ovf)
            .section(),
        one("VmSpecSection", &VM_SPEC).section(),
        text("VAppScopedLocalId"),
        text("DefaultStorageProfile"),
        text("DateCreated"),
        boolean("CopyTpmOnInstantiate").since(ApiVersion::TPM),
        one("TrustedPlatformModule", &TPM).since(ApiVersion::TPM),
    ],
);

static CATALOG_ITEMS: Type = Type::new("CatalogItemsType", &[many("CatalogItem", &REFERENCE)]);

/// `CatalogType`.
pub(crate) static CATALOG: Type = Type::extending(
    "CatalogType",
    &ENTITY,
    &[
        one("Owner", &OWNER),
        one("CatalogItems", &CATALOG_ITEMS),
        boolean("IsPublished"),
        text("DateCreated"),
        integer("VersionNumber"),
    ],
);

/// `CatalogItemType`.
pub(crate) static CATALOG_ITEM: Type = Type::extending(
    "CatalogItemType",
    &ENTITY,
    &[
        one("Entity", &REFERENCE),
        text("DateCreated"),
        integer("VersionNumber"),
    ],
);

static RESOURCE_ENTITIES: Type = Type::new(
    "ResourceEntitiesType",
    &[many("ResourceEntity", &REFERENCE)],
);

static HARDWARE_VERSIONS: Type = Type::new(
    "SupportedHardwareVersionsType",
    &[many("SupportedHardwareVersion", &HARDWARE_VERSION)],
);

static CAPABILITIES: Type = Type::new(
    "CapabilitiesType",
    &[one("SupportedHardwareVersions", &HARDWARE_VERSIONS)],
);

static STORAGE_PROFILES: Type = Type::new(
    "VdcStorageProfilesType",
    &[many("VdcStorageProfile", &REFERENCE)],
);

/// `VdcType`.
pub(crate) static VDC: Type = Type::extending(
    "VdcType",
    &ENTITY,
    &[
        number("status"),
        text("AllocationModel"),
        text("ComputeProviderScope"),
        one("ResourceEntities", &RESOURCE_ENTITIES),
        one("Capabilities", &CAPABILITIES),
        boolean("IsEnabled"),
        one("VdcStorageProfiles", &STORAGE_PROFILES),
    ],
);

/// `VdcStorageProfileType`: a datastore.
pub(crate) static STORAGE_PROFILE: Type = Type::extending(
    "VdcStorageProfileType",
    &ENTITY,
    &[boolean("Enabled"), boolean("Default")],
);

/// `OrgType`.
pub(crate) static ORG: Type = Type::extending(
    "OrgType",
    &ENTITY,
    &[text("FullName"), boolean("IsEnabled")],
);

/// `OrgListType`.
pub(crate) static ORG_LIST: Type =
    Type::extending("OrgListType", &RESOURCE, &[many("Org", &REFERENCE)]);

/// `UserType`.
pub(crate) static USER: Type = Type::extending(
    "UserType",
    &ENTITY,
    &[
        text("FullName"),
        boolean("IsEnabled"),
        one("Role", &REFERENCE),
    ],
);

/// `SessionType`.
pub(crate) static SESSION: Type = Type::extending(
    "SessionType",
    &RESOURCE,
    &[
        attribute("user"),
        attribute("userId"),
        attribute("org"),
        attribute("roles"),
        attribute("locationId"),
    ],
);

static ORGANIZATIONS: Type = Type::new(
    "OrganizationReferencesType",
    &[many("OrganizationReference", &REFERENCE)],
);

/// `VCloudType`: what an administrator of the system starts from.
pub(crate) static VCLOUD: Type = Type::extending(
    "VCloudType",
    &ENTITY,
    &[one("OrganizationReferences", &ORGANIZATIONS)],
);

/// `VMWExtensionType`.
pub(crate) static EXTENSION: Type = Type::extending("VMWExtensionType", &RESOURCE, &[]);

const fn vmext(field: Field) -> Field {
    field.of(Namespace::Extension)
}

/// `VimServerReferencesType`.
pub(crate) static VIM_SERVERS: Type = Type::extending(
    "VMWVimServerReferencesType",
    &RESOURCE,
    &[vmext(many("VimServerReference", &REFERENCE))],
);

/// `VimServerType`: a vCenter.
pub(crate) static VIM_SERVER: Type = Type::extending(
    "VimServerType",
    &ENTITY,
    &[
        vmext(text("Url")),
        vmext(boolean("IsEnabled")),
        vmext(boolean("IsConnected")),
        vmext(text("VcVersion")),
    ],
);

static VIM_OBJECT: Type = Type::new(
    "VimObjectRefType",
    &[
        vmext(one("VimServerRef", &REFERENCE)),
        vmext(text("MoRef")),
        vmext(text("VimObjectType")),
    ],
);

/// `VmObjectRefsListType`: the VMs of a vCenter that belong to no organization yet.
pub(crate) static VM_OBJECTS: Type = Type::extending(
    "VmObjectRefsListType",
    &RESOURCE,
    &[vmext(many("VmObjectRef", &VM_OBJECT))],
);

static VM_OBJECT: Type = Type::extending(
    "VmObjectRefType",
    &VIM_OBJECT,
    &[vmext(text("Name")), vmext(text("Status"))],
);

/// `QueryListType`.
pub(crate) static QUERY_LIST: Type = Type::extending("QueryListType", &RESOURCE, &[]);

static VERSION_INFO: Type = Type::new(
    "VersionInfoType",
    &[flag("deprecated"), text("Version"), text("LoginUrl")],
);

/// `SupportedVersionsType`.
pub(crate) static VERSIONS: Type = Type::new(
    "SupportedVersionsType",
    &[many("VersionInfo", &VERSION_INFO)],
);

/// `VersionInfoType`.
pub(crate) fn version_info() -> &'static Type {
    &VERSION_INFO
}

/// The types that only stand inside others, by the type and field that holds them.
pub(crate) fn inner(outer: &'static Type, field: &str) -> &'static Type {
    match outer.field(field).map(|field| field.kind) {
        Some(super::Kind::Node(ty)) => ty,
        _ => &RESOURCE,
    }
}

macro_rules! roots {
    ($($(#[doc = $doc:literal])* $name:ident = $kind:ident($element:literal, $ty:ident, $media:literal);)*) => {
        $($(#[doc = $doc])* pub(crate) static $name: Root = Root::$kind($element, &$ty, $media);)*

        /// Every document that the API shows.
        #[cfg(test)]
        pub(crate) static ALL: &[&Root] = &[$(&$name,)*];
    };
}

roots! {
    /// An error.
    ERROR_ROOT = new("Error", ERROR, "application/vnd.vmware.vcloud.error");
    /// The versions.
    VERSIONS_ROOT = new("SupportedVersions", VERSIONS, "text/xml");
    /// A session.
    SESSION_ROOT = new("Session", SESSION, "application/vnd.vmware.vcloud.session");
    /// The organizations.
    ORG_LIST_ROOT = new("OrgList", ORG_LIST, "application/vnd.vmware.vcloud.orgList");
    /// An organization.
    ORG_ROOT = new("Org", ORG, "application/vnd.vmware.vcloud.org");
    /// A user.
    USER_ROOT = new("User", USER, "application/vnd.vmware.admin.user");
    /// A role.
    ROLE_ROOT = new("Role", ENTITY, "application/vnd.vmware.admin.role");
    /// An organization as administrators see it.
    ADMIN_ORG_ROOT = new("AdminOrg", ORG, "application/vnd.vmware.admin.organization");
    /// A virtual data center.
    VDC_ROOT = new("Vdc", VDC, "application/vnd.vmware.vcloud.vdc");
    /// A datastore as a virtual data center sees it.
    STORAGE_PROFILE_ROOT = new("VdcStorageProfile", STORAGE_PROFILE, "application/vnd.vmware.vcloud.vdcStorageProfile");
    /// A vApp.
    VAPP_ROOT = new("VApp", VAPP, "application/vnd.vmware.vcloud.vApp");
    /// A VM.
    VM_ROOT = new("Vm", VM, "application/vnd.vmware.vcloud.vm");
    /// The leases of a vApp.
    LEASE_ROOT = new("LeaseSettingsSection", LEASE, "application/vnd.vmware.vcloud.leaseSettingsSection");
    /// What is said about something.
    METADATA_ROOT = new("Metadata", METADATA, "application/vnd.vmware.vcloud.metadata");
    /// One value of that.
    METADATA_VALUE_ROOT = new("MetadataValue", METADATA_VALUE, "application/vnd.vmware.vcloud.metadata.value");
    /// With whom something is shared.
    CONTROL_ACCESS_ROOT = new("ControlAccessParams", CONTROL_ACCESS, "application/vnd.vmware.vcloud.controlAccess");
    /// Whose something is.
    OWNER_ROOT = new("Owner", OWNER, "application/vnd.vmware.vcloud.owner");
    /// The networks of a VM.
    NETWORK_CONNECTIONS_ROOT = new("NetworkConnectionSection", NETWORK_CONNECTIONS, "application/vnd.vmware.vcloud.networkConnectionSection");
    /// The networks of a vApp.
    NETWORK_CONFIGS_ROOT = new("NetworkConfigSection", NETWORK_CONFIGS, "application/vnd.vmware.vcloud.networkConfigSection");
    /// Processors or memory of a VM.
    RASD_ITEM_ROOT = new("Item", RASD_ITEM, "application/vnd.vmware.vcloud.rasdItem");
    /// Disks, drives or network cards of a VM.
    RASD_ITEMS_ROOT = new("RasdItemsList", RASD_ITEMS, "application/vnd.vmware.vcloud.rasdItemsList");
    /// The TPM of a VM.
    TPM_ROOT = new("TrustedPlatformModule", TPM, "application/vnd.vmware.vcloud.TpmSection");
    /// The snapshots of a VM.
    SNAPSHOT_ROOT = new("SnapshotSection", SNAPSHOT_SECTION, "application/vnd.vmware.vcloud.snapshotSection");
    /// A vApp template.
    TEMPLATE_ROOT = new("VAppTemplate", VAPP_TEMPLATE, "application/vnd.vmware.vcloud.vAppTemplate");
    /// A VM of a template.
    TEMPLATE_VM_ROOT = new("Vm", VAPP_TEMPLATE, "application/vnd.vmware.vcloud.vm");
    /// A catalog.
    CATALOG_ROOT = new("Catalog", CATALOG, "application/vnd.vmware.vcloud.catalog");
    /// An entry of a catalog.
    CATALOG_ITEM_ROOT = new("CatalogItem", CATALOG_ITEM, "application/vnd.vmware.vcloud.catalogItem");
    /// A task.
    TASK_ROOT = new("Task", TASK, "application/vnd.vmware.vcloud.task");
    /// Tasks.
    TASKS_ROOT = new("TasksList", TASKS_LIST, "application/vnd.vmware.vcloud.tasksList");
    /// The queries.
    QUERY_LIST_ROOT = new("QueryList", QUERY_LIST, "application/vnd.vmware.vcloud.query.queryList");
    /// What the administrator of the system starts from.
    VCLOUD_ROOT = new("VCloud", VCLOUD, "application/vnd.vmware.admin.vcloud");
    /// The extension.
    EXTENSION_ROOT = extension("VMWExtension", EXTENSION, "application/vnd.vmware.admin.vmwExtension");
    /// The vCenters.
    VIM_SERVERS_ROOT = extension("VMWVimServerReferences", VIM_SERVERS, "application/vnd.vmware.admin.vmwVimServerReferences");
    /// A vCenter.
    VIM_SERVER_ROOT = extension("VimServer", VIM_SERVER, "application/vnd.vmware.admin.vmwvirtualcenter");
    /// The VMs of a vCenter that can be imported.
    VM_OBJECTS_ROOT = extension("VmObjectRefsList", VM_OBJECTS, "application/vnd.vmware.admin.vmsObjectRefsList");
}

/// `TasksListType`.
pub(crate) static TASKS_LIST: Type = Type::extending(
    "TasksListType",
    &RESOURCE,
    &[attribute("name"), many("Task", &TASK)],
);

/// The media type of a document in XML.
pub(crate) fn media(root: &Root) -> String {
    format!("{}+xml", root.media)
}
