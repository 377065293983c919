//! Packages of VMs (OVF, OVA), up and down, with progress.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use axum::body::Body;
use clap::Args;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use indicatif::{ProgressBar, ProgressStyle};
use vm_inventory::Preview;
use vm_inventory::ovf::{Pack, unpack};
use vm_web::api::Accepted;
use vm_web::{from_body, into_body};

use super::client::{Client, Refusal, component};
use super::operate::{How, report, show};
use super::output;

/// Where a package goes.
#[derive(Args, Debug)]
pub(super) struct Destination {
    /// FILE.ova for an archive, or a folder for descriptor, disks and manifest side by side
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
}

/// Sends a package. Every rule is checked on its descriptor before anything else is sent.
pub(super) async fn upload<const N: usize>(
    client: &Client,
    file: &Path,
    query: [(&str, Option<String>); N],
    how: How,
) -> anyhow::Result<()> {
    let pack = Pack::open(file).map_err(|error| Refusal::Usage(error.to_string()))?;
    let query: Vec<String> = query
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", component(&value?))))
        .collect();
    let path = format!("/v1/packages?{}", query.join("&"));
    let head = pack.head()?;
    let preview: Preview = send_whole(client, &format!("{path}&preview=true"), &head).await?;
    if how.preview {
        return show(&preview, how.json);
    }
    let accepted: Accepted = if preview.possible {
        send(client, &path, pack).await?
    } else {
        // It is refused by that alone, in the words for a refusal.
        send_whole(client, &path, &head).await?
    };
    let task = client.wait(accepted).await?;
    report(&task, how.json, "uploaded")
}

async fn send_whole<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    bytes: &[u8],
) -> anyhow::Result<T> {
    let bytes = bytes.to_vec();
    let (mut writer, body) = into_body(bytes.len() as u64);
    tokio::task::spawn_blocking(move || writer.write_all(&bytes));
    client.upload(path, body).await
}

async fn send(client: &Client, path: &str, pack: Pack) -> anyhow::Result<Accepted> {
    let (writer, body) = into_body(pack.length());
    let bar = bar(pack.length(), "uploading");
    let mut writer = bar.wrap_write(writer);
    let writing = tokio::task::spawn_blocking(move || pack.write(&mut writer));
    let answer = client.upload(path, body).await;
    bar.finish_and_clear();
    match (answer, writing.await) {
        (Ok(accepted), _) => Ok(accepted),
        // What the daemon says comes first; a file that cannot be read explains why it got no further.
        (Err(error), Ok(Err(reading))) if error.downcast_ref::<Refusal>().is_none() => {
            Err(error.context(format!("the package was not sent to its end: {reading}")))
        }
        (Err(error), _) => Err(error),
    }
}

/// Fetches a package.
pub(super) async fn download(
    client: &Client,
    path: &str,
    destination: Destination,
) -> anyhow::Result<()> {
    let to = destination.to;
    let is_archive = to
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("ova"));
    if is_archive && to.exists() {
        return Err(Refusal::Usage(format!(
            "{} is there already; choose another name",
            to.display()
        ))
        .into());
    }
    let body = client.stream(path).await?;
    let length = body.size_hint().exact().unwrap_or_default();
    let bar = bar(length, "downloading");
    let outcome = if is_archive {
        into_file(body, &to, &bar).await
    } else {
        into_folder(body, &to, &bar).await
    };
    bar.finish_and_clear();
    let bytes = outcome?;
    Ok(output::line(format!(
        "{}: {bytes} bytes written",
        to.display()
    ))?)
}

async fn into_file(mut body: Body, to: &Path, bar: &ProgressBar) -> anyhow::Result<u64> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = async {
        let mut file = File::create(&part)?;
        let mut bytes = 0u64;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broke_off)?;
            if let Some(data) = frame.data_ref() {
                file.write_all(data)?;
                bytes += data.len() as u64;
                bar.set_position(bytes);
            }
        }
        file.sync_all()?;
        fs::rename(&part, to)?;
        Ok::<u64, io::Error>(bytes)
    };
    let outcome = written.await;
    if outcome.is_err() {
        // It may not even have been made.
        let _ = fs::remove_file(&part);
    }
    outcome.with_context(|| to.display().to_string())
}

async fn into_folder(mut body: Body, to: &Path, bar: &ProgressBar) -> anyhow::Result<u64> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let (sender, mut reader) = from_body();
    let folder = to.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || unpack(&mut reader, &folder));
    let mut bytes = 0u64;
    while let Some(frame) = body.frame().await {
        let piece = match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
            Err(error) => Err(broke_off(error)),
        };
        bytes += piece.as_ref().map_or(0, |data| data.len() as u64);
        bar.set_position(bytes);
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    unpacking
        .await
        .context("the package was not unpacked")?
        .with_context(|| to.display().to_string())?;
    Ok(bytes)
}

fn broke_off(error: axum::Error) -> io::Error {
    io::Error::other(format!("the package broke off: {error}"))
}

fn bar(length: u64, what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let template = "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}
