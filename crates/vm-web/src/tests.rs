//! The API over a unix socket, as the command line uses it; a TPM is random bytes.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use vm_inventory::engine::Redb;
use vm_inventory::model::{Endpoint, VmId};
use vm_inventory::{
    Inventory, Machines, Operations, PowerOn, Started, TpmBytes, TpmMaker, TpmMakerError,
};
use vm_store::{Contents, SectionKind, VmFile};

struct ByteMaker;

impl TpmMaker for ByteMaker {
    fn new_tpm(&self) -> Result<TpmBytes, TpmMakerError> {
        Ok(uuid::Uuid::new_v4().as_bytes().to_vec().into())
    }
    fn new_tpm_of(&self, profile: &str) -> Result<TpmBytes, TpmMakerError> {
        match profile {
            "default" => self.new_tpm(),
            _ => Err(TpmMakerError(format!("there is no profile '{profile}'"))),
        }
    }
    fn new_tpm_like(&self, _: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        self.new_tpm()
    }
    fn fork(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        Ok(state.to_vec().into())
    }
    fn fork_running(
        &self,
        permanent: &[u8],
        volatile: &[u8],
    ) -> Result<(TpmBytes, TpmBytes), TpmMakerError> {
        Ok((permanent.to_vec().into(), volatile.to_vec().into()))
    }
    fn ek_name(&self, state: &[u8]) -> Result<String, TpmMakerError> {
        Ok(format!(
            "000b{}",
            uuid::Uuid::from_slice(state).unwrap().simple()
        ))
    }
}

#[derive(Default)]
struct StillMachines(Mutex<BTreeMap<VmId, (VmFile, Contents)>>);

impl Machines for StillMachines {
    fn power_on(&self, request: PowerOn) -> Result<Started, String> {
        let generation = request.files.generation();
        let id = request.vm.id;
        self.0
            .lock()
            .unwrap()
            .insert(id, (request.files, request.contents));
        let endpoint = self.endpoint(id).unwrap();
        Ok(Started {
            endpoint,
            generation,
        })
    }
    fn power_off(&self, vm: VmId) -> Result<u64, String> {
        let (file, _) = self.0.lock().unwrap().remove(&vm).ok_or("not running")?;
        Ok(file.generation())
    }
    fn endpoint(&self, vm: VmId) -> Option<Endpoint> {
        self.0.lock().unwrap().contains_key(&vm).then(|| Endpoint {
            tcti: "swtpm:path=/x".into(),
            control: "/x.ctrl".into(),
        })
    }
    fn persisted(&self, vm: VmId) -> Option<Contents> {
        self.0
            .lock()
            .unwrap()
            .get(&vm)
            .map(|(_, contents)| contents.clone())
    }
    fn capture(&self, vm: VmId) -> Option<Result<(Contents, u64), String>> {
        let machines = self.0.lock().unwrap();
        let (file, contents) = machines.get(&vm)?;
        let mut contents = contents.clone();
        contents.set(SectionKind::TPM_VOLATILE, b"volatile".to_vec());
        Some(Ok((contents, file.generation())))
    }
    fn with_files(&self, vm: VmId, work: &mut dyn FnMut(&mut VmFile)) -> bool {
        let mut machines = self.0.lock().unwrap();
        machines.get_mut(&vm).map(|(file, _)| work(file)).is_some()
    }
    fn generations(&self) -> Vec<(VmId, u64)> {
        Vec::new()
    }
}

/// A data folder with nothing in it, and the operations over it.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) operations: Arc<Operations>,
}

pub(crate) fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let engine = Redb::open(&folder.path().join("i.redb")).unwrap();
    let operations = Operations::open(
        folder.path(),
        Inventory::open(Arc::new(engine)).unwrap(),
        Arc::new(ByteMaker),
        Arc::new(StillMachines::default()),
    )
    .unwrap();
    World { folder, operations }
}

pub(crate) struct Api {
    folder: tempfile::TempDir,
    socket: PathBuf,
}

impl Api {
    /// An API with nothing in it.
    pub(crate) async fn empty() -> Self {
        let World { folder, operations } = world();
        let socket = folder.path().join("vtpm.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let sessions = crate::Sessions::new(Arc::clone(&operations));
        let web = crate::Web::new(operations, crate::Jobs::default(), sessions);
        let router = web.router(
            crate::Entrance::Owner,
            utoipa_axum::router::OpenApiRouter::new(),
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { folder, socket }
    }

    /// An API with a vCenter, a usable provider and a datastore.
    pub(crate) async fn ready() -> Self {
        let api = Self::empty().await;
        for (path, body) in [
            ("/v1/vcenters", json!({"name": "vc01", "version": "8.0.3"})),
            ("/v1/providers", json!({"name": "kp1"})),
            (
                "/v1/datastores",
                json!({"name": "ds", "vcenters": ["vc01"]}),
            ),
        ] {
            let (status, answer) = api.send(Method::POST, path, Some(body)).await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
        let password = json!({"password": "correct horse"});
        let (status, answer) = api
            .send(Method::POST, "/v1/providers/kp1/backup", Some(password))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(Path::new(answer["path"].as_str().unwrap()).starts_with(api.folder.path()));
        api
    }

    async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        kind: &str,
    ) -> (StatusCode, String, Value) {
        let headers = [("content-type", kind)];
        let (status, headers, answer) = self.send_with(method, path, &headers, body).await;
        let kind = headers
            .get("content-type")
            .map_or("", |kind| kind.to_str().unwrap())
            .to_owned();
        (status, kind, answer)
    }

    /// A request with headers of its own.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, HeaderMap, Value) {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "vtpm");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            headers,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let body = body.map_or_else(Vec::new, |body| serde_json::to_vec(&body).unwrap());
        let (status, kind, answer) = self
            .send_bytes(method, path, body, "application/json")
            .await;
        let expected = if status.is_success() {
            "application/json"
        } else {
            "application/problem+json"
        };
        assert_eq!(kind, expected, "{status} {answer}");
        if !status.is_success() {
            assert_eq!(answer["status"], status.as_u16());
            assert!(
                answer["detail"].is_string()
                    && answer["title"].is_string()
                    && answer["type"].is_string()
            );
        }
        (status, answer)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// Sends a request that starts a task, and waits for its end.
    async fn task(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.send(method, path, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let id = answer["task"]["id"].as_str().unwrap().to_owned();
        loop {
            let task = self.get(&format!("/v1/tasks/{id}")).await;
            if task["status"] != "running" && task["status"] != "queued" {
                return task;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let task = self.task(method, path, body).await;
        assert_eq!(task["status"], "success", "{task}");
        task
    }
}

#[tokio::test]
async fn a_vm_lives_through_the_api() {
    let api = Api::ready().await;
    api.done(
        Method::POST,
        "/v1/vms",
        Some(json!({"name": "web 01", "tpm": true})),
    )
    .await;
    let vm = api.get("/v1/vms/web%2001").await;
    assert_eq!(vm["tpm"]["origin"], "new");
    assert_eq!(vm["tpm"]["tcti"], Value::Null);
    let id = vm["id"].as_str().unwrap();
    api.done(
        Method::POST,
        &format!("/v1/vms/{id}/power"),
        Some(json!({"action": "on"})),
    )
    .await;
    assert_eq!(
        api.get(&format!("/v1/vms/{id}")).await["tpm"]["tcti"],
        "swtpm:path=/x"
    );

    api.done(
        Method::POST,
        &format!("/v1/vms/{id}/clone"),
        Some(json!({"name": "copy"})),
    )
    .await;
    let task = json!({"name": "fresh", "tpm": "replace"});
    let task = api
        .done(Method::POST, &format!("/v1/vms/{id}/clone"), Some(task))
        .await;
    assert!(task["notes"][0].as_str().unwrap().starts_with("replace:"));
    assert_eq!(
        api.get("/v1/vms/copy").await["tpm"]["ek_name"],
        vm["tpm"]["ek_name"]
    );
    assert_ne!(
        api.get("/v1/vms/fresh").await["tpm"]["ek_name"],
        vm["tpm"]["ek_name"]
    );
    assert_eq!(
        api.get("/v1/vms").await["items"].as_array().unwrap().len(),
        3
    );

    let (status, problem) = api
        .send(Method::DELETE, &format!("/v1/vms/{id}"), None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("vtpm vm stop"));
    api.done(
        Method::POST,
        &format!("/v1/vms/{id}/power"),
        Some(json!({"action": "off"})),
    )
    .await;
    api.done(Method::DELETE, &format!("/v1/vms/{id}"), None)
        .await;
    assert_eq!(
        api.send(Method::GET, &format!("/v1/vms/{id}"), None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.get("/v1/tasks").await["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn snapshots_are_taken_gone_back_to_and_forgotten_through_the_api() {
    let api = Api::ready().await;
    let vm = json!({"name": "vm 1", "tpm": true});
    api.done(Method::POST, "/v1/vms", Some(vm)).await;
    let snapshots = "/v1/vms/vm%201/snapshots";
    let on = json!({"action": "on"});
    let off = json!({"action": "off"});
    let clean = json!({"name": "clean / 1"});
    let (status, problem) = api.send(Method::POST, snapshots, Some(clean)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let clean = json!({"name": "clean 1", "description": "as made"});
    api.done(Method::POST, snapshots, Some(clean)).await;
    api.done(Method::POST, "/v1/vms/vm%201/power", Some(on))
        .await;
    let running = json!({"name": "running"});
    api.done(Method::POST, snapshots, Some(running)).await;
    api.done(Method::POST, "/v1/vms/vm%201/power", Some(off))
        .await;
    let tree = api.get(snapshots).await;
    assert_eq!(tree["snapshots"][0]["description"], "as made");
    assert_eq!(tree["snapshots"][1]["parent"], tree["snapshots"][0]["id"]);
    assert_eq!(tree["current"], tree["snapshots"][1]["id"]);
    let revert = |name: &str| format!("{snapshots}/{name}/revert");
    api.done(Method::POST, &revert("running"), None).await;
    assert_eq!(api.get("/v1/vms/vm%201").await["power"], "on");
    api.done(Method::POST, &revert("clean%201"), None).await;
    let vm = api.get("/v1/vms/vm%201").await;
    assert_eq!(vm["power"], "off");
    assert_eq!(vm["reverts"][1]["name"], "clean 1");
    let (status, problem) = api.send(Method::POST, &revert("none"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    let forgotten = format!("{snapshots}/running");
    api.done(Method::DELETE, &forgotten, None).await;
    let (status, _) = api.send(Method::DELETE, &forgotten, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        api.get(snapshots).await["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn every_rule_that_fails_is_a_member_of_the_problem() {
    let api = Api::ready().await;
    let request = json!({"name": "bsd", "tpm": true, "firmware": "bios", "hardware_version": 13, "guest": "freebsd14_64Guest"});
    let (status, problem) = api.send(Method::POST, "/v1/vms", Some(request)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["type"], "urn:vtpm:problem:refused");
    let rules: Vec<&str> = problem["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["efi-firmware", "hardware-version", "guest-floor"]);
    assert_eq!(api.get("/v1/vms").await["items"], json!([]));
}

#[tokio::test]
async fn hostile_names_are_refused_everywhere() {
    let api = Api::ready().await;
    let entries = || -> std::collections::BTreeSet<_> {
        let entries = std::fs::read_dir(api.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = entries();
    let long = "x".repeat(300);
    for name in ["../x", "a/b", "a\0b", "", ".hidden", "-rf", long.as_str()] {
        for (path, body) in [
            ("/v1/vms", json!({"name": name, "tpm": true})),
            ("/v1/vcenters", json!({"name": name, "version": "8.0.3"})),
            ("/v1/providers", json!({"name": name})),
            (
                "/v1/datastores",
                json!({"name": name, "vcenters": ["vc01"]}),
            ),
        ] {
            let (status, problem) = api.send(Method::POST, path, Some(body)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {name:?}");
            assert!(problem["detail"].as_str().unwrap().len() < 400);
        }
    }
    for path in [
        "/v1/vms/..%2Fx",
        "/v1/vms/a%00b",
        &format!("/v1/vms/{long}"),
        "/v1/vms/%2e%2e",
    ] {
        assert_eq!(
            api.send(Method::GET, path, None).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        api.send(Method::GET, "/v1/vms/%ff", None).await.0,
        StatusCode::BAD_REQUEST
    );
    // Nothing was made under any of these names.
    assert_eq!(entries(), before);
}

#[tokio::test]
async fn wrong_requests_get_problem_documents() {
    let api = Api::ready().await;
    let cases = [
        (Method::POST, "/v1/vms", "{", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/vms", "[]", StatusCode::BAD_REQUEST),
        (
            Method::POST,
            "/v1/vms",
            r#"{"name":"a","no_such_member":1}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/vms/none/power",
            r#"{"action":"on"}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/v1/vms/none/power",
            r#"{"action":"reset"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/vcenters",
            r#"{"name":"v","version":"eight"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/vcenters",
            r#"{"name":"vc01","version":"8.0.3"}"#,
            StatusCode::CONFLICT,
        ),
        (
            Method::POST,
            "/v1/providers/kp1/backup",
            r#"{"password":""}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/providers/none/backup",
            r#"{"password":"x"}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/v1/providers/restore",
            r#"{"name":"k","backup":"!","password":"x"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/providers/restore",
            r#"{"name":"k","backup":"AAAA","password":"x"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (Method::GET, "/v1/tasks/7", "", StatusCode::BAD_REQUEST),
        (
            Method::GET,
            "/v1/tasks/00000000-0000-4000-8000-000000000000",
            "",
            StatusCode::NOT_FOUND,
        ),
        (Method::GET, "/v2", "", StatusCode::NOT_FOUND),
        (Method::PUT, "/v1/vms", "", StatusCode::METHOD_NOT_ALLOWED),
    ];
    for (method, path, body, expected) in cases {
        let (status, kind, problem) = api
            .send_bytes(method, path, body.into(), "application/json")
            .await;
        assert_eq!(
            (status, kind.as_str()),
            (expected, "application/problem+json"),
            "{path} {body} {problem}"
        );
    }
    let (status, kind, _) = api
        .send_bytes(Method::POST, "/v1/vms", b"name=a".to_vec(), "text/plain")
        .await;
    assert_eq!(
        (status, kind.as_str()),
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/problem+json"
        )
    );
}

#[tokio::test]
async fn a_tpm_that_was_elsewhere_is_adopted() {
    let api = Api::ready().await;
    let path = "/v1/adoptions";
    let request = |state: &str| Some(json!({"vm": {"name": "web01"}, "state": state}));
    let (status, problem) = api.send(Method::POST, path, request("not base64")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    api.done(Method::POST, path, request("AAAAAAAAAAAAAAAAAAAAAA=="))
        .await;
    let vm = api.get("/v1/vms/web01").await;
    assert_eq!(vm["tpm"]["ek_name"], format!("000b{}", "00".repeat(16)));
}

#[tokio::test]
async fn requests_larger_than_the_limit_are_refused_before_they_are_read() {
    let api = Api::ready().await;
    let mut stream = UnixStream::connect(&api.socket).await.unwrap();
    let head = "POST /v1/vms HTTP/1.1\r\nhost: vtpm\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // A gigabyte is announced and nothing of it sent: the answer comes all the same.
    let mut answer = vec![0; 64];
    let count = stream.read(&mut answer).await.unwrap();
    assert!(
        String::from_utf8_lossy(&answer[..count]).starts_with("HTTP/1.1 413"),
        "{:?}",
        String::from_utf8_lossy(&answer[..count])
    );
}

#[tokio::test]
async fn a_backup_is_restored_on_another_vcenter() {
    let api = Api::ready().await;
    let password = "correct horse";
    let (_, backup) = api
        .send(
            Method::POST,
            "/v1/providers/kp1/backup",
            Some(json!({"password": password})),
        )
        .await;
    api.send(
        Method::POST,
        "/v1/vcenters",
        Some(json!({"name": "vc02", "version": "7.0.3"})),
    )
    .await;
    let restore = |password: &str| json!({"name": "kp1", "vcenter": "vc02", "backup": backup["backup"], "password": password});
    let (status, problem) = api
        .send(
            Method::POST,
            "/v1/providers/restore",
            Some(restore("wrong")),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, made) = api
        .send(
            Method::POST,
            "/v1/providers/restore",
            Some(restore(password)),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["status"], "active");
    assert_eq!(
        api.get("/v1/providers").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_vapp_lives_through_the_api() {
    let api = Api::ready().await;
    let made = |path: &'static str, body: Value| api.send(Method::POST, path, Some(body));
    for (path, body) in [
        ("/v1/organizations", json!({"name": "acme"})),
        ("/v1/vdcs", json!({"name": "vdc1", "vcenter": "vc01"})),
        ("/v1/catalogs", json!({"name": "shelf"})),
        (
            "/v1/users",
            json!({"name": "eve", "role": "vapp-author", "password": "a long password"}),
        ),
    ] {
        let (status, answer) = made(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        assert!(!answer.to_string().contains("argon2"), "{answer}");
    }
    let shop = json!({"name": "shop", "vms": [{"name": "web", "new": {"tpm": true}}, {"name": "log", "new": {}}]});
    let task = api.done(Method::POST, "/v1/vapps", Some(shop)).await;
    assert_eq!(
        (&task["target"], &task["organization"]),
        (&json!("vapp"), &json!("acme"))
    );

    // A preview answers at once and changes nothing.
    let copy = json!({"name": "twin", "tpm": "replace"});
    let path = "/v1/vapps/shop/copy?preview=true";
    let (status, preview) = api.send(Method::POST, path, Some(copy.clone())).await;
    assert_eq!(
        (status, &preview["possible"]),
        (StatusCode::OK, &json!(true))
    );
    let web = &preview["vms"][1];
    assert_eq!(
        (&web["vm"], &web["effects"]["ek_identity"]),
        (&json!("web"), &json!("lost"))
    );
    assert_eq!(
        api.get("/v1/vapps").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    api.done(Method::POST, "/v1/vapps/acme%2Fshop/copy", Some(copy))
        .await;
    let capture = json!({"vapp": "twin", "catalog": "shelf", "name": "gold", "tpm": "replace"});
    api.done(Method::POST, "/v1/templates", Some(capture)).await;
    let refused = json!({"name": "x", "tpm": "copy"});
    let (status, problem) = api
        .send(
            Method::POST,
            "/v1/templates/gold/instantiate",
            Some(refused),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["failures"][0]["rule"], "template-decides");
    assert_eq!(problem["failures"][0]["number"], "1.5");
    assert_eq!(problem["failures"][0]["vm"], "web");
    let many = json!({"name": "many", "count": 3});
    api.done(Method::POST, "/v1/templates/gold/instantiate", Some(many))
        .await;
    assert_eq!(
        api.get("/v1/vapps/many").await["vms"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    let tree = api.get("/v1/vms/many%2Fweb-1/lineage").await;
    assert_eq!(tree["operation"], "build_vapp");

    // A running VM keeps its vApp from going; that is a conflict, not a refusal of the rules.
    api.done(
        Method::POST,
        "/v1/vms/shop%2Fweb/power",
        Some(json!({"action": "on"})),
    )
    .await;
    let (status, problem) = api.send(Method::DELETE, "/v1/vapps/shop", None).await;
    assert_eq!(
        (status, &problem["failures"][0]["rule"]),
        (StatusCode::CONFLICT, &json!("power-state"))
    );
    api.done(
        Method::POST,
        "/v1/vms/shop%2Fweb/power",
        Some(json!({"action": "off"})),
    )
    .await;
    api.done(Method::DELETE, "/v1/vapps/shop", None).await;

    let check = api.get("/v1/audit/check").await;
    assert_eq!(check["damage"], Value::Null);
    let audit = api.get("/v1/audit?after=3").await;
    assert_eq!(audit["items"][0]["number"], 4);
    assert!(!audit.to_string().contains("argon2"));
}

#[tokio::test]
async fn wrong_requests_about_vapps_get_problem_documents() {
    let api = Api::ready().await;
    let (status, _) = api
        .send(
            Method::POST,
            "/v1/organizations",
            Some(json!({"name": "acme"})),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED);
    for (path, body, expected) in [
        (
            "/v1/organizations",
            json!({"name": "../x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/organizations",
            json!({"name": "acme"}),
            StatusCode::CONFLICT,
        ),
        (
            "/v1/vapps",
            json!({"name": "x", "vdc": "none"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vapps",
            json!({"name": "x", "vms": 5}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps?preview=perhaps",
            json!({"name": "x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps?prevew=true",
            json!({"name": "x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps/none/copy",
            json!({"name": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vapps/none/copy",
            json!({"name": "x", "tpm": "new"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps/..%2F..%2Fetc/copy",
            json!({"name": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/templates/none/instantiate",
            json!({"name": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/templates",
            json!({"catalog": "c", "name": "x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vms/none/tpm",
            json!({"present": true}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vms/none/move",
            json!({"vapp": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vcenters/vc01/trust",
            json!({"vcenter": "vc01"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vcenters/vc01/trust",
            json!({"vcenter": "none"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/users",
            json!({"name": "u", "role": "root", "password": "a long password"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/users",
            json!({"name": "u", "role": "vapp-user", "password": "short"}),
            StatusCode::BAD_REQUEST,
        ),
        ("/v1/tasks/none/cancel", json!({}), StatusCode::BAD_REQUEST),
        (
            "/v1/tasks/5b1f2a86-78f0-4404-ba23-d3591e0eb117/cancel",
            json!({}),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (status, problem) = api.send(Method::POST, path, Some(body.clone())).await;
        assert_eq!(status, expected, "{path} {body}: {problem}");
        assert!(
            problem["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:vtpm:problem:"),
            "{problem}"
        );
    }
    assert_eq!(api.get("/v1/vapps").await["items"], json!([]));
}
