//! The snapshots of a VM: a tree, the point in it that the VM came from, and the reverts that there were.

use crate::inventory::shown;
use crate::model::{Record, Timestamp, VmId};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Snapshots that may follow one another, as in vSphere.
const LONGEST_CHAIN: usize = 32;
/// Snapshots of one VM in all: the record of the tree stays small.
const MOST: usize = 256;
/// Reverts that are kept for people to look at; the number of all is kept for ever.
const KEPT_REVERTS: usize = 100;

/// A snapshot, as far as the inventory knows it. What it holds is in a file of the VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Identifies it.
    pub id: Uuid,
    /// Its name, unique within the VM.
    pub name: Name,
    /// What else there is to say about it.
    #[serde(default)]
    pub description: String,
    /// The snapshot before it.
    pub parent: Option<Uuid>,
    /// When it was taken.
    pub created: Timestamp,
    /// Whether the VM was on: then it holds the TPM's volatile state, and reverting to it powers the VM on.
    pub powered_on: bool,
    /// The generation of the state that it holds.
    pub generation: u64,
}

/// The VM went back to a snapshot: from then on it was another instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Revert {
    /// The snapshot.
    pub snapshot: Uuid,
    /// Its name at that time.
    pub name: Name,
    /// When.
    pub at: Timestamp,
    /// The instance that was given up.
    pub from_instance: Uuid,
    /// The instance since then.
    pub to_instance: Uuid,
    /// The generation that the snapshot had.
    pub to_generation: u64,
}

/// All snapshots of one VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotTree {
    /// The VM.
    pub vm: VmId,
    /// The snapshot that the present state goes on from.
    pub current: Option<Uuid>,
    /// Every snapshot, the oldest first.
    pub snapshots: Vec<Snapshot>,
    /// The latest reverts, the oldest first.
    pub reverts: Vec<Revert>,
    /// How often the VM was reverted in all.
    pub revert_count: u64,
}

impl Record for SnapshotTree {
    const PREFIX: &'static str = "snapshots/";
    fn key(&self) -> String {
        Self::key_of(self.vm)
    }
}

impl SnapshotTree {
    /// No snapshots.
    pub(crate) fn empty(vm: VmId) -> Self {
        Self {
            vm,
            current: None,
            snapshots: Vec::new(),
            reverts: Vec::new(),
            revert_count: 0,
        }
    }

    pub(crate) fn key_of(vm: VmId) -> String {
        format!("{}{vm}", Self::PREFIX)
    }

    /// The snapshot of that id or name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, reference: &str) -> Result<&Snapshot> {
        let id = Uuid::try_parse(reference).ok();
        let by_id = self.snapshots.iter().find(|it| Some(it.id) == id);
        let by_name = || {
            self.snapshots
                .iter()
                .find(|it| it.name.as_str() == reference)
        };
        by_id.or_else(by_name).ok_or_else(|| Error::NotFound {
            what: "snapshot",
            name: shown(reference),
            hint: "`vtpm vm snapshots` shows those of a VM",
        })
    }

    /// The snapshot that the present state goes on from.
    #[must_use]
    pub fn current(&self) -> Option<&Snapshot> {
        self.snapshots.iter().find(|it| Some(it.id) == self.current)
    }

    /// Those that follow a snapshot, or have none before them.
    pub fn after(&self, parent: Option<Uuid>) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().filter(move |it| it.parent == parent)
    }

    /// Whether there is more than one chain of them.
    pub(crate) fn is_branched(&self) -> bool {
        let mut parents: Vec<_> = self.snapshots.iter().map(|it| it.parent).collect();
        let number = parents.len();
        parents.sort_unstable();
        parents.dedup();
        parents.len() < number
    }

    /// Checks that the present state may get a snapshot of that name.
    pub(crate) fn check_room(&self, vm: &Name, name: &Name) -> Result<()> {
        if self.snapshots.iter().any(|it| it.name == *name) {
            return Err(Error::Exists {
                what: "snapshot",
                name: name.clone(),
                place: format!("the VM {vm}"),
            });
        }
        let mut chain = 0;
        let mut at = self.current;
        while let Some(snapshot) = self.snapshots.iter().find(|it| Some(it.id) == at) {
            chain += 1;
            at = snapshot.parent.filter(|_| chain < LONGEST_CHAIN);
        }
        if chain >= LONGEST_CHAIN || self.snapshots.len() >= MOST {
            return Err(Error::BadValue(format!(
                "the VM {vm} has {} snapshots, {chain} of them in a chain; at most {LONGEST_CHAIN} may follow one another, and {MOST} are possible in all: forget one first",
                self.snapshots.len()
            )));
        }
        Ok(())
    }

    /// The present state goes on from a new snapshot.
    pub(crate) fn add(&mut self, snapshot: Snapshot) {
        self.current = Some(snapshot.id);
        self.snapshots.push(snapshot);
    }

    /// A snapshot goes; what followed it follows the one before it.
    pub(crate) fn forget(&mut self, id: Uuid) {
        let Some(parent) = self.snapshots.iter().find(|it| it.id == id) else {
            return;
        };
        let parent = parent.parent;
        self.snapshots.retain(|it| it.id != id);
        for place in self
            .snapshots
            .iter_mut()
            .map(|it| &mut it.parent)
            .chain([&mut self.current])
        {
            if *place == Some(id) {
                *place = parent;
            }
        }
    }

    /// The present state is that of a snapshot again.
    pub(crate) fn reverted(&mut self, revert: Revert) {
        self.current = Some(revert.snapshot);
        self.reverts.push(revert);
        let surplus = self.reverts.len().saturating_sub(KEPT_REVERTS);
        self.reverts.drain(..surplus);
        self.revert_count = self.revert_count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(number: u128, parent: Option<u128>) -> Snapshot {
        Snapshot {
            id: Uuid::from_u128(number),
            name: format!("s{number}").parse().unwrap(),
            description: String::new(),
            parent: parent.map(Uuid::from_u128),
            created: Timestamp(1),
            powered_on: false,
            generation: 1,
        }
    }

    #[test]
    fn what_followed_a_forgotten_snapshot_follows_the_one_before_it() {
        let mut tree = SnapshotTree::empty(VmId::random());
        tree.add(snapshot(1, None));
        tree.add(snapshot(2, Some(1)));
        tree.add(snapshot(3, Some(2)));
        tree.add(snapshot(4, Some(2)));
        tree.forget(Uuid::from_u128(2));
        let parents: Vec<_> = tree.snapshots.iter().map(|it| it.parent).collect();
        let one = Some(Uuid::from_u128(1));
        assert_eq!(parents, [None, one, one]);
        tree.forget(Uuid::from_u128(4));
        assert_eq!(tree.current, one);
        tree.forget(Uuid::from_u128(1));
        assert_eq!(tree.current, None);
        assert_eq!(tree.after(None).count(), 1);
    }

    #[test]
    fn names_are_unique_and_chains_end() {
        let vm: Name = "vm".parse().unwrap();
        let mut tree = SnapshotTree::empty(VmId::random());
        for number in 1..=32 {
            let new = snapshot(number, number.checked_sub(1).filter(|n| *n > 0));
            tree.check_room(&vm, &new.name).unwrap();
            tree.add(new);
        }
        let error = tree.check_room(&vm, &"more".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("32"), "{error}");
        // Another branch has room.
        tree.current = Some(Uuid::from_u128(5));
        tree.check_room(&vm, &"more".parse().unwrap()).unwrap();
        let error = tree.check_room(&vm, &"s7".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert!(tree.find("s7").is_ok() && tree.find(&Uuid::from_u128(7).to_string()).is_ok());
        assert!(tree.find("../s7").is_err());
    }
}
