//! The commands of a running VM, as they come.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http_body_util::BodyExt as _;

use super::{Printer, Show};
use crate::cli::client::{Client, component, talk};
use crate::cli::log;
use crate::cli::process::{EndSignals, create_file};
use crate::trace::{Line, parse_line};

/// The daemon's lines are no longer than this.
const LONGEST_LINE: usize = 1024 * 1024;

/// Prints what a VM's TPM is asked and answers until the VM is powered off or somebody asks to end.
pub(super) fn follow(show: &Show) -> anyhow::Result<ExitCode> {
    log::to_stderr("info");
    let vm = show
        .target
        .as_deref()
        .and_then(|name| name.to_str())
        .context("the name of a VM is text")?;
    let mut copy = show
        .trace
        .as_ref()
        .map(|path| {
            create_file(path, 0o600, false)
                .with_context(|| format!("the recording {}", path.display()))
        })
        .transpose()?;
    talk(&show.daemon, |client| async move {
        let mut end = EndSignals::catch()?;
        let listening = listen(&client, vm, show, &mut copy);
        tokio::pin!(listening);
        tokio::select! {
            outcome = &mut listening => outcome,
            () = end.asked() => Ok(()),
        }
    })
}

async fn listen(
    client: &Client,
    vm: &str,
    show: &Show,
    copy: &mut Option<File>,
) -> anyhow::Result<()> {
    let path = format!(
        "/v1/vms/{}/trace?secrets={}",
        component(vm),
        show.how.secrets
    );
    let mut body = client.stream(&path).await?;
    tracing::info!("listening to {vm}");
    let mut printer = Printer::new(show.how, show.count);
    let mut held = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the daemon's answer broke off")?;
        held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            if let Some(copy) = copy {
                copy.write_all(&line).context("the recording")?;
            }
            let line = std::str::from_utf8(&line).context("the daemon's line is not text")?;
            if let Line::Entry(entry) = parse_line(line)?
                && !printer.print(&entry)?
            {
                return Ok(());
            }
        }
        if held.len() > LONGEST_LINE {
            bail!("the daemon's line does not end");
        }
    }
    tracing::info!("{vm} was powered off");
    Ok(())
}
