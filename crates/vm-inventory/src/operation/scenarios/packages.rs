//! Scenario 13: OVF packages; and everything that is wrong with packages.

use super::*;
use crate::access::Principal;
use crate::model::Role;
use crate::ovf::{Hashing, gzip, manifest_line};
use std::io::{Read, Write as _};

const VSPHERE: &str = include_str!("../../ovf/data/vsphere.ovf");
/// What a TPM that came with a package would have in its file.
const FOREIGN: &[u8] = b"the endorsement key of somebody else";

/// A package under construction: names and contents.
#[derive(Clone)]
struct Package(Vec<(String, Vec<u8>)>);

impl Package {
    /// As vSphere exports a Windows server with a TPM.
    fn vsphere() -> Self {
        Self::of(VSPHERE)
            .with("win-1.vmdk", &b"disk".repeat(22_500))
            .with("win-2.nvram", &nvram())
            .with("tools disc.iso", b"CD001")
    }

    fn of(descriptor: &str) -> Self {
        Self(vec![("win.ovf".to_owned(), descriptor.as_bytes().to_vec())])
    }

    fn with(mut self, name: &str, content: &[u8]) -> Self {
        self.0.push((name.to_owned(), content.to_vec()));
        self
    }

    /// With a manifest of everything so far, put at this place.
    fn with_manifest(mut self, at: usize) -> Self {
        let mut text = String::new();
        for (name, content) in &self.0 {
            let mut hashing = Hashing::to_write();
            hashing.update(content);
            text.push_str(&manifest_line(name, hashing));
        }
        self.0.insert(at, ("win.mf".to_owned(), text.into_bytes()));
        self
    }

    fn changed(mut self, from: &str, to: &str) -> Self {
        let descriptor = &mut self.0[0].1;
        let text = String::from_utf8(descriptor.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        *descriptor = text.replace(from, to).into_bytes();
        self
    }

    fn ova(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in &self.0 {
            // Written by hand: the crate's own writer refuses hostile names.
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.extend([0; 1024]);
        bytes
    }
}

fn nvram() -> Vec<u8> {
    let mut bytes = FOREIGN.repeat(270_840 / FOREIGN.len() + 1);
    bytes.truncate(270_840);
    bytes
}

fn to_shelf(template: &str) -> ImportPackage {
    ImportPackage {
        name: Some(name(template)),
        catalog: Some("shelf".to_owned()),
        ..ImportPackage::default()
    }
}

fn to_vapp(vapp: &str) -> ImportPackage {
    ImportPackage {
        name: Some(name(vapp)),
        vdc: Some("vdc1".to_owned()),
        ..ImportPackage::default()
    }
}

fn import(world: &World, request: &ImportPackage, ova: &[u8]) -> Result<Job> {
    let mut reader = ova;
    world.operations.import_package(request, &mut reader)
}

/// Imports what has to be refused, and checks that nothing of it is left; gives the reason.
fn refused(world: &World, ova: &[u8]) -> String {
    let before = world.files();
    let tasks = world.operations.tasks().unwrap().len();
    let mut said = Vec::new();
    for request in [to_shelf("bad"), to_vapp("bad")] {
        let error = import(world, &request, ova).err().expect("it was taken");
        assert_eq!(error.kind(), crate::ErrorKind::BadRequest, "{error}");
        said.push(error.to_string());
    }
    assert!(world.files() == before, "something is left");
    assert_eq!(world.operations.tasks().unwrap().len(), tasks);
    assert_eq!(said[0], said[1]);
    said.remove(0)
}

fn setting(world: &World, vm: &str, key: &str) -> Option<String> {
    let folder = folder_of(world, vm);
    let vmx = folder.file_name().unwrap().to_str().unwrap().to_owned() + ".vmx";
    let text = std::fs::read_to_string(folder.join(vmx)).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.map(|value| value.trim_matches('"').to_owned())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn scenario_13_instances_of_an_uploaded_template_have_new_tpms_and_nothing_of_the_packages() {
    let world = acme("8.0.3");
    let package = Package::vsphere().with_manifest(1);
    let task = done(import(&world, &to_shelf("golden"), &package.ova()));
    assert_eq!(task.operation, "ovf_to_template");
    assert!(
        task.notes.iter().any(|note| note.contains("win-2.nvram")),
        "{:?}",
        task.notes
    );
    let template = world.operations.template("golden").unwrap();
    assert_eq!(template.origin, TemplateOrigin::Ovf);
    assert_eq!(template.provisioning, TpmProvisioning::Replace);
    assert!(
        broken(
            world
                .operations
                .instantiate("golden", &instance("x", "vdc1", COPY))
        )
        .contains(&Rule::TemplateDecides)
    );
    for vapp in ["one", "two"] {
        done(
            world
                .operations
                .instantiate("golden", &instance(vapp, "vdc1", None)),
        );
    }
    let (one, two) = (world.seed("one/win"), world.seed("two/win"));
    assert_ne!(one, two);
    let own = template.vms[0].tpm.as_ref().unwrap().ek_name.clone();
    for vm in ["one/win", "two/win"] {
        let view = world.operations.vm(vm).unwrap();
        assert_ne!(view.tpm.ek_name.as_ref(), Some(&own));
        assert_eq!(view.hardware_version, 19);
        assert_eq!(view.guest.as_str(), "windows2019srv_64Guest");
        let folder = folder_of(&world, vm);
        let disk = std::fs::read(folder.join("win-1.vmdk")).unwrap();
        assert!(disk == b"disk".repeat(22_500));
        assert!(folder.join("tools disc.iso").is_file());
        assert_eq!(
            setting(&world, vm, "scsi0:0.fileName").unwrap(),
            "win-1.vmdk"
        );
        assert_eq!(
            setting(&world, vm, "scsi0.virtualDev").unwrap(),
            "lsisas1068"
        );
        assert_eq!(
            setting(&world, vm, "sata0:0.deviceType").unwrap(),
            "cdrom-image"
        );
        assert_eq!(setting(&world, vm, "numvcpus").unwrap(), "4");
        assert_eq!(setting(&world, vm, "memSize").unwrap(), "4096");
        assert_eq!(
            setting(&world, vm, "ethernet0.networkName").unwrap(),
            "VM Network"
        );
    }
    for (path, bytes) in world.files() {
        assert!(!contains(&bytes, FOREIGN), "{}", path.display());
    }
    let offer = world.operations.publish_catalog("shelf", true).unwrap();
    assert_eq!(offer.templates, [name("golden")]);
}

#[test]
fn a_package_becomes_a_vapp_or_a_standalone_vm() {
    let world = acme("8.0.3");
    let ova = Package::vsphere().with_manifest(4).ova();
    let task = done(import(&world, &to_vapp("app"), &ova));
    assert_eq!(task.operation, "create_vapp_from_ovf");
    assert_eq!(world.operations.vapp("app").unwrap().vms.len(), 1);
    let mut alone = to_vapp("alone");
    alone.standalone = true;
    done(import(&world, &alone, &ova));
    let vm = world.operations.vm("alone").unwrap();
    assert!(vm.vapp.is_none() && vm.tpm.present);
    assert_ne!(world.seed("alone"), world.seed("app/win"));
    for taken in [&alone, &to_vapp("app")] {
        let error = import(&world, taken, &ova).err().unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::Conflict, "{error}");
    }
    // Without a name of its own it is called like the package.
    let request = ImportPackage {
        name: None,
        ..to_vapp("unused")
    };
    done(import(&world, &request, &ova));
    assert_eq!(world.operations.vapp("win").unwrap().vms.len(), 1);
}

/// A package with a disk that is compressed, and cut into chunks of that length if there is one.
fn compressed(stored: &[u8], chunk: Option<usize>) -> Package {
    let length = stored.len();
    let said = match chunk {
        Some(chunk) => format!("ovf:size=\"{length}\" ovf:chunkSize=\"{chunk}\""),
        None => format!("ovf:size=\"{length}\""),
    };
    let mut package = Package::of(VSPHERE).changed(
        "ovf:href=\"win-1.vmdk\" ovf:size=\"90000\"",
        &format!("ovf:href=\"win-1.vmdk.gz\" ovf:compression=\"gzip\" {said}"),
    );
    match chunk {
        None => package = package.with("win-1.vmdk.gz", stored),
        Some(chunk) => {
            for (number, part) in stored.chunks(chunk).enumerate() {
                package = package.with(&format!("win-1.vmdk.gz.{number:09}"), part);
            }
        }
    }
    package
        .with("win-2.nvram", &nvram())
        .with("tools disc.iso", b"CD001")
}

#[test]
fn a_compressed_disk_is_what_it_was_whole_or_in_chunks() {
    let world = acme("8.0.3");
    let disk: Vec<u8> = (0..200_000u32)
        .flat_map(|number| (number / 7).to_be_bytes())
        .collect();
    let stored = gzip(&disk);
    assert!(stored.len() > 4000 && stored.len() < disk.len());
    for (vapp, chunk) in [
        ("whole", None),
        ("chunks", Some(1000)),
        ("one", Some(stored.len())),
    ] {
        let package = compressed(&stored, chunk);
        // The manifest has the hashes of what is stored.
        let ova = package.clone().with_manifest(package.0.len()).ova();
        done(import(&world, &to_vapp(vapp), &ova));
        let vm = format!("{vapp}/win");
        let kept = std::fs::read(folder_of(&world, &vm).join("win-1.vmdk")).unwrap();
        assert!(kept == disk, "{vapp}");
        let file = setting(&world, &vm, "scsi0:0.fileName").unwrap();
        assert_eq!(file, "win-1.vmdk");
        // It goes out whole and plain.
        let what = crate::ExportPackage::Vapp(vapp.to_owned());
        let mut out = Vec::new();
        let export = world.operations.export_package(&what).unwrap();
        export.write(&mut out).unwrap();
        assert!(contains(&out, &disk) && !contains(&out, b"chunkSize"));
    }
}

#[test]
fn what_is_wrong_with_compressed_files_is_refused_and_leaves_nothing() {
    let world = acme("8.0.3");
    let stored = gzip(&b"a disk with something on it".repeat(400));
    let says = |package: Package, words: &str| {
        let said = refused(&world, &package.ova());
        assert!(said.contains(words), "{said}");
    };
    let mut damaged = stored.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    says(compressed(&damaged, None), "damaged");
    says(compressed(b"no gzip at all", None), "compressed with gzip");
    says(compressed(&stored[..last], None), "damaged");
    says(compressed(b"", None), "damaged");
    let with_chunks = || compressed(&stored, Some(20));
    // Chunks that are missing, in another order, too long, or of another file in between.
    let mut missing = with_chunks();
    missing.0.remove(2);
    says(missing, "follow each other");
    let mut swapped = with_chunks();
    swapped.0.swap(1, 2);
    says(swapped, "follow each other");
    let mut long = with_chunks();
    long.0[1].1.push(0);
    says(long, "21 bytes");
    let mut between = with_chunks();
    let iso = between.0.pop().unwrap();
    between.0.insert(2, iso);
    says(between, "in the middle of the chunks");
    let mut unfinished = with_chunks();
    let at = unfinished.0.len() - 3;
    unfinished.0.remove(at);
    says(unfinished, "");
    // A bomb: more than the disk that it is said to be.
    let bomb = gzip(&vec![0; 80 << 20]);
    let small = compressed(&bomb, None).changed("ovf:capacity=\"90\"", "ovf:capacity=\"1\"");
    let small = small.changed("byte * 2^30\" ovf:format=\"http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized\" ovf:diskId=\"vmdisk1\"", "byte * 2^20\" ovf:format=\"x\" ovf:diskId=\"vmdisk1\"");
    says(small, "decompressed it has more bytes");
}

#[test]
fn descriptors_in_utf_16_are_read() {
    let world = acme("8.0.3");
    for (order, vapp) in [
        (u16::to_be_bytes as fn(u16) -> [u8; 2], "big"),
        (little, "small"),
    ] {
        let mut package = Package::vsphere().changed("UTF-8", "UTF-16");
        let text = String::from_utf8(package.0[0].1.clone()).unwrap();
        let wide = format!("\u{feff}{text}");
        package.0[0].1 = wide.encode_utf16().flat_map(order).collect();
        done(import(
            &world,
            &to_vapp(vapp),
            &package.with_manifest(1).ova(),
        ));
        assert!(
            world
                .operations
                .vm(&format!("{vapp}/win"))
                .unwrap()
                .tpm
                .present
        );
    }
    let mut odd = Package::vsphere();
    odd.0[0].1 = b"\xFE\xFF<".to_vec();
    let said = refused(&world, &odd.ova());
    assert!(said.contains("UTF-16"), "{said}");
}

fn little(unit: u16) -> [u8; 2] {
    let [high, low] = unit.to_be_bytes();
    [low, high]
}

#[test]
fn every_rule_is_checked_before_a_file_is_taken() {
    let world = acme("7.0.3");
    let bad = Package::vsphere()
        .changed("vmw:value=\"efi\"", "vmw:value=\"bios\"")
        .changed("windows2019srv_64Guest", "freebsd13_64Guest")
        .changed("vmx-19", "vmx-13");
    /// Panics when more than the descriptor is read.
    struct OnlyTheHead<'a>(&'a [u8], usize);
    impl Read for OnlyTheHead<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            assert!(self.1 < 64 * 1024, "files are read");
            let count = self.0.read(buffer)?;
            self.1 += count;
            Ok(count)
        }
    }
    let ova = bad.ova();
    let mut reader = OnlyTheHead(&ova, 0);
    let outcome = world
        .operations
        .import_package(&to_vapp("bad"), &mut reader);
    assert_eq!(
        broken(outcome),
        [Rule::EfiFirmware, Rule::HardwareVersion, Rule::GuestFloor]
    );
    let preview = world
        .operations
        .preview_import_package(&to_shelf("bad"), &mut ova.as_slice())
        .unwrap();
    assert!(!preview.possible && preview.failures.len() == 3);
    assert!(world.files().keys().all(|path| path.extension().is_none()));
    // Without the TPM the same VM is no concern of these rules.
    let plain = bad.changed("vmware.vtpm", "vmware.other");
    done(import(&world, &to_vapp("plain"), &plain.ova()));
    assert!(!world.operations.vm("plain/win").unwrap().tpm.present);
}

#[test]
fn a_package_with_something_wrong_is_refused_and_leaves_nothing() {
    let world = acme("8.0.3");
    let good = Package::vsphere;
    let says = |package: Package, words: &str| {
        let text = refused(&world, &package.ova());
        assert!(text.contains(words), "{text}");
    };
    // Descriptors.
    let external = "<!DOCTYPE Envelope [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Envelope";
    says(good().changed("<Envelope", external), "document type");
    let bomb = "<!DOCTYPE e [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><Envelope";
    says(good().changed("<Envelope", bomb), "document type");
    says(good().changed("</Envelope>", ""), "ends inside");
    says(Package::of("<Envelope/>"), "no OVF descriptor");
    says(
        good().changed("ovf:size=\"90000\"", "ovf:size=\"10737418240\""),
        "the descriptor says 10737418240",
    );
    says(
        good().changed("ovf:size=\"90000\"", "ovf:size=\"99999999999999\""),
        "too large",
    );
    says(
        good().changed("ovf:size=\"90000\"", "ovf:size=\"-1\""),
        "not a number",
    );
    says(
        good().changed("href=\"win-1.vmdk\"", "href=\"../win-1.vmdk\""),
        "contains no \"/\"",
    );
    says(
        good().changed("href=\"win-1.vmdk\"", "href=\"%2e%2e%2fwin-1.vmdk\""),
        "contains no \"/\"",
    );
    says(
        good().changed("href=\"win-1.vmdk\"", "href=\"https://x/y.vmdk\""),
        "fetched from elsewhere",
    );
    says(
        good().changed(
            "ovf:id=\"file1\" ",
            "ovf:id=\"file1\" ovf:compression=\"gzip\" ",
        ),
        "compressed",
    );
    says(
        good().changed("ovf:fileRef=\"file1\"", "ovf:fileRef=\"file9\""),
        "does not list",
    );
    says(
        good().changed("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk9"),
        "does not list",
    );
    says(
        good().changed("ovf:/disk/vmdisk1", "ovf:/file/file2"),
        "nvram",
    );
    says(
        good().changed("<Name>win</Name>", "<Name>../win</Name>"),
        "name",
    );
    says(
        good().changed("windows2019srv_64Guest", "a&quot;b"),
        "guest",
    );
    // Archives.
    says(good().with("win-1.vmdk", b"again"), "two files");
    says(good().with("../evil", b"x"), "contains no \"/\"");
    says(good().with("/etc/evil", b"x"), "contains no \"/\"");
    says(
        Package(vec![("readme.txt".to_owned(), vec![1])]),
        "first file",
    );
    let mut missing = good();
    missing.0.remove(1);
    says(missing, "does not have it");
    // Manifests.
    let mut damaged = good().with_manifest(1);
    damaged.0[2].1[100] ^= 1;
    says(damaged, "hash");
    let mut damaged = good().with_manifest(4);
    damaged.0[0].1.push(b'\n');
    says(damaged, "hash");
    let mut short = good().with_manifest(4);
    short.0[4].1.truncate(80);
    says(short, "hexadecimal digits");
    let unlisted = Package(good().0[..3].to_vec()).with_manifest(1);
    says(
        unlisted.with("tools disc.iso", b"CD001"),
        "does not list tools disc.iso",
    );
    says(
        good().with(
            "win.mf",
            b"SHA1(gone)= a9993e364706816aba3e25717850c26c9cd0d89d\n",
        ),
        "does not have",
    );
    // Certificate files, wherever they come.
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let signature = |manifest: &str| format!("SHA256({manifest})= 00ff\n{pem}");
    let signed = |text: &str| {
        let mut package = good().with_manifest(1);
        let file = ("win.cert".to_owned(), text.as_bytes().to_vec());
        package.0.insert(2, file);
        package
    };
    says(signed("hello"), "first line");
    says(signed("SHA256(win.mf)= 00\n"), "no certificate");
    says(signed(&signature("other.mf")), "the manifest is win.mf");
    let unlisted = good().with("win.cert", signature("win.mf").as_bytes());
    says(unlisted, "the package has none");
    assert!(world.operations.vapps().unwrap().is_empty());
    assert!(world.operations.templates().unwrap().is_empty());
    // Here is nobody who knows certificates; the task says so.
    let package = signed(&signature("win.mf"));
    let task = done(import(&world, &to_shelf("signed"), &package.ova()));
    let said = "win.cert: the signature of the manifest was not checked";
    assert!(task.notes.iter().any(|note| note == said));
}

#[test]
fn members_that_are_no_plain_files_are_refused() {
    let world = acme("8.0.3");
    for (kind, words) in [
        (tar::EntryType::Symlink, "symbolic link"),
        (tar::EntryType::Link, "hard link"),
        (tar::EntryType::Directory, "folder"),
        (tar::EntryType::Fifo, "no plain file"),
    ] {
        let mut bytes = Package::vsphere().ova();
        bytes.truncate(bytes.len() - 1024);
        let mut header = tar::Header::new_gnu();
        header.set_path("link").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        bytes.write_all(header.as_bytes()).unwrap();
        bytes.extend([0; 1024]);
        let text = refused(&world, &bytes);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_package_that_is_cut_anywhere_leaves_nothing() {
    let world = acme("8.0.3");
    let whole = Package::vsphere().with_manifest(1).ova();
    for part in 0..40 {
        let text = refused(&world, &whole[..(whole.len() - 1024) * part / 40]);
        assert!(text.contains("broke off"), "{part}: {text}");
    }
    let mut flipped = 0;
    for at in (0..16_384).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        let before = world.files();
        if import(&world, &to_vapp("odd"), &bytes).is_err() {
            assert!(world.files() == before);
            flipped += 1;
        }
    }
    assert!(flipped > 100, "changes are noticed: {flipped}");
}

#[test]
fn an_upload_that_is_killed_at_any_transaction_is_there_or_not() {
    for last_one_counts in [false, true] {
        let mut lives = 1;
        loop {
            let world = acme("8.0.3");
            let before = world.files();
            let ova = Package::vsphere().ova();
            let (world, died) = world.killed_at(lives, last_one_counts, |operations| {
                operations.import_package(&to_shelf("golden"), &mut ova.as_slice())
            });
            match world.operations.template("golden") {
                Ok(template) => {
                    assert_eq!(template.vms.len(), 1);
                    done(
                        world
                            .operations
                            .instantiate("golden", &instance("one", "vdc1", None)),
                    );
                }
                Err(_) => assert!(world.files() == before, "at {lives}: something is left"),
            }
            if !died {
                break;
            }
            lives += 1;
        }
        assert!(lives > 2);
    }
}

fn export(world: &World, what: &ExportPackage) -> Vec<u8> {
    let export = world.operations.export_package(what).unwrap();
    let mut bytes = Vec::new();
    export.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, export.length());
    bytes
}

#[test]
fn what_is_exported_comes_back_with_new_tpms_and_holds_no_secret() {
    let world = acme("8.0.3");
    shop(&world);
    done(import(&world, &to_vapp("app"), &Package::vsphere().ova()));
    done(world.operations.add_to_vapp("shop", &like("app/win", COPY)));
    let bytes = export(&world, &ExportPackage::Vapp("shop".to_owned()));
    for vm in ["shop/web", "shop/db", "shop/win"] {
        assert!(!contains(&bytes, &world.seed(vm)), "{vm}");
        let nvram = std::fs::read_dir(folder_of(&world, vm)).unwrap();
        let nvram = nvram
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension() == Some("nvram".as_ref()));
        let nvram = std::fs::read(nvram.unwrap()).unwrap();
        assert!(!contains(&bytes, &nvram[nvram.len() / 2..][..64]));
    }
    done(import(&world, &to_vapp("back"), &bytes));
    let back = world.operations.vapp("back").unwrap();
    let tpms: Vec<bool> = back.vms.iter().map(|vm| vm.tpm.present).collect();
    let names: Vec<&str> = back.vms.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(
        (names, tpms),
        (
            vec!["db", "log", "web", "win"],
            vec![true, false, true, true]
        )
    );
    assert_ne!(world.seed("back/web"), world.seed("shop/web"));
    let disk = std::fs::read(folder_of(&world, "back/web").join("web-1.vmdk")).unwrap();
    assert!(disk == b"web".repeat(30_000));
    assert_eq!(setting(&world, "back/win", "numvcpus").unwrap(), "4");
    assert_eq!(
        setting(&world, "back/win", "scsi0:0.fileName").unwrap(),
        "win-2.vmdk"
    );
    let view = world.operations.vm("back/win").unwrap();
    assert_eq!(
        (view.hardware_version, view.guest.as_str()),
        (19, "windows2019srv_64Guest")
    );
    // While a package is written its VMs stay.
    let held = world
        .operations
        .export_package(&ExportPackage::Vm("shop/web".to_owned()))
        .unwrap();
    let error = world.operations.delete_vapp("shop").err().unwrap();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(held);
    done(world.operations.power_on("shop/web", false));
    let error = world
        .operations
        .export_package(&ExportPackage::Vapp("shop".to_owned()))
        .err()
        .unwrap();
    assert!(error.to_string().contains("powered on"), "{error}");
}

#[test]
fn packages_keep_to_the_users_organization_role_and_privileges() {
    let world = acme("8.0.3");
    shop(&world);
    world.operations.create_organization(name("rival")).unwrap();
    let user = |organization: &str, role: Role| {
        world.operations.as_user(Principal {
            name: name("somebody"),
            organization: Some(name(organization)),
            role,
        })
    };
    let ova = Package::vsphere().ova();
    let import = |user: &crate::Scoped, request: &ImportPackage, ova: &[u8]| {
        let mut reader = ova;
        user.import_package(request, &mut reader)
    };
    let what = ExportPackage::Vapp("acme/shop".to_owned());
    let rival = user("rival", Role::Administrator);
    for request in [to_shelf("t"), to_vapp("v")] {
        let error = import(&rival, &request, &ova).err().unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
        let error = rival.preview_import_package(&request, &mut ova.as_slice());
        assert_eq!(error.err().unwrap().kind(), crate::ErrorKind::NotFound);
    }
    let error = rival.export_package(&what).err().unwrap();
    assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
    let forbidden = |error: Option<Error>| matches!(error, Some(Error::Forbidden { .. }));
    let looker = user("acme", Role::VappUser);
    assert!(forbidden(import(&looker, &to_vapp("v"), &ova).err()));
    assert!(forbidden(import(&looker, &to_shelf("t"), &ova).err()));
    assert!(forbidden(looker.export_package(&what).err()));
    // Without privileges over keys a package without a TPM is all that is taken.
    let plain = Package::vsphere()
        .changed("vmware.vtpm", "vmware.other")
        .ova();
    let keyless = user("acme", Role::NoCryptographyAdministrator);
    assert!(forbidden(import(&keyless, &to_vapp("v"), &ova).err()));
    done(import(&keyless, &to_vapp("v"), &plain));
    let author = user("acme", Role::CatalogAuthor);
    assert!(forbidden(import(&author, &to_vapp("w"), &plain).err()));
    assert!(forbidden(import(&keyless, &to_shelf("t"), &ova).err()));
    let task = done(import(&author, &to_shelf("t"), &ova));
    assert!(task.owner.is_some_and(|owner| owner.contains("somebody")));
    assert!(
        author
            .export_package(&ExportPackage::Template("t".to_owned()))
            .is_ok()
    );
}
