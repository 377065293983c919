"""Names, templates, settings, registration, guests, events: what community scripts do besides TPMs."""

from place import *

si = connect("vc01")
content = si.RetrieveContent()
datacenter = content.rootFolder.childEntity[0]
folder = datacenter.vmFolder
pool = datacenter.hostFolder.childEntity[0].resourcePool

# Names.
one, two = create(si, "one"), create(si, "two", tpm=False)
wait(one.PowerOnVM_Task())
seal = Seal("one")
name = ek("one")
wait(one.Rename_Task(newName="uno"))
assert one.name == one.config.name == "uno" and vm_of(si, "uno") == one
assert seal.opens_in("uno") and ek("uno") == name
refused(vim.fault.DuplicateName, lambda: one.Rename_Task(newName="two"))
refused(vim.fault.InvalidName, lambda: one.Rename_Task(newName="a/b"))
refused(vmodl.fault.NotSupported, lambda: datacenter.Rename_Task(newName="dc"))
wait(one.ReconfigVM_Task(spec=vim.vm.ConfigSpec(name="eins", annotation="renamed")))
assert (one.name, one.config.annotation) == ("eins", "renamed")
refused(vim.fault.DuplicateName, lambda: one.ReconfigVM_Task(spec=vim.vm.ConfigSpec(name="two")))

# A VM without a TPM runs too; what it is made for changes while it is off.
wait(two.PowerOnVM_Task())
assert two.runtime.powerState == "poweredOn"
refused(vim.fault.InvalidPowerState, lambda: two.ReconfigVM_Task(spec=change_tpm("add")))
refused(vim.fault.InvalidPowerState, lambda: two.ReconfigVM_Task(spec=vim.vm.ConfigSpec(firmware="bios")))
wait(two.ResetVM_Task())
wait(two.PowerOffVM_Task())
old = create(si, "old", tpm=False, firmware="bios", version="vmx-13", guestId="freebsd14_64Guest")
refused(vim.fault.InvalidVmConfig, lambda: old.ReconfigVM_Task(spec=change_tpm("add")))
spec = change_tpm("add")
spec.firmware, spec.guestId = "efi", "ubuntu64Guest"
refused(vim.fault.DeviceUnsupportedForVmVersion, lambda: old.ReconfigVM_Task(spec=spec))
assert (old.config.firmware, old.config.guestId, has_tpm(old)) == ("bios", "freebsd14_64Guest", False)
wait(old.UpgradeVM_Task(version="vmx-19"))
refused(vim.fault.AlreadyUpgraded, lambda: old.UpgradeVM_Task(version="vmx-19"))
wait(old.ReconfigVM_Task(spec=spec))
assert (old.config.firmware, old.config.version, has_tpm(old)) == ("efi", "vmx-19", True)
refused(vim.fault.InvalidVmConfig, lambda: old.ReconfigVM_Task(spec=vim.vm.ConfigSpec(firmware="bios")))
spec = change_tpm("remove")
spec.firmware = "bios"
wait(old.ReconfigVM_Task(spec=spec))
assert (old.config.firmware, has_tpm(old)) == ("bios", False)

# Guests.
for method in ("ShutdownGuest", "RebootGuest", "StandbyGuest"):
    refused(vim.fault.ToolsUnavailable, getattr(one, method))
    refused(vim.fault.InvalidPowerState, getattr(two, method))
wait(one.PowerOffVM_Task())

# Templates.
one.MarkAsTemplate()
assert one.config.template and one.summary.config.template and one.resourcePool is None
refused(vmodl.fault.NotSupported, one.PowerOnVM_Task)
refused(vmodl.fault.NotSupported, lambda: one.ReconfigVM_Task(spec=vim.vm.ConfigSpec(numCPUs=3)))
refused(vim.fault.InvalidState, one.MarkAsTemplate)
same = wait(one.CloneVM_Task(folder=folder, name="same", spec=clone_spec(powerOn=True)))
fresh = wait(one.CloneVM_Task(folder=folder, name="fresh", spec=clone_spec(tpmProvisionPolicy="replace", powerOn=True)))
assert not same.config.template and same.config.annotation == "renamed"
assert seal.opens_in("same") and not seal.opens_in("fresh") and ek("fresh") != name
kept = wait(one.CloneVM_Task(folder=folder, name="kept", spec=clone_spec(template=True)))
assert kept.config.template
one.MarkAsVirtualMachine(pool=pool)
wait(one.PowerOnVM_Task())
refused(vim.fault.InvalidPowerState, one.MarkAsTemplate)
wait(one.PowerOffVM_Task())

# Out of the inventory and into it again.
path, uuid = one.config.files.vmPathName, one.config.uuid
refused(vim.fault.InvalidPowerState, same.UnregisterVM)
one.UnregisterVM()
refused(vmodl.fault.ManagedObjectNotFound, lambda: one.name)
assert content.searchIndex.FindByUuid(None, uuid, True) is None
refused(vim.fault.InvalidDatastorePath, lambda: folder.RegisterVM_Task(path="nowhere", asTemplate=False, pool=pool))
refused(vmodl.fault.InvalidArgument, lambda: folder.RegisterVM_Task(path=path, asTemplate=True, pool=pool))
back = wait(folder.RegisterVM_Task(path=path, name="back", asTemplate=False, pool=pool))
assert (back.name, back.config.uuid, back.config.annotation) == ("back", uuid, "renamed")
wait(back.PowerOnVM_Task())
assert seal.opens_in("back")
refused(vim.fault.DuplicateName, lambda: folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool))

# What is listed.
view = content.viewManager.CreateContainerView(content.rootFolder, [vim.Datastore, vim.HostSystem, vim.ClusterComputeResource], True)
assert {type(it) for it in view.view} == {vim.Datastore, vim.HostSystem, vim.ClusterComputeResource}
assert all(it.name and it.summary for it in view.view)
disks = [it.summary for it in view.view if isinstance(it, vim.Datastore)]
assert disks and all(it.capacity >= it.freeSpace > 0 and it.accessible for it in disks), disks
entity = vim.event.EventFilterSpec.ByEntity(entity=back, recursion="self")
events = content.eventManager.QueryEvents(vim.event.EventFilterSpec(entity=entity))
assert events and all(isinstance(it, vim.event.TaskEvent) and it.info.entity == back for it in events)
assert content.eventManager.latestEvent.info.descriptionId
assert content.eventManager.QueryEvents(vim.event.EventFilterSpec(eventTypeId=["VmPoweredOnEvent"])) == []
assert content.perfManager.perfCounter == [] and content.perfManager.QueryAvailablePerfMetric(entity=back) == []
assert not content.perfManager.QueryPerfProviderSummary(entity=back).currentSupported
assert content.customFieldsManager.field == [] and content.taskManager.recentTask
Disconnect(si)
