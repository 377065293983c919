//! A data folder without a daemon: what sets it up before the first start.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use vm_inventory::engine::Redb;
use vm_inventory::{Inventory, Machines, Operations};
use vm_web::Jobs;

use super::{EngineMaker, Faces, OwnedFolder, RunningMachines};
use crate::confine::memory::{self, Children};

/// A data folder that this process has for as long as the value lives.
pub(crate) struct Direct {
    operations: Arc<Operations>,
    faces: Faces,
    jobs: Jobs,
    _folder: OwnedFolder,
}

impl Direct {
    /// Takes the folder; it is made if it is not there.
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Self> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        memory::forbid_dumps(Children::None);
        let folder = OwnedFolder::claim(path)?;
        let data = folder.path().to_path_buf();
        let engine = Arc::new(Redb::open(&data.join("inventory.redb"))?);
        let handle = tokio::runtime::Handle::current();
        let (machines, _wants_off) = RunningMachines::new(handle, &data.join("run"))
            .with_context(|| format!("the folder {} cannot be prepared", data.display()))?;
        let running = Arc::new(machines);
        let machines: Arc<dyn Machines> = Arc::clone(&running) as Arc<dyn Machines>;
        let opened = tokio::task::spawn_blocking({
            let data = data.clone();
            move || {
                let inventory = Inventory::open(engine)?;
                Operations::open(&data, inventory, Arc::new(EngineMaker), machines)
            }
        });
        let operations = opened.await.context("the data folder was not opened")??;
        let jobs = Jobs::default();
        Ok(Self {
            faces: Faces::new(Arc::clone(&operations), running, jobs.clone(), &data)?,
            operations,
            jobs,
            _folder: folder,
        })
    }

    /// The API, as its owner has it.
    pub(crate) fn router(&self) -> Router {
        self.faces.for_owner()
    }

    /// Waits for what was begun. Who has registered a vCenter needs none made by the first start of a daemon.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.jobs.finish().await;
        if !self.operations.vcenters()?.is_empty() {
            self.operations.inventory().set_up()?;
        }
        Ok(())
    }
}
