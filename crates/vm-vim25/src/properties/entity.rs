//! Properties of entities that are not VMs: folders, the datacenter, the cluster with host and pool, datastores.

use crate::fault::{Fault, Outcome};
use crate::inventory::{self, World};
use crate::server::Call;
use crate::value::{MoRef, Object, Value};
use vm_inventory::model::Datastore;

/// What every entity has.
pub(super) fn common(call: &Call, world: &World, of: &MoRef, name: &str) -> Option<Value> {
    match name {
        "name" => world.name(of).map(Value::from),
        "parent" => world.parent(of).map(Value::from),
        "overallStatus" | "configStatus" => Some(Value::choice("ManagedEntityStatus", "green")),
        "recentTask" => Some(Value::refs(
            call.server
                .board
                .of(&call.vcenter.name)
                .iter()
                .filter(|task| task.is_recent())
                .filter(|task| task.start.entity == *of)
                .map(|task| task.reference()),
        )),
        "alarmActionsEnabled" => Some(true.into()),
        _ => None,
    }
}

pub(super) fn property(
    call: &Call,
    world: &World,
    of: &MoRef,
    name: &str,
) -> Outcome<Option<Value>> {
    let own = match of.kind {
        "Folder" => folder(world, of, name),
        "Datacenter" => match name {
            "vmFolder" => Some(inventory::vm_folder().into()),
            "hostFolder" => Some(inventory::host_folder().into()),
            "datastoreFolder" => Some(inventory::datastore_folder().into()),
            "networkFolder" => Some(inventory::network_folder().into()),
            "datastore" => Some(datastores(world)),
            "network" => Some(Value::refs([inventory::network()])),
            "configuration" => Some(
                Object::new("DatacenterConfigInfo")
                    .with(
                        "defaultHardwareVersionKey",
                        format!("vmx-{}", world.vcenter.version.newest_hardware()),
                    )
                    .into(),
            ),
            _ => None,
        },
        "ClusterComputeResource" => match name {
            "host" => Some(Value::refs([inventory::host()])),
            "resourcePool" => Some(inventory::resource_pool().into()),
            "environmentBrowser" => Some(inventory::environment_browser().into()),
            "datastore" => Some(datastores(world)),
            "network" => Some(Value::refs([inventory::network()])),
            "configuration" => Some(
                Object::new("ClusterConfigInfo")
                    .with("dasConfig", availability())
                    .with("drsConfig", scheduling())
                    .into(),
            ),
            "configurationEx" => Some(
                Object::new("ClusterConfigInfoEx")
                    .with("vmSwapPlacement", "vmDirectory")
                    .with("spbmEnabled", false)
                    .with("dasConfig", availability())
                    .with("drsConfig", scheduling())
                    .into(),
            ),
            "summary" | "summaryEx" => Some(
                Object::new("ClusterComputeResourceSummary")
                    .with("totalCpu", 0)
                    .with("totalMemory", 0i64)
                    .with("numCpuCores", 1i16)
                    .with("numCpuThreads", 1i16)
                    .with("effectiveCpu", 0)
                    .with("effectiveMemory", 0i64)
                    .with("numHosts", 1)
                    .with("numEffectiveHosts", 1)
                    .with(
                        "overallStatus",
                        Value::choice("ManagedEntityStatus", "green"),
                    )
                    .into(),
            ),
            _ => None,
        },
        "ResourcePool" => match name {
            "owner" => Some(inventory::cluster().into()),
            "vm" => Some(Value::refs(world.vms.iter().map(|vm| inventory::vm(vm.id)))),
            "resourcePool" => Some(Value::refs([])),
            "runtime" => Some(
                Object::new("ResourcePoolRuntimeInfo")
                    .with("memory", usage())
                    .with("cpu", usage())
                    .with(
                        "overallStatus",
                        Value::choice("ManagedEntityStatus", "green"),
                    )
                    .into(),
            ),
            "config" => Some(
                Object::new("ResourceConfigSpec")
                    .with("entity", inventory::resource_pool())
                    .with("cpuAllocation", allocation())
                    .with("memoryAllocation", allocation())
                    .into(),
            ),
            "summary" => Some(
                Object::new("ResourcePoolSummary")
                    .with("name", inventory::POOL)
                    .into(),
            ),
            _ => None,
        },
        "HostSystem" => host(world, name),
        "Network" => match name {
            "summary" => Some(
                Object::new("NetworkSummary")
                    .with("network", inventory::network())
                    .with("name", inventory::NETWORK)
                    .with("accessible", true)
                    .with("ipPoolName", "")
                    .into(),
            ),
            "host" => Some(Value::refs([inventory::host()])),
            "vm" => {
                let mut connected = Vec::new();
                for vm in &world.vms {
                    let hardware = super::vm::hardware_of(call, vm)?;
                    if super::vm::told(vm, &hardware).is_connected() {
                        connected.push(inventory::vm(vm.id));
                    }
                }
                Some(Value::refs(connected))
            }
            _ => None,
        },
        "Datastore" => datastore(call, world, of, world.datastore(of)?, name)?,
        _ => return Err(Fault::object_not_found(of)),
    };
    Ok(own.or_else(|| common(call, world, of, name)))
}

/// Nothing is restarted elsewhere.
fn availability() -> Object {
    Object::new("ClusterDasConfigInfo")
        .with("enabled", false)
        .with("admissionControlEnabled", false)
}

/// Nothing moves by itself.
fn scheduling() -> Object {
    Object::new("ClusterDrsConfigInfo")
        .with("enabled", false)
        .with("defaultVmBehavior", Value::choice("DrsBehavior", "manual"))
        .with("vmotionRate", 3)
}

/// What a pool uses of processors or memory, which nothing here does.
fn usage() -> Object {
    Object::new("ResourcePoolResourceUsage")
        .with("reservationUsed", 0i64)
        .with("reservationUsedForVm", 0i64)
        .with("unreservedForPool", 0i64)
        .with("unreservedForVm", 0i64)
        .with("overallUsage", 0i64)
        .with("maxUsage", 0i64)
}

/// What a pool may use: as much as there is.
fn allocation() -> Object {
    Object::new("ResourceAllocationInfo")
        .with("reservation", 0i64)
        .with("expandableReservation", true)
        .with("limit", -1i64)
        .with(
            "shares",
            Object::new("SharesInfo")
                .with("shares", 4000)
                .with("level", Value::choice("SharesLevel", "normal")),
        )
}

fn datastores(world: &World) -> Value {
    Value::refs(
        world
            .datastores
            .iter()
            .map(|it| inventory::datastore(&it.name)),
    )
}

fn folder(world: &World, of: &MoRef, name: &str) -> Option<Value> {
    match name {
        "childEntity" => Some(Value::refs(world.children(of))),
        "childType" => {
            let types: &[&str] = if *of == inventory::root_folder() {
                &["Folder", "Datacenter"]
            } else if *of == inventory::host_folder() {
                &["Folder", "ComputeResource"]
            } else if *of == inventory::datastore_folder() {
                &["Folder", "Datastore"]
            } else if *of == inventory::network_folder() {
                &["Folder", "Network"]
            } else {
                &["Folder", "VirtualMachine"]
            };
            let types = types.iter().map(|it| Value::from(*it)).collect();
            Some(Value::List("string", types))
        }
        _ => None,
    }
}

/// The product of a host: as old as its vCenter.
fn host_product(world: &World) -> Object {
    let version = world.vcenter.version.to_string();
    Object::new("AboutInfo")
        .with("name", "VMware ESXi")
        .with("fullName", format!("VMware ESXi {version} (vtpm)"))
        .with("vendor", "VMware, Inc.")
        .with("version", version.as_str())
        .with("build", "0")
        .with("osType", "vmnix-x86")
        .with("productLineId", "embeddedEsx")
        .with("apiType", "HostAgent")
        .with("apiVersion", format!("{version}.0"))
}

fn host(world: &World, name: &str) -> Option<Value> {
    let runtime = || {
        Object::new("HostRuntimeInfo")
            .with(
                "connectionState",
                Value::choice("HostSystemConnectionState", "connected"),
            )
            .with(
                "powerState",
                Value::choice("HostSystemPowerState", "poweredOn"),
            )
            .with("inMaintenanceMode", false)
            .with("cryptoState", "safe")
    };
    let uuid = || super::instance_uuid(&format!("host of {}", world.vcenter.name));
    match name {
        "runtime" => Some(runtime().into()),
        "hardware" => Some(
            Object::new("HostHardwareInfo")
                .with(
                    "systemInfo",
                    Object::new("HostSystemInfo")
                        .with("vendor", "vtpm")
                        .with("model", "vtpm")
                        .with("uuid", uuid()),
                )
                .with(
                    "cpuInfo",
                    Object::new("HostCpuInfo")
                        .with("numCpuPackages", 1i16)
                        .with("numCpuCores", 1i16)
                        .with("numCpuThreads", 1i16)
                        .with("hz", 0i64),
                )
                .with("memorySize", 0i64)
                .with("smcPresent", false)
                .into(),
        ),
        "config" => Some(
            Object::new("HostConfigInfo")
                .with("host", inventory::host())
                .with("product", host_product(world))
                .into(),
        ),
        "configManager" => Some(Object::new("HostConfigManager").into()),
        "licensableResource" => Some(
            Object::new("HostLicensableResourceInfo")
                .with("resource", Value::objects("KeyAnyValue", []))
                .into(),
        ),
        "summary" => Some(
            Object::new("HostListSummary")
                .with("host", inventory::host())
                .with(
                    "hardware",
                    Object::new("HostHardwareSummary")
                        .with("vendor", "vtpm")
                        .with("model", "vtpm")
                        .with("uuid", uuid())
                        .with("memorySize", 0i64)
                        .with("cpuModel", "")
                        .with("cpuMhz", 0)
                        .with("numCpuPkgs", 1i16)
                        .with("numCpuCores", 1i16)
                        .with("numCpuThreads", 1i16)
                        .with("numNics", 0)
                        .with("numHBAs", 0),
                )
                .with("runtime", runtime())
                .with(
                    "config",
                    Object::new("HostConfigSummary")
                        .with("name", world.host_name())
                        .with("port", 443)
                        .with("product", host_product(world))
                        .with("vmotionEnabled", true)
                        .with("faultToleranceEnabled", false),
                )
                .with("quickStats", Object::new("HostListSummaryQuickStats"))
                .with(
                    "overallStatus",
                    Value::choice("ManagedEntityStatus", "green"),
                )
                .with("rebootRequired", false)
                .into(),
        ),
        "vm" => Some(Value::refs(world.vms.iter().map(|vm| inventory::vm(vm.id)))),
        "datastoreBrowser" => Some(inventory::any_datastore_browser().into()),
        "datastore" => Some(datastores(world)),
        "network" => Some(Value::refs([inventory::network()])),
        _ => None,
    }
}

fn datastore(
    call: &Call,
    world: &World,
    of: &MoRef,
    datastore: &Datastore,
    name: &str,
) -> Outcome<Option<Value>> {
    let url = format!("ds:///vmfs/volumes/{}/", datastore.name);
    let space = || -> Outcome<(i64, i64)> {
        let space = call.act()?.datastore_space(&datastore.name);
        let (all, free) = space.map_err(Call::about(of))?;
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok((number(all), number(free)))
    };
    Ok(match name {
        "summary" => Some(
            Object::new("DatastoreSummary")
                .with("datastore", of.clone())
                .with("name", datastore.name.as_str())
                .with("url", url)
                .with("capacity", space()?.0)
                .with("freeSpace", space()?.1)
                .with("accessible", true)
                .with("multipleHostAccess", datastore.vcenters.len() > 1)
                .with("type", "VMFS")
                .with("maintenanceMode", "normal")
                .into(),
        ),
        "info" => Some(
            Object::new("DatastoreInfo")
                .with("name", datastore.name.as_str())
                .with("url", url)
                .with("freeSpace", space()?.1)
                .with("maxFileSize", space()?.0)
                .into(),
        ),
        "capability" => Some(
            Object::new("DatastoreCapability")
                .with("directoryHierarchySupported", true)
                .with("rawDiskMappingsSupported", false)
                .with("perFileThinProvisioningSupported", true)
                .with("storageIORMSupported", false)
                .with("nativeSnapshotSupported", false)
                .into(),
        ),
        "browser" => Some(inventory::datastore_browser(&datastore.name).into()),
        "vm" => Some(Value::refs(world.vms_on(&datastore.name))),
        _ => None,
    })
}
