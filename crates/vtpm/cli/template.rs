//! `vtpm template` and `vtpm catalog`: templates, and the shelves that they are on.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::model::{Catalog as CatalogRecord, Template as TemplateRecord};
use vm_inventory::provisioning::TpmAction;
use vm_inventory::{Capture, CreateCatalog, Instantiate, Name, Offer, Task};
use vm_web::api::{Accepted, Items, Publish};

use super::client::{Client, Refusal, component, set_up, talk};
use super::list::{List, Row, or_dash, table, yes_or_no};
use super::operate::{How, TpmChoice, delete, foresee, operate, report};
use super::output;
use super::package::{self, Destination};
use crate::config::Daemon;

/// Make VMs of templates, and templates of VMs
#[derive(Args, Debug)]
pub(crate) struct Template {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a vApp, or a standalone VM, of a template; the template decides about TPMs
    Instantiate(Make),
    /// Save a VM as a template (for vApps: `vtpm vapp capture`)
    Capture(Save),
    /// Make a template of a package (OVF or OVA); its instances get new TPMs
    Upload(Upload),
    /// Write a template as a package; of its TPMs it only says that they are there
    Download(Download),
    /// Delete a template; its instances stay
    Delete(Delete),
    /// List all templates
    List(List),
    /// Show one template
    Show(Show),
}

#[derive(Args, Debug)]
struct Make {
    /// The template, as NAME, CATALOG/NAME or ORGANIZATION/CATALOG/NAME
    template: String,
    /// Name of the vApp or VM
    name: Name,
    /// Virtual data center [default: the only one of the organization]
    #[arg(long, value_name = "VDC")]
    vdc: Option<String>,
    /// What becomes of every TPM: only what the template says is taken
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    /// Make a standalone VM instead of a vApp
    #[arg(long)]
    standalone: bool,
    /// Only this VM of the template
    #[arg(long, value_name = "NAME")]
    vm: Option<Name>,
    /// So many of each VM, numbered from 1
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Save {
    /// The VM, which belongs to no vApp
    vm: String,
    /// The catalog, as CATALOG or ORGANIZATION/CATALOG
    catalog: String,
    /// Name of the template
    name: Name,
    /// What instances get: the TPM as it is now, or a new one [default: copy]
    #[arg(long, value_enum)]
    tpm: Option<TpmChoice>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Delete {
    /// The template
    template: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Show {
    /// The template
    template: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Upload {
    /// The package: an OVA, or an OVF descriptor with its files beside it
    file: PathBuf,
    /// The catalog, as CATALOG or ORGANIZATION/CATALOG
    #[arg(long)]
    catalog: String,
    /// Name of the template [default: that of the package]
    #[arg(long)]
    name: Option<Name>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct Download {
    /// The template
    template: String,
    #[command(flatten)]
    to: Destination,
}

impl Template {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        talk(
            &self.daemon,
            |client| async move { verb.run(&client).await },
        )
    }
}

impl Verb {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Instantiate(verb) => {
                let request = Instantiate {
                    name: verb.name,
                    vdc: verb.vdc,
                    organization: None,
                    tpm: verb.tpm.map(Into::into),
                    standalone: verb.standalone,
                    vm: verb.vm,
                    count: verb.count,
                };
                let path = format!("/v1/templates/{}/instantiate", component(&verb.template));
                operate(client, &path, &request, verb.how, "instantiated").await
            }
            Self::Capture(verb) => {
                let request = Capture {
                    vapp: None,
                    vm: Some(verb.vm),
                    catalog: verb.catalog,
                    name: verb.name,
                    tpm: verb.tpm.map(Into::into),
                };
                operate(client, "/v1/templates", &request, verb.how, "saved").await
            }
            Self::Upload(verb) => {
                let query = [
                    ("name", verb.name.map(|name| name.to_string())),
                    ("catalog", Some(verb.catalog)),
                ];
                package::upload(client, &verb.file, query, verb.how).await
            }
            Self::Download(verb) => {
                let path = format!("/v1/templates/{}/package", component(&verb.template));
                package::download(client, &path, verb.to).await
            }
            Self::Delete(verb) => {
                let path = format!("/v1/templates/{}", component(&verb.template));
                delete(client, &path, verb.how).await
            }
            Self::List(list) => list.of::<TemplateRecord, _>(client, "/v1/templates").await,
            Self::Show(verb) => {
                let path = format!("/v1/templates/{}", component(&verb.template));
                let template: TemplateRecord = client.get(&path).await?;
                if verb.json {
                    return output::json(&template);
                }
                let vms = template.vms.iter().map(|vm| vm.name.to_string());
                let vms: Vec<String> = vms.collect();
                table(std::slice::from_ref(&template))?;
                Ok(output::line(format!("VMs: {}", vms.join(", ")))?)
            }
        }
    }
}

impl Row<6> for TemplateRecord {
    const HEADINGS: [&'static str; 6] = [
        "ORGANIZATION",
        "CATALOG",
        "TEMPLATE",
        "ORIGIN",
        "TPM",
        "VMS",
    ];

    fn row(&self) -> [String; 6] {
        [
            self.organization.to_string(),
            self.catalog.to_string(),
            self.name.to_string(),
            self.origin.to_string(),
            TpmAction::from(self.provisioning).to_string(),
            self.vms.len().to_string(),
        ]
    }
}

/// Make, publish and follow catalogs
#[derive(Args, Debug)]
pub(crate) struct Catalog {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: CatalogVerb,
}

#[derive(Subcommand, Debug)]
enum CatalogVerb {
    /// Make a catalog
    Add(AddCatalog),
    /// List all catalogs
    List(List),
    /// Let other organizations subscribe; templates that copy TPMs are left out
    Publish(Change),
    /// End that
    Unpublish(Change),
    /// What published catalogs offer, and what they withhold; with a name: publish that catalog, and make it if it is not there
    Published(Published),
    /// Make it what the catalog that it follows offers: take over, renew, drop
    Sync(Change),
}

#[derive(Args, Debug)]
struct AddCatalog {
    /// Name of the catalog
    name: Name,
    /// Organization [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    org: Option<Name>,
    /// Virtual data center whose storage it uses [default: the only one of the organization]
    #[arg(long, value_name = "VDC")]
    vdc: Option<String>,
    /// Follow this published catalog
    #[arg(long, value_name = "ORGANIZATION/CATALOG")]
    subscribe: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Published {
    /// The catalog to publish
    name: Option<Name>,
    /// Its organization [default: the only one that has it]
    #[arg(long, value_name = "NAME", requires = "name")]
    org: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Change {
    /// The catalog, as CATALOG or ORGANIZATION/CATALOG
    catalog: String,
    #[command(flatten)]
    how: How,
}

impl Catalog {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(
            &self.daemon,
            |client| async move { verb.run(&client).await },
        )
    }
}

impl CatalogVerb {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Add(verb) => {
                let request = CreateCatalog {
                    name: verb.name,
                    organization: verb.org,
                    vdc: verb.vdc,
                    subscribe: verb.subscribe,
                };
                let made: CatalogRecord = client.post("/v1/catalogs", &request).await?;
                if verb.json {
                    return output::json(&made);
                }
                Ok(output::line(format!(
                    "{}/{}: created",
                    made.organization, made.name
                ))?)
            }
            Self::List(list) => list.of::<CatalogRecord, _>(client, "/v1/catalogs").await,
            Self::Publish(verb) => publish(client, &verb, true).await,
            Self::Unpublish(verb) => publish(client, &verb, false).await,
            Self::Published(Published {
                name: Some(name),
                org,
                json,
            }) => {
                let catalog = match &org {
                    Some(org) => format!("{org}/{name}"),
                    None => name.to_string(),
                };
                let how = How {
                    preview: false,
                    json,
                };
                let one = Change { catalog, how };
                match publish(client, &one, true).await {
                    Err(error) if is_missing(&error) => {}
                    other => return other,
                }
                let request = CreateCatalog {
                    name,
                    organization: org,
                    vdc: None,
                    subscribe: None,
                };
                let _made: CatalogRecord = client.post("/v1/catalogs", &request).await?;
                publish(client, &one, true).await
            }
            Self::Published(verb) => {
                let offers: Items<Offer> = client.get("/v1/published").await?;
                if verb.json {
                    return output::json(&offers.items);
                }
                offers.items.iter().try_for_each(print_offer)
            }
            Self::Sync(verb) => {
                let path = format!("/v1/catalogs/{}/sync", component(&verb.catalog));
                if verb.how.preview {
                    return foresee(client, &path, &serde_json::json!({}), verb.how).await;
                }
                let tasks: Items<Task> = client.post(&path, &serde_json::json!({})).await?;
                for task in tasks.items {
                    let task = client.wait(Accepted { task }).await?;
                    let done = match task.operation.as_str() {
                        "delete_template" => "dropped, it is not offered any more",
                        _ => "taken over",
                    };
                    report(&task, verb.how.json, done)?;
                }
                Ok(())
            }
        }
    }
}

impl Row<5> for CatalogRecord {
    const HEADINGS: [&'static str; 5] =
        ["ORGANIZATION", "CATALOG", "VCENTER", "PUBLISHED", "FOLLOWS"];

    fn row(&self) -> [String; 5] {
        let follows = self.subscription.as_ref();
        [
            self.organization.to_string(),
            self.name.to_string(),
            self.vcenter.to_string(),
            yes_or_no(self.published),
            or_dash(follows.map(|from| format!("{}/{}", from.organization, from.catalog))),
        ]
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Refusal>() {
        Some(Refusal::Problem(problem)) => problem.status == 404,
        _ => false,
    }
}

async fn publish(client: &Client, verb: &Change, published: bool) -> anyhow::Result<()> {
    let look = if verb.how.preview {
        "?preview=true"
    } else {
        ""
    };
    let path = format!("/v1/catalogs/{}/publish{look}", component(&verb.catalog));
    let offer: Offer = client.post(&path, &Publish { published }).await?;
    if verb.how.json {
        return output::json(&offer);
    }
    if published {
        return print_offer(&offer);
    }
    Ok(output::line(format!(
        "{}: not published",
        offer.catalog.name
    ))?)
}

fn print_offer(offer: &Offer) -> anyhow::Result<()> {
    let catalog = &offer.catalog;
    output::line(format!(
        "{}/{}: published",
        catalog.organization, catalog.name
    ))?;
    for template in &offer.templates {
        output::line(format!("  {template}"))?;
    }
    for withheld in &offer.withheld {
        output::line(format!("  withheld: {withheld}"))?;
    }
    Ok(())
}
