//! `vtpm attest demo --serve`: the story as a page on the loopback interface. It is told once, and again when somebody asks for that.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router, middleware};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Headings, Teller, page, story};
use crate::cli::boot::profile::BootProfile;
use crate::cli::{Threads, output, runtime};

/// Nothing of the page runs, and nothing comes from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The story that the page shows.
struct Story {
    profile: BootProfile,
    /// Which telling it is, from 1.
    telling: usize,
    chapter: Chapter,
}

/// How far it is.
enum Chapter {
    /// These steps are done.
    Goes(Headings),
    /// The whole page.
    Told(String),
    /// Why it could not be told.
    Broke(String),
}

type Shelf = Arc<Mutex<Story>>;

/// Serves the page until a signal ends it.
pub(super) fn serve(profile: BootProfile, port: u16) -> anyhow::Result<ExitCode> {
    runtime(Threads::Cores)?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("port {port} of the loopback interface"))?;
        let address = listener.local_addr()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shelf = Arc::new(Mutex::new(Story {
            profile,
            telling: 0,
            chapter: Chapter::Told(String::new()),
        }));
        begin(&shelf, profile);
        let router = Router::new()
            .route("/", get(show))
            .route("/again", post(again))
            .route("/style.css", get(style))
            .with_state(shelf)
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

/// Begins to tell the story, unless it is being told.
fn begin(shelf: &Shelf, profile: BootProfile) {
    let headings = Headings::default();
    let telling = {
        let mut story = lock(shelf);
        if matches!(story.chapter, Chapter::Goes(_)) {
            return;
        }
        *story = Story {
            profile,
            telling: story.telling.saturating_add(1),
            chapter: Chapter::Goes(Arc::clone(&headings)),
        };
        story.telling
    };
    let shelf = Arc::clone(shelf);
    tokio::spawn(async move {
        let told = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let mut teller = Teller::followed(headings);
            story::tell(&mut teller, profile)?;
            let milliseconds = start.elapsed().as_millis();
            let page = page::page(
                profile,
                telling,
                &teller.steps,
                &teller.pictures,
                milliseconds,
            );
            anyhow::Ok(page.into_string())
        });
        lock(&shelf).chapter = match told.await {
            Ok(Ok(page)) => Chapter::Told(page),
            Ok(Err(error)) => Chapter::Broke(format!("{error:#}")),
            Err(_panicked) => Chapter::Broke("the story stopped half-way".to_owned()),
        };
    });
}

async fn show(State(shelf): State<Shelf>) -> Response {
    let story = lock(&shelf);
    match &story.chapter {
        Chapter::Told(page) => Html(page.clone()).into_response(),
        Chapter::Goes(headings) => {
            let done = headings.lock().unwrap_or_else(PoisonError::into_inner);
            Html(page::progress(story.profile, &done).into_string()).into_response()
        }
        Chapter::Broke(reason) => failed(StatusCode::INTERNAL_SERVER_ERROR, reason),
    }
}

#[derive(Deserialize)]
struct Wanted {
    /// What the machine boots.
    profile: String,
}

async fn again(
    State(shelf): State<Shelf>,
    headers: HeaderMap,
    wanted: Result<Form<Wanted>, FormRejection>,
) -> Response {
    // Browsers say where a form was; another site's page is none of ours.
    let from = headers.get("sec-fetch-site");
    if from.is_some_and(|from| from != "same-origin" && from != "none") {
        return failed(StatusCode::FORBIDDEN, "the form was on another page");
    }
    let profile = match wanted {
        Ok(Form(Wanted { profile })) => <BootProfile as clap::ValueEnum>::from_str(&profile, false),
        Err(rejection) => Err(rejection.body_text()),
    };
    match profile {
        Ok(profile) => {
            begin(&shelf, profile);
            Redirect::to("/").into_response()
        }
        Err(reason) => failed(StatusCode::BAD_REQUEST, &reason),
    }
}

fn failed(status: StatusCode, reason: &str) -> Response {
    (status, Html(page::failure(reason).into_string())).into_response()
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

fn lock(shelf: &Shelf) -> MutexGuard<'_, Story> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
