//! What can be done with a vApp.

use crate::choices::{self, choices};
use crate::fields::{Fields, Posted};
use crate::form::{COPY_OR_REPLACE, Field, Form, Kind, Leads};
use crate::operate;
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::vm_operations::machine_fields;
use axum::extract::Path;
use axum::response::Response;
use vm_inventory::model::PowerState;
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{
    Capture, CopyVapp, CreateVapp, Error, Job, MoveVapp, NewVappVm, Preview, Scoped, VappItem,
    VappView,
};
use vm_web::Problem;

const LEADS: Leads = Leads {
    on: "Every VM that is off is powered on.",
    off: "Every TPM is shut down in good order first.",
    delete: "The vApp goes, with its VMs, their TPMs and snapshots.",
    lost: "What their TPMs hold is lost for good",
};

/// An operation, filled in.
pub(crate) enum Request {
    Add(Vec<VappItem>),
    Copy(CopyVapp),
    Move(MoveVapp),
    Capture(Capture),
    Power(PowerState),
    Delete,
}

/// What there is to choose from.
struct Around {
    vdcs: Vec<String>,
    catalogs: Vec<String>,
    vms: Vec<(String, String)>,
}

pub(crate) async fn ask(
    visitor: Visitor,
    Path((vapp, operation)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (view, form) = prepared(&visitor, vapp, operation.clone()).await?;
    let look = move |scoped: &Scoped| {
        let request = read(&operation, &view, &Fields::default());
        let request = request.map_err(|problem| Error::BadValue(problem.detail))?;
        look(scoped, &view, &request)
    };
    Ok(operate::ask(visitor, form, look).await)
}

pub(crate) async fn act(
    Path((vapp, operation)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refusal> {
    let (view, form) = prepared(&posted.visitor, vapp, operation.clone()).await?;
    let request = read(&operation, &view, &posted.fields);
    let id = view.vapp.id.to_string();
    Ok(operate::act(
        posted,
        form,
        request,
        move |scoped, request| look(scoped, &view, request),
        move |scoped, request| start(scoped, &id, &request),
    )
    .await)
}

async fn prepared(
    visitor: &Visitor,
    vapp: String,
    operation: String,
) -> Result<(VappView, Form), Problem> {
    let (view, around) = visitor
        .look(move |scoped| {
            let view = scoped.vapp(&vapp)?;
            Ok((view, around(scoped)?))
        })
        .await?;
    let form = form(&operation, &view, &around).ok_or_else(|| operate::unknown(&operation))?;
    Ok((view, form))
}

fn around(scoped: &Scoped) -> Result<Around, Error> {
    let vms = scoped.vms()?;
    let vms = vms.iter().map(|vm| {
        let words = match &vm.vapp {
            Some(vapp) => format!("{vapp}/{}", vm.name),
            None => vm.name.to_string(),
        };
        (vm.id.to_string(), words)
    });
    Ok(Around {
        vdcs: choices::vdcs(scoped)?,
        catalogs: choices::catalogs(scoped)?,
        vms: [(String::new(), "none: make a new one".to_owned())]
            .into_iter()
            .chain(vms)
            .collect(),
    })
}

fn form(operation: &str, view: &VappView, around: &Around) -> Option<Form> {
    let name = &view.vapp.name;
    let blank = |title: String, verb: &'static str| {
        Form::new(
            title,
            verb,
            format!("/ui/vapps/{}/do/{operation}", view.vapp.id),
            (name.to_string(), format!("/ui/vapps/{}", view.vapp.id)),
        )
    };
    let has_tpm = view.vms.iter().any(|vm| vm.tpm.present);
    let with_tpm = |mut fields: Vec<Field>| {
        if has_tpm {
            fields.push(Field::new(
                "tpm",
                "What becomes of every TPM",
                COPY_OR_REPLACE,
            ));
        }
        fields
    };
    Some(match operation {
        "add" => {
            let mut fields = vec![
                Field::new("name", "Name of the VM", Kind::Text).required(),
                Field::new("source", "Copy of", Kind::Choice(around.vms.clone())),
                Field::new("tpm", "What becomes of a copied TPM", COPY_OR_REPLACE),
            ];
            fields.extend(machine_fields());
            Form {
                lead: "A copy of a VM, or a new one: then the last four fields say what it is.",
                fields,
                ..blank(format!("Add a VM to {name}"), "Add it")
            }
        }
        "copy" => Form {
            lead: "One choice for the whole vApp; the API takes one for each VM.",
            fields: with_tpm(vec![
                Field::new("name", "Name of the copy", Kind::Text).required(),
                Field::new(
                    "vdc",
                    "Virtual data center",
                    choices(Some("that of the source"), &around.vdcs),
                ),
            ]),
            ..blank(format!("Copy {name}"), "Copy it")
        },
        "move" => Form {
            lead: "A move keeps every TPM. Snapshots do not go along.",
            fields: vec![
                Field::new("vdc", "Virtual data center", choices(None, &around.vdcs)).required(),
            ],
            ..blank(format!("Move {name}"), "Move it")
        },
        "capture" => Form {
            lead: "The template stores the choice: every instance of it gets that.",
            fields: with_tpm(vec![
                Field::new("name", "Name of the template", Kind::Text).required(),
                Field::new("catalog", "Catalog", choices(None, &around.catalogs)).required(),
            ]),
            ..blank(format!("Capture {name}"), "Capture it")
        },
        _ => return Form::of_anything(operation, name, &LEADS, blank),
    })
}

fn read(operation: &str, view: &VappView, fields: &Fields) -> Result<Request, Problem> {
    let tpm = fields.choice::<TpmProvisioning>("tpm");
    Ok(match operation {
        "add" => Request::Add(vec![item(fields)?]),
        "copy" => Request::Copy(CopyVapp {
            name: fields.needed("name", "Name of the copy")?,
            vdc: fields.owned("vdc"),
            tpm: tpm?,
            vms: Default::default(),
        }),
        "move" => Request::Move(MoveVapp {
            vdc: fields.owned("vdc").unwrap_or_default(),
            tpm: None,
            api: false,
        }),
        "capture" => Request::Capture(Capture {
            vapp: Some(view.vapp.id.to_string()),
            vm: None,
            catalog: fields.owned("catalog").unwrap_or_default(),
            name: fields.needed("name", "Name of the template")?,
            tpm: tpm?,
        }),
        "power-on" => Request::Power(PowerState::On),
        "power-off" => Request::Power(PowerState::Off),
        "suspend" => Request::Power(PowerState::Suspended),
        "delete" => Request::Delete,
        _ => return Err(operate::unknown(operation).into()),
    })
}

/// One VM of a vApp: a copy, or a new one.
fn item(fields: &Fields) -> Result<VappItem, Problem> {
    let source = fields.owned("source");
    let new = match source {
        Some(_) => None,
        None => Some(NewVappVm {
            tpm: fields.is_ticked("with_tpm"),
            profile: None,
            firmware: fields.choice("firmware")?,
            hardware_version: fields.choice("hardware_version")?,
            guest: fields.choice("guest")?,
        }),
    };
    Ok(VappItem {
        name: Some(fields.needed("name", "Name of the VM")?),
        // The choice is about a copied TPM; to copy is what happens without one.
        tpm: fields
            .choice("tpm")?
            .filter(|it| source.is_some() && *it == TpmProvisioning::Replace),
        vm: source,
        template: None,
        new,
    })
}

fn look(scoped: &Scoped, view: &VappView, request: &Request) -> Result<Preview, Error> {
    let id = view.vapp.id.to_string();
    match request {
        Request::Add(items) => scoped.preview_add_to_vapp(&id, items),
        Request::Copy(request) => scoped.preview_copy_vapp(&id, request),
        Request::Move(request) => scoped.preview_move_vapp(&id, request),
        Request::Capture(request) => scoped.preview_capture(request),
        Request::Delete => scoped.preview_delete_vapp(&id),
        Request::Power(to) => scoped.preview_power_vapp(&id, *to),
    }
}

fn start(scoped: &Scoped, id: &str, request: &Request) -> Result<Job, Error> {
    match request {
        Request::Add(items) => scoped.add_to_vapp(id, items),
        Request::Copy(request) => scoped.copy_vapp(id, request),
        Request::Move(request) => scoped.move_vapp(id, request),
        Request::Capture(request) => scoped.capture(request),
        Request::Power(to) => scoped.power_vapp(id, *to),
        Request::Delete => scoped.delete_vapp(id),
    }
}

async fn new_form(visitor: &Visitor) -> Result<Form, Problem> {
    let vdcs = visitor.look(choices::vdcs).await?;
    let mut fields = vec![
        Field::new("vapp", "Name of the vApp", Kind::Text).required(),
        Field::new("vdc", "Virtual data center", choices(None, &vdcs)).required(),
        Field::new("name", "Name of its first VM", Kind::Text).required(),
    ];
    fields.extend(machine_fields());
    let of = ("Inventory".to_owned(), "/ui/".to_owned());
    Ok(Form {
        lead: "A vApp with one VM; more are added on its page.",
        fields,
        ..Form::new(
            "New vApp".to_owned(),
            "Make it",
            "/ui/new/vapp".to_owned(),
            of,
        )
    })
}

pub(crate) async fn ask_new(visitor: Visitor) -> Result<Response, Refusal> {
    let form = new_form(&visitor).await?;
    Ok(operate::ask(visitor, form, |_| Err(operate::unknown("new"))).await)
}

pub(crate) async fn new(posted: Posted) -> Result<Response, Refusal> {
    let form = new_form(&posted.visitor).await?;
    let request = read_new(&posted.fields);
    Ok(operate::act(
        posted,
        form,
        request,
        |scoped, request| scoped.preview_create_vapp(request),
        |scoped, request| scoped.create_vapp(&request),
    )
    .await)
}

fn read_new(fields: &Fields) -> Result<CreateVapp, Problem> {
    Ok(CreateVapp {
        name: fields.needed("vapp", "Name of the vApp")?,
        organization: fields.organization_of("vdc")?,
        vdc: fields.owned("vdc"),
        vms: vec![item(fields)?],
    })
}
