//! What becomes of TPMs in operations on whole vApps, asked of the TPMs themselves with tpm2-tools.

#![cfg(test)]

mod support;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use support::{Client, Daemon, files_below, folder, only_for_vtpm};
use tempfile::TempDir;

/// A daemon with the organization `acme`, the virtual data center `vdc1` on vCenter `vc01`, and the catalog `shelf`.
struct Cloud {
    daemon: Daemon,
    work: TempDir,
    _home: TempDir,
}

impl Cloud {
    fn new() -> Option<Self> {
        if only_for_vtpm("it has no daemon") {
            return None;
        }
        let home = folder();
        let daemon = Daemon::start(&home.path().join("data"));
        daemon.ok(["org", "add", "acme"]);
        daemon.ok(["vdc", "add", "vdc1", "--vcenter", "vc01"]);
        daemon.ok(["catalog", "add", "shelf", "--vdc", "vdc1"]);
        Some(Self {
            daemon,
            work: folder(),
            _home: home,
        })
    }

    /// A vApp `shop` with the VMs `web` and `db`; `web` has sealed a secret, defined an NV index and kept a key.
    fn shop(&self) {
        self.daemon.ok([
            "vapp", "create", "shop", "--tpm-vm", "web", "--tpm-vm", "db", "--vm", "log",
        ]);
        self.with("shop/web", |client| {
            client.sh(
                "tpm2_createprimary -Q -C o -c primary.ctx
                 printf 'open sesame' | tpm2_create -Q -C primary.ctx -u sealed.pub -r sealed.priv -i -
                 tpm2_nvdefine -Q -C o -s 8 0x1500016
                 printf '12345678' | tpm2_nvwrite -Q -C o -i - 0x1500016
                 tpm2_evictcontrol -Q -C o -c primary.ctx 0x81000001",
            );
        });
    }

    /// Powers a VM on for as long as it takes.
    fn with<T>(&self, vm: &str, work: impl FnOnce(&Client) -> T) -> T {
        self.daemon.ok(["vm", "start", vm]);
        let client = self.daemon.client(vm, self.work.path());
        let result = work(&client);
        self.daemon.ok(["vm", "stop", vm]);
        result
    }

    /// The name of the endorsement key, from the TPM itself.
    fn ek(&self, vm: &str) -> String {
        self.with(vm, |client| {
            client.sh("tpm2_createek -Q -G rsa -c ek.ctx -u ek.pub
                 tpm2_readpublic -c ek.ctx | grep '^name'
                 tpm2_flushcontext -t 2>/dev/null || true")
        })
    }

    /// Whether the VM's TPM is the one that `shop/web` was: it unseals, and it has the index and the key.
    fn knows_the_secret(&self, vm: &str) -> bool {
        self.with(vm, |client| {
            let script = "set -e
                 tpm2_createprimary -Q -C o -c primary.ctx
                 tpm2_load -Q -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx
                 test \"$(tpm2_unseal -c sealed.ctx)\" = 'open sesame'";
            let unseals = client.try_sh(script).status.success();
            let index = client
                .try_sh("test \"$(tpm2_nvread -C o -s 8 0x1500016)\" = 12345678")
                .status
                .success();
            let key = client
                .try_sh("tpm2_readpublic -Q -c 0x81000001")
                .status
                .success();
            assert!(
                unseals == index && index == key,
                "{vm}: {unseals} {index} {key}"
            );
            unseals
        })
    }

    fn json<const N: usize>(&self, arguments: [&str; N]) -> Value {
        serde_json::from_str(&self.daemon.ok(arguments)).expect("JSON")
    }
}

#[test]
fn copies_of_a_vapp_have_its_tpms_and_replacements_have_their_own() {
    let Some(cloud) = Cloud::new() else { return };
    let daemon = &cloud.daemon;
    cloud.shop();
    let (web, db) = (cloud.ek("shop/web"), cloud.ek("shop/db"));
    assert_ne!(web, db);

    daemon.ok(["vapp", "copy", "shop", "twin"]);
    assert_eq!(cloud.ek("twin/web"), web);
    assert!(cloud.knows_the_secret("twin/web"));

    daemon.ok(["vapp", "copy", "shop", "fresh", "--tpm", "replace"]);
    let fresh = cloud.ek("fresh/web");
    assert!(fresh != web && fresh != db && fresh != cloud.ek("fresh/db"));
    assert!(!cloud.knows_the_secret("fresh/web"));
    assert!(
        cloud.knows_the_secret("shop/web"),
        "the source is as it was"
    );

    daemon.ok(["vapp", "copy", "shop", "mixed", "--vm-tpm", "db=replace"]);
    assert_eq!(cloud.ek("mixed/web"), web);
    assert_ne!(cloud.ek("mixed/db"), db);

    // A move keeps the TPM, and never replaces it.
    daemon.ok(["vdc", "add", "vdc2", "--vcenter", "vc01"]);
    let text = daemon.refused(["vapp", "move", "twin", "vdc2", "--tpm", "replace"]);
    assert!(text.contains("possible: copy"), "{text}");
    daemon.ok(["vapp", "move", "twin", "vdc2"]);
    assert!(cloud.knows_the_secret("twin/web"));
    daemon.ok(["vm", "move", "twin/web", "fresh", "--name", "old-web"]);
    assert!(cloud.knows_the_secret("fresh/old-web"));

    let tree = cloud.json(["vm", "lineage", "fresh/old-web", "--json"]);
    assert_eq!(tree["name"], "web");
    assert_eq!(tree["children"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_template_decides_what_its_instances_get() {
    let Some(cloud) = Cloud::new() else { return };
    let daemon = &cloud.daemon;
    cloud.shop();
    let web = cloud.ek("shop/web");
    daemon.ok(["vapp", "capture", "shop", "shelf", "gold"]);
    daemon.ok([
        "vapp", "capture", "shop", "shelf", "blank", "--tpm", "replace",
    ]);
    // The source loses its TPM; the template has it as it was.
    let text = daemon.refused(["vm", "tpm", "remove", "shop/web"]);
    assert!(
        text.contains("recovery key") && text.contains("--confirm"),
        "{text}"
    );
    daemon.ok(["vm", "tpm", "remove", "shop/web", "--confirm"]);
    daemon.ok(["vm", "tpm", "add", "shop/web"]);
    assert_ne!(cloud.ek("shop/web"), web);
    assert!(!cloud.knows_the_secret("shop/web"));

    for vapp in ["one", "two"] {
        daemon.ok(["template", "instantiate", "gold", vapp]);
        assert!(cloud.knows_the_secret(&format!("{vapp}/web")));
    }
    let text = daemon.refused(["template", "instantiate", "blank", "x", "--tpm", "copy"]);
    assert!(text.contains("rule 1.5"), "{text}");
    daemon.ok([
        "template",
        "instantiate",
        "blank",
        "many",
        "--vm",
        "web",
        "--count",
        "8",
    ]);
    let many = cloud.json(["vapp", "show", "many", "--json"]);
    let mut names: Vec<&str> = many["vms"]
        .as_array()
        .expect("VMs")
        .iter()
        .map(|vm| vm["tpm"]["ek_name"].as_str().expect("a name"))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 8);
    let reported = names.iter().any(|name| {
        let name = name.to_string();
        cloud.ek("many/web-3").contains(&name)
    });
    assert!(reported, "what the inventory says is what the TPM says");

    // Only the template that replaces is offered to others.
    let offer = daemon.ok(["catalog", "publish", "shelf"]);
    assert!(
        offer.contains("  blank\n") && offer.contains("withheld"),
        "{offer}"
    );
    daemon.ok(["template", "delete", "gold"]);
    daemon.ok(["vapp", "delete", "one"]);
    assert!(cloud.knows_the_secret("two/web"));
}

#[test]
fn across_vcenters_the_provider_and_storage_decide_and_previews_say_so() {
    let Some(cloud) = Cloud::new() else { return };
    let daemon = &cloud.daemon;
    cloud.shop();
    daemon.ok(["vcenter", "add", "vc02", "--version", "8.0.3"]);
    daemon.ok(["datastore", "add", "far", "--vcenter", "vc02"]);
    daemon.ok(["vdc", "add", "vdc2", "--vcenter", "vc02"]);
    let files = || {
        let mut all: Vec<_> = files_below(&daemon.folder().join("datastores"))
            .into_iter()
            .map(|path| (fs::read(&path).expect("a file"), path))
            .collect();
        all.sort_by(|a, b| a.1.cmp(&b.1));
        all
    };
    let before = files();
    let output = daemon.vtpm(["vapp", "move", "shop", "vdc2", "--preview", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let preview: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut rules: Vec<&str> = preview["failures"]
        .as_array()
        .expect("failures")
        .iter()
        .filter(|failure| failure["vm"] == "web")
        .map(|failure| failure["rule"].as_str().expect("a rule"))
        .collect();
    rules.sort_unstable();
    assert_eq!(
        rules,
        ["mutual-trust", "provider-on-target", "shared-storage"]
    );
    daemon.refused(["vapp", "move", "shop", "vdc2"]);
    assert!(files() == before, "something was written");

    let output = daemon.output();
    let after = |words: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(words));
        line.expect("the words of the first run").trim().to_owned()
    };
    let backup = after("The backup of the key provider is ");
    let password = after("Its password, shown this once: ");
    let mut restore = daemon
        .command([
            "provider",
            "restore",
            &backup,
            "--name",
            "vc01-nkp",
            "--vcenter",
            "vc02",
            "--password-stdin",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the verb runs");
    writeln!(restore.stdin.take().expect("its input"), "{password}").expect("it reads");
    assert!(restore.wait().expect("it ends").success());
    daemon.ok(["vcenter", "trust", "vc01", "vc02"]);
    let text = daemon.refused(["vapp", "move", "shop", "vdc2"]);
    assert!(text.contains("rule 1.6b"), "{text}");
    // The exception: moveVApp needs no shared storage.
    daemon.ok(["vapp", "move", "shop", "vdc2", "--api"]);
    assert!(cloud.knows_the_secret("shop/web"));
    daemon.ok(["config", "set", "fast-cross-vcenter-instantiation", "on"]);
    let preview = daemon.ok(["vapp", "copy", "shop", "back", "--vdc", "vdc1", "--preview"]);
    assert!(
        preview.contains("kept") && !preview.contains("not met"),
        "{preview}"
    );
    daemon.ok(["vapp", "copy", "shop", "back", "--vdc", "vdc1"]);
    assert!(cloud.knows_the_secret("back/web"));
}

/// Runs `tests/data/packages.py`.
fn python(arguments: &[&str]) -> String {
    let script = support::data("packages.py");
    let output = std::process::Command::new("python3")
        .arg(script)
        .args(arguments)
        .output();
    support::finish(
        &format!("packages.py {arguments:?}"),
        output.expect("python3 starts"),
    )
}

#[test]
fn packages_bring_vms_with_new_tpms_and_exported_ones_are_what_others_read() {
    let Some(cloud) = Cloud::new() else { return };
    let daemon = &cloud.daemon;
    let work = cloud.work.path();
    let path = |name: &str| work.join(name).to_str().expect("UTF-8").to_owned();
    let ova = path("win.ova");
    python(&["make", work.to_str().expect("UTF-8"), &ova]);

    // Scenario 13: as a template, by an archive.
    let said = daemon.ok(["template", "upload", &ova, "--catalog", "shelf"]);
    assert!(said.contains("win-file2.nvram was read over"), "{said}");
    daemon.ok(["template", "instantiate", "win", "one"]);
    daemon.ok(["template", "instantiate", "win", "two"]);
    let (one, two) = (cloud.ek("one/win"), cloud.ek("two/win"));
    assert_ne!(one, two);
    // As a vApp, by the descriptor with its files beside it; as a standalone VM.
    let descriptor = path("win.ovf");
    let preview = daemon.ok(["vapp", "import-ovf", &descriptor, "three", "--preview"]);
    assert!(preview.contains("new"), "{preview}");
    daemon.ok(["vapp", "import-ovf", &descriptor, "three"]);
    daemon.ok(["vapp", "import-ovf", &ova, "alone", "--standalone"]);
    assert_ne!(cloud.ek("three/win"), cloud.ek("alone"));
    let disk = fs::read(path("win-disk1.vmdk")).expect("the disk");
    for vm in ["one/win", "three/win", "alone"] {
        let vm = daemon.vm(vm);
        let part = |key: &str| vm[key].as_str().expect("text").to_owned();
        let folder = daemon.folder().join("datastores").join(part("datastore"));
        let folder = folder.join(part("folder"));
        let copied = fs::read(folder.join("win-disk1.vmdk")).expect("its disk");
        assert!(copied == disk);
        assert_eq!(vm["hardware_version"], 20);
        for file in files_below(&folder) {
            let bytes = fs::read(&file).expect("a file");
            let foreign = memchr::memmem::find(&bytes, b"a foreign TPM's seeds");
            assert_eq!(foreign, None, "{}", file.display());
        }
    }

    // What we export, others read: Python's tar, XML and hashes say so.
    cloud.shop();
    let exported = path("shop.ova");
    daemon.ok(["vm", "move", "one/win", "shop"]);
    daemon.ok(["vapp", "export", "shop", "--to", &exported]);
    let systems: Value = serde_json::from_str(&python(&["check", &exported])).expect("JSON");
    let tpms = |vm: &str| systems[vm]["tpms"].as_u64().expect("a number");
    assert_eq!(
        [tpms("web"), tpms("db"), tpms("log"), tpms("win")],
        [1, 1, 0, 1]
    );
    assert_eq!(systems["win"]["drives"], 1);
    assert_eq!(systems["win"]["hardware"], "vmx-20");
    assert_eq!(systems["win"]["guest"], "windows2022srvNext_64Guest");
    daemon.ok(["vapp", "import-ovf", &exported, "back"]);
    assert!(
        !cloud.knows_the_secret("back/web"),
        "a package has no secret"
    );
    assert!(cloud.knows_the_secret("shop/web"));
    daemon.ok(["template", "download", "win", "--to", &path("apart")]);
    let apart = work.join("apart/win.ovf");
    daemon.ok([
        "template",
        "upload",
        apart.to_str().expect("UTF-8"),
        "--catalog",
        "shelf",
        "--name",
        "again",
    ]);

    // What is wrong is refused, and nothing of it stays.
    let before = files_below(&daemon.folder().join("datastores"));
    let bytes = fs::read(&ova).expect("the package");
    let cut = path("cut.ova");
    fs::write(&cut, bytes.get(..bytes.len() / 2).expect("half")).expect("written");
    let text = daemon.refused([
        "template",
        "upload",
        &cut,
        "--catalog",
        "shelf",
        "--name",
        "x",
    ]);
    assert!(text.contains("broke off"), "{text}");
    let changed = path("changed.ova");
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    if let Some(byte) = damaged.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&changed, damaged).expect("written");
    let text = daemon.refused(["vapp", "import-ovf", &changed, "x"]);
    assert!(text.contains("hash"), "{text}");
    let text = daemon.refused(["vapp", "import-ovf", &ova, "three"]);
    assert!(text.contains("three"), "{text}");
    fs::write(path("bomb.ovf"), "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>").expect("written");
    let text = daemon.refused(["vapp", "import-ovf", &path("bomb.ovf"), "x"]);
    assert!(text.contains("document type"), "{text}");
    assert_eq!(files_below(&daemon.folder().join("datastores")), before);
}

/// The peak of a process's memory, in KiB.
fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).expect("a number")
}

/// A tar header by hand, of a file of that length.
fn tar_header(name: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        let field = block.get_mut(at..at + bytes.len()).expect("in the block");
        field.copy_from_slice(bytes);
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{size:011o} ").as_bytes());
    put(148, b"        ");
    put(156, b"0ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let field = block.get_mut(148..156).expect("in the block");
    field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[test]
fn a_large_package_takes_no_memory_and_one_whose_sender_goes_away_no_room() {
    const DISK: u64 = 160 << 20;
    let Some(mut cloud) = Cloud::new() else {
        return;
    };
    let work = cloud.work.path().to_str().expect("UTF-8").to_owned();
    let ova = cloud.work.path().join("win.ova");
    python(&["make", &work, ova.to_str().expect("UTF-8")]);
    let descriptor = fs::read_to_string(cloud.work.path().join("win.ovf")).expect("the descriptor");
    let descriptor = descriptor
        .replace("ovf:size=\"3072004\"", &format!("ovf:size=\"{DISK}\""))
        .replace(
            "<ovf:File ovf:href=\"win-file2.nvram\" ovf:id=\"file2\" ovf:size=\"88000\"/>",
            "",
        );
    let mut head = tar_header("win.ovf", descriptor.len() as u64);
    head.extend_from_slice(descriptor.as_bytes());
    head.resize(head.len().next_multiple_of(512), 0);
    head.extend(tar_header("win-disk1.vmdk", DISK));
    let length = head.len() as u64 + DISK + 1024;
    let socket = cloud.daemon.folder().join("vtpm.sock");
    let begin = |name: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("the daemon");
        write!(
            stream,
            "POST /v1/packages?catalog=shelf&name={name} HTTP/1.1\r\nhost: vtpm\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
        .and_then(|()| stream.write_all(&head))
        .expect("it reads");
        stream
    };
    let part = vec![7u8; 1 << 20];
    let files = || files_below(&cloud.daemon.folder().join("datastores"));
    let before = files();
    let mut stream = begin("left");
    for _ in 0..8 {
        stream.write_all(&part).expect("it reads");
    }
    support::wait_for("the file that is being written", || {
        (files().len() > before.len()).then_some(())
    });
    drop(stream);
    support::wait_for("nothing to be left", || (files() == before).then_some(()));

    let process = cloud.daemon.process().id();
    let memory = peak_memory(process);
    let mut stream = begin("large");
    for _ in 0..DISK >> 20 {
        stream.write_all(&part).expect("it reads");
    }
    stream.write_all(&[0; 1024]).expect("it reads");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let more = peak_memory(process) - memory;
    assert!(more < 48 << 10, "{more} KiB for a package of {DISK} bytes");

    // What no package may be is refused before it is sent.
    let mut stream = begin("large");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
}
