//! What keeps clients from doing things twice or unseen.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support;
use crate::support::web::{ADMINISTRATOR, Web};

#[test]
fn tags_keys_parts_and_events_keep_clients_from_doing_things_twice_or_unseen() {
    let Some(web) = Web::new() else {
        return;
    };
    let token = web.token(ADMINISTRATOR, &web.password);
    let with = |method: &str, path: &str, body: Value, headers: &[&str]| {
        web.send(Some(&token), method, path, Some(&body), headers)
    };
    // Entity tags.
    let first = web.send(Some(&token), "GET", "/v1/vms/demo", None, &[]);
    let tag = first.headers["etag"].clone();
    let known = format!("If-None-Match: {tag}");
    let again = web.send(Some(&token), "GET", "/v1/vms/demo", None, &[&known]);
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    let stale = "If-Match: \"AAAAAAAAAAAAAAAAAAAAAA\"";
    with(
        "POST",
        "/v1/vms/demo/power",
        json!({"action": "off"}),
        &[stale],
    )
    .is(412, "another tag");
    assert_eq!(web.get(&token, "/v1/vms/demo")["power"], "on");
    with("POST", "/v1/vms", json!({"name": "x"}), &[stale]).is(400, "nothing with a tag");

    // Events, from before the change.
    let mut events = web
        .curl()
        .args(["--no-buffer", "--header"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(format!("{}/v1/tasks/events", web.url))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let mut lines = BufReader::new(events.stdout.take().expect("stdout")).lines();
    let opened = lines.find(|line| line.as_ref().is_ok_and(|line| line == ":"));
    opened.expect("the stream").expect("a line");
    let matching = format!("If-Match: {tag}");
    let off = with(
        "POST",
        "/v1/vms/demo/power",
        json!({"action": "off"}),
        &[&matching],
    );
    let off = off.is(202, "the right tag").json();
    let id = off["task"]["id"].as_str().expect("an id").to_owned();
    let told = lines.find_map(|line| {
        let line = line.expect("events");
        let task: Value = serde_json::from_str(line.strip_prefix("data: ")?).expect("a task");
        (task["id"] == id.as_str() && task["status"] == "success").then_some(task)
    });
    assert_eq!(told.expect("the end of the task")["progress"], 100);
    // The stream ends with the session.
    web.send(Some(&token), "DELETE", "/v1/sessions", None, &[]);
    let token = web.token(ADMINISTRATOR, &web.password);
    with_end(&mut events);

    // Idempotency keys.
    let key = "Idempotency-Key: 5f0c";
    let make = json!({"name": "once", "tpm": false});
    let one = web
        .send(Some(&token), "POST", "/v1/vms", Some(&make), &[key])
        .is(202, "first");
    let two = web
        .send(Some(&token), "POST", "/v1/vms", Some(&make), &[key])
        .is(202, "again");
    assert_eq!(one.json()["task"]["id"], two.json()["task"]["id"]);
    assert_eq!(two.headers["idempotency-replayed"], "true");
    let other = json!({"name": "twice", "tpm": false});
    web.send(Some(&token), "POST", "/v1/vms", Some(&other), &[key])
        .is(409, "another request");
    // Where no task starts the answer is kept.
    let key = "Idempotency-Key: 5f0d";
    let named = json!({"name": "once"});
    let path = "/v1/organizations";
    let post = |body: &Value| web.send(Some(&token), "POST", path, Some(body), &[key]);
    let (one, two) = (post(&named).is(201, "first"), post(&named).is(201, "again"));
    assert_eq!(one.json(), two.json());
    assert_eq!(two.headers["idempotency-replayed"], "true");
    post(&json!({"name": "twice"})).is(409, "another request");

    // Parts of lists.
    let all = web.get(&token, "/v1/tasks")["items"]
        .as_array()
        .expect("items")
        .len();
    let mut found = 0;
    let mut path = "/v1/tasks?limit=1".to_owned();
    loop {
        let page = web.get(&token, &path);
        found += page["items"].as_array().expect("items").len();
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/tasks?limit=1&after={next}"),
            None => break,
        }
    }
    assert!(found == all && all > 2, "{found} of {all}");
    web.send(Some(&token), "GET", "/v1/tasks?limit=0", None, &[])
        .is(400, "no limit");
}

/// Waits until curl has ended by itself.
fn with_end(curl: &mut std::process::Child) {
    support::wait_for("the end of the stream", || curl.try_wait().expect("curl"));
}
