"""What somebody does who knows pyVmomi and tpm2-tools and nothing of this repository: nothing but the two and the command line's set-up.

`lyon` and `oslo` are vCenters 8.0.3 that trust each other, `rome` is one of 7.0.3, `riga` an 8.0.3 without lyon's key provider. All see the
datastore `common`; the key provider is made and backed up here, and restored at oslo.
"""

import base64
import json
import os
import ssl
import subprocess
import tempfile
import urllib.request

from pyVim import connect
from pyVim.task import WaitForTask, WaitForTasks
from pyVmomi import vim, vmodl

PORT, PASSWORD = os.environ["VTPM_PORT"], os.environ["VTPM_ADMIN_PASSWORD"]
ROOT = "administrator@vsphere.local"
TLS = ssl._create_unverified_context()


def rest(vcenter, method, path, body=None, **headers):
    request = urllib.request.Request(f"https://localhost:{PORT}/{vcenter}/api/{path}", method=method, headers={
        "Content-Type": "application/json", **headers}, data=body and json.dumps(body).encode())
    return urllib.request.urlopen(request, context=TLS).read()


def rest_login(vcenter):
    basic = base64.b64encode(f"{ROOT}:{PASSWORD}".encode()).decode()
    return {"vmware-api-session-id": json.loads(rest(vcenter, "POST", "session", Authorization=f"Basic {basic}"))}


def log_in(vcenter):
    return connect.SmartConnect(host="localhost", port=int(PORT), path=f"/{vcenter}/sdk", user=ROOT, pwd=PASSWORD, sslContext=TLS)


def find(content, kind, name):
    """The loop of the community samples."""
    container = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    found = [it for it in container.view if it.name == name]
    container.Destroy()
    return found[0] if found else None


def collected(si, kind, paths):
    """The property collector of the community samples: a view, traversed; by name."""
    content = si.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    collect = vmodl.query.PropertyCollector
    traverse = collect.TraversalSpec(name="inside", path="view", skip=False, type=type(view))
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=view, skip=True, selectSet=[traverse])],
        propSet=[collect.PropertySpec(type=kind, pathSet=paths)])
    result = content.propertyCollector.RetrievePropertiesEx([spec], collect.RetrieveOptions())
    rows = [{it.name: it.val for it in row.propSet} for row in result.objects]
    view.DestroyView()
    return {row["name"]: row for row in rows}


def shown(vm):
    vtpm = subprocess.run([os.environ["VTPM"], "vm", "show", vm.config.uuid, "--json"], capture_output=True, text=True, check=True)
    return json.loads(vtpm.stdout)["tpm"]


def run_tpm(vm, script, check=True):
    environment = dict(os.environ, TPM2TOOLS_TCTI=shown(vm)["tcti"])
    return subprocess.run(["sh", "-ec", script], cwd=KEPT, env=environment, capture_output=True, text=True, check=check)


KEPT = tempfile.mkdtemp()
PRIMARY = "tpm2_createprimary -Q -C o -G ecc -c primary.ctx"


def seal(vm, name):
    run_tpm(vm, f"{PRIMARY}; printf '{name}' | tpm2_create -Q -C primary.ctx -u {name}.pub -r {name}.priv -i -")


def unseals(vm, name):
    script = f"{PRIMARY}; tpm2_load -Q -C primary.ctx -u {name}.pub -r {name}.priv -c {name}.ctx; tpm2_unseal -c {name}.ctx"
    done = run_tpm(vm, script, check=False)
    run_tpm(vm, "tpm2_flushcontext -t", check=False)
    return done.returncode == 0 and done.stdout == name


def ended(task):
    WaitForTask(task)
    return task.info.result


def fails(kind, task):
    try:
        WaitForTask(task())
    except kind as fault:
        return fault
    raise AssertionError(f"no {kind.__name__}")


def certificates(vm):
    tpm = [it for it in vm.config.hardware.device if isinstance(it, vim.vm.device.VirtualTPM)]
    return [bytes(it) for device in tpm for it in device.endorsementKeyCertificate], tpm


# A key provider, by the REST API of lyon; nothing has a TPM before it is backed up.
lyon, oslo, rome, riga = (log_in(name) for name in ("lyon", "oslo", "rome", "riga"))
token = rest_login("lyon")
providers = "vcenter/crypto-manager/kms/providers"
rest("lyon", "POST", providers, {"provider": "vault"}, **token)
crypto = lyon.content.cryptoManager
crypto.MarkDefault(vim.encryption.KeyProviderId(id="vault"))


def specification(name, firmware="efi", guest="windows2019srvNext_64Guest", tpm=False):
    spec = vim.vm.ConfigSpec(name=name, guestId=guest, firmware=firmware, numCPUs=2, memoryMB=4096, version="vmx-19",
                             files=vim.vm.FileInfo(vmPathName="[common]"))
    if tpm:
        spec.deviceChange = [vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualTPM())]
    return spec


def made(si, spec):
    content = si.RetrieveContent()
    folder = content.rootFolder.childEntity[0].vmFolder
    return ended(folder.CreateVM_Task(config=spec, pool=find(content, vim.ResourcePool, "Resources"), host=find(content, vim.HostSystem, f"host-1.{si.content.setting.QueryOptions('VirtualCenter.InstanceName')[0].value}")))


ledger = made(lyon, specification("ledger"))
add = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(
    operation=vim.vm.device.VirtualDeviceSpec.Operation.add, device=vim.vm.device.VirtualTPM(key=-42))])
fails(vim.fault.EncryptionKeyRequired, lambda: ledger.ReconfigVM_Task(add))
export = json.loads(rest("lyon", "POST", f"{providers}?action=export", {"provider": "vault", "password": "for the safe"}, **token))
where = export["location"]
backup = urllib.request.urlopen(urllib.request.Request(
    where["url"].replace("127.0.0.1", "localhost"), method="POST",
    headers={"Authorization": f"Bearer {where['download_token']['token']}"}), context=TLS).read()
ended(ledger.ReconfigVM_Task(add))
assert ledger.config.keyId.providerId.id == "vault" and ledger.runtime.cryptoState == "unlocked"
own, devices = certificates(ledger)
assert len(own) == 2 and len(devices) == 1 and devices[0].endorsementKeyCertificateSigningRequest
ended(ledger.PowerOn())
seal(ledger, "ledger")
print("a TPM once its provider is backed up, and a secret in it")

# Clones on the vCenter 8, two at once.
folder = ledger.parent
spec = lambda **more: vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=ledger.resourcePool), powerOn=True, template=False, **more)
tasks = {policy: ledger.Clone(folder, f"ledger {policy}", spec(tpmProvisionPolicy=policy)) for policy in (None, "replace", "copy")}
WaitForTasks(list(tasks.values()), si=lyon)
for policy, task in tasks.items():
    clone = task.info.result
    assert unseals(clone, "ledger") == (policy != "replace"), policy
    assert (shown(clone)["ek_name"] == shown(ledger)["ek_name"]) == (policy != "replace"), policy
    assert shown(clone)["origin"] == (policy or "copy"), policy
    assert (set(certificates(clone)[0]) & set(own) == set()) == (policy == "replace"), policy
rows = collected(lyon, vim.VirtualMachine, ["name", "runtime.powerState", "config.keyId", "summary.config.tpmPresent"])
assert {name for name in rows if name.startswith("ledger")} == {"ledger", "ledger None", "ledger copy", "ledger replace"}
assert all(rows[name]["summary.config.tpmPresent"] and rows[name]["runtime.powerState"] == "poweredOn" for name in rows if "ledger" in name)
fails(vmodl.fault.InvalidArgument, lambda: ledger.Clone(folder, "x", spec(tpmProvisionPolicy="both")))
print("clones on vCenter 8: unset and copy keep it, replace does not")

# The same on a vCenter 7, which has a provider of its own, and no policy.
token7 = rest_login("rome")
rest("rome", "POST", providers, {"provider": "old vault"}, **token7)
json.loads(rest("rome", "POST", f"{providers}?action=export", {"provider": "old vault", "password": "x" * 12}, **token7))
rome.content.cryptoManager.SetDefaultKmsCluster(clusterId=vim.encryption.KeyProviderId(id="old vault"))
elder = made(rome, specification("elder", tpm=True))
fails(vim.fault.InvalidVmConfig, lambda: elder.parent.CreateVM_Task(config=specification("bios", "bios", tpm=True), pool=elder.resourcePool))
ended(elder.PowerOnVM_Task(host=elder.runtime.host))
seal(elder, "elder")
for policy in ("replace", None, "copy"):
    clone = ended(elder.CloneVM_Task(folder=elder.parent, name=f"elder {policy}", spec=vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(), powerOn=True, tpmProvisionPolicy=policy)))
    assert unseals(clone, "elder"), policy
print("clones on vCenter 7 are copies")

# To other vCenters: riga has no such provider, oslo has it from the backup.
rest("oslo", "POST", f"{providers}?action=import", {"config": base64.b64encode(backup).decode(), "password": "for the safe"}, **rest_login("oslo"))
ended(ledger.PowerOff())


def at(si, vcenter):
    return vim.ServiceLocator(url=f"https://localhost:{PORT}/{vcenter}/sdk", instanceUuid=si.content.about.instanceUuid,
                              credential=vim.ServiceLocatorNamePassword(username=ROOT, password=PASSWORD))


before = shown(ledger)["ek_name"]
to_riga, to_oslo = (vim.vm.RelocateSpec(service=at(si, name)) for si, name in ((riga, "riga"), (oslo, "oslo")))
fault = fails(vim.fault.EncryptionKeyRequired, lambda: ledger.Relocate(to_riga))
assert fault.requiredKey[0].providerId.id == "vault", fault
fails(vim.fault.EncryptionKeyRequired, lambda: ledger.Clone(folder, "far", vim.vm.CloneSpec(location=to_riga)))
ended(ledger.Clone(folder, "far", vim.vm.CloneSpec(location=to_oslo, tpmProvisionPolicy="replace")))
ended(ledger.Relocate(to_oslo))
assert find(lyon.content, vim.VirtualMachine, "ledger") is None
moved, far = (find(oslo.content, vim.VirtualMachine, name) for name in ("ledger", "far"))
for vm in (far, moved):
    ended(vm.PowerOn())
    assert unseals(vm, "ledger") == (vm == moved)
assert shown(moved)["ek_name"] == before != shown(far)["ek_name"]
print("moved to where its key is, refused where it is not")

# Gone with its TPM.
ended(far.PowerOff())
ended(far.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="remove", device=certificates(far)[1][0])])))
assert not certificates(far)[1] and far.config.keyId is None
ended(far.Destroy())
for si in (lyon, oslo, rome, riga):
    connect.Disconnect(si)
