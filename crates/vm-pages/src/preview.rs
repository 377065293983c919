//! What an operation would do to each TPM.

use crate::parts::{self, Tone, badge};
use maud::{Markup, html};
use vm_inventory::{Fate, Preview};

/// The table of what each TPM keeps and loses.
pub(crate) fn show(preview: &Preview) -> Markup {
    let rows = html! {
        @for vm in &preview.vms {
            tr {
                td {
                    @match (&vm.source, &vm.vm) {
                        (Some(source), Some(result)) if source == result => (result),
                        (Some(source), Some(result)) => { (source) " → " strong { (result) } }
                        (None, Some(result)) => strong { (result) },
                        (Some(source), None) => { (source) " → " (badge(Tone::Bad, "deleted")) }
                        (None, None) => "",
                    }
                }
                td { @match vm.tpm { Some(action) => (parts::action(action)), None => (badge(Tone::Quiet, "no TPM")) } }
                td { (fate(vm.effects.ek_identity)) }
                td { (fate(vm.effects.persistent_handles)) }
                td { (fate(vm.effects.nv_indices)) }
                td { (fate(vm.effects.sealed_data)) }
                td { (fate(vm.effects.snapshots)) }
                td { (vm.vcenter) @if let Some(provider) = &vm.provider { ", keys by " (provider) } }
            }
        }
    };
    let heads = [
        "VM",
        "TPM",
        "EK identity",
        "Persistent keys",
        "NV Indices",
        "Sealed data",
        "Snapshots",
        "Where",
    ];
    html! {
        @if !preview.failures.is_empty() {
            div.notice.bad role="alert" {
                p { strong { (parts::count(preview.failures.len(), "rule is", "rules are")) " not met" } }
                ul { @for failure in &preview.failures { li { (failure.to_string()) } } }
            }
        }
        @if preview.vms.is_empty() { (parts::empty("No TPM is touched.", "")) }
        @else { (parts::table("What becomes of each TPM", &heads, &rows)) }
        @if preview.vms.iter().any(|vm| vm.effects.sealed_data == Fate::Lost) {
            div.notice.warn {
                p { strong { "What was sealed does not open any more. " }
                    "A guest whose disk is unlocked by its TPM (BitLocker, LUKS with clevis or systemd) asks for its recovery key." }
            }
        }
    }
}

fn fate(fate: Fate) -> Markup {
    match fate {
        Fate::Kept => badge(Tone::Good, "kept"),
        Fate::Lost => badge(Tone::Bad, "lost"),
        Fate::Reverted => badge(Tone::Warn, "as it was then"),
        Fate::New => badge(Tone::Info, "new"),
        Fate::None => html! { span.soft { "none" } },
    }
}
