//! The page of one VM.

use crate::chrome::{Place, Section};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::{events, inventory, parts, snapshots, tasks, tpm};
use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use parts::{Tone, badge};
use vm_inventory::model::PowerState;
use vm_inventory::{Right, VmView};

/// Tasks of the VM that its page shows.
const LATEST: usize = 6;

pub(crate) async fn show(visitor: Visitor, Path(vm): Path<String>) -> Result<Response, Refusal> {
    let sight = std::sync::Arc::clone(&visitor.pages.sight);
    let (vm, source, twins, tree, tasks, seen) = visitor
        .look(move |scoped| {
            let vm = scoped.vm(&vm)?;
            let id = vm.id.to_string();
            let source = vm.tpm.source.as_ref().filter(|source| {
                // It may be gone by now.
                scoped.vm(&source.id.to_string()).is_ok()
            });
            let source = source.map(|source| format!("/ui/vms/{}", source.id));
            let all = scoped.vms()?;
            let twins: Vec<VmView> = events::twins(&all)
                .into_values()
                .find(|group| group.iter().any(|it| it.id == vm.id))
                .unwrap_or_default()
                .into_iter()
                .filter(|it| it.id != vm.id)
                .cloned()
                .collect();
            let mut tasks = scoped.tasks()?;
            tasks.retain(|task| task.vm == vm.id);
            tasks.truncate(LATEST);
            let tree = scoped.snapshots(&id)?;
            let seen = sight.look(vm.id);
            Ok((vm, source, twins, tree, tasks, seen))
        })
        .await?;
    let vapp = vm
        .vapp
        .as_ref()
        .map(|it| (it.name.to_string(), format!("/ui/vapps/{}", it.id)));
    let mut above = vec![("Inventory", "/ui/")];
    if let Some((name, address)) = &vapp {
        above.push((name, address));
    }
    let body = html! {
        div.title {
            h1 { (vm.name) " " span.badges { (inventory::vm_badges(&vm)) } }
            (power_form(&visitor, &vm))
        }
        @if !twins.is_empty() {
            div.notice.bad role="alert" {
                p { strong { "Its TPM runs twice. " } "To a verifier, this VM and "
                    @for (place, twin) in twins.iter().enumerate() { @if place > 0 { ", " } a href={ "/ui/vms/" (twin.id) } { (twin.name) } }
                    " are one machine." }
            }
        }
        @if let Some(locked) = &vm.locked {
            div.notice.bad role="alert" {
                p { strong { "It is locked: " } "its key could not be had from " (locked.provider) ". " (locked.reason) }
                p.soft { "Key " code { (locked.key_id) } ", since " (parts::moment(locked.since)) }
            }
        }
        (actions(&visitor, &vm))
        section.card aria-labelledby="machine" {
            h2 #machine { "Machine" }
            (machine(&visitor, &vm))
        }
        section.card aria-labelledby="tpm" {
            h2 #tpm { "TPM" }
            @if vm.tpm.present {
                (tpm::identity(&vm, source.as_deref()))
                (tpm::certificates(&vm))
                (tpm::live(seen.as_ref()))
            } @else { (parts::empty("It has no TPM.", "«Add TPM» gives it one while it is off.")) }
        }
        section.card aria-labelledby="files" { h2 #files { "Files and keys" } (files(&vm, &tree)) }
        section.card aria-labelledby="snapshots" { h2 #snapshots { "Snapshots" } (snapshots::tree(&visitor, &vm, &tree)) }
        section.card aria-labelledby="tasks" {
            h2 #tasks { "Latest tasks" }
            @if tasks.is_empty() { (parts::empty("No task of it is kept.", "")) } @else { (tasks::table(&tasks)) }
        }
    };
    let place = Place::below(Section::Inventory, &above);
    Ok(visitor.page(vm.name.as_str(), place, &body))
}

/// One button, for what is done most.
fn power_form(visitor: &Visitor, vm: &VmView) -> Markup {
    let (operation, words) = match vm.power {
        PowerState::On => ("power-off", "Power off"),
        PowerState::Off => ("power-on", "Power on"),
        PowerState::Suspended => ("power-on", "Resume"),
    };
    html! {
        @if visitor.may(Right::Power) && vm.tpm.present {
            form.actions method="post" action={ "/ui/vms/" (vm.id) "/do/" (operation) } {
                input type="hidden" name=(crate::fields::FORM_TOKEN) value=(visitor.form_token);
                input type="hidden" name="step" value="start";
                button.primary type="submit" { (words) }
            }
        }
    }
}

fn actions(visitor: &Visitor, vm: &VmView) -> Markup {
    let off = vm.power == PowerState::Off;
    let build = visitor.may(Right::Build);
    let system = visitor.may(Right::Infrastructure);
    let all = [
        ("clone", "Clone", system),
        ("move", "Move", build && vm.vapp.is_some()),
        (
            "import",
            "Import into an organization",
            system && vm.vapp.is_none(),
        ),
        (
            "capture",
            "Capture as template",
            visitor.may(Right::Catalogs),
        ),
        ("snapshot", "Take snapshot", build && vm.tpm.present),
        ("rekey", "Re-key", build && vm.tpm.present),
        ("add-tpm", "Add TPM", build && !vm.tpm.present),
        ("remove-tpm", "Remove TPM", build && vm.tpm.present && off),
        ("unlock", "Unlock", build && vm.locked.is_some()),
        (
            "suspend",
            "Suspend",
            visitor.may(Right::Power) && vm.tpm.present && vm.power == PowerState::On,
        ),
        (
            "power-off",
            "Power off",
            visitor.may(Right::Power) && vm.power == PowerState::Suspended,
        ),
        ("delete", "Delete", build && off),
    ];
    html! {
        nav.operations aria-label="Operations" {
            ul {
                @for (operation, words, _) in all.iter().filter(|(.., shown)| *shown) {
                    li { a.button.danger[matches!(*operation, "delete" | "remove-tpm")] href={ "/ui/vms/" (vm.id) "/do/" (operation) } { (words) } }
                }
                @if build { li { a.button href={ "/ui/vms/" (vm.id) "/package" } { "Download as OVA" } } }
            }
        }
    }
}

fn machine(visitor: &Visitor, vm: &VmView) -> Markup {
    parts::facts(&[
        ("vCenter", html! { (vm.vcenter) }),
        (
            "vApp",
            html! {
                @match &vm.vapp {
                    Some(vapp) => a href={ "/ui/vapps/" (vapp.id) } { (vapp) },
                    None => "none: it belongs to the system",
                }
            },
        ),
        ("Guest", html! { (vm.guest.as_str()) }),
        (
            "Firmware",
            html! { (vm.firmware.as_str()) ", hardware version " (vm.hardware_version) },
        ),
        (
            "Key provider",
            html! {
                @match &vm.provider {
                    Some(provider) if visitor.principal.is_system() => {
                        a href={ "/ui/providers/" (parts::path(vm.vcenter.as_str())) "/" (parts::path(provider.as_str())) } { (provider) }
                    }
                    Some(provider) => (provider),
                    None => "none: it is not encrypted",
                }
            },
        ),
        ("Made", parts::moment(vm.created)),
        ("Identifier", html! { code { (vm.id) } }),
        ("Instance", html! { code { (vm.instance_id) } }),
    ])
}

fn files(vm: &VmView, tree: &vm_inventory::SnapshotTree) -> Markup {
    let at = format!("[{}] {}/{}", vm.datastore, vm.folder, vm.name);
    let rows = html! {
        tr { td { code { (at) ".vmx" } } td { "settings; the data key, wrapped" } }
        @if vm.tpm.present { tr { td { code { (at) ".nvram" } } td { "TPM and firmware variables, encrypted, two generations" } } }
        @for snapshot in &tree.snapshots {
            tr { td { "snapshot " (snapshot.name) } td { "state of generation " (snapshot.generation) ", encrypted" } }
        }
    };
    html! {
        (parts::facts(&[
            ("Key id", html! { @match &vm.key_id { Some(key) => code { (key) }, None => "none" } }),
            ("Wrapped by", html! { @match &vm.provider { Some(provider) => (provider), None => (badge(Tone::Quiet, "not encrypted")) } }),
        ]))
        (parts::table("Files", &["File", "Holds"], &rows))
    }
}
