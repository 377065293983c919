"""VMs that are encrypted for themselves: made so, encrypted later, re-keyed, cloned, given a TPM and robbed of it, decrypted."""

from pyVmomi import vim, vmodl

from place import change_tpm, clone_spec, connect, create, has_tpm, refused, show, vm_of, vtpm, wait


def key(provider="", key_id=""):
    return vim.encryption.CryptoKeyId(keyId=key_id, providerId=vim.encryption.KeyProviderId(id=provider) if provider else None)


def encrypt(provider="", key_id=""):
    return vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=key(provider, key_id)))


DECRYPT = vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecDecrypt())


def shallow(provider="", key_id=""):
    return vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecShallowRecrypt(newKeyId=key(provider, key_id)))


def deep(provider="", key_id=""):
    return vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecDeepRecrypt(newKeyId=key(provider, key_id)))


def in_use(si, provider):
    """A provider that VMs need is not removed, whether they are registered or not."""
    try:
        si.content.cryptoManager.UnregisterKmsCluster(clusterId=vim.encryption.KeyProviderId(id=provider))
    except vmodl.MethodFault as error:
        assert "1 VMs" in error.msg, error.msg
        return
    raise AssertionError("the provider was removed")


si = connect("vc01")
provider = si.content.cryptoManager.ListKmsClusters()[0].clusterId.id
vm = create(si, "plain", tpm=False)
assert vm.config.keyId is None and vm.runtime.cryptoState is None

# Encrypted: a key, no TPM.
refused(vim.fault.InvalidState, lambda: vm.ReconfigVM_Task(DECRYPT))
refused(vim.fault.InvalidState, lambda: vm.ReconfigVM_Task(shallow()))
wait(vm.ReconfigVM_Task(encrypt()))
first = vm.config.keyId
assert first.providerId.id == provider and first.keyId, first
assert vm.runtime.cryptoState == "unlocked" and not has_tpm(vm)
refused(vim.fault.InvalidState, lambda: vm.ReconfigVM_Task(encrypt()))
told = show("plain")
assert told["encrypted"] and not told["tpm"]["present"] and told["provider"] == provider, told

# It is powered on and off, and re-keyed in each state that allows it.
wait(vm.PowerOnVM_Task())
wait(vm.ReconfigVM_Task(shallow()))
second = vm.config.keyId.keyId
assert second != first.keyId
refused(vim.fault.InvalidPowerState, lambda: vm.ReconfigVM_Task(deep()))
refused(vim.fault.InvalidPowerState, lambda: vm.ReconfigVM_Task(DECRYPT))
wait(vm.PowerOffVM_Task())
wait(vm.ReconfigVM_Task(deep()))
assert vm.config.keyId.keyId not in (first.keyId, second)

# A clone is encrypted under the key of its source.
copy = wait(vm.CloneVM_Task(folder=vm.parent, name="copy", spec=clone_spec()))
assert copy.config.keyId.keyId == vm.config.keyId.keyId and not has_tpm(copy)
replaced = wait(vm.CloneVM_Task(folder=vm.parent, name="replaced", spec=clone_spec(tpmProvisionPolicy="replace")))
assert replaced.config.keyId is not None and not has_tpm(replaced)

# A TPM comes and goes; the VM keeps its key and stays encrypted.
kept = copy.config.keyId.keyId
wait(copy.ReconfigVM_Task(change_tpm("add")))
assert has_tpm(copy) and copy.config.keyId.keyId == kept
ek = show("copy")["tpm"]["ek_name"]
wait(copy.PowerOnVM_Task())
assert show("copy")["tpm"]["tcti"]
wait(copy.PowerOffVM_Task())
refused(vim.fault.InvalidState, lambda: copy.ReconfigVM_Task(DECRYPT))
twin = wait(copy.CloneVM_Task(folder=copy.parent, name="twin", spec=clone_spec(tpmProvisionPolicy="copy")))
assert has_tpm(twin) and show("twin")["tpm"]["ek_name"] == ek and show("twin")["encrypted"]
wait(twin.ReconfigVM_Task(deep()))
wait(twin.PowerOnVM_Task())
wait(twin.PowerOffVM_Task())
wait(copy.ReconfigVM_Task(change_tpm("remove")))
assert not has_tpm(copy) and copy.config.keyId.keyId == kept and copy.runtime.cryptoState == "unlocked"
wait(copy.ReconfigVM_Task(change_tpm("add")))
assert show("copy")["tpm"]["ek_name"] != ek
both = change_tpm("remove")
both.crypto = vim.encryption.CryptoSpecDecrypt()
wait(copy.ReconfigVM_Task(both))
assert copy.config.keyId is None and not has_tpm(copy)

# Unregistered, it still needs its provider, and comes back encrypted.
path = vm.config.files.vmPathName
pool, folder = vm.resourcePool or si.content.rootFolder.childEntity[0].hostFolder.childEntity[0].resourcePool, vm.parent
wait(twin.Destroy_Task())
wait(replaced.Destroy_Task())
wait(vm_of(si, "demo").PowerOffVM_Task())
wait(vm_of(si, "demo").Destroy_Task())
held = vm.config.keyId.keyId
vm.UnregisterVM()
for other in ("copy", ):
    wait(vm_of(si, other).Destroy_Task())
in_use(si, provider)
vm = wait(folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool))
assert vm.config.keyId.keyId == held and show("plain")["encrypted"]

# Decrypted, it has no key.
wait(vm.ReconfigVM_Task(DECRYPT))
assert vm.config.keyId is None and vm.runtime.cryptoState is None and not show("plain")["encrypted"]

# One that is encrypted from the beginning, under a key that is named; on the command line too.
spec = dict(crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=key(provider, held)))
made = create(si, "made", tpm=False, **spec)
assert made.config.keyId.keyId == held and not has_tpm(made)
refused(vim.fault.NotFound, lambda: vm.ReconfigVM_Task(encrypt("nobody")))
assert vm.config.keyId is None
vtpm("vm", "encrypt", "plain", "--provider", provider)
assert "for itself" in vtpm("vm", "show", "plain")
vtpm("vm", "encrypt", "plain", refused=True)
vtpm("vm", "decrypt", "plain")
vtpm("vm", "decrypt", "plain", refused=True)
