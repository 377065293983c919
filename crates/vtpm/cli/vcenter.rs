//! `vtpm vcenter`, `vtpm datastore` and `vtpm config`: what operations across vCenters depend on.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use vm_inventory::model::{CloudSettings, Datastore as DatastoreRecord, VCenter as VCenterRecord};
use vm_inventory::{CreateVCenter, Name, VcVersion};
use vm_web::api::{CreateDatastore, Items, WithVCenter};

use super::client::{component, set_up};
use super::list::{List, Row, or_dash};
use super::output;
use crate::config::Daemon;

/// Register vCenters, and let them trust each other
#[derive(Args, Debug)]
pub(crate) struct VCenter {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Register a vCenter
    Add(Add),
    /// List all vCenters
    List(List),
    /// Let two vCenters trust each other's certificates, which everything between them needs
    Trust(Trust),
    /// The authority that signs the certificates of TPMs
    Ca(super::vcenter_ca::Ca),
}

#[derive(Args, Debug)]
#[command(disable_version_flag = true)]
struct Add {
    /// Its name
    name: Name,
    /// Its version, such as 8.0.3
    #[arg(long)]
    version: VcVersion,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Trust {
    /// One
    one: Name,
    /// The other
    other: Name,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl VCenter {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            match verb {
                Verb::Add(verb) => {
                    let request = CreateVCenter {
                        name: verb.name,
                        version: verb.version,
                    };
                    let made: VCenterRecord = client.post("/v1/vcenters", &request).await?;
                    if verb.json {
                        return output::json(&made);
                    }
                    Ok(output::line(format!("{}: registered", made.name))?)
                }
                Verb::List(list) => list.of::<VCenterRecord, _>(&client, "/v1/vcenters").await,
                Verb::Trust(verb) => {
                    let path = format!("/v1/vcenters/{}/trust", component(verb.one.as_str()));
                    let request = WithVCenter {
                        vcenter: verb.other.clone(),
                    };
                    let both: Items<VCenterRecord> = client.post(&path, &request).await?;
                    if verb.json {
                        return output::json(&both.items);
                    }
                    Ok(output::line(format!(
                        "{} and {}: trust each other",
                        verb.one, verb.other
                    ))?)
                }
                Verb::Ca(verb) => verb.execute(&client).await,
            }
        })
    }
}

impl Row<4> for VCenterRecord {
    const HEADINGS: [&'static str; 4] = ["VCENTER", "VERSION", "DEFAULT PROVIDER", "TRUSTS"];

    fn row(&self) -> [String; 4] {
        [
            self.name.to_string(),
            self.version.to_string(),
            or_dash(self.default_provider.as_ref()),
            names(&self.trusts),
        ]
    }
}

/// Add datastores, and share them between vCenters
#[derive(Args, Debug)]
pub(crate) struct Datastore {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: DatastoreVerb,
}

#[derive(Subcommand, Debug)]
enum DatastoreVerb {
    /// Add a datastore
    Add(AddDatastore),
    /// List all datastores
    List(List),
    /// Let one more vCenter see a datastore
    Share(Share),
}

#[derive(Args, Debug)]
struct AddDatastore {
    /// Its name
    name: Name,
    /// A vCenter that sees it (repeatable)
    #[arg(long = "vcenter", value_name = "NAME", required = true)]
    vcenters: Vec<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Share {
    /// The datastore
    name: Name,
    /// The vCenter
    #[arg(long, value_name = "NAME")]
    vcenter: Name,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Datastore {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            let (one, json) = match verb {
                DatastoreVerb::Add(verb) => {
                    let request = CreateDatastore {
                        name: verb.name,
                        vcenters: verb.vcenters,
                    };
                    let made: DatastoreRecord = client.post("/v1/datastores", &request).await?;
                    (made, verb.json)
                }
                DatastoreVerb::Share(verb) => {
                    let path = format!("/v1/datastores/{}/share", component(verb.name.as_str()));
                    let request = WithVCenter {
                        vcenter: verb.vcenter,
                    };
                    let shared: DatastoreRecord = client.post(&path, &request).await?;
                    (shared, verb.json)
                }
                DatastoreVerb::List(list) => {
                    return list
                        .of::<DatastoreRecord, _>(&client, "/v1/datastores")
                        .await;
                }
            };
            if json {
                return output::json(&one);
            }
            Ok(output::line(format!(
                "{}: seen by {}",
                one.name,
                names(&one.vcenters)
            ))?)
        })
    }
}

impl Row<3> for DatastoreRecord {
    const HEADINGS: [&'static str; 3] = ["DATASTORE", "VCENTERS", "FOLDER"];

    fn row(&self) -> [String; 3] {
        [
            self.name.to_string(),
            names(&self.vcenters),
            self.folder.display().to_string(),
        ]
    }
}

/// Show and change settings of the whole installation
#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Subcommand, Debug)]
enum ConfigVerb {
    /// Show the settings
    Get(List),
    /// Change a setting
    Set(Set),
}

#[derive(Args, Debug)]
struct Set {
    /// Which
    #[arg(value_enum)]
    setting: Setting,
    /// To what
    #[arg(value_enum)]
    value: Switch,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Setting {
    /// VMs go from one vCenter to another without storage that both see
    FastCrossVcenterInstantiation,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

impl Config {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            let (settings, json) = match verb {
                ConfigVerb::Get(verb) => (client.get("/v1/settings").await?, verb.json),
                ConfigVerb::Set(verb) => {
                    let mut settings: CloudSettings = client.get("/v1/settings").await?;
                    match verb.setting {
                        Setting::FastCrossVcenterInstantiation => {
                            settings.fast_cross_vcenter_instantiation = verb.value == Switch::On;
                        }
                    }
                    (client.put("/v1/settings", &settings).await?, verb.json)
                }
            };
            let settings: CloudSettings = settings;
            if json {
                return output::json(&settings);
            }
            let word = if settings.fast_cross_vcenter_instantiation {
                "on"
            } else {
                "off"
            };
            Ok(output::line(format!(
                "fast-cross-vcenter-instantiation {word}"
            ))?)
        })
    }
}

fn names(names: &[Name]) -> String {
    if names.is_empty() {
        return "-".to_owned();
    }
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}
