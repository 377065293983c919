//! The audit log.

use crate::chrome::{Place, Section};
use crate::parts::{self, Tone, badge};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use vm_inventory::AuditCheck;

/// Entries on one page.
const ON_PAGE: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Part {
    /// Only entries before this one.
    before: Option<u64>,
    #[serde(default)]
    check: bool,
}

pub(crate) async fn show(visitor: Visitor, Query(part): Query<Part>) -> Result<Response, Refusal> {
    let Part { before, check } = part;
    let system = visitor.principal.is_system();
    let (mut entries, checked) = visitor
        .look(move |scoped| {
            let entries = scoped.audit_before(before, ON_PAGE.saturating_add(1))?;
            // The chain is one for all organizations.
            let checked = if check && system {
                Some(scoped.check_audit()?)
            } else {
                None
            };
            Ok((entries, checked))
        })
        .await?;
    let more = entries.len() > ON_PAGE;
    entries.truncate(ON_PAGE);
    let last = entries.last().map(|entry| entry.number);
    let rows = html! {
        @for entry in &entries {
            tr {
                td.number { (entry.number) }
                td { (parts::moment(entry.at)) }
                td { (parts::words(&entry.operation)) }
                td.wraps { @if let Some(organization) = &entry.organization { (organization) "/" } (entry.name) }
                td {
                    @match entry.outcome.as_str() {
                        "success" => (badge(Tone::Good, "success")),
                        "error" => (badge(Tone::Bad, "error")),
                        other => (badge(Tone::Warn, other)),
                    }
                }
                td { @match &entry.user { Some(user) => (user), None => "the daemon" } }
                td.long { @for note in &entry.notes { p { (note) } } p.soft { "Hash " (parts::short(&entry.hash)) } }
            }
        }
    };
    let heads = ["No.", "When", "Operation", "Of", "Outcome", "For", "Notes"];
    let body = html! {
        div.title {
            h1 { "Audit log" }
            @if system { div.actions { a.button.primary href="/ui/audit?check=true" { "Check the chain" } } }
        }
        p.lead { "Every operation on a TPM or a key, each entry with the hash of the one before it." }
        @if let Some(check) = &checked { (outcome(check)) }
        section.card aria-labelledby="entries" {
            h2 #entries { "Entries" }
            @if entries.is_empty() { (parts::empty("Nothing is written here.", "")) } @else { (parts::table("Entries", &heads, &rows)) }
            @if before.is_some() || more {
                nav.pages aria-label="Pages" {
                    ul {
                        @if before.is_some() { li { a href="/ui/audit" { "Newest" } } }
                        @if let Some(last) = last.filter(|_| more) { li { a href={ "?before=" (last) } { "Older" } } }
                    }
                }
            }
        }
    };
    Ok(visitor.page("Audit log", Place::top(Section::Audit), &body))
}

fn outcome(check: &AuditCheck) -> Markup {
    html! {
        @match &check.damage {
            None => div.notice.good role="status" {
                p { strong { "The chain is whole: " } (parts::count(usize::try_from(check.entries).unwrap_or(usize::MAX), "entry", "entries")) ", each follows the one before it." }
                p.soft { "Its end, to be kept elsewhere: " (parts::digits(&check.head)) }
            },
            Some(damage) => div.notice.bad role="alert" {
                p { strong { "The log was tampered with: " } (damage) }
            },
        }
    }
}
