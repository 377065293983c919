//! Who looks at a page: the user of the session in the cookie.

use crate::refusal::Refusal;
use crate::{Pages, chrome};
use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::Markup;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use vm_inventory::{Error, Job, Principal, Right, Scoped, Task};
use vm_web::{Problem, Token};

/// The prefix makes a browser insist on TLS and on this host alone.
pub(crate) const COOKIE: &str = "__Host-vtpm";

/// Somebody who is logged in.
pub(crate) struct Visitor {
    pub(crate) principal: Principal,
    pub(crate) pages: Pages,
    token: Token,
    /// Forms carry it: no other site can know it.
    pub(crate) form_token: String,
}

/// What is shown to somebody who is not logged in.
pub(crate) enum Outside {
    LogIn(String),
    Gone,
}

impl IntoResponse for Outside {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn(path) => {
                let path = utf8_percent_encode(&path, NON_ALPHANUMERIC);
                Redirect::to(&format!("/ui/login?next={path}")).into_response()
            }
            Self::Gone => Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Nobody is logged in",
                "the session has ended, so nothing was done; log in at /ui/login and do it again",
            )
            .into_response(),
        }
    }
}

impl FromRequestParts<Pages> for Visitor {
    type Rejection = Outside;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Outside> {
        let token = token_of(&parts.headers);
        let sessions = pages.web.sessions();
        let known = token.and_then(|token| Some((sessions.principal(&token)?, token)));
        let Some((principal, token)) = known else {
            let looks = matches!(parts.method, Method::GET | Method::HEAD);
            let address = OriginalUri::from_request_parts(parts, pages).await;
            return Err(match address {
                Ok(OriginalUri(address)) if looks => Outside::LogIn(address.to_string()),
                _ => Outside::Gone,
            });
        };
        Ok(Self {
            principal,
            pages: pages.clone(),
            form_token: form_token(&token),
            token,
        })
    }
}

/// The token in the cookie.
pub(crate) fn token_of(headers: &HeaderMap) -> Option<Token> {
    let pairs = headers.get_all(header::COOKIE).iter();
    let mut pairs = pairs
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == COOKIE)?;
    Some(Token::new(token.to_owned()))
}

/// From the session's token, so that it needs no memory of its own; the other way round leads nowhere.
fn form_token(token: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"vtpm form ");
    hash.update(token.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

impl Visitor {
    /// Whether a form is one of this visitor's.
    pub(crate) fn sent(&self, form_token: &str) -> bool {
        bool::from(self.form_token.as_bytes().ct_eq(form_token.as_bytes()))
    }

    /// Whether the session goes on, without using it: for what listens.
    pub(crate) fn watch(&self) -> impl Fn() -> bool + Send + 'static {
        let sessions = self.pages.web.sessions();
        let token = self.token.clone();
        move || sessions.is_open(&token)
    }

    pub(crate) fn may(&self, right: Right) -> bool {
        self.principal.may(right)
    }

    /// Looks at something as the visitor may, where waiting for a disk is allowed.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Scoped) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let scoped = self.pages.web.operations().as_user(self.principal.clone());
        match tokio::task::spawn_blocking(move || work(&scoped)).await {
            Ok(found) => found.map_err(Problem::from),
            Err(_panicked) => Err(Error::Internal("a page stopped half-way".to_owned()).into()),
        }
    }

    /// Checks an operation and starts it.
    pub(crate) async fn start(
        &self,
        work: impl FnOnce(&Scoped) -> Result<Job, Error> + Send + 'static,
    ) -> Result<Task, Problem> {
        let job = self.look(work).await?;
        Ok(self.pages.web.jobs().start(job))
    }

    /// A whole page.
    pub(crate) fn page(&self, title: &str, at: chrome::Place<'_>, body: &Markup) -> Response {
        chrome::page(self, title, at, body).into_response()
    }
}
