//! Where each TPM comes from: a tree that outlives the VMs in it.

use crate::inventory::{Inventory, Transaction};
use crate::model::{Record, SourceVm, Timestamp, Vm, VmId};
use crate::provisioning::TpmAction;
use crate::{Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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

/// One node of a tree, which is a list: each stands behind what it was made from, before the next one made from the same. However long a
/// chain of copies is, nothing has to go as deep as it to read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LineageNode {
    /// The TPM.
    #[serde(flatten)]
    pub tpm: Lineage,
    /// How far below the first one it stands.
    pub depth: u32,
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

/// The tree that the TPM of `vm` is in, from its oldest known ancestor on; those made from one stand by age. Empty if there is none.
pub(crate) fn tree(inventory: &Inventory, vm: VmId) -> Result<Vec<LineageNode>> {
    let find = |vm: VmId| -> Result<Option<Lineage>> {
        let found = inventory.find::<Lineage>(&Lineage::key_of(vm))?;
        Ok(found.map(|stored| stored.record))
    };
    let Some(mut root) = find(vm)? else {
        return Ok(Vec::new());
    };
    // A VM is made from one that was there before it, so these end; what was seen ends them even for damaged records.
    let mut seen = BTreeSet::from([root.vm]);
    while let Some(source) = &root.source {
        let Some(above) = find(source.id)?.filter(|above| seen.insert(above.vm)) else {
            break;
        };
        root = above;
    }
    let mut seen = BTreeSet::from([root.vm]);
    let mut nodes = Vec::new();
    let mut waiting = vec![LineageNode {
        tpm: root,
        depth: 0,
    }];
    while let Some(node) = waiting.pop() {
        let below = inventory.index().made_from(node.tpm.vm);
        let mut children = Vec::new();
        for child in below {
            children.extend(find(child)?.filter(|child| seen.insert(child.vm)));
        }
        children.sort_by(|a, b| (b.at, &b.name, b.vm).cmp(&(a.at, &a.name, a.vm)));
        let depth = node.depth.saturating_add(1);
        waiting.extend(children.into_iter().map(|tpm| LineageNode { tpm, depth }));
        nodes.push(node);
    }
    Ok(nodes)
}

/// What is left of a tree for who sees only some of it: the part with `vm`, in which nobody says to come from what is not seen.
pub(crate) fn visible(
    nodes: Vec<LineageNode>,
    vm: VmId,
    sees: impl Fn(&Lineage) -> bool,
) -> Vec<LineageNode> {
    let mut parts: Vec<Vec<LineageNode>> = Vec::new();
    // The way down to the node: whether each on it is seen, and which VM it is.
    let mut way: Vec<(bool, VmId)> = Vec::new();
    for mut node in nodes {
        way.truncate(usize::try_from(node.depth).unwrap_or(usize::MAX));
        let seen = sees(&node.tpm);
        let above = way.iter().filter(|(seen, _)| *seen).count();
        if let Some((false, hidden)) = way.last() {
            let source = node.tpm.source.take();
            node.tpm.source = source.filter(|source| source.id != *hidden);
        }
        way.push((seen, node.tpm.vm));
        if !seen {
            continue;
        }
        node.depth = u32::try_from(above).unwrap_or(u32::MAX);
        match parts.last_mut().filter(|_| above > 0) {
            Some(part) => part.push(node),
            None => parts.push(vec![node]),
        }
    }
    let part = parts
        .into_iter()
        .find(|part| part.iter().any(|node| node.tpm.vm == vm));
    part.unwrap_or_default()
}
