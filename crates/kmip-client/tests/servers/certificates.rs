//! Certificates, made by openssl once per run.

use kmip_client::{Limits, ServerAddress, Settings, Trust};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

/// A certificate and its key (PEM).
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) struct Certificates {
    pub(crate) authority: Vec<u8>,
    authority_key: Vec<u8>,
    pub(crate) server: Identity,
    pub(crate) client: Identity,
    /// Another server's certificate, by the same authority.
    pub(crate) other_server: Identity,
    /// A client's certificate by an authority that servers do not know.
    pub(crate) foreign_client: Identity,
    pub(crate) foreign_authority: Vec<u8>,
}

const CONFIG: &str = "
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
";

pub(crate) fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("openssl.cnf"), CONFIG).unwrap();
        let authority = make(folder, "authority", "authority", None);
        let foreign = make(folder, "foreign", "authority", None);
        Certificates {
            server: make(folder, "server", "server", Some("authority")),
            client: make(folder, "client", "client", Some("authority")),
            other_server: make(folder, "other-server", "server", Some("authority")),
            foreign_client: make(folder, "foreign-client", "client", Some("foreign")),
            authority: authority.certificate,
            authority_key: authority.key,
            foreign_authority: foreign.certificate,
        }
    })
}

impl Certificates {
    /// Has the authority answer a client's request; the files of that are in `folder`.
    pub(crate) fn sign_request(&self, folder: &Path, request: &str, signed: &str) -> Output {
        fs::write(folder.join("openssl.cnf"), CONFIG).unwrap();
        fs::write(folder.join("authority.pem"), &self.authority).unwrap();
        fs::write(folder.join("authority.key"), &self.authority_key).unwrap();
        Command::new("openssl")
            .args(["x509", "-req", "-days", "2", "-extfile", "openssl.cnf"])
            .args(["-extensions", "client", "-CA", "authority.pem"])
            .args(["-CAkey", "authority.key", "-CAcreateserial"])
            .args(["-in", request, "-out", signed])
            .current_dir(folder)
            .output()
            .expect("openssl runs")
    }
}

fn make(folder: &Path, name: &str, section: &str, signer: Option<&str>) -> Identity {
    let certificate = folder.join(format!("{name}.pem"));
    let key = folder.join(format!("{name}.key"));
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-config", "openssl.cnf", "-days", "2"])
        .args([
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-extensions", section, "-subj", &format!("/CN={name}")])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .current_dir(folder);
    if let Some(signer) = signer {
        command.args([
            "-CA",
            &format!("{signer}.pem"),
            "-CAkey",
            &format!("{signer}.key"),
        ]);
    }
    let output = command.output().expect("openssl runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Identity {
        certificate: fs::read(certificate).unwrap(),
        key: fs::read(key).unwrap(),
    }
}

/// The settings of a provider "kp" whose servers listen on these ports of the loopback address.
pub(crate) fn settings(ports: &[u16]) -> Settings {
    let certificates = certificates();
    Settings {
        provider: "kp".to_owned(),
        servers: ports.iter().map(|port| address(*port)).collect(),
        client_certificate: certificates.client.certificate.clone(),
        client_key: certificates.client.key.clone().into(),
        trust: Trust::Certificates(certificates.server.certificate.clone()),
        // Long enough for a busy machine.
        limits: Limits {
            connect: Duration::from_secs(60),
            request: Duration::from_secs(60),
            rounds: 1,
            pause: Duration::from_millis(1),
            // Kept and set aside for longer than any test takes.
            idle: Duration::from_secs(3600),
            set_aside: Duration::from_secs(3600),
            ..Limits::default()
        },
    }
}

pub(crate) fn address(port: u16) -> ServerAddress {
    format!("127.0.0.1:{port}").parse().unwrap()
}
