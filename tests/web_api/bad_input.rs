//! Bad input is refused by rule.

use serde_json::{Value, json};

use crate::support::web::{ADMINISTRATOR, Web};

#[test]
fn bad_input_is_refused_by_rule_and_changes_nothing() {
    let Some(web) = Web::new() else {
        return;
    };
    let token = web.token(ADMINISTRATOR, &web.password);
    let before = web.everything(&token);
    let send = |method: &str, path: &str, body: Value, headers: &[&str]| {
        web.send(Some(&token), method, path, Some(&body), headers)
    };
    for name in ["../etc", "a/b", "..", ".x", "-rf", "a\u{0}b", "", " "] {
        send("POST", "/v1/vms", json!({"name": name}), &[]).is(400, name);
        send("POST", "/v1/vms/demo/clone", json!({"name": name}), &[]).is(400, name);
    }
    for path in [
        "/v1/vms/..%2F..%2Fetc%2Fpasswd",
        "/v1/vms/%00",
        "/v1/vapps/..",
        "/v1/../etc",
    ] {
        web.send(Some(&token), "GET", path, None, &[]).is(404, path);
    }
    send("POST", "/v1/vms", json!({"name": "demo"}), &[]).is(409, "a name that is taken");
    send("POST", "/v1/vms/demo/power", json!({"action": "on"}), &[]).is(409, "it is on");
    send(
        "POST",
        "/v1/vms/demo/clone",
        json!({"name": "x", "tpm": "keep"}),
        &[],
    )
    .is(400, "a choice");
    let remove = json!({"present": false});
    let refused = send("POST", "/v1/vms/demo/tpm", remove, &[]);
    assert!(matches!(refused.status, 400 | 409), "{}", refused.text);
    assert!(
        refused.json()["failures"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    );
    for huge in [
        "Content-Length: 1073741824",
        "Content-Length: 18446744073709551616",
    ] {
        let answer = send("POST", "/v1/vms", json!({}), &[huge]);
        assert!(
            matches!(answer.status, 400 | 413),
            "{huge}: {}",
            answer.status
        );
    }
    // Without saying how much it is.
    let endless = web
        .curl()
        .args([
            "--request",
            "POST",
            "--write-out",
            "%{http_code}",
            "--output",
            "/dev/null",
        ])
        .args([
            "--header",
            "Transfer-Encoding: chunked",
            "--header",
            "Content-Type: application/json",
        ])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--upload-file", "/dev/zero"])
        .arg(format!("{}/v1/vms", web.url))
        .output()
        .expect("curl");
    assert_eq!(String::from_utf8_lossy(&endless.stdout), "413");
    assert_eq!(web.everything(&token), before);

    // Operations that get into each other's way: one is accepted, the others are told that it is at work, or done.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| send("POST", "/v1/vms/demo/power", json!({"action": "off"}), &[]))
            })
            .collect();
        all.into_iter()
            .map(|it| it.join().expect("a thread").status)
            .collect()
    });
    assert_eq!(
        statuses.iter().filter(|it| **it == 202).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|it| **it == 409).count(),
        5,
        "{statuses:?}"
    );
}
