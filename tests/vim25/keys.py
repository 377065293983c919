"""A standard key provider: registered, trusted both ways, used, re-keyed, lost and found again.

VTPM_KMIP is the port of a PyKMIP server; the folder VTPM_CERTS has client.pem and client.key, which it takes.
"""

from place import *

si = connect("vc01")
content = si.RetrieveContent()
manager = content.cryptoManager
Key, Provider = vim.encryption.CryptoKeyId, vim.encryption.KeyProviderId
kms = Provider(id="kms")
port = int(os.environ["VTPM_KMIP"])
certs = os.environ["VTPM_CERTS"]


def read(name):
    with open(os.path.join(certs, name)) as file:
        return file.read()


assert manager.enabled and not manager.ListKmipServers()
native = manager.ListKmsClusters()[0]
assert native.clusterId.id == "vc01-nkp" and native.useAsDefault and native.managementType == "nativeProvider"
assert manager.GenerateKey(native.clusterId).success is False
refused(vmodl.fault.InvalidArgument, lambda: manager.MarkDefault(kms))

server = vim.encryption.KmipServerInfo(name="first", address=HOST, port=port)
spec = vim.encryption.KmipServerSpec(clusterId=kms, info=server)
manager.RegisterKmipServer(spec)
refused(vim.fault.AlreadyExists, lambda: manager.RegisterKmipServer(spec))
[cluster] = manager.ListKmipServers()
assert cluster.clusterId.id == "kms" and cluster.servers[0].name == "first" and cluster.servers[0].port == port
assert not manager.IsKmsClusterActive(kms)
wait_status = lambda: wait(manager.RetrieveKmipServersStatus_Task([cluster]))[0]
assert wait_status().overallStatus == "red"

# Trust, both ways.
shown = manager.RetrieveKmipServerCert(kms, server)
assert not shown.clientTrustServer and shown.certificate.startswith("-----BEGIN CERTIFICATE-----")
refused(vmodl.fault.InvalidArgument, lambda: manager.UploadKmipServerCert(kms, "nonsense"))
manager.UploadKmipServerCert(kms, shown.certificate)
assert manager.RetrieveKmipServerCert(kms, server).clientTrustServer
request = manager.GenerateClientCsr(kms)
assert request.startswith("-----BEGIN CERTIFICATE REQUEST-----") and manager.RetrieveClientCsr(kms) == request
own = manager.GenerateSelfSignedClientCert(kms)
assert manager.RetrieveSelfSignedClientCert(kms) == own
manager.UpdateSelfSignedClientCert(kms, own)
refused(vmodl.fault.InvalidArgument, lambda: manager.UploadClientCert(kms, own, read("client.key")))
manager.UploadClientCert(kms, read("client.pem"), read("client.key"))
status = wait_status()
assert status.overallStatus == "green" and status.servers[0].connectionStatus, status
assert manager.IsKmsClusterActive(kms)
manager.MarkDefault(kms)
assert manager.GetDefaultKmsCluster().id == "kms"

# Keys by name.
made = manager.GenerateKey(kms)
assert made.success and made.keyId.providerId.id == "kms", made
encrypt = vim.encryption.CryptoSpecEncrypt(cryptoKeyId=made.keyId)
vm = create(si, "locked", crypto=encrypt)
assert vm.config.keyId.keyId == made.keyId.keyId and vm.config.keyId.providerId.id == "kms"
assert made.keyId.keyId in [key.keyId for key in manager.ListKeys()]
[status] = manager.QueryCryptoKeyStatus([made.keyId], 3)
assert status.keyAvailable and status.encryptedVMs == [vm], status
missing = Key(keyId="987654", providerId=kms)
[status] = manager.QueryCryptoKeyStatus([missing], 1)
assert not status.keyAvailable and status.reason == "KeyStateMissingInKMS", status
name = ek("locked")
shallow = vim.encryption.CryptoSpecShallowRecrypt(newKeyId=missing)
error = refused(vim.fault.KeyNotFound, lambda: vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=shallow)))
assert error.key == missing.keyId and vm.config.keyId.keyId == made.keyId.keyId, error
refused(vim.fault.KeyNotFound, lambda: vm.parent.CreateVM_Task(
    config("nokey", crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=missing)), vm.resourcePool))
assert content.searchIndex.FindChild(vm.parent, "nokey") is None
other = manager.GenerateKey(kms).keyId
wait(vm.PowerOnVM_Task())
wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecShallowRecrypt(newKeyId=other))))
assert vm.config.keyId.keyId == other.keyId and ek("locked") == name
deep = vim.vm.ConfigSpec(crypto=vim.encryption.CryptoSpecDeepRecrypt(newKeyId=Key(keyId="", providerId=kms)))
refused(vim.fault.InvalidPowerState, lambda: vm.ReconfigVM_Task(deep))
wait(vm.PowerOffVM_Task())
wait(vm.ReconfigVM_Task(deep))
assert vm.config.keyId.keyId not in (other.keyId, made.keyId.keyId) and ek("locked") == name
refused(vim.fault.ResourceInUse, lambda: manager.RemoveKmipServer(kms, "first"))
refused(vim.fault.ResourceInUse, lambda: manager.UnregisterKmsCluster(kms))

# The address of the server is wrong for a while: the key cannot be had, the VM locks; then it is right again.
away = vim.encryption.KmipServerInfo(name="first", address=HOST, port=1)
manager.UpdateKmipServer(vim.encryption.KmipServerSpec(clusterId=kms, info=away))
fault = refused(vim.fault.EncryptionKeyRequired, vm.PowerOnVM_Task)
assert [(key.keyId, key.providerId.id) for key in fault.requiredKey] == [(vm.config.keyId.keyId, "kms")], fault
assert vm.runtime.cryptoState == "locked" and vm.runtime.connectionState == "invalid"
refused(vim.fault.EncryptionKeyRequired, vm.CryptoUnlock_Task)
manager.UpdateKmipServer(spec)
wait(vm.CryptoUnlock_Task())
assert vm.runtime.cryptoState == "unlocked"
wait(vm.PowerOnVM_Task())
assert ek("locked") == name
wait(vm.PowerOffVM_Task())
wait(vm.Destroy_Task())
manager.RemoveKmipServer(kms, "first")
assert not manager.ListKmipServers() and manager.GetDefaultKmsCluster() is None
Disconnect(si)
