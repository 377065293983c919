//! What can be done with catalogs and templates.

use crate::choices::{self, choices};
use crate::fields::{Fields, Posted};
use crate::form::{Field, Form, Kind};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::{operate, parts};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use vm_inventory::model::{Catalog, Template};
use vm_inventory::{Error, Instantiate, Job, Preview, Right, Scoped};
use vm_web::Problem;

/// A catalog that the visitor sees.
pub(crate) fn found(scoped: &Scoped, organization: &str, name: &str) -> Result<Catalog, Error> {
    let mut all = scoped.catalogs()?.into_iter();
    let found = all.find(|it| it.organization.as_str() == organization && it.name.as_str() == name);
    found.ok_or_else(|| Error::NotFound {
        what: "catalog",
        name: name.chars().take(80).collect(),
        hint: "the inventory shows those that there are",
    })
}

pub(crate) fn address(catalog: &Catalog) -> String {
    format!(
        "/ui/catalogs/{}/{}",
        parts::path(catalog.organization.as_str()),
        parts::path(catalog.name.as_str())
    )
}

/// Shows what publishing a catalog, ending that, or taking over what a followed one offers would do.
pub(crate) async fn look_at_catalog(
    visitor: Visitor,
    Path((organization, name, operation)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let asked = operation.clone();
    let (catalog, look, offer) = visitor
        .look(move |scoped| {
            let catalog = found(scoped, &organization, &name)?;
            let exact = format!("{}/{}", catalog.organization, catalog.name);
            let (look, offer) = match asked.as_str() {
                "publish" | "unpublish" => {
                    let offer = scoped.preview_publish_catalog(&exact, asked == "publish")?;
                    (Preview::nothing(&asked), Some(offer))
                }
                "sync" => (scoped.preview_sync_catalog(&exact)?, None),
                _ => return Err(operate::unknown(&asked)),
            };
            Ok((catalog, look, offer))
        })
        .await?;
    let (title, verb, lead) = match operation.as_str() {
        "publish" => (
            "Publish",
            "Publish it",
            "Other organizations may follow it: they get TPMs of their own.",
        ),
        "unpublish" => (
            "End publishing of",
            "End it",
            "Nobody follows it any more; what was taken over stays.",
        ),
        _ => (
            "Take over what is offered to",
            "Take it over",
            "It becomes what the catalog that it follows offers.",
        ),
    };
    let here = address(&catalog);
    let form = Form {
        lead,
        ..Form::new(
            format!("{title} {}", catalog.name),
            verb,
            format!("{here}/do/{operation}"),
            (catalog.name.to_string(), here),
        )
    };
    let offered = html! {
        @if let Some(offer) = offer.filter(|offer| offer.catalog.published) {
            h3 { (parts::count(offer.templates.len(), "template is", "templates are")) " offered" }
            ul { @for template in &offer.templates { li { (template) } } }
            @if !offer.withheld.is_empty() {
                h3 { (parts::count(offer.withheld.len(), "template is", "templates are")) " withheld" }
                ul { @for withheld in &offer.withheld { li { (withheld.to_string()) } } }
            }
        }
    };
    Ok(form.previewed_with(&visitor, &Fields::default(), &look, &offered))
}

/// Publishes a catalog, ends that, or takes over what a followed one offers.
pub(crate) async fn act_on_catalog(
    Path((organization, name, operation)): Path<(String, String, String)>,
    posted: Posted,
) -> Result<Response, Refusal> {
    let visitor = posted.visitor;
    let (catalog, jobs) = visitor
        .look(move |scoped| {
            let catalog = found(scoped, &organization, &name)?;
            let exact = format!("{}/{}", catalog.organization, catalog.name);
            let jobs = match operation.as_str() {
                "publish" | "unpublish" => {
                    scoped.publish_catalog(&exact, operation == "publish")?;
                    Vec::new()
                }
                "sync" => scoped.sync_catalog(&exact)?,
                _ => return Err(operate::unknown(&operation)),
            };
            Ok((catalog, jobs))
        })
        .await?;
    let started = !jobs.is_empty();
    for job in jobs {
        visitor.pages.web.jobs().start(job);
    }
    let next = if started {
        "/ui/tasks".to_owned()
    } else {
        address(&catalog)
    };
    Ok(Redirect::to(&next).into_response())
}

/// An operation, filled in.
pub(crate) enum Request {
    Instantiate(Instantiate),
    Delete,
}

pub(crate) async fn ask(
    visitor: Visitor,
    Path((template, operation)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (template, form) = prepared(&visitor, template, operation.clone()).await?;
    let look = move |scoped: &Scoped| {
        let request = read(&operation, &Fields::default());
        let request = request.map_err(|problem| Error::BadValue(problem.detail))?;
        look(scoped, &template, &request)
    };
    Ok(operate::ask(visitor, form, look).await)
}

pub(crate) async fn act(
    Path((template, operation)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refusal> {
    let (template, form) = prepared(&posted.visitor, template, operation.clone()).await?;
    let request = read(&operation, &posted.fields);
    let id = template.id.to_string();
    Ok(operate::act(
        posted,
        form,
        request,
        move |scoped, request| look(scoped, &template, request),
        move |scoped, request| start(scoped, &id, &request),
    )
    .await)
}

async fn prepared(
    visitor: &Visitor,
    template: String,
    operation: String,
) -> Result<(Template, Form), Problem> {
    let (template, vdcs) = visitor
        .look(move |scoped| Ok((scoped.template(&template)?, choices::vdcs(scoped)?)))
        .await?;
    let system = visitor.may(Right::Infrastructure);
    let form = form(&operation, &template, &vdcs, system);
    let form = form.ok_or_else(|| operate::unknown(&operation))?;
    Ok((template, form))
}

fn form(operation: &str, template: &Template, vdcs: &[String], system: bool) -> Option<Form> {
    let name = &template.name;
    let blank = |title: String, verb: &'static str| {
        Form::new(
            title,
            verb,
            format!("/ui/templates/{}/do/{operation}", template.id),
            (name.to_string(), format!("/ui/templates/{}", template.id)),
        )
    };
    Some(match operation {
        "instantiate" => {
            let mut fields = vec![
                Field::new("name", "Name of the vApp", Kind::Text).required(),
                Field::new("vdc", "Virtual data center", choices(None, vdcs)),
                Field::new("count", "How many of each VM", Kind::Number)
                    .hint("1, if left empty; several are numbered."),
            ];
            if system {
                fields.push(Field::new(
                    "standalone",
                    "A VM outside vApps instead, in no virtual data center",
                    Kind::Tick,
                ));
            }
            Form {
                lead: "The template decides what becomes of the TPMs: nobody chooses here.",
                fields,
                ..blank(format!("Instantiate {name}"), "Instantiate it")
            }
        }
        "delete" => Form {
            lead: "The template goes; instances stay as they are.",
            confirm: Some("TPMs that only the template holds are lost for good"),
            danger: true,
            ..blank(format!("Delete {name}"), "Delete it")
        },
        _ => return None,
    })
}

fn read(operation: &str, fields: &Fields) -> Result<Request, Problem> {
    Ok(match operation {
        "instantiate" => {
            let standalone = fields.is_ticked("standalone");
            Request::Instantiate(Instantiate {
                name: fields.needed("name", "Name of the vApp")?,
                organization: fields.organization_of("vdc")?.filter(|_| !standalone),
                vdc: fields.owned("vdc").filter(|_| !standalone),
                tpm: None,
                standalone,
                vm: None,
                count: fields.choice("count")?,
            })
        }
        "delete" => Request::Delete,
        _ => return Err(operate::unknown(operation).into()),
    })
}

fn look(scoped: &Scoped, template: &Template, request: &Request) -> Result<Preview, Error> {
    match request {
        Request::Instantiate(request) => {
            scoped.preview_instantiate(&template.id.to_string(), request)
        }
        Request::Delete => scoped.preview_delete_template(&template.id.to_string()),
    }
}

fn start(scoped: &Scoped, id: &str, request: &Request) -> Result<Job, Error> {
    match request {
        Request::Instantiate(request) => scoped.instantiate(id, request),
        Request::Delete => scoped.delete_template(id),
    }
}
