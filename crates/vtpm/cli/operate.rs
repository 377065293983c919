//! What verbs share that make and change VMs by the rules for TPMs: the choice, the preview, the wait.

use clap::{Args, ValueEnum};
use serde::Serialize;
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{Fate, Preview, Task};

use super::client::{Client, Refusal};
use super::{log, output};

/// What becomes of a TPM.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum TpmChoice {
    /// Keep every secret of the source's TPM, the endorsement key included
    Copy,
    /// A new TPM; what was sealed in the source does not open there
    Replace,
}

impl From<TpmChoice> for TpmProvisioning {
    fn from(choice: TpmChoice) -> Self {
        match choice {
            TpmChoice::Copy => Self::Copy,
            TpmChoice::Replace => Self::Replace,
        }
    }
}

/// How to do it and how to say so.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct How {
    /// Change nothing: say what each TPM would keep or lose, and every rule that is not met
    #[arg(long)]
    pub(super) preview: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Asks for an operation and waits for its end, or shows what it would do.
pub(super) async fn operate(
    client: &Client,
    path: &str,
    request: &impl Serialize,
    how: How,
    done: &str,
) -> anyhow::Result<()> {
    if how.preview {
        return foresee(client, path, request, how).await;
    }
    let accepted = client.post(path, request).await?;
    let task = client.wait(accepted).await?;
    report(&task, how.json, done)
}

/// Does the same to each of several VMs: one that is refused is told of and does not hold up the others.
pub(super) async fn each(
    vms: &[String],
    one: impl AsyncFn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut refused = 0;
    for vm in vms {
        let Err(error) = one(vm).await else {
            continue;
        };
        let for_all = matches!(
            error.downcast_ref(),
            Some(Refusal::Usage(_) | Refusal::NoDaemon(_))
        );
        if vms.len() == 1 || for_all {
            return Err(error);
        }
        refused += 1;
        log::complain(&error.context(vm.clone()));
    }
    anyhow::ensure!(refused == 0, "{refused} of {} VMs failed", vms.len());
    Ok(())
}

/// Shows what a request would do.
pub(super) async fn foresee(
    client: &Client,
    path: &str,
    request: &impl Serialize,
    how: How,
) -> anyhow::Result<()> {
    let path = format!("{path}?preview=true");
    let preview: Preview = client.post(&path, request).await?;
    show(&preview, how.json)
}

/// Asks for something to be deleted and waits until it is.
pub(super) async fn delete(client: &Client, path: &str, how: How) -> anyhow::Result<()> {
    if how.preview {
        let preview: Preview = client.delete(&format!("{path}?preview=true")).await?;
        return show(&preview, how.json);
    }
    let accepted = client.delete(path).await?;
    let task = client.wait(accepted).await?;
    report(&task, how.json, "deleted")
}

/// Says how a task ended.
pub(super) fn report(task: &Task, json: bool, done: &str) -> anyhow::Result<()> {
    if json {
        return output::json(task);
    }
    output::line(format!("{}: {done}", task.vm_name))?;
    for note in &task.notes {
        output::line(format!("  {note}"))?;
    }
    Ok(())
}

pub(super) fn show(preview: &Preview, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(preview)?;
    } else {
        let word = |name: Option<&vm_inventory::Name>| {
            name.map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        let rows: Vec<[String; 9]> = preview
            .vms
            .iter()
            .map(|vm| {
                let effects = vm.effects;
                [
                    word(vm.source.as_ref()),
                    word(vm.vm.as_ref()),
                    vm.tpm.map_or_else(|| "-".to_owned(), |tpm| tpm.to_string()),
                    fate(effects.ek_identity),
                    fate(effects.persistent_handles),
                    fate(effects.nv_indices),
                    fate(effects.sealed_data),
                    fate(effects.snapshots),
                    word(vm.provider.as_ref()),
                ]
            })
            .collect();
        output::table(
            [
                "FROM",
                "VM",
                "TPM",
                "EK",
                "PERSISTENT",
                "NV",
                "SEALED",
                "SNAPSHOTS",
                "PROVIDER",
            ],
            &rows,
        )?;
        for failure in &preview.failures {
            output::line(format!("not met: {failure}"))?;
        }
    }
    anyhow::ensure!(
        preview.possible,
        "{} would be refused: {} rules are not met",
        preview.operation,
        preview.failures.len()
    );
    Ok(())
}

fn fate(fate: Fate) -> String {
    match fate {
        Fate::Kept => "kept",
        Fate::Lost => "lost",
        Fate::Reverted => "reverted",
        Fate::New => "new",
        Fate::None => "-",
    }
    .to_owned()
}
