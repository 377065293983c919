//! Events: TPMs that live twice.

use crate::chrome::{Place, Section};
use crate::parts::{self, Tone, badge};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::response::Response;
use maud::{Markup, html};
use std::collections::BTreeMap;
use vm_inventory::VmView;

/// How tasks mark what is more than a note.
const EVENT: &str = "event: ";

pub(crate) async fn show(visitor: Visitor) -> Result<Response, Refusal> {
    let (vms, tasks) = visitor
        .look(|scoped| Ok((scoped.vms()?, scoped.tasks()?)))
        .await?;
    let twins = twins(&vms);
    let past: Vec<_> = tasks
        .iter()
        .flat_map(|task| {
            let notes = task
                .notes
                .iter()
                .filter_map(|note| note.strip_prefix(EVENT));
            notes.map(move |note| (task, note))
        })
        .collect();
    let body = html! {
        h1 { "Events" }
        p.lead { "TPMs that lived twice: VMs that ran with one endorsement key, which others take for one machine." }
        section.card aria-labelledby="now" {
            h2 #now { "Twins that run now" }
            @if twins.is_empty() {
                (parts::empty("No TPM identity runs twice.", "A copy keeps the endorsement key of its source: when both run, a verifier takes them for one machine."))
            }
            @for (ek_name, group) in &twins {
                div.notice.bad {
                    p { strong { (group.len()) " VMs run with one endorsement key" } }
                    ul { @for vm in group { li { (named(vm)) } } }
                    p.soft { "Key name " (parts::digits(ek_name)) }
                    p { "Power all but one off, or give the others TPMs of their own: clone or instantiate with «replace»." }
                }
            }
        }
        section.card aria-labelledby="past" {
            h2 #past { "What happened" }
            @if past.is_empty() { (parts::empty("Nothing has happened.", "Events stand here as long as the tasks are kept that told of them.")) }
            @else {
                ol.timeline {
                    @for (task, note) in &past {
                        li {
                            (badge(Tone::Bad, "twins")) " " (parts::moment(task.finished.unwrap_or(task.created)))
                            p { strong { (task.vm_name) } ": " (note) }
                            p { a href={ "/ui/tasks/" (task.id) } { "The task: " (parts::words(&task.operation)) } }
                        }
                    }
                }
            }
        }
    };
    Ok(visitor.page("Events", Place::top(Section::Events), &body))
}

/// A warning if TPMs run twice.
pub(crate) fn alarm(vms: &[VmView]) -> Markup {
    let twins = twins(vms);
    html! {
        @if !twins.is_empty() {
            div.notice.bad role="alert" {
                p {
                    strong { (parts::count(twins.len(), "TPM identity runs", "TPM identities run")) " more than once. " }
                    "To a verifier, these VMs are one machine. "
                    a href="/ui/events" { "See which" }
                }
            }
        }
    }
}

/// VMs that run with the TPM identity of another one that does, by the name of the key.
pub(crate) fn twins(vms: &[VmView]) -> BTreeMap<&str, Vec<&VmView>> {
    let mut groups: BTreeMap<&str, Vec<&VmView>> = BTreeMap::new();
    for vm in vms.iter().filter(|vm| vm.tpm.tcti.is_some()) {
        if let Some(name) = &vm.tpm.ek_name {
            groups.entry(name).or_default().push(vm);
        }
    }
    groups.retain(|_, group| group.len() > 1);
    groups
}

fn named(vm: &VmView) -> Markup {
    html! {
        a href={ "/ui/vms/" (vm.id) } { @if let Some(vapp) = &vm.vapp { (vapp) "/" } (vm.name) }
        " on " (vm.vcenter)
    }
}
