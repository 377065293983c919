//! The types of what clients send.

use super::entity::{CATALOG, ENTITY, OWNER, REFERENCE, TPM, VAPP, VAPP_TEMPLATE, VM};
use super::section::{CONTROL_ACCESS, LEASE, METADATA, METADATA_VALUE, RASD_ITEM};
use super::{Field, Namespace, Root, Type, attribute, boolean, flag, loose, many, one, text};
use crate::version::ApiVersion;

static VM_GENERAL: Type = Type::new(
    "VmGeneralParamsType",
    &[
        text("Name"),
        text("Description"),
        boolean("NeedsCustomization"),
        boolean("RegenerateBiosUuid"),
    ],
);

/// `SourcedCompositionItemParamType`.
static SOURCED_ITEM: Type = Type::new(
    "SourcedCompositionItemParamType",
    &[
        flag("sourceDelete"),
        one("Source", &REFERENCE),
        one("VmGeneralParams", &VM_GENERAL),
        text("VAppScopedLocalId"),
        loose("InstantiationParams"),
        loose("NetworkAssignment"),
        loose("StorageProfile"),
        // Where it stands is known from one public script only: after StorageProfile. The order is not insisted on.
        boolean("ReplaceTpm").since(ApiVersion::TPM),
        loose("VdcComputePolicy"),
        loose("ComputePolicy"),
        loose("LocalityParams"),
        loose("VmCapabilities"),
    ],
);

/// `ParamsType`.
static PARAMS: Type = Type::new("ParamsType", &[attribute("name"), text("Description")]);

static CREATION: Type = Type::extending(
    "VAppCreationParamsType",
    &PARAMS,
    &[
        flag("deploy"),
        flag("powerOn"),
        loose("VAppParent"),
        loose("InstantiationParams"),
    ],
);

/// `ComposeVAppParamsType`.
static COMPOSE: Type = Type::extending(
    "ComposeVAppParamsType",
    &CREATION,
    &[
        flag("linkedClone"),
        many("SourcedItem", &SOURCED_ITEM),
        many("CreateItem", &VM),
        boolean("AllEULAsAccepted"),
    ],
);

/// `RecomposeVAppParamsType`.
static RECOMPOSE: Type = Type::extending(
    "RecomposeVAppParamsType",
    &COMPOSE,
    &[many("DeleteItem", &REFERENCE), many("ReconfigureItem", &VM)],
);

static HARDWARE_PARAMS: Type = Type::new(
    "SourcedVmInstantiationParamsType",
    &[
        one("Source", &REFERENCE),
        loose("StorageProfile"),
        loose("LocalityParams"),
        loose("HardwareCustomization"),
    ],
);

/// `InstantiateVAppParamsType`.
static INSTANTIATE_VAPP: Type = Type::extending(
    "InstantiateVAppParamsType",
    &CREATION,
    &[
        flag("linkedClone"),
        one("Source", &REFERENCE),
        boolean("IsSourceDelete"),
        many("SourcedVmInstantiationParams", &HARDWARE_PARAMS),
        many("SourcedItem", &SOURCED_ITEM),
    ],
);

/// `CloneVAppParamsType`.
static CLONE: Type = Type::extending("CloneVAppParamsType", &INSTANTIATE_VAPP, &[]);

/// `InstantiateVAppTemplateParamsType`.
static INSTANTIATE_TEMPLATE: Type = Type::extending(
    "InstantiateVAppTemplateParamsType",
    &INSTANTIATE_VAPP,
    &[boolean("AllEULAsAccepted")],
);

/// `MoveVAppParamsType`.
static MOVE: Type = Type::extending(
    "MoveVAppParamsType",
    &PARAMS,
    &[
        one("Source", &REFERENCE),
        loose("NetworkConfigSection"),
        many("SourcedItem", &SOURCED_ITEM),
    ],
);

static SOURCED_VM_TEMPLATE: Type = Type::new(
    "SourcedVmTemplateParamsType",
    &[
        one("Source", &REFERENCE),
        one("VmGeneralParams", &VM_GENERAL),
        loose("VmTemplateInstantiationParams"),
        loose("StorageProfile"),
        boolean("ReplaceTpm").since(ApiVersion::TPM),
        loose("LocalityParams"),
        loose("VmCapabilities"),
    ],
);

/// `InstantiateVmTemplateParamsType`.
static INSTANTIATE_VM: Type = Type::extending(
    "InstantiateVmTemplateParamsType",
    &PARAMS,
    &[
        flag("powerOn"),
        one("SourcedVmTemplateItem", &SOURCED_VM_TEMPLATE),
        boolean("AllEULAsAccepted"),
        loose("ComputePolicy"),
    ],
);

/// `CreateVmParamsType`.
static CREATE_VM: Type = Type::extending(
    "CreateVmParamsType",
    &PARAMS,
    &[flag("powerOn"), one("CreateVm", &VM), loose("Media")],
);

/// `CaptureVAppParamsType`.
static CAPTURE: Type = Type::extending(
    "CaptureVAppParamsType",
    &PARAMS,
    &[
        one("Source", &REFERENCE),
        loose("CaptureVmParams"),
        loose("CustomizationSection"),
        loose("VdcStorageProfile"),
        one("TargetCatalogItem", &REFERENCE),
        boolean("CopyTpmOnInstantiate").since(ApiVersion::TPM),
    ],
);

/// `UploadVAppTemplateParamsType`.
static UPLOAD: Type = Type::extending(
    "UploadVAppTemplateParamsType",
    &PARAMS,
    &[
        attribute("transferFormat"),
        flag("manifestRequired"),
        attribute("sourceHref"),
        loose("VdcStorageProfile"),
    ],
);

/// `DeployVAppParamsType`.
static DEPLOY: Type = Type::new(
    "DeployVAppParamsType",
    &[
        flag("powerOn"),
        attribute("deploymentLeaseSeconds"),
        flag("forceCustomization"),
    ],
);

/// `UndeployVAppParamsType`.
static UNDEPLOY: Type = Type::new("UndeployVAppParamsType", &[text("UndeployPowerAction")]);

/// `CreateSnapshotParamsType`.
static SNAPSHOT: Type = Type::extending(
    "CreateSnapshotParamsType",
    &PARAMS,
    &[flag("memory"), flag("quiesce")],
);

/// `PublishCatalogParamsType`.
static PUBLISH: Type = Type::new("PublishCatalogParamsType", &[boolean("IsPublished")]);

/// `UserType`, as far as a new user needs it.
static NEW_USER: Type = Type::extending(
    "UserType",
    &ENTITY,
    &[
        text("FullName"),
        loose("EmailAddress"),
        loose("Telephone"),
        boolean("IsEnabled"),
        loose("IsLocked"),
        loose("IM"),
        loose("NameInSource"),
        loose("IsAlertEnabled"),
        loose("AlertEmailPrefix"),
        loose("AlertEmail"),
        boolean("IsExternal"),
        loose("ProviderType"),
        loose("IsDefaultCached"),
        loose("IsGroupRole"),
        loose("StoredVmQuota"),
        loose("DeployedVmQuota"),
        one("Role", &REFERENCE),
        text("Password"),
        loose("GroupReferences"),
    ],
);

/// `AdminCatalogType`, as far as a new catalog needs it.
static NEW_CATALOG: Type = Type::extending("AdminCatalogType", &ENTITY, &[]);

const fn vmext(field: Field) -> Field {
    field.of(Namespace::Extension)
}

/// `ImportVmAsVAppParamsType`.
static IMPORT_AS_VAPP: Type = Type::extending(
    "ImportVmAsVAppParamsType",
    &CREATION,
    &[
        flag("sourceMove"),
        vmext(text("VmName")),
        vmext(text("VAppScopedLocalId")),
        vmext(text("ComputerName")),
        vmext(text("VmMoRef")),
        vmext(loose("VdcStorageProfile")),
        vmext(one("Vdc", &REFERENCE)),
        vmext(loose("ImportedDisk")),
    ],
);

/// `ImportVmAsVAppTemplateParamsType`.
static IMPORT_AS_TEMPLATE: Type = Type::extending(
    "ImportVmAsVAppTemplateParamsType",
    &PARAMS,
    &[
        flag("sourceMove"),
        flag("goldMaster"),
        vmext(text("VmName")),
        vmext(text("VAppScopedLocalId")),
        vmext(text("ComputerName")),
        vmext(text("VmMoRef")),
        vmext(one("Vdc", &REFERENCE)),
        vmext(loose("VdcStorageProfile")),
        vmext(one("Catalog", &REFERENCE)),
    ],
);

/// `UserType` as it is shown and comes back.
static EDITED_USER: Type = Type::extending(
    "UserType",
    &ENTITY,
    &[
        text("FullName"),
        loose("EmailAddress"),
        loose("Telephone"),
        boolean("IsEnabled"),
        loose("IsLocked"),
        loose("IM"),
        loose("NameInSource"),
        loose("IsExternal"),
        loose("ProviderType"),
        loose("IsGroupRole"),
        loose("StoredVmQuota"),
        loose("DeployedVmQuota"),
        one("Role", &REFERENCE),
        text("Password"),
        loose("GroupReferences"),
    ],
);

macro_rules! roots {
    ($($(#[doc = $doc:literal])* $name:ident = $kind:ident($element:literal, $ty:ident, $media:literal);)*) => {
        $($(#[doc = $doc])* pub(crate) static $name: Root = Root::$kind($element, &$ty, $media);)*

        /// Every body that the API takes.
        #[cfg(test)]
        pub(crate) static ALL: &[&Root] = &[$(&$name,)*];
    };
}

roots! {
    /// Build a vApp.
    COMPOSE_ROOT = new("ComposeVAppParams", COMPOSE, "application/vnd.vmware.vcloud.composeVAppParams");
    /// Change what is in a vApp.
    RECOMPOSE_ROOT = new("RecomposeVAppParams", RECOMPOSE, "application/vnd.vmware.vcloud.recomposeVAppParams");
    /// Copy a vApp.
    CLONE_ROOT = new("CloneVAppParams", CLONE, "application/vnd.vmware.vcloud.cloneVAppParams");
    /// Move a vApp.
    MOVE_ROOT = new("MoveVAppParams", MOVE, "application/vnd.vmware.vcloud.moveVAppParams");
    /// Make a vApp of a template.
    INSTANTIATE_TEMPLATE_ROOT = new("InstantiateVAppTemplateParams", INSTANTIATE_TEMPLATE, "application/vnd.vmware.vcloud.instantiateVAppTemplateParams");
    /// Make a standalone VM of a template.
    INSTANTIATE_VM_ROOT = new("InstantiateVmTemplateParams", INSTANTIATE_VM, "application/vnd.vmware.vcloud.instantiateVmTemplateParams");
    /// Make a standalone VM.
    CREATE_VM_ROOT = new("CreateVmParams", CREATE_VM, "application/vnd.vmware.vcloud.createVmParams");
    /// Save a vApp as a template.
    CAPTURE_ROOT = new("CaptureVAppParams", CAPTURE, "application/vnd.vmware.vcloud.captureVAppParams");
    /// Upload a template.
    UPLOAD_ROOT = new("UploadVAppTemplateParams", UPLOAD, "application/vnd.vmware.vcloud.uploadVAppTemplateParams");
    /// Deploy.
    DEPLOY_ROOT = new("DeployVAppParams", DEPLOY, "application/vnd.vmware.vcloud.deployVAppParams");
    /// Undeploy.
    UNDEPLOY_ROOT = new("UndeployVAppParams", UNDEPLOY, "application/vnd.vmware.vcloud.undeployVAppParams");
    /// Take a snapshot.
    SNAPSHOT_ROOT = new("CreateSnapshotParams", SNAPSHOT, "application/vnd.vmware.vcloud.createSnapshotParams");
    /// Publish a catalog.
    PUBLISH_ROOT = new("PublishCatalogParams", PUBLISH, "application/vnd.vmware.admin.publishCatalogParams");
    /// Add a user.
    NEW_USER_ROOT = new("User", NEW_USER, "application/vnd.vmware.admin.user");
    /// Change a user.
    USER_EDIT_ROOT = new("User", EDITED_USER, "application/vnd.vmware.admin.user");
    /// Make a catalog.
    NEW_CATALOG_ROOT = new("AdminCatalog", NEW_CATALOG, "application/vnd.vmware.admin.catalog");
    /// Change a VM.
    RECONFIGURE_ROOT = new("Vm", VM, "application/vnd.vmware.vcloud.vm");
    /// Change a vApp.
    VAPP_EDIT_ROOT = new("VApp", VAPP, "application/vnd.vmware.vcloud.vApp");
    /// Change a template.
    TEMPLATE_EDIT_ROOT = new("VAppTemplate", VAPP_TEMPLATE, "application/vnd.vmware.vcloud.vAppTemplate");
    /// Change a catalog.
    CATALOG_EDIT_ROOT = new("AdminCatalog", CATALOG, "application/vnd.vmware.admin.catalog");
    /// The same as it is shown to its users.
    CATALOG_SHOWN_ROOT = new("Catalog", CATALOG, "application/vnd.vmware.admin.catalog");
    /// Set the leases of a vApp.
    LEASE_EDIT_ROOT = new("LeaseSettingsSection", LEASE, "application/vnd.vmware.vcloud.leaseSettingsSection");
    /// Say something about something.
    METADATA_EDIT_ROOT = new("Metadata", METADATA, "application/vnd.vmware.vcloud.metadata");
    /// Say one thing about it.
    METADATA_VALUE_EDIT_ROOT = new("MetadataValue", METADATA_VALUE, "application/vnd.vmware.vcloud.metadata.value");
    /// Share something.
    SHARE_ROOT = new("ControlAccessParams", CONTROL_ACCESS, "application/vnd.vmware.vcloud.controlAccess");
    /// Give something to somebody.
    OWNER_EDIT_ROOT = new("Owner", OWNER, "application/vnd.vmware.vcloud.owner");
    /// Change processors or memory.
    RASD_ITEM_EDIT_ROOT = new("Item", RASD_ITEM, "application/vnd.vmware.vcloud.rasdItem");
    /// Give a VM a TPM, or take it away.
    EDIT_TPM_ROOT = new("TrustedPlatformModule", TPM, "application/vnd.vmware.vcloud.TpmSection");
    /// The same by the name of its media type.
    EDIT_TPM_SECTION_ROOT = new("TpmSection", TPM, "application/vnd.vmware.vcloud.TpmSection");
    /// Import a VM as a vApp.
    IMPORT_AS_VAPP_ROOT = extension("ImportVmAsVAppParams", IMPORT_AS_VAPP, "application/vnd.vmware.admin.importVmAsVAppParams");
    /// Import a VM as a template.
    IMPORT_AS_TEMPLATE_ROOT = extension("ImportVmAsVAppTemplateParams", IMPORT_AS_TEMPLATE, "application/vnd.vmware.admin.importVmAsVAppTemplateParams");
}
