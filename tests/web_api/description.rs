//! The description of the API: that it is the one that is checked in, and schemathesis against it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::PATIENCE_IN_SECONDS;
use crate::support::web::{ADMINISTRATOR, Web};

/// Each operation of the description: method, path, operation.
pub(crate) fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let Some(web) = Web::new() else {
        return;
    };
    let served = web
        .send(None, "GET", "/openapi.json", None, &[])
        .is(200, "openapi")
        .text;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("VTPM_UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, &served).expect("docs/openapi.json can be written");
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == served,
        "docs/openapi.json is not what the daemon serves; VTPM_UPDATE_SNAPSHOTS=1 writes it anew"
    );
    for (method, path, operation) in operations(&web.description()) {
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(
            operation.pointer("/responses/401").is_some(),
            "{method} {path}"
        );
    }
}

#[test]
fn schemathesis_finds_no_request_that_makes_the_daemon_fail() {
    let Some(mut web) = Web::new() else {
        return;
    };
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../schemathesis");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/prepare");
    let prepared = Command::new(script)
        .arg(&place)
        .status()
        .expect("tests/web/prepare");
    assert!(prepared.success());
    web.two_organizations();
    let token = web.token(ADMINISTRATOR, &web.password);
    let output = Command::new(place.join("venv/bin/schemathesis"))
        .arg("run")
        .arg(format!("{}/openapi.json", web.url))
        .args([
            "--checks",
            "not_a_server_error",
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .args([
            "--max-examples",
            "6",
            "--seed",
            "1",
            "--workers",
            "2",
            "--request-timeout",
            PATIENCE_IN_SECONDS,
        ])
        // It would log itself out; and what never ends has no answer.
        .args([
            "--exclude-path",
            "/v1/sessions",
            "--exclude-path",
            "/v1/tasks/events",
        ])
        .args(["--exclude-path", "/v1/vms/{vm}/trace"])
        // It cannot make archives.
        .args(["--exclude-path", "/v1/packages"])
        .args([
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
            "--no-color",
        ])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg("--tls-verify")
        .arg(&web.certificate)
        .current_dir(web.home.path())
        .output()
        .expect("schemathesis");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("passed"), "{said}");
    assert!(web.daemon.process().ended().is_none());
    web.get(&token, "/v1/vms");
}
