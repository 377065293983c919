//! `vtpm serve` in an empty folder: a VM with a TPM, real work on its socket, clones of it, and damaged files refused.

#![cfg(test)]

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::raw::{NvKind, RawTpm, get_random, nv_define, nv_read, nv_write, start_auth_session};
use support::{
    Client, Daemon, PATIENCE_IN_SECONDS, VTPM, copy_folder, file_with_extension, files_below,
    finish, folder, only_for_vtpm,
};
use tempfile::TempDir;

/// A daemon on an empty folder, and a folder for clients.
struct Place {
    daemon: Daemon,
    work: TempDir,
    home: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if only_for_vtpm("it has no daemon") {
            return None;
        }
        let home = folder();
        Some(Place {
            daemon: Daemon::start(&home.path().join("data")),
            work: folder(),
            home,
        })
    }

    fn client(&self, vm: &str) -> Client {
        self.daemon.client(vm, self.work.path())
    }

    /// The folder that holds the files of a VM.
    fn files(&self, vm: &str) -> PathBuf {
        let name = format!("{vm}.vmx");
        files_below(self.daemon.folder())
            .into_iter()
            .find(|path| path.file_name().is_some_and(|found| found == name.as_str()))
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_else(|| panic!("no {name}"))
    }

    fn nvram(&self, vm: &str) -> PathBuf {
        file_with_extension(&self.files(vm), "nvram")
    }

    fn vmx(&self, vm: &str) -> PathBuf {
        file_with_extension(&self.files(vm), "vmx")
    }

    /// Starting the VM must be refused with a message that names the file, and leave the VM's files as they are.
    fn assert_refused(&self, vm: &str, file: &Path, what: &str) {
        let before = contents(&self.files(vm));
        let said = self.daemon.refused(["vm", "start", vm]);
        let name = file.file_name().expect("a name").to_string_lossy();
        assert!(
            said.contains(&*name),
            "{what}: does not name {name}: {said}"
        );
        assert!(contents(&self.files(vm)) == before, "{what}: files changed");
        assert_eq!(self.daemon.vm_field(vm, "/power"), "off", "{what}");
    }
}

/// Every file of a folder with its bytes; locks aside, which are empty.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files_below(folder)
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("a readable file");
            (path, bytes)
        })
        .collect()
}

/// Seals a secret and leaves a persistent key, an NV index and an owner password behind.
fn settle(client: &Client) {
    client.sh("
        printf 'the sealed secret' > secret
        tpm2_createprimary -C o -G ecc -c primary.ctx
        tpm2_create -C primary.ctx -i secret -u seal.pub -r seal.priv
        tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -u key.pub -r key.priv
        tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx -n key.name
        tpm2_evictcontrol -C o -c key.ctx 0x81000001
        tpm2_readpublic -c 0x81000001 -f pem -o key.pem
        tpm2_nvdefine 0x1500001 -C o -s 7 -a 'ownerread|ownerwrite'
        printf settled | tpm2_nvwrite 0x1500001 -C o -i -
    ");
}

/// What `settle` left is there and works.
const SETTLED: &str = "
    tpm2_readpublic -c 0x81000001 -n found.name
    same key.name found.name
    echo message > message
    tpm2_sign -c 0x81000001 -g sha256 -f plain -o signature message
    openssl dgst -sha256 -verify key.pem -signature signature message
    equal \"$(tpm2_nvread 0x1500001 -C o -s 7)\" settled
    tpm2_createprimary -C o -G ecc -c primary.ctx
    tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    tpm2_unseal -c seal.ctx -o opened
    same secret opened
";

#[test]
fn an_empty_folder_becomes_a_vm_with_a_tpm_that_clients_use() {
    let Some(place) = Place::new() else { return };
    let vm = place.daemon.vm("demo");
    assert_eq!(vm["name"], "demo");
    assert_eq!(vm["vcenter"], "vc01");
    assert_eq!(vm["power"], "on");
    assert_eq!(vm["tpm"]["present"], true);
    assert_eq!(vm["tpm"]["origin"], "new");
    // The lines to paste, pasted.
    let printed = place.daemon.announcement();
    let exports: Vec<&str> = printed
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("export "))
        .collect();
    let script = format!(
        "unset TPM2TOOLS_TCTI\n{}\ntpm2_getrandom --hex 8",
        exports.join("\n")
    );
    let output = Command::new("bash").args(["-c", &script]).output();
    assert_eq!(finish(&script, output.expect("bash")).trim().len(), 16);
    // And real work.
    let client = place.client("demo");
    for flow in [
        "capabilities.sh",
        "quote.sh",
        "seal_pcr_policy.sh",
        "credentials.sh",
    ] {
        client.flow(flow);
    }
    // The name of the RSA endorsement key is what clients see.
    client.sh("tpm2_createek -c ek.ctx -G rsa -u ek.pub; tpm2_readpublic -c ek.ctx -n ek.name > /dev/null");
    let name = hex::encode(fs::read(place.work.path().join("ek.name")).expect("ek.name"));
    assert_eq!(place.daemon.vm_field("demo", "/tpm/ek_name"), name);
}

#[test]
fn listings_are_json_when_asked() {
    let Some(place) = Place::new() else { return };
    for arguments in [["vm", "list", "--json"], ["provider", "list", "--json"]] {
        let text = place.daemon.ok(arguments);
        let listed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{text}");
    }
    assert!(place.daemon.ok(["vm", "list"]).contains("demo"));
    assert!(
        place
            .daemon
            .refused(["vm", "show", "nobody"])
            .contains("nobody")
    );
}

#[test]
fn a_copy_keeps_the_tpm_and_a_replacement_is_another() {
    let Some(place) = Place::new() else { return };
    settle(&place.client("demo"));
    place
        .daemon
        .ok(["vm", "clone", "demo", "copied", "--tpm", "copy"]);
    place
        .daemon
        .ok(["vm", "clone", "demo", "replaced", "--tpm", "replace"]);
    place.daemon.ok(["vm", "clone", "demo", "default"]);
    for vm in ["copied", "replaced", "default"] {
        assert_eq!(place.daemon.vm_field(vm, "/power"), "off");
        place.daemon.ok(["vm", "start", vm]);
    }
    let ek = |vm| place.daemon.vm_field(vm, "/tpm/ek_name");
    assert_eq!(ek("copied"), ek("demo"));
    assert_eq!(ek("default"), ek("demo"));
    assert_ne!(ek("replaced"), ek("demo"));
    assert_eq!(place.daemon.vm_field("copied", "/tpm/origin"), "copy");
    assert_eq!(place.daemon.vm_field("replaced", "/tpm/origin"), "replace");
    assert_ne!(
        place.daemon.vm_field("copied", "/id"),
        place.daemon.vm_field("demo", "/id")
    );
    for vm in ["demo", "copied", "default"] {
        place.client(vm).sh(SETTLED);
    }
    place.client("replaced").sh("
        equal \"$(tpm2_getcap handles-persistent)\" ''
        # Certificates of its own are all that it has.
        equal \"$(tpm2_getcap handles-nv-index | grep -v 0x1C0)\" ''
        tpm2_createprimary -C o -G ecc -c primary.ctx
        refused 0x1df tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    ");
    // From now on they are two TPMs: what one learns the other does not know.
    place
        .client("copied")
        .sh("printf 'changed' | tpm2_nvwrite 0x1500001 -C o -i -");
    place.client("demo").sh(SETTLED);
}

#[test]
fn two_copies_never_draw_the_same_random_bytes() {
    let Some(place) = Place::new() else { return };
    // Copies of a machine that is on, of one that is off, and of a copy.
    place
        .daemon
        .ok(["vm", "clone", "demo", "one", "--tpm", "copy"]);
    place
        .daemon
        .ok(["vm", "clone", "demo", "two", "--tpm", "copy"]);
    place.daemon.ok(["vm", "stop", "demo"]);
    place
        .daemon
        .ok(["vm", "clone", "demo", "three", "--tpm", "copy"]);
    place
        .daemon
        .ok(["vm", "clone", "three", "four", "--tpm", "copy"]);
    let mut seen = HashSet::new();
    for vm in ["demo", "one", "two", "three", "four"] {
        place.daemon.ok(["vm", "start", vm]);
        let mut tpm = RawTpm::connect_unix(&place.daemon.socket(vm));
        // The same commands in the same order everywhere.
        for round in 0..20 {
            let random = tpm.ok(&get_random(32)).first_buffer().to_vec();
            assert!(seen.insert(random), "{vm}, round {round}: random bytes");
            let started = tpm.ok(&start_auth_session());
            let handle: [u8; 4] = started.body()[..4].try_into().expect("four bytes");
            let nonce = started.body()[6..].to_vec();
            assert!(nonce.len() >= 16);
            assert!(seen.insert(nonce), "{vm}, round {round}: nonce");
            let flush = support::raw::Bytes::new().raw(&handle);
            tpm.ok(&support::raw::command(0x165, &flush));
        }
    }
    // Keys as well: their private parts come from the same source.
    let mut names = HashSet::new();
    for vm in ["demo", "one", "two", "three", "four"] {
        place.client(vm).sh("
            tpm2_createprimary -C o -G ecc -c primary.ctx
            tpm2_create -C primary.ctx -G ecc -u fresh.pub -r fresh.priv
        ");
        let public = fs::read(place.work.path().join("fresh.pub")).expect("a public part");
        assert!(names.insert(public), "{vm}: the same new key");
    }
}

#[test]
fn what_is_persistent_outlives_power_off_the_daemon_and_its_sudden_end() {
    let Some(mut place) = Place::new() else {
        return;
    };
    settle(&place.client("demo"));
    place.daemon.ok(["vm", "stop", "demo"]);
    assert_eq!(place.daemon.vm_field("demo", "/power"), "off");
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh(SETTLED);
    place.daemon.stop();
    place.daemon.start_again();
    assert_eq!(
        place.daemon.vm_field("demo", "/power"),
        "on",
        "it was on before"
    );
    place.client("demo").sh(SETTLED);
    let mut tpm = RawTpm::connect_unix(&place.daemon.socket("demo"));
    tpm.ok(&nv_define(0x0150_0002, NvKind::Ordinary, 8, b""));
    for number in 0..10_u64 {
        tpm.ok(&nv_write(0x0150_0002, b"", &number.to_be_bytes()));
        place.daemon.process().kill();
        place.daemon.start_again();
        tpm = RawTpm::connect_unix(&place.daemon.socket("demo"));
        let read = tpm.ok(&nv_read(0x0150_0002, b"", 8));
        assert_eq!(read.first_buffer(), number.to_be_bytes());
    }
    place.client("demo").sh(SETTLED);
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let said = place.daemon.refused(["serve"]);
    let data = place.daemon.folder().display().to_string();
    assert!(said.contains(&data), "does not name {data}: {said}");
    assert!(place.daemon.process().ended().is_none());
    place.client("demo").flow("random.sh");
}

#[test]
fn a_second_server_on_the_same_state_is_refused() {
    if only_for_vtpm("it locks when told to") {
        return;
    }
    let home = folder();
    let mut server = support::TpmServer::start(support::Protocol::Swtpm, home.path());
    let ports = support::PortPair::claim();
    let output = Command::new("timeout")
        .args([
            PATIENCE_IN_SECONDS,
            VTPM,
            "simulator",
            "--port",
            &ports.first.to_string(),
            "--state",
        ])
        .arg(server.state())
        .output()
        .expect("vtpm starts");
    assert!(
        !output.status.success() && output.status.code() != Some(124),
        "{output:?}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in use"), "{said}");
    server.assert_alive();
}

/// Flips one bit at each position in turn: each time it is refused, or does not matter at all. Says how many were refused.
fn flips_refused(place: &Place, file: &Path, positions: &[usize]) -> usize {
    const SECTOR: usize = 512;
    let mut refused = 0;
    for &position in positions {
        let whole = fs::read(file).expect("the file");
        let mut changed = whole.clone();
        changed[position] ^= 0x10;
        fs::write(file, &changed).expect("the changed file");
        if place.daemon.vtpm(["vm", "start", "demo"]).status.success() {
            place.client("demo").sh(SETTLED);
            place.daemon.ok(["vm", "stop", "demo"]);
            // It has been written since, and must not be put back; only the sector, if it still has the flipped bit.
            let mut now = fs::read(file).expect("the file");
            let sector = position / SECTOR * SECTOR..(position / SECTOR + 1) * SECTOR;
            if now[sector.clone()] == changed[sector] {
                now[position] = whole[position];
                fs::write(file, &now).expect("the mended file");
            }
        } else {
            let what = format!("byte {position} of {}", file.display());
            place.assert_refused("demo", file, &what);
            fs::write(file, &whole).expect("the file as it was");
            refused += 1;
        }
    }
    refused
}

#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let Some(place) = Place::new() else { return };
    settle(&place.client("demo"));
    place.daemon.ok(["vm", "stop", "demo"]);
    let nvram = place.nvram("demo");
    let length = fs::metadata(&nvram).expect("metadata").len();
    let length = usize::try_from(length).expect("usize");
    // The header, and a spread over both slots that meets every part of a sector.
    let positions: Vec<usize> = [0, 9, 17, 40, 4070]
        .into_iter()
        .chain((0..25).map(|step| 4096 + step * (length - 4096) / 25 + step * 19 % 512))
        .filter(|&position| position < length)
        .collect();
    let refused = flips_refused(&place, &nvram, &positions);
    assert!(
        refused >= 5,
        "only {refused} of {} flips were noticed",
        positions.len()
    );
    // Whatever went on: the VM still starts from its own file.
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh(SETTLED);
}

#[test]
fn a_cut_extended_missing_or_strange_nvram_is_refused() {
    let Some(place) = Place::new() else { return };
    settle(&place.client("demo"));
    place.daemon.ok(["vm", "stop", "demo"]);
    let nvram = place.nvram("demo");
    let whole = fs::read(&nvram).expect("the file");
    for length in [
        0,
        1,
        511,
        512,
        4095,
        4096,
        whole.len() / 2,
        whole.len() - 512,
        whole.len() - 1,
    ] {
        fs::write(&nvram, &whole[..length]).expect("the cut file");
        place.assert_refused("demo", &nvram, &format!("cut to {length}"));
    }
    let extended = [whole.as_slice(), &[0; 512]].concat();
    fs::write(&nvram, &extended).expect("the extended file");
    place.assert_refused("demo", &nvram, "extended");
    fs::write(&nvram, vec![0; whole.len()]).expect("zeros");
    place.assert_refused("demo", &nvram, "zeros");
    // A missing file is no reason for a blank TPM.
    fs::remove_file(&nvram).expect("removed");
    place.assert_refused("demo", &nvram, "missing");
    assert!(!nvram.exists());
    // Nor is one that is elsewhere.
    let elsewhere = place.home.path().join("elsewhere.nvram");
    fs::write(&elsewhere, &whole).expect("the file elsewhere");
    std::os::unix::fs::symlink(&elsewhere, &nvram).expect("a link");
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains("demo.nvram"), "{said}");
    fs::remove_file(&nvram).expect("removed");
    fs::create_dir(&nvram).expect("a folder of that name");
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains("demo.nvram"), "{said}");
    fs::remove_dir(&nvram).expect("removed");
    fs::write(&nvram, &whole).expect("the file as it was");
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh(SETTLED);
}

#[test]
fn files_of_another_vm_are_refused() {
    let Some(place) = Place::new() else { return };
    settle(&place.client("demo"));
    place.daemon.ok(["vm", "stop", "demo"]);
    place
        .daemon
        .ok(["vm", "clone", "demo", "other", "--tpm", "copy"]);
    let (ours, theirs) = (place.nvram("demo"), place.nvram("other"));
    let whole = fs::read(&ours).expect("the file");
    fs::copy(&theirs, &ours).expect("the other's file");
    place.assert_refused("demo", &ours, "the .nvram of a copy");
    fs::write(&ours, &whole).expect("the file as it was");
    let vmx = place.vmx("demo");
    let text = fs::read(&vmx).expect("the file");
    fs::copy(place.vmx("other"), &vmx).expect("the other's file");
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains("demo"), "{said}");
    // Both together are no better: they say that they are another VM.
    fs::copy(&theirs, &ours).expect("the other's file");
    place.daemon.refused(["vm", "start", "demo"]);
    fs::write(&vmx, &text).expect("the file as it was");
    fs::write(&ours, &whole).expect("the file as it was");
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh(SETTLED);
}

#[test]
fn changed_settings_that_the_tpm_depends_on_are_refused_and_others_are_free() {
    let Some(place) = Place::new() else { return };
    settle(&place.client("demo"));
    place.daemon.ok(["vm", "stop", "demo"]);
    let vmx = place.vmx("demo");
    let text = fs::read_to_string(&vmx).expect("text");
    for key in [
        "uuid.bios",
        "vc.uuid",
        "vtpm.generation",
        "encryption.keySafe",
        "encryption.data",
        "vtpm.authentication",
        "vtpm.provisioning",
    ] {
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("no {key} in {text}"));
        // One character of the value, its last before the quote.
        let end = line.rfind('"').expect("a quote") - 1;
        let letter = line.as_bytes()[end];
        let other = if letter == b'1' { '2' } else { '1' };
        let changed = format!("{}{other}{}", &line[..end], &line[end + 1..]);
        fs::write(&vmx, text.replace(line, &changed)).expect("the changed file");
        place.assert_refused("demo", &vmx, key);
        fs::write(&vmx, text.replace(line, "")).expect("the changed file");
        place.assert_refused("demo", &vmx, &format!("no {key}"));
    }
    fs::write(&vmx, "").expect("an empty file");
    place.assert_refused("demo", &vmx, "empty");
    fs::write(&vmx, format!("{text}annotation = \"free to edit\"\n")).expect("the edited file");
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh(SETTLED);
    place.daemon.ok(["vm", "stop", "demo"]);
    let kept = fs::read_to_string(&vmx).expect("text");
    assert!(kept.contains("annotation = \"free to edit\""), "{kept}");
}

#[test]
fn files_put_back_from_an_older_date_are_refused() {
    let Some(place) = Place::new() else { return };
    settle(&place.client("demo"));
    place.daemon.ok(["vm", "stop", "demo"]);
    let files = place.files("demo");
    let old = place.home.path().join("old");
    copy_folder(&files, &old);
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh("
        tpm2_nvdefine 0x1500003 -C o -s 8 -a 'ownerread|ownerwrite'
        printf 12345678 | tpm2_nvwrite 0x1500003 -C o -i -
    ");
    place.daemon.ok(["vm", "stop", "demo"]);
    let new = place.home.path().join("new");
    copy_folder(&files, &new);
    let put_back = |from: &Path, extension: &str| {
        let file = file_with_extension(from, extension);
        fs::copy(&file, files.join(file.file_name().expect("a name"))).expect("the older file");
    };
    put_back(&old, "nvram");
    place.assert_refused("demo", &place.nvram("demo"), "an older .nvram");
    put_back(&old, "vmx");
    place.assert_refused(
        "demo",
        &place.nvram("demo"),
        "both files from an older date",
    );
    // Whoever means it can say so.
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(
        said.contains("rollback") || said.contains("older"),
        "{said}"
    );
    put_back(&new, "nvram");
    put_back(&new, "vmx");
    place.daemon.ok(["vm", "start", "demo"]);
    place
        .client("demo")
        .sh("equal \"$(tpm2_nvread 0x1500003 -C o -s 8)\" 12345678");
    place.client("demo").sh(SETTLED);
}

#[test]
fn a_native_provider_is_usable_once_backed_up_and_its_backup_opens_elsewhere() {
    let Some(place) = Place::new() else { return };
    place.daemon.ok(["provider", "create", "second"]);
    let said = place
        .daemon
        .refused(["vm", "create", "guarded", "--tpm", "--provider", "second"]);
    assert!(said.contains("second") && said.contains("back"), "{said}");
    let backup = place.home.path().join("second.p12");
    let file = backup.display().to_string();
    let mut command = place
        .daemon
        .command(["provider", "backup", "second", "--out", &file]);
    finish(
        "provider backup",
        command
            .env("VTPM_BACKUP_PASSWORD", "correct horse")
            .output()
            .expect("vtpm starts"),
    );
    place
        .daemon
        .ok(["vm", "create", "guarded", "--tpm", "--provider", "second"]);
    place.daemon.ok(["vm", "start", "guarded"]);
    place.client("guarded").flow("random.sh");
    // A PKCS#12 file that others read, and only with the password.
    let openssl = |password: &str| {
        Command::new("openssl")
            .args(["pkcs12", "-info", "-nokeys", "-in", &file, "-passin"])
            .arg(format!("pass:{password}"))
            .output()
            .expect("openssl starts")
    };
    finish("openssl pkcs12", openssl("correct horse"));
    assert!(!openssl("wrong").status.success());
    // Elsewhere, under the same name.
    let elsewhere = Daemon::start(&place.home.path().join("elsewhere"));
    let restore = |password: &str| {
        elsewhere
            .command(["provider", "restore", &file, "--name", "second"])
            .env("VTPM_BACKUP_PASSWORD", password)
            .output()
            .expect("vtpm starts")
    };
    assert!(!restore("wrong").status.success());
    assert!(!elsewhere.ok(["provider", "list"]).contains("second"));
    finish("provider restore", restore("correct horse"));
    assert!(elsewhere.ok(["provider", "list"]).contains("second"));
}

#[test]
fn a_missing_key_provider_is_named() {
    let Some(mut place) = Place::new() else {
        return;
    };
    settle(&place.client("demo"));
    let provider = place.daemon.vm_field("demo", "/provider");
    place.daemon.ok(["vm", "stop", "demo"]);
    place.daemon.stop();
    let file = files_below(place.daemon.folder())
        .into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name == format!("{provider}.provider.json").as_str())
        })
        .expect("the provider's file");
    let aside = place.home.path().join("aside");
    fs::rename(&file, &aside).expect("moved aside");
    place.daemon.start_again();
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains(&provider), "does not name {provider}: {said}");
    place.daemon.stop();
    fs::rename(&aside, &file).expect("moved back");
    place.daemon.start_again();
    place.daemon.ok(["vm", "start", "demo"]);
    place.client("demo").sh(SETTLED);
}

#[test]
fn a_deleted_vm_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    place.daemon.ok(["vm", "create", "short", "--tpm"]);
    let files = place.files("short");
    place.daemon.ok(["vm", "delete", "short"]);
    assert!(!files.exists());
    assert!(
        place
            .daemon
            .refused(["vm", "show", "short"])
            .contains("short")
    );
    // The name is free again.
    place.daemon.ok(["vm", "create", "short", "--tpm"]);
    let again = place.daemon.refused(["vm", "create", "short", "--tpm"]);
    assert!(again.contains("short"), "{again}");
}

#[test]
fn names_that_are_paths_are_refused() {
    let Some(place) = Place::new() else { return };
    let before = files_below(place.home.path());
    for name in [
        "../escape",
        "a/b",
        "..",
        ".hidden",
        "",
        "line\nbreak",
        &"x".repeat(300),
    ] {
        place.daemon.refused(["vm", "create", name, "--tpm"]);
        place.daemon.refused(["vm", "clone", "demo", name]);
    }
    let after = files_below(place.home.path());
    assert_eq!(before, after);
}
