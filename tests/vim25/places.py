"""What community scripts, Terraform and govc ask for around VMs: folders, networks, datastores, environments, histories, roles.

The calls named after govc are those of its sources: the same methods, with the same property sets and traversals.
"""

from datetime import timedelta

from pyVmomi import vim, vmodl

from place import USER, clone_spec, config, connect, create, refused, vm_of, wait

si = connect("vc01")
content = si.RetrieveContent()
collector = content.propertyCollector
datacenter = content.rootFolder.childEntity[0]
cluster = datacenter.hostFolder.childEntity[0]
pool = cluster.resourcePool
top = datacenter.vmFolder


def select(root, kind, path, sets, skip=True):
    """RetrieveProperties of what lies one step from an object, as govc's lister sends it."""
    step = vmodl.query.PropertyCollector.TraversalSpec(type=kind, path=path, skip=False)
    filter = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=root, skip=skip, selectSet=[step])],
        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=kind, pathSet=paths) for kind, paths in sets])
    return collector.RetrieveProperties([filter])


# govc ls: the children of a folder, of whatever kind.
kinds = [(vim.Folder, ["name", "childType"]), (vim.Datacenter, ["name"]), (vim.VirtualApp, ["name"]), (vim.VirtualMachine, ["name"]),
         (vim.Network, ["name"]), (vim.OpaqueNetwork, ["name"]), (vim.ComputeResource, ["name", "resourcePool"]),
         (vim.ClusterComputeResource, ["name", "resourcePool"]), (vim.Datastore, ["name"]), (vim.StoragePod, ["name"]),
         (vim.DistributedVirtualSwitch, ["name"]), (vim.dvs.DistributedVirtualPortgroup, ["name"]),
         (vim.dvs.VmwareDistributedVirtualSwitch, ["name"])]
names = lambda found: sorted(it.propSet[0].val if it.propSet[0].name == "name" else
                             next(p.val for p in it.propSet if p.name == "name") for it in found)
assert names(select(content.rootFolder, vim.Folder, "childEntity", kinds)) == ["Datacenter"]
assert names(select(top, vim.Folder, "childEntity", kinds)) == ["demo"]
assert names(select(datacenter.networkFolder, vim.Folder, "childEntity", kinds)) == ["VM Network"]
assert names(select(datacenter.hostFolder, vim.Folder, "childEntity", kinds)) == ["Cluster"]

# Folders: made, found by path, filled by each way there is, renamed, moved, removed.
prod = top.CreateFolder("prod")
web = prod.CreateFolder("web")
assert web.parent == prod and prod.parent == top and web.name == "web" and "VirtualMachine" in prod.childType
refused(vim.fault.DuplicateName, lambda: top.CreateFolder("prod"))
refused(vim.fault.DuplicateName, lambda: top.CreateFolder("demo"))
refused(vim.fault.InvalidName, lambda: top.CreateFolder(".."))
refused(vmodl.fault.NotSupported, lambda: datacenter.hostFolder.CreateFolder("x"))
assert content.searchIndex.FindByInventoryPath("Datacenter/vm/prod/web") == web
assert content.searchIndex.FindChild(prod, "web") == web
made = wait(web.CreateVM_Task(config=config("filed"), pool=pool))
assert made.parent == web and content.searchIndex.FindByInventoryPath("Datacenter/vm/prod/web/filed") == made
copy = wait(made.CloneVM_Task(folder=prod, name="copied", spec=clone_spec()))
assert copy.parent == prod
wait(copy.RelocateVM_Task(vim.vm.RelocateSpec(folder=web)))
assert copy.parent == web
wait(prod.MoveIntoFolder_Task([copy, vm_of(si, "demo")]))
assert copy.parent == prod and sorted(it.name for it in prod.childEntity) == ["copied", "demo", "web"]
wait(top.MoveIntoFolder_Task([prod.childEntity[[it.name for it in prod.childEntity].index("demo")]]))
assert vm_of(si, "demo").parent == top
test = top.CreateFolder("test")
wait(test.MoveIntoFolder_Task([web]))
assert web.parent == test and made.parent == web
refused(vmodl.fault.InvalidArgument, lambda: web.MoveIntoFolder_Task([test]))
wait(test.Rename_Task("staging"))
assert content.searchIndex.FindByInventoryPath("Datacenter/vm/staging/web/filed") == made
wait(made.PowerOnVM_Task())
fault = refused(vim.fault.InvalidPowerState, lambda: test.Destroy_Task())
assert fault.existingState == "poweredOn" and made.parent == web
wait(made.PowerOffVM_Task())
refused(vim.fault.InvalidFolder, lambda: content.rootFolder.CreateVM_Task(config=config("nowhere"), pool=pool))
view = content.viewManager.CreateContainerView(test, [vim.VirtualMachine], True)
assert [it.name for it in view.view] == ["filed"]
path = made.config.files.vmPathName
made.UnregisterVM()
made = wait(prod.RegisterVM_Task(path=path, asTemplate=False, pool=pool))
assert made.parent == prod
wait(web.Destroy_Task())
wait(test.Destroy_Task())
refused(vmodl.fault.ManagedObjectNotFound, lambda: web.CreateFolder("x"))

# PowerOnMultiVM_Task starts a task for each VM, and says which it did not try.
result = wait(datacenter.PowerOnMultiVM_Task([made, copy, vm_of(si, "demo")], []))
assert sorted(it.vm.name for it in result.attempted) == ["copied", "filed"]
for it in result.attempted:
    wait(it.task)
assert [type(it.fault) for it in result.notAttempted] == [vim.fault.InvalidPowerState]
assert made.runtime.powerState == copy.runtime.powerState == "poweredOn"

# govc vm.create: network, datastore, then whether the file is there already.
networks = content.viewManager.CreateContainerView(content.rootFolder, [vim.Network], True).view
assert [it.name for it in networks] == ["VM Network"] and datacenter.network == networks and cluster.network == networks
assert networks[0].summary.accessible and networks[0].host == list(cluster.host)
datastore = datacenter.datastore[0]
search = vim.host.DatastoreBrowser.SearchSpec(matchPattern=["filed.vmx"], details=vim.host.DatastoreBrowser.FileInfo.Details(
    fileType=True, fileSize=True, modification=True, fileOwner=True))
found = wait(datastore.browser.SearchDatastore_Task(f"[{datastore.name}] filed", search))
assert [it.path for it in found.file] == ["filed.vmx"] and found.file[0].fileSize > 0, found
search.matchPattern = ["nothing.vmx"]
assert not wait(datastore.browser.SearchDatastore_Task(f"[{datastore.name}] filed", search)).file
refused(vim.fault.FileNotFound, lambda: datastore.browser.SearchDatastore_Task(f"[{datastore.name}] never", search))
refused(vim.fault.InvalidDatastorePath, lambda: datastore.browser.SearchDatastore_Task("[no] x", search))
refused(vim.fault.FileNotFound, lambda: datastore.browser.SearchDatastore_Task(f"[{datastore.name}] ../..", search))
everything = wait(datastore.browser.SearchDatastoreSubFolders_Task(f"[{datastore.name}]", None))
assert any(it.folderPath.endswith("filed/") for it in everything) and everything[0].file

# The environment: what a VM may be made of, TPM and all.
browser = cluster.environmentBrowser
assert made.environmentBrowser == browser
keys = [it.key for it in browser.QueryConfigOptionDescriptor()]
assert keys[0] == "vmx-21" and "vmx-14" in keys
option = browser.QueryConfigOption(None, None)
tpm = [it for it in option.hardwareOptions.virtualDeviceOption if isinstance(it, vim.vm.device.VirtualTPMOption)]
assert tpm and tpm[0].supportedFirmware == ["efi"] and option.hardwareOptions.numTPMDevices.max == 1
guests = {it.id: it for it in option.guestOSDescriptor}
assert guests["windows11_64Guest"].supportsTPM20 and guests["windows11_64Guest"].recommendedTPM20
assert guests["ubuntu64Guest"].supportsTPM20 and not guests["otherGuest64"].supportsTPM20
old = browser.QueryConfigOption("vmx-13", None)
assert not old.hardwareOptions.virtualDeviceOption and not any(it.supportsTPM20 for it in old.guestOSDescriptor)
assert browser.QueryConfigOption("vmx-99", None) is None
spec = vim.EnvironmentBrowser.ConfigOptionQuerySpec(key="vmx-19", guestId=["debian12_64Guest"])
assert [it.id for it in browser.QueryConfigOptionEx(spec).guestOSDescriptor] == ["debian12_64Guest"]
target = browser.QueryConfigTarget(cluster.host[0])
assert target.datastore[0].name == datastore.name and target.network[0].name == "VM Network"

# govc host.info, pool.info, vm.info, datastore.info: what they read and would trip over if it were not there.
assert cluster.host[0].summary.hardware.numCpuCores and pool.config.cpuAllocation.shares.level and pool.runtime.cpu is not None
assert datastore.info.name == datastore.name and made.summary.config.tpmPresent

# govc tasks, events: collectors with a page of the latest that goes on.
tasks = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec())
latest = tasks.latestPage
assert latest and latest[0].queueTime >= latest[-1].queueTime
tasks.SetCollectorPageSize(3)
assert len(tasks.latestPage) == 3
everything = []
while page := tasks.ReadNextTasks(4):
    everything += page
assert len(everything) >= 10 and [it.key for it in everything][-3:][::-1] == [it.key for it in tasks.latestPage]
tasks.ResetCollector()
back = tasks.ReadPreviousTasks(2)
assert [it.key for it in back] == [it.key for it in everything[-5:-3]][::-1]
tasks.RewindCollector()
assert tasks.ReadNextTasks(1)[0].key == everything[0].key
wait(copy.PowerOffVM_Task())
assert tasks.latestPage[0].descriptionId == "VirtualMachine.powerOff"
tasks.DestroyCollector()
refused(vmodl.fault.ManagedObjectNotFound, lambda: tasks.ReadNextTasks(1))
about = vim.TaskFilterSpec(
    entity=vim.TaskFilterSpec.ByEntity(entity=copy, recursion="self"), state=["success"],
    time=vim.TaskFilterSpec.ByTime(timeType="queuedTime", beginTime=si.CurrentTime() - timedelta(days=1)))
own = content.taskManager.CreateCollectorForTasks(about).ReadNextTasks(100)
assert own and all(it.entity == copy for it in own)
events = content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec(
    entity=vim.event.EventFilterSpec.ByEntity(entity=copy, recursion="self")))
assert events.latestPage[0].info.descriptionId == "VirtualMachine.powerOff"
assert len(events.ReadNextEvents(100)) == len(own)
refused(vmodl.fault.InvalidArgument, lambda: events.ReadNextEvents(0))

# govc role.ls, permissions.ls; what Terraform asks before it begins.
manager = content.authorizationManager
roles = {it.name: it for it in manager.roleList}
assert roles["Admin"].roleId == -1 and "Cryptographer.Encrypt" in roles["Admin"].privilege
assert not any(it.startswith("Cryptographer.") for it in roles["NoCryptoAdmin"].privilege)
assert any(it.privId == "Cryptographer.Clone" for it in manager.privilegeList)
assert [(it.principal, it.roleId) for it in manager.RetrieveAllPermissions()] == [("VSPHERE.LOCAL\\administrator", -1)]
assert manager.RetrieveEntityPermissions(copy, True) and not manager.RetrieveEntityPermissions(copy, False)
session = content.sessionManager.currentSession.key
assert list(manager.HasPrivilegeOnEntity(copy, session, ["Cryptographer.Clone", "No.Such"])) == [True, False]
granted = manager.HasPrivilegeOnEntities([copy, datastore], session, ["VirtualMachine.Interact.PowerOn"])
assert [it.privAvailability[0].isGranted for it in granted] == [True, True]
assert "Cryptographer.Migrate" in manager.FetchUserPrivilegeOnEntities([copy], USER)[0].privileges
refused(vim.fault.NotFound, lambda: manager.RetrieveRolePermissions(77))

# govc extension.info, license.ls, option.ls, session.ls.
assert content.extensionManager.extensionList == [] and content.extensionManager.FindExtension("com.vmware.vcIntegrity") is None
assert content.licenseManager.licenses == []
assert content.setting.QueryOptions("vpxd.") and content.sessionManager.sessionList[0].userName
# Disks, cards and settings: said and told again; a clone has files and addresses of its own.
Change, Disk, Card = vim.vm.device.VirtualDeviceSpec, vim.vm.device.VirtualDisk, vim.vm.device.VirtualEthernetCard
flat = Disk.FlatVer2BackingInfo(diskMode="persistent", thinProvisioned=True)
wait(copy.ReconfigVM_Task(vim.vm.ConfigSpec(
    extraConfig=[vim.option.OptionValue(key="guestinfo.a", value="1")],
    bootOptions=vim.vm.BootOptions(efiSecureBootEnabled=True), deviceChange=[
        Change(operation="add", fileOperation="create", device=Disk(key=-1, controllerKey=-9, capacityInKB=1 << 20, backing=flat)),
        Change(operation="add", device=vim.vm.device.ParaVirtualSCSIController(key=-9, busNumber=0, sharedBus="noSharing")),
        Change(operation="add", device=vim.vm.device.VirtualVmxnet3(
            key=-2, backing=Card.NetworkBackingInfo(deviceName="VM Network")))])))


def devices(vm, kind):
    return [it for it in vm.config.hardware.device if isinstance(it, kind)]


disk, card = devices(copy, Disk)[0], devices(copy, Card)[0]
assert (disk.key, disk.controllerKey, disk.capacityInBytes, disk.deviceInfo.label) == (2000, 1000, 1 << 30, "Hard disk 1"), disk
assert card.backing.network == networks[0] and copy.network == networks and networks[0].vm == [copy]
assert copy.summary.config.numVirtualDisks == 1 and copy.config.bootOptions.efiSecureBootEnabled
assert "guestinfo.a" in [it.key for it in copy.config.extraConfig]
assert any(it.name.endswith(".nvram") for it in copy.layoutEx.file) and copy.summary.storage.committed > 0
wait(copy.MigrateVM_Task(pool=pool, host=cluster.host[0], priority="defaultPriority", state="poweredOff"))
refused(vim.fault.InvalidPowerState, lambda: copy.MigrateVM_Task(host=cluster.host[0], priority="defaultPriority", state="poweredOn"))
twin = wait(copy.CloneVM_Task(top, "twin", clone_spec()))
assert devices(twin, Disk)[0].backing.fileName == f"[{datastore.name}] twin/twin.vmdk"
wait(twin.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=4, numCoresPerSocket=2)))
assert (twin.config.hardware.numCPU, twin.config.hardware.numCoresPerSocket) == (4, 2)
assert devices(twin, Card)[0].macAddress != card.macAddress
wait(twin.Destroy_Task())
disk.capacityInKB = 2 << 20
wait(copy.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[Change(operation="edit", device=disk), Change(operation="remove", device=card)])))
assert devices(copy, Disk)[0].capacityInBytes == 2 << 30 and not devices(copy, Card)
error = refused(vim.fault.InvalidDeviceSpec, lambda: copy.ReconfigVM_Task(
    vim.vm.ConfigSpec(deviceChange=[Change(operation="remove", device=card)])))
assert error.deviceIndex == 0

# A folder goes with all that is in it.
for it in (made, copy):
    if it.runtime.powerState == "poweredOn":
        wait(it.PowerOffVM_Task())
inner = prod.CreateFolder("inner")
wait(inner.MoveIntoFolder_Task([made]))
wait(prod.Destroy_Task())
for it in (prod, inner, made, copy):
    refused(vmodl.fault.ManagedObjectNotFound, lambda: it.name)
assert {it.name for it in top.childEntity} == {"demo"}
