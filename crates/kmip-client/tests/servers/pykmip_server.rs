//! A PyKMIP server with mutual TLS on loopback, which `tests/kmip/prepare` installs under `target/`; for these tests and for those
//! of the whole program.

use crate::certificates::{certificates, settings};
use crate::ports::PortPair;
use kmip_client::{Client, Fault};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// A server with a folder of its own and a database that others may share.
pub(crate) struct PyKmip {
    pub(crate) port: u16,
    _ports: PortPair,
    child: Child,
    configuration: PathBuf,
}

impl PyKmip {
    pub(crate) fn start(folder: &Path, name: &str) -> Self {
        let own = folder.join(name);
        fs::create_dir_all(own.join("policies")).unwrap();
        fs::create_dir_all(own.join("log")).unwrap();
        let certificates = certificates();
        fs::write(own.join("server.pem"), &certificates.server.certificate).unwrap();
        fs::write(own.join("server.key"), &certificates.server.key).unwrap();
        fs::write(own.join("authority.pem"), &certificates.authority).unwrap();
        let ports = PortPair::claim();
        let port = ports.first;
        let configuration = own.join("server.conf");
        let (own, folder) = (own.display(), folder.display());
        let text = format!(
            "[server]\nhostname=127.0.0.1\nport={port}\n\
             certificate_path={own}/server.pem\nkey_path={own}/server.key\nca_path={own}/authority.pem\n\
             auth_suite=TLS1.2\npolicy_path={own}/policies\nenable_tls_client_auth=True\n\
             logging_level=INFO\ndatabase_path={folder}/keys.db\n"
        );
        fs::write(&configuration, text).unwrap();
        let mut server = Self {
            port,
            _ports: ports,
            child: run(&configuration),
            configuration,
        };
        server.wait_until_ready();
        server
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.configuration);
        self.wait_until_ready();
    }

    /// Ends it and the processes that it started, in the middle of whatever they do.
    pub(crate) fn kill(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let group = Pid::from_child(&self.child);
            kill_process_group(group, Signal::KILL).unwrap();
            self.child.wait().unwrap();
        }
    }

    /// Stops it, so that it takes connections and answers nothing, or lets it go on.
    pub(crate) fn stall(&self, stalled: bool) {
        let signal = if stalled { Signal::STOP } else { Signal::CONT };
        kill_process_group(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait_until_ready(&mut self) {
        let client = Client::new(settings(&[self.port])).unwrap();
        let began = Instant::now();
        loop {
            let health = client.health().remove(0);
            match health.state {
                Ok(_) => return,
                Err(Fault::Unreachable(_)) => {}
                Err(fault) => panic!("the server {fault}"),
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("PyKMIP ended with {status}");
            }
            assert!(began.elapsed() < Duration::from_secs(300), "no start");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for PyKmip {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The folder with the virtual environment, made at first use.
fn environment() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../pykmip");
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|folder| folder.join("tests/kmip/prepare"))
            .find(|script| script.exists())
            .expect("tests/kmip/prepare");
        let status = Command::new(script).arg(&folder).status().unwrap();
        assert!(status.success(), "tests/kmip/prepare failed");
        folder
    })
}

fn run(configuration: &Path) -> Child {
    let log = configuration.with_file_name("log").join("server.log");
    let output = fs::File::create(configuration.with_file_name("output")).unwrap();
    Command::new(environment().join("venv/bin/pykmip-server"))
        .arg("-f")
        .arg(configuration)
        .arg("-l")
        .arg(log)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap()
}
