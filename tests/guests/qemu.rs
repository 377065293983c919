//! A QEMU process: its monitor, its guest's shell, and the TPM emulator behind it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::image::{self, ADVICE};
use crate::support::{PATIENCE, Process, VTPM, against_swtpm, listens, wait_for};

/// The TPM interface that the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Crb,
    Tis,
}

impl Interface {
    fn device(self) -> &'static str {
        match self {
            Interface::Crb => "tpm-crb",
            Interface::Tis => "tpm-tis",
        }
    }
}

/// What the machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    SeaBios,
    Ovmf,
}

/// A `vtpm swtpm` (or swtpm) process that offers nothing but a control socket, as libvirt starts it.
#[derive(Debug)]
pub(crate) struct Emulator {
    process: Process,
    control: PathBuf,
    log: PathBuf,
}

impl Emulator {
    /// Starts it on a state folder; `place` is a folder for its socket and log.
    pub(crate) fn start(state: &Path, place: &Path) -> Self {
        Self::start_with(state, place, &[])
    }

    /// The same with more options.
    pub(crate) fn start_with(state: &Path, place: &Path, options: &[&str]) -> Self {
        fs::create_dir_all(state).expect("a state folder");
        let control = place.join("control");
        let log = place.join("emulator.log");
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the emulator's log");
        let mut command = if against_swtpm() {
            Command::new("swtpm")
        } else {
            let mut command = Command::new(VTPM);
            command.arg("swtpm");
            command
        };
        command
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .args(options)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log"))
            .stderr(file);
        let mut process = Process::start(&mut command);
        wait_for("the control socket", || {
            if let Some(status) = process.ended() {
                panic!("the emulator ended ({status}): {}", read_text(&log));
            }
            listens(&control).then_some(())
        });
        Emulator {
            process,
            control,
            log,
        }
    }

    /// Where QEMU connects.
    pub(crate) fn control(&self) -> &Path {
        &self.control
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        read_text(&self.log)
    }

    /// Waits until it has ended by itself, as it does when QEMU ends.
    pub(crate) fn wait(mut self) {
        let status = self.process.wait();
        assert!(status.success(), "{status}: {}", read_text(&self.log));
    }
}

/// A machine before it is started.
#[derive(Clone, Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) interface: Interface,
    pub(crate) firmware: Firmware,
    /// Where the TPM's control socket is.
    pub(crate) control: &'a Path,
    /// A folder of its own for its sockets and files.
    pub(crate) place: &'a Path,
    /// Where its state comes from, in QEMU's words.
    pub(crate) incoming: Option<String>,
    /// Files that its guest has beside the usual ones.
    pub(crate) files: Vec<PathBuf>,
}

/// A QEMU process.
#[derive(Debug)]
pub(crate) struct Guest {
    process: Process,
    monitor: Monitor,
    shell: Shell,
}

impl<'a> Machine<'a> {
    /// A PC with SeaBIOS and a TPM with the CRB interface.
    pub(crate) fn new(control: &'a Path, place: &'a Path) -> Self {
        Machine {
            interface: Interface::Crb,
            firmware: Firmware::SeaBios,
            control,
            place,
            incoming: None,
            files: Vec::new(),
        }
    }

    /// The same with another interface.
    pub(crate) fn interface(self, interface: Interface) -> Self {
        Machine { interface, ..self }
    }

    /// The same with other firmware.
    pub(crate) fn firmware(self, firmware: Firmware) -> Self {
        Machine { firmware, ..self }
    }

    /// The same, going on from a file that another QEMU wrote.
    pub(crate) fn incoming(self, file: &Path) -> Self {
        Machine {
            incoming: Some(format!("exec:cat {}", file.display())),
            ..self
        }
    }

    /// The same, waiting at a socket for one that another QEMU sends as it runs.
    pub(crate) fn arriving(self, socket: &Path) -> Self {
        Machine {
            incoming: Some(format!("unix:{}", socket.display())),
            ..self
        }
    }

    /// The same with more files in its guest's root folder. Its clock counts instructions then: what a program in it answers is in time
    /// for the guest's kernel, however busy the host.
    pub(crate) fn files(self, files: Vec<PathBuf>) -> Self {
        Machine { files, ..self }
    }

    fn command(&self) -> Command {
        let in_place = |name: &str| self.place.join(name).display().to_string();
        let files = in_place("initial-files");
        image::write_initial_files(Path::new(&files), &self.files);
        image::program("qemu-system-x86_64");
        let mut command = Command::new("nice");
        command
            .args(["qemu-system-x86_64", "-no-user-config", "-nodefaults"])
            .args(["-display", "none", "-accel", "tcg", "-machine", "q35"])
            .args(["-cpu", "max", "-smp", "1", "-m"])
            .arg(if self.files.is_empty() { "256" } else { "512" })
            .args(if self.files.is_empty() {
                &[][..]
            } else {
                &["-icount", "shift=3"]
            })
            .arg("-kernel")
            .arg(image::kernel())
            .args(["-initrd", &files])
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .args([
                "-chardev",
                &format!("file,id=console,path={}", self.console().display()),
            ])
            .args(["-serial", "chardev:console"])
            .args([
                "-chardev",
                &format!("socket,id=shell,path={}", in_place("shell")),
            ])
            .args(["-serial", "chardev:shell"])
            .args([
                "-chardev",
                &format!("socket,id=monitor,path={}", in_place("monitor")),
            ])
            .args(["-mon", "chardev=monitor,mode=control"])
            .args(self.tpm_arguments());
        if self.firmware == Firmware::Ovmf {
            let (code, variables) = ovmf();
            let own = in_place("variables");
            fs::copy(variables, &own).expect("firmware variables");
            let flash = |unit, file: &str, read_only| {
                format!("if=pflash,format=raw,unit={unit},readonly={read_only},file={file}")
            };
            command
                .args(["-drive", &flash(0, code, "on")])
                .args(["-drive", &flash(1, &own, "off")]);
        }
        if let Some(incoming) = &self.incoming {
            command.args(["-incoming", incoming]);
        }
        command
    }

    /// The README's words that give a TPM to QEMU.
    fn tpm_arguments(&self) -> Vec<String> {
        const README: &str = include_str!("../../README.md");
        let line = README
            .lines()
            .find(|line| line.contains("-tpmdev emulator"))
            .expect("the README says how QEMU gets a TPM");
        let control = self.control.display().to_string();
        line.replace("$CONTROL", &control)
            .replace("tpm-crb", self.interface.device())
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    fn console(&self) -> PathBuf {
        self.place.join("console")
    }

    /// Starts it; the guest's kernel may not run yet.
    pub(crate) fn start(&self) -> Guest {
        let listen = |name| UnixListener::bind(self.place.join(name)).expect("a socket");
        let (monitor, shell) = (listen("monitor"), listen("shell"));
        let log = self.place.join("qemu.log");
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("the log of QEMU"));
        let mut process = Process::start(&mut command);
        let mut accept = |listener: &UnixListener| {
            listener.set_nonblocking(true).expect("a socket option");
            wait_for("QEMU to connect", || {
                if let Some(status) = process.ended() {
                    panic!("QEMU ended ({status}): {}", read_text(&log));
                }
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(false).expect("a socket option");
                stream
                    .set_read_timeout(Some(PATIENCE))
                    .expect("a socket option");
                Some(stream)
            })
        };
        let (shell, monitor) = (accept(&shell), accept(&monitor));
        let shell = Shell {
            stream: BufReader::new(shell),
            console: self.console(),
            log,
        };
        let monitor = Monitor::open(monitor);
        for name in ["monitor", "shell"] {
            fs::remove_file(self.place.join(name)).expect("a socket goes");
        }
        Guest {
            process,
            monitor,
            shell,
        }
    }

    /// Starts it, to be refused: gives what QEMU says as it ends.
    pub(crate) fn refused(&self) -> String {
        let sockets = ["monitor", "shell"].map(|name| self.place.join(name));
        let _listening = sockets
            .each_ref()
            .map(|path| UnixListener::bind(path).expect("a socket"));
        let log = self.place.join("qemu.log");
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("the log of QEMU"));
        let status = Process::start(&mut command).wait();
        let said = read_text(&log);
        assert!(!status.success(), "{said}");
        for path in sockets {
            fs::remove_file(path).expect("a socket goes");
        }
        said
    }

    /// Starts it and waits until the guest's shell answers.
    pub(crate) fn boot(&self) -> Guest {
        let mut guest = self.start();
        guest.shell.wait_until_ready();
        guest
    }
}

impl Guest {
    /// Runs a shell script in the guest, which has to succeed, and gives what it printed.
    pub(crate) fn run(&mut self, script: &str) -> String {
        let (status, output) = self.shell.run(script);
        assert_eq!(status, 0, "{script}\n--- printed\n{output}");
        output
    }

    /// The same for a script that has to fail.
    pub(crate) fn refused(&mut self, script: &str) -> String {
        let (status, output) = self.shell.run(script);
        assert_ne!(status, 0, "{script}\n--- succeeded and printed\n{output}");
        output
    }

    /// Runs a command of the monitor.
    pub(crate) fn monitor(&mut self, command: &str, arguments: Value) -> Value {
        self.monitor.run(command, arguments)
    }

    /// The reset button; gives the guest back when it has booted again.
    pub(crate) fn reset(&mut self) {
        self.monitor("system_reset", json!({}));
        self.shell.wait_until_ready();
    }

    /// The guest's own reboot.
    pub(crate) fn reboot(&mut self) {
        self.shell.send("reboot -f");
        self.shell.wait_until_ready();
    }

    /// Ends QEMU at once: for the guest, the power goes.
    pub(crate) fn quit(mut self) {
        self.monitor.send("quit", &json!({}));
        let status = self.process.wait();
        assert!(status.success(), "{status}");
    }

    /// Lets the guest switch itself off.
    pub(crate) fn power_down(mut self) {
        self.shell.send("poweroff -f");
        let status = self.process.wait();
        assert!(status.success(), "{status}");
    }

    /// Ends QEMU without a word to anyone.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Adds a disk image that can hold snapshots.
    pub(crate) fn add_snapshot_disk(&mut self, file: &Path) {
        if !file.exists() {
            self.create(json!({ "driver": "file", "filename": file, "size": 0 }));
            self.monitor(
                "blockdev-add",
                json!({ "node-name": "bare", "driver": "file", "filename": file }),
            );
            self.create(json!({ "driver": "qcow2", "file": "bare", "size": 1 << 20 }));
            self.monitor("blockdev-del", json!({ "node-name": "bare" }));
        }
        self.monitor(
            "blockdev-add",
            json!({
                "node-name": "disk", "driver": "qcow2",
                "file": { "driver": "file", "filename": file },
            }),
        );
    }

    fn create(&mut self, options: Value) {
        self.monitor.job(
            "blockdev-create",
            json!({ "job-id": "create", "options": options }),
        );
    }

    /// Saves the whole machine, the TPM with it.
    pub(crate) fn save(&mut self, tag: &str) {
        self.snapshot("snapshot-save", tag);
    }

    /// Takes it back to where it was.
    pub(crate) fn load(&mut self, tag: &str) {
        self.snapshot("snapshot-load", tag);
    }

    fn snapshot(&mut self, command: &str, tag: &str) {
        self.monitor.job(
            command,
            json!({ "job-id": "snapshot", "tag": tag, "vmstate": "disk", "devices": ["disk"] }),
        );
        // It stops a running machine and lets it go on; one that was stopped stays so.
        self.monitor("cont", json!({}));
    }

    /// Sends the whole machine into a file. It stands still from then on.
    pub(crate) fn migrate_to(&mut self, file: &Path) {
        self.monitor
            .migrate(&format!("exec:cat > {}", file.display()), "completed");
    }

    /// Sends the machine to where it cannot arrive, whereupon it goes on here.
    pub(crate) fn migrate_in_vain(&mut self) {
        self.monitor.migrate("exec:false", "failed");
        self.wait_until_arrived();
    }

    /// Sends the machine to a QEMU that waits at a socket. It runs until the last moment, and again if it does not arrive.
    pub(crate) fn move_to(&mut self, socket: &Path) {
        self.monitor
            .migrate(&format!("unix:{}", socket.display()), "completed");
    }

    /// The same where it cannot arrive.
    pub(crate) fn move_in_vain(&mut self, socket: &Path) {
        self.monitor
            .migrate(&format!("unix:{}", socket.display()), "failed");
        self.wait_until_arrived();
    }

    /// Waits for the end of a machine that could not go on from what was sent to it; gives what QEMU said.
    pub(crate) fn ends_refusing(mut self) -> String {
        let status = self.process.wait();
        let said = read_text(&self.shell.log);
        assert!(!status.success(), "{said}");
        said
    }

    /// Whether the TPM is at work on a command of the guest: so says the register of the CRB interface that starts one.
    pub(crate) fn tpm_works(&mut self) -> bool {
        let answer = self.monitor(
            "human-monitor-command",
            json!({ "command-line": "xp /1wx 0xfed4004c" }),
        );
        let text = answer.as_str().unwrap_or_default();
        let value = text.split_once(": 0x").map(|(_, value)| value.trim());
        match value {
            Some("00000001") => true,
            Some("00000000") => false,
            _ => panic!("the register is {text:?}"),
        }
    }

    /// Waits until a machine that was sent runs.
    pub(crate) fn wait_until_arrived(&mut self) {
        wait_for("the end of the migration", || {
            let status = self.monitor("query-status", json!({}));
            (status["running"] == json!(true)).then_some(())
        });
    }
}

/// QEMU's monitor protocol: lines of JSON.
#[derive(Debug)]
struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    fn open(stream: UnixStream) -> Self {
        let mut monitor = Monitor {
            stream: BufReader::new(stream),
        };
        let greeting = monitor.read();
        assert!(greeting.get("QMP").is_some(), "{greeting}");
        monitor.run("qmp_capabilities", json!({}));
        monitor
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("QEMU's monitor");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    fn send(&mut self, command: &str, arguments: &Value) {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .expect("QEMU's monitor");
    }

    /// Runs a command. Events that come before its answer are of no interest: whoever waits for one has asked for it by then.
    fn run(&mut self, command: &str, arguments: Value) -> Value {
        self.send(command, &arguments);
        loop {
            let mut message = self.read();
            if let Some(answer) = message.get_mut("return") {
                return answer.take();
            }
            assert!(
                message.get("event").is_some(),
                "{command} {arguments}: {message}"
            );
        }
    }

    /// Runs a command and waits for its answer and for an event that it leads to, whichever comes first.
    fn run_until(&mut self, command: &str, arguments: &Value, wanted: impl Fn(&Value) -> bool) {
        self.send(command, arguments);
        let (mut answered, mut happened) = (false, false);
        while !(answered && happened) {
            let message = self.read();
            assert!(
                message.get("error").is_none(),
                "{command} {arguments}: {message}"
            );
            answered |= message.get("return").is_some();
            happened |= wanted(&message);
        }
    }

    /// Runs a command that goes on in the background, to its end.
    fn job(&mut self, command: &str, arguments: Value) {
        let id = arguments["job-id"].clone();
        self.run_until(command, &arguments, |message| {
            message["event"] == json!("JOB_STATUS_CHANGE")
                && message["data"] == json!({ "id": id, "status": "concluded" })
        });
        let jobs = self.run("query-jobs", json!({}));
        let job = jobs
            .as_array()
            .and_then(|jobs| jobs.iter().find(|job| job["id"] == id))
            .unwrap_or_else(|| panic!("{command}: no job in {jobs}"));
        assert!(job.get("error").is_none(), "{command}: {job}");
        self.run("job-dismiss", json!({ "id": id }));
    }

    /// Migrates, and waits until that has `ended` in this way.
    fn migrate(&mut self, to: &str, ended: &str) {
        // Only one that arrives at a socket can say that it has.
        let told = to.starts_with("unix:");
        self.run(
            "migrate-set-capabilities",
            json!({ "capabilities": [
                { "capability": "events", "state": true },
                { "capability": "return-path", "state": told },
            ] }),
        );
        self.run_until("migrate", &json!({ "uri": to }), |message| {
            let status = &message["data"]["status"];
            let over = status == "completed" || status == "failed";
            assert!(!over || status == ended, "{message}");
            message["event"] == json!("MIGRATION") && over
        });
    }
}

/// The shell of a guest, over its second serial port.
#[derive(Debug)]
struct Shell {
    stream: BufReader<UnixStream>,
    console: PathBuf,
    log: PathBuf,
}

impl Shell {
    fn wait_until_ready(&mut self) {
        // Firmware may have written to the port before.
        while !self.line().ends_with("guest-is-ready") {}
    }

    fn send(&mut self, script: &str) {
        let text = format!("{}\nend-of-script\n", script.trim_end());
        if let Err(error) = self.stream.get_mut().write_all(text.as_bytes()) {
            panic!("the guest's shell: {error}; {}", self.story());
        }
    }

    fn run(&mut self, script: &str) -> (i32, String) {
        self.send(script);
        let line = self.line();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["result", status, length] = words.as_slice() else {
            panic!("the guest's shell answers {line:?}; {}", self.story());
        };
        let number = |word: &str| word.parse::<u32>().expect("a number");
        let mut output = vec![0; usize::try_from(number(length)).expect("a length")];
        if let Err(error) = self.stream.read_exact(&mut output) {
            panic!("the guest's shell: {error}; {}", self.story());
        }
        let status = i32::try_from(number(status)).expect("a status");
        (status, String::from_utf8_lossy(&output).into_owned())
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => panic!("QEMU closed the guest's serial port; {}", self.story()),
            Ok(_) => String::from_utf8_lossy(&line).trim_end().to_owned(),
            Err(error) => panic!(
                "the guest's serial port: {error} after {:?}; {}",
                String::from_utf8_lossy(&line),
                self.story()
            ),
        }
    }

    /// What is known of the guest when something has gone wrong.
    fn story(&self) -> String {
        format!(
            "its console:\n{}\n--- QEMU:\n{}",
            read_text(&self.console),
            read_text(&self.log)
        )
    }
}

/// Code and variables of OVMF, by the names of Debian and Ubuntu.
fn ovmf() -> (&'static str, &'static str) {
    [
        (
            "/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_VARS_4M.fd",
        ),
        (
            "/usr/share/OVMF/OVMF_CODE.fd",
            "/usr/share/OVMF/OVMF_VARS.fd",
        ),
    ]
    .into_iter()
    .find(|(code, variables)| Path::new(code).exists() && Path::new(variables).exists())
    .unwrap_or_else(|| panic!("ovmf is not installed: {ADVICE}"))
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
