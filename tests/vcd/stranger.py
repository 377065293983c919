"""What somebody does who knows pyvcloud and tpm2-tools and nothing of this repository: templates of both kinds, copies and moves, on a vCenter 7
and two of 8, by pyvcloud's own methods where it has them and by documents with its client where it has none."""

import json
import os
import subprocess
import tempfile

import urllib3
from pyvcloud.vcd.client import BasicLoginCredentials, Client, E, TaskStatus
from pyvcloud.vcd.exceptions import AccessForbiddenException, BadRequestException, ConflictException
from pyvcloud.vcd.org import Org
from pyvcloud.vcd.vapp import VApp
from pyvcloud.vcd.vdc import VDC
from pyvcloud.vcd.vm import VM

urllib3.disable_warnings()
DATA = ["--data", os.environ["VTPM_DATA"]]


def cli(*words, text=None):
    done = subprocess.run([os.environ["VTPM"], *words, *DATA], input=text, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


# Two vCenters 8 and one of 7. `red` and `blue` have the same keys and disks, `grey` has others.
for name, version in (("red", "8.0.3"), ("blue", "8.0.3"), ("grey", "7.0.3")):
    cli("vcenter", "add", name, "--version", version)
cli("vcenter", "trust", "red", "blue")
cli("vcenter", "trust", "red", "grey")
cli("datastore", "add", "san", "--vcenter", "red")
cli("datastore", "add", "san", "--vcenter", "blue")
cli("datastore", "add", "grey-disk", "--vcenter", "grey")
safe = os.path.join(tempfile.mkdtemp(), "backup")
for name, at, out in (("keys", "red", safe), ("other", "grey", safe + "2")):
    cli("provider", "add", name, "--vcenter", at, "--kind", "native", "--default")
    cli("provider", "backup", name, "--vcenter", at, "--out", out, "--password-stdin", text="for the safe\n")
cli("provider", "restore", safe, "--name", "keys", "--vcenter", "blue", "--default", "--password-stdin", text="for the safe\n")
cli("org", "add", "bakery")
cli("user", "add", "otto", "--org", "bakery", "--role", "administrator", "--password-stdin", text="twelve letters\n")
for name in ("red", "blue", "grey"):
    cli("vdc", "add", f"{name}-vdc", "--org", "bakery", "--vcenter", name)
    cli("catalog", "add", f"{name}-shelf", "--org", "bakery", "--vdc", f"{name}-vdc")

client = Client(os.environ["VCD_URL"], api_version="38.1", verify_ssl_certs=False, log_file=os.devnull)
client.set_credentials(BasicLoginCredentials("otto", "bakery", "twelve letters"))
org = Org(client, resource=client.get_org_by_name("Bakery"))
red, blue, grey = (VDC(client, resource=org.get_vdc(f"{name}-vdc")) for name in ("red", "blue", "grey"))


def wait(answer, status=TaskStatus.SUCCESS):
    task = answer.Tasks.Task[0] if hasattr(answer, "Tasks") else answer
    return client.get_task_monitor().wait_for_status(
        task, timeout=300, poll_frequency=0.1, fail_on_statuses=[] if status == TaskStatus.ERROR else [TaskStatus.ERROR],
        expected_target_statuses=[status])


def the_vapp(vdc, name):
    vdc.reload()
    return VApp(client, resource=vdc.get_vapp(name))


def the_vm(vdc, vapp, name):
    return VM(client, resource=the_vapp(vdc, vapp).get_vm(name))


def on(vm):
    vm.reload()
    if not vm.is_powered_on():
        wait(vm.power_on())
        vm.reload()
    return json.loads(cli("vm", "show", vm.get_resource().get("id"), "--json"))["tpm"]


KEPT = tempfile.mkdtemp()


def tpm(vm, script):
    environment = dict(os.environ, TPM2TOOLS_TCTI=on(vm)["tcti"])
    return subprocess.run(["sh", "-ec", script], cwd=KEPT, env=environment, capture_output=True, text=True)


PRIMARY = "tpm2_createprimary -Q -C o -c primary.ctx; "


def seal(vm, name):
    done = tpm(vm, PRIMARY + f"echo {name} | tpm2_create -Q -C primary.ctx -i - -u {name}.pub -r {name}.priv; tpm2_flushcontext -t")
    assert done.returncode == 0, done.stderr


def unseals(vm, name):
    return tpm(vm, PRIMARY + f"tpm2_load -Q -C primary.ctx -u {name}.pub -r {name}.priv -c n.ctx; tpm2_unseal -c n.ctx").stdout.strip() == name


def send(href, body, kind):
    return client.post_resource(href, body, f"application/vnd.vmware.vcloud.{kind}+xml")


def refused(kind, work):
    try:
        work()
    except kind as error:
        return error.vcd_error.get("message")
    raise AssertionError(f"no {kind.__name__}")


# VMs made by pyvcloud have no TPM; it is added by hand, while they are off.
for vdc, name in ((red, "oven"), (grey, "mill")):
    wait(vdc.create_vapp(name, accept_all_eulas=True))
    vapp = the_vapp(vdc, name)
    fresh = {"vm_name": f"{name}-vm", "comp_name": name, "os_type": "windows2019srv_64Guest"}
    wait(vapp.add_vm_from_scratch(fresh, power_on=True))
    vm = the_vm(vdc, name, f"{name}-vm")
    assert vm.is_powered_on()
    present = E.TrustedPlatformModule(E.TpmPresent("true"))
    refused(ConflictException, lambda: send(vm.href + "/action/editTrustedPlatformModule", present, "TpmSection"))
    wait(the_vapp(vdc, name).undeploy("powerOff"))
    wait(send(vm.href + "/action/editTrustedPlatformModule", present, "TpmSection"))
    seal(vm, name)
    wait(VM(client, href=vm.href).power_off())
print("VMs with TPMs on vCenter 8 and 7")


def clone(source, vdc, to, name, replace=None, vm=None):
    body = E.CloneVAppParams(E.Source(href=source.href), name=name, powerOn="false")
    if replace is not None:
        body.append(E.SourcedItem(E.Source(href=vm.href), E.ReplaceTpm(replace)))
    return wait(send(to.href + "/action/cloneVApp", body, "cloneVAppParams"))


oven, oven_vm = the_vapp(red, "oven"), the_vm(red, "oven", "oven-vm")
mill, mill_vm = the_vapp(grey, "mill"), the_vm(grey, "mill", "mill-vm")
for replace in ("true", None, "false"):
    clone(oven, red, red, f"oven {replace}", replace, oven_vm)
    assert unseals(the_vm(red, f"oven {replace}", "oven-vm"), "oven") == (replace != "true"), replace
wait(mill.copy_to(grey.href, "mill copy", ""))
assert unseals(the_vm(grey, "mill copy", "mill-vm"), "mill")
message = refused(BadRequestException, lambda: clone(mill, grey, grey, "mill new", "true", mill_vm))
assert "replace" in message, message
assert "mill new" not in {it["name"] for it in grey.list_resources()}
print("copies: replace on 8 alone")

# Templates of both kinds, on both.
for vdc, vapp, sealed, shelf in ((red, oven, "oven", "red-shelf"), (grey, mill, "mill", "grey-shelf")):
    vapp.reload()
    if not vapp.is_powered_off():
        wait(vapp.undeploy("powerOff"))
    for choice in ("false", "true", None):
        body = E.CaptureVAppParams(E.Source(href=vapp.href), name=f"{sealed} {choice}")
        if choice:
            body.append(E.CopyTpmOnInstantiate(choice))
        wait(send(org.get_catalog(shelf).get("href") + "/action/captureVApp", body, "captureVAppParams"))
        org.reload()
        wait(vdc.instantiate_vapp(f"{sealed} of {choice}", shelf, f"{sealed} {choice}", deploy=False, power_on=False))
        instance = the_vm(vdc, f"{sealed} of {choice}", f"{sealed}-vm")
        assert unseals(instance, sealed) == (choice != "false"), (sealed, choice)
        wait(VM(client, href=instance.href).power_off())
        found = client.get_resource(org.get_vapp_template_href(shelf, f"{sealed} {choice}"))
        assert (found.CopyTpmOnInstantiate.text == "true") == (choice != "false")
        against = E.InstantiateVAppTemplateParams(
            E.Source(href=found.get("href")),
            E.SourcedItem(E.Source(href=found.Children.Vm[0].get("href")), E.ReplaceTpm("false" if choice == "false" else "true")), name="against")
        refused(BadRequestException, lambda: send(vdc.href + "/action/instantiateVAppTemplate", against, "instantiateVAppTemplateParams"))
print("templates that copy and that replace, on vCenter 8 and 7")

# Across vCenters: blue has the keys and the disks, grey has neither. A template that replaces needs neither.
wait(the_vapp(red, "oven of true").move_to(blue.href))
assert unseals(the_vm(blue, "oven of true", "oven-vm"), "oven")
red.reload()
assert "oven of true" not in {it["name"] for it in red.list_resources()}
error = refused(BadRequestException, lambda: the_vapp(red, "oven").copy_to(grey.href, "far", ""))
assert "keys" in error and "grey" in error, error
refused(BadRequestException, lambda: the_vapp(red, "oven").move_to(grey.href))
body = E.MoveVAppParams(E.Source(href=oven.href))
refused(BadRequestException, lambda: send(grey.href + "/action/moveVApp", body, "moveVAppParams"))
refused(BadRequestException, lambda: grey.instantiate_vapp("far", "red-shelf", "oven true", deploy=False, power_on=False))
wait(grey.instantiate_vapp("near", "red-shelf", "oven false", deploy=False, power_on=False))
assert on(the_vm(grey, "near", "oven-vm"))["origin"] == "replace" and not unseals(the_vm(grey, "near", "oven-vm"), "oven")
body = E.MoveVAppParams(E.Source(href=the_vapp(red, "oven of None").href))
wait(send(blue.href + "/action/moveVApp", body, "moveVAppParams"))
assert unseals(the_vm(blue, "oven of None", "oven-vm"), "oven")
assert unseals(oven_vm, "oven")
print("moves: where the provider is, and not where it is not")

# What is not there.
refused(AccessForbiddenException, lambda: client.get_resource(oven.href[:-36] + "00000000-0000-4000-8000-000000000000"))
wait(oven_vm.power_off())
wait(red.delete_vapp("oven", force=True))
refused(AccessForbiddenException, lambda: client.get_resource(oven.href))
client.logout()
