"""The property collector, views and sessions, and what they refuse."""

import urllib.error
import urllib.request

from place import *

si = connect("vc01")
content = si.RetrieveContent()
pc = content.propertyCollector
Pc = vmodl.query.PropertyCollector


def traversal(kind, path, *select, name=None):
    return Pc.TraversalSpec(name=name, type=kind, path=path, skip=False, selectSet=list(select))


def filter_of(objects, properties, all=False, kind=vim.VirtualMachine):
    return Pc.FilterSpec(objectSet=objects, propSet=[Pc.PropertySpec(type=kind, all=all, pathSet=properties)])


# A view of everything, and what it is narrowed to.
view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
assert [vm.name for vm in view.view] == ["demo"]
assert view.container == content.rootFolder and view.recursive
everything = content.viewManager.CreateContainerView(content.rootFolder, [], True)
kinds = {type(entity) for entity in everything.view}
assert {vim.Datacenter, vim.Folder, vim.ClusterComputeResource, vim.HostSystem, vim.ResourcePool, vim.Datastore} <= kinds
flat = content.viewManager.CreateContainerView(content.rootFolder, [vim.Datacenter, vim.VirtualMachine], False)
assert [entity.name for entity in flat.view] == ["Datacenter"]
listed = content.viewManager.CreateListView(view.view)
assert listed.view == view.view
refused(vmodl.fault.InvalidArgument, lambda: content.viewManager.CreateContainerView(content.rootFolder, [vim.Task], True))

# By a view, and by a walk through folders that names its steps.
by_view = [Pc.ObjectSpec(obj=view, skip=True, selectSet=[traversal(vim.view.ContainerView, "view")])]
found = pc.RetrieveContents([filter_of(by_view, ["name", "config.hardware.device", "runtime.powerState"])])
assert len(found) == 1
values = {it.name: it.val for it in found[0].propSet}
assert values["name"] == "demo" and values["runtime.powerState"] == "poweredOn", values
assert vim.vm.device.VirtualTPM in [type(it) for it in values["config.hardware.device"]]
down = Pc.SelectionSpec(name="down")
walk = traversal(vim.Folder, "childEntity", down, traversal(vim.Datacenter, "vmFolder", down), name="down")
folders = filter_of([Pc.ObjectSpec(obj=content.rootFolder, skip=False, selectSet=[walk])], ["name"], kind=vim.ManagedEntity)
names = {it.propSet[0].val for it in pc.RetrieveContents([folders])}
assert names == {"Datacenters", "Datacenter", "vm", "demo"}, names
# Page by page.
first = pc.RetrievePropertiesEx([folders], Pc.RetrieveOptions(maxObjects=3))
assert len(first.objects) == 3 and first.token
rest = pc.ContinueRetrievePropertiesEx(first.token)
assert len(rest.objects) == 1 and rest.token is None
refused(vmodl.fault.InvalidArgument, lambda: pc.ContinueRetrievePropertiesEx(first.token))
# One device of a list by its key; everything of an object.
vm = view.view[0]
one = pc.RetrieveContents([filter_of([Pc.ObjectSpec(obj=vm)], ["config.hardware.device[11000]"])])
assert one[0].propSet[0].val.key == 11000
whole = pc.RetrieveContents([filter_of([Pc.ObjectSpec(obj=vm)], [], all=True)])
assert {"config", "summary", "runtime", "name"} <= {it.name for it in whole[0].propSet}
for entity in everything.view:
    pc.RetrieveContents([filter_of([Pc.ObjectSpec(obj=entity)], [], all=True, kind=type(entity))])

# What there is not.
for path in ("nonsense", "config.nonsense", "config.hardware.device.key", "name.length"):
    error = refused(vmodl.query.InvalidProperty, lambda: pc.RetrieveContents([filter_of(by_view, [path])]))
    assert error.name == path, error
refused(vmodl.fault.ManagedObjectNotFound, lambda: pc.RetrieveContents(
    [filter_of([Pc.ObjectSpec(obj=vim.VirtualMachine("vm-1", si._stub))], ["name"])]))
refused(vmodl.fault.ManagedObjectNotFound, lambda: vim.VirtualMachine("vm-00000000-0000-0000-0000-000000000000", si._stub).name)
refused(vmodl.fault.NotSupported, vm.ExportVm)
refused(vmodl.fault.NotSupported, lambda: content.rootFolder.CreateDatacenter("other"))
nobody = [Pc.ObjectSpec(obj=vm, selectSet=[Pc.SelectionSpec(name="nobody")])]
refused(vmodl.fault.InvalidArgument, lambda: pc.RetrieveContents([filter_of(nobody, ["name"])]))
huge = [Pc.ObjectSpec(obj=vm) for _ in range(2000)]
refused(vmodl.fault.InvalidArgument, lambda: pc.RetrieveContents([filter_of(huge, ["name"])]))
refused(vmodl.query.InvalidCollectorVersion, lambda: pc.WaitForUpdatesEx("77", Pc.WaitOptions(maxWaitSeconds=1)))

# Waiting: first all of it, then what changes, then nothing.
own = pc.CreatePropertyCollector()
watched = own.CreateFilter(filter_of([Pc.ObjectSpec(obj=vm)], ["runtime.powerState", "name"]), False)
update = own.WaitForUpdatesEx("", Pc.WaitOptions(maxWaitSeconds=5))
assert update.filterSet[0].filter == watched and update.filterSet[0].objectSet[0].kind == "enter"
assert own.WaitForUpdatesEx(update.version, Pc.WaitOptions(maxWaitSeconds=0)) is None
assert own.CheckForUpdates(update.version) is None
task = vm.PowerOffVM_Task()
change = own.WaitForUpdatesEx(update.version, Pc.WaitOptions(maxWaitSeconds=300)).filterSet[0].objectSet[0]
assert change.kind == "modify" and [(it.name, it.val) for it in change.changeSet] == [("runtime.powerState", "poweredOff")]
wait(task)
watched.Destroy()
own.Destroy()
refused(vmodl.fault.ManagedObjectNotFound, lambda: own.filter)
# A view that is destroyed is gone.
view.Destroy()
refused(vmodl.fault.ManagedObjectNotFound, lambda: view.view)

# Logging in: wrong passwords, nobody, users of an organization.
for user, password in ((USER, "wrong"), ("nobody@vsphere.local", PASSWORD), ("administrator", PASSWORD), ("", "")):
    try:
        connect("vc01", user, password)
        raise AssertionError(user)
    except vim.fault.InvalidLogin:
        pass
vtpm("org", "add", "acme")
vtpm("user", "add", "eve", "--org", "acme", "--role", "administrator", "--password-stdin", stdin="a password of eve\n")
eve = connect("vc01", "eve@acme", "a password of eve")
refused(vim.fault.NoPermission, lambda: eve.content.rootFolder.name)
refused(vim.fault.NoPermission, lambda: vim.VirtualMachine(vm._moId, eve._stub).PowerOnVM_Task())


def post(body, action='"urn:vim25/8.0.3.0"', path="/vc01/sdk", cookie=None):
    headers = {"Content-Type": "text/xml", "SOAPAction": action, **({"Cookie": cookie} if cookie else {})}
    request = urllib.request.Request(f"https://{HOST}:{PORT}{path}", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, context=unverified()) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def envelope(call, before=""):
    return f'{before}<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{call}</e:Body></e:Envelope>'


names = '<Destroy_Task xmlns="urn:vim25"><_this type="VirtualMachine">' + vm._moId + "</_this></Destroy_Task>"
bomb = "<!DOCTYPE b [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
entity = "<!DOCTYPE b [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
for body, fault in (
    (envelope(names, bomb), "InvalidRequestFault"),
    (envelope(names, entity), "InvalidRequestFault"),
    (envelope("<a>" * 60 + "</a>" * 60), "InvalidRequestFault"),
    (envelope(names.replace("Destroy_Task", "Explode_Task")), "MethodNotFoundFault"),
    (envelope(names.replace("VirtualMachine", "Nonsense")), "InvalidRequestFault"),
    (envelope(names.replace("</_this>", "</_this><force>true</force>")), "InvalidRequestFault"),
    (envelope(names), "NotAuthenticatedFault"),
    ("no XML", "InvalidRequestFault"),
    ("", "InvalidRequestFault"),
):
    status, text = post(body)
    assert status == 500 and fault in text, (fault, text)
    assert "root:" not in text
status, text = post(envelope(names), action='"urn:vim25/9.9.9.9"', cookie=si._stub.cookie)
assert status == 500 and "InvalidRequestFault" in text, text
status, text = post(envelope(names), cookie='vmware_soap_session="nobody has this"')
assert status == 500 and "NotAuthenticatedFault" in text, text
assert post(envelope(names), path="/nowhere/sdk")[0] == 404
assert post("x" * 3_000_000)[0] == 413
assert show("demo")["power"] == "off"
Disconnect(eve)
Disconnect(si)
