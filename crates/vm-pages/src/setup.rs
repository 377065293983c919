//! What stands before there are VMs: vCenters, datastores, trust, settings; organizations, their virtual data centers, users, catalogs; and
//! tokens for programs.

use crate::choices::{self, choices};
use crate::chrome::{Place, Section};
use crate::fields::{Fields, Posted, wrong};
use crate::form::{Field, Form, Kind};
use crate::operate;
use crate::parts::{self, Tone, badge};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use vm_inventory::model::{CloudSettings, Datastore, Organization, Role, VCenter};
use vm_inventory::{
    CreateCatalog, CreateVCenter, CreateVdc, Error, Name, Right, Scoped, UserView, VdcView,
};
use vm_web::{IDLE, Problem};
use zeroize::Zeroizing;

/// Users on one page.
const ON_PAGE: usize = 100;
const HERE: &str = "/ui/setup";

#[derive(Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    page: usize,
}

/// What there is, as far as the visitor may know it.
#[derive(Default)]
struct Everything {
    vcenters: Vec<VCenter>,
    datastores: Vec<Datastore>,
    settings: Option<CloudSettings>,
    organizations: Vec<Organization>,
    vdcs: Vec<VdcView>,
    users: Vec<UserView>,
}

fn everything(scoped: &Scoped) -> Result<Everything, Error> {
    let mut all = Everything {
        organizations: scoped.organizations()?,
        vdcs: scoped.vdcs()?,
        ..Everything::default()
    };
    if scoped.principal().may(Right::Infrastructure) {
        all.vcenters = scoped.vcenters()?;
        all.datastores = scoped.datastores()?;
        all.settings = Some(scoped.cloud_settings()?);
    }
    if scoped.principal().may(Right::Organization) {
        all.users = scoped.users(None)?;
    }
    Ok(all)
}

pub(crate) async fn show(visitor: Visitor, Query(part): Query<Part>) -> Result<Response, Refusal> {
    let all = visitor.look(everything).await?;
    let button = |what: &str, words: &str| {
        html! { @if visitor.may(needs(what)) { li { a.button href={ (HERE) "/do/" (what) } { (words) } } } }
    };
    let body = html! {
        h1 { "Setup" }
        p.lead { "Where VMs live and who may use them. Nothing here touches a TPM, so it is done at once." }
        nav.operations aria-label="Operations" {
            ul {
                (button("vcenter", "Add a vCenter"))
                (button("trust", "Let two vCenters trust each other"))
                (button("datastore", "Add a datastore"))
                (button("share", "Share a datastore"))
                (button("settings", "Change settings"))
                (button("organization", "Add an organization"))
                (button("vdc", "Add a virtual data center"))
                (button("catalog", "Add a catalog"))
                (button("user", "Add a user"))
                (button("token", "Token for a program"))
            }
        }
        @if let Some(settings) = &all.settings { (infrastructure(&all, settings)) }
        section.card aria-labelledby="organizations" {
            h2 #organizations { "Organizations" }
            @if all.organizations.is_empty() { (parts::empty("There is no organization yet.", "")) }
            @else { (organizations(&all)) }
        }
        @if visitor.may(Right::Organization) {
            section.card aria-labelledby="users" {
                h2 #users { "Users" }
                @if all.users.is_empty() { (parts::empty("There are no users yet.", "")) }
                @else { (users(&all.users, part.page)) }
            }
        }
    };
    Ok(visitor.page("Setup", Place::top(Section::Setup), &body))
}

fn infrastructure(all: &Everything, settings: &CloudSettings) -> Markup {
    let names = |names: &[Name]| {
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        names.join(", ")
    };
    let vcenters = html! {
        @for it in &all.vcenters {
            tr {
                td { (it.name) }
                td { (it.version) }
                td { @if let Some(provider) = &it.default_provider { (provider) } @else { span.soft { "none" } } }
                td { (names(&it.trusts)) }
            }
        }
    };
    let datastores = html! {
        @for it in &all.datastores { tr { td { (it.name) } td { (names(&it.vcenters)) } td.long { code { (it.folder.display()) } } } }
    };
    html! {
        section.card aria-labelledby="vcenters" {
            h2 #vcenters { "vCenters" }
            @if all.vcenters.is_empty() { (parts::empty("There is no vCenter yet.", "")) }
            @else { (parts::table("vCenters", &["vCenter", "Version", "Keys by", "Trusts"], &vcenters)) }
        }
        section.card aria-labelledby="datastores" {
            h2 #datastores { "Datastores" }
            @if all.datastores.is_empty() { (parts::empty("There is no datastore yet.", "")) }
            @else { (parts::table("Datastores", &["Datastore", "Seen by", "Folder"], &datastores)) }
        }
        section.card aria-labelledby="settings" {
            h2 #settings { "Settings" }
            (parts::facts(&[(
                "Fast cross-vCenter instantiation",
                if settings.fast_cross_vcenter_instantiation { badge(Tone::Good, "on") } else { badge(Tone::Quiet, "off") },
            )]))
        }
    }
}

fn organizations(all: &Everything) -> Markup {
    let rows = html! {
        @for it in &all.organizations {
            @let own = all.vdcs.iter().filter(|vdc| vdc.vdc.organization == it.name);
            tr {
                td { (it.name) }
                td {
                    @for (place, vdc) in own.enumerate() {
                        @if place > 0 { ", " }
                        (vdc.vdc.name) " " @if vdc.tpm_supported { (badge(Tone::Good, "supports TPM")) } @else { (badge(Tone::Warn, "no TPM")) }
                    }
                }
                td { (parts::moment(it.created)) }
            }
        }
    };
    let heads = ["Organization", "Virtual data centers", "Made"];
    parts::table("Organizations", &heads, &rows)
}

fn users(all: &[UserView], page: usize) -> Markup {
    let shown = all.iter().skip(page.saturating_mul(ON_PAGE)).take(ON_PAGE);
    let rows = html! {
        @for it in shown {
            tr {
                td { (it.name) "@" (it.organization) }
                td { (it.role) }
                td.long { (it.privileges.join(", ")) }
                td { (parts::moment(it.created)) }
            }
        }
    };
    let heads = ["User", "Role", "Privileges over keys", "Added"];
    html! {
        (parts::table("Users", &heads, &rows))
        (parts::pages(all.len().div_ceil(ON_PAGE), page))
    }
}

/// What it takes to be offered a form.
fn needs(what: &str) -> Right {
    match what {
        "user" => Right::Organization,
        "catalog" => Right::Catalogs,
        "token" => Right::Look,
        _ => Right::Infrastructure,
    }
}

fn form(
    what: &str,
    user: String,
    all: &Everything,
    offered: &[String],
    vdcs: &[String],
) -> Option<Form> {
    let blank = |title: &str, verb: &'static str| Form {
        section: Section::Setup,
        at_once: true,
        ..Form::new(
            title.to_owned(),
            verb,
            format!("{HERE}/do/{what}"),
            ("Setup".to_owned(), HERE.to_owned()),
        )
    };
    let name = || Field::new("name", "Name", Kind::Text).required();
    let named = |names: &mut dyn Iterator<Item = &Name>| -> Vec<String> {
        names.map(ToString::to_string).collect()
    };
    let one_of =
        |name, label, names: &[String]| Field::new(name, label, choices(None, names)).required();
    let vcenters = named(&mut all.vcenters.iter().map(|it| &it.name));
    let datastores = named(&mut all.datastores.iter().map(|it| &it.name));
    let mut organizations = named(&mut all.organizations.iter().map(|it| &it.name));
    Some(match what {
        "vcenter" => Form {
            fields: vec![
                name(),
                Field::new("version", "Version", Kind::Text)
                    .required()
                    .hint("Such as 8.0.3: it decides what becomes of TPMs."),
            ],
            ..blank("Add a vCenter", "Add it")
        },
        "trust" => Form {
            lead: "Each takes the other's certificates: that is needed for everything between them.",
            fields: vec![
                one_of("one", "One vCenter", &vcenters),
                one_of("other", "The other", &vcenters),
            ],
            ..blank("Let two vCenters trust each other", "Let them")
        },
        "datastore" => Form {
            fields: vec![name(), one_of("vcenter", "vCenter that sees it", &vcenters)],
            ..blank("Add a datastore", "Add it")
        },
        "share" => Form {
            fields: vec![
                one_of("datastore", "Datastore", &datastores),
                one_of("vcenter", "vCenter that is to see it", &vcenters),
            ],
            ..blank("Share a datastore", "Share it")
        },
        "settings" => {
            let switch = [
                ("off", "off: between vCenters, both have to see the storage"),
                ("on", "on: VMs go without storage that both see"),
            ];
            let switch = switch.map(|(word, words)| (word.to_owned(), words.to_owned()));
            Form {
                fields: vec![Field::new(
                    "fast",
                    "Fast cross-vCenter instantiation",
                    Kind::Choice(switch.into()),
                )],
                ..blank("Change settings", "Change them")
            }
        }
        "organization" => Form {
            fields: vec![name()],
            ..blank("Add an organization", "Add it")
        },
        "vdc" => Form {
            fields: vec![
                name(),
                one_of("organization", "Organization", &organizations),
                one_of("vcenter", "vCenter behind it", &vcenters),
                Field::new(
                    "datastore",
                    "Datastore",
                    choices(Some("the first that is seen"), &datastores),
                ),
            ],
            ..blank("Add a virtual data center", "Add it")
        },
        "catalog" => Form {
            fields: vec![
                name(),
                one_of("vdc", "Virtual data center whose storage it uses", vdcs),
                Field::new(
                    "subscribe",
                    "Follows",
                    choices(Some("no other catalog"), offered),
                ),
            ],
            ..blank("Add a catalog", "Add it")
        },
        "user" => {
            let roles: Vec<String> = Role::ALL
                .iter()
                .map(|(word, _)| (*word).to_owned())
                .collect();
            if all.settings.is_some() {
                organizations.push("system".to_owned());
            }
            Form {
                fields: vec![
                    name(),
                    one_of("organization", "Organization", &organizations),
                    one_of("role", "Role", &roles),
                    Field::new("password", "Password", Kind::Password).required(),
                    Field::new("again", "The same again", Kind::Password).required(),
                ],
                ..blank("Add a user", "Add the user")
            }
        }
        "token" => Form {
            lead: "A session of its own for a program that uses the API, or for vtpm --server. It is shown once.",
            fields: vec![
                Field::new("user", "User", Kind::User(user)).required(),
                Field::new("password", "Your password", Kind::Password).required(),
            ],
            ..blank("Token for a program", "Make it")
        },
        _ => return None,
    })
}

async fn prepared(visitor: &Visitor, what: &str) -> Result<Form, Problem> {
    let needed = needs(what);
    let (all, offered, vdcs) = visitor
        .look(move |scoped| {
            scoped.principal().need(needed)?;
            let offers = scoped.published_catalogs()?;
            let offers = offers.iter().map(|it| &it.catalog);
            let offered = offers.map(|it| format!("{}/{}", it.organization, it.name));
            let offered: Vec<String> = offered.collect();
            Ok((everything(scoped)?, offered, choices::vdcs(scoped)?))
        })
        .await?;
    let user = visitor.principal.to_string();
    Ok(form(what, user, &all, &offered, &vdcs).ok_or_else(|| operate::unknown(what))?)
}

pub(crate) async fn ask(visitor: Visitor, Path(what): Path<String>) -> Result<Response, Refusal> {
    let form = prepared(&visitor, &what).await?;
    Ok(form.ask(&visitor, &Fields::default()))
}

pub(crate) async fn act(Path(what): Path<String>, posted: Posted) -> Result<Response, Refusal> {
    let Posted { visitor, fields } = posted;
    let form = prepared(&visitor, &what).await?;
    let done = if what == "token" {
        token(&visitor, &fields).await
    } else {
        let given = fields.clone();
        let done = visitor.look(move |scoped| Ok(carry_out(scoped, &what, &given)));
        done.await
            .and_then(|outcome| outcome)
            .map(|()| Redirect::to(HERE).into_response())
    };
    Ok(done.unwrap_or_else(|problem| form.refused(&visitor, &fields, &problem)))
}

fn carry_out(scoped: &Scoped, what: &str, fields: &Fields) -> Result<(), Problem> {
    let name = || fields.needed("name", "Name");
    let vcenter = || fields.needed("vcenter", "vCenter");
    match what {
        "vcenter" => {
            let version = fields.text("version").unwrap_or_default();
            scoped.create_vcenter(CreateVCenter {
                name: name()?,
                version: version.parse().map_err(wrong)?,
            })?;
        }
        "trust" => scoped.trust(
            &fields.needed("one", "One vCenter")?,
            &fields.needed("other", "The other")?,
        )?,
        "datastore" => {
            scoped.create_datastore(name()?, vec![vcenter()?])?;
        }
        "share" => {
            let datastore = fields.needed("datastore", "Datastore")?;
            scoped.share_datastore(&datastore, &vcenter()?)?;
        }
        "settings" => {
            let mut settings = scoped.cloud_settings()?;
            settings.fast_cross_vcenter_instantiation = fields.text("fast") == Some("on");
            scoped.change_cloud_settings(settings)?;
        }
        "organization" => {
            scoped.create_organization(name()?)?;
        }
        "vdc" => {
            scoped.create_vdc(CreateVdc {
                name: name()?,
                organization: fields.name("organization")?,
                vcenter: fields.name("vcenter")?,
                datastore: fields.name("datastore")?,
            })?;
        }
        "catalog" => {
            scoped.create_catalog(CreateCatalog {
                name: name()?,
                organization: fields.organization_of("vdc")?,
                vdc: fields.owned("vdc"),
                subscribe: fields.owned("subscribe"),
            })?;
        }
        "user" => {
            let password = fields.secret("password").unwrap_or_default();
            if fields.secret("again") != Some(password) {
                return Err(wrong("the two passwords differ; nothing was done"));
            }
            let role = fields.choice::<Role>("role")?;
            let role = role.ok_or_else(|| wrong("fill in the field «Role»"))?;
            let organization = fields.name("organization")?;
            scoped.create_user(organization.as_ref(), name()?, role, password)?;
        }
        _ => return Err(operate::unknown(what).into()),
    }
    Ok(())
}

/// A token of a session that is not the browser's. Who asks says their password again: a page left open gives none away.
async fn token(visitor: &Visitor, fields: &Fields) -> Result<Response, Problem> {
    let password = Zeroizing::new(fields.secret("password").unwrap_or_default().to_owned());
    let user = visitor.principal.to_string();
    let sessions = visitor.pages.web.sessions();
    let (token, _) = sessions.log_in(&user, &password).await?;
    let body = html! {
        h1 { "Token for a program" }
        section.card {
            p.lead { "It is shown once, and ends after " (IDLE.as_secs() / 60) " minutes without a request." }
            (parts::copied(&token, "the token"))
            p { "It goes as " code { "Authorization: Bearer TOKEN" } " with each request, or in a file for " code { "vtpm --server URL --token-file FILE" } "." }
            div.actions { a.button href=(HERE) { "Done" } }
        }
    };
    let place = Place::below(Section::Setup, &[("Setup", HERE)]);
    Ok(visitor.page("Token for a program", place, &body))
}
