//! `vtpm attest demo --serve`: the story as a page on the loopback interface, told anew whenever it is asked for.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Teller, page, story};
use crate::cli::boot::profile::BootProfile;
use crate::cli::{Threads, output, runtime};

/// Nothing of the page runs, and nothing comes from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Deserialize)]
struct Wanted {
    /// What the machine boots.
    #[serde(default)]
    profile: Option<String>,
}

/// Serves the page until a signal ends it.
pub(super) fn serve(profile: BootProfile, port: u16) -> anyhow::Result<ExitCode> {
    runtime(Threads::Cores)?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("port {port} of the loopback interface"))?;
        let address = listener.local_addr()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let router = Router::new()
            .route("/", get(move |wanted| tell(profile, wanted)))
            .route("/style.css", get(style))
            .layer(middleware::map_response(protected));
        output::line(format!("The story is at http://{address}/"))?;
        axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn tell(usual: BootProfile, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let profile = match wanted {
        Ok(Query(wanted)) => wanted.profile.map_or(Ok(usual), |name| {
            <BootProfile as clap::ValueEnum>::from_str(&name, false)
        }),
        Err(rejection) => Err(rejection.body_text()),
    };
    let profile = match profile {
        Ok(profile) => profile,
        Err(reason) => {
            let body = Html(page::failure(&reason).into_string());
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
    };
    let told = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let mut teller = Teller::silent();
        story::tell(&mut teller, profile)?;
        let milliseconds = start.elapsed().as_millis();
        let page = page::page(profile, &teller.steps, &teller.pictures, milliseconds);
        anyhow::Ok(page.into_string())
    })
    .await;
    let reason = match told {
        Ok(Ok(page)) => return Html(page).into_response(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_panicked) => "the story stopped half-way".to_owned(),
    };
    let body = Html(page::failure(&reason).into_string());
    (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
}

async fn style() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        page::STYLE,
    )
}

async fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}
