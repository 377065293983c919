//! What can be done with catalogs and templates.

use crate::choices::{self, choices};
use crate::fields::{Fields, Posted};
use crate::form::{Field, Form, Kind};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::{operate, parts};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use vm_inventory::model::{Catalog, Template};
use vm_inventory::provisioning::TpmAction;
use vm_inventory::{Effects, Error, Instantiate, Job, Preview, Right, Scoped, VmPreview};
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
            let vdc = fields.owned("vdc").filter(|_| !standalone);
            let organization = vdc.as_deref().and_then(|vdc| vdc.split_once('/'));
            let organization = organization.map(|(organization, _)| organization.parse());
            Request::Instantiate(Instantiate {
                name: fields.needed("name", "Name of the vApp")?,
                vdc,
                organization: organization.transpose().map_err(Error::from)?,
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
        Request::Delete => Ok(Preview {
            operation: "delete_template".to_owned(),
            possible: true,
            failures: Vec::new(),
            vms: template
                .vms
                .iter()
                .map(|vm| {
                    let action = vm.tpm.as_ref().map(|_| TpmAction::Remove);
                    VmPreview {
                        source: Some(vm.name.clone()),
                        vm: None,
                        tpm: action,
                        vcenter: vm.vcenter.clone(),
                        provider: vm.provider.clone(),
                        effects: Effects::of(action, false),
                    }
                })
                .collect(),
        }),
    }
}

fn start(scoped: &Scoped, id: &str, request: &Request) -> Result<Job, Error> {
    match request {
        Request::Instantiate(request) => scoped.instantiate(id, request),
        Request::Delete => scoped.delete_template(id),
    }
}
