//! What becomes of TPMs in operations on whole vApps, asked of the TPMs themselves with tpm2-tools.

#![cfg(test)]

mod support;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
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
    assert_eq!(
        (&tree[0]["name"], &tree[0]["depth"]),
        (&"web".into(), &0.into())
    );
    let below = tree.as_array().expect("a list").iter();
    assert_eq!(below.filter(|node| node["depth"] == 1).count(), 3);
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

    let output = daemon.announcement();
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

#[test]
fn a_signed_package_says_who_signed_it_and_one_that_was_changed_since_is_refused() {
    let Some(cloud) = Cloud::new() else { return };
    let daemon = &cloud.daemon;
    let work = cloud.work.path();
    let path = |name: &str| work.join(name).to_str().expect("UTF-8").to_owned();
    python(&["make", work.to_str().expect("UTF-8"), &path("unsigned.ova")]);
    // As others sign packages: with openssl.
    let sign = |key: &str, hash: &str| {
        let word = hash.to_uppercase();
        let script = format!(
            "set -e
             openssl req -x509 -newkey {key} -nodes -keyout key.pem -out cert.pem -days 20 -subj '/O=Example/CN=maker of packages'
             openssl dgst -{hash} -sign key.pem -out signature win.mf
             printf '{word}(win.mf)= %s\\n' $(od -An -v -tx1 signature | tr -d ' \\n') > win.cert
             cat cert.pem >> win.cert"
        );
        let output = std::process::Command::new("sh")
            .current_dir(work)
            .args(["-c", &script])
            .output();
        support::finish("openssl", output.expect("sh starts"));
    };
    let (descriptor, manifest) = (path("win.ovf"), path("win.mf"));
    let upload = |name: &str| {
        let arguments = ["template", "upload", &descriptor, "--catalog", "shelf"];
        daemon.vtpm(arguments.into_iter().chain(["--name", name]))
    };
    for (key, hash) in [
        ("rsa:2048", "sha256"),
        ("rsa:2048", "sha1"),
        ("ec -pkeyopt ec_paramgen_curve:P-256", "sha512"),
    ] {
        sign(key, hash);
        let name = format!("by-{hash}");
        let output = upload(&name);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        for words in [
            "win.cert: the manifest is signed by",
            "CN=maker of packages",
            "it issued itself",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(said.contains("weak"), hash == "sha1", "{said}");
    }
    let before = files_below(&daemon.folder().join("datastores"));
    let refused = |words: &str| {
        let output = upload("forged");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("win.cert") && said.contains(words),
            "{words}: {said}"
        );
    };
    // Each file is as the manifest says, but that is not the one that was signed.
    let text = fs::read_to_string(&manifest).expect("the manifest");
    fs::write(&manifest, text.replace('\n', "\r\n")).expect("written");
    refused("made no such signature");
    // Signed, by another key than that of the certificate.
    fs::write(&manifest, &text).expect("written");
    let certificate = fs::read_to_string(path("cert.pem")).expect("the certificate");
    sign("rsa:2048", "sha256");
    let forged = fs::read_to_string(path("win.cert")).expect("the signature");
    let (line, _) = forged.split_once('\n').expect("two parts");
    fs::write(path("win.cert"), format!("{line}\n{certificate}")).expect("written");
    refused("made no such signature");
    fs::write(path("win.cert"), "SHA256(win.mf)= 00\n").expect("written");
    refused("no certificate");
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

#[test]
fn a_suspended_tpm_goes_on_where_it_was_and_is_not_off() {
    let Some(mut cloud) = Cloud::new() else {
        return;
    };
    cloud.shop();
    // What only lives as long as the TPM has power: a register, an object, a session.
    let show = "tpm2_pcrread sha256:16 | tail -n 1; tpm2_getcap handles-transient; tpm2_getcap handles-saved-session";
    let on = |cloud: &Cloud, script: &str| {
        let client = cloud.daemon.client("shop/web", cloud.work.path());
        client.sh(script)
    };
    cloud.daemon.ok(["vm", "start", "shop/web"]);
    let fresh = on(&cloud, show);
    let before = on(
        &cloud,
        &format!(
            "tpm2_pcrextend 16:sha256=$(printf '%064d' 7)
             tpm2_createprimary -Q -C o -c /dev/null
             tpm2_startauthsession -Q -S session.ctx
             {show}"
        ),
    );
    assert_ne!(before, fresh);
    cloud.daemon.ok(["vm", "suspend", "shop/web"]);
    // It is so for a daemon that is killed, too.
    cloud.daemon.process().kill();
    cloud.daemon.start_again();
    let vm = cloud.daemon.vm("shop/web");
    assert_eq!(
        (&vm["power"], &vm["tpm"]["tcti"]),
        (&Value::from("suspended"), &Value::Null)
    );
    let folder = cloud.daemon.folder().join("datastores");
    let bytes = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
        files_below(&folder)
            .into_iter()
            .map(|file| (file.clone(), fs::read(&file).expect("a file")))
            .collect()
    };
    let files = bytes();
    for refused in [
        &["vm", "tpm", "remove", "shop/web", "--confirm"][..],
        &["vm", "delete", "shop/web"],
        &["vm", "rekey", "shop/web", "--deep"],
        &["vm", "suspend", "shop/web"],
        &["vapp", "delete", "shop"],
    ] {
        let output = cloud.daemon.vtpm(refused);
        assert_eq!(output.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("suspended"), "{refused:?}: {said}");
    }
    assert!(bytes() == files, "a refusal changed a file");
    cloud.daemon.ok(["vm", "rekey", "shop/web"]);
    // A copy has what is stored for good, and begins as after a power cycle.
    cloud.daemon.ok(["vapp", "copy", "shop", "twin"]);
    assert!(cloud.knows_the_secret("twin/web"));
    cloud.daemon.ok(["vm", "start", "shop/web"]);
    assert_eq!(on(&cloud, show), before);
    // Powering off a suspended VM gives that up.
    cloud.daemon.ok(["vm", "suspend", "shop/web"]);
    cloud.daemon.ok(["vm", "stop", "shop/web"]);
    cloud.daemon.ok(["vm", "start", "shop/web"]);
    assert_eq!(on(&cloud, show), fresh);
    cloud.daemon.ok(["vm", "stop", "shop/web"]);
    assert!(cloud.knows_the_secret("shop/web"));
}

/// What a VM made in some way has of the TPM that it was made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Has {
    Same,
    New,
}

#[test]
fn each_way_to_make_a_vm_from_another_gives_it_the_tpm_that_the_table_says() {
    use Has::{New, Same};

    let Some(web) = support::web::Web::new() else {
        return;
    };
    let token = web.token(support::web::ADMINISTRATOR, &web.password);
    let done = |path: &str, body: &Value| web.done(&token, "POST", path, body);
    web.daemon.ok(["org", "add", "acme"]);
    web.daemon.ok(["vdc", "add", "vdc1", "--vcenter", "vc01"]);
    web.daemon.ok(["catalog", "add", "shelf", "--vdc", "vdc1"]);
    let vms = [
        json!({"name": "web", "new": {"tpm": true}}),
        json!({"name": "log", "new": {}}),
    ];
    done("/v1/vapps", &json!({"name": "shop", "vms": vms}));
    let work = folder();
    // Powers a VM on for a script; whether that succeeded.
    let with = |vm: &str, script: &str| {
        let path = format!("/v1/vms/{}/power", vm.replace('/', "%2F"));
        done(&path, &json!({"action": "on"}));
        let outcome = web.daemon.client(vm, work.path()).try_sh(script);
        done(&path, &json!({"action": "off"}));
        outcome.status.success()
    };
    let made = "set -e
        tpm2_createprimary -Q -G ecc -C o -c primary.ctx
        printf 'open sesame' | tpm2_create -Q -C primary.ctx -u sealed.pub -r sealed.priv -i -
        tpm2_nvdefine -Q -C o -s 8 0x1500016
        printf '12345678' | tpm2_nvwrite -Q -C o -i - 0x1500016";
    assert!(with("shop/web", made));
    let unseals = "set -e
        tpm2_createprimary -Q -G ecc -C o -c primary.ctx
        tpm2_load -Q -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx
        test \"$(tpm2_unseal -c sealed.ctx)\" = 'open sesame'
        test \"$(tpm2_nvread -C o -s 8 0x1500016)\" = 12345678";
    let nothing = "test -z \"$(tpm2_getcap handles-nv-index | grep 1500016)\"";
    let view = |vm: &str| web.get(&token, &format!("/v1/vms/{}", vm.replace('/', "%2F")));
    let place = |vm: &str| {
        let vm = view(vm);
        let part = |key: &str| vm[key].as_str().expect("text").to_owned();
        let stores = web.daemon.folder().join("datastores");
        stores.join(part("datastore")).join(part("folder"))
    };
    let disk = "what a guest has on its disk".repeat(1000);
    fs::write(place("shop/web").join("web.vmdk"), &disk).expect("the disk");
    let source = || -> Vec<Vec<u8>> {
        let mut files = files_below(&place("shop/web"));
        files.sort();
        files.iter().map(|it| fs::read(it).expect("it")).collect()
    };
    let ek = view("shop/web")["tpm"]["ek_name"].clone();
    let before = source();
    let named = |name: &str| json!({"name": name});
    let chosen = |name: &str| json!({"name": name, "tpm": "replace"});
    let template = |name: &str, tpm: &str| json!({"name": name, "vapp": "shop", "catalog": "shelf", "tpm": tpm});
    done("/v1/templates", &template("kept", "copy"));
    done("/v1/templates", &template("blank", "replace"));
    let (kept, blank) = (
        "/v1/templates/kept/instantiate",
        "/v1/templates/blank/instantiate",
    );
    let items = |item: Value| json!({"items": [item]});
    let alone = |name: &str| json!({"name": name, "vm": "web", "standalone": true});
    for (path, body, vm, has) in [
        ("/v1/vapps/shop/copy", named("k1"), "k1/web", Same),
        ("/v1/vapps/shop/copy", chosen("k2"), "k2/web", New),
        (
            "/v1/vapps/shop/copy",
            json!({"name": "k3", "tpm": "copy", "vms": {"web": "replace"}}),
            "k3/web",
            New,
        ),
        ("/v1/vms/shop%2Fweb/clone", named("c1"), "c1", Same),
        ("/v1/vms/shop%2Fweb/clone", chosen("c2"), "c2", New),
        (
            "/v1/vapps/k2/vms",
            items(json!({"vm": "shop/web", "name": "w1"})),
            "k2/w1",
            Same,
        ),
        (
            "/v1/vapps/k2/vms",
            items(json!({"vm": "shop/web", "name": "w2", "tpm": "replace"})),
            "k2/w2",
            New,
        ),
        (kept, named("i1"), "i1/web", Same),
        (blank, named("i2"), "i2/web", New),
        (kept, alone("s1"), "s1", Same),
        (blank, alone("s2"), "s2", New),
        (
            "/v1/vapps",
            json!({"name": "b1", "vms": [{"template": "kept"}]}),
            "b1/web",
            Same,
        ),
        (
            "/v1/vapps/b1/vms",
            items(json!({"template": "blank", "name": "t"})),
            "b1/t-web",
            New,
        ),
        (
            "/v1/vms/c1/import",
            json!({"name": "m1", "moves": true}),
            "m1/c1",
            Same,
        ),
        (
            "/v1/vms/m1%2Fc1/move",
            json!({"vapp": "k1", "name": "old"}),
            "k1/old",
            Same,
        ),
    ] {
        let looked = web.send(
            Some(&token),
            "POST",
            &format!("{path}?preview=true"),
            Some(&body),
            &[],
        );
        let looked = looked.is(200, path).json();
        assert_eq!(looked["possible"], true, "{path} {body}: {looked}");
        done(path, &body);
        let copied = fs::read(place(vm).join("web.vmdk")).expect("its disk");
        assert!(copied == disk.as_bytes(), "{path} {body}");
        let (same, script) = match has {
            Same => (true, unseals),
            New => (false, nothing),
        };
        assert_eq!(view(vm)["tpm"]["ek_name"] == ek, same, "{path} {body}");
        assert!(with(vm, script), "{path} {body}: {has:?}");
        if has == New {
            assert!(!with(vm, unseals), "{path} {body}: {has:?}");
        }
    }
    assert!(source() == before, "a source was changed");
    assert!(with("shop/web", unseals));
}
