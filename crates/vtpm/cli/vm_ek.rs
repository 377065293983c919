//! `vtpm vm ek`: the endorsement keys of a VM's TPM and their certificates.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use vm_inventory::certificates::{Der, EkAlgorithm, EndorsementKey};
use vm_store::backend::{LARGEST_TEXT, read_named};
use vm_web::api::{Accepted, GivenCertificate, Items, Nothing};

use super::client::{Client, component};
use super::output;

/// The endorsement keys of a VM's TPM and their certificates
#[derive(Args, Debug)]
pub(super) struct Ek {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the keys; --pem prints the certificates
    Show(Show),
    /// Print a request for the certificate of a key, for an authority of one's own
    ///
    /// It is signed with the endorsement key itself, which the TPM does for nobody who only sends it commands.
    Csr(Csr),
    /// Put a certificate into the TPM of a VM that is off, in the place of the one it has for that key
    ///
    /// The TPM has to open a credential that only the certificate's key opens (TPM2_MakeCredential, TPM2_ActivateCredential).
    SetCertificate(SetCertificate),
    /// Give the TPM of a VM that is off certificates of its vCenter's authority
    Issue(Issue),
}

/// Which VM's keys to show, and how.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The VM, as NAME, VAPP/NAME or id
    pub(super) vm: String,
    /// Print the certificates
    #[arg(long, conflicts_with = "json")]
    pub(super) pem: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
struct Csr {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
    /// The key: rsa2048, rsa3072, rsa4096, secp256r1 or secp384r1
    #[arg(long, default_value_t = EkAlgorithm::Rsa2048)]
    key: EkAlgorithm,
}

/// A certificate for a key of a VM's TPM.
#[derive(Args, Debug)]
pub(super) struct SetCertificate {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
    /// The certificate, PEM or DER
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
}

#[derive(Args, Debug)]
struct Issue {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
}

impl Ek {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        match self.verb {
            Verb::Show(verb) => {
                let keys = keys(client, &verb.vm).await?;
                if verb.json {
                    return output::json(&keys);
                }
                for key in &keys {
                    show(key, verb.pem)?;
                }
                Ok(())
            }
            Verb::Csr(verb) => {
                let keys = keys(client, &verb.vm).await?;
                let key = keys.iter().find(|it| it.algorithm == verb.key);
                let key = key.with_context(|| {
                    format!(
                        "the vCenter of {} gives its TPMs no {} endorsement key; `vtpm vcenter ca set --keys` chooses which",
                        verb.vm, verb.key
                    )
                })?;
                let pem = key.request.to_pem("CERTIFICATE REQUEST");
                Ok(output::line(pem.trim_end())?)
            }
            Verb::SetCertificate(verb) => verb.execute(client, "ek").await,
            Verb::Issue(verb) => change(client, &verb.vm, "ek/issue", &Nothing {}).await,
        }
    }
}

async fn keys(client: &Client, vm: &str) -> anyhow::Result<Vec<EndorsementKey>> {
    let path = format!("/v1/vms/{}/ek", component(vm));
    Ok(client.get::<Items<EndorsementKey>>(&path).await?.items)
}

impl SetCertificate {
    /// Gives the certificate to the keys of this kind.
    pub(super) async fn execute(self, client: &Client, keys: &str) -> anyhow::Result<()> {
        let bytes = read_named(&self.cert, LARGEST_TEXT)
            .with_context(|| format!("the certificate {}", self.cert.display()))?;
        let certificate = String::from_utf8(bytes.to_vec())
            .unwrap_or_else(|error| String::from(Der(error.into_bytes())));
        let given = GivenCertificate { certificate };
        change(client, &self.vm, &format!("{keys}/certificate"), &given).await
    }
}

/// Asks for a change of a VM's keys, and tells what came of it.
pub(super) async fn change(
    client: &Client,
    vm: &str,
    what: &str,
    request: &impl serde::Serialize,
) -> anyhow::Result<()> {
    let path = format!("/v1/vms/{}/{what}", component(vm));
    let accepted: Accepted = client.post(&path, request).await?;
    let task = client.wait(accepted).await?;
    for note in &task.notes {
        output::line(note)?;
    }
    Ok(())
}

fn show(key: &EndorsementKey, pem: bool) -> anyhow::Result<()> {
    match &key.certificate {
        Some(certificate) if pem => {
            output::line(certificate.der.to_pem("CERTIFICATE").trim_end())?;
        }
        None if pem => {}
        Some(certificate) => {
            let facts = &certificate.facts;
            output::line(format!(
                "{}: certificate at NV Index {:#010x}",
                key.algorithm, certificate.nv_index
            ))?;
            output::line(format!("  issuer: {}", facts.issuer))?;
            output::line(format!("  serial: {}", facts.serial))?;
            let until = facts
                .not_after
                .map_or_else(|| "without an end".to_owned(), output::date);
            output::line(format!(
                "  valid:  {} - {until}",
                output::date(facts.not_before)
            ))?;
            output::line(format!("  SHA-256 {}", facts.fingerprint))?;
        }
        None => output::line(format!(
            "{}: no certificate; `vtpm vm ek issue` makes one",
            key.algorithm
        ))?,
    }
    Ok(())
}
