//! Where each TPM comes from: a tree that outlives the VMs in it.

use crate::inventory::{Inventory, Transaction};
use crate::model::{Record, SourceVm, Timestamp, Vm, VmId};
use crate::provisioning::TpmAction;
use crate::{Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How the TPM of one VM (or VM of a template) came to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Lineage {
    /// The VM.
    pub vm: VmId,
    /// Its name at that time.
    pub name: Name,
    /// The organization that it was made in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Name>,
    /// What became of the source's TPM; `None` for a VM without TPM.
    pub action: Option<TpmAction>,
    /// The VM that it was made from.
    pub source: Option<SourceVm>,
    /// The operation.
    pub operation: String,
    /// Name of its endorsement key.
    pub ek_name: Option<String>,
    /// When.
    pub at: Timestamp,
    /// When it was deleted, or lost its TPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

impl Record for Lineage {
    const PREFIX: &'static str = "lineage/";
    fn key(&self) -> String {
        Self::key_of(self.vm)
    }
}

/// One node of the tree, with those made from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LineageNode {
    /// The TPM.
    #[serde(flatten)]
    pub tpm: Lineage,
    /// Those made from it, the oldest first.
    #[schema(no_recursion)]
    pub children: Vec<Self>,
}

impl Lineage {
    pub(crate) fn key_of(vm: VmId) -> String {
        format!("{}{vm}", Self::PREFIX)
    }

    /// Records where the TPM of a new VM comes from. VMs without one have no lineage.
    pub(crate) fn begin(
        transaction: &mut Transaction,
        vm: &Vm,
        organization: Option<&Name>,
        operation: &str,
        at: Timestamp,
    ) -> Result<()> {
        let Some(tpm) = &vm.tpm else {
            return Ok(());
        };
        transaction.put(&Self {
            vm: vm.id,
            name: vm.name.clone(),
            action: Some(tpm.origin),
            source: tpm.source.clone(),
            organization: organization.cloned(),
            operation: operation.to_owned(),
            ek_name: Some(tpm.ek_name.clone()),
            at,
            ended: None,
        })
    }

    /// Records that the TPM of a VM is gone.
    pub(crate) fn end(
        inventory: &Inventory,
        transaction: &mut Transaction,
        vm: VmId,
        at: Timestamp,
    ) -> Result<()> {
        if let Some(stored) = inventory.find::<Self>(&Self::key_of(vm))? {
            let mut ended = stored.record;
            ended.ended = Some(at);
            transaction.put(&ended)?;
        }
        Ok(())
    }
}

/// The tree that the TPM of `vm` is in, from its oldest known ancestor on.
pub(crate) fn tree(inventory: &Inventory, vm: VmId) -> Result<Option<LineageNode>> {
    let all: BTreeMap<VmId, Lineage> = inventory
        .all::<Lineage>()?
        .into_iter()
        .map(|stored| (stored.record.vm, stored.record))
        .collect();
    let mut root = vm;
    // A VM is made from one that was there before it, so this ends; the bound holds even for damaged records.
    for _ in 0..all.len() {
        match all.get(&root).and_then(|node| node.source.as_ref()) {
            Some(source) if all.contains_key(&source.id) => root = source.id,
            _ => break,
        }
    }
    let mut children: BTreeMap<VmId, Vec<&Lineage>> = BTreeMap::new();
    for node in all.values() {
        if let Some(source) = &node.source {
            children.entry(source.id).or_default().push(node);
        }
    }
    for list in children.values_mut() {
        list.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    }
    Ok(all.get(&root).map(|root| node(root, &mut children)))
}

/// Takes the children out of the map, so that not even a circle of damaged records leads on for ever.
fn node(tpm: &Lineage, children: &mut BTreeMap<VmId, Vec<&Lineage>>) -> LineageNode {
    let own = children.remove(&tpm.vm).unwrap_or_default();
    LineageNode {
        tpm: tpm.clone(),
        children: own.into_iter().map(|child| node(child, children)).collect(),
    }
}
