//! The TPM of a VM: certificates, registers, NV Indices, persistent objects, protection against guessing.

use crate::parts::{self, Tone, badge};
use crate::refusal::Refusal;
use crate::sight::{Bank, TpmSight};
use crate::visitor::Visitor;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use vm_inventory::VmView;

/// A certificate as a file (PEM).
pub(crate) async fn certificate(
    visitor: Visitor,
    Path((vm, key)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let wanted = key.clone();
    let keys = visitor
        .look(move |scoped| scoped.endorsement_keys(&vm))
        .await?;
    let found = keys
        .into_iter()
        .find(|key| key.algorithm.as_str() == wanted)
        .and_then(|key| key.certificate);
    let Some(found) = found else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "There is no such certificate",
            "the TPM has no endorsement certificate for a key of that kind",
        ));
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-pem-file".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"ek-{key}.pem\""),
        ),
    ];
    Ok((headers, found.der.to_pem("CERTIFICATE")).into_response())
}

/// Who the TPM is.
pub(crate) fn identity(vm: &VmView, source: Option<&str>) -> Markup {
    let tpm = &vm.tpm;
    html! {
        (parts::facts(&[
            ("Came to be", html! {
                @if let Some(origin) = tpm.origin { (parts::action(origin)) }
                @if let Some(from) = &tpm.source {
                    " from "
                    @match source {
                        Some(address) => a href=(address) { (from.name) },
                        None => (from.name),
                    }
                }
                " · " a href={ "/ui/vms/" (vm.id) "/lineage" } { "Lineage" }
            }),
            ("Endorsement key (name)", html! { @if let Some(name) = &tpm.ek_name { (parts::digits(name)) } }),
        ]))
        @if let (Some(tcti), Some(control)) = (&tpm.tcti, &tpm.control) {
            h3 { "Where it is reached" }
            p.soft { "For programs on the daemon's machine, as its user:" }
            (parts::copied(&format!("export TPM2TOOLS_TCTI='{tcti}'"), "the line for tpm2-tools"))
            p.soft { "Control channel: " code { (control) } }
        }
    }
}

/// Its certificates.
pub(crate) fn certificates(vm: &VmView) -> Markup {
    let rows = html! {
        @for it in &vm.tpm.certificates {
            tr {
                td { (it.key) }
                td { code { (format!("{:#010x}", it.nv_index)) } }
                td { (it.facts.issuer) }
                td { (parts::short(&it.facts.serial)) }
                td { @match it.facts.not_after { Some(end) => (parts::seconds(end)), None => "without an end" } }
                td { (parts::short(&it.facts.fingerprint)) }
                td {
                    @if it.key != "platform" {
                        a href={ "/ui/vms/" (vm.id) "/certificates/" (parts::path(&it.key)) } { "PEM" span.unseen { " of " (it.key) } }
                    }
                }
            }
        }
    };
    html! {
        h3 { "Certificates" }
        @if vm.tpm.certificates.is_empty() {
            (parts::empty("It has no certificates.", "The authority of its vCenter gives new TPMs some, unless that is switched off."))
        } @else {
            (parts::table("Certificates", &["Key", "NV Index", "Issuer", "Serial", "Valid until", "SHA-256", "File"], &rows))
        }
    }
}

/// What the TPM itself says.
pub(crate) fn live(seen: Option<&Result<TpmSight, String>>) -> Markup {
    html! {
        @match seen {
            None => {
                h3 { "Inside" }
                (parts::empty("It is off.", "Registers, NV Indices and persistent objects are shown while the VM is on."))
            }
            Some(Err(reason)) => {
                h3 { "Inside" }
                (parts::empty("Nothing can be seen of it.", reason))
            }
            Some(Ok(sight)) => (inside(sight)),
        }
    }
}

fn inside(sight: &TpmSight) -> Markup {
    let lockout = &sight.lockout;
    html! {
        h3 { "Inside" }
        (parts::facts(&[
            ("Manufacturer", html! { (sight.manufacturer) ", firmware " (sight.firmware) }),
            ("Specification", html! { "TPM 2.0, revision " (sight.revision) }),
            ("State", html! { @for flag in &sight.flags { (badge(Tone::Quiet, flag)) " " } }),
            ("Guessing", html! {
                @if lockout.locked { (badge(Tone::Bad, "locked out")) } @else { (badge(Tone::Good, "open")) }
                " " (lockout.failures) " of " (lockout.most) " failures; one is forgiven every " (lockout.interval) " s, lockout recovery "
                (lockout.recovery) " s"
            }),
        ]))
        h3 #registers { "Registers (PCR)" }
        @if sight.banks.is_empty() { (parts::empty("No bank is active.", "")) }
        @for bank in &sight.banks {
            details open[bank.algorithm == "sha256" || sight.banks.len() == 1] {
                summary { (bank.algorithm) ", " (parts::count(extended(bank), "register", "registers")) " measured into" }
                (registers(bank))
            }
        }
        h3 { "NV Indices" }
        @if sight.nv.is_empty() { (parts::empty("It has none.", "")) } @else {
            @let rows = html! {
                @for it in &sight.nv {
                    tr {
                        td { code { (format!("{:#010x}", it.handle)) } }
                        td.number { (it.size) }
                        td { (it.algorithm) }
                        td { @if it.policy { "yes" } @else { "no" } }
                        td.long { (it.attributes) }
                    }
                }
            };
            (parts::table("NV Indices", &["Index", "Bytes", "Name hash", "Policy", "Attributes"], &rows))
        }
        h3 { "Persistent objects" }
        @if sight.objects.is_empty() { (parts::empty("It has none.", "Guests make keys persistent with TPM2_EvictControl.")) } @else {
            @let rows = html! {
                @for it in &sight.objects {
                    tr {
                        td { code { (format!("{:#010x}", it.handle)) } }
                        td { (it.kind) }
                        td { (parts::short(&it.name)) }
                        td.long { (it.attributes) }
                    }
                }
            };
            (parts::table("Persistent objects", &["Handle", "Type", "Name", "Attributes"], &rows))
        }
    }
}

/// How many registers hold something else than all zeros or all ones.
fn extended(bank: &Bank) -> usize {
    bank.values
        .iter()
        .filter(|(_, value)| is_extended(value))
        .count()
}

fn is_extended(value: &str) -> bool {
    !value.bytes().all(|byte| byte == b'0') && !value.bytes().all(|byte| byte == b'f')
}

fn registers(bank: &Bank) -> Markup {
    html! {
        div.bank {
            @for (number, value) in &bank.values {
                div.pcr.measured[is_extended(value)] {
                    span.pcr-number { "PCR " (number) }
                    (stripes(value))
                    code { (value) }
                }
            }
        }
    }
}

/// A value as eight stripes whose heights follow its digits: two that differ look different.
fn stripes(value: &str) -> Markup {
    let digits: Vec<u32> = value
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let bars = digits.chunks(8).take(8).zip(0u32..).map(|(chunk, place)| {
        let height = 3 + chunk.iter().sum::<u32>() % 18;
        let (x, y) = (place * 8, 22 - height);
        format!(r#"<rect x="{x}" y="{y}" width="6" height="{height}" rx="1"/>"#)
    });
    let bars: String = bars.collect();
    html! { svg viewBox="0 0 62 22" width="62" height="22" aria-hidden="true" { (PreEscaped(bars)) } }
}
