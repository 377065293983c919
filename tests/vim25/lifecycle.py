"""A VM with a TPM from its making to its end; clones with copy, replace and without a word on a vCenter 8."""

from place import *

si = connect("vc01")
content = si.RetrieveContent()
assert content.about.apiVersion == "8.0.3.0", content.about
assert si._stub.versionId == '"urn:vim25/8.0.3.0"', si._stub.versionId
session = content.sessionManager.currentSession
assert session.userName == USER
assert content.sessionManager.SessionIsActive(sessionID=session.key, userName=USER)

vm = create(si, "web")
assert has_tpm(vm) and vm.config.firmware == "efi" and vm.config.hardware.numCPU == 2
assert vm.config.hardware.memoryMB == 2048 and vm.summary.config.tpmPresent
assert vm.config.keyId.providerId.id == "vc01-nkp", vm.config.keyId
assert vm.runtime.cryptoState == "unlocked"
assert vm.runtime.powerState == "poweredOff"
assert vm.parent.name == "vm" and vm.resourcePool.name == "Resources"
assert content.searchIndex.FindByUuid(None, vm.config.uuid, True) == vm
assert content.searchIndex.FindByUuid(None, vm.config.instanceUuid, True, True) == vm
assert content.searchIndex.FindChild(vm.parent, "web") == vm
datacenter = content.rootFolder.childEntity[0]
assert content.searchIndex.FindByDatastorePath(datacenter, vm.config.files.vmPathName) == vm

# Certificates of its endorsement keys: one is signed anew by somebody else, from the request.
def tpm_of(vm):
    return next(it for it in vm.config.hardware.device if isinstance(it, vim.vm.device.VirtualTPM))


def openssl(*arguments, stdin):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


device = tpm_of(vm)
certificates, requests = device.endorsementKeyCertificate, device.endorsementKeyCertificateSigningRequest
assert len(certificates) >= 1 and len(requests) >= 2, device
keys = {openssl("req", "-inform", "DER", "-noout", "-pubkey", stdin=it): it for it in requests}
own = {openssl("x509", "-inform", "DER", "-noout", "-pubkey", stdin=it): it for it in certificates}
assert set(own) <= set(keys)
public, mine = next((key, it) for key, it in own.items() if b"BEGIN" in key)
with tempfile.TemporaryDirectory() as folder:
    ca = [os.path.join(folder, name) for name in ("ca.key", "ca.pem", "of.req")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca[0], "-out", ca[1], "-subj",
                    "/CN=another authority"], check=True, capture_output=True)
    with open(ca[2], "wb") as file:
        file.write(keys[public])
    signed = openssl("x509", "-req", "-inform", "DER", "-in", ca[2], "-CA", ca[1], "-CAkey", ca[0], "-outform", "DER",
                     "-set_serial", "7", "-days", "30", stdin=b"")
edit = vim.vm.device.VirtualTPM(key=device.key, endorsementKeyCertificate=[VmomiSupport.binary(signed)])
change = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=edit)])
wait(vm.ReconfigVM_Task(change))
after = tpm_of(vm).endorsementKeyCertificate
assert signed in after and mine not in after and len(after) == len(certificates)

# Power, and what the states refuse.
refused(vim.fault.InvalidPowerState, vm.PowerOffVM_Task)
task = vm.PowerOnVM_Task()
wait(task)
assert task.info.descriptionId == "VirtualMachine.powerOn" and task.info.entity == vm
assert task in content.taskManager.recentTask
fault = refused(vim.fault.InvalidPowerState, vm.PowerOnVM_Task)
assert fault.existingState == "poweredOn" and fault.requestedState == "poweredOn"
refused(vim.fault.InvalidPowerState, lambda: vm.ReconfigVM_Task(change_tpm("remove")))
refused(vim.fault.InvalidPowerState, vm.Destroy_Task)
seal = Seal("web")
assert seal.opens_in("web")

# Clones of a VM that is on. A copy opens the secret, a replacement does not.
folder = vm.parent
copied = wait(vm.CloneVM_Task(folder, "copied", clone_spec(tpmProvisionPolicy="copy", powerOn=True)))
replaced = wait(vm.CloneVM_Task(folder, "replaced", clone_spec(tpmProvisionPolicy="replace", powerOn=True)))
unset = wait(vm.CloneVM_Task(folder, "unset", clone_spec(powerOn=True)))
for name, same in (("copied", True), ("replaced", False), ("unset", True)):
    assert (ek(name) == ek("web")) == same, name
    assert seal.opens_in(name) == same, name
assert copied.summary.config.memorySizeMB == 2048 and copied.config.hardware.numCPU == 2
assert copied.config.keyId.keyId == vm.config.keyId.keyId
assert [show(name)["tpm"]["origin"] for name in ("web", "copied", "replaced")] == ["new", "copy", "replace"]
refused(vim.fault.DuplicateName, lambda: vm.CloneVM_Task(folder, "copied", clone_spec()))
error = refused(vmodl.fault.InvalidArgument, lambda: vm.CloneVM_Task(folder, "x", clone_spec(tpmProvisionPolicy="both")))
assert error.invalidProperty == "spec.tpmProvisionPolicy", error
# What a clone gets that does not say is the vCenter's to decide.
policy = vim.option.OptionValue(key="vpxd.clone.tpmProvisionPolicy", value="replace")
content.setting.UpdateOptions([policy])
assert content.setting.QueryOptions(policy.key)[0].value == "replace"
other = wait(vm.CloneVM_Task(folder, "other", clone_spec()))
assert show("other")["tpm"]["origin"] == "replace"
wait(other.Destroy_Task())
refused(vim.fault.InvalidName, lambda: content.setting.UpdateOptions([vim.option.OptionValue(key="no.such", value="1")]))
policy.value = "copy"
content.setting.UpdateOptions([policy])
gone = wait(vm.CloneVM_Task(folder, "without", clone_spec(config=change_tpm("remove"))))
assert not has_tpm(gone) and gone.config.keyId is None and has_tpm(vm)

# Snapshots: reverting takes the TPM back.
snapshot = wait(vm.CreateSnapshot_Task("before", "a word", True, False))
assert vm.snapshot.currentSnapshot == snapshot
assert [it.name for it in vm.snapshot.rootSnapshotList] == ["before"]
child = wait(vm.CreateSnapshot_Task(name="after", memory=True, quiesce=False))
tree = vm.snapshot.rootSnapshotList[0]
assert tree.description == "a word" and tree.childSnapshotList[0].snapshot == child
assert snapshot.childSnapshot == [child] and snapshot.vm == vm
# A clone of a snapshot has the TPM of then.
seal._tool("web", "tpm2_nvdefine", "-Q", "0x1500009", "-C", "o", "-s", "4")
location = vim.vm.RelocateSpec(diskMoveType="createNewChildDiskBacking")
linked = wait(vm.CloneVM_Task(folder, "linked", clone_spec(snapshot=snapshot, location=location, powerOn=True)))
assert seal.opens_in("linked") and "1500009" not in seal._tool("linked", "tpm2_getcap", "handles-nv-index")
refused(vmodl.fault.InvalidArgument, lambda: copied.CloneVM_Task(folder, "x", clone_spec(snapshot=snapshot)))
wait(linked.PowerOffVM_Task())
wait(linked.Destroy_Task())
wait(snapshot.RevertToSnapshot_Task())
assert "1500009" not in seal._tool("web", "tpm2_getcap", "handles-nv-index")
assert vm.runtime.powerState == "poweredOn" and seal.opens_in("web")
wait(vm.PowerOffVM_Task())
refused(vim.fault.InvalidState, lambda: vm.ReconfigVM_Task(change_tpm("remove")))
wait(snapshot.RemoveSnapshot_Task(removeChildren=False))
refused(vmodl.fault.ManagedObjectNotFound, lambda: snapshot.vm)
wait(vm.RemoveAllSnapshots_Task())

# Suspended, a VM goes on where it stopped: PCRs and all, without a startup. Nothing else is done with it meanwhile.
wait(vm.PowerOnVM_Task())
PCR = ("tpm2_pcrread", "sha256:16")
fresh = seal._tool("web", *PCR)
seal._tool("web", "tpm2_pcrextend", "16:sha256=" + "1" * 64)
extended = seal._tool("web", *PCR)
assert extended != fresh
wait(vm.SuspendVM_Task())
assert vm.runtime.powerState == "suspended" == vm.summary.runtime.powerState and show("web")["tpm"]["tcti"] is None
fault = refused(vim.fault.InvalidPowerState, vm.SuspendVM_Task)
assert (fault.requestedState, fault.existingState) == ("suspended", "suspended"), fault
fault = refused(vim.fault.InvalidPowerState, lambda: vm.ReconfigVM_Task(change_tpm("remove")))
assert fault.existingState == "suspended", fault
for work in (vm.ResetVM_Task, vm.Destroy_Task, vm.MarkAsTemplate, lambda: vm.CreateSnapshot_Task("no", "", True, False),
             lambda: vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=3)), vm.ShutdownGuest):
    refused(vim.fault.InvalidPowerState, work)
wait(vm.PowerOnVM_Task())
assert vm.runtime.powerState == "poweredOn" and seal._tool("web", *PCR) == extended and seal.opens_in("web")
# Off instead, it starts anew.
wait(vm.SuspendVM_Task())
wait(vm.PowerOffVM_Task())
wait(vm.PowerOnVM_Task())
assert seal._tool("web", *PCR) == fresh and seal.opens_in("web")
wait(vm.PowerOffVM_Task())
refused(vim.fault.InvalidPowerState, vm.SuspendVM_Task)

# One without a TPM has the same states, and snapshots.
plain = create(si, "plain", tpm=False)
wait(plain.PowerOnVM_Task())
first = wait(plain.CreateSnapshot_Task("first", "", False, False))
wait(plain.SuspendVM_Task())
wait(plain.PowerOnVM_Task())
wait(plain.PowerOffVM_Task())
second = wait(plain.CreateSnapshot_Task("second", "", False, False))
assert plain.snapshot.currentSnapshot == second and first.childSnapshot == [second]
wait(first.RevertToSnapshot_Task())
assert plain.runtime.powerState == "poweredOn" and plain.snapshot.currentSnapshot == first
wait(plain.PowerOffVM_Task())
wait(first.RemoveSnapshot_Task(removeChildren=True))
assert plain.snapshot is None
wait(plain.Destroy_Task())
assert vm.snapshot is None

# Without its TPM, and with a new one: the secret is lost.
wait(vm.ReconfigVM_Task(change_tpm("remove")))
assert not has_tpm(vm) and vm.config.keyId is None
refused(vim.fault.InvalidDeviceSpec, lambda: vm.ReconfigVM_Task(change_tpm("remove")))
wait(vm.ReconfigVM_Task(change_tpm("add")))
refused(vim.fault.InvalidDeviceSpec, lambda: vm.ReconfigVM_Task(change_tpm("add")))
wait(vm.PowerOnVM_Task())
assert not seal.opens_in("web") and seal.opens_in("copied")
wait(vm.ResetVM_Task())
wait(vm.PowerOffVM_Task())

# Keys: another one of the same provider, with the TPM as it was.
before, name_before = vm.config.keyId.keyId, ek("web")
key = vim.encryption.CryptoKeyId(keyId="", providerId=vim.encryption.KeyProviderId(id="vc01-nkp"))
wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecShallowRecrypt(newKeyId=key))))
shallow = vm.config.keyId.keyId
wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecDeepRecrypt(newKeyId=key))))
deep = vm.config.keyId.keyId
assert len({before, shallow, deep}) == 3 and ek("web") == name_before
wait(vm.CryptoUnlock_Task())

# Rules for a VM with a TPM.
refused(vim.fault.InvalidVmConfig, lambda: vm.parent.CreateVM_Task(config("bios", firmware="bios"), vm.resourcePool))
old = refused(vim.fault.DeviceUnsupportedForVmVersion, lambda: vm.parent.CreateVM_Task(config("old", version="vmx-13"), vm.resourcePool))
assert (old.currentVersion, old.expectedVersion) == ("vmx-13", "vmx-14"), old
guest = refused(vim.fault.UnsupportedGuest, lambda: vm.parent.CreateVM_Task(config("bsd", guestId="freebsd14_64Guest"), vm.resourcePool))
assert guest.unsupportedGuestOS == "freebsd14_64Guest", guest
refused(vim.fault.InvalidName, lambda: vm.parent.CreateVM_Task(config("../up"), vm.resourcePool))
refused(vim.fault.InvalidDatastore, lambda: vm.parent.CreateVM_Task(config("ds", files=vim.vm.FileInfo(vmPathName="[nowhere]")), vm.resourcePool))
names = {entity.name for entity in vm.parent.childEntity}
assert names == {"demo", "web", "copied", "replaced", "unset", "without"}, names

for other in (copied, replaced, unset):
    wait(other.PowerOffVM_Task())
for other in (copied, replaced, unset, gone, vm):
    wait(other.Destroy_Task())
refused(vmodl.fault.ManagedObjectNotFound, lambda: vm.name)
Disconnect(si)
refused(vim.fault.NotAuthenticated, lambda: content.rootFolder.name)
