//! What is shown in the place of a page that cannot be.

use crate::{chrome, parts, problem};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;
use vm_web::Problem;

/// A page that says why there is none.
#[derive(Debug)]
pub(crate) struct Refusal(Problem);

impl Refusal {
    pub(crate) fn new(status: StatusCode, title: &str, detail: &str) -> Self {
        Self(problem(status, title, detail))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<vm_inventory::Error> for Refusal {
    fn from(error: vm_inventory::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = html! {
            h1 { (problem.title) }
            (parts::why(&problem))
            p { a.button href="/ui/" { "To the inventory" } }
        };
        (status, chrome::bare(&problem.title, &body)).into_response()
    }
}
