"""A package is uploaded as pyvcloud does it: descriptor, then files; its template makes new TPMs."""

import tarfile
import time

from world import *

organization("acme", "vdc1=vc01")
organization("evil", "vdc1=vc01", user="eve")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")
client = log_in(version=NEW)
here = vdc(client)
shop = compose(client, here, "shop", "web")
key = seal(children(shop)["web"])
shown = json.loads(vtpm("vm", "show", identity(children(shop)["web"].get("href")), "--json"))
disk = bytes(range(256)) * 500 + b"end"
place = os.path.join(DATA, "datastores", shown["datastore"], shown["folder"])
with open(os.path.join(place, "web-1.vmdk"), "wb") as file:
    file.write(disk)
folder = tempfile.mkdtemp()
ova = os.path.join(folder, "shop.ova")
vtpm("vapp", "export", "shop", "--to", ova)

org, shelf = catalog(client)
os.chdir(folder)
sent = []
org.upload_ovf("shelf", ova, item_name="uploaded", chunk_size=50_000, callback=lambda done, total: sent.append((done, total)))
assert sent[-1][0] == sent[-1][1] and len(sent) >= 3, sent


def entry(name):
    """The entry of the catalog, when its task has ended."""
    deadline = time.monotonic() + 3000
    while time.monotonic() < deadline:
        org.reload()
        if name in [it["name"] for it in org.list_catalog_items("shelf")]:
            return template(client, name)
        time.sleep(0.1)
    raise AssertionError(f"no template {name}")


gold = entry("uploaded")
assert gold.CopyTpmOnInstantiate.text == "false" and gold.Children.Vm.TrustedPlatformModule.TpmPresent.text == "true"
done(client, instantiate(client, here, gold, "instance"))
assert look(children(vapp(client, here, "instance"))["web"], key)[0] == "new"
shown = json.loads(vtpm("vm", "show", identity(children(vapp(client, here, "instance"))["web"].get("href")), "--json"))
place = os.path.join(DATA, "datastores", shown["datastore"], shown["folder"])
disks = [name for name in os.listdir(place) if name.endswith(".vmdk")]
assert len(disks) == 1
with open(os.path.join(place, disks[0]), "rb") as file:
    assert file.read() == disk
said("upload a package in pieces; its instances have new TPMs and its disks")

# What goes wrong leaves nothing.
token = client.get_access_token()
before = everything()
with tarfile.open(ova) as archive:
    members = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
descriptor = next(text for name, text in members.items() if name.endswith(".ovf"))
first = etree.fromstring(descriptor).find(".//{*}References/{*}File")
name = first.get("{http://schemas.dmtf.org/ovf/envelope/1}href")


def begin(item):
    body = E.UploadVAppTemplateParams(name=item)
    answer = post(client, shelf.get("href") + "/action/upload", body, "uploadVAppTemplateParams")
    return answer.Entity.get("href")


def files(href):
    return {it.get("name"): it.Link.get("href") for it in client.get_resource(href).Files.File}


def put(href, data, who=token, **headers):
    return raw("PUT", href, who, data=data, headers=headers)


refused(400, "DUPLICATE_NAME", lambda: begin("uploaded"))
href = begin("cut")
to = files(href)["descriptor.ovf"]
eve = log_in("eve", "evil", NEW).get_access_token()
assert put(to, descriptor, eve).status_code == 403 and put(to, descriptor, None).status_code == 401
assert put(to, descriptor).status_code == 200
data = members[name]
target = files(href)[name]
assert put(target, data[:10], **{"Content-Range": f"bytes 5-14/{len(data)}"}).status_code == 416
assert put(target, data[:10], **{"Content-Range": f"bytes 0-9/{len(data)}"}).status_code == 200
assert put(target, data[:10], **{"Content-Range": f"bytes 0-9/{len(data)}"}).status_code == 416
answer = put(target, data + b"more", **{"Content-Range": f"bytes 10-{len(data) + 10}/{len(data)}"})
assert answer.status_code == 400 and "longer" in answer.text, answer.text
refused(400, "BAD_REQUEST", lambda: client.get_resource(href))
for bad in (b"", b"<", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", descriptor.replace(b"vmware.vtpm", b"vmware.vtpm").replace(b"<", b"<!", 1)):
    href = begin("bad")
    assert put(files(href)["descriptor.ovf"], bad).status_code == 400, bad
    refused(400, "BAD_REQUEST", lambda: client.get_resource(href))
deadline = time.monotonic() + 300
while everything() != before:
    assert time.monotonic() < deadline, "something is left"
    time.sleep(0.1)
said("packages that are cut, too long, foreign or no packages leave nothing")
