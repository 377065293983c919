//! `vtpm provider add|csr|set-certificate|show|status`: providers whose keys are at key servers.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use vm_inventory::key_server::{KeyServerRequest, Secret};
use vm_inventory::model::ProviderKind;
use vm_inventory::{CreateProvider, Name, ProviderStatus, ProviderView};
use vm_store::backend::read_named_text;
use vm_web::api::{CertificateRequest, OnVCenter, SetCertificate as SetCertificateRequest};
use zeroize::Zeroizing;

use crate::cli::client::{Client, Refusal, component};
use crate::cli::output;
use crate::cli::vm::quoted;

/// No file of certificates or keys is larger.
const LARGEST_PEM: u64 = 48 * 1024;

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum KindArg {
    /// Keys derived from a key kept in the data folder
    Native,
    /// Keys at KMIP key servers
    Standard,
    /// Keys at key services that hand them to attested hosts only
    Trusted,
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// Name of the new provider; it stands in the files of the VMs that use it
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// What kind of provider
    #[arg(long, value_enum)]
    kind: KindArg,
    /// A key server; give several that hold the same keys in the order in which to try them [default port: 5696]; a key service can
    /// be unix:PATH as well, and has no default port
    #[arg(long = "server", value_name = "HOST:PORT")]
    servers: Vec<String>,
    /// The TPM by which this host attests to key services: swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N, device:PATH
    #[arg(long, value_name = "TCTI")]
    host_tcti: Option<String>,
    /// Our certificate for the key servers (PEM)
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// The key servers' certificate (PEM): trusted as that very certificate, or as an authority if it is one
    #[arg(long = "server-cert", value_name = "FILE")]
    server_certs: Vec<PathBuf>,
    /// For how many seconds a fetched key is kept in memory, so that VMs start while the key servers are away [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    keep_keys: Option<u64>,
    /// How many seconds a server may take for a connection, and for an answer [default: 5 and 10]
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<u64>,
    /// Make it the default for new VMs
    #[arg(long)]
    default: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Csr {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
}

#[derive(Args, Debug)]
pub(super) struct SetCertificate {
    /// Name of the provider
    name: Name,
    /// The certificate and those above it (PEM)
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Status {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let server_options = !self.servers.is_empty()
            || !self.server_certs.is_empty()
            || self.client_cert.is_some()
            || self.host_tcti.is_some()
            || self.keep_keys.is_some()
            || self.time_limit.is_some();
        if self.kind == KindArg::Native {
            if server_options {
                return Err(Refusal::Usage(
                    "a native key provider has no key servers: leave --server and what goes with it out, or use --kind standard or --kind trusted".to_owned(),
                )
                .into());
            }
            let request = CreateProvider::native(self.name, self.vcenter, self.default);
            let made: ProviderView = client.post("/v1/providers", &request).await?;
            return super::say_created(&made, self.json);
        }
        let mut server_certificates = String::new();
        for path in &self.server_certs {
            server_certificates.push_str(&read_pem(path, "server certificate")?);
            server_certificates.push('\n');
        }
        let certificate = self.client_cert.as_deref();
        let key = self.client_key.as_deref();
        let request = CreateProvider {
            name: self.name,
            vcenter: self.vcenter,
            default: self.default,
            kind: match self.kind {
                KindArg::Native => ProviderKind::Native,
                KindArg::Standard => ProviderKind::Standard,
                KindArg::Trusted => ProviderKind::Trusted,
            },
            key_server: Some(KeyServerRequest {
                servers: self.servers,
                host_tpm: self.host_tcti,
                client_certificate: certificate
                    .map(|path| read_pem(path, "client certificate"))
                    .transpose()?
                    .map(|pem| (*pem).clone()),
                client_key: key
                    .map(|path| read_pem(path, "client key"))
                    .transpose()?
                    .map(Secret::new),
                server_certificates,
                keep_keys: self.keep_keys,
                time_limit: self.time_limit,
            }),
        };
        let made: ProviderView = client.post("/v1/providers", &request).await?;
        if self.json {
            return output::json(&made);
        }
        output::line(format!(
            "{}: registered on vCenter {}",
            made.name, made.vcenter
        ))?;
        let (name, vcenter) = (quoted(made.name.as_str()), quoted(made.vcenter.as_str()));
        let next = match &made.key_server {
            Some(servers) if made.kind == ProviderKind::Standard && !servers.client_certificate => {
                format!(
                    "it needs a client certificate: vtpm provider csr {name} --vcenter {vcenter}"
                )
            }
            _ => format!(
                "see whether its servers answer: vtpm provider status {name} --vcenter {vcenter}"
            ),
        };
        output::line(format!("  {next}"))?;
        Ok(())
    }
}

impl Csr {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("/v1/providers/{}/csr", component(self.name.as_str()));
        let at = OnVCenter {
            vcenter: self.vcenter,
        };
        let made: CertificateRequest = client.post(&path, &at).await?;
        Ok(output::line(made.csr.trim_end())?)
    }
}

impl SetCertificate {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!(
            "/v1/providers/{}/certificate",
            component(self.name.as_str())
        );
        let request = SetCertificateRequest {
            vcenter: self.vcenter,
            certificate: (*read_pem(&self.cert, "client certificate")?).clone(),
        };
        let changed: ProviderView = client.post(&path, &request).await?;
        Ok(output::line(format!(
            "{}: has its client certificate",
            changed.name
        ))?)
    }
}

impl Show {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "", self.vcenter.as_ref());
        let view: ProviderView = client.get(&path).await?;
        if self.json {
            return output::json(&view);
        }
        describe(&view)
    }
}

impl Status {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "/status", self.vcenter.as_ref());
        let status: ProviderStatus = client.get(&path).await?;
        if self.json {
            output::json(&status)?;
        } else {
            describe(&status.provider)?;
            for server in &status.servers {
                let usable = if server.usable { "ok" } else { "no" };
                output::line(format!("  {} {usable}: {}", server.server, server.detail))?;
            }
            for vm in &status.locked {
                output::line(format!("  VM {vm} is locked; `vtpm vm show {vm}` says why"))?;
            }
        }
        let none = !status.servers.is_empty() && !status.servers.iter().any(|s| s.usable);
        anyhow::ensure!(
            !none,
            "no server of the key provider {} can be used",
            self.name
        );
        anyhow::ensure!(
            status.locked.is_empty(),
            "{} VMs of the key provider {} are locked",
            status.locked.len(),
            self.name
        );
        Ok(())
    }
}

fn describe(view: &ProviderView) -> anyhow::Result<()> {
    let put = |label: &str, value: &str| output::line(format!("{label:<18}{value}"));
    put("name", view.name.as_str())?;
    put("vCenter", view.vcenter.as_str())?;
    put("kind", &view.kind.to_string())?;
    put("default", if view.default { "yes" } else { "no" })?;
    put("status", &view.status)?;
    if let Some(servers) = &view.key_server {
        put("servers", &servers.servers.join(", "))?;
        put(
            "keys in memory",
            &format!("{}, each for {} s", servers.kept, servers.keep_keys),
        )?;
    }
    Ok(())
}

/// The path of something of a provider, with its vCenter if that was named.
pub(super) fn at_vcenter(name: &Name, rest: &str, vcenter: Option<&Name>) -> String {
    let query = vcenter.map_or_else(String::new, |vcenter| {
        format!("?vcenter={}", component(vcenter.as_str()))
    });
    format!("/v1/providers/{}{rest}{query}", component(name.as_str()))
}

/// The text of a PEM file. It may be a private key, so it is wiped.
fn read_pem(path: &Path, what: &str) -> anyhow::Result<Zeroizing<String>> {
    read_named_text(path, LARGEST_PEM)
        .with_context(|| format!("the {what} {} cannot be read", path.display()))
}
