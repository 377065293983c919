//! Settings of one vCenter that its API has and no rule of the table: what a request gets that leaves a choice out.

use super::Operations;
use crate::inventory::Transaction;
use crate::model::Record;
use crate::provisioning::TpmProvisioning;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};

/// The settings of a vCenter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VCenterOptions {
    /// The vCenter.
    pub vcenter: Name,
    /// What becomes of a TPM in a clone through its API that does not say; a copy if nothing stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_policy: Option<TpmProvisioning>,
}

impl Record for VCenterOptions {
    const PREFIX: &'static str = "vcenter-options/";
    fn key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.vcenter)
    }
}

impl Operations {
    /// The settings of a vCenter.
    ///
    /// # Errors
    /// When there is no such vCenter.
    pub fn vcenter_options(&self, vcenter: &Name) -> Result<VCenterOptions> {
        let usual = VCenterOptions {
            vcenter: self.inventory.vcenter(vcenter.as_str())?.record.name,
            clone_policy: None,
        };
        let stored = self.inventory.find::<VCenterOptions>(&usual.key())?;
        Ok(stored.map_or(usual, |stored| stored.record))
    }

    /// Sets what becomes of TPMs in clones that do not say.
    ///
    /// # Errors
    /// When there is no such vCenter, or its clones cannot replace.
    pub fn set_clone_policy(&self, vcenter: &Name, policy: TpmProvisioning) -> Result<()> {
        let known = self.inventory.vcenter(vcenter.as_str())?;
        if !known.record.version.is_8_or_later() {
            return Err(Error::BadValue(format!(
                "vCenter {vcenter} {} has no policy for TPMs of clones; clones copy them",
                known.record.version
            )));
        }
        let mut options = self.vcenter_options(vcenter)?;
        options.clone_policy = Some(policy);
        let mut transaction = Transaction::default();
        transaction.unchanged(&known);
        transaction.put(&options)?;
        self.inventory.commit(transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, name};

    #[test]
    fn a_vcenter_8_keeps_its_policy_and_a_vcenter_7_has_none() {
        let world = World::with_vcenter("8.0.3");
        let ops = &world.operations;
        let vcenter = ops.vcenters().unwrap().remove(0).name;
        assert_eq!(ops.vcenter_options(&vcenter).unwrap().clone_policy, None);
        ops.set_clone_policy(&vcenter, TpmProvisioning::Replace)
            .unwrap();
        assert_eq!(
            ops.vcenter_options(&vcenter).unwrap().clone_policy,
            Some(TpmProvisioning::Replace)
        );
        world.add_vcenter("old", "7.0.3");
        let refused = ops.set_clone_policy(&name("old"), TpmProvisioning::Replace);
        assert!(matches!(refused, Err(Error::BadValue(_))), "{refused:?}");
    }
}
