"""A vCenter 7 and moves between vCenters, with and without the key provider there.

vc01 is a vCenter 8, vc07 a vCenter 7.0.3, vc08 another vCenter 8 that shares its storage with vc01.
"""

import urllib.request

from place import *

si = connect("vc01")
vm = create(si, "traveller")
wait(vm.PowerOnVM_Task())
seal = Seal("traveller")
name = ek("traveller")

# pyVmomi follows the version that a vCenter offers; without the field a clone is a copy.
seven = connect("vc07")
assert seven._stub.versionId == '"urn:vim25/7.0.3.0"'
assert seven.content.about.apiVersion == "7.0.3.0" and seven.content.about.version == "7.0.3"
vm7 = create(seven, "old")
for policy in ("copy", "replace", None):
    clone = wait(vm7.CloneVM_Task(vm7.parent, f"old-{policy}", clone_spec(tpmProvisionPolicy=policy)))
    assert ek(f"old-{policy}") == ek("old"), policy
# Whoever sends the field by hand is told that it is not there.
body = f"""<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><CloneVM_Task xmlns="urn:vim25">
<_this type="VirtualMachine">{vm7._moId}</_this><folder type="Folder">group-v3</folder><name>by-hand</name>
<spec><location/><template>false</template><powerOn>false</powerOn><tpmProvisionPolicy>replace</tpmProvisionPolicy></spec>
</CloneVM_Task></e:Body></e:Envelope>"""
request = urllib.request.Request(f"https://{HOST}:{PORT}/vc07/sdk", body.encode(), {
    "Content-Type": "text/xml", "SOAPAction": '"urn:vim25/7.0.3.0"', "Cookie": seven._stub.cookie})
try:
    urllib.request.urlopen(request, context=unverified())
    raise AssertionError("the field was taken")
except urllib.error.HTTPError as error:
    text = error.read().decode()
    assert error.code == 500 and "InvalidRequestFault" in text and "tpmProvisionPolicy" in text, text
# A session is one of one vCenter.
eight = connect("vc01")
stolen = vim.Folder("group-d1", seven._stub)
assert stolen.name == "Datacenters"
seven._stub.cookie = eight._stub.cookie
refused(vim.fault.NotAuthenticated, lambda: stolen.name)
Disconnect(eight)

# To another vCenter: first nothing is there that it takes.
locator = service_locator("vc08")
move = lambda **more: vm.RelocateVM_Task(vim.vm.RelocateSpec(service=locator, **more))
wrong = service_locator("vc08", password="wrong password")
refused(vim.fault.InvalidLogin, lambda: vm.RelocateVM_Task(vim.vm.RelocateSpec(service=wrong)))
refused(vim.fault.InvalidPowerState, move)
wait(vm.PowerOffVM_Task())
fault = refused(vim.fault.EncryptionKeyRequired, move)
assert [key.providerId.id for key in fault.requiredKey] == ["vc01-nkp"], fault
assert show("traveller")["vcenter"] == "vc01"
vtpm("vcenter", "trust", "vc01", "vc08")
refused(vim.fault.EncryptionKeyRequired, move)
# The name alone is not the key.
vtpm("provider", "create", "vc01-nkp", "--vcenter", "vc08")
error = refused(vim.fault.KeyNotFound, move)
assert error.key == vm.config.keyId.keyId, error
refused(vim.fault.KeyNotFound, lambda: vm.CloneVM_Task(vm.parent, "far", clone_spec(location=vim.vm.RelocateSpec(service=locator))))
# The backup restored there, by the REST API of both.
import base64
import json


def rest(method, path, body=None, headers=None):
    request = urllib.request.Request(f"https://{HOST}:{PORT}{path}", method=method, headers=headers or {},
                                     data=None if body is None else json.dumps(body).encode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, context=unverified()) as answer:
        return answer.read()


def rest_session(vcenter):
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    token = json.loads(rest("POST", f"/{vcenter}/api/session", headers={"Authorization": f"Basic {basic}"}))
    return {"vmware-api-session-id": token}


PROVIDERS = "api/vcenter/crypto-manager/kms/providers"
here, there = rest_session("vc01"), rest_session("vc08")
listed = json.loads(rest("GET", f"/vc08/{PROVIDERS}", headers=there))
assert listed == [{"provider": "vc01-nkp", "type": "NATIVE", "health": "ERROR"}], listed
rest("DELETE", f"/vc08/{PROVIDERS}/vc01-nkp", headers=there)
secret = {"provider": "vc01-nkp", "password": "for this backup"}
location = json.loads(rest("POST", f"/vc01/{PROVIDERS}?action=export", secret, here))["location"]
path = location["url"].split("/", 3)[3]
backup = rest("POST", f"/{path}", headers={"Authorization": "Bearer " + location["download_token"]["token"]})
restored = {"config": base64.b64encode(backup).decode(), "password": "for this backup"}
rest("POST", f"/vc08/{PROVIDERS}?action=import", restored, there)
for cluster in connect("vc08").content.cryptoManager.ListKmsClusters():
    assert cluster.managementType == "nativeProvider" and cluster.hasBackup, cluster

far = connect("vc08")
clone = wait(vm.CloneVM_Task(vm.parent, "copy-there", clone_spec(location=vim.vm.RelocateSpec(service=locator))))
fresh = wait(vm.CloneVM_Task(vm.parent, "fresh-there", clone_spec(location=vim.vm.RelocateSpec(service=locator), tpmProvisionPolicy="replace")))
moved = wait(move())
assert show("traveller")["vcenter"] == "vc08" and ek("traveller") == name
refused(vmodl.fault.ManagedObjectNotFound, lambda: vm.name)
vm = vm_of(far, "traveller")
assert vm._moId == moved._moId and vm_of(far, "copy-there")._moId == clone._moId
for there in ("traveller", "copy-there", "fresh-there"):
    wait(vm_of(far, there).PowerOnVM_Task())
    assert seal.opens_in(there) == (there != "fresh-there"), there
    assert (ek(there) == name) == (there != "fresh-there"), there
for session in (si, seven, far):
    Disconnect(session)
