"""Names, sizes, power, snapshots, leases of what there is, as pyvcloud asks for them, and what of that is refused."""

from pyvcloud.vcd.exceptions import OperationNotSupportedException

from world import *

organization("acme", "vdc1=vc01")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")
new = log_in(version=NEW)
compose(new, vdc(new), "shop", "web", "db")
key = seal(children(vapp(new, vdc(new), "shop"))["web"])

client = log_in()
here = vdc(client)


def the(name, within="shop"):
    return VM(client, resource=children(vapp(client, here, within))[name])


web = the("web")
assert web.get_cpus() == {"num_cpus": 1, "num_cores_per_socket": 1} and web.get_memory() == 1024
done(client, web.modify_cpu(4, 2))
assert the("web").get_cpus() == {"num_cpus": 4, "num_cores_per_socket": 2}
refused(400, "BAD_REQUEST", lambda: the("web").modify_cpu(3, 2), "sockets")
done(client, web.modify_cpu(4, 1))
done(client, web.modify_memory(4096))
web.reload()
assert web.get_cpus()["num_cpus"] == 4 and web.get_memory() == 4096
assert web.list_virtual_hardware_section(is_cpu=False, is_memory=False, is_disk=True) == []
listed = web.list_virtual_hardware_section()
assert [int(value) for item in listed for value in item.values()] == [4, 1, 4096], listed
refused(400, "BAD_REQUEST", lambda: web.modify_memory(3), "memory")
refused(400, "BAD_REQUEST", lambda: web.modify_cpu(100000))
assert web.list_nics() == []
said("processors and memory are read and changed; there are no networks")

done(client, web.edit_name("www"))
assert sorted(children(vapp(client, here, "shop"))) == ["db", "www"]
refused(400, "DUPLICATE_NAME", lambda: the("www").edit_name("db"), "db")
refused(400, "BAD_REQUEST", lambda: the("www").edit_name("a/b"))
assert look(children(vapp(client, here, "shop"))["www"], key) == ("same", key)
said("a VM is renamed, with its TPM as it was")

shop = vapp(client, here, "shop")
done(client, shop.edit_name_and_description("store", "renamed"))
here.reload()
assert [it["name"] for it in here.list_resources(EntityType.VAPP)] == ["store"]
compose(new, vdc(new), "other", "one", tpm=False)
refused(400, "DUPLICATE_NAME", lambda: vapp(client, here, "store").edit_name_and_description("other"))
store = vapp(client, here, "store")
assert store.get_lease() == {"DeploymentLeaseInSeconds": 0, "StorageLeaseInSeconds": 0}
done(client, store.set_lease(3600, 7200))
store = vapp(client, here, "store")
lease = store.get_lease()
assert (lease["DeploymentLeaseInSeconds"], lease["StorageLeaseInSeconds"]) == (3600, 7200), lease
assert lease["StorageLeaseExpiration"] and "DeploymentLeaseExpiration" not in lease, lease
refused(400, "BAD_REQUEST", lambda: vapp(client, here, "store").set_lease(5, 0), "3600")
done(client, vapp(client, here, "store").set_lease(0, 0))
said("a vApp is renamed; its leases are kept")

done(client, store.power_on())
store = vapp(client, here, "store")
www = the("www", "store")
done(client, www.power_reset())
done(client, the("www", "store").reboot())
done(client, store.power_reset())
done(client, store.reboot())
assert the("www", "store").is_powered_on()
for work in (www.discard_suspended_state, store.discard_suspended_state_vapp):
    try:
        work()
        raise AssertionError(work)
    except OperationNotSupportedException:
        pass
refused(400, "BAD_REQUEST", lambda: client.post_resource(store.href + "/action/discardSuspendedState", None, None), "not suspended")
refused(409, "BUSY_ENTITY", lambda: the("www", "store").modify_cpu(2))
done(client, vapp(client, here, "store").shutdown())
refused(409, "BUSY_ENTITY", lambda: client.post_resource(www.href + "/power/action/reset", None, None), "off")
said("reset and reboot; sizes change while it is off")

# Suspended, each VM goes on where it stopped; discarding is for those alone that are.
done(client, the("www", "store").power_on())
done(client, the("www", "store").suspend())
www = the("www", "store")
assert www.is_suspended() and records(client, "vm", equality_filter=("name", "www"))[0].get("status") == "SUSPENDED"
refused(409, "BUSY_ENTITY", lambda: client.post_resource(www.href + "/power/action/suspend", None, None), "suspended")
refused(409, "BUSY_ENTITY", lambda: edit_tpm(new, www.get_resource(), False), "suspended")
refused(409, "BUSY_ENTITY", lambda: client.delete_resource(www.href), "suspended")
done(client, www.power_on())
assert the("www", "store").is_powered_on()
done(client, the("www", "store").undeploy("suspend"))
assert the("www", "store").is_suspended() and vapp(client, here, "store").get_power_state() == 10
done(client, the("www", "store").discard_suspended_state())
assert the("www", "store").is_powered_off()
done(client, vapp(client, here, "store").power_on())
done(client, vapp(client, here, "store").suspend_vapp())
assert vapp(client, here, "store").is_suspended()
done(client, vapp(client, here, "store").discard_suspended_state_vapp())
assert vapp(client, here, "store").is_powered_off()
said("VMs and vApps are suspended, go on, and lose their suspended state")

plain = the("one", "other")
done(client, plain.power_on())
assert the("one", "other").is_powered_on()
refused(409, "BUSY_ENTITY", lambda: edit_tpm(new, plain.get_resource(), True), "powered on")
done(client, the("one", "other").power_off())
done(new, edit_tpm(new, plain.get_resource(), True))
assert has_tpm(new, plain.get_resource())
said("a VM without a TPM is powered on too, and gets its TPM while it is off")

store = vapp(client, here, "store")
done(client, store.create_snapshot())
store = vapp(client, here, "store")
done(client, the("www", "store").snapshot_create(name="another"))
done(client, store.snapshot_revert_to_current())
done(client, vapp(client, here, "store").snapshot_remove())
for name in ("www", "db"):
    section = client.get_resource(the(name, "store").href + "/snapshotSection")
    assert not hasattr(section, "Snapshot")
refused(400, "BAD_REQUEST", lambda: client.post_resource(store.href + "/action/removeAllSnapshots", None, None), "no snapshot")
said("snapshots of a whole vApp are taken, gone back to, removed")

body = E.RecomposeVAppParams(
    E.ReconfigureItem(E.VmSpecSection(E.NumCpus("8"), E.MemoryResourceMb(E.Configured("2048"))), name="first", href=www.href),
    E.ReconfigureItem(E.Description("the database"), E.TrustedPlatformModule(E.TpmPresent("false")), href=the("db", "store").href),
    name="shop",
)
done(new, post(new, store.href + "/action/recomposeVApp", body, "recomposeVAppParams"))
first, db = the("first"), the("db")
assert first.get_cpus()["num_cpus"] == 8 and first.get_memory() == 2048
assert db.get_resource().Description.text == "the database" and not has_tpm(new, db.get_resource())
before = everything()
recompose = shop.href + "/action/recomposeVApp"
wrong = E.RecomposeVAppParams(E.ReconfigureItem(E.VmSpecSection(E.NumCpus("-1")), href=db.href))
refused(400, "BAD_REQUEST", lambda: post(new, recompose, wrong, "recomposeVAppParams"))
refused(400, "INVALID_REFERENCE", lambda: post(new, recompose, E.RecomposeVAppParams(E.ReconfigureItem(name="x", href=here.href)), "recomposeVAppParams"))
assert everything() == before
body = E.RecomposeVAppParams(
    E.CreateItem(E.VmSpecSection(E.OsType("ubuntu64Guest"), E.NumCpus("2"), E.MemoryResourceMb(E.Configured("512"))), name="small"),
    E.ReconfigureItem(name="data", href=db.href), powerOn="true")
done(new, post(new, recompose, body, "recomposeVAppParams"))
small = the("small")
assert small.get_cpus()["num_cpus"] == 2 and small.get_memory() == 512 and small.is_powered_on()
assert sorted(children(vapp(client, here, "shop"))) == ["data", "first", "small"]
done(client, vapp(client, here, "shop").undeploy("powerOff"))
said("VMs are changed while their vApp is recomposed, and new ones have their sizes")

# A document that the server gave, sent back with changes.
document = new.get_resource(the("first").href)
document.set("name", "front")
document.TrustedPlatformModule.TpmPresent = E.TpmPresent("false")
done(new, post(new, the("first").href + "/action/reconfigureVm", document, "vm"))
front = the("front")
assert not has_tpm(new, front.get_resource()) and front.get_cpus()["num_cpus"] == 8
said("a VM's own document with changes in it changes the VM")

org, shelf = catalog(client)
done(client, org.capture_vapp(shelf, vapp(client, here, "shop").href, "gold", ""))
gold = client.get_resource(org.get_catalog_item("shelf", "gold").Entity.get("href"))
gold.set("name", "silver")
done(client, client.put_resource(gold.get("href"), gold, EntityType.VAPP_TEMPLATE.value))
org.reload()
assert [it["name"] for it in org.list_catalog_items("shelf")] == ["silver"]
changed = org.update_catalog("shelf", "rack", "renamed")
assert changed.get("name") == "rack"
org.reload()
assert [it["name"] for it in org.list_catalogs()] == ["rack"]
done(client, here.instantiate_vapp("instance", "rack", "silver", deploy=False, power_on=False))
assert the("front", "instance").get_cpus()["num_cpus"] == 8
refused(400, "BAD_REQUEST", lambda: org.delete_catalog("rack"), "templates")
org.delete_catalog_item("rack", "silver")
while records(client, "vAppTemplate"):
    pass
org.reload()
org.delete_catalog("rack")
org.reload()
assert org.list_catalogs() == []
said("templates and catalogs are renamed; an empty catalog is deleted; instances have the sizes of their source")
