//! `kill -9` of the daemon at random points of operations on whole vApps: each operation is finished or undone, and nothing else.
//!
//! Operations come in bursts over several connections; the kill comes at a random moment of a burst. After the restart every VM
//! of the inventory has its whole folder, every folder has its VM, sources are what they were to the byte, and endorsement keys are those
//! that each operation promised. `VTPM_CRASH_OPERATIONS` (100) and `VTPM_CRASH_SEED` choose how many and which.

#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, Daemon, PATIENCE, data, files_below, finish, folder, only_for_vtpm};

/// A repeatable choice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).expect("small")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.roll(from.len().max(1));
        from.get(at)
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// One request of the API.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    path: String,
    body: Vec<u8>,
    /// What there is when it has succeeded.
    makes: Option<Made>,
}

/// What a request makes, and of how many VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Made {
    Vapp(String, usize),
    Template(String, usize),
    Vm(String),
}

impl Request {
    fn post(path: String, body: &Value, makes: Option<Made>) -> Self {
        Self {
            method: "POST",
            path,
            body: body.to_string().into_bytes(),
            makes,
        }
    }

    fn delete(path: String) -> Self {
        Self {
            method: "DELETE",
            path,
            body: Vec::new(),
            makes: None,
        }
    }

    /// Asks the daemon; `None` if it does not get to an answer.
    fn ask(&self, socket: &Path) -> Option<(u16, Value)> {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: vtpm\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.method,
            self.path,
            self.body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&self.body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().expect("a list")
}

struct World {
    daemon: Daemon,
    work: tempfile::TempDir,
    _home: tempfile::TempDir,
    dice: Dice,
    counter: usize,
    /// The package that is uploaded.
    package: Vec<u8>,
    /// The files of the vApp that everything is copied from.
    source: BTreeMap<PathBuf, Vec<u8>>,
    /// Endorsement keys of its VMs, by their names.
    keys: BTreeMap<String, String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let home = folder();
        let daemon = Daemon::start(&home.path().join("data"));
        daemon.ok(["vm", "stop", "demo"]);
        daemon.ok(["vm", "delete", "demo"]);
        daemon.ok(["org", "add", "acme"]);
        daemon.ok(["datastore", "add", "far", "--vcenter", "vc01"]);
        daemon.ok(["vdc", "add", "near", "--vcenter", "vc01"]);
        daemon.ok([
            "vdc",
            "add",
            "away",
            "--vcenter",
            "vc01",
            "--datastore",
            "far",
        ]);
        daemon.ok(["catalog", "add", "shelf", "--vdc", "near"]);
        daemon.ok([
            "vapp", "create", "shop", "--vdc", "near", "--tpm-vm", "web", "--tpm-vm", "db", "--vm",
            "log",
        ]);
        daemon.ok(["vm", "create", "scratch", "--tpm"]);
        let work = folder();
        let ova = work.path().join("win.ova");
        let made = std::process::Command::new("python3")
            .arg(data("packages.py"))
            .arg("make")
            .args([work.path(), &ova])
            .output();
        finish("packages.py", made.expect("python3 starts"));
        let mut world = Self {
            daemon,
            package: fs::read(&ova).expect("the package"),
            work,
            _home: home,
            dice: Dice(seed | 1),
            counter: 0,
            source: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        let shop = world.get("/v1/vapps/shop");
        for vm in list(&shop, "vms") {
            let name = text(vm, "/name").to_owned();
            fs::write(world.folder_of(vm).join("disk.vmdk"), disk(&name)).expect("a disk");
            if let Some(key) = vm["tpm"]["ek_name"].as_str() {
                world.keys.insert(name, key.to_owned());
            }
        }
        for (name, tpm) in [("gold", "copy"), ("blank", "replace")] {
            world
                .daemon
                .ok(["vapp", "capture", "shop", "shelf", name, "--tpm", tpm]);
        }
        world.source = world.files_of_source();
        world
    }

    fn socket(&self) -> PathBuf {
        self.daemon.folder().join("vtpm.sock")
    }

    fn get(&self, path: &str) -> Value {
        let request = Request {
            method: "GET",
            path: path.to_owned(),
            body: Vec::new(),
            makes: None,
        };
        let (status, body) = request.ask(&self.socket()).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn folder_of(&self, vm: &Value) -> PathBuf {
        let datastores = self.daemon.folder().join("datastores");
        datastores
            .join(text(vm, "/datastore"))
            .join(text(vm, "/folder"))
    }

    fn files_of_source(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut vms = list(&self.get("/v1/vapps/shop"), "vms").to_vec();
        for template in list(&self.get("/v1/templates"), "items") {
            if ["gold", "blank"].contains(&text(template, "/name")) {
                vms.extend_from_slice(list(template, "vms"));
            }
        }
        let folders = vms.iter().map(|vm| self.folder_of(vm));
        folders
            .flat_map(|folder| files_below(&folder))
            .map(|file| (file.clone(), fs::read(&file).expect("a file")))
            .collect()
    }

    /// An operation that may be asked for now.
    fn operation(&mut self) -> Request {
        self.counter += 1;
        let number = self.counter;
        let name = |what: &str| format!("{what}{number}");
        let choice = ["copy", "replace"][self.dice.roll(2)];
        let vdc = ["near", "away"][self.dice.roll(2)];
        let vapps: Vec<String> = self.names("/v1/vapps", "shop");
        let templates = self.names("/v1/templates", "gold");
        match self.dice.roll(13) {
            0 => Request::post(
                "/v1/vms".to_owned(),
                &json!({"name": name("vm"), "tpm": true}),
                Some(Made::Vm(name("vm"))),
            ),
            1 | 2 => Request::post(
                "/v1/vapps/shop/copy".to_owned(),
                &json!({"name": name("copy"), "tpm": choice, "vdc": vdc}),
                Some(Made::Vapp(name("copy"), 3)),
            ),
            3 => Request::post(
                "/v1/templates".to_owned(),
                &json!({"vapp": "shop", "catalog": "shelf", "name": name("template"), "tpm": choice}),
                Some(Made::Template(name("template"), 3)),
            ),
            4 | 5 => Request::post(
                format!(
                    "/v1/templates/{}/instantiate",
                    ["gold", "blank"][self.dice.roll(2)]
                ),
                &json!({"name": name("instance"), "vdc": "away"}),
                Some(Made::Vapp(name("instance"), 3)),
            ),
            6 => Request {
                method: "POST",
                path: format!("/v1/packages?catalog=shelf&name={}", name("upload")),
                body: self.package.clone(),
                makes: Some(Made::Template(name("upload"), 1)),
            },
            7 => Request {
                method: "POST",
                path: format!("/v1/packages?vdc=near&name={}", name("package")),
                body: self.package.clone(),
                makes: Some(Made::Vapp(name("package"), 1)),
            },
            8 => match self.dice.pick(&vapps) {
                Some(vapp) => Request::delete(format!("/v1/vapps/{vapp}")),
                None => Request::delete("/v1/vapps/none".to_owned()),
            },
            9 => match self.dice.pick(&vapps) {
                Some(vapp) => {
                    Request::post(format!("/v1/vapps/{vapp}/move"), &json!({"vdc": vdc}), None)
                }
                None => Request::delete("/v1/vapps/none".to_owned()),
            },
            10 => match self.dice.pick(&templates) {
                Some(template) => Request::delete(format!("/v1/templates/{template}")),
                None => Request::delete("/v1/templates/none".to_owned()),
            },
            11 => Request::post(
                "/v1/vms/scratch/rekey".to_owned(),
                &json!({"deep": self.dice.roll(2) == 0}),
                None,
            ),
            _ => Request::post(
                "/v1/vms/scratch/snapshots".to_owned(),
                &json!({"name": name("snapshot")}),
                None,
            ),
        }
    }

    /// What there is besides what has to stay.
    fn names(&self, path: &str, but: &str) -> Vec<String> {
        let all = self.get(path);
        let names = list(&all, "items").iter().map(|it| text(it, "/name"));
        names
            .filter(|name| *name != but && *name != "blank")
            .map(str::to_owned)
            .collect()
    }

    /// Asks for several operations at once and kills the daemon in the middle.
    fn burst(&mut self, size: usize) -> Vec<Request> {
        let requests: Vec<Request> = (0..size).map(|_| self.operation()).collect();
        let socket = self.socket();
        let asking: Vec<_> = requests
            .iter()
            .cloned()
            .map(|request| {
                let socket = socket.clone();
                std::thread::spawn(move || request.ask(&socket))
            })
            .collect();
        // Most kills come early, when most happens.
        let longest = [5, 40, 200, 800][self.dice.roll(4)];
        let pause = Duration::from_micros(self.dice.roll(longest * 1000) as u64);
        std::thread::park_timeout(pause);
        self.daemon.process().kill();
        for thread in asking {
            if let Some((status, answer)) = thread.join().expect("a request") {
                assert!(status < 500, "{answer}");
            }
        }
        self.daemon.start_again();
        requests
    }

    fn check(&self, requests: &[Request]) {
        for task in list(&self.get("/v1/tasks"), "items") {
            let status = text(task, "/status");
            assert!(!["queued", "running"].contains(&status), "{task}");
        }
        let audit = self.get("/v1/audit/check");
        assert!(audit["damage"].is_null(), "{audit}");
        let (vms, vapps) = (self.get("/v1/vms"), self.get("/v1/vapps"));
        let templates = self.get("/v1/templates");
        self.check_folders(list(&vms, "items"), list(&templates, "items"));
        self.check_keys(list(&vms, "items"));
        for made in requests.iter().filter_map(|request| request.makes.as_ref()) {
            let (all, name, count) = match made {
                Made::Vapp(name, count) => (&vapps, name, Some(*count)),
                Made::Template(name, count) => (&templates, name, Some(*count)),
                Made::Vm(name) => (&vms, name, None),
            };
            let found = list(all, "items")
                .iter()
                .find(|it| text(it, "/name") == name);
            if let (Some(found), Some(count)) = (found, count) {
                assert_eq!(list(found, "vms").len(), count, "a half: {found}");
            }
        }
        assert!(
            self.files_of_source() == self.source,
            "a source was changed"
        );
    }

    /// Each VM has its folder with everything in it, and each folder its VM.
    fn check_folders(&self, vms: &[Value], templates: &[Value]) {
        let in_templates = templates.iter().flat_map(|template| list(template, "vms"));
        let mut known = BTreeSet::new();
        for vm in vms.iter().chain(in_templates) {
            let folder = self.folder_of(vm);
            let stem = text(vm, "/folder");
            assert!(
                folder.join(format!("{stem}.vmx")).is_file(),
                "no settings: {vm}"
            );
            let present = vm["tpm"]["present"].as_bool();
            if present.unwrap_or(!vm["tpm"].is_null()) {
                let states = files_below(&folder)
                    .into_iter()
                    .filter(|file| file.extension() == Some("nvram".as_ref()))
                    .count();
                assert_eq!(states, 1, "one state of the TPM: {}", folder.display());
            }
            let name = text(vm, "/name");
            let disk_file = folder.join("disk.vmdk");
            if self.keys.contains_key(name) || name == "log" {
                let found = fs::read(&disk_file).unwrap_or_else(|error| panic!("{error}: {vm}"));
                assert!(found == disk(name), "the disk of {vm}");
            }
            if name == "win" {
                let disk = fs::metadata(folder.join("win-disk1.vmdk")).expect("a disk");
                assert_eq!(disk.len(), 3_072_004);
            }
            assert!(known.insert(folder), "two VMs have the folder of {vm}");
        }
        for datastore in fs::read_dir(self.daemon.folder().join("datastores")).expect("a folder") {
            for entry in fs::read_dir(datastore.expect("an entry").path()).expect("a datastore") {
                let path = entry.expect("an entry").path();
                let ours = path.file_name() == Some(".lock".as_ref());
                assert!(
                    ours || known.contains(&path),
                    "nobody's: {}",
                    path.display()
                );
            }
        }
    }

    /// Copies have their source's endorsement key; every other TPM has one of its own.
    fn check_keys(&self, vms: &[Value]) {
        let mut own = BTreeSet::new();
        for vm in vms.iter().filter(|vm| vm["tpm"]["present"] == true) {
            let key = text(vm, "/tpm/ek_name");
            let name = text(vm, "/name");
            if text(vm, "/tpm/origin") == "copy" {
                assert_eq!(Some(key), self.keys.get(name).map(String::as_str), "{vm}");
            } else {
                assert!(
                    own.insert(key.to_owned()),
                    "a key that another VM has: {vm}"
                );
            }
        }
    }

    /// What was not made can be made now.
    fn make_up_for(&self, requests: &[Request]) -> usize {
        let mut count = 0;
        for request in requests {
            let there = match &request.makes {
                None => continue,
                Some(Made::Vapp(name, _)) => self.names("/v1/vapps", "").contains(name),
                Some(Made::Template(name, _)) => self.names("/v1/templates", "").contains(name),
                Some(Made::Vm(name)) => self.names("/v1/vms", "").contains(name),
            };
            if there {
                continue;
            }
            let (status, answer) = request.ask(&self.socket()).expect("an answer");
            assert_eq!(status, 202, "its name is not free: {answer}");
            let task = text(&answer, "/task/id");
            self.daemon.ok(["task", "wait", task]);
            count += 1;
        }
        count
    }

    /// How many operations a kill has met at work.
    fn interrupted(&self) -> usize {
        let tasks = self.get("/v1/tasks");
        let met = list(&tasks, "items").iter().filter(|task| {
            let why = task.pointer("/error/detail").and_then(Value::as_str);
            why.is_some_and(|why| why.contains("stopped in the middle"))
        });
        met.count()
    }

    /// The name of the endorsement key, from the TPM itself.
    fn ask_tpm(&self, vm: &str) -> String {
        self.daemon.ok(["vm", "start", vm]);
        let client: Client = self.daemon.client(vm, self.work.path());
        let name = client.sh("tpm2_createek -Q -G rsa -c ek.ctx -u ek.pub
             tpm2_readpublic -c ek.ctx | grep '^name'
             tpm2_flushcontext -t 2>/dev/null || true");
        self.daemon.ok(["vm", "stop", vm]);
        name
    }
}

fn disk(name: &str) -> Vec<u8> {
    name.repeat(20_000).into_bytes()
}

#[test]
fn operations_of_a_daemon_that_is_killed_are_finished_or_undone() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let operations = from_environment("VTPM_CRASH_OPERATIONS", 100);
    let seed = from_environment("VTPM_CRASH_SEED", 0x5eed_0f00_cafe);
    let mut world = World::new(seed);
    let scratch = world.ask_tpm("scratch");
    let (mut asked, mut undone) = (0, 0);
    // How quick the machine is decides what a kill meets, so it goes on until one has met an operation at work.
    while asked < operations || (world.interrupted() == 0 && asked < 50 * operations) {
        let size = 3 + world.dice.roll(6);
        let requests = world.burst(size);
        world.check(&requests);
        asked += requests.len() as u64;
        if world.dice.roll(6) == 0 {
            undone += world.make_up_for(&requests);
            world.check(&requests);
        }
    }
    // The keys that the inventory tells of are those that the TPMs have.
    assert_eq!(world.ask_tpm("scratch"), scratch, "seed {seed}");
    let vms = world.get("/v1/vms");
    let with_tpm: Vec<&Value> = list(&vms, "items")
        .iter()
        .filter(|vm| vm["tpm"]["present"] == true)
        .collect();
    for vm in with_tpm.iter().rev().take(3) {
        let told = text(vm, "/tpm/ek_name");
        assert!(world.ask_tpm(text(vm, "/id")).contains(told), "{vm}");
    }
    let interrupted = world.interrupted();
    assert!(interrupted > 0, "no kill met an operation at work");
    eprintln!(
        "{asked} operations, {interrupted} interrupted, {undone} of those undone were made again, {} VMs at the end",
        list(&vms, "items").len()
    );
}

#[test]
fn tasks_that_are_canceled_while_others_work_leave_nothing_and_disturb_nobody() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let mut world = World::new(0x00ca_9ce1);
    // How quick the machine is decides what is still there to be canceled, so it goes on until something was.
    let met = (0..50).any(|round| cancel_some(&mut world, round).contains_key("canceled"));
    assert!(met, "nothing was canceled");
}

/// Begins many operations at once and cancels some of them; gives how many ended in which way.
fn cancel_some(world: &mut World, round: usize) -> BTreeMap<String, usize> {
    let socket = world.socket();
    let before: BTreeSet<PathBuf> = files_below(&world.daemon.folder().join("datastores"))
        .into_iter()
        .collect();
    let tasks: Vec<(String, String)> = (0..12)
        .map(|number| {
            let name = format!("many{round}-{number}");
            let request = Request::post(
                format!(
                    "/v1/templates/{}/instantiate",
                    ["gold", "blank"][number % 2]
                ),
                &json!({"name": name, "vdc": "near", "count": 12}),
                None,
            );
            let (status, answer) = request.ask(&socket).expect("an answer");
            assert_eq!(status, 202, "{answer}");
            (name, text(&answer, "/task/id").to_owned())
        })
        .collect();
    // Some are at work, some wait for their turn, some may have ended.
    for (_, task) in tasks.iter().filter(|_| world.dice.roll(3) > 0) {
        let request = Request::post(format!("/v1/tasks/{task}/cancel"), &json!({}), None);
        let (status, answer) = request.ask(&socket).expect("an answer");
        assert!([200, 409].contains(&status), "{answer}");
    }
    let mut counts = BTreeMap::new();
    for (name, task) in &tasks {
        let _ended = world.daemon.vtpm(["task", "wait", task]);
        let task = world.get(&format!("/v1/tasks/{task}"));
        let status = text(&task, "/status").to_owned();
        let there = world.names("/v1/vapps", "").contains(name);
        match status.as_str() {
            "success" => {
                let vapp = world.get(&format!("/v1/vapps/{name}"));
                assert_eq!(list(&vapp, "vms").len(), 36, "{name}");
            }
            "canceled" => assert!(!there, "{task}"),
            other => panic!("{other}: {task}"),
        }
        *counts.entry(status).or_insert(0) += 1;
    }
    // Names of copies carry numbers; their keys and disks were looked at in the other test.
    for name in world.names("/v1/vapps", "shop") {
        world.daemon.ok(["vapp", "delete", &name]);
    }
    let after: BTreeSet<PathBuf> = files_below(&world.daemon.folder().join("datastores"))
        .into_iter()
        .collect();
    assert_eq!(after, before, "{counts:?}");
    eprintln!("{counts:?}");
    counts
}
