"""The methods of pyvcloud that docs/vcd.md names and no other script calls, and those that it says are refused, by what they raise."""

from pyvcloud.vcd.exceptions import EntityNotFoundException, OperationNotSupportedException
from pyvcloud.vcd.platform import Platform
from pyvcloud.vcd.system import System

from world import *

organization("acme", "vdc1=vc01")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")
client = log_in()
org = Org(client, resource=client.get_org_by_name("acme"))
here = vdc(client)
assert [it.get("name") for it in here.get_storage_profiles()] == ["datastore1"]
done(client, here.create_vapp("shop"))
shop = vapp(client, here, "shop")
done(client, shop.add_vm_from_scratch({"vm_name": "web", "comp_name": "web", "os_type": "ubuntu64Guest"}))
web = VM(client, resource=children(shop)["web"])

assert "36.0" in client.get_supported_versions_list()
made = org.create_catalog("second", "another")
assert made.tag.endswith("AdminCatalog") and made.get("name") == "second"
org.reload()
assert [it["name"] for it in org.list_catalogs()] == ["second", "shelf"]
org.share_catalog("second")
assert client.get_resource(org.get_catalog("second").get("href")).IsPublished
org.share_catalog("second", share=False)
org.delete_catalog("second")
try:
    Org(client, resource=client.get_org()).get_catalog("second")
    raise AssertionError("the catalog is there")
except EntityNotFoundException:
    pass
here.reload()
assert here.get_vapp_href("shop") == shop.href and here.get_resource_href("shop") == shop.href
assert [it.get("name") for it in here.get_storage_profiles()] == ["datastore1"]
assert here.get_storage_profile("datastore1").get("name") == "datastore1"
assert shop.get_vm("web").get("name") == "web"
for method, asks in (("is_powered_on", True), ("is_powered_off", False), ("is_suspended", False), ("is_deployed", False)):
    assert getattr(web, method)() == asks, method
assert web.get_resource().get("deployed") == "true"
done(client, web.undeploy("shutdown"))
web.reload()
done(client, web.deploy())
web.reload()
done(client, web.shutdown())
said("catalogs are made, shared, deleted; storage profiles; states of a VM")

roles = {it["name"]: it["href"] for it in org.list_roles()} if "href" in org.list_roles()[0] else {
    it["name"]: org.get_role_record(it["name"]).get("href") for it in org.list_roles()}
assert {"Organization Administrator", "vApp Author", "vApp User", "Catalog Author"} <= set(roles), roles
assert org.get_role_resource("vApp User").get("name") == "vApp User"
assert [it.get("name") for it in org.list_users()] == ["ann"]
made = org.create_user("bob", PASSWORD, roles["vApp User"], full_name="Bob", is_enabled=True)
assert made.get("name") == "bob" and org.get_user("bob").Role.get("name") == "vApp User"
bob = log_in("bob")
assert [it.get("name") for it in Org(bob, resource=bob.get_org()).list_users()] == ["bob"]
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: VM(bob, href=web.href).delete())
refused(400, "UNSUPPORTED_OPERATION", lambda: org.create_user("eve", PASSWORD, roles["vApp User"]), "IsEnabled")
refused(400, "BAD_REQUEST", lambda: org.create_user("eve", "short", roles["vApp User"], is_enabled=True), "password")
refused(400, "DUPLICATE_NAME", lambda: org.create_user("bob", PASSWORD, roles["vApp User"], is_enabled=True))
said("users and roles")

for name, work in {
    "metadata of a VM": web.get_metadata,
    "metadata of a vApp": shop.get_metadata,
    "metadata of a VDC": here.get_all_metadata,
    "settings of access": shop.get_access_settings,
    "maintenance": shop.enter_maintenance_mode,
    "download": shop.enable_download,
    "consolidate": web.consolidate,
    "tools": web.install_vmware_tools,
    "hardware": web.upgrade_virtual_hardware,
}.items():
    try:
        work()
        raise AssertionError(f"{name} works")
    except OperationNotSupportedException:
        pass
said("what has no link is not supported, says pyvcloud")

system = log_in("administrator", "System", None, ADMINISTRATOR)
assert system.is_sysadmin() and system.get_admin().tag.endswith("VCloud")
platform = Platform(system)
assert [it.get("name") for it in platform.list_vcenters()] == ["vc01"]
assert platform.get_vcenter("vc01").get("name") == "vc01"
assert Org(system, resource=system.get_org_by_name("acme")).list_catalogs()[0]["name"] == "shelf"
assert System(system, admin_resource=system.get_admin()) is not None
assert system.get_extension().tag.endswith("VMWExtension")
said("an administrator of the system: organizations, vCenters")
