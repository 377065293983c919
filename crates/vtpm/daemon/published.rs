//! What certificates say is to be had of their authority: its certificate and its list of revoked ones (RFC 5280, 4.2.1.13 and 4.2.2.1).
//! Both are for everybody; they are signed, and tell nothing that a certificate's holder does not know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use vm_inventory::Operations;
use vm_web::Problem;

/// For how long a list is given again, unless another certificate is revoked: whoever asks often makes nobody sign often.
const FRESH: Duration = Duration::from_secs(60 * 60);

struct Published {
    operations: Arc<Operations>,
    /// By the names of vCenter and authority: there are only those that there are.
    lists: Mutex<BTreeMap<(String, String), List>>,
}

/// A list that was signed.
struct List {
    /// How many certificates were revoked then.
    revoked: usize,
    at: Instant,
    der: Vec<u8>,
}

/// The routes. They are no part of the API, whose paths all ask who is there.
pub(crate) fn router(operations: Arc<Operations>) -> OpenApiRouter {
    let published = Published {
        operations,
        lists: Mutex::default(),
    };
    OpenApiRouter::new()
        .route("/pki/{vcenter}/{authority}/issuer.cer", get(issuer))
        .route("/pki/{vcenter}/{authority}/revoked.crl", get(revoked))
        .with_state(Arc::new(published))
}

/// The certificate of a vCenter's authority, if the vCenter publishes it; no token is needed.
async fn issuer(
    State(published): State<Arc<Published>>,
    Path((vcenter, authority)): Path<(String, String)>,
) -> Result<Response, Problem> {
    blocking(move || {
        let certificate = published
            .operations
            .published_issuer(&vcenter, &authority)?;
        let certificate = certificate.ok_or_else(nothing)?;
        Ok(answer("application/pkix-cert", certificate.0))
    })
    .await
}

/// The list of what a vCenter's authority revoked, if the vCenter publishes it; no token is needed.
async fn revoked(
    State(published): State<Arc<Published>>,
    Path((vcenter, authority)): Path<(String, String)>,
) -> Result<Response, Problem> {
    blocking(move || {
        let operations = &published.operations;
        let current = operations.published_revocations(&vcenter, &authority)?;
        let revoked = current.ok_or_else(nothing)?;
        let key = (vcenter, authority);
        // One signature at a time, too.
        let mut lists = published
            .lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.get(&key)
            && list.revoked == revoked
            && list.at.elapsed() < FRESH
        {
            return Ok(answer("application/pkix-crl", list.der.clone()));
        }
        let list = operations.published_list(&key.0, &key.1)?;
        let der = list.ok_or_else(nothing)?.0;
        let list = List {
            revoked,
            at: Instant::now(),
            der: der.clone(),
        };
        lists.insert(key, list);
        Ok(answer("application/pkix-crl", der))
    })
    .await
}

fn answer(kind: &'static str, bytes: Vec<u8>) -> Response {
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=600"),
    ];
    (headers, bytes).into_response()
}

fn nothing() -> Problem {
    Problem {
        kind: "urn:vtpm:problem:not-found".to_owned(),
        title: "Nothing is published here".to_owned(),
        status: 404,
        detail: "there is no such vCenter, or it does not publish its authority".to_owned(),
        failures: Vec::new(),
    }
}

async fn blocking(
    work: impl FnOnce() -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Problem::from(vm_inventory::Error::Internal(
            "the list was not made".to_owned(),
        )))
    })
}
