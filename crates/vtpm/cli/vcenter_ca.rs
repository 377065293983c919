//! `vtpm vcenter ca`: the authority that signs the certificates of a vCenter's TPMs.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use vm_inventory::Name;
use vm_inventory::certificates::{
    AuthorityChange, AuthorityOrigin, AuthorityView, EkAlgorithm, Revoked,
};
use vm_store::backend::{LARGEST_TEXT, read_named_text};
use vm_web::api::{
    CertificateRequest, GivenCertificate, Items, Nothing, RevocationList, Revoke as RevokeRequest,
};

use super::client::{Client, component};
use super::output;

/// The authority that signs the certificates of a vCenter's TPMs
///
/// It is made, a root and one below it, with the first TPM of the vCenter; or a company's own authority signs its request. Its keys are
/// sealed under a key of the vCenter's key provider: when that cannot be had, no certificate is issued.
#[derive(Args, Debug)]
pub(super) struct Ca {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the authority; --pem prints its certificates for a verifier
    Show(Show),
    /// Choose whether new TPMs get certificates, for which keys, and where those say that more is to be found
    Set(Set),
    /// Print a request for the certificate of an authority below a company's own
    Csr(Csr),
    /// Take the certificate that the request was answered with, and those above it
    SetCertificate(SetCertificate),
    /// Revoke the certificates of a VM's TPM, or one by its serial number
    Revoke(Revoke),
    /// Print the list of revoked certificates, signed now, and behind it those of authorities that signed before
    Crl(Csr),
}

#[derive(Args, Debug)]
struct Show {
    /// The vCenter
    vcenter: Name,
    /// Print the certificates, the issuer's first
    #[arg(long, conflicts_with = "json")]
    pem: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Set {
    /// The vCenter
    vcenter: Name,
    /// Whether new TPMs get certificates
    #[arg(long, value_enum)]
    issue: Option<Switch>,
    /// The keys they get certificates for: rsa2048, rsa3072, rsa4096, secp256r1, secp384r1, with commas between
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        required_unless_present_any = ["issue", "publish"]
    )]
    keys: Option<Vec<EkAlgorithm>>,
    /// The URL under which others reach what `vtpm serve --pki-listen` (http) or --listen (https) serves: certificates say from now on
    /// that the authority's certificate and its list of revoked ones are there, and both are served without a token; "" ends that
    #[arg(long, value_name = "http://HOST:PORT")]
    publish: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Args, Debug)]
struct Csr {
    /// The vCenter
    vcenter: Name,
}

#[derive(Args, Debug)]
struct SetCertificate {
    /// The vCenter
    vcenter: Name,
    /// The certificate and those above it (PEM)
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
}

#[derive(Args, Debug)]
struct Revoke {
    /// The vCenter
    vcenter: Name,
    /// The VM whose TPM's certificates are revoked
    #[arg(long, required_unless_present = "serial", conflicts_with = "serial")]
    vm: Option<String>,
    /// The serial number of a certificate, in hexadecimal
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Ca {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        match self.verb {
            Verb::Show(verb) => {
                let view: AuthorityView = client.get(&path(&verb.vcenter, "")).await?;
                if verb.json {
                    return output::json(&view);
                }
                if verb.pem {
                    anyhow::ensure!(
                        !view.chain.is_empty(),
                        "vCenter {} has no authority yet; it is made with the first TPM that gets a certificate",
                        view.vcenter
                    );
                    return Ok(output::line(view.chain.trim_end())?);
                }
                describe(&view)
            }
            Verb::Set(verb) => {
                let change = AuthorityChange {
                    issue: verb.issue.map(|issue| matches!(issue, Switch::On)),
                    keys: verb.keys,
                    published: verb.publish,
                };
                let view: AuthorityView = client.post(&path(&verb.vcenter, ""), &change).await?;
                if verb.json {
                    return output::json(&view);
                }
                describe(&view)
            }
            Verb::Csr(verb) => {
                let path = path(&verb.vcenter, "/csr");
                let made: CertificateRequest = client.post(&path, &Nothing {}).await?;
                Ok(output::line(made.csr.trim_end())?)
            }
            Verb::SetCertificate(verb) => {
                let mut text = read_named_text(&verb.cert, LARGEST_TEXT)
                    .with_context(|| format!("the certificate {}", verb.cert.display()))?;
                let certificate = std::mem::take(&mut *text);
                let given = GivenCertificate { certificate };
                let path = path(&verb.vcenter, "/certificate");
                let view: AuthorityView = client.post(&path, &given).await?;
                describe(&view)
            }
            Verb::Revoke(verb) => {
                let request = RevokeRequest {
                    vm: verb.vm,
                    serial: verb.serial,
                };
                let path = path(&verb.vcenter, "/revoke");
                let revoked: Items<Revoked> = client.post(&path, &request).await?;
                if verb.json {
                    return output::json(&revoked.items);
                }
                for one in &revoked.items {
                    output::line(format!(
                        "{}: revoked since {}",
                        one.serial,
                        output::date(one.since.0)
                    ))?;
                }
                Ok(())
            }
            Verb::Crl(verb) => {
                let list: RevocationList = client.get(&path(&verb.vcenter, "/crl")).await?;
                Ok(output::line(list.crl.trim_end())?)
            }
        }
    }
}

fn path(vcenter: &Name, more: &str) -> String {
    format!("/v1/vcenters/{}/ca{more}", component(vcenter.as_str()))
}

fn describe(view: &AuthorityView) -> anyhow::Result<()> {
    let origin = match view.origin {
        Some(AuthorityOrigin::Own) => "its own",
        Some(AuthorityOrigin::Given) => "below another authority",
        None => "none yet; it is made with the first TPM that gets a certificate",
    };
    output::line(format!("{}: {origin}", view.vcenter))?;
    let keys: Vec<&str> = view.keys.iter().map(|key| key.as_str()).collect();
    output::line(format!(
        "  new TPMs: {}",
        if view.issue {
            format!("certificates for {}", keys.join(", "))
        } else {
            "no certificates".to_owned()
        }
    ))?;
    if let Some(provider) = &view.provider {
        output::line(format!("  keys under: key provider {provider}"))?;
    }
    for certificate in &view.certificates {
        output::line(format!(
            "  {}: until {}, SHA-256 {}",
            certificate.subject,
            certificate
                .not_after
                .map_or_else(|| "ever".to_owned(), output::date),
            certificate.fingerprint
        ))?;
    }
    if let Some(url) = &view.published {
        output::line(format!("  published below: {url}/pki/"))?;
    }
    if view.pending {
        output::line("  a request waits for its certificate: vtpm vcenter ca set-certificate")?;
    }
    output::line(format!("  revoked: {}", view.revoked))?;
    Ok(())
}
