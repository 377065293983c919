//! `vtpm provider keys|forget-keys|rekey` and `vtpm vm rekey|encrypt|decrypt|unlock`: the life of keys.

use clap::Args;
use vm_inventory::{EncryptVm, KeyUse, Name, ProviderView, Rekey, RekeyAll};
use vm_web::api::{Accepted, Forgotten, OnVCenter};

use super::key_server::at_vcenter;
use crate::cli::client::{Client, component};
use crate::cli::list::{List, Row, yes_or_no};
use crate::cli::operate::{How, each, operate, report};
use crate::cli::output;

#[derive(Args, Debug)]
pub(super) struct Keys {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    #[command(flatten)]
    list: List,
}

#[derive(Args, Debug)]
pub(super) struct ForgetKeys {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
}

#[derive(Args, Debug)]
pub(super) struct MakeDefault {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    /// Name of the provider
    name: Name,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
}

#[derive(Args, Debug)]
pub(super) struct RekeyProvider {
    /// Name of the provider
    name: Name,
    /// Every VM of the provider
    #[arg(long, required = true)]
    all: bool,
    /// Its vCenter [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Take the new key from this provider instead
    #[arg(long, value_name = "NAME")]
    to: Option<Name>,
    /// Make the data keys anew too, and seal all files under them; the VMs have to be off
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(crate) struct RekeyVm {
    /// Name or id
    vm: String,
    /// Take the new key from this provider [default: the VM's own]
    #[arg(long, value_name = "NAME")]
    provider: Option<Name>,
    /// Make the data key anew too, and seal all files under it; the VM has to be off
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(crate) struct Encrypt {
    /// Name or id
    vm: String,
    /// Take the key from this provider [default: that of the vCenter]
    #[arg(long, value_name = "NAME")]
    provider: Option<Name>,
    /// Take this key of it [default: a new one]
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Decrypt {
    /// Name or id
    vm: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Unlock {
    /// Names or ids
    #[arg(required = true)]
    vms: Vec<String>,
    #[command(flatten)]
    how: How,
}

impl Keys {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "/keys", self.vcenter.as_ref());
        self.list.of::<KeyUse, _>(client, &path).await
    }
}

impl Row<4> for KeyUse {
    const HEADINGS: [&'static str; 4] = ["KEY ID", "CHECK VALUE", "IN MEMORY", "VMS"];

    fn row(&self) -> [String; 4] {
        let vms = self.vms.iter().map(Name::to_string);
        let templates = self.templates.iter().map(|name| format!("template {name}"));
        let names: Vec<String> = vms.chain(templates).collect();
        [
            self.key_id.clone(),
            self.check.clone(),
            yes_or_no(self.kept),
            names.join(", "),
        ]
    }
}

impl ForgetKeys {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "/forget-keys", None);
        let at = OnVCenter {
            vcenter: self.vcenter,
        };
        let forgotten: Forgotten = client.post(&path, &at).await?;
        Ok(output::line(format!(
            "{}: {} keys wiped from memory",
            self.name, forgotten.keys
        ))?)
    }
}

impl MakeDefault {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "/default", None);
        let at = OnVCenter {
            vcenter: self.vcenter,
        };
        let now: ProviderView = client.post(&path, &at).await?;
        Ok(output::line(format!(
            "{}: the default of vCenter {}",
            now.name, now.vcenter
        ))?)
    }
}

impl Remove {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "", self.vcenter.as_ref());
        let was: ProviderView = client.delete(&path).await?;
        Ok(output::line(format!(
            "{}: removed from vCenter {}",
            was.name, was.vcenter
        ))?)
    }
}

impl RekeyProvider {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = at_vcenter(&self.name, "/rekey", None);
        let request = RekeyAll {
            vcenter: self.vcenter,
            to: self.to,
            deep: self.deep,
        };
        operate(client, &path, &request, self.how, "re-keyed").await
    }
}

impl RekeyVm {
    pub(crate) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("/v1/vms/{}/rekey", component(&self.vm));
        let request = Rekey {
            provider: self.provider,
            deep: self.deep,
        };
        operate(client, &path, &request, self.how, "re-keyed").await
    }
}

impl Encrypt {
    pub(crate) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("/v1/vms/{}/encrypt", component(&self.vm));
        let request = EncryptVm {
            provider: self.provider,
            key_id: self.key_id,
        };
        let accepted: Accepted = client.post(&path, &request).await?;
        let task = client.wait(accepted).await?;
        report(&task, self.json, "encrypted")
    }
}

impl Decrypt {
    pub(crate) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("/v1/vms/{}/decrypt", component(&self.vm));
        let accepted: Accepted = client.post(&path, &OnVCenter::default()).await?;
        let task = client.wait(accepted).await?;
        report(&task, self.json, "decrypted")
    }
}

impl Unlock {
    pub(crate) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        each(&self.vms, async |vm| {
            let path = format!("/v1/vms/{}/unlock", component(vm));
            operate(client, &path, &OnVCenter::default(), self.how, "unlocked").await
        })
        .await
    }
}
