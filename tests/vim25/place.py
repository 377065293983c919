"""What the scripts share: logging in, waiting, looking at TPMs with tpm2-tools.

VTPM is the program under test, VTPM_DATA the daemon's folder, VTPM_PORT its listener.
"""

import json
import os
import ssl
import subprocess
import tempfile

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import VmomiSupport, vim, vmodl

HOST = "127.0.0.1"
PORT = int(os.environ["VTPM_PORT"])
USER = "administrator@vsphere.local"
PASSWORD = os.environ["VTPM_ADMIN_PASSWORD"]


def connect(vcenter, user=USER, password=PASSWORD):
    return SmartConnect(host=HOST, port=PORT, path=f"/{vcenter}/sdk", user=user, pwd=password,
                        disableSslCertValidation=True)


def vtpm(*arguments, stdin=None, refused=False):
    """Runs a verb of the command line."""
    done = subprocess.run([os.environ["VTPM"], *arguments], input=stdin, capture_output=True, text=True)
    assert (done.returncode != 0) == refused, (arguments, done.stdout, done.stderr)
    return done.stdout


def show(vm):
    return json.loads(vtpm("vm", "show", vm, "--json"))


def ek(vm):
    """Name of the endorsement key, by the inventory."""
    return show(vm)["tpm"]["ek_name"]


def vm_of(si, name):
    found = si.content.searchIndex.FindByInventoryPath(f"Datacenter/vm/{name}")
    assert found is not None, name
    return found


def wait(task):
    """The result of a task; raises its fault."""
    WaitForTask(task, si=None)
    return task.info.result


def refused(fault, call):
    """Checks that a call, or the task that it begins, ends in this very fault, and gives the fault."""
    try:
        outcome = call()
        if isinstance(outcome, vim.Task):
            WaitForTask(outcome)
    except vmodl.MethodFault as error:
        assert type(error) is fault, (type(error), error.msg)
        return error
    raise AssertionError(f"{fault} was expected")


def config(name, tpm=True, **more):
    devices = []
    if tpm:
        devices = [vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualTPM(key=-1))]
    fields = dict(name=name, guestId="ubuntu64Guest", firmware="efi", numCPUs=2, memoryMB=2048, deviceChange=devices)
    fields.update(more)
    return vim.vm.ConfigSpec(**fields)


def create(si, name, **more):
    content = si.RetrieveContent()
    datacenter = content.rootFolder.childEntity[0]
    pool = datacenter.hostFolder.childEntity[0].resourcePool
    return wait(datacenter.vmFolder.CreateVM_Task(config=config(name, **more), pool=pool))


def change_tpm(operation):
    device = vim.vm.device.VirtualTPM(key=-1 if operation == "add" else 11000)
    return vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)])


def clone_spec(**more):
    fields = dict(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    fields.update(more)
    return vim.vm.CloneSpec(**fields)


def has_tpm(vm):
    return any(isinstance(device, vim.vm.device.VirtualTPM) for device in vm.config.hardware.device)


class Seal:
    """A secret sealed to the TPM of a VM that is on."""

    def __init__(self, vm):
        self.folder = tempfile.mkdtemp(prefix="vtpm-seal-")
        with open(self.path("secret"), "w") as file:
            file.write("only here")
        self._tool(vm, "tpm2_createprimary", "-Q", "-C", "o", "-c", self.path("primary"))
        self._tool(vm, "tpm2_create", "-Q", "-C", self.path("primary"), "-i", self.path("secret"),
                   "-u", self.path("public"), "-r", self.path("private"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def _tool(self, vm, *command):
        tcti = show(vm)["tpm"]["tcti"]
        assert tcti, f"{vm} is off"
        done = subprocess.run(command, env={**os.environ, "TPM2TOOLS_TCTI": tcti}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def opens_in(self, vm):
        """Whether the TPM of a VM that is on opens it."""
        try:
            self._tool(vm, "tpm2_createprimary", "-Q", "-C", "o", "-c", self.path("again"))
            self._tool(vm, "tpm2_load", "-Q", "-C", self.path("again"), "-u", self.path("public"),
                       "-r", self.path("private"), "-c", self.path("loaded"))
            return self._tool(vm, "tpm2_unseal", "-c", self.path("loaded")) == "only here"
        except RuntimeError:
            return False


def service_locator(vcenter, user=USER, password=PASSWORD):
    """The other vCenter, as a request names it."""
    there = connect(vcenter)
    uuid = there.content.about.instanceUuid
    Disconnect(there)
    return vim.ServiceLocator(
        url=f"https://{HOST}:{PORT}/{vcenter}/sdk",
        instanceUuid=uuid,
        credential=vim.ServiceLocatorNamePassword(username=user, password=password),
    )


def unverified():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
