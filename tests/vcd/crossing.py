"""From one vCenter to another, with and without the key provider, and VMs of a vCenter."""

from lxml import objectify
from pyvcloud.vcd.platform import Platform

from world import *

vcenter("vc02", "8.0.3")
backup = provider("shared", "vc01")
own = provider("own", "vc02")
organization("acme", "vdc1=vc01", "vdc2=vc02")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")
client = log_in(version=NEW)
here, there = vdc(client, "vdc1"), vdc(client, "vdc2")
shop = compose(client, here, "shop", "web")
web = children(shop)["web"]
key = seal(web)
_, shelf = catalog(client)
done(client, capture(client, shelf, shop.href, "copies", True))
done(client, capture(client, shelf, shop.href, "replaces", False))


def moves(api):
    source = vapp(client, here, "shop")
    if not api:
        return clone(client, there, source, "shop", deletes=True)
    body = E.MoveVAppParams(E.Source(href=source.href))
    return post(client, there.href + "/action/moveVApp", body, "moveVAppParams")


# A catalog that was made for no virtual data center keeps what is saved in it where that is.
vtpm("catalog", "add", "anywhere", "--org", "acme")
_, anywhere = catalog(client, "anywhere")
far = compose(client, there, "far", "alone")
far_key = seal(children(far)["alone"])
refused(400, "BAD_REQUEST", lambda: capture(client, shelf, far.href, "no"), "rule 1.6)", "rule 1.6a")
for of, place, sealed, name in ((shop, here, key, "web"), (far, there, far_key, "alone")):
    done(client, capture(client, anywhere, of.href, f"of {name}", True))
    found = template(client, f"of {name}", "anywhere")
    done(client, instantiate(client, place, found, f"from {name}"))
    made = vapp(client, place, f"from {name}")
    assert look(children(made)[name], sealed)[0] == "same"
    done(client, place.delete_vapp(f"from {name}", force=True))
done(client, there.delete_vapp("far"))
said("a catalog for no virtual data center takes templates of every vCenter")

before = everything()
refused(400, "BAD_REQUEST", lambda: moves(True), "rule 1.6)", "shared", "vc02", "rule 1.6a")
refused(400, "BAD_REQUEST", lambda: moves(False), "rule 1.6a", "rule 1.6b")
refused(400, "BAD_REQUEST", lambda: clone(client, there, shop, "copy"), "rule 1.6a", "rule 1.6b")
refused(400, "BAD_REQUEST", lambda: instantiate(client, there, template(client, "copies"), "no"), "rule 1.6a")
assert everything() == before
said("without trust, provider and storage nothing crosses, and each rule is named")

vtpm("vcenter", "trust", "vc01", "vc02")
refused(400, "BAD_REQUEST", lambda: moves(True), "rule 1.6a")
done(client, instantiate(client, there, template(client, "replaces"), "fresh"))
assert look(children(vapp(client, there, "fresh"))["web"], key)[0] == "new"
said("a template that replaces crosses without the provider")

vtpm("provider", "restore", backup, "--name", "shared", "--vcenter", "vc02", "--password-stdin", text=PASSWORD + "\n")
refused(400, "BAD_REQUEST", lambda: moves(False), "rule 1.6b")
refused(400, "BAD_REQUEST", lambda: clone(client, there, shop, "copy"), "rule 1.6b")
done(client, VM(client, href=web.get("href")).snapshot_create())
body = E.MoveVAppParams(E.Source(href=shop.href), item(web.get("href"), replace=True))
refused(400, "BAD_REQUEST", lambda: post(client, there.href + "/action/moveVApp", body, "moveVAppParams"), "rule 1.3")
done(client, moves(True))
moved = vapp(client, there, "shop")
assert look(children(moved)["web"], key) == ("same", key)
assert not hasattr(client.get_resource(web.get("href") + "/snapshotSection"), "Snapshot")
said("moveVApp crosses with the provider and no shared storage; the snapshot is gone")

vtpm("config", "set", "fast-cross-vcenter-instantiation", "on")
done(client, clone(client, here, moved, "back"))
assert look(children(vapp(client, here, "back"))["web"], key) == ("same", key)
done(client, clone(client, here, moved, "other", item(children(moved)["web"].get("href"), replace=True)))
assert look(children(vapp(client, here, "other"))["web"], key)[0] == "new"
done(client, instantiate(client, there, template(client, "copies"), "copied"))
assert look(children(vapp(client, there, "copied"))["web"], key) == ("same", key)
done(client, clone(client, here, moved, "shop", deletes=True))
assert look(children(vapp(client, here, "shop"))["web"], key) == ("same", key)
said("with fast instantiation copies, templates and moves cross")

# VMs of a vCenter, for the administrator of the system.
system = log_in("administrator", "System", NEW, ADMINISTRATOR)
assert system.is_sysadmin()
names = [it.get("name") for it in Platform(system).list_vcenters()]
assert sorted(names) == ["vc01", "vc02"], names
at = Platform(system).get_vcenter("vc01")
EXTENSION = "http://www.vmware.com/vcloud/extension/v1.5"
maker = objectify.ElementMaker(annotate=False, namespace=EXTENSION, nsmap={"vmext": EXTENSION, None: NAMESPACE})
for vm in ("one", "two"):
    vtpm("vm", "create", vm, "--tpm", "--vcenter", "vc01")
listed = {it.Name.text: it.MoRef.text for it in system.get_resource(at.get("href") + "/vmsList").VmObjectRef}
assert {"one", "two"} <= set(listed)


ids = {vm["name"]: vm["id"] for vm in json.loads(vtpm("vm", "list", "--json"))}
sealed = {vm: seal({"href": ids[vm]}) for vm in ("one", "two")}
acme = Org(system, resource=system.get_org_by_name("acme"))
target = acme.get_vdc("vdc1")
for vm, moving in (("one", "false"), ("two", "true")):
    body = maker.ImportVmAsVAppParams(maker.VmMoRef(listed[vm]), maker.Vdc(href=target.get("href")), name=f"imported-{vm}", sourceMove=moving)
    answer = system.post_resource(at.get("href") + "/importVmAsVApp", body, "application/vnd.vmware.admin.importVmAsVAppParams+xml")
    done(system, answer)
    imported = vapp(client, here, f"imported-{vm}")
    assert look(children(imported)[vm], sealed[vm]) == ("same", sealed[vm])
body = maker.ImportVmAsVAppTemplateParams(maker.VmMoRef(listed["one"]), maker.Vdc(href=target.get("href")), maker.Catalog(href=shelf.get("href")), name="imported", sourceMove="true")
answer = system.post_resource(at.get("href") + "/importVmAsVAppTemplate", body, "application/vnd.vmware.admin.importVmAsVAppTemplateParams+xml")
done(system, answer)
assert template(client, "imported").CopyTpmOnInstantiate.text == "true"
done(client, instantiate(client, here, template(client, "imported"), "of-imported"))
assert look(children(vapp(client, here, "of-imported"))["one"], sealed["one"]) == ("same", sealed["one"])
listed = {it.Name.text for it in getattr(system.get_resource(at.get("href") + "/vmsList"), "VmObjectRef", [])}
assert not {"one", "two"} & listed, listed
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: client.get_resource(at.get("href")))
said("import VMs of a vCenter as vApps and as a template: the same TPM")
