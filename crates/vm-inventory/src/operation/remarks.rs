//! What people say about things of the cloud and no rule depends on: metadata, and whose they are.

use super::Operations;
use super::plan::as_busy;
use crate::inventory::Transaction;
use crate::model::{Catalog, Record, Timestamp, VmId};
use crate::task::{TargetKind, Task};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a thing is, of which something is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remarked {
    /// A VM, by its reference.
    Vm(String),
    /// A vApp, by its reference.
    Vapp(String),
    /// A template, by its reference.
    Template(String),
    /// A catalog, as `ORGANIZATION/NAME`.
    Catalog(String),
    /// A virtual data center, as `ORGANIZATION/NAME`.
    Vdc(String),
}

/// One entry of metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MetadataEntry {
    /// Its value, as text.
    pub value: String,
    /// The kind of its value, by the API's name.
    pub kind: String,
    /// Who may see and change it, by the API's name.
    pub visibility: String,
}

/// For how long a vApp is meant to run and to be kept. Nothing is stopped or deleted when it ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// To run, in seconds; 0 is for ever.
    pub runtime: u64,
    /// To be kept, in seconds; 0 is for ever.
    pub storage: u64,
    /// From when on.
    pub since: Timestamp,
}

/// With whom a thing is said to be shared. What a user may do is decided by the role, whatever stands here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sharing {
    /// How far with everybody of the organization, by the API's word.
    #[serde(default)]
    pub everyone: Option<String>,
    /// How far with one user or organization, by kind and name (`user:ann`).
    #[serde(default)]
    pub with: BTreeMap<String, String>,
}

/// What is said about one thing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Remarks {
    /// The thing.
    of: String,
    /// Its metadata, by domain (`GENERAL` or `SYSTEM`) and key.
    #[serde(default)]
    pub metadata: BTreeMap<String, BTreeMap<String, MetadataEntry>>,
    /// The user of its organization whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// For how long it is meant to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// With whom it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
}

/// As many entries as one thing has at most, and as many bytes as the longest key and value have.
const MOST_ENTRIES: usize = 500;
const LONGEST_KEY: usize = 256;
const LONGEST_VALUE: usize = 16 * 1024;

impl Record for Remarks {
    const PREFIX: &'static str = "remarks/";
    fn key(&self) -> String {
        Self::key_of(&self.of)
    }
}

impl Remarks {
    /// The key of what is said about a VM, vApp or template by its id, or about something else by its kind and names.
    pub(crate) fn key_of(of: &str) -> String {
        format!("{}{of}", Self::PREFIX)
    }

    /// What is said about a catalog is kept under its names.
    pub(crate) fn of_catalog(organization: &Name, name: &Name) -> String {
        format!("catalog/{organization}/{name}")
    }

    /// The same of a catalog that has another name now.
    pub(crate) fn of_catalog_called(&self, catalog: &Catalog) -> Self {
        Self {
            of: Self::of_catalog(&catalog.organization, &catalog.name),
            ..self.clone()
        }
    }

    fn check(&self) -> Result<()> {
        let entries = || self.metadata.values().flatten();
        let fits = entries().count() <= MOST_ENTRIES
            && entries().all(|(key, entry)| {
                (1..=LONGEST_KEY).contains(&key.len()) && entry.value.len() <= LONGEST_VALUE
            })
            && self
                .sharing
                .as_ref()
                .is_none_or(|sharing| sharing.with.len() <= MOST_ENTRIES);
        if fits {
            return Ok(());
        }
        Err(Error::BadValue(format!(
            "metadata has at most {MOST_ENTRIES} entries, keys of 1 to {LONGEST_KEY} bytes and values of at most {LONGEST_VALUE}"
        )))
    }
}

impl Operations {
    /// What is said about a thing is kept under, and the task that changes it.
    fn remarked(&self, of: &Remarked) -> Result<(String, Task)> {
        const OPERATION: &str = "change_remarks";
        let about = |kind, id, name: &Name, organization: &Name| {
            let mut task = Task::new(OPERATION, as_busy(id), name);
            task.target = kind;
            task.organization = Some(organization.clone());
            task
        };
        Ok(match of {
            Remarked::Vm(vm) => {
                let found = self.inventory.vm(vm)?.record;
                (found.id.to_string(), Task::of(OPERATION, &found))
            }
            Remarked::Vapp(vapp) => {
                let it = self.find_vapp(vapp)?.record;
                let task = about(TargetKind::Vapp, it.id, &it.name, &it.organization);
                (it.id.to_string(), task)
            }
            Remarked::Template(template) => {
                let it = self.find_template(template)?.record;
                let task = about(TargetKind::Template, it.id, &it.name, &it.organization);
                (it.id.to_string(), task)
            }
            Remarked::Catalog(catalog) => {
                let it = self.find_catalog(catalog)?.record;
                let id = VmId::random().0;
                let task = about(TargetKind::Catalog, id, &it.name, &it.organization);
                (Remarks::of_catalog(&it.organization, &it.name), task)
            }
            Remarked::Vdc(vdc) => {
                let it = self.find_vdc(None, Some(vdc))?.record;
                let id = VmId::random().0;
                let task = about(TargetKind::Catalog, id, &it.name, &it.organization);
                (format!("vdc/{}/{}", it.organization, it.name), task)
            }
        })
    }

    /// What is said about a thing.
    ///
    /// # Errors
    /// When there is no such thing.
    pub fn remarks(&self, of: &Remarked) -> Result<Remarks> {
        let (of, _) = self.remarked(of)?;
        let stored = self.inventory.find::<Remarks>(&Remarks::key_of(&of))?;
        Ok(stored.map_or_else(
            || Remarks {
                of,
                ..Remarks::default()
            },
            |stored| stored.record,
        ))
    }

    /// Changes that, at once. Gives the task that has done it.
    ///
    /// # Errors
    /// When there is no such thing, or it would be too much.
    pub fn change_remarks(
        &self,
        of: &Remarked,
        change: impl FnOnce(&mut Remarks) -> Result<()>,
    ) -> Result<Task> {
        let (of, task) = self.remarked(of)?;
        let key = Remarks::key_of(&of);
        let stored = self.inventory.find::<Remarks>(&key)?;
        let mut after = stored.as_ref().map_or_else(
            || Remarks {
                of: of.clone(),
                ..Remarks::default()
            },
            |stored| stored.record.clone(),
        );
        change(&mut after)?;
        after.of = of;
        after.check()?;
        let mut transaction = Transaction::default();
        match &stored {
            Some(stored) => transaction.update(stored, &after)?,
            None => transaction.insert(&after)?,
        }
        let task = task.succeeded();
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, done, name};

    fn entry(value: &str) -> MetadataEntry {
        MetadataEntry {
            value: value.to_owned(),
            kind: "MetadataStringValue".to_owned(),
            visibility: "READWRITE".to_owned(),
        }
    }

    #[test]
    fn what_is_said_of_a_vm_is_kept_and_goes_with_it() {
        let world = World::with_vcenter("8.0.3");
        let ops = &world.operations;
        world.create("vm");
        let vm = Remarked::Vm("vm".to_owned());
        assert_eq!(ops.remarks(&vm).unwrap().owner, None);
        ops.change_remarks(&vm, |it| {
            it.owner = Some(name("ann"));
            let general = it.metadata.entry("GENERAL".to_owned()).or_default();
            general.insert("team".to_owned(), entry("blue"));
            Ok(())
        })
        .unwrap();
        let too_long = ops.change_remarks(&vm, |it| {
            let general = it.metadata.entry("GENERAL".to_owned()).or_default();
            general.insert("k".repeat(257), entry("x"));
            Ok(())
        });
        assert!(matches!(too_long, Err(Error::BadValue(_))), "{too_long:?}");
        let kept = ops.remarks(&vm).unwrap();
        assert_eq!(kept.owner, Some(name("ann")));
        assert_eq!(kept.metadata["GENERAL"].len(), 1);
        let key = Remarks::key_of(&ops.vm("vm").unwrap().id.to_string());
        done(ops.delete_vm("vm"));
        assert!(ops.inventory.find::<Remarks>(&key).unwrap().is_none());
        assert!(ops.remarks(&vm).is_err());
    }
}
