"""Two organizations: what is another's is as good as not there, whatever the request; and what roles may do."""

import re
import uuid

from world import *

organization("acme", "vdc1=vc01")
organization("evil", "vdc1=vc01", user="eve")
for org in ("acme", "evil"):
    vtpm("catalog", "add", "shelf", "--org", org, "--vdc", "vdc1")
ann, eve = log_in(version=NEW), log_in("eve", "evil", NEW)
here, hers = vdc(ann), vdc(eve)
shop = compose(ann, here, "shop", "web")
web = children(shop)["web"]
_, shelf = catalog(ann)
_, her_shelf = catalog(eve)
done(ann, capture(ann, shelf, shop.href, "gold", True))
gold = template(ann, "gold")
item_href = Org(ann, resource=ann.get_org()).get_catalog_item("shelf", "gold").get("href")
other = compose(eve, hers, "own", "vm")
task = records(ann, "task")[0].get("href")

# Looking: every address that ann can reach is nothing to eve, and sounds like one that there is not.
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
hrefs, queue = set(), [ann.get_org().get("href"), here.href, shop.href, web.get("href"), gold.get("href"), shelf.get("href"), item_href, task]
while queue:
    href = queue.pop()
    if href in hrefs:
        continue
    hrefs.add(href)
    for node in ann.get_resource(href).iter():
        found = node.get("href") if isinstance(node.tag, str) else None
        if found and re.search(UUID, found) and not re.search("/action/|/api/admin|/api/query", found):
            queue.append(found)
assert len(hrefs) >= 12, hrefs
for href in hrefs:
    theirs = refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: eve.get_resource(href))
    own = re.search(UUID, href).group()
    none = str(uuid.uuid4())
    nobody = refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: eve.get_resource(href.replace(own, none)))
    assert theirs.replace(own, none) == nobody, (theirs, nobody)
said(f"{len(hrefs)} addresses of one organization are nothing to the other")

for query in ("vm", "vApp", "orgVdc", "catalog", "catalogItem", "vAppTemplate", "task", "organization", "orgVdcStorageProfile"):
    text = b"".join(etree.tostring(record) for record in records(eve, query, page_size=128))
    assert b"acme" not in text and b"shop" not in text and b"gold" not in text, (query, text)
refused(400, "BAD_REQUEST", lambda: eve.get_resource(URL + "/api/query?type=adminVM"))
said("queries find one's own only, and none of the administrator's")

# Doing: every action on what is another's, and every action of one's own that names what is another's.
before = everything()
foreign = [
    (shop.href + "/action/recomposeVApp", E.RecomposeVAppParams(E.DeleteItem(href=web.get("href"))), "recomposeVAppParams"),
    (shop.href + "/action/recomposeVApp", E.RecomposeVAppParams(item(children(other)["vm"].get("href"), sourceDelete="true")), "recomposeVAppParams"),
    (shop.href + "/action/deploy", E.DeployVAppParams(powerOn="true"), "deployVAppParams"),
    (shop.href + "/power/action/powerOn", None, None),
    (web.get("href") + "/power/action/powerOn", None, None),
    (web.get("href") + "/action/editTrustedPlatformModule", E.TrustedPlatformModule(E.TpmPresent("false")), "TpmSection"),
    (web.get("href") + "/action/createSnapshot", E.CreateSnapshotParams(name="x"), "createSnapshotParams"),
    (task + "/action/cancel", None, None),
    (web.get("href") + "/action/reconfigureVm", E.Vm(name="x"), "vm"),
    (web.get("href") + "/power/action/reset", None, None),
    (shop.href + "/power/action/reboot", None, None),
    (shop.href + "/action/createSnapshot", E.CreateSnapshotParams(name="x"), "createSnapshotParams"),
    (shop.href + "/action/removeAllSnapshots", None, None),
    (other.href + "/action/recomposeVApp", E.RecomposeVAppParams(E.ReconfigureItem(name="x", href=web.get("href"))), "recomposeVAppParams"),
    (shelf.get("href") + "/action/captureVApp", E.CaptureVAppParams(E.Source(href=other.href), name="x"), "captureVAppParams"),
    (her_shelf.get("href") + "/action/captureVApp", E.CaptureVAppParams(E.Source(href=shop.href), name="x"), "captureVAppParams"),
    (her_shelf.get("href") + "/action/captureVApp", E.CaptureVAppParams(E.Source(href=web.get("href")), name="x"), "captureVAppParams"),
    (here.href + "/action/composeVApp", E.ComposeVAppParams(name="x"), "composeVAppParams"),
    (hers.href + "/action/composeVApp", E.ComposeVAppParams(item(web.get("href")), name="x"), "composeVAppParams"),
    (hers.href + "/action/composeVApp", E.ComposeVAppParams(item(shop.href), name="x"), "composeVAppParams"),
    (hers.href + "/action/composeVApp", E.ComposeVAppParams(item(gold.get("href")), name="x"), "composeVAppParams"),
    (hers.href + "/action/composeVApp", E.ComposeVAppParams(item(gold.Children.Vm.get("href")), name="x"), "composeVAppParams"),
    (other.href + "/action/recomposeVApp", E.RecomposeVAppParams(item(web.get("href"), sourceDelete="true")), "recomposeVAppParams"),
    (other.href + "/action/recomposeVApp", E.RecomposeVAppParams(E.DeleteItem(href=web.get("href"))), "recomposeVAppParams"),
    (hers.href + "/action/cloneVApp", E.CloneVAppParams(E.Source(href=shop.href), name="x"), "cloneVAppParams"),
    (here.href + "/action/cloneVApp", E.CloneVAppParams(E.Source(href=other.href), name="x"), "cloneVAppParams"),
    (hers.href + "/action/moveVApp", E.MoveVAppParams(E.Source(href=shop.href)), "moveVAppParams"),
    (here.href + "/action/moveVApp", E.MoveVAppParams(E.Source(href=other.href)), "moveVAppParams"),
    (hers.href + "/action/instantiateVAppTemplate", E.InstantiateVAppTemplateParams(E.Source(href=gold.get("href")), name="x"), "instantiateVAppTemplateParams"),
    (hers.href + "/action/instantiateVmTemplate", E.InstantiateVmTemplateParams(E.SourcedVmTemplateItem(E.Source(href=gold.Children.Vm.get("href"))), name="x"), "instantiateVmTemplateParams"),
]
for href, body, kind in foreign:
    refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: eve.post_resource(href, body, kind and f"application/vnd.vmware.vcloud.{kind}+xml"))
puts = [
    (shop.href, E.VApp(name="x"), "vcloud.vApp"),
    (web.get("href"), E.Vm(name="x"), "vcloud.vm"),
    (web.get("href") + "/virtualHardwareSection/cpu", E.Item(), "vcloud.rasdItem"),
    (shop.href + "/leaseSettingsSection", E.LeaseSettingsSection(), "vcloud.leaseSettingsSection"),
    (gold.get("href"), E.VAppTemplate(name="x"), "vcloud.vAppTemplate"),
    (shelf.get("href").replace("/api/", "/api/admin/"), E.AdminCatalog(name="x"), "admin.catalog"),
]
for href, body, kind in puts:
    refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: eve.put_resource(href, body, f"application/vnd.vmware.{kind}+xml"))
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: eve.delete_resource(shelf.get("href").replace("/api/", "/api/admin/")))
for href in (shop.href, web.get("href"), gold.get("href"), item_href):
    refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: eve.delete_resource(href))
assert everything() == before
said(f"{len(foreign) + len(puts) + 5} attempts on what is another's change nothing")

# Names may be the same in both.
assert sorted(it.get("name") for it in records(eve, "vm")) == ["vm"]
compose(eve, hers, "shop", "web")
assert len(records(ann, "vApp", equality_filter=("name", "shop"))) == 1

# Roles.
for user, role in (("uma", "vapp-user"), ("nora", "no-cryptography-administrator")):
    vtpm("user", "add", user, "--org", "acme", "--role", role, "--password-stdin", text=PASSWORD + "\n")
uma, nora = log_in("uma", version=NEW), log_in("nora", version=NEW)
before = everything()
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: clone(uma, here, shop, "x"), "vapp-user")
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: edit_tpm(uma, web, False))
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: clone(nora, here, shop, "x"), "Cryptographer.Clone")
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: edit_tpm(nora, web, False), "Cryptographer.Decrypt")
gone = E.Vm(E.TrustedPlatformModule(E.TpmPresent("false")))
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: post(nora, web.get("href") + "/action/reconfigureVm", gone, "vm"), "Cryptographer.Decrypt")
for work in (lambda: VM(uma, href=web.get("href")).edit_name("x"), lambda: VM(uma, href=web.get("href")).modify_cpu(2),
             lambda: uma.put_resource(shop.href, E.VApp(name="x"), "application/vnd.vmware.vcloud.vApp+xml")):
    refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", work, "vapp-user")
assert everything() == before
done(uma, VM(uma, href=web.get("href")).power_on())
done(uma, VM(uma, href=web.get("href")).power_off())
said("roles: who may look and power, who may not touch keys")

system = log_in("administrator", "System", NEW, ADMINISTRATOR)
assert {it.get("orgName") for it in records(system, "adminOrgVdc")} == {"acme", "evil"}
assert {it.get("name") for it in system.get_org_list()} == {"acme", "evil", "System"}
assert len(records(system, "adminVM", qfilter="name==web;isVAppTemplate==false")) == 2
said("the system sees both")
