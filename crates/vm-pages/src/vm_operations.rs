//! What can be done with one VM.

use crate::choices::{self, choices};
use crate::fields::{Fields, Posted};
use crate::form::{COPY_OR_REPLACE, Field, Form, Kind, Leads};
use crate::operate;
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;
use vm_inventory::model::PowerState;
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{
    Capture, CloneVm, CreateVm, EditTpm, Error, Import, Job, MoveVm, Name, Preview, Rekey, Right,
    Scoped, TakeSnapshot, VmView,
};
use vm_web::Problem;

#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    snapshot: String,
}

const LEADS: Leads = Leads {
    on: "The TPM answers on its socket when it is done.",
    off: "The TPM is shut down in good order first.",
    delete: "The VM goes, with its TPM and its snapshots.",
    lost: "What its TPM holds is lost for good",
};

/// An operation, filled in.
pub(crate) enum Request {
    Clone(CloneVm),
    Move(MoveVm),
    Import(Import),
    Capture(Capture),
    Snapshot(TakeSnapshot),
    Revert(String),
    Forget(String),
    Rekey(Rekey),
    EditTpm(EditTpm),
    /// With or without older files.
    Power(PowerState, bool),
    Unlock,
    Delete,
}

/// What there is to choose from, as far as the visitor may know it.
#[derive(Default)]
struct Around {
    vcenters: Vec<String>,
    datastores: Vec<String>,
    providers: Vec<String>,
    vdcs: Vec<String>,
    vapps: Vec<(String, String)>,
    catalogs: Vec<String>,
}

pub(crate) async fn ask(
    visitor: Visitor,
    Path((vm, operation)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Result<Response, Refusal> {
    let (vm, form) = prepared(&visitor, vm, operation.clone(), which.snapshot.clone()).await?;
    let mut fields = Fields::default();
    fields.set("snapshot", &which.snapshot);
    // Only what needs no filling in is looked at now.
    let request = read(&operation, &vm, &fields);
    let look = move |scoped: &Scoped| {
        let request = request.map_err(|problem| Error::BadValue(problem.detail))?;
        look(scoped, &vm.id.to_string(), &request)
    };
    Ok(operate::ask(visitor, form, look).await)
}

pub(crate) async fn act(
    Path((vm, operation)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refusal> {
    let snapshot = posted.fields.owned("snapshot").unwrap_or_default();
    let (vm, form) = prepared(&posted.visitor, vm, operation.clone(), snapshot).await?;
    let request = read(&operation, &vm, &posted.fields);
    let id = vm.id.to_string();
    let looked_at = id.clone();
    Ok(operate::act(
        posted,
        form,
        request,
        move |scoped, request| look(scoped, &looked_at, request),
        move |scoped, request| start(scoped, &id, request),
    )
    .await)
}

/// The VM, and the form for an operation on it.
async fn prepared(
    visitor: &Visitor,
    vm: String,
    operation: String,
    snapshot: String,
) -> Result<(VmView, Form), Problem> {
    let system = visitor.may(Right::Infrastructure);
    let (vm, around) = visitor
        .look(move |scoped| {
            let vm = scoped.vm(&vm)?;
            let around = around(scoped, &vm, system)?;
            Ok((vm, around))
        })
        .await?;
    let form =
        form(&operation, &vm, &around, snapshot).ok_or_else(|| operate::unknown(&operation))?;
    Ok((vm, form))
}

fn around(scoped: &Scoped, vm: &VmView, system: bool) -> Result<Around, Error> {
    let mut around = Around::default();
    if system {
        let vcenters = scoped.vcenters()?.into_iter();
        around.vcenters = vcenters.map(|it| it.name.to_string()).collect();
        let stores = scoped.datastores()?.into_iter();
        around.datastores = stores.map(|it| it.name.to_string()).collect();
        // Who may not see key providers has none to choose from.
        let providers = scoped.providers().unwrap_or_default().into_iter();
        let providers = providers.filter(|it| it.vcenter == vm.vcenter);
        around.providers = providers.map(|it| it.name.to_string()).collect();
    }
    around.vdcs = choices::vdcs(scoped)?;
    let own = vm.vapp.as_ref().map(|vapp| vapp.id);
    let vapps = scoped.vapps()?.into_iter().map(|it| it.vapp);
    around.vapps = vapps
        .filter(|it| !it.standalone && Some(it.id) != own)
        .map(|it| {
            (
                it.id.to_string(),
                format!("{}/{}", it.organization, it.name),
            )
        })
        .collect();
    around.catalogs = choices::catalogs(scoped)?;
    Ok(around)
}

fn form(operation: &str, vm: &VmView, around: &Around, snapshot: String) -> Option<Form> {
    let name = &vm.name;
    let new_name = |label: &'static str| Field::new("name", label, Kind::Text).required();
    let blank = |title: String, verb: &'static str| {
        Form::new(
            title,
            verb,
            format!("/ui/vms/{}/do/{operation}", vm.id),
            (name.to_string(), format!("/ui/vms/{}", vm.id)),
        )
    };
    let with_tpm = |mut fields: Vec<Field>| {
        if vm.tpm.present {
            fields.push(Field::new(
                "tpm",
                "What becomes of the TPM",
                COPY_OR_REPLACE,
            ));
        }
        fields
    };
    let of_snapshot = |mut form: Form| {
        form.hidden = vec![("snapshot", snapshot.clone())];
        form
    };
    Some(match operation {
        "clone" => Form {
            lead: "The clone stands beside vApps; it is off.",
            fields: with_tpm(vec![
                new_name("Name of the clone"),
                Field::new(
                    "vcenter",
                    "vCenter",
                    choices(Some("that of the source"), &around.vcenters),
                ),
                Field::new(
                    "datastore",
                    "Datastore",
                    choices(Some("that of the source, if seen"), &around.datastores),
                ),
            ]),
            ..blank(format!("Clone {name}"), "Clone it")
        },
        "move" => Form {
            lead: "A move keeps the TPM as it is. Snapshots do not go along.",
            fields: vec![
                Field::new("vapp", "Into the vApp", Kind::Choice(around.vapps.clone())).required(),
                Field::new("name", "Name there", Kind::Text)
                    .hint("The name it has, if left empty."),
            ],
            ..blank(format!("Move {name}"), "Move it")
        },
        "import" => Form {
            lead: "The VM goes from its vCenter into an organization, as a vApp or as a template; its TPM is kept.",
            fields: vec![
                new_name("Name of the vApp or template"),
                Field::new(
                    "vdc",
                    "As a vApp in",
                    choices(Some("not as a vApp"), &around.vdcs),
                ),
                Field::new(
                    "catalog",
                    "As a template in",
                    choices(Some("not as a template"), &around.catalogs),
                ),
                Field::new("moves", "Move it instead of copying it", Kind::Tick),
            ],
            ..blank(format!("Import {name}"), "Import it")
        },
        "capture" => Form {
            lead: "The template stores the choice: every instance of it gets that.",
            fields: with_tpm(vec![
                new_name("Name of the template"),
                Field::new("catalog", "Catalog", choices(None, &around.catalogs)).required(),
            ]),
            ..blank(format!("Capture {name}"), "Capture it")
        },
        "snapshot" => Form {
            lead: "A snapshot holds the TPM as it is now; of a VM that is on, with its memory.",
            fields: vec![
                new_name("Name of the snapshot")
                    .hint("It stands in a file in clear, as the description does."),
                Field::new("description", "Description", Kind::Text),
            ],
            ..blank(format!("Take a snapshot of {name}"), "Take it")
        },
        "revert" => of_snapshot(Form {
            lead: "What the TPM did since is given up: keys made, NV written, failures counted. The VM is on afterwards if it was on then.",
            confirm: Some("What the TPM holds now may be lost, unless another snapshot holds it"),
            danger: true,
            ..blank(format!("Revert {name}"), "Revert it")
        }),
        "forget" => of_snapshot(Form {
            lead: "The snapshot is removed. What followed it stays, and so does the TPM.",
            ..blank(
                format!("Remove a snapshot of {name}"),
                "Remove the snapshot",
            )
        }),
        "rekey" => Form {
            lead: "The TPM stays as it is; its file is locked with another key.",
            fields: vec![
                Field::new(
                    "provider",
                    "New key of",
                    choices(Some("its own provider"), &around.providers),
                ),
                Field::new("deep", "Deep: make the data key anew, too", Kind::Tick).hint(
                    "Every byte is encrypted again; the VM has to be off, without snapshots.",
                ),
            ],
            ..blank(format!("Re-key {name}"), "Re-key it")
        },
        "add-tpm" => Form {
            lead: "The VM gets a TPM, and its home is encrypted. Disks stay as they are.",
            fields: vec![
                Field::new(
                    "provider",
                    "Key provider",
                    choices(Some("the default of its vCenter"), &around.providers),
                ),
                Field::new("profile", "Profile", Kind::Text)
                    .hint("What the TPM is like: the name of a profile, or JSON."),
            ],
            ..blank(format!("Add a TPM to {name}"), "Add the TPM")
        },
        "remove-tpm" => Form {
            lead: "The TPM and everything in it are destroyed: the endorsement key, NV indices, persistent keys, and what was sealed.",
            confirm: Some(
                "Disks that are sealed to this TPM open with their recovery key only: I have it, or need none",
            ),
            danger: true,
            ..blank(format!("Remove the TPM of {name}"), "Remove the TPM")
        },
        "power-on" => Form {
            fields: vec![
                Field::new(
                    "accept_rollback",
                    "Take files that are older than they were known to be",
                    Kind::Tick,
                )
                .hint("Monotonic counters and failed authorizations since then are forgotten."),
            ],
            ..Form::of_anything(operation, name, &LEADS, blank)?
        },
        "unlock" => Form {
            lead: "Asks the key provider for the key again.",
            ..blank(format!("Unlock {name}"), "Unlock it")
        },
        _ => return Form::of_anything(operation, name, &LEADS, blank),
    })
}

fn read(operation: &str, vm: &VmView, fields: &Fields) -> Result<Request, Problem> {
    let tpm = fields.choice::<TpmProvisioning>("tpm");
    let id = vm.id.to_string();
    Ok(match operation {
        "clone" => Request::Clone(CloneVm {
            name: fields.needed("name", "Name of the clone")?,
            tpm: tpm?,
            vcenter: fields.name("vcenter")?,
            datastore: fields.name("datastore")?,
            snapshot: None,
        }),
        "move" => Request::Move(MoveVm {
            vapp: fields.owned("vapp").unwrap_or_default(),
            name: fields.name("name")?,
            tpm: None,
        }),
        "import" => Request::Import(Import {
            vdc: fields.owned("vdc"),
            catalog: fields.owned("catalog"),
            name: fields.needed("name", "Name of the vApp or template")?,
            moves: fields.is_ticked("moves"),
            tpm: None,
        }),
        "capture" => Request::Capture(Capture {
            vapp: None,
            vm: Some(id),
            catalog: fields.owned("catalog").unwrap_or_default(),
            name: fields.needed("name", "Name of the template")?,
            tpm: tpm?,
        }),
        "snapshot" => Request::Snapshot(TakeSnapshot {
            name: fields.needed("name", "Name of the snapshot")?,
            description: fields.owned("description").unwrap_or_default(),
        }),
        "revert" => Request::Revert(fields.owned("snapshot").unwrap_or_default()),
        "forget" => Request::Forget(fields.owned("snapshot").unwrap_or_default()),
        "rekey" => Request::Rekey(Rekey {
            provider: fields.name("provider")?,
            deep: fields.is_ticked("deep"),
        }),
        "add-tpm" | "remove-tpm" => Request::EditTpm(EditTpm {
            present: operation == "add-tpm",
            provider: fields.name("provider")?,
            profile: fields.owned("profile"),
            // Nothing is started without the box, and the preview is about everything else.
            confirm: operation == "remove-tpm",
        }),
        "power-on" => Request::Power(PowerState::On, fields.is_ticked("accept_rollback")),
        "power-off" => Request::Power(PowerState::Off, false),
        "suspend" => Request::Power(PowerState::Suspended, false),
        "unlock" => Request::Unlock,
        "delete" => Request::Delete,
        _ => return Err(operate::unknown(operation).into()),
    })
}

fn look(scoped: &Scoped, id: &str, request: &Request) -> Result<Preview, Error> {
    match request {
        Request::Clone(request) => scoped.preview_clone_vm(id, request),
        Request::Move(request) => scoped.preview_move_vm(id, request),
        Request::Import(request) => scoped.preview_import_vm(id, request),
        Request::Capture(request) => scoped.preview_capture(request),
        Request::Snapshot(request) => scoped.preview_take_snapshot(id, request),
        Request::Revert(snapshot) => scoped.preview_revert_vm(id, snapshot),
        Request::Forget(snapshot) => scoped.preview_forget_snapshot(id, snapshot),
        Request::Rekey(request) => scoped.preview_rekey_vm(id, request),
        Request::EditTpm(request) => scoped.preview_edit_tpm(id, request),
        Request::Power(power, accept_rollback) => {
            scoped.preview_power(id, *power, *accept_rollback)
        }
        Request::Unlock => scoped.preview_unlock_vm(id),
        Request::Delete => scoped.preview_delete_vm(id),
    }
}

fn start(scoped: &Scoped, id: &str, request: Request) -> Result<Job, Error> {
    match request {
        Request::Clone(request) => scoped.clone_vm(id, &request),
        Request::Move(request) => scoped.move_vm(id, &request),
        Request::Import(request) => scoped.import_vm(id, &request),
        Request::Capture(request) => scoped.capture(&request),
        Request::Snapshot(request) => scoped.take_snapshot(id, request),
        Request::Revert(snapshot) => scoped.revert_vm(id, &snapshot),
        Request::Forget(snapshot) => scoped.forget_snapshot(id, &snapshot),
        Request::Rekey(request) => scoped.rekey_vm(id, request),
        Request::EditTpm(request) => scoped.edit_tpm(id, &request),
        Request::Power(PowerState::On, accept_rollback) => scoped.power_on(id, accept_rollback),
        Request::Power(PowerState::Off, _) => scoped.power_off(id),
        Request::Power(PowerState::Suspended, _) => scoped.suspend_vm(id),
        Request::Unlock => scoped.unlock_vm(id),
        Request::Delete => scoped.delete_vm(id),
    }
}

/// The form for a new VM outside vApps.
async fn new_form(visitor: &Visitor) -> Result<Form, Problem> {
    let (vcenters, datastores) = visitor
        .look(|scoped| Ok((scoped.vcenters()?, scoped.datastores()?)))
        .await?;
    let vcenters: Vec<String> = vcenters.iter().map(|it| it.name.to_string()).collect();
    let datastores: Vec<String> = datastores.iter().map(|it| it.name.to_string()).collect();
    let mut fields = vec![
        Field::new("name", "Name", Kind::Text).required(),
        Field::new("vcenter", "vCenter", choices(None, &vcenters)),
        Field::new(
            "datastore",
            "Datastore",
            choices(Some("the first that is seen"), &datastores),
        ),
    ];
    fields.extend(machine_fields());
    let of = ("Inventory".to_owned(), "/ui/".to_owned());
    Ok(Form {
        lead: "It stands beside vApps, and is off at first.",
        fields,
        ..Form::new("New VM".to_owned(), "Make it", "/ui/new/vm".to_owned(), of)
    })
}

/// What a VM is, for whoever makes one.
pub(crate) fn machine_fields() -> Vec<Field> {
    let firmware = [("efi", "EFI, which a TPM needs"), ("bios", "BIOS")];
    let firmware = firmware.map(|(word, words)| (word.to_owned(), words.to_owned()));
    vec![
        Field::new("with_tpm", "Give it a TPM", Kind::Tick),
        Field::new("guest", "Guest", Kind::Text).hint(
            "By vSphere's identifier, such as windows2019srv_64Guest; ubuntu64Guest if left empty.",
        ),
        Field::new("firmware", "Firmware", Kind::Choice(firmware.into())),
        Field::new("hardware_version", "Hardware version", Kind::Number)
            .hint("The newest that the vCenter knows, if left empty."),
    ]
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
        |scoped, request| scoped.preview_create_vm(request),
        |scoped, request| scoped.create_vm(request),
    )
    .await)
}

fn read_new(fields: &Fields) -> Result<CreateVm, Problem> {
    let name: Name = fields.needed("name", "Name")?;
    Ok(CreateVm {
        vcenter: fields.name("vcenter")?,
        datastore: fields.name("datastore")?,
        tpm: fields.is_ticked("with_tpm"),
        firmware: fields.choice("firmware")?,
        hardware_version: fields.choice("hardware_version")?,
        guest: fields.choice("guest")?,
        ..CreateVm::named(name)
    })
}
