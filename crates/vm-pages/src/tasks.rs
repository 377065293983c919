//! Tasks: all of them, one of them, and how they go on.

use crate::chrome::{Place, Section};
use crate::fields::{FORM_TOKEN, Posted};
use crate::parts;
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use vm_inventory::{Right, Scoped, TargetKind, Task, TaskId, TaskStatus};
use vm_web::Problem;

/// Tasks that the list shows.
const SHOWN: usize = 200;

/// Every task, the newest first.
pub(crate) async fn list(visitor: Visitor) -> Result<Response, Refusal> {
    let tasks = visitor.look(|scoped| scoped.tasks()).await?;
    let busy = tasks.iter().any(|task| !task.is_finished());
    let (shown, more) = tasks.split_at_checked(SHOWN).unwrap_or((&tasks, &[]));
    let body = html! {
        h1 { "Tasks" }
        p.lead { "Operations, the latest first. The page of each says what became of TPMs; one that has not ended can be canceled there." }
        div.card #live data-live="list" {
            @if shown.is_empty() { (parts::empty("There are no tasks.", "Every operation is one.")) } @else { (table(shown)) }
            @if !more.is_empty() { p.soft { (more.len()) " older ones are kept; `vtpm task list` shows them." } }
        }
    };
    let place = Place {
        changes: busy,
        ..Place::top(Section::Tasks)
    };
    Ok(visitor.page("Tasks", place, &body))
}

/// Tasks as a table.
pub(crate) fn table(tasks: &[Task]) -> Markup {
    let rows = html! {
        @for task in tasks {
            tr {
                td { a href={ "/ui/tasks/" (task.id) } { (parts::words(&task.operation)) } }
                td { (task.vm_name) }
                td { (parts::task_status(task.status)) }
                td {
                    @if task.is_finished() { (task.step) }
                    @else { progress max="100" value=(task.progress) aria-label={ "Progress of " (parts::words(&task.operation)) } {} " " (task.step) }
                }
                td { @match &task.owner { Some(owner) => (owner), None => "the daemon" } }
                td { (parts::moment(task.created)) }
            }
        }
    };
    let heads = ["Operation", "Of", "Status", "Step", "For", "Since"];
    parts::table("Tasks", &heads, &rows)
}

/// One task.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Response, Refusal> {
    let id = parsed(&id)?;
    let (task, target) = visitor
        .look(move |scoped| {
            let task = scoped.task(id)?;
            let target = target(scoped, &task);
            Ok((task, target))
        })
        .await?;
    let ended = task.is_finished();
    let own = task.owner == Some(visitor.principal.to_string());
    let title = format!("{}: {}", parts::words(&task.operation), task.vm_name);
    let body = html! {
        h1 { (title) }
        section.card #live data-live=[(!ended).then_some("task")] data-task=(task.id) aria-labelledby="how" {
            h2 #how { "How it stands" }
            div.progress {
                span #status { (parts::task_status(task.status)) }
                progress #progress max="100" value=(if ended { 100 } else { task.progress }) aria-labelledby="how" {}
                span #step { (task.step) }
            }
            @if let Some(error) = &task.error {
                div.notice.bad role="alert" { p { strong { "It failed; nothing of it is left." } } p { (error.detail) } }
            }
            @if task.status == TaskStatus::Canceled { div.notice.warn { p { "It was canceled; nothing of it is left." } } }
            @if !task.notes.is_empty() {
                h3 { "What became of TPMs" }
                ul.notes { @for note in &task.notes { li { (note) } } }
            }
            div.actions {
                @if let Some(address) = &target { a.button.primary href=(address) { "Show " (task.vm_name) } }
                @if !ended && (own || visitor.may(Right::Build)) {
                    form method="post" action={ "/ui/tasks/" (task.id) "/cancel" } {
                        input type="hidden" name=(FORM_TOKEN) value=(visitor.form_token);
                        button.danger type="submit" { "Cancel the task" }
                    }
                }
            }
        }
        section.card aria-labelledby="facts" {
            h2 #facts { "Facts" }
            (parts::facts(&[
                ("Operation", html! { code { (task.operation) } }),
                ("For", html! { @match &task.owner { Some(owner) => (owner), None => "the daemon itself" } }),
                ("Accepted", parts::moment(task.created)),
                ("Ended", html! { @match task.finished { Some(at) => (parts::moment(at)), None => "not yet" } }),
                ("Identifier", html! { code { (task.id) } }),
            ]))
        }
    };
    let place = Place {
        changes: !ended,
        ..Place::below(Section::Tasks, &[("Tasks", "/ui/tasks")])
    };
    Ok(visitor.page(&title, place, &body))
}

/// Where what a task made or changed is shown, if it is there.
fn target(scoped: &Scoped, task: &Task) -> Option<String> {
    let id = task.vm.to_string();
    match task.target {
        TargetKind::Vm => scoped.vm(&id).ok().map(|vm| format!("/ui/vms/{}", vm.id)),
        TargetKind::Vapp => {
            let vapp = scoped.vapp(&id).ok();
            vapp.map(|view| format!("/ui/vapps/{}", view.vapp.id))
        }
        TargetKind::Template => {
            let template = scoped.template(&id).ok();
            template.map(|it| format!("/ui/templates/{}", it.id))
        }
        TargetKind::Catalog => None,
    }
}

/// Cancels a task.
pub(crate) async fn cancel(Path(id): Path<String>, posted: Posted) -> Result<Response, Refusal> {
    let id = parsed(&id)?;
    posted
        .visitor
        .look(move |scoped| scoped.cancel_task(id))
        .await?;
    Ok(Redirect::to(&format!("/ui/tasks/{id}")).into_response())
}

/// Tasks as they change, for the script (server-sent events).
pub(crate) async fn events(visitor: Visitor) -> Result<Response, Problem> {
    let goes_on = visitor.watch();
    visitor
        .pages
        .web
        .task_events(visitor.principal.clone(), goes_on)
}

fn parsed(id: &str) -> Result<TaskId, Refusal> {
    id.parse().map_err(|_| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "There is no such thing",
            "the address has no id of a task in it",
        )
    })
}
