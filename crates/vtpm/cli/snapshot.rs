//! `vtpm vm snapshot`, `revert`, `forget`, `snapshots`: the snapshots of a VM.

use clap::Args;
use uuid::Uuid;
use vm_inventory::{Name, SnapshotTree, TakeSnapshot};
use vm_web::api::Accepted;

use super::client::{Client, component};
use super::operate::{How, delete, foresee};
use super::output;
use super::vm::report;

#[derive(Args, Debug)]
pub(super) struct Take {
    /// Name or id of the VM
    vm: String,
    /// Name of the new snapshot, unique within the VM; anyone who reads the VM's files can read it
    snapshot: Name,
    /// What else there is to say about it, readable likewise
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct Revert {
    /// Name or id of the VM
    vm: String,
    /// Name or id of the snapshot
    snapshot: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct Forget {
    /// Name or id of the VM
    vm: String,
    /// Name or id of the snapshot
    snapshot: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// Name or id of the VM
    vm: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Take {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let request = TakeSnapshot {
            name: self.snapshot,
            description: self.description,
        };
        let path = all(&self.vm);
        if self.how.preview {
            return foresee(client, &path, &request, self.how).await;
        }
        let task = client.wait(client.post(&path, &request).await?).await?;
        let done = format!("snapshot {} taken", request.name);
        report(client, task, self.how.json, &done).await
    }
}

impl Revert {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("{}/revert", one(&self.vm, &self.snapshot));
        let nothing = serde_json::json!({});
        if self.how.preview {
            return foresee(client, &path, &nothing, self.how).await;
        }
        let accepted: Accepted = client.post(&path, &nothing).await?;
        let task = client.wait(accepted).await?;
        report(client, task, self.how.json, "reverted").await
    }
}

impl Forget {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let path = one(&self.vm, &self.snapshot);
        if self.how.preview {
            return delete(client, &path, self.how).await;
        }
        let accepted = client.delete(&path).await?;
        let task = client.wait(accepted).await?;
        report(client, task, self.how.json, "snapshot forgotten").await
    }
}

impl Show {
    pub(super) async fn execute(self, client: &Client) -> anyhow::Result<()> {
        let tree: SnapshotTree = client.get(&all(&self.vm)).await?;
        if self.json {
            return output::json(&tree);
        }
        if tree.snapshots.is_empty() {
            return Ok(output::line("no snapshots")?);
        }
        let mut rows = Vec::new();
        below(&tree, None, "", &mut rows);
        Ok(output::table(
            ["SNAPSHOT", "TAKEN", "VM", "GENERATION", "ID"],
            &rows,
        )?)
    }
}

/// The rows of what follows a snapshot, each with its branch drawn before it.
fn below(tree: &SnapshotTree, parent: Option<Uuid>, indent: &str, rows: &mut Vec<[String; 5]>) {
    let here = tree.current == parent;
    let mut left = tree.after(parent).count() + usize::from(here);
    let mut branch = |rows: &mut Vec<[String; 5]>, name: &str, cells: [String; 4]| {
        left = left.saturating_sub(1);
        // What stands at the root needs no line to it.
        let (mark, further) = match (parent, left) {
            (None, _) => ("", ""),
            (Some(_), 0) => ("`- ", "   "),
            (Some(_), _) => ("|- ", "|  "),
        };
        let [taken, vm, generation, id] = cells;
        rows.push([format!("{indent}{mark}{name}"), taken, vm, generation, id]);
        format!("{indent}{further}")
    };
    for snapshot in tree.after(parent) {
        let cells = [
            output::date(snapshot.created.0),
            if snapshot.powered_on { "on" } else { "off" }.to_owned(),
            snapshot.generation.to_string(),
            snapshot.id.to_string(),
        ];
        let indent = branch(rows, snapshot.name.as_str(), cells);
        below(tree, Some(snapshot.id), &indent, rows);
    }
    if here {
        branch(rows, "* now", Default::default());
    }
}

fn all(vm: &str) -> String {
    format!("/v1/vms/{}/snapshots", component(vm))
}

fn one(vm: &str, snapshot: &str) -> String {
    format!("{}/{}", all(vm), component(snapshot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_inventory::Snapshot;
    use vm_inventory::model::{Timestamp, VmId};

    #[test]
    fn the_tree_shows_where_the_present_state_hangs() {
        let id = Uuid::from_u128;
        let snapshot = |number, name: &str, parent: Option<u128>| Snapshot {
            id: id(number),
            name: name.parse().unwrap(),
            description: String::new(),
            parent: parent.map(id),
            created: Timestamp(1_700_000_000),
            powered_on: number == 2,
            generation: 7,
        };
        let tree = SnapshotTree {
            vm: VmId(id(9)),
            current: Some(id(1)),
            snapshots: vec![
                snapshot(1, "a", None),
                snapshot(2, "b", Some(1)),
                snapshot(3, "c", Some(2)),
            ],
            reverts: Vec::new(),
            revert_count: 0,
        };
        let mut rows = Vec::new();
        below(&tree, None, "", &mut rows);
        let drawn: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(drawn, ["a", "|- b", "|  `- c", "`- * now"]);
        assert_eq!(rows[1][1], "2023-11-14T22:13:20Z");
        assert_eq!((&*rows[0][2], &*rows[1][2]), ("off", "on"));
    }
}
