//! Key providers: their status, their keys and the VMs that need them.

use crate::choices::choices;
use crate::chrome::{Place, Section};
use crate::fields::{FORM_TOKEN, Fields, Posted, wrong};
use crate::form::{Field, Form, Kind};
use crate::operate;
use crate::parts::{self, Tone, badge};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use vm_inventory::model::ProviderKind;
use vm_inventory::{Error, Name, ProviderView, RekeyAll, Right};
use vm_web::Problem;

pub(crate) async fn list(visitor: Visitor) -> Result<Response, Refusal> {
    let all = visitor
        .look(|scoped| {
            let providers = scoped.providers()?;
            let keys = providers.into_iter().map(|it| {
                let uses = scoped.provider_keys(Some(&it.vcenter), &it.name)?;
                Ok((it, uses))
            });
            keys.collect::<Result<Vec<_>, Error>>()
        })
        .await?;
    let rows = html! {
        @for (it, uses) in &all {
            tr {
                td { a href=(address(it)) { (it.name) } @if it.default { " " (badge(Tone::Info, "default")) } }
                td { (it.vcenter) }
                td { (it.kind) }
                td { (status(&it.status)) }
                td.number { (uses.len()) }
                td.number { (uses.iter().map(|key| key.vms.len()).sum::<usize>()) }
                td { (parts::moment(it.created)) }
            }
        }
    };
    let body = html! {
        h1 { "Key providers" }
        p.lead { "They hold the keys under which VMs' data keys are wrapped. A VM whose key cannot be had cannot be powered on." }
        section.card {
            @if all.is_empty() { (parts::empty("There is no key provider.", "Make one with `vtpm provider add`, and back it up.")) }
            @else { (parts::table("Key providers", &["Provider", "vCenter", "Kind", "Status", "Keys", "VMs", "Registered"], &rows)) }
        }
    };
    Ok(visitor.page("Key providers", Place::top(Section::Providers), &body))
}

fn address(it: &ProviderView) -> String {
    format!(
        "/ui/providers/{}/{}",
        parts::path(it.vcenter.as_str()),
        parts::path(it.name.as_str())
    )
}

fn status(status: &str) -> Markup {
    match status {
        "active" => badge(Tone::Good, "active"),
        "not-backed-up" => badge(Tone::Warn, "not backed up"),
        other => html! { (badge(Tone::Bad, "cannot be used")) " " (other) },
    }
}

pub(crate) async fn show(
    visitor: Visitor,
    Path((vcenter, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (vcenter, name) = named(&vcenter, &name)?;
    let (state, uses, vms) = visitor
        .look(move |scoped| {
            let state = scoped.provider_status(Some(&vcenter), &name)?;
            let uses = scoped.provider_keys(Some(&vcenter), &name)?;
            let mut vms = scoped.vms()?;
            vms.retain(|vm| vm.vcenter == vcenter);
            Ok((state, uses, vms))
        })
        .await?;
    let provider = &state.provider;
    let here = address(provider);
    let linked = |name: &Name| {
        let mut all = vms
            .iter()
            .filter(|vm| vm.name == *name && vm.provider.as_ref() == Some(&provider.name));
        match (all.next(), all.next()) {
            (Some(vm), None) => html! { a href={ "/ui/vms/" (vm.id) } { (name) } },
            // The name alone does not say which.
            _ => html! { (name) },
        }
    };
    let rows = html! {
        @for key in &uses {
            tr {
                td.long { code { (key.key_id) } }
                td { (parts::short(&key.check)) }
                td { @if key.kept { (badge(Tone::Info, "in memory")) } @else { span.soft { "no" } } }
                td { @for (place, vm) in key.vms.iter().enumerate() { @if place > 0 { ", " } (linked(vm)) } }
            }
        }
    };
    let manages = visitor.may(Right::Infrastructure);
    let body = html! {
        h1 { (provider.name) " " span.badges { (status(&provider.status)) @if provider.default { " " (badge(Tone::Info, "default")) } } }
        @if manages {
            nav.operations aria-label="Operations" {
                ul {
                    @if provider.kind == ProviderKind::Native { li { a.button.primary[provider.status == "not-backed-up"] href={ (here) "/do/backup" } { "Back up" } } }
                    li { a.button href={ (here) "/do/rekey" } { "Re-key all VMs" } }
                    li { form method="post" action={ (here) "/do/forget-keys" } {
                        input type="hidden" name=(FORM_TOKEN) value=(visitor.form_token);
                        button type="submit" { "Wipe keys from memory" }
                    } }
                }
            }
        }
        @if !state.locked.is_empty() {
            div.notice.bad role="alert" {
                p { strong { (parts::count(state.locked.len(), "VM is", "VMs are")) " locked: " }
                    @for (place, vm) in state.locked.iter().enumerate() { @if place > 0 { ", " } (linked(vm)) } }
            }
        }
        section.card aria-labelledby="facts" {
            h2 #facts { "Facts" }
            (parts::facts(&[
                ("vCenter", html! { (provider.vcenter) }),
                ("Kind", html! { (provider.kind) }),
                ("Registered", parts::moment(provider.created)),
                ("Keys kept in memory", html! { @match &provider.key_server { Some(it) => { (it.kept) ", each for " (it.keep_keys) " s" }, None => "derived when needed" } }),
            ]))
            @if !state.servers.is_empty() {
                h3 { "Servers" }
                @let rows = html! {
                    @for server in &state.servers {
                        tr {
                            td { code { (server.server) } }
                            td { @if server.usable { (badge(Tone::Good, "usable")) } @else { (badge(Tone::Bad, "not usable")) } }
                            td.long { (server.detail) }
                        }
                    }
                };
                (parts::table("Servers", &["Server", "State", "It says"], &rows))
            }
        }
        section.card aria-labelledby="keys" {
            h2 #keys { "Keys and the VMs that need them" }
            @if uses.is_empty() { (parts::empty("No VM needs a key of it.", "")) } @else { (parts::table("Keys", &["Key id", "Check value", "Kept", "VMs"], &rows)) }
        }
    };
    let place = Place::below(Section::Providers, &[("Key providers", "/ui/providers")]);
    Ok(visitor.page(provider.name.as_str(), place, &body))
}

fn named(vcenter: &str, name: &str) -> Result<(Name, Name), Problem> {
    let vcenter = vcenter.parse().map_err(Error::from)?;
    let name = name.parse().map_err(Error::from)?;
    Ok((vcenter, name))
}

fn form(provider: &ProviderView, operation: &str, others: &[String]) -> Option<Form> {
    let name = &provider.name;
    let blank = |title: String, verb: &'static str| Form {
        section: Section::Providers,
        ..Form::new(
            title,
            verb,
            format!("{}/do/{operation}", address(provider)),
            (name.to_string(), address(provider)),
        )
    };
    Some(match operation {
        "rekey" => Form {
            lead: "Every VM's data key is put under a new key. TPMs stay as they are.",
            fields: vec![
                Field::new(
                    "to",
                    "New keys of",
                    choices(Some("the same provider"), others),
                ),
                Field::new("deep", "Deep: make the data keys anew, too", Kind::Tick)
                    .hint("The VMs have to be off, without snapshots."),
            ],
            ..blank(format!("Re-key every VM of {name}"), "Re-key them")
        },
        _ => return None,
    })
}

pub(crate) async fn ask(
    visitor: Visitor,
    Path((vcenter, name, operation)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (vcenter, name) = named(&vcenter, &name)?;
    let (provider, others) = looked_up(&visitor, vcenter, name).await?;
    if operation == "backup" {
        return Ok(ask_for_password(&visitor, &provider, None));
    }
    let form = form(&provider, &operation, &others).ok_or_else(|| operate::unknown(&operation))?;
    Ok(operate::ask(visitor, form, |_| Err(operate::unknown("rekey"))).await)
}

async fn looked_up(
    visitor: &Visitor,
    vcenter: Name,
    name: Name,
) -> Result<(ProviderView, Vec<String>), Problem> {
    visitor
        .look(move |scoped| {
            let provider = scoped.provider(Some(&vcenter), &name)?;
            let others = scoped.providers()?.into_iter();
            let others = others.filter(|it| it.vcenter == vcenter && it.name != name);
            Ok((provider, others.map(|it| it.name.to_string()).collect()))
        })
        .await
}

pub(crate) async fn act(
    Path((vcenter, name, operation)): Path<(String, String, String)>,
    posted: Posted,
) -> Result<Response, Refusal> {
    let (vcenter, name) = named(&vcenter, &name)?;
    let (provider, others) = looked_up(&posted.visitor, vcenter.clone(), name.clone()).await?;
    match operation.as_str() {
        "backup" => Ok(back_up(posted, provider).await),
        "forget-keys" => {
            posted
                .visitor
                .look(move |scoped| scoped.forget_keys(Some(&vcenter), &name))
                .await?;
            Ok(Redirect::to(&address(&provider)).into_response())
        }
        _ => {
            let form =
                form(&provider, &operation, &others).ok_or_else(|| operate::unknown(&operation))?;
            let request = read_rekey(&posted.fields, &vcenter);
            let looked = name.clone();
            Ok(operate::act(
                posted,
                form,
                request,
                move |scoped, request| scoped.preview_rekey_provider(&looked, request),
                move |scoped, request| scoped.rekey_provider(&name, request),
            )
            .await)
        }
    }
}

fn read_rekey(fields: &Fields, vcenter: &Name) -> Result<RekeyAll, Problem> {
    Ok(RekeyAll {
        vcenter: Some(vcenter.clone()),
        to: fields.name("to")?,
        deep: fields.is_ticked("deep"),
    })
}

/// A password is typed twice and shown nowhere, so this form has no preview.
fn ask_for_password(
    visitor: &Visitor,
    provider: &ProviderView,
    problem: Option<&Problem>,
) -> Response {
    let here = address(provider);
    let title = format!("Back up {}", provider.name);
    let body = html! {
        h1 { (title) }
        p.lead { "The backup (PKCS#12) holds the key of the provider, under a password. Without it a lost data folder is lost for good." }
        @if let Some(problem) = problem { (parts::refused(problem)) }
        section.card {
            form method="post" action={ (here) "/do/backup" } {
                input type="hidden" name=(FORM_TOKEN) value=(visitor.form_token);
                // Whoever keeps passwords for people files them under a name.
                div.field {
                    label for="provider" { "Key provider" }
                    input #provider type="text" name="provider" value=(provider.name) readonly autocomplete="username";
                }
                div.field {
                    label for="password" { "Password of the backup" }
                    input #password type="password" name="password" autocomplete="new-password" required;
                }
                div.field {
                    label for="again" { "The same again" }
                    input #again type="password" name="again" autocomplete="new-password" required;
                }
                div.actions {
                    button.primary type="submit" { "Take the backup" }
                    a.button href=(here) { "Leave it" }
                }
            }
        }
    };
    let above = [
        ("Key providers", "/ui/providers"),
        (provider.name.as_str(), here.as_str()),
    ];
    visitor.page(&title, Place::below(Section::Providers, &above), &body)
}

async fn back_up(posted: Posted, provider: ProviderView) -> Response {
    let Posted { visitor, fields } = posted;
    let password = fields.secret("password").unwrap_or_default().to_owned();
    let password = zeroize::Zeroizing::new(password);
    if fields.secret("again") != Some(password.as_str()) {
        let problem = wrong("the two passwords differ; nothing was done");
        return ask_for_password(&visitor, &provider, Some(&problem));
    }
    let (vcenter, name) = (provider.vcenter.clone(), provider.name.clone());
    let taken = visitor
        .look(move |scoped| scoped.back_up_provider(Some(&vcenter), &name, &password))
        .await;
    match taken {
        Err(problem) => ask_for_password(&visitor, &provider, Some(&problem)),
        Ok(backup) => {
            let headers = [
                (header::CONTENT_TYPE, "application/x-pkcs12"),
                (
                    header::CONTENT_DISPOSITION,
                    "attachment; filename=\"key-provider.p12\"",
                ),
            ];
            (headers, backup.bytes).into_response()
        }
    }
}
