//! What the tests that drive real processes share: TPM servers, public clients, raw frames.
//!
//! Everything runs against the `vtpm` binary of this build. With `VTPM_TESTS_AGAINST=swtpm` the same tests start
//! Debian's swtpm instead, which shows whether a test asks for something that only we believe in.

#![allow(
    dead_code,
    reason = "every test file is a program of its own and uses a part of this one"
)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) use ports::PortPair;
use tempfile::TempDir;

pub(crate) mod browser;
pub(crate) mod certified;
pub(crate) mod ports;
pub(crate) mod raw;
pub(crate) mod web;

/// How long anything may take before a test gives up on it: generous, because unoptimised builds share two cores with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// The same for programs that are told in words.
pub(crate) const PATIENCE_IN_SECONDS: &str = "300";

/// The program under test.
pub(crate) const VTPM: &str = env!("CARGO_BIN_EXE_vtpm");

/// Whether this run checks the tests themselves, against Debian's swtpm.
pub(crate) fn against_swtpm() -> bool {
    match std::env::var("VTPM_TESTS_AGAINST").as_deref() {
        Ok("swtpm") => true,
        Ok("") | Ok("vtpm") | Err(_) => false,
        Ok(other) => panic!("VTPM_TESTS_AGAINST takes vtpm or swtpm, not {other:?}"),
    }
}

/// Says so and returns true when a test needs what only `vtpm` has.
pub(crate) fn only_for_vtpm(what: &str) -> bool {
    if against_swtpm() {
        eprintln!("not for swtpm: {what}");
    }
    against_swtpm()
}

/// A folder that goes away with the value. Scripts and options of other programs take its path as a word.
pub(crate) fn folder() -> TempDir {
    let usual = std::env::temp_dir();
    let is_a_word = |path: &Path| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
        path.as_os_str().as_encoded_bytes().iter().all(plain)
    };
    let base = if is_a_word(&usual) {
        &*usual
    } else {
        Path::new("/tmp")
    };
    tempfile::Builder::new()
        .prefix("vtpm-test-")
        .tempdir_in(base)
        .expect("a temporary folder")
}

/// Polls until `ready` gives a value; fails when patience ends.
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether somebody listens on a unix socket, found out without a connection: some servers end with their first one.
pub(crate) fn listens(socket: &Path) -> bool {
    const LISTENING: &str = "00010000";
    let sockets = fs::read_to_string("/proc/net/unix").expect("the kernel's list of sockets");
    let path = socket.to_str().expect("a path in UTF-8");
    sockets.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        words.nth(3) == Some(LISTENING) && words.nth(3) == Some(path)
    })
}

/// A child process that does not outlive the test.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    what: String,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        Process { child, what }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The piped standard output, once.
    pub(crate) fn stdout(&mut self) -> BufReader<impl Read + Send + 'static> {
        BufReader::new(self.child.stdout.take().expect("stdout is piped"))
    }

    /// The piped standard error, once.
    pub(crate) fn stderr(&mut self) -> BufReader<impl Read + Send + use<>> {
        BufReader::new(self.child.stderr.take().expect("stderr is piped"))
    }

    /// The piped standard input, once.
    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("stdin is piped")
    }

    /// The exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.what);
        wait_for(&what, || self.ended())
    }

    /// Asks the process to end, as an init system does, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.id()).expect("a process id");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, signal).expect("the process is there");
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How clients reach a TPM server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// swtpm's data and control channels over TCP.
    Swtpm,
    /// The same over unix sockets.
    SwtpmUnix,
    /// The simulator's command and platform ports.
    Mssim,
}

/// A TPM server process with its state folder.
#[derive(Debug)]
pub(crate) struct TpmServer {
    protocol: Protocol,
    options: Vec<String>,
    ports: PortPair,
    home: PathBuf,
    process: Process,
}

impl TpmServer {
    /// Starts a server whose state is in `home`, and waits until it accepts connections.
    pub(crate) fn start(protocol: Protocol, home: &Path) -> Self {
        Self::start_with(protocol, home, &[])
    }

    /// The same with more options on the server's command line.
    pub(crate) fn start_with(protocol: Protocol, home: &Path, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let ports = PortPair::claim();
        let process = Self::launch(protocol, home, &ports, &options);
        let mut server = TpmServer {
            protocol,
            options,
            ports,
            home: home.to_owned(),
            process,
        };
        server.wait_until_it_accepts();
        server
    }

    fn launch(protocol: Protocol, home: &Path, ports: &PortPair, options: &[String]) -> Process {
        let port = ports.first;
        let state = home.join("state");
        fs::create_dir_all(&state).expect("a state folder");
        let mut command = if against_swtpm() {
            Command::new("swtpm")
        } else {
            Command::new(VTPM)
        };
        if protocol == Protocol::Mssim {
            assert!(
                !against_swtpm(),
                "swtpm does not speak the simulator's protocol"
            );
            command.args(["simulator", "--port", &port.to_string(), "--state"]);
            command.arg(&state);
        } else {
            if !against_swtpm() {
                command.arg("swtpm");
            }
            let (server, control) = if protocol == Protocol::Swtpm {
                (
                    format!("type=tcp,port={port}"),
                    format!("type=tcp,port={}", port + 1),
                )
            } else {
                (
                    format!("type=unixio,path={}", home.join("tpm").display()),
                    format!("type=unixio,path={}", home.join("tpm.ctrl").display()),
                )
            };
            command
                .args(["socket", "--tpm2", "--tpmstate"])
                .arg(format!("dir={}", state.display()))
                .args(["--server", &server, "--ctrl", &control])
                .args(["--flags", "not-need-init,startup-clear"]);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(home.join("server.log"))
            .expect("the server's log");
        command
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        Process::start(&mut command)
    }

    fn wait_until_it_accepts(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.accepts() {
            if let Some(status) = self.process.ended() {
                panic!("the server ended ({status}):\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the server does not accept:\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn accepts(&self) -> bool {
        match self.protocol {
            Protocol::SwtpmUnix => ["tpm", "tpm.ctrl"]
                .iter()
                .all(|name| UnixStream::connect(self.home.join(name)).is_ok()),
            Protocol::Swtpm | Protocol::Mssim => [self.ports.first, self.ports.first + 1]
                .into_iter()
                .all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()),
        }
    }

    /// What a client's TCTI variable holds.
    pub(crate) fn tcti(&self) -> String {
        let port = self.ports.first;
        match self.protocol {
            Protocol::Swtpm => format!("swtpm:host=127.0.0.1,port={port}"),
            Protocol::SwtpmUnix => format!("swtpm:path={}", self.home.join("tpm").display()),
            Protocol::Mssim => format!("mssim:host=127.0.0.1,port={port}"),
        }
    }

    /// Where the data channel listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.first).into()
    }

    /// Where the control channel, or the simulator's platform port, listens.
    pub(crate) fn control_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.first + 1).into()
    }

    /// The folder that holds the TPM.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What the server has written so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.home.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Starts the server again on the same state and the same ports; the one before must have ended.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.ended().is_some(), "the server still runs");
        self.process = Self::launch(self.protocol, &self.home, &self.ports, &self.options);
        self.wait_until_it_accepts();
    }

    /// Ends the server in an orderly way and starts it again.
    pub(crate) fn restart(&mut self) {
        self.process.terminate();
        self.start_again();
    }

    /// Fails unless the process lives.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.process.ended() {
            panic!("the server is gone ({status}):\n{}", self.log());
        }
    }
}

/// tpm2-tools and a shell, working in a folder against one TPM.
#[derive(Debug)]
pub(crate) struct Client {
    tcti: String,
    folder: PathBuf,
}

impl Client {
    /// A client of the TPM behind `tcti` whose files are in `folder`.
    pub(crate) fn new(tcti: String, folder: &Path) -> Self {
        Client {
            tcti,
            folder: folder.to_owned(),
        }
    }

    /// The folder that commands run in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn bash(&self) -> Command {
        let mut command = Command::new("bash");
        command
            .current_dir(&self.folder)
            .env("TPM2TOOLS_TCTI", &self.tcti)
            .env("TSS2_TCTI", &self.tcti)
            .env("TSS2_LOG", "all+none")
            .env("FLOWS", data("flows"))
            .env_remove("BASH_ENV")
            .stdin(Stdio::null());
        command
    }

    /// Runs a flow of `tests/data/flows`, which has to succeed.
    pub(crate) fn flow(&self, name: &str) {
        let script = data("flows").join(name);
        let mut command = self.bash();
        command.arg("-x").arg(&script);
        finish(name, command.output().expect("bash starts"));
    }

    /// Runs shell text with the helpers of `tests/data/flows/lib.sh`, which has to succeed, and gives its output.
    pub(crate) fn sh(&self, script: &str) -> String {
        finish(script, self.try_sh(script))
    }

    /// The same, and says how it ended.
    pub(crate) fn try_sh(&self, script: &str) -> Output {
        let mut command = self.bash();
        command.args(["-c", &format!(". \"$FLOWS/lib.sh\"\n{script}")]);
        command.output().expect("bash starts")
    }
}

/// The standard output of a command that has to succeed.
pub(crate) fn finish(what: &str, output: Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = stderr.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(25)..)
            .unwrap_or(&lines);
        panic!(
            "{what}: {}\n--- its output\n{stdout}\n--- the end of its errors\n{}",
            output.status,
            tail.join("\n")
        );
    }
    stdout
}

/// A file or folder of `tests/data`.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// A `vtpm serve` process and its data folder.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    folder: PathBuf,
    /// How much its lives before this one had printed.
    printed_before: usize,
}

impl Daemon {
    /// Starts the daemon on a data folder and waits until its API answers.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same with more options.
    pub(crate) fn start_with(folder: &Path, options: &[&str]) -> Self {
        let mut daemon = Daemon {
            printed_before: Self::printed(folder).len(),
            process: Self::launch(folder, options),
            folder: folder.to_owned(),
        };
        daemon.wait_until_it_answers();
        daemon
    }

    fn launch(folder: &Path, options: &[&str]) -> Process {
        let output = File::options()
            .create(true)
            .append(true)
            .open(Self::output_file(folder))
            .expect("the daemon's output");
        Process::start(
            Command::new(VTPM)
                .args(["serve", "--data"])
                .arg(folder)
                .args(options)
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("the output"))
                .stderr(output),
        )
    }

    /// Beside the data folder, which belongs to the daemon alone.
    fn output_file(folder: &Path) -> PathBuf {
        folder.with_extension("output")
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.vtpm(["vm", "list", "--json"]).status.success() {
            if let Some(status) = self.process.ended() {
                panic!("the daemon ended ({status}):\n{}", self.output());
            }
            assert!(
                Instant::now() < deadline,
                "the daemon does not answer:\n{}",
                self.output()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the daemon has printed, over all its lives on this folder.
    pub(crate) fn output(&self) -> String {
        Self::printed(&self.folder)
    }

    fn printed(folder: &Path) -> String {
        let bytes = fs::read(Self::output_file(folder)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it has printed in this life, which says all that it announces. It answers sooner than it has said so, and what it logs
    /// meanwhile stands anywhere.
    pub(crate) fn announcement(&self) -> String {
        wait_for("the word that it is ready", || {
            let output = self.output();
            let own = output.get(self.printed_before..)?;
            let ready = own.lines().any(|line| line == "vtpm is ready");
            ready.then(|| own.to_owned())
        })
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends the daemon in an orderly way.
    pub(crate) fn stop(&mut self) {
        let status = self.process.terminate();
        assert!(status.success(), "{status}:\n{}", self.output());
    }

    /// Starts it again after `stop` or `kill`.
    pub(crate) fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// The same with more options.
    pub(crate) fn start_again_with(&mut self, options: &[&str]) {
        assert!(self.process.ended().is_some(), "the daemon still runs");
        self.printed_before = self.output().len();
        self.process = Self::launch(&self.folder, options);
        self.wait_until_it_answers();
    }

    /// Runs `vtpm ARGUMENTS --data FOLDER`.
    pub(crate) fn vtpm<I>(&self, arguments: I) -> Output
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command(arguments).output().expect("vtpm starts")
    }

    /// The command `vtpm ARGUMENTS --data FOLDER`, which ends within our patience, one way or the other.
    pub(crate) fn command<I>(&self, arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = Command::new("timeout");
        command
            .arg(PATIENCE_IN_SECONDS)
            .arg(VTPM)
            .args(arguments)
            .arg("--data")
            .arg(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Runs a verb that has to succeed and gives its output.
    pub(crate) fn ok<const N: usize>(&self, arguments: [&str; N]) -> String {
        finish(&arguments.join(" "), self.vtpm(arguments))
    }

    /// Runs a verb that has to be refused and gives what it says.
    pub(crate) fn refused<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.vtpm(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_ne!(
            output.status.code(),
            Some(124),
            "neither done nor refused in time"
        );
        assert!(
            !output.status.success(),
            "{} was not refused",
            arguments.join(" ")
        );
        assert!(
            !said.contains("panicked"),
            "{} panicked: {said}",
            arguments.join(" ")
        );
        assert!(!said.trim().is_empty(), "refused without a word");
        said
    }

    /// What `vm show NAME --json` says.
    pub(crate) fn vm(&self, name: &str) -> serde_json::Value {
        let text = self.ok(["vm", "show", name, "--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// One text field of it, by JSON pointer.
    pub(crate) fn vm_field(&self, name: &str, pointer: &str) -> String {
        let vm = self.vm(name);
        vm.pointer(pointer)
            .and_then(|value| value.as_str())
            .unwrap_or_else(|| panic!("no text at {pointer} in {vm}"))
            .to_owned()
    }

    /// The unix socket of a powered-on VM's data channel.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        let tcti = self.vm_field(name, "/tpm/tcti");
        let path = tcti.strip_prefix("swtpm:path=");
        PathBuf::from(path.unwrap_or_else(|| panic!("no unix socket in {tcti}")))
    }

    /// A client of a powered-on VM's TPM, with its files in `folder`.
    pub(crate) fn client(&self, name: &str, folder: &Path) -> Client {
        Client::new(self.vm_field(name, "/tpm/tcti"), folder)
    }
}

/// Every regular file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let entry = entry.expect("a folder entry");
            let kind = entry.file_type().expect("its type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The one file with this extension below a folder.
pub(crate) fn file_with_extension(folder: &Path, extension: &str) -> PathBuf {
    let found: Vec<PathBuf> = files_below(folder)
        .into_iter()
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    match found.as_slice() {
        [one] => one.clone(),
        _ => panic!(
            "one .{extension} file below {}: {found:?}",
            folder.display()
        ),
    }
}

/// Copies a folder with everything in it but sockets.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--no-target-directory"])
        .args([from, to])
        .status()
        .expect("cp starts");
    assert!(status.success(), "cp -a {}", from.display());
}

/// Reads lines until one satisfies `wanted`.
pub(crate) fn read_line_where(
    reader: &mut impl BufRead,
    wanted: impl Fn(&str) -> bool,
) -> Option<String> {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if wanted(&line) {
            return Some(line);
        }
    }
}

/// Writes bytes, ignoring a peer that has had enough.
pub(crate) fn write_what_it_takes(stream: &mut impl Write, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}
