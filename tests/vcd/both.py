"""One story with both libraries: pyVmomi for the vCenters, pyvcloud for the organization, tpm2-tools for each TPM.

VMs are made on vCenters, imported, copied, captured and instantiated in the cloud, looked at from both sides, and moved on.
"""

from urllib.parse import urlsplit

from lxml import etree
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim
from pyvcloud.vcd.client import E
from pyvcloud.vcd.vapp import VApp

import world
from world import ADMINISTRATOR, NAMESPACE, NEW, URL, done, instantiate, log_in, look, post, seal, template, vtpm

HOST = urlsplit(URL)


def connect(vcenter):
    return SmartConnect(host=HOST.hostname, port=HOST.port, path=f"/{vcenter}/sdk", user="administrator@vsphere.local",
                        pwd=ADMINISTRATOR, disableSslCertValidation=True)


def wait(task):
    WaitForTask(task)
    return task.info.result


def vm_called(si, path):
    found = si.content.searchIndex.FindByInventoryPath(f"Datacenter/vm/{path}")
    assert found is not None, path
    return found


def create(si, name, guest, tpm=True, **more):
    datacenter = si.content.rootFolder.childEntity[0]
    devices = [vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualTPM(key=-1))] if tpm else []
    spec = vim.vm.ConfigSpec(name=name, guestId=guest, firmware="efi", deviceChange=devices, numCPUs=1, memoryMB=512, **more)
    return wait(datacenter.vmFolder.CreateVM_Task(config=spec, pool=datacenter.hostFolder.childEntity[0].resourcePool))


def clone(vm, name, **more):
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False, **more)
    return wait(vm.CloneVM_Task(folder=vm.parent, name=name, spec=spec))


world.vcenter("kyoto", "8.0.3")
world.vcenter("quito", "7.0.3")
backup = world.provider("vault", "kyoto")
world.provider("safe", "quito")
vtpm("vcenter", "trust", "kyoto", "quito")
world.organization("globex", "east=kyoto", "west=quito", user="hank")
vtpm("catalog", "add", "shelf", "--org", "globex", "--vdc", "east")
kyoto, quito = connect("kyoto"), connect("quito")
system = log_in("administrator", "system", NEW, ADMINISTRATOR)
hank = log_in("hank", "globex", NEW)

# A VM of each kind on the vCenter 8, one on the vCenter 7.
sealed = create(kyoto, "vault-1", "windows2019srv_64Guest")
crypto = vim.encryption.CryptoSpecEncrypt(cryptoKeyId=vim.encryption.CryptoKeyId(
    keyId="", providerId=vim.encryption.KeyProviderId(id="vault")))
bare = create(kyoto, "bare-1", "debian12_64Guest", tpm=False, crypto=crypto)
old = create(quito, "old-1", "windows9_64Guest")


def at(vm):
    """A VM of a vCenter, as tpm2-tools are led to it."""
    return {"href": vm._moId}


secret, older = seal(at(sealed)), seal(at(old))

# Clones on both: a vCenter 7 copies, whatever is asked for.
for si, vm, kept in ((kyoto, sealed, secret), (quito, old, older)):
    for policy, same in (("copy", True), ("replace", vm is old), (None, True)):
        twin = clone(vm, f"{vm.name}-{policy}", **({"tpmProvisionPolicy": policy} if policy else {}))
        assert (look(at(twin), kept)[0] == "same") == same, (vm.name, policy)
        wait(twin.Destroy_Task())

# Imported, they are the organization's, TPM and key and all.
server = next(it for it in system.get_resource(f"{URL}/api/admin/extension/vimServerReferences").iter("{*}VimServerReference")
              if it.get("name") == "kyoto").get("href")
east = world.vdc(hank, "east")
listed = {it.Name.text: it.MoRef.text for it in system.get_resource(f"{server}/vmsList").VmObjectRef}
ext = "http://www.vmware.com/vcloud/extension/v1.5"
for name, vm in (("vault", sealed), ("bare", bare)):
    body = etree.fromstring(
        f'<e:ImportVmAsVAppParams xmlns:e="{ext}" xmlns="{NAMESPACE}" name="{name}" sourceMove="true">'
        f'<e:VmMoRef>{listed[vm.name]}</e:VmMoRef><e:Vdc href="{east.href}"/></e:ImportVmAsVAppParams>')
    result = system.post_resource(f"{server}/importVmAsVApp", body, "application/vnd.vmware.admin.importVmAsVAppParams+xml")
    done(system, result)
east.reload()
vapp = VApp(hank, resource=east.get_vapp("vault"))
assert vapp.get_all_vms()[0].get("name") == "vault-1"
assert sealed.parent.name.startswith("vault (") and sealed.parent.parent.name == "vm"
assert bare.config.keyId.providerId.id == "vault" and bare.runtime.cryptoState == "unlocked"

# Templates of both kinds, instantiated: the copy opens the secret, the replacement does not.
_, shelf = world.catalog(hank)
for kind, same in (("true", True), ("false", False)):
    body = E.CaptureVAppParams(E.Source(href=vapp.href), E.CopyTpmOnInstantiate(kind), name=f"gold-{kind}")
    done(hank, post(hank, f"{shelf.get('href')}/action/captureVApp", body, "captureVAppParams"))
    done(hank, instantiate(hank, east, template(hank, f"gold-{kind}"), f"from-{kind}"))
    instance = world.vapp(hank, east, f"from-{kind}")
    made = instance.get_all_vms()[0]
    assert (look(made, secret)[0] == "same") == same, kind
    seen = [it for it in kyoto.content.viewManager.CreateContainerView(
        kyoto.content.rootFolder, [vim.VirtualMachine], True).view if it.parent.name.startswith(f"from-{kind} (")]
    assert len(seen) == 1 and seen[0]._moId[-36:] == world.identity(made.get("href"))

# A VM that is encrypted without a TPM gets one in the cloud, and stays encrypted without it.
machine = VApp(hank, resource=east.get_vapp("bare")).get_all_vms()[0].get("href")
key = bare.config.keyId.keyId
for present in ("true", "false"):
    body = E.TrustedPlatformModule(E.TpmPresent(present))
    done(hank, hank.post_resource(f"{machine}/action/editTrustedPlatformModule", body,
                                  "application/vnd.vmware.vcloud.TpmSection+xml"))
    assert any(isinstance(it, vim.vm.device.VirtualTPM) for it in bare.config.hardware.device) == (present == "true")
    assert bare.config.keyId.keyId == key

# Over to the vCenter 7: not without the provider, then with it.
west = world.vdc(hank, "west")
move = lambda name: post(hank, f"{west.href}/action/moveVApp", E.MoveVAppParams(E.Source(href=east.get_vapp(name).get("href"))),
                         "MoveVAppParams")
for name in ("vault", "bare"):
    world.refused(400, "BAD_REQUEST", lambda: move(name), "vault", "quito", "1.6a")
vtpm("provider", "restore", backup, "--name", "vault", "--vcenter", "quito", "--password-stdin", text=world.PASSWORD + "\n")
for name in ("vault", "bare"):
    done(hank, move(name))
    east.reload()
west.reload()
there = quito.content.viewManager.CreateContainerView(quito.content.rootFolder, [vim.VirtualMachine], True).view
moved = {it.name: it for it in there}
assert moved["bare-1"].config.keyId.keyId == key and moved["bare-1"].runtime.cryptoState == "unlocked"
assert look(at(moved["vault-1"]), secret) == ("same", secret)
wait(moved["bare-1"].PowerOnVM_Task())
assert sorted(it.get("name") for it in west.list_resources()) == ["bare", "vault"]
for si in (kyoto, quito):
    Disconnect(si)
