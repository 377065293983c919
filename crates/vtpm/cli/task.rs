//! `vtpm task`: what operations are doing, and how they ended.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::{Task as TaskRecord, TaskId};
use vm_web::api::Accepted;

use super::client::talk;
use super::list::{List, Row};
use super::operate::report;
use crate::config::Daemon;

/// List, follow and cancel operations
#[derive(Args, Debug)]
pub(crate) struct Task {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the tasks that are kept, the newest first
    List(List),
    /// Show one task
    Show(One),
    /// Wait for the end of a task
    Wait(One),
    /// Ask a task to stop; what it made is undone
    Cancel(One),
}

#[derive(Args, Debug)]
struct One {
    /// Its id
    id: TaskId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Task {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let verb = self.verb;
        talk(&self.daemon, |client| async move {
            match verb {
                Verb::List(list) => list.of::<TaskRecord, _>(&client, "/v1/tasks").await,
                Verb::Show(verb) => {
                    let task: TaskRecord = client.get(&format!("/v1/tasks/{}", verb.id)).await?;
                    report(&task, verb.json, &status(&task))
                }
                Verb::Wait(verb) => {
                    let task: TaskRecord = client.get(&format!("/v1/tasks/{}", verb.id)).await?;
                    let task = client.wait(Accepted { task }).await?;
                    report(&task, verb.json, &status(&task))
                }
                Verb::Cancel(verb) => {
                    let path = format!("/v1/tasks/{}/cancel", verb.id);
                    let task: TaskRecord = client.post(&path, &serde_json::json!({})).await?;
                    report(&task, verb.json, "asked to stop")
                }
            }
        })
    }
}

fn status(task: &TaskRecord) -> String {
    serde_json::to_value(task.status)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

impl Row<5> for TaskRecord {
    const HEADINGS: [&'static str; 5] = ["OPERATION", "OF", "STATUS", "%", "ID"];

    fn row(&self) -> [String; 5] {
        [
            self.operation.clone(),
            self.vm_name.to_string(),
            status(self),
            self.progress.to_string(),
            self.id.to_string(),
        ]
    }
}
