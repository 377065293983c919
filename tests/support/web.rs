//! A daemon that listens for users, and its HTTP API by curl.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Daemon, PATIENCE_IN_SECONDS, folder, only_for_vtpm, wait_for};

/// Whom the first start makes.
pub(crate) const ADMINISTRATOR: &str = "administrator@vsphere.local";
/// That of everybody else in the tests.
pub(crate) const PASSWORD: &str = "correct horse";

/// A daemon that listens, and curl.
pub(crate) struct Web {
    pub(crate) daemon: Daemon,
    pub(crate) url: String,
    pub(crate) certificate: PathBuf,
    /// The administrator's password, as it was printed.
    pub(crate) password: String,
    pub(crate) home: TempDir,
    requests: AtomicU32,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn is(self, status: u16, what: &str) -> Self {
        assert_eq!(self.status, status, "{what}: {}", self.text);
        if status >= 400 {
            assert_eq!(self.headers["content-type"], "application/problem+json");
            assert_eq!(self.json()["status"], status, "{what}");
        }
        self
    }
}

impl Web {
    pub(crate) fn new() -> Option<Self> {
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

    /// What the daemon printed after these words when it came up.
    pub(crate) fn printed(&self, words: &str) -> String {
        let output = self.daemon.announcement();
        let line = output.lines().find_map(|line| line.strip_prefix(words));
        line.unwrap_or_else(|| panic!("no {words}: {output}"))
            .to_owned()
    }

    pub(crate) fn find(&mut self) {
        let line = self.printed("Listening on ");
        self.url = line.split(',').next().expect("a URL").to_owned();
    }

    /// curl, as somebody who trusts the certificate.
    pub(crate) fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--path-as-is", "--max-time"])
            .arg(PATIENCE_IN_SECONDS)
            .arg("--cacert")
            .arg(&self.certificate);
        curl
    }

    pub(crate) fn send(
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

    pub(crate) fn log_in(&self, user: &str, password: &str) -> Answer {
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

    pub(crate) fn token(&self, user: &str, password: &str) -> String {
        let answer = self.log_in(user, password).is(201, user).json();
        answer["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn get(&self, token: &str, path: &str) -> Value {
        self.send(Some(token), "GET", path, None, &[])
            .is(200, path)
            .json()
    }

    /// Sends what starts a task, and waits for its end.
    pub(crate) fn done(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(Some(token), method, path, Some(body), &[]);
        let accepted = answer.is(202, path).json();
        let id = accepted["task"]["id"].as_str().expect("an id").to_owned();
        let task = wait_for("a task", || {
            let task = self.get(token, &format!("/v1/tasks/{id}"));
            let ended = task["status"] != "queued" && task["status"] != "running";
            ended.then_some(task)
        });
        assert_eq!(task["status"], "success", "{task}");
        task
    }

    pub(crate) fn with_password(&self, arguments: &[&str], password: &str) {
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
    pub(crate) fn two_organizations(&self) -> [String; 2] {
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
    pub(crate) fn everything(&self, token: &str) -> Vec<Value> {
        let lists = "vcenters datastores providers vms vapps templates catalogs organizations users vdcs tasks audit settings";
        let lists = lists.split(' ');
        lists
            .map(|list| self.get(token, &format!("/v1/{list}")))
            .collect()
    }

    pub(crate) fn description(&self) -> Value {
        self.send(None, "GET", "/openapi.json", None, &[])
            .is(200, "openapi")
            .json()
    }
}
