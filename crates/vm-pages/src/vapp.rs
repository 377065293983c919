//! The page of one vApp.

use crate::chrome::{Place, Section};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::{events, inventory, parts, tasks};
use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use vm_inventory::model::PowerState;
use vm_inventory::{Right, VappView};

/// VMs on one page.
const ON_PAGE: usize = 100;
/// Tasks of the vApp that its page shows.
const LATEST: usize = 6;

#[derive(Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    page: usize,
}

pub(crate) async fn show(
    visitor: Visitor,
    Path(vapp): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, Refusal> {
    let (view, tasks) = visitor
        .look(move |scoped| {
            let view = scoped.vapp(&vapp)?;
            let mut tasks = scoped.tasks()?;
            tasks.retain(|task| task.vm.0 == view.vapp.id);
            tasks.truncate(LATEST);
            Ok((view, tasks))
        })
        .await?;
    let vapp = &view.vapp;
    let on = view
        .vms
        .iter()
        .filter(|vm| vm.power == PowerState::On)
        .count();
    let body = html! {
        h1 { (vapp.name) " " span.badges { span.soft { (parts::count(view.vms.len(), "VM", "VMs")) ", " (on) " on" } } }
        (events::alarm(&view.vms))
        (actions(&visitor, &view))
        section.card aria-labelledby="vms" {
            h2 #vms { "VMs" }
            @if view.vms.is_empty() { (parts::empty("It has no VMs.", "«Add a VM» makes one, or copies one.")) }
            @else { (members(&view, part.page)) }
        }
        section.card aria-labelledby="facts" {
            h2 #facts { "Facts" }
            (parts::facts(&[
                ("Organization", html! { (vapp.organization) }),
                ("Virtual data center", html! { (vapp.vdc) }),
                ("Made", parts::moment(vapp.created)),
                ("Identifier", html! { code { (vapp.id) } }),
            ]))
        }
        section.card aria-labelledby="tasks" {
            h2 #tasks { "Latest tasks" }
            @if tasks.is_empty() { (parts::empty("No task of it is kept.", "")) } @else { (tasks::table(&tasks)) }
        }
    };
    let place = Place::below(Section::Inventory, &[("Inventory", "/ui/")]);
    Ok(visitor.page(vapp.name.as_str(), place, &body))
}

fn actions(visitor: &Visitor, view: &VappView) -> Markup {
    let build = visitor.may(Right::Build);
    let power = visitor.may(Right::Power);
    let with_tpm = || view.vms.iter().filter(|vm| vm.tpm.present);
    let all = [
        (
            "power-on",
            "Power on",
            power && with_tpm().any(|vm| vm.power != PowerState::On),
        ),
        (
            "power-off",
            "Power off",
            power && with_tpm().any(|vm| vm.power != PowerState::Off),
        ),
        (
            "suspend",
            "Suspend",
            power && with_tpm().any(|vm| vm.power == PowerState::On),
        ),
        ("add", "Add a VM", build),
        ("copy", "Copy", build),
        ("move", "Move", build),
        (
            "capture",
            "Capture as template",
            visitor.may(Right::Catalogs),
        ),
        ("delete", "Delete", build),
    ];
    html! {
        nav.operations aria-label="Operations" {
            ul {
                @for (operation, words, _) in all.iter().filter(|(.., shown)| *shown) {
                    li { a.button.danger[*operation == "delete"] href={ "/ui/vapps/" (view.vapp.id) "/do/" (operation) } { (words) } }
                }
                @if build { li { a.button href={ "/ui/vapps/" (view.vapp.id) "/package" } { "Download as OVA" } } }
            }
        }
    }
}

fn members(view: &VappView, page: usize) -> Markup {
    let shown = view
        .vms
        .iter()
        .skip(page.saturating_mul(ON_PAGE))
        .take(ON_PAGE);
    let rows = html! {
        @for vm in shown {
            tr {
                td { a href={ "/ui/vms/" (vm.id) } { (vm.name) } }
                td { (inventory::vm_badges(vm)) }
                td { @if let Some(origin) = vm.tpm.origin { (parts::action(origin)) @if let Some(source) = &vm.tpm.source { " of " (source.name) } } }
                td { @if let Some(key) = &vm.tpm.ek_name { (parts::short(key)) } }
                td { @if let Some(provider) = &vm.provider { (provider) } }
            }
        }
    };
    let pages = view.vms.len().div_ceil(ON_PAGE);
    html! {
        (parts::table("VMs", &["VM", "State", "TPM", "Key name", "Key provider"], &rows))
        (parts::pages(pages, page))
    }
}
