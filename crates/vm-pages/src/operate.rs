//! How an operation is carried out from a page: preview first, then the task.

use crate::fields::{Fields, Posted, wrong};
use crate::form::Form;
use crate::visitor::Visitor;
use axum::response::{IntoResponse, Redirect, Response};
use vm_inventory::{Error, Job, Preview, Scoped};
use vm_web::Problem;

/// Shows the form, or at once the preview where there is nothing to fill in.
pub(crate) async fn ask(
    visitor: Visitor,
    form: Form,
    look: impl FnOnce(&Scoped) -> Result<Preview, Error> + Send + 'static,
) -> Response {
    let mut filled = Fields::default();
    for (name, value) in &form.hidden {
        filled.set(name, value);
    }
    if !form.fields.is_empty() {
        return form.ask(&visitor, &filled);
    }
    match visitor.look(look).await {
        Ok(preview) => form.previewed(&visitor, &filled, &preview),
        Err(problem) => form.refused(&visitor, &filled, &problem),
    }
}

/// Takes the form: shows the preview, or does it.
pub(crate) async fn act<R: Send + 'static>(
    posted: Posted,
    form: Form,
    request: Result<R, Problem>,
    look: impl FnOnce(&Scoped, &R) -> Result<Preview, Error> + Send + 'static,
    start: impl FnOnce(&Scoped, R) -> Result<Job, Error> + Send + 'static,
) -> Response {
    let Posted { visitor, fields } = posted;
    let outcome = async {
        let request = request?;
        if fields.text("step") != Some("start") {
            let preview = visitor.look(move |scoped| look(scoped, &request)).await?;
            return Ok(form.previewed(&visitor, &fields, &preview));
        }
        if form.confirm.is_some() && !fields.is_ticked("confirm") {
            return Err(wrong(
                "tick the box that says what is lost, if it is to be done",
            ));
        }
        let task = visitor.start(move |scoped| start(scoped, request)).await?;
        Ok(Redirect::to(&format!("/ui/tasks/{}", task.id)).into_response())
    };
    match outcome.await {
        Ok(response) => response,
        Err(problem) => form.refused(&visitor, &fields, &problem),
    }
}

/// An operation that a page has no button for.
pub(crate) fn unknown(operation: &str) -> Error {
    Error::NotFound {
        what: "operation",
        name: operation.chars().take(40).collect(),
        hint: "go back, and use the buttons of the page",
    }
}
