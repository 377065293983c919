//! The audit log: how every operation on a TPM or key ended, in a chain of hashes.
//!
//! An entry is written in the very transaction that records the end of a task, so there is none without the other. Each holds
//! the hash of the one before it: an entry that was changed, taken out or put in breaks the chain. Nothing removes entries.

use crate::engine::{Change, Compare};
use crate::inventory::{Inventory, Stored};
use crate::model::{Provider, ProviderBackup, Record, Timestamp};
use crate::task::Task;
use crate::{Error, Result, acting};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use utoipa::ToSchema;

/// Where key providers are recorded.
const PROVIDER: &str = Provider::PREFIX;
/// The hash that the first entry follows.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Counts from 1.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The operation, or what was recorded.
    pub operation: String,
    /// What it was about: kind and identifier.
    pub target: String,
    /// Its name.
    pub name: String,
    /// The organization that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Who asked for it; nobody for what the daemon did by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How it ended: success, error, canceled.
    pub outcome: String,
    /// What became of TPMs, and what went wrong.
    pub notes: Vec<String>,
    /// The hash of the entry before it.
    pub previous: String,
    /// The hash of all of this (SHA-256 of its JSON without this member), in hexadecimal.
    #[serde(default)]
    pub hash: String,
}

impl Record for AuditEntry {
    const PREFIX: &'static str = "audit/";
    fn key(&self) -> String {
        Self::key_of(self.number)
    }
}

impl AuditEntry {
    pub(crate) fn key_of(number: u64) -> String {
        // As many digits as a number can have: the order of keys is that of numbers.
        format!("{}{number:020}", Self::PREFIX)
    }

    fn computed_hash(&self) -> Result<String> {
        let mut bare = self.clone();
        bare.hash = String::new();
        let json = encode(&bare)?;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(&json) {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    }
}

/// The end of the chain, so that entries taken from its end are missed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AuditHead {
    number: u64,
    hash: String,
}

impl Record for AuditHead {
    const PREFIX: &'static str = "audit-head/";
    fn key(&self) -> String {
        head_key()
    }
}

fn head_key() -> String {
    format!("{}head", AuditHead::PREFIX)
}

/// What looking through the log found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditCheck {
    /// How many entries there are.
    pub entries: u64,
    /// The hash at the end: kept elsewhere, it tells later whether anything before it was changed.
    pub head: String,
    /// The first thing that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// The entries that these changes call for. Their places in the chain are open yet.
pub(crate) fn drafts(changes: &[Change]) -> Result<Vec<AuditEntry>> {
    let mut drafts = Vec::new();
    for change in changes {
        match change {
            Change::Put(key, value) => drafts.extend(draft(key, value)?),
            Change::Delete(key) => drafts.extend(draft_of_end(key)),
        }
    }
    Ok(drafts)
}

/// Puts entries at the end of the chain: what has to be part of the transaction that they are about. One at a time.
pub(crate) fn chain(
    inventory: &Inventory,
    drafts: Vec<AuditEntry>,
) -> Result<(Vec<Compare>, Vec<Change>)> {
    if drafts.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let head: Option<Stored<AuditHead>> = inventory.find(&head_key())?;
    let compare = match &head {
        Some(stored) => stored.compare(),
        None => Compare::Absent(head_key()),
    };
    let mut head = head.map_or_else(
        || AuditHead {
            number: 0,
            hash: BEGINNING.to_owned(),
        },
        |stored| stored.record,
    );
    let mut more = Vec::new();
    for mut entry in drafts {
        entry.number = head.number.saturating_add(1);
        entry.previous.clone_from(&head.hash);
        entry.hash = entry.computed_hash()?;
        head.number = entry.number;
        head.hash.clone_from(&entry.hash);
        more.push(Change::Put(entry.key(), encode(&entry)?));
    }
    more.push(Change::Put(head.key(), encode(&head)?));
    Ok((vec![compare], more))
}

/// The entry for one record, if it is one that is audited. Its place in the chain is open yet.
/// What decides who may use keys goes.
fn draft_of_end(key: &str) -> Option<AuditEntry> {
    let name = key.strip_prefix(PROVIDER)?;
    Some(entry(
        "key_provider_removed".to_owned(),
        PROVIDER.trim_end_matches('/').to_owned(),
        name.to_owned(),
    ))
}

fn entry(operation: String, target: String, name: String) -> AuditEntry {
    AuditEntry {
        number: 0,
        at: Timestamp::now(),
        operation,
        target,
        name,
        organization: None,
        user: acting::user(),
        outcome: "success".to_owned(),
        notes: Vec::new(),
        previous: String::new(),
        hash: String::new(),
    }
}

fn draft(key: &str, value: &[u8]) -> Result<Option<AuditEntry>> {
    if key.starts_with(Task::PREFIX) {
        let task: Task = serde_json::from_slice(value).map_err(|error| damaged(key, &error))?;
        if !task.is_finished() {
            return Ok(None);
        }
        let word = |value: serde_json::Result<serde_json::Value>| {
            let text = value
                .ok()
                .and_then(|value| value.as_str().map(str::to_owned));
            text.unwrap_or_default()
        };
        let kind = word(serde_json::to_value(task.target));
        let mut entry = entry(
            task.operation,
            format!("{kind} {}", task.vm),
            task.vm_name.to_string(),
        );
        entry.organization = task.organization.map(|name| name.to_string());
        entry.user = task.owner;
        entry.outcome = word(serde_json::to_value(task.status));
        entry.notes = task.notes;
        entry.notes.extend(task.error.map(|error| error.detail));
        return Ok(Some(entry));
    }
    // What decides who may use keys, and where TPMs may go.
    for (prefix, operation) in [
        (PROVIDER, "key_provider_recorded"),
        (ProviderBackup::PREFIX, "key_provider_backed_up"),
        ("user/", "user_recorded"),
        ("vcenter/", "vcenter_recorded"),
        ("authority/", "authority_recorded"),
        ("revoked/", "certificate_revoked"),
        ("settings/", "settings_recorded"),
    ] {
        if let Some(name) = key.strip_prefix(prefix) {
            return Ok(Some(entry(
                operation.to_owned(),
                prefix.trim_end_matches('/').to_owned(),
                name.to_owned(),
            )));
        }
    }
    Ok(None)
}

/// How many entries were written.
pub(crate) fn written(inventory: &Inventory) -> Result<u64> {
    let head = inventory.find::<AuditHead>(&head_key())?;
    Ok(head.map_or(0, |stored| stored.record.number))
}

/// Looks through the whole chain.
pub(crate) fn check(inventory: &Inventory) -> Result<AuditCheck> {
    let head = inventory.find::<AuditHead>(&head_key())?;
    let head = head.map_or_else(
        || AuditHead {
            number: 0,
            hash: BEGINNING.to_owned(),
        },
        |stored| stored.record,
    );
    let mut previous = BEGINNING.to_owned();
    let mut expected = 0u64;
    let mut damage = None;
    for stored in inventory.all::<AuditEntry>()? {
        let entry = stored.record;
        expected = expected.saturating_add(1);
        let wrong = if entry.number != expected {
            Some(format!("entry {expected} is missing"))
        } else if entry.previous != previous {
            Some(format!(
                "entry {expected} does not follow the one before it"
            ))
        } else if entry.computed_hash()? != entry.hash {
            Some(format!("entry {expected} was changed"))
        } else {
            None
        };
        if wrong.is_some() {
            damage = wrong;
            break;
        }
        previous = entry.hash;
    }
    if damage.is_none() && (expected != head.number || previous != head.hash) {
        damage = Some(format!(
            "the log ends at entry {expected}, but {} were written",
            head.number
        ));
    }
    Ok(AuditCheck {
        entries: head.number,
        head: head.hash,
        damage,
    })
}

fn encode<T: Record>(record: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| damaged(T::PREFIX, &error))
}

fn damaged(key: &str, error: &serde_json::Error) -> Error {
    Error::Record {
        key: key.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn put(world: &World, key: &str, value: Vec<u8>) {
        let changes = [Change::Put(key.to_owned(), value)];
        world.engine.transact(&[], &changes).unwrap();
    }

    #[test]
    fn every_end_of_an_operation_is_an_entry_and_any_change_of_one_is_found() {
        let world = World::with_vcenter("8.0.3");
        world.create("web");
        world.clone_vm("web", "copy", None);
        let inventory = world.operations.inventory();
        let entries = world.operations.audit(0, usize::MAX).unwrap();
        let operations: Vec<&str> = entries.iter().map(|it| it.operation.as_str()).collect();
        assert!(operations.contains(&"create_vm") && operations.contains(&"vsphere_clone"));
        assert!(operations.contains(&"key_provider_recorded"));
        let sound = check(inventory).unwrap();
        assert_eq!((sound.damage, sound.entries), (None, entries.len() as u64));

        let second = &entries[1];
        let original = encode(second).unwrap();
        let mut forged = second.clone();
        forged.outcome = "error".to_owned();
        put(&world, &second.key(), encode(&forged).unwrap());
        let damage = check(inventory).unwrap().damage.unwrap();
        assert!(damage.contains("entry 2 was changed"), "{damage}");
        // Even with a hash that fits, the next one does not follow it.
        forged.hash = forged.computed_hash().unwrap();
        put(&world, &second.key(), encode(&forged).unwrap());
        let damage = check(inventory).unwrap().damage.unwrap();
        assert!(damage.contains("entry 3 does not follow"), "{damage}");
        put(&world, &second.key(), original);
        assert_eq!(check(inventory).unwrap().damage, None);
        let last = entries.last().unwrap().key();
        world.engine.transact(&[], &[Change::Delete(last)]).unwrap();
        let damage = check(inventory).unwrap().damage.unwrap();
        assert!(damage.contains("but"), "{damage}");
    }
}
