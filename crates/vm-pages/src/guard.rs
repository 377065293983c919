//! What holds for every page: which other sites may do nothing, and what a browser may load.

use crate::refusal::Refusal;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Everything comes from here, nothing is inline, nobody frames it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    // With no-referrer, a browser would not say where a form comes from, not even to its own site.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// Refuses what another site sent, and tells the browser what it may load.
pub(crate) async fn protect(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if changes && !is_ours(request.headers()) {
        Refusal::new(
            StatusCode::FORBIDDEN,
            "The request came from another site",
            "nothing was changed; open the page here, and use its buttons",
        )
        .into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a request comes from one of these pages, as far as the browser says. Forms carry a token besides.
fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, it)| it == host),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_site_sends_is_not_ours() {
        let said = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            is_ours(&headers.collect())
        };
        let host = ("host", "127.0.0.1:8443");
        assert!(said(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(said(&[host, ("origin", "https://127.0.0.1:8443")]));
        assert!(said(&[host]));
        for wrong in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "https://127.0.0.1:8444"),
        ] {
            assert!(!said(&[host, wrong]), "{wrong:?}");
        }
        // What the browser says of the site weighs more than an origin that fits.
        assert!(!said(&[
            host,
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://127.0.0.1:8443")
        ]));
    }
}
