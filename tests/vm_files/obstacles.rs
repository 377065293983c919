//! What stands where a file should be, backups that are none, and two daemons on one datastore.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Daemon, PATIENCE_IN_SECONDS, VTPM, files_below};
use crate::{DATA, Place, define, read, said};

/// What to call an obstacle, and how to put it there.
type Obstacle = (&'static str, Box<dyn Fn()>);

/// What stands in the place of a file.
fn obstacles(at: &Path, whole: &Path) -> [Obstacle; 4] {
    let (link, dangling, fifo, dir) = (at.to_owned(), at.to_owned(), at.to_owned(), at.to_owned());
    let whole = whole.to_owned();
    [
        (
            "symbolic link",
            Box::new(move || symlink(&whole, &link).expect("a link")),
        ),
        (
            "symbolic link",
            Box::new(move || symlink("/nonexistent", &dangling).expect("a link")),
        ),
        (
            "FIFO",
            Box::new(move || {
                let made = Command::new("mkfifo").arg(&fifo).status();
                assert!(made.expect("mkfifo").success());
            }),
        ),
        (
            "folder",
            Box::new(move || fs::create_dir(&dir).expect("a folder")),
        ),
    ]
}

#[test]
fn what_is_no_regular_file_is_refused_by_name_at_once() {
    let Some(place) = Place::new() else { return };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "snapshot", "demo", "s"]);
    place.daemon.ok(["vm", "stop", "demo"]);
    let snapshot = files_below(&place.files())
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "vmsn"))
        .expect("a snapshot");
    let provider = place
        .daemon
        .folder()
        .join("providers/vc01/vc01-nkp.provider.json");
    for (path, verb) in [
        (
            place.files().join("demo.nvram"),
            ["vm", "start", "demo", "--json"],
        ),
        (
            place.files().join("demo.vmx"),
            ["vm", "start", "demo", "--json"],
        ),
        (
            place.files().join("vm.lock"),
            ["vm", "start", "demo", "--json"],
        ),
        (provider, ["vm", "start", "demo", "--json"]),
        (snapshot, ["vm", "revert", "demo", "s"]),
    ] {
        let file = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let whole = place.home.path().join("whole");
        fs::rename(&path, &whole).expect("moved");
        let secret = fs::read(&whole).expect("the file");
        for (kind, put) in obstacles(&path, &whole) {
            put();
            let said = place.daemon.refused(verb);
            assert!(
                said.contains(&file) && said.contains(kind),
                "{kind}: {said}"
            );
            // The file behind a link was not touched.
            assert_eq!(fs::read(&whole).expect("the file"), secret);
            if path.symlink_metadata().expect("metadata").is_dir() {
                fs::remove_dir(&path).expect("removed");
            } else {
                fs::remove_file(&path).expect("removed");
            }
        }
        fs::rename(&whole, &path).expect("moved back");
    }
    // A VM's whole folder behind a link.
    let elsewhere = place.home.path().join("elsewhere");
    fs::rename(place.files(), &elsewhere).expect("moved");
    symlink(&elsewhere, place.files()).expect("a link");
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains("demo"), "{said}");
    fs::remove_file(place.files()).expect("removed");
    fs::rename(&elsewhere, place.files()).expect("moved back");
    place.daemon.ok(["vm", "start", "demo"]);
    assert_eq!(read(&mut place.tpm(), DATA), b"original");
}

#[test]
fn a_backup_that_is_cut_of_another_provider_or_given_a_wrong_password_is_refused_by_name() {
    let Some(place) = Place::new() else { return };
    let daemon = &place.daemon;
    let (backup, password) = place.backup();
    daemon.ok(["vcenter", "add", "vc02", "--version", "8.0.3"]);
    let restore = |name: &str, file: &Path, password: &str| {
        let file = file.display().to_string();
        let mut command = daemon.command([
            "provider",
            "restore",
            "--name",
            name,
            "--vcenter",
            "vc02",
            file.as_str(),
        ]);
        command.env("VTPM_BACKUP_PASSWORD", password);
        let output = command.output().expect("vtpm starts");
        (output.status.code(), said(&output))
    };
    let whole = PathBuf::from(backup);
    let bytes = fs::read(&whole).expect("the backup");
    let put = |name: &str, bytes: &[u8]| {
        let path = place.home.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    let cases: [(&str, PathBuf, &str, &str); 7] = [
        ("vc01-nkp", whole.clone(), "wrong", "password"),
        ("other", whole.clone(), &password, "\"vc01-nkp\""),
        (
            "vc01-nkp",
            put("cut.p12", &bytes[..200]),
            &password,
            "backup",
        ),
        (
            "vc01-nkp",
            put("changed.p12", &changed),
            &password,
            "backup",
        ),
        ("vc01-nkp", put("empty.p12", b""), &password, "backup"),
        (
            "vc01-nkp",
            put("large.p12", &vec![0; 2 << 20]),
            &password,
            "large.p12",
        ),
        (
            "vc01-nkp",
            place.home.path().to_owned(),
            &password,
            "folder",
        ),
    ];
    for (name, file, password, word) in cases {
        let (code, text) = restore(name, &file, password);
        assert_eq!(code, Some(1), "{}: {text}", file.display());
        assert!(text.contains(word), "{}: {text}", file.display());
        assert!(!text.contains(password), "{text}");
        let list = daemon.ok(["provider", "list", "--json"]);
        assert!(!list.contains("vc02"), "{list}");
    }
    let (code, text) = restore("vc01-nkp", &whole, &password);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn two_daemons_on_one_datastore_are_one_too_many() {
    let Some(mut place) = Place::new() else {
        return;
    };
    // A second data folder whose datastore is the first one's.
    let other = place.home.path().join("other");
    let mut second = Daemon::start(&other);
    second.stop();
    let theirs = other.join("datastores/datastore1");
    fs::remove_dir_all(&theirs).expect("removed");
    let shared = place.daemon.folder().join("datastores/datastore1");
    symlink(&shared, &theirs).expect("a link");
    // The link leads out of the sandbox; opened to it, the lock decides.
    let place_of_both = shared.display().to_string();
    let output = second.vtpm(["serve", "--allow", &place_of_both]);
    let text = said(&output);
    assert!(!output.status.success() && output.status.code() != Some(124));
    assert!(
        text.contains("datastore1") && text.contains("in use"),
        "{text}"
    );
    assert!(place.daemon.process().ended().is_none());
    place.client().flow("random.sh");
}

#[test]
fn a_fifo_or_a_folder_that_a_user_names_is_refused_at_once_by_every_verb_that_reads_a_file() {
    let Some(place) = Place::new() else { return };
    let here = place.home.path();
    let fifo = here.join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo").success());
    let dir = here.join("dir");
    fs::create_dir(&dir).expect("a folder");
    fs::write(here.join("empty"), b"").expect("a file");
    // In each, FILE is what is no file. What has to reach a TPM or a daemon reads its files before.
    let of_daemon = [
        "provider restore --name kp FILE",
        "provider add kms --kind standard --server 127.0.0.1:1 --client-cert FILE --client-key empty",
        "provider add kms --kind standard --server 127.0.0.1:1 --server-cert FILE",
        "provider set-certificate vc01-nkp --cert FILE",
        "vcenter ca set-certificate vc01 --cert FILE",
        "vm ek set-certificate demo --cert FILE",
        "vm identity set-certificate demo --cert FILE",
        "vapp import-ovf FILE new",
        "vm create other --tpm --profile file=FILE",
    ];
    let alone = [
        "attest verify FILE --nonce 00",
        "attest verify empty --nonce 00 --ca FILE",
        "attest verify empty --nonce 00 --policy FILE",
        "attest verify --message FILE --signature empty --pcrs empty --key empty --nonce 00",
        "attest policy FILE -o policy.json",
        "attest keylime FILE --policy empty",
        "boot --tcti swtpm:port=1 --kernel FILE --log boot.log",
        "trace FILE",
        "key-service init --data keys --policy empty --ca FILE",
        "swtpm socket --tpm2 --tpmstate dir=state --ctrl type=unixio,path=ctrl --key file=FILE",
        "swtpm-setup --tpm2 --tpmstate dir=state --config FILE",
        "swtpm-ioctl --unix ctrl --load permanent FILE",
        "serve --listen 127.0.0.1:0 --tls-cert FILE --tls-key empty",
    ];
    for words in of_daemon.iter().chain(&alone) {
        for (file, kind) in [(&fifo, "a FIFO"), (&dir, "a folder")] {
            let name = file.display().to_string();
            let mut command = Command::new("timeout");
            command.args([PATIENCE_IN_SECONDS, VTPM]).current_dir(here);
            command.env("VTPM_BACKUP_PASSWORD", "secret");
            if of_daemon.contains(words) {
                command.env("VTPM_DATA", place.daemon.folder());
            } else {
                command.env("VTPM_DATA", here.join("other"));
            }
            command.args(words.split(' ').map(|word| word.replace("FILE", &name)));
            let output = command.output().expect("vtpm starts");
            let text = said(&output);
            let code = output.status.code();
            assert!(
                code.is_some_and(|code| code != 0 && code != 124),
                "{words}: {text}"
            );
            assert!(
                text.contains(&name) && text.contains(kind),
                "{words}: {text}"
            );
        }
    }
    // State is taken over from a folder, too; and a file that is to be written waits for no reader.
    for words in [
        "import swtpm FILE --into new-state",
        "swtpm socket --tpm2 --tpmstate dir=state --ctrl type=unixio,path=ctrl --pid file=FILE",
    ] {
        let name = fifo.display().to_string();
        let output = Command::new("timeout")
            .args([PATIENCE_IN_SECONDS, VTPM])
            .args(words.split(' ').map(|word| word.replace("FILE", &name)))
            .current_dir(here)
            .output()
            .expect("vtpm starts");
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{words}: {text}");
        assert!(text.contains(&name) && text.contains("a FIFO"), "{text}");
    }
    // What the shell hands over as a pipe is read.
    let piped = Command::new("bash")
        .args(["-c", "\"$0\" attest verify <(echo '{') --nonce 00", VTPM])
        .output()
        .expect("bash");
    assert!(said(&piped).contains("evidence.form"), "{}", said(&piped));
    assert_eq!(piped.status.code(), Some(4));
}

#[test]
fn one_vm_that_is_refused_does_not_hold_up_the_others() {
    let Some(place) = Place::new() else { return };
    let daemon = &place.daemon;
    for name in ["a", "c"] {
        daemon.ok(["vm", "create", name, "--tpm"]);
    }
    daemon.ok(["vm", "create", "plain"]);
    let power = |vm: &str| daemon.vm_field(vm, "/power");
    let all = |verb: &str| {
        let output = daemon.vtpm(["vm", verb, "a", "nobody", "c"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{verb}: {text}");
        assert!(
            text.contains("vtpm: nobody: ") && text.contains("1 of 3 VMs failed"),
            "{verb}: {text}"
        );
        text
    };
    let text = all("start");
    assert!(
        text.contains("a: powered on") && text.contains("c: powered on"),
        "{text}"
    );
    assert_eq!([power("a"), power("c")], ["on", "on"]);
    all("stop");
    assert_eq!([power("a"), power("c")], ["off", "off"]);
    all("unlock");
    all("delete");
    let left = daemon.ok(["vm", "list", "--json"]);
    assert!(!left.contains("\"a\"") && !left.contains("\"c\"") && left.contains("plain"));
    // One alone is refused in its own words, and all go well with code 0.
    let output = daemon.vtpm(["vm", "start", "nobody"]);
    assert!(!said(&output).contains("VMs failed"), "{}", said(&output));
}
