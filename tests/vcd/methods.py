"""The methods of pyvcloud that docs/vcd.md names and no other script calls, and those that it says are refused, by what they raise."""

from pyvcloud.vcd.client import MetadataValueType
from pyvcloud.vcd.exceptions import EntityNotFoundException, OperationNotSupportedException, UnauthorizedException
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
org.create_user("eve", PASSWORD, roles["vApp User"], is_enabled=False)
try:
    log_in("eve")
    raise AssertionError("a user who is not enabled logs in")
except UnauthorizedException:
    pass
org.update_user("eve", is_enabled=True)
log_in("eve")
org.delete_user("eve")
refused(400, "BAD_REQUEST", lambda: org.create_user("eve", "short", roles["vApp User"], is_enabled=True), "password")
refused(400, "DUPLICATE_NAME", lambda: org.create_user("bob", PASSWORD, roles["vApp User"], is_enabled=True))
said("users and roles")

org.update_user("bob", role_name="vApp Author")
org.reload()
assert org.get_user("bob").Role.get("name") == "vApp Author"
try:
    Org(bob, resource=bob.get_org())
    raise AssertionError("the session of before has the former role")
except UnauthorizedException:
    pass
bob = log_in("bob")
# pyvcloud sends nothing if there is no role beside it.
org.update_user("bob", is_enabled=False, role_name="vApp Author")
assert not org.get_user("bob").IsEnabled
try:
    Org(bob, resource=bob.get_org())
    raise AssertionError("the session of a user who is not enabled any more")
except UnauthorizedException:
    pass
org.update_user("bob", is_enabled=True)
refused(400, "BAD_REQUEST", lambda: org.update_user("ann", role_name="vApp User"), "own rights")
bob = log_in("bob")

# With whom things are shared.
shop.reload()
assert not shop.get_access_settings().IsSharedToEveryone
shop.share_with_org_members(everyone_access_level="Change")
shop.add_access_settings([{"name": "bob", "type": "user", "access_level": "FullControl"}])
shop.reload()
shared = shop.get_access_settings()
assert shared.EveryoneAccessLevel == "Change" and shared.AccessSettings.AccessSetting.Subject.get("name") == "bob"
shop.remove_access_settings([{"name": "bob", "type": "user"}])
shop.unshare_from_org_members()
shop.reload()
assert not shop.get_access_settings().IsSharedToEveryone and not hasattr(shop.get_access_settings(), "AccessSettings")
refused(400, "BAD_REQUEST", lambda: shop.share_with_org_members(everyone_access_level="Everything"), "FullControl")
here.add_access_settings([{"name": "bob", "type": "user"}])
here.reload()
assert here.get_access_settings().AccessSettings.AccessSetting.AccessLevel == "ReadOnly"
said("vApps and virtual data centers are shared")

# Whose things are, and what is said about them.
assert shop.get_resource().Owner.User.get("name") == "system"
shop.change_owner(org.get_user("bob").get("href"))
shop.reload()
assert shop.get_resource().Owner.User.get("name") == "bob"
org.change_catalog_owner("shelf", "bob")
assert client.get_resource(org.get_catalog("shelf").get("href")).Owner.User.get("name") == "bob"


def said_about(metadata):
    return {it.Key.text: it.TypedValue.Value.text for it in getattr(metadata, "MetadataEntry", [])}


for it in (web, shop):
    assert said_about(it.get_metadata()) == {}
    done(client, it.set_metadata("GENERAL", "READWRITE", "team/blue", "a & b"))
    done(client, it.set_multiple_metadata({"one": "1", "two": "2"}, metadata_value_type=MetadataValueType.NUMBER))
    assert said_about(it.get_metadata()) == {"team/blue": "a & b", "one": "1", "two": "2"}
    done(client, it.remove_metadata("two"))
    assert said_about(it.get_metadata()) == {"team/blue": "a & b", "one": "1"}
    refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: it.remove_metadata("two"))
    refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: it.set_metadata("SYSTEM", "PRIVATE", "x", "y"))
    refused(400, "BAD_REQUEST", lambda: it.set_metadata("GENERAL", "READWRITE", "n", "no number", "MetadataNumberValue"), "MetadataNumberValue")
here.reload()
done(client, here.set_metadata("cost", "42"))
assert here.get_metadata_value("cost").TypedValue.Value == 42
done(client, here.remove_metadata("cost"))
done(client, org.capture_vapp(org.get_catalog("shelf"), shop.href, "gold", ""))
org.reload()
done(client, org.set_metadata_on_catalog_item("shelf", "gold", "made", "today"))
assert said_about(org.get_all_metadata_from_catalog_item("shelf", "gold")) == {"made": "today"}
done(client, org.remove_metadata_from_catalog_item("shelf", "gold", "made"))
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: client.get_resource(web.href + "/metadata/GENERAL/none"))
new = log_in(version=NEW)
token = new._session.headers["Authorization"].split()[1]
page = raw("GET", web.href + "/metadata", token, kind="json").json()
assert {it["key"]: it["typedValue"] for it in page["metadataEntry"]}["one"] == {"_type": "MetadataNumberValue", "value": "1"}, page
assert raw("PUT", web.href + "/metadata/json", token, kind="json", headers={"Content-Type": "application/vnd.vmware.vcloud.metadata.value+json"},
           json={"typedValue": {"_type": "MetadataBooleanValueType", "value": "true"}}).status_code == 202
assert said_about(web.get_metadata())["json"] == "true"
said("owners and metadata")

# A template is overwritten by one of its name; its instances stay. A vApp that runs is deleted with force.
first = org.get_catalog_item("shelf", "gold").Entity.get("href")
done(client, here.instantiate_vapp("before", "shelf", "gold", deploy=False, power_on=True))
done(client, org.capture_vapp(org.get_catalog("shelf"), shop.href, "gold", "again", overwrite=True))
org.reload()
assert [it["name"] for it in org.list_catalog_items("shelf")] == ["gold"]
assert org.get_catalog_item("shelf", "gold").Entity.get("href") != first
here.reload()
refused(409, "BUSY_ENTITY", lambda: here.delete_vapp("before"), "powered on")
done(client, here.delete_vapp("before", force=True))
here.reload()
assert "before" not in {it["name"] for it in here.list_resources()}
assert here.get_default_storage_profile().get("name") == "datastore1"
org.delete_user("bob")
assert [it.get("name") for it in org.list_users()] == ["ann"]
try:
    Org(bob, resource=bob.get_org())
    raise AssertionError("the session of a user who is gone")
except UnauthorizedException:
    pass
shop.reload()
assert shop.get_resource().Owner.User.get("name") == "bob"
said("templates are overwritten, running vApps deleted with force, users removed")

for name, work in {
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
known = VM(system, href=web.href)
assert known.get_vc() == "vc01" and known.get_moid() == "vm-" + web.href.rsplit("vm-", 1)[1] and web.get_moid() is None
said("an administrator of the system: organizations, vCenters")
