//! Trusted key providers end to end: a key service, Debian's swtpm as the TPM of the host, VMs, and what becomes of them when the host
//! is not what it was.

use crate::certificates::certificates;
use crate::place::assert_names;
use crate::support::{
    Client, Daemon, PortPair, Process, VTPM, finish, folder, only_for_vtpm, read_line_where,
    wait_for,
};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The TPM of a host: Debian's swtpm, manufactured by Debian's tools with an authority of its own.
struct HostTpm {
    home: TempDir,
    ports: PortPair,
    process: Process,
}

impl HostTpm {
    fn new() -> Self {
        let home = folder();
        for part in ["state", "config"] {
            fs::create_dir(home.path().join(part)).unwrap();
        }
        let setup = |arguments: &[&str]| {
            let output = Command::new("/usr/bin/swtpm_setup")
                .args(arguments)
                .env("XDG_CONFIG_HOME", home.path().join("config"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            finish("swtpm_setup", output)
        };
        setup(&["--create-config-files", "root"]);
        setup(&[
            "--tpm2",
            "--tpm-state",
            &home.path().join("state").display().to_string(),
            "--create-ek-cert",
            "--config",
            &home
                .path()
                .join("config/swtpm_setup.conf")
                .display()
                .to_string(),
        ]);
        let ports = PortPair::claim();
        let process = Self::power_on(home.path(), ports.first);
        Self {
            home,
            ports,
            process,
        }
    }

    fn power_on(home: &Path, port: u16) -> Process {
        let mut command = Command::new("/usr/bin/swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args([
                "--tpmstate",
                &format!("dir={}", home.join("state").display()),
            ])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(&mut command);
        wait_for("swtpm", || {
            let accepts = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            (accepts(port) && accepts(port + 1)).then_some(())
        });
        process
    }

    /// The host is switched off in good order. Another end would let the clock go back, which swtpm takes for safe again after some
    /// seconds, and then it looks like that of a twin.
    fn power_off(&mut self) {
        self.sh("tpm2_shutdown --clear");
        self.process.kill();
    }

    /// The host is switched off and on: its PCR are as after a reset.
    fn reset(&mut self) {
        if self.process.ended().is_none() {
            self.power_off();
        }
        self.process = Self::power_on(self.home.path(), self.ports.first);
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.ports.first)
    }

    fn sh(&self, script: &str) -> String {
        Client::new(self.tcti(), self.home.path()).sh(script)
    }

    fn authorities(&self) -> [String; 2] {
        let file = |name: &str| {
            let folder = self.home.path().join("config/var/lib/swtpm-localca");
            folder.join(name).display().to_string()
        };
        [
            file("swtpm-localca-rootca-cert.pem"),
            file("issuercert.pem"),
        ]
    }

    /// A policy that the host stays as it is.
    fn policy(&self, to: &Path) -> PathBuf {
        let evidence = to.join("evidence.json").display().to_string();
        let policy = to.join("policy.json");
        let nonce = "00".repeat(32);
        let quote = [
            "--tcti",
            &self.tcti(),
            "--nonce",
            &nonce,
            "--pcrs",
            "sha256:0,7",
        ];
        vtpm(&[&["attest", "quote"], &quote[..], &["-o", &evidence]].concat());
        let shown = policy.display().to_string();
        vtpm(&[
            "attest", "policy", &evidence, "--name", "golden", "-o", &shown,
        ]);
        policy
    }
}

fn vtpm(arguments: &[&str]) -> String {
    let output = Command::new(VTPM)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    finish(&arguments.join(" "), output)
}

/// A key service that runs.
struct KeyService {
    data: PathBuf,
    options: Vec<String>,
    address: String,
    process: Process,
}

impl KeyService {
    fn start(host: &HostTpm, home: &Path, options: &[&str]) -> Self {
        let data = home.join("service");
        let policy = host.policy(home);
        let [root, issuer] = host.authorities();
        let (shown, policy) = (data.display().to_string(), policy.display().to_string());
        vtpm(&[
            "key-service",
            "init",
            "--data",
            &shown,
            "--policy",
            &policy,
            "--ca",
            &root,
            "--ca",
            &issuer,
        ]);
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (process, address) = Self::serve(&data, &options);
        Self {
            data,
            options,
            address,
            process,
        }
    }

    fn serve(data: &Path, options: &[String]) -> (Process, String) {
        let mut command = Command::new(VTPM);
        command
            .args(["key-service", "serve", "--data"])
            .arg(data)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process::start(&mut command);
        let mut out = process.stdout();
        let line = read_line_where(&mut out, |line| line.starts_with("listening at "));
        let line = line.expect("the service says where it listens");
        let address = line
            .trim()
            .strip_prefix("listening at ")
            .unwrap()
            .to_owned();
        (process, address)
    }

    fn start_again(&mut self) {
        self.process.kill();
        (self.process, self.address) = Self::serve(&self.data, &self.options);
    }

    fn run(&self, verb: &str, rest: &[&str]) -> String {
        let data = self.data.display().to_string();
        vtpm(&[&["key-service", verb, "--data", &data], rest].concat())
    }

    fn socket(&self) -> PathBuf {
        self.address.strip_prefix("unix:").unwrap().into()
    }
}

/// How many seconds a service may take: more than it needs on any machine, as one that never answers costs them all.
const TIME_LIMIT: u32 = 30;

fn register(daemon: &Daemon, name: &str, service: &str, host: &HostTpm, more: &[&str]) {
    let tcti = host.tcti();
    let limit = format!("--time-limit={TIME_LIMIT}");
    let all = [
        &[
            "provider", "add", name, "--kind", "trusted", "--server", service,
        ][..],
        &["--host-tcti", &tcti, &limit],
        more,
    ];
    finish("provider add", daemon.vtpm(all.concat()));
}

fn assert_locked(daemon: &Daemon, vm: &str, provider: &str, key_id: &str) {
    let shown = daemon.vm(vm);
    assert_eq!(shown["locked"]["provider"], provider, "{shown}");
    assert_eq!(shown["locked"]["key_id"], key_id, "{shown}");
}

const EXTEND: &str =
    "tpm2_pcrextend 7:sha256=0101010101010101010101010101010101010101010101010101010101010101";

#[test]
fn a_host_gets_keys_while_its_tpm_attests_to_the_policy() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let mut host = HostTpm::new();
    let home = folder();
    let listen = format!("unix:{}", home.path().join("keys.sock").display());
    let mut service = KeyService::start(&host, home.path(), &["--listen", &listen]);
    let daemon = Daemon::start(&home.path().join("data"));
    register(&daemon, "tkp", &listen, &host, &[]);
    let status = daemon.ok(["provider", "status", "tkp"]);
    assert_names(&status, &["trusted", " ok: ", "golden", "sha256:0,7"]);
    assert_names(&service.run("hosts", &[]), &["enrolled"]);

    daemon.ok(["vm", "create", "web01", "--tpm", "--provider", "tkp"]);
    let first = daemon.vm_field("web01", "/key_id");
    daemon.ok(["vm", "start", "web01"]);
    daemon.client("web01", home.path()).sh("
        tpm2_nvdefine 0x1500001 -C o -s 5 -a 'ownerread|ownerwrite'
        printf there | tpm2_nvwrite 0x1500001 -C o -i -
    ");
    daemon.ok(["vm", "rekey", "web01"]);
    let key = daemon.vm_field("web01", "/key_id");
    assert_ne!(first, key);
    daemon.ok(["vm", "stop", "web01"]);
    daemon.ok(["vm", "clone", "web01", "copy"]);
    assert_eq!(daemon.vm_field("copy", "/key_id"), key);
    assert_names(
        &daemon.ok(["provider", "keys", "tkp"]),
        &[&key, "copy", "web01"],
    );
    assert_names(&service.run("keys", &[]), &[&first, &key, "active"]);

    // The host runs something else now: nothing new is protected, and what is off is locked.
    host.sh(EXTEND);
    let value = host.sh("tpm2_pcrread sha256:7 -o now >/dev/null; xxd -p -c 64 now");
    let zeros = "00".repeat(32);
    let said = daemon.refused(["vm", "create", "new", "--tpm", "--provider", "tkp"]);
    let words = [
        "tkp",
        &listen,
        "policy.pcr",
        "PCR 7 of sha256",
        value.trim(),
        &zeros,
    ];
    assert_names(&said, &words);
    daemon.ok(["provider", "forget-keys", "tkp"]);
    let said = daemon.refused(["vm", "start", "web01"]);
    assert_names(
        &said,
        &[
            "locked",
            "key provider tkp",
            &key,
            "vtpm vm unlock web01",
            "PCR 7",
        ],
    );
    assert_locked(&daemon, "web01", "tkp", &key);
    let said = daemon.refused(["vm", "unlock", "web01"]);
    assert_names(&said, &[&key, "PCR 7 of sha256", value.trim(), &zeros]);
    let said = daemon.vtpm(["provider", "status", "tkp"]);
    assert_eq!(said.status.code(), Some(1));
    assert_names(&String::from_utf8_lossy(&said.stdout), &[" no: ", "PCR 7"]);

    // As it was: after a reset of the host, and of the service.
    host.reset();
    service.start_again();
    daemon.ok(["vm", "unlock", "web01", "copy"]);
    daemon.ok(["vm", "start", "web01", "copy"]);
    daemon
        .client("web01", home.path())
        .sh("equal \"$(tpm2_nvread 0x1500001 -C o -s 5)\" there");
    daemon.ok(["vm", "stop", "web01", "copy"]);

    // The life of a key: deactivated it opens, destroyed it does nothing.
    service.run("deactivate-key", &[&key]);
    daemon.ok(["provider", "forget-keys", "tkp"]);
    daemon.ok(["vm", "start", "web01"]);
    daemon.ok(["vm", "stop", "web01"]);
    let said = daemon.refused(["vm", "clone", "web01", "another"]);
    assert_names(&said, &[&key, "deactivated", "re-key"]);
    daemon.ok(["provider", "rekey", "tkp", "--all"]);
    let last = daemon.vm_field("web01", "/key_id");
    assert_ne!(last, key);
    service.run("destroy-key", &[&last]);
    daemon.ok(["provider", "forget-keys", "tkp"]);
    let said = daemon.refused(["vm", "start", "web01"]);
    assert_names(&said, &[&last, "destroyed"]);
    assert_locked(&daemon, "web01", "tkp", &last);

    // A host that is shut out, though all is in order with it.
    let hosts = service.run("hosts", &[]);
    let id = hosts
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    service.run("block-host", &[id]);
    let said = daemon.refused(["vm", "create", "new", "--tpm", "--provider", "tkp"]);
    assert_names(&said, &[id, "shut out"]);
    service.run("allow-host", &[id]);
    daemon.ok(["vm", "create", "new", "--tpm", "--provider", "tkp"]);

    // The service is away: what is in memory starts, and nothing is lost.
    service.process.kill();
    daemon.ok(["vm", "start", "new"]);
    daemon.ok(["vm", "stop", "new"]);
    daemon.ok(["provider", "forget-keys", "tkp"]);
    let said = daemon.refused(["vm", "start", "new"]);
    assert_names(&said, &["locked", "cannot be reached", &listen]);
    // The host's TPM is away, too.
    service.start_again();
    host.power_off();
    let said = daemon.refused(["vm", "unlock", "new"]);
    assert_names(&said, &["the host's TPM", &host.tcti()]);
    host.reset();
    daemon.ok(["vm", "unlock", "new"]);
    daemon.ok(["vm", "start", "new"]);
}

#[test]
fn a_host_whose_endorsement_key_nobody_certified_gets_nothing() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let (known, stranger) = (HostTpm::new(), HostTpm::new());
    let home = folder();
    // Over TLS this time; the certificate is pinned.
    let made = certificates();
    for (name, bytes) in [
        ("server.pem", &made.server.certificate),
        ("server.key", &made.server.key),
        ("other.pem", &made.other_server.certificate),
    ] {
        fs::write(home.path().join(name), bytes).unwrap();
    }
    let path = |name: &str| home.path().join(name).display().to_string();
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--cert",
        &path("server.pem"),
        "--key",
        &path("server.key"),
    ];
    let service = KeyService::start(&known, home.path(), &options);
    let daemon = Daemon::start(&home.path().join("data"));
    let create = |provider: &str| {
        ["vm", "create", "vm", "--tpm", "--provider"]
            .into_iter()
            .chain([provider])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let refused = |provider: &str| {
        let output = daemon.vtpm(create(provider));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    register(
        &daemon,
        "stranger",
        &service.address,
        &stranger,
        &["--server-cert", &path("server.pem")],
    );
    assert_names(
        &refused("stranger"),
        &["stranger", "is not enrolled", "ek.chain"],
    );
    register(
        &daemon,
        "other",
        &service.address,
        &known,
        &["--server-cert", &path("other.pem")],
    );
    assert_names(&refused("other"), &[&service.address, "certificate"]);
    register(
        &daemon,
        "known",
        &service.address,
        &known,
        &["--server-cert", &path("server.pem")],
    );
    finish("vm create", daemon.vtpm(create("known")));
    assert_eq!(
        service.run("hosts", &[]).lines().count(),
        2,
        "one, under a head"
    );

    // Without TLS nothing leaves the machine.
    for (server, tcti, word) in [
        ("10.0.0.1:7000", known.tcti(), "--server-cert"),
        ("nonsense", known.tcti(), "\"nonsense\""),
        ("unix:/x", "nonsense:".to_owned(), "nonsense"),
    ] {
        let said = daemon.refused([
            "provider",
            "add",
            "bad",
            "--kind",
            "trusted",
            "--server",
            server,
            "--host-tcti",
            &tcti,
        ]);
        assert_names(&said, &[word]);
    }
    assert!(!daemon.ok(["provider", "list"]).contains("bad"));
}

/// What stands between a host and its service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Between {
    /// It passes on and remembers.
    Record,
    /// The last answer of a conversation is what it was at an earlier one.
    Replay,
    /// It ends in the middle of the last answer.
    Cut,
    /// The last answer says it is endless.
    Oversized,
    /// The last answer is no JSON.
    Nonsense,
    /// The last answer never ends.
    Slow,
}

struct Proxy {
    mode: Arc<Mutex<Between>>,
    /// The last request and its answer.
    last: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
}

impl Proxy {
    fn start(at: &Path, service: PathBuf) -> Self {
        let proxy = Self {
            mode: Arc::new(Mutex::new(Between::Record)),
            last: Arc::default(),
        };
        let listener = UnixListener::bind(at).unwrap();
        let (mode, last) = (Arc::clone(&proxy.mode), Arc::clone(&proxy.last));
        thread::spawn(move || {
            for host in listener.incoming() {
                let (mode, last, service) = (Arc::clone(&mode), Arc::clone(&last), service.clone());
                thread::spawn(move || pass(host.unwrap(), &service, &mode, &last));
            }
        });
        proxy
    }

    fn set(&self, mode: Between) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn frame(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut framed = vec![0; 4];
    stream.read_exact(&mut framed).ok()?;
    let length = u32::from_be_bytes(framed.as_slice().try_into().unwrap());
    let start = framed.len();
    framed.resize(start + length as usize, 0);
    stream.read_exact(&mut framed[start..]).ok()?;
    Some(framed)
}

fn pass(
    mut host: UnixStream,
    service: &Path,
    mode: &Mutex<Between>,
    last: &Mutex<(Vec<u8>, Vec<u8>)>,
) -> Option<()> {
    let mut service = UnixStream::connect(service).ok()?;
    while let Some(request) = frame(&mut host) {
        service.write_all(&request).ok()?;
        let answer = frame(&mut service)?;
        let mode = *mode.lock().unwrap();
        if !request.windows(10).any(|window| window == b"{\"answer\":") {
            host.write_all(&answer).ok()?;
            continue;
        }
        match mode {
            Between::Record => {
                host.write_all(&answer).ok()?;
                *last.lock().unwrap() = (request, answer);
            }
            Between::Replay => host.write_all(&last.lock().unwrap().1).ok()?,
            Between::Cut => {
                host.write_all(&answer[..answer.len() / 2]).ok()?;
                host.shutdown(Shutdown::Both).ok()?;
            }
            Between::Oversized => host.write_all(&[0xff; 64]).ok()?,
            Between::Nonsense => host.write_all(b"\0\0\0\x02no").ok()?,
            Between::Slow => loop {
                // One byte at a time: each comes in time, and the whole does not.
                for byte in answer.iter().take(8) {
                    host.write_all(&[*byte]).ok()?;
                    thread::sleep(Duration::from_secs(2));
                }
                thread::sleep(Duration::from_secs(1));
                host.write_all(b" ").ok()?;
            },
        }
    }
    Some(())
}

#[test]
fn whoever_listens_between_host_and_service_gains_nothing() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let mut host = HostTpm::new();
    let home = folder();
    let listen = format!("unix:{}", home.path().join("keys.sock").display());
    let service = KeyService::start(&host, home.path(), &["--listen", &listen]);
    let between = home.path().join("between.sock");
    let proxy = Proxy::start(&between, service.socket());
    let daemon = Daemon::start(&home.path().join("data"));
    register(
        &daemon,
        "tkp",
        &format!("unix:{}", between.display()),
        &host,
        &["--keep-keys", "0"],
    );
    daemon.ok(["vm", "create", "vm", "--tpm", "--provider", "tkp"]);
    daemon.ok(["vm", "start", "vm"]);
    daemon.ok(["vm", "stop", "vm"]);
    let key = daemon.vm_field("vm", "/key_id");

    // A quote is good once.
    let (quote, answer) = proxy.last.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&answer).contains("\"key\""));
    let mut stream = UnixStream::connect(service.socket()).unwrap();
    stream.write_all(&quote).unwrap();
    let again = String::from_utf8_lossy(&frame(&mut stream).unwrap()).into_owned();
    assert_names(
        &again,
        &["refused", "not_trusted", "quote.nonce", "used before"],
    );

    let slow = format!("did not answer within {TIME_LIMIT} s");
    for (mode, word) in [
        (Between::Cut, "before the message was whole"),
        (Between::Oversized, "at most 131072"),
        (Between::Nonsense, "cannot be read"),
        (Between::Slow, &slow),
    ] {
        proxy.set(mode);
        // The slow one never comes to an end by itself.
        let said = daemon.refused(["vm", "start", "vm"]);
        assert_names(&said, &["locked", "tkp", &key, word]);
    }
    // A key that was sealed for the host as it was opens as long as it is that.
    proxy.set(Between::Replay);
    daemon.ok(["vm", "unlock", "vm"]);
    host.sh(EXTEND);
    let said = daemon.refused(["vm", "start", "vm"]);
    assert_names(&said, &["does not open in the host's TPM", "Unseal"]);
    proxy.set(Between::Record);
    host.reset();
    daemon.ok(["vm", "unlock", "vm"]);
    daemon.ok(["vm", "start", "vm"]);

    // The service lives through the same, and says what was wrong.
    for (bytes, word) in [
        (&[0xff, 0xff, 0xff, 0xff][..], "at most"),
        (b"\0\0\0\x02no", "cannot be read"),
        (b"\0\0\0\x09{\"x\":{}}\0", "cannot be read"),
    ] {
        let mut stream = UnixStream::connect(service.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        let said = String::from_utf8_lossy(&frame(&mut stream).unwrap()).into_owned();
        assert_names(&said, &["bad_request", word]);
    }
    let second = Command::new(VTPM)
        .args([
            "key-service",
            "serve",
            "--listen",
            "unix:/tmp/never",
            "--data",
        ])
        .arg(&service.data)
        .output()
        .unwrap();
    assert_names(
        &String::from_utf8_lossy(&second.stderr),
        &["in use by another `vtpm key-service serve`"],
    );
}
