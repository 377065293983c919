//! `vtpm task`: what operations are doing, and how they ended.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use vm_inventory::{Task as TaskRecord, TaskId};
use vm_web::api::{Accepted, Items};

use super::client::talk;
use super::operate::report;
use super::output;
use crate::config::DataFolder;

/// List, follow and cancel operations
#[derive(Args, Debug)]
pub(crate) struct Task {
    #[command(flatten)]
    data: DataFolder,
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
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
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
        talk(&self.data, |client| async move {
            match verb {
                Verb::List(verb) => {
                    let tasks: Items<TaskRecord> = client.get("/v1/tasks").await?;
                    if verb.json {
                        return output::json(&tasks.items);
                    }
                    let rows: Vec<[String; 5]> = tasks.items.iter().map(row).collect();
                    Ok(output::table(
                        ["OPERATION", "OF", "STATUS", "%", "ID"],
                        &rows,
                    )?)
                }
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

fn row(task: &TaskRecord) -> [String; 5] {
    [
        task.operation.clone(),
        task.vm_name.to_string(),
        status(task),
        task.progress.to_string(),
        task.id.to_string(),
    ]
}
