//! A vCenter's inventory as managed objects: which there are, what they are called, where they hang.
//!
//! The inventory of this product has vCenters, datastores, VMs and vApps. The folders, the datacenter, the cluster, its host and its
//! resource pool are the one place that each vCenter has for them.

use crate::fault::{Fault, Outcome};
use crate::value::{MoRef, Object};
use std::collections::BTreeMap;
use uuid::Uuid;
use vm_inventory::model::{Datastore, VCenter, VmId};
use vm_inventory::{Name, VmFolder, VmView};

pub(crate) const DATACENTER: &str = "Datacenter";
pub(crate) const CLUSTER: &str = "Cluster";
pub(crate) const POOL: &str = "Resources";
pub(crate) const NETWORK: &str = "VM Network";

macro_rules! fixed {
    ($($(#[doc = $doc:literal])* $name:ident = $kind:literal, $id:literal;)*) => {
        $($(#[doc = $doc])* pub(crate) fn $name() -> MoRef { MoRef::new($kind, $id) })*
    };
}

fixed! {
    /// The folder above all.
    root_folder = "Folder", "group-d1";
    /// The datacenter.
    datacenter = "Datacenter", "datacenter-2";
    /// The folder of VMs.
    vm_folder = "Folder", "group-v3";
    /// The folder of the cluster.
    host_folder = "Folder", "group-h4";
    /// The folder of datastores.
    datastore_folder = "Folder", "group-s5";
    /// The folder of networks.
    network_folder = "Folder", "group-n6";
    /// The cluster.
    cluster = "ClusterComputeResource", "domain-c7";
    /// Its resource pool.
    resource_pool = "ResourcePool", "resgroup-8";
    /// Its host.
    host = "HostSystem", "host-9";
    /// The one network, to which nothing is connected.
    network = "Network", "network-10";
    /// Tells what VMs can be made of.
    environment_browser = "EnvironmentBrowser", "envbrowser-11";
    /// Knows roles, privileges and who has them.
    authorization_manager = "AuthorizationManager", "AuthorizationManager";
    /// Knows extensions, of which there are none.
    extension_manager = "ExtensionManager", "ExtensionManager";
    /// Knows licenses, of which none is needed.
    license_manager = "LicenseManager", "LicenseManager";
    /// What clients begin with.
    service_instance = "ServiceInstance", "ServiceInstance";
    /// Logs in and out.
    session_manager = "SessionManager", "SessionManager";
    /// Reads properties.
    property_collector = "PropertyCollector", "propertyCollector";
    /// Makes views.
    view_manager = "ViewManager", "ViewManager";
    /// Finds entities.
    search_index = "SearchIndex", "SearchIndex";
    /// Knows tasks.
    task_manager = "TaskManager", "TaskManager";
    /// Knows keys and key providers.
    crypto_manager = "CryptoManagerKmip", "CryptoManager";
    /// What has happened.
    event_manager = "EventManager", "EventManager";
    /// Counters, of which there are none.
    performance_manager = "PerformanceManager", "PerfMgr";
    /// Fields of one's own, of which there are none.
    custom_fields_manager = "CustomFieldsManager", "CustomFieldsManager";
    /// Settings of the vCenter.
    option_manager = "OptionManager", "VpxSettings";
}

pub(crate) fn vm(id: VmId) -> MoRef {
    MoRef::new("VirtualMachine", format!("vm-{id}"))
}

pub(crate) fn snapshot(id: Uuid) -> MoRef {
    MoRef::new("VirtualMachineSnapshot", format!("snapshot-{id}"))
}

pub(crate) fn datastore(name: &Name) -> MoRef {
    MoRef::new("Datastore", format!("datastore-{name}"))
}

/// Looks into a datastore.
pub(crate) fn datastore_browser(name: &Name) -> MoRef {
    MoRef::new("HostDatastoreBrowser", format!("datastoreBrowser-{name}"))
}

/// Looks into any of them.
pub(crate) fn any_datastore_browser() -> MoRef {
    MoRef::new("HostDatastoreBrowser", "datastoreBrowser")
}

/// A folder that was made through this API.
pub(crate) fn own_folder(id: Uuid) -> MoRef {
    MoRef::new("Folder", format!("group-f{id}"))
}

/// The folder with the VMs of a vApp.
fn vapp_folder(id: Uuid) -> MoRef {
    MoRef::new("Folder", format!("group-v{id}"))
}

/// A key as the API names it.
pub(crate) fn key_id(provider: &str, key: &str) -> Object {
    Object::new("CryptoKeyId")
        .with("keyId", key)
        .with("providerId", provider_id(provider))
}

pub(crate) fn provider_id(provider: &str) -> Object {
    Object::new("KeyProviderId").with("id", provider)
}

/// The identifier of a VM in a reference to it.
pub(crate) fn vm_id(of: &MoRef) -> Option<VmId> {
    (of.kind == "VirtualMachine")
        .then(|| of.id.strip_prefix("vm-"))
        .flatten()?
        .parse()
        .ok()
}

/// The identifier of a snapshot in a reference to it.
pub(crate) fn snapshot_id(of: &MoRef) -> Option<Uuid> {
    (of.kind == "VirtualMachineSnapshot")
        .then(|| of.id.strip_prefix("snapshot-"))
        .flatten()
        .and_then(|id| Uuid::try_parse(id).ok())
}

/// What one vCenter has, as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) vcenter: VCenter,
    pub(crate) datastores: Vec<Datastore>,
    pub(crate) vms: Vec<VmView>,
    /// Folders of vApps, by the vApp's identifier.
    folders: BTreeMap<Uuid, String>,
    /// Folders that were made through this API.
    own: BTreeMap<Uuid, VmFolder>,
    /// The folders that VMs are in.
    placed: BTreeMap<VmId, Uuid>,
}

impl World {
    /// Those of `datastores` and `vms` that belong to the vCenter.
    pub(crate) fn new(
        vcenter: VCenter,
        mut datastores: Vec<Datastore>,
        mut vms: Vec<VmView>,
    ) -> Self {
        datastores.retain(|datastore| datastore.vcenters.contains(&vcenter.name));
        vms.retain(|vm| vm.vcenter == vcenter.name);
        let folders = vms
            .iter()
            .filter_map(|vm| vm.vapp.as_ref())
            .map(|vapp| (vapp.id, format!("{} ({})", vapp.name, vapp.id)))
            .collect();
        Self {
            vcenter,
            datastores,
            vms,
            folders,
            own: BTreeMap::new(),
            placed: BTreeMap::new(),
        }
    }

    /// The same with folders, and what is in them.
    pub(crate) fn with_folders(
        mut self,
        folders: Vec<VmFolder>,
        placed: BTreeMap<VmId, Uuid>,
    ) -> Self {
        self.own = folders.into_iter().map(|it| (it.id, it)).collect();
        self.placed = placed;
        self
    }

    /// The identifier of a folder that was made through this API.
    pub(crate) fn own_folder(&self, of: &MoRef) -> Option<Uuid> {
        let id = of
            .id
            .strip_prefix("group-f")
            .filter(|_| of.kind == "Folder");
        let id = Uuid::try_parse(id?).ok()?;
        self.own.contains_key(&id).then_some(id)
    }

    /// The VM behind a reference.
    pub(crate) fn vm(&self, of: &MoRef) -> Outcome<&VmView> {
        let id = vm_id(of);
        self.vms
            .iter()
            .find(|vm| Some(vm.id) == id)
            .ok_or_else(|| Fault::object_not_found(of))
    }

    /// The datastore behind a reference.
    pub(crate) fn datastore(&self, of: &MoRef) -> Outcome<&Datastore> {
        self.datastores
            .iter()
            .find(|it| datastore(&it.name) == *of)
            .ok_or_else(|| Fault::object_not_found(of))
    }

    /// Whether there is such an entity.
    pub(crate) fn has(&self, of: &MoRef) -> bool {
        self.name(of).is_some()
    }

    /// What an entity is called; `None` if there is none.
    pub(crate) fn name(&self, of: &MoRef) -> Option<String> {
        let fixed = [
            (root_folder(), "Datacenters"),
            (datacenter(), DATACENTER),
            (vm_folder(), "vm"),
            (host_folder(), "host"),
            (datastore_folder(), "datastore"),
            (network_folder(), "network"),
            (cluster(), CLUSTER),
            (resource_pool(), POOL),
            (network(), NETWORK),
        ];
        if let Some((_, name)) = fixed.iter().find(|(it, _)| it == of) {
            return Some((*name).to_owned());
        }
        if *of == host() {
            return Some(self.host_name());
        }
        match of.kind {
            "VirtualMachine" => self.vm(of).ok().map(|vm| vm.name.to_string()),
            "Datastore" => self.datastore(of).ok().map(|it| it.name.to_string()),
            "Folder" if self.own_folder(of).is_some() => {
                let own = self.own_folder(of).and_then(|id| self.own.get(&id));
                own.map(|it| it.name.to_string())
            }
            "Folder" => self
                .folders
                .iter()
                .find(|(id, _)| vapp_folder(**id) == *of)
                .map(|(_, name)| name.clone()),
            _ => None,
        }
    }

    /// What the host is called.
    pub(crate) fn host_name(&self) -> String {
        format!("host-1.{}", self.vcenter.name)
    }

    /// What an entity hangs under.
    pub(crate) fn parent(&self, of: &MoRef) -> Option<MoRef> {
        let fixed = [
            (datacenter(), root_folder()),
            (vm_folder(), datacenter()),
            (host_folder(), datacenter()),
            (datastore_folder(), datacenter()),
            (network_folder(), datacenter()),
            (cluster(), host_folder()),
            (resource_pool(), cluster()),
            (host(), cluster()),
            (network(), network_folder()),
        ];
        if let Some((_, parent)) = fixed.into_iter().find(|(it, _)| it == of) {
            return Some(parent);
        }
        match of.kind {
            "VirtualMachine" => {
                let vm = self.vm(of).ok()?;
                Some(match &vm.vapp {
                    Some(vapp) => vapp_folder(vapp.id),
                    None => self.folder_or_root(self.placed.get(&vm.id).copied()),
                })
            }
            "Datastore" => Some(datastore_folder()),
            "Folder" if *of != root_folder() => {
                let own = self.own_folder(of).and_then(|id| self.own.get(&id));
                Some(self.folder_or_root(own.and_then(|it| it.parent)))
            }
            _ => None,
        }
    }

    fn folder_or_root(&self, id: Option<Uuid>) -> MoRef {
        id.filter(|id| self.own.contains_key(id))
            .map_or_else(vm_folder, own_folder)
    }

    /// The entities that hang under one. Those of a datacenter are its folders, those of a cluster its host and pool.
    pub(crate) fn children(&self, of: &MoRef) -> Vec<MoRef> {
        if *of == root_folder() {
            return vec![datacenter()];
        }
        if *of == datacenter() {
            return vec![
                vm_folder(),
                host_folder(),
                datastore_folder(),
                network_folder(),
            ];
        }
        if *of == host_folder() {
            return vec![cluster()];
        }
        if *of == cluster() {
            return vec![resource_pool(), host()];
        }
        if *of == datastore_folder() {
            return self
                .datastores
                .iter()
                .map(|it| datastore(&it.name))
                .collect();
        }
        if *of == network_folder() {
            return vec![network()];
        }
        if of.kind == "Folder" {
            let folders = self.folders.keys().copied().map(vapp_folder);
            let own = self.own.keys().copied().map(own_folder);
            return folders
                .filter(|_| *of == vm_folder())
                .chain(own.filter(|it| self.parent(it).as_ref() == Some(of)))
                .chain(
                    self.vms
                        .iter()
                        .map(|it| vm(it.id))
                        .filter(|it| self.parent(it).as_ref() == Some(of)),
                )
                .collect();
        }
        Vec::new()
    }

    /// Every entity under one, however deep.
    pub(crate) fn below(&self, of: &MoRef) -> Vec<MoRef> {
        let mut found = Vec::new();
        let mut left = self.children(of);
        left.reverse();
        while let Some(next) = left.pop() {
            let mut under = self.children(&next);
            under.reverse();
            left.extend(under);
            found.push(next);
        }
        found
    }

    /// The VMs with files on a datastore.
    pub(crate) fn vms_on(&self, datastore: &Name) -> impl Iterator<Item = MoRef> {
        self.vms
            .iter()
            .filter(move |it| it.datastore == *datastore)
            .map(|it| vm(it.id))
    }

    /// The entity with the path `NAME/NAME/...` from the root folder on, which is not in it.
    pub(crate) fn at_path(&self, path: &str) -> Option<MoRef> {
        let mut at = root_folder();
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Some(at);
        }
        for name in path.split('/') {
            at = self.child(&at, &decoded(name))?;
        }
        Some(at)
    }

    /// The entity of that name directly under another.
    pub(crate) fn child(&self, of: &MoRef, name: &str) -> Option<MoRef> {
        self.children(of)
            .into_iter()
            .find(|it| self.name(it).as_deref() == Some(name))
    }
}

/// The API writes slashes, backslashes and percent signs of names as %2f, %5c and %25 in paths.
pub(crate) fn decoded(name: &str) -> String {
    name.replace("%2f", "/")
        .replace("%2F", "/")
        .replace("%5c", "\\")
        .replace("%5C", "\\")
        .replace("%25", "%")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A vCenter with a VM of its own, one in a vApp, and one elsewhere.
    pub(crate) fn world() -> World {
        let vcenter = serde_json::from_value(
            json!({"name": "vc01", "version": "8.0.3", "default_provider": "kp"}),
        )
        .unwrap();
        let datastore = |name: &str, vcenter: &str| {
            serde_json::from_value(json!({"name": name, "vcenters": [vcenter], "folder": name}))
                .unwrap()
        };
        let vm = |number: u128, name: &str, vcenter: &str, vapp: bool| -> VmView {
            let vapp = vapp
                .then(|| json!({"id": Uuid::from_u128(7), "organization": "acme", "name": "shop"}));
            serde_json::from_value(json!({
                "name": name, "id": Uuid::from_u128(number), "instance_id": Uuid::from_u128(number + 100),
                "vcenter": vcenter, "vapp": vapp, "datastore": "ds1", "folder": name, "power": "off", "firmware": "efi",
                "hardware_version": 21, "guest": "ubuntu64Guest", "provider": "kp", "socket": "unix", "created": 1000,
                "tpm": {"present": true, "ek_name": "000b", "origin": "new", "source": null, "tcti": null, "control": null},
            }))
            .unwrap()
        };
        let folder = |number: u128, name: &str, parent: Option<Uuid>| -> VmFolder {
            serde_json::from_value(json!({
                "id": Uuid::from_u128(number), "vcenter": "vc01", "name": name, "parent": parent, "created": 1000,
            }))
            .unwrap()
        };
        World::new(
            vcenter,
            vec![datastore("ds1", "vc01"), datastore("ds2", "vc02")],
            vec![
                vm(1, "demo", "vc01", false),
                vm(2, "web", "vc01", true),
                vm(3, "far", "vc02", false),
                vm(4, "filed", "vc01", false),
            ],
        )
        .with_folders(
            vec![
                folder(11, "outer", None),
                folder(12, "inner", Some(Uuid::from_u128(11))),
            ],
            BTreeMap::from([(VmId(Uuid::from_u128(4)), Uuid::from_u128(12))]),
        )
    }

    #[test]
    fn everything_is_found_from_the_root_and_hangs_where_it_says() {
        let world = world();
        let below = world.below(&root_folder());
        assert_eq!(below.len(), 16);
        for it in &below {
            let parent = world.parent(it).unwrap();
            assert!(world.children(&parent).contains(it), "{it:?}");
            let path: Vec<String> = {
                let mut path = vec![world.name(it).unwrap()];
                let mut at = parent;
                while at != root_folder() {
                    path.push(world.name(&at).unwrap());
                    at = world.parent(&at).unwrap();
                }
                path.reverse();
                path
            };
            assert_eq!(world.at_path(&path.join("/")).as_ref(), Some(it));
        }
        assert_eq!(
            world.at_path("Datacenter/vm/demo"),
            Some(vm(VmId(Uuid::from_u128(1))))
        );
        assert_eq!(world.at_path("Datacenter/vm/far"), None);
        assert_eq!(
            world.at_path("Datacenter/vm/outer/inner/filed"),
            Some(vm(VmId(Uuid::from_u128(4))))
        );
    }

    #[test]
    fn what_is_on_another_vcenter_is_not_there() {
        let world = world();
        assert!(world.vm(&vm(VmId(Uuid::from_u128(3)))).is_err());
        assert!(
            world
                .datastore(&datastore(&"ds2".parse().unwrap()))
                .is_err()
        );
        assert_eq!(vm_id(&MoRef::new("VirtualMachine", "vm-x")), None);
    }
}
