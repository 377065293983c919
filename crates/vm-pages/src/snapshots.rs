//! Snapshots of a VM, on its page.

use crate::parts::{self, Tone, badge};
use crate::visitor::Visitor;
use maud::{Markup, html};
use vm_inventory::{Right, Snapshot, SnapshotTree, VmView};

pub(crate) fn tree(visitor: &Visitor, vm: &VmView, tree: &SnapshotTree) -> Markup {
    html! {
        @if tree.snapshots.is_empty() { (parts::empty("It has no snapshots.", "A snapshot holds the TPM as it is at that moment, also while the VM runs.")) }
        @else { ul.tree { (below(visitor, vm, tree, None)) } }
        @if !tree.reverts.is_empty() {
            h3 { "Reverts" }
            @let rows = html! {
                @for revert in tree.reverts.iter().rev() {
                    tr { td { (revert.name) } td { (parts::moment(revert.at)) } td.number { (revert.to_generation) } }
                }
            };
            (parts::table("Reverts", &["To", "When", "Generation"], &rows))
        }
    }
}

/// The chain of snapshots is at most 32 long, so this ends.
fn below(
    visitor: &Visitor,
    vm: &VmView,
    tree: &SnapshotTree,
    parent: Option<uuid::Uuid>,
) -> Markup {
    html! {
        @for snapshot in tree.after(parent) {
            li {
                (line(visitor, vm, tree, snapshot))
                @if tree.after(Some(snapshot.id)).next().is_some() {
                    ul { (below(visitor, vm, tree, Some(snapshot.id))) }
                }
            }
        }
    }
}

fn line(visitor: &Visitor, vm: &VmView, tree: &SnapshotTree, snapshot: &Snapshot) -> Markup {
    let address =
        |operation: &str| format!("/ui/vms/{}/do/{operation}?snapshot={}", vm.id, snapshot.id);
    html! {
        div.snapshot {
            strong { (snapshot.name) } " "
            @if snapshot.powered_on { (badge(Tone::Good, "on")) } @else { (badge(Tone::Quiet, "off")) }
            @if tree.current == Some(snapshot.id) { " " (badge(Tone::Info, "present state follows")) }
            " " span.soft { (parts::moment(snapshot.created)) ", generation " (snapshot.generation) }
            @if !snapshot.description.is_empty() { p.soft { (snapshot.description) } }
            @if visitor.may(Right::Build) {
                span.actions {
                    a.button.small href=(address("revert")) { "Revert" span.unseen { " to " (snapshot.name) } }
                    a.button.small href=(address("forget")) { "Remove" span.unseen { " " (snapshot.name) } }
                }
            }
        }
    }
}
