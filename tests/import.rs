//! `vtpm import swtpm`: a TPM that real clients have used in Debian's swtpm goes on here, with all its keys.

#![cfg(test)]

mod support;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use support::certified::certified;
use support::{Client, Daemon, Process, VTPM, folder, listens, wait_for};

/// Fills a TPM: storage keys of both kinds, an endorsement key and an attestation key, all persistent; sealed data and keys
/// under them; NV indices of three kinds; passwords; settings of the lockout; a PCR.
const FILL: &str = r#"
quiet() { "$@" -Q; tpm2_flushcontext -t; }
quiet tpm2_createprimary -C o -g sha256 -G ecc -c p.ctx; tpm2_evictcontrol -Q -C o -c p.ctx 0x81000001; tpm2_flushcontext -t
quiet tpm2_createprimary -C o -g sha256 -G rsa -c p.ctx; tpm2_evictcontrol -Q -C o -c p.ctx 0x81000002; tpm2_flushcontext -t
quiet tpm2_createek -c 0x81010001 -G rsa -u ek.pub
tpm2_createak -Q -C 0x81010001 -c ak.ctx -G rsa -g sha256 -s rsassa -u ak.pub
tpm2_evictcontrol -Q -C o -c ak.ctx 0x81010002; tpm2_flushcontext -t
printf secret > plain
quiet tpm2_create -C 0x81000001 -i plain -u sealed1.pub -r sealed1.priv -p sealedpw
quiet tpm2_create -C 0x81000002 -i plain -u sealed2.pub -r sealed2.priv -p sealedpw
quiet tpm2_create -C 0x81000001 -G rsa -u key1.pub -r key1.priv
quiet tpm2_create -C 0x81000002 -G ecc -u key2.pub -r key2.priv
tpm2_nvdefine -Q 0x1500001 -C o -s 16 -p nvpw -a "authread|authwrite|ownerread|ownerwrite"
printf 0123456789abcdef | tpm2_nvwrite -Q 0x1500001 -P nvpw -i -
tpm2_nvdefine -Q 0x1500002 -C o -a "nt=counter|ownerread|ownerwrite"
tpm2_nvincrement -Q 0x1500002 -C o; tpm2_nvincrement -Q 0x1500002 -C o
tpm2_nvdefine -Q 0x1500003 -C o -s 8 -a "ownerread|ownerwrite|orderly"
printf orderly! | tpm2_nvwrite -Q 0x1500003 -C o -i -
tpm2_changeauth -Q -c o ownerpw; tpm2_changeauth -Q -c e endpw; tpm2_changeauth -Q -c l lockpw
tpm2_dictionarylockout -Q -s -n 7 -t 77 -l 777 -p lockpw
tpm2_pcrextend -Q 7:sha256=0101010101010101010101010101010101010101010101010101010101010101
tpm2_pcrread -Q sha256:7 -o pcr.before
tpm2_getcap properties-variable | grep -E "LOCKOUT|MAX_AUTH|Set|TPMGENERATEDEPS" > lockout.before
"#;

/// The dictionary-attack protection is as it was.
const LOCKOUT: &str = r#"
tpm2_getcap properties-variable | grep -E "LOCKOUT|MAX_AUTH|Set|TPMGENERATEDEPS" | diff lockout.before -
"#;

/// What must still work, without `-P` where that would be wrong, and what must not.
const USE: &str = r#"
for parent in 1 2; do
    tpm2_load -Q -C 0x8100000$parent -u sealed$parent.pub -r sealed$parent.priv -c sealed.ctx
    [ "$(tpm2_unseal -c sealed.ctx -p sealedpw)" = secret ]
    ! tpm2_unseal -c sealed.ctx -p wrong
    tpm2_flushcontext -t
    tpm2_load -Q -C 0x8100000$parent -u key$parent.pub -r key$parent.priv -c key.ctx
    tpm2_sign -Q -c key.ctx -g sha256 -o signature plain
    tpm2_verifysignature -Q -c key.ctx -g sha256 -m plain -s signature
    tpm2_flushcontext -t
done
tpm2_quote -Q -c 0x81010002 -l sha256:7 -m quote -s quote.sig -q 1234
tpm2_checkquote -Q -u ak.pub -m quote -s quote.sig -q 1234
tpm2_readpublic -Q -c 0x81010001 -o ek.now; cmp ek.pub ek.now
[ "$(tpm2_nvread 0x1500001 -P nvpw)" = 0123456789abcdef ]
! tpm2_nvread 0x1500001 -P wrong
[ "$(tpm2_nvread 0x1500002 -C o -P ownerpw | xxd -p)" = 0000000000000002 ]
tpm2_nvincrement -Q 0x1500002 -C o -P ownerpw
[ "$(tpm2_nvread 0x1500002 -C o -P ownerpw | xxd -p)" = 0000000000000003 ]
! tpm2_nvread 0x1500002 -C o
tpm2_changeauth -Q -c e -p endpw endpw2
"#;

/// Makes primary keys of every kind in the hierarchies `$2`, and a key under one of each kind of parent; the Names go into the folder `$1`.
const PRIMARIES: &str = r#"
primaries() {
    mkdir -p $1
    make() {
        name=$1; shift
        tpm2_createprimary -Q "$@" -c p.ctx
        tpm2_readpublic -Q -c p.ctx -n $folder/$name > $folder/$name.public
    }
    folder=$1
    key="fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
    for h in $2; do
        make $h.ecc384 -C $h -G ecc384 -g sha384; tpm2_flushcontext -t
        make $h.ecc521 -C $h -G ecc521 -g sha512; tpm2_flushcontext -t
        make $h.signing -C $h -G ecc256:ecdsa:null -a "sign|$key"; tpm2_flushcontext -t
        make $h.rsa1024 -C $h -G rsa1024; tpm2_flushcontext -t
        make $h.rsasign -C $h -G rsa2048:rsapss:null -g sha384 -a "sign|$key"; tpm2_flushcontext -t
        make $h.hmac -C $h -G hmac -a "sign|$key"; tpm2_flushcontext -t
        make $h.aes -C $h -G aes128cfb -a "sign|decrypt|$key"; tpm2_flushcontext -t
        for parent in rsa ecc aes256cfb; do
            make $h.$parent -C $h -G $parent
            $3 $h.$parent; tpm2_flushcontext -t
        done
    done
    # Of a size that takes its time; one is enough.
    make o.rsa3072 -C o -G rsa3072; tpm2_flushcontext -t
    for kind in rsa ecc ecc384; do
        tpm2_createek -Q -c ek.ctx -G $kind -u $folder/ek.$kind.pub; tpm2_flushcontext -t
    done
}
child() { printf secret | tpm2_create -Q -C p.ctx -i - -u $1.pub -r $1.priv; }
open() { tpm2_load -Q -C p.ctx -u $1.pub -r $1.priv -c child.ctx; [ "$(tpm2_unseal -c child.ctx)" = secret ]; }
"#;

/// Folders and sockets of one test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(folder())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A server of either program on the state folder `name`.
    fn serve(&self, program: &mut Command, name: &str, options: &[&str]) -> Process {
        let (data, control) = (self.path("tpm"), self.path("tpm.ctrl"));
        let mut process = Process::start(
            program
                .current_dir(self.0.path())
                .args(["socket", "--tpm2", "--tpmstate", &format!("dir={name}")])
                .arg("--server")
                .arg(format!("type=unixio,path={}", data.display()))
                .arg("--ctrl")
                .arg(format!("type=unixio,path={}", control.display()))
                .args(["--log", "file=server.log"])
                .args(options)
                .stdin(Stdio::null()),
        );
        wait_for("the sockets", || {
            assert_eq!(process.ended(), None, "it ended");
            // swtpm serves one client at a time, so the control channel is not tried.
            (listens(&control) && UnixStream::connect(&data).is_ok()).then_some(())
        });
        process
    }

    fn swtpm(&self, options: &[&str]) -> Process {
        fs::create_dir_all(self.path("theirs")).expect("a folder");
        self.serve(&mut Command::new("swtpm"), "theirs", options)
    }

    fn vtpm(&self, folder: &str, options: &[&str]) -> Process {
        self.serve(Command::new(VTPM).arg("swtpm"), folder, options)
    }

    fn client(&self) -> Client {
        let tcti = format!("swtpm:path={}", self.path("tpm").display());
        Client::new(tcti, self.0.path())
    }

    fn sh(&self, script: &str) -> String {
        self.client().sh(&format!("set -e\n{script}"))
    }

    /// Ends a server of either program in an orderly way.
    fn end(&self, mut process: Process) {
        let control = self.path("tpm.ctrl");
        let output = Command::new(VTPM)
            .args(["swtpm-ioctl", "-s", "--unix"])
            .arg(&control)
            .output();
        support::finish("swtpm-ioctl -s", output.expect("it starts"));
        assert!(process.wait().success());
        let _ = fs::remove_file(control);
        let _ = fs::remove_file(self.path("tpm"));
    }

    fn import(&self, arguments: &[&str]) -> Output {
        Command::new(VTPM)
            .current_dir(self.0.path())
            .args(["import", "swtpm", "theirs"])
            .args(arguments)
            .output()
            .expect("vtpm starts")
    }

    fn imported(&self, arguments: &[&str]) -> String {
        support::finish("import", self.import(arguments))
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.import(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }
}

#[test]
fn a_tpm_goes_on_with_all_its_keys() {
    let place = Place::new();
    let theirs = place.swtpm(&["--flags", "startup-clear"]);
    place.sh(FILL);
    place.sh("tpm2_shutdown");
    let said = place.refused(&["--into", "ours"]);
    assert!(said.contains("swtpm runs on it"), "{said}");
    place.end(theirs);
    let report: serde_json::Value =
        serde_json::from_str(&place.imported(&["--into", "ours", "--json"])).expect("JSON");
    assert_eq!(
        report["nv_indices"],
        serde_json::json!(["0x01500001", "0x01500002", "0x01500003"])
    );
    assert_eq!(
        report["persistent_objects"],
        serde_json::json!(["0x81000001", "0x81000002", "0x81010001", "0x81010002"])
    );
    let lost = report["not_carried_over"].to_string();
    assert!(
        lost.contains("saved contexts") && !lost.contains("primary keys"),
        "{lost}"
    );
    let said = place.refused(&["--into", "ours"]);
    assert!(said.contains("holds a TPM already"), "{said}");

    let ours = place.vtpm("ours", &["--flags", "startup-state"]);
    place.sh("tpm2_pcrread -Q sha256:7 -o pcr.now; cmp pcr.before pcr.now");
    place.sh("[ \"$(tpm2_nvread 0x1500003 -C o -P ownerpw)\" = orderly! ]");
    place.sh(LOCKOUT);
    place.sh(USE);
    place.end(ours);
    // And it is a TPM like any other from now on.
    let ours = place.vtpm("ours", &["--flags", "startup-clear"]);
    place.sh("[ \"$(tpm2_nvread 0x1500002 -C o -P ownerpw | xxd -p)\" = 0000000000000003 ]");
    place.end(ours);
}

#[test]
fn a_tpm_becomes_that_of_a_vm_of_the_daemon() {
    let place = Place::new();
    let theirs = place.swtpm(&["--flags", "startup-clear"]);
    place.sh(FILL);
    let ek_name = place.sh("tpm2_readpublic -Q -c 0x81010001 -n ek.name; xxd -p -c 99 ek.name");
    place.sh("tpm2_shutdown");
    place.end(theirs);
    let daemon = Daemon::start(&place.path("data"));
    let folder = place.path("theirs").display().to_string();
    let said = daemon.refused(["import", "swtpm", &folder, "--vm", "demo"]);
    assert!(said.contains("demo"), "{said}");
    let said = daemon.refused([
        "import",
        "swtpm",
        &folder,
        "--vm",
        "web01",
        "--firmware",
        "bios",
    ]);
    assert!(said.contains("EFI"), "{said}");

    let said = daemon.ok([
        "import",
        "swtpm",
        &folder,
        "--vm",
        "web01",
        "--guest",
        "debian12_64Guest",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["vm"]["tpm"]["origin"], "copy");
    // There is a password on the endorsement hierarchy; the name is known all the same.
    assert_eq!(report["vm"]["tpm"]["ek_name"], ek_name.trim());
    assert_eq!(report["vm"]["guest"], "debian12_64Guest");
    let lost = report["not_carried_over"].to_string();
    assert!(lost.contains("the PCR that"), "{lost}");
    daemon.ok(["vm", "start", "web01"]);
    let client = daemon.client("web01", place.0.path());
    client.sh(&format!("set -e\n{LOCKOUT}{USE}"));
    daemon.ok(["vm", "stop", "web01"]);

    // Twice is a copy, which is said.
    let said = daemon.ok(["import", "swtpm", &folder, "--vm", "web02"]);
    assert!(said.contains("now that of the VM web02"), "{said}");
    assert!(
        said.contains("web01 has the same endorsement key"),
        "{said}"
    );
}

#[test]
fn it_goes_either_into_a_folder_or_to_a_vm() {
    let place = Place::new();
    for arguments in [
        &[][..],
        &["--into", "ours", "--vm", "web01"],
        &["--into", "ours", "--guest", "ubuntu64Guest"],
        &["--vm", "web01", "--into-key", "file=key"],
    ] {
        let output = place.import(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn primary_keys_are_made_again_as_they_were() {
    let place = Place::new();
    let theirs = place.swtpm(&["--flags", "startup-clear"]);
    place.sh(&format!("{PRIMARIES}primaries before 'o e p n' child"));
    place.sh("tpm2_shutdown");
    place.end(theirs);
    place.imported(&["--into", "ours"]);
    let ours = place.vtpm("ours", &["--flags", "startup-state"]);
    place.sh(&format!(
        "{PRIMARIES}primaries after 'o e p n' open; diff -r before after"
    ));
    place.end(ours);
    // Over a loss of power, and without what ends with it: the seed of the NULL hierarchy.
    let ours = place.vtpm("ours", &["--flags", "startup-clear"]);
    place.sh("tpm2_createek -Q -c ek.ctx -G rsa -u ek.pub; cmp ek.pub before/ek.rsa.pub; tpm2_flushcontext -t");
    // A new seed is ours; the others stay what they are.
    place.sh(
        "tpm2_clear -Q; tpm2_createek -Q -c ek.ctx -G ecc -u ek.pub; cmp ek.pub before/ek.ecc.pub",
    );
    place.sh("tpm2_createprimary -Q -C p -c p.ctx -G ecc; open() { tpm2_load -Q -C p.ctx -u $1.pub -r $1.priv -c child.ctx; }; open p.ecc");
    place.end(ours);
}

#[test]
fn an_endorsement_key_that_is_made_again_matches_its_certificate() {
    let place = Place::new();
    let certificates = place.path("certificates");
    fs::create_dir(&certificates).expect("a folder");
    let certificates = certificates.display().to_string();
    let options = ["--write-ek-cert-files", &certificates];
    certified(place.0.path(), &place.path("theirs"), &options);
    place.imported(&["--into", "ours"]);
    let ours = place.vtpm("ours", &["--flags", "startup-clear"]);
    // Made from the template; no persistent key is used.
    place.sh(r#"
        key() {
            tpm2_createek -Q -c ek.ctx -G $1 -u ek.pem -f pem; tpm2_flushcontext -t
            openssl x509 -inform der -in $2 -noout -pubkey | cmp - ek.pem
        }
        tpm2_nvread -C o 0x1c00002 | cmp -n 512 - certificates/ek-rsa2048.crt
        key rsa certificates/ek-rsa2048.crt
        key ecc384 certificates/ek-secp384r1.crt
        "#);
    place.end(ours);
}

/// What tells how old the derivation from each seed is, and what follows it, in a state of libtpms 0.9.
const LEVELS: [u8; 9] = [1, 0, 6, 1, 1, 1, 1, 0, 0];

#[test]
fn keys_of_seeds_from_before_libtpms_0_8_are_made_as_they_were() {
    let place = Place::new();
    let theirs = place.swtpm(&["--flags", "startup-clear"]);
    place.end(theirs);
    let file = place.path("theirs").join("tpm2-00.permall");
    let mut state = fs::read(&file).expect("the state");
    let at = state.windows(LEVELS.len()).position(|part| part == LEVELS);
    let at = at.expect("the levels");
    state[at + 3..at + 6].fill(0);
    fs::write(&file, state).expect("written");
    let theirs = place.swtpm(&["--flags", "startup-clear"]);
    place.sh(&format!("{PRIMARIES}primaries before 'o e' child"));
    place.end(theirs);
    place.imported(&["--into", "ours"]);
    let ours = place.vtpm("ours", &["--flags", "startup-clear"]);
    place.sh(&format!(
        "{PRIMARIES}primaries after 'o e' open; diff -r before after"
    ));
    place.end(ours);
}

#[test]
fn a_tpm_that_lost_power_suddenly_goes_on_after_a_reset() {
    let place = Place::new();
    let mut theirs = place.swtpm(&["--flags", "startup-clear"]);
    place.sh(FILL);
    theirs.kill();
    let _ = fs::remove_file(place.path("tpm.ctrl"));
    let _ = fs::remove_file(place.path("tpm"));
    place.imported(&["--into", "ours"]);
    let ours = place.vtpm("ours", &["--flags", "not-need-init"]);
    place.sh("! tpm2_startup; tpm2_startup -c");
    place.sh("! tpm2_nvread 0x1500003 -C o -P ownerpw");
    place.sh(USE);
    place.end(ours);
}

#[test]
fn encrypted_state_opens_with_its_key_alone() {
    for (name, contents, option, other) in [
        (
            "passphrase",
            "some passphrase",
            "pwdfile=passphrase,mode=aes-256-cbc",
            "pwdfile=passphrase,mode=aes-cbc",
        ),
        (
            "key",
            "00112233445566778899aabbccddeeff",
            "file=key,mode=aes-cbc,format=hex",
            "pwdfile=key,mode=aes-256-cbc",
        ),
    ] {
        let place = Place::new();
        fs::write(place.path(name), contents).expect("written");
        fs::write(place.path("wrong"), "ffeeddccbbaa99887766554433221100").expect("written");
        let theirs = place.swtpm(&["--flags", "startup-clear", "--key", option]);
        place.sh("tpm2_nvdefine -Q 0x1500001 -C o -s 4; printf wxyz | tpm2_nvwrite -Q 0x1500001 -C o -i -");
        place.end(theirs);
        let said = place.refused(&["--into", "ours"]);
        assert!(said.contains("--key"), "{said}");
        let said = place.refused(&["--into", "ours", "--key", other]);
        assert!(said.contains("-bit key"), "{said}");
        let said = place.refused(&["--into", "ours", "--key", &option.replace(name, "wrong")]);
        assert!(said.contains("does not open"), "{said}");
        assert!(!place.path("ours").exists(), "nothing was made");
        // Under a key of the user's again.
        place.imported(&["--into", "ours", "--key", option, "--into-key", option]);
        let ours = place.vtpm("ours", &["--flags", "startup-clear", "--key", option]);
        place.sh("[ \"$(tpm2_nvread 0x1500001 -C o)\" = wxyz ]");
        place.end(ours);
    }
}

#[test]
fn what_is_no_state_is_refused_and_nothing_is_made() {
    let place = Place::new();
    let theirs = place.path("theirs");
    let said = place.refused(&["--into", "ours"]);
    assert!(said.contains("theirs"), "{said}");
    fs::create_dir(&theirs).expect("a folder");
    let said = place.refused(&["--into", "ours"]);
    assert!(said.contains("tpm2-00.permall"), "{said}");
    let state = fs::read(support::data("swtpm_0_7_state.bin")).expect("the state");
    let write = |bytes: &[u8]| fs::write(theirs.join("tpm2-00.permall"), bytes).expect("written");
    for (bytes, word) in [
        (&b""[..], "like a state file"),
        (b"no state of anything", "like a state file"),
        (&state[..state.len() - 1], "cut or altered"),
        (&vec![0; 5 << 20], "too large"),
    ] {
        write(bytes);
        let said = place.refused(&["--into", "ours"]);
        assert!(said.contains(word), "{said}");
    }
    let mut altered = state.clone();
    *altered.last_mut().expect("a byte") ^= 0xff;
    write(&altered);
    place.refused(&["--into", "ours"]);
    assert!(!place.path("ours").exists());
    write(&state);
    place.refused(&["--into", "ours", "--profile", "no-such-profile"]);
    place.imported(&["--into", "ours"]);
}
