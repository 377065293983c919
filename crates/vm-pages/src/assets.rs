//! Style, script and icon, which are part of the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// A file that pages name.
pub(crate) struct Asset {
    kind: &'static str,
    text: &'static str,
    name: String,
}

pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/style.css");
    Asset::new("style", "css", "text/css; charset=utf-8", text)
});
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/live.js");
    Asset::new("live", "js", "text/javascript; charset=utf-8", text)
});
pub(crate) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", text)
});

impl Asset {
    /// The name follows the contents, so that a browser may keep it for ever.
    fn new(stem: &str, ending: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
        let short: String = digest.chars().take(12).collect();
        let name = format!("{stem}.{short}.{ending}");
        Self { kind, text, name }
    }

    pub(crate) fn address(&self) -> String {
        format!("/ui/assets/{}", self.name)
    }
}

/// A file by its name.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    let mut all = [&*STYLE, &*SCRIPT, &*ICON].into_iter();
    let Some(asset) = all.find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.text).into_response()
}
