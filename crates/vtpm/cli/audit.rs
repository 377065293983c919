//! `vtpm audit`: how every operation on a TPM or key ended.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::{AuditCheck, AuditEntry};
use vm_web::api::Items;

use super::client::{Client, talk};
use super::output;
use crate::config::Daemon;

/// Read and check the audit log
#[derive(Args, Debug)]
pub(crate) struct Audit {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Print the log, the oldest entry first
    List(Options),
    /// Look for entries that were changed, taken out or put in; 1 if there are any
    Verify(Options),
}

#[derive(Args, Debug)]
struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        talk(&self.daemon, |client| async move {
            match verb {
                Verb::List(options) => list(&client, options.json).await,
                Verb::Verify(options) => verify(&client, options.json).await,
            }
        })
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let mut after = 0;
    let mut all: Vec<AuditEntry> = Vec::new();
    loop {
        let page: Items<AuditEntry> = client.get(&format!("/v1/audit?after={after}")).await?;
        let Some(last) = page.items.last() else { break };
        after = last.number;
        all.extend(page.items);
    }
    if json {
        return output::json(&all);
    }
    let rows: Vec<[String; 5]> = all
        .iter()
        .map(|entry| {
            [
                entry.number.to_string(),
                entry.at.0.to_string(),
                entry.operation.clone(),
                entry.name.clone(),
                entry.outcome.clone(),
            ]
        })
        .collect();
    Ok(output::table(
        ["NUMBER", "TIME", "OPERATION", "OF", "OUTCOME"],
        &rows,
    )?)
}

async fn verify(client: &Client, json: bool) -> anyhow::Result<()> {
    let check: AuditCheck = client.get("/v1/audit/check").await?;
    if json {
        output::json(&check)?;
    } else {
        output::line(format!("{} entries, head {}", check.entries, check.head))?;
    }
    match check.damage {
        None => Ok(()),
        Some(damage) => anyhow::bail!("the audit log is damaged: {damage}"),
    }
}
