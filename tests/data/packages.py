"""Makes packages as vSphere exports them, and looks through ours, with Python's own tar, XML and hashes.

packages.py make FOLDER OUT.ova     win.ovf, win.mf (SHA-1), a disk of 3 MB and a nvram file that claims to be a TPM's
packages.py check FILE.ova          prints JSON: the VMs with their hardware; fails if anything in it is not as OVF wants it
"""

import hashlib
import json
import pathlib
import sys
import tarfile
import xml.etree.ElementTree as ET

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VMW = "http://www.vmware.com/schema/ovf"

DESCRIPTOR = """<?xml version="1.0" encoding="UTF-8"?>
<ovf:Envelope xmlns:ovf="{OVF}" xmlns:rasd="{RASD}" xmlns:vssd="{VSSD}" xmlns:vmw="{VMW}" vmw:buildId="build-21560480">
  <ovf:References>
    <ovf:File ovf:href="win-disk1.vmdk" ovf:id="file1" ovf:size="{disk}"/>
    <ovf:File ovf:href="win-file2.nvram" ovf:id="file2" ovf:size="{nvram}"/>
  </ovf:References>
  <ovf:DiskSection>
    <ovf:Info>Virtual disk information</ovf:Info>
    <ovf:Disk ovf:capacity="90" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk1" ovf:fileRef="file1"/>
  </ovf:DiskSection>
  <ovf:VirtualSystem ovf:id="win">
    <ovf:Info>A virtual machine</ovf:Info>
    <ovf:Name>win</ovf:Name>
    <ovf:OperatingSystemSection ovf:id="112" vmw:osType="windows2022srvNext_64Guest"><ovf:Info/></ovf:OperatingSystemSection>
    <ovf:VirtualHardwareSection>
      <ovf:Info>Virtual hardware requirements</ovf:Info>
      <ovf:System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>win</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-20</vssd:VirtualSystemType>
      </ovf:System>
      <ovf:Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits><rasd:ElementName>2 virtual CPU(s)</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></ovf:Item>
      <ovf:Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI Controller 0</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></ovf:Item>
      <ovf:Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Hard Disk 1</rasd:ElementName><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></ovf:Item>
      <ovf:Item ovf:required="false"><rasd:AutomaticAllocation>false</rasd:AutomaticAllocation><rasd:ElementName>Virtual TPM</rasd:ElementName><rasd:InstanceID>13</rasd:InstanceID><rasd:ResourceSubType>vmware.vtpm</rasd:ResourceSubType><rasd:ResourceType>1</rasd:ResourceType></ovf:Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
      <vmw:ExtraConfig ovf:required="false" vmw:key="nvram" vmw:value="ovf:/file/file2"/>
    </ovf:VirtualHardwareSection>
  </ovf:VirtualSystem>
</ovf:Envelope>
"""


def make(folder, out):
    folder = pathlib.Path(folder)
    files = {
        "win-disk1.vmdk": b"KDMV" + bytes(range(256)) * 12000,
        "win-file2.nvram": b"a foreign TPM's seeds " * 4000,
    }
    descriptor = DESCRIPTOR.format(
        OVF=OVF, RASD=RASD, VSSD=VSSD, VMW=VMW,
        disk=len(files["win-disk1.vmdk"]), nvram=len(files["win-file2.nvram"]),
    ).encode()
    files = {"win.ovf": descriptor, **files}
    manifest = "".join(f"SHA1({name})= {hashlib.sha1(data).hexdigest()}\n" for name, data in files.items())
    for name, data in {**files, "win.mf": manifest.encode()}.items():
        (folder / name).write_bytes(data)
    # tarfile writes extended headers for the fractions of a second in these files' times.
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ["win.ovf", "win.mf", "win-disk1.vmdk", "win-file2.nvram"]:
            archive.add(folder / name, arcname=name)


def check(path):
    with tarfile.open(path) as archive:
        names = archive.getnames()
        data = {name: archive.extractfile(name).read() for name in names}
    assert len(set(names)) == len(names), names
    assert names[0].endswith(".ovf"), names
    manifests = [name for name in names if name.endswith(".mf")]
    assert manifests == [names[0][:-4] + ".mf"], names
    listed = set()
    for line in data[manifests[0]].decode().splitlines():
        name, digest = line.removeprefix("SHA256(").split(")= ")
        assert hashlib.sha256(data[name]).hexdigest() == digest, name
        listed.add(name)
    assert listed == set(names) - set(manifests), (listed, names)
    root = ET.fromstring(data[names[0]])
    assert root.tag == f"{{{OVF}}}Envelope", root.tag
    files = {}
    for file in root.iter(f"{{{OVF}}}File"):
        href = file.get(f"{{{OVF}}}href")
        assert int(file.get(f"{{{OVF}}}size")) == len(data[href]), href
        files[file.get(f"{{{OVF}}}id")] = href
    assert list(files.values()) == names[1:-1], (files, names)
    disks = {disk.get(f"{{{OVF}}}diskId"): disk for disk in root.iter(f"{{{OVF}}}Disk")}
    for disk in disks.values():
        assert disk.get(f"{{{OVF}}}fileRef") in files
    systems = {}
    for system in root.iter(f"{{{OVF}}}VirtualSystem"):
        hardware = system.find(f"{{{OVF}}}VirtualHardwareSection")
        instances = set()
        types = []
        drives = 0
        for item in hardware.findall(f"{{{OVF}}}Item"):
            fields = [child.tag.removeprefix(f"{{{RASD}}}") for child in item]
            assert fields == sorted(fields), fields
            text = lambda name: item.findtext(f"{{{RASD}}}{name}")
            assert text("InstanceID") not in instances
            parent = text("Parent")
            assert parent is None or parent in instances, parent
            instances.add(text("InstanceID"))
            types.append(text("ResourceSubType") or "")
            host = text("HostResource")
            if host:
                kind, key = host.removeprefix("ovf:/").split("/")
                assert key in (disks if kind == "disk" else files), host
                drives += 1
        config = {c.get(f"{{{VMW}}}key"): c.get(f"{{{VMW}}}value") for c in hardware.iter(f"{{{VMW}}}Config")}
        systems[system.findtext(f"{{{OVF}}}Name")] = {
            "tpms": types.count("vmware.vtpm"),
            "drives": drives,
            "firmware": config["firmware"],
            "hardware": hardware.findtext(f"{{{OVF}}}System/{{{VSSD}}}VirtualSystemType"),
            "guest": system.find(f"{{{OVF}}}OperatingSystemSection").get(f"{{{VMW}}}osType"),
        }
    print(json.dumps(systems))


{"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
