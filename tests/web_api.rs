//! The HTTP API over TLS, as its users have it: logins, two organizations that attack each other, bad input, and schemathesis against
//! its own description.
//!
//! `VTPM_UPDATE_SNAPSHOTS=1 cargo test --test web_api` writes `docs/openapi.json` anew.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use support::{Daemon, PATIENCE, folder, only_for_vtpm};
use tempfile::TempDir;

const ADMINISTRATOR: &str = "administrator@vsphere.local";
const PASSWORD: &str = "correct horse";

/// A daemon that listens, and curl.
struct Web {
    daemon: Daemon,
    url: String,
    certificate: PathBuf,
    /// The administrator's password, as it was printed.
    password: String,
    home: TempDir,
    requests: AtomicU32,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn is(self, status: u16, what: &str) -> Self {
        assert_eq!(self.status, status, "{what}: {}", self.text);
        if status >= 400 {
            assert_eq!(self.headers["content-type"], "application/problem+json");
            assert_eq!(self.json()["status"], status, "{what}");
        }
        self
    }
}

impl Web {
    fn new() -> Option<Self> {
        if only_for_vtpm("it has no daemon") {
            return None;
        }
        let home = folder();
        let options = ["--listen", "127.0.0.1:0"];
        let daemon = Daemon::start_with(&home.path().join("data"), &options);
        let mut web = Self {
            certificate: daemon.folder().join("tls/certificate.pem"),
            daemon,
            url: String::new(),
            password: String::new(),
            home,
            requests: AtomicU32::new(0),
        };
        web.find();
        web.password = web.printed("The user's password, shown this once: ");
        Some(web)
    }

    /// What the daemon printed last after these words.
    fn printed(&self, words: &str) -> String {
        let output = support::wait_for(words, || {
            let output = self.daemon.output();
            output
                .trim_end()
                .ends_with("vtpm is ready")
                .then_some(output)
        });
        let lines: Vec<&str> = output
            .lines()
            .filter_map(|it| it.strip_prefix(words))
            .collect();
        let line = lines
            .last()
            .unwrap_or_else(|| panic!("no {words}: {output}"));
        (*line).to_owned()
    }

    fn find(&mut self) {
        let line = self.printed("Listening on ");
        self.url = line.split(',').next().expect("a URL").to_owned();
    }

    /// curl, as somebody who trusts the certificate.
    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--path-as-is", "--max-time"])
            .arg(PATIENCE.as_secs().to_string())
            .arg("--cacert")
            .arg(&self.certificate);
        curl
    }

    fn send(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[&str],
    ) -> Answer {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.home.path().join(format!("{number}.{kind}"));
        let mut curl = self.curl();
        curl.args(["--request", method, "--write-out", "%{http_code}"]);
        curl.arg("--output").arg(file("body"));
        curl.arg("--dump-header").arg(file("head"));
        if let Some(token) = token {
            curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        for header in headers {
            curl.args(["--header", header]);
        }
        if let Some(body) = body {
            fs::write(file("request"), body.to_string()).expect("the request");
            curl.args([
                "--header",
                "Content-Type: application/json",
                "--data-binary",
            ]);
            curl.arg(format!("@{}", file("request").display()));
        }
        let output = curl
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("curl");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = status.trim().parse().unwrap_or(0);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_ne!(status, 0, "{method} {path}: {said}");
        let text = fs::read_to_string(file("body")).unwrap_or_default();
        let head = fs::read_to_string(file("head")).unwrap_or_default();
        let headers = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Answer {
            status,
            headers,
            text,
        }
    }

    fn log_in(&self, user: &str, password: &str) -> Answer {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let file = self.home.path().join(format!("{number}.login"));
        // A file, since everybody sees the arguments of a process.
        fs::write(&file, format!("user = \"{user}:{password}\"\n")).expect("the login");
        let output = self
            .curl()
            .arg("--config")
            .arg(&file)
            .args(["--request", "POST", "--write-out", "\n%{http_code}"])
            .arg(format!("{}/v1/sessions", self.url))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, status) = text.rsplit_once('\n').expect("a status");
        Answer {
            status: status.parse().expect("a status"),
            headers: BTreeMap::from([(
                "content-type".to_owned(),
                "application/problem+json".to_owned(),
            )]),
            text: text.to_owned(),
        }
    }

    fn token(&self, user: &str, password: &str) -> String {
        let answer = self.log_in(user, password).is(201, user).json();
        answer["token"].as_str().expect("a token").to_owned()
    }

    fn get(&self, token: &str, path: &str) -> Value {
        self.send(Some(token), "GET", path, None, &[])
            .is(200, path)
            .json()
    }

    /// Sends what starts a task, and waits for its end.
    fn done(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(Some(token), method, path, Some(body), &[]);
        let accepted = answer.is(202, path).json();
        let id = accepted["task"]["id"].as_str().expect("an id").to_owned();
        let task = support::wait_for("a task", || {
            let task = self.get(token, &format!("/v1/tasks/{id}"));
            let ended = task["status"] != "queued" && task["status"] != "running";
            ended.then_some(task)
        });
        assert_eq!(task["status"], "success", "{task}");
        task
    }

    fn with_password(&self, arguments: &[&str], password: &str) {
        let mut child = self
            .daemon
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("vtpm");
        let mut input = child.stdin.take().expect("stdin");
        writeln!(input, "{password}").expect("the password");
        drop(input);
        assert!(child.wait().expect("vtpm").success(), "{arguments:?}");
    }

    /// Two organizations, each with a virtual data center `vdc1`, a catalog `ORG-shelf`, a vApp `ORG-shop` with the VM `ORG-web` and a
    /// template `ORG-gold`; gives the tokens of their administrators.
    fn two_organizations(&self) -> [String; 2] {
        ["acme", "rival"].map(|org| {
            self.daemon.ok(["org", "add", org]);
            self.with_password(
                &["user", "add", "boss", "--org", org, "--role", "administrator", "--password-stdin"],
                PASSWORD,
            );
            self.daemon.ok(["vdc", "add", "vdc1", "--org", org, "--vcenter", "vc01"]);
            self.daemon.ok(["catalog", "add", &format!("{org}-shelf"), "--org", org]);
            let token = self.token(&format!("boss@{org}"), PASSWORD);
            let web = json!({"name": format!("{org}-web"), "new": {"tpm": true}});
            let shop = json!({"name": format!("{org}-shop"), "vms": [web]});
            self.done(&token, "POST", "/v1/vapps", &shop);
            let gold = json!({"name": format!("{org}-gold"), "vapp": format!("{org}-shop"), "catalog": format!("{org}-shelf")});
            self.done(&token, "POST", "/v1/templates", &gold);
            token
        })
    }

    /// Everything that there is, as the system sees it.
    fn everything(&self, token: &str) -> Vec<Value> {
        let lists = "vcenters datastores providers vms vapps templates catalogs organizations users vdcs tasks audit settings";
        let lists = lists.split(' ');
        lists
            .map(|list| self.get(token, &format!("/v1/{list}")))
            .collect()
    }

    fn description(&self) -> Value {
        self.send(None, "GET", "/openapi.json", None, &[])
            .is(200, "openapi")
            .json()
    }
}

/// Each operation of the description: method, path, operation.
fn operations(description: &Value) -> Vec<(String, String, Value)> {
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
fn users_log_in_over_tls_and_nobody_else_gets_anything() {
    let Some(mut web) = Web::new() else {
        return;
    };
    let description = web.description();
    for (method, path, _) in operations(&description) {
        let path = path.replace(['{', '}'], "");
        let answer = web.send(None, &method, &path, None, &[]).is(401, &path);
        assert!(
            answer.headers["www-authenticate"].starts_with("Bearer"),
            "{path}"
        );
        web.send(Some("x"), &method, &path, None, &[])
            .is(401, &path);
    }
    web.log_in(ADMINISTRATOR, "wrong")
        .is(401, "a wrong password");
    web.log_in("nobody@vsphere.local", &web.password)
        .is(401, "nobody");
    let token = web.token(ADMINISTRATOR, &web.password);
    assert_eq!(web.get(&token, "/v1/sessions")["name"], "administrator");
    assert_eq!(web.get(&token, "/v1/vms")["items"][0]["name"], "demo");
    let other = web.token("administrator@system", &web.password);
    assert_eq!(
        web.send(Some(&token), "DELETE", "/v1/sessions", None, &[])
            .status,
        204
    );
    web.send(Some(&token), "GET", "/v1/vms", None, &[])
        .is(401, "after the logout");
    web.get(&other, "/v1/vms");

    // The next start knows certificate and password, and prints no other.
    let before = fs::read(&web.certificate).expect("the certificate");
    web.daemon.stop();
    web.daemon.start_again_with(&["--listen", "127.0.0.1:0"]);
    web.find();
    assert_eq!(fs::read(&web.certificate).expect("the certificate"), before);
    assert_eq!(web.daemon.output().matches("shown this once: ").count(), 2);
    web.send(Some(&other), "GET", "/v1/vms", None, &[])
        .is(401, "sessions end with the daemon");
    web.token(ADMINISTRATOR, &web.password);

    let refused = Command::new(support::VTPM)
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(web.home.path().join("other"))
        .output()
        .expect("vtpm");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--listen-anywhere"));
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

/// A body that makes sense for an operation that names something in its path.
fn body_for(method: &str, path: &str) -> Option<Value> {
    let name = json!({"name": "loot"});
    Some(match (method, path) {
        ("GET" | "DELETE", _) => return None,
        (_, "/v1/vms/{vm}/power") => json!({"action": "on"}),
        (_, "/v1/vms/{vm}/clone" | "/v1/vms/{vm}/snapshots") => name,
        (_, "/v1/vms/{vm}/move") => json!({"vapp": "acme-shop"}),
        (_, "/v1/vms/{vm}/import") => json!({"name": "loot", "vdc": "vdc1"}),
        (_, "/v1/vms/{vm}/tpm") => json!({"present": false, "confirm": true}),
        (_, "/v1/vapps/{vapp}/vms") => json!({"items": [{"name": "loot", "new": {}}]}),
        (_, "/v1/vapps/{vapp}/copy" | "/v1/templates/{template}/instantiate") => name,
        (_, "/v1/vapps/{vapp}/move") => json!({"vdc": "vdc1"}),
        (_, "/v1/catalogs/{catalog}/publish") => json!({"published": true}),
        (_, "/v1/providers/{name}/backup") => json!({"password": PASSWORD}),
        (
            _,
            "/v1/providers/{name}/certificate"
            | "/v1/vcenters/{name}/ca/certificate"
            | "/v1/vms/{vm}/ek/certificate",
        ) => json!({"certificate": "x"}),
        (_, "/v1/vcenters/{vcenter}/trust" | "/v1/datastores/{datastore}/share") => {
            json!({"vcenter": "vc01"})
        }
        _ => json!({}),
    })
}

#[test]
fn organizations_that_attack_each_other_find_nothing_and_change_nothing() {
    let Some(web) = Web::new() else {
        return;
    };
    let [acme, rival] = web.two_organizations();
    let system = web.token(ADMINISTRATOR, &web.password);
    let id = |path: &str, pointer: &str| {
        let found = web.get(&rival, path);
        found
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect("an id")
            .to_owned()
    };
    let vm = id("/v1/vapps/rival-shop", "/vms/0/id");
    let vapp = id("/v1/vapps/rival-shop", "/id");
    let template = id("/v1/templates/rival-gold", "/id");
    let task = id("/v1/tasks", "/items/0/id");
    let foreign: BTreeMap<&str, Vec<String>> = [
        (
            "vm",
            vec![
                vm.clone(),
                format!("urn:vcloud:vm:{vm}"),
                "rival-web".to_owned(),
                "rival-shop%2Frival-web".to_owned(),
                "rival%2Frival-shop%2Frival-web".to_owned(),
                // Outside vApps, the system's.
                "demo".to_owned(),
            ],
        ),
        (
            "vapp",
            vec![
                vapp.clone(),
                "rival-shop".to_owned(),
                "rival%2Frival-shop".to_owned(),
            ],
        ),
        (
            "template",
            vec![
                template.clone(),
                "rival-gold".to_owned(),
                "rival%2Frival-shelf%2Frival-gold".to_owned(),
            ],
        ),
        (
            "catalog",
            vec!["rival-shelf".to_owned(), "rival%2Frival-shelf".to_owned()],
        ),
        ("id", vec![task]),
        ("name", vec!["vc01-nkp".to_owned()]),
        ("vcenter", vec!["vc01".to_owned()]),
        ("datastore", vec!["datastore1".to_owned()]),
    ]
    .into();
    let before = web.everything(&system);
    let mut attacks = 0;
    for (method, path, operation) in operations(&web.description()) {
        let Some((start, rest)) = path.split_once('{') else {
            continue;
        };
        let (parameter, rest) = rest.split_once('}').expect("a closing brace");
        // What belongs to no organization is no secret, but not theirs to use.
        let refusal = match parameter {
            // Whoever judges a TPM may look at authorities, of which none has this name.
            "name" if method == "GET" && path.starts_with("/v1/vcenters/") => 404,
            "name" | "vcenter" | "datastore" => 403,
            _ => 404,
        };
        let has_preview = operation["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["name"] == "preview"));
        for name in &foreign[parameter] {
            let mut target = format!("{start}{name}{}", rest.replace("{snapshot}", "s"));
            let body = body_for(&method, &path);
            let what = format!("{method} {target}");
            let answer = web.send(Some(&acme), &method, &target, body.as_ref(), &[]);
            let text = answer.is(refusal, &what).text;
            assert!(
                !text.contains("rival-") || name.contains("rival-"),
                "{what}: {text}"
            );
            attacks += 1;
            if has_preview {
                target.push_str("?preview=true");
                web.send(Some(&acme), &method, &target, body.as_ref(), &[])
                    .is(404, &target);
                attacks += 1;
            }
        }
    }
    // What is named in bodies.
    for (path, body) in [
        ("/v1/vapps", json!({"name": "loot", "vms": [{"vm": vm}]})),
        (
            "/v1/vapps",
            json!({"name": "loot", "vms": [{"template": template}]}),
        ),
        (
            "/v1/vapps",
            json!({"name": "loot", "organization": "rival"}),
        ),
        ("/v1/vapps", json!({"name": "loot", "vdc": "rival/vdc1"})),
        (
            "/v1/vapps/acme-shop/vms",
            json!({"items": [{"vm": "rival/rival-shop/rival-web"}]}),
        ),
        (
            "/v1/vapps/acme-shop/copy",
            json!({"name": "loot", "vdc": "rival/vdc1"}),
        ),
        ("/v1/vapps/acme-shop/move", json!({"vdc": "rival/vdc1"})),
        ("/v1/vms/acme-web/move", json!({"vapp": vapp})),
        (
            "/v1/templates",
            json!({"name": "loot", "vapp": vapp, "catalog": "acme-shelf"}),
        ),
        (
            "/v1/templates",
            json!({"name": "loot", "vm": vm, "catalog": "acme-shelf"}),
        ),
        (
            "/v1/templates",
            json!({"name": "loot", "vapp": "acme-shop", "catalog": "rival/rival-shelf"}),
        ),
        (
            "/v1/templates/acme-gold/instantiate",
            json!({"name": "loot", "organization": "rival"}),
        ),
        (
            "/v1/templates/acme-gold/instantiate",
            json!({"name": "loot", "vdc": "rival/vdc1"}),
        ),
        (
            "/v1/catalogs",
            json!({"name": "loot", "subscribe": "rival/rival-shelf"}),
        ),
        (
            "/v1/catalogs",
            json!({"name": "loot", "organization": "rival"}),
        ),
        (
            "/v1/users",
            json!({"organization": "rival", "name": "eve", "role": "administrator", "password": PASSWORD}),
        ),
    ] {
        web.send(Some(&acme), "POST", path, Some(&body), &[])
            .is(404, &body.to_string());
        attacks += 1;
    }
    for (path, body) in [
        ("/v1/vms", json!({"name": "loot", "tpm": true})),
        ("/v1/vcenters", json!({"name": "loot", "version": "8.0.3"})),
        ("/v1/organizations", json!({"name": "loot"})),
        ("/v1/vdcs", json!({"name": "loot"})),
        ("/v1/providers", json!({"name": "loot"})),
        (
            "/v1/datastores",
            json!({"name": "loot", "vcenters": ["vc01"]}),
        ),
    ] {
        web.send(Some(&acme), "POST", path, Some(&body), &[])
            .is(403, path);
        attacks += 1;
    }
    // Lists show nobody else's, in no member.
    for list in
        "vms vapps templates catalogs published organizations users vdcs tasks audit".split(' ')
    {
        let text = web.get(&acme, &format!("/v1/{list}")).to_string();
        for secret in ["rival", vm.as_str(), vapp.as_str(), template.as_str()] {
            assert!(!text.contains(secret), "{list} shows {secret}: {text}");
        }
        assert!(
            list == "published" || text.contains("acme"),
            "{list}: {text}"
        );
    }
    assert_eq!(web.everything(&system), before);
    assert!(attacks > 100, "{attacks}");
    // The same is there for whom it belongs to.
    web.get(&rival, &format!("/v1/vms/{vm}"));
    let shown = web.daemon.vm(&format!("urn:vcloud:vm:{vm}"));
    assert_eq!(shown["vapp"]["name"], "rival-shop");
    assert_eq!(
        (&shown["tpm"]["present"], &shown["tpm"]["origin"]),
        (&json!(true), &json!("new"))
    );
}

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
    let status = String::from_utf8_lossy(&endless.stdout).into_owned();
    // The answer can get lost when the connection is closed under what is still being sent; then the last that curl saw is the word to
    // go on.
    let answer = status.get(status.len() - 3..).unwrap_or_default();
    assert!(matches!(answer, "413" | "100" | "000"), "{status}");
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
            "60",
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
