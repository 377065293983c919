//! A daemon with key servers.

use crate::certificates::{Certificates, certificates, settings};
use crate::pykmip_server::PyKmip;
use crate::support::{Client, Daemon, files_below, folder};
use kmip_client::Client as KmipClient;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A daemon, and a folder for certificates, key servers and clients.
pub(crate) struct Place {
    pub(crate) daemon: Daemon,
    pub(crate) home: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = folder();
        let made = certificates();
        for (name, bytes) in [
            ("authority.pem", &made.authority),
            ("server.pem", &made.server.certificate),
            ("other-server.pem", &made.other_server.certificate),
            ("client.pem", &made.client.certificate),
            ("client.key", &made.client.key),
        ] {
            fs::write(home.path().join(name), bytes).unwrap();
        }
        let data = home.path().join("data");
        Self {
            daemon: Daemon::start(&data),
            home,
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// Starts a key server; all of one place have the same keys.
    pub(crate) fn key_server(&self, name: &str) -> PyKmip {
        PyKmip::start(&self.key_folder(), name)
    }

    pub(crate) fn key_folder(&self) -> PathBuf {
        let folder = self.home.path().join("keys");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Registers these servers as the provider `kms`.
    pub(crate) fn register(&self, ports: &[u16]) {
        self.register_with(ports, "60");
    }

    /// The same for servers that may take so many seconds.
    pub(crate) fn register_with(&self, ports: &[u16], time_limit: &str) {
        let mut arguments: Vec<String> = [
            "provider",
            "add",
            "kms",
            "--kind",
            "standard",
            "--client-cert",
            &self.path("client.pem"),
            "--client-key",
            &self.path("client.key"),
            "--server-cert",
            &self.path("server.pem"),
            "--time-limit",
            time_limit,
        ]
        .map(str::to_owned)
        .to_vec();
        for port in ports {
            arguments.extend(["--server".to_owned(), format!("127.0.0.1:{port}")]);
        }
        crate::support::finish("provider add", self.daemon.vtpm(&arguments));
    }

    /// Makes a VM under `kms` and returns its key's id.
    pub(crate) fn create(&self, vm: &str) -> String {
        self.daemon
            .ok(["vm", "create", vm, "--tpm", "--provider", "kms"]);
        self.key_id(vm)
    }

    pub(crate) fn key_id(&self, vm: &str) -> String {
        self.daemon.vm_field(vm, "/key_id")
    }

    /// The client of the key servers themselves, as whoever runs them.
    pub(crate) fn keys(&self, server: &PyKmip) -> KmipClient {
        KmipClient::new(settings(&[server.port])).unwrap()
    }

    pub(crate) fn client(&self, vm: &str) -> Client {
        self.daemon.client(vm, self.home.path())
    }

    /// The files of a VM.
    pub(crate) fn file(&self, vm: &str, extension: &str) -> PathBuf {
        let name = format!("{vm}.{extension}");
        files_below(&self.daemon.folder().join("datastores"))
            .into_iter()
            .find(|path| path.file_name().is_some_and(|found| found == name.as_str()))
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// Every file of the datastores with its bytes.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        files_below(&self.daemon.folder().join("datastores"))
            .into_iter()
            .map(|path| {
                let bytes = fs::read(&path).unwrap();
                (path, bytes)
            })
            .collect()
    }

    /// The VM is off and locked, and the words for it name the provider and the key.
    pub(crate) fn assert_locked(&self, vm: &str, key_id: &str) {
        let shown = self.daemon.vm(vm);
        assert_eq!(shown["power"], "off", "{shown}");
        assert_eq!(shown["locked"]["provider"], "kms", "{shown}");
        assert_eq!(shown["locked"]["key_id"], key_id, "{shown}");
        let told = self.daemon.ok(["vm", "show", vm]);
        assert!(told.contains("off, locked"), "{told}");
    }
}

/// Each of these words is in the text.
pub(crate) fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

/// Puts the key servers' keys aside, and back.
pub(crate) fn copy_keys(from: &Path, to: &Path) {
    fs::copy(from.join("keys.db"), to.join("keys.db")).unwrap();
}

/// The certificates of this run.
pub(crate) fn made() -> &'static Certificates {
    certificates()
}
