//! The pages of a catalog and of a template.

use crate::chrome::{Place, Section};
use crate::parts::{self, Tone, badge};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::{catalog_operations, inventory};
use axum::extract::Path;
use axum::response::Response;
use maud::html;
use vm_inventory::Right;
use vm_inventory::model::TemplateOrigin;

pub(crate) async fn show(
    visitor: Visitor,
    Path((organization, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (catalog, templates) = visitor
        .look(move |scoped| {
            let catalog = catalog_operations::found(scoped, &organization, &name)?;
            let mut templates = scoped.templates()?;
            templates
                .retain(|it| it.organization == catalog.organization && it.catalog == catalog.name);
            Ok((catalog, templates))
        })
        .await?;
    let address = catalog_operations::address(&catalog);
    let button = |operation: &str, words: &str| {
        html! { li { a.button href={ (address) "/do/" (operation) } { (words) } } }
    };
    let rows = html! {
        @for it in &templates {
            tr {
                td { a href={ "/ui/templates/" (it.id) } { (it.name) } }
                td { (badge(Tone::Quiet, it.origin)) }
                td { @if it.has_tpm() { (inventory::template_choice(it)) } @else { span.soft { "none" } } }
                td.number { (it.vms.len()) }
                td { (parts::moment(it.created)) }
            }
        }
    };
    let body = html! {
        h1 { (catalog.name) " " span.badges { @if catalog.published { (badge(Tone::Info, "published")) } } }
        p.lead { "Templates, of which vApps are instantiated: on the page of each." }
        @if visitor.may(Right::Catalogs) {
            nav.operations aria-label="Operations" {
                ul {
                    @if catalog.subscription.is_some() { (button("sync", "Take over what is offered")) }
                    @else if catalog.published { (button("unpublish", "End publishing")) }
                    @else { (button("publish", "Publish")) }
                    @if catalog.subscription.is_none() { li { a.button href={ (address) "/upload" } { "Upload a package" } } }
                }
            }
        }
        section.card aria-labelledby="templates" {
            h2 #templates { "Templates" }
            @if templates.is_empty() { (parts::empty("It has no templates.", "«Capture as template» on the page of a vApp makes one; «Upload a package» takes an OVA.")) }
            @else { (parts::table("Templates", &["Template", "Origin", "TPM of instances", "VMs", "Made"], &rows)) }
        }
        section.card aria-labelledby="facts" {
            h2 #facts { "Facts" }
            (parts::facts(&[
                ("Organization", html! { (catalog.organization) }),
                ("vCenter", html! { (catalog.vcenter) }),
                ("Datastore", html! { (catalog.datastore) }),
                ("Follows", html! { @match &catalog.subscription { Some(from) => { (from.organization) "/" (from.catalog) }, None => "no other catalog" } }),
                ("Made", parts::moment(catalog.created)),
            ]))
        }
    };
    let place = Place::below(Section::Inventory, &[("Inventory", "/ui/")]);
    Ok(visitor.page(catalog.name.as_str(), place, &body))
}

pub(crate) async fn show_template(
    visitor: Visitor,
    Path(template): Path<String>,
) -> Result<Response, Refusal> {
    let template = visitor
        .look(move |scoped| scoped.template(&template))
        .await?;
    let rows = html! {
        @for vm in &template.vms {
            tr {
                td { (vm.name) }
                td { @match &vm.tpm { Some(tpm) => (parts::action(tpm.origin)), None => span.soft { "none" } } }
                td { @if let Some(tpm) = &vm.tpm { (parts::short(&tpm.ek_name)) } }
                td { (vm.guest.as_str()) }
                td { (vm.firmware.as_str()) ", " (vm.hardware_version) }
            }
        }
    };
    let meaning = match template.origin {
        TemplateOrigin::Captured => "saved here: the choice made then holds for every instance",
        TemplateOrigin::Ovf => "uploaded as a package: instances get TPMs of their own",
        TemplateOrigin::Vcenter => "imported from a vCenter: instances get copies",
        TemplateOrigin::Synced => {
            "taken over from a published catalog: instances get TPMs of their own"
        }
    };
    let shelf = format!(
        "/ui/catalogs/{}/{}",
        parts::path(template.organization.as_str()),
        parts::path(template.catalog.as_str())
    );
    let body = html! {
        h1 { (template.name) " " span.badges { (badge(Tone::Quiet, template.origin)) } }
        nav.operations aria-label="Operations" {
            ul {
                @if visitor.may(Right::Build) { li { a.button.primary href={ "/ui/templates/" (template.id) "/do/instantiate" } { "Instantiate" } } }
                @if visitor.may(Right::Catalogs) { li { a.button href={ "/ui/templates/" (template.id) "/package" } { "Download as OVA" } } }
                @if visitor.may(Right::Catalogs) { li { a.button.danger href={ "/ui/templates/" (template.id) "/do/delete" } { "Delete" } } }
            }
        }
        section.card aria-labelledby="facts" {
            h2 #facts { "Facts" }
            (parts::facts(&[
                ("Origin", html! { (meaning) }),
                ("TPM of instances", html! { @if template.has_tpm() { (inventory::template_choice(&template)) } @else { "none" } }),
                ("Catalog", html! { a href=(shelf) { (template.organization) "/" (template.catalog) } }),
                ("Made", parts::moment(template.created)),
                ("Identifier", html! { code { (template.id) } }),
            ]))
        }
        section.card aria-labelledby="vms" {
            h2 #vms { "VMs" }
            (parts::table("VMs", &["VM", "TPM", "Key name", "Guest", "Firmware, hardware"], &rows))
        }
    };
    let above = [
        ("Inventory", "/ui/"),
        (template.catalog.as_str(), shelf.as_str()),
    ];
    let place = Place::below(Section::Inventory, &above);
    Ok(visitor.page(template.name.as_str(), place, &body))
}
