"""The words for TPMs: TpmPresent, ReplaceTpm and CopyTpmOnInstantiate, on a vCenter 8 and a vCenter 7."""

from world import *

vcenter("vc7", "7.0.3")
provider("vc7-nkp", "vc7")
organization("acme", "vdc1=vc01", "vdc7=vc7")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")
vtpm("catalog", "add", "shelf7", "--org", "acme", "--vdc", "vdc7")
client = log_in(version=NEW)

for name, shelf_name, eight in (("vdc1", "shelf", True), ("vdc7", "shelf7", False)):
    here = vdc(client, name)
    at = "8" if eight else "7"
    shop = compose(client, here, f"shop{at}", "web", "db")
    vms = children(shop)
    web = vms["web"].get("href")
    assert has_tpm(client, vms["web"])
    key = seal(vms["web"])

    # Copying a vApp.
    for word, replace in (("unset", None), ("false", False), ("true", True)):
        target = f"copy{at}-{word}"
        items = [] if replace is None else [item(web, replace=replace)]
        if replace and not eight:
            before = everything()
            refused(400, "BAD_REQUEST", lambda: clone(client, here, shop, target, *items), "web", "copy", "rule 1.3")
            assert everything() == before
            continue
        done(client, clone(client, here, shop, target, *items))
        found, other = look(children(vapp(client, here, target))["web"], key)
        assert found == ("new" if replace else "same"), (at, word, found)
    assert look(vms["web"], key) == ("same", key)
    said(f"vCenter {at}: copy a vApp with ReplaceTpm unset, false and true")

    # Copying VMs into a vApp, each with a word and a name of its own.
    done(client, here.create_vapp(f"mixed{at}"))
    mixed = vapp(client, here, f"mixed{at}")
    body = E.RecomposeVAppParams(item(web, "a"), item(web, "b", replace=False))
    if eight:
        body.append(item(web, "c", replace=True))
    done(client, post(client, mixed.href + "/action/recomposeVApp", body, "recomposeVAppParams"))
    kinds = {vm: look(resource, key)[0] for vm, resource in children(mixed).items()}
    assert kinds == ({"a": "same", "b": "same", "c": "new"} if eight else {"a": "same", "b": "same"}), kinds
    body = E.RecomposeVAppParams(item(web, "d", replace=True))
    if not eight:
        refused(400, "BAD_REQUEST", lambda: post(client, mixed.href + "/action/recomposeVApp", body, "recomposeVAppParams"), "rule 1.3")
    body = E.RecomposeVAppParams(item(web, "e", replace=True, sourceDelete="true"))
    before = everything()
    refused(400, "BAD_REQUEST", lambda: post(client, mixed.href + "/action/recomposeVApp", body, "recomposeVAppParams"), "rule 1.3")
    assert everything() == before
    # As in the one public script that knows the field.
    body = E.RecomposeVAppParams(item(children(mixed)["a"].get("href"), "moved", replace=False, sourceDelete="true"))
    shop.reload()
    done(client, post(client, shop.href + "/action/recomposeVApp", body, "recomposeVAppParams"))
    assert look(children(shop)["moved"], key) == ("same", key) and "a" not in children(mixed)
    said(f"vCenter {at}: copy and move VMs, each with a word of its own")

    # Composing of VMs and of a whole vApp.
    made = compose(client, here, f"composed{at}", sources=[item(shop.href)])
    assert sorted(children(made)) == ["db", "moved", "web"]
    assert look(children(made)["web"], key) == ("same", key)

    # Adding and removing.
    db = vms["db"]
    done(client, edit_tpm(client, db, False))
    assert not has_tpm(client, db)
    refused(400, "BAD_REQUEST", lambda: edit_tpm(client, db, False))
    done(client, edit_tpm(client, db, True))
    assert has_tpm(client, db)
    added = seal(db)
    body = E.Vm(E.TrustedPlatformModule(E.TpmPresent("false")), name="db")
    done(client, client.post_resource(db.get("href") + "/action/reconfigureVm", body, EntityType.VM.value))
    done(client, edit_tpm(client, db, True))
    assert look(db, added)[0] == "new"
    done(client, VM(client, href=db.get("href")).power_on())
    refused(409, "BUSY_ENTITY", lambda: edit_tpm(client, db, False), "powered on")
    done(client, VM(client, href=db.get("href")).power_off())
    done(client, VM(client, href=db.get("href")).snapshot_create())
    refused(409, "BUSY_ENTITY", lambda: edit_tpm(client, db, False), "snapshot", "rule 1.10")
    assert has_tpm(client, db)
    done(client, VM(client, href=db.get("href")).snapshot_remove_all())
    said(f"vCenter {at}: add and remove a TPM; not while it is on or has snapshots")

    # Templates of both kinds, and what nobody said.
    _, shelf = catalog(client, shelf_name)
    for word, copy in (("unset", None), ("copies", True), ("replaces", False)):
        answer = capture(client, shelf, shop.href, f"t-{word}", copy)
        done(client, answer)
        gold = template(client, f"t-{word}", shelf_name)
        assert gold.CopyTpmOnInstantiate.text == ("false" if copy is False else "true")
        owner = client.get_resource(answer.get("href")).Owner
        assert owner.get("href") == gold.get("href") and owner.get("type") == EntityType.VAPP_TEMPLATE.value
        done(client, instantiate(client, here, gold, f"i{at}-{word}"))
        one, first = look(children(vapp(client, here, f"i{at}-{word}"))["web"], key)
        assert one == ("new" if copy is False else "same")
        # The template decides: its own answer is taken, another is not.
        parts = {vm.get("name"): vm.get("href") for vm in gold.Children.Vm}
        says = copy is False
        done(client, instantiate(client, here, gold, f"j{at}-{word}", item(parts["web"], "renamed", replace=says)))
        two, second = look(children(vapp(client, here, f"j{at}-{word}"))["renamed"], key)
        assert two == one and (first == second) == (one == "same")
        before = everything()
        refused(400, "BAD_REQUEST", lambda: instantiate(client, here, gold, "no", item(parts["web"], replace=not says)), "rule 1.5")
        assert everything() == before
        body = E.InstantiateVmTemplateParams(
            E.SourcedVmTemplateItem(E.Source(href=parts["web"])), name=f"alone{at}-{word}", powerOn="true"
        )
        task = done(client, post(client, here.href + "/action/instantiateVmTemplate", body, "instantiateVmTemplateParams"))
        alone = client.get_resource(task.Owner.get("href"))
        assert alone.get("name") == f"alone{at}-{word}" and alone.get("status") == "4"
        assert look(alone, key)[0] == one
        done(client, VM(client, resource=alone).power_off())
        done(client, VM(client, href=alone.get("href")).delete())
        refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: client.get_resource(alone.get("href")))
    said(f"vCenter {at}: capture and instantiate templates of both kinds, as vApps and as standalone VMs")

# A standalone VM, captured, and moved out of what is around it.
here = vdc(client)
body = E.CreateVmParams(
    E.CreateVm(E.VmSpecSection(E.OsType("windows2019srv_64Guest"), E.HardwareVersion("vmx-19"), E.Firmware("efi")),
               E.TrustedPlatformModule(E.TpmPresent("true")), name="alone"), name="alone")
task = done(client, post(client, here.href + "/action/createVm", body, "createVmParams"))
alone = client.get_resource(task.Owner.get("href"))
assert alone.get("name") == "alone" and has_tpm(client, alone)
assert alone.VmSpecSection.HardwareVersion.text == "vmx-19"
key = seal(alone)
around = [link.get("href") for link in alone.Link if link.get("rel") == "up"][0]
assert client.get_resource(around).autoNature.text == "true"
_, shelf = catalog(client)
done(client, capture(client, shelf, around, "of-one", False))
done(client, here.create_vapp("home"))
home = vapp(client, here, "home")
body = E.RecomposeVAppParams(item(alone.get("href"), sourceDelete="true"))
done(client, post(client, home.href + "/action/recomposeVApp", body, "recomposeVAppParams"))
assert look(children(home)["alone"], key) == ("same", key)
refused(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", lambda: client.get_resource(around))
said("a standalone VM: made, captured, moved into a vApp; what was around it is gone")

# Who may not have a TPM.
for spec, word in (
    ([E.OsType("ubuntu64Guest"), E.Firmware("bios")], "rule 1.1"),
    ([E.OsType("ubuntu64Guest"), E.HardwareVersion("vmx-13")], "rule 1.1"),
    ([E.OsType("freebsd14_64Guest")], "rule 1.1"),
):
    body = E.ComposeVAppParams(
        E.CreateItem(E.VmSpecSection(*spec), E.TrustedPlatformModule(E.TpmPresent("true")), name="x"), name="no")
    before = everything()
    refused(400, "BAD_REQUEST", lambda: post(client, here.href + "/action/composeVApp", body, "composeVAppParams"), word)
    assert everything() == before
said("rules for a VM with a TPM are named")

# The words are there from 37.2 on.
older = log_in(version="37.1")
refused(400, "BAD_REQUEST", lambda: clone(older, here, shop, "no", item(children(shop)["web"].get("href"), replace=False)), "ReplaceTpm", "37.2")
refused(400, "BAD_REQUEST", lambda: capture(older, shelf, shop.href, "no", True), "CopyTpmOnInstantiate", "37.2")
assert b"Tpm" not in etree.tostring(older.get_resource(children(shop)["web"].get("href")))
assert log_in(version="37.2").get_resource(children(shop)["web"].get("href")).TrustedPlatformModule.TpmPresent.text == "true"
said("before 37.2 there is no word for TPMs")

found = records(client, "vm", qfilter="tpmPresent==true;firmware==efi;name==alone;isVAppTemplate==false")
assert [it.get("name") for it in found] == ["alone"]
said("queries know tpmPresent and firmware")
