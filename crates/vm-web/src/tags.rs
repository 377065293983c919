//! Entity tags (RFC 9110, 8.8.3): what was read is not sent again, and what was changed meanwhile is not changed unseen.

use crate::Problem;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use vm_inventory::{Error, Scoped};

/// Puts a tag on every JSON answer to GET, and leaves out the answer that the client has.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    // The answer to HEAD has no body to make a tag of.
    let looks = *request.method() == Method::GET;
    let known = listed_tags(request.headers(), &header::IF_NONE_MATCH);
    let response = next.run(request).await;
    let json = response.headers().get(header::CONTENT_TYPE)
        == Some(&HeaderValue::from_static("application/json"));
    if !looks || response.status() != StatusCode::OK || !json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The answer was in memory already.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Problem::from(Error::Internal("an answer broke off".to_owned())).into_response();
    };
    let tag = tag_of(&body);
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    if fits(&known, &tag) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

fn tag_of(body: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let (half, _) = digest.split_at(16);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(half))
}

fn listed_tags(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").to_owned())
        .filter(|tag| !tag.is_empty())
        .collect()
}

fn fits(known: &[String], tag: &str) -> bool {
    known.iter().any(|known| known == "*" || known == tag)
}

/// What a request with `If-Match` takes the thing for that it changes.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    tags: Vec<String>,
    thing: Thing,
}

#[derive(Clone, Debug)]
enum Thing {
    Vm(String),
    Vapp(String),
    Template(String),
    Settings,
}

impl Expected {
    /// `None` for a request without the header.
    pub(crate) async fn by(parts: &mut Parts) -> Result<Option<Self>, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Ok(None);
        }
        let tags = listed_tags(&parts.headers, &header::IF_MATCH);
        let path = parts
            .extensions
            .get::<MatchedPath>()
            .map_or_else(String::new, |path| path.as_str().to_owned());
        let found = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|error| Problem::bad_request(error.body_text()))?;
        let part = |name: &str| {
            let mut all = found.iter();
            all.find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        let thing = if path == "/v1/settings" {
            Some(Thing::Settings)
        } else if path.starts_with("/v1/vms/{vm}") {
            part("vm").map(Thing::Vm)
        } else if path.starts_with("/v1/vapps/{vapp}") {
            part("vapp").map(Thing::Vapp)
        } else if path.starts_with("/v1/templates/{template}") {
            part("template").map(Thing::Template)
        } else {
            None
        };
        match thing {
            Some(thing) => Ok(Some(Self { tags, thing })),
            None => Err(Problem::bad_request(
                "nothing with an entity tag is changed by this request; leave If-Match out",
            )),
        }
    }

    /// That the thing is what the request takes it for.
    pub(crate) fn check(&self, scoped: &Scoped) -> Result<(), Error> {
        let now = match &self.thing {
            Thing::Vm(vm) => tag_now(&scoped.vm(vm)?),
            Thing::Vapp(vapp) => tag_now(&scoped.vapp(vapp)?),
            Thing::Template(template) => tag_now(&scoped.template(template)?),
            Thing::Settings => tag_now(&scoped.cloud_settings()?),
        }?;
        if fits(&self.tags, &now) {
            return Ok(());
        }
        Err(Error::Changed { now })
    }
}

fn tag_now(view: &impl Serialize) -> Result<String, Error> {
    let body = serde_json::to_vec(view).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(tag_of(&body))
}

#[cfg(test)]
mod tests {
    use crate::tests::Api;
    use axum::http::{Method, StatusCode};
    use std::sync::Arc;

    #[tokio::test]
    async fn of_many_that_rely_on_one_tag_one_changes_the_thing() {
        let api = Arc::new(Api::empty().await);
        let (path, json) = ("/v1/settings", ("content-type", "application/json"));
        let (_, headers, _) = api.send_with(Method::GET, path, &[], Vec::new()).await;
        let tag = headers["etag"].to_str().unwrap().to_owned();
        let all: Vec<_> = (0..12)
            .map(|_| {
                let (api, tag) = (Arc::clone(&api), tag.clone());
                tokio::spawn(async move {
                    let body = br#"{"fast_cross_vcenter_instantiation": true}"#.to_vec();
                    let headers = [json, ("if-match", tag.as_str())];
                    api.send_with(Method::PUT, path, &headers, body).await.0
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for one in all {
            statuses.push(one.await.unwrap());
        }
        let of = |status| statuses.iter().filter(|it| **it == status).count();
        assert_eq!(of(StatusCode::OK), 1, "{statuses:?}");
        assert_eq!(of(StatusCode::PRECONDITION_FAILED), 11, "{statuses:?}");
    }
}
