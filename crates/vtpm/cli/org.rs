//! `vtpm org`, `vtpm user` and `vtpm vdc`: tenants, their users, their share of vCenters.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::model::{Organization, Role};
use vm_inventory::{CreateVdc, Name, UserView, VdcView};
use vm_web::api::{CreateUser, Named};

use super::client::set_up;
use super::list::{List, Row};
use super::output;
use super::provider::password;
use crate::config::Daemon;

/// Make and list organizations
#[derive(Args, Debug)]
pub(crate) struct Org {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: OrgVerb,
}

#[derive(Subcommand, Debug)]
enum OrgVerb {
    /// Make an organization
    Add(Add),
    /// List all organizations
    List(List),
}

#[derive(Args, Debug)]
struct Add {
    /// Its name
    name: Name,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Org {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            match verb {
                OrgVerb::Add(verb) => {
                    let request = Named { name: verb.name };
                    let made: Organization = client.post("/v1/organizations", &request).await?;
                    if verb.json {
                        return output::json(&made);
                    }
                    Ok(output::line(format!("{}: created", made.name))?)
                }
                OrgVerb::List(list) => {
                    list.of::<Organization, _>(&client, "/v1/organizations")
                        .await
                }
            }
        })
    }
}

impl Row<1> for Organization {
    const HEADINGS: [&'static str; 1] = ["ORGANIZATION"];

    fn row(&self) -> [String; 1] {
        [self.name.to_string()]
    }
}

/// Add and list users of organizations
#[derive(Args, Debug)]
pub(crate) struct User {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: UserVerb,
}

#[derive(Subcommand, Debug)]
enum UserVerb {
    /// Add a user; the password comes from standard input
    Add(AddUser),
    /// List all users
    List(List),
}

#[derive(Args, Debug)]
struct AddUser {
    /// The user's name
    name: Name,
    /// Organization [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    org: Option<Name>,
    /// administrator, no-cryptography-administrator, vapp-author, catalog-author or vapp-user
    #[arg(long)]
    role: Role,
    /// Read the password from the first line of standard input
    #[arg(long, required = true)]
    password_stdin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl User {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            match verb {
                UserVerb::Add(verb) => {
                    let request = CreateUser {
                        organization: verb.org,
                        name: verb.name,
                        role: verb.role,
                        password: password(verb.password_stdin)?,
                    };
                    let made: UserView = client.post("/v1/users", &request).await?;
                    if verb.json {
                        return output::json(&made);
                    }
                    Ok(output::line(format!(
                        "{}/{}: added as {}",
                        made.organization, made.name, made.role
                    ))?)
                }
                UserVerb::List(list) => list.of::<UserView, _>(&client, "/v1/users").await,
            }
        })
    }
}

impl Row<4> for UserView {
    const HEADINGS: [&'static str; 4] = ["ORGANIZATION", "USER", "ROLE", "KEY PRIVILEGES"];

    fn row(&self) -> [String; 4] {
        [
            self.organization.to_string(),
            self.name.to_string(),
            self.role.to_string(),
            self.privileges.len().to_string(),
        ]
    }
}

/// Make and list virtual data centers
#[derive(Args, Debug)]
pub(crate) struct Vdc {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: VdcVerb,
}

#[derive(Subcommand, Debug)]
enum VdcVerb {
    /// Make a virtual data center
    Add(AddVdc),
    /// List all virtual data centers, and whether VMs with TPMs may be in them
    List(List),
}

#[derive(Args, Debug)]
struct AddVdc {
    /// Its name
    name: Name,
    /// Organization [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    org: Option<Name>,
    /// The vCenter behind it [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    vcenter: Option<Name>,
    /// Datastore for its VMs [default: the first that the vCenter sees]
    #[arg(long, value_name = "NAME")]
    datastore: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Vdc {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        set_up(&self.daemon, |client| async move {
            match verb {
                VdcVerb::Add(verb) => {
                    let request = CreateVdc {
                        name: verb.name,
                        organization: verb.org,
                        vcenter: verb.vcenter,
                        datastore: verb.datastore,
                    };
                    let made: VdcView = client.post("/v1/vdcs", &request).await?;
                    if verb.json {
                        return output::json(&made);
                    }
                    output::line(format!(
                        "{}/{}: created",
                        made.vdc.organization, made.vdc.name
                    ))?;
                    if let Some(reason) = &made.reason {
                        output::line(format!("  VMs in it cannot have TPMs: {reason}"))?;
                    }
                    Ok(())
                }
                VdcVerb::List(list) => list.of::<VdcView, _>(&client, "/v1/vdcs").await,
            }
        })
    }
}

impl Row<4> for VdcView {
    const HEADINGS: [&'static str; 4] = ["ORGANIZATION", "VDC", "VCENTER", "TPM SUPPORTED"];

    fn row(&self) -> [String; 4] {
        [
            self.vdc.organization.to_string(),
            self.vdc.name.to_string(),
            self.vdc.vcenter.to_string(),
            self.reason.clone().unwrap_or_else(|| "yes".to_owned()),
        ]
    }
}
