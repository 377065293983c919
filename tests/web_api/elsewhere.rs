//! The verbs against a daemon elsewhere: over TLS, as a user.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::VTPM;
use crate::support::web::{ADMINISTRATOR, PASSWORD, Web};

/// `vtpm` on another machine: no folder of the daemon's, and no variables but these.
fn away(here: &Path, arguments: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(VTPM)
        .args(arguments.split_whitespace())
        .current_dir(here)
        .env_clear()
        .env("HOME", here)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(variables.iter().copied())
        .output()
        .expect("vtpm")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn verbs_reach_a_daemon_elsewhere_as_the_user_who_asks() {
    let Some(web) = Web::new() else {
        return;
    };
    let [acme, _] = web.two_organizations();
    let admin = web.token(ADMINISTRATOR, &web.password);
    let home = web.home.path().join("elsewhere");
    fs::create_dir(&home).expect("a folder");
    for (file, token) in [("admin", &admin), ("acme", &acme)] {
        fs::write(home.join(file), format!("{token}\n")).expect("a token");
    }
    let there = format!(
        "--server {} --server-ca {}",
        web.url,
        web.certificate.display()
    );
    let ok = |arguments: &str| {
        let output = away(&home, arguments, &[]);
        assert!(output.status.success(), "{arguments}: {}", said(&output));
        said(&output)
    };
    // The options stand before or after the verb; everybody has their own.
    let all = ok(&format!("vm list {there} --token-file admin"));
    assert!(all.contains("demo") && all.contains("rival-web"), "{all}");
    let own = ok(&format!("vm {there} --token-file acme list"));
    assert!(
        own.contains("acme-web") && !own.contains("demo") && !own.contains("rival-web"),
        "{own}"
    );
    let acme = format!("{there} --token-file acme");
    let preview = ok(&format!("vapp copy acme-shop second --preview {acme}"));
    assert!(preview.contains("kept"), "{preview}");
    assert!(!ok(&format!("vapp list {acme}")).contains("second"));
    ok(&format!("vapp copy acme-shop second {acme}"));
    ok(&format!("vapp start second --json {acme}"));
    let shown: Value =
        serde_json::from_str(&ok(&format!("vapp show second --json {acme}"))).expect("JSON");
    assert_eq!(shown["vms"][0]["power"], "on", "{shown}");
    ok(&format!("vapp stop second {acme}"));
    ok(&format!("vapp export second --to second.ova {acme}"));
    ok(&format!("vapp import-ovf second.ova third {acme}"));
    let lineage = ok(&format!("vm lineage second/acme-web {acme}"));
    assert!(lineage.contains("copy_vapp"), "{lineage}");
    // Set up as well as used, by the name that a family has for it where --server means another.
    let keys = web.url.clone();
    let keys = format!(
        "--daemon {keys} --server-ca {} --token-file admin",
        web.certificate.display()
    );
    assert!(ok(&format!("provider list {keys}")).contains("vc01-nkp"));
    ok(&format!(
        "vcenter add far --version 8.0.3 {there} --token-file admin"
    ));
    assert!(ok(&format!("vcenter list {there} --token-file admin")).contains("far"));
    // All of it from the environment, and a password instead of a token.
    let certificate = web.certificate.display().to_string();
    let usual = [
        ("VTPM_SERVER", web.url.as_str()),
        ("VTPM_SERVER_CA", &certificate),
        ("VTPM_USER", "boss@acme"),
        ("VTPM_PASSWORD", PASSWORD),
    ];
    let output = away(&home, "template list", &usual);
    assert!(said(&output).contains("acme-gold"), "{}", said(&output));
    let output = away(&home, "user list --json", &usual);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_daemon_elsewhere_that_cannot_be_used_says_why_with_the_exit_code_for_it() {
    let Some(web) = Web::new() else {
        return;
    };
    let [acme, _] = web.two_organizations();
    let home = web.home.path().join("elsewhere");
    fs::create_dir(&home).expect("a folder");
    fs::write(home.join("acme"), &acme).expect("a token");
    fs::write(home.join("stale"), "0123456789abcdef").expect("a token");
    fs::write(home.join("two"), "one two").expect("a token");
    let there = format!(
        "--server {} --server-ca {}",
        web.url,
        web.certificate.display()
    );
    let fails = |arguments: String, code: i32, words: &str| {
        let output = away(&home, &arguments, &[]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        assert!(text.contains(words), "{arguments}: {text}");
    };
    fails(
        format!("vm list --server {} --token-file acme", web.url),
        2,
        "--server-ca",
    );
    fails(format!("vm list {there}"), 2, "--token-file");
    fails(format!("vm list {there} --token-file none"), 1, "none");
    fails(format!("vm list {there} --token-file two"), 1, "one word");
    fails(
        format!("vm list {there} --token-file stale"),
        1,
        "log in again",
    );
    fails(
        format!("vm show demo {there} --token-file acme"),
        1,
        "no VM `demo`",
    );
    fails(
        format!("vapp delete rival-shop {there} --token-file acme"),
        1,
        "no vApp `rival-shop`",
    );
    fails(
        format!("vcenter add far --version 8.0.3 {there} --token-file acme"),
        1,
        "may not do that",
    );
    let nobody = format!(
        "--server https://127.0.0.1:1 --server-ca {}",
        web.certificate.display()
    );
    fails(
        format!("vm list {nobody} --token-file acme"),
        3,
        "cannot be reached",
    );
    fails(
        format!(
            "vm list --server ftp://x --server-ca {} --token-file acme",
            web.certificate.display()
        ),
        1,
        "no URL like",
    );
    fails("vm list".to_owned(), 3, "no daemon answers");
}
