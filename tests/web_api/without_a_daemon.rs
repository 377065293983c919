//! What works before there is a daemon, or without one.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::web::PASSWORD;
use crate::support::{self, Daemon, folder, only_for_vtpm};

#[test]
fn what_sets_an_installation_up_works_before_there_is_a_daemon() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let home = folder();
    let data = home.path().join("data");
    let vtpm = |arguments: &str| {
        let mut command = Command::new(support::VTPM);
        command.args(arguments.split(' ')).arg("--data").arg(&data);
        command
    };
    for verb in [
        "vcenter add vc8 --version 8.0.3",
        "vcenter add vc7 --version 7.0.3",
        "vcenter trust vc8 vc7",
        "datastore add shared --vcenter vc8",
        "datastore add shared --vcenter vc7",
        "org add acme",
        "vdc add vdc1 --org acme --vcenter vc8",
        "catalog add shelf --org acme",
        "catalog published shelf --org acme",
        "provider add nkp --vcenter vc8 --kind native --default",
        "config set fast-cross-vcenter-instantiation on",
    ] {
        support::finish(verb, vtpm(verb).output().expect("vtpm"));
    }
    let mut add = vtpm("user add boss --org acme --role administrator --password-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("vtpm");
    let mut input = add.stdin.take().expect("stdin");
    writeln!(input, "{PASSWORD}").expect("the password");
    drop(input);
    assert!(add.wait().expect("vtpm").success());
    // What runs VMs needs one.
    assert_eq!(
        vtpm("vm list").output().expect("vtpm").status.code(),
        Some(3)
    );

    let daemon = Daemon::start(&data);
    let json = |arguments: [&str; 3]| -> Value {
        serde_json::from_str(&daemon.ok(arguments)).expect("JSON")
    };
    let vcenters = json(["vcenter", "list", "--json"]);
    assert_eq!(vcenters.as_array().map(Vec::len), Some(2), "{vcenters}");
    let stores = json(["datastore", "list", "--json"]);
    assert_eq!(stores[0]["vcenters"], json!(["vc8", "vc7"]));
    assert_eq!(json(["user", "list", "--json"])[0]["name"], "boss");
    assert_eq!(json(["vm", "list", "--json"]), json!([]));
}

#[test]
fn manual_pages_are_written_for_every_verb() {
    if only_for_vtpm("it is about verbs of vtpm") {
        return;
    }
    let home = folder();
    let pages = home.path().join("man1");
    let output = Command::new(support::VTPM)
        .arg("man")
        .arg(&pages)
        .output()
        .expect("vtpm");
    support::finish("man", output);
    for page in [
        "vtpm.1",
        "vtpm-serve.1",
        "vtpm-vapp-copy.1",
        "vtpm-template-capture.1",
    ] {
        let text = fs::read_to_string(pages.join(page)).expect(page);
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    let serve = fs::read_to_string(pages.join("vtpm-serve.1")).expect("a page");
    assert!(serve.contains("listen"), "{serve}");
}
