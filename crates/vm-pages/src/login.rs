//! Logging in and out.

use crate::fields::Posted;
use crate::visitor::{COOKIE, token_of};
use crate::{Pages, chrome, parts};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use vm_web::Problem;
use zeroize::Zeroizing;

#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

/// Who somebody says they are. It holds a password, so it has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct LogIn {
    user: String,
    password: Zeroizing<String>,
    #[serde(default)]
    next: String,
}

/// The page that asks.
pub(crate) async fn ask(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Query(Next { next }): Query<Next>,
) -> Response {
    let sessions = pages.web.sessions();
    if token_of(&headers).is_some_and(|token| sessions.principal(&token).is_some()) {
        return Redirect::to(inside(&next)).into_response();
    }
    asked("", &next, None)
}

/// Logs in, and goes where somebody wanted to.
pub(crate) async fn log_in(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Form(given): Form<LogIn>,
) -> Response {
    let sessions = pages.web.sessions();
    let (token, _) = match sessions.log_in(given.user.trim(), &given.password).await {
        Ok(opened) => opened,
        Err(problem) => return asked(&given.user, &given.next, Some(&problem)),
    };
    // One browser, one session.
    if let Some(before) = token_of(&headers) {
        sessions.log_out(&before);
    }
    let cookie = Zeroizing::new(format!(
        "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
        token.as_str()
    ));
    with_cookie(Redirect::to(inside(&given.next)), &cookie)
}

/// Logs out: the token is good no longer, and the browser forgets it.
pub(crate) async fn log_out(
    State(pages): State<Pages>,
    headers: HeaderMap,
    posted: Posted,
) -> Response {
    drop(posted);
    if let Some(token) = token_of(&headers) {
        pages.web.sessions().log_out(&token);
    }
    let cookie = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    with_cookie(Redirect::to("/ui/login"), &cookie)
}

fn with_cookie(answer: Redirect, cookie: &str) -> Response {
    let mut response = answer.into_response();
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Only a place among these pages is gone to.
fn inside(next: &str) -> &str {
    let plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if next.starts_with("/ui/") && plain {
        next
    } else {
        "/ui/"
    }
}

fn asked(user: &str, next: &str, problem: Option<&Problem>) -> Response {
    let status = problem
        .and_then(|problem| StatusCode::from_u16(problem.status).ok())
        .unwrap_or(StatusCode::OK);
    let body = html! {
        div.login {
            h1 { "Log in" }
            p.soft { "Virtual TPMs, and what becomes of them." }
            @if let Some(problem) = problem { (parts::refused(problem)) }
            form method="post" action="/ui/login" {
                input type="hidden" name="next" value=(inside(next));
                div.field {
                    label for="user" { "User" }
                    input #user name="user" type="text" value=(user) autocomplete="username" autocapitalize="none" spellcheck="false"
                        required autofocus aria-describedby="user-hint";
                    p.hint #user-hint { "USER@ORGANIZATION; the system's are USER@vsphere.local" }
                }
                div.field {
                    label for="password" { "Password" }
                    input #password name="password" type="password" autocomplete="current-password" required;
                }
                button.primary type="submit" { "Log in" }
            }
        }
    };
    (status, chrome::bare("Log in", &body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_no_other_site() {
        assert_eq!(inside("/ui/vms/x?y=z"), "/ui/vms/x?y=z");
        for wrong in [
            "",
            "https://evil.example/ui/",
            "//evil.example",
            "/ui/\r\nx: y",
            "/uix",
            "/ui/\\evil",
            "javascript:1",
        ] {
            assert_eq!(inside(wrong), "/ui/", "{wrong}");
        }
    }
}
