//! The API over a unix socket, as the command line uses it; a TPM is random bytes.

mod refusals;
mod vapps;
mod vms;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
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
    fn suspend(&self, vm: VmId) -> Result<u64, String> {
        let (mut file, mut contents) = self.0.lock().unwrap().remove(&vm).ok_or("not running")?;
        contents.set(SectionKind::TPM_VOLATILE, b"volatile".to_vec());
        file.save(&contents).map_err(|error| error.to_string())
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
