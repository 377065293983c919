//! Forms for operations: what is filled in, the preview, the confirmation.

use crate::chrome::{Place, Section};
use crate::fields::{FORM_TOKEN, Fields};
use crate::visitor::Visitor;
use crate::{parts, preview};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use vm_inventory::{Name, Preview};
use vm_web::Problem;

/// How a field is filled in.
pub(crate) enum Kind {
    Text,
    Number,
    /// The visitor's own name, to be read only: whoever keeps passwords for people files them under one.
    User(String),
    /// One of these values, each with words; the first is chosen at first.
    Choice(Vec<(String, String)>),
    /// The same with room for what each means.
    Radio(&'static [(&'static str, &'static str, &'static str)]),
    /// A box to tick.
    Tick,
    /// What nobody may read over a shoulder.
    Password,
    /// A file of the visitor's machine.
    File,
}

pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
    pub(crate) hint: &'static str,
    pub(crate) required: bool,
}

impl Field {
    pub(crate) const fn new(name: &'static str, label: &'static str, kind: Kind) -> Self {
        Self {
            name,
            label,
            kind,
            hint: "",
            required: false,
        }
    }

    pub(crate) const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// The two answers to what becomes of a TPM.
pub(crate) const COPY_OR_REPLACE: Kind = Kind::Radio(&[
    (
        "copy",
        "Copy",
        "Every secret is kept: endorsement key, seeds, NV indices, persistent keys. What was sealed opens there too; to a verifier both are one machine.",
    ),
    (
        "replace",
        "Replace",
        "A new TPM with a key of its own. What was sealed in the source does not open there.",
    ),
]);

/// What is said where VMs and vApps are powered and deleted.
pub(crate) struct Leads {
    pub(crate) on: &'static str,
    pub(crate) off: &'static str,
    pub(crate) delete: &'static str,
    /// What has to be ticked before it is deleted.
    pub(crate) lost: &'static str,
}

/// One operation as a form.
pub(crate) struct Form {
    pub(crate) title: String,
    pub(crate) lead: &'static str,
    /// Where it is sent.
    pub(crate) address: String,
    /// The page that it belongs to: name and address.
    pub(crate) of: (String, String),
    pub(crate) section: Section,
    pub(crate) fields: Vec<Field>,
    pub(crate) hidden: Vec<(&'static str, String)>,
    /// What is said before it is confirmed, and has to be ticked.
    pub(crate) confirm: Option<&'static str>,
    /// What the last button says.
    pub(crate) verb: &'static str,
    pub(crate) danger: bool,
    /// Whether it is done without a preview: no TPM is touched.
    pub(crate) at_once: bool,
}

impl Form {
    /// A form without anything to fill in, for the page `of` (name and address) of the inventory.
    pub(crate) fn new(
        title: String,
        verb: &'static str,
        address: String,
        of: (String, String),
    ) -> Self {
        Self {
            title,
            lead: "",
            address,
            of,
            section: Section::Inventory,
            fields: Vec::new(),
            hidden: Vec::new(),
            confirm: None,
            verb,
            danger: false,
            at_once: false,
        }
    }

    /// What can be done with a VM as with a vApp: power, and the end.
    pub(crate) fn of_anything(
        operation: &str,
        name: &Name,
        leads: &Leads,
        blank: impl Fn(String, &'static str) -> Self,
    ) -> Option<Self> {
        Some(match operation {
            "power-on" => Self {
                lead: leads.on,
                ..blank(format!("Power {name} on"), "Power on")
            },
            "power-off" => Self {
                lead: leads.off,
                ..blank(format!("Power {name} off"), "Power off")
            },
            "suspend" => Self {
                lead: "What a TPM has in memory is stored, encrypted, and it goes on from there.",
                ..blank(format!("Suspend {name}"), "Suspend")
            },
            "delete" => Self {
                lead: leads.delete,
                confirm: Some(leads.lost),
                danger: true,
                ..blank(format!("Delete {name}"), "Delete it")
            },
            _ => return None,
        })
    }

    fn wrap(&self, visitor: &Visitor, status: StatusCode, body: &Markup) -> Response {
        let (name, address) = &self.of;
        let mut above = vec![match self.section {
            Section::Providers => ("Key providers", "/ui/providers"),
            Section::Setup => ("Setup", "/ui/setup"),
            _ => ("Inventory", "/ui/"),
        }];
        if above.iter().all(|(_, known)| known != address) {
            above.push((name, address));
        }
        let body = html! {
            h1 { (self.title) }
            @if !self.lead.is_empty() { p.lead { (self.lead) } }
            (body)
        };
        let page = visitor.page(&self.title, Place::below(self.section, &above), &body);
        (status, page).into_response()
    }

    /// The form to be filled in.
    pub(crate) fn ask(&self, visitor: &Visitor, filled: &Fields) -> Response {
        let body = html! { section.card { (self.fill_in(visitor, filled, self.first_verb())) } };
        self.wrap(visitor, StatusCode::OK, &body)
    }

    /// The form again, and why it was refused.
    pub(crate) fn refused(
        &self,
        visitor: &Visitor,
        filled: &Fields,
        problem: &Problem,
    ) -> Response {
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = html! {
            (parts::refused(problem))
            @if self.fields.is_empty() { p { a.button href=(self.of.1) { "Back" } } }
            @else { section.card { (self.fill_in(visitor, filled, self.first_verb())) } }
        };
        self.wrap(visitor, status, &body)
    }

    /// What it would do, with the button that does it.
    pub(crate) fn previewed(&self, visitor: &Visitor, filled: &Fields, look: &Preview) -> Response {
        self.previewed_with(visitor, filled, look, &html! {})
    }

    /// The same, with what else there is to say.
    pub(crate) fn previewed_with(
        &self,
        visitor: &Visitor,
        filled: &Fields,
        look: &Preview,
        more: &Markup,
    ) -> Response {
        let body = html! {
            section.card aria-labelledby="preview" {
                h2 #preview { "What it will do" }
                (preview::show(look))
                (more)
                @if look.possible {
                    form method="post" action=(self.address) {
                        input type="hidden" name=(FORM_TOKEN) value=(visitor.form_token);
                        input type="hidden" name="step" value="start";
                        @for (name, value) in filled.all().filter(|(name, _)| !matches!(*name, "step" | "confirm")) {
                            input type="hidden" name=(name) value=(value);
                        }
                        @if let Some(words) = self.confirm {
                            div.field.tick {
                                input #confirm type="checkbox" name="confirm" value="yes" required;
                                label for="confirm" { (words) }
                            }
                        }
                        div.actions {
                            button.primary.danger[self.danger] type="submit" autofocus[self.confirm.is_none()] { (self.verb) }
                            a.button href=(self.of.1) { "Leave it" }
                        }
                    }
                } @else { p { a.button href=(self.of.1) { "Back" } } }
            }
            @if !self.fields.is_empty() {
                section.card aria-labelledby="change" {
                    h2 #change { "Change it" }
                    (self.fill_in(visitor, filled, "Preview again"))
                }
            }
        };
        self.wrap(visitor, StatusCode::OK, &body)
    }

    fn first_verb(&self) -> &'static str {
        if self.at_once { self.verb } else { "Preview" }
    }

    fn hidden_fields(&self) -> Markup {
        html! { @for (name, value) in &self.hidden { input type="hidden" name=(name) value=(value); } }
    }

    fn fill_in(&self, visitor: &Visitor, filled: &Fields, button: &str) -> Markup {
        html! {
            @let with_file = self.fields.iter().any(|field| matches!(field.kind, Kind::File));
            form method="post" action=(self.address) enctype=[with_file.then_some("multipart/form-data")] {
                input type="hidden" name=(FORM_TOKEN) value=(visitor.form_token);
                input type="hidden" name="step" value=(if self.at_once { "start" } else { "preview" });
                (self.hidden_fields())
                @for field in &self.fields { (one(field, filled)) }
                div.actions {
                    button.primary type="submit" { (button) }
                    a.button href=(self.of.1) { "Leave it" }
                }
            }
        }
    }
}

/// One field with its label and what it means.
fn one(field: &Field, filled: &Fields) -> Markup {
    let value = filled.text(field.name);
    let id = format!("field-{}", field.name);
    let hint_id = format!("{id}-hint");
    let described = (!field.hint.is_empty()).then_some(hint_id.as_str());
    let hint = html! { @if !field.hint.is_empty() { p.hint id=(hint_id) { (field.hint) } } };
    let input = |kind: &str| {
        html! {
            div.field {
                label for=(id) { (field.label) @if !field.required { span.soft { " (optional)" } } }
                input id=(id) name=(field.name) type=(kind) value=[value] required[field.required]
                    aria-describedby=[described] autocomplete="off"
                    min=[(kind == "number").then_some("1")];
                (hint)
            }
        }
    };
    match &field.kind {
        Kind::Text => input("text"),
        Kind::Number => input("number"),
        Kind::User(user) => html! {
            div.field {
                label for=(id) { (field.label) }
                input id=(id) name=(field.name) type="text" value=(user) readonly aria-describedby=[described] autocomplete="username";
                (hint)
            }
        },
        Kind::Password => html! {
            div.field {
                label for=(id) { (field.label) }
                input id=(id) name=(field.name) type="password" required[field.required] aria-describedby=[described] autocomplete="new-password";
                (hint)
            }
        },
        Kind::File => html! {
            div.field {
                label for=(id) { (field.label) }
                input id=(id) name=(field.name) type="file" required[field.required] aria-describedby=[described];
                (hint)
            }
        },
        Kind::Choice(choices) => html! {
            div.field {
                label for=(id) { (field.label) }
                select id=(id) name=(field.name) required[field.required] aria-describedby=[described] {
                    @for (word, words) in choices {
                        option value=(word) selected[value == Some(word.as_str())] { (words) }
                    }
                }
                (hint)
            }
        },
        Kind::Radio(choices) => html! {
            fieldset.field aria-describedby=[described] {
                legend { (field.label) }
                @for (place, (word, label, meaning)) in choices.iter().enumerate() {
                    div.radio {
                        input id={ (id) "-" (word) } type="radio" name=(field.name) value=(word)
                            checked[value == Some(word) || (value.is_none() && place == 0)] aria-describedby={ (id) "-" (word) "-means" };
                        div {
                            label for={ (id) "-" (word) } { (label) }
                            p.hint id={ (id) "-" (word) "-means" } { (meaning) }
                        }
                    }
                }
                (hint)
            }
        },
        Kind::Tick => html! {
            div.field.tick {
                input id=(id) type="checkbox" name=(field.name) value="yes" checked[value == Some("yes")] aria-describedby=[described];
                div { label for=(id) { (field.label) } (hint) }
            }
        },
    }
}
