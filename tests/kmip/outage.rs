//! Servers that go away, keys that are deactivated or gone, and other keys under the same name.

use crate::place::{Place, assert_names, copy_keys};
use crate::support::{folder, only_for_vtpm};
use kmip_client::RevocationReason;

#[test]
// scenario_23 of the behaviour specification.
fn vms_outlive_their_key_servers_and_are_locked_only_without_the_key() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let mut place = Place::new();
    let mut first = place.key_server("first");
    let mut second = place.key_server("second");
    place.register(&[first.port, second.port]);
    let status = place.daemon.ok(["provider", "status", "kms"]);
    assert_names(&status, &["standard", " ok: KMIP 1.4", "PyKMIP"]);

    let key1 = place.create("web01");
    let daemon = &place.daemon;
    daemon.ok(["vm", "start", "web01"]);
    let ek_name = daemon.vm_field("web01", "/tpm/ek_name");
    place.client("web01").sh("
        tpm2_nvdefine 0x1500001 -C o -s 5 -a 'ownerread|ownerwrite'
        printf there | tpm2_nvwrite 0x1500001 -C o -i -
    ");

    // One server is gone: the other one stands in, while VMs are made and start.
    first.kill();
    let key2 = place.create("web02");
    assert_ne!(key1, key2);
    daemon.ok(["vm", "start", "web02"]);
    let down = daemon.ok(["provider", "status", "kms"]);
    assert_names(&down, &["cannot be reached", " ok: "]);

    // Both are gone: what runs goes on, and what is in memory starts.
    second.kill();
    let ports = [first.port, second.port].map(|port| format!("127.0.0.1:{port}"));
    daemon.ok(["vm", "stop", "web02"]);
    daemon.ok(["vm", "start", "web02"]);
    daemon.ok(["vm", "stop", "web02"]);
    let before = place.files();
    let said = daemon.refused(["vm", "create", "web03", "--tpm", "--provider", "kms"]);
    assert_names(&said, &["\"kms\"", &ports[0], &ports[1]]);
    let said = daemon.refused(["vm", "clone", "web02", "web03"]);
    assert_names(&said, &["\"kms\"", &ports[0], &format!("{key2:?}")]);
    assert!(place.files() == before, "files were left or changed");
    let kept = daemon.ok(["provider", "keys", "kms"]);
    assert_names(&kept, &[&key1, &key2, "web01", "web02", "yes"]);

    // Without the key in memory the VM that is off is locked; the one that runs goes on.
    assert_names(
        &daemon.ok(["provider", "forget-keys", "kms"]),
        &["2 keys wiped"],
    );
    let said = daemon.refused(["vm", "start", "web02"]);
    let words = [
        "web02 is locked",
        "key provider kms",
        &key2,
        "vtpm vm unlock web02",
        &ports[1],
    ];
    assert_names(&said, &words);
    place.assert_locked("web02", &key2);
    let read = "equal \"$(tpm2_nvread 0x1500001 -C o -s 5)\" there";
    place.client("web01").sh(read);
    let said = daemon.refused(["vm", "unlock", "web02"]);
    assert_names(&said, &[&key2, &ports[0]]);
    let status = daemon.refused(["provider", "status", "kms"]);
    assert_names(&status, &["no server of the key provider kms"]);

    // A daemon that was killed has no key in memory.
    place.daemon.process().kill();
    place.daemon.start_again();
    place.assert_locked("web01", &key1);

    // The key is back.
    first.start_again();
    let daemon = &place.daemon;
    daemon.ok(["vm", "unlock", "web01", "web02"]);
    assert_eq!(daemon.vm("web02")["locked"], serde_json::Value::Null);
    daemon.ok(["vm", "start", "web01", "web02"]);
    assert_eq!(daemon.vm_field("web01", "/tpm/ek_name"), ek_name);
    place.client("web01").sh(read);
    daemon.ok(["provider", "status", "kms"]);
}

#[test]
fn keys_that_are_deactivated_destroyed_or_others_are_found_before_anything_is_written() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let place = Place::new();
    let mut server = place.key_server("a");
    place.register(&[server.port]);
    let daemon = &place.daemon;
    let key1 = place.create("web01");
    let key2 = place.create("web02");
    let keys = place.keys(&server);
    let address = format!("127.0.0.1:{}", server.port);

    // Deactivated: it opens and protects nothing new.
    keys.revoke(&key1, RevocationReason::Superseded).unwrap();
    daemon.ok(["vm", "start", "web01"]);
    let said = daemon.refused(["vm", "clone", "web01", "copy"]);
    assert_names(&said, &["deactivated", &key1, &address, "re-key"]);
    daemon.ok(["vm", "rekey", "web01"]);
    let key3 = place.key_id("web01");
    assert_ne!(key3, key1);
    daemon.ok(["vm", "clone", "web01", "copy"]);
    assert_eq!(place.key_id("copy"), key3);
    daemon.ok(["vm", "stop", "web01"]);
    daemon.ok(["vm", "delete", "copy"]);

    // Destroyed: the VM runs on, stores what it is asked to, and is switched off in good order. Then it is locked, its files stay as they
    // are, other VMs do not notice.
    let aside = folder();
    copy_keys(&place.key_folder(), aside.path());
    daemon.ok(["vm", "start", "web02"]);
    keys.revoke(&key2, RevocationReason::Superseded).unwrap();
    keys.destroy(&key2).unwrap();
    daemon.ok(["provider", "forget-keys", "kms"]);
    place.client("web02").sh(
        "tpm2_nvdefine 0x1500002 -C o -s 5; printf there > five; tpm2_nvwrite 0x1500002 -C o -i five",
    );
    daemon.ok(["vm", "stop", "web02"]);
    let before = place.files();
    let of_web02 = |files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
        let mut files = files;
        files.retain(|(path, _)| path.display().to_string().contains("web02"));
        files
    };
    let said = daemon.refused(["vm", "start", "web02"]);
    assert_names(&said, &["locked", &key2, "has no key", &address]);
    place.assert_locked("web02", &key2);
    let said = daemon.refused(["vm", "clone", "web02", "copy"]);
    assert_names(&said, &[&key2]);
    assert!(daemon.vtpm(["vm", "show", "copy"]).status.code() == Some(1));
    assert!(
        of_web02(place.files()) == of_web02(before.clone()),
        "files changed"
    );
    daemon.ok(["vm", "start", "web01"]);
    daemon.ok(["vm", "stop", "web01"]);

    // Other bytes under the same id: another key server's backup was put in.
    server.kill();
    let other = folder();
    std::fs::copy(
        place.key_folder().join("keys.db"),
        other.path().join("destroyed.db"),
    )
    .unwrap();
    std::fs::remove_file(place.key_folder().join("keys.db")).unwrap();
    server.start_again();
    let keys = place.keys(&server);
    while keys.new_key(None).unwrap() != key2 {}
    let said = daemon.refused(["vm", "start", "web02"]);
    assert_names(
        &said,
        &["locked", "another key under this name", &key2, "kms"],
    );
    let said = daemon.refused(["vm", "rekey", "web02"]);
    assert_names(&said, &["another key under this name", &key2]);
    assert!(of_web02(place.files()) == of_web02(before), "files changed");

    // The key is back.
    server.kill();
    copy_keys(aside.path(), &place.key_folder());
    server.start_again();
    daemon.ok(["vm", "unlock", "web02"]);
    daemon.ok(["vm", "start", "web02"]);
    place
        .client("web02")
        .sh("equal \"$(tpm2_nvread 0x1500002 -C o -s 5)\" there");
}
