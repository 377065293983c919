"""What pyvcloud does by itself, in its own version: every copy is a copy."""

from pyvcloud.vcd.task import Task

from world import *

organization("acme", "vdc1=vc01", "vdc2=vc01")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")

# pyvcloud has no word for a TPM, so the first VM is made with a newer version.
new = log_in(version=NEW)
shop = compose(new, vdc(new), "shop", "web", "db")
key = seal(children(shop)["web"])

client = log_in()
assert client.get_api_version() == "36.0", client.get_api_version()
assert not client.is_sysadmin() and client.get_vcloud_session().get("org") == "acme"
said("log in, version " + client.get_api_version())

org = Org(client, resource=client.get_org())
assert org.get_name() == "acme"
assert [it["name"] for it in org.list_vdcs()] == ["vdc1", "vdc2"]
assert [it["name"] for it in org.list_catalogs()] == ["shelf"]
assert [it.get("name") for it in client.get_org_list()] == ["acme"]
here, there = vdc(client, "vdc1"), vdc(client, "vdc2")
assert here.list_resources(EntityType.VAPP) == [{"name": "shop", "type": EntityType.VAPP.value}]
assert org.get_vdc("nothing") is None
said("organizations, virtual data centers, catalogs")

shop = VApp(client, resource=here.get_vapp("shop"))
assert [vm.get("name") for vm in shop.get_all_vms()] == ["db", "web"]
web = VM(client, resource=shop.get_vm("web"))
assert web.is_powered_off() and shop.is_powered_off()
assert not hasattr(web.get_resource(), "TrustedPlatformModule")
said("find vApp and VM; the old version shows no TPM")

done(client, web.power_on())
shop.reload()
assert VM(client, href=web.href).is_powered_on() and shop.get_power_state() == 10
done(client, shop.power_on())
shop.reload()
assert shop.is_powered_on()
done(client, shop.undeploy("powerOff"))
shop.reload()
assert shop.is_powered_off()
done(client, shop.deploy())
shop.reload()
done(client, shop.power_off())
shop.reload()
said("power of VMs and vApps, deploy and undeploy")

done(client, shop.copy_to(here.href, "copy", "a copy"))
copied = vapp(client, here, "copy")
assert look(children(copied)["web"], key) == ("same", key)
said("copy a vApp: the same TPM")

done(client, here.create_vapp("empty", "nothing in it"))
empty = vapp(client, here, "empty")
done(client, empty.add_vms([{"vapp": shop.resource, "source_vm_name": "web", "target_vm_name": "web2"}], deploy=False, power_on=False))
assert look(children(empty)["web2"], key) == ("same", key)
done(client, empty.add_vms([{"vapp": shop.resource, "source_vm_name": "web", "target_vm_name": "web3"}]))
assert VM(client, resource=children(empty)["web3"]).is_powered_on()
empty.reload()
done(client, empty.undeploy("powerOff"))
empty.reload()
done(client, VM(client, resource=children(empty)["web3"]).delete())
assert list(children(empty)) == ["web2"]
said("add VMs of a vApp, powered on if asked for, and delete one")

web = VM(client, resource=children(copied)["web"])
done(client, web.copy_to("copy", "empty", "web4"))
done(client, VM(client, resource=children(copied)["web"]).move_to("copy", "empty", "web5"))
assert sorted(children(empty)) == ["web2", "web4", "web5"] and list(children(copied)) == ["db"]
assert look(children(empty)["web4"], key) == look(children(empty)["web5"], key) == ("same", key)
empty.reload()
done(client, empty.delete_vms(["web4"]))
assert sorted(children(empty)) == ["web2", "web5"]
said("copy and move VMs to another vApp")

done(client, empty.move_to(there.href))
assert look(children(vapp(client, there, "empty"))["web2"], key) == ("same", key)
assert "empty" not in [it["name"] for it in vdc(client, "vdc1").list_resources(EntityType.VAPP)]
said("move a vApp to another virtual data center")

done(client, empty.add_vm_from_scratch({"vm_name": "fresh", "comp_name": "fresh", "os_type": "ubuntu64Guest"}, deploy=False, power_on=False))
assert "fresh" in children(empty)
said("a new VM")

_, shelf = catalog(client)
answer = org.capture_vapp(shelf, shop.href, "gold", "as it is")
done(client, answer)
done(client, client.get_resource(answer.get("href")))
assert org.list_catalog_items("shelf")[0]["name"] == "gold"
org.reload()
done(client, here.instantiate_vapp("instance", "shelf", "gold", deploy=False, power_on=False))
assert look(children(vapp(client, here, "instance"))["web"], key) == ("same", key)
found = client.get_resource(org.get_vapp_template_href("shelf", "gold"))
done(client, empty.add_vms([{"vapp": found, "source_vm_name": "web", "target_vm_name": "of-template"}], deploy=False, power_on=False))
assert look(children(empty)["of-template"], key) == ("same", key)
org.delete_catalog_item("shelf", "gold")
said("capture without a word means copy; instantiate; add a VM of a template")

web = VM(client, resource=children(shop)["web"])
done(client, web.snapshot_create(name="first"))
web.reload()
done(client, web.snapshot_revert_to_current())
web.reload()
done(client, web.snapshot_remove_all())
said("take a snapshot, go back to it, remove it")

found = records(client, "vm", qfilter="name==web*;isVAppTemplate==false", sort_asc="name", page_size=2)
names = [record.get("name") for record in found]
assert names == sorted(names) and names.count("web") == 2 and "web2" in names, names
assert [record.get("tpmPresent") for record in found] == [None] * len(found)
tasks = list(Task(client).list_tasks(filter_status_list=["success"]))
assert len(tasks) > 25 and all(task.get("status") == "success" for task in tasks)
vapps = records(client, "vApp", equality_filter=("name", "shop"))
assert [(it.get("name"), it.get("status")) for it in vapps] == [("shop", "POWERED_OFF")]
said("queries with filters, order and pages")

done(client, vdc(client, "vdc1").delete_vapp("copy"))
client.logout()
try:
    client.rehydrate_from_token(log_in().get_access_token(), is_jwt_token=True)
finally:
    client.logout()
said("log out")
