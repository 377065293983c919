//! What stands around every page.

use crate::assets;
use crate::fields::FORM_TOKEN;
use crate::visitor::Visitor;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use vm_inventory::Right;

/// The parts of the pages that the head of each leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Inventory,
    Tasks,
    Events,
    Providers,
    Setup,
    Audit,
}

const SECTIONS: [(Section, &str, &str); 6] = [
    (Section::Inventory, "Inventory", "/ui/"),
    (Section::Tasks, "Tasks", "/ui/tasks"),
    (Section::Events, "Events", "/ui/events"),
    (Section::Providers, "Key providers", "/ui/providers"),
    (Section::Setup, "Setup", "/ui/setup"),
    (Section::Audit, "Audit log", "/ui/audit"),
];

/// Where a page is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) section: Section,
    /// From the section down to this page, each with its address.
    pub(crate) above: &'a [(&'a str, &'a str)],
    /// Whether the page changes by itself: without scripts it is loaded again and again.
    pub(crate) changes: bool,
}

impl<'a> Place<'a> {
    pub(crate) const fn top(section: Section) -> Self {
        Self {
            section,
            above: &[],
            changes: false,
        }
    }

    pub(crate) const fn below(section: Section, above: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            section,
            above,
            changes: false,
        }
    }
}

/// A page for somebody who is logged in.
pub(crate) fn page(visitor: &Visitor, title: &str, at: Place<'_>, body: &Markup) -> Html<String> {
    let shown = |section: &Section| match section {
        Section::Providers => visitor.principal.is_system(),
        Section::Audit => visitor.may(Right::Organization),
        _ => true,
    };
    let head = html! {
        nav.main aria-label="Main" {
            ul {
                @for (section, name, address) in SECTIONS.iter().filter(|(section, ..)| shown(section)) {
                    li { a href=(address) aria-current=[(*section == at.section).then_some("page")] { (name) } }
                }
            }
        }
        form.who method="post" action="/ui/logout" {
            input type="hidden" name=(FORM_TOKEN) value=(visitor.form_token);
            span title=(visitor.principal.role) { (visitor.principal.to_string()) }
            button type="submit" { "Log out" }
        }
    };
    let above = html! {
        @if !at.above.is_empty() {
            nav.above aria-label="Breadcrumb" {
                ol {
                    @for (name, address) in at.above { li { a href=(address) { (name) } } }
                    li aria-current="page" { (title) }
                }
            }
        }
    };
    document(title, at.changes, &head, &html! { (above) (body) })
}

/// A page for whoever it is.
pub(crate) fn bare(title: &str, body: &Markup) -> Html<String> {
    document(title, false, &html! {}, body)
}

fn document(title: &str, changes: bool, head: &Markup, body: &Markup) -> Html<String> {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - vtpm" }
                link rel="icon" type="image/svg+xml" href=(assets::ICON.address());
                link rel="stylesheet" href=(assets::STYLE.address());
                script defer src=(assets::SCRIPT.address()) {}
                @if changes { noscript { meta http-equiv="refresh" content="2"; } }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.brand href="/ui/" { span.mark aria-hidden="true" {} "vtpm" }
                    (head)
                }
                main #content tabindex="-1" { (body) }
                p #said.unseen role="status" aria-live="polite" {}
            }
        }
    };
    Html(document.into_string())
}
