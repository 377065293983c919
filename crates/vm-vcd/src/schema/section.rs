//! The types of sections of VMs and vApps that say little here: sizes, networks, leases.

use super::entity::{LINK, REFERENCE, RESOURCE};
use super::{
    Field, Namespace, Type, attribute, boolean, content, flag, integer, loose, many, one, text,
};

/// `MemoryResourceMbType`.
pub(crate) static MEMORY: Type = Type::new(
    "MemoryResourceMbType",
    &[
        integer("Configured"),
        integer("Reservation"),
        integer("Limit"),
        text("SharesLevel"),
        integer("Shares"),
    ],
);

static METADATA_DOMAIN: Type = Type::new(
    "MetadataDomainTagType",
    &[attribute("visibility"), content()],
);

static TYPED_VALUE: Type = Type::new(
    "MetadataTypedValue",
    &[attribute("type").of(Namespace::Xsi), text("Value")],
);

/// `MetadataValueType`: one value.
pub(crate) static METADATA_VALUE: Type = Type::extending(
    "MetadataValueType",
    &RESOURCE,
    &[
        one("Domain", &METADATA_DOMAIN),
        one("TypedValue", &TYPED_VALUE),
    ],
);

static METADATA_ENTRY: Type = Type::extending(
    "MetadataEntryType",
    &RESOURCE,
    &[
        one("Domain", &METADATA_DOMAIN),
        text("Key"),
        one("TypedValue", &TYPED_VALUE),
    ],
);

/// `MetadataType`.
pub(crate) static METADATA: Type = Type::extending(
    "MetadataType",
    &RESOURCE,
    &[many("MetadataEntry", &METADATA_ENTRY)],
);

/// `LeaseSettingsSectionType`.
pub(crate) static LEASE: Type = Type::new(
    "LeaseSettingsSectionType",
    &[
        attribute("href"),
        attribute("type"),
        text("Info").of(Namespace::Ovf),
        many("Link", &LINK),
        integer("DeploymentLeaseInSeconds"),
        integer("StorageLeaseInSeconds"),
        text("DeploymentLeaseExpiration"),
        text("StorageLeaseExpiration"),
    ],
);

/// `NetworkConnectionSectionType`: nothing here has a network, so what a body says of one is read over.
pub(crate) static NETWORK_CONNECTIONS: Type = Type::new(
    "NetworkConnectionSectionType",
    &[
        attribute("href"),
        attribute("type"),
        text("Info").of(Namespace::Ovf),
        loose("PrimaryNetworkConnectionIndex"),
        loose("NetworkConnection"),
        loose("Link"),
    ],
);

/// `NetworkConfigSectionType`: the same for a vApp.
pub(crate) static NETWORK_CONFIGS: Type = Type::new(
    "NetworkConfigSectionType",
    &[
        attribute("href"),
        attribute("type"),
        text("Info").of(Namespace::Ovf),
        loose("NetworkConfig"),
        loose("Link"),
    ],
);

const fn vmext(field: Field) -> Field {
    field.of(Namespace::Extension)
}

/// `VimObjectRefType`: something of a vCenter.
pub(crate) static VIM_OBJECT: Type = Type::new(
    "VimObjectRefType",
    &[
        vmext(one("VimServerRef", &REFERENCE)),
        vmext(text("MoRef")),
        vmext(text("VimObjectType")),
    ],
);

/// `VmVimInfoType`: what a VM is on its vCenter.
pub(crate) static VM_VIM_INFO: Type = Type::new(
    "VmVimInfoType",
    &[
        vmext(one("VmVimObjectRef", &VIM_OBJECT)),
        vmext(one("DatastoreVimObjectRef", &VIM_OBJECT)),
        vmext(one("HostVimObjectRef", &VIM_OBJECT)),
        vmext(integer("VirtualDisksMaxChainLength")),
    ],
);

/// `VCloudExtensionType`: what administrators of the system see besides.
pub(crate) static VCLOUD_EXTENSION: Type = Type::new(
    "VCloudExtensionType",
    &[
        flag("required"),
        vmext(one("VmVimInfo", &VM_VIM_INFO)),
        vmext(one("VimObjectRef", &VIM_OBJECT)),
    ],
);

static ACCESS_SETTING: Type = Type::new(
    "AccessSettingType",
    &[
        one("Subject", &REFERENCE),
        loose("ExternalSubject"),
        text("AccessLevel"),
    ],
);

static ACCESS_SETTINGS: Type = Type::new(
    "AccessSettingsType",
    &[many("AccessSetting", &ACCESS_SETTING)],
);

/// `ControlAccessParamsType`.
pub(crate) static CONTROL_ACCESS: Type = Type::new(
    "ControlAccessParamsType",
    &[
        boolean("IsSharedToEveryone"),
        text("EveryoneAccessLevel"),
        one("AccessSettings", &ACCESS_SETTINGS),
    ],
);

const fn rasd(field: Field) -> Field {
    field.of(Namespace::Rasd)
}

/// `RASD_Type`: one item of a VM's virtual hardware.
pub(crate) static RASD_ITEM: Type = Type::new(
    "RASDType",
    &[
        attribute("href"),
        attribute("type"),
        rasd(text("Address")),
        rasd(text("AddressOnParent")),
        rasd(text("AllocationUnits")),
        rasd(text("AutomaticAllocation")),
        rasd(text("Description")),
        rasd(text("ElementName")),
        rasd(text("HostResource")),
        rasd(text("InstanceID")),
        rasd(integer("Limit")),
        rasd(integer("Reservation")),
        rasd(integer("ResourceType")),
        rasd(integer("VirtualQuantity")),
        rasd(text("VirtualQuantityUnits")),
        rasd(integer("Weight")),
        integer("CoresPerSocket").of(Namespace::Vmw),
        many("Link", &LINK),
    ],
);

/// `RasdItemsListType`: the items of one kind.
pub(crate) static RASD_ITEMS: Type =
    Type::extending("RasdItemsListType", &RESOURCE, &[many("Item", &RASD_ITEM)]);
