//! The types of sections of VMs and vApps that say little here: sizes, networks, leases.

use super::entity::{LINK, RESOURCE};
use super::{Field, Namespace, Type, attribute, integer, loose, many, text};

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
