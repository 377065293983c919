"""What the scripts of this folder share: a daemon that runs already, clients of its API, and looks at TPMs."""

import hashlib
import json
import os
import subprocess
import tempfile

import requests
import urllib3
from lxml import etree
from pyvcloud.vcd.client import E, BasicLoginCredentials, Client, EntityType, QueryResultFormat
from pyvcloud.vcd.exceptions import VcdResponseException
from pyvcloud.vcd.org import Org
from pyvcloud.vcd.vapp import VApp
from pyvcloud.vcd.vdc import VDC
from pyvcloud.vcd.vm import VM

urllib3.disable_warnings()

VTPM = os.environ["VTPM"]
DATA = os.environ["VTPM_DATA"]
URL = os.environ["VCD_URL"]
ADMINISTRATOR = os.environ["VCD_PASSWORD"]
PASSWORD = "a long password"
NAMESPACE = "http://www.vmware.com/vcloud/v1.5"
# The first of these has no word for TPMs, the second has.
OLD, NEW = "36.0", "38.1"


def vtpm(*arguments, text=None, refused=False):
    """Runs a verb of vtpm against the daemon and gives what it says."""
    done = subprocess.run(
        [VTPM, *arguments, "--data", DATA],
        input=text, capture_output=True, text=True, timeout=300,
    )
    assert (done.returncode != 0) == refused, (arguments, done.stdout, done.stderr)
    return done.stderr if refused else done.stdout


def organization(name, *vdcs, user="ann", role="administrator"):
    """An organization with a user and virtual data centers, each `NAME=VCENTER` or with `/DATASTORE` behind."""
    vtpm("org", "add", name)
    vtpm("user", "add", user, "--org", name, "--role", role, "--password-stdin", text=PASSWORD + "\n")
    for vdc in vdcs:
        own, vcenter = vdc.split("=")
        vtpm("vdc", "add", own, "--org", name, "--vcenter", vcenter)


def vcenter(name, version, datastore=None):
    """A vCenter with a datastore and a native key provider of its own."""
    vtpm("vcenter", "add", name, "--version", version)
    vtpm("datastore", "add", datastore or f"{name}-disk", "--vcenter", name)


def provider(name, at):
    """A native key provider, backed up, the default of its vCenter. Gives the backup and its password."""
    vtpm("provider", "create", name, "--vcenter", at, "--default")
    out = os.path.join(tempfile.mkdtemp(), "backup.p12")
    vtpm("provider", "backup", name, "--vcenter", at, "--out", out, "--password-stdin", text=PASSWORD + "\n")
    return out


def log_in(user="ann", org="acme", version=None, password=PASSWORD):
    client = Client(URL, api_version=version, verify_ssl_certs=False, log_file=os.devnull)
    client.set_credentials(BasicLoginCredentials(user, org, password))
    return client


def vdc(client, name="vdc1"):
    return VDC(client, resource=Org(client, resource=client.get_org()).get_vdc(name))


def catalog(client, name="shelf"):
    org = Org(client, resource=client.get_org())
    return org, org.get_catalog(name)


def done(client, result):
    """Waits for the task of an answer, as it is or within something that is being made."""
    task = result.Tasks.Task[0] if hasattr(result, "Tasks") else result
    return client.get_task_monitor().wait_for_success(task, poll_frequency=0.1)


def refused(status, code, work, *words):
    """The work is refused with this status and word, and the message holds these words."""
    try:
        result = work()
    except VcdResponseException as error:
        message = error.vcd_error.get("message")
        assert error.status_code == status, (error.status_code, message)
        assert error.vcd_error.get("minorErrorCode") == code, error.vcd_error.get("minorErrorCode")
        assert error.vcd_error.get("majorErrorCode") == str(status)
        for word in words:
            assert word in message, (word, message)
        return message
    raise AssertionError(f"it was not refused: {etree.tostring(result) if result is not None else None}")


def post(client, href, body, kind):
    return client.post_resource(href, body, f"application/vnd.vmware.vcloud.{kind}+xml")


def compose(client, into, name, *vms, tpm=True, sources=(), power=False):
    """A vApp of new VMs, with TPMs if so, and of what is like others."""
    body = E.ComposeVAppParams(name=name, powerOn="true" if power else "false")
    for source in sources:
        body.append(source)
    for vm in vms:
        item = E.CreateItem(E.VmSpecSection(E.OsType("ubuntu64Guest")), name=vm)
        if tpm:
            item.append(E.TrustedPlatformModule(E.TpmPresent("true")))
        body.append(item)
    made = post(client, into.href + "/action/composeVApp", body, "composeVAppParams")
    done(client, made)
    return vapp(client, into, name)


def vapp(client, into, name):
    into.reload()
    return VApp(client, resource=into.get_vapp(name))


def item(href, name=None, replace=None, **attributes):
    """A SourcedItem."""
    it = E.SourcedItem(E.Source(href=href), **attributes)
    if name is not None:
        it.append(E.VmGeneralParams(E.Name(name)))
    if replace is not None:
        it.append(E.ReplaceTpm("true" if replace else "false"))
    return it


def clone(client, into, source, name, *items, deletes=False):
    body = E.CloneVAppParams(E.Source(href=source.resource.get("href")), name=name)
    if deletes:
        body.append(E.IsSourceDelete("true"))
    for it in items:
        body.append(it)
    return post(client, into.href + "/action/cloneVApp", body, "cloneVAppParams")


def children(app):
    """The VMs of a vApp or template, by name."""
    app.reload()
    return {vm.get("name"): vm for vm in app.get_all_vms()}


def identity(href):
    """The identifier at the end of an address."""
    return href[-36:]


class Tpm:
    """The TPM of a VM that is powered on for as long as somebody looks."""

    def __init__(self, vm):
        self.vm = identity(vm.get("href"))

    def __enter__(self):
        shown = json.loads(vtpm("vm", "show", self.vm, "--json"))
        self.was_on = shown["power"] == "on"
        if not self.was_on:
            vtpm("vm", "start", self.vm)
            shown = json.loads(vtpm("vm", "show", self.vm, "--json"))
        self.folder = tempfile.TemporaryDirectory()
        self.environment = dict(os.environ, TPM2TOOLS_TCTI=shown["tpm"]["tcti"], HOME=self.folder.name)
        return self

    def __exit__(self, *_):
        if not self.was_on:
            vtpm("vm", "stop", self.vm)
        self.folder.cleanup()

    def run(self, script, check=True, text=None):
        done = subprocess.run(
            ["bash", "-ec", script], cwd=self.folder.name, env=self.environment,
            input=text, capture_output=True, text=True, timeout=300,
        )
        assert not check or done.returncode == 0, (script, done.stdout, done.stderr)
        return done

    def endorsement_key(self):
        """Digest of the endorsement key's public area."""
        self.run("tpm2_createek -Q -G ecc -c ek.ctx -u ek.pub && tpm2_flushcontext -t")
        with open(os.path.join(self.folder.name, "ek.pub"), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()


SEALED = {}


def seal(vm):
    """Seals a secret to the VM's TPM and writes another into it; gives its endorsement key."""
    with Tpm(vm) as tpm:
        tpm.run(
            "tpm2_createprimary -Q -G ecc -C o -c primary.ctx\n"
            "printf 'open sesame' | tpm2_create -Q -C primary.ctx -u sealed.pub -r sealed.priv -i -\n"
            "tpm2_flushcontext -t\n"
            "tpm2_nvdefine -Q -C o -s 8 0x1500016\n"
            "printf 12345678 | tpm2_nvwrite -Q -C o -i - 0x1500016"
        )
        parts = []
        for name in ("sealed.pub", "sealed.priv"):
            with open(os.path.join(tpm.folder.name, name), "rb") as file:
                parts.append(file.read())
        key = tpm.endorsement_key()
    SEALED[key] = parts
    return key


def look(vm, sealed_by):
    """What the VM's TPM is: `same` as the one that sealed, or `new`; anything between is an error. With its endorsement key."""
    with Tpm(vm) as tpm:
        key = tpm.endorsement_key()
        for name, part in zip(("sealed.pub", "sealed.priv"), SEALED[sealed_by]):
            with open(os.path.join(tpm.folder.name, name), "wb") as file:
                file.write(part)
        unseals = tpm.run(
            "tpm2_createprimary -Q -G ecc -C o -c primary.ctx\n"
            "tpm2_load -Q -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx\n"
            "test \"$(tpm2_unseal -c sealed.ctx)\" = 'open sesame'",
            check=False,
        ).returncode == 0
        tpm.run("tpm2_flushcontext -t", check=False)
        remembers = tpm.run("tpm2_nvread -C o 0x1500016", check=False).stdout == "12345678"
    found = {key == sealed_by, unseals, remembers}
    assert len(found) == 1, (key == sealed_by, unseals, remembers)
    return ("same" if found.pop() else "new"), key


def has_tpm(client, vm):
    """What the TrustedPlatformModule section of a VM says."""
    resource = client.get_resource(vm.get("href"))
    section = client.get_resource(vm.get("href") + "/trustedPlatformModule")
    assert resource.TrustedPlatformModule.TpmPresent.text == section.TpmPresent.text
    return section.TpmPresent.text == "true"


def edit_tpm(client, vm, present):
    body = E.TrustedPlatformModule(E.TpmPresent("true" if present else "false"))
    return post(client, vm.get("href") + "/action/editTrustedPlatformModule", body, "TpmSection")


def capture(client, shelf, source, name, copy=None):
    body = E.CaptureVAppParams(E.Source(href=source), name=name)
    if copy is not None:
        body.append(E.CopyTpmOnInstantiate("true" if copy else "false"))
    return post(client, shelf.get("href") + "/action/captureVApp", body, "captureVAppParams")


def template(client, name, shelf="shelf"):
    org, _ = catalog(client, shelf)
    return client.get_resource(org.get_catalog_item(shelf, name).Entity.get("href"))


def instantiate(client, into, source, name, *items):
    body = E.InstantiateVAppTemplateParams(E.Source(href=source.get("href")), name=name)
    for it in items:
        body.append(it)
    href = into.href + "/action/instantiateVAppTemplate"
    return post(client, href, body, "instantiateVAppTemplateParams")


def records(client, kind, **more):
    """The records that a query finds."""
    return list(client.get_typed_query(kind, query_result_format=QueryResultFormat.ID_RECORDS, **more).execute())


def raw(method, path, token=None, version=NEW, kind="xml", **more):
    """A request by hand."""
    headers = {"Accept": f"application/*+{kind};version={version}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    headers.update(more.pop("headers", {}))
    href = path if path.startswith("http") else URL + path
    return requests.request(method, href, headers=headers, verify=False, timeout=300, **more)


def everything():
    """All files of datastores and what the inventory lists, to see whether anything changed."""
    state = {}
    for folder, _, files in os.walk(os.path.join(DATA, "datastores")):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                state[path] = hashlib.sha256(file.read()).hexdigest()
    for what in ("vapp", "template", "catalog"):
        state[what] = vtpm(what, "list", "--json")
    state["vm"] = [(vm["id"], vm["name"], vm["power"], vm["tpm"]["present"]) for vm in json.loads(vtpm("vm", "list", "--json"))]
    return state


def said(line):
    print("ok:", line, flush=True)
