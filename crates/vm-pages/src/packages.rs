//! Packages (OVA), up and down.

use crate::catalog_operations;
use crate::choices::{self, choices};
use crate::fields::{FORM_TOKEN, Fields, wrong};
use crate::form::{Field, Form, Kind};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::body::Bytes;
use axum::extract::multipart::{Field as Part, MultipartError};
use axum::extract::{Multipart, Path};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vm_inventory::{ExportPackage, ImportPackage, Task};
use vm_web::Problem;

/// What stands in a field that is no file.
const LONGEST_FIELD: usize = 4096;
/// Fields of a form with a file.
const MOST_FIELDS: usize = 16;
/// Whoever is slower holds a connection for nothing.
const PIECE_TIME: Duration = Duration::from_secs(30);

pub(crate) async fn download_vm(
    visitor: Visitor,
    Path(vm): Path<String>,
) -> Result<Response, Refusal> {
    download(visitor, ExportPackage::Vm(vm)).await
}

pub(crate) async fn download_vapp(
    visitor: Visitor,
    Path(vapp): Path<String>,
) -> Result<Response, Refusal> {
    download(visitor, ExportPackage::Vapp(vapp)).await
}

pub(crate) async fn download_template(
    visitor: Visitor,
    Path(template): Path<String>,
) -> Result<Response, Refusal> {
    download(visitor, ExportPackage::Template(template)).await
}

async fn download(visitor: Visitor, what: ExportPackage) -> Result<Response, Refusal> {
    let user = visitor.principal.clone();
    Ok(visitor.pages.web.export_package(user, what).await?)
}

/// Where a package goes.
enum Goes {
    /// To a catalog, by `ORGANIZATION/NAME`.
    ToCatalog(String),
    /// To the virtual data center that the form names.
    ToVdc,
}

pub(crate) async fn ask_for_template(
    visitor: Visitor,
    Path((organization, catalog)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (form, _) = to_catalog(&visitor, organization, catalog).await?;
    Ok(form.ask(&visitor, &Fields::default()))
}

pub(crate) async fn take_template(
    visitor: Visitor,
    Path((organization, catalog)): Path<(String, String)>,
    parts: Multipart,
) -> Result<Response, Refusal> {
    let (form, goes) = to_catalog(&visitor, organization, catalog).await?;
    Ok(take(visitor, form, &goes, parts).await)
}

pub(crate) async fn ask_for_vapp(visitor: Visitor) -> Result<Response, Refusal> {
    let form = to_vdc(&visitor).await?;
    Ok(form.ask(&visitor, &Fields::default()))
}

pub(crate) async fn take_vapp(visitor: Visitor, parts: Multipart) -> Result<Response, Refusal> {
    let form = to_vdc(&visitor).await?;
    Ok(take(visitor, form, &Goes::ToVdc, parts).await)
}

async fn to_catalog(
    visitor: &Visitor,
    organization: String,
    catalog: String,
) -> Result<(Form, Goes), Problem> {
    let catalog = visitor
        .look(move |scoped| catalog_operations::found(scoped, &organization, &catalog))
        .await?;
    let here = catalog_operations::address(&catalog);
    let exact = format!("{}/{}", catalog.organization, catalog.name);
    let form = Form {
        lead: "A template is made of an OVA. Its instances get TPMs of their own, whatever came with it.",
        at_once: true,
        fields: vec![
            Field::new("name", "Name of the template", Kind::Text)
                .hint("That of the package, if left empty."),
            Field::new("file", "Package (.ova)", Kind::File).required(),
        ],
        ..Form::new(
            format!("Upload a package to {}", catalog.name),
            "Upload it",
            format!("{here}/upload"),
            (catalog.name.to_string(), here),
        )
    };
    Ok((form, Goes::ToCatalog(exact)))
}

async fn to_vdc(visitor: &Visitor) -> Result<Form, Problem> {
    let vdcs = visitor.look(choices::vdcs).await?;
    Ok(Form {
        lead: "A vApp is made of an OVA. Its VMs get new TPMs where the package says that they have one.",
        at_once: true,
        fields: vec![
            Field::new("name", "Name of the vApp", Kind::Text)
                .hint("That of the package, if left empty."),
            Field::new("vdc", "Virtual data center", choices(None, &vdcs)).required(),
            Field::new("file", "Package (.ova)", Kind::File).required(),
        ],
        ..Form::new(
            "New vApp of a package".to_owned(),
            "Upload it",
            "/ui/new/package".to_owned(),
            ("Inventory".to_owned(), "/ui/".to_owned()),
        )
    })
}

/// Takes a form with a file. The other fields come first, as browsers send them in the order of the form.
async fn take(visitor: Visitor, form: Form, goes: &Goes, mut parts: Multipart) -> Response {
    let mut fields = Fields::default();
    match read(&visitor, goes, &mut fields, &mut parts).await {
        Ok(task) => Redirect::to(&format!("/ui/tasks/{}", task.id)).into_response(),
        Err(problem) => form.refused(&visitor, &fields, &problem),
    }
}

async fn read(
    visitor: &Visitor,
    goes: &Goes,
    fields: &mut Fields,
    parts: &mut Multipart,
) -> Result<Task, Problem> {
    for _ in 0..MOST_FIELDS {
        let part = parts.next_field().await.map_err(|error| broken(&error))?;
        let Some(mut part) = part else {
            break;
        };
        let name = part.name().unwrap_or_default().to_owned();
        if name != "file" {
            let text = small(&mut part).await?;
            fields.set(&name, &text);
            continue;
        }
        // Before anything of the file is read.
        let own = fields.text(FORM_TOKEN);
        if !own.is_some_and(|token| visitor.sent(token)) {
            return Err(crate::problem(
                StatusCode::FORBIDDEN,
                "The form is not one of this session",
                "nothing was changed; it lacks the token that this session's pages put into every form: open the page again",
            ));
        }
        let request = request(goes, fields)?;
        let user = visitor.principal.clone();
        let (sender, work) = visitor.pages.web.import_package(user, request);
        let (task, ()) = tokio::join!(work, feed(part, sender));
        return task;
    }
    Err(wrong("choose the file of the package"))
}

fn request(goes: &Goes, fields: &Fields) -> Result<ImportPackage, Problem> {
    let name = fields.name("name")?;
    Ok(match goes {
        Goes::ToCatalog(catalog) => ImportPackage {
            name,
            catalog: Some(catalog.clone()),
            ..ImportPackage::default()
        },
        Goes::ToVdc => ImportPackage {
            name,
            organization: fields.organization_of("vdc")?,
            vdc: fields.owned("vdc"),
            ..ImportPackage::default()
        },
    })
}

async fn small(part: &mut Part<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|error| broken(&error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > LONGEST_FIELD {
            return Err(wrong("a field is longer than any has to be"));
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong("a field is no text"))
}

/// Hands the file on as it comes.
async fn feed(mut part: Part<'_>, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let piece = match timeout(PIECE_TIME, part.chunk()).await {
            Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            Ok(Ok(None)) => return,
            Ok(Ok(Some(bytes))) => Ok(bytes),
            Ok(Err(error)) => Err(io::Error::other(error.body_text())),
        };
        let broken = piece.is_err();
        if sender.send(piece).await.is_err() || broken {
            return;
        }
    }
}

fn broken(error: &MultipartError) -> Problem {
    crate::problem(error.status(), "The form cannot be read", error.body_text())
}
