//! `vtpm vm identity`: keys of a VM's TPM by which others know the device, made on request.

use clap::{Args, Subcommand};
use vm_inventory::certificates::{DeviceKey, DeviceKeyKind, EkAlgorithm, WantedDeviceKey};
use vm_web::api::{DeviceKeysWanted, Items};

use super::client::{Client, component};
use super::output;
use super::vm_ek::{SetCertificate, Show, change};

/// What these keys are called in the API.
const KEYS: &str = "device-keys";

/// Attestation key, initial attestation key (IAK) and device identity (IDevID) of a VM's TPM, made on request
///
/// The TPM makes a key, keeps it, and shows that the key is in it: by a credential that only the TPM of the endorsement key opens, and by
/// what an attestation key says of its creation. Then the vCenter's authority certifies it, and the certificate goes into the TPM.
#[derive(Args, Debug)]
pub(super) struct Identity {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make keys in the TPM of a VM that is off, or give those that are there new certificates
    Create(Create),
    /// Show the keys; --pem prints the certificates
    Show(Show),
    /// Print a request for the certificate of a key, for an authority of one's own
    Csr(Csr),
    /// Put a certificate of one's own authority for one of these keys into the TPM of a VM that is off
    ///
    /// The TPM has to show that the key is in it, in the way it did when the key was made.
    SetCertificate(SetCertificate),
}

#[derive(Args, Debug)]
struct Create {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
    /// The keys: ak (an attestation key), iak (the initial one), idevid (the device identity), with commas between
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "iak,idevid"
    )]
    keys: Vec<DeviceKeyKind>,
    /// Their type and size: rsa2048, rsa3072, rsa4096, secp256r1 or secp384r1; an ak is rsa2048 or secp256r1
    #[arg(long, value_name = "ALGORITHM", default_value_t = EkAlgorithm::Secp256r1)]
    algorithm: EkAlgorithm,
}

#[derive(Args, Debug)]
struct Csr {
    /// The VM, as NAME, VAPP/NAME or id
    vm: String,
    /// The key: ak, iak or idevid
    #[arg(long, default_value_t = DeviceKeyKind::Idevid)]
    key: DeviceKeyKind,
}

impl Identity {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        match self.verb {
            Verb::Create(verb) => {
                let algorithm = verb.algorithm;
                let keys = verb.keys.iter();
                let keys = keys.map(|kind| WantedDeviceKey {
                    kind: *kind,
                    algorithm,
                });
                let wanted = DeviceKeysWanted {
                    keys: keys.collect(),
                };
                change(client, &verb.vm, KEYS, &wanted).await
            }
            Verb::SetCertificate(verb) => verb.execute(client, KEYS).await,
            Verb::Show(verb) => {
                let keys = keys(client, &verb.vm).await?;
                if verb.json {
                    return output::json(&keys);
                }
                if keys.is_empty() && !verb.pem {
                    output::line(format!(
                        "none; `vtpm vm identity create {}` makes them",
                        verb.vm
                    ))?;
                }
                for key in &keys {
                    show(key, verb.pem)?;
                }
                Ok(())
            }
            Verb::Csr(verb) => {
                let keys = keys(client, &verb.vm).await?;
                let Some(key) = keys.iter().find(|it| it.kind == verb.key) else {
                    anyhow::bail!(
                        "the TPM of {vm} has no {kind} that was made here; make it with `vtpm vm identity create {vm} --keys {kind}`",
                        vm = verb.vm,
                        kind = verb.key
                    );
                };
                let pem = key.request.to_pem("CERTIFICATE REQUEST");
                Ok(output::line(pem.trim_end())?)
            }
        }
    }
}

async fn keys(client: &Client, vm: &str) -> anyhow::Result<Vec<DeviceKey>> {
    let path = format!("/v1/vms/{}/{KEYS}", component(vm));
    Ok(client.get::<Items<DeviceKey>>(&path).await?.items)
}

fn show(key: &DeviceKey, pem: bool) -> anyhow::Result<()> {
    if pem {
        let text = key.certificate.der.to_pem("CERTIFICATE");
        return Ok(output::line(text.trim_end())?);
    }
    let facts = &key.certificate.facts;
    output::line(format!(
        "{}: {} at {:#010x}, certificate at NV Index {:#010x}",
        key.kind, key.algorithm, key.handle, key.certificate.nv_index
    ))?;
    output::line(format!("  name:    {}", key.name))?;
    if !facts.subject.is_empty() {
        output::line(format!("  subject: {}", facts.subject))?;
    }
    output::line(format!("  issuer:  {}", facts.issuer))?;
    output::line(format!("  serial:  {}", facts.serial))?;
    output::line(format!("  SHA-256  {}", facts.fingerprint))?;
    Ok(())
}
